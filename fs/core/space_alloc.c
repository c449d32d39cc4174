// SPDX-License-Identifier: BSD-2-Clause
/*
 * space_alloc.c - handing out units: which group, its backing, and the transaction.
 *
 * One allocation
 *   1. looks through the groups, in passes that ask for less and less, and takes a run in memory;
 *   2. reserves its backing, with no lock held. Where that fails with ENOSPC, the part that could
 *      be reserved is kept; or the 2 MiB unit is marked `unbacked`, and 1 is tried again, in
 *      broken 2 MiB units first, because those have their backing;
 *   3. adds the bits to the transaction, whose abort gives the run back.
 *
 * Passes over the groups, which begin at the goal's, then at the one where this thread took last:
 *
 *   pass   looks for                                locked groups   groups at most
 *   0      all that is wanted, placed as wanted     passed over     PASS_GROUPS searched
 *   1      a good part of it, placed anyhow         waited for      PASS_GROUPS searched
 *   2      anything (SPACE_WHOLE: all)              waited for      all
 *
 * `unbacked` marks are dropped when nothing was found with them, so that space which the backing
 * filesystem has regained is found at the next attempt.
 */
#include "space_impl.h"

#include <assert.h>
#include <errno.h>

#define NONE UINT32_MAX
/* Enough to find a good place where there is one, few enough to be quick where there is none. */
#define PASS_GROUPS 16u
/* Each failed reservation is a system call of a microsecond or two: so many for one allocation,
 * then it is ENOSPC, and the next one goes on behind the marks. */
#define RESERVE_TRIES 4096u
/* A shorter run than this beside the goal is left to others; a new place keeps a file whole. */
#define GOAL_RUN_MIN 8u

struct attempt {
	struct space *space;
	uint64_t want;
	uint64_t goal;
	uint32_t phase;
	bool whole;
	bool huge;
	bool unbacked_too;
	int error; /* -ENOMEM while reading a group */
	struct group *group;
	struct bit_run run;
};

static uint32_t thread_slot(void)
{
	static _Atomic uint32_t threads;
	static __thread uint32_t slot; /* plus 1 */

	if (slot == 0)
		slot = atomic_fetch_add_explicit(&threads, 1, memory_order_relaxed) %
			       SPACE_CURSORS +
		       1;
	return slot - 1;
}

static uint32_t first_group(struct space *s, uint32_t slot, uint32_t groups)
{
	uint32_t at = atomic_load_explicit(&s->cursors[slot], memory_order_relaxed);

	if (at)
		return (at - 1) % groups;
	/* Golden ratio: the first threads stand far from each other, whatever their number. */
	return (uint32_t)((uint64_t)(slot * 0x9e3779b9u) * groups >> 32);
}

/* ---- looking --------------------------------------------------------------------------------- */

static uint32_t accept_for(const struct attempt *a, unsigned pass, uint32_t want)
{
	uint32_t floor;

	if (a->whole)
		return want;
	if (a->space->config.align_units > 1)
		return HUGE_BLOCKS;
	switch (pass) {
	case 0:
		floor = a->huge ? HUGE_BLOCKS - a->phase : HUGE_BLOCKS;
		break;
	case 1:
		floor = GOAL_RUN_MIN;
		break;
	default:
		floor = 1;
	}
	return want < floor ? want : floor;
}

static void make_search(
	const struct attempt *a, const struct group *g, unsigned pass, struct group_search *out)
{
	const struct space *s = a->space;
	uint64_t bits = (uint64_t)s->words * 64;
	uint32_t want = (uint32_t)(a->want < bits ? a->want : bits);

	*out = (struct group_search){
		.want = want,
		.accept = accept_for(a, pass, want),
		.goal = NONE,
		.phase = a->phase,
		.huge = a->huge && pass == 0,
		.aligned = s->config.align_units > 1,
		.unbacked_too = a->unbacked_too,
	};
	if (a->goal != SPACE_ANYWHERE && a->goal / s->per_group == g->number)
		out->goal = (uint32_t)(a->goal % s->per_group);
}

/* By the counts alone, which are right but for what other threads do just now. */
static bool promising(const struct attempt *a, uint32_t number, uint32_t goal, unsigned pass)
{
	const struct space *s = a->space;
	uint64_t bits = (uint64_t)s->words * 64;
	uint32_t want = (uint32_t)(a->want < bits ? a->want : bits), free, huge;

	space_group_counts(s, number, &free, &huge);
	if (free < accept_for(a, pass, want))
		return false;
	if (s->config.align_units > 1)
		return huge > 0;
	/* The goal's run may go on where no whole 2 MiB unit is left. */
	return !(a->huge && pass == 0) || huge > 0 || number == goal;
}

/* Takes a run in that group. False: none there that would do, or its lock is taken. */
static bool try_group(struct attempt *a, struct group *g, unsigned pass, bool wait)
{
	struct group_search search;
	int error;
	bool found;

	error = group_ready(g);
	if (error) {
		if (error != -EUCLEAN)
			a->error = error;
		return false;
	}
	make_search(a, g, pass, &search);
	if (wait)
		pthread_mutex_lock(&g->lock);
	else if (pthread_mutex_trylock(&g->lock))
		return false;
	found = group_search_locked(g, &search, &a->run);
	if (found)
		group_change_locked(g, BITS_TAKE, a->run.first, a->run.count);
	pthread_mutex_unlock(&g->lock);
	if (found)
		a->group = g;
	return found;
}

static void remember_group(struct space *s, uint32_t slot, uint32_t number)
{
	/* Threads share these cache lines: written only when it is news. */
	if (atomic_load_explicit(&s->cursors[slot], memory_order_relaxed) != number + 1)
		atomic_store_explicit(&s->cursors[slot], number + 1, memory_order_relaxed);
}

static bool take_run(struct attempt *a)
{
	struct space *s = a->space;
	uint32_t groups = space_groups(s), slot = thread_slot(), start, goal = NONE;

	if (groups == 0)
		return false;
	if (a->goal != SPACE_ANYWHERE && a->goal / s->per_group < groups)
		goal = (uint32_t)(a->goal / s->per_group);
	start = goal != NONE ? goal : first_group(s, slot, groups);
	for (unsigned pass = 0; pass < 3; pass++) {
		uint32_t looked = 0;

		for (uint32_t i = 0; i < groups; i++) {
			uint32_t number = (start + i) % groups;
			bool wait = pass > 0 || number == goal;

			if (!promising(a, number, goal, pass))
				continue;
			if (try_group(a, space_group_at(s, number), pass, wait)) {
				remember_group(s, slot, number);
				return true;
			}
			if (pass < 2 && ++looked == PASS_GROUPS)
				break;
		}
	}
	return false;
}

/* ---- backing --------------------------------------------------------------------------------- */

static int reserve(struct space *s, const struct group *g, uint32_t first, uint32_t count)
{
	uint64_t unit = (uint64_t)g->number * s->per_group + first;

	return region_reserve(s->config.backing, space_unit_offset(s, unit),
		(uint64_t)count * s->config.unit_bytes);
}

static void mark_unbacked(struct group *g, uint32_t bit)
{
	pthread_mutex_lock(&g->lock);
	g->unbacked |= 1ull << (bit / HUGE_BLOCKS);
	pthread_mutex_unlock(&g->lock);
}

static void forget_unbacked(struct space *s)
{
	uint32_t groups = space_groups(s);

	for (uint32_t i = 0; i < groups; i++) {
		struct group *g = space_group_at(s, i);

		pthread_mutex_lock(&g->lock);
		g->unbacked = 0;
		pthread_mutex_unlock(&g->lock);
	}
}

/*
 * The run could not be reserved as a whole: keeps what can be, 2 MiB unit by unit. Gives the rest
 * back, or all of it with -EAGAIN and a mark on the unit that failed.
 */
static int reserve_part(struct attempt *a)
{
	struct group *g = a->group;
	uint32_t at = a->run.first, end = at + a->run.count, next = at;

	for (; at < end; at = next) {
		int error;

		next = (at / HUGE_BLOCKS + 1) * HUGE_BLOCKS;
		if (next > end)
			next = end;
		error = reserve(a->space, g, at, next - at);
		if (error == -ENOSPC) {
			mark_unbacked(g, at);
			break;
		}
		if (error) {
			group_give(g, a->run.first, a->run.count);
			return error;
		}
	}
	if (at == end)
		return 0;
	if (a->whole || at == a->run.first) {
		group_give(g, a->run.first, a->run.count);
		return -EAGAIN;
	}
	group_give(g, at, end - at);
	a->run.count = at - a->run.first;
	return 0;
}

/* Takes a run that has its backing. */
static int take_backed(struct attempt *a)
{
	struct space *s = a->space;

	for (unsigned tries = 0; tries < RESERVE_TRIES; tries++) {
		int error;

		if (!take_run(a)) {
			if (tries)
				forget_unbacked(s);
			if (a->error)
				return a->error;
			return atomic_load(&s->damaged) ? -EUCLEAN : -ENOSPC;
		}
		if (!s->config.backing)
			return 0;
		error = reserve(s, a->group, a->run.first, a->run.count);
		if (error == -ENOSPC) {
			error = reserve_part(a);
			if (error != -EAGAIN)
				return error;
			a->huge = false;
			continue;
		}
		if (error)
			group_give(a->group, a->run.first, a->run.count);
		return error;
	}
	return -ENOSPC;
}

/* ---- the call -------------------------------------------------------------------------------- */

static void allocated(void *context, const struct tx_bits *bits, bool committed, uint64_t position)
{
	if (!committed)
		group_give(context, bits->first, bits->count);
}

static void reap_if_due(struct space *s)
{
	uint64_t first = atomic_load_explicit(&s->pending_first, memory_order_relaxed);

	if (first == UINT64_MAX)
		return;
	uint64_t durable = journal_durable_position(meta_journal(s->config.meta));
	if (first <= durable)
		space_reap(s, durable);
}

int space_alloc(
	struct space *s, struct tx *tx, const struct space_request *request, struct space_run *out)
{
	struct attempt a = {
		.space = s,
		.want = request->want,
		.goal = request->goal,
		.phase = (uint32_t)request->phase,
		.whole = request->flags & SPACE_WHOLE,
		.huge = (request->flags & SPACE_HUGE) || request->want >= HUGE_BLOCKS,
	};
	struct tx_bits bits;
	int error;

	assert(request->want > 0 && request->phase < HUGE_BLOCKS);
	if (s->config.align_units > 1) {
		a.want = (a.want + HUGE_BLOCKS - 1) / HUGE_BLOCKS * HUGE_BLOCKS;
		a.phase = 0;
	}
	if (a.whole && a.want > (uint64_t)s->words * 64)
		return -ENOSPC;
	if (s->deferred)
		reap_if_due(s);
	error = take_backed(&a);
	if (error)
		return error;
	bits = (struct tx_bits){
		.bitmap = a.group->media.bitmap,
		.first = a.run.first,
		.count = a.run.count,
		.set = true,
		.done = allocated,
		.context = a.group,
	};
	error = tx_bits(tx, &bits);
	if (error) {
		group_give(a.group, a.run.first, a.run.count);
		return error;
	}
	out->first = (uint64_t)a.group->number * s->per_group + a.run.first;
	out->count = a.run.count;
	return 0;
}
