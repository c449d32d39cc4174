// SPDX-License-Identifier: BSD-2-Clause
/* test_quarantine.c - leasemgr: how holders end, and for how long what they had is kept back. */
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

static void dead_holder_delays_nobody_and_its_pins_drain(void **state)
{
	struct world *w = *state;
	struct lm_grant g = grant(w, &w->a, 0, M);
	struct op op;

	grant(w, &w->a, 2 * M, 3 * M);
	w->a.pins[g.slot] = 1;
	assert_int_equal(begin(w, &op, 0, 4 * M), LM_PARKED);
	lm_session_process_gone(w->a.session, w->now);
	assert_int_equal(op.verdict, 1);
	lm_session_close(w->a.session, w->now);
	assert_int_equal(op.verdict, 0);
	lm_freeing(w->lm, 7, 0, 4 * M, 0, 0);
	lm_change_end(op.change, w->now);
	assert_int_equal(w->held, M);
	pass(w, LM_DRAIN_NS_DEFAULT - 1);
	assert_int_equal(w->released, 0);
	assert_false(w->a.gone);
	pass(w, 1);
	assert_int_equal(w->released, M);
	assert_true(w->a.gone);
}

static void closed_session_of_a_live_process_keeps_its_blocks(void **state)
{
	struct world *w = *state;
	struct op op;

	grant(w, &w->a, 0, M);
	lm_session_close(w->a.session, w->now);
	assert_false(w->a.gone);
	assert_int_equal(begin(w, &op, 0, M), 0);
	lm_freeing(w->lm, 7, 0, M, 0, 0);
	lm_change_end(op.change, w->now);
	pass(w, 3600000 * MS);
	assert_int_equal(w->released, 0);
	lm_session_process_gone(w->a.session, w->now);
	assert_int_equal(w->released, M);
	assert_true(w->a.gone);
}

static void freeing_that_was_not_committed_holds_nothing(void **state)
{
	struct world *w = *state;
	struct op op;

	grant(w, &w->a, 0, M);
	lm_session_close(w->a.session, w->now);
	assert_int_equal(begin(w, &op, 0, M), 0);
	lm_freeing(w->lm, 7, 0, 512 * K, 0, 0);
	lm_freeing(w->lm, 7, 512 * K, M, 0, 4 * M);
	assert_int_equal(w->held, M);
	lm_freed(w->lm, 7, false);
	assert_int_equal(w->released, M);
	lm_change_end(op.change, w->now);

	/* The mapping is of the file's blocks as before: those are held when they do go. */
	assert_int_equal(begin(w, &op, 0, M), 0);
	lm_freeing(w->lm, 7, 0, M, 0, 0);
	lm_freed(w->lm, 8, false); /* another file's */
	lm_freed(w->lm, 7, true);
	lm_freed(w->lm, 7, false); /* nothing is open any more */
	lm_change_end(op.change, w->now);
	assert_int_equal(w->held, 2 * M);
	assert_int_equal(w->released, M);
	lm_session_process_gone(w->a.session, w->now);
	assert_int_equal(w->released, 2 * M);
	assert_true(w->a.gone);
}

/* They stay the file's, and when the change is tried again all is held. */
static void blocks_that_cannot_be_held_are_not_freed(void **state)
{
	struct world *w = *state;
	struct op op;

	grant(w, &w->a, 0, M);
	lm_session_close(w->a.session, w->now);
	assert_int_equal(begin(w, &op, 0, M), 0);
	assert_int_equal(lm_freeing(w->lm, INO, 512 * K, M, 0, 2 * M), 0);
	w->holds_fail = true;
	assert_int_equal(lm_freeing(w->lm, INO, 0, 512 * K, 0, 0), -ENOMEM);
	lm_freed(w->lm, INO, false);
	lm_change_end(op.change, w->now);
	assert_int_equal(w->held, 512 * K);
	assert_int_equal(w->released, 512 * K);
	assert_int_equal(status(w).holds, 0);
	assert_int_equal(status(w).leaked_bytes, 0);
	assert_int_equal(status(w).ghosts, 1); /* still watched */
	w->holds_fail = false;
	assert_int_equal(begin(w, &op, 0, M), 0);
	assert_int_equal(lm_freeing(w->lm, INO, 0, M, 0, 0), 0);
	lm_freed(w->lm, INO, true);
	lm_change_end(op.change, w->now);
	assert_int_equal(status(w).quarantine_bytes, M);
	lm_session_process_gone(w->a.session, w->now);
	assert_int_equal(w->released, M + 512 * K);
}

static void what_was_held_by_the_earlier_life_is_held_or_it_does_not_begin(void **state)
{
	struct world *w = *state;
	struct lm_event e;
	struct op op;

	grant(w, &w->a, 0, M);
	assert_int_equal(begin(w, &op, 0, M), LM_PARKED);
	pass(w, 500 * MS);
	assert_int_equal(op.verdict, 0);
	lm_change_end(op.change, w->now);
	e = expect(&w->a, LM_EVENT_REVOKED);
	restart(w);
	w->holds_fail = true;
	assert_int_equal(lm_hold_restore(w->a.session, e.lease, 0, 0, M), -ENOMEM);
}

static void administrator_releases_a_closed_session(void **state)
{
	struct world *w = *state;

	grant(w, &w->a, 0, M);
	assert_int_equal(lm_session_release(w->a.session, w->now), -EBUSY);
	lm_session_close(w->a.session, w->now);
	assert_int_equal(lm_session_release(w->a.session, w->now), 0);
	assert_true(w->a.gone);
	assert_int_equal(w->inodes, 0);
}

static void blocks_of_two_holders_wait_for_both(void **state)
{
	struct world *w = *state;
	struct lm_event e, f;
	struct op op;

	grant(w, &w->a, 0, M);
	grant(w, &w->b, 512 * K, 2 * M);
	assert_int_equal(begin(w, &op, 0, 2 * M), LM_PARKED);
	pass(w, 500 * MS);
	lm_freeing(w->lm, 7, 0, 2 * M, 0, 0);
	lm_change_end(op.change, w->now);
	assert_int_equal(w->held, 2 * M);
	e = expect(&w->a, LM_EVENT_REVOKED);
	f = expect(&w->b, LM_EVENT_REVOKED);
	assert_int_equal(lm_ack(w->a.session, e.lease, w->now), 0);
	assert_int_equal(w->released, 0);
	assert_int_equal(lm_ack(w->b.session, f.lease, w->now), 0);
	assert_int_equal(w->released, 2 * M);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WORLD_TEST(dead_holder_delays_nobody_and_its_pins_drain),
		WORLD_TEST(closed_session_of_a_live_process_keeps_its_blocks),
		WORLD_TEST(freeing_that_was_not_committed_holds_nothing),
		WORLD_TEST(blocks_that_cannot_be_held_are_not_freed),
		WORLD_TEST(what_was_held_by_the_earlier_life_is_held_or_it_does_not_begin),
		WORLD_TEST(administrator_releases_a_closed_session),
		WORLD_TEST(blocks_of_two_holders_wait_for_both),
	};

	return cmocka_run_group_tests_name("quarantine", tests, NULL, NULL);
}
