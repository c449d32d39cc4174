// SPDX-License-Identifier: BSD-2-Clause
/*
 * file_move.c - all of a file's blocks into another owner's region, for chown with --domains=uid.
 *
 * The new blocks are taken and filled first, beside the map; then the old extents go and the new
 * ones come, and the owner changes, in the same transaction: a crash shows the file in one region
 * or in the other. Without space for both, -ENOSPC and nothing happened.
 *
 * One transaction has a limit: a file of more extents than fit (some hundreds) is -E2BIG here.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "file.h"

struct moving {
	struct core *c;
	struct tx *tx;
	struct inode *ip;
	struct media_inode *record;
	struct extent *old;
	size_t count;
	size_t room;
};

static int collect(void *context, const struct extent *e)
{
	struct moving *m = context;

	if (m->count == m->room) {
		size_t room = m->room ? m->room * 2 : 16;
		struct extent *to = realloc(m->old, room * sizeof(*to));

		if (!to)
			return -ENOMEM;
		m->old = to;
		m->room = room;
	}
	m->old[m->count++] = *e;
	return 0;
}

/* The bytes of a new extent, from the extents that held them. */
static int copy_extent(const struct moving *m, const struct extent *from, const struct extent *to)
{
	struct region *source = tables_region(m->c, from->region)->region;
	struct region *target = tables_region(m->c, to->region)->region;
	uint64_t bytes = to->blocks << BLOCK_SHIFT;
	uint64_t from_offset = (from->region_block + (to->file_block - from->file_block))
			       << BLOCK_SHIFT;
	uint64_t to_offset = to->region_block << BLOCK_SHIFT;
	int error;

	if (from->unwritten)
		return 0;
	region_store(target, to_offset, region_at(source, from_offset, bytes), bytes);
	error = region_flush(target, to_offset, bytes);
	region_fence(target);
	return error;
}

static int move_extent(struct moving *m, const struct extent *old)
{
	uint64_t block = old->file_block, end = old->file_block + old->blocks;

	while (block < end) {
		struct extent e;
		int error;

		/* Parts of a unit that was taken whole are there already. */
		error = extent_find(m->c, m->tx, m->ip, m->record, block, &e);
		if (error && error != -ENOENT)
			return error;
		if (!error && e.file_block <= block) {
			uint64_t stop = e.file_block + e.blocks;

			e.region_block += block - e.file_block;
			e.file_block = block;
			e.blocks = (stop < end ? stop : end) - block;
			error = old->unwritten ? 0
					       : extent_mark(m->c, m->tx, m->ip, m->record, block,
							 e.blocks, false);
		} else {
			error = extent_allocate(m->c, m->tx, m->ip, m->record, block, end - block,
				old->unwritten ? EXTENT_NEW_UNWRITTEN : 0, &e);
		}
		if (!error)
			error = copy_extent(m, old, &e);
		if (error)
			return error;
		block = e.file_block + e.blocks;
	}
	return 0;
}

/*
 * Everything in one transaction: the old blocks are free only when it commits, so the new ones are
 * others although the map lets go of the old ones first.
 */
int file_move(struct core *c, struct tx *tx, struct inode *ip, struct media_inode *record)
{
	struct moving m = {.c = c, .tx = tx, .ip = ip, .record = record};
	const struct media_inode *view;
	bool left;
	int error = inode_view(c, NULL, ip, &view);

	if (!error)
		error = extent_walk(c, ip, view, 0, collect, &m);
	if (!error)
		error = extent_remove(c, tx, ip, record, 0, FILE_BLOCKS_MAX, &left);
	if (!error && left)
		error = -E2BIG;
	for (size_t i = 0; !error && i < m.count; i++)
		error = move_extent(&m, &m.old[i]);
	free(m.old);
	return error;
}
