// SPDX-License-Identifier: BSD-2-Clause
/* steps.c - sessions, changes, time, events and restarts: see steps.h. */
#include <errno.h>
#include <string.h>

#include "steps.h"

/* ---- picking --------------------------------------------------------------------------------- */

struct m_lease *pick_lease(struct model *m, uint32_t r, enum want_lease want)
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

int pick_session(struct model *m, uint32_t r, bool open)
{
	for (uint32_t i = 0; i < SESSIONS; i++) {
		const struct m_session *s = &m->sessions[(r + i) % SESSIONS];

		if (open ? s->lm && !s->closed : !s->lm)
			return (int)((r + i) % SESSIONS);
	}
	return -1;
}

struct m_change *pick_change(struct model *m, uint32_t r, enum m_state state)
{
	for (uint32_t i = 0; i < CHANGES; i++) {
		struct m_change *c = &m->changes[(r + i) % CHANGES];

		if (c->state == state)
			return c;
	}
	return NULL;
}

/* A range of units: short ones mostly, neighbours often. */
void pick_range(uint32_t b, uint32_t c, int *start, int *end)
{
	*start = (int)(b % UNITS);
	*end = *start + 1 + (int)(c % (c & 0x100 ? 3 : UNITS));
	if (*end > UNITS)
		*end = UNITS;
}

/* ---- sessions -------------------------------------------------------------------------------- */

void step_open(struct model *m, const struct step *s)
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

void step_close(struct model *m, const struct step *s)
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

void step_process_gone(struct model *m, const struct step *s)
{
	struct m_session *n = &m->sessions[s->a % SESSIONS];

	if (!n->lm || n->process_gone || (s->b % 4 && !n->closed) || (n->inherited && s->b % 16))
		return;
	n->process_gone = true;
	if (n->closed)
		m_wind_up(m, (int)(n - m->sessions));
	lm_session_process_gone(n->lm, m->now);
}

void step_set_process(struct model *m, const struct step *s)
{
	int i = pick_session(m, s->a, true);

	if (i < 0)
		return;
	m->sessions[i].pid = 100 + s->b % 4;
	m->sessions[i].process_gone = false;
	lm_session_set_process(m->sessions[i].lm, m->sessions[i].pid, m->now);
}

void step_release(struct model *m, const struct step *s)
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

/* ---- changes --------------------------------------------------------------------------------- */

/* Nothing in its way: it goes on at once. */
static bool try_change(struct model *m, struct m_change *c, const struct lm_change_request *r)
{
	bool free = !m->full || !m_has_to_write(m, c);
	int result = lm_change_try(m->lm, r, c, &c->lm);

	for (int i = 0; i < LEASES; i++)
		if (m_conflicts(m, c, &m->leases[i]))
			free = false;
	if (result != (free ? 0 : -EAGAIN))
		fail("a change that was tried got %d", result);
	if (!free)
		return false;
	c->alone = lm_change_is_alone(c->lm);
	m_verdict(m, c, 0);
	return true;
}

void step_change(struct model *m, const struct step *s)
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
	if (s->d / 512 % 2 && try_change(m, c, &r))
		return;
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
		if (!c->alone && lm_freeing(m->lm, ino, (uint64_t)first * UNIT,
					 (uint64_t)(u + 1) * UNIT, 0, (uint64_t)f[first] * UNIT))
			fail("blocks cannot be held");
		if (!aborts)
			memset(f + first, 0, (size_t)(u + 1 - first));
	}
	if (!c->alone)
		lm_freed(m->lm, ino, !aborts);
}

void step_end_change(struct model *m, const struct step *s)
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

void step_interrupt(struct model *m, const struct step *s)
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

void step_time(struct model *m, const struct step *s)
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

void step_event(struct model *m, const struct step *s)
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
	if (e.kind == LM_EVENT_RECALL && !(e.flags & LM_EVENT_ADVISORY)) {
		l->told = true;
		l->told_start = (int)(e.start / UNIT);
		l->told_end = (int)(e.end / UNIT);
	}
	if (e.kind == LM_EVENT_RECALL_CANCELLED)
		l->told = false;
	l = e.rest ? lease_by_id(m, i, e.rest) : NULL; /* it may have been given back since */
	if (l)
		l->slot_known = true;
}

/* ---- restarts -------------------------------------------------------------------------------- */

/* Now, or some writes later, in the middle of whatever that is. */
void step_restart(struct model *m, const struct step *s)
{
	if (s->a % 2)
		model_restart(m);
	else if (!m->crash_in)
		m->crash_in = 1 + s->b % 5;
}

/* Records of leases are refused for a while, or taken again. */
void step_records(struct model *m, const struct step *s)
{
	m->full = !m->full && s->a % 2;
}

void step_adopt(struct model *m, const struct step *s)
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
void step_tell_again(struct model *m, const struct step *s)
{
	int i = pick_session(m, s->a, true);

	if (i < 0)
		return;
	lm_session_tell_again(m->sessions[i].lm);
	for (int w = 0; w < TOLD; w++)
		if (m->sessions[i].told[w].used && !lm_event_waiting(m->sessions[i].lm))
			fail("`available` is not told again");
}

void step_reclaim(struct model *m, const struct step *s)
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
