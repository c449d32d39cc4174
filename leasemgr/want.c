// SPDX-License-Identifier: BSD-2-Clause
/*
 * want.c - leases that could not be granted yet.
 *
 * A want is a change that recalls what is in its way, and whose verdict is `available`. It climbs
 * no further than the recall: nobody is signalled or killed for a lease. When pins outlast it, it
 * turns passive: it is in nobody's way any more, and waits for them to go by themselves.
 *
 * What was told may have been lost with its reader. So the want is kept until its session asks
 * again, or needs the room, and is told again as recalls are.
 */
#include "manager.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

static bool is_same(const struct lm_change *c, const struct lm_grant_request *r)
{
	return c->ino == r->ino && c->node.start == r->start && c->node.end == r->end &&
	       c->mode == r->mode && c->exclusive == !!(r->flags & LM_GRANT_EXCLUSIVE);
}

static void end(struct lm_change *c)
{
	struct inode_leases *in = c->inode;
	struct lm *lm = c->lm;

	source_clear(c->session, &c->source, 0xff);
	if (c->state == CHANGE_PARKED) {
		struct lease_cursor at;
		struct lease *l;

		record_change(c, LM_RECORD_INTERRUPT, NULL, 0);
		range_tree_remove(&in->changes, &c->node);
		leased_inode_dirty(lm, in, c->node.start, c->node.end);
		for (l = lease_first(&at, in, c->node.start, c->node.end, false); l;
			l = lease_next(&at))
			if (l->recalled)
				lease_review_recall(l);
	}
	change_free(c);
}

static struct lm_change *find(struct lm_session *s, const struct lm_grant_request *r)
{
	struct lm_change *c;

	LIST_FOREACH(c, &s->wants, wants)
		if (is_same(c, r))
			return c;
	LIST_FOREACH(c, &s->told, wants)
		if (is_same(c, r))
			return c;
	return NULL;
}

/* For one more. */
static int make_room(struct lm_session *s)
{
	struct lm_change *c, *oldest = NULL;

	if (s->want_count + s->told_count < s->lm->config.limits.wants_per_session)
		return 0;
	LIST_FOREACH(c, &s->told, wants)
		oldest = c;
	if (!oldest)
		return -ENOBUFS;
	end(oldest);
	return 0;
}

static struct lm_policy policy_of(const struct lm_policy *p)
{
	struct lm_policy want = {.count = 1};

	if (p->rungs[0].kind == LM_RUNG_RECALL) {
		want.count = 2;
		want.rungs[0] = p->rungs[0];
		want.rungs[1].kind = LM_RUNG_BUSY;
	} else if (p->rungs[p->count - 1].kind == LM_RUNG_WAIT) {
		want.rungs[0].kind = LM_RUNG_WAIT;
	} else {
		want.rungs[0].kind = LM_RUNG_BUSY;
	}
	return want;
}

int want_begin(struct lm_session *s, const struct lm_grant_request *r, uint64_t now_ns)
{
	struct lm *lm = s->lm;
	struct inode_leases *in = leased_inode_find(lm, r->ino);
	struct lm_change *c = find(s, r);

	if (c && c->state == CHANGE_PARKED && !c->passive)
		return -EAGAIN;
	if (c)
		end(c);
	if (make_room(s))
		return -ENOBUFS;
	c = calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	if (timer_reserve(lm)) {
		free(c);
		return -ENOMEM;
	}
	*c = (struct lm_change){.node = {.start = r->start, .end = r->end, .id = lm->next_id++},
		.source.kind = SOURCE_WANT,
		.timer.kind = TIMER_CHANGE,
		.lm = lm,
		.inode = in,
		.ino = r->ino,
		.name = "lease",
		.session = s,
		.began_ns = now_ns,
		.pid = r->pid,
		.uid = s->uid,
		.kind = LM_WANT,
		.state = CHANGE_PARKED,
		.mode = (uint8_t)r->mode,
		.exclusive = r->flags & LM_GRANT_EXCLUSIVE,
		.policy = policy_of(r->policy)};
	range_tree_insert(&in->changes, &c->node);
	LIST_INSERT_HEAD(&s->wants, c, wants);
	s->want_count++;
	lm->status.wants++;
	change_park(c, now_ns);
	return -EAGAIN;
}

void wants_fulfilled(struct lm_session *s, const struct lm_grant_request *r)
{
	struct lm_change *c = find(s, r);

	if (c)
		end(c);
}

void wants_end(struct lm_session *s)
{
	struct lm_change *c;

	while ((c = LIST_FIRST(&s->wants)) || (c = LIST_FIRST(&s->told)))
		end(c);
}

void want_told(struct lm_change *c)
{
	struct lm_session *s = c->session;

	assert(c->state == CHANGE_READY);
	if (c->told)
		return;
	LIST_REMOVE(c, wants);
	s->want_count--;
	c->lm->status.wants--;
	c->told = true;
	LIST_INSERT_HEAD(&s->told, c, wants);
	s->told_count++;
}

void wants_tell_again(struct lm_session *s)
{
	struct lm_change *c;

	LIST_FOREACH(c, &s->told, wants)
		source_mark(s, &c->source, PENDING_AVAILABLE);
}
