// SPDX-License-Identifier: BSD-2-Clause
/*
 * extent.h - the map from a file's blocks to regions' blocks.
 *
 * Up to INODE_EXTENTS extents stand in the inode; with one more they move to a tree (key:
 * file_block, value: media_run) and stay there until the map is empty. Extents are sorted, do not
 * overlap, and neighbours that continue each other (file, region, state) are one.
 *
 * All functions: the caller holds the inode's lock (for writing where `record` is a shadow), and
 * blocks are in units of BLOCK_SIZE. record->blocks is kept in step.
 */
#ifndef CORE_EXTENT_H
#define CORE_EXTENT_H

#include <stdbool.h>
#include <stdint.h>

#include "format.h"
#include "inode.h"

#define FILE_BLOCKS_MAX (FILE_BYTES_MAX >> BLOCK_SHIFT)

struct extent {
	uint64_t file_block;
	uint64_t region_block;
	uint64_t blocks;
	uint32_t region;
	bool unwritten;
};

/* The extent that holds `block`, or the first after it. -ENOENT past the last. */
int extent_find(struct core *c, struct tx *tx, const struct inode *ip,
	const struct media_inode *record, uint64_t block, struct extent *out);
/*
 * Adds or merges one where the map has a hole (else -EUCLEAN). -ENOSPC: the heap is full. After an
 * error of this and all that follow the transaction is to be aborted.
 */
int extent_insert(struct core *c, struct tx *tx, const struct inode *ip, struct media_inode *record,
	const struct extent *extent);
/* Marks [block, block+blocks), which has no holes (else -EUCLEAN), as written or unwritten; splits
 * and merges as needed. */
int extent_mark(struct core *c, struct tx *tx, const struct inode *ip, struct media_inode *record,
	uint64_t block, uint64_t blocks, bool unwritten);
/*
 * Takes [block, end) out of the map and frees the blocks, telling the arbiter. As much as the
 * transaction has room for, from the end backwards; *left says whether there is more (then set a
 * trim range and go on in another transaction).
 *
 * A region with an allocation unit of 2 MiB has every unit of a file's blocks mapped whole or not
 * at all. Only whole units are freed there; the rest of the range becomes unwritten.
 */
int extent_remove(struct core *c, struct tx *tx, const struct inode *ip, struct media_inode *record,
	uint64_t block, uint64_t end, bool *left);
/*
 * Allocates for the hole [block, block+blocks): at most one extent that begins at `block`; *out is
 * what came of it. The region is that of the file's owner, which must be there already
 * (tables_region_for() takes a transaction of its own when it makes one).
 *
 * Placement: EXTENT_HUGE (a lease), 2 MiB and more at once, and files that have grown to 1 MiB and
 * are appended to, take whole 2 MiB units at the file's own offset in them; they continue where
 * they stopped, so that files which grow side by side do not interleave. All else goes where the
 * file's last block was, or fills units that are broken already.
 */
#define EXTENT_NEW_UNWRITTEN 1u /* the new extent is unwritten */
#define EXTENT_HUGE 2u
int extent_allocate(struct core *c, struct tx *tx, struct inode *ip, struct media_inode *record,
	uint64_t block, uint64_t blocks, unsigned flags, struct extent *out);
/*
 * A transaction in which extents are allocated or removed begins and ends with these: they keep the
 * budget of data blocks (pool.h) in step with what was committed.
 */
int extent_tx_begin(struct core *c, struct tx **out);
int extent_tx_commit(struct core *c, struct tx *tx);
void extent_tx_abort(struct core *c, struct tx *tx);
/* From the extent that holds `from`, or the first after it; as committed. Results are passed on. */
int extent_walk(struct core *c, const struct inode *ip, const struct media_inode *record,
	uint64_t from, int (*visit)(void *context, const struct extent *extent), void *context);

#endif
