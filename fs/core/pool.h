// SPDX-License-Identifier: BSD-2-Clause
/*
 * pool.h - the pool directory: its files, its lock, its regions; and struct core itself.
 *
 *   POOL/meta      metadata region, mode 0600
 *   POOL/data.N    data regions (single: 0600, or 0660 with the lease group; uid: 0600, the owner's)
 *   POOL/run/      lock, and live state that belongs to one boot
 *
 * Every path is opened relative to the directory's descriptor and never through a symlink, so that
 * somebody who can write into the pool's parent cannot lead the daemon elsewhere.
 *
 * The lock is an OFD write lock on run/lock, whose content names the holder's pid.
 */
#ifndef CORE_POOL_H
#define CORE_POOL_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "core.h"
#include "format.h"
#include "inode.h"
#include "journal.h"
#include "region.h"
#include "space.h"
#include "tx.h"

/* One data region, with what is free in it. In core.regions from open or creation to the close. */
struct data_region {
	uint32_t number;
	struct media_region media;
	char path[4096]; /* absolute */
	struct region *region;
	struct space *space;
};

#define CORE_REGIONS_MAX 4096u

struct core {
	int dir_fd;
	int run_fd;
	int lock_fd;
	char *path; /* absolute */
	struct core_options options;
	struct media_super super; /* a copy; never changes while open */
	struct region *meta_region;
	struct journal *journal;
	struct meta *meta;
	struct space *heap;
	struct space *inodes;
	struct icache *icache;
	struct core_arbiter arbiter;
	struct journal_recovery recovery;
	uint64_t recovered_inodes;
	double open_seconds;
	uint64_t roots; /* offset of media_roots */

	pthread_mutex_t rename_lock;

	/* tables_lock guards media_roots with its trees, and regions[]. regions[i] once set stays:
	 * it is published with release order and read without the lock. */
	pthread_mutex_t tables_lock;
	struct data_region *_Atomic regions[CORE_REGIONS_MAX];
	_Atomic uint32_t region_count;

	/* Blocks of all data regions together, against super.pool_bytes (domains=uid). */
	_Atomic uint64_t data_blocks_free;
};

/* Opens POOL and run/, takes the lock. -EBUSY names the holder. */
int pool_lock(struct core *c, struct diag *d);
void pool_unlock(struct core *c);
/* Superblock: the valid one of the pair with the higher generation. */
int super_read(struct region *meta, struct media_super *out, struct diag *d);
int super_write(struct region *meta, struct media_super *super); /* both, checksums made here */

/* tables.c: space groups and regions, as the trees of media_roots have them. */
int tables_load(struct core *c, struct diag *d);
/* Adds an inode group / a heap group is static. -ENOSPC when the heap is full. */
int tables_grow_inodes(struct core *c);
/* The region for a file of that owner, made when it is the first. */
int tables_region_for(struct core *c, uint32_t uid, struct data_region **out);
struct data_region *tables_region(struct core *c, uint32_t number); /* NULL: none */
struct btree tables_tree(struct core *c); /* owner 0 */

/*
 * reclaim.c: after -ENOSPC. Makes what was freed but is not durable yet reusable: journal_sync() and
 * space_reap() of every space. False: nothing was waiting, so a second try would end the same way.
 * No lock may be held. An operation asks at most once:
 *	do {
 *		r = try();
 *	} while (r == -ENOSPC && core_reclaim(c, &asked));
 */
bool core_reclaim(struct core *c, bool *asked);

#endif
