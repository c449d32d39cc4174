// SPDX-License-Identifier: BSD-2-Clause
/*
 * pool.c - the pool directory: opened, and locked against a second daemon.
 *
 * The lock is an open-file-description lock on run/lock: it ends with the last descriptor, whatever
 * kills the process, and a fork keeps it. Such a lock does not tell who holds it, so the holder
 * writes its pid into the file; the text is only ever shown, never acted upon.
 *
 *   opened for writing   write lock: nobody else
 *   opened read-only     read lock: other readers, no writer. A pool whose run/lock cannot be
 *                        opened because it is not there, or on a read-only filesystem, has no
 * writer.
 */
#include "pool.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* A daemon that is ending is asked again so often; short, since a test may wait for each. */
#define LOCK_RETRY_MS 20u

int pool_open_dir(int dir_fd, const char *name, bool make, int *out, struct diag *d)
{
	struct stat st;
	int fd;

	if (make && mkdirat(dir_fd, name, 0711) && errno != EEXIST)
		return diag_set(d, -errno, "cannot make %s: %s", name, strerror(errno));
	fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0) {
		int error = errno;

		if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(st.st_mode))
			return diag_set(d, -ELOOP,
				"%s in the pool is a symbolic link, which is never followed: "
				"remove it",
				name);
		return diag_set(d, -error, "cannot open %s in the pool: %s", name, strerror(error));
	}
	*out = fd;
	return 0;
}

/* The directory's own name, whatever way led to it. */
static char *descriptor_path(int fd)
{
	char link[64], path[PATH_MAX];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, path, sizeof(path) - 1);
	if (n <= 0)
		return NULL;
	path[n] = '\0';
	return strdup(path);
}

static int open_lock_file(struct core *c, struct diag *d)
{
	int access = c->options.read_only ? O_RDONLY : O_RDWR | O_CREAT;
	struct stat st;
	int fd = openat(c->run_fd, "lock", access | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0600);

	if (fd < 0 && c->options.read_only && errno == ENOENT)
		return 0;
	if (fd < 0 && errno == ELOOP)
		return diag_set(d, -ELOOP,
			"run/lock in %s is a symbolic link, which is never followed: remove it",
			c->path);
	if (fd < 0)
		return diag_set(
			d, -errno, "cannot open run/lock in %s: %s", c->path, strerror(errno));
	if (fstat(fd, &st) || !S_ISREG(st.st_mode)) {
		close(fd);
		return diag_set(d, -EINVAL, "run/lock in %s is not a regular file", c->path);
	}
	c->lock_fd = fd;
	return 0;
}

static int refuse_busy(struct core *c, struct diag *d)
{
	char text[32];
	ssize_t n = pread(c->lock_fd, text, sizeof(text) - 1, 0);
	long pid = 0;

	if (n > 0) {
		text[n] = '\0';
		pid = strtol(text, NULL, 10);
	}
	if (pid > 0 && pid <= INT_MAX && (kill((pid_t)pid, 0) == 0 || errno == EPERM))
		return diag_set(d, -EBUSY, "%s is in use by process %ld", c->path, pid);
	return diag_set(d, -EBUSY, "%s is in use by another process", c->path);
}

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static int take_lock(struct core *c, struct diag *d)
{
	struct flock lock = {
		.l_type = c->options.read_only ? F_RDLCK : F_WRLCK,
		.l_whence = SEEK_SET,
	};
	const struct timespec pause = {.tv_nsec = LOCK_RETRY_MS * 1000000l};
	const uint64_t end_ms = now_ms() + c->options.lock_wait_ms;

	for (;;) {
		if (fcntl(c->lock_fd, F_OFD_SETLK, &lock) == 0)
			return 0;
		if (errno != EAGAIN && errno != EACCES && errno != EINTR)
			return diag_set(d, -errno, "cannot lock %s: %s", c->path, strerror(errno));
		if (now_ms() >= end_ms)
			return refuse_busy(c, d);
		nanosleep(&pause, NULL);
	}
}

void core_note_pid(struct core *c)
{
	char text[32];
	int n = snprintf(text, sizeof(text), "%ld\n", (long)getpid());

	if (c->lock_fd < 0 || c->options.read_only)
		return;
	/* For people only; a filesystem that cannot write files (hugetlbfs) leaves them without. */
	if (pwrite(c->lock_fd, text, (size_t)n, 0) == n && ftruncate(c->lock_fd, n))
		return;
}

int pool_open(struct core *c, struct diag *d)
{
	c->dir_fd = open(c->options.pool, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (c->dir_fd < 0)
		return diag_set(d, -errno, "cannot open the pool %s: %s%s", c->options.pool,
			strerror(errno), errno == ENOENT ? " (mkfs.leasefs makes one)" : "");
	c->path = descriptor_path(c->dir_fd);
	if (!c->path)
		return diag_set(d, -ENOMEM, "cannot find the path of the pool %s", c->options.pool);
	return 0;
}

int pool_lock(struct core *c, struct diag *d)
{
	int error;

	error = pool_open_dir(c->dir_fd, "run", !c->options.read_only, &c->run_fd, d);
	if (error == -ENOENT && c->options.read_only)
		return 0;
	if (error)
		return error;
	error = open_lock_file(c, d);
	if (error || c->lock_fd < 0)
		return error;
	error = take_lock(c, d);
	if (error) { /* not ours: a reader's or writer's name stays in it */
		close(c->lock_fd);
		c->lock_fd = -1;
		return error;
	}
	core_note_pid(c);
	return 0;
}

void pool_unlock(struct core *c)
{
	if (c->lock_fd >= 0) {
		if (!c->options.read_only && ftruncate(c->lock_fd, 0))
			errno = 0; /* a stale pid is recognised when it is shown */
		close(c->lock_fd);
	}
	if (c->run_fd >= 0)
		close(c->run_fd);
	if (c->dir_fd >= 0)
		close(c->dir_fd);
	free(c->path);
	c->lock_fd = c->run_fd = c->dir_fd = -1;
	c->path = NULL;
}
