// SPDX-License-Identifier: BSD-2-Clause
/* stand.c - see stand.h. */
#include "stand.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

struct stand stand = {.daemon_fd = -1};

static int run(const char *const argv[])
{
	pid_t child = fork();
	int status;

	if (child == 0) {
		execvp(argv[0], (char *const *)argv);
		_exit(127);
	}
	if (child < 0 || waitpid(child, &status, 0) != child)
		return -1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void unmount(bool lazy)
{
	const char *root[] = {"umount", lazy ? "-l" : "-v", stand.mount, NULL};
	const char *user[] = {"fusermount3", lazy ? "-uzq" : "-u", stand.mount, NULL};
	int status = run(geteuid() ? user : root);

	if (status && !lazy)
		stand_fail("umount: exit status %d", status);
}

static void take_down(void)
{
	const char *rm[] = {"rm", "-rf", stand.dir, NULL};

	if (stand.daemon_fd >= 0)
		syscall(SYS_pidfd_send_signal, stand.daemon_fd, SIGKILL, NULL, 0);
	if (!stand.dir[0])
		return;
	/* Whatever became of the daemon: only stand_end() has unmounted for certain. */
	if (!stand.is_clean)
		unmount(true);
	run(rm);
}

void stand_fail(const char *format, ...)
{
	va_list args;

	fprintf(stderr, "restart: ");
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fprintf(stderr, "\n");
	take_down();
	exit(1);
}

/* The test is over before its end: out of time, or whoever runs it has gone. */
static void on_signal(int number)
{
	take_down();
	_exit(128 + number);
}

void stand_make(const char *mkfs, const char *fsck, const char *size)
{
	const char *make[] = {mkfs, "-q", "-s", size, stand.pool, NULL};

	const int ends[] = {SIGTERM, SIGINT, SIGHUP, SIGALRM};

	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++)
		signal(ends[i], on_signal);
	stand.mkfs = mkfs;
	stand.fsck = fsck;
	snprintf(stand.dir, sizeof(stand.dir), "%s/leasefs-restart.XXXXXX",
		access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm");
	if (!mkdtemp(stand.dir))
		stand_fail("%s: %s", stand.dir, strerror(errno));
	snprintf(stand.pool, sizeof(stand.pool), "%s/pool", stand.dir);
	snprintf(stand.mount, sizeof(stand.mount), "%s/mnt", stand.dir);
	if (mkdir(stand.mount, 0755))
		stand_fail("%s: %s", stand.mount, strerror(errno));
	if (run(make))
		stand_fail("mkfs.leasefs failed");
}

void stand_path(const char *name, char out[160])
{
	snprintf(out, 160, "%s/%s", stand.mount, name);
}

int stand_open(const char *name, int flags)
{
	char path[160];
	int fd;

	stand_path(name, path);
	fd = open(path, flags | O_CLOEXEC, 0644);
	if (fd < 0)
		stand_fail("%s: %s", name, strerror(errno));
	return fd;
}

bool stand_start(const char *leasefs, const char *options)
{
	const char *mount[] = {leasefs, "-o", options, stand.pool, stand.mount, NULL};
	struct leasefs_status status = {0};
	struct stat st;
	char path[160];
	int control;

	if (run(mount)) {
		if (stat(stand.mount, &st) && errno == ENOTCONN) /* it died after mount(2) */
			unmount(true);
		return false;
	}
	stand_path(LEASEFS_CONTROL_PATH, path);
	control = open(path, O_RDWR | O_CLOEXEC);
	if (control < 0 || ioctl(control, LEASEFS_IOC_STATUS, &status))
		stand_fail("the mount does not answer: %s", strerror(errno));
	close(control);
	stand.daemon = (pid_t)status.daemon_pid;
	stand.daemon_fd = (int)syscall(SYS_pidfd_open, stand.daemon, 0);
	if (stand.daemon_fd < 0)
		stand_fail("pidfd_open: %s", strerror(errno));
	return true;
}

static bool has_ended(int wait_ms)
{
	struct pollfd p = {.fd = stand.daemon_fd, .events = POLLIN};

	return poll(&p, 1, wait_ms) > 0;
}

bool stand_is_dead(void)
{
	/* A call fails a moment before the daemon's end can be seen. */
	return has_ended(PATIENCE_MS);
}

static void forget_daemon(void)
{
	close(stand.daemon_fd);
	stand.daemon_fd = -1;
	stand.daemon = 0;
}

void stand_await_death(void)
{
	if (!has_ended(PATIENCE_MS))
		stand_fail("the daemon lives on");
	unmount(true);
	forget_daemon();
}

void stand_kill(void)
{
	syscall(SYS_pidfd_send_signal, stand.daemon_fd, SIGKILL, NULL, 0);
	stand_await_death();
}

void stand_terminate(void)
{
	syscall(SYS_pidfd_send_signal, stand.daemon_fd, SIGTERM, NULL, 0);
	stand_await_death();
}

void stand_end(void)
{
	const char *fsck[] = {stand.fsck, "-n", stand.pool, NULL};
	int status;

	unmount(false);
	if (!has_ended(PATIENCE_MS))
		stand_fail("the daemon does not end after umount");
	forget_daemon();
	status = run(fsck);
	if (status)
		stand_fail("fsck.leasefs: exit status %d", status);
	stand.is_clean = true;
	take_down();
}
