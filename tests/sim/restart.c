// SPDX-License-Identifier: BSD-2-Clause
/*
 * restart.c - what the model's daemon writes down, its death, and what the next one makes of it.
 *
 * Records are written as fs/fuse/records.h says, and in the same order. The daemon may be killed
 * behind any of them: `crash_in` counts down, and from then on nothing is written; the step goes on
 * to its end in memory that is about to be lost, and nobody hears of it. The client's view, which
 * is the model's leases, is then held against the records: each block that it has mapped and each
 * pin that it was told of has to be in one. Then the model's leases become what the records say.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "model.h"

#define SLOT(id) ((uint32_t)(id) & ((1u << LM_SLOT_BITS) - 1))

/* ---- writing --------------------------------------------------------------------------------- */

/* False: the daemon is dead. A write that is its last one has happened. */
static bool may_write(struct model *m)
{
	if (m->dead)
		return false;
	if (m->crash_in && --m->crash_in == 0)
		m->dead = true;
	return true;
}

int on_persist(void *context, void *owner, const struct lm_lease_record *record)
{
	struct model *m = context;
	struct m_session *s = owner;

	if (m->full)
		return -EIO;
	if (may_write(m))
		s->records[SLOT(record->lease)].lm = *record;
	return 0;
}

bool m_is_unwritten(const struct model *m, const struct m_lease *l)
{
	const struct m_record *r = &m->sessions[l->session].records[l->slot];

	return l->used && !l->live && l->id && r->lm.lease == l->id &&
	       !(r->lm.flags & LM_LEASE_REVOKED);
}

void on_pin_moved(void *context, void *owner, uint64_t pin, uint64_t lease)
{
	struct m_session *s = owner;

	if (may_write(context))
		s->pin_records[SLOT(pin)].lease = lease;
}

void on_pin_gone(void *context, void *owner, uint64_t pin)
{
	struct m_session *s = owner;

	if (may_write(context))
		s->pin_records[SLOT(pin)].pin = 0;
}

int record_copy(struct model *m, struct m_session *s, uint32_t from, uint32_t to)
{
	if (m->full)
		return -EIO;
	if (!may_write(m))
		return 0;
	s->records[to] = s->records[from];
	s->records[to].lm.lease = 0;
	return 0;
}

void record_clear(struct model *m, struct m_session *s, uint32_t slot)
{
	if (may_write(m))
		s->records[slot].lm.lease = 0;
}

bool record_grant(struct model *m, const struct m_lease *l)
{
	struct m_record *r = &m->sessions[l->session].records[l->slot];

	if (!may_write(m))
		return false;
	*r = (struct m_record){.lm = {.lease = l->id,
				       .ino = (uint64_t)l->ino + 1,
				       .start = (uint64_t)l->start * UNIT,
				       .end = (uint64_t)l->end * UNIT,
				       .mode = l->write ? LM_WRITE : LM_READ,
				       .flags = l->exclusive ? LM_LEASE_EXCLUSIVE : 0}};
	memcpy(r->blocks, l->blocks, sizeof(r->blocks));
	return !m->dead;
}

bool record_pin(struct model *m, const struct m_pin *p)
{
	const struct m_lease *l = &m->leases[p->lease];

	if (!may_write(m))
		return false;
	if (SLOT(p->id) >= SLOTS)
		fail("slot of a pin");
	m->sessions[l->session].pin_records[SLOT(p->id)] =
		(struct m_pin_record){p->id, l->id, p->start, p->end, p->unbreakable};
	return !m->dead;
}

/* ---- the client's view ----------------------------------------------------------------------- */

static bool covers(const struct m_record *r, int ino, int unit)
{
	return r->lm.lease && r->lm.ino == (uint64_t)ino + 1 &&
	       r->lm.start <= (uint64_t)unit * UNIT && r->lm.end > (uint64_t)unit * UNIT;
}

static void expect_covered(const struct model *m, const struct m_lease *l)
{
	const struct m_session *s = &m->sessions[l->session];

	for (int u = l->start; u < l->end; u++) {
		bool found = !l->blocks[u];

		for (int i = 0; i < SLOTS && !found; i++)
			found = covers(&s->records[i], l->ino, u) &&
				s->records[i].blocks[u] == l->blocks[u];
		if (!found)
			fail("a restart forgets block %d of session %d, mapped at %d of %d",
				l->blocks[u], l->session, u, l->ino);
	}
}

static void expect_pinned(const struct model *m, const struct m_pin *p)
{
	const struct m_session *s = &m->sessions[m->leases[p->lease].session];
	const struct m_pin_record *r = &s->pin_records[SLOT(p->id)];

	if (r->pin != p->id || r->start != p->start || r->end != p->end)
		fail("a restart forgets a pin of session %d", m->leases[p->lease].session);
}

static bool client_maps(const struct m_lease *old, int session, int ino, int unit, uint8_t block)
{
	for (int i = 0; i < LEASES; i++)
		if (old[i].used && old[i].session == session && old[i].ino == ino &&
			old[i].blocks[unit] == block && unit >= old[i].start && unit < old[i].end)
			return true;
	return false;
}

/* ---- the next daemon ------------------------------------------------------------------------- */

static void restore_lease(
	struct model *m, int session, const struct m_record *r, const struct m_lease *old)
{
	struct m_session *s = &m->sessions[session];
	struct m_lease *l = m_new_lease(m);

	l->live = l->inherited = !(r->lm.flags & LM_LEASE_REVOKED);
	l->exclusive = r->lm.flags & LM_LEASE_EXCLUSIVE;
	l->write = r->lm.mode == LM_WRITE;
	l->session = session;
	l->ino = (int)r->lm.ino - 1;
	l->start = (int)(r->lm.start / UNIT);
	l->end = (int)(r->lm.end / UNIT);
	l->id = r->lm.lease;
	l->origin = r->lm.origin;
	l->slot = SLOT(r->lm.lease);
	l->slot_known = true;
	if (lm_lease_restore(s->lm, &r->lm, s->recall[l->slot], m->now))
		fail("a record of a lease is refused");
	for (int u = l->start; u < l->end; u++) {
		uint8_t b = r->blocks[u];

		if (b && client_maps(old, session, l->ino, u, b))
			l->blocks[u] = b;
		if (!b || m->files[l->ino][u] == b)
			continue;
		if (l->live)
			fail("block %d was freed under a lease", b);
		if (lm_hold_restore(s->lm, l->id, 0, (uint64_t)b * UNIT, UNIT))
			fail("a block cannot be held");
	}
}

/* By the id of its record, or the part of that one which was cut off and has the range. */
static struct m_lease *lease_of_pin(struct model *m, int session, const struct m_pin_record *r)
{
	const struct m_lease *front = NULL;
	struct m_lease *found = NULL;

	for (int i = 0; i < LEASES; i++)
		if (m->leases[i].used && m->leases[i].session == session &&
			m->leases[i].id == r->lease)
			front = &m->leases[i];
	for (int i = 0; i < LEASES && front; i++) {
		struct m_lease *l = &m->leases[i];

		if (!l->used || l->session != session || l->ino != front->ino ||
			l->start > r->start || l->end < r->end)
			continue;
		if (l == front)
			return l;
		if (!found || l->slot < found->slot)
			found = l;
	}
	return found;
}

static void restore_pin(struct model *m, int session, struct m_pin_record *r)
{
	struct m_lease *l = lease_of_pin(m, session, r);
	int i = 0;

	while (i < PINS && m->pins[i].used)
		i++;
	if (i == PINS)
		fail("the model has too few pins");
	if (lm_pin_restore(m->sessions[session].lm, r->pin, r->lease, (uint64_t)r->start * UNIT,
		    (uint64_t)r->end * UNIT, r->unbreakable ? LM_PIN_UNBREAKABLE : 0)) {
		if (l)
			fail("a record of a pin is refused");
		r->pin = 0;
		return;
	}
	if (!l)
		fail("a pin is on a lease that the model does not know");
	m->pins[i] = (struct m_pin){.used = true,
		.unbreakable = r->unbreakable,
		.lease = (int)(l - m->leases),
		.start = r->start,
		.end = r->end,
		.id = r->pin};
}

static void restore_session(struct model *m, int session, const struct m_lease *old)
{
	struct m_session *s = &m->sessions[session];

	s->closed = s->inherited = true;
	s->process_gone = false;
	s->drain_ns = 0;
	if (lm_session_restore(m->lm, s->id, s->pid, 1000, s, &s->lm))
		fail("a session is refused");
	for (int i = 0; i < SLOTS; i++) {
		if (s->records[i].lm.lease)
			restore_lease(m, session, &s->records[i], old);
		else
			s->pins[i] = s->recall[i] = 0;
	}
	for (int i = 0; i < SLOTS; i++)
		if (s->pin_records[i].pin)
			restore_pin(m, session, &s->pin_records[i]);
	lm_session_restored(s->lm);
}

static bool has_records(const struct m_session *s)
{
	for (int i = 0; i < SLOTS; i++)
		if (s->records[i].lm.lease)
			return true;
	return false;
}

/* The one with the lowest number above `after`; -1: none. */
static int next_session(const struct model *m, uint64_t after)
{
	int found = -1;

	for (int i = 0; i < SESSIONS; i++)
		if (m->sessions[i].lm && m->sessions[i].id > after &&
			(found < 0 || m->sessions[i].id < m->sessions[found].id))
			found = i;
	return found;
}

static void restore_all(struct model *m, const struct m_lease *old)
{
	bool dying[SESSIONS] = {false};

	for (int i = next_session(m, 0); i >= 0; i = next_session(m, m->sessions[i].id)) {
		struct m_session *s = &m->sessions[i];

		/* An open one whose process is gone has another that holds on to it. */
		dying[i] = s->process_gone && s->closed;
		if (has_records(s))
			restore_session(m, i, old);
	}
	for (int i = 0; i < SESSIONS; i++)
		if (m->sessions[i].lm && !has_records(&m->sessions[i]))
			memset(&m->sessions[i], 0, sizeof(m->sessions[i]));
	m->grace_end_ns = m->now + GRACE_NS;
	if (lm_grace_begin(m->lm, m->grace_end_ns, m->now))
		fail("no grace period");
	for (int i = 0; i < SESSIONS; i++) {
		if (!m->sessions[i].lm || !dying[i])
			continue;
		m->sessions[i].process_gone = true;
		m_wind_up(m, i);
		lm_session_process_gone(m->sessions[i].lm, m->now);
	}
}

void model_restart(struct model *m)
{
	static struct m_lease old[LEASES];
	uint64_t next = lm_next_number(m->lm);

	m_drain(m);
	for (int i = 0; i < LEASES; i++)
		if (m->leases[i].used && !m->leases[i].making)
			expect_covered(m, &m->leases[i]);
	for (int i = 0; i < PINS && !m->dead; i++)
		if (m->pins[i].used)
			expect_pinned(m, &m->pins[i]);
	memcpy(old, m->leases, sizeof(old));
	for (int i = 0; i < LEASES; i++)
		if (old[i].making)
			old[i].used = false;
	memset(m->leases, 0, sizeof(m->leases));
	memset(m->pins, 0, sizeof(m->pins));
	memset(m->changes, 0, sizeof(m->changes));
	memset(m->wants, 0, sizeof(m->wants));
	for (int i = 0; i < SESSIONS; i++)
		memset(m->sessions[i].told, 0, sizeof(m->sessions[i].told));
	memset(m->held, 0, sizeof(m->held));
	lm_destroy(m->lm);
	m->dead = false;
	m->crash_in = 0;
	m->lm = model_create(m, m->seed, next + 1000);
	restore_all(m, old);
}

void m_grace_over(struct model *m)
{
	m->grace_end_ns = 0;
	for (int i = 0; i < LEASES; i++) {
		struct m_lease *l = &m->leases[i];

		if (l->used && l->inherited) {
			l->inherited = l->live = false;
			l->origin = l->id;
		}
	}
}
