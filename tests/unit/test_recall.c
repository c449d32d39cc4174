// SPDX-License-Identifier: BSD-2-Clause
/* test_recall.c - leasemgr: when a recall is told again, and what it says then. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "leasemgr_world.h"

static void expect_recall(struct holder *h, uint64_t start, uint64_t end, uint64_t deadline_ns)
{
	struct lm_event e = expect(h, LM_EVENT_RECALL);

	assert_int_equal(e.start, start);
	assert_int_equal(e.end, end);
	assert_int_equal(e.deadline_ns, deadline_ns);
}

static void again_for_more_of_the_lease(void **state)
{
	struct world *w = *state;
	uint64_t deadline_ns = w->now + 1000 * MS;
	struct lm_grant g = grant(w, &w->a, 64 * K, M);
	struct op ops[2];

	policy(w, "recall:1s/busy");
	assert_int_equal(begin(w, &ops[0], 0, 128 * K), LM_PARKED);
	expect_recall(&w->a, 64 * K, 128 * K, deadline_ns);
	assert_int_equal(begin(w, &ops[1], 0, 128 * K + 1), LM_PARKED);
	expect_recall(&w->a, 64 * K, 128 * K + 1, deadline_ns);
	assert_int_equal(give_back(w, &w->a, g.lease, 0, 0), 0);
	for (int i = 0; i < 2; i++)
		lm_change_end(ops[i].change, w->now);
}

static void again_for_less_time(void **state)
{
	struct world *w = *state;
	uint64_t began_ns = w->now;
	struct op ops[2];

	grant(w, &w->a, 0, M);
	policy(w, "wait");
	assert_int_equal(begin(w, &ops[0], 0, M), LM_PARKED);
	expect_recall(&w->a, 0, M, 0);
	policy(w, "recall:1s/busy");
	assert_int_equal(begin(w, &ops[1], 0, M), LM_PARKED);
	expect_recall(&w->a, 0, M, began_ns + 1000 * MS);
	assert_int_equal(lm_change_interrupt(ops[1].change, w->now), 0);
	assert_int_equal(lm_change_interrupt(ops[0].change, w->now), 0);
}

static void again_while_somebody_waits_without_end(void **state)
{
	struct world *w = *state;
	struct op op;

	grant(w, &w->a, 0, M);
	policy(w, "wait");
	assert_int_equal(begin(w, &op, 0, M), LM_PARKED);
	for (int i = 0; i < 3; i++) {
		expect(&w->a, LM_EVENT_RECALL);
		expect_nothing(&w->a);
		pass(w, LM_RENOTIFY_NS);
	}
	assert_int_equal(lm_change_interrupt(op.change, w->now), 0);
}

/* What its own process asked for was not told; now that is another's. */
static void again_when_another_process_has_the_lease(void **state)
{
	struct world *w = *state;
	struct op other, own;
	uint64_t deadline_ns = w->now + 1000 * MS, id;

	policy(w, "recall:1s/busy");
	id = pin(w, &w->a, grant(w, &w->a, 0, M).lease, 512 * K, M, 0);
	assert_int_equal(begin(w, &other, 512 * K, M), LM_PARKED);
	expect_recall(&w->a, 512 * K, M, deadline_ns);
	grant(w, &w->b, 0, 4 * K);
	assert_int_equal(begin_as(w, &own, LM_FREE, 0, 4 * K, w->a.pid), LM_PARKED);
	expect(&w->b, LM_EVENT_RECALL);
	expect_nothing(&w->a);
	lm_session_set_process(w->a.session, w->a.pid + 5, w->now);
	expect_recall(&w->a, 0, M, deadline_ns);
	assert_int_equal(lm_unpin(w->a.session, id, w->now), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WORLD_TEST(again_for_more_of_the_lease),
		WORLD_TEST(again_for_less_time),
		WORLD_TEST(again_while_somebody_waits_without_end),
		WORLD_TEST(again_when_another_process_has_the_lease),
	};

	return cmocka_run_group_tests_name("recall", tests, NULL, NULL);
}
