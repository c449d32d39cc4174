// SPDX-License-Identifier: BSD-2-Clause
/*
 * pool.h - the pool directory: its files, its lock, its regions; and struct core itself.
 *
 *   POOL/meta      metadata region, mode 0600
 *   POOL/data.N    data regions: 0600 (domains uid: the owner's), or 0660 with the lease group
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
	char *tag_fault; /* why it is not taken for the pool's region (tag.h); NULL: it is */
	bool refused;    /* for that reason nothing of it is used */
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
	uint64_t roots;             /* offset of media_roots */
	uint64_t stamp, next_stamp; /* those of media_roots; change while it is opened, by tag.c */
	const struct core_progress *progress; /* mkfs's, or NULL */

	pthread_mutex_t rename_lock;

	/* tables_lock guards media_roots with its trees, and regions[]. regions[i] once set stays:
	 * it is published with release order and read without the lock. */
	pthread_mutex_t tables_lock;
	struct data_region *_Atomic regions[CORE_REGIONS_MAX];
	_Atomic uint32_t region_count;

	/* Blocks of all data regions together, against super.pool_bytes (domains=uid). */
	_Atomic uint64_t data_blocks_free;
};

static inline void core_step(struct core *c, const char *what, uint64_t done, uint64_t total)
{
	if (c->progress)
		c->progress->step(c->progress->context, what, done, total);
}

/* Opens the directory of c->options and sets c->path. Changes nothing, whatever is there. */
int pool_open(struct core *c, struct diag *d);
/*
 * Opens run/, and makes it if need be; takes the lock: for writing, or with read_only for reading,
 * beside other readers. Waits up to lock_wait_ms. -EBUSY names the holder.
 */
int pool_lock(struct core *c, struct diag *d);
void pool_unlock(struct core *c);
/* Opens POOL/name as a directory, never through a symlink; `make`: makes it if it is not there. */
int pool_open_dir(int dir_fd, const char *name, bool make, int *out, struct diag *d);

/*
 * Superblock: the valid one of the pair with the higher generation, bounded and cross-checked with
 * the region's size. -EUCLEAN, -EPROTONOSUPPORT. Unknown ro_compat features are the caller's
 * business: core_open() refuses to write.
 */
int super_read(struct region *meta, struct media_super *out, struct diag *d);
/* One of the pair, 0 or 1, on its own, for fsck.leasefs. */
int super_read_copy(struct region *meta, unsigned which, struct media_super *out, struct diag *d);
/* Both, durable, checksums made here. 0 or -EIO. */
int super_write(struct region *meta, struct media_super *super);

/*
 * core_open() in steps, so that mkfs and fsck can stand on the lower ones alone. core_new() gives a
 * struct core in which nothing is open; core_free() closes whatever is, and writes nothing (a
 * journal that is open is abandoned).
 *   core_open_pool      the directory, which must look like a pool, and its lock
 *   core_open_meta      the metadata region and its superblock
 *   core_open_journal   log replayed, struct meta
 *   core_open_spaces    heap and inode spaces, trees of media_roots: tables_load()
 */
int core_new(const struct core_options *options, struct core **out, struct diag *d);
void core_free(struct core *c);
int core_open_pool(struct core *c, struct diag *d);
int core_open_meta(struct core *c, struct diag *d);
int core_open_journal(struct core *c, struct diag *d);
int core_open_spaces(struct core *c, struct diag *d);
/*
 * All data regions durable; takes no lock. A lost one (region.h) is passed over: its files have
 * their errors, and what an owner does to their own region must not stop everybody else's commits.
 * One that was refused when the pool was opened is none to begin with.
 */
int core_sync_regions(struct core *c, bool *lost);
/* journal_sync(), by those who may write: that the media failed earlier is their -EIO as well. */
int core_sync_journal(struct core *c);
void core_journal_config(struct core *c, struct journal_config *out);

#define HEAP_GROUP_BYTES ((uint64_t)GROUP_BITS * BLOCK_SIZE)
static inline uint32_t heap_groups(const struct media_super *super)
{
	return (uint32_t)((super->heap_blocks + GROUP_BITS - 1) / GROUP_BITS);
}
static inline uint64_t heap_group_offset(const struct media_super *super, uint32_t group)
{
	return super->heap_offset + group * HEAP_GROUP_BYTES;
}
static inline uint32_t heap_group_units(const struct media_super *super, uint32_t group)
{
	uint64_t left = super->heap_blocks - (uint64_t)group * GROUP_BITS;

	return left < GROUP_BITS ? (uint32_t)left : GROUP_BITS;
}

/*
 * tables.c: space groups and regions, as the trees of media_roots have them. The two that make
 * something run transactions of their own: their caller has none open (tx.h: one a thread).
 */
int tables_load(struct core *c, struct diag *d);
/* Adds an inode group; heap groups are static. -ENOSPC when the heap is full. */
int tables_grow_inodes(struct core *c);
/* The region for a file of that owner, made when it is the first. -ENOSPC, -EACCES, ... */
int tables_region_for(struct core *c, uint32_t uid, struct data_region **out);
struct data_region *tables_region(struct core *c, uint32_t number); /* NULL: none */
struct btree tables_tree(struct core *c);                           /* owner 0 */
/*
 * Enters a region that was just made, with its space; `external` is an absolute path, or NULL for
 * data.N. Takes `region` over in any case. The caller holds tables_lock, or is alone.
 */
int tables_add_region(struct core *c, uint32_t number, const struct media_region *media,
	const char *external, struct region *region);
void tables_close(struct core *c);
void core_uuid_text(const uint8_t uuid[16], char out[37]);
#define REGION_PATH_MAX (BTREE_VALUE_MAX - sizeof(struct media_region))

/*
 * The budget of data blocks over all regions (domains=uid; with one region the region is the limit,
 * and taking always succeeds). Take before space_alloc(), give back after an abort or when a
 * freeing transaction has committed. 0 or -ENOSPC.
 */
int core_budget_take(struct core *c, uint64_t blocks);
void core_budget_give(struct core *c, uint64_t blocks);

/*
 * reclaim.c: after -ENOSPC. Makes what was freed but is not durable yet reusable: journal_sync()
 * and space_reap() of every space. False: nothing was waiting, so a second try would end the same
 * way. No lock may be held. An operation asks at most once:
 *
 *     do {
 *             r = try();
 *     } while (r == -ENOSPC && core_reclaim(c, &asked));
 */
bool core_reclaim(struct core *c, bool *asked);

#endif
