// SPDX-License-Identifier: BSD-2-Clause
/*
 * manager.c - what everything hangs on: the table of inodes, the timers, and settle(), which looks
 * again at the changes wherever something has gone away.
 *
 * A call that takes a lease, pin or change away only marks the range of the inode dirty; settle()
 * at its end decides the changes there until nothing is dirty. So no decision recurses into
 * another, and an inode is freed in one place. It ends: a round that decides nothing marks nothing.
 */
#include "manager.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#define BUCKETS_MIN 64u

static uint64_t bucket_of(const struct lm *lm, uint64_t ino)
{
	uint64_t x = (ino ^ lm->config.seed) * 0x9e3779b97f4a7c15ull;

	return (x ^ (x >> 32)) & (lm->bucket_count - 1);
}

/* Doubles the table when it is full. Without memory it stays as it is: slower, not wrong. */
static void grow_buckets(struct lm *lm)
{
	uint64_t old_count = lm->bucket_count;
	struct buckets *old = lm->buckets, *buckets;

	if (lm->inode_count < old_count)
		return;
	buckets = calloc(old_count * 2, sizeof(*buckets));
	if (!buckets)
		return;
	lm->buckets = buckets;
	lm->bucket_count = old_count * 2;
	for (uint64_t i = 0; i < old_count; i++) {
		struct inode_leases *in;

		while ((in = LIST_FIRST(&old[i]))) {
			LIST_REMOVE(in, bucket);
			LIST_INSERT_HEAD(&buckets[bucket_of(lm, in->ino)], in, bucket);
		}
	}
	free(old);
}

struct inode_leases *leased_inode_find(const struct lm *lm, uint64_t ino)
{
	struct inode_leases *in;

	LIST_FOREACH(in, &lm->buckets[bucket_of(lm, ino)], bucket)
		if (in->ino == ino)
			return in;
	return NULL;
}

int leased_inode_get(struct lm *lm, uint64_t ino, struct inode_leases **out)
{
	struct inode_leases *in = leased_inode_find(lm, ino);

	if (!in) {
		grow_buckets(lm);
		in = malloc(sizeof(*in));
		if (!in)
			return -ENOMEM;
		*in = (struct inode_leases){.ino = ino};
		LIST_INSERT_HEAD(&lm->buckets[bucket_of(lm, ino)], in, bucket);
		lm->inode_count++;
	}
	*out = in;
	return 0;
}

static bool is_dirty(const struct inode_leases *in)
{
	return in->dirty_start < in->dirty_end;
}

void leased_inode_drop(struct lm *lm, struct inode_leases *in)
{
	if (in->used && in->count == 0) {
		in->used = false;
		lm->ops->inode_idle(lm->config.context, in->owner);
	}
	if (is_dirty(in) || in->count || !range_tree_is_empty(&in->changes))
		return;
	assert(range_tree_is_empty(&in->pins));
	LIST_REMOVE(in, bucket);
	lm->inode_count--;
	free(in);
}

void leased_inode_dirty(struct lm *lm, struct inode_leases *in, uint64_t start, uint64_t end)
{
	assert(start < end);
	if (!is_dirty(in)) {
		in->dirty_start = start;
		in->dirty_end = end;
		TAILQ_INSERT_TAIL(&lm->dirty, in, dirty);
		return;
	}
	if (start < in->dirty_start)
		in->dirty_start = start;
	if (end > in->dirty_end)
		in->dirty_end = end;
}

void settle(struct lm *lm, uint64_t now_ns)
{
	struct inode_leases *in;

	while ((in = TAILQ_FIRST(&lm->dirty))) {
		uint64_t start = in->dirty_start, end = in->dirty_end;
		uint64_t after_start = 0, after_id = 0;
		struct range_node *n;

		TAILQ_REMOVE(&lm->dirty, in, dirty);
		in->dirty_start = in->dirty_end = 0;
		while ((n = range_tree_after(&in->changes, start, end, after_start, after_id))) {
			after_start = n->start;
			after_id = n->id;
			change_decide(container_of(n, struct lm_change, node), now_ns);
		}
		leased_inode_drop(lm, in);
	}
	if (lm->config.check)
		lm_check(lm);
}

/* ---- timers ---------------------------------------------------------------------------------- */

int timer_reserve(struct lm *lm)
{
	struct timer_heap *h = &lm->timers;

	if (lm->timer_owners == h->capacity) {
		uint32_t capacity = h->capacity ? h->capacity * 2 : 64;
		struct timer **items = realloc(h->items, capacity * sizeof(*items));

		if (!items)
			return -ENOMEM;
		h->items = items;
		h->capacity = capacity;
	}
	lm->timer_owners++;
	return 0;
}

void timer_unreserve(struct lm *lm)
{
	assert(lm->timer_owners > 0);
	lm->timer_owners--;
}

static void place(struct timer_heap *h, uint32_t i, struct timer *t)
{
	h->items[i] = t;
	t->at = i + 1;
}

static void sift(struct timer_heap *h, uint32_t i)
{
	struct timer *t = h->items[i];

	while (i > 0 && h->items[(i - 1) / 2]->deadline_ns > t->deadline_ns) {
		place(h, i, h->items[(i - 1) / 2]);
		i = (i - 1) / 2;
	}
	for (;;) {
		uint32_t child = 2 * i + 1;

		if (child >= h->count)
			break;
		if (child + 1 < h->count &&
			h->items[child + 1]->deadline_ns < h->items[child]->deadline_ns)
			child++;
		if (h->items[child]->deadline_ns >= t->deadline_ns)
			break;
		place(h, i, h->items[child]);
		i = child;
	}
	place(h, i, t);
}

void timer_set(struct lm *lm, struct timer *t, uint64_t deadline_ns)
{
	struct timer_heap *h = &lm->timers;

	t->deadline_ns = deadline_ns;
	if (!t->at) {
		assert(h->count < h->capacity);
		place(h, h->count++, t);
	}
	sift(h, t->at - 1);
}

void timer_clear(struct lm *lm, struct timer *t)
{
	struct timer_heap *h = &lm->timers;
	uint32_t i = t->at;

	if (!i)
		return;
	t->at = 0;
	h->count--;
	if (i - 1 < h->count) {
		place(h, i - 1, h->items[h->count]);
		sift(h, i - 1);
	}
}

uint64_t lm_next_deadline(const struct lm *lm)
{
	return lm->timers.count ? lm->timers.items[0]->deadline_ns : NO_TIME;
}

void lm_tick(struct lm *lm, uint64_t now_ns)
{
	while (lm->timers.count && lm->timers.items[0]->deadline_ns <= now_ns) {
		struct timer *t = lm->timers.items[0];

		timer_clear(lm, t);
		if (t->kind == TIMER_CHANGE)
			change_timer(container_of(t, struct lm_change, timer), now_ns);
		else if (t->kind == TIMER_SESSION)
			session_timer(container_of(t, struct lm_session, timer), now_ns);
		else
			grace_timer(lm, now_ns);
		settle(lm, now_ns);
	}
}

/* ---- birth and death ------------------------------------------------------------------------- */

static void set_limit(uint32_t *limit, uint32_t most)
{
	assert(*limit <= most);
	if (!*limit)
		*limit = most;
}

static void set_limits(struct lm_limits *l)
{
	set_limit(&l->sessions, LM_SESSIONS_MAX);
	set_limit(&l->sessions_per_user, LM_SESSIONS_PER_USER_MAX);
	set_limit(&l->leases, LM_LEASES_MAX);
	set_limit(&l->leases_per_session, LM_LEASES_PER_SESSION_MAX);
	set_limit(&l->pins, LM_PINS_MAX);
	set_limit(&l->pins_per_session, LM_PINS_PER_SESSION_MAX);
	set_limit(&l->parked, LM_PARKED_MAX);
	set_limit(&l->wants_per_session, LM_WANTS_PER_SESSION_MAX);
	set_limit(&l->holds, LM_HOLDS_MAX);
}

int lm_create(const struct lm_config *config, struct lm **out)
{
	struct lm *lm = calloc(1, sizeof(*lm));

	if (!lm)
		return -ENOMEM;
	lm->config = *config;
	set_limits(&lm->config.limits);
	lm->ops = config->ops;
	lm->next_id = config->first_id ? config->first_id : 1;
	lm->bucket_count = BUCKETS_MIN;
	lm->buckets = calloc(BUCKETS_MIN, sizeof(*lm->buckets));
	if (!lm->buckets) {
		free(lm);
		return -ENOMEM;
	}
	LIST_INIT(&lm->sessions);
	LIST_INIT(&lm->open);
	TAILQ_INIT(&lm->dirty);
	*out = lm;
	return 0;
}

static void destroy_session(struct lm_session *s)
{
	struct lm_change *c;

	for (uint32_t i = 0; i < s->pins.capacity; i++)
		free(s->pins.items[i]);
	for (uint32_t i = 0; i < s->leases.capacity; i++) {
		struct lease *l = s->leases.items[i];

		if (!l)
			continue;
		while (!SLIST_EMPTY(&l->holds)) {
			struct hold_link *link = SLIST_FIRST(&l->holds);

			SLIST_REMOVE_HEAD(&l->holds, next);
			if (--link->hold->count == 0)
				free(link->hold);
			free(link);
		}
		free(l);
	}
	while ((c = LIST_FIRST(&s->wants)) || (c = LIST_FIRST(&s->told))) {
		LIST_REMOVE(c, wants);
		if (c->state != CHANGE_READY)
			range_tree_remove(&c->inode->changes, &c->node);
		free(c);
	}
	handles_free(&s->leases);
	handles_free(&s->pins);
	free(s);
}

void lm_destroy(struct lm *lm)
{
	struct lm_session *s;

	if (!lm)
		return;
	while ((s = LIST_FIRST(&lm->sessions))) {
		LIST_REMOVE(s, all);
		destroy_session(s);
	}
	for (uint64_t i = 0; i < lm->bucket_count; i++) {
		struct inode_leases *in;
		struct range_node *n;

		while ((in = LIST_FIRST(&lm->buckets[i]))) {
			while ((n = range_tree_first(&in->changes, 0, UINT64_MAX))) {
				range_tree_remove(&in->changes, n);
				free(container_of(n, struct lm_change, node));
			}
			/* What was in these is gone. */
			for (int tree = 0; tree < LEASE_TREES; tree++)
				range_tree_free(&in->leases[tree]);
			range_tree_free(&in->pins);
			LIST_REMOVE(in, bucket);
			free(in);
		}
	}
	free(lm->buckets);
	free(lm->timers.items);
	free(lm);
}

bool lm_is_write_leased(const struct lm *lm, uint64_t ino)
{
	const struct inode_leases *in = leased_inode_find(lm, ino);

	return in && in->writers > 0;
}

void lm_get_status(const struct lm *lm, struct lm_status *out)
{
	*out = lm->status;
}
