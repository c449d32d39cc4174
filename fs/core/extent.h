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
/* Adds or merges one where the map has a hole (asserted). -ENOSPC, -EUCLEAN, -E2BIG. */
int extent_insert(struct core *c, struct tx *tx, const struct inode *ip, struct media_inode *record,
	const struct extent *extent);
/* Marks [block, block+blocks) as written, or unwritten; splits and merges as needed. */
int extent_mark(struct core *c, struct tx *tx, const struct inode *ip, struct media_inode *record,
	uint64_t block, uint64_t blocks, bool unwritten);
/*
 * Takes [block, end) out of the map and frees the blocks, telling the arbiter. As much as the
 * transaction has room for, from the END backwards or the start forwards as it likes; *left says
 * whether there is more (then set a trim range and go on in another transaction).
 */
int extent_remove(struct core *c, struct tx *tx, const struct inode *ip, struct media_inode *record,
	uint64_t block, uint64_t end, bool *left);
/* Allocates for the hole [block, block+blocks): at most one extent; *out is what came of it. */
int extent_allocate(struct core *c, struct tx *tx, struct inode *ip, struct media_inode *record,
	uint64_t block, uint64_t blocks, bool unwritten, struct extent *out);
int extent_walk(struct core *c, const struct inode *ip, const struct media_inode *record,
	uint64_t from, int (*visit)(void *context, const struct extent *extent), void *context);

#endif
