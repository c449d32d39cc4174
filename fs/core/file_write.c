// SPDX-License-Identifier: BSD-2-Clause
/*
 * file_write.c - writing: where the bytes go, then what they changed, as one transaction.
 *
 * begin   finds the blocks. If all of them are written already there is no transaction yet. Else
 * one is open until end: it holds the new extents, and the marks on unwritten ones. (the caller
 * copies) end     zeroes the rest of new blocks, flushes and fences, and only then commits extents,
 * size and times: no crash shows what a new block held before.
 *
 * Begin and end are called by one thread, which begins no other transaction in between (tx.h), that
 * is: calls nothing else of core's that changes anything.
 *
 * No space: what is left is tried after core_reclaim(), then written short, then -ENOSPC. A plan
 * that fails half-way is aborted and made again for the part that went well, since an allocation
 * that failed may have left the transaction half-changed.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "file.h"
#include "plant.h"

struct target {
	struct region *region;
	uint64_t region_offset;
	uint64_t offset; /* in the file */
	uint64_t length;
	bool fresh;    /* not written before: the rest of its blocks is to be zeroed */
	bool was_hole; /* and allocated now */
};

struct writing {
	struct tx *tx;              /* NULL: none yet */
	struct media_inode *record; /* its shadow */
	int count;
	int max;
	struct target targets[];
};

static int open_tx(struct core *c, struct core_write *w, struct writing *st)
{
	return st->tx ? 0 : file_tx_begin(c, w->inode, &st->tx, &st->record);
}

static void drop_tx(struct core *c, struct writing *st)
{
	if (st->tx)
		extent_tx_abort(c, st->tx);
	st->tx = NULL;
}

/* Makes the blocks from `block` on, up to `end` and the end of the extent, ready to be written. */
static int make_written(struct core *c, struct core_write *w, struct writing *st, uint64_t block,
	uint64_t end, struct extent *e, struct target *t)
{
	int error = open_tx(c, w, st);
	bool hole;

	if (error)
		return error;
	error = extent_find(c, st->tx, w->inode, st->record, block, e);
	if (error && error != -ENOENT)
		return error;
	hole = error == -ENOENT || e->file_block > block;
	if (hole) {
		if (!error && e->file_block < end)
			end = e->file_block;
		error = extent_allocate(c, st->tx, w->inode, st->record, block, end - block, 0, e);
	} else {
		if (e->file_block + e->blocks < end)
			end = e->file_block + e->blocks;
		error = extent_mark(c, st->tx, w->inode, st->record, block, end - block, false);
		e->region_block += block - e->file_block;
		e->file_block = block;
		e->blocks = end - block;
	}
	t->fresh = true;
	t->was_hole = hole;
	return error;
}

static int plan_target(struct core *c, struct core_write *w, struct writing *st,
	const struct media_inode *view, uint64_t at, uint64_t end, struct target *t)
{
	uint64_t block = at >> BLOCK_SHIFT, stop;
	struct extent e;
	int error;

	*t = (struct target){.offset = at};
	error = extent_find(c, st->tx, w->inode, st->tx ? st->record : view, block, &e);
	if (error && error != -ENOENT)
		return error;
	if (error || e.file_block > block || e.unwritten) {
		error = make_written(c, w, st, block, block_up(end) >> BLOCK_SHIFT, &e, t);
		if (error)
			return error;
	}
	stop = (e.file_block + e.blocks) << BLOCK_SHIFT;
	t->length = (stop < end ? stop : end) - at;
	t->region = tables_region(c, e.region)->region;
	t->region_offset = (e.region_block << BLOCK_SHIFT) + (at - (e.file_block << BLOCK_SHIFT));
	return 0;
}

/* *length becomes how much of it there are targets for; the rest only if that is an error. */
static int plan(struct core *c, struct core_write *w, struct writing *st, uint64_t *length)
{
	uint64_t at = w->offset, end = w->offset + *length;
	const struct media_inode *view;
	int error;

	st->count = 0;
	error = inode_view(c, NULL, w->inode, &view);
	while (!error && at < end && st->count < st->max) {
		error = plan_target(c, w, st, view, at, end, &st->targets[st->count]);
		if (!error)
			at += st->targets[st->count++].length;
	}
	*length = at - w->offset;
	return error;
}

static int plan_or_less(struct core *c, struct core_write *w, struct writing *st, bool last)
{
	uint64_t length = w->length;

	for (;;) {
		int error = plan(c, w, st, &length);

		if (!error) {
			w->length = length;
			return 0;
		}
		drop_tx(c, st);
		if (error == -E2BIG && length > 0)
			continue;
		if (error != -ENOSPC || !last || length == 0)
			return error;
	}
}

static int check_range(struct core_write *w)
{
	if (w->offset >= FILE_BYTES_MAX && w->length > 0)
		return -EFBIG;
	if (w->length > FILE_BYTES_MAX - w->offset)
		w->length = FILE_BYTES_MAX - w->offset;
	return 0;
}

int file_write_begin(struct core *c, struct core_write *w, bool last)
{
	uint64_t targets;
	struct writing *st;
	int error;

	assert(w->vectors > 0);
	error = check_range(w);
	if (error)
		return error;
	targets = (block_up(w->offset + w->length) - block_down(w->offset)) >> BLOCK_SHIFT;
	if (targets > (uint64_t)w->vectors)
		targets = (uint64_t)w->vectors;
	st = malloc(sizeof(*st) + targets * sizeof(st->targets[0]));
	if (!st)
		return -ENOMEM;
	st->tx = NULL;
	st->max = (int)targets;
	error = plan_or_less(c, w, st, last);
	if (error) {
		free(st);
		return error;
	}
	for (int i = 0; i < st->count; i++) {
		struct target *t = &st->targets[i];

		w->vector[i] = (struct iovec){
			.iov_base = region_data_at(t->region, t->region_offset, t->length),
			.iov_len = t->length,
		};
	}
	w->count = st->count;
	w->state = st;
	return 0;
}

/* ---- the end --------------------------------------------------------------------------------- */

/* The new blocks' bytes that the caller did not write; then everything to the media. */
static int settle_bytes(const struct target *t, uint64_t end)
{
	uint64_t length = (t->offset + t->length < end ? t->offset + t->length : end) - t->offset;
	uint64_t head = t->fresh ? t->offset - block_down(t->offset) : 0;
	uint64_t tail = t->fresh ? block_up(t->offset + length) - (t->offset + length) : 0;

	if (head)
		region_store_zero(t->region, t->region_offset - head, head);
	if (tail)
		region_store_zero(t->region, t->region_offset + length, tail);
	if (planted(PLANT_UNCHECKED_NOT_FLUSHED))
		return 0;
	if (planted(PLANT_TAIL_NOT_FLUSHED))
		length &= ~63ull;
	return region_flush(t->region, t->region_offset - head, head + length + tail);
}

/* What the caller stored is there whatever becomes of the write. */
static void tell_stores(const struct writing *st, uint64_t end)
{
	for (int i = 0; i < st->count && st->targets[i].offset < end; i++) {
		const struct target *t = &st->targets[i];
		uint64_t left = end - t->offset;

		region_touched(t->region, t->region_offset, t->length < left ? t->length : left);
	}
}

static int settle_all(struct writing *st, uint64_t end)
{
	struct region *fenced = NULL;

	for (int i = 0; i < st->count && st->targets[i].offset < end; i++) {
		int error = settle_bytes(&st->targets[i], end);

		if (error)
			return error;
	}
	for (int i = 0; i < st->count && st->targets[i].offset < end; i++) {
		if (st->targets[i].region != fenced && !planted(PLANT_DATA_NOT_FENCED))
			region_fence(st->targets[i].region);
		fenced = st->targets[i].region;
	}
	return 0;
}

/* Blocks that were made ready and got nothing: unwritten (again). */
static int unmark_rest(struct core *c, struct core_write *w, struct writing *st, uint64_t end)
{
	uint64_t first = block_up(end) >> BLOCK_SHIFT;

	for (int i = 0; i < st->count; i++) {
		const struct target *t = &st->targets[i];
		uint64_t from = t->offset >> BLOCK_SHIFT;
		uint64_t to = block_up(t->offset + t->length) >> BLOCK_SHIFT;
		int error;

		if (from < first)
			from = first;
		if (!t->fresh || from >= to)
			continue;
		error = extent_mark(c, st->tx, w->inode, st->record, from, to - from, true);
		if (error)
			return error;
	}
	return 0;
}

/* And those that were holes are holes again. If that fails they stay as unwritten blocks. */
static void remove_rest(struct core *c, struct core_write *w, struct writing *st, uint64_t end)
{
	uint64_t first = block_up(end) >> BLOCK_SHIFT;
	bool left;

	if (file_tx_begin(c, w->inode, &st->tx, &st->record))
		return;
	for (int i = 0; i < st->count; i++) {
		const struct target *t = &st->targets[i];
		uint64_t from = t->offset >> BLOCK_SHIFT;
		uint64_t to = block_up(t->offset + t->length) >> BLOCK_SHIFT;

		if (from < first)
			from = first;
		if (!t->was_hole || from >= to)
			continue;
		if (extent_remove(c, st->tx, w->inode, st->record, from, to, &left)) {
			extent_tx_abort(c, st->tx);
			return;
		}
	}
	(void)extent_tx_commit(c, st->tx);
}

/* For a planted fault. */
static int plant_times_apart(struct core *c, struct core_write *w, struct writing *st)
{
	int error = extent_tx_commit(c, st->tx);

	if (!error)
		error = file_tx_begin(c, w->inode, &st->tx, &st->record);
	if (error)
		return error;
	inode_touch(c, st->record, true);
	return extent_tx_commit(c, st->tx);
}

static int commit(struct core *c, struct core_write *w, struct writing *st, uint64_t end)
{
	const struct media_inode *view;
	int error;

	tell_stores(st, end);
	error = inode_view(c, NULL, w->inode, &view);
	if (!error)
		error = file_grow(c, w->inode, view, end, w->offset);
	if (!error)
		error = settle_all(st, end);
	if (!error)
		error = open_tx(c, w, st);
	if (!error && end < w->offset + w->length)
		error = unmark_rest(c, w, st, end);
	if (error) {
		drop_tx(c, st);
		return error;
	}
	if (end > st->record->size)
		st->record->size = end;
	if (planted(PLANT_TIMES_APART))
		return plant_times_apart(c, w, st);
	inode_touch(c, st->record, true);
	file_drop_privileges(st->record, w->cred);
	return extent_tx_commit(c, st->tx);
}

int file_write_end(struct core *c, struct core_write *w, uint64_t copied)
{
	struct writing *st = w->state;
	uint64_t end = w->offset + copied;
	int error = 0;

	assert(copied <= w->length);
	if (copied == 0) {
		drop_tx(c, st);
	} else {
		error = commit(c, w, st, end);
		if (!error && copied < w->length)
			remove_rest(c, w, st, end);
	}
	free(st);
	w->state = NULL;
	return error;
}

static int begin_locked(struct core *c, struct core_write *w, uint64_t wanted, bool last)
{
	const struct media_inode *record;
	int error = file_lock(c, w->inode, &record);

	if (error)
		return error;
	w->length = wanted;
	if (w->append)
		w->offset = record->size;
	error = file_write_begin(c, w, last);
	if (error)
		inode_unlock(w->inode);
	return error;
}

int core_write_begin(struct core *c, struct core_write *w)
{
	uint64_t wanted = w->length;
	bool asked = false;
	int error = begin_locked(c, w, wanted, false);

	if (error == -ENOSPC) {
		(void)core_reclaim(c, &asked);
		error = begin_locked(c, w, wanted, true);
	}
	return error;
}

int core_write_end(struct core *c, struct core_write *w, uint64_t copied)
{
	int error = file_write_end(c, w, copied);

	inode_unlock(w->inode);
	return error;
}

#define WRITE_VECTORS 64

ssize_t core_write(struct core *c, struct inode *ip, const void *bytes, size_t count,
	uint64_t offset, const struct core_cred *cred)
{
	struct iovec vector[WRITE_VECTORS];
	size_t done = 0;

	while (done < count) {
		struct core_write w = {
			.inode = ip,
			.offset = offset + done,
			.length = count - done,
			.vector = vector,
			.vectors = WRITE_VECTORS,
			.cred = cred,
		};
		int error = core_write_begin(c, &w);

		if (!error) {
			const char *from = (const char *)bytes + done;

			for (int i = 0; i < w.count; i++) {
				memcpy(vector[i].iov_base, from, vector[i].iov_len);
				from += vector[i].iov_len;
			}
			error = core_write_end(c, &w, w.length);
		}
		if (error)
			return done > 0 ? (ssize_t)done : error;
		done += w.length;
	}
	return (ssize_t)done;
}
