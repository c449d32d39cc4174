// SPDX-License-Identifier: BSD-2-Clause
/*
 * extent.c - the map as a whole: looked up, added to with merging, marked.
 *
 * Invariants (of every map between two calls)
 *  1. Extents are sorted and do not overlap.
 *  2. Two neighbours that continue each other in file, region and state are one, unless together
 *     they were longer than EXTENT_BLOCKS_MAX.
 *  3. record->blocks is the sum of their lengths.
 */
#include "extent.h"

#include <assert.h>
#include <errno.h>

#include "extent_map.h"

static uint64_t end_of(const struct extent *e)
{
	return e->file_block + e->blocks;
}

int extent_find(struct core *c, struct tx *tx, const struct inode *ip,
	const struct media_inode *record, uint64_t block, struct extent *out)
{
	struct extent e;
	int error = extent_map_le(c, tx, ip, record, block, &e);

	if (error == -ENOENT || (!error && end_of(&e) <= block))
		return extent_map_ge(c, tx, ip, record, block, out);
	if (!error)
		*out = e;
	return error;
}

static bool continues(const struct extent *a, const struct extent *b)
{
	return end_of(a) == b->file_block && a->region == b->region &&
	       a->region_block + a->blocks == b->region_block && a->unwritten == b->unwritten &&
	       a->blocks + b->blocks <= EXTENT_BLOCKS_MAX;
}

int extent_insert(struct core *c, struct tx *tx, const struct inode *ip, struct media_inode *record,
	const struct extent *extent)
{
	struct extent prev, next, merged = *extent;
	bool with_prev, with_next;
	int error;

	assert(extent->blocks > 0 && extent->blocks <= EXTENT_BLOCKS_MAX);
	error = extent_map_le(c, tx, ip, record, extent->file_block, &prev);
	if (error && error != -ENOENT)
		return error;
	if (!error && end_of(&prev) > extent->file_block)
		return -EUCLEAN;
	with_prev = !error && continues(&prev, extent);
	if (with_prev) {
		merged = prev;
		merged.blocks += extent->blocks;
	}

	error = extent_map_ge(c, tx, ip, record, extent->file_block, &next);
	if (error && error != -ENOENT)
		return error;
	if (!error && next.file_block < end_of(extent))
		return -EUCLEAN;
	with_next = !error && continues(&merged, &next);
	if (with_next)
		merged.blocks += next.blocks;

	error = 0;
	if (with_prev && with_next)
		error = extent_map_delete(c, tx, ip, record, next.file_block);
	if (error)
		return error;
	if (with_prev)
		error = extent_map_set(c, tx, ip, record, prev.file_block, &merged);
	else if (with_next)
		error = extent_map_set(c, tx, ip, record, next.file_block, &merged);
	else
		error = extent_map_add(c, tx, ip, record, &merged);
	if (!error)
		record->blocks += extent->blocks;
	return error;
}

int extent_map_cut(struct core *c, struct tx *tx, const struct inode *ip,
	struct media_inode *record, const struct extent *e, uint64_t start, uint64_t end)
{
	struct extent head = *e, tail = *e;
	int error;

	assert(e->file_block <= start && start < end && end <= end_of(e));
	if (record->blocks < end - start)
		return -EUCLEAN;
	head.blocks = start - e->file_block;
	tail.file_block = end;
	tail.region_block += end - e->file_block;
	tail.blocks = end_of(e) - end;

	if (head.blocks > 0)
		error = extent_map_set(c, tx, ip, record, e->file_block, &head);
	else if (tail.blocks > 0)
		error = extent_map_set(c, tx, ip, record, e->file_block, &tail);
	else
		error = extent_map_delete(c, tx, ip, record, e->file_block);
	if (!error && head.blocks > 0 && tail.blocks > 0)
		error = extent_map_add(c, tx, ip, record, &tail);
	if (!error)
		record->blocks -= end - start;
	return error;
}

int extent_mark(struct core *c, struct tx *tx, const struct inode *ip, struct media_inode *record,
	uint64_t block, uint64_t blocks, bool unwritten)
{
	uint64_t end = block + blocks;

	while (block < end) {
		struct extent e, piece;
		uint64_t stop;
		int error;

		error = extent_find(c, tx, ip, record, block, &e);
		if (error == -ENOENT || (!error && e.file_block > block))
			return -EUCLEAN;
		if (error)
			return error;
		stop = end_of(&e) < end ? end_of(&e) : end;
		if (e.unwritten != unwritten) {
			piece = (struct extent){
				.file_block = block,
				.region_block = e.region_block + (block - e.file_block),
				.blocks = stop - block,
				.region = e.region,
				.unwritten = unwritten,
			};
			error = extent_map_cut(c, tx, ip, record, &e, block, stop);
			if (!error)
				error = extent_insert(c, tx, ip, record, &piece);
			if (error)
				return error;
		}
		block = stop;
	}
	return 0;
}

int extent_walk(struct core *c, const struct inode *ip, const struct media_inode *record,
	uint64_t from, int (*visit)(void *context, const struct extent *extent), void *context)
{
	struct extent e;
	int error = extent_map_le(c, NULL, ip, record, from, &e);

	if (error && error != -ENOENT)
		return error;
	if (!error && end_of(&e) > from)
		from = e.file_block;
	return extent_map_walk(c, ip, record, from, visit, context);
}
