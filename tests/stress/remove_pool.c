// SPDX-License-Identifier: BSD-2-Clause
/*
 * remove_pool.c - takes away what a tester made in its directory.
 */
#include <ftw.h>
#include <stdio.h>
#include <unistd.h>

#include "target.h"

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st;
	(void)type;
	(void)at;
	remove(path);
	return 0;
}

void remove_pool(const char *directory)
{
	char path[4200];
	snprintf(path, sizeof(path), "%s/pool", directory);
	nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
	snprintf(path, sizeof(path), "%s/log", directory);
	unlink(path);
	snprintf(path, sizeof(path), "%s/mnt", directory);
	rmdir(path);
}
