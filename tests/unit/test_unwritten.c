// SPDX-License-Identifier: BSD-2-Clause
/*
 * test_unwritten.c - leasemgr when records are refused: what is written down covers what is, at any
 * number of writes that still have room; see L11 of leasemgr.h.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "leasemgr_world.h"

#define DEADLINE (500 * MS)

/* Is that byte in a record of the session, and of a ghost if need be? */
static bool is_covered(const struct holder *h, uint64_t at, bool as_ghost)
{
	for (int i = 0; i < SLOTS; i++) {
		const struct lm_lease_record *r = &h->leases[i];

		if (r->lease && r->start <= at && at < r->end &&
			(!as_ghost || (r->flags & LM_LEASE_REVOKED)))
			return true;
	}
	return false;
}

static int count_records(const struct holder *h)
{
	int n = 0;

	for (int i = 0; i < SLOTS; i++)
		n += h->leases[i].lease != 0;
	return n;
}

static struct lm_lease_info info_of(struct holder *h, uint64_t lease)
{
	struct lm_lease_info info;

	assert_int_equal(lm_lease_info(h->session, lease, &info), 0);
	return info;
}

static void expect_whole(struct holder *h, struct lm_grant g, uint64_t start, uint64_t end)
{
	struct lm_lease_info info = info_of(h, g.lease);

	assert_int_equal(info.flags, 0);
	assert_int_equal(info.start, start);
	assert_int_equal(info.end, end);
	assert_false(h->recall[g.slot]);
	assert_int_equal(h->leases[g.slot].lease, g.lease);
	assert_int_equal(h->leases[g.slot].flags, 0);
	assert_int_equal(h->leases[g.slot].start, start);
	assert_int_equal(h->leases[g.slot].end, end);
	assert_int_equal(count_records(h), 1);
}

/* [16 K, 32 K) of [0, 64 K): a copy and a record for the ghost and for what is behind it. */
static void a_cut_that_is_not_written_down_fails_the_change(void **state)
{
	struct world *w = *state;
	struct lm_grant g = grant(w, &w->a, 0, 64 * K);
	struct op op;
	int room = 0;

	for (;; room++) {
		assert_int_equal(begin(w, &op, 16 * K, 32 * K), LM_PARKED);
		expect(&w->a, LM_EVENT_RECALL);
		w->room = room;
		pass(w, DEADLINE);
		w->room = -1;
		if (op.verdict == 0)
			break;
		assert_int_equal(op.verdict, -EIO);
		expect_whole(&w->a, g, 0, 64 * K);
		expect(&w->a, LM_EVENT_RECALL_CANCELLED);
		expect_nothing(&w->a);
		assert_int_equal(status(w).parked, 0);
	}
	assert_int_equal(room, 5);
	for (uint64_t at = 0; at < 64 * K; at += 4 * K)
		assert_true(is_covered(&w->a, at, at >= 16 * K && at < 32 * K));
	lm_freeing(w->lm, INO, 16 * K, 32 * K, 0, M);
	lm_freed(w->lm, INO, true);
	lm_change_end(op.change, w->now);
	assert_int_equal(w->held, 16 * K);
}

static void a_whole_lease_that_is_not_written_down_is_not_revoked(void **state)
{
	struct world *w = *state;
	struct lm_grant g = grant(w, &w->a, 0, 64 * K);
	struct op op;

	assert_int_equal(begin(w, &op, 0, 64 * K), LM_PARKED);
	expect(&w->a, LM_EVENT_RECALL);
	w->room = 0;
	pass(w, DEADLINE);
	assert_int_equal(op.verdict, -EIO);
	expect_whole(&w->a, g, 0, 64 * K);
	w->room = -1;
	assert_int_equal(begin(w, &op, 0, 64 * K), LM_PARKED);
	pass(w, DEADLINE);
	assert_int_equal(op.verdict, 0);
	assert_true(is_covered(&w->a, 0, true));
	lm_change_end(op.change, w->now);
}

static void own_change_over_what_is_not_written_down_fails_at_once(void **state)
{
	struct world *w = *state;
	struct lm_grant g = grant(w, &w->a, 0, 64 * K);
	struct op op;

	w->room = 0;
	assert_int_equal(begin_as(w, &op, LM_FREE, 0, 64 * K, w->a.pid), -EIO);
	expect_whole(&w->a, g, 0, 64 * K);
	expect_nothing(&w->a);
}

static void orphaning_is_written_down_or_not_done(void **state)
{
	struct world *w = *state;
	struct lm_grant g = grant(w, &w->a, 0, 64 * K);
	struct op op;

	policy(w, "recall:500ms/orphan");
	w->a.pins[g.slot] = 1;
	assert_int_equal(begin(w, &op, 0, 4 * K), LM_PARKED);
	w->room = 0;
	pass(w, DEADLINE);
	assert_int_equal(op.verdict, -EIO);
	assert_int_equal(info_of(&w->a, g.lease).flags & LM_LEASE_REVOKED, 0);
	w->a.pins[g.slot] = 0;
}

/* Those before it are revoked, and told so; it, and those behind it, are whole. */
static void the_first_that_is_refused_is_the_last_that_is_tried(void **state)
{
	struct world *w = *state;
	struct lm_grant first = grant(w, &w->a, 0, 4 * K), second = grant(w, &w->b, 4 * K, 8 * K),
			third = grant(w, &w->a, 8 * K, 12 * K);
	struct op op;

	assert_int_equal(begin(w, &op, 0, 12 * K), LM_PARKED);
	w->room = 1;
	pass(w, DEADLINE);
	assert_int_equal(op.verdict, -EIO);
	assert_int_equal(info_of(&w->a, first.lease).flags, LM_LEASE_REVOKED);
	assert_int_equal(info_of(&w->b, second.lease).flags, 0);
	assert_int_equal(info_of(&w->a, third.lease).flags, 0);
	assert_true(is_covered(&w->a, 0, true));
	w->room = -1;
	assert_int_equal(begin(w, &op, 0, 12 * K), LM_PARKED);
	pass(w, DEADLINE);
	assert_int_equal(op.verdict, 0);
	lm_change_end(op.change, w->now);
}

static void a_return_that_is_not_written_down_is_refused(void **state)
{
	struct world *w = *state;
	struct lm_grant g = grant(w, &w->a, 0, 64 * K);
	int room = 0, error;

	for (;; room++) {
		w->room = room;
		error = give_back(w, &w->a, g.lease, 16 * K, 32 * K);
		w->room = -1;
		if (!error)
			break;
		assert_int_equal(error, -EIO);
		expect_whole(&w->a, g, 0, 64 * K);
	}
	assert_int_equal(room, 3);
	assert_int_equal(count_records(&w->a), 2);
	w->room = 0;
	assert_int_equal(give_back(w, &w->a, g.lease, 0, 4 * K), -EIO);
	assert_int_equal(give_back(w, &w->a, g.lease, 0, 0), 0); /* all of it needs no room */
}

static void a_downgrade_that_is_not_written_down_is_refused(void **state)
{
	struct world *w = *state;
	struct lm_grant g, other;

	assert_int_equal(try_grant(w, &w->a, 0, 4 * K, LM_WRITE, LM_GRANT_EXCLUSIVE, &g), 0);
	w->room = 0;
	assert_int_equal(lm_downgrade(w->a.session, g.lease, true, w->now), -EIO);
	assert_int_equal(info_of(&w->a, g.lease).mode, LM_WRITE);
	assert_int_equal(info_of(&w->a, g.lease).flags, LM_LEASE_EXCLUSIVE);
	w->room = -1;
	assert_int_equal(lm_downgrade(w->a.session, g.lease, true, w->now), 0);
	assert_int_equal(try_grant(w, &w->b, 0, 4 * K, LM_READ, 0, &other), 0);
	restart(w); /* the two records contradict each other in nothing */
}

/* A session's end cannot be refused: what it leaves is written down before anything is freed. */
static void nothing_is_freed_under_a_ghost_that_is_not_written_down(void **state)
{
	struct world *w = *state;
	struct lm_grant g = grant(w, &w->a, 0, 64 * K);
	struct op op;

	w->room = 0;
	lm_session_close(w->a.session, w->now);
	assert_int_equal(status(w).unwritten, 1);
	assert_false(is_covered(&w->a, 0, true));
	assert_int_equal(begin(w, &op, 4 * K, 8 * K), -EIO);
	assert_int_equal(lm_change_try(w->lm,
				 &(struct lm_change_request){.ino = INO,
					 .start = 4 * K,
					 .end = 8 * K,
					 .kind = LM_FREE,
					 .pid = 300,
					 .operation = "test"},
				 &op, &op.change),
		-EAGAIN);
	assert_int_equal(begin_as(w, &op, LM_MOVE, 4 * K, 8 * K, 300), -EIO);
	assert_int_equal(begin(w, &op, 64 * K, 68 * K), 0); /* beside it */
	lm_change_end(op.change, w->now);
	assert_int_equal(begin_as(w, &op, LM_FILL, 0, 64 * K, 300), 0); /* frees nothing */
	lm_change_end(op.change, w->now);
	w->room = -1;
	assert_int_equal(begin(w, &op, 4 * K, 8 * K), 0);
	assert_int_equal(status(w).unwritten, 0);
	assert_true(w->a.leases[g.slot].flags & LM_LEASE_REVOKED);
	lm_freeing(w->lm, INO, 4 * K, 8 * K, 0, M);
	lm_freed(w->lm, INO, true);
	lm_change_end(op.change, w->now);
	assert_int_equal(w->held, 4 * K);
}

/* Its record still says that it is exclusive: the next daemon would find two such. */
static void nothing_is_granted_over_a_ghost_that_is_not_written_down(void **state)
{
	struct world *w = *state;
	struct lm_grant g;

	assert_int_equal(try_grant(w, &w->a, 0, 64 * K, LM_WRITE, LM_GRANT_EXCLUSIVE, &g), 0);
	w->room = 0;
	lm_session_close(w->a.session, w->now);
	assert_int_equal(try_grant(w, &w->b, 0, 4 * K, LM_READ, LM_GRANT_EXCLUSIVE, &g), -EIO);
	assert_int_equal(status(w).wants, 0);
	w->room = -1;
	assert_int_equal(try_grant(w, &w->b, 0, 4 * K, LM_READ, LM_GRANT_EXCLUSIVE, &g), 0);
	restart(w);
	assert_int_equal(status(w).leases, 1);
	assert_int_equal(status(w).ghosts, 1);
}

static void an_unwritten_ghost_that_ends_is_counted_no_more(void **state)
{
	struct world *w = *state;

	grant(w, &w->a, 0, 64 * K);
	w->room = 0;
	lm_session_close(w->a.session, w->now);
	lm_session_process_gone(w->a.session, w->now);
	assert_true(w->a.gone);
	assert_int_equal(status(w).unwritten, 0);
}

/* Another lease that waits for it waits on; it comes when the holder gives way by itself. */
static void a_want_waits_for_what_cannot_be_revoked(void **state)
{
	struct world *w = *state;
	struct lm_grant g = grant(w, &w->a, 0, 64 * K), other;

	assert_int_equal(
		try_grant(w, &w->b, 0, 4 * K, LM_WRITE, LM_GRANT_EXCLUSIVE, &other), -EAGAIN);
	w->room = 0;
	pass(w, DEADLINE);
	expect_whole(&w->a, g, 0, 64 * K);
	expect_nothing(&w->b);
	w->room = -1;
	assert_int_equal(give_back(w, &w->a, g.lease, 0, 0), 0);
	expect(&w->b, LM_EVENT_AVAILABLE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WORLD_TEST(a_cut_that_is_not_written_down_fails_the_change),
		WORLD_TEST(a_whole_lease_that_is_not_written_down_is_not_revoked),
		WORLD_TEST(own_change_over_what_is_not_written_down_fails_at_once),
		WORLD_TEST(orphaning_is_written_down_or_not_done),
		WORLD_TEST(the_first_that_is_refused_is_the_last_that_is_tried),
		WORLD_TEST(a_return_that_is_not_written_down_is_refused),
		WORLD_TEST(a_downgrade_that_is_not_written_down_is_refused),
		WORLD_TEST(nothing_is_freed_under_a_ghost_that_is_not_written_down),
		WORLD_TEST(nothing_is_granted_over_a_ghost_that_is_not_written_down),
		WORLD_TEST(an_unwritten_ghost_that_ends_is_counted_no_more),
		WORLD_TEST(a_want_waits_for_what_cannot_be_revoked),
	};

	return cmocka_run_group_tests_name("unwritten", tests, NULL, NULL);
}
