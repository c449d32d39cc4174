// SPDX-License-Identifier: BSD-2-Clause
/*
 * test_crash_threads.c - threads that commit and sync at once, cut off at any store.
 *
 * Each thread counts up in a block of its own and fills the block with the count. After a crash
 * each block must be of one count, not below what its thread was told is committed (relaxed: what
 * was committed when a finished sync began) and not above what it had begun.
 *
 * pmem as in test_crash.c: the program runs itself again for it.
 */
#include "fixture.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "machine.h"

#define JOURNAL (1u << 20)
#define THREADS 4u
#define COUNTS 120u /* of 2.5 KiB: the log wraps */
#define WORDS 300u

enum mark { MARK_BEGIN = 1, MARK_ACKNOWLEDGED, MARK_SYNC_BEGIN, MARK_SYNC_END };

static struct fixture fx;
static struct trace trace;
static uint8_t *initial;
static uint64_t region_size;

static void mark(enum mark what, uint64_t thread, uint64_t count)
{
	trace_mark(&trace, what, thread << 32 | count);
}

static uint64_t *words_of(void *object)
{
	return (uint64_t *)(void *)((uint8_t *)object + sizeof(struct media_head));
}

static void *count_up(void *context)
{
	uint64_t thread = (uint64_t)(uintptr_t)context;

	for (uint64_t i = 1; i <= COUNTS; i++) {
		struct tx *tx;
		void *object;

		mark(MARK_BEGIN, thread, i);
		if (tx_begin(fx.meta, &tx) ||
			tx_edit(tx, fixture_block(&fx, thread), MAGIC_NODE, &object))
			abort();
		for (unsigned w = 0; w < WORDS; w++)
			words_of(object)[w] = i;
		if (tx_commit(tx))
			abort();
		mark(MARK_ACKNOWLEDGED, thread, i);
		if (fx.deferred && (i + thread) % 20 == 0) {
			mark(MARK_SYNC_BEGIN, thread, 0);
			if (journal_sync(fx.journal))
				abort();
			mark(MARK_SYNC_END, thread, 0);
		}
	}
	return NULL;
}

static void record_run(void)
{
	pthread_t threads[THREADS];
	struct tx *tx;
	void *object;

	assert_int_equal(tx_begin(fx.meta, &tx), 0);
	for (uint64_t i = 0; i < THREADS; i++)
		assert_int_equal(tx_create(tx, fixture_block(&fx, i), MAGIC_NODE, &object), 0);
	assert_int_equal(tx_commit(tx), 0);
	assert_int_equal(journal_checkpoint(fx.journal), 0);
	region_size = region_bytes(fx.region);
	initial = malloc(region_size);
	assert_non_null(initial);
	memcpy(initial, region_durable_at(fx.region, 0, region_size), region_size);
	trace_start(&trace, &region_size, 1);
	for (uintptr_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, count_up, (void *)i), 0);
	for (unsigned i = 0; i < THREADS; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	trace_stop(&trace);
	fixture_shut(&fx, false);
}

/* ---- crashes --------------------------------------------------------------------------------- */

struct progress {
	uint64_t begun[THREADS];
	uint64_t acknowledged[THREADS];
	uint64_t at_sync[THREADS][THREADS]; /* what a thread's sync found acknowledged */
	uint64_t synced[THREADS];
};

static void step_progress(struct progress *p, const struct trace_event *e)
{
	uint64_t thread = e->count >> 32, count = e->count & UINT32_MAX;

	switch ((enum mark)e->offset) {
	case MARK_BEGIN:
		p->begun[thread] = count;
		break;
	case MARK_ACKNOWLEDGED:
		p->acknowledged[thread] = count;
		break;
	case MARK_SYNC_BEGIN:
		memcpy(p->at_sync[thread], p->acknowledged, sizeof(p->acknowledged));
		break;
	case MARK_SYNC_END:
		for (unsigned i = 0; i < THREADS; i++)
			if (p->synced[i] < p->at_sync[thread][i])
				p->synced[i] = p->at_sync[thread][i];
		break;
	}
}

static bool counts_hold(const struct progress *p, const uint64_t *oldest)
{
	for (uint64_t i = 0; i < THREADS; i++) {
		uint64_t at = fixture_block(&fx, i);
		const uint64_t *words = words_of((void *)region_at(fx.region, at, BLOCK_SIZE));

		if (meta_verify(fx.meta, at, MAGIC_NODE))
			return false;
		if (words[0] < oldest[i] || words[0] > p->begun[i])
			return false;
		for (unsigned w = 1; w < WORDS; w++)
			if (words[w] != words[0])
				return false;
	}
	return true;
}

static bool crash_holds(
	const struct machine *m, const struct progress *p, enum crash_luck luck, unsigned *seed)
{
	bool lost = fx.deferred && luck != LUCK_ALL, holds;
	uint8_t *image = malloc(region_size);

	assert_non_null(image);
	machine_crash(m, luck, seed, image);
	assert_int_equal(fixture_open_region(&fx), 0);
	region_store(fx.region, 0, image, region_size);
	region_close(fx.region);
	free(image);
	fx.config.boot_id[0] = lost ? 2 : 1;
	if (fixture_reopen(&fx))
		return false;
	holds = counts_hold(p, lost ? p->synced : p->acknowledged);
	fixture_shut(&fx, false);
	return holds;
}

static unsigned count_violations(unsigned crashes, unsigned seed)
{
	struct machine *m = machine_new(initial, region_size, fx.deferred ? BLOCK_SIZE : 64);
	unsigned violations = 0, every = (unsigned)(trace.count / crashes) + 1;
	struct progress p = {0};

	for (size_t i = 0; i < trace.count; i++) {
		const struct trace_event *e = &trace.events[i];

		if (e->kind == TRACE_MARK)
			step_progress(&p, e);
		if ((unsigned)rand_r(&seed) % every == 0)
			violations += !crash_holds(
				m, &p, LUCK_NONE + (enum crash_luck)(rand_r(&seed) % 4), &seed);
		machine_step(m, e);
	}
	machine_free(m);
	return violations;
}

static void try_crashes(unsigned crashes)
{
	record_run();
	assert_int_equal(count_violations(crashes, 3), 0);
	trace_free(&trace);
	free(initial);
	fx.config.boot_id[0] = 1;
	fixture_close(&fx);
}

static void pmem_crash_keeps_what_each_thread_was_told(void **state)
{
	fixture_open_on_disk(&fx, JOURNAL, THREADS, false);
	if (region_media(fx.region) != REGION_PMEM) {
		fixture_close(&fx);
		skip();
	}
	try_crashes(300);
}

static void relaxed_crash_keeps_what_was_synced(void **state)
{
	fixture_open_on_disk(&fx, JOURNAL, THREADS, true);
	if (region_media(fx.region) != REGION_PAGE_CACHE) {
		fixture_close(&fx);
		skip();
	}
	try_crashes(300);
}

/* Where commits share a sync. */
static void strict_crash_keeps_what_each_thread_was_told(void **state)
{
	fixture_open_on_disk(&fx, JOURNAL, THREADS, false);
	if (region_media(fx.region) != REGION_PAGE_CACHE) {
		fixture_close(&fx);
		skip();
	}
	try_crashes(300);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest page_cache[] = {
		cmocka_unit_test(relaxed_crash_keeps_what_was_synced),
		cmocka_unit_test(strict_crash_keeps_what_each_thread_was_told)};
	const struct CMUnitTest pmem[] = {
		cmocka_unit_test(pmem_crash_keeps_what_each_thread_was_told)};

	if (getenv("PMEM_IS_PMEM_FORCE"))
		return cmocka_run_group_tests(pmem, NULL, NULL);
	int failed = cmocka_run_group_tests(page_cache, NULL, NULL);
	if (failed)
		return failed;
	if (setenv("PMEM_IS_PMEM_FORCE", "1", 1))
		return 1;
	execv("/proc/self/exe", argv);
	perror("exec");
	return 1;
}
