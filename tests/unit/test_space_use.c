// SPDX-License-Identifier: BSD-2-Clause
/*
 * test_space_use.c - the allocator under random use: against a naive model, with crashes, and by
 * threads at once.
 */
#include "space_bed.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

/* ---- the model ------------------------------------------------------------------------------- */

enum unit_state { FREE, USED, WAITING };
static uint8_t model[UNITS]; /* enum unit_state, after the last commit */
static uint8_t in_tx[UNITS]; /* 1: taken, 2: freed by the transaction under way */
static uint8_t model_holds[UNITS];
static struct space_run holds[64];
static unsigned hold_count;

static bool may_be_taken(uint64_t unit)
{
	return model[unit] == FREE && !in_tx[unit] && !model_holds[unit];
}

static void model_alloc(struct tx *tx)
{
	static const uint64_t sizes[] = {1, 1, 5, 40, 300, 600, 3000, 40000};
	struct space_request request = {
		.want = 1 + (uint64_t)rand() % sizes[rand() % 8],
		.goal = rand() % 2 ? SPACE_ANYWHERE : (uint64_t)rand() % UNITS,
		.flags = rand() % 3 ? 0 : SPACE_HUGE,
		.phase = (uint64_t)rand() % 2 * 37,
	};
	struct space_run run;
	int error = space_alloc(space, tx, &request, &run);

	if (error) {
		assert_int_equal(error, -ENOSPC);
		for (uint64_t u = 0; u < UNITS; u++)
			assert_false(may_be_taken(u));
		return;
	}
	assert_true(run.count > 0 && run.count <= request.want);
	assert_true(run.first / GROUP_BITS == (run.first + run.count - 1) / GROUP_BITS);
	for (uint64_t u = run.first; u < run.first + run.count; u++) {
		assert_true(may_be_taken(u));
		in_tx[u] = 1;
	}
}

static void model_free(struct tx *tx)
{
	uint64_t first = (uint64_t)rand() % UNITS, most = 1 + (uint64_t)rand() % 3000, count = 0;

	while (first + count < UNITS && count < most && model[first + count] == USED &&
		in_tx[first + count] != 2)
		count++;
	if (count == 0)
		return;
	assert_int_equal(space_free(space, tx, &(struct space_run){first, count}), 0);
	for (uint64_t u = first; u < first + count; u++)
		in_tx[u] = 2;
}

static void model_transaction(void)
{
	struct tx *tx;
	bool commit = rand() % 4;

	assert_int_equal(tx_begin(fx.meta, &tx), 0);
	memset(in_tx, 0, sizeof(in_tx));
	for (int n = rand() % 4; n >= 0; n--) {
		if (rand() % 2)
			model_alloc(tx);
		else
			model_free(tx);
	}
	if (!commit) {
		tx_abort(tx);
		memset(in_tx, 0, sizeof(in_tx));
		return;
	}
	assert_int_equal(tx_commit(tx), 0);
	for (uint64_t u = 0; u < UNITS; u++) {
		if (in_tx[u] == 1)
			model[u] = USED;
		else if (in_tx[u] == 2)
			model[u] = fx.deferred ? WAITING : FREE;
	}
	memset(in_tx, 0, sizeof(in_tx));
}

static void model_hold_or_release(void)
{
	struct space_run *h;

	if (hold_count < 64 && rand() % 2) {
		h = &holds[hold_count++];
		h->first = (uint64_t)rand() % UNITS;
		h->count = 1 + (uint64_t)rand() % 2000;
		if (h->first + h->count > UNITS)
			h->count = UNITS - h->first;
		assert_int_equal(space_hold(space, h), 0);
		for (uint64_t u = h->first; u < h->first + h->count; u++)
			model_holds[u]++;
	} else if (hold_count) {
		unsigned i = (unsigned)rand() % hold_count;

		h = &holds[i];
		space_release(space, h);
		for (uint64_t u = h->first; u < h->first + h->count; u++)
			model_holds[u]--;
		*h = holds[--hold_count];
	}
}

static void model_durable(void)
{
	assert_int_equal(journal_sync(fx.journal), 0);
	space_reap(space, journal_durable_position(fx.journal));
	for (uint64_t u = 0; u < UNITS; u++)
		if (model[u] == WAITING)
			model[u] = FREE;
}

static void model_crash(void)
{
	space_close(space);
	assert_int_equal(fixture_crash(&fx), 0);
	open_space();
	memset(model_holds, 0, sizeof(model_holds));
	hold_count = 0;
	for (uint64_t u = 0; u < UNITS; u++)
		if (model[u] == WAITING)
			model[u] = FREE;
}

/* In how many pieces it is free, none across groups. */
static void model_compare_runs(void)
{
	struct space_free_runs got = {0}, wanted = {0};
	uint64_t run = 0;

	for (uint64_t u = 0; u < UNITS; u++) {
		bool is_free = model[u] == FREE && !model_holds[u];

		run = is_free ? (u % GROUP_BITS ? run : 0) + 1 : 0;
		wanted.runs += run == 1;
		wanted.units += is_free;
		wanted.largest = run > wanted.largest ? run : wanted.largest;
	}
	for (uint32_t group = 0; group < GROUPS; group++)
		assert_int_equal(space_add_free_runs(space, group, &got), 0);
	assert_int_equal(space_add_free_runs(space, GROUPS, &got), -ENOENT);
	assert_int_equal(got.runs, wanted.runs);
	assert_int_equal(got.units, wanted.units);
	assert_int_equal(got.largest, wanted.largest);
}

static void model_compare(void)
{
	struct space_usage usage;
	uint64_t free = 0, pending = 0;

	for (uint64_t u = 0; u < UNITS; u++) {
		free += model[u] == FREE && !model_holds[u];
		pending += model[u] == WAITING || (model[u] == FREE && model_holds[u]);
	}
	space_get_usage(space, &usage);
	assert_int_equal(usage.total, UNITS);
	assert_int_equal(usage.free, free);
	assert_int_equal(usage.pending, pending);
	model_compare_runs();
	for (int i = 0; i < 50; i++) {
		uint64_t unit = (uint64_t)rand() % UNITS;
		bool set;

		assert_int_equal(space_test(space, unit, &set), 0);
		assert_int_equal(set, model[unit] == USED);
	}
}

static void random_use_equals_the_model(void **state)
{
	memset(model, 0, sizeof(model));
	memset(model_holds, 0, sizeof(model_holds));
	hold_count = 0;
	srand(7);
	for (int round = 0; round < 3000; round++) {
		model_transaction();
		if (rand() % 4 == 0)
			model_hold_or_release();
		if (rand() % 20 == 0)
			model_durable();
		if (rand() % 300 == 0)
			model_crash();
		if (rand() % 10 == 0)
			model_compare();
	}
}

/* ---- threads --------------------------------------------------------------------------------- */

#define THREADS 4
static _Atomic uint8_t owner[UNITS];

static void die(int line)
{
	fprintf(stderr, "thread failed at line %d\n", line);
	abort();
}

static void *churn(void *context)
{
	unsigned seed = (unsigned)(uintptr_t)context;
	struct space_run mine[64];
	unsigned count = 0;

	for (int round = 0; round < 2000; round++) {
		struct tx *tx;
		bool take = count < 64 && (count == 0 || rand_r(&seed) % 2);
		unsigned i = count ? (unsigned)rand_r(&seed) % count : 0;

		if (tx_begin(fx.meta, &tx))
			die(__LINE__);
		if (take) {
			int error = alloc(tx, 1 + (uint64_t)rand_r(&seed) % 300, SPACE_ANYWHERE,
				rand_r(&seed) % 2 ? SPACE_HUGE : 0, &mine[count]);

			if (error)
				die(__LINE__);
			for (uint64_t u = mine[count].first;
				u < mine[count].first + mine[count].count; u++)
				if (owner[u]++)
					die(__LINE__);
			count++;
			if (tx_commit(tx))
				die(__LINE__);
		} else {
			for (uint64_t u = mine[i].first; u < mine[i].first + mine[i].count; u++)
				owner[u]--;
			if (space_free(space, tx, &mine[i]) || tx_commit(tx))
				die(__LINE__);
			mine[i] = mine[--count];
		}
		if (fx.deferred && round % 100 == 0) {
			if (journal_sync(fx.journal))
				die(__LINE__);
			space_reap(space, journal_durable_position(fx.journal));
		}
	}
	for (; count; count--) {
		struct tx *tx;

		for (uint64_t u = 0; u < mine[count - 1].count; u++)
			owner[mine[count - 1].first + u]--;
		if (tx_begin(fx.meta, &tx) || space_free(space, tx, &mine[count - 1]) ||
			tx_commit(tx))
			die(__LINE__);
	}
	return NULL;
}

static void threads_never_share_a_unit(void **state)
{
	pthread_t threads[THREADS];

	memset((void *)owner, 0, sizeof(owner));
	for (uintptr_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, churn, (void *)(i + 1)), 0);
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	assert_int_equal(journal_sync(fx.journal), 0);
	space_reap(space, journal_durable_position(fx.journal));
	assert_int_equal(free_units(), UNITS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(random_use_equals_the_model),
		CASE_DEFERRED(random_use_equals_the_model),
		CASE(threads_never_share_a_unit),
		CASE_DEFERRED(threads_never_share_a_unit),
	};

	return cmocka_run_group_tests_name("space_use", tests, NULL, NULL);
}
