// SPDX-License-Identifier: BSD-2-Clause
/*
 * ender.c - see ender.h.
 *
 * The child has a socket and nothing else of the daemon's: no pool, no lock, no terminal. It says
 * when that is so, and its name is its own; the daemon does not go on before. A byte asks, the same
 * byte answers; the end of the file ends it. Signals that end the daemon are blocked in it, as they
 * are in the daemon when it is made: who took it for the daemon would wait in vain.
 */
#include "ender.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "log.h"
#include "mountpoint.h"

#define READY 'r'
#define ASK_WRITE_BACK 'w'
#define ASK_DETACH 'd'
#define ANSWER_MS_MAX 60000 /* what mountpoint.c gives its programs, and more */

/* Processes are looked for by their command line: this one is not the daemon. */
static void rename_process(void)
{
	static const char name[] = "leasefs-ender";
	char line[4096];
	int fd = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
	ssize_t bytes = fd < 0 ? -1 : read(fd, line, sizeof(line));

	if (fd >= 0)
		close(fd);
	(void)prctl(PR_SET_NAME, name);
	/* The arguments stand behind each other, and the name that it was called by is the first.
	 */
	if (bytes <= 0 || strncmp(line, program_invocation_name, (size_t)bytes) != 0)
		return;
	memset(program_invocation_name, 0, (size_t)bytes);
	memcpy(program_invocation_name, name,
		(size_t)bytes < sizeof(name) ? (size_t)bytes - 1 : sizeof(name));
}

static void keep_only(int fd)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	for (int i = STDIN_FILENO; i <= STDERR_FILENO; i++)
		if (i != fd && (null < 0 || dup2(null, i) < 0))
			close(i);
	if (fd > STDERR_FILENO + 1)
		(void)close_range(STDERR_FILENO + 1, (unsigned)fd - 1, 0);
	(void)close_range((unsigned)fd + 1, ~0u, 0);
}

static void serve(int fd, const char *mountpoint)
{
	char asked = READY;

	if (send(fd, &asked, 1, MSG_NOSIGNAL) != 1)
		return;
	while (recv(fd, &asked, 1, 0) == 1) {
		if (asked == ASK_WRITE_BACK)
			mountpoint_write_back(mountpoint);
		else if (asked == ASK_DETACH)
			mountpoint_detach(mountpoint);
		if (send(fd, &asked, 1, MSG_NOSIGNAL) != 1)
			break;
	}
}

static int await_ready(struct ender *e)
{
	char said;
	ssize_t n;

	do
		n = recv(e->fd, &said, 1, 0);
	while (n < 0 && errno == EINTR);
	if (n == 1)
		return 0;
	ender_stop(e);
	return -ECHILD;
}

int ender_start(struct ender *e, const char *mountpoint)
{
	int ends[2];
	pid_t pid;

	*e = (struct ender){.fd = -1};
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
		return -errno;
	pid = fork();
	if (pid < 0) {
		int error = errno;

		close(ends[0]);
		close(ends[1]);
		return -error;
	}
	if (pid == 0) {
		keep_only(ends[1]);
		log_to_syslog();
		rename_process();
		serve(ends[1], mountpoint);
		_exit(0);
	}
	close(ends[1]);
	*e = (struct ender){.fd = ends[0], .pid = pid};
	return await_ready(e);
}

static void ask(struct ender *e, char what, const char *words)
{
	struct pollfd answer = {.fd = e->fd, .events = POLLIN};
	char answered;

	if (e->fd < 0)
		return;
	if (send(e->fd, &what, 1, MSG_NOSIGNAL) != 1 || poll(&answer, 1, ANSWER_MS_MAX) != 1 ||
		recv(e->fd, &answered, 1, MSG_DONTWAIT) != 1)
		log_warning("cannot %s: the process that does so is gone or stuck", words);
}

void ender_write_back(struct ender *e)
{
	ask(e, ASK_WRITE_BACK, "write back what the mount's users left dirty");
}

void ender_detach(struct ender *e)
{
	ask(e, ASK_DETACH, "unmount");
}

void ender_stop(struct ender *e)
{
	if (e->fd < 0)
		return;
	close(e->fd);
	e->fd = -1;
	while (waitpid(e->pid, NULL, 0) < 0 && errno == EINTR)
		;
}
