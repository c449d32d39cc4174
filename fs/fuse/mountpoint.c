// SPDX-License-Identifier: BSD-2-Clause
/*
 * mountpoint.c - the directory that is mounted at. What is wrong with it is said before anything is
 * begun, in words; mount(2) and fusermount3 would say it later, and in numbers.
 */
#include "mountpoint.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "log.h"

#define RUN_MS_MAX                                                                                 \
	30000 /* writing back what is dirty may take a while; ending must not for ever             \
	       */

extern char **environ;

static int check_empty(const char *path, struct diag *d)
{
	DIR *directory = opendir(path);
	const struct dirent *entry;
	bool empty = true;

	if (directory == NULL)
		return diag_set(
			d, -errno, "cannot read the mount point %s: %s", path, strerror(errno));
	while (empty && (entry = readdir(directory)) != NULL)
		empty = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
	closedir(directory);
	if (!empty)
		return diag_set(d, -ENOTEMPTY,
			"the mount point %s is not empty; what is in it would be hidden "
			"(-o nonempty mounts all the same)",
			path);
	return 0;
}

/* As mount(2) would find it: fusermount3 is in one of these, or nowhere. */
static bool has_fusermount(void)
{
	const char *path = getenv("PATH");
	char *copy = strdup(path == NULL ? "/usr/bin:/bin" : path), *rest = copy, *directory;
	bool found =
		access("/usr/bin/fusermount3", X_OK) == 0 || access("/bin/fusermount3", X_OK) == 0;

	while (!found && copy != NULL && (directory = strsep(&rest, ":")) != NULL) {
		char candidate[4096];
		int n = snprintf(candidate, sizeof(candidate), "%s/fusermount3", directory);
		found = n > 0 && (size_t)n < sizeof(candidate) && access(candidate, X_OK) == 0;
	}
	free(copy);
	return found;
}

static bool user_allow_other(void)
{
	FILE *conf = fopen("/etc/fuse.conf", "re");
	char line[256];
	bool found = false;

	while (conf != NULL && !found && fgets(line, sizeof(line), conf) != NULL) {
		size_t from = strspn(line, " \t");
		size_t bytes = strcspn(line + from, " \t\n#");
		found = bytes == strlen("user_allow_other") &&
			strncmp(line + from, "user_allow_other", bytes) == 0;
	}
	if (conf != NULL)
		fclose(conf);
	return found;
}

static int check_user(const struct options *o, const struct stat *st, struct diag *d)
{
	if (geteuid() == 0)
		return 0;
	if (!has_fusermount())
		return diag_set(d, -ENOENT,
			"fusermount3 was not found; an ordinary user mounts through it "
			"(install the package fuse3)");
	if (o->allow_other && !user_allow_other())
		return diag_set(d, -EPERM,
			"allow_other is for root only, unless /etc/fuse.conf has a line "
			"user_allow_other");
	if (access("/dev/fuse", R_OK | W_OK) != 0)
		return diag_set(d, -errno,
			"cannot open /dev/fuse: %s (for ordinary users its mode must be 666)",
			strerror(errno));
	if (access(o->mountpoint, W_OK) != 0 ||
		((st->st_mode & S_ISVTX) && st->st_uid != geteuid()))
		return diag_set(d, -EACCES,
			"no permission to mount at %s: an ordinary user needs write access to it",
			o->mountpoint);
	return 0;
}

int mountpoint_check(const struct options *o, struct diag *d)
{
	struct stat st;

	if (stat(o->mountpoint, &st) != 0) {
		int error = errno;
		if (error == ENOTCONN)
			return diag_set(d, -error,
				"%s is the mount point of a daemon that has died; umount it first",
				o->mountpoint);
		return diag_set(d, -error, "the mount point %s: %s%s", o->mountpoint,
			strerror(error), error == ENOENT ? " (mkdir makes it)" : "");
	}
	if (!S_ISDIR(st.st_mode))
		return diag_set(
			d, -ENOTDIR, "the mount point %s is not a directory", o->mountpoint);
	if (access("/dev/fuse", F_OK) != 0)
		return diag_set(d, -ENODEV, "there is no /dev/fuse: is the fuse module loaded?");
	int result = check_user(o, &st, d);
	if (result == 0 && !o->nonempty)
		result = check_empty(o->mountpoint, d);
	return result;
}

/* ---- what is done to the mount itself -------------------------------------------------------- */

/* A program that waits for something that never comes does not keep the daemon from ending. */
static void end_if_late(pid_t pid, const char *name)
{
	int fd = (int)syscall(SYS_pidfd_open, pid, 0);
	struct pollfd end = {.fd = fd, .events = POLLIN};

	if (fd < 0)
		return;
	if (poll(&end, 1, RUN_MS_MAX) == 0) {
		log_warning("%s did not end in %d s: killed", name, RUN_MS_MAX / 1000);
		(void)kill(pid, SIGKILL);
	}
	close(fd);
}

static void run(const char *const *argv)
{
	pid_t pid;
	int status, result = posix_spawnp(&pid, argv[0], NULL, NULL, (char *const *)argv, environ);

	if (result != 0) {
		log_warning("cannot run %s: %s", argv[0], strerror(result));
		return;
	}
	end_if_late(pid, argv[0]);
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return;
	if (status != 0)
		log_warning("%s %s failed", argv[0], argv[1]);
}

int mountpoint_device(const char *path, uint64_t *device)
{
	struct statx found;

	/* DONT_SYNC: what the kernel knows by itself, without asking the filesystem. */
	if (statx(AT_FDCWD, path, AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, STATX_TYPE, &found) != 0)
		return -errno;
	*device = (uint64_t)found.stx_dev_major << 32 | found.stx_dev_minor;
	return 0;
}

void mountpoint_write_back(const char *path)
{
	run((const char *const[]){"sync", "-f", "--", path, NULL});
}

void mountpoint_detach(const char *path)
{
	if (geteuid() != 0)
		run((const char *const[]){"fusermount3", "-u", "-z", "-q", "--", path, NULL});
	else if (umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) != 0)
		log_warning("cannot unmount %s: %s", path, strerror(errno));
}
