// SPDX-License-Identifier: BSD-2-Clause
/*
 * mount.c - see target_mount.h.
 *
 * The daemon is told to die with the tester (PR_SET_PDEATHSIG), so that nothing is left running.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "target_mount.h"

#define FUSE_SUPER_MAGIC 0x65735546
#define START_LIMIT_MS 20000
#define STOP_LIMIT_MS 20000
#define BUSY_LIMIT_MS 2000

static void pause_ms(long ms)
{
	struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
	nanosleep(&t, NULL);
}

static pid_t spawn(
	const struct mount *m, const char *program, const char *const arguments[], int log)
{
	char path[8192];
	snprintf(path, sizeof(path), "%s/%s", m->options.programs, program);
	pid_t pid = fork();
	if (pid != 0)
		return pid;
	alarm(0);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	dup2(log, STDOUT_FILENO);
	if (log != STDERR_FILENO)
		dup2(log, STDERR_FILENO);
	execv(path, (char *const *)(uintptr_t)arguments);
	dprintf(STDERR_FILENO, "%s: %s\n", path, strerror(errno));
	_exit(127);
}

/* Its exit status, or -1. What it prints goes to DIR/log. */
static int run_tool(const struct mount *m, const char *program, const char *const arguments[])
{
	char log_path[4200];
	int status = -1;
	snprintf(log_path, sizeof(log_path), "%s/log", m->options.directory);
	int log = open(log_path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (log < 0)
		return -1;
	pid_t pid = spawn(m, program, arguments, log);
	if (pid > 0)
		waitpid(pid, &status, 0);
	if (status != 0) {
		char text[4096];
		ssize_t n = pread(log, text, sizeof(text), 0);
		if (n > 0)
			fwrite(text, 1, (size_t)n, stderr);
	}
	close(log);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

int mount_format(struct mount *m)
{
	char size[32];
	const char *arguments[8] = {"mkfs.leasefs", "-f", NULL};
	int n = 2;
	if (m->options.pool_bytes) {
		snprintf(size, sizeof(size), "%llu", (unsigned long long)m->options.pool_bytes);
		arguments[n++] = "-s";
		arguments[n++] = size;
	}
	if (m->options.domains)
		arguments[n++] = "--domains=uid";
	arguments[n++] = m->pool;
	int status = run_tool(m, "tools/mkfs.leasefs", arguments);
	if (status != 0)
		fprintf(stderr, "mkfs.leasefs: exit status %d\n", status);
	return status == 0 ? 0 : -EIO;
}

static bool is_mounted(const char *point)
{
	struct statfs fs;
	return statfs(point, &fs) == 0 && fs.f_type == FUSE_SUPER_MAGIC;
}

int mount_start(struct mount *m)
{
	const char *arguments[8] = {"leasefs", "-f", NULL};
	int n = 2, status;
	if (m->options.mount_options) {
		arguments[n++] = "-o";
		arguments[n++] = m->options.mount_options;
	}
	arguments[n++] = m->pool;
	arguments[n++] = m->point;
	m->daemon = spawn(m, "fs/fuse/leasefs", arguments, STDERR_FILENO);
	if (m->daemon < 0)
		return -errno;
	for (int waited = 0; waited < START_LIMIT_MS; waited += 5) {
		if (is_mounted(m->point))
			return 0;
		if (waitpid(m->daemon, &status, WNOHANG) == m->daemon) {
			m->daemon = 0;
			fprintf(stderr, "leasefs did not start: status 0x%x\n", status);
			return -EIO;
		}
		pause_ms(5);
	}
	fprintf(stderr, "leasefs: no mount within %d ms\n", START_LIMIT_MS);
	mount_kill(m);
	return -ETIMEDOUT;
}

void mount_detach(const char *point)
{
	if (umount2(point, MNT_DETACH) == 0 || errno == EINVAL || errno == ENOENT)
		return;
	pid_t pid = fork();
	if (pid == 0) {
		int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
		if (null >= 0)
			dup2(null, STDERR_FILENO);
		execlp("fusermount3", "fusermount3", "-u", "-z", point, (char *)NULL);
		_exit(127);
	}
	if (pid > 0)
		waitpid(pid, NULL, 0);
}

int mount_kill(struct mount *m)
{
	if (m->daemon > 0) {
		kill(m->daemon, SIGKILL);
		waitpid(m->daemon, NULL, 0);
		m->daemon = 0;
	}
	mount_detach(m->point);
	return 0;
}

int mount_stop(struct mount *m)
{
	int status = 0, waited = 0;
	/* Anybody who looks at all mounts, as df(1) does, keeps this one busy for a moment. */
	while (umount2(m->point, 0) < 0) {
		if (errno != EBUSY || waited >= BUSY_LIMIT_MS) {
			fprintf(stderr, "umount: %s\n", strerror(errno));
			mount_detach(m->point);
			break;
		}
		pause_ms(20);
		waited += 20;
	}
	for (waited = 0; waited < STOP_LIMIT_MS; waited += 2) {
		pid_t pid = waitpid(m->daemon, &status, WNOHANG);
		if (pid == m->daemon) {
			m->daemon = 0;
			if (status != 0)
				fprintf(stderr, "leasefs ended with status 0x%x\n", status);
			return status == 0 ? 0 : -EIO;
		}
		pause_ms(2);
	}
	fprintf(stderr, "leasefs is still there %d ms after the unmount\n", STOP_LIMIT_MS);
	mount_kill(m);
	return -ETIMEDOUT;
}

int mount_check(struct mount *m)
{
	const char *arguments[] = {"fsck.leasefs", "-n", m->pool, NULL};
	int status = run_tool(m, "tools/fsck.leasefs", arguments);
	if (status != 0)
		fprintf(stderr, "fsck.leasefs -n: exit status %d\n", status);
	return status == 0 ? 0 : -EUCLEAN;
}
