/* SPDX-License-Identifier: BSD-2-Clause */
/* managed.h - what managed.c and managed_map.c share. */
#ifndef LFS_MANAGED_H
#define LFS_MANAGED_H

#include <stdatomic.h>

#include "lfs.h"

#define PAGE_BYTES 4096u /* of the file: blocks */

struct lfs_managed {
	int file_fd;   /* as the application has opened it, or found again by path */
	int direct_fd; /* opened under a write lease; -1: not yet, or a read lease */
	char *path;    /* NULL: could not be told */
	bool user_faults;
	bool retired;          /* asks for nothing any more */
	atomic_bool ask_again; /* no event will tell when */
	uint64_t gave_way, came_back;
	int error;
};

/* A lease on a part that is a mapping of the file. `first`: nobody knows the address yet. */
int lfs_take_part_locked(struct leasefs_lease *l, uint64_t start, uint64_t end, bool first);
/* Where leases end: at the block that the file ends in. */
int lfs_find_limit(const struct leasefs_lease *l, uint64_t *limit);

#endif
