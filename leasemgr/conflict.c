// SPDX-License-Identifier: BSD-2-Clause
/*
 * conflict.c - who is in whose way: a change, the leases of its inode, and grants that are asked
 * for. Nothing here changes anything.
 *
 * A process is never in its own way: its leases give way to its own changes without a recall. Only
 * exclusive leases matter to a change that leaves the blocks where they are.
 */
#include "manager.h"

bool change_is_own(const struct lm_change *c, const struct lease *l)
{
	const struct lm_session *s = l->session;

	return c->kind != LM_WANT && c->pid && !s->process_gone && c->pid == s->pid;
}

/* Only exclusive leases matter to it. */
static bool exclusive_only(const struct lm_change *c)
{
	return c->kind == LM_OVERWRITE || c->kind == LM_FILL ||
	       (c->kind == LM_WANT && !c->exclusive);
}

bool change_conflicts(const struct lm_change *c, const struct lease *l)
{
	if (c->kind == LM_WANT)
		return l->session != c->session && (c->exclusive || l->tree == TREE_EXCLUSIVE);
	if (c->kind == LM_FREE || c->kind == LM_MOVE)
		return true;
	return l->tree == TREE_EXCLUSIVE && !change_is_own(c, l);
}

bool change_in_way_of(const struct lm_change *c, const struct lease *l)
{
	return l->tree < TREE_GHOSTS && c->state == CHANGE_PARKED && !c->passive &&
	       change_conflicts(c, l) && !change_is_own(c, l);
}

bool change_blocks_grant(const struct lm_change *c, const struct lm_session *s, bool exclusive)
{
	if (c->kind == LM_FREE || c->kind == LM_MOVE)
		return true;
	if (c->kind == LM_WANT)
		return c->session != s && !c->passive && (c->exclusive || exclusive);
	return exclusive && !(c->pid && !s->process_gone && c->pid == s->pid);
}

struct lm_change *change_first(const struct inode_leases *in, uint64_t start, uint64_t end)
{
	struct range_node *n = range_tree_first(&in->changes, start, end);

	return n ? container_of(n, struct lm_change, node) : NULL;
}

struct lm_change *change_next(
	const struct inode_leases *in, const struct lm_change *c, uint64_t start, uint64_t end)
{
	struct range_node *n = range_tree_next(&in->changes, &c->node, start, end);

	return n ? container_of(n, struct lm_change, node) : NULL;
}

bool change_is_blocked(const struct lm_change *want)
{
	struct lm_change *c = change_first(want->inode, want->node.start, want->node.end);

	for (; c; c = change_next(want->inode, c, want->node.start, want->node.end))
		if (c->kind != LM_WANT && change_blocks_grant(c, want->session, want->exclusive))
			return true;
	return false;
}

struct lease *change_first_conflict(struct lm_change *c, struct lease_cursor *at)
{
	struct lease *l = lease_first(at, c->inode, c->node.start, c->node.end, exclusive_only(c));

	while (l && !change_conflicts(c, l))
		l = lease_next(at);
	return l;
}

struct lease *change_next_conflict(struct lm_change *c, struct lease_cursor *at)
{
	struct lease *l = lease_next(at);

	while (l && !change_conflicts(c, l))
		l = lease_next(at);
	return l;
}
