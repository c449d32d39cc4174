// SPDX-License-Identifier: BSD-2-Clause
/*
 * space_group.c - the bits of one group: changing them, counting them, finding runs.
 *
 * A unit is free if neither `used` nor `held` has its bit. huge_free[] counts the free units of
 * each 2 MiB unit, so that a search looks at bits only where a run can be.
 *
 * Where a run is looked for:
 *   aligned   whole 2 MiB units, one after another
 *   huge      at the phase of a whole free 2 MiB unit, and on from there
 *   else      in broken 2 MiB units first, so that whole ones stay whole
 * always from the goal's 2 MiB unit onward and around.
 */
#include "space_impl.h"

#include <assert.h>
#include <string.h>

#define NONE UINT32_MAX

static uint64_t busy_word(const struct group *g, uint32_t word)
{
	return g->used[word] | (g->held ? g->held[word] : 0);
}

static uint64_t word_mask(uint32_t at, uint32_t end)
{
	uint32_t n = end - at < 64 - at % 64 ? end - at : 64 - at % 64;

	return (n == 64 ? ~0ull : (1ull << n) - 1) << (at % 64);
}

/* ---- changing and counting ------------------------------------------------------------------- */

static uint32_t huge_units_free(const struct group *g, uint32_t huge)
{
	uint32_t from = huge * HUGE_WORDS, to = from + HUGE_WORDS, n = 0;

	if (to > g->space->words)
		to = g->space->words;
	for (uint32_t w = from; w < to; w++)
		n += (uint32_t)__builtin_popcountll(~busy_word(g, w));
	return n;
}

void group_recount_locked(struct group *g, uint32_t first, uint32_t count)
{
	uint32_t free, huge;
	uint32_t last = (first + count - 1) / HUGE_BLOCKS;

	space_group_counts(g->space, g->number, &free, &huge);
	for (uint32_t h = first / HUGE_BLOCKS; h <= last; h++) {
		uint32_t n = huge_units_free(g, h);

		free += n - g->huge_free[h];
		huge += (n == HUGE_BLOCKS) - (g->huge_free[h] == HUGE_BLOCKS);
		g->huge_free[h] = (uint16_t)n;
	}
	group_set_counts(g, free, huge);
}

static void change_word(
	struct group *g, enum bits_change change, uint32_t word, uint64_t mask, int64_t *held_free)
{
	if (g->held)
		*held_free -= __builtin_popcountll(g->held[word] & ~g->used[word]);
	switch (change) {
	case BITS_TAKE:
		g->used[word] |= mask;
		break;
	case BITS_GIVE:
		g->used[word] &= ~mask;
		break;
	case BITS_HOLD:
		g->held[word] |= mask;
		break;
	case BITS_RELEASE:
		g->held[word] &= ~mask;
		break;
	}
	if (g->held)
		*held_free += __builtin_popcountll(g->held[word] & ~g->used[word]);
}

void group_change_locked(struct group *g, enum bits_change change, uint32_t first, uint32_t count)
{
	uint32_t end = first + count;
	int64_t held_free = 0;

	assert(count > 0 && end <= g->media.units);
	assert(g->held || change == BITS_TAKE || change == BITS_GIVE);
	for (uint32_t at = first; at < end; at = (at | 63) + 1)
		change_word(g, change, at / 64, word_mask(at, end), &held_free);
	if (held_free)
		atomic_fetch_add_explicit(
			&g->space->held_free, (uint64_t)held_free, memory_order_relaxed);
	group_recount_locked(g, first, count);
}

bool group_all_used_locked(const struct group *g, uint32_t first, uint32_t count)
{
	uint32_t end = first + count;

	for (uint32_t at = first; at < end; at = (at | 63) + 1) {
		uint64_t mask = word_mask(at, end);

		if ((g->used[at / 64] & mask) != mask)
			return false;
	}
	return true;
}

/* ---- finding --------------------------------------------------------------------------------- */

/* The first free bit in [from, to), or `to`. */
static uint32_t next_free(const struct group *g, uint32_t from, uint32_t to)
{
	for (uint32_t at = from; at < to; at = (at | 63) + 1) {
		uint64_t word = ~busy_word(g, at / 64) >> (at % 64);

		if (word) {
			at += (uint32_t)__builtin_ctzll(word);
			return at < to ? at : to;
		}
	}
	return to;
}

static uint32_t next_busy(const struct group *g, uint32_t from, uint32_t to)
{
	for (uint32_t at = from; at < to; at = (at | 63) + 1) {
		uint64_t word = busy_word(g, at / 64) >> (at % 64);

		if (word) {
			at += (uint32_t)__builtin_ctzll(word);
			return at < to ? at : to;
		}
	}
	return to;
}

static bool backed(const struct group *g, uint32_t huge)
{
	return !(g->unbacked >> huge & 1);
}

/* How far a run that begins at `first` may go: it stays where reservations have not failed. */
static uint32_t run_limit(const struct group *g, const struct group_search *s, uint32_t first)
{
	uint32_t left = g->space->words * 64 - first;
	uint32_t end = first + (s->want < left ? s->want : left);

	if (s->unbacked_too || !g->unbacked)
		return end;
	for (uint32_t h = first / HUGE_BLOCKS; h * HUGE_BLOCKS < end; h++)
		if (!backed(g, h))
			return h * HUGE_BLOCKS > first ? h * HUGE_BLOCKS : first;
	return end;
}

/* Takes the run at `first` if it is better than what was found; true when it is long enough. */
static bool consider(
	const struct group *g, const struct group_search *s, uint32_t first, struct bit_run *best)
{
	uint32_t count = next_busy(g, first, run_limit(g, s, first)) - first;

	if (s->aligned)
		count -= count % HUGE_BLOCKS;
	if (count > best->count)
		*best = (struct bit_run){.first = first, .count = count};
	return best->count >= s->want;
}

static bool search_goal(const struct group *g, const struct group_search *s, struct bit_run *best)
{
	struct bit_run run = {0};

	if (s->goal == NONE || ((s->huge || s->aligned) && s->goal % HUGE_BLOCKS != s->phase))
		return false;
	consider(g, s, s->goal, &run);
	if (run.count < s->accept)
		return false;
	*best = run;
	return true;
}

/* Whole free 2 MiB units. The goal's own unit will do too, if it is free from the phase on. */
static void search_huge(const struct group *g, const struct group_search *s, struct bit_run *best)
{
	uint32_t n = g->space->huge_count, start = s->goal == NONE ? 0 : s->goal / HUGE_BLOCKS;

	if (s->goal != NONE && !s->aligned) {
		uint32_t first = start * HUGE_BLOCKS + s->phase;

		if (first < g->space->words * 64 && consider(g, s, first, best))
			return;
	}
	for (uint32_t i = 0; i < n; i++) {
		uint32_t h = (start + i) % n;

		if (g->huge_free[h] != HUGE_BLOCKS)
			continue;
		if (consider(g, s, h * HUGE_BLOCKS + s->phase, best))
			return;
		/* In a row of free units, to begin later is to end with less. */
		for (; backed(g, h) && h + 1 < n && g->huge_free[h + 1] == HUGE_BLOCKS; h++)
			i++;
	}
}

/* The runs that begin in one 2 MiB unit. */
static bool search_unit(
	const struct group *g, const struct group_search *s, uint32_t h, struct bit_run *best)
{
	uint32_t end = (h + 1) * HUGE_BLOCKS, bits = g->space->words * 64;

	if (end > bits)
		end = bits;
	for (uint32_t at = next_free(g, h * HUGE_BLOCKS, end); at < end;) {
		if (consider(g, s, at, best))
			return true;
		/* What follows this run, or lies behind its limit. */
		at = next_free(g, next_busy(g, at, end), end);
	}
	return false;
}

static void search_small(const struct group *g, const struct group_search *s, struct bit_run *best)
{
	uint32_t n = g->space->huge_count, start = s->goal == NONE ? 0 : s->goal / HUGE_BLOCKS;

	for (int whole = 0; whole < 2; whole++) {
		for (uint32_t i = 0; i < n; i++) {
			uint32_t h = (start + i) % n, here = g->huge_free[h];
			uint32_t next = h + 1 < n ? g->huge_free[h + 1] : 0;

			if (here == 0 || (here == HUGE_BLOCKS) != whole)
				continue;
			/* A run of one unit's length touches two at most. */
			if (s->want <= HUGE_BLOCKS &&
				(here + next <= best->count || here + next < s->accept))
				continue;
			if (!s->unbacked_too && !backed(g, h))
				continue;
			if (search_unit(g, s, h, best))
				return;
		}
	}
}

bool group_search_locked(const struct group *g, const struct group_search *s, struct bit_run *out)
{
	struct bit_run best = {0};

	assert(s->want > 0 && s->accept > 0 && s->accept <= s->want && s->phase < HUGE_BLOCKS);
	if (!search_goal(g, s, &best)) {
		if (s->huge || s->aligned)
			search_huge(g, s, &best);
		else
			search_small(g, s, &best);
	}
	if (best.count == 0 || best.count < s->accept)
		return false;
	*out = best;
	return true;
}
