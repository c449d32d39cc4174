// SPDX-License-Identifier: BSD-2-Clause
/*
 * extent_space.c - where a file's blocks come from and go to: extent_allocate, extent_remove.
 *
 * The budget of data blocks is taken before blocks are, and given back by what a transaction has
 * come to: a thread has one at a time, so its balance is the thread's.
 *
 * Regions whose allocation unit is 2 MiB (hugetlbfs, DAX devices) keep this rule: a unit of the
 * region holds exactly one unit of one file, at the same offset in it. So a unit is allocated
 * whole, with what was not asked for as unwritten, and freed whole or not at all.
 */
#include <assert.h>
#include <errno.h>
#include <stdatomic.h>

#include "extent.h"
#include "extent_map.h"
#include "pool.h"

/* Files of this size and more, when appended to, take whole units. */
#define LARGE_BLOCKS (HUGE_BLOCKS / 2)
/* One step frees at most this much, so that it needs few bit ranges: 16 groups. */
#define STEP_BLOCKS (16ull * GROUP_BITS)

static_assert(STEP_BLOCKS % HUGE_BLOCKS == 0, "steps end between units");

/* Of the thread's open transaction: blocks taken from the budget, blocks to give to it. */
static _Thread_local struct balance {
	uint64_t taken;
	uint64_t freed;
	uint64_t asked; /* the inode of whose blocks the arbiter wants to hear; 0: none */
} balance;

int extent_tx_begin(struct core *c, struct tx **out)
{
	balance = (struct balance){0};
	return tx_begin(c->meta, out);
}

static void settle(struct core *c, uint64_t give, bool committed)
{
	if (balance.asked && c->arbiter.freed)
		c->arbiter.freed(c->arbiter.context, balance.asked, committed);
	if (give)
		core_budget_give(c, give);
	balance = (struct balance){0};
}

int extent_tx_commit(struct core *c, struct tx *tx)
{
	int error = tx_commit(tx);

	settle(c, error ? balance.taken : balance.freed, !error);
	return error;
}

void extent_tx_abort(struct core *c, struct tx *tx)
{
	tx_abort(tx);
	settle(c, balance.taken, false);
}

static uint64_t end_of(const struct extent *e)
{
	return e->file_block + e->blocks;
}

/* As the pool was made: its space hands out whole units whatever the region is on now. */
static bool by_units(const struct data_region *dr)
{
	return dr->media.alignment_shift > BLOCK_SHIFT;
}

/* ---- allocation ------------------------------------------------------------------------------ */

/* What stands around the hole at `block`; *hole_end is where it ends. */
struct hole {
	struct extent prev;
	bool has_prev;
	uint64_t end;
};

static int find_hole(struct core *c, struct tx *tx, const struct inode *ip,
	const struct media_inode *record, uint64_t block, struct hole *out)
{
	struct extent next;
	int error;

	out->has_prev = false;
	out->end = FILE_BLOCKS_MAX;
	error = extent_map_le(c, tx, ip, record, block, &out->prev);
	if (!error) {
		out->has_prev = true;
		if (end_of(&out->prev) > block)
			return -EUCLEAN;
	} else if (error != -ENOENT) {
		return error;
	}
	error = extent_map_ge(c, tx, ip, record, block, &next);
	if (!error)
		out->end = next.file_block;
	return error == -ENOENT ? 0 : error;
}

/* The placement that extent.h describes. */
static void place(const struct inode *ip, const struct media_inode *record, uint32_t region,
	const struct hole *hole, uint64_t block, uint64_t blocks, unsigned flags,
	struct space_request *out)
{
	bool have = hole->has_prev && hole->prev.region == region;
	bool appends = have && end_of(&hole->prev) == block;
	uint64_t phase = block % HUGE_BLOCKS;

	*out = (struct space_request){.want = blocks, .goal = SPACE_ANYWHERE};
	if (appends)
		out->goal = hole->prev.region_block + hole->prev.blocks;
	else if (have && hole->prev.file_block / HUGE_BLOCKS == block / HUGE_BLOCKS &&
		 hole->prev.region_block % HUGE_BLOCKS == hole->prev.file_block % HUGE_BLOCKS)
		out->goal = hole->prev.region_block + (block - hole->prev.file_block);
	else if (ip->goal_region == region)
		out->goal = ip->goal;

	if (!(flags & EXTENT_HUGE) && blocks < HUGE_BLOCKS &&
		!(appends && record->blocks >= LARGE_BLOCKS))
		return;
	out->flags = SPACE_HUGE;
	out->phase = phase;
	if (out->goal != SPACE_ANYWHERE && out->goal % HUGE_BLOCKS != phase)
		out->goal = SPACE_ANYWHERE;
}

static int insert_part(struct core *c, struct tx *tx, const struct inode *ip,
	struct media_inode *record, const struct extent *whole, uint64_t start, uint64_t end,
	bool unwritten)
{
	const struct extent part = {
		.file_block = start,
		.region_block = whole->region_block + (start - whole->file_block),
		.blocks = end - start,
		.region = whole->region,
		.unwritten = unwritten,
	};

	return start < end ? extent_insert(c, tx, ip, record, &part) : 0;
}

/* One run against the budget: of less than asked for, if that is all that the budget has. */
static int take_run(struct core *c, struct tx *tx, struct data_region *dr,
	struct space_request *request, struct space_run *out)
{
	int error = core_budget_take(c, request->want);

	if (error == -ENOSPC) {
		uint64_t had = atomic_load(&c->data_blocks_free);

		if (by_units(dr))
			had &= ~(uint64_t)(HUGE_BLOCKS - 1);
		if (had == 0 || had >= request->want)
			return error;
		request->want = had;
		error = core_budget_take(c, had);
	}
	if (error)
		return error;
	error = space_alloc(dr->space, tx, request, out);
	if (error) {
		core_budget_give(c, request->want);
		return error;
	}
	assert(out->count > 0 && out->count <= request->want);
	if (out->count < request->want)
		core_budget_give(c, request->want - out->count);
	balance.taken += out->count;
	return 0;
}

int extent_allocate(struct core *c, struct tx *tx, struct inode *ip, struct media_inode *record,
	uint64_t block, uint64_t blocks, unsigned flags, struct extent *out)
{
	bool unwritten = flags & EXTENT_NEW_UNWRITTEN;
	struct space_request request;
	struct data_region *dr;
	struct space_run run;
	struct extent whole;
	struct hole hole;
	uint64_t first = block, end;
	int error;

	assert(blocks > 0 && block < FILE_BLOCKS_MAX && blocks <= FILE_BLOCKS_MAX - block);
	error = tables_region_for(c, record->uid, &dr);
	if (!error)
		error = find_hole(c, tx, ip, record, block, &hole);
	if (error)
		return error;
	end = block + blocks < hole.end ? block + blocks : hole.end;
	if (by_units(dr)) {
		first = block & ~(uint64_t)(HUGE_BLOCKS - 1);
		blocks = ((end + HUGE_BLOCKS - 1) & ~(uint64_t)(HUGE_BLOCKS - 1)) - first;
		flags |= EXTENT_HUGE;
	} else {
		blocks = end - block;
	}
	place(ip, record, dr->number, &hole, first, blocks, flags, &request);
	error = take_run(c, tx, dr, &request, &run);
	if (error)
		return error;
	whole = (struct extent){
		.file_block = first,
		.region_block = run.first,
		.blocks = run.count,
		.region = dr->number,
	};
	if (end > end_of(&whole))
		end = end_of(&whole);
	error = insert_part(c, tx, ip, record, &whole, first, block, true);
	if (!error)
		error = insert_part(c, tx, ip, record, &whole, block, end, unwritten);
	if (!error)
		error = insert_part(c, tx, ip, record, &whole, end, end_of(&whole), true);
	if (error)
		return error;
	ip->goal = run.first + run.count;
	ip->goal_region = dr->number;
	*out = (struct extent){
		.file_block = block,
		.region_block = whole.region_block + (block - first),
		.blocks = end - block,
		.region = dr->number,
		.unwritten = unwritten,
	};
	return 0;
}

/* ---- freeing --------------------------------------------------------------------------------- */

struct removal {
	struct core *c;
	struct tx *tx;
	const struct inode *ip;
	struct media_inode *record;
	uint64_t block; /* [block, end) is asked for */
	uint64_t end;
	/* Freed runs that touch are given back as one. */
	struct data_region *dr;
	struct space_run run;
};

static int flush_run(struct removal *r)
{
	int error = 0;

	if (r->run.count > 0)
		error = space_free(r->dr->space, r->tx, &r->run);
	balance.freed += r->run.count;
	r->run.count = 0;
	return error;
}

static int give_back(struct removal *r, struct data_region *dr, uint64_t first, uint64_t count)
{
	bool full = r->run.count >= STEP_BLOCKS;
	int error;

	if (full && by_units(r->dr)) /* not in the middle of a unit */
		full = r->run.first % HUGE_BLOCKS == 0;
	if (r->run.count > 0 && r->dr == dr && !full) {
		if (first + count == r->run.first) {
			r->run.first = first;
			r->run.count += count;
			return 0;
		}
		if (r->run.first + r->run.count == first) {
			r->run.count += count;
			return 0;
		}
	}
	error = flush_run(r);
	if (error)
		return error;
	r->dr = dr;
	r->run = (struct space_run){.first = first, .count = count};
	return 0;
}

/* -errno: they must stay. */
static int tell(const struct removal *r, const struct extent *e, uint64_t start, uint64_t end)
{
	const struct core_arbiter *arbiter = &r->c->arbiter;
	const struct core_extent extent = {
		.offset = start << BLOCK_SHIFT,
		.length = (end - start) << BLOCK_SHIFT,
		.region_offset = (e->region_block + (start - e->file_block)) << BLOCK_SHIFT,
		.region = e->region,
		.state = e->unwritten ? CORE_EXTENT_UNWRITTEN : CORE_EXTENT_WRITTEN,
	};

	int answer;

	if (!arbiter->freeing)
		return 0;
	/* A transaction takes blocks of one file. */
	assert(balance.asked == 0 || balance.asked == r->ip->ino);
	answer = arbiter->freeing(arbiter->context, r->ip->ino, &extent);
	if (answer)
		balance.asked = r->ip->ino;
	return answer < 0 ? answer : 0;
}

/* Takes [start, end) of one extent away. */
static int remove_piece(struct removal *r, struct data_region *dr, const struct extent *e,
	uint64_t start, uint64_t end)
{
	int error;

	if (start >= end)
		return 0;
	error = extent_map_cut(r->c, r->tx, r->ip, r->record, e, start, end);
	if (!error)
		error = tell(r, e, start, end);
	if (error)
		return error;
	return give_back(r, dr, e->region_block + (start - e->file_block), end - start);
}

/* The part of a unit that stays: nothing of it is to be seen again. */
static int keep_piece(struct removal *r, uint64_t start, uint64_t end)
{
	if (start >= end)
		return 0;
	return extent_mark(r->c, r->tx, r->ip, r->record, start, end - start, true);
}

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t most(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* [start, end) of the extent `e`, in a region that is allocated by units. */
static int remove_units(struct removal *r, struct data_region *dr, const struct extent *e,
	uint64_t start, uint64_t end)
{
	uint64_t mask = ~(uint64_t)(HUGE_BLOCKS - 1);
	uint64_t units_start = (r->block + HUGE_BLOCKS - 1) & mask;
	uint64_t units_end = most(r->end & mask, units_start);
	uint64_t from = most(start, units_start), to = least(end, units_end);
	int error;

	if (from >= to)
		return keep_piece(r, start, end);
	/* Marking may merge and split around: the piece to free goes first, while `e` is true. */
	error = remove_piece(r, dr, e, from, to);
	if (!error)
		error = keep_piece(r, to, end);
	if (!error)
		error = keep_piece(r, start, from);
	return error;
}

/* One extent, or STEP_BLOCKS of it, before *cursor; *cursor becomes where to go on. */
static int remove_step(struct removal *r, uint64_t *cursor)
{
	struct data_region *dr;
	uint64_t start, end;
	struct extent e;
	int error;

	error = extent_map_le(r->c, r->tx, r->ip, r->record, *cursor - 1, &e);
	if (error)
		return error;
	if (end_of(&e) <= r->block)
		return -ENOENT;
	start = most(e.file_block, r->block);
	end = least(end_of(&e), *cursor);
	dr = tables_region(r->c, e.region);
	assert(dr); /* the map was checked when it was read */
	if (end - start > STEP_BLOCKS)
		start = (end - STEP_BLOCKS + HUGE_BLOCKS - 1) & ~(uint64_t)(HUGE_BLOCKS - 1);
	error = by_units(dr) ? remove_units(r, dr, &e, start, end)
			     : remove_piece(r, dr, &e, start, end);
	if (!error)
		*cursor = start;
	return error;
}

int extent_remove(struct core *c, struct tx *tx, const struct inode *ip, struct media_inode *record,
	uint64_t block, uint64_t end, bool *left)
{
	struct removal r = {
		.c = c, .tx = tx, .ip = ip, .record = record, .block = block, .end = end};
	uint64_t cursor = end;
	bool more = false;
	int error = 0;

	while (!error && cursor > block) {
		/* Not in the middle of a unit, whose parts are given back as one. */
		if ((cursor == end || cursor % HUGE_BLOCKS == 0 || r.run.count == 0 ||
			    !by_units(r.dr)) &&
			!tx_has_room(tx)) {
			more = true;
			break;
		}
		error = remove_step(&r, &cursor);
	}
	if (error && error != -ENOENT)
		return error;
	error = flush_run(&r);
	if (!error)
		*left = more;
	return error;
}
