// SPDX-License-Identifier: BSD-2-Clause
/* model.c - see model.h. */
#include "model.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

const char *const policy_texts[POLICIES] = {"recall:500us/busy", "busy", "wait",
	"recall:300us/wait", "recall:200us/signal=SIGBUS:100us/kill:100us/orphan",
	"recall:400us/kill:200us/busy"};
struct lm_policy policies[POLICIES];

/* ---- policies, from their texts' meaning ----------------------------------------------------- */

static bool ends_in(int policy, enum lm_rung_kind kind)
{
	return policies[policy].rungs[policies[policy].count - 1].kind == kind;
}

/* May unpinned leases be revoked by now? */
static bool recall_is_over(const struct model *m, const struct m_change *c)
{
	const struct lm_rung *first = &policies[c->policy].rungs[0];

	if (first->kind == LM_RUNG_RECALL)
		return m->now >= c->began_ns + first->time_ns;
	return !ends_in(c->policy, LM_RUNG_WAIT);
}

static bool ladder_is_over(const struct model *m, const struct m_change *c)
{
	uint64_t total = 0;

	for (unsigned i = 0; i < policies[c->policy].count; i++)
		total += policies[c->policy].rungs[i].time_ns;
	return !ends_in(c->policy, LM_RUNG_WAIT) && m->now >= c->began_ns + total;
}

/* ---- leases ---------------------------------------------------------------------------------- */

static bool overlap(int a, int b, int c, int d)
{
	return a < d && c < b;
}

bool m_pinned(const struct model *m, const struct m_lease *l, int start, int end)
{
	const struct m_session *s = &m->sessions[l->session];

	if (l->id && s->pins[l->slot])
		return true;
	for (int i = 0; i < PINS; i++)
		if (m->pins[i].used && &m->leases[m->pins[i].lease] == l &&
			overlap(m->pins[i].start, m->pins[i].end, start, end))
			return true;
	return false;
}

bool m_own(const struct model *m, const struct m_change *c, const struct m_lease *l)
{
	const struct m_session *s = &m->sessions[l->session];

	return !s->process_gone && s->pid == c->pid;
}

bool m_conflicts(const struct model *m, const struct m_change *c, const struct m_lease *l)
{
	if (!l->used || !l->live || l->ino != c->ino ||
		!overlap(l->start, l->end, c->start, c->end))
		return false;
	if (c->kind == LM_FREE || c->kind == LM_MOVE)
		return true;
	return l->exclusive && !m_own(m, c, l);
}

struct m_lease *m_new_lease(struct model *m)
{
	for (int i = 0; i < LEASES; i++) {
		if (!m->leases[i].used) {
			m->leases[i] = (struct m_lease){.used = true};
			return &m->leases[i];
		}
	}
	fail("the model is too small");
}

void m_end_lease(struct model *m, struct m_lease *l)
{
	for (int i = 0; i < PINS; i++)
		if (m->pins[i].used && &m->leases[m->pins[i].lease] == l)
			m->pins[i].used = false;
	l->used = false;
}

static struct m_lease *part_of(struct model *m, const struct m_lease *l, int start, int end)
{
	struct m_lease *part = m_new_lease(m);

	*part = *l;
	part->id = 0;
	part->told = part->slot_known = false;
	part->start = start;
	part->end = end;
	for (int u = 0; u < UNITS; u++)
		if (u < start || u >= end)
			part->blocks[u] = 0;
	for (int i = 0; i < PINS; i++)
		if (m->pins[i].used && &m->leases[m->pins[i].lease] == l &&
			m->pins[i].start >= start && m->pins[i].end <= end)
			m->pins[i].lease = (int)(part - m->leases);
	return part;
}

struct m_lease *m_cut(struct model *m, struct m_lease *l, int start, int end)
{
	struct m_lease *rest = NULL;

	if (start > l->start && end < l->end)
		rest = part_of(m, l, end, l->end);
	if (start > l->start)
		l->end = start;
	else
		l->start = end;
	for (int u = 0; u < UNITS; u++)
		if (u < l->start || u >= l->end)
			l->blocks[u] = 0;
	return rest;
}

void m_revoke(struct model *m, struct m_lease *l, int start, int end, bool whole)
{
	struct m_lease *ghost;

	start = start > l->start ? start : l->start;
	end = end < l->end ? end : l->end;
	if (whole || (start == l->start && end == l->end)) {
		l->live = l->inherited = false;
		l->origin = l->id;
		return;
	}
	ghost = part_of(m, l, start, end);
	ghost->live = ghost->inherited = false;
	ghost->origin = l->id;
	m_cut(m, l, start, end);
}

/* ---- verdicts -------------------------------------------------------------------------------- */

bool m_waits_for_grace(const struct model *m, const struct m_change *c)
{
	for (int i = 0; i < LEASES; i++) {
		const struct m_lease *l = &m->leases[i];

		if (m_conflicts(m, c, l) && l->inherited && !m_own(m, c, l))
			return true;
	}
	return false;
}

static void check_go(struct model *m, struct m_change *c)
{
	for (int i = 0; i < LEASES; i++) {
		const struct m_lease *l = &m->leases[i];

		if (!m_conflicts(m, c, l))
			continue;
		if (l->in_use)
			fail("a change goes on over a lease in the middle of a call");
		if (l->inherited && !m_own(m, c, l))
			fail("a change goes on over a lease that may be reclaimed");
		if (m_own(m, c, l)) {
			if (m_pinned(m, l, c->start, c->end))
				fail("a change goes on over its own pin");
		} else if (!recall_is_over(m, c)) {
			fail("a lease is revoked before its time: [%d, %d) by [%d, %d) of %d",
				l->start, l->end, c->start, c->end, c->ino);
		} else if (m_pinned(m, l, c->start, c->end) &&
			   !(ends_in(c->policy, LM_RUNG_ORPHAN) && ladder_is_over(m, c))) {
			fail("a change goes on over a pin: [%d, %d) by [%d, %d) of %d", l->start,
				l->end, c->start, c->end, c->ino);
		}
	}
}

static void check_busy(struct model *m, const struct m_change *c)
{
	bool own = false, pinned = false, unbreakable = false;

	for (int i = 0; i < LEASES; i++) {
		const struct m_lease *l = &m->leases[i];

		if (!m_conflicts(m, c, l) || !m_pinned(m, l, c->start, c->end))
			continue;
		own = own || m_own(m, c, l);
		pinned = true;
		for (int p = 0; p < PINS; p++)
			unbreakable =
				unbreakable || (m->pins[p].used && m->pins[p].unbreakable &&
						       &m->leases[m->pins[p].lease] == l &&
						       overlap(m->pins[p].start, m->pins[p].end,
							       c->start, c->end));
	}
	if (!own && !unbreakable && (c->grace || !(pinned && ladder_is_over(m, c))))
		fail("EBUSY of [%d, %d) of %d with %s", c->start, c->end, c->ino,
			pinned ? "its time not over" : "no pin in the way");
}

bool m_has_to_write(const struct model *m, const struct m_change *c)
{
	for (int i = 0; i < LEASES; i++) {
		const struct m_lease *l = &m->leases[i];

		if (m_conflicts(m, c, l) ||
			((c->kind == LM_FREE || c->kind == LM_MOVE) && m_is_unwritten(m, l) &&
				l->ino == c->ino && overlap(l->start, l->end, c->start, c->end)))
			return true;
	}
	return false;
}

void m_verdict(struct model *m, struct m_change *c, int verdict)
{
	if (c->state != M_PARKED)
		fail("a verdict for what is not waiting");
	explain_ghosts(m);
	if (c->grace && !m_waits_for_grace(m, c)) {
		c->grace = false;
		c->began_ns = m->now;
	}
	if (verdict == -EBUSY) {
		check_busy(m, c);
		c->state = M_NONE;
		return;
	}
	if (verdict ? verdict != -EIO || !m->full : m->full && m_has_to_write(m, c))
		fail("verdict %d", verdict);
	check_go(m, c);
	if (verdict) {
		if (!m_has_to_write(m, c))
			fail("EIO with nothing to write down");
		c->state = M_NONE;
		return;
	}
	c->state = M_ACTIVE;
	for (int i = 0; i < LEASES; i++) {
		struct m_lease *l = &m->leases[i];

		if (m_conflicts(m, c, l)) /* what is cut off does not overlap: no harm in a look */
			m_revoke(m, l, c->start, c->end, m_pinned(m, l, c->start, c->end));
	}
	learn_ids(m);
}

/* ---- effects --------------------------------------------------------------------------------- */

static struct model *of(void *context)
{
	return context;
}

static bool on_slot_pinned(void *context, void *owner, uint32_t slot)
{
	return ((struct m_session *)owner)->pins[slot] != 0;
}

static void on_slot_recall(void *context, void *owner, uint32_t slot, bool recalled)
{
	((struct m_session *)owner)->recall[slot] = recalled;
}

static void on_slot_fresh(void *context, void *owner, uint32_t slot, bool used_before)
{
	if (slot >= SLOTS)
		fail("slot %u", slot);
	((struct m_session *)owner)->pins[slot] = 0;
	((struct m_session *)owner)->recall[slot] = false;
}

static int on_slot_split(void *context, void *owner, uint32_t from, uint32_t to)
{
	if (from == to)
		fail("slot %u is split from itself", from);
	return record_copy(of(context), owner, from, to);
}

static void on_slot_free(void *context, void *owner, uint32_t slot)
{
	record_clear(of(context), owner, slot);
}

static void on_ready(void *context, void *owner)
{
}

static void on_verdict(void *context, void *operation, struct lm_change *change, int verdict)
{
	struct model *m = of(context);
	bool let_go = verdict == 0 || m_waits_for_grace(m, operation);

	/* Its revocations, which its caller does not know of yet, have let this one go. */
	if (let_go && m->beginning && m->beginning->state == M_PARKED)
		m_verdict(m, m->beginning, 0);
	m_verdict(m, operation, verdict);
}

static void on_signal(void *context, void *owner, int number)
{
}

static void on_conflict(void *context, const struct lm_conflict *conflict)
{
	if (conflict->pin_start >= conflict->pin_end)
		fail("a conflict without a range");
}

static int on_hold(void *context, uint32_t region, uint64_t offset, uint64_t length)
{
	for (uint64_t b = offset / UNIT; b < (offset + length) / UNIT; b++)
		of(context)->held[b]++;
	return 0;
}

static void on_release(void *context, uint32_t region, uint64_t offset, uint64_t length)
{
	for (uint64_t b = offset / UNIT; b < (offset + length) / UNIT; b++) {
		if (!of(context)->held[b])
			fail("block %d is released twice", (int)b);
		of(context)->held[b]--;
	}
}

static void *on_inode_used(void *context, uint64_t ino)
{
	return context;
}

static void on_inode_idle(void *context, void *owner)
{
}

static void on_session_gone(void *context, void *owner)
{
	m_drop_session(of(context), (int)((struct m_session *)owner - of(context)->sessions));
}

const struct lm_ops model_ops = {on_slot_pinned, on_slot_recall, on_slot_fresh, on_slot_split,
	on_slot_free, on_ready, on_verdict, on_signal, on_conflict, on_hold, on_release,
	on_inode_used, on_inode_idle, on_session_gone, on_persist, on_pin_moved, on_pin_gone};

/* ---- sessions -------------------------------------------------------------------------------- */

void m_wind_up(struct model *m, int session)
{
	struct m_session *s = &m->sessions[session];
	bool drain = false;

	for (int i = 0; i < LEASES; i++) {
		struct m_lease *l = &m->leases[i];

		if (!l->used || l->session != session || l->in_use)
			continue;
		if (!s->process_gone && s->inherited && l->inherited)
			continue;
		if (!s->process_gone || s->inherited || m_pinned(m, l, 0, UNITS)) {
			l->origin = l->live ? l->id : l->origin;
			l->live = l->inherited = false;
			drain = s->process_gone;
		} else {
			m_end_lease(m, l);
		}
	}
	if (drain && !s->drain_ns)
		s->drain_ns = m->now + DRAIN_NS;
}

void m_drop_session(struct model *m, int session)
{
	struct m_session *s = &m->sessions[session];

	if (!s->closed)
		fail("an open session goes away");
	for (int i = 0; i < LEASES; i++) {
		if (!m->leases[i].used || m->leases[i].session != session)
			continue;
		if (!s->process_gone || !s->drain_ns || m->now < s->drain_ns)
			fail("a session goes away while its blocks may be touched");
		m_end_lease(m, &m->leases[i]);
	}
	for (int i = 0; i < WANTS; i++)
		if (m->wants[i].session == session)
			m->wants[i].used = false;
	*s = (struct m_session){.lm = NULL};
}

uint8_t m_free_block(const struct model *m)
{
	for (int b = 1; b < BLOCKS; b++) {
		bool used = m->held[b] > 0;

		for (int u = 0; u < INODES * UNITS; u++)
			used = used || m->files[u / UNITS][u % UNITS] == b;
		if (!used)
			return (uint8_t)b;
	}
	return 0;
}

struct lm *model_create(struct model *m, uint64_t seed, uint64_t first_id)
{
	struct lm_config config = {.ops = &model_ops,
		.context = m,
		.seed = seed,
		.first_id = first_id,
		.drain_ns = DRAIN_NS,
		.check = m->check};
	struct lm *lm;

	if (lm_create(&config, &lm))
		fail("no memory");
	return lm;
}

void model_init(struct model *m, uint64_t seed, bool check)
{
	memset(m, 0, sizeof(*m));
	m->now = 1;
	m->seed = seed;
	m->check = check;
	for (int i = 0; i < POLICIES; i++)
		if (lm_policy_parse(policy_texts[i], &policies[i]))
			fail("policy %s", policy_texts[i]);
	m->lm = model_create(m, seed, 1);
}

void model_end(struct model *m)
{
	lm_destroy(m->lm);
}
