// SPDX-License-Identifier: BSD-2-Clause
/* check.c - the invariants L1 to L11 of leasemgr.h, asserted. O(everything): for tests. */
#include "manager.h"

#include <assert.h>

static bool overlap(const struct range_node *a, const struct range_node *b)
{
	return a->start < b->end && b->start < a->end;
}

static bool in_tree(const struct range_tree *t, const struct range_node *n)
{
	const struct range_node *f = range_tree_first(t, n->start, n->end);

	while (f && f != n)
		f = range_tree_next(t, f, n->start, n->end);
	return f == n;
}

static void check_recall(const struct lease *l)
{
	struct lm_change *c = change_first(l->inode, l->node.start, l->node.end);

	while (c && !change_in_way_of(c, l))
		c = change_next(l->inode, c, l->node.start, l->node.end);
	assert(l->recalled == (c != NULL)); /* L2 */
	assert(!(l->source.pending & PENDING_RECALL) || l->recalled);
	assert(!(l->source.pending & PENDING_CANCELLED) || !l->recalled);
}

static void check_exclusive(const struct lease *l)
{
	struct lease_cursor at;
	struct lease *o;

	for (o = lease_first(&at, l->inode, l->node.start, l->node.end, false); o;
		o = lease_next(&at)) /* L4 */
		assert(o == l || o->session == l->session ||
			(l->tree == TREE_SHARED && o->tree == TREE_SHARED));
}

struct totals {
	uint64_t leases, ghosts, unwritten, inherited, inherited_bytes, pins, links, parked, active,
		wants, inodes;
};

static void check_lease(
	const struct lm_session *s, uint32_t slot, const struct lease *l, struct totals *t)
{
	const struct hold_link *link;
	const struct pin *pin;
	uint32_t pins = 0;

	assert(l->session == s && l->slot == slot && (l->node.id & SLOT_MASK) == slot); /* L1 */
	assert(leased_inode_find(s->lm, l->inode->ino) == l->inode && l->inode->used);
	assert(l->tree == TREE_NONE || in_tree(&l->inode->leases[l->tree], &l->node));
	LIST_FOREACH(pin, &l->pins, of_lease) {
		pins++;
		assert(pin->lease == l);
	}
	assert(pins == l->range_pins);
	assert(!l->making || l->in_use);
	assert(!s->closed || l->tree >= TREE_GHOSTS || l->in_use || (s->inherited && l->inherited));
	assert(!l->inherited || (l->tree < TREE_GHOSTS && !l->in_use && slot >= s->reclaim_slot));
	assert(!s->closed || !l->source.pending);
	if (l->tree < TREE_GHOSTS) {
		t->leases++;
		check_recall(l);
		check_exclusive(l);
		assert(!(l->source.pending & PENDING_REVOKED));
	} else {
		t->ghosts++;
		t->unwritten += l->unwritten;
		assert(!l->recalled && !l->making);
		assert(!(l->source.pending & ~PENDING_REVOKED));
	}
	SLIST_FOREACH(link, &l->holds, next)
		assert(link->hold->count > 0); /* L7 */
}

static void check_session(const struct lm *lm, const struct lm_session *s, struct totals *t)
{
	const struct source *source;
	const struct lm_change *c;
	uint64_t leases = 0, ghosts = 0, pins = 0, wants = 0, told = 0, ready = 0, pending = 0,
		 inherited = 0;

	for (uint32_t i = 0; i < s->leases.capacity; i++) {
		const struct lease *l = s->leases.items[i];

		if (!l)
			continue;
		check_lease(s, i, l, t);
		leases++;
		inherited += l->inherited;
		t->inherited_bytes += l->inherited ? l->node.end - l->node.start : 0;
		ghosts += l->tree >= TREE_GHOSTS;
		pending += l->source.pending && !l->making;
	}
	for (uint32_t i = 0; i < s->pins.capacity; i++) {
		const struct pin *p = s->pins.items[i];

		if (!p)
			continue;
		pins++;
		assert(p->slot == i && p->lease->session == s); /* L6 */
		assert(p->node.start >= p->lease->node.start && p->node.end <= p->lease->node.end);
		assert(p->lease->range_pins > 0 && in_tree(&p->lease->inode->pins, &p->node));
	}
	LIST_FOREACH(c, &s->wants, wants) {
		wants++;
		assert(c->session == s && c->kind == LM_WANT && c->state != CHANGE_ACTIVE);
		assert((c->state == CHANGE_READY) == !!c->source.pending);
		pending += c->source.pending != 0;
	}
	LIST_FOREACH(c, &s->told, wants) {
		told++;
		assert(c->session == s && c->told && c->state == CHANGE_READY);
		pending += c->source.pending != 0;
	}
	TAILQ_FOREACH(source, &s->ready, ready) {
		ready++;
		assert(source->pending);
	}
	assert(ready == pending); /* L8 */
	assert(inherited == s->inherited_count && (!s->inherited || s->closed));
	assert(leases == s->lease_count && ghosts == s->ghost_count && pins == s->pin_count &&
		wants == s->want_count && told == s->told_count);
	assert(s->spare_wanted == 0 && s->spare_count == 0);
	assert(leases <= 1u << SLOT_BITS && pins <= lm->config.limits.pins_per_session); /* L9 */
	assert(wants + told <= lm->config.limits.wants_per_session);
	assert(!s->timer.at || lm->timers.items[s->timer.at - 1] == &s->timer);
	t->inherited += inherited;
	t->pins += pins;
	t->wants += wants;
}

static void check_change(const struct lm *lm, const struct lm_change *c, struct totals *t)
{
	const struct inode_leases *in = c->inode;
	struct lease_cursor at;
	struct lease *l;
	bool delayed = false, grace = false;

	for (l = lease_first(&at, c->inode, c->node.start, c->node.end, false); l;
		l = lease_next(&at)) {
		struct lm_change asked = *c;

		assert(overlap(&l->node, &c->node));
		asked.state = CHANGE_PARKED;
		delayed = delayed || change_in_way_of(&asked, l) || l->in_use;
		grace = grace || (l->inherited && change_in_way_of(&asked, l));
		if (c->state == CHANGE_ACTIVE && (c->kind == LM_FREE || c->kind == LM_MOVE))
			assert /* L3 */ (!change_in_way_of(&asked, l));
	}
	assert(in->ino == c->ino && !c->beginning);
	assert(!c->timer.at || lm->timers.items[c->timer.at - 1] == &c->timer);
	assert(c->state != CHANGE_READY);
	if (c->state == CHANGE_ACTIVE) {
		t->active++;
		assert(!c->timer.at);
		return;
	}
	if (c->kind != LM_WANT) {
		t->parked++;
		assert(delayed); /* L5 */
	}
	assert(c->timer.at || c->last_chance || c->passive || c->grace);
	assert(c->grace == grace && (!grace || !c->timer.at));
}

void lm_check(const struct lm *lm)
{
	const struct lm_session *s;
	struct totals t = {0};
	uint64_t sessions = 0, inherited = 0;

	assert(TAILQ_EMPTY(&lm->dirty));
	LIST_FOREACH(s, &lm->sessions, all) {
		assert(!LIST_NEXT(s, all) || LIST_NEXT(s, all)->id < s->id);
		check_session(lm, s, &t);
		sessions++;
		inherited += s->inherited;
	}
	for (uint64_t i = 0; i < lm->bucket_count; i++) {
		const struct inode_leases *in;

		LIST_FOREACH(in, &lm->buckets[i], bucket) {
			struct lm_change *c = change_first(in, 0, UINT64_MAX);
			uint64_t trees = 0;

			t.inodes++;
			for (int tree = 0; tree < LEASE_TREES; tree++)
				trees += range_tree_check(&in->leases[tree]);
			range_tree_check(&in->pins);
			range_tree_check(&in->changes);
			assert(trees <= in->count && in->used == (in->count > 0));
			assert(in->writers <= trees);
			assert(in->count || !range_tree_is_empty(&in->changes));
			for (; c; c = change_next(in, c, 0, UINT64_MAX))
				check_change(lm, c, &t);
		}
	}
	for (uint32_t i = 1; i < lm->timers.count; i++)
		assert(lm->timers.items[i]->deadline_ns >=
			lm->timers.items[(i - 1) / 2]->deadline_ns);
	assert(sessions == lm->status.sessions &&
		sessions - inherited <= lm->config.limits.sessions);
	assert(t.leases == lm->status.leases && t.ghosts == lm->status.ghosts);
	assert(t.unwritten == lm->status.unwritten); /* L11 */
	assert(t.inherited_bytes == lm->status.inherited_bytes);
	assert(t.inherited == lm->status.inherited && (!t.inherited || lm->grace.at)); /* L10 */
	assert(t.pins == lm->status.range_pins && t.wants == lm->status.wants);
	assert(t.parked == lm->status.parked && t.active == lm->status.active);
	assert(t.inodes == lm->inode_count && lm->timers.count <= lm->timer_owners);
}
