// SPDX-License-Identifier: BSD-2-Clause
/*
 * inode.h - the inode cache, and the inodes' life: allocated, linked, orphaned, freed.
 *
 * A struct inode is the in-memory side of one media_inode: its lock and its counts. It is in the
 * cache while its count is above zero, and dropped with the last count (the record stays mapped).
 * Nothing of the record is copied: readers hold the lock and look at it through inode_view().
 *
 *   on media          nlink  attention  who ends it
 *   free                -        0      inode_alloc
 *   linked             >0        0      last unlink -> orphan
 *   linked, trimming   >0        1      trim_finish (or recovery)
 *   orphan              0        1      inode_put of the last count, or recovery -> free
 *
 * Invariants
 *  1. An inode in the cache is in use on media, and its checksum was verified when it came in.
 *  2. Whoever changes the record holds inode.lock for writing until its transaction has ended.
 *  3. The orphan's blocks are freed before its number; each step is a transaction that leaves it
 *     an orphan, the last one clears both of its bits.
 *
 * Locks: cache shard locks are leaves: nothing else is taken under one.
 */
#ifndef CORE_INODE_H
#define CORE_INODE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "btree.h"
#include "core.h"
#include "format.h"
#include "tx.h"

struct inode {
	uint64_t ino;
	uint64_t record;  /* offset of the media_inode in the metadata region */
	uint64_t count;   /* guarded by the shard's lock */
	struct inode *next; /* in the shard's bucket */
	pthread_rwlock_t lock;
	uint32_t generation;
	/* Guarded by lock. */
	uint64_t goal; /* where the next block of the file would best stand; SPACE_ANYWHERE */
	uint32_t goal_region;
	/* Set under lock for writing, looked at when the last count goes. */
	bool orphan;
};

struct icache;
int icache_open(struct core *c, struct icache **out);
void icache_close(struct icache *cache); /* entries left are dropped; their counts are forgotten */
uint64_t icache_entries(struct icache *cache);

/* Counted. -ESTALE: not in use; -EUCLEAN: damaged. */
int inode_get(struct core *c, uint64_t ino, struct inode **out);
void inode_hold(struct core *c, struct inode *ip, uint64_t n);
void inode_put(struct core *c, struct inode *ip, uint64_t n); /* no lock may be held */

/* Two and more are locked in rising number; NULLs and repeats are passed over. */
void inode_lock_many(struct inode **inodes, int count); /* sorts the array; for writing */
void inode_unlock_many(struct inode **inodes, int count);

int inode_view(struct core *c, struct tx *tx, const struct inode *ip, const struct media_inode **out);
int inode_edit(struct core *c, struct tx *tx, const struct inode *ip, struct media_inode **out);

/*
 * Takes a free number and makes its record: mode, owner, times; nlink as given. In the cache with
 * one count. If the transaction is aborted the caller calls inode_discard().
 */
int inode_alloc(struct core *c, struct tx *tx, uint32_t mode, uint32_t uid, uint32_t gid,
	uint32_t nlink, struct inode **out, struct media_inode **record);
void inode_discard(struct core *c, struct inode *ip); /* one that inode_alloc made, after an abort */

/* Sets or clears the attention bit of the inode when tx commits. */
int inode_attention(struct core *c, struct tx *tx, uint64_t ino, bool on);

/* One link less; the last one makes it an orphan. The caller holds the lock for writing. */
int inode_drop_link(struct core *c, struct tx *tx, struct inode *ip, struct media_inode *record);
/* Recovery: finishes every orphan and trim. *finished counts them. */
int inode_recover_all(struct core *c, uint64_t *finished);

void inode_touch(struct core *c, struct media_inode *record, bool mtime); /* ctime, and mtime */
void inode_now(struct core *c, struct timespec *now);
struct btree inode_tree(struct core *c, const struct inode *ip);

#endif
