// SPDX-License-Identifier: BSD-2-Clause
/*
 * victims.c - holders that die: killed while they pin, by the policy's own signals, or that exit
 * without a word; a session whose opener has gone, and whose heir ends it.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <leasefs/leasefs.h>

#include "soak.h"

#define VICTIM_BYTES 131072u
#define START_MS_MAX 90000 /* a machine may have much else to do */
#define END_MS_MAX 60000
#define LEASE_NS_MAX 60000000000u

static const char *const policies[] = {"recall:10ms/signal=SIGTERM:20ms/kill:20ms/orphan",
	"recall:10ms/kill:20ms/busy", "recall:20ms/orphan"};

/* In the child: holds until it is killed. */
static void hold(struct worker *w, int fd, int ready)
{
	struct leasefs_session *session;
	struct leasefs_lease *lease;
	void *memory;
	bool leave = roll(w) % 4 == 0;
	char ok = 'y';

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (leasefs_open_session_at(fd, 0, &session) ||
		leasefs_wait_lease(
			session, fd, 0, VICTIM_BYTES, LEASEFS_TAKE_WRITE, LEASE_NS_MAX, &lease) ||
		leasefs_map_lease(lease, LEASEFS_MAP_POPULATE, &memory))
		ok = 'n';
	if (ok == 'y' && roll(w) % 3 && leasefs_pin_lease(lease))
		ok = 'n';
	if (write(ready, &ok, 1) != 1 || ok != 'y' || leave)
		_exit(0);
	for (;;) {
		memset(memory, (int)roll(w), VICTIM_BYTES);
		(void)poll(NULL, 0, 5);
	}
}

/* What has died is waited for, with a limit. */
static void bury(struct worker *w, pid_t pid)
{
	int left = END_MS_MAX / 2;

	while (waitpid(pid, NULL, WNOHANG) != pid) {
		if (--left == 0)
			wrong(w, "a killed holder does not end");
		(void)poll(NULL, 0, 2);
	}
	note(w, COUNT_DEATHS, 1);
}

static void meet(struct worker *w, int fd, pid_t pid)
{
	bool first = roll(w) % 2; /* it dies before its blocks are wanted */

	if (first)
		kill(pid, SIGKILL);
	if (ftruncate(fd, (off_t)(roll(w) % 4 * 4096)) == 0)
		note(w, COUNT_CHANGES, 1);
	else if (errno == EBUSY)
		note(w, COUNT_BUSY, 1);
	else
		wrong(w, "a truncate under a holder that dies: %s", strerror(errno));
	if (!first)
		kill(pid, SIGKILL);
}

void round_victim(struct worker *w)
{
	const char *policy = policies[roll(w) % 3];
	char path[4200], ok = 0;
	struct pollfd ready;
	int fd, pipes[2];
	pid_t pid;

	snprintf(path, sizeof(path), "%s/victim.%u", w->mount, w->number);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
	if (fd < 0 || pipe2(pipes, O_CLOEXEC) || ftruncate(fd, VICTIM_BYTES) ||
		fsetxattr(fd, "trusted.leasefs.policy", policy, strlen(policy), 0))
		wrong(w, "%s: %s", path, strerror(errno));
	pid = fork();
	if (pid < 0)
		wrong(w, "fork: %s", strerror(errno));
	if (pid == 0) {
		close(pipes[0]);
		w->rng ^= 0x5555;
		hold(w, fd, pipes[1]);
	}
	close(pipes[1]);
	note(w, COUNT_SESSIONS, 1);
	ready = (struct pollfd){.fd = pipes[0], .events = POLLIN};
	if (poll(&ready, 1, START_MS_MAX) != 1 || read(pipes[0], &ok, 1) != 1 || ok != 'y')
		wrong(w, "a holder does not get its lease");
	meet(w, fd, pid);
	bury(w, pid);
	close(pipes[0]);
	close(fd);
	if (roll(w) % 2)
		(void)unlink(path);
}
