// SPDX-License-Identifier: BSD-2-Clause
/* query.c - what there is, for status and for messages. */
#include "manager.h"

#include <errno.h>

static uint64_t recall_deadline(const struct lease *l)
{
	struct lm_change *c = change_first(l->inode, l->node.start, l->node.end);
	uint64_t earliest = 0;

	for (; c; c = change_next(l->inode, c, l->node.start, l->node.end)) {
		uint64_t deadline = change_in_way_of(c, l) ? change_recall_end(c) : 0;

		if (deadline && (!earliest || deadline < earliest))
			earliest = deadline;
	}
	return earliest;
}

static void describe(const struct lease *l, bool slots_too, struct lm_lease_info *out)
{
	const struct lm_session *s = l->session;

	*out = (struct lm_lease_info){.lease = l->node.id,
		.origin = l->origin,
		.session = s->id,
		.owner = s->owner,
		.ino = l->inode->ino,
		.start = l->node.start,
		.end = l->node.end,
		.granted_ns = l->granted_ns,
		.recall_deadline_ns = l->recalled ? recall_deadline(l) : 0,
		.quarantine_bytes = holds_bytes(l),
		.slot = l->slot,
		.pid = s->pid,
		.uid = s->uid,
		.mode = l->mode,
		.range_pins = l->range_pins};
	out->flags = (l->tree == TREE_EXCLUSIVE ? LM_LEASE_EXCLUSIVE : 0) |
		     (l->recalled ? LM_LEASE_RECALLED : 0) |
		     (l->tree >= TREE_GHOSTS ? LM_LEASE_REVOKED : 0) |
		     (l->range_pins || (slots_too && lease_slot_pinned(l)) ? LM_LEASE_PINNED : 0) |
		     (l->making ? LM_LEASE_MAKING : 0) | (l->inherited ? LM_LEASE_INHERITED : 0) |
		     (s->closed && !l->inherited ? LM_LEASE_ORPHANED : 0);
}

int lm_lease_info(struct lm_session *s, uint64_t lease, struct lm_lease_info *out)
{
	struct lease *l = lease_find(s, lease);

	if (!l)
		return -ENOENT;
	describe(l, false, out);
	return 0;
}

bool lm_next_lease(
	const struct lm *lm, uint64_t *session, uint32_t *slot, struct lm_lease_info *out)
{
	const struct lm_session *s = NULL, *best;

	for (;;) {
		/* The list is by falling id: the last one that is not below is the next. */
		best = NULL;
		LIST_FOREACH(s, &lm->sessions, all) {
			if (s->id < *session)
				break;
			best = s;
		}
		if (!best)
			return false;
		if (best->id != *session) {
			*session = best->id;
			*slot = 0;
		}
		for (; *slot < best->leases.used_slots; (*slot)++) {
			const struct lease *l = best->leases.items[*slot];

			if (l) {
				describe(l, true, out);
				(*slot)++;
				return true;
			}
		}
		(*session)++;
		*slot = 0;
	}
}

/* The next of a tree's nodes, of any range. */
static struct range_node *step(const struct range_tree *t, struct lm_cursor *at)
{
	struct range_node *n = range_tree_after(t, 0, UINT64_MAX, at->start, at->id);

	if (n) {
		at->start = n->start;
		at->id = n->id;
	}
	return n;
}

bool lm_next_lease_of(
	const struct lm *lm, uint64_t ino, struct lm_cursor *at, struct lm_lease_info *out)
{
	const struct inode_leases *in = leased_inode_find(lm, ino);

	for (; in && at->part < LEASE_TREES; *at = (struct lm_cursor){.part = at->part + 1}) {
		const struct range_node *n = step(&in->leases[at->part], at);

		if (n) {
			describe(container_of(n, struct lease, node), true, out);
			return true;
		}
	}
	return false;
}

bool lm_next_pin_of(
	const struct lm *lm, uint64_t ino, struct lm_cursor *at, struct lm_pin_info *out)
{
	const struct inode_leases *in = leased_inode_find(lm, ino);
	const struct range_node *n = in ? step(&in->pins, at) : NULL;
	const struct pin *p;

	if (!n)
		return false;
	p = container_of(n, struct pin, node);
	*out = (struct lm_pin_info){.pin = n->id,
		.lease = p->lease->node.id,
		.session = p->lease->session->id,
		.start = n->start,
		.end = n->end,
		.pid = p->lease->session->pid,
		.uid = p->lease->session->uid,
		.flags = p->flags};
	return true;
}

const struct lm_session *lm_session_below(const struct lm *lm, uint64_t id)
{
	const struct lm_session *s;

	LIST_FOREACH(s, &lm->sessions, all)
		if (s->id < id)
			return s;
	return NULL;
}

const struct lm_session *lm_session_after(const struct lm_session *s)
{
	return LIST_NEXT(s, all);
}

void lm_session_info(const struct lm_session *s, struct lm_session_info *out)
{
	*out = (struct lm_session_info){.session = s->id,
		.owner = s->owner,
		.leases = s->lease_count - s->ghost_count,
		.ghosts = s->ghost_count,
		.range_pins = s->pin_count,
		.wants = s->want_count,
		.pid = s->pid,
		.uid = s->uid,
		.closed = s->closed,
		.process_gone = s->process_gone};
}

void lm_change_info(struct lm_change *c, struct lm_change_info *out)
{
	struct lease_cursor at;
	const struct lease *l = change_first_conflict(c, &at);

	*out = (struct lm_change_info){.number = c->node.id,
		.ino = c->ino,
		.start = c->node.start,
		.end = c->node.end,
		.began_ns = c->began_ns,
		.deadline_ns = change_deadline(c),
		.pid = c->pid,
		.uid = c->uid,
		.operation = c->name};
	if (l) {
		out->session = l->session->id;
		out->lease = l->node.id;
		out->holder_pid = l->session->pid;
		out->holder_uid = l->session->uid;
	}
}
