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
 * While the last count of an orphan is being answered its entry stays in the cache as `dying`:
 * inode_get() of its number waits until that has ended, because the number may have begun its next
 * life a moment before, and is -ESTALE then if it has not. (An orphan that could not be freed is
 * left to recovery.)
 *
 * Invariants
 *  1. An inode in the cache is in use on media, or made by a transaction that has not ended, and
 *     its checksum was verified when it came in.
 *  2. Whoever changes the record holds inode.lock for writing until its transaction has ended.
 *  3. The orphan's blocks are freed before its number; each step is a transaction that leaves it
 *     an orphan, the last one clears both of its bits.
 *
 *  4. A record changes only while its inode is in the cache: so it may be read without inode.lock
 *     under the shard's lock when it is not.
 *
 * Locks: cache shard locks are leaves: nothing else is taken under one.
 */
#ifndef CORE_INODE_H
#define CORE_INODE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "btree.h"
#include "core.h"
#include "format.h"
#include "tx.h"

struct inode {
	uint64_t ino;
	uint64_t record;    /* offset of the media_inode in the metadata region */
	uint64_t count;     /* guarded by the shard's lock */
	struct inode *next; /* in the shard's bucket */
	pthread_rwlock_t lock;
	uint32_t generation;
	_Atomic uint64_t word; /* the caller's */
	/* Guarded by lock. */
	uint32_t goal_region;
	uint64_t goal; /* where the next block of the file would best stand; SPACE_ANYWHERE */
	uint64_t stores_start; /* where lease holders may have stored directly: for fsync */
	uint64_t stores_end;   /* them; none while both are 0 */
	/* A hint that nlink may be 0, for the last put: set under the write lock, never cleared. */
	bool orphan;
	bool linkable; /* O_TMPFILE: nlink 0, and yet core_link() may name it */
	/* Guarded by the shard's lock. */
	bool dying;
	bool hashed;
};

struct icache;
int icache_open(struct core *c, struct icache **out);
void icache_close(struct icache *cache); /* entries left are dropped; their counts are forgotten */
uint64_t icache_entries(struct icache *cache);
/* For inode_alloc(): a number that its transaction has taken. Counted once. -ENOMEM, -EUCLEAN. */
int icache_add(struct core *c, uint64_t ino, uint32_t generation, bool orphan, struct inode **out);

/* Counted. -ESTALE: not in use; -EUCLEAN: damaged. */
int inode_get(struct core *c, uint64_t ino, struct inode **out);
int inode_get_orphan(struct core *c, uint64_t ino, struct inode **out); /* recovery: or one */
void inode_hold(struct core *c, struct inode *ip, uint64_t n);
void inode_put(struct core *c, struct inode *ip, uint64_t n); /* no lock may be held */

/* Two and more are locked in rising number; NULLs and repeats are passed over. */
void inode_lock_many(struct inode **inodes, int count); /* sorts the array; for writing */
void inode_unlock_many(struct inode **inodes, int count);
void inode_lock_read(struct inode *ip);
void inode_lock_write(struct inode *ip);
void inode_unlock(struct inode *ip);

int inode_view(
	struct core *c, struct tx *tx, const struct inode *ip, const struct media_inode **out);
int inode_edit(struct core *c, struct tx *tx, const struct inode *ip, struct media_inode **out);

/*
 * Takes a free number and makes its record: mode, owner, times; nlink as given (0: an orphan from
 * the beginning, as O_TMPFILE wants it). In the cache with one count, not locked: nobody can name
 * it before the commit. Payload: regular files an empty map, directories an empty tree, else none.
 * If the transaction is aborted, or its commit fails, the caller calls inode_discard().
 *
 * -ENOSPC: no number is free, or the heap is full. The operation aborts, calls inode_ensure_free()
 * with no transaction open, and tries once more if that returned 0.
 */
int inode_alloc(struct core *c, struct tx *tx, uint32_t mode, uint32_t uid, uint32_t gid,
	uint32_t nlink, struct inode **out, struct media_inode **record);
/* One that inode_alloc() made, after an abort. */
void inode_discard(struct core *c, struct inode *ip);

/* A free number for the next inode_alloc(): adds an inode group if there is none. Takes a
 * transaction of its own. -ENOSPC. */
int inode_ensure_free(struct core *c);

/* Sets or clears the attention bit of the inode when tx commits. */
int inode_attention(struct core *c, struct tx *tx, uint64_t ino, bool on);

/* One link less, ctime; the last one makes it an orphan. A directory loses all of its links at
 * once. The caller holds the lock for writing. */
int inode_drop_link(struct core *c, struct tx *tx, struct inode *ip, struct media_inode *record);
/* Frees what a trim range names, and ends it. The caller holds the lock for writing; no transaction
 * is open. Nothing to do: 0. After an error the range is still there. */
int inode_finish_trim(struct core *c, struct inode *ip);
/* Frees an orphan whose last count went: blocks, trees, number. For inode_put(). */
int inode_free(struct core *c, struct inode *ip);
/* Recovery: finishes every orphan and trim; what is damaged is passed over. *finished counts them.
 * -EIO, -ENOMEM. */
int inode_recover_all(struct core *c, uint64_t *finished);

void inode_touch(struct core *c, struct media_inode *record, bool mtime); /* ctime, and mtime */
void inode_now(struct core *c, struct timespec *now);
struct btree inode_tree(struct core *c, const struct inode *ip);

#endif
