// SPDX-License-Identifier: BSD-2-Clause
/*
 * space_free.c - giving units back.
 *
 * A unit may be handed out again when the transaction that freed it is durable: at once, or, where
 * durability is deferred, when journal_sync() has passed its position. Until then it stands in the
 * list of pending frees, which is in the order of positions because completions are.
 *
 * Invariant: completions take no memory; what they need is made by space_free().
 */
#include "space_impl.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

void group_give(struct group *g, uint32_t first, uint32_t count)
{
	pthread_mutex_lock(&g->lock);
	group_change_locked(g, BITS_GIVE, first, count);
	pthread_mutex_unlock(&g->lock);
}

static void freed(void *context, const struct tx_bits *bits, bool committed, uint64_t position)
{
	if (committed)
		group_give(context, bits->first, bits->count);
}

static void freed_deferred(
	void *context, const struct tx_bits *bits, bool committed, uint64_t position)
{
	struct pending *p = context;
	struct space *s = p->group->space;

	if (!committed) {
		free(p);
		return;
	}
	p->position = position;
	pthread_mutex_lock(&s->pending_lock);
	if (s->pending_tail)
		s->pending_tail->next = p;
	else
		s->pending_head = p;
	s->pending_tail = p;
	atomic_store_explicit(&s->pending_first, s->pending_head->position, memory_order_relaxed);
	atomic_fetch_add(&s->pending_units, p->count);
	pthread_mutex_unlock(&s->pending_lock);
}

static int free_in_group(struct group *g, struct tx *tx, uint32_t first, uint32_t count)
{
	struct tx_bits bits = {
		.bitmap = g->media.bitmap,
		.first = first,
		.count = count,
		.done = freed,
		.context = g,
	};
	struct pending *p = NULL;
	bool used;
	int error;

	error = group_ready(g);
	if (error)
		return error;
	pthread_mutex_lock(&g->lock);
	used = group_all_used_locked(g, first, count);
	pthread_mutex_unlock(&g->lock);
	if (!used)
		return -EUCLEAN; /* freed twice: somebody's map is wrong */
	if (g->space->deferred) {
		p = calloc(1, sizeof(*p));
		if (!p)
			return -ENOMEM;
		*p = (struct pending){.group = g, .first = first, .count = count};
		bits.done = freed_deferred;
		bits.context = p;
	}
	error = tx_bits(tx, &bits);
	if (error)
		free(p);
	return error;
}

int space_free(struct space *s, struct tx *tx, const struct space_run *run)
{
	uint64_t at = run->first, end = run->first + run->count;

	assert(run->count > 0 && end > at);
	assert(run->first % s->config.align_units == 0 && run->count % s->config.align_units == 0);
	while (at < end) {
		uint64_t number = at / s->per_group;
		uint32_t first = (uint32_t)(at % s->per_group), count = s->per_group - first;
		struct group *g;
		int error;

		if (count > end - at)
			count = (uint32_t)(end - at);
		if (number >= space_groups(s))
			return -EUCLEAN;
		g = space_group_at(s, (uint32_t)number);
		if (first + count > g->media.units)
			return -EUCLEAN;
		error = free_in_group(g, tx, first, count);
		if (error)
			return error;
		at += count;
	}
	return 0;
}

bool space_has_pending(struct space *s)
{
	return atomic_load(&s->pending_units) > 0;
}

void space_reap(struct space *s, uint64_t durable_position)
{
	struct pending *list = NULL, **end = &list;

	pthread_mutex_lock(&s->pending_lock);
	while (s->pending_head && s->pending_head->position <= durable_position) {
		struct pending *p = s->pending_head;

		s->pending_head = p->next;
		p->next = NULL;
		*end = p;
		end = &p->next;
	}
	if (!s->pending_head)
		s->pending_tail = NULL;
	atomic_store_explicit(&s->pending_first,
		s->pending_head ? s->pending_head->position : UINT64_MAX, memory_order_relaxed);
	pthread_mutex_unlock(&s->pending_lock);

	while (list) {
		struct pending *next = list->next;

		group_give(list->group, list->first, list->count);
		atomic_fetch_sub(&s->pending_units, list->count);
		free(list);
		list = next;
	}
}
