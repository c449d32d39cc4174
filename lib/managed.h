/* SPDX-License-Identifier: BSD-2-Clause */
/* managed.h - what managed.c and managed_map.c share. */
#ifndef LFS_MANAGED_H
#define LFS_MANAGED_H

#include <stdatomic.h>

#include "lfs.h"

#define PAGE_BYTES 4096u /* of the file: blocks */

struct lfs_managed {
	pthread_mutex_t taking; /* outside of lease.lock */
	int file_fd;            /* as the application has opened it, or found again by path */
	int direct_fd;          /* opened under a write lease; -1: not yet, or a read lease */
	char *path;             /* NULL: could not be told */
	bool user_faults;
	bool retired;               /* asks for nothing any more */
	bool stays;                 /* retired, but its memory is not going to be unmapped */
	_Atomic uint64_t ask_at_ns; /* when to ask, if no event tells sooner; 0: not */
	uint64_t delay_ns;          /* from giving way to asking */
	uint64_t came_back_ns;
	uint64_t gave_way, came_back;
	int error;
};

/*
 * Who has recalled a range is to get it, before it is asked for again; and whose range is recalled
 * again and again asks ever later.
 */
#define ASK_DELAY_NS 5000000ull
#define ASK_DELAY_MAX_NS 100000000ull
#define ASK_AGAIN_NS 50000000ull /* after too many requests at once, or a call that failed */

/*
 * A lease on a part that is a mapping of the file; its piece is `coming`. It may have become none,
 * where the file has become shorter: then *id is 0. Between this and the next look at it another
 * thread may answer a recall of it, and it is no more.
 */
int lfs_take_part_locked(struct leasefs_lease *l, uint64_t start, uint64_t end, uint64_t *id);
void lfs_give_up_locked(struct leasefs_lease *l, uint64_t id);
/* `past_cache`: by a descriptor whose mapping makes the kernel drop the file's cache. */
int lfs_map_file_locked(struct leasefs_lease *l, uint64_t start, uint64_t end, bool past_cache);
/* Is there a way to leave again? 0, or why not. */
int lfs_prepare_first_locked(struct leasefs_lease *l);
/* Where leases end: at the block that the file ends in. */
int lfs_find_limit(const struct leasefs_lease *l, uint64_t *limit);
bool lfs_is_write(const struct leasefs_lease *l);
/* The same file, opened anew: with the cache or past it, as the daemon says now. */
int lfs_open_again(int fd, bool write);
/* Also tells whether the kernel can map such a descriptor at all. */
int lfs_need_direct_fd(struct lfs_managed *m);

#endif
