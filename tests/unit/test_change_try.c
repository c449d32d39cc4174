// SPDX-License-Identifier: BSD-2-Clause
/* test_change_try.c - changes that no lease is in the way of: they go on at once, or nothing is
 * begun. Whether leasemgr then has to hear what they free. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "leasemgr_world.h"

static int try_as(struct world *w, struct op *op, enum lm_kind kind, uint64_t start, uint64_t end,
	uint32_t pid)
{
	struct lm_change_request r = {.ino = INO,
		.start = start,
		.end = end,
		.kind = kind,
		.pid = pid,
		.operation = "test"};

	return lm_change_try(w->lm, &r, op, &op->change);
}

static void goes_on_where_no_lease_is(void **state)
{
	struct world *w = *state;
	struct lm_grant g;
	struct op op;

	assert_int_equal(try_as(w, &op, LM_FREE, 0, M, 300), 0);
	assert_true(lm_change_is_alone(op.change));
	assert_int_equal(status(w).active, 1);
	/* And is in the way of leases until it ends. */
	assert_int_equal(try_grant(w, &w->a, 512 * K, 2 * M, LM_READ, 0, &g), -EAGAIN);
	lm_change_end(op.change, w->now);
	assert_int_equal(status(w).active, 0);
	expect(&w->a, LM_EVENT_AVAILABLE);
	assert_int_equal(try_grant(w, &w->a, 512 * K, 2 * M, LM_READ, 0, &g), 0);
}

static void begins_nothing_where_one_is(void **state)
{
	struct world *w = *state;
	struct lm_status before, after;
	struct op op;

	grant(w, &w->a, 64 * K, 128 * K);
	before = status(w);
	assert_int_equal(try_as(w, &op, LM_FREE, 128 * K - 1, M, 300), -EAGAIN);
	assert_int_equal(try_as(w, &op, LM_MOVE, 0, 64 * K + 1, 300), -EAGAIN);
	/* Its own process would give way at once, but that is for the one that can revoke. */
	assert_int_equal(try_as(w, &op, LM_FREE, 0, M, w->a.pid), -EAGAIN);
	after = status(w);
	assert_memory_equal(&before, &after, offsetof(struct lm_status, draining));
	expect_nothing(&w->a);
	assert_int_equal(try_as(w, &op, LM_FREE, 128 * K, M, 300), 0);
	assert_true(lm_change_is_alone(op.change));
	lm_change_end(op.change, w->now);
}

static void overwrites_beside_shared_leases(void **state)
{
	struct world *w = *state;
	struct lm_grant g;
	struct op op;

	grant(w, &w->a, 0, M);
	assert_int_equal(try_grant(w, &w->b, 2 * M, 3 * M, LM_WRITE, LM_GRANT_EXCLUSIVE, &g), 0);
	assert_int_equal(try_as(w, &op, LM_OVERWRITE, 0, 2 * M, 300), 0);
	assert_false(lm_change_is_alone(op.change));
	lm_change_end(op.change, w->now);
	assert_int_equal(try_as(w, &op, LM_FILL, M, 3 * M, 300), -EAGAIN);
	assert_int_equal(try_as(w, &op, LM_FILL, M, 3 * M, w->b.pid), 0);
	lm_change_end(op.change, w->now);
}

/* What is freed under a mapping that nobody may use any more has to be held. */
static void stale_mapping_is_company(void **state)
{
	struct world *w = *state;
	struct lm_event revoked;
	struct op op;

	grant(w, &w->a, 0, M);
	assert_int_equal(begin(w, &op, 0, M), LM_PARKED);
	pass(w, 60000 * MS);
	assert_int_equal(op.verdict, 0);
	lm_change_end(op.change, w->now);
	revoked = expect(&w->a, LM_EVENT_REVOKED);
	assert_int_equal(try_as(w, &op, LM_FREE, M - 1, 2 * M, 300), 0);
	assert_false(lm_change_is_alone(op.change));
	lm_freeing(w->lm, INO, M - 4 * K, M, 0, 8 * M);
	lm_freed(w->lm, INO, true);
	assert_int_equal(w->held, 4 * K);
	lm_change_end(op.change, w->now);
	assert_int_equal(try_as(w, &op, LM_FREE, M, 2 * M, 300), 0);
	assert_true(lm_change_is_alone(op.change));
	lm_change_end(op.change, w->now);
	assert_int_equal(lm_ack(w->a.session, revoked.lease, w->now), 0);
	assert_int_equal(w->released, 4 * K);
	assert_int_equal(try_as(w, &op, LM_FREE, 0, M, 300), 0);
	assert_true(lm_change_is_alone(op.change));
	lm_change_end(op.change, w->now);
}

/* As many wait as may: who need not wait does not notice. */
static void limit_of_those_that_wait_is_theirs_alone(void **state)
{
	struct world *w = *state;
	struct lm_config config = {.ops = &world_ops, .context = w, .seed = 5};
	struct op *parked = calloc(LM_PARKED_MAX, sizeof(*parked));
	struct lm *checked = w->lm;
	struct holder h = {0}, *kept = &h;
	struct op op;

	assert_non_null(parked);
	assert_int_equal(lm_create(&config, &w->lm), 0); /* without a check of all at each step */
	assert_int_equal(lm_session_open(w->lm, 100, 1000, kept, &kept->session), 0);
	grant(w, kept, 0, M);
	for (unsigned i = 0; i < LM_PARKED_MAX; i++)
		assert_int_equal(begin(w, &parked[i], 0, M), LM_PARKED);
	assert_int_equal(begin(w, &op, 0, M), -EBUSY);
	assert_int_equal(try_as(w, &op, LM_FREE, 0, M, 300), -EAGAIN);
	assert_int_equal(begin(w, &op, M, 2 * M), 0);
	lm_change_end(op.change, w->now);
	assert_int_equal(try_as(w, &op, LM_FREE, M, 2 * M, 300), 0);
	lm_change_end(op.change, w->now);
	assert_int_equal(lm_change_interrupt(parked[7].change, w->now), 0);
	assert_int_equal(begin(w, &parked[7], 0, M), LM_PARKED);
	assert_int_equal(begin(w, &op, 0, M), -EBUSY);
	lm_check(w->lm);
	lm_destroy(w->lm);
	w->lm = checked;
	free(parked);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WORLD_TEST(goes_on_where_no_lease_is),
		WORLD_TEST(begins_nothing_where_one_is),
		WORLD_TEST(overwrites_beside_shared_leases),
		WORLD_TEST(stale_mapping_is_company),
		WORLD_TEST(limit_of_those_that_wait_is_theirs_alone),
	};

	return cmocka_run_group_tests_name("change-try", tests, NULL, NULL);
}
