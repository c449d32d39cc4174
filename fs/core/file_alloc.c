// SPDX-License-Identifier: BSD-2-Clause
/*
 * file_alloc.c - file_fill(): blocks for every hole of a range, all or nothing.
 *
 * A range may need more than one transaction. What the earlier ones added is remembered, and taken
 * out again when a later one finds no space; until then it is unwritten, which no reader can tell
 * from a hole. A crash in the middle leaves such blocks behind in the file: space, not content.
 */
#include <errno.h>
#include <stdlib.h>

#include "file.h"

struct added {
	uint64_t block;
	uint64_t blocks;
};

struct filling {
	struct core *c;
	struct inode *ip;
	uint64_t cursor;
	uint64_t end;
	unsigned flags;
	struct added *added; /* by transactions that have committed, then by the open one */
	size_t count;
	size_t committed;
	size_t room;
};

static int remember(struct filling *f, const struct extent *e)
{
	struct added *last = f->count > f->committed ? &f->added[f->count - 1] : NULL;
	uint64_t first = e->file_block, end = e->file_block + e->blocks;

	/* A region that is allocated by units: all of them is new. */
	if (tables_region(f->c, e->region)->media.alignment_shift > BLOCK_SHIFT) {
		first &= ~(uint64_t)(HUGE_BLOCKS - 1);
		end = (end + HUGE_BLOCKS - 1) & ~(uint64_t)(HUGE_BLOCKS - 1);
	}
	if (last && last->block + last->blocks == first) {
		last->blocks += end - first;
		return 0;
	}
	if (f->count == f->room) {
		size_t room = f->room ? f->room * 2 : 16;
		struct added *to = realloc(f->added, room * sizeof(*to));

		if (!to)
			return -ENOMEM;
		f->added = to;
		f->room = room;
	}
	f->added[f->count++] = (struct added){.block = first, .blocks = end - first};
	return 0;
}

/* As many holes as the transaction takes. */
static int fill_step(struct filling *f, struct tx *tx, struct media_inode *record)
{
	while (f->cursor < f->end && tx_has_room(tx)) {
		uint64_t stop = f->end;
		struct extent e;
		int error = extent_find(f->c, tx, f->ip, record, f->cursor, &e);

		if (error && error != -ENOENT)
			return error;
		if (!error && e.file_block <= f->cursor) {
			f->cursor = e.file_block + e.blocks;
			continue;
		}
		if (!error && e.file_block < stop)
			stop = e.file_block;
		error = extent_allocate(f->c, tx, f->ip, record, f->cursor, stop - f->cursor,
			f->flags | EXTENT_NEW_UNWRITTEN, &e);
		if (!error)
			error = remember(f, &e);
		if (error)
			return error;
		f->cursor = e.file_block + e.blocks;
	}
	return 0;
}

static int undo_one(struct filling *f, const struct added *a)
{
	bool left = false;
	int error;

	do {
		struct media_inode *record;
		struct tx *tx;

		error = file_tx_begin(f->c, f->ip, &tx, &record);
		if (error)
			return error;
		error = extent_remove(
			f->c, tx, f->ip, record, a->block, a->block + a->blocks, &left);
		if (error) {
			extent_tx_abort(f->c, tx);
			return error;
		}
		error = extent_tx_commit(f->c, tx);
	} while (!error && left);
	return error;
}

/* What cannot be taken out again stays as unwritten blocks, which are a file's to have. */
static void undo(struct filling *f)
{
	while (f->committed > 0 && undo_one(f, &f->added[--f->committed]) == 0)
		;
}

struct counting {
	uint64_t mapped;
	uint64_t first;
	uint64_t end;
};

static int count_mapped(void *context, const struct extent *e)
{
	struct counting *n = context;
	uint64_t from = e->file_block > n->first ? e->file_block : n->first;
	uint64_t to = e->file_block + e->blocks < n->end ? e->file_block + e->blocks : n->end;

	if (from < to)
		n->mapped += to - from;
	return e->file_block + e->blocks >= n->end;
}

/* Does a range that is plainly too large have to be tried and undone? */
static int check_space(struct filling *f)
{
	struct counting n = {.first = f->cursor, .end = f->end};
	const struct media_inode *record;
	struct data_region *dr;
	struct space_usage usage;
	int error;

	error = inode_view(f->c, NULL, f->ip, &record);
	if (!error)
		error = tables_region_for(f->c, record->uid, &dr);
	if (!error)
		error = extent_walk(f->c, f->ip, record, n.first, count_mapped, &n);
	if (error < 0)
		return error;
	space_get_usage(dr->space, &usage);
	return n.end - n.first - n.mapped > usage.free ? -ENOSPC : 0;
}

int file_fill(struct core *c, struct inode *ip, uint64_t first, uint64_t end, unsigned flags,
	int (*finish)(void *context, struct tx *tx, struct media_inode *record), void *context)
{
	struct filling f = {.c = c, .ip = ip, .cursor = first, .end = end, .flags = flags};
	int error = first < end ? check_space(&f) : 0;

	while (!error) {
		struct media_inode *record;
		struct tx *tx;
		bool done;

		error = file_tx_begin(c, ip, &tx, &record);
		if (error)
			break;
		error = fill_step(&f, tx, record);
		done = f.cursor >= end;
		if (!error && done && finish)
			error = finish(context, tx, record);
		if (error) {
			extent_tx_abort(c, tx);
			break;
		}
		error = extent_tx_commit(c, tx);
		if (!error)
			f.committed = f.count;
		if (done)
			break;
	}
	if (error)
		undo(&f);
	free(f.added);
	return error;
}
