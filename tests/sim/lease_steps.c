// SPDX-License-Identifier: BSD-2-Clause
/* lease_steps.c - what holders do with leases and pins: see steps.h. */
#include <errno.h>
#include <string.h>

#include "steps.h"

/* ---- leases ---------------------------------------------------------------------------------- */

static bool grant_is_free(const struct model *m, const struct m_want *w)
{
	for (int i = 0; i < CHANGES; i++) {
		const struct m_change *c = &m->changes[i];

		if (c->state != M_NONE && c->ino == w->ino && c->start < w->end &&
			w->start < c->end &&
			(c->kind == LM_FREE || c->kind == LM_MOVE ||
				(w->exclusive && (m->sessions[w->session].process_gone ||
							 m->sessions[w->session].pid != c->pid))))
			return false;
	}
	for (int i = 0; i < LEASES; i++) {
		const struct m_lease *l = &m->leases[i];

		if (l->used && l->live && l->session != w->session && l->ino == w->ino &&
			l->start < w->end && w->start < l->end && (l->exclusive || w->exclusive))
			return false;
	}
	return true;
}

static struct m_want *find_among(struct m_want *wants, int count, const struct m_want *like)
{
	for (int i = 0; i < count; i++) {
		struct m_want *w = &wants[i];

		if (w->used && w->session == like->session && w->ino == like->ino &&
			w->start == like->start && w->end == like->end &&
			w->exclusive == like->exclusive && w->write == like->write)
			return w;
	}
	return NULL;
}

struct m_want *find_want(struct model *m, const struct m_want *like)
{
	return find_among(m->wants, WANTS, like);
}

struct m_want *find_told(struct model *m, const struct m_want *like)
{
	return find_among(m->sessions[like->session].told, TOLD, like);
}

static struct m_want *remember_want(struct model *m, const struct m_want *want)
{
	for (int i = 0; i < WANTS; i++) {
		if (!m->wants[i].used) {
			m->wants[i] = *want;
			m->wants[i].used = true;
			return &m->wants[i];
		}
	}
	fail("the model has too few wants");
}

static bool lies_over_unwritten(const struct model *m, const struct m_want *w)
{
	for (int i = 0; i < LEASES; i++) {
		const struct m_lease *l = &m->leases[i];

		if (m_is_unwritten(m, l) && l->ino == w->ino && l->start < w->end &&
			w->start < l->end)
			return true;
	}
	return false;
}

/* The layout: a writer's holes are filled; then the client maps what is there. */
static void map_layout(struct model *m, struct m_lease *l)
{
	for (int u = l->start; u < l->end; u++) {
		if (l->write && !m->files[l->ino][u])
			m->files[l->ino][u] = m_free_block(m);
		l->blocks[u] = m->files[l->ino][u];
	}
}

static void finish_grant(struct model *m, struct m_lease *l, bool ok)
{
	struct m_session *s = &m->sessions[l->session];
	struct lm_session *lm = s->lm;
	uint64_t id = l->id;

	ok = ok && !m->full;
	if (ok) {
		map_layout(m, l);
		if (!record_grant(m, l)) /* no answer */
			memset(l->blocks, 0, sizeof(l->blocks));
	}
	l->making = false;
	l->in_use--;
	l->slot_known = true;
	if (!ok)
		m_end_lease(m, l);
	if (s->closed)
		m_wind_up(m, l->session);
	lm_grant_done(lm, id, ok, m->now);
}

void step_grant(struct model *m, const struct step *s)
{
	struct m_want w = {.session = pick_session(m, s->a, true),
		.ino = (int)(s->a / 16 % INODES),
		.exclusive = s->d % 6 == 0,
		.write = s->d % 2,
		.policy = (int)(s->d / 16 % POLICIES),
		.began_ns = m->now};
	struct lm_grant_request r = {.ino = (uint64_t)w.ino + 1,
		.mode = w.write ? LM_WRITE : LM_READ,
		.flags = w.exclusive ? LM_GRANT_EXCLUSIVE : 0,
		.pid = 1,
		.policy = &policies[w.policy]};
	struct m_want *known, *told;
	struct lm_grant g;
	struct m_lease *l;
	bool made;
	int error, leases = 0, wants = 0;

	for (int i = 0; i < LEASES; i++)
		leases += m->leases[i].used;
	for (int i = 0; i < WANTS; i++)
		wants += m->wants[i].used;
	if (w.session < 0 || leases > LEASES / 4 || wants > WANTS - 2)
		return;
	pick_range(s->b, s->c, &w.start, &w.end);
	r.start = (uint64_t)w.start * UNIT;
	r.end = (uint64_t)w.end * UNIT;
	told = find_told(m, &w);
	if (told)
		told->used = false;
	known = find_want(m, &w);
	made = !known;
	if (made)
		known = remember_want(m, &w); /* first: it may revoke within the call */
	else if (known->policy != w.policy)
		known->policy = 1; /* either may count: that of the shorter time */
	error = lm_grant(m->sessions[w.session].lm, &r, m->now, &g);
	if (error == -EAGAIN)
		return;
	if (error == -EIO && m->full && lies_over_unwritten(m, &w)) {
		known->used = !made;
		if (told)
			told->used = true;
		return;
	}
	if (error)
		fail("grant: %d", error);
	if (!grant_is_free(m, &w))
		fail("a lease [%d, %d) of %d is granted over what is in its way", w.start, w.end,
			w.ino);
	known->used = false;
	l = m_new_lease(m);
	l->live = l->making = true;
	l->in_use = 1;
	l->session = w.session;
	l->ino = w.ino;
	l->start = w.start;
	l->end = w.end;
	l->exclusive = w.exclusive;
	l->write = w.write;
	l->id = g.lease;
	l->slot = g.slot;
	if (s->d / 128 % 8)
		finish_grant(m, l, s->d / 1024 % 16 != 0);
}

void step_finish_grant(struct model *m, const struct step *s)
{
	struct m_lease *l = pick_lease(m, s->a, MAKING);

	if (l)
		finish_grant(m, l, s->b % 4 != 0);
}

void step_return(struct model *m, const struct step *s)
{
	struct m_lease *l = pick_lease(m, s->a, LIVE), *rest = NULL;
	struct m_lease before, *at = l;
	struct lm_grant g;
	bool busy, refused;
	int start, end, error;

	if (!l)
		return;
	start = l->start;
	end = l->end;
	if (s->b % 2) {
		start += (int)(s->c % (uint32_t)(end - start));
		end = start + 1 + (int)(s->d % (uint32_t)(end - start));
	}
	busy = l->in_use || m_pinned(m, l, start, end);
	refused = !busy && m->full && (start > l->start || end < l->end);
	before = *l;
	if (!busy && !refused) { /* first the model: verdicts look at it */
		if (start == l->start && end == l->end)
			m_end_lease(m, l);
		else
			rest = m_cut(m, l, start, end);
	}
	error = lm_return(m->sessions[before.session].lm, before.id, (uint64_t)start * UNIT,
		(uint64_t)end * UNIT, m->now, &g);
	if (error != (busy ? -EBUSY : refused ? -EIO : 0))
		fail("return of [%d, %d) from [%d, %d): %d", start, end, before.start, before.end,
			error);
	if (!error && !!g.lease != (rest != NULL))
		fail("what is left of a returned lease");
	if (rest) {
		rest->id = g.lease;
		rest->slot = g.slot;
		rest->slot_known = true;
		rest->told = at->told;
		rest->told_start = at->told_start;
		rest->told_end = at->told_end;
	}
}

void step_downgrade(struct model *m, const struct step *s)
{
	struct m_lease *l = pick_lease(m, s->a, LIVE);
	struct m_lease before;
	bool busy, share = s->b % 2;
	int error;

	if (!l)
		return;
	before = *l;
	busy = l->in_use || m_pinned(m, l, l->start, l->end);
	error = busy ? -EBUSY : m->full ? -EIO : 0;
	if (!error) {
		l->write = false;
		l->exclusive = l->exclusive && !share;
	}
	if (lm_downgrade(m->sessions[before.session].lm, before.id, share, m->now) != error)
		fail("downgrade");
}

void step_commit(struct model *m, const struct step *s)
{
	struct m_lease *l = pick_lease(m, s->a, LIVE);
	struct m_session *n;
	int error;

	if (!l)
		return;
	n = &m->sessions[l->session];
	if (l->in_use && s->b % 2) {
		l->in_use--;
		lm_commit_end(n->lm, l->id, m->now);
		return;
	}
	error = lm_commit_begin(n->lm, l->id, (uint64_t)l->start * UNIT, (uint64_t)l->end * UNIT);
	if (error != (l->write ? 0 : -EBADF))
		fail("commit: %d", error);
	if (!error)
		l->in_use++;
}

/* A closed session's calls end too. */
void step_end_use(struct model *m, const struct step *s)
{
	for (uint32_t i = 0; i < LEASES; i++) {
		struct m_lease *l = &m->leases[(s->a + i) % LEASES];
		struct m_session *n = &m->sessions[l->session];
		uint64_t id = l->id;

		if (!l->used || l->making || !l->in_use)
			continue;
		l->in_use--;
		if (n->closed)
			m_wind_up(m, l->session);
		lm_commit_end(n->lm, id, m->now);
		return;
	}
}

void step_ack(struct model *m, const struct step *s)
{
	struct m_lease *l = pick_lease(m, s->a, GHOST);
	struct m_lease before;
	bool pinned;

	if (!l)
		return;
	before = *l;
	pinned = m_pinned(m, l, 0, UNITS);
	if (!pinned)
		m_end_lease(m, l); /* the client has unmapped it */
	if (lm_ack(m->sessions[before.session].lm, before.id, m->now) != (pinned ? -EBUSY : 0))
		fail("ack");
}

/* ---- pins ------------------------------------------------------------------------------------ */

void step_slot_pin(struct model *m, const struct step *s)
{
	struct m_lease *l = pick_lease(m, s->a, LIVE);
	struct m_session *n;

	if (!l || !l->slot_known)
		return;
	n = &m->sessions[l->session];
	n->pins[l->slot]++;
	if (n->recall[l->slot])
		n->pins[l->slot]--;
}

void step_slot_unpin(struct model *m, const struct step *s)
{
	struct m_lease *l = pick_lease(m, s->a, s->b % 4 ? LIVE : GHOST);
	struct m_session *n;

	if (!l || !m->sessions[l->session].pins[l->slot])
		return;
	n = &m->sessions[l->session];
	if (--n->pins[l->slot] == 0 && n->recall[l->slot] && lm_unpinned(n->lm, l->id, m->now))
		fail("unpinned");
}

void step_pin(struct model *m, const struct step *s)
{
	struct m_lease *l = pick_lease(m, s->a, LIVE);
	struct m_session *n;
	int start, end, error, i = 0;
	uint64_t pin;

	while (i < PINS && m->pins[i].used)
		i++;
	if (!l || i == PINS)
		return;
	n = &m->sessions[l->session];
	start = l->start + (int)(s->b % (uint32_t)(l->end - l->start));
	end = start + 1 + (int)(s->c % (uint32_t)(l->end - start));
	error = lm_pin(n->lm, l->id, (uint64_t)start * UNIT, (uint64_t)end * UNIT,
		s->d % 8 ? 0 : LM_PIN_UNBREAKABLE, &pin);
	if (error != (n->recall[l->slot] ? -EAGAIN : 0))
		fail("pin: %d", error);
	if (!error) {
		m->pins[i] = (struct m_pin){.used = true,
			.unbreakable = s->d % 8 == 0,
			.lease = (int)(l - m->leases),
			.start = start,
			.end = end,
			.id = pin};
		record_pin(m, &m->pins[i]);
	}
}

void step_unpin(struct model *m, const struct step *s)
{
	for (uint32_t i = 0; i < PINS; i++) {
		struct m_pin *p = &m->pins[(s->a + i) % PINS];
		struct m_session *n = &m->sessions[m->leases[p->lease].session];

		if (!p->used || n->closed)
			continue;
		p->used = false;
		if (lm_unpin(n->lm, p->id, m->now))
			fail("unpin");
		return;
	}
}
