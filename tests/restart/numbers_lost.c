// SPDX-License-Identifier: BSD-2-Clause
/*
 * numbers_lost.c - a daemon that is killed, and whose run/ids is gone when the next one starts.
 *
 *   numbers_lost MKFS FSCK LEASEFS
 *
 * The session that was left has a number that this one takes for one of the future: it refuses, and
 * ends; with run/ids back it takes the session over.
 *
 * Exit status: 0 all held, 1 something did not, 77 no /dev/fuse.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "stand.h"

#define OPTIONS "durability=relaxed"

static void take_lease(void)
{
	int control = stand_open(LEASEFS_CONTROL_PATH, O_RDWR);
	int file = stand_open("f", O_RDWR | O_CREAT);
	struct leasefs_hello hello = {.abi = LEASEFS_ABI};
	struct leasefs_grant grant = {.length = 4096, .mode = LEASEFS_MODE_WRITE};

	if (ioctl(control, LEASEFS_IOC_HELLO, &hello))
		stand_fail("HELLO: %s", strerror(errno));
	memcpy(grant.cookie, hello.cookie, sizeof(grant.cookie));
	if (ioctl(file, LEASEFS_IOC_GRANT, &grant))
		stand_fail("GRANT: %s", strerror(errno));
	stand_kill();
	close(control);
	close(file);
}

/* In the foreground, as a child of this process, which can end it. */
static void expect_refusal(const char *leasefs)
{
	pid_t daemon = fork();
	struct pollfd end = {.events = POLLIN};
	int status;

	if (daemon == 0) {
		execl(leasefs, leasefs, "-f", "-o", OPTIONS, stand.pool, stand.mount, NULL);
		_exit(127);
	}
	end.fd = daemon < 0 ? -1 : (int)syscall(SYS_pidfd_open, daemon, 0);
	if (end.fd < 0)
		stand_fail("no child: %s", strerror(errno));
	if (poll(&end, 1, PATIENCE_MS) != 1) {
		kill(daemon, SIGKILL);
		waitpid(daemon, &status, 0);
		stand_fail("it neither serves nor ends");
	}
	close(end.fd);
	if (waitpid(daemon, &status, 0) != daemon || !WIFEXITED(status) || WEXITSTATUS(status) != 1)
		stand_fail("not refused with exit status 1: %d", status);
}

static uint64_t inherited(void)
{
	int control = stand_open(LEASEFS_CONTROL_PATH, O_RDWR);
	struct leasefs_grace grace = {0};

	if (ioctl(control, LEASEFS_IOC_GRACE, &grace))
		stand_fail("GRACE: %s", strerror(errno));
	close(control);
	return grace.inherited;
}

int main(int argc, char **argv)
{
	char ids[128], aside[128];

	if (argc != 4) {
		fprintf(stderr, "usage: numbers_lost MKFS FSCK LEASEFS\n");
		return 2;
	}
	if (access("/dev/fuse", R_OK | W_OK))
		return 77;
	stand_make(argv[1], argv[2], "16M");
	snprintf(ids, sizeof(ids), "%s/run/ids", stand.pool);
	snprintf(aside, sizeof(aside), "%s/ids", stand.dir);
	if (!stand_start(argv[3], OPTIONS))
		stand_fail("no mount");
	take_lease();
	if (rename(ids, aside))
		stand_fail("%s: %s", ids, strerror(errno));
	expect_refusal(argv[3]);
	if (rename(aside, ids))
		stand_fail("%s: %s", aside, strerror(errno));
	if (!stand_start(argv[3], OPTIONS))
		stand_fail("no mount with run/ids back");
	if (inherited() != 1)
		stand_fail("the lease has not been taken over");
	stand_end();
	return 0;
}
