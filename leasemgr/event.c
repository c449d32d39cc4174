// SPDX-License-Identifier: BSD-2-Clause
/*
 * event.c - what a session has to be told, kept as bits of the things that it is about.
 *
 * A thing with a bit set is in its session's ready list, once. What an event says is looked up when
 * it is read, so it is never stale.
 */
#include "manager.h"

#include <assert.h>

static struct lease *lease_of(struct source *source)
{
	assert(source->kind == SOURCE_LEASE);
	return container_of(source, struct lease, source);
}

static bool is_queued(const struct source *source)
{
	return source->pending && !(source->kind == SOURCE_LEASE &&
					  container_of(source, struct lease, source)->making);
}

bool lm_event_waiting(const struct lm_session *s)
{
	return s->drain_pending || !TAILQ_EMPTY(&s->ready);
}

static void tell(struct lm_session *s, bool waited_before)
{
	if (!waited_before)
		s->lm->ops->ready(s->lm->config.context, s->owner);
}

void source_mark(struct lm_session *s, struct source *source, uint8_t pending)
{
	bool waited = lm_event_waiting(s), queued = is_queued(source);

	if (s->closed)
		return;
	source->pending |= pending;
	if (is_queued(source) && !queued) {
		TAILQ_INSERT_TAIL(&s->ready, source, ready);
		tell(s, waited);
	}
}

void source_clear(struct lm_session *s, struct source *source, uint8_t pending)
{
	bool queued = is_queued(source);

	source->pending &= (uint8_t)~pending;
	if (queued && !source->pending)
		TAILQ_REMOVE(&s->ready, source, ready);
}

void source_release(struct lm_session *s, struct source *source)
{
	bool waited = lm_event_waiting(s);

	if (source->pending) {
		TAILQ_INSERT_TAIL(&s->ready, source, ready);
		tell(s, waited);
	}
}

/* The range, time and asker of a recall: all parked changes over the lease together. */
static void describe_recall(const struct lease *l, struct lm_event *e)
{
	struct lm_change *c = change_first(l->inode, l->node.start, l->node.end);
	bool any = false;

	for (; c; c = change_next(l->inode, c, l->node.start, l->node.end)) {
		uint64_t start = c->node.start > l->node.start ? c->node.start : l->node.start;
		uint64_t end = c->node.end < l->node.end ? c->node.end : l->node.end;
		uint64_t deadline_ns = change_recall_end(c);

		if (!change_in_way_of(c, l))
			continue;
		e->start = !any || start < e->start ? start : e->start;
		e->end = !any || end > e->end ? end : e->end;
		if (!any)
			e->pid = c->pid;
		if (deadline_ns && (!e->deadline_ns || deadline_ns < e->deadline_ns)) {
			e->deadline_ns = deadline_ns;
			e->pid = c->pid;
		}
		any = true;
	}
	assert(any);
}

static uint8_t describe_lease(struct lease *l, struct lm_event *e)
{
	e->lease = e->origin = l->node.id;
	e->ino = l->inode->ino;
	e->start = l->node.start;
	e->end = l->node.end;
	e->mode = l->mode;
	if (l->source.pending & PENDING_REVOKED) {
		e->kind = LM_EVENT_REVOKED;
		e->origin = l->origin;
		e->rest = l->rest;
		e->flags = l->own ? LM_EVENT_OWN : 0;
		return PENDING_REVOKED;
	}
	if (l->source.pending & PENDING_RECALL) {
		e->kind = LM_EVENT_RECALL;
		describe_recall(l, e);
		l->told = true;
		return PENDING_RECALL;
	}
	if (l->source.pending & PENDING_CANCELLED) {
		e->kind = LM_EVENT_RECALL_CANCELLED;
		return PENDING_CANCELLED;
	}
	if (l->source.pending & PENDING_ADVISORY) {
		e->kind = LM_EVENT_RECALL;
		e->flags = LM_EVENT_ADVISORY;
		return PENDING_ADVISORY;
	}
	assert(l->source.pending & PENDING_LAYOUT);
	e->kind = LM_EVENT_LAYOUT_CHANGED;
	return PENDING_LAYOUT;
}

void lm_session_tell_again(struct lm_session *s)
{
	for (uint32_t i = 0; i < s->leases.used_slots; i++) {
		struct lease *l = s->leases.items[i];

		if (!l)
			continue;
		if (l->tree >= TREE_GHOSTS)
			source_mark(s, &l->source, PENDING_REVOKED);
		else if (l->recalled)
			source_mark(s, &l->source, PENDING_RECALL);
		if (l->tree < TREE_GHOSTS && l->mode == LM_READ)
			source_mark(s, &l->source, PENDING_LAYOUT);
	}
	wants_tell_again(s);
	if (s->lm->status.draining)
		session_tell_drain(s);
}

bool lm_event_next(struct lm_session *s, struct lm_event *out)
{
	struct lm_event e = {0};
	struct source *source;

	if (s->drain_pending) {
		s->drain_pending = false;
		e.kind = LM_EVENT_DRAIN;
		*out = e;
		return true;
	}
	source = TAILQ_FIRST(&s->ready);
	if (!source)
		return false;
	TAILQ_REMOVE(&s->ready, source, ready);
	if (source->kind == SOURCE_WANT) {
		struct lm_change *c = container_of(source, struct lm_change, source);

		e.kind = LM_EVENT_AVAILABLE;
		e.ino = c->ino;
		e.start = c->node.start;
		e.end = c->node.end;
		e.mode = c->mode;
		e.flags = c->exclusive ? LM_EVENT_EXCLUSIVE : 0;
		source->pending = 0;
		want_told(c);
	} else {
		source->pending &= (uint8_t)~describe_lease(lease_of(source), &e);
		if (source->pending)
			TAILQ_INSERT_TAIL(&s->ready, source, ready);
	}
	*out = e;
	return true;
}

void lm_layout_changed(
	struct lm *lm, uint64_t ino, uint64_t start, uint64_t end, const struct lm_session *by)
{
	struct inode_leases *in = leased_inode_find(lm, ino);
	struct lease_cursor at;
	struct lease *l;

	if (!in)
		return;
	for (l = lease_first(&at, in, start, end, false); l; l = lease_next(&at))
		if (l->mode == LM_READ && l->session != by)
			source_mark(l->session, &l->source, PENDING_LAYOUT);
}

void session_tell_drain(struct lm_session *s)
{
	bool waited = lm_event_waiting(s);

	if (s->closed)
		return;
	s->drain_pending = true;
	tell(s, waited);
}

void lm_drain(struct lm *lm)
{
	struct lm_session *s;

	lm->status.draining = true;
	record_drain(lm);
	LIST_FOREACH(s, &lm->sessions, all)
		session_tell_drain(s);
}
