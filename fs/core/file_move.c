// SPDX-License-Identifier: BSD-2-Clause
/*
 * file_move.c - all of a file's blocks into another owner's region, for chown with --domains=uid.
 *
 * As a rule one transaction takes the old extents out, puts new ones with the same bytes in, and
 * changes the owner: a crash shows the file in one region or in the other. The old blocks are free
 * only when it commits, so the new ones are others although the map lets go of the old ones first.
 *
 * A file of more extents than fit is copied to an orphan first, which belongs to the new owner and
 * which recovery would end; then the extents change hands, some in each transaction. Whatever ends
 * that early leaves the file with its bytes and its owner, its blocks in both regions.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "extent_map.h"
#include "file.h"

static int in_region(void *context, const struct extent *e)
{
	return e->region == *(const uint32_t *)context ? 0 : 1;
}

/* The bytes of new extent `to`, from the extent that holds them. */
static int copy_extent(struct core *c, const struct extent *from, const struct extent *to)
{
	struct region *source = tables_region(c, from->region)->region;
	struct region *target = tables_region(c, to->region)->region;
	uint64_t bytes = to->blocks << BLOCK_SHIFT;
	uint64_t from_offset = (from->region_block + (to->file_block - from->file_block))
			       << BLOCK_SHIFT;
	uint64_t to_offset = to->region_block << BLOCK_SHIFT;
	int error;

	if (from->unwritten)
		return 0;
	if (region_lost(source))
		return -EIO;
	region_store(target, to_offset, region_at(source, from_offset, bytes), bytes);
	error = region_flush(target, to_offset, bytes);
	region_fence(target);
	return error;
}

/*
 * Blocks with the bytes of `old` for the map of `ip`, from *block on to the end of `old`, as many
 * as one extent has.
 */
static int copy_step(struct core *c, struct tx *tx, struct inode *ip, struct media_inode *record,
	const struct extent *old, uint64_t *block)
{
	uint64_t end = old->file_block + old->blocks;
	struct extent e;
	int error = extent_find(c, tx, ip, record, *block, &e);

	if (error && error != -ENOENT)
		return error;
	if (!error && e.file_block <= *block) {
		/* A part of a unit that was taken whole: unwritten as yet. */
		uint64_t stop = e.file_block + e.blocks;

		e.region_block += *block - e.file_block;
		e.file_block = *block;
		e.blocks = (stop < end ? stop : end) - *block;
		error = old->unwritten ? 0
				       : extent_mark(c, tx, ip, record, *block, e.blocks, false);
	} else {
		error = extent_allocate(c, tx, ip, record, *block, end - *block,
			old->unwritten ? EXTENT_NEW_UNWRITTEN : 0, &e);
	}
	if (!error)
		error = copy_extent(c, old, &e);
	if (!error)
		*block = e.file_block + e.blocks;
	return error;
}

/* ---- in one transaction ---------------------------------------------------------------------- */

#define MOVE_EXTENTS_MAX 1024u

struct collected {
	struct extent *extents;
	size_t count;
};

static int collect(void *context, const struct extent *e)
{
	struct collected *m = context;

	if (m->count == MOVE_EXTENTS_MAX)
		return -E2BIG;
	m->extents[m->count++] = *e;
	return 0;
}

static int replace_all(struct core *c, struct tx *tx, struct inode *ip, struct media_inode *record,
	const struct collected *old)
{
	bool left;
	int error = extent_remove(c, tx, ip, record, 0, FILE_BLOCKS_MAX, &left);

	if (!error && left)
		error = -E2BIG;
	for (size_t i = 0; !error && i < old->count; i++) {
		const struct extent *e = &old->extents[i];
		uint64_t block = e->file_block;

		while (!error && block < e->file_block + e->blocks)
			error = copy_step(c, tx, ip, record, e, &block);
	}
	return error;
}

int file_move(struct core *c, struct tx *tx, struct inode *ip, struct media_inode *record)
{
	struct collected old = {.count = 0};
	const struct media_inode *view;
	struct data_region *dr;
	int error;

	error = tables_region_for(c, record->uid, &dr);
	if (!error)
		error = inode_view(c, NULL, ip, &view);
	if (!error)
		error = extent_walk(c, ip, view, 0, in_region, &dr->number);
	if (error <= 0)
		return error; /* or they are there already */
	old.extents = malloc(MOVE_EXTENTS_MAX * sizeof(*old.extents));
	if (!old.extents)
		return -ENOMEM;
	error = extent_walk(c, ip, view, 0, collect, &old);
	if (!error)
		error = replace_all(c, tx, ip, record, &old);
	free(old.extents);
	return error;
}

/* ---- in many --------------------------------------------------------------------------------- */

/* An orphan of the new owner, to be put when done. */
static int make_orphan(struct core *c, uint32_t uid, struct inode **out)
{
	struct media_inode *record;
	struct inode *ip;
	struct tx *tx;
	int error = tx_begin(c->meta, &tx);

	if (error)
		return error;
	error = inode_alloc(c, tx, S_IFREG, uid, 0, 0, &ip, &record);
	if (error) {
		tx_abort(tx);
		return error;
	}
	error = tx_commit(tx);
	if (error)
		inode_discard(c, ip);
	else
		*out = ip;
	return error;
}

/* The first extent of the committed map at or after `block`, from `block` on. */
static int next_extent(struct core *c, const struct inode *ip, uint64_t block, struct extent *out)
{
	const struct media_inode *view;
	int error = inode_view(c, NULL, ip, &view);

	return error ? error : extent_find(c, NULL, ip, view, block, out);
}

static int copy_some(struct core *c, struct tx *tx, const struct inode *from, struct inode *to,
	struct media_inode *record, uint64_t *block)
{
	int error = 0;

	while (!error && tx_has_room(tx)) {
		struct extent old;

		error = next_extent(c, from, *block, &old);
		if (!error && *block < old.file_block)
			*block = old.file_block;
		if (!error)
			error = copy_step(c, tx, to, record, &old, block);
	}
	return error;
}

/* -ENOENT, the end of the map, is success. */
static int copy_to_orphan(struct core *c, const struct inode *from, struct inode *to)
{
	uint64_t block = 0;
	bool ended = false;
	int error = 0;

	while (!error && !ended) {
		struct media_inode *record;
		struct tx *tx;

		error = file_tx_begin(c, to, &tx, &record);
		if (error)
			break;
		error = copy_some(c, tx, from, to, record, &block);
		ended = error == -ENOENT;
		if (error && !ended) {
			extent_tx_abort(c, tx);
			break;
		}
		error = extent_tx_commit(c, tx);
	}
	return error;
}

/*
 * The last piece of the file before *cursor that is one extent here and there: the orphan's blocks
 * take the place of the file's, which are freed. -ENOENT: there is none.
 */
static int hand_over_piece(struct core *c, struct tx *tx, struct inode *ip,
	struct media_inode *record, struct inode *orphan, struct media_inode *orphan_record,
	uint64_t *cursor)
{
	struct extent mine, other, piece;
	uint64_t start, end;
	bool left;
	int error = extent_map_le(c, tx, ip, record, *cursor - 1, &mine);

	if (error)
		return error;
	end = mine.file_block + mine.blocks < *cursor ? mine.file_block + mine.blocks : *cursor;
	error = extent_map_le(c, tx, orphan, orphan_record, end - 1, &other);
	if (error == -ENOENT || (!error && other.file_block + other.blocks < end))
		return -EUCLEAN; /* it was copied whole */
	if (error)
		return error;
	start = mine.file_block > other.file_block ? mine.file_block : other.file_block;
	piece = (struct extent){
		.file_block = start,
		.region_block = other.region_block + (start - other.file_block),
		.blocks = end - start,
		.region = other.region,
		.unwritten = other.unwritten,
	};
	error = extent_remove(c, tx, ip, record, start, end, &left);
	if (!error && left)
		error = -E2BIG; /* a piece and the room for one fit */
	if (!error)
		error = extent_map_cut(c, tx, orphan, orphan_record, &other, start, end);
	if (!error)
		error = extent_insert(c, tx, ip, record, &piece);
	if (!error)
		*cursor = start;
	return error;
}

static int hand_over(struct core *c, struct inode *ip, struct inode *orphan)
{
	uint64_t cursor = FILE_BLOCKS_MAX;
	int error = 0;

	while (!error && cursor > 0) {
		struct media_inode *record, *orphan_record;
		struct tx *tx;

		error = file_tx_begin(c, ip, &tx, &record);
		if (error)
			break;
		error = inode_edit(c, tx, orphan, &orphan_record);
		while (!error && cursor > 0 && tx_has_room(tx))
			error = hand_over_piece(c, tx, ip, record, orphan, orphan_record, &cursor);
		if (error == -ENOENT) {
			cursor = 0;
			error = 0;
		}
		if (error) {
			extent_tx_abort(c, tx);
			break;
		}
		error = extent_tx_commit(c, tx);
	}
	return error;
}

static int by_units(void *context, const struct extent *e)
{
	return tables_region(context, e->region)->media.alignment_shift > BLOCK_SHIFT;
}

int file_move_many(struct core *c, struct inode *ip, uint32_t uid)
{
	const struct media_inode *view;
	struct inode *orphan;
	int error = inode_view(c, NULL, ip, &view);

	/* Units cannot change hands by parts. */
	if (!error && extent_walk(c, ip, view, 0, by_units, c))
		error = -E2BIG;
	if (!error)
		error = inode_ensure_free(c);
	if (!error)
		error = make_orphan(c, uid, &orphan);
	if (error)
		return error;
	inode_lock_write(orphan);
	error = copy_to_orphan(c, ip, orphan);
	if (!error)
		error = hand_over(c, ip, orphan);
	inode_unlock(orphan);
	inode_put(c, orphan, 1);
	return error;
}
