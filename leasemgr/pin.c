// SPDX-License-Identifier: BSD-2-Clause
/* pin.c - range pins, and the question whether anything is pinned. */
#include "manager.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

/*
 * Looked for in the lease's own pins and in the inode's of that range, in turns: whoever has many
 * pins elsewhere in the lease finds it in the tree, and among the pins of a thousand leases on one
 * range each lease has its own few. So all leases of a range together never take longer than there
 * are pins.
 */
struct pin *pin_first(const struct lease *l, uint64_t start, uint64_t end)
{
	struct pin *own = LIST_FIRST(&l->pins);
	struct range_node *n = own ? range_tree_first(&l->inode->pins, start, end) : NULL;

	for (; own && n; own = LIST_NEXT(own, of_lease)) {
		struct pin *p = container_of(n, struct pin, node);

		if (own->node.start < end && start < own->node.end)
			return own;
		if (p->lease == l)
			return p;
		n = range_tree_next(&l->inode->pins, n, start, end);
	}
	return NULL;
}

bool lease_slot_pinned(const struct lease *l)
{
	const struct lm *lm = l->session->lm;

	return lm->ops->slot_pinned(lm->config.context, l->session->owner, l->slot);
}

bool lease_pinned(const struct lease *l, uint64_t start, uint64_t end)
{
	return (l->range_pins && pin_first(l, start, end)) || lease_slot_pinned(l);
}

static void attach(struct pin *p, struct lease *l)
{
	p->lease = l;
	l->range_pins++;
	LIST_INSERT_HEAD(&l->pins, p, of_lease);
}

static void detach(struct pin *p)
{
	p->lease->range_pins--;
	LIST_REMOVE(p, of_lease);
}

void pins_move(struct lease *from, uint64_t start, struct lease *to)
{
	const struct lm *lm = to->session->lm;
	struct pin *p, *next;

	for (p = LIST_FIRST(&from->pins); p; p = next) {
		next = LIST_NEXT(p, of_lease);
		if (p->node.end <= start)
			continue;
		detach(p);
		attach(p, to);
		if (lm->ops->pin_moved)
			lm->ops->pin_moved(
				lm->config.context, to->session->owner, p->node.id, to->node.id);
	}
}

void pin_end(struct pin *p)
{
	struct lm_session *s = p->lease->session;

	if (s->lm->ops->pin_gone)
		s->lm->ops->pin_gone(s->lm->config.context, s->owner, p->node.id);
	range_tree_remove(&p->lease->inode->pins, &p->node);
	detach(p);
	handles_put(&s->pins, p->slot);
	s->pin_count--;
	s->lm->status.range_pins--;
	free(p);
}

void pins_end(struct lease *l)
{
	while (!LIST_EMPTY(&l->pins))
		pin_end(LIST_FIRST(&l->pins));
	assert(l->range_pins == 0);
}

int lm_pin(struct lm_session *s, uint64_t lease, uint64_t start, uint64_t end, unsigned flags,
	uint64_t *pin)
{
	const struct lm_limits *most = &s->lm->config.limits;
	struct lease *l = lease_find(s, lease);
	struct pin *p;
	bool used_before;
	int error;

	if (!l || l->tree >= TREE_GHOSTS || l->making || l->inherited)
		return -ENOENT;
	if (start >= end || start < l->node.start || end > l->node.end ||
		(flags & ~LM_PIN_UNBREAKABLE))
		return -EINVAL;
	if (l->recalled)
		return -EAGAIN;
	if (s->pin_count >= most->pins_per_session || s->lm->status.range_pins >= most->pins)
		return -ENOLCK;
	error = handles_reserve(&s->pins, 1, 1u << SLOT_BITS);
	if (error)
		return error;
	p = calloc(1, sizeof(*p));
	if (!p)
		return -ENOMEM;
	p->slot = handles_take(&s->pins, p, &used_before);
	p->node.id = s->lm->next_id++ << SLOT_BITS | p->slot;
	p->node.start = start;
	p->node.end = end;
	p->flags = flags;
	range_tree_insert(&l->inode->pins, &p->node);
	attach(p, l);
	s->pin_count++;
	s->lm->status.range_pins++;
	*pin = p->node.id;
	if (s->lm->config.check)
		lm_check(s->lm);
	return 0;
}

int lm_pin_restore(struct lm_session *s, uint64_t pin, uint64_t lease, uint64_t start, uint64_t end,
	unsigned flags)
{
	struct lease *l = lease_find(s, lease), *front = l;
	struct pin *p;
	int error;

	if (start >= end || (flags & ~LM_PIN_UNBREAKABLE) || pin >> SLOT_BITS >= s->lm->next_id ||
		s->pin_count >= s->lm->config.limits.pins_per_session)
		return -EUCLEAN;
	if (!l)
		return -ENOENT;
	/* A split may have been cut short before the pin's record followed the part behind. */
	for (uint32_t i = 0;
		!l || l->inode != front->inode || start < l->node.start || end > l->node.end; i++) {
		if (i >= s->leases.used_slots)
			return -ENOENT;
		l = s->leases.items[i];
	}
	p = calloc(1, sizeof(*p));
	if (!p)
		return -ENOMEM;
	p->slot = (uint32_t)pin & SLOT_MASK;
	error = handles_place(&s->pins, p->slot, p);
	if (error) {
		free(p);
		return error;
	}
	p->node.id = pin;
	p->node.start = start;
	p->node.end = end;
	p->flags = flags;
	range_tree_insert(&l->inode->pins, &p->node);
	attach(p, l);
	s->pin_count++;
	s->lm->status.range_pins++;
	return 0;
}

int lm_unpin(struct lm_session *s, uint64_t pin, uint64_t now_ns)
{
	struct pin *p = handles_find(&s->pins, pin);

	if (!p || p->node.id != pin)
		return -ENOENT;
	leased_inode_dirty(s->lm, p->lease->inode, p->node.start, p->node.end);
	pin_end(p);
	settle(s->lm, now_ns);
	return 0;
}

int lm_unpinned(struct lm_session *s, uint64_t lease, uint64_t now_ns)
{
	struct lease *l = lease_find(s, lease);

	if (!l)
		return -ENOENT;
	leased_inode_dirty(s->lm, l->inode, l->node.start, l->node.end);
	settle(s->lm, now_ns);
	return 0;
}
