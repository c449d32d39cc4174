// SPDX-License-Identifier: BSD-2-Clause
/*
 * test_leasemgr.c - arbitration by hand: every row of the state tables in leasemgr.h.
 */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "leasemgr_world.h"

static int count_leases_of(struct world *w, uint64_t ino)
{
	struct lm_cursor at = {0};
	struct lm_lease_info info;
	int n = 0;

	while (lm_next_lease_of(w->lm, ino, &at, &info)) {
		assert_int_equal(info.ino, ino);
		n++;
	}
	return n;
}

/* ---- leases ---------------------------------------------------------------------------------- */

static void change_without_leases_goes_on_at_once(void **state)
{
	struct world *w = *state;
	struct op op;

	assert_int_equal(begin(w, &op, 0, UINT64_MAX), 0);
	lm_change_end(op.change, w->now);
	assert_int_equal(w->inodes, 0);
}

static void leases_share_unless_exclusive(void **state)
{
	struct world *w = *state;
	struct lm_grant x, y;

	grant(w, &w->a, 0, M);
	grant(w, &w->b, 0, M);
	assert_int_equal(try_grant(w, &w->a, 2 * M, 3 * M, LM_READ, LM_GRANT_EXCLUSIVE, &x), 0);
	assert_int_equal(try_grant(w, &w->b, 2 * M, 3 * M, LM_READ, 0, &y), -EAGAIN);
	expect(&w->a, LM_EVENT_RECALL);
	assert_int_equal(give_back(w, &w->a, x.lease, 0, 0), 0);
	expect(&w->b, LM_EVENT_AVAILABLE);
	assert_int_equal(try_grant(w, &w->b, 2 * M, 3 * M, LM_READ, 0, &y), 0);
	assert_int_equal(w->inodes, 1);
}

static void unpinned_exclusive_lease_is_revoked_for_a_want(void **state)
{
	struct world *w = *state;
	struct lm_grant x, y;

	assert_int_equal(try_grant(w, &w->a, 0, M, LM_WRITE, LM_GRANT_EXCLUSIVE, &x), 0);
	assert_int_equal(try_grant(w, &w->b, 0, M, LM_READ, 0, &y), -EAGAIN);
	assert_int_equal(try_grant(w, &w->b, 0, M, LM_READ, 0, &y), -EAGAIN);
	expect(&w->a, LM_EVENT_RECALL);
	pass(w, 500 * MS);
	expect(&w->a, LM_EVENT_REVOKED);
	expect(&w->b, LM_EVENT_AVAILABLE);
	expect_nothing(&w->b);
	assert_int_equal(try_grant(w, &w->b, 0, M, LM_READ, 0, &y), 0);
	assert_int_equal(lm_ack(w->a.session, x.lease, w->now), 0);
}

static void want_turns_passive_when_pins_outlast_the_recall(void **state)
{
	struct world *w = *state;
	struct lm_grant x, y;

	assert_int_equal(try_grant(w, &w->a, 0, M, LM_WRITE, LM_GRANT_EXCLUSIVE, &x), 0);
	w->a.pins[x.slot] = 1;
	assert_int_equal(try_grant(w, &w->b, 0, M, LM_READ, 0, &y), -EAGAIN);
	expect(&w->a, LM_EVENT_RECALL);
	pass(w, 500 * MS);
	expect(&w->a, LM_EVENT_RECALL_CANCELLED);
	assert_false(w->a.recall[x.slot]);
	w->a.pins[x.slot] = 0;
	assert_int_equal(lm_unpinned(w->a.session, x.lease, w->now), 0);
	expect_nothing(&w->b);
	assert_int_equal(give_back(w, &w->a, x.lease, 0, 0), 0);
	expect(&w->b, LM_EVENT_AVAILABLE);
}

static void returning_the_middle_leaves_two(void **state)
{
	struct world *w = *state;
	struct lm_grant g = grant(w, &w->a, 0, 3 * M), rest;
	struct lm_lease_info info;
	uint64_t pin;

	assert_int_equal(lm_pin(w->a.session, g.lease, 2 * M, 2 * M + 4 * K, 0, &pin), 0);
	assert_int_equal(lm_return(w->a.session, g.lease, M, 2 * M, w->now, &rest), 0);
	assert_int_not_equal(rest.lease, 0);
	assert_int_equal(lm_lease_info(w->a.session, g.lease, &info), 0);
	assert_int_equal(info.end, M);
	assert_int_equal(info.range_pins, 0);
	assert_int_equal(lm_lease_info(w->a.session, rest.lease, &info), 0);
	assert_int_equal(info.start, 2 * M);
	assert_int_equal(info.end, 3 * M);
	assert_int_equal(info.range_pins, 1);
	assert_int_equal(give_back(w, &w->a, rest.lease, 0, 0), -EBUSY);
	assert_int_equal(give_back(w, &w->a, rest.lease, 2 * M + 4 * K, 3 * M), 0);
	assert_int_equal(give_back(w, &w->a, rest.lease, 2 * M + 4 * K, 3 * M), -EINVAL);
	assert_int_equal(lm_unpin(w->a.session, pin, w->now), 0);
	assert_int_equal(count_leases_of(w, 7), 2);
	assert_int_equal(count_leases_of(w, 8), 0);
	assert_int_equal(give_back(w, &w->a, rest.lease, 0, 0), 0);
	assert_int_equal(give_back(w, &w->a, rest.lease, 0, 0), -ENOENT);
}

static void foreign_and_stale_ids_are_refused(void **state)
{
	struct world *w = *state;
	struct lm_grant g = grant(w, &w->a, 0, M), again;
	uint64_t pin;

	assert_int_equal(give_back(w, &w->b, g.lease, 0, 0), -ENOENT);
	assert_int_equal(lm_pin(w->b.session, g.lease, 0, K, 0, &pin), -ENOENT);
	assert_int_equal(lm_ack(w->a.session, g.lease, w->now), -ENOENT);
	assert_int_equal(give_back(w, &w->a, g.lease, 0, 0), 0);
	again = grant(w, &w->a, 0, M);
	assert_int_equal(again.slot, g.slot);
	assert_int_equal(give_back(w, &w->a, g.lease, 0, 0), -ENOENT);
	assert_int_equal(lm_unpin(w->a.session, ~0ull, w->now), -ENOENT);
	assert_int_equal(give_back(w, &w->a, ~0ull, 0, 0), -ENOENT);
}

/* ---- changes --------------------------------------------------------------------------------- */

static void truncate_completes_on_return(void **state)
{
	struct world *w = *state;
	struct lm_grant g = grant(w, &w->a, 0, M);
	struct lm_event e;
	struct op op;

	assert_int_equal(begin(w, &op, 4 * K, UINT64_MAX), LM_PARKED);
	e = expect(&w->a, LM_EVENT_RECALL);
	assert_int_equal(e.start, 4 * K);
	assert_int_equal(e.end, M);
	assert_int_equal(e.pid, 300);
	assert_int_equal(e.deadline_ns, w->now + 500 * MS);
	assert_true(w->a.recall[g.slot]);
	assert_int_equal(give_back(w, &w->a, g.lease, 4 * K, M), 0);
	assert_int_equal(op.verdict, 0);
	expect(&w->a, LM_EVENT_RECALL_CANCELLED); /* what is left is whole */
	assert_false(w->a.recall[g.slot]);
	lm_change_end(op.change, w->now);
}

static void recall_timeout_revokes_unpinned_lease(void **state)
{
	struct world *w = *state;
	struct lm_grant g = grant(w, &w->a, 0, M);
	struct lm_event e;
	struct op op;

	assert_int_equal(begin(w, &op, 256 * K, 512 * K), LM_PARKED);
	pass(w, 499 * MS);
	assert_int_equal(op.verdict, 1);
	pass(w, MS);
	assert_int_equal(op.verdict, 0);
	lm_freeing(w->lm, 7, 256 * K, 512 * K, 3, 10 * M);
	lm_change_end(op.change, w->now);
	assert_int_equal(w->held, 256 * K);
	e = expect(&w->a, LM_EVENT_REVOKED);
	assert_int_equal(e.origin, g.lease);
	assert_int_not_equal(e.rest, 0);
	assert_int_equal(e.start, 256 * K);
	assert_int_equal(e.end, 512 * K);
	/* New blocks at the same place are not the old mapping's. */
	lm_freeing(w->lm, 7, 256 * K, 512 * K, 3, 20 * M);
	assert_int_equal(w->held, 256 * K);
	assert_int_equal(w->released, 0);
	assert_int_equal(lm_ack(w->a.session, e.lease, w->now), 0);
	assert_int_equal(w->released, 256 * K);
	assert_int_equal(give_back(w, &w->a, e.rest, 0, 0), 0);
	assert_int_equal(give_back(w, &w->a, g.lease, 0, 0), 0);
}

static void pinned_at_the_deadline_is_busy_and_the_lease_whole_again(void **state)
{
	struct world *w = *state;
	struct lm_grant g = grant(w, &w->a, 0, M);
	struct op op;

	w->a.pins[g.slot] = 2;
	assert_int_equal(begin(w, &op, 4 * K, UINT64_MAX), LM_PARKED);
	expect(&w->a, LM_EVENT_RECALL);
	pass(w, 500 * MS);
	assert_int_equal(op.verdict, -EBUSY);
	assert_int_equal(w->conflict.holder_pid, 100);
	assert_int_equal(w->conflict.lease, g.lease);
	assert_int_equal(w->conflict.waited_ns, 500 * MS);
	expect(&w->a, LM_EVENT_RECALL_CANCELLED);
	assert_false(w->a.recall[g.slot]);
	expect_nothing(&w->a);
	assert_int_equal(give_back(w, &w->a, g.lease, 0, 0), -EBUSY);
	w->a.pins[g.slot] = 0;
	assert_int_equal(give_back(w, &w->a, g.lease, 0, 0), 0);
	assert_int_equal(begin(w, &op, 4 * K, UINT64_MAX), 0);
	lm_change_end(op.change, w->now);
}

static void pin_outside_of_what_is_freed_only_delays(void **state)
{
	struct world *w = *state;
	struct lm_grant g = grant(w, &w->a, 0, M);
	struct lm_lease_info info;
	struct op op;
	uint64_t pin;

	assert_int_equal(lm_pin(w->a.session, g.lease, 0, 4 * K, 0, &pin), 0);
	assert_int_equal(begin(w, &op, 4 * K, UINT64_MAX), LM_PARKED);
	pass(w, 500 * MS);
	assert_int_equal(op.verdict, 0);
	lm_change_end(op.change, w->now);
	assert_int_equal(lm_lease_info(w->a.session, g.lease, &info), 0);
	assert_int_equal(info.end, 4 * K);
	assert_int_equal(info.range_pins, 1);
}

static void unbreakable_pin_fails_at_once_and_is_told(void **state)
{
	struct world *w = *state;
	struct lm_grant g = grant(w, &w->a, 0, M);
	struct lm_event e;
	struct op op;
	uint64_t pin;

	assert_int_equal(lm_pin(w->a.session, g.lease, 0, 8 * K, LM_PIN_UNBREAKABLE, &pin), 0);
	assert_int_equal(begin(w, &op, 4 * K, UINT64_MAX), -EBUSY);
	assert_true(w->conflict.unbreakable);
	e = expect(&w->a, LM_EVENT_RECALL);
	assert_int_equal(e.flags, LM_EVENT_ADVISORY);
	expect_nothing(&w->a);
	assert_int_equal(begin(w, &op, 8 * K, UINT64_MAX), LM_PARKED);
	assert_int_equal(lm_change_interrupt(op.change, w->now), 0);
}

static void no_pin_under_a_recall(void **state)
{
	struct world *w = *state;
	struct lm_grant g = grant(w, &w->a, 0, M);
	struct op op;
	uint64_t pin;

	assert_int_equal(begin(w, &op, 4 * K, UINT64_MAX), LM_PARKED);
	assert_int_equal(lm_pin(w->a.session, g.lease, 0, K, 0, &pin), -EAGAIN);
	assert_int_equal(lm_change_interrupt(op.change, w->now), 0);
	assert_int_equal(lm_pin(w->a.session, g.lease, 0, K, 0, &pin), 0);
	assert_true(lm_is_write_leased(w->lm, 7));
	assert_int_equal(lm_unpin(w->a.session, pin, w->now), 0);
	assert_int_equal(lm_downgrade(w->a.session, g.lease, true, w->now), 0);
	assert_false(lm_is_write_leased(w->lm, 7));
}

static void interrupt_cancels_the_recall_unless_another_needs_it(void **state)
{
	struct world *w = *state;
	struct lm_grant g = grant(w, &w->a, 0, M);
	struct op one, two;

	assert_int_equal(begin(w, &one, 0, M), LM_PARKED);
	assert_int_equal(begin(w, &two, 512 * K, M), LM_PARKED);
	expect(&w->a, LM_EVENT_RECALL);
	expect_nothing(&w->a);
	assert_int_equal(lm_change_interrupt(one.change, w->now), 0);
	assert_int_equal(one.verdict, 1);
	assert_true(w->a.recall[g.slot]);
	expect_nothing(&w->a);
	assert_int_equal(lm_change_interrupt(two.change, w->now), 0);
	assert_false(w->a.recall[g.slot]);
	expect(&w->a, LM_EVENT_RECALL_CANCELLED);
}

static void recall_that_is_over_unread_is_never_seen(void **state)
{
	struct world *w = *state;
	struct op op;

	grant(w, &w->a, 0, M);
	assert_int_equal(begin(w, &op, 0, M), LM_PARKED);
	assert_int_equal(lm_change_interrupt(op.change, w->now), 0);
	expect_nothing(&w->a);
}

static void no_grant_while_a_recall_is_pending_or_the_change_runs(void **state)
{
	struct world *w = *state;
	struct lm_grant g = grant(w, &w->a, 0, M), h;
	struct op op;

	assert_int_equal(begin(w, &op, 0, M), LM_PARKED);
	assert_int_equal(try_grant(w, &w->b, 0, M, LM_READ, 0, &h), -EAGAIN);
	assert_int_equal(give_back(w, &w->a, g.lease, 0, 0), 0);
	assert_int_equal(op.verdict, 0);
	expect_nothing(&w->b);
	assert_int_equal(try_grant(w, &w->b, 0, M, LM_READ, 0, &h), -EAGAIN);
	lm_change_end(op.change, w->now);
	expect(&w->b, LM_EVENT_AVAILABLE);
	assert_int_equal(try_grant(w, &w->b, 0, M, LM_READ, 0, &h), 0);
}

static void lease_being_made_holds_the_change_up_past_its_deadline(void **state)
{
	struct world *w = *state;
	struct lm_grant_request r = {
		.ino = 7, .start = 0, .end = M, .mode = LM_WRITE, .pid = 1, .policy = &w->policy};
	struct lm_grant g;
	struct op op;

	assert_int_equal(lm_grant(w->a.session, &r, w->now, &g), 0);
	assert_int_equal(begin(w, &op, 0, M), LM_PARKED);
	expect_nothing(&w->a);
	pass(w, 600 * MS);
	assert_int_equal(op.verdict, 1);
	lm_grant_done(w->a.session, g.lease, true, w->now);
	assert_int_equal(op.verdict, 0);
	lm_change_end(op.change, w->now);
	expect(&w->a, LM_EVENT_REVOKED);
}

static void failed_grant_lets_the_change_go_on(void **state)
{
	struct world *w = *state;
	struct lm_grant_request r = {
		.ino = 7, .start = 0, .end = M, .mode = LM_WRITE, .pid = 1, .policy = &w->policy};
	struct lm_grant g;
	struct op op;

	assert_int_equal(lm_grant(w->a.session, &r, w->now, &g), 0);
	assert_int_equal(begin(w, &op, 0, M), LM_PARKED);
	lm_grant_done(w->a.session, g.lease, false, w->now);
	assert_int_equal(op.verdict, 0);
	expect_nothing(&w->a);
	lm_change_end(op.change, w->now);
	assert_int_equal(w->inodes, 0);
}

static void commit_and_change_exclude_each_other(void **state)
{
	struct world *w = *state;
	struct lm_grant g = grant(w, &w->a, 0, M);
	struct op op;

	assert_int_equal(begin(w, &op, 0, M), LM_PARKED);
	assert_int_equal(lm_commit_begin(w->a.session, g.lease, 0, M), 0);
	assert_int_equal(give_back(w, &w->a, g.lease, 0, 0), -EBUSY);
	pass(w, 500 * MS);
	assert_int_equal(op.verdict, 1);
	lm_commit_end(w->a.session, g.lease, w->now);
	assert_int_equal(op.verdict, 0);
	assert_int_equal(lm_commit_begin(w->a.session, g.lease, 0, M), -ENOENT);
	lm_change_end(op.change, w->now);
}

static void overwrite_and_fill_meet_exclusive_leases_alone(void **state)
{
	struct world *w = *state;
	struct lm_grant x, y;
	struct op op;

	assert_int_equal(try_grant(w, &w->a, 0, M, LM_READ, 0, &x), 0);
	assert_int_equal(begin_as(w, &op, LM_FILL, 0, M, 300), 0);
	lm_change_end(op.change, w->now);
	expect(&w->a, LM_EVENT_LAYOUT_CHANGED);
	assert_int_equal(give_back(w, &w->a, x.lease, 0, 0), 0);
	assert_int_equal(try_grant(w, &w->a, 0, M, LM_WRITE, LM_GRANT_EXCLUSIVE, &y), 0);
	assert_int_equal(begin_as(w, &op, LM_OVERWRITE, 0, 1, 100), 0);
	lm_change_end(op.change, w->now);
	assert_int_equal(begin_as(w, &op, LM_OVERWRITE, 0, 1, 300), LM_PARKED);
	pass(w, 500 * MS);
	assert_int_equal(op.verdict, 0);
	lm_change_end(op.change, w->now);
}

static void own_process_trims_its_lease_at_once(void **state)
{
	struct world *w = *state;
	struct lm_grant g = grant(w, &w->a, 0, M);
	struct lm_event e;
	struct op op;

	assert_int_equal(begin_as(w, &op, LM_FREE, 512 * K, UINT64_MAX, 100), 0);
	lm_change_end(op.change, w->now);
	e = expect(&w->a, LM_EVENT_REVOKED);
	assert_int_equal(e.flags, LM_EVENT_OWN);
	assert_int_equal(e.start, 512 * K);
	w->a.pins[g.slot] = 1;
	assert_int_equal(begin_as(w, &op, LM_FREE, 0, UINT64_MAX, 100), -EBUSY);
	assert_true(w->conflict.own);
}

static void ladder_signals_kills_and_orphans(void **state)
{
	struct world *w = *state;
	struct lm_grant g = grant(w, &w->a, 0, M);
	struct op op;

	policy(w, "recall:1s/signal=SIGBUS:500ms/kill:500ms/orphan");
	w->a.pins[g.slot] = 1;
	assert_int_equal(begin(w, &op, 512 * K, M), LM_PARKED);
	pass(w, 1000 * MS);
	assert_int_equal(w->a.signal, SIGBUS);
	pass(w, 500 * MS);
	assert_int_equal(w->a.signal, SIGKILL);
	assert_int_equal(op.verdict, 1);
	pass(w, 500 * MS);
	assert_int_equal(op.verdict, 0);
	lm_freeing(w->lm, 7, 512 * K, M, 0, 0);
	lm_change_end(op.change, w->now);
	assert_int_equal(w->held, 512 * K);
	assert_int_equal(lm_ack(w->a.session, g.lease, w->now), -EBUSY);
	w->a.pins[g.slot] = 0;
	assert_int_equal(lm_ack(w->a.session, g.lease, w->now), 0);
	assert_int_equal(w->released, 512 * K);
}

static void unpin_after_the_recalls_time_lets_go(void **state)
{
	struct world *w = *state;
	struct lm_grant g = grant(w, &w->a, 0, M);
	struct op op;
	uint64_t pin;

	policy(w, "recall:1s/wait");
	assert_int_equal(lm_pin(w->a.session, g.lease, 0, M, 0, &pin), 0);
	assert_int_equal(begin(w, &op, 0, M), LM_PARKED);
	expect(&w->a, LM_EVENT_RECALL);
	pass(w, 1000 * MS);
	pass(w, 1000 * MS);
	expect(&w->a, LM_EVENT_RECALL); /* told again */
	pass(w, 3600000 * MS);
	assert_int_equal(op.verdict, 1);
	assert_int_equal(lm_unpin(w->a.session, pin, w->now), 0);
	assert_int_equal(op.verdict, 0);
	lm_change_end(op.change, w->now);
}

static void wait_alone_never_revokes(void **state)
{
	struct world *w = *state;
	struct lm_grant g = grant(w, &w->a, 0, M);
	struct op op;

	policy(w, "wait");
	assert_int_equal(begin(w, &op, 0, M), LM_PARKED);
	pass(w, 3600000 * MS);
	assert_int_equal(op.verdict, 1);
	assert_int_equal(give_back(w, &w->a, g.lease, 0, 0), 0);
	assert_int_equal(op.verdict, 0);
	lm_change_end(op.change, w->now);
}

static void busy_alone_gives_no_time(void **state)
{
	struct world *w = *state;
	struct lm_grant g = grant(w, &w->a, 0, M);
	struct op op;

	policy(w, "busy");
	w->a.pins[g.slot] = 1;
	assert_int_equal(begin(w, &op, 0, M), -EBUSY);
	expect_nothing(&w->a);
	w->a.pins[g.slot] = 0;
	assert_int_equal(begin(w, &op, 0, M), 0);
	lm_change_end(op.change, w->now);
	expect(&w->a, LM_EVENT_REVOKED);
}

/* ---- everybody ------------------------------------------------------------------------------- */

static void drain_refuses_leases_and_tells_everybody(void **state)
{
	struct world *w = *state;
	struct lm_grant g;

	lm_drain(w->lm);
	expect(&w->a, LM_EVENT_DRAIN);
	expect(&w->b, LM_EVENT_DRAIN);
	assert_int_equal(try_grant(w, &w->a, 0, M, LM_READ, 0, &g), -ESHUTDOWN);
}

static void ready_is_told_once(void **state)
{
	struct world *w = *state;
	struct op op;

	grant(w, &w->a, 0, M);
	grant(w, &w->a, M, 2 * M);
	assert_int_equal(begin(w, &op, 0, 2 * M), LM_PARKED);
	assert_int_equal(w->a.told, 1);
	expect(&w->a, LM_EVENT_RECALL);
	expect(&w->a, LM_EVENT_RECALL);
	expect_nothing(&w->a);
	pass(w, 500 * MS);
	assert_int_equal(w->a.told, 2);
	lm_change_end(op.change, w->now);
}

static void sessions_are_bounded_by_user(void **state)
{
	struct world *w = *state;
	struct holder *many = calloc(LM_SESSIONS_PER_USER_MAX, sizeof(*many));
	struct holder other = {0};
	unsigned n = 0;
	int error;

	while (!(error = lm_session_open(w->lm, 9, 55, &many[n], &many[n].session)))
		n++;
	assert_int_equal(error, -EMFILE);
	assert_int_equal(n, LM_SESSIONS_PER_USER_MAX);
	assert_int_equal(lm_session_open(w->lm, 9, 56, &other, &other.session), 0);
	while (n > 0)
		lm_session_close(many[--n].session, w->now);
	lm_session_close(other.session, w->now);
	free(many);
}

static void thousands_of_changes_are_decided_by_one_return(void **state)
{
	struct world *w = *state;
	struct lm_config config = {.ops = &world_ops, .context = w, .seed = 5};
	enum { N = 10000 };
	struct op *op = calloc(N, sizeof(*op));
	struct lm_grant g;
	struct lm *checked = w->lm;
	struct holder h = {0}, *kept = &h;

	assert_int_equal(lm_create(&config, &w->lm), 0);
	assert_int_equal(lm_session_open(w->lm, 100, 1000, kept, &kept->session), 0);
	g = grant(w, kept, 0, M);
	for (int i = 0; i < N; i++)
		assert_int_equal(begin(w, &op[i], 0, M), LM_PARKED);
	assert_int_equal(give_back(w, kept, g.lease, 0, 0), 0);
	for (int i = 0; i < N; i++) {
		assert_int_equal(op[i].verdict, 0);
		lm_change_end(op[i].change, w->now);
	}
	lm_check(w->lm);
	lm_destroy(w->lm);
	w->lm = checked;
	free(op);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WORLD_TEST(change_without_leases_goes_on_at_once),
		WORLD_TEST(leases_share_unless_exclusive),
		WORLD_TEST(unpinned_exclusive_lease_is_revoked_for_a_want),
		WORLD_TEST(want_turns_passive_when_pins_outlast_the_recall),
		WORLD_TEST(returning_the_middle_leaves_two),
		WORLD_TEST(foreign_and_stale_ids_are_refused),
		WORLD_TEST(truncate_completes_on_return),
		WORLD_TEST(recall_timeout_revokes_unpinned_lease),
		WORLD_TEST(pinned_at_the_deadline_is_busy_and_the_lease_whole_again),
		WORLD_TEST(pin_outside_of_what_is_freed_only_delays),
		WORLD_TEST(unbreakable_pin_fails_at_once_and_is_told),
		WORLD_TEST(no_pin_under_a_recall),
		WORLD_TEST(interrupt_cancels_the_recall_unless_another_needs_it),
		WORLD_TEST(recall_that_is_over_unread_is_never_seen),
		WORLD_TEST(no_grant_while_a_recall_is_pending_or_the_change_runs),
		WORLD_TEST(lease_being_made_holds_the_change_up_past_its_deadline),
		WORLD_TEST(failed_grant_lets_the_change_go_on),
		WORLD_TEST(commit_and_change_exclude_each_other),
		WORLD_TEST(overwrite_and_fill_meet_exclusive_leases_alone),
		WORLD_TEST(own_process_trims_its_lease_at_once),
		WORLD_TEST(ladder_signals_kills_and_orphans),
		WORLD_TEST(unpin_after_the_recalls_time_lets_go),
		WORLD_TEST(wait_alone_never_revokes),
		WORLD_TEST(busy_alone_gives_no_time),
		WORLD_TEST(drain_refuses_leases_and_tells_everybody),
		WORLD_TEST(ready_is_told_once),
		WORLD_TEST(sessions_are_bounded_by_user),
		WORLD_TEST(thousands_of_changes_are_decided_by_one_return),
	};

	return cmocka_run_group_tests_name("leasemgr", tests, NULL, NULL);
}
