// SPDX-License-Identifier: BSD-2-Clause
/*
 * space_hold.c - the quarantine's holds: how often each unit is held, and a bit for "at all".
 *
 * Holds are few and long, so their counts are kept as a sorted array of ranges of equal count. The
 * bits in the groups are what the allocator looks at; they change only when a count leaves or
 * reaches zero. Each call rebuilds the array from one buffer into the other.
 *
 * Invariant: a release never hands out a unit that is still held. If it cannot get the memory to
 * split a range, the units stay held until the pool is opened again: lost for a while, not unsafe.
 */
#include "space_impl.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

/* One more range can at most cut two others, and fill the gaps between them. */
static int ensure_capacity(struct space *s)
{
	size_t need = 2 * s->hold_count + 4, capacity = s->hold_capacity;
	struct hold *a, *b;

	if (need <= capacity)
		return 0;
	capacity = need * 2;
	a = realloc(s->holds, capacity * sizeof(*a));
	if (!a)
		return -ENOMEM;
	s->holds = a;
	b = realloc(s->holds_next, capacity * sizeof(*b));
	if (!b)
		return -ENOMEM;
	s->holds_next = b;
	s->hold_capacity = capacity;
	return 0;
}

/* The part of [at, end) in one group. */
static struct group *first_part(
	struct space *s, uint64_t at, uint64_t end, uint32_t *first, uint32_t *count)
{
	struct group *g = space_group_at(s, (uint32_t)(at / s->per_group));

	*first = (uint32_t)(at % s->per_group);
	*count = s->per_group - *first;
	if (*count > end - at)
		*count = (uint32_t)(end - at);
	return g;
}

static int prepare_groups(struct space *s, const struct space_run *run)
{
	uint64_t end = run->first + run->count;
	uint32_t first, count;

	for (uint64_t at = run->first; at < end; at += count) {
		struct group *g = first_part(s, at, end, &first, &count);
		int error;

		if (!g || first + count > g->media.units)
			return -EINVAL;
		error = group_ready(g);
		if (error == -EUCLEAN)
			continue; /* never handed out anyway */
		if (error)
			return error;
		pthread_mutex_lock(&g->lock);
		if (!g->held)
			g->held = calloc(s->words, sizeof(*g->held));
		error = g->held ? 0 : -ENOMEM;
		pthread_mutex_unlock(&g->lock);
		if (error)
			return error;
	}
	return 0;
}

static void change_bits(struct space *s, enum bits_change change, uint64_t at, uint64_t end)
{
	uint32_t first, count;

	for (; at < end; at += count) {
		struct group *g = first_part(s, at, end, &first, &count);

		if (group_ready(g))
			continue;
		pthread_mutex_lock(&g->lock);
		group_change_locked(g, change, first, count);
		pthread_mutex_unlock(&g->lock);
	}
}

static void put_hold(struct space *s, size_t *n, uint64_t first, uint64_t end, uint64_t count)
{
	struct hold *last = *n ? &s->holds_next[*n - 1] : NULL;

	if (first == end || count == 0)
		return;
	if (last && last->end == first && last->count == count) {
		last->end = end;
		return;
	}
	assert(*n < s->hold_capacity);
	s->holds_next[(*n)++] = (struct hold){first, end, count};
}

static void swap_buffers(struct space *s, size_t n)
{
	struct hold *old = s->holds;

	s->holds = s->holds_next;
	s->holds_next = old;
	s->hold_count = n;
}

int space_hold(struct space *s, const struct space_run *run)
{
	uint64_t at = run->first, end = run->first + run->count;
	size_t n = 0, i = 0;
	int error;

	assert(run->count > 0 && end > at);
	pthread_mutex_lock(&s->hold_lock);
	error = prepare_groups(s, run);
	if (!error)
		error = ensure_capacity(s);
	if (error)
		goto unlock;
	for (; i < s->hold_count && s->holds[i].end <= at; i++)
		put_hold(s, &n, s->holds[i].first, s->holds[i].end, s->holds[i].count);
	for (; i < s->hold_count && s->holds[i].first < end; i++) {
		struct hold h = s->holds[i];
		uint64_t from = h.first > at ? h.first : at, to = h.end < end ? h.end : end;

		put_hold(s, &n, h.first, from, h.count);
		if (at < from) {
			change_bits(s, BITS_HOLD, at, from);
			put_hold(s, &n, at, from, 1);
		}
		put_hold(s, &n, from, to, h.count + 1);
		put_hold(s, &n, to, h.end, h.count);
		at = to;
	}
	if (at < end) {
		change_bits(s, BITS_HOLD, at, end);
		put_hold(s, &n, at, end, 1);
	}
	for (; i < s->hold_count; i++)
		put_hold(s, &n, s->holds[i].first, s->holds[i].end, s->holds[i].count);
	swap_buffers(s, n);
unlock:
	pthread_mutex_unlock(&s->hold_lock);
	return error;
}

void space_release(struct space *s, const struct space_run *run)
{
	uint64_t start = run->first, end = run->first + run->count;
	size_t n = 0;

	pthread_mutex_lock(&s->hold_lock);
	if (ensure_capacity(s))
		goto unlock;
	for (size_t i = 0; i < s->hold_count; i++) {
		struct hold h = s->holds[i];
		uint64_t from = h.first > start ? h.first : start, to = h.end < end ? h.end : end;

		if (from >= to) {
			put_hold(s, &n, h.first, h.end, h.count);
			continue;
		}
		put_hold(s, &n, h.first, from, h.count);
		if (h.count == 1)
			change_bits(s, BITS_RELEASE, from, to);
		put_hold(s, &n, from, to, h.count - 1);
		put_hold(s, &n, to, h.end, h.count);
	}
	swap_buffers(s, n);
unlock:
	pthread_mutex_unlock(&s->hold_lock);
}
