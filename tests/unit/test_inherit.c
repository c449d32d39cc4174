// SPDX-License-Identifier: BSD-2-Clause
/*
 * test_inherit.c - leasemgr's second life: what ops->persist wrote down is put back, waited for,
 * reclaimed, or given up.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "leasemgr_world.h"

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

/* The reader that took it may have died with it. */
static void available_is_told_again_until_it_is_asked_for(void **state)
{
	struct world *w = *state;
	struct lm_grant first = grant(w, &w->a, 0, 4096), g;
	struct lm_event e;

	assert_int_equal(try_grant(w, &w->b, 0, 4096, LM_WRITE, LM_GRANT_EXCLUSIVE, &g), -EAGAIN);
	assert_int_equal(give_back(w, &w->a, first.lease, 0, 0), 0);
	expect(&w->b, LM_EVENT_AVAILABLE);
	for (int i = 0; i < 2; i++) {
		assert_false(lm_event_waiting(w->b.session));
		lm_session_tell_again(w->b.session);
		e = expect(&w->b, LM_EVENT_AVAILABLE);
		assert_int_equal(e.end, 4096);
		assert_true(lm_session_is_empty(w->b.session));
	}
	assert_int_equal(try_grant(w, &w->b, 0, 4096, LM_WRITE, LM_GRANT_EXCLUSIVE, &g), 0);
	lm_session_tell_again(w->b.session);
	assert_false(lm_event_waiting(w->b.session));
}

/* They are remembered only while there is room for what is asked now. */
static void remembered_events_make_room_for_new_requests(void **state)
{
	struct world *w = *state;
	struct lm_grant first, g;

	for (uint64_t i = 0; i <= LM_WANTS_PER_SESSION_MAX; i++) {
		first = grant(w, &w->a, i * 4096, (i + 1) * 4096);
		assert_int_equal(try_grant(w, &w->b, i * 4096, (i + 1) * 4096, LM_WRITE,
					 LM_GRANT_EXCLUSIVE, &g),
			-EAGAIN);
		assert_int_equal(give_back(w, &w->a, first.lease, 0, 0), 0);
		expect(&w->b, LM_EVENT_AVAILABLE);
	}
	lm_session_tell_again(w->b.session);
	for (uint64_t i = 0; i < LM_WANTS_PER_SESSION_MAX; i++)
		assert_int_not_equal(expect(&w->b, LM_EVENT_AVAILABLE).start, 0); /* the oldest */
	assert_false(lm_event_waiting(w->b.session));
}

/* Or else nobody who has as many as one may have could open one to adopt them with. */
static void inherited_sessions_take_nobodys_place(void **state)
{
	struct holder *many = calloc(LM_SESSIONS_PER_USER_MAX, sizeof(*many)), *last = NULL;
	struct world *w = *state;
	struct holder other = {0};

	grant(w, &w->a, 0, 4096);
	grant(w, &w->b, 0, 4096);
	restart(w);
	for (unsigned i = 0; i < LM_SESSIONS_PER_USER_MAX; i++)
		open_session(w, last = &many[i], 1000 + i);
	assert_int_equal(lm_session_open(w->lm, 3, 1000, &other, &other.session), -EMFILE);
	lm_session_close(last->session, w->now); /* as the empty one of who adopts is */
	adopt(w, &w->a);
	assert_int_equal(lm_session_open(w->lm, 3, 1000, &other, &other.session), -EMFILE);
	for (unsigned i = 0; i + 1 < LM_SESSIONS_PER_USER_MAX; i++)
		lm_session_close(many[i].session, w->now);
	free(many);
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
	assert_int_equal(begin_as(w, &op, LM_FREE, 8192, 16384, 100), 0);
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
	create_manager(w);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		WORLD_TEST(a_reclaimed_lease_keeps_id_slot_and_range),
		WORLD_TEST(an_unknown_or_returned_lease_is_enoent),
		WORLD_TEST(lease_0_finds_all_of_them_one_by_one),
		WORLD_TEST(calls_on_a_lease_that_is_not_reclaimed_are_enoent),
		WORLD_TEST(new_numbers_are_above_all_of_the_earlier_life),
		WORLD_TEST(a_change_waits_for_the_reclaim_and_then_as_long_as_its_ladder),
		WORLD_TEST(a_pin_of_the_earlier_life_makes_it_busy),
		WORLD_TEST(an_unbreakable_pin_of_the_earlier_life_fails_it_at_once),
		WORLD_TEST(a_waiting_change_can_be_interrupted),
		WORLD_TEST(a_conflicting_lease_is_available_when_grace_is_over),
		WORLD_TEST(available_is_told_again_until_it_is_asked_for),
		WORLD_TEST(remembered_events_make_room_for_new_requests),
		WORLD_TEST(inherited_sessions_take_nobodys_place),
		WORLD_TEST(a_lease_that_shares_is_granted_during_grace),
		WORLD_TEST(its_own_process_trims_at_once_and_reclaims_the_rest),
		WORLD_TEST(the_end_of_grace_revokes_what_was_not_reclaimed),
		WORLD_TEST(an_adopted_session_is_told_of_what_it_did_not_reclaim),
		WORLD_TEST(grace_ends_early_when_the_last_process_is_gone),
		WORLD_TEST(a_ghost_is_told_of_again),
		WORLD_TEST(a_recall_that_ended_with_the_daemon_is_cancelled),
		WORLD_TEST(a_read_lease_is_asked_to_look_at_its_layout),
		WORLD_TEST(closing_an_adopted_session_revokes_the_rest),
		WORLD_TEST(an_administrator_releases_an_inherited_session),
		WORLD_TEST(records_that_contradict_themselves_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
