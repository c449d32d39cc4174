// SPDX-License-Identifier: BSD-2-Clause
/* compare.c - model_check(): leasemgr and the model say the same, and the invariants hold. */
#include <string.h>

#include "model.h"

static bool overlap(int a, int b, int c, int d)
{
	return a < d && c < b;
}

/* ---- the same leases ------------------------------------------------------------------------- */

static uint32_t count_pins(const struct model *m, const struct m_lease *l)
{
	uint32_t n = 0;

	for (int i = 0; i < PINS; i++)
		n += m->pins[i].used && &m->leases[m->pins[i].lease] == l;
	return n;
}

static struct m_lease *match(struct model *m, const struct lm_lease_info *info, const bool *seen)
{
	struct m_lease *found = NULL;

	for (int i = 0; i < LEASES; i++) {
		struct m_lease *l = &m->leases[i];

		if (!l->used || seen[i] || m->sessions[l->session].id != info->session ||
			(l->id && l->id != info->lease) ||
			(!l->live && l->origin && l->origin != info->origin) ||
			(uint64_t)l->ino + 1 != info->ino ||
			(uint64_t)l->start * UNIT != info->start ||
			(uint64_t)l->end * UNIT != info->end ||
			l->live != !(info->flags & LM_LEASE_REVOKED) ||
			l->inherited != !!(info->flags & LM_LEASE_INHERITED))
			continue;
		if (l->id == info->lease)
			return l;
		/* A part whose id the model does not know: there may be another just like it, but
		 * of a ghost whose origin is not known either, because that was cut just now. */
		if (found && found->origin && !l->origin)
			continue;
		if (l->write == (info->mode == LM_WRITE) && count_pins(m, l) == info->range_pins &&
			(!l->live || l->exclusive == !!(info->flags & LM_LEASE_EXCLUSIVE)))
			found = l;
	}
	return found;
}

static bool revoked_by(const struct model *m, const struct m_want *w, const struct m_lease *l)
{
	const struct lm_policy *p = &policies[w->policy];
	bool over = p->rungs[0].kind == LM_RUNG_RECALL
			    ? m->now >= w->began_ns + p->rungs[0].time_ns
			    : p->rungs[p->count - 1].kind != LM_RUNG_WAIT;

	return w->used && over && w->ino == l->ino && w->session != l->session &&
	       (w->exclusive || l->exclusive) && overlap(w->start, w->end, l->start, l->end) &&
	       !l->in_use && !l->inherited && !m_pinned(m, l, w->start, w->end);
}

/* No verdict tells the model of a lease that was revoked for another lease: it looks for one. */
static bool explain_by_want(struct model *m, const struct lm_lease_info *info)
{
	int start = (int)(info->start / UNIT), end = (int)(info->end / UNIT);

	if (!(info->flags & LM_LEASE_REVOKED))
		return false;
	for (int i = 0; i < LEASES; i++) {
		struct m_lease *l = &m->leases[i];

		if (!l->used || !l->live || m->sessions[l->session].id != info->session ||
			(l->id && l->id != info->origin) || (uint64_t)l->ino + 1 != info->ino ||
			l->start > start || l->end < end ||
			(info->lease == info->origin) != (l->start == start && l->end == end))
			continue;
		for (int w = 0; w < WANTS; w++) {
			const struct m_want *want = &m->wants[w];

			if (revoked_by(m, want, l) &&
				start == (want->start > l->start ? want->start : l->start) &&
				end == (want->end < l->end ? want->end : l->end)) {
				m_revoke(m, l, start, end, false);
				return true;
			}
		}
	}
	return false;
}

/* The ghost with the smallest id above `after` that the model does not have. */
static bool next_unknown(struct model *m, uint64_t after, struct lm_lease_info *out)
{
	bool seen[LEASES] = {false}, found = false;
	struct lm_lease_info info;
	uint64_t session = 0;
	uint32_t slot = 0;

	while (lm_next_lease(m->lm, &session, &slot, &info)) {
		struct m_lease *l = info.flags & LM_LEASE_REVOKED ? match(m, &info, seen) : NULL;

		if (l) {
			seen[l - m->leases] = true;
		} else if ((info.flags & LM_LEASE_REVOKED) && info.lease > after &&
			   (!found || info.lease < out->lease)) {
			*out = info;
			found = true;
		}
	}
	return found;
}

/* The order of ids is that in which they were cut off. */
static bool explain_some(struct model *m)
{
	struct lm_lease_info info = {0};
	uint64_t after = 0;

	for (; next_unknown(m, after, &info); after = info.lease)
		if (explain_by_want(m, &info))
			return true;
	return false;
}

/* What they leave of their leases is compared afterwards. */
void explain_ghosts(struct model *m)
{
	while (explain_some(m))
		;
}

void learn_ids(struct model *m)
{
	bool seen[LEASES] = {false};
	struct lm_lease_info info;
	uint64_t session = 0;
	uint32_t slot = 0;

	while (lm_next_lease(m->lm, &session, &slot, &info)) {
		struct m_lease *l = match(m, &info, seen);

		if (!l)
			continue;
		l->id = info.lease;
		l->slot = info.slot;
		seen[l - m->leases] = true;
	}
}

static void compare_leases(struct model *m)
{
	bool seen[LEASES] = {false};
	struct lm_lease_info info;
	uint64_t session = 0;
	uint32_t slot = 0;

	while (lm_next_lease(m->lm, &session, &slot, &info)) {
		struct m_lease *l = match(m, &info, seen);

		if (!l)
			fail("leasemgr has %s [%d, %d) of %d in session %llu, the model does not",
				info.flags & LM_LEASE_REVOKED ? "a ghost" : "a lease",
				(int)(info.start / UNIT), (int)(info.end / UNIT), (int)info.ino - 1,
				(unsigned long long)info.session);
		if (l->live && ((info.mode == LM_WRITE) != l->write ||
				       !!(info.flags & LM_LEASE_EXCLUSIVE) != l->exclusive))
			fail("mode of lease [%d, %d) of %d", l->start, l->end, l->ino);
		if (l->live && m->sessions[l->session].recall[info.slot] !=
				       !!(info.flags & LM_LEASE_RECALLED))
			fail("recall word of lease [%d, %d) of %d", l->start, l->end, l->ino);
		l->id = info.lease;
		l->slot = info.slot;
		seen[l - m->leases] = true;
	}
	for (int i = 0; i < LEASES; i++)
		if (m->leases[i].used && !seen[i])
			fail("the model has %s [%d, %d) of %d in session %d, leasemgr does not",
				m->leases[i].live ? "a lease" : "a ghost", m->leases[i].start,
				m->leases[i].end, m->leases[i].ino, m->leases[i].session);
}

/* ---- blocks ---------------------------------------------------------------------------------- */

static bool may_touch(const struct model *m, const struct m_lease *l)
{
	const struct m_session *s = &m->sessions[l->session];

	return !s->process_gone || !s->closed || !s->drain_ns || m->now < s->drain_ns;
}

static void check_blocks(const struct model *m)
{
	bool in_file[BLOCKS] = {false};

	for (int u = 0; u < INODES * UNITS; u++) {
		uint8_t b = m->files[u / UNITS][u % UNITS];

		if (b && in_file[b])
			fail("block %d is in two places", b);
		if (b && m->held[b])
			fail("block %d is in a file and in quarantine", b);
		in_file[b] = true;
	}
	for (int i = 0; i < LEASES; i++) {
		const struct m_lease *l = &m->leases[i];

		for (int u = l->start; l->used && u < l->end; u++) {
			uint8_t b = l->blocks[u];

			if (!b || m->held[b] || !may_touch(m, l))
				continue;
			if (!in_file[b])
				fail("block %d is free, and mapped by session %d", b, l->session);
			if (m->files[l->ino][u] != b)
				fail("block %d is another file's now, and mapped by session %d", b,
					l->session);
		}
	}
}

/* ---- nobody waits in vain -------------------------------------------------------------------- */

static bool first_is_recall(int policy)
{
	return policies[policy].rungs[0].kind == LM_RUNG_RECALL;
}

static uint64_t times(int policy, unsigned rungs)
{
	uint64_t total = 0;

	for (unsigned i = 0; i < rungs && i < policies[policy].count; i++)
		total += policies[policy].rungs[i].time_ns;
	return total;
}

/* It has read a recall of all of the lease that the change wants. */
static bool knows_of(const struct m_lease *l, const struct m_change *c)
{
	return l->told && (l->told_start <= c->start || l->told_start <= l->start) &&
	       (l->told_end >= c->end || l->told_end >= l->end);
}

static void check_parked(const struct model *m, const struct m_change *c)
{
	const struct lm_policy *p = &policies[c->policy];
	bool waits = p->rungs[p->count - 1].kind == LM_RUNG_WAIT;
	bool recall_over =
		first_is_recall(c->policy) ? m->now >= c->began_ns + times(c->policy, 1) : !waits;
	bool others = false, in_use = false, pinned = false;

	for (int i = 0; i < LEASES; i++) {
		const struct m_lease *l = &m->leases[i];
		const struct m_session *s = &m->sessions[l->session];

		if (!m_conflicts(m, c, l))
			continue;
		in_use = in_use || l->in_use;
		if (m_own(m, c, l))
			continue;
		others = true;
		pinned = pinned || m_pinned(m, l, c->start, c->end);
		if (!l->making && !knows_of(l, c) && !s->closed && !lm_event_waiting(s->lm))
			fail("a recall of [%d, %d) of %d was lost", l->start, l->end, l->ino);
	}
	if (in_use || m_waits_for_grace(m, c))
		return;
	if (!others)
		fail("a change of [%d, %d) of %d waits for nobody", c->start, c->end, c->ino);
	if (recall_over && !pinned)
		fail("a change of [%d, %d) of %d waits past its time", c->start, c->end, c->ino);
	if (!waits && m->now >= c->began_ns + times(c->policy, p->count))
		fail("a change of [%d, %d) of %d waits past its ladder", c->start, c->end, c->ino);
}

/* A change that has its verdict has the range for itself. */
static void check_active(const struct model *m, const struct m_change *c)
{
	for (int i = 0; i < LEASES && (c->kind == LM_FREE || c->kind == LM_MOVE); i++) {
		const struct m_lease *l = &m->leases[i];

		if (m_conflicts(m, c, l))
			fail("lease [%d, %d) of %d was granted over a change", l->start, l->end,
				l->ino);
	}
}

static void check_want(const struct model *m, const struct m_want *w)
{
	for (int i = 0; i < CHANGES; i++) {
		const struct m_change *c = &m->changes[i];

		if (c->state == M_NONE || c->ino != w->ino ||
			!overlap(c->start, c->end, w->start, w->end))
			continue;
		if (c->kind == LM_FREE || c->kind == LM_MOVE || w->exclusive)
			return;
	}
	for (int i = 0; i < LEASES; i++) {
		const struct m_lease *l = &m->leases[i];

		if (l->used && l->live && l->session != w->session && l->ino == w->ino &&
			overlap(l->start, l->end, w->start, w->end) &&
			(l->exclusive || w->exclusive))
			return;
	}
	/* Another want may be recalling; its end wakes this one, or it is told itself. */
	for (int i = 0; i < WANTS; i++) {
		const struct m_want *o = &m->wants[i];

		if (o != w && o->used && o->ino == w->ino && o->session != w->session &&
			overlap(o->start, o->end, w->start, w->end))
			return;
	}
	if (!lm_event_waiting(m->sessions[w->session].lm))
		fail("session %d waits for [%d, %d) of %d in vain", w->session, w->start, w->end,
			w->ino);
}

/* DMA of dead processes that is over by now. */
void m_drain(struct model *m)
{
	for (int i = 0; i < LEASES; i++) {
		struct m_lease *l = &m->leases[i];
		const struct m_session *s = &m->sessions[l->session];

		if (l->used && !l->in_use && s->drain_ns && m->now >= s->drain_ns)
			m_end_lease(m, l);
	}
	for (int i = 0; i < SESSIONS; i++)
		if (m->now >= m->sessions[i].drain_ns)
			m->sessions[i].drain_ns = 0;
}

void model_check(struct model *m)
{
	m_drain(m);
	explain_ghosts(m);
	compare_leases(m);
	check_blocks(m);
	for (int i = 0; i < CHANGES; i++) {
		struct m_change *c = &m->changes[i];

		if (c->grace && !m_waits_for_grace(m, c)) {
			c->grace = false;
			c->began_ns = m->now;
		}
		if (c->state == M_PARKED && m_waits_for_grace(m, c))
			c->grace = true;
		if (m->changes[i].state == M_PARKED)
			check_parked(m, &m->changes[i]);
		else if (m->changes[i].state == M_ACTIVE)
			check_active(m, &m->changes[i]);
	}
	for (int i = 0; i < WANTS; i++)
		if (m->wants[i].used)
			check_want(m, &m->wants[i]);
}
