// SPDX-License-Identifier: BSD-2-Clause
/*
 * test_inherit.c - leasemgr's second life: what ops->persist wrote down is put back, waited for,
 * reclaimed, or given up. The media are two arrays; lm_check() runs after every transition.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "leasemgr.h"

#define MS 1000000ull
#define SLOTS 64
#define SLOT(id) ((uint32_t)(id) & ((1u << LM_SLOT_BITS) - 1))
#define GRACE_NS (5000 * MS)
#define INO 7

struct pin_record {
	uint64_t pin, lease, start, end;
	unsigned flags;
};
struct holder {
	struct lm_session *session;
	uint64_t number;
	uint32_t pid;
	/* Outlive the manager. */
	uint32_t pins[SLOTS];
	bool recall[SLOTS];
	struct lm_lease_record leases[SLOTS];
	struct pin_record range_pins[SLOTS];
	bool gone;
};
struct op {
	struct lm_change *change;
	int verdict; /* 1: none yet */
};
struct world {
	struct lm *lm;
	uint64_t now, next;
	struct holder a, b;
	struct holder opened; /* an open file of the second life */
	struct lm_policy policy;
	uint64_t held, released;
};

static bool slot_pinned(void *context, void *owner, uint32_t slot)
{
	return ((struct holder *)owner)->pins[slot] != 0;
}
static void slot_recall(void *context, void *owner, uint32_t slot, bool recalled)
{
	((struct holder *)owner)->recall[slot] = recalled;
}
static void slot_fresh(void *context, void *owner, uint32_t slot, bool used_before)
{
	((struct holder *)owner)->pins[slot] = 0;
	((struct holder *)owner)->recall[slot] = false;
}
static void slot_split(void *context, void *owner, uint32_t from, uint32_t to)
{
}
static void slot_free(void *context, void *owner, uint32_t slot)
{
	((struct holder *)owner)->leases[slot].lease = 0;
}
static void ready(void *context, void *owner)
{
}
static void verdict(void *context, void *operation, struct lm_change *change, int v)
{
	struct op *op = operation;

	assert_int_equal(op->verdict, 1);
	op->verdict = v;
}
static void signal_holder(void *context, void *owner, int number)
{
}
static void on_conflict(void *context, const struct lm_conflict *c)
{
}
static void hold(void *context, uint32_t region, uint64_t offset, uint64_t length)
{
	((struct world *)context)->held += length;
}
static void release(void *context, uint32_t region, uint64_t offset, uint64_t length)
{
	((struct world *)context)->released += length;
}
static void *inode_used(void *context, uint64_t ino)
{
	return NULL;
}
static void inode_idle(void *context, void *inode_owner)
{
}
static void session_gone(void *context, void *owner)
{
	((struct holder *)owner)->gone = true;
}
static void persist(void *context, void *owner, const struct lm_lease_record *r)
{
	((struct holder *)owner)->leases[SLOT(r->lease)] = *r;
}
static void pin_moved(void *context, void *owner, uint64_t pin, uint64_t lease)
{
	((struct holder *)owner)->range_pins[SLOT(pin)].lease = lease;
}
static void pin_gone(void *context, void *owner, uint64_t pin)
{
	((struct holder *)owner)->range_pins[SLOT(pin)].pin = 0;
}

static const struct lm_ops ops = {.slot_pinned = slot_pinned,
	.slot_recall = slot_recall,
	.slot_fresh = slot_fresh,
	.slot_split = slot_split,
	.slot_free = slot_free,
	.ready = ready,
	.verdict = verdict,
	.signal_holder = signal_holder,
	.conflict = on_conflict,
	.hold = hold,
	.release = release,
	.inode_used = inode_used,
	.inode_idle = inode_idle,
	.session_gone = session_gone,
	.persist = persist,
	.pin_moved = pin_moved,
	.pin_gone = pin_gone};

static void create(struct world *w)
{
	struct lm_config config = {.ops = &ops,
		.context = w,
		.seed = 1,
		.first_id = w->next,
		.drain_ns = LM_DRAIN_NS_DEFAULT,
		.check = true};

	assert_int_equal(lm_create(&config, &w->lm), 0);
}

static void open_session(struct world *w, struct holder *h, uint32_t pid)
{
	h->pid = pid;
	assert_int_equal(lm_session_open(w->lm, pid, 1000, h, &h->session), 0);
	h->number = lm_session_id(h->session);
}

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	w->now = 1;
	create(w);
	assert_int_equal(lm_policy_parse("recall:500ms/busy", &w->policy), 0);
	open_session(w, &w->a, 100);
	open_session(w, &w->b, 200);
	*state = w;
	return 0;
}
static int teardown(void **state)
{
	struct world *w = *state;

	lm_check(w->lm);
	lm_destroy(w->lm);
	free(w);
	return 0;
}

static void restore(struct world *w, struct holder *h)
{
	assert_int_equal(lm_session_restore(w->lm, h->number, h->pid, 1000, h, &h->session), 0);
	for (int i = 0; i < SLOTS; i++)
		if (h->leases[i].lease)
			assert_int_equal(
				lm_lease_restore(h->session, &h->leases[i], h->recall[i], w->now),
				0);
	for (int i = 0; i < SLOTS; i++) {
		const struct pin_record *p = &h->range_pins[i];

		if (p->pin)
			assert_int_equal(lm_pin_restore(h->session, p->pin, p->lease, p->start,
						 p->end, p->flags),
				0);
	}
	lm_session_restored(h->session);
}

/* The daemon is killed, and another one starts. */
static void restart(struct world *w)
{
	w->next = lm_next_number(w->lm) + 1000;
	lm_destroy(w->lm);
	create(w);
	restore(w, &w->a);
	restore(w, &w->b);
	assert_int_equal(lm_grace_begin(w->lm, w->now + GRACE_NS, w->now), 0);
}

/* The client opens the new control file; its lines are those of old. */
static void adopt(struct world *w, struct holder *h)
{
	assert_true(lm_session_is_inherited(h->session));
	lm_session_adopt(h->session, h->pid, h, w->now);
	assert_false(lm_session_is_inherited(h->session));
}

static int reclaim(struct world *w, struct holder *h, uint64_t lease)
{
	return lm_reclaim(h->session, &lease, w->now);
}

static int try_grant(struct world *w, struct holder *h, uint64_t start, uint64_t end,
	enum lm_mode mode, unsigned flags, struct lm_grant *out)
{
	struct lm_grant_request r = {.ino = INO,
		.start = start,
		.end = end,
		.mode = mode,
		.flags = flags,
		.pid = 1,
		.policy = &w->policy};
	int error = lm_grant(h->session, &r, w->now, out);

	if (!error) {
		h->leases[SLOT(out->lease)] = (struct lm_lease_record){.lease = out->lease,
			.ino = INO,
			.start = start,
			.end = end,
			.mode = mode,
			.flags = flags & LM_GRANT_EXCLUSIVE ? LM_LEASE_EXCLUSIVE : 0};
		lm_grant_done(h->session, out->lease, true, w->now);
	}
	return error;
}
static struct lm_grant grant(struct world *w, struct holder *h, uint64_t start, uint64_t end)
{
	struct lm_grant g;

	assert_int_equal(try_grant(w, h, start, end, LM_WRITE, 0, &g), 0);
	return g;
}
static uint64_t pin(struct world *w, struct holder *h, uint64_t lease, uint64_t start, uint64_t end,
	unsigned flags)
{
	uint64_t id;

	assert_int_equal(lm_pin(h->session, lease, start, end, flags, &id), 0);
	h->range_pins[SLOT(id)] = (struct pin_record){id, lease, start, end, flags};
	return id;
}
static int begin_as(struct world *w, struct op *op, uint64_t start, uint64_t end, uint32_t pid)
{
	struct lm_change_request r = {.ino = INO,
		.start = start,
		.end = end,
		.kind = LM_FREE,
		.pid = pid,
		.operation = "truncate",
		.policy = &w->policy};

	op->verdict = 1;
	return lm_change_begin(w->lm, &r, op, w->now, &op->change);
}
static int begin(struct world *w, struct op *op, uint64_t start, uint64_t end)
{
	return begin_as(w, op, start, end, 300);
}
static void pass(struct world *w, uint64_t ns)
{
	w->now += ns;
	lm_tick(w->lm, w->now);
}
static struct lm_event expect(struct holder *h, uint32_t kind)
{
	struct lm_event e;

	assert_true(lm_event_next(h->session, &e));
	assert_int_equal(e.kind, kind);
	return e;
}
static void expect_nothing(struct holder *h)
{
	assert_false(lm_event_waiting(h->session));
}
static struct lm_status status(struct world *w)
{
	struct lm_status s;

	lm_get_status(w->lm, &s);
	return s;
}

/* ---- reclaiming ------------------------------------------------------------------------------ */

static void a_reclaimed_lease_keeps_id_slot_and_range(void **state)
{
	struct world *w = *state;
	struct lm_grant g = grant(w, &w->a, 4096, 12288);
	struct lm_lease_info info;

	restart(w);
	adopt(w, &w->a);
	assert_int_equal(lm_lease_info(w->a.session, g.lease, &info), 0);
	assert_true(info.flags & LM_LEASE_INHERITED);
	assert_int_equal(reclaim(w, &w->a, g.lease), 0);
	assert_int_equal(lm_lease_info(w->a.session, g.lease, &info), 0);
	assert_int_equal(info.flags, 0);
	assert_int_equal(info.slot, g.slot);
	assert_int_equal(info.start, 4096);
	assert_int_equal(info.end, 12288);
	assert_int_equal(info.mode, LM_WRITE);
	assert_int_equal(lm_grace_end(w->lm), 0);
	assert_int_equal(reclaim(w, &w->a, g.lease), 0); /* again: nothing */
}

static void an_unknown_or_returned_lease_is_enoent(void **state)
{
	struct world *w = *state;
	struct lm_grant g = grant(w, &w->a, 0, 4096), other = grant(w, &w->b, 0, 4096), rest;

	assert_int_equal(lm_return(w->a.session, g.lease, 0, 0, w->now, &rest), 0);
	grant(w, &w->a, 8192, 12288); /* in the same slot */
	restart(w);
	adopt(w, &w->a);
	assert_int_equal(reclaim(w, &w->a, g.lease), -ENOENT);
	assert_int_equal(reclaim(w, &w->a, other.lease), -ENOENT);
	assert_int_equal(reclaim(w, &w->a, UINT64_MAX), -ENOENT);
}

static void lease_0_finds_all_of_them_one_by_one(void **state)
{
	struct world *w = *state;
	struct lm_grant g = grant(w, &w->a, 0, 65536), rest;
	uint64_t found[3] = {0};

	grant(w, &w->a, 65536, 131072);
	assert_int_equal(lm_return(w->a.session, g.lease, 8192, 16384, w->now, &rest), 0);
	restart(w);
	adopt(w, &w->a);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(lm_session_inherited(w->a.session), 3 - i);
		assert_int_equal(lm_reclaim(w->a.session, &found[i], w->now), 0);
	}
	assert_true(found[0] != found[1] && found[1] != found[2] && found[0] != found[2]);
	assert_int_equal(reclaim(w, &w->a, 0), -ENOENT);
	assert_int_equal(reclaim(w, &w->a, rest.lease), 0);
}

static void calls_on_a_lease_that_is_not_reclaimed_are_enoent(void **state)
{
	struct world *w = *state;
	struct lm_grant g = grant(w, &w->a, 0, 65536), rest;
	uint64_t id;

	restart(w);
	adopt(w, &w->a);
	assert_int_equal(lm_return(w->a.session, g.lease, 0, 0, w->now, &rest), -ENOENT);
	assert_int_equal(lm_downgrade(w->a.session, g.lease, false, w->now), -ENOENT);
	assert_int_equal(lm_commit_begin(w->a.session, g.lease, 0, 4096), -ENOENT);
	assert_int_equal(lm_pin(w->a.session, g.lease, 0, 4096, 0, &id), -ENOENT);
	assert_int_equal(lm_ack(w->a.session, g.lease, w->now), -ENOENT);
	assert_int_equal(reclaim(w, &w->a, g.lease), 0);
	assert_int_equal(lm_return(w->a.session, g.lease, 0, 0, w->now, &rest), 0);
}

static void new_numbers_are_above_all_of_the_earlier_life(void **state)
{
	struct world *w = *state;
	struct lm_grant old = grant(w, &w->a, 0, 4096), new;

	restart(w);
	adopt(w, &w->a);
	assert_int_equal(reclaim(w, &w->a, old.lease), 0);
	new = grant(w, &w->a, 4096, 8192);
	assert_int_not_equal(new.slot, old.slot);
	assert_true(new.lease >> LM_SLOT_BITS > old.lease >> LM_SLOT_BITS);
	open_session(w, &w->opened, 900);
	assert_true(w->opened.number > w->b.number);
}

/* ---- in the way ------------------------------------------------------------------------------ */

static void a_change_waits_for_the_reclaim_and_then_as_long_as_its_ladder(void **state)
{
	struct world *w = *state;
	struct lm_grant g = grant(w, &w->a, 0, 65536), rest;
	struct op op;

	restart(w);
	assert_int_equal(begin(w, &op, 0, 65536), LM_PARKED);
	assert_true(w->a.recall[g.slot]);
	pass(w, 3000 * MS);
	assert_int_equal(op.verdict, 1);
	adopt(w, &w->a);
	assert_int_equal(reclaim(w, &w->a, g.lease), 0);
	assert_int_equal(op.verdict, 1);
	assert_int_equal(expect(&w->a, LM_EVENT_RECALL).deadline_ns, w->now + 500 * MS);
	expect_nothing(&w->a);
	pass(w, 400 * MS);
	assert_int_equal(op.verdict, 1);
	assert_int_equal(lm_return(w->a.session, g.lease, 0, 0, w->now, &rest), 0);
	assert_int_equal(op.verdict, 0);
	lm_change_end(op.change, w->now);
}

static void a_pin_of_the_earlier_life_makes_it_busy(void **state)
{
	struct world *w = *state;
	struct lm_grant g = grant(w, &w->a, 0, 65536);
	uint64_t id = pin(w, &w->a, g.lease, 0, 4096, 0);
	struct op op;

	restart(w);
	assert_int_equal(begin(w, &op, 0, 65536), LM_PARKED);
	adopt(w, &w->a);
	assert_int_equal(reclaim(w, &w->a, g.lease), 0);
	pass(w, 500 * MS);
	assert_int_equal(op.verdict, -EBUSY);
	assert_int_equal(lm_unpin(w->a.session, id, w->now), 0);
	assert_int_equal(lm_unpin(w->a.session, id, w->now), -ENOENT);
}

static void an_unbreakable_pin_of_the_earlier_life_fails_it_at_once(void **state)
{
	struct world *w = *state;
	struct lm_grant g = grant(w, &w->a, 0, 65536);
	struct op op;

	pin(w, &w->a, g.lease, 0, 4096, LM_PIN_UNBREAKABLE);
	restart(w);
	assert_int_equal(begin(w, &op, 0, 65536), -EBUSY);
}

static void a_waiting_change_can_be_interrupted(void **state)
{
	struct world *w = *state;
	struct lm_grant g = grant(w, &w->a, 0, 65536);
	struct op op;

	restart(w);
	assert_int_equal(begin(w, &op, 0, 65536), LM_PARKED);
	assert_int_equal(lm_change_interrupt(op.change, w->now), 0);
	assert_false(w->a.recall[g.slot]);
	adopt(w, &w->a);
	assert_int_equal(reclaim(w, &w->a, g.lease), 0);
	expect_nothing(&w->a);
}

static void a_conflicting_lease_is_available_when_grace_is_over(void **state)
{
	struct world *w = *state;
	struct lm_grant g;

	grant(w, &w->a, 0, 65536);
	restart(w);
	open_session(w, &w->opened, 900);
	assert_int_equal(
		try_grant(w, &w->opened, 0, 4096, LM_WRITE, LM_GRANT_EXCLUSIVE, &g), -EAGAIN);
	assert_int_equal(try_grant(w, &w->opened, 65536, 69632, LM_WRITE, 0, &g), 0);
	pass(w, GRACE_NS);
	while (lm_event_waiting(w->opened.session))
		expect(&w->opened, LM_EVENT_AVAILABLE);
	assert_int_equal(try_grant(w, &w->opened, 0, 4096, LM_WRITE, LM_GRANT_EXCLUSIVE, &g), 0);
}

static void a_lease_that_shares_is_granted_during_grace(void **state)
{
	struct world *w = *state;
	struct lm_grant g;

	grant(w, &w->a, 0, 65536);
	restart(w);
	open_session(w, &w->opened, 900);
	assert_int_equal(try_grant(w, &w->opened, 0, 4096, LM_WRITE, 0, &g), 0);
}

static void its_own_process_trims_at_once_and_reclaims_the_rest(void **state)
{
	struct world *w = *state;
	struct lm_grant g = grant(w, &w->a, 0, 65536);
	struct lm_event e;
	struct op op;

	restart(w);
	assert_int_equal(begin_as(w, &op, 8192, 16384, 100), 0);
	lm_change_end(op.change, w->now);
	adopt(w, &w->a);
	e = expect(&w->a, LM_EVENT_REVOKED);
	assert_int_equal(e.origin, g.lease);
	assert_int_equal(e.start, 8192);
	assert_int_equal(reclaim(w, &w->a, g.lease), 0);
	assert_int_equal(reclaim(w, &w->a, e.rest), 0);
	assert_int_equal(reclaim(w, &w->a, 0), -ENOENT);
}

/* ---- not reclaimed --------------------------------------------------------------------------- */

static void the_end_of_grace_revokes_what_was_not_reclaimed(void **state)
{
	struct world *w = *state;
	struct lm_grant g = grant(w, &w->a, 0, 65536), kept = grant(w, &w->b, 65536, 131072);
	struct op op;

	w->a.pins[g.slot] = 1; /* pinned or not: it is in nobody's way */
	restart(w);
	adopt(w, &w->b);
	assert_int_equal(reclaim(w, &w->b, kept.lease), 0);
	assert_int_equal(begin(w, &op, 0, 65536), LM_PARKED);
	pass(w, GRACE_NS - 1);
	assert_int_equal(op.verdict, 1);
	pass(w, 1);
	assert_int_equal(op.verdict, 0);
	lm_freeing(w->lm, INO, 0, 65536, 0, 1 << 20);
	lm_change_end(op.change, w->now);
	assert_int_equal(w->held, 65536);
	assert_int_equal(status(w).grace_revoked, 1);
	assert_int_equal(status(w).leases, 1);
	/* The client comes late: nothing to reclaim, something to acknowledge. */
	adopt(w, &w->a);
	assert_int_equal(reclaim(w, &w->a, g.lease), -ESTALE);
	assert_int_equal(expect(&w->a, LM_EVENT_REVOKED).lease, g.lease);
	assert_int_equal(lm_ack(w->a.session, g.lease, w->now), -EBUSY);
	w->a.pins[g.slot] = 0;
	assert_int_equal(w->released, 0);
	assert_int_equal(lm_ack(w->a.session, g.lease, w->now), 0);
	assert_int_equal(w->released, 65536);
}

static void an_adopted_session_is_told_of_what_it_did_not_reclaim(void **state)
{
	struct world *w = *state;
	struct lm_grant one = grant(w, &w->a, 0, 4096), two = grant(w, &w->a, 4096, 8192);

	restart(w);
	adopt(w, &w->a);
	assert_int_equal(reclaim(w, &w->a, one.lease), 0);
	pass(w, GRACE_NS);
	assert_int_equal(expect(&w->a, LM_EVENT_REVOKED).lease, two.lease);
	expect_nothing(&w->a);
	assert_int_equal(reclaim(w, &w->a, two.lease), -ESTALE);
}

static void grace_ends_early_when_the_last_process_is_gone(void **state)
{
	struct world *w = *state;
	struct op op;

	grant(w, &w->a, 0, 65536);
	restart(w);
	assert_int_equal(begin(w, &op, 0, 65536), LM_PARKED);
	lm_session_process_gone(w->a.session, w->now);
	assert_int_equal(op.verdict, 0); /* nobody can reclaim it */
	assert_int_equal(lm_grace_end(w->lm), 0);
	lm_freeing(w->lm, INO, 0, 65536, 0, 1 << 20);
	lm_change_end(op.change, w->now);
	assert_false(w->a.gone);
	pass(w, LM_DRAIN_NS_DEFAULT - 1); /* unpinned, but nobody knows since when it is dead */
	assert_int_equal(w->released, 0);
	pass(w, 1);
	assert_int_equal(w->released, 65536);
	assert_true(w->a.gone);
}

static void a_ghost_is_told_of_again(void **state)
{
	struct world *w = *state;
	struct lm_grant g = grant(w, &w->a, 0, 65536);
	struct lm_event e;
	struct op op;

	assert_int_equal(begin(w, &op, 16384, 65536), LM_PARKED);
	pass(w, 500 * MS);
	assert_int_equal(op.verdict, 0);
	lm_change_end(op.change, w->now);
	e = expect(&w->a, LM_EVENT_REVOKED);
	restart(w);
	assert_int_equal(lm_hold_restore(w->a.session, e.lease, 0, 1 << 20, 49152), 0);
	adopt(w, &w->a);
	assert_int_equal(reclaim(w, &w->a, g.lease), 0);
	assert_int_equal(expect(&w->a, LM_EVENT_REVOKED).lease, e.lease);
	assert_int_equal(w->held, 49152);
	assert_int_equal(lm_ack(w->a.session, e.lease, w->now), 0);
	assert_int_equal(w->released, 49152);
}

static void a_recall_that_ended_with_the_daemon_is_cancelled(void **state)
{
	struct world *w = *state;
	struct lm_grant g = grant(w, &w->a, 0, 65536);
	struct op op;

	assert_int_equal(begin(w, &op, 0, 65536), LM_PARKED);
	expect(&w->a, LM_EVENT_RECALL);
	restart(w);
	assert_false(w->a.recall[g.slot]);
	adopt(w, &w->a);
	assert_int_equal(reclaim(w, &w->a, g.lease), 0);
	expect(&w->a, LM_EVENT_RECALL_CANCELLED);
	expect_nothing(&w->a);
}

static void a_read_lease_is_asked_to_look_at_its_layout(void **state)
{
	struct world *w = *state;
	struct lm_grant g;

	assert_int_equal(try_grant(w, &w->a, 0, 65536, LM_READ, 0, &g), 0);
	restart(w);
	adopt(w, &w->a);
	assert_int_equal(reclaim(w, &w->a, g.lease), 0);
	expect(&w->a, LM_EVENT_LAYOUT_CHANGED);
}

static void closing_an_adopted_session_revokes_the_rest(void **state)
{
	struct world *w = *state;

	grant(w, &w->a, 0, 4096);
	grant(w, &w->a, 4096, 8192);
	restart(w);
	adopt(w, &w->a);
	assert_int_equal(reclaim(w, &w->a, 0), 0);
	lm_session_close(w->a.session, w->now);
	assert_int_equal(status(w).ghosts, 2);
	assert_int_equal(lm_grace_end(w->lm), 0);
	lm_session_process_gone(w->a.session, w->now);
	assert_true(w->a.gone);
}

static void an_administrator_releases_an_inherited_session(void **state)
{
	struct world *w = *state;

	grant(w, &w->a, 0, 4096);
	restart(w);
	assert_int_equal(lm_session_release(w->a.session, w->now), 0);
	assert_true(w->a.gone);
	assert_int_equal(lm_grace_end(w->lm), 0);
}

/* ---- damaged records ------------------------------------------------------------------------- */

static void records_that_contradict_themselves_are_refused(void **state)
{
	struct world *w = *state;
	struct lm_session *s, *t;
	struct lm_lease_record r = {.lease = 5ull << LM_SLOT_BITS,
		.ino = INO,
		.end = 4096,
		.mode = LM_WRITE,
		.flags = LM_LEASE_EXCLUSIVE};
	struct lm_lease_record bad;

	lm_destroy(w->lm);
	w->next = 100;
	create(w);
	assert_int_equal(lm_session_restore(w->lm, 0, 1, 1, &w->a, &s), -EUCLEAN);
	assert_int_equal(lm_session_restore(w->lm, 100, 1, 1, &w->a, &s), -EUCLEAN);
	assert_int_equal(lm_session_restore(w->lm, 3, 1, 1, &w->a, &s), 0);
	assert_int_equal(lm_session_restore(w->lm, 3, 1, 1, &w->a, &t), -EUCLEAN);
	assert_int_equal(lm_lease_restore(s, &r, false, w->now), 0);
	assert_int_equal(lm_lease_restore(s, &r, false, w->now), -EUCLEAN); /* the slot */
	bad = r, bad.lease = (100ull << LM_SLOT_BITS) + 1;
	assert_int_equal(lm_lease_restore(s, &bad, false, w->now), -EUCLEAN);
	bad = r, bad.lease++, bad.end = 0;
	assert_int_equal(lm_lease_restore(s, &bad, false, w->now), -EUCLEAN);
	bad = r, bad.lease++, bad.mode = 3;
	assert_int_equal(lm_lease_restore(s, &bad, false, w->now), -EUCLEAN);
	bad = r, bad.lease++, bad.flags = LM_LEASE_PINNED;
	assert_int_equal(lm_lease_restore(s, &bad, false, w->now), -EUCLEAN);
	bad = r, bad.lease++, bad.ino = 0;
	assert_int_equal(lm_lease_restore(s, &bad, false, w->now), -EUCLEAN);
	bad.flags = LM_LEASE_REVOKED;
	assert_int_equal(lm_lease_restore(s, &bad, false, w->now), 0);
	assert_int_equal(lm_pin_restore(s, 7ull << LM_SLOT_BITS, r.lease, 0, 8192, 0), -ENOENT);
	assert_int_equal(lm_pin_restore(s, 7ull << LM_SLOT_BITS, r.lease, 0, 4096, 2), -EUCLEAN);
	assert_int_equal(lm_pin_restore(s, 7ull << LM_SLOT_BITS, 1, 0, 4096, 0), -ENOENT);
	assert_int_equal(lm_pin_restore(s, 7ull << LM_SLOT_BITS, r.lease, 0, 4096, 0), 0);
	assert_int_equal(lm_hold_restore(s, 12345, 0, 0, 4096), -EUCLEAN);
	lm_session_restored(s);
	assert_int_equal(lm_session_restore(w->lm, 4, 1, 1, &w->b, &t), 0);
	bad = r, bad.lease += 2;
	assert_int_equal(lm_lease_restore(t, &bad, false, w->now), -EUCLEAN); /* exclusive */
	lm_session_restored(t);
	assert_int_equal(lm_grace_begin(w->lm, w->now + 1, w->now), 0);
	pass(w, 1);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_reclaimed_lease_keeps_id_slot_and_range),
		T(an_unknown_or_returned_lease_is_enoent),
		T(lease_0_finds_all_of_them_one_by_one),
		T(calls_on_a_lease_that_is_not_reclaimed_are_enoent),
		T(new_numbers_are_above_all_of_the_earlier_life),
		T(a_change_waits_for_the_reclaim_and_then_as_long_as_its_ladder),
		T(a_pin_of_the_earlier_life_makes_it_busy),
		T(an_unbreakable_pin_of_the_earlier_life_fails_it_at_once),
		T(a_waiting_change_can_be_interrupted),
		T(a_conflicting_lease_is_available_when_grace_is_over),
		T(a_lease_that_shares_is_granted_during_grace),
		T(its_own_process_trims_at_once_and_reclaims_the_rest),
		T(the_end_of_grace_revokes_what_was_not_reclaimed),
		T(an_adopted_session_is_told_of_what_it_did_not_reclaim),
		T(grace_ends_early_when_the_last_process_is_gone),
		T(a_ghost_is_told_of_again),
		T(a_recall_that_ended_with_the_daemon_is_cancelled),
		T(a_read_lease_is_asked_to_look_at_its_layout),
		T(closing_an_adopted_session_revokes_the_rest),
		T(an_administrator_releases_an_inherited_session),
		T(records_that_contradict_themselves_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
