// SPDX-License-Identifier: BSD-2-Clause
/*
 * record.c - telling who looks on what has happened. It changes nothing but `noted`: a change that
 * a record told of is told of again when it ends, so that a reader can pair the two.
 */
#include "manager.h"

static void tell(const struct lm *lm, const struct lm_record *r)
{
	if (lm->ops->happened)
		lm->ops->happened(lm->config.context, r);
}

static void add_session(struct lm_record *r, const struct lm_session *s)
{
	r->session = s->id;
	r->holder_pid = s->pid;
	r->holder_uid = s->uid;
}

static void add_lease(struct lm_record *r, const struct lease *l)
{
	add_session(r, l->session);
	r->lease = l->node.id;
	r->ino = l->inode->ino;
	r->mode = l->mode;
	r->flags = l->tree == TREE_EXCLUSIVE ? LM_LEASE_EXCLUSIVE : 0;
}

static void add_change(struct lm_record *r, const struct lm_change *c)
{
	r->ino = c->ino;
	r->number = c->node.id;
	r->pid = c->pid;
	r->uid = c->uid;
	r->operation = c->name;
}

void record_drain(const struct lm *lm)
{
	const struct lm_record r = {.kind = LM_RECORD_DRAIN, .operation = ""};

	tell(lm, &r);
}

void record_session(const struct lm_session *s, enum lm_record_kind kind)
{
	struct lm_record r = {.kind = kind, .operation = ""};

	add_session(&r, s);
	tell(s->lm, &r);
}

/* Each field once: most calls make one, and zeroing it first would take longer. */
void record_lease(const struct lease *l, enum lm_record_kind kind, uint64_t start, uint64_t end,
	const struct lm_change *c, uint64_t value)
{
	const struct lm_session *s = l->session;
	const struct lm_record r = {.kind = kind,
		.flags = kind == LM_RECORD_REVOKE    ? (l->own ? LM_EVENT_OWN : 0)
			 : l->tree == TREE_EXCLUSIVE ? LM_LEASE_EXCLUSIVE
						     : 0,
		.session = s->id,
		.lease = l->node.id,
		.ino = l->inode->ino,
		.start = start,
		.end = end,
		.number = c ? c->node.id : 0,
		.value = value,
		.pid = c ? c->pid : 0,
		.uid = c ? c->uid : 0,
		.holder_pid = s->pid,
		.holder_uid = s->uid,
		.mode = l->mode,
		.operation = c ? c->name : ""};

	tell(s->lm, &r);
}

void record_change(
	struct lm_change *c, enum lm_record_kind kind, const struct lease *l, uint64_t value)
{
	struct lm_record r = {.kind = kind,
		.start = c->node.start,
		.end = c->node.end,
		.value = value,
		.operation = ""};

	if (l)
		add_lease(&r, l);
	add_change(&r, c);
	c->noted = true;
	tell(c->lm, &r);
}
