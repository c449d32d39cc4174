// SPDX-License-Identifier: BSD-2-Clause
/*
 * test_crash.c - random transactions, cut off at any store, flush or fence, and recovered.
 *
 * The trace of a run is gone through by the machine of machine.h. At points of it images are
 * made of what a power cut could leave; each is opened, and the recovered heap must be, byte for
 * byte, what it was after the last acknowledged transaction, or after the one under way. With
 * relaxed durability: not older than the last sync. Some recoveries are cut off themselves.
 *
 * The same run with a fault planted - a flush or fence left out - must be found out.
 *
 * Media: pmem is what libpmem takes for it with PMEM_IS_PMEM_FORCE, which it reads when it is
 * loaded; so the program runs itself again for that part.
 */
#include "fixture.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "machine.h"

#define JOURNAL (1u << 20)
#define BLOCKS 14u /* of the heap: NODES nodes, then a bitmap */
#define NODES 12u
#define TRANSACTIONS 400u /* wraps the log once, so that tail passes homes */

enum mark { MARK_BEGIN = 1, MARK_ACKNOWLEDGED, MARK_SYNCED };

enum fault {
	FAULT_NONE,
	FAULT_RECORD_FLUSH, /* the record is not flushed */
	FAULT_RECORD_FENCE, /* nor ordered before the commit store */
	FAULT_HOME_FLUSH,   /* tail passes homes that are not durable */
	FAULT_COMMIT_FLUSH, /* acknowledged before the commit store is durable */
};

/* A crash is tried at one event in so many; the first argument sets it, 1 for every single one. */
static unsigned one_in = 60;

static struct fixture fx;
static struct trace trace;
static uint8_t *initial;
static uint64_t region_size;
static uint64_t states[TRANSACTIONS + 1]; /* hash of the heap after each transaction */

static uint64_t heap_hash(void)
{
	return XXH3_64bits(region_at(fx.region, fixture_block(&fx, 0), BLOCKS * BLOCK_SIZE),
		BLOCKS * BLOCK_SIZE);
}

/* ---- the run --------------------------------------------------------------------------------- */

static void scribble(uint8_t *object, unsigned *seed)
{
	size_t from = sizeof(struct media_head), bytes = 1 + (size_t)rand_r(seed) % 60;

	if (rand_r(seed) % 4 == 0)
		bytes = 1 + (size_t)rand_r(seed) % (BLOCK_SIZE - from);
	from += (size_t)rand_r(seed) % (BLOCK_SIZE - from - bytes + 1);
	for (size_t i = 0; i < bytes; i++)
		object[from + i] = (uint8_t)rand_r(seed);
}

static void random_transaction(unsigned *seed)
{
	struct tx *tx;

	assert_int_equal(tx_begin(fx.meta, &tx), 0);
	for (int n = rand_r(seed) % 5; n >= 0; n--) {
		uint64_t at = fixture_block(&fx, (uint64_t)rand_r(seed) % NODES);
		uint8_t *object;

		assert_int_equal(tx_edit(tx, at, MAGIC_NODE, (void **)&object), 0);
		scribble(object, seed);
	}
	for (int n = rand_r(seed) % 3; n > 0; n--) {
		struct tx_bits bits = {
			.bitmap = fixture_block(&fx, NODES),
			.first = (uint32_t)rand_r(seed) % 2000,
			.count = 1 + (uint32_t)rand_r(seed) % 200,
			.set = rand_r(seed) % 2,
		};

		assert_int_equal(tx_bits(tx, &bits), 0);
	}
	if (rand_r(seed) % 10 == 0)
		tx_abort(tx);
	else
		assert_int_equal(tx_commit(tx), 0);
}

static void record_run(unsigned transactions, unsigned seed)
{
	struct tx *tx;
	void *object;

	assert_int_equal(tx_begin(fx.meta, &tx), 0);
	for (uint64_t i = 0; i < NODES; i++)
		assert_int_equal(tx_create(tx, fixture_block(&fx, i), MAGIC_NODE, &object), 0);
	assert_int_equal(tx_commit(tx), 0);
	fixture_make_bitmap(&fx, NODES, 9, 0);
	assert_int_equal(journal_checkpoint(fx.journal), 0);

	region_size = region_bytes(fx.region);
	initial = malloc(region_size);
	assert_non_null(initial);
	memcpy(initial, region_durable_at(fx.region, 0, region_size), region_size);
	states[0] = heap_hash();
	trace_start(&trace, &region_size, 1);
	trace_mark(&trace, MARK_SYNCED, 0);
	for (unsigned i = 1; i <= transactions; i++) {
		trace_mark(&trace, MARK_BEGIN, i);
		random_transaction(&seed);
		states[i] = heap_hash();
		trace_mark(&trace, MARK_ACKNOWLEDGED, i);
		if (fx.deferred && rand_r(&seed) % 10 == 0) {
			assert_int_equal(journal_sync(fx.journal), 0);
			trace_mark(&trace, MARK_SYNCED, i);
		}
	}
	trace_stop(&trace);
	fixture_shut(&fx, false);
}

/* ---- crashes --------------------------------------------------------------------------------- */

/* Puts the image into the file and opens it; `again`, if not NULL, gets recovery's own trace. */
static int recover(const void *image, uint64_t *hash, struct trace *again)
{
	struct diag d = {{0}};
	int error;

	assert_int_equal(fixture_open_region(&fx), 0);
	memcpy(region_data_at(fx.region, 0, region_size), image, region_size);
	if (region_has_private_view(fx.region)) {
		region_store(fx.region, 0, image, region_size);
		region_forget_private(fx.region);
	}
	fx.config.meta = fx.region;
	if (again)
		trace_start(again, &region_size, 1);
	error = journal_open(&fx.config, &fx.journal, &fx.recovery, &d);
	if (again)
		trace_stop(again);
	if (!error) {
		*hash = heap_hash();
		journal_abandon(fx.journal);
	}
	region_close(fx.region);
	fx.journal = NULL;
	fx.region = NULL;
	return error;
}

struct progress {
	uint64_t begun;
	uint64_t acknowledged;
	uint64_t synced;
	uint64_t oldest; /* state that a recovery may come to; the newest is `begun` */
};

static bool state_allowed(const struct progress *p, uint64_t hash)
{
	for (uint64_t i = p->oldest; i <= p->begun; i++)
		if (states[i] == hash)
			return true;
	return false;
}

/* Cuts recovery off somewhere, and recovers again. */
static bool second_crash_holds(
	const void *image, const struct trace *again, uint64_t hash, bool died, unsigned *seed)
{
	struct machine *m = machine_new(image, region_size, fx.deferred ? BLOCK_SIZE : 64);
	size_t stop = again->count ? (size_t)rand_r(seed) % again->count : 0;
	uint8_t *second = malloc(region_size);
	uint64_t hash2 = 0;
	int error;

	assert_non_null(second);
	for (size_t i = 0; i < stop; i++)
		machine_step(m, &again->events[i]);
	machine_crash(
		m, died ? LUCK_ALL : LUCK_NONE + (enum crash_luck)(rand_r(seed) % 4), seed, second);
	if (!died)
		fx.config.boot_id[0]++;
	error = recover(second, &hash2, NULL);
	free(second);
	machine_free(m);
	return !error && hash2 == hash;
}

static bool crash_holds(const struct machine *m, struct progress p, enum crash_luck luck,
	unsigned *seed, uint8_t *image)
{
	struct trace again = {0};
	bool holds, second = rand_r(seed) % 6 == 0;
	uint64_t hash = 0;

	machine_crash(m, luck, seed, image);
	fx.config.boot_id[0] = 1;
	p.oldest = p.acknowledged;
	if (fx.deferred && luck != LUCK_ALL) {
		fx.config.boot_id[0] = 2;
		p.oldest = p.synced;
	}
	holds = recover(image, &hash, second ? &again : NULL) == 0 && state_allowed(&p, hash);
	if (holds && second)
		holds = second_crash_holds(image, &again, hash, luck == LUCK_ALL, seed);
	trace_free(&again);
	return holds;
}

static bool left_out(enum fault fault, size_t i)
{
	const struct trace_event *e = &trace.events[i];
	uint64_t area = 2 * BLOCK_SIZE, heap = area + JOURNAL;
	bool record = e->kind == TRACE_FLUSH && e->offset >= area && e->offset < heap;

	switch (fault) {
	case FAULT_RECORD_FLUSH:
		return record;
	case FAULT_RECORD_FENCE:
		return e->kind == TRACE_FENCE && i > 0 && trace.events[i - 1].kind == TRACE_FLUSH &&
		       trace.events[i - 1].offset >= area && trace.events[i - 1].offset < heap;
	case FAULT_HOME_FLUSH:
		return e->kind == TRACE_FLUSH && e->offset >= heap;
	case FAULT_COMMIT_FLUSH:
		return e->kind == TRACE_FLUSH &&
		       e->offset == BLOCK_SIZE + offsetof(struct media_journal, commit);
	case FAULT_NONE:
		break;
	}
	return false;
}

/* Goes through the trace; the number of crashes after which recovery was wrong. */
static unsigned count_violations(enum fault fault, unsigned every, unsigned seed)
{
	struct machine *m = machine_new(initial, region_size, fx.deferred ? BLOCK_SIZE : 64);
	uint8_t *image = malloc(region_size);
	struct progress p = {0};
	unsigned violations = 0, crashes = 0;

	assert_non_null(image);
	for (size_t i = 0; i < trace.count; i++) {
		const struct trace_event *e = &trace.events[i];

		if (e->kind == TRACE_MARK) {
			if (e->offset == MARK_BEGIN)
				p.begun = e->count;
			else if (e->offset == MARK_ACKNOWLEDGED)
				p.acknowledged = e->count;
			else
				p.synced = e->count;
		}
		if (e->kind != TRACE_STORE && (unsigned)rand_r(&seed) % every == 0)
			for (enum crash_luck luck = LUCK_NONE; luck <= LUCK_TORN; luck++, crashes++)
				violations += !crash_holds(m, p, luck, &seed, image);
		else if ((unsigned)rand_r(&seed) % (4 * every) == 0 && ++crashes)
			violations += !crash_holds(m, p, LUCK_TORN, &seed, image);
		if (!left_out(fault, i))
			machine_step(m, e);
		if (fault && violations)
			break;
	}
	if (!fault)
		print_message("%u crashes\n", crashes);
	free(image);
	machine_free(m);
	return violations;
}

static void finish(void)
{
	trace_free(&trace);
	free(initial);
	initial = NULL;
	fx.config.boot_id[0] = 1;
	fixture_close(&fx);
}

/* ---- pmem ------------------------------------------------------------------------------------ */

static void begin_pmem(unsigned transactions)
{
	fixture_open_on_disk(&fx, JOURNAL, BLOCKS, false);
	if (region_media(fx.region) != REGION_PMEM) {
		fixture_close(&fx);
		skip();
	}
	record_run(transactions, 11);
}

static void pmem_power_cut_leaves_a_committed_state(void **state)
{
	begin_pmem(TRANSACTIONS);
	assert_int_equal(count_violations(FAULT_NONE, one_in, 5), 0);
	finish();
}

static void pmem_planted_faults_are_found(void **state)
{
	begin_pmem(TRANSACTIONS);
	assert_int_not_equal(count_violations(FAULT_RECORD_FLUSH, 2, 5), 0);
	assert_int_not_equal(count_violations(FAULT_RECORD_FENCE, 2, 5), 0);
	assert_int_not_equal(count_violations(FAULT_HOME_FLUSH, 40, 5), 0);
	assert_int_not_equal(count_violations(FAULT_COMMIT_FLUSH, 2, 5), 0);
	finish();
}

/* ---- page cache ------------------------------------------------------------------------------ */

static bool on_page_cache(void)
{
	if (region_media(fx.region) == REGION_PAGE_CACHE)
		return true;
	fixture_close(&fx);
	return false;
}

static void relaxed_power_cut_leaves_the_last_sync_or_later(void **state)
{
	fixture_open_on_disk(&fx, JOURNAL, BLOCKS, true);
	if (!on_page_cache())
		skip();
	record_run(TRANSACTIONS, 12);
	assert_int_equal(count_violations(FAULT_NONE, one_in / 5 + 1, 6), 0);
	finish();
}

static void strict_power_cut_leaves_a_committed_state(void **state)
{
	fixture_open_on_disk(&fx, JOURNAL, BLOCKS, false);
	if (!on_page_cache())
		skip();
	record_run(40, 13);
	assert_int_equal(count_violations(FAULT_NONE, one_in / 5 + 1, 7), 0);
	finish();
}

int main(int argc, char **argv)
{
	const struct CMUnitTest page_cache[] = {
		cmocka_unit_test(relaxed_power_cut_leaves_the_last_sync_or_later),
		cmocka_unit_test(strict_power_cut_leaves_a_committed_state),
	};
	const struct CMUnitTest pmem[] = {
		cmocka_unit_test(pmem_power_cut_leaves_a_committed_state),
		cmocka_unit_test(pmem_planted_faults_are_found),
	};

	if (argc > 1)
		one_in = (unsigned)atoi(argv[1]);
	if (argc > 2 || one_in == 0) {
		fprintf(stderr, "usage: %s [ONE_IN]\n", argv[0]);
		return 2;
	}
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
