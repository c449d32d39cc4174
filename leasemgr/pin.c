// SPDX-License-Identifier: BSD-2-Clause
/* pin.c - range pins, and the question whether anything is pinned. */
#include "manager.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

struct pin *pin_first(const struct lease *l, uint64_t start, uint64_t end)
{
	struct range_node *n = range_tree_first(&l->inode->pins, start, end);

	for (; n; n = range_tree_next(&l->inode->pins, n, start, end)) {
		struct pin *p = container_of(n, struct pin, node);

		if (p->lease == l)
			return p;
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

void pin_move(struct pin *p, struct lease *to)
{
	const struct lm *lm = to->session->lm;

	p->lease->range_pins--;
	p->lease = to;
	to->range_pins++;
	if (lm->ops->pin_moved)
		lm->ops->pin_moved(lm->config.context, to->session->owner, p->node.id, to->node.id);
}

void pin_end(struct pin *p)
{
	struct lm_session *s = p->lease->session;

	if (s->lm->ops->pin_gone)
		s->lm->ops->pin_gone(s->lm->config.context, s->owner, p->node.id);
	range_tree_remove(&p->lease->inode->pins, &p->node);
	p->lease->range_pins--;
	handles_put(&s->pins, p->slot);
	s->pin_count--;
	s->lm->status.range_pins--;
	free(p);
}

void pins_end(struct lease *l)
{
	while (l->range_pins) {
		struct pin *p = pin_first(l, l->node.start, l->node.end);

		assert(p);
		pin_end(p);
	}
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
	p->lease = l;
	p->flags = flags;
	range_tree_insert(&l->inode->pins, &p->node);
	l->range_pins++;
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
	p->lease = l;
	p->flags = flags;
	range_tree_insert(&l->inode->pins, &p->node);
	l->range_pins++;
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
