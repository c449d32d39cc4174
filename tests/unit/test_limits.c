// SPDX-License-Identifier: BSD-2-Clause
/*
 * test_limits.c - each limit of leasemgr, lowered so that it is soon reached: the error is the one
 * that is told for it, nothing has changed for who gets it nor for others, and there is room again
 * when something is given back. test_leasemgr_limits.c reaches some as they are.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "leasemgr_world.h"

#define DEADLINE (500 * MS)

static int open_as(struct world *w, uint32_t pid, uint32_t uid, struct holder *h)
{
	return lm_session_open(w->lm, pid, uid, h, &h->session);
}

static void end_session(struct world *w, struct holder *h)
{
	lm_session_close(h->session, w->now);
	if (!h->gone)
		lm_session_process_gone(h->session, w->now);
	assert_true(h->gone);
}

/* That it can take, cut and return a lease, and have one recalled, as ever. */
static void expect_served(struct world *w, struct holder *h, uint64_t at)
{
	struct lm_grant g = grant(w, h, at, at + 4 * K);
	struct op op;

	assert_int_equal(begin(w, &op, at, at + 4 * K), LM_PARKED);
	expect(h, LM_EVENT_RECALL);
	assert_int_equal(give_back(w, h, g.lease, 0, 0), 0);
	assert_int_equal(op.verdict, 0);
	lm_change_end(op.change, w->now);
}

/* ---- sessions -------------------------------------------------------------------------------- */

static void sessions_of_the_mount(void **state)
{
	struct world *w = *state;
	struct holder c = {0}, d = {0};

	limit(w, (struct lm_limits){.sessions = 3});
	assert_int_equal(open_as(w, 500, 1001, &c), 0);
	assert_int_equal(open_as(w, 400, 1002, &d), -ENFILE);
	assert_null(d.session);
	assert_int_equal(status(w).sessions, 3);
	expect_served(w, &w->a, 0);
	end_session(w, &c);
	assert_int_equal(open_as(w, 400, 1002, &d), 0);
	expect_served(w, &d, 0);
	end_session(w, &d);
}

static void sessions_of_a_user(void **state)
{
	struct world *w = *state;
	struct holder c = {0}, other = {0};

	limit(w, (struct lm_limits){.sessions_per_user = 2});
	assert_int_equal(open_as(w, 500, 1000, &c), -EMFILE);
	assert_int_equal(open_as(w, 500, 1001, &other), 0);
	expect_served(w, &w->a, 0);
	expect_served(w, &other, 0);
	/* One that is closed counts as long as something of it may still be touched. */
	grant(w, &w->b, 0, 4 * K);
	lm_session_close(w->b.session, w->now);
	assert_false(w->b.gone);
	assert_int_equal(open_as(w, 500, 1000, &c), -EMFILE);
	lm_session_process_gone(w->b.session, w->now);
	assert_true(w->b.gone);
	assert_int_equal(open_as(w, 500, 1000, &c), 0);
	end_session(w, &c);
	end_session(w, &other);
}

/* ---- leases ---------------------------------------------------------------------------------- */

static void leases_of_the_mount(void **state)
{
	struct world *w = *state;
	struct lm_grant mine, other, g, rest;
	struct op op;

	limit(w, (struct lm_limits){.leases = 3});
	mine = grant(w, &w->a, 0, 64 * K);
	grant(w, &w->a, 64 * K, 128 * K);
	other = grant(w, &w->b, 128 * K, 192 * K);
	assert_int_equal(try_grant(w, &w->a, M, 2 * M, LM_WRITE, 0, &g), -ENOLCK);
	assert_int_equal(try_grant(w, &w->b, M, 2 * M, LM_WRITE, 0, &g), -ENOLCK);
	/* Nobody is recalled for what would not be granted. */
	assert_int_equal(try_grant(w, &w->b, 0, 64 * K, LM_WRITE, LM_GRANT_EXCLUSIVE, &g), -ENOLCK);
	expect_nothing(&w->a);
	assert_int_equal(status(w).wants, 0);
	/* A cut is not refused, and counts; so does a ghost. */
	assert_int_equal(lm_return(w->a.session, mine.lease, 16 * K, 32 * K, w->now, &rest), 0);
	assert_int_equal(status(w).leases, 4);
	assert_int_equal(begin(w, &op, 144 * K, 160 * K), LM_PARKED);
	pass(w, DEADLINE);
	assert_int_equal(op.verdict, 0);
	lm_change_end(op.change, w->now);
	assert_int_equal(status(w).leases + status(w).ghosts, 6);
	for (int left = 5; left >= 3; left--) {
		struct holder *h = left == 3 ? &w->b : &w->a;
		uint64_t lease = left == 5 ? rest.lease : left == 4 ? mine.lease : other.lease;

		assert_int_equal(give_back(w, h, lease, 0, 0), 0);
		assert_int_equal(try_grant(w, &w->a, M, 2 * M, LM_WRITE, 0, &g), -ENOLCK);
	}
	assert_int_equal(lm_ack(w->b.session, expect(&w->b, LM_EVENT_REVOKED).lease, w->now), 0);
	assert_int_equal(try_grant(w, &w->a, M, 2 * M, LM_WRITE, 0, &g), 0);
	assert_int_equal(try_grant(w, &w->b, M, 2 * M, LM_WRITE, 0, &g), -ENOLCK);
}

static void leases_of_a_session(void **state)
{
	struct world *w = *state;
	struct lm_grant first, g, rest;

	limit(w, (struct lm_limits){.leases_per_session = 2});
	first = grant(w, &w->a, 0, 64 * K);
	grant(w, &w->a, 64 * K, 128 * K);
	assert_int_equal(try_grant(w, &w->a, M, 2 * M, LM_READ, 0, &g), -ENOLCK);
	expect_served(w, &w->b, 2 * M);
	assert_int_equal(lm_return(w->a.session, first.lease, 16 * K, 32 * K, w->now, &rest), 0);
	assert_int_equal(give_back(w, &w->a, rest.lease, 0, 0), 0);
	assert_int_equal(try_grant(w, &w->a, M, 2 * M, LM_READ, 0, &g), -ENOLCK);
	assert_int_equal(give_back(w, &w->a, first.lease, 0, 0), 0);
	assert_int_equal(try_grant(w, &w->a, M, 2 * M, LM_READ, 0, &g), 0);
}

/* Cuts may leave more than are granted: the next life has to take them all. */
static void more_than_are_granted_are_put_back(void **state)
{
	struct world *w = *state;
	struct lm_grant g, rest;

	limit(w, (struct lm_limits){.leases = 2, .leases_per_session = 1});
	g = grant(w, &w->a, 0, 64 * K);
	grant(w, &w->b, 64 * K, 128 * K);
	assert_int_equal(lm_return(w->a.session, g.lease, 16 * K, 32 * K, w->now, &rest), 0);
	restart(w);
	assert_int_equal(status(w).leases, 3);
	adopt(w, &w->a);
	assert_int_equal(reclaim(w, &w->a, g.lease), 0);
	assert_int_equal(reclaim(w, &w->a, rest.lease), 0);
	assert_int_equal(try_grant(w, &w->a, M, 2 * M, LM_READ, 0, &g), -ENOLCK);
}

/* ---- pins ------------------------------------------------------------------------------------ */

static void range_pins(void **state)
{
	struct world *w = *state;
	struct lm_grant mine, other;
	uint64_t first, id = 0;

	limit(w, (struct lm_limits){.pins = 3, .pins_per_session = 2});
	mine = grant(w, &w->a, 0, 64 * K);
	other = grant(w, &w->b, 0, 64 * K);
	first = pin(w, &w->a, mine.lease, 0, 4 * K, 0);
	pin(w, &w->a, mine.lease, 0, 4 * K, 0);
	assert_int_equal(lm_pin(w->a.session, mine.lease, 0, 4 * K, 0, &id), -ENOLCK);
	pin(w, &w->b, other.lease, 0, 4 * K, 0); /* not its affair */
	assert_int_equal(lm_pin(w->b.session, other.lease, 0, 4 * K, 0, &id), -ENOLCK);
	assert_int_equal(id, 0);
	assert_int_equal(status(w).range_pins, 3);
	assert_int_equal(lm_unpin(w->a.session, first, w->now), 0);
	assert_int_equal(lm_pin(w->b.session, other.lease, 0, 4 * K, 0, &id), 0);
	assert_int_equal(lm_pin(w->a.session, mine.lease, 0, 4 * K, 0, &id), -ENOLCK);
}

/* ---- changes and wants ----------------------------------------------------------------------- */

static void operations_that_wait(void **state)
{
	struct world *w = *state;
	struct lm_grant first, third;
	struct op ops[3], beside;

	limit(w, (struct lm_limits){.parked = 2});
	first = grant(w, &w->a, 0, 4 * K);
	grant(w, &w->a, 4 * K, 8 * K);
	third = grant(w, &w->b, 8 * K, 12 * K);
	assert_int_equal(begin(w, &ops[0], 0, 4 * K), LM_PARKED);
	assert_int_equal(begin(w, &ops[1], 4 * K, 8 * K), LM_PARKED);
	assert_int_equal(begin(w, &ops[2], 8 * K, 12 * K), -EBUSY);
	assert_int_equal(status(w).parked, 2);
	assert_false(w->b.recall[third.slot]);
	expect_nothing(&w->b);
	/* Who waits for nobody goes on. */
	assert_int_equal(begin(w, &beside, 12 * K, 16 * K), 0);
	lm_change_end(beside.change, w->now);
	assert_int_equal(give_back(w, &w->a, first.lease, 0, 0), 0);
	assert_int_equal(ops[0].verdict, 0);
	lm_change_end(ops[0].change, w->now);
	assert_int_equal(begin(w, &ops[2], 8 * K, 12 * K), LM_PARKED);
	expect(&w->b, LM_EVENT_RECALL);
	assert_int_equal(begin(w, &ops[0], 8 * K, 12 * K), -EBUSY);
	assert_int_equal(lm_change_interrupt(ops[1].change, w->now), 0);
	assert_int_equal(begin(w, &ops[0], 8 * K, 12 * K), LM_PARKED);
	assert_int_equal(lm_change_interrupt(ops[0].change, w->now), 0);
	assert_int_equal(lm_change_interrupt(ops[2].change, w->now), 0);
}

static void unanswered_requests_of_a_session(void **state)
{
	struct world *w = *state;
	struct lm_grant mine[3], g;
	struct holder c = {0};

	limit(w, (struct lm_limits){.wants_per_session = 2});
	open_session(w, &c, 500);
	for (uint64_t i = 0; i < 3; i++)
		assert_int_equal(try_grant(w, &w->a, i * 4 * K, (i + 1) * 4 * K, LM_WRITE,
					 LM_GRANT_EXCLUSIVE, &mine[i]),
			0);
	assert_int_equal(try_grant(w, &w->b, 0, 4 * K, LM_READ, 0, &g), -EAGAIN);
	assert_int_equal(try_grant(w, &w->b, 4 * K, 8 * K, LM_READ, 0, &g), -EAGAIN);
	assert_int_equal(try_grant(w, &w->b, 8 * K, 12 * K, LM_READ, 0, &g), -ENOBUFS);
	assert_false(w->a.recall[mine[2].slot]);
	assert_int_equal(try_grant(w, &w->b, 0, 4 * K, LM_READ, 0, &g), -EAGAIN); /* again */
	assert_int_equal(try_grant(w, &w->b, M, 2 * M, LM_READ, 0, &g), 0);       /* no want */
	assert_int_equal(try_grant(w, &c, 8 * K, 12 * K, LM_READ, 0, &g), -EAGAIN);
	assert_true(w->a.recall[mine[2].slot]);
	/* What was answered and read makes room. */
	assert_int_equal(give_back(w, &w->a, mine[0].lease, 0, 0), 0);
	expect(&w->b, LM_EVENT_AVAILABLE);
	assert_int_equal(try_grant(w, &w->b, 8 * K, 12 * K, LM_READ, 0, &g), -EAGAIN);
	assert_int_equal(try_grant(w, &w->b, 12 * K, 16 * K, LM_READ, 0, &g), 0);
	end_session(w, &c);
}

/* ---- quarantine ------------------------------------------------------------------------------ */

static void release_at(struct world *w, uint64_t start, uint64_t end)
{
	struct op op;

	assert_int_equal(begin(w, &op, start, end), 0);
	lm_freeing(w->lm, INO, start, end, 0, M + start);
	lm_freed(w->lm, INO, true);
	lm_change_end(op.change, w->now);
}

/* What cannot be recorded stays held, and is told; that is all. */
static void holds(void **state)
{
	struct world *w = *state;

	limit(w, (struct lm_limits){.holds = 1});
	grant(w, &w->a, 0, 64 * K);
	lm_session_close(w->a.session, w->now);
	release_at(w, 0, 4 * K);
	release_at(w, 8 * K, 16 * K);
	assert_int_equal(w->held, 12 * K);
	assert_int_equal(status(w).holds, 1);
	assert_int_equal(status(w).quarantine_bytes, 4 * K);
	assert_int_equal(status(w).leaked_bytes, 8 * K);
	expect_served(w, &w->b, M);
	lm_session_process_gone(w->a.session, w->now);
	assert_true(w->a.gone);
	assert_int_equal(w->released, 4 * K);
	assert_int_equal(status(w).holds, 0);
	/* There is room for another. */
	grant(w, &w->b, 64 * K, 128 * K);
	lm_session_close(w->b.session, w->now);
	release_at(w, 64 * K, 68 * K);
	assert_int_equal(status(w).holds, 1);
	assert_int_equal(status(w).leaked_bytes, 8 * K);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WORLD_TEST(sessions_of_the_mount),
		WORLD_TEST(sessions_of_a_user),
		WORLD_TEST(leases_of_the_mount),
		WORLD_TEST(leases_of_a_session),
		WORLD_TEST(more_than_are_granted_are_put_back),
		WORLD_TEST(range_pins),
		WORLD_TEST(operations_that_wait),
		WORLD_TEST(unanswered_requests_of_a_session),
		WORLD_TEST(holds),
	};

	return cmocka_run_group_tests_name("limits", tests, NULL, NULL);
}
