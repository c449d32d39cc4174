// SPDX-License-Identifier: BSD-2-Clause
/*
 * recall.c - telling holders that a change waits for them.
 *
 * A lease is `recalled` while a parked change of another process is in its way: its slot's recall
 * word says so, and it has an event pending until that is read. It is told again for each change
 * that comes to it, each LM_RENOTIFY_NS to who makes somebody wait without end, and when another
 * process has the lease. What it says is put together when it is read (event.c), from all that wait
 * by then.
 */
#include "manager.h"

#include <assert.h>

static void record_recall(const struct lease *l, const struct lm_change *by)
{
	uint64_t start = by->node.start > l->node.start ? by->node.start : l->node.start;
	uint64_t end = by->node.end < l->node.end ? by->node.end : l->node.end;

	record_lease(l, LM_RECORD_RECALL, start, end, by, change_deadline(by));
}

/* By that change; NULL: not any more. */
static void set_recalled(struct lease *l, struct lm_change *by)
{
	struct lm_session *s = l->session;
	const struct lm *lm = s->lm;

	assert(l->tree < TREE_GHOSTS);
	if (by) {
		if (!l->recalled) {
			l->recalled = true;
			l->told = false;
			lm->ops->slot_recall(lm->config.context, s->owner, l->slot, true);
			s->lm->status.recalls++;
			record_recall(l, by);
		}
		source_clear(s, &l->source, PENDING_CANCELLED | PENDING_ADVISORY);
		source_mark(s, &l->source, PENDING_RECALL);
	} else if (l->recalled) {
		l->recalled = false;
		lm->ops->slot_recall(lm->config.context, s->owner, l->slot, false);
		source_clear(s, &l->source, PENDING_RECALL);
		if (l->told)
			source_mark(s, &l->source, PENDING_CANCELLED);
		record_lease(l, LM_RECORD_CANCEL, l->node.start, l->node.end, NULL, 0);
	}
}

void lease_review_recall(struct lease *l)
{
	struct lm_change *c = change_first(l->inode, l->node.start, l->node.end);

	while (c && !change_in_way_of(c, l))
		c = change_next(l->inode, c, l->node.start, l->node.end);
	if (!c || !l->recalled)
		set_recalled(l, c);
}

/* ---- of a change ----------------------------------------------------------------------------- */

uint64_t change_deadline(const struct lm_change *c)
{
	const struct lm_rung *r = &c->policy.rungs[c->rung];

	if (r->kind == LM_RUNG_WAIT || c->passive || c->grace)
		return 0;
	if (c->timer.at)
		return c->timer.deadline_ns;
	return r->kind == LM_RUNG_RECALL ? c->began_ns + r->time_ns : 0;
}

uint64_t change_recall_end(const struct lm_change *c)
{
	return c->time_over ? 0 : change_deadline(c);
}

void change_recall(struct lm_change *c)
{
	struct lease_cursor at;
	struct lease *l;

	for (l = change_first_conflict(c, &at); l; l = change_next_conflict(c, &at)) {
		if (!change_in_way_of(c, l))
			continue;
		if (!c->noted)
			record_change(c, LM_RECORD_PARK, l, change_deadline(c));
		set_recalled(l, c);
	}
}

void change_let_go(struct lm_change *c)
{
	struct lease_cursor at;
	struct lease *l;

	for (l = change_first_conflict(c, &at); l; l = change_next_conflict(c, &at))
		if (l->recalled)
			lease_review_recall(l);
}
