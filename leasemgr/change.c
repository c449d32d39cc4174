// SPDX-License-Identifier: BSD-2-Clause
/*
 * change.c - operations that want a layout for themselves: parking, recalling, climbing the ladder,
 * deciding. The state table is in leasemgr.h; a want is decided here too (see want.c).
 *
 * Every decision goes through change_decide() or change_timer(), and ends in approve() or fail().
 * A recall is never sent from there for what is only about to be revoked: leases are marked while a
 * change is PARKED, and reviewed when it is no more, so L2 holds after each of these functions.
 */
#include "manager.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

/* ---- ends ------------------------------------------------------------------------------------ */

void change_free(struct lm_change *c)
{
	struct lm *lm = c->lm;

	if (c->session) {
		LIST_REMOVE(c, wants);
		c->session->told_count -= c->told;
		c->session->want_count -= !c->told;
		lm->status.wants -= !c->told;
	}
	timer_clear(lm, &c->timer);
	timer_unreserve(lm);
	free(c);
}

/* Out of the inode's tree; who waited for that is looked at again. */
static void leave(struct lm_change *c)
{
	range_tree_remove(&c->inode->changes, &c->node);
	leased_inode_dirty(c->lm, c->inode, c->node.start, c->node.end);
}

static void count_parked(struct lm_change *c, int n)
{
	if (c->kind != LM_WANT)
		c->lm->status.parked += (uint64_t)n;
}

static void give_verdict(struct lm_change *c, int verdict)
{
	if (c->beginning)
		c->result = verdict;
	else
		c->lm->ops->verdict(c->lm->config.context, c->operation, c, verdict);
}

static void fail(struct lm_change *c, int error)
{
	bool beginning = c->beginning;

	assert(c->kind != LM_WANT && c->state == CHANGE_PARKED);
	if (c->noted && error != -EBUSY)
		record_change(c, LM_RECORD_INTERRUPT, NULL, 0);
	c->state = CHANGE_READY;
	count_parked(c, -1);
	leave(c);
	change_let_go(c);
	give_verdict(c, error);
	if (!beginning)
		change_free(c);
}

static void report(struct lm_change *c, const struct lease *l, uint64_t now_ns)
{
	const struct lm_session *s = l->session;
	const struct pin *p = l->range_pins ? pin_first(l, c->node.start, c->node.end) : NULL;
	struct lm_conflict conflict = {
		.ino = c->ino,
		.start = c->node.start,
		.end = c->node.end,
		.operation = c->name,
		.pid = c->pid,
		.uid = c->uid,
		.session = s->id,
		.holder_pid = s->pid,
		.holder_uid = s->uid,
		.lease = l->node.id,
		.lease_start = l->node.start,
		.lease_end = l->node.end,
		.pin_start = p ? p->node.start : l->node.start,
		.pin_end = p ? p->node.end : l->node.end,
		.lease_age_ns = now_ns - l->granted_ns,
		.waited_ns = now_ns - c->began_ns,
		.when_ns = now_ns,
		.unbreakable = p && (p->flags & LM_PIN_UNBREAKABLE),
		.own = change_is_own(c, l),
	};

	c->lm->status.busy++;
	c->lm->ops->conflict(c->lm->config.context, &conflict);
	record_change(c, LM_RECORD_BUSY, l, conflict.waited_ns);
}

static void fail_busy(struct lm_change *c, const struct lease *culprit, uint64_t now_ns)
{
	report(c, culprit, now_ns);
	fail(c, -EBUSY);
}

static void become_passive(struct lm_change *c)
{
	assert(c->kind == LM_WANT);
	c->passive = true;
	timer_clear(c->lm, &c->timer);
	change_let_go(c);
	/* Grants that it stood in the way of may be asked for again. */
	leased_inode_dirty(c->lm, c->inode, c->node.start, c->node.end);
}

/* Before it frees anything: those that are `unwritten` would not be known to the next daemon. */
static int write_ghosts(struct lm *lm, const struct lm_change *c)
{
	bool frees = c->kind == LM_FREE || c->kind == LM_MOVE;

	return frees ? lease_write_ghosts(lm, c->inode, c->node.start, c->node.end) : 0;
}

/* Memory for every cut that it makes, or for none. */
static int reserve_cuts(struct lm_change *c)
{
	struct lease_cursor at;
	struct lease *l;
	uint64_t reserved = 0;

	for (l = change_first_conflict(c, &at); l; l = change_next_conflict(c, &at)) {
		if (lease_reserve(l->session))
			break;
		reserved++;
	}
	if (!l)
		return 0;
	for (l = change_first_conflict(c, &at); reserved > 0; l = change_next_conflict(c, &at)) {
		lease_unreserve(l->session);
		reserved--;
	}
	return -ENOMEM;
}

/* Cuts away what conflicts, up to the first whose record is not taken. */
static int make_cuts(struct lm_change *c, bool orphan)
{
	struct lease_cursor at;
	struct lease *l, *ghost;
	int error = 0;

	for (l = change_first_conflict(c, &at); l; l = change_next_conflict(c, &at)) {
		struct lm_session *s = l->session;
		bool whole = orphan && lease_pinned(l, c->node.start, c->node.end);

		if (!error)
			error = lease_revoke(
				l, c->node.start, c->node.end, whole, change_is_own(c, l), &ghost);
		if (!error) {
			record_lease(ghost, LM_RECORD_REVOKE, ghost->node.start, ghost->node.end, c,
				ghost->origin);
			c->noted = true;
		}
		lease_unreserve(s);
	}
	return error;
}

static void cannot_go(struct lm_change *c, int error)
{
	if (c->kind == LM_WANT)
		become_passive(c);
	else
		fail(c, error);
}

/*
 * Verdict 0. What conflicts is cut away; with a pin on it (orphan) all of that lease goes, as its
 * mapping stays. All memory is there before the first cut: -ENOMEM leaves everything as it was.
 * When a revocation cannot be written down nothing is freed, though others may have been made.
 */
static void approve(struct lm_change *c, bool orphan, uint64_t now_ns)
{
	int error = write_ghosts(c->lm, c);

	if (!error)
		error = reserve_cuts(c);
	if (error) {
		cannot_go(c, error);
		return;
	}
	timer_clear(c->lm, &c->timer);
	count_parked(c, -1);
	c->state = c->kind == LM_WANT ? CHANGE_READY : CHANGE_ACTIVE;
	error = make_cuts(c, orphan);
	if (error) {
		c->state = CHANGE_PARKED;
		count_parked(c, 1);
		cannot_go(c, error);
		return;
	}
	if (c->kind == LM_WANT) {
		record_change(c, LM_RECORD_COMPLETE, NULL, now_ns - c->began_ns);
		leave(c);
		source_mark(c->session, &c->source, PENDING_AVAILABLE);
		return;
	}
	c->lm->status.active++;
	give_verdict(c, 0);
}

/* ---- deciding -------------------------------------------------------------------------------- */

struct view {
	bool others;                /* leases of others are in the way */
	bool in_use;                /* one is in the middle of a call */
	const struct lease *pinned; /* others', where it counts; sought when time is over */
	const struct lease *own_pinned;
};

/* `all`: even when one lease in the way already says enough. */
static struct view look(struct lm_change *c, bool all)
{
	struct view v = {0};
	struct lease_cursor at;
	struct lease *l;

	for (l = change_first_conflict(c, &at); l; l = change_next_conflict(c, &at)) {
		bool own = change_is_own(c, l);

		v.in_use = v.in_use || l->in_use;
		v.others = v.others || !own;
		if (!own && !c->time_over && !all)
			break;
		if (own) {
			if (!v.own_pinned && lease_pinned(l, c->node.start, c->node.end))
				v.own_pinned = l;
		} else if (c->time_over && lease_pinned(l, c->node.start, c->node.end)) {
			v.pinned = l;
			if (!all)
				break;
		}
	}
	return v;
}

static bool waits_for_grace(struct lm_change *c)
{
	struct lease_cursor at;
	struct lease *l =
		c->lm->status.inherited && !c->passive ? change_first_conflict(c, &at) : NULL;

	while (l && (!l->inherited || change_is_own(c, l)))
		l = change_next_conflict(c, &at);
	return l != NULL;
}

static void enter_rung(struct lm_change *c, uint64_t now_ns);

/* At `busy` or `orphan`, when every other way has been tried. */
static void last_rung(struct lm_change *c, const struct view *v, uint64_t now_ns)
{
	bool orphan = c->policy.rungs[c->rung].kind == LM_RUNG_ORPHAN;

	if (c->kind == LM_WANT && (v->pinned || v->in_use || change_is_blocked(c))) {
		become_passive(c);
	} else if (v->own_pinned) {
		fail_busy(c, v->own_pinned, now_ns);
	} else if (v->pinned && !orphan) {
		fail_busy(c, v->pinned, now_ns);
	} else if (v->in_use) {
		c->last_chance = true; /* the call that is under way ends soon, and decides */
	} else {
		approve(c, orphan, now_ns);
	}
}

static void enter_grace(struct lm_change *c)
{
	c->grace = true;
	c->rung = 0;
	c->last_chance = false;
	timer_clear(c->lm, &c->timer);
}

/* What it waited for has been reclaimed or is gone: its ladder begins. `c` may be no more. */
static void leave_grace(struct lm_change *c, uint64_t now_ns)
{
	const struct lm *lm = c->lm;
	int result = change_park(c, now_ns);

	if (c->kind == LM_WANT || result == LM_PARKED)
		return;
	lm->ops->verdict(lm->config.context, c->operation, c, result);
	if (result < 0)
		change_free(c);
}

void change_decide(struct lm_change *c, uint64_t now_ns)
{
	struct view v;

	if (c->state != CHANGE_PARKED)
		return;
	if (waits_for_grace(c)) {
		if (!c->grace) /* a lease that was its own process's is not any more */
			enter_grace(c);
		return;
	}
	if (c->grace) {
		leave_grace(c, now_ns);
		return;
	}
	v = look(c, c->last_chance);
	if (c->kind == LM_WANT && change_is_blocked(c))
		return;
	if (!v.others) {
		if (v.own_pinned)
			fail_busy(c, v.own_pinned, now_ns);
		else if (!v.in_use)
			approve(c, false, now_ns);
	} else if (c->last_chance) {
		last_rung(c, &v, now_ns);
	} else if (c->time_over && !v.pinned && !v.in_use && !c->passive) {
		if (v.own_pinned)
			fail_busy(c, v.own_pinned, now_ns);
		else
			approve(c, false, now_ns);
	}
}

static void signal_holders(struct lm_change *c, int number)
{
	struct lm *lm = c->lm;
	uint64_t mark = lm->next_id++;
	struct lease_cursor at;
	struct lease *l;

	for (l = change_first_conflict(c, &at); l; l = change_next_conflict(c, &at)) {
		struct lm_session *s = l->session;

		if (s->mark == mark || change_is_own(c, l) ||
			!lease_pinned(l, c->node.start, c->node.end))
			continue;
		s->mark = mark;
		record_lease(l, LM_RECORD_SIGNAL, l->node.start, l->node.end, c, (uint64_t)number);
		lm->ops->signal_holder(lm->config.context, s->owner, number);
	}
}

/* Its time starts; the last one decides. `c` may be no more. */
static void enter_rung(struct lm_change *c, uint64_t now_ns)
{
	const struct lm_rung *r = &c->policy.rungs[c->rung];
	struct view v;

	switch (r->kind) {
	case LM_RUNG_SIGNAL:
	case LM_RUNG_KILL:
		signal_holders(c, r->kind == LM_RUNG_KILL ? 9 : r->signal);
		__attribute__((fallthrough));
	case LM_RUNG_RECALL:
		timer_set(c->lm, &c->timer, now_ns + r->time_ns);
		break;
	case LM_RUNG_WAIT:
		timer_set(c->lm, &c->timer, now_ns + LM_RENOTIFY_NS);
		break;
	default:
		v = look(c, true);
		last_rung(c, &v, now_ns);
	}
}

void change_timer(struct lm_change *c, uint64_t now_ns)
{
	const struct lm_rung *r = &c->policy.rungs[c->rung];
	struct view v;

	assert(c->state == CHANGE_PARKED);
	if (r->kind == LM_RUNG_WAIT) {
		change_recall(c);
		timer_set(c->lm, &c->timer, now_ns + LM_RENOTIFY_NS);
		return;
	}
	c->time_over = true;
	if (c->kind == LM_WANT && change_is_blocked(c)) {
		become_passive(c);
		return;
	}
	v = look(c, false);
	if (v.own_pinned && !v.pinned) {
		fail_busy(c, v.own_pinned, now_ns);
	} else if (!v.pinned && !v.in_use) {
		approve(c, false, now_ns);
	} else {
		c->rung++;
		enter_rung(c, now_ns);
	}
}

int change_park(struct lm_change *c, uint64_t now_ns)
{
	const struct lm_policy *p = &c->policy;

	c->time_over =
		p->rungs[0].kind != LM_RUNG_RECALL && p->rungs[p->count - 1].kind != LM_RUNG_WAIT;
	c->grace = waits_for_grace(c);
	c->result = LM_PARKED;
	c->beginning = !c->grace;
	change_recall(c);
	if (!c->grace)
		change_decide(c, now_ns);
	if (!c->grace && c->result == LM_PARKED && c->state == CHANGE_PARKED)
		enter_rung(c, now_ns);
	c->beginning = false;
	if (c->result == LM_PARKED && c->state == CHANGE_PARKED && !c->noted)
		record_change(c, LM_RECORD_PARK, NULL, change_deadline(c));
	return c->result;
}

/* ---- calls of the owner ---------------------------------------------------------------------- */

/*
 * What fails it before anything is recalled: the asker's own pin, and a pin that will not break,
 * whose holders are told all the same. NULL: nothing.
 */
static const struct lease *hopeless(struct lm_change *c)
{
	struct range_node *n = range_tree_first(&c->inode->pins, c->node.start, c->node.end);
	const struct lease *culprit = NULL;
	struct lease_cursor at;
	struct lease *l;

	for (; n; n = range_tree_next(&c->inode->pins, n, c->node.start, c->node.end)) {
		struct pin *p = container_of(n, struct pin, node);

		if (p->lease->tree >= TREE_GHOSTS || !change_conflicts(c, p->lease) ||
			!(p->flags & LM_PIN_UNBREAKABLE) || change_is_own(c, p->lease))
			continue;
		culprit = p->lease;
		if (!p->lease->recalled)
			source_mark(p->lease->session, &p->lease->source, PENDING_ADVISORY);
	}
	for (l = culprit ? NULL : change_first_conflict(c, &at); l;
		l = change_next_conflict(c, &at))
		if (change_is_own(c, l) && lease_pinned(l, c->node.start, c->node.end))
			return l;
	return culprit;
}

/* In the inode's tree, or -ENOMEM. Its policy and its time are still to be set. */
static int enter(struct lm *lm, const struct lm_change_request *r, void *operation,
	enum change_state state, struct lm_change **out)
{
	struct lm_change *c = malloc(sizeof(*c));
	int error;

	if (!c)
		return -ENOMEM;
	*c = (struct lm_change){.node = {.start = r->start, .end = r->end, .id = lm->next_id++},
		.timer.kind = TIMER_CHANGE,
		.lm = lm,
		.ino = r->ino,
		.operation = operation,
		.name = r->operation,
		.pid = r->pid,
		.uid = r->uid,
		.kind = (uint8_t)r->kind,
		.state = (uint8_t)state};
	error = timer_reserve(lm);
	if (!error) {
		error = leased_inode_get(lm, r->ino, &c->inode);
		if (error)
			timer_unreserve(lm);
	}
	if (error) {
		free(c);
		return error;
	}
	range_tree_insert(&c->inode->changes, &c->node);
	*out = c;
	return 0;
}

int lm_change_try(
	struct lm *lm, const struct lm_change_request *r, void *operation, struct lm_change **out)
{
	struct lm_change asked = {.node = {.start = r->start, .end = r->end},
		.pid = r->pid,
		.kind = (uint8_t)r->kind,
		.inode = leased_inode_find(lm, r->ino)};
	struct lease_cursor at;
	int error;

	assert(r->start < r->end && r->kind != LM_WANT);
	if (asked.inode && (change_first_conflict(&asked, &at) || write_ghosts(lm, &asked)))
		return -EAGAIN;
	error = enter(lm, r, operation, CHANGE_ACTIVE, out);
	if (error)
		return error;
	lm->status.active++;
	if (lm->config.check)
		lm_check(lm);
	return 0;
}

bool lm_change_is_alone(const struct lm_change *c)
{
	const struct inode_leases *in = c->inode;

	for (int tree = 0; tree < LEASE_TREES; tree++)
		if (range_tree_first(&in->leases[tree], c->node.start, c->node.end))
			return false;
	return true;
}

int lm_change_begin(struct lm *lm, const struct lm_change_request *r, void *operation,
	uint64_t now_ns, struct lm_change **out)
{
	const struct lease *culprit;
	struct lease_cursor at;
	struct lm_change *c;
	int result;

	assert(r->start < r->end && r->kind != LM_WANT && r->policy->count > 0);
	result = enter(lm, r, operation, CHANGE_PARKED, &c);
	if (result)
		return result;
	c->policy = *r->policy;
	c->began_ns = now_ns;
	count_parked(c, 1);
	c->beginning = true;
	culprit = hopeless(c);
	if (culprit) {
		fail_busy(c, culprit, now_ns);
		result = c->result;
	} else if (lm->status.parked > lm->config.limits.parked && change_first_conflict(c, &at)) {
		record_change(c, LM_RECORD_BUSY, NULL, 0);
		fail(c, -EBUSY);
		result = -EBUSY;
	} else {
		result = change_park(c, now_ns);
	}
	if (result < 0)
		change_free(c);
	else
		*out = c;
	settle(lm, now_ns);
	return result;
}

void lm_change_end(struct lm_change *c, uint64_t now_ns)
{
	struct lm *lm = c->lm;
	struct inode_leases *in = c->inode;
	struct range_node *n;
	uint64_t after_start = 0, after_id = 0;

	assert(c->state == CHANGE_ACTIVE);
	holds_record(c);
	leave(c);
	/* What was mapped under these ghosts is in quarantine now: new blocks are none of theirs.
	 */
	while (c->freed && !c->failed &&
		(n = range_tree_after(&in->leases[TREE_GHOSTS], c->node.start, c->node.end,
			 after_start, after_id))) {
		after_start = n->start;
		after_id = n->id;
		if (n->start >= c->node.start && n->end <= c->node.end) {
			range_tree_remove(&in->leases[TREE_GHOSTS], n);
			container_of(n, struct lease, node)->tree = TREE_NONE;
		}
	}
	if (c->kind == LM_FILL)
		lm_layout_changed(lm, c->ino, c->node.start, c->node.end, NULL);
	if (c->noted)
		record_change(c, LM_RECORD_COMPLETE, NULL, now_ns - c->began_ns);
	lm->status.active--;
	change_free(c);
	settle(lm, now_ns);
}

int lm_change_interrupt(struct lm_change *c, uint64_t now_ns)
{
	struct lm *lm = c->lm;

	if (c->state != CHANGE_PARKED)
		return -EALREADY;
	c->beginning = true; /* no verdict */
	fail(c, -EINTR);
	change_free(c);
	settle(lm, now_ns);
	return 0;
}
