// SPDX-License-Identifier: BSD-2-Clause
/*
 * test_space.c - the allocator against a naive model, its placement, its holds, and threads.
 */
#include "fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "space.h"

#define SPACE_ID SPACE_REGION(0)
#define GROUPS 4u
#define LAST_UNITS 1000u
#define UNITS ((GROUPS - 1) * GROUP_BITS + LAST_UNITS)

static struct fixture fx;
static struct space *space;

static struct media_group group_of(uint32_t group)
{
	return (struct media_group){
		.bitmap = fixture_block(&fx, 1 + group),
		.units = group == GROUPS - 1 ? LAST_UNITS : GROUP_BITS,
	};
}

static void open_space_with(uint32_t align, struct region *backing)
{
	const struct space_config config = {
		.meta = fx.meta,
		.id = SPACE_ID,
		.backing = backing,
		.unit_bytes = BLOCK_SIZE,
		.align_units = align,
	};

	assert_int_equal(space_open(&config, &space), 0);
}

static void add_groups(void)
{
	for (uint32_t i = 0; i < GROUPS; i++) {
		struct media_group g = group_of(i);

		assert_int_equal(space_add_group(space, i, &g), 0);
	}
	assert_int_equal(space_groups(space), GROUPS);
}

static void open_space(void)
{
	open_space_with(1, NULL);
	add_groups();
}

static void prepare(bool deferred)
{
	fixture_open(&fx, 1u << 20, 16, deferred);
	for (uint32_t i = 0; i < GROUPS; i++)
		fixture_make_bitmap(&fx, 1 + i, SPACE_ID, i);
	open_space();
}

static int setup(void **state)
{
	prepare(false);
	return 0;
}

static int setup_deferred(void **state)
{
	prepare(true);
	return 0;
}

static int teardown(void **state)
{
	space_close(space);
	space = NULL;
	fixture_close(&fx);
	return 0;
}

static int alloc(struct tx *tx, uint64_t want, uint64_t goal, unsigned flags, struct space_run *out)
{
	return space_alloc(space, tx,
		&(struct space_request){.want = want, .goal = goal, .flags = flags}, out);
}

static int alloc_now(uint64_t want, uint64_t goal, unsigned flags, struct space_run *out)
{
	struct tx *tx;
	int error;

	assert_int_equal(tx_begin(fx.meta, &tx), 0);
	error = alloc(tx, want, goal, flags, out);
	if (error)
		tx_abort(tx);
	else
		assert_int_equal(tx_commit(tx), 0);
	return error;
}

static void free_now(uint64_t first, uint64_t count)
{
	struct tx *tx;

	assert_int_equal(tx_begin(fx.meta, &tx), 0);
	assert_int_equal(space_free(space, tx, &(struct space_run){first, count}), 0);
	assert_int_equal(tx_commit(tx), 0);
}

static uint64_t free_units(void)
{
	struct space_usage usage;

	space_get_usage(space, &usage);
	return usage.free;
}

/* ---- placement ------------------------------------------------------------------------------- */

static void run_continues_at_the_goal(void **state)
{
	struct space_run a, b;

	assert_int_equal(alloc_now(10, 5000, 0, &a), 0);
	assert_int_equal(a.first, 5000);
	assert_int_equal(a.count, 10);
	assert_int_equal(alloc_now(10, 5010, 0, &b), 0);
	assert_int_equal(b.first, 5010);
}

static void small_runs_fill_broken_units(void **state)
{
	struct space_run a, b;

	assert_int_equal(alloc_now(10, 7 * HUGE_BLOCKS + 3, 0, &a), 0);
	assert_int_equal(alloc_now(10, a.first / GROUP_BITS * GROUP_BITS, 0, &b), 0);
	/* The goal itself was free. */
	assert_int_equal(b.first, 0);
	for (int i = 0; i < 50; i++) {
		assert_int_equal(alloc_now(10, 0, 0, &b), 0);
		assert_true(b.first / HUGE_BLOCKS == 0 || b.first / HUGE_BLOCKS == 7);
	}
}

static void huge_runs_stand_at_their_phase(void **state)
{
	struct space_request request = {
		.want = 700, .goal = SPACE_ANYWHERE, .phase = 100, .flags = SPACE_HUGE};
	struct space_run run;
	struct tx *tx;

	assert_int_equal(alloc_now(3, 0, 0, &run), 0);
	for (int i = 0; i < 20; i++) {
		assert_int_equal(tx_begin(fx.meta, &tx), 0);
		assert_int_equal(space_alloc(space, tx, &request, &run), 0);
		assert_int_equal(tx_commit(tx), 0);
		assert_int_equal(run.count, 700);
		assert_int_equal(run.first % HUGE_BLOCKS, 100);
	}
}

static void whole_runs_are_whole_or_nothing(void **state)
{
	struct space_run run;
	unsigned n = 0;

	assert_int_equal(alloc_now(GROUP_BITS + 1, SPACE_ANYWHERE, SPACE_WHOLE, &run), -ENOSPC);
	for (;; n++) {
		int error = alloc_now(20000, SPACE_ANYWHERE, SPACE_WHOLE, &run);

		if (error) {
			assert_int_equal(error, -ENOSPC);
			break;
		}
		assert_int_equal(run.count, 20000);
	}
	assert_int_equal(n, 3);
	assert_int_equal(free_units(), UNITS - 3 * 20000);
}

static void every_unit_is_handed_out_once_and_then_none(void **state)
{
	static uint8_t taken[UNITS];
	struct space_run run;
	uint64_t total = 0;
	int error;

	memset(taken, 0, sizeof(taken));
	while ((error = alloc_now(1 + (uint64_t)rand() % 900, SPACE_ANYWHERE, 0, &run)) == 0) {
		for (uint64_t u = run.first; u < run.first + run.count; u++)
			assert_int_equal(taken[u]++, 0);
		total += run.count;
	}
	assert_int_equal(error, -ENOSPC);
	assert_int_equal(total, UNITS);
	assert_int_equal(free_units(), 0);
}

static void aligned_space_hands_out_whole_units(void **state)
{
	struct space_run run;

	space_close(space);
	open_space_with(HUGE_BLOCKS, NULL);
	for (uint32_t i = 0; i < GROUPS - 1; i++) {
		struct media_group g = group_of(i);

		assert_int_equal(space_add_group(space, i, &g), 0);
	}
	for (uint64_t total = 0; total < (GROUPS - 1) * GROUP_BITS; total += run.count) {
		assert_int_equal(
			alloc_now(1 + (uint64_t)rand() % 2000, SPACE_ANYWHERE, 0, &run), 0);
		assert_int_equal(run.first % HUGE_BLOCKS, 0);
		assert_int_equal(run.count % HUGE_BLOCKS, 0);
	}
	assert_int_equal(alloc_now(1, SPACE_ANYWHERE, 0, &run), -ENOSPC);
}

/* ---- freeing --------------------------------------------------------------------------------- */

static void freeing_twice_is_euclean(void **state)
{
	struct space_run run;
	struct tx *tx;

	assert_int_equal(alloc_now(10, 100, 0, &run), 0);
	free_now(100, 10);
	assert_int_equal(tx_begin(fx.meta, &tx), 0);
	assert_int_equal(space_free(space, tx, &run), -EUCLEAN);
	run.first = UNITS;
	assert_int_equal(space_free(space, tx, &run), -EUCLEAN);
	tx_abort(tx);
}

static void deferred_frees_wait_for_the_sync(void **state)
{
	struct space_usage usage;
	struct space_run run;

	assert_int_equal(alloc_now(10, 100, 0, &run), 0);
	free_now(100, 10);
	assert_int_equal(free_units(), UNITS - 10);
	assert_true(space_has_pending(space));
	space_reap(space, journal_durable_position(fx.journal));
	assert_int_equal(free_units(), UNITS - 10);
	assert_int_equal(journal_sync(fx.journal), 0);
	space_get_usage(space, &usage);
	assert_int_equal(usage.pending, 10);
	/* An allocation notices by itself. */
	assert_int_equal(alloc_now(10, 100, 0, &run), 0);
	assert_int_equal(run.first, 100);
	assert_false(space_has_pending(space));
}

static void held_units_are_not_handed_out(void **state)
{
	struct space_run held = {100, 50}, part = {120, 10}, run;
	struct space_usage usage;

	assert_int_equal(alloc_now(50, 100, 0, &run), 0);
	assert_int_equal(space_hold(space, &held), 0);
	assert_int_equal(space_hold(space, &part), 0);
	free_now(100, 50);
	space_get_usage(space, &usage);
	assert_int_equal(usage.free, UNITS - 50);
	assert_int_equal(usage.pending, 50);
	space_release(space, &held);
	assert_int_equal(free_units(), UNITS - 10);
	assert_int_equal(alloc_now(30, 100, 0, &run), 0);
	assert_true(run.first >= 130 || run.first + run.count <= 120);
	space_release(space, &part);
	space_get_usage(space, &usage);
	assert_int_equal(usage.pending, 0);
	assert_int_equal(usage.free, UNITS - run.count);
	/* Holding what is free keeps it; after a restart the quarantine says so again. */
	assert_int_equal(space_hold(space, &part), 0);
	assert_int_equal(alloc_now(10, 120, 0, &run), 0);
	assert_int_not_equal(run.first, 120);
	space_release(space, &part);
	held.first = UNITS - 1;
	assert_int_equal(space_hold(space, &held), -EINVAL);
}

static void damaged_group_is_passed_over(void **state)
{
	struct media_group g = group_of(1);
	struct space_run run;
	uint64_t value = 1;
	unsigned n = 0;
	bool set;
	int error;

	space_close(space);
	assert_int_equal(fixture_crash(&fx), 0);
	region_store64(fx.region, g.bitmap + 2048, value);
	open_space();
	while ((error = alloc_now(GROUP_BITS, SPACE_ANYWHERE, 0, &run)) == 0) {
		assert_int_not_equal(run.first / GROUP_BITS, 1);
		n++;
	}
	assert_int_equal(error, -EUCLEAN);
	assert_int_equal(n, GROUPS - 1);
	assert_int_equal(space_test(space, GROUP_BITS, &set), -EUCLEAN);
	assert_int_equal(space_test(space, 0, &set), 0);
	assert_true(set);
	assert_int_equal(space_test(space, UNITS, &set), -ENOENT);
}

/* ---- backing --------------------------------------------------------------------------------- */

static void full_backing_is_enospc_and_reserved_units_still_serve(void **state)
{
	char path[300];
	struct region_options options = {
		.dir_fd = AT_FDCWD,
		.path = path,
		.bytes = 2ull * GROUP_BITS * BLOCK_SIZE,
		.mode = 0600,
		.flags = REGION_CREATE,
	};
	struct region *backing;
	struct space_run run, first = {0};
	uint64_t total = 0;
	unsigned runs = 0;
	int error;

	/* A tmpfs of 24 MiB under a space of 252 MiB. */
	snprintf(path, sizeof(path), "%s/small", fx.directory);
	/* By number: <sys/mount.h> has a BLOCK_SIZE of its own. */
	if (mkdir(path, 0700) || syscall(SYS_mount, "none", path, "tmpfs", 0, "size=24m")) {
		rmdir(path);
		skip();
	}
	snprintf(path, sizeof(path), "%s/small/data", fx.directory);
	error = region_open(&options, &backing, NULL);
	if (!error) {
		space_close(space);
		open_space_with(1, backing);
		for (uint32_t i = 0; i < 2; i++) {
			struct media_group g = group_of(i);

			assert_int_equal(space_add_group(space, i, &g), 0);
		}
		while ((error = alloc_now(300, SPACE_ANYWHERE, runs % 2 ? SPACE_HUGE : 0, &run)) ==
			0) {
			if (runs++ == 0)
				first = run;
			memset(region_data_at(
				       backing, run.first * BLOCK_SIZE, run.count * BLOCK_SIZE),
				1, run.count * BLOCK_SIZE);
			total += run.count;
		}
		if (error == -ENOSPC) {
			free_now(first.first, first.count);
			error = alloc_now(first.count, SPACE_ANYWHERE, 0, &run);
			if (!error && run.first != first.first)
				error = -EINVAL;
		}
		region_close(backing);
	}
	unlink(path);
	snprintf(path, sizeof(path), "%s/small", fx.directory);
	syscall(SYS_umount2, path, 0);
	rmdir(path);
	assert_int_equal(error, 0);
	assert_true(total >= 11 * HUGE_BLOCKS && total <= 12 * HUGE_BLOCKS);
}

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

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define CASE_DEFERRED(name)                                                                        \
	{                                                                                          \
#name " (deferred)", name, setup_deferred, teardown, NULL                          \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(run_continues_at_the_goal),
		CASE(small_runs_fill_broken_units),
		CASE(huge_runs_stand_at_their_phase),
		CASE(whole_runs_are_whole_or_nothing),
		CASE(every_unit_is_handed_out_once_and_then_none),
		CASE(aligned_space_hands_out_whole_units),
		CASE(freeing_twice_is_euclean),
		CASE_DEFERRED(deferred_frees_wait_for_the_sync),
		CASE(held_units_are_not_handed_out),
		CASE(damaged_group_is_passed_over),
		CASE(full_backing_is_enospc_and_reserved_units_still_serve),
		CASE(random_use_equals_the_model),
		CASE_DEFERRED(random_use_equals_the_model),
		CASE(threads_never_share_a_unit),
		CASE_DEFERRED(threads_never_share_a_unit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
