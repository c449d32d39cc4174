// SPDX-License-Identifier: BSD-2-Clause
/*
 * layout.c - what a lease holder is told of a file, and what it is promised.
 *
 * A prepared range is written all over: its blocks are allocated and were zeroed before they became
 * written, so that a store into the region needs nobody's leave, and what is read before it is
 * zeroes. That it lies beyond the end of file does not matter until core_commit_layout().
 *
 * Of a range that is only looked at, unwritten blocks stay unwritten, and nobody is to map them:
 * the region has old bytes there. But where a region is mapped in units larger than a block, a unit
 * with one written block is mapped whole. So such a unit is written all over, with zeroes, before
 * its lease is told of it. Units without a written block are left alone: a preallocated file costs
 * nothing.
 */
#include <errno.h>

#include "file.h"

/* A transaction zeroes at most about this much, so that it is not open for long. */
#define ZERO_STEP_BLOCKS ((64ull << 20) >> BLOCK_SHIFT)

struct listing {
	struct core_extent *out;
	unsigned max;
	unsigned count;
	uint64_t next;
	bool broken; /* a mapping unit may be written in part */
	bool lost;   /* of what was listed, something stands in a region that is lost */
};

/* It shares a unit with what is not in it; with the rest of itself, where the listing begins amid
 * it. */
static bool is_broken(const struct piece *piece)
{
	return piece->region &&
	       ((piece->region_offset | piece->length) & (region_alignment(piece->region) - 1));
}

static int list_piece(void *context, const struct piece *piece)
{
	struct listing *l = context;
	struct core_extent *e;

	if (l->count == l->max)
		return 1;
	e = &l->out[l->count++];
	*e = (struct core_extent){
		.offset = piece->offset,
		.length = piece->length,
		.state = CORE_EXTENT_HOLE,
	};
	if (piece->region) {
		e->region = piece->region_number;
		e->region_offset = piece->region_offset;
		e->state = piece->unwritten ? CORE_EXTENT_UNWRITTEN : CORE_EXTENT_WRITTEN;
		l->lost |= region_lost(piece->region);
	}
	l->next = piece->offset + piece->length;
	l->broken |= is_broken(piece);
	return 0;
}

/* Rounds outward to blocks. -EFBIG, -EINVAL. */
static int block_range(uint64_t *offset, uint64_t length, uint64_t *end)
{
	if (length == 0)
		return -EINVAL;
	if (*offset > FILE_BYTES_MAX || length > FILE_BYTES_MAX - *offset)
		return -EFBIG;
	*end = block_up(*offset + length);
	*offset = block_down(*offset);
	return 0;
}

/* With the inode locked. */
static int list(struct core *c, struct inode *ip, uint64_t offset, uint64_t end, struct listing *l)
{
	const struct media_inode *record;
	int error = inode_view(c, NULL, ip, &record);

	l->next = offset;
	l->count = 0;
	l->broken = false;
	l->lost = false;
	if (!error && !S_ISREG(record->mode))
		error = -EINVAL;
	if (!error)
		error = file_walk(c, ip, record, offset, end, list_piece, l);
	return error < 0 ? error : 0;
}

/* ---- prepare --------------------------------------------------------------------------------- */

static int zero_extent(struct core *c, const struct extent *e, uint64_t from, uint64_t to)
{
	struct region *region = tables_region(c, e->region)->region;
	uint64_t offset = (e->region_block + (from - e->file_block)) << BLOCK_SHIFT;
	uint64_t bytes = (to - from) << BLOCK_SHIFT;
	int error;

	region_store_zero(region, offset, bytes);
	error = region_flush(region, offset, bytes);
	region_fence(region);
	return error;
}

/* Unwritten blocks of [*cursor, end) become written zeroes. There are no holes. */
static int write_step(struct core *c, struct tx *tx, struct inode *ip, struct media_inode *record,
	uint64_t *cursor, uint64_t end)
{
	uint64_t zeroed = 0;

	while (*cursor < end && zeroed < ZERO_STEP_BLOCKS && tx_has_room(tx)) {
		struct extent e;
		uint64_t to;
		int error = extent_find(c, tx, ip, record, *cursor, &e);

		if (error == -ENOENT || (!error && e.file_block > *cursor))
			return -EUCLEAN;
		if (error)
			return error;
		to = e.file_block + e.blocks < end ? e.file_block + e.blocks : end;
		if (e.unwritten) {
			if (to - *cursor > ZERO_STEP_BLOCKS)
				to = *cursor + ZERO_STEP_BLOCKS;
			error = zero_extent(c, &e, *cursor, to);
			if (!error)
				error = extent_mark(
					c, tx, ip, record, *cursor, to - *cursor, false);
			if (error)
				return error;
			zeroed += to - *cursor;
		}
		*cursor = to;
	}
	return 0;
}

/* What a transaction does of [*cursor, end), in blocks: moves the cursor as far as it came. */
typedef int take_step(struct core *c, struct tx *tx, struct inode *ip, struct media_inode *record,
	uint64_t *cursor, uint64_t end);

static int in_steps(struct core *c, struct inode *ip, uint64_t first, uint64_t end, take_step *step)
{
	int error = 0;

	while (!error && first < end) {
		struct media_inode *record;
		struct tx *tx;

		error = file_tx_begin(c, ip, &tx, &record);
		if (error)
			break;
		error = step(c, tx, ip, record, &first, end);
		if (error) {
			extent_tx_abort(c, tx);
			break;
		}
		error = extent_tx_commit(c, tx);
	}
	return error;
}

struct looking {
	bool hole;
	bool unwritten;
};

static int look_at_piece(void *context, const struct piece *piece)
{
	struct looking *l = context;

	l->hole |= !piece->region;
	l->unwritten |= piece->unwritten;
	return l->hole && l->unwritten;
}

/* From now on fsync has to take the range for changed, whoever says nothing. */
static void expect_stores(struct inode *ip, uint64_t start, uint64_t end)
{
	if (ip->stores_start == ip->stores_end) {
		ip->stores_start = start;
		ip->stores_end = end;
		return;
	}
	if (start < ip->stores_start)
		ip->stores_start = start;
	if (end > ip->stores_end)
		ip->stores_end = end;
}

static int prepare_once(
	struct core *c, struct inode *ip, uint64_t offset, uint64_t end, bool *changed)
{
	uint64_t first = offset >> BLOCK_SHIFT, last = end >> BLOCK_SHIFT;
	const struct media_inode *view;
	struct looking l = {false, false};
	int error = file_lock(c, ip, &view);

	if (error)
		return error;
	error = file_walk(c, ip, view, offset, end, look_at_piece, &l);
	if (error >= 0)
		error = l.hole ? file_fill(c, ip, first, last, EXTENT_HUGE, NULL, NULL) : 0;
	if (!error && (l.hole || l.unwritten))
		error = in_steps(c, ip, first, last, write_step);
	if (!error)
		expect_stores(ip, offset, end);
	*changed |= l.hole || l.unwritten;
	inode_unlock(ip);
	return error;
}

int core_prepare_layout(
	struct core *c, struct inode *ip, uint64_t offset, uint64_t length, bool *changed)
{
	bool asked = false, any = false;
	uint64_t end;
	int error = block_range(&offset, length, &end);

	if (error)
		return error;
	do {
		error = prepare_once(c, ip, offset, end, &any);
	} while (error == -ENOSPC && core_reclaim(c, &asked));
	if (!error && changed)
		*changed = any;
	return error;
}

/* ---- units that are written in part ---------------------------------------------------------- */

/*
 * Of an unwritten extent the blocks that share a mapping unit with what is not in it: at its front,
 * or else at its end. False: it has none. Blocks of the file.
 */
static bool shared_part(struct core *c, const struct extent *e, uint64_t *from, uint64_t *to)
{
	struct region *region = tables_region(c, e->region)->region;
	uint64_t unit = region_alignment(region) >> BLOCK_SHIFT;
	uint64_t head, tail;

	if (unit <= 1)
		return false;
	head = (unit - e->region_block % unit) % unit;
	tail = (e->region_block + e->blocks) % unit;
	*from = e->file_block;
	*to = e->file_block + e->blocks;
	if (head > 0 && head < e->blocks)
		*to = e->file_block + head;
	else if (head == 0 && tail > 0)
		*from = *to - tail;
	return head > 0 || tail > 0;
}

static int settle_step(struct core *c, struct tx *tx, struct inode *ip, struct media_inode *record,
	uint64_t *cursor, uint64_t end)
{
	uint64_t zeroed = 0;

	while (*cursor < end && zeroed < ZERO_STEP_BLOCKS && tx_has_room(tx)) {
		struct extent e;
		uint64_t from, to;
		int error = extent_find(c, tx, ip, record, *cursor, &e);

		if (error && error != -ENOENT)
			return error;
		if (error || e.file_block >= end) {
			*cursor = end;
			break;
		}
		*cursor = e.file_block + e.blocks;
		if (!e.unwritten || !shared_part(c, &e, &from, &to))
			continue;
		error = zero_extent(c, &e, from, to);
		if (!error)
			error = extent_mark(c, tx, ip, record, from, to - from, false);
		if (error)
			return error;
		*cursor = to;
		zeroed += to - from;
	}
	return 0;
}

/* Units whole, whatever part of them is listed: a file's stand at multiples of their size in it. */
static int settle_and_list(
	struct core *c, struct inode *ip, uint64_t offset, uint64_t end, struct listing *l)
{
	const struct media_inode *view;
	int error = file_lock(c, ip, &view);

	if (error)
		return error;
	error = in_steps(c, ip, (offset & ~(uint64_t)(HUGE_SIZE - 1)) >> BLOCK_SHIFT,
		((end + HUGE_SIZE - 1) & ~(uint64_t)(HUGE_SIZE - 1)) >> BLOCK_SHIFT, settle_step);
	if (!error)
		error = list(c, ip, offset, end, l);
	inode_unlock(ip);
	return error;
}

/* ---- listings -------------------------------------------------------------------------------- */

static int make_listing(struct core *c, struct inode *ip, uint64_t offset, uint64_t length,
	bool mappable, struct listing *l)
{
	uint64_t end, given_end = offset + length;
	bool asked = false;
	int error = block_range(&offset, length, &end);

	if (error)
		return error;
	inode_lock_read(ip);
	error = list(c, ip, offset, end, l);
	inode_unlock(ip);
	if (!error && mappable && l->broken) {
		do {
			error = settle_and_list(c, ip, offset, end, l);
		} while (error == -ENOSPC && core_reclaim(c, &asked));
	}
	if (l->next >= end)
		l->next = given_end;
	return error;
}

int core_layout(struct core *c, struct inode *ip, uint64_t offset, uint64_t length,
	struct core_extent *out, unsigned max, unsigned *count, uint64_t *next)
{
	struct listing l = {.out = out, .max = max};
	int error = make_listing(c, ip, offset, length, false, &l);

	if (error)
		return error;
	*count = l.count;
	*next = l.next;
	return 0;
}

int core_mappable_layout(struct core *c, struct inode *ip, uint64_t offset, uint64_t length,
	struct core_extent *out, unsigned max, unsigned *count, uint64_t *next)
{
	struct listing l = {.out = out, .max = max};
	int error = make_listing(c, ip, offset, length, true, &l);

	if (error)
		return error;
	/* Whatever a holder would map there, it is not the file. */
	if (l.lost)
		return -EIO;
	*count = l.count;
	*next = l.next;
	return 0;
}

/* ---- commit ---------------------------------------------------------------------------------- */

static int persist_piece(void *context, const struct piece *piece)
{
	int error;

	if (!piece->region || piece->unwritten)
		return 0;
	region_touched(piece->region, piece->region_offset, piece->length);
	error = region_flush(piece->region, piece->region_offset, piece->length);
	region_fence(piece->region);
	return error;
}

int core_commit_layout(
	struct core *c, struct inode *ip, uint64_t offset, uint64_t length, uint64_t size)
{
	const struct media_inode *view;
	struct media_inode *record;
	uint64_t start = offset, end;
	struct tx *tx;
	int error;

	if (size > FILE_BYTES_MAX)
		return -EFBIG;
	error = block_range(&start, length, &end);
	if (!error)
		error = file_lock(c, ip, &view);
	if (error)
		return error;
	/* The holder's own bytes stay, from where its range begins. */
	error = file_grow(c, ip, view, size, offset);
	if (!error)
		error = file_walk(c, ip, view, start, end, persist_piece, NULL);
	if (!error)
		error = file_tx_begin(c, ip, &tx, &record);
	if (!error) {
		if (size > record->size)
			record->size = size;
		inode_touch(c, record, true);
		error = extent_tx_commit(c, tx);
	}
	inode_unlock(ip);
	return error;
}
