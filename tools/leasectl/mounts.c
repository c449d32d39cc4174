// SPDX-License-Identifier: BSD-2-Clause
/* mounts.c - which mount is meant. A mount is known by the control file in its root. */
#include <errno.h>
#include <fcntl.h>
#include <mntent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "leasectl.h"

static int open_control(const char *mount)
{
	char path[4096 + sizeof(LEASEFS_CONTROL_PATH)];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", mount, LEASEFS_CONTROL_PATH);
	fd = open(path, O_RDWR | O_CLOEXEC);
	return fd < 0 && errno == EROFS ? open(path, O_RDONLY | O_CLOEXEC) : fd;
}

static bool is_fuse(const struct mntent *m)
{
	return !strncmp(m->mnt_type, "fuse", 4);
}

/* A pool may be named as it was when it was mounted, or by its real path. */
int find_control(char where[4096], const char *typed)
{
	struct mntent *m;
	int fd = open_control(where);
	FILE *mounts;

	if (fd >= 0)
		return fd;
	mounts = setmntent("/proc/self/mounts", "r");
	while (mounts && (m = getmntent(mounts))) {
		if (is_fuse(m) &&
			(!strcmp(m->mnt_fsname, where) || !strcmp(m->mnt_fsname, typed))) {
			fd = open_control(m->mnt_dir);
			if (fd >= 0) {
				snprintf(where, 4096, "%s", m->mnt_dir);
				break;
			}
		}
	}
	if (mounts)
		endmntent(mounts);
	return fd;
}

bool find_mount_of(const char *file, char where[4096])
{
	struct stat at, up;

	if (!realpath(file, where) || stat(where, &at))
		return false;
	for (;;) {
		char *slash = strrchr(where, '/'), kept = slash[1];
		bool root = slash == where;

		if (root && !kept)
			return true; /* the root of all */
		slash[root ? 1 : 0] = '\0';
		if (stat(where, &up))
			return false;
		if (up.st_dev != at.st_dev) {
			slash[root ? 1 : 0] = root ? kept : '/';
			return true;
		}
	}
}

unsigned find_only_mount(char where[4096])
{
	FILE *mounts = setmntent("/proc/self/mounts", "r");
	struct mntent *m;
	unsigned count = 0;

	while (mounts && (m = getmntent(mounts))) {
		char path[4096 + sizeof(LEASEFS_CONTROL_PATH)];

		snprintf(path, sizeof(path), "%s/%s", m->mnt_dir, LEASEFS_CONTROL_PATH);
		if (!is_fuse(m) || access(path, F_OK))
			continue;
		if (count++ == 0)
			snprintf(where, 4096, "%s", m->mnt_dir);
	}
	if (mounts)
		endmntent(mounts);
	return count;
}
