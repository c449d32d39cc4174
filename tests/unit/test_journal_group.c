// SPDX-License-Identifier: BSD-2-Clause
/*
 * test_journal_group.c - strict page cache: commits that share a sync.
 *
 * The recorder is called where the media works, with no lock held: it keeps the first group there
 * until the others stand in the log.
 */
#include "fixture.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>

#define JOURNAL (1u << 20)
#define THREADS 4u
#define COUNTS 300u
#define WAIT_S 20

static struct fixture fx;
static uint64_t commit_at, log_start, log_end;
static atomic_uint records, commits;
static int results[THREADS];
static atomic_bool media_fails;

int __real_msync(void *at, size_t bytes, int flags);
int __wrap_msync(void *at, size_t bytes, int flags);
int __wrap_msync(void *at, size_t bytes, int flags)
{
	if (media_fails) {
		errno = EIO;
		return -1;
	}
	return __real_msync(at, bytes, flags);
}

static int setup(void **state)
{
	fixture_open_on_disk(&fx, JOURNAL, 64, false);
	commit_at = fx.config.header_offset + offsetof(struct media_journal, commit);
	log_start = fx.config.area_offset;
	log_end = log_start + fx.config.area_bytes;
	records = commits = 0;
	return 0;
}

static int teardown(void **state)
{
	region_set_recorder(NULL);
	fixture_close(&fx);
	return 0;
}

static bool is_page_cache(void)
{
	return region_media(fx.region) == REGION_PAGE_CACHE;
}

static int write_value(uint64_t block, uint64_t value)
{
	const struct journal_write write = {
		.operation = {fixture_block(&fx, block), RECORD_WRITE, 0, sizeof(value)},
		.bytes = &value,
	};

	return journal_commit(fx.journal, &write, 1, NULL, NULL);
}

static uint64_t value_at(uint64_t block)
{
	return *(const uint64_t *)region_at(fx.region, fixture_block(&fx, block), 8);
}

static void run_threads(void *(*run)(void *))
{
	pthread_t threads[THREADS];

	for (uintptr_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, run, (void *)i), 0);
	for (unsigned i = 0; i < THREADS; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
}

static void *write_one(void *context)
{
	uintptr_t i = (uintptr_t)context;

	results[i] = write_value(i, 100 + i);
	return NULL;
}

static void *count_up(void *context)
{
	uintptr_t i = (uintptr_t)context;

	for (uint64_t n = 1; n <= COUNTS; n++)
		if (write_value(i, n))
			abort();
	return NULL;
}

static void on_store(
	void *context, const struct region *r, uint64_t offset, const void *bytes, uint64_t count)
{
	if (offset == commit_at)
		commits++;
	else if (offset >= log_start && offset < log_end)
		records++;
}

/* The first group's records: not durable before all others have stored theirs. */
static void on_flush(void *context, const struct region *r, uint64_t offset, uint64_t count)
{
	time_t end = time(NULL) + WAIT_S;

	while (commits == 0 && records < THREADS && time(NULL) < end)
		sched_yield();
}

static void on_fence(void *context, const struct region *r)
{
}

static void commits_that_wait_together_share_a_sync(void **state)
{
	static const struct region_recorder recorder = {
		.store = on_store, .flush = on_flush, .fence = on_fence};

	if (!is_page_cache())
		skip();
	region_set_recorder(&recorder);
	run_threads(write_one);
	region_set_recorder(NULL);
	assert_int_equal(records, THREADS);
	assert_int_equal(commits, 2); /* the first one's, and one for all that came meanwhile */
	assert_int_equal(fixture_crash(&fx), 0);
	for (uint64_t i = 0; i < THREADS; i++) {
		assert_int_equal(results[i], 0);
		assert_int_equal(value_at(i), 100 + i);
	}
}

static void commits_of_many_threads_are_all_there(void **state)
{
	if (!is_page_cache())
		skip();
	run_threads(count_up);
	assert_int_equal(fixture_crash(&fx), 0);
	for (uint64_t i = 0; i < THREADS; i++)
		assert_int_equal(value_at(i), COUNTS);
}

static void failing_media_fails_everybody_in_the_group(void **state)
{
	if (!is_page_cache())
		skip();
	assert_int_equal(write_value(1, 1), 0);
	media_fails = true;
	run_threads(write_one);
	media_fails = false;
	for (unsigned i = 0; i < THREADS; i++)
		assert_true(results[i] == -EIO || results[i] == -EROFS);
	assert_int_equal(write_value(1, 2), -EROFS);
	assert_int_equal(fixture_crash(&fx), 0);
	assert_int_equal(value_at(1), 1);
	assert_int_equal(write_value(1, 3), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			commits_that_wait_together_share_a_sync, setup, teardown),
		cmocka_unit_test_setup_teardown(
			commits_of_many_threads_are_all_there, setup, teardown),
		cmocka_unit_test_setup_teardown(
			failing_media_fails_everybody_in_the_group, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
