// SPDX-License-Identifier: BSD-2-Clause
/*
 * guardian.c - see guardian.h.
 *
 * The connection's control file is opened at the start, and never looked for again: its number may
 * be another mount's by the time that the daemon dies, while a descriptor of a connection that has
 * gone does nothing.
 *
 * After fork() the child calls nothing but system calls: other threads may have held any lock.
 */
#include "guardian.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#define CONNECTIONS "/sys/fs/fuse/connections"
#define FUSECTL_MAGIC 0x65735543 /* fs/fuse/control.c */
#define DEATH_SIGNAL SIGUSR2

/* A directory of all connections: the one that is mounted, or one of our own, seen by nobody. */
static int open_connections(void)
{
	struct statfs fs;
	int dir = open(CONNECTIONS, O_RDONLY | O_DIRECTORY | O_CLOEXEC), context, error;

	if (dir >= 0 && fstatfs(dir, &fs) == 0 && fs.f_type == FUSECTL_MAGIC)
		return dir;
	if (dir >= 0)
		close(dir);
	context = (int)syscall(SYS_fsopen, "fusectl", FSOPEN_CLOEXEC);
	if (context < 0)
		return -errno;
	dir = -1;
	if (syscall(SYS_fsconfig, context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) == 0)
		dir = (int)syscall(SYS_fsmount, context, FSMOUNT_CLOEXEC, 0);
	error = errno;
	close(context);
	return dir < 0 ? -error : dir;
}

static int open_abort(uint64_t device)
{
	char name[32];
	int dir = open_connections(), fd, error;

	if (dir < 0)
		return dir;
	/* The kernel's own encoding; anonymous devices have the major number 0. */
	snprintf(name, sizeof(name), "%u/abort",
		(unsigned)(device >> 32) << 20 | (unsigned)(device & 0xfffff));
	fd = openat(dir, name, O_WRONLY | O_CLOEXEC);
	error = errno;
	close(dir);
	return fd < 0 ? -error : fd;
}

/* Descriptors of the daemon would keep its files locked and its connection open. */
static void keep_only(int fd)
{
	if (fd > 0)
		(void)syscall(SYS_close_range, 0, (unsigned)fd - 1, 0);
	(void)syscall(SYS_close_range, (unsigned)fd + 1, ~0u, 0);
}

static void __attribute__((noreturn)) guard(int fd, pid_t daemon)
{
	sigset_t signals;

	keep_only(fd);
	/* What is meant for the daemon's process group ends the daemon, which ends this. */
	sigfillset(&signals);
	(void)sigprocmask(SIG_BLOCK, &signals, NULL);
	(void)prctl(PR_SET_NAME, "leasefs-guard");
	(void)prctl(PR_SET_PDEATHSIG, DEATH_SIGNAL);
	sigemptyset(&signals);
	sigaddset(&signals, DEATH_SIGNAL);
	if (getppid() == daemon)
		while (sigwaitinfo(&signals, NULL) < 0 && errno == EINTR)
			;
	(void)!write(fd, "1", 1);
	_exit(0);
}

int guardian_start(struct guardian *g, uint64_t device)
{
	pid_t daemon = getpid();
	int fd = open_abort(device);

	g->pid = 0;
	if (fd < 0)
		return fd;
	pid_t pid = fork();
	if (pid == 0)
		guard(fd, daemon);
	int error = errno;
	close(fd);
	if (pid < 0)
		return -error;
	g->pid = pid;
	return 0;
}

void guardian_stop(struct guardian *g)
{
	if (g->pid == 0)
		return;
	(void)kill(g->pid, SIGKILL);
	while (waitpid(g->pid, NULL, 0) < 0 && errno == EINTR)
		;
	g->pid = 0;
}
