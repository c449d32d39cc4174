// SPDX-License-Identifier: BSD-2-Clause
/*
 * sim.c - drives leasemgr and the model with a random schedule, and shrinks it when they part.
 *
 *   sim [--seed N] [--steps N] [--seconds N] [--quick-check]
 *
 * A schedule is a list of steps, each an operation and four random numbers that pick its objects
 * from what there is when it runs; so steps can be left out and the others still mean something.
 * An episode is a fresh world and EPISODE steps; episode k of seed s is the same for ever. When one
 * fails, parts of it are left out as long as it fails, and what is left is printed, with the state
 * of the clock at each step, and the numbers that repeat it.
 *
 * Exit status: 0 all steps passed, 1 a failure was found.
 */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "model.h"

#define EPISODE 1500
#define TRIES 3000 /* replays that shrinking may take: a second or two */

struct step {
	uint8_t op;
	uint32_t a, b, c, d;
};

static struct model world;
static sigjmp_buf on_failure;
static char failure[512];
static bool check_invariants = true;

_Noreturn void fail(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(failure, sizeof(failure), format, args);
	va_end(args);
	siglongjmp(on_failure, 1);
}

static void on_abort(int number)
{
	snprintf(failure, sizeof(failure), "an assertion of leasemgr failed");
	siglongjmp(on_failure, 1);
}

/* ---- picking --------------------------------------------------------------------------------- */

enum want_lease { LIVE, GHOST, MAKING, INHERITED };

static struct m_lease *pick_lease(struct model *m, uint32_t r, enum want_lease want)
{
	for (int i = 0; i < LEASES; i++) {
		struct m_lease *l = &m->leases[(r + (uint32_t)i) % LEASES];
		bool fits = l->used && (want == MAKING ? l->making : !l->making);

		if (fits && want != MAKING)
			fits = l->live == (want != GHOST) && l->inherited == (want == INHERITED) &&
			       l->id && !m->sessions[l->session].closed;
		if (fits)
			return l;
	}
	return NULL;
}

static int pick_session(struct model *m, uint32_t r, bool open)
{
	for (uint32_t i = 0; i < SESSIONS; i++) {
		const struct m_session *s = &m->sessions[(r + i) % SESSIONS];

		if (open ? s->lm && !s->closed : !s->lm)
			return (int)((r + i) % SESSIONS);
	}
	return -1;
}

static struct m_change *pick_change(struct model *m, uint32_t r, enum m_state state)
{
	for (uint32_t i = 0; i < CHANGES; i++) {
		struct m_change *c = &m->changes[(r + i) % CHANGES];

		if (c->state == state)
			return c;
	}
	return NULL;
}

/* A range of units: short ones mostly, neighbours often. */
static void pick_range(uint32_t b, uint32_t c, int *start, int *end)
{
	*start = (int)(b % UNITS);
	*end = *start + 1 + (int)(c % (c & 0x100 ? 3 : UNITS));
	if (*end > UNITS)
		*end = UNITS;
}

/* ---- sessions -------------------------------------------------------------------------------- */

static void step_open(struct model *m, const struct step *s)
{
	int i = pick_session(m, s->a, false);
	struct m_session *n;

	if (i < 0)
		return;
	n = &m->sessions[i];
	memset(n, 0, sizeof(*n));
	n->pid = 100 + s->b % 4;
	if (lm_session_open(m->lm, n->pid, 1000, n, &n->lm))
		fail("a session is refused");
	n->id = lm_session_id(n->lm);
}

static void step_close(struct model *m, const struct step *s)
{
	int i = pick_session(m, s->a, true);
	struct m_session *n;

	if (i < 0 || s->b % 4)
		return;
	n = &m->sessions[i];
	for (int w = 0; w < WANTS; w++)
		if (m->wants[w].session == i)
			m->wants[w].used = false;
	memset(n->told, 0, sizeof(n->told));
	n->closed = true;
	m_wind_up(m, i);
	lm_session_close(n->lm, m->now);
}

static void step_process_gone(struct model *m, const struct step *s)
{
	struct m_session *n = &m->sessions[s->a % SESSIONS];

	if (!n->lm || n->process_gone || (s->b % 4 && !n->closed) || (n->inherited && s->b % 16))
		return;
	n->process_gone = true;
	if (n->closed)
		m_wind_up(m, (int)(n - m->sessions));
	lm_session_process_gone(n->lm, m->now);
}

static void step_set_process(struct model *m, const struct step *s)
{
	int i = pick_session(m, s->a, true);

	if (i < 0)
		return;
	m->sessions[i].pid = 100 + s->b % 4;
	m->sessions[i].process_gone = false;
	lm_session_set_process(m->sessions[i].lm, m->sessions[i].pid, m->now);
}

static void step_release(struct model *m, const struct step *s)
{
	struct m_session *n = &m->sessions[s->a % SESSIONS];

	if (!n->lm || !n->closed || s->b % 4)
		return;
	for (int i = 0; i < LEASES; i++) {
		struct m_lease *l = &m->leases[i];

		if (l->used && !l->in_use && &m->sessions[l->session] == n)
			m_end_lease(m, l);
	}
	if (lm_session_release(n->lm, m->now))
		fail("release of a closed session");
}

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

static struct m_want *find_want(struct model *m, const struct m_want *like)
{
	return find_among(m->wants, WANTS, like);
}

static struct m_want *find_told(struct model *m, const struct m_want *like)
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

static void step_grant(struct model *m, const struct step *s)
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
	struct m_want *known;
	struct lm_grant g;
	struct m_lease *l;
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
	known = find_told(m, &w);
	if (known)
		known->used = false;
	known = find_want(m, &w);
	if (!known)
		known = remember_want(m, &w); /* first: it may revoke within the call */
	else if (known->policy != w.policy)
		known->policy = 1; /* either may count: that of the shorter time */
	error = lm_grant(m->sessions[w.session].lm, &r, m->now, &g);
	if (error == -EAGAIN)
		return;
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

static void step_finish_grant(struct model *m, const struct step *s)
{
	struct m_lease *l = pick_lease(m, s->a, MAKING);

	if (l)
		finish_grant(m, l, s->b % 4 != 0);
}

static void step_return(struct model *m, const struct step *s)
{
	struct m_lease *l = pick_lease(m, s->a, LIVE), *rest = NULL;
	struct m_lease before, *at = l;
	struct lm_grant g;
	bool busy;
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
	before = *l;
	if (!busy) { /* first the model: verdicts look at it */
		if (start == l->start && end == l->end)
			m_end_lease(m, l);
		else
			rest = m_cut(m, l, start, end);
	}
	error = lm_return(m->sessions[before.session].lm, before.id, (uint64_t)start * UNIT,
		(uint64_t)end * UNIT, m->now, &g);
	if (busy ? error != -EBUSY : error != 0)
		fail("return of [%d, %d) from [%d, %d): %d", start, end, before.start, before.end,
			error);
	if (!busy && !!g.lease != (rest != NULL))
		fail("what is left of a returned lease");
	if (rest) {
		rest->id = g.lease;
		rest->slot = g.slot;
		rest->slot_known = true;
		rest->told = at->told;
	}
}

static void step_downgrade(struct model *m, const struct step *s)
{
	struct m_lease *l = pick_lease(m, s->a, LIVE);
	struct m_lease before;
	bool busy, share = s->b % 2;

	if (!l)
		return;
	before = *l;
	busy = l->in_use || m_pinned(m, l, l->start, l->end);
	if (!busy) {
		l->write = false;
		l->exclusive = l->exclusive && !share;
	}
	if (lm_downgrade(m->sessions[before.session].lm, before.id, share, m->now) !=
		(busy ? -EBUSY : 0))
		fail("downgrade");
}

static void step_commit(struct model *m, const struct step *s)
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
static void step_end_use(struct model *m, const struct step *s)
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

static void step_ack(struct model *m, const struct step *s)
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

static void step_slot_pin(struct model *m, const struct step *s)
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

static void step_slot_unpin(struct model *m, const struct step *s)
{
	struct m_lease *l = pick_lease(m, s->a, s->b % 4 ? LIVE : GHOST);
	struct m_session *n;

	if (!l || !m->sessions[l->session].pins[l->slot])
		return;
	n = &m->sessions[l->session];
	if (--n->pins[l->slot] == 0 && n->recall[l->slot] && lm_unpinned(n->lm, l->id, m->now))
		fail("unpinned");
}

static void step_pin(struct model *m, const struct step *s)
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

static void step_unpin(struct model *m, const struct step *s)
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

/* ---- changes --------------------------------------------------------------------------------- */

static void step_change(struct model *m, const struct step *s)
{
	static const enum lm_kind kinds[] = {
		LM_FREE, LM_FREE, LM_FREE, LM_OVERWRITE, LM_FILL, LM_MOVE};
	struct m_change *c = pick_change(m, s->a, M_NONE);
	struct lm_change_request r = {.operation = "test"};
	int result;

	if (!c)
		return;
	*c = (struct m_change){.kind = kinds[s->d % 6],
		.ino = (int)(s->a / 16 % INODES),
		.pid = 100 + s->d / 8 % 8,
		.began_ns = m->now,
		.policy = (int)(s->d / 64 % POLICIES)};
	pick_range(s->b, s->c, &c->start, &c->end);
	r.ino = (uint64_t)c->ino + 1;
	r.start = (uint64_t)c->start * UNIT;
	r.end = (uint64_t)c->end * UNIT;
	r.kind = c->kind;
	r.pid = c->pid;
	r.policy = &policies[c->policy];
	c->state = M_PARKED;
	c->grace = m_waits_for_grace(m, c);
	m->beginning = c;
	result = lm_change_begin(m->lm, &r, c, m->now, &c->lm);
	m->beginning = NULL;
	if (c->state == M_ACTIVE && result)
		fail("a change was to go on, and got %d", result);
	if (c->state == M_PARKED && result != LM_PARKED)
		m_verdict(m, c, result);
}

/* Takes the blocks away, run by run, as core does it, and now and then fails to. */
static void free_blocks(struct model *m, const struct m_change *c, bool aborts)
{
	uint64_t ino = (uint64_t)c->ino + 1;

	for (int u = c->start; u < c->end; u++) {
		uint8_t *f = m->files[c->ino];
		int first = u;

		if (!f[u])
			continue;
		while (u + 1 < c->end && f[u + 1] == f[u] + 1)
			u++;
		lm_freeing(m->lm, ino, (uint64_t)first * UNIT, (uint64_t)(u + 1) * UNIT, 0,
			(uint64_t)f[first] * UNIT);
		if (!aborts)
			memset(f + first, 0, (size_t)(u + 1 - first));
	}
	lm_freed(m->lm, ino, !aborts);
}

static void step_end_change(struct model *m, const struct step *s)
{
	struct m_change *c = pick_change(m, s->a, M_ACTIVE);

	if (!c)
		return;
	if (c->kind == LM_FREE || c->kind == LM_MOVE) {
		if (s->b % 8 < 2)
			free_blocks(m, c, true);
		if (s->b % 8)
			free_blocks(m, c, false);
	}
	for (int u = c->start; u < c->end && c->kind == LM_FILL; u++)
		if (!m->files[c->ino][u])
			m->files[c->ino][u] = m_free_block(m);
	c->state = M_NONE;
	lm_change_end(c->lm, m->now);
}

static void step_interrupt(struct model *m, const struct step *s)
{
	struct m_change *c = pick_change(m, s->a, M_PARKED);

	if (!c || s->b % 3)
		return;
	c->state = M_NONE;
	if (lm_change_interrupt(c->lm, m->now))
		fail("a parked change cannot be interrupted");
}

/* ---- time and events ------------------------------------------------------------------------- */

static void tick(struct model *m)
{
	if (m->grace_end_ns && m->now >= m->grace_end_ns)
		m_grace_over(m);
	lm_tick(m->lm, m->now);
}

static void step_time(struct model *m, const struct step *s)
{
	uint64_t until = m->now + s->b % (s->a % 4 ? 50000 : 3000000);

	while (lm_next_deadline(m->lm) <= until) {
		uint64_t next = lm_next_deadline(m->lm);

		m->now = next > m->now ? next : m->now;
		tick(m);
		if (m->dead)
			return;
		model_check(m);
	}
	m->now = until;
	tick(m);
}

static void forget_want(struct model *m, int session, const struct lm_event *e)
{
	struct m_want like = {.session = session,
		.ino = (int)e->ino - 1,
		.start = (int)(e->start / UNIT),
		.end = (int)(e->end / UNIT),
		.write = e->mode == LM_WRITE,
		.exclusive = e->flags & LM_EVENT_EXCLUSIVE};
	struct m_session *n = &m->sessions[session];
	struct m_want *w = find_want(m, &like);

	if (w) {
		n->told[n->told_at++ % TOLD] = *w;
		w->used = false;
	} else if (!find_told(m, &like)) {
		fail("`available` for what was not asked for");
	}
}

static struct m_lease *lease_by_id(struct model *m, int session, uint64_t id)
{
	for (int i = 0; i < LEASES; i++)
		if (m->leases[i].used && m->leases[i].session == session && m->leases[i].id == id)
			return &m->leases[i];
	return NULL;
}

static void step_event(struct model *m, const struct step *s)
{
	int i = pick_session(m, s->a, true);
	struct m_lease *l;
	struct lm_event e;

	if (i < 0 || !lm_event_next(m->sessions[i].lm, &e))
		return;
	if (e.kind == LM_EVENT_DRAIN)
		return;
	if (e.kind == LM_EVENT_AVAILABLE) {
		forget_want(m, i, &e);
		return;
	}
	l = lease_by_id(m, i, e.lease);
	if (!l)
		fail("an event names a lease that is not there");
	if (e.start < (uint64_t)l->start * UNIT || e.end > (uint64_t)l->end * UNIT)
		fail("event %u is about more than its lease", e.kind);
	if ((e.kind == LM_EVENT_REVOKED) == l->live)
		fail("event %u about a %s", e.kind, l->live ? "lease" : "ghost");
	if (e.kind == LM_EVENT_RECALL && !(e.flags & LM_EVENT_ADVISORY))
		l->told = true;
	if (e.kind == LM_EVENT_RECALL_CANCELLED)
		l->told = false;
	l = e.rest ? lease_by_id(m, i, e.rest) : NULL; /* it may have been given back since */
	if (l)
		l->slot_known = true;
}

/* ---- restarts -------------------------------------------------------------------------------- */

/* Now, or some writes later, in the middle of whatever that is. */
static void step_restart(struct model *m, const struct step *s)
{
	if (s->a % 2)
		model_restart(m);
	else if (!m->crash_in)
		m->crash_in = 1 + s->b % 5;
}

static void step_adopt(struct model *m, const struct step *s)
{
	for (uint32_t i = 0; i < SESSIONS; i++) {
		struct m_session *n = &m->sessions[(s->a + i) % SESSIONS];

		if (!n->lm || !n->inherited || n->process_gone)
			continue;
		n->inherited = n->closed = false;
		n->pid = 100 + s->b % 4;
		lm_session_adopt(n->lm, n->pid, n, m->now);
		return;
	}
}

/* Somebody has died who may have read something. */
static void step_tell_again(struct model *m, const struct step *s)
{
	int i = pick_session(m, s->a, true);

	if (i < 0)
		return;
	lm_session_tell_again(m->sessions[i].lm);
	for (int w = 0; w < TOLD; w++)
		if (m->sessions[i].told[w].used && !lm_event_waiting(m->sessions[i].lm))
			fail("`available` is not told again");
}

static void step_reclaim(struct model *m, const struct step *s)
{
	struct m_lease *l = pick_lease(m, s->a, s->b % 8 ? INHERITED : GHOST);
	uint64_t id;
	int error;

	if (!l)
		return;
	id = l->id;
	l->inherited = false;
	error = lm_reclaim(m->sessions[l->session].lm, &id, m->now);
	if (error != (s->b % 8 ? 0 : -ESTALE) || id != l->id)
		fail("reclaim of a %s: %d", s->b % 8 ? "lease" : "ghost", error);
}

/* ---- schedules ------------------------------------------------------------------------------- */

static const struct {
	const char *name;
	void (*run)(struct model *m, const struct step *s);
	unsigned weight;
} operations[] = {
	{"open", step_open, 3},
	{"close", step_close, 2},
	{"process_gone", step_process_gone, 2},
	{"set_process", step_set_process, 1},
	{"release", step_release, 1},
	{"grant", step_grant, 14},
	{"finish_grant", step_finish_grant, 5},
	{"return", step_return, 6},
	{"downgrade", step_downgrade, 2},
	{"commit", step_commit, 4},
	{"end_use", step_end_use, 4},
	{"ack", step_ack, 5},
	{"slot_pin", step_slot_pin, 5},
	{"slot_unpin", step_slot_unpin, 7},
	{"pin", step_pin, 4},
	{"unpin", step_unpin, 6},
	{"change", step_change, 9},
	{"end_change", step_end_change, 10},
	{"interrupt", step_interrupt, 3},
	{"time", step_time, 8},
	{"event", step_event, 14},
	{"restart", step_restart, 1},
	{"adopt", step_adopt, 3},
	{"tell_again", step_tell_again, 1},
	{"reclaim", step_reclaim, 5},
};
#define OPERATIONS (sizeof(operations) / sizeof(operations[0]))

static uint64_t rng;

static uint32_t roll(void)
{
	rng ^= rng << 13;
	rng ^= rng >> 7;
	rng ^= rng << 17;
	return (uint32_t)(rng >> 16);
}

static void make_schedule(struct step *steps, uint64_t seed)
{
	unsigned total = 0;

	rng = (seed + 1) * 0x9e3779b97f4a7c15ull;
	for (size_t i = 0; i < OPERATIONS; i++)
		total += operations[i].weight;
	for (int i = 0; i < EPISODE; i++) {
		unsigned r = roll() % total, op = 0;

		while (r >= operations[op].weight)
			r -= operations[op++].weight;
		steps[i] = (struct step){(uint8_t)op, roll(), roll(), roll(), roll()};
	}
}

/* How many steps passed; `count` if all did. A failed world is left as it is: its memory too. */
static int run(const struct step *steps, const int steps_count, uint64_t seed)
{
	static volatile int i;
	const volatile int count = steps_count; /* lives over the jump */

	failure[0] = '\0';
	if (sigsetjmp(on_failure, 1))
		return i;
	i = 0;
	model_init(&world, seed, check_invariants);
	for (; i < count; i = i + 1) {
		operations[steps[i].op].run(&world, &steps[i]);
		if (world.dead)
			model_restart(&world);
		model_check(&world);
	}
	model_end(&world);
	return count;
}

static bool fails(const struct step *steps, int count, uint64_t seed)
{
	return run(steps, count, seed) < count;
}

/* Leaves out parts, halves first and single steps last, as long as it still fails. */
static int shrink(struct step *steps, int count, uint64_t seed)
{
	static struct step without[EPISODE];
	int tries = 0;

	for (int part = count / 2; part >= 1; part /= 2) {
		for (int at = 0; at + part <= count && tries < TRIES;) {
			memcpy(without, steps, (size_t)at * sizeof(*steps));
			memcpy(without + at, steps + at + part,
				(size_t)(count - at - part) * sizeof(*steps));
			tries++;
			if (fails(without, count - part, seed)) {
				count -= part;
				memcpy(steps, without, (size_t)count * sizeof(*steps));
			} else {
				at += part;
			}
		}
	}
	return count;
}

static void print_world(const struct model *m)
{
	printf("the model then, at %llu ns:\n", (unsigned long long)m->now);
	for (int i = 0; i < LEASES; i++) {
		const struct m_lease *l = &m->leases[i];

		if (l->used)
			printf("  %s%s %llx of session %d: %d [%d, %d)%s%s%s%s\n",
				l->inherited ? "inherited " : "", l->live ? "lease" : "ghost",
				(unsigned long long)l->id, l->session, l->ino, l->start, l->end,
				l->write ? " write" : " read", l->exclusive ? " exclusive" : "",
				l->in_use ? " in use" : "",
				m_pinned(m, l, 0, UNITS) ? " pinned" : "");
	}
	for (int i = 0; i < CHANGES; i++) {
		const struct m_change *c = &m->changes[i];

		if (c->state != M_NONE)
			printf("  %s change of kind %d by process %u: %d [%d, %d), %s, began "
			       "%llu\n",
				c->state == M_PARKED ? "parked" : "active", c->kind, c->pid, c->ino,
				c->start, c->end, policy_texts[c->policy],
				(unsigned long long)c->began_ns);
	}
	for (int i = 0; i < WANTS; i++) {
		const struct m_want *w = &m->wants[i];

		if (w->used)
			printf("  want of session %d: %d [%d, %d)%s, %s, began %llu\n", w->session,
				w->ino, w->start, w->end, w->exclusive ? " exclusive" : "",
				policy_texts[w->policy], (unsigned long long)w->began_ns);
	}
}

static void report(struct step *steps, int count, uint64_t seed, uint64_t episode)
{
	int passed;

	count = shrink(steps, count, episode);
	passed = run(steps, count, episode);
	printf("FAILED: %s\n", failure);
	print_world(&world);
	printf("repeat with --seed %llu --steps %d; shortened to %d steps:\n",
		(unsigned long long)seed, EPISODE, passed + 1);
	for (int i = 0; i <= passed && i < count; i++)
		printf("  %3d %-12s %u %u %u %u\n", i, operations[steps[i].op].name, steps[i].a,
			steps[i].b, steps[i].c, steps[i].d);
}

int main(int argc, char **argv)
{
	static struct step steps[EPISODE];
	uint64_t seed = 1, total = 300000, done = 0;
	double seconds = 0;
	clock_t began = clock();

	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--quick-check"))
			check_invariants = false;
		else if (i + 1 < argc && !strcmp(argv[i], "--seed"))
			seed = strtoull(argv[++i], NULL, 0);
		else if (i + 1 < argc && !strcmp(argv[i], "--steps"))
			total = strtoull(argv[++i], NULL, 0);
		else if (i + 1 < argc && !strcmp(argv[i], "--seconds"))
			seconds = strtod(argv[++i], NULL);
		else {
			fprintf(stderr, "usage: sim [--seed N] [--steps N] [--seconds N]"
					" [--quick-check]\n");
			return 2;
		}
	}
	signal(SIGABRT, on_abort);
	for (uint64_t episode = seed; done < total; episode++) {
		int passed;

		make_schedule(steps, episode);
		passed = run(steps, EPISODE, episode);
		if (passed < EPISODE) {
			report(steps, passed + 1, episode, episode);
			/* Failed worlds keep their memory: nothing here is for a leak checker,
			 * whose abort() would jump back into run(). */
			fflush(stdout);
			_exit(1);
		}
		done += EPISODE;
		if (seconds > 0 && (double)(clock() - began) / CLOCKS_PER_SEC > seconds)
			break;
	}
	signal(SIGABRT, SIG_DFL); /* a leak checker's, from here on */
	printf("sim: %llu steps from seed %llu\n", (unsigned long long)done,
		(unsigned long long)seed);
	return 0;
}
