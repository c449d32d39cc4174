// SPDX-License-Identifier: BSD-2-Clause
/*
 * lease.c - granting, returning, cutting and ending leases.
 *
 * A lease or ghost is in one slot of its session and in one tree of its inode; lease_place() and
 * lease_displace() are the only ones that move it. Whatever shrinks or ends one marks the range
 * dirty, for settle() to look at the changes there.
 */
#include "manager.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- walking over what overlaps -------------------------------------------------------------- */

struct lease *lease_next(struct lease_cursor *at)
{
	while (at->tree <= at->last_tree) {
		struct range_node *n = range_tree_after(&at->inode->leases[at->tree], at->start,
			at->end, at->after_start, at->after_id);

		if (n) {
			at->after_start = n->start;
			at->after_id = n->id;
			return container_of(n, struct lease, node);
		}
		at->tree++;
		at->after_start = at->after_id = 0;
	}
	return NULL;
}

struct lease *lease_first(struct lease_cursor *at, struct inode_leases *in, uint64_t start,
	uint64_t end, bool exclusive_only)
{
	*at = (struct lease_cursor){.inode = in,
		.start = start,
		.end = end,
		.tree = exclusive_only ? TREE_EXCLUSIVE : TREE_SHARED,
		.last_tree = TREE_EXCLUSIVE};
	return lease_next(at);
}

struct lease *lease_find(const struct lm_session *s, uint64_t id)
{
	struct lease *l = handles_find(&s->leases, id);

	return l && l->node.id == id ? l : NULL;
}

static struct lease *find_live(const struct lm_session *s, uint64_t id)
{
	struct lease *l = lease_find(s, id);

	return l && l->tree < TREE_GHOSTS && !l->inherited ? l : NULL;
}

/* ---- memory ---------------------------------------------------------------------------------- */

static void drop_spares(struct lm_session *s)
{
	while (s->spare_count > s->spare_wanted) {
		struct spare *spare = SLIST_FIRST(&s->spares);

		SLIST_REMOVE_HEAD(&s->spares, next);
		s->spare_count--;
		free(spare);
	}
}

int lease_reserve(struct lm_session *s)
{
	int error = handles_reserve(&s->leases, s->spare_wanted + 2, 1u << SLOT_BITS);

	if (error)
		return -ENOMEM;
	while (s->spare_count < s->spare_wanted + 2) {
		struct spare *spare = malloc(sizeof(struct lease));

		if (!spare) {
			drop_spares(s);
			return -ENOMEM;
		}
		SLIST_INSERT_HEAD(&s->spares, spare, next);
		s->spare_count++;
	}
	s->spare_wanted += 2;
	return 0;
}

void lease_unreserve(struct lm_session *s)
{
	assert(s->spare_wanted >= 2);
	s->spare_wanted -= 2;
	drop_spares(s);
}

static struct lease *take_spare(struct lm_session *s)
{
	struct spare *spare = SLIST_FIRST(&s->spares);

	assert(spare);
	SLIST_REMOVE_HEAD(&s->spares, next);
	s->spare_count--;
	return (struct lease *)spare;
}

static void lease_place(struct lease *l, enum tree_kind tree)
{
	l->tree = tree;
	if (tree != TREE_NONE)
		range_tree_insert(&l->inode->leases[tree], &l->node);
}

static void lease_displace(struct lease *l)
{
	if (l->tree != TREE_NONE)
		range_tree_remove(&l->inode->leases[l->tree], &l->node);
	l->tree = TREE_NONE;
}

static void attach(struct lease *l, struct lm_session *s, struct inode_leases *in)
{
	l->inode = in;
	l->session = s;
	s->lease_count++;
	if (in->count++ == 0 && !in->used) {
		in->used = true;
		in->owner = s->lm->ops->inode_used(s->lm->config.context, in->ino);
	}
}

/* `l` is raw memory; a slot is reserved. The caller places it. */
static void lease_init(struct lease *l, struct lm_session *s, struct inode_leases *in,
	uint64_t start, uint64_t end, enum lm_mode mode, uint64_t now_ns)
{
	struct lm *lm = s->lm;
	bool used_before;

	memset(l, 0, sizeof(*l));
	l->slot = handles_take(&s->leases, l, &used_before);
	l->node.id = lm->next_id++ << SLOT_BITS | l->slot;
	l->node.start = start;
	l->node.end = end;
	l->source.kind = SOURCE_LEASE;
	l->tree = TREE_NONE;
	l->mode = (uint8_t)mode;
	l->granted_ns = now_ns;
	SLIST_INIT(&l->holds);
	lm->ops->slot_fresh(lm->config.context, s->owner, l->slot, used_before);
	attach(l, s, in);
}

static void count_lease(struct lm *lm, const struct lease *l, int n)
{
	if (l->tree < TREE_GHOSTS) {
		lm->status.leases += (uint64_t)n;
		if (l->mode == LM_WRITE)
			l->inode->writers += (uint64_t)n;
	} else {
		lm->status.ghosts += (uint64_t)n;
		l->session->ghost_count += (uint64_t)n;
	}
}

void lease_enter(
	struct lease *l, struct lm_session *s, struct inode_leases *in, enum tree_kind tree)
{
	attach(l, s, in);
	lease_place(l, tree);
	count_lease(s->lm, l, 1);
}

void lease_end(struct lease *l)
{
	struct lm_session *s = l->session;
	struct lm *lm = s->lm;

	pins_end(l);
	lease_not_inherited(l);
	source_clear(s, &l->source, 0xff);
	count_lease(lm, l, -1);
	lm->status.unwritten -= l->unwritten;
	lease_displace(l);
	holds_drop(l);
	leased_inode_dirty(lm, l->inode, l->node.start, l->node.end);
	l->inode->count--;
	s->lease_count--;
	handles_put(&s->leases, l->slot);
	lm->ops->slot_free(lm->config.context, s->owner, l->slot);
	free(l);
}

/* ---- cutting ----------------------------------------------------------------------------------
 *
 * First all that a cut changes is written down, new parts before what they are cut from; then it is
 * so. When a record is not taken, the parts go again, and nothing has happened (L11).
 */

/* It was in no tree. */
static void drop_part(struct lease *part)
{
	struct lm_session *s = part->session;

	part->inode->count--;
	s->lease_count--;
	handles_put(&s->leases, part->slot);
	s->lm->ops->slot_free(s->lm->config.context, s->owner, part->slot);
	free(part);
}

/* [start, end) of it, written down as what is to be in that tree; raw memory, freed on error. */
static int make_part(
	struct lease *l, struct lease *memory, uint64_t start, uint64_t end, enum tree_kind tree)
{
	struct lm_session *s = l->session;
	struct lease *part = memory;
	int error;

	lease_init(part, s, l->inode, start, end, (enum lm_mode)l->mode, l->granted_ns);
	part->origin = tree == TREE_GHOSTS ? l->node.id : 0;
	error = s->lm->ops->slot_split(s->lm->config.context, s->owner, l->slot, part->slot);
	if (!error)
		error = lease_persist(part, start, end, tree);
	if (error)
		drop_part(part);
	return error;
}

/* What is behind the cut is a lease of its own now; pins there go along. */
static void split_off(struct lease *l, struct lease *rest)
{
	if (l->inherited) {
		rest->inherited = true;
		rest->was_recalled = l->was_recalled;
		l->session->inherited_count++;
		l->session->lm->status.inherited++;
		if (rest->slot < l->session->reclaim_slot)
			l->session->reclaim_slot = rest->slot;
	}
	pins_move(l, rest->node.start, rest);
	lease_place(rest, (enum tree_kind)l->tree);
	count_lease(l->session->lm, rest, 1);
}

static bool in_middle(const struct lease *l, uint64_t start, uint64_t end)
{
	return start > l->node.start && end < l->node.end;
}

/* What a live lease keeps when [start, end) is taken out of it; in the middle: the part before. */
static void kept(const struct lease *l, uint64_t start, uint64_t end, uint64_t *kept_start,
	uint64_t *kept_end)
{
	bool at_front = start <= l->node.start;

	*kept_start = at_front ? end : l->node.start;
	*kept_end = at_front ? l->node.end : start;
	assert(*kept_start < *kept_end);
}

/* Memory for a `rest` if it is in the middle, else NULL; it is freed on error. */
static int write_cut(struct lease *l, uint64_t start, uint64_t end, struct lease *rest)
{
	enum tree_kind tree = (enum tree_kind)l->tree;
	uint64_t kept_start, kept_end;
	int error = 0;

	assert(!rest == !in_middle(l, start, end));
	kept(l, start, end, &kept_start, &kept_end);
	if (rest)
		error = make_part(l, rest, end, l->node.end, tree);
	if (error)
		return error;
	error = lease_persist(l, kept_start, kept_end, tree);
	if (error && rest)
		drop_part(rest);
	return error;
}

/* Takes [start, end) out of a live lease that reaches beyond it, as it has been written down. */
static void cut(struct lease *l, uint64_t start, uint64_t end, struct lease *rest)
{
	enum tree_kind tree = (enum tree_kind)l->tree;
	uint64_t kept_start, kept_end;

	kept(l, start, end, &kept_start, &kept_end);
	if (rest)
		split_off(l, rest);
	lease_displace(l);
	if (l->inherited)
		l->session->lm->status.inherited_bytes -= end - start;
	l->node.start = kept_start;
	l->node.end = kept_end;
	lease_place(l, tree);
	leased_inode_dirty(l->session->lm, l->inode, start, end);
	if (rest)
		lease_review_recall(rest);
	if (l->recalled)
		lease_review_recall(l);
}

/* It is a ghost from now on. */
static void haunt(struct lease *ghost, bool own)
{
	struct lm *lm = ghost->session->lm;

	ghost->own = own;
	lease_place(ghost, TREE_GHOSTS);
	count_lease(lm, ghost, 1);
	source_mark(ghost->session, &ghost->source, PENDING_REVOKED);
	lm->status.revocations++;
}

/* `must`: it becomes one whether that can be written down or not. */
static int revoke_whole(struct lease *l, bool own, bool must)
{
	struct lm_session *s = l->session;
	struct lm *lm = s->lm;
	int error;

	if (!l->recalled)
		lm->ops->slot_recall(lm->config.context, s->owner, l->slot, true);
	l->origin = l->node.id;
	error = lease_persist(l, l->node.start, l->node.end, TREE_GHOSTS);
	if (error && !must) {
		l->origin = 0;
		if (!l->recalled)
			lm->ops->slot_recall(lm->config.context, s->owner, l->slot, false);
		return error;
	}
	l->unwritten = error != 0;
	lm->status.unwritten += l->unwritten;
	count_lease(lm, l, -1);
	lease_displace(l);
	lease_not_inherited(l);
	source_clear(s, &l->source, 0xff);
	l->recalled = false;
	leased_inode_dirty(lm, l->inode, l->node.start, l->node.end);
	haunt(l, own);
	return 0;
}

int lease_revoke(
	struct lease *l, uint64_t start, uint64_t end, bool whole, bool own, struct lease **out)
{
	struct lm_session *s = l->session;
	struct lease *ghost, *rest;
	int error;

	assert(l->tree < TREE_GHOSTS && l->in_use == 0);
	*out = l;
	start = start > l->node.start ? start : l->node.start;
	end = end < l->node.end ? end : l->node.end;
	if (whole || (start == l->node.start && end == l->node.end))
		return revoke_whole(l, own, false);
	/* First the ghost, so that at no moment what is on media lacks the range that it has. */
	ghost = take_spare(s);
	error = make_part(l, ghost, start, end, TREE_GHOSTS);
	if (error)
		return error;
	rest = in_middle(l, start, end) ? take_spare(s) : NULL;
	error = write_cut(l, start, end, rest);
	if (error) {
		drop_part(ghost);
		return error;
	}
	cut(l, start, end, rest);
	if (rest) {
		ghost->rest = rest->node.id;
		/* Without it the ghost is found all the same, but names no rest. */
		(void)lease_persist(ghost, start, end, TREE_GHOSTS);
	}
	haunt(ghost, own);
	*out = ghost;
	return 0;
}

void lease_revoke_left(struct lease *l)
{
	int error = revoke_whole(l, false, true);

	assert(!error);
	(void)error;
	record_lease(l, LM_RECORD_REVOKE, l->node.start, l->node.end, NULL, l->origin);
}

/* ---- calls of the owner ---------------------------------------------------------------------- */

/* Is a lease of another session, or a change, in the way of this grant? */
static bool grant_is_blocked(
	const struct lm_session *s, struct inode_leases *in, const struct lm_grant_request *r)
{
	bool exclusive = r->flags & LM_GRANT_EXCLUSIVE;
	struct lm_change *c = change_first(in, r->start, r->end);
	struct lease_cursor at;
	struct lease *l;

	for (; c; c = change_next(in, c, r->start, r->end))
		if (change_blocks_grant(c, s, exclusive))
			return true;
	for (l = lease_first(&at, in, r->start, r->end, !exclusive); l; l = lease_next(&at))
		if (l->session != s)
			return true;
	return false;
}

bool lm_grant_is_free(const struct lm_session *s, const struct lm_grant_request *r)
{
	struct inode_leases *in = leased_inode_find(s->lm, r->ino);

	return !in || r->start >= r->end || !grant_is_blocked(s, in, r);
}

int lm_grant(struct lm_session *s, const struct lm_grant_request *r, uint64_t now_ns,
	struct lm_grant *out)
{
	struct lm *lm = s->lm;
	struct inode_leases *in;
	struct lease *l;
	int error;

	assert(!s->closed);
	if (r->start >= r->end || (r->mode != LM_READ && r->mode != LM_WRITE) ||
		(r->flags & ~LM_GRANT_EXCLUSIVE))
		return -EINVAL;
	if (lm->status.draining)
		return -ESHUTDOWN;
	if (s->lease_count >= lm->config.limits.leases_per_session ||
		lm->status.leases + lm->status.ghosts >= lm->config.limits.leases)
		return -ENOLCK;
	error = handles_reserve(&s->leases, 1, 1u << SLOT_BITS);
	if (error)
		return error;
	error = leased_inode_get(lm, r->ino, &in);
	if (error)
		return error;
	if (grant_is_blocked(s, in, r)) {
		error = want_begin(s, r, now_ns);
		settle(lm, now_ns);
		return error;
	}
	error = lease_write_ghosts(lm, in, r->start, r->end);
	l = error ? NULL : malloc(sizeof(*l));
	if (!l) {
		leased_inode_drop(lm, in);
		return error ? error : -ENOMEM;
	}
	lease_init(l, s, in, r->start, r->end, r->mode, now_ns);
	l->making = true;
	l->in_use = 1;
	lease_place(l, r->flags & LM_GRANT_EXCLUSIVE ? TREE_EXCLUSIVE : TREE_SHARED);
	count_lease(lm, l, 1);
	wants_fulfilled(s, r);
	lm->status.grants++;
	*out = (struct lm_grant){l->node.id, l->slot};
	settle(lm, now_ns);
	return 0;
}

void lm_grant_done(struct lm_session *s, uint64_t lease, bool ok, uint64_t now_ns)
{
	struct lease *l = lease_find(s, lease);

	assert(l && l->making && l->in_use > 0);
	l->in_use--;
	l->making = false;
	source_release(s, &l->source);
	leased_inode_dirty(s->lm, l->inode, l->node.start, l->node.end);
	if (ok)
		record_lease(l, LM_RECORD_GRANT, l->node.start, l->node.end, NULL, 0);
	else
		lease_end(l);
	session_use_ended(s, now_ns);
}

int lm_return(struct lm_session *s, uint64_t lease, uint64_t start, uint64_t end, uint64_t now_ns,
	struct lm_grant *rest)
{
	struct lease *l = find_live(s, lease), *behind = NULL;
	bool whole;
	int error;

	if (!l || l->making)
		return -ENOENT;
	if (start == 0 && end == 0) {
		start = l->node.start;
		end = l->node.end;
	}
	if (start >= end || start < l->node.start || end > l->node.end)
		return -EINVAL;
	if (l->in_use || lease_pinned(l, start, end))
		return -EBUSY;
	*rest = (struct lm_grant){0, 0};
	if (in_middle(l, start, end)) {
		error = handles_reserve(&s->leases, 1, 1u << SLOT_BITS);
		if (error)
			return error;
		behind = malloc(sizeof(*behind));
		if (!behind)
			return -ENOMEM;
	}
	whole = start == l->node.start && end == l->node.end;
	error = whole ? 0 : write_cut(l, start, end, behind);
	if (error)
		return error;
	record_lease(l, LM_RECORD_RETURN, start, end, NULL, 0);
	if (whole)
		lease_end(l);
	else
		cut(l, start, end, behind);
	if (behind)
		*rest = (struct lm_grant){behind->node.id, behind->slot};
	s->lm->status.returns++;
	settle(s->lm, now_ns);
	return 0;
}

int lm_downgrade(struct lm_session *s, uint64_t lease, bool share, uint64_t now_ns)
{
	struct lease *l = find_live(s, lease);
	uint8_t mode;
	int error;

	if (!l || l->making)
		return -ENOENT;
	if (l->in_use || lease_pinned(l, l->node.start, l->node.end))
		return -EBUSY;
	mode = l->mode;
	l->mode = LM_READ;
	error = lease_persist(
		l, l->node.start, l->node.end, share ? TREE_SHARED : (enum tree_kind)l->tree);
	l->mode = mode;
	if (error)
		return error;
	count_lease(s->lm, l, -1);
	l->mode = LM_READ;
	count_lease(s->lm, l, 1);
	if (share && l->tree == TREE_EXCLUSIVE) {
		lease_displace(l);
		lease_place(l, TREE_SHARED);
		if (l->recalled)
			lease_review_recall(l);
		leased_inode_dirty(s->lm, l->inode, l->node.start, l->node.end);
	}
	settle(s->lm, now_ns);
	return 0;
}

int lm_commit_begin(struct lm_session *s, uint64_t lease, uint64_t start, uint64_t end)
{
	struct lease *l = find_live(s, lease);

	if (!l || l->making)
		return -ENOENT;
	if (l->mode != LM_WRITE)
		return -EBADF;
	if (start >= end || start < l->node.start || end > l->node.end)
		return -EINVAL;
	l->in_use++;
	return 0;
}

void lm_commit_end(struct lm_session *s, uint64_t lease, uint64_t now_ns)
{
	struct lease *l = lease_find(s, lease);

	assert(l && l->in_use > 0);
	l->in_use--;
	leased_inode_dirty(s->lm, l->inode, l->node.start, l->node.end);
	session_use_ended(s, now_ns);
}

int lm_ack(struct lm_session *s, uint64_t lease, uint64_t now_ns)
{
	struct lease *l = lease_find(s, lease);

	if (!l || l->tree < TREE_GHOSTS)
		return -ENOENT;
	if (lease_pinned(l, l->node.start, l->node.end))
		return -EBUSY;
	lease_end(l);
	settle(s->lm, now_ns);
	return 0;
}
