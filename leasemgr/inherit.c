// SPDX-License-Identifier: BSD-2-Clause
/*
 * inherit.c - sessions of an earlier life: written down, put back, waited for, adopted, given up.
 *
 *   session   restored (closed, `inherited`) --adopt--> open, as any
 *                                            --grace over--> closed: ghosts only; may be adopted
 *                                            --process gone--> its ghosts drain
 *   lease     restored `inherited` --reclaim--> as granted
 *                                  --grace over, process gone--> ghost
 *
 * What is put back comes from the owner's media, which may be damaged: it is checked as any input.
 * The grace period's timer runs exactly while something is inherited; its end touches each lease
 * once.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "manager.h"

/* ---- writing down ---------------------------------------------------------------------------- */

int lease_persist(const struct lease *l, uint64_t start, uint64_t end, enum tree_kind tree)
{
	const struct lm *lm = l->session->lm;
	struct lm_lease_record r = {.lease = l->node.id,
		.origin = l->origin,
		.rest = l->rest,
		.ino = l->inode->ino,
		.start = start,
		.end = end,
		.mode = l->mode,
		.flags = (tree == TREE_EXCLUSIVE ? LM_LEASE_EXCLUSIVE : 0) |
			 (tree >= TREE_GHOSTS ? LM_LEASE_REVOKED : 0)};

	return lm->ops->persist ? lm->ops->persist(lm->config.context, l->session->owner, &r) : 0;
}

int lease_write_ghosts(struct lm *lm, struct inode_leases *in, uint64_t start, uint64_t end)
{
	struct range_tree *ghosts = &in->leases[TREE_GHOSTS];
	struct range_node *n = lm->status.unwritten ? range_tree_first(ghosts, start, end) : NULL;

	for (; n; n = range_tree_next(ghosts, n, start, end)) {
		struct lease *l = container_of(n, struct lease, node);
		int error = l->unwritten ? lease_persist(l, n->start, n->end, TREE_GHOSTS) : 0;

		if (error)
			return error;
		lm->status.unwritten -= l->unwritten;
		l->unwritten = false;
	}
	return 0;
}

/* ---- putting back ---------------------------------------------------------------------------- */

int lm_session_restore(struct lm *lm, uint64_t number, uint32_t pid, uint32_t uid, void *owner,
	struct lm_session **out)
{
	const struct lm_session *last = LIST_FIRST(&lm->sessions);
	uint64_t next = lm->next_id;
	int error;

	if (number == 0 || number >= next || (last && last->id >= number))
		return -EUCLEAN;
	lm->next_id = number;
	error = session_new(lm, pid, uid, owner, out);
	lm->next_id = next;
	if (error)
		return error;
	(*out)->closed = (*out)->inherited = true;
	return 0;
}

/* An exclusive lease over another session's? */
static bool contradicts(
	const struct lm_session *s, struct inode_leases *in, const struct lm_lease_record *r)
{
	bool exclusive = r->flags & LM_LEASE_EXCLUSIVE;
	struct lease_cursor at;
	struct lease *l;

	for (l = lease_first(&at, in, r->start, r->end, !exclusive); l; l = lease_next(&at))
		if (l->session != s)
			return true;
	return false;
}

static bool is_sane(const struct lm_session *s, const struct lm_lease_record *r)
{
	return r->start < r->end && (r->mode == LM_READ || r->mode == LM_WRITE) &&
	       !(r->flags & ~(LM_LEASE_EXCLUSIVE | LM_LEASE_REVOKED)) &&
	       r->lease >> SLOT_BITS < s->lm->next_id && r->lease >> SLOT_BITS > 0 &&
	       (r->ino || (r->flags & LM_LEASE_REVOKED));
}

int lm_lease_restore(
	struct lm_session *s, const struct lm_lease_record *r, bool was_recalled, uint64_t now_ns)
{
	bool ghost = r->flags & LM_LEASE_REVOKED;
	struct lm *lm = s->lm;
	struct inode_leases *in;
	struct lease *l;
	int error;

	assert(s->inherited);
	if (!is_sane(s, r))
		return -EUCLEAN;
	error = leased_inode_get(lm, r->ino, &in);
	if (error)
		return error;
	l = calloc(1, sizeof(*l));
	error = !l ? -ENOMEM : !ghost && contradicts(s, in, r) ? -EUCLEAN : 0;
	if (!error)
		error = handles_place(&s->leases, (uint32_t)r->lease & SLOT_MASK, l);
	if (error) {
		free(l);
		leased_inode_drop(lm, in);
		return error;
	}
	l->slot = (uint32_t)r->lease & SLOT_MASK;
	l->node.id = r->lease;
	l->node.start = r->start;
	l->node.end = r->end;
	l->source.kind = SOURCE_LEASE;
	l->mode = (uint8_t)r->mode;
	l->granted_ns = now_ns;
	l->origin = r->origin;
	l->rest = r->rest;
	SLIST_INIT(&l->holds);
	lease_enter(l, s, in,
		!r->ino                         ? TREE_NONE
		: ghost                         ? TREE_GHOSTS
		: r->flags & LM_LEASE_EXCLUSIVE ? TREE_EXCLUSIVE
						: TREE_SHARED);
	lm->ops->slot_recall(lm->config.context, s->owner, l->slot, ghost);
	if (!ghost) {
		l->inherited = true;
		l->was_recalled = was_recalled;
		s->inherited_count++;
		lm->status.inherited++;
		lm->status.inherited_bytes += r->end - r->start;
	}
	return 0;
}

void lm_session_restored(struct lm_session *s)
{
	handles_order(&s->leases);
	handles_order(&s->pins);
}

uint64_t lm_next_number(const struct lm *lm)
{
	return lm->next_id;
}

/* ---- the grace period ------------------------------------------------------------------------ */

void lease_not_inherited(struct lease *l)
{
	struct lm *lm = l->session->lm;

	if (!l->inherited)
		return;
	l->inherited = false;
	l->session->inherited_count--;
	lm->status.inherited_bytes -= l->node.end - l->node.start;
	if (--lm->status.inherited == 0 && lm->grace.at) {
		timer_clear(lm, &lm->grace);
		timer_unreserve(lm);
	}
}

int lm_grace_begin(struct lm *lm, uint64_t end_ns, uint64_t now_ns)
{
	if (lm->status.inherited) {
		if (timer_reserve(lm))
			return -ENOMEM;
		lm->grace.kind = TIMER_GRACE;
		timer_set(lm, &lm->grace, end_ns);
	}
	lm_tick(lm, now_ns);
	settle(lm, now_ns);
	return 0;
}

uint64_t lm_grace_end(const struct lm *lm)
{
	return lm->grace.at ? lm->grace.deadline_ns : 0;
}

static void give_up(struct lm_session *s)
{
	for (uint32_t i = s->reclaim_slot; s->inherited_count && i < s->leases.used_slots; i++) {
		struct lease *l = s->leases.items[i];

		if (!l || !l->inherited)
			continue;
		lease_revoke_left(l);
		s->lm->status.grace_revoked++;
	}
}

void grace_timer(struct lm *lm, uint64_t now_ns)
{
	struct lm_session *s;

	timer_unreserve(lm);
	LIST_FOREACH(s, &lm->sessions, all)
		give_up(s);
	assert(!lm->status.inherited);
}

/* ---- going on -------------------------------------------------------------------------------- */

bool lm_session_is_inherited(const struct lm_session *s)
{
	return s->inherited;
}

bool lm_session_is_empty(const struct lm_session *s)
{
	return !s->lease_count && !s->want_count;
}

uint64_t lm_session_inherited(const struct lm_session *s)
{
	return s->inherited_count;
}

void lm_session_set_owner(struct lm_session *s, void *owner)
{
	s->owner = owner;
}

void lm_session_adopt(struct lm_session *s, uint32_t pid, void *owner, uint64_t now_ns)
{
	struct lm *lm = s->lm;

	assert(s->closed && s->inherited);
	s->owner = owner;
	s->closed = s->inherited = false;
	timer_clear(lm, &s->timer);
	lm_session_tell_again(s);
	record_session(s, LM_RECORD_SESSION_OPEN);
	lm_session_set_process(s, pid, now_ns);
}

int lm_reclaim(struct lm_session *s, uint64_t *lease, uint64_t now_ns)
{
	struct lease *l = NULL;

	if (*lease) {
		l = lease_find(s, *lease);
	} else if (s->inherited_count) {
		while (!(l = s->leases.items[s->reclaim_slot]) || !l->inherited)
			s->reclaim_slot++;
	}
	if (!l || l->making)
		return -ENOENT;
	if (l->tree >= TREE_GHOSTS)
		return -ESTALE;
	*lease = l->node.id;
	if (!l->inherited)
		return 0;
	lease_not_inherited(l);
	s->lm->status.reclaimed++;
	record_lease(l, LM_RECORD_GRANT, l->node.start, l->node.end, NULL, 0);
	if (l->was_recalled && !l->recalled)
		source_mark(s, &l->source, PENDING_CANCELLED);
	leased_inode_dirty(s->lm, l->inode, l->node.start, l->node.end);
	settle(s->lm, now_ns);
	return 0;
}
