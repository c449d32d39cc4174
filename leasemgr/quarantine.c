// SPDX-License-Identifier: BSD-2-Clause
/*
 * quarantine.c - blocks that the file has let go, and that somebody may still touch.
 *
 * A hold is one extent, linked from every lease or ghost whose range it was freed under; the last
 * of them that ends lets it go. Overlapping ranges of several holders make one hold of their union.
 * What cannot be recorded (no memory, LM_HOLDS_MAX) stays held
 * until the daemon's next start: safe, and shown as leaked_bytes.
 *
 * Core asks before its transaction commits (lm_freeing), and tells how that ended (lm_freed). Until
 * then a hold is `open`; if the blocks stay with the file it is undone, and ghosts stay watched.
 *
 * Leases are asked too, not ghosts alone: nothing should free blocks under one, but if something
 * does, the mapping must not see another file's bytes.
 */
#include "manager.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

static void hold_close(struct hold *h)
{
	if (h->ino)
		LIST_REMOVE(h, open);
	h->ino = 0;
}

static void hold_put(struct lm *lm, struct hold *h)
{
	assert(h->count > 0);
	if (--h->count > 0)
		return;
	hold_close(h);
	if (h->length > 0) { /* else it was not recorded: the blocks stay held */
		lm->ops->release(lm->config.context, h->region, h->region_offset, h->length);
		lm->status.holds--;
		lm->status.quarantine_bytes -= h->length;
	}
	free(h);
}

void holds_drop(struct lease *l)
{
	uint64_t bytes = holds_bytes(l);

	if (bytes)
		record_lease(l, LM_RECORD_RELEASE, l->node.start, l->node.end, NULL, bytes);
	while (!SLIST_EMPTY(&l->holds)) {
		struct hold_link *link = SLIST_FIRST(&l->holds);

		SLIST_REMOVE_HEAD(&l->holds, next);
		LIST_REMOVE(link, of_hold);
		hold_put(l->session->lm, link->hold);
		free(link);
	}
}

uint64_t holds_bytes(const struct lease *l)
{
	const struct hold_link *link;
	uint64_t bytes = 0;

	SLIST_FOREACH(link, &l->holds, next)
		bytes += link->hold->length;
	return bytes;
}

/* What the change freed under ghosts is told of once, however many extents it was. */
void holds_record(const struct lm_change *c)
{
	struct range_tree *ghosts = &c->inode->leases[TREE_GHOSTS];
	struct range_node *n = range_tree_first(ghosts, c->node.start, c->node.end);

	for (; n; n = range_tree_next(ghosts, n, c->node.start, c->node.end)) {
		struct lease *l = container_of(n, struct lease, node);

		if (l->held && !SLIST_EMPTY(&l->holds))
			record_lease(l, LM_RECORD_QUARANTINE, n->start, n->end, c, holds_bytes(l));
		l->held = false;
	}
}

struct freeing {
	struct lm *lm;
	struct hold
		*hold; /* of [start, end), growing; NULL: none, or its record could not be made */
	bool any, leaked;
	int error; /* of the first that could not be held */
	uint64_t start, end;
	uint64_t base; /* region offset of file offset 0, so to say */
	uint32_t region;
	uint64_t ino; /* 0: freed long ago */
};

static void finish_hold(struct freeing *f)
{
	struct lm *lm = f->lm;
	uint64_t bytes = f->end - f->start;
	int error;

	if (!f->any)
		return;
	error = lm->ops->hold(lm->config.context, f->region, f->base + f->start, bytes);
	if (error && !f->error)
		f->error = error;
	if (f->hold && !f->leaked && !error) {
		f->hold->region_offset = f->base + f->start;
		f->hold->length = bytes;
		lm->status.holds++;
		lm->status.quarantine_bytes += bytes;
		f->hold->ino = f->ino;
		if (f->ino)
			LIST_INSERT_HEAD(&lm->open, f->hold, open);
	} else {
		lm->status.leaked_bytes += error ? 0 : bytes;
		/* Without a length it is nothing but what the links that were made lead to. */
		if (f->hold && f->hold->count > 0)
			f->hold->length = 0;
		else
			free(f->hold);
	}
	f->hold = NULL;
	f->any = f->leaked = false;
}

static void add_holder(struct freeing *f, struct lease *l, uint64_t start, uint64_t end)
{
	struct hold_link *link;

	if (f->any && start > f->end)
		finish_hold(f);
	if (!f->any) {
		f->any = true;
		f->start = start;
		f->end = end;
		f->hold = f->lm->status.holds < f->lm->config.limits.holds
				  ? calloc(1, sizeof(*f->hold))
				  : NULL;
		if (f->hold)
			f->hold->region = f->region;
	}
	if (end > f->end)
		f->end = end;
	link = f->hold ? malloc(sizeof(*link)) : NULL;
	if (!link) {
		f->leaked = true;
		return;
	}
	link->hold = f->hold;
	link->lease = l;
	LIST_INSERT_HEAD(&f->hold->links, link, of_hold);
	f->hold->count++;
	l->held = true;
	SLIST_INSERT_HEAD(&l->holds, link, next);
}

/*
 * Whose doing is it? Only of a change that is alone there can it be said that it frees its range;
 * if there are several, ghosts are kept watched: too much may be held, never too little.
 */
static void note_freed(struct inode_leases *in, uint64_t start, uint64_t end)
{
	struct lm_change *c = change_first(in, start, end), *only = NULL;

	for (; c; c = change_next(in, c, start, end)) {
		if (c->state != CHANGE_ACTIVE || (c->kind != LM_FREE && c->kind != LM_MOVE))
			continue;
		if (only)
			return;
		only = c;
	}
	if (only && only->node.start <= start && only->node.end >= end)
		only->freed = true;
}

int lm_hold_restore(struct lm_session *s, uint64_t lease, uint32_t region, uint64_t region_offset,
	uint64_t length)
{
	struct lease *l = lease_find(s, lease);
	struct freeing f = {.lm = s->lm, .base = region_offset, .region = region};

	if (!l || !length)
		return -EUCLEAN;
	add_holder(&f, l, 0, length);
	finish_hold(&f);
	return f.error;
}

int lm_freeing(struct lm *lm, uint64_t ino, uint64_t start, uint64_t end, uint32_t region,
	uint64_t region_offset)
{
	struct inode_leases *in = leased_inode_find(lm, ino);
	struct range_node *next[LEASE_TREES];
	struct freeing f = {.lm = lm, .base = region_offset - start, .region = region, .ino = ino};

	assert(start < end);
	if (!in)
		return 0;
	note_freed(in, start, end);
	for (int t = 0; t < LEASE_TREES; t++)
		next[t] = range_tree_first(&in->leases[t], start, end);
	for (;;) {
		int first = -1;
		struct range_node *n;

		for (int t = 0; t < LEASE_TREES; t++)
			if (next[t] && (first < 0 || next[t]->start < next[first]->start))
				first = t;
		if (first < 0)
			break;
		n = next[first];
		add_holder(&f, container_of(n, struct lease, node),
			n->start > start ? n->start : start, n->end < end ? n->end : end);
		next[first] = range_tree_next(&in->leases[first], n, start, end);
	}
	finish_hold(&f);
	if (lm->config.check)
		lm_check(lm);
	return f.error;
}

/* The blocks stay with the file: nobody has to hold them. */
static void hold_undo(struct lm *lm, struct hold *h)
{
	bool last = false;

	while (!last) {
		struct hold_link *link = LIST_FIRST(&h->links);

		last = h->count == 1;
		LIST_REMOVE(link, of_hold);
		SLIST_REMOVE(&link->lease->holds, link, hold_link, next);
		free(link);
		hold_put(lm, h);
	}
}

void lm_freed(struct lm *lm, uint64_t ino, bool committed)
{
	struct inode_leases *in = committed ? NULL : leased_inode_find(lm, ino);
	struct lm_change *c = in ? change_first(in, 0, UINT64_MAX) : NULL;
	struct hold *h, *next;

	for (h = LIST_FIRST(&lm->open); h; h = next) {
		next = LIST_NEXT(h, open);
		if (h->ino != ino)
			continue;
		hold_close(h);
		if (!committed)
			hold_undo(lm, h);
	}
	/* Not to be taken for one that has freed all of its range, though it may try again. */
	for (; c; c = change_next(in, c, 0, UINT64_MAX))
		c->failed |= c->state == CHANGE_ACTIVE && c->freed;
	if (lm->config.check)
		lm_check(lm);
}
