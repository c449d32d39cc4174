// SPDX-License-Identifier: BSD-2-Clause
/*
 * scratch.c - see scratch.h.
 */
#include "scratch.h"

#include <errno.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#define ENTRIES_MAX 64

static char directories[ENTRIES_MAX][PATH_MAX];
static char mounts[ENTRIES_MAX][PATH_MAX];
static unsigned directory_count, mount_count;
static pid_t owner; /* a child of the test leaves everything alone */

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static void remove_all(void)
{
	if (getpid() != owner)
		return;
	while (mount_count > 0)
		umount2(mounts[--mount_count], MNT_DETACH);
	for (unsigned i = 0; i < directory_count; i++)
		if (directories[i][0])
			nftw(directories[i], remove_entry, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
	directory_count = 0;
}

const char *scratch_directory(const char *parent)
{
	char *path = directories[directory_count];

	if (directory_count == 0) {
		owner = getpid();
		atexit(remove_all);
	}
	if (!parent)
		parent = getenv("TMPDIR");
	snprintf(path, PATH_MAX, "%s/leasefs-unit-XXXXXX", parent ? parent : "/tmp");
	if (directory_count + 1 == ENTRIES_MAX || !mkdtemp(path)) {
		perror(path);
		exit(1);
	}
	directory_count++;
	return path;
}

int scratch_mount(const char *directory, const char *name, const char *type, const char *options)
{
	char *path = mounts[mount_count];

	if (mount_count + 1 == ENTRIES_MAX ||
		snprintf(path, PATH_MAX, "%s/%s", directory, name) >= PATH_MAX)
		return -ENAMETOOLONG;
	if (mkdir(path, 0755) && errno != EEXIST)
		return -errno;
	if (mount("none", path, type, 0, options))
		return -errno;
	mount_count++;
	return 0;
}

void scratch_remove(const char *directory)
{
	size_t length = strlen(directory);

	while (mount_count > 0 && strncmp(mounts[mount_count - 1], directory, length) == 0)
		umount2(mounts[--mount_count], MNT_DETACH);
	for (unsigned i = 0; i < directory_count; i++) {
		if (strcmp(directories[i], directory) != 0)
			continue;
		nftw(directory, remove_entry, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
		directories[i][0] = '\0';
		break;
	}
}
