// SPDX-License-Identifier: BSD-2-Clause
/*
 * scratch_pool.h - a small pool in a private directory, for unit tests of what stands on
 * core_open().
 */
#ifndef TESTS_UNIT_SCRATCH_POOL_H
#define TESTS_UNIT_SCRATCH_POOL_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <setjmp.h>
#include <cmocka.h>

#include "pool.h"

struct scratch_pool {
	const char *directory;
	char path[512];
	struct core *c;
};

/* Under /dev/shm, or, with LEASEFS_TEST_PAGE_CACHE in the environment, under $TMPDIR or /tmp. */
void scratch_pool_make(struct scratch_pool *p, uint64_t pool_bytes, uint64_t meta_bytes);
void scratch_pool_make_domains(struct scratch_pool *p, uint64_t pool_bytes); /* DOMAINS_UID */
/* Its data are in that file, all of it; whatever was there is gone. */
void scratch_pool_make_on(struct scratch_pool *p, const char *data);
/* Opens it again with region 0 as one that is allocated by units of 2 MiB. It must be empty. */
void scratch_pool_use_units(struct scratch_pool *p);
void scratch_pool_open(struct scratch_pool *p);
void scratch_pool_reopen(struct scratch_pool *p); /* in good order */
void scratch_pool_crash(struct scratch_pool *p);  /* as after the daemon's death */
void scratch_pool_remove(struct scratch_pool *p);

/* A file or other inode with that many links and no name. Counted once. */
struct inode *scratch_inode(struct core *c, uint32_t mode, uint32_t nlink);
/* Takes the last link away. */
void scratch_unlink(struct core *c, struct inode *ip);
/* Of region 0, or of that one; those that wait included. */
uint64_t scratch_free_blocks(struct core *c);
uint64_t scratch_region_free_blocks(struct core *c, uint32_t region);

/* Of one file: its size, the blocks that it has; and its extents, after checking the map. */
uint64_t scratch_size(struct core *c, struct inode *ip);
uint64_t scratch_blocks(struct core *c, struct inode *ip);
uint64_t scratch_check_map(struct core *c, struct inode *ip);

#endif
