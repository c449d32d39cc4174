// SPDX-License-Identifier: BSD-2-Clause
/*
 * file.h - what the operations on a file's bytes share: for file_*.c, layout.c and setattr.c alone.
 *
 * A file's bytes are those of its written blocks; holes, unwritten blocks and blocks of a trim
 * range read as zeroes. What stands in a written block beyond the end of file means nothing:
 * whoever makes the size grow over it zeroes it first, up to the end of that block (file_grow()). A
 * block beyond the last one of the size was zeroed when it became written.
 *
 * The caller holds the inode's lock.
 */
#ifndef CORE_FILE_H
#define CORE_FILE_H

#include "extent.h"
#include "inode.h"
#include "pool.h"

static inline uint64_t block_down(uint64_t bytes)
{
	return bytes & ~(uint64_t)(BLOCK_SIZE - 1);
}
static inline uint64_t block_up(uint64_t bytes)
{
	return block_down(bytes + BLOCK_SIZE - 1);
}

/*
 * Takes the lock for writing, sees that it is a regular file, and finishes a trim that an error
 * interrupted, so that its range can be used again. -EISDIR, -EINVAL: not locked.
 */
int file_lock(struct core *c, struct inode *ip, const struct media_inode **record);

/* A transaction with the file's record in it, ready for extents: both or neither. */
int file_tx_begin(struct core *c, struct inode *ip, struct tx **tx, struct media_inode **record);

/* A run of bytes with one state, as a reader sees it. */
struct piece {
	uint64_t offset;
	uint64_t length;
	struct region *region; /* NULL: a hole */
	uint64_t region_offset;
	uint32_t region_number;
	bool unwritten;
};
/*
 * The pieces of [offset, end) as committed, in order and without gaps, until `visit` returns
 * non-zero: that is the result.
 */
int file_walk(struct core *c, const struct inode *ip, const struct media_inode *record,
	uint64_t offset, uint64_t end, int (*visit)(void *context, const struct piece *piece),
	void *context);

/* Zeroes what is written (as committed) in [start, end), in place; flushed and fenced. 0 or -EIO.
 */
int file_zero(struct core *c, const struct inode *ip, const struct media_inode *record,
	uint64_t start, uint64_t end);
/*
 * Before the commit of a larger size: zeroes what would come into sight of the last block. `skip`:
 * bytes from there on are the caller's own.
 */
int file_grow(struct core *c, const struct inode *ip, const struct media_inode *record,
	uint64_t size, uint64_t skip);

/* A change of the content by somebody without CAP_FSETID ends setuid, and setgid where it means it.
 */
void file_drop_privileges(struct media_inode *record, const struct core_cred *cred);

/*
 * Fills the holes of [first, end) with unwritten extents: all or nothing; the last transaction also
 * calls finish() (may be NULL) before it commits. -ENOSPC: nothing changed.
 */
int file_fill(struct core *c, struct inode *ip, uint64_t first, uint64_t end, unsigned flags,
	int (*finish)(void *context, struct tx *tx, struct media_inode *record), void *context);

/* core_write_begin() and _end() without the lock; w->offset is set, `last` allows a short write
 * for want of space, else that is -ENOSPC. Nothing is open after an error. */
int file_write_begin(struct core *c, struct core_write *w, bool last);
int file_write_end(struct core *c, struct core_write *w, uint64_t copied);

/*
 * Puts the blocks of a file, in a transaction that has changed record->uid, where that owner's
 * files are. The owner's region is there already. -ENOSPC; -E2BIG: too many extents for one
 * transaction.
 */
int file_move(struct core *c, struct tx *tx, struct inode *ip, struct media_inode *record);
/* The same in transactions of its own, before the owner changes: no limit. */
int file_move_many(struct core *c, struct inode *ip, uint32_t uid);

/* 2 MiB of zeroes to read from. NULL: no memory. */
void *file_zeroes(void);
#define FILE_ZEROES_BYTES ((uint64_t)HUGE_SIZE)

#endif
