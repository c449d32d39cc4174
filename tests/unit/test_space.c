// SPDX-License-Identifier: BSD-2-Clause
/*
 * test_space.c - the allocator: where it places, what it frees when, its holds, and full backing.
 */
#include "space_bed.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

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
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
