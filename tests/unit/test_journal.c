// SPDX-License-Identifier: BSD-2-Clause
/*
 * test_journal.c - the redo log: wrapping, checkpoints, recovery, power loss, damage.
 */
#include "fixture.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define JOURNAL (1u << 20)
#define COMMIT offsetof(struct media_journal, commit)
#define TAIL offsetof(struct media_journal, tail)
#define SYNCED offsetof(struct media_journal, synced)

static struct fixture fx;

static int setup(void **state)
{
	fixture_open(&fx, JOURNAL, 64, false);
	return 0;
}

static int setup_deferred(void **state)
{
	fixture_open(&fx, JOURNAL, 64, true);
	return 0;
}

static int teardown(void **state)
{
	fixture_close(&fx);
	return 0;
}

static uint64_t position(size_t which)
{
	return *(const uint64_t *)region_durable_at(fx.region, BLOCK_SIZE + which, 8);
}

static void set_position(size_t which, uint64_t value)
{
	region_store64(fx.region, BLOCK_SIZE + which, value);
}

static int write_bytes(uint64_t block, const void *bytes, uint32_t count)
{
	const struct journal_write write = {
		.operation = {fixture_block(&fx, block), RECORD_WRITE, 0, count},
		.bytes = bytes,
	};

	return journal_commit(fx.journal, &write, 1, NULL, NULL);
}

static int write_value(uint64_t block, uint64_t value)
{
	return write_bytes(block, &value, sizeof(value));
}

static uint64_t value_at(uint64_t block)
{
	return *(const uint64_t *)region_at(fx.region, fixture_block(&fx, block), 8);
}

static void committed_record_survives_a_crash(void **state)
{
	assert_int_equal(write_value(1, 11), 0);
	assert_int_equal(write_value(2, 22), 0);
	assert_int_equal(value_at(1), 11);
	assert_int_equal(fixture_crash(&fx), 0);
	assert_int_equal(fx.recovery.records, 2);
	assert_false(fx.recovery.was_clean);
	assert_false(fx.recovery.power_lost);
	assert_int_equal(value_at(1), 11);
	assert_int_equal(value_at(2), 22);
	assert_int_equal(position(TAIL), position(COMMIT));
}

static void orderly_close_leaves_nothing_to_replay(void **state)
{
	assert_int_equal(write_value(1, 11), 0);
	fixture_shut(&fx, true);
	assert_int_equal(fixture_reopen(&fx), 0);
	assert_true(fx.recovery.was_clean);
	assert_int_equal(fx.recovery.records, 0);
	assert_int_equal(value_at(1), 11);
}

static void records_wrap_by_pads_and_checkpoints_make_room(void **state)
{
	static uint8_t bytes[100000], model[64][BLOCK_SIZE];
	uint64_t total = 0;

	srand(3);
	for (int round = 0; round < 600; round++) {
		uint32_t count = 8 + 8 * ((uint32_t)rand() % (rand() % 4 ? 100 : 12000));
		uint64_t block = (uint64_t)rand() % 38;

		for (uint32_t i = 0; i < count; i++)
			bytes[i] = (uint8_t)(rand() >> 7);
		assert_int_equal(write_bytes(block, bytes, count), 0);
		memcpy(&model[block], bytes, count);
		total += count;
		if (rand() % 50 == 0) {
			assert_int_equal(fixture_crash(&fx), 0);
			assert_memory_equal(
				region_at(fx.region, fixture_block(&fx, 0), sizeof(model)), model,
				sizeof(model));
		}
		if (rand() % 50 == 0)
			assert_int_equal(journal_checkpoint(fx.journal), 0);
		assert_memory_equal(region_at(fx.region, fixture_block(&fx, block), count),
			model[block], count);
	}
	assert_true(total > 5 * JOURNAL);
}

static void record_that_is_too_large_is_e2big(void **state)
{
	static uint8_t bytes[JOURNAL / 4];
	uint64_t before = position(COMMIT);

	fixture_close(&fx);
	fixture_open(&fx, JOURNAL, 128, false);
	assert_int_equal(write_bytes(0, bytes, sizeof(bytes)), -E2BIG);
	assert_int_equal(position(COMMIT), before);
	assert_int_equal(write_bytes(0, bytes, sizeof(bytes) - 64), 0);
}

static void replaying_twice_changes_nothing(void **state)
{
	static uint8_t first[64 * BLOCK_SIZE];
	struct tx_bits bits = {0};
	struct tx *tx;
	uint64_t tail;

	fixture_make_bitmap(&fx, 5, 9, 0);
	tail = position(TAIL);
	for (uint32_t i = 0; i < 50; i++) {
		assert_int_equal(tx_begin(fx.meta, &tx), 0);
		bits = (struct tx_bits){fixture_block(&fx, 5), i * 7, 20, i % 3 != 0, NULL, NULL};
		assert_int_equal(tx_bits(tx, &bits), 0);
		assert_int_equal(tx_commit(tx), 0);
		assert_int_equal(write_value(6 + i % 5, i), 0);
	}
	memcpy(first, region_at(fx.region, fixture_block(&fx, 0), sizeof(first)), sizeof(first));
	for (int i = 0; i < 3; i++) {
		assert_int_equal(fixture_crash(&fx), 0);
		assert_memory_equal(region_at(fx.region, fixture_block(&fx, 0), sizeof(first)),
			first, sizeof(first));
		assert_int_equal(meta_verify(fx.meta, fixture_block(&fx, 5), MAGIC_GROUP), 0);
		/* As if the crash had come before the checkpoint. */
		set_position(TAIL, tail);
	}
	assert_int_equal(fixture_crash(&fx), 0);
	assert_true(fx.recovery.records >= 100);
}

static void positions_out_of_bounds_are_euclean(void **state)
{
	static const struct {
		size_t which;
		uint64_t value;
	} bad[] = {
		{COMMIT, 0},
		{COMMIT, 64},
		{COMMIT, 3 * JOURNAL},
		{COMMIT, UINT64_MAX},
		{COMMIT, UINT64_MAX - 63},
		{COMMIT, 1ull << 63},
		{TAIL, 1},
		{TAIL, 1ull << 40},
		{TAIL, UINT64_MAX},
		{SYNCED, 1ull << 40},
		{SYNCED, 63},
	};

	for (uint64_t i = 0; i < 3000; i++)
		assert_int_equal(write_value(i % 60, i), 0);
	assert_int_equal(journal_checkpoint(fx.journal), 0);
	assert_int_equal(write_value(1, 1), 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		uint64_t good = position(bad[i].which);

		set_position(bad[i].which, bad[i].value);
		assert_int_equal(fixture_crash(&fx), -EUCLEAN);
		/* It was refused as it was found. */
		assert_int_equal(fixture_open_region(&fx), 0);
		assert_int_equal(position(bad[i].which), bad[i].value);
		set_position(bad[i].which, good);
		region_close(fx.region);
		assert_int_equal(fixture_reopen(&fx), 0);
		assert_int_equal(write_value(1, i), 0);
	}
}

static void damaged_record_is_euclean_with_its_position(void **state)
{
	uint64_t start = position(COMMIT), at;
	uint8_t byte;

	for (uint64_t i = 0; i < 20; i++)
		assert_int_equal(write_value(i, i + 1), 0);
	fixture_shut(&fx, false);
	/* Any byte of a record, its padding included. */
	for (uint64_t i = 0; i < 64; i++) {
		assert_int_equal(fixture_open_region(&fx), 0);
		at = 2 * BLOCK_SIZE + start + 5 * 64 + i;
		byte = *(const uint8_t *)region_at(fx.region, at, 1) ^ (uint8_t)(1 << i % 8);
		region_store(fx.region, at, &byte, 1);
		region_close(fx.region);
		assert_int_equal(fixture_reopen(&fx), -EUCLEAN);
		assert_int_equal(fixture_open_region(&fx), 0);
		byte ^= (uint8_t)(1 << i % 8);
		region_store(fx.region, at, &byte, 1);
		region_close(fx.region);
	}
	assert_int_equal(fixture_reopen(&fx), 0);
	assert_int_equal(fx.recovery.records, 20);
	assert_int_equal(value_at(19), 20);
}

static void damaged_header_is_euclean(void **state)
{
	uint8_t byte = 0x80;

	fixture_shut(&fx, true);
	assert_int_equal(fixture_open_region(&fx), 0);
	region_store(fx.region, BLOCK_SIZE + 20, &byte, 1);
	region_close(fx.region);
	assert_int_equal(fixture_reopen(&fx), -EUCLEAN);
}

/* A record with a right checksum whose operations point anywhere: written by a lying program. */
static void operation_out_of_bounds_is_euclean(void **state)
{
	const struct media_operation bad[] = {
		{0, RECORD_WRITE, 0, 8},
		{BLOCK_SIZE, RECORD_WRITE, 0, 8},
		{fixture_block(&fx, 64), RECORD_WRITE, 0, 8},
		{fixture_block(&fx, 64) - 8, RECORD_WRITE, 0, 16},
		{~7ull, RECORD_WRITE, 0, 16},
		{fixture_block(&fx, 1), RECORD_WRITE, 0, 64},
		{fixture_block(&fx, 1), RECORD_WRITE, 0, 0},
		{fixture_block(&fx, 1), 7, 0, 8},
		{fixture_block(&fx, 1) + 8, RECORD_SET, 0, 8},
		{fixture_block(&fx, 1), RECORD_SET, 32255, 2},
		{fixture_block(&fx, 1), RECORD_CLEAR, 0, GROUP_BITS + 1},
		{fixture_block(&fx, 1), RECORD_CLEAR, 0, 0},
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		uint8_t bytes[64] = {0};
		struct media_record *record = (void *)bytes;
		uint64_t at = position(COMMIT);

		*record = (struct media_record){
			.head.magic = MAGIC_RECORD, .position = at, .bytes = 64, .operations = 1};
		memcpy(record + 1, &bad[i], sizeof(bad[i]));
		record->head.checksum = object_checksum(bytes, sizeof(bytes), at);
		region_store(fx.region, 2 * BLOCK_SIZE + at, bytes, sizeof(bytes));
		set_position(COMMIT, at + 64);
		assert_int_equal(fixture_crash(&fx), -EUCLEAN);
		assert_int_equal(fixture_open_region(&fx), 0);
		set_position(COMMIT, at);
		region_close(fx.region);
		assert_int_equal(fixture_reopen(&fx), 0);
	}
}

/* Damage with right checksums again, so that it reaches the decoder behind them. */
static void reseal(uint8_t *image, uint64_t area, uint64_t from, uint64_t to)
{
	while (from < to) {
		struct media_record *record = (void *)(image + area + from);
		uint64_t bytes = record->operations ? record->bytes : sizeof(*record);

		if (record->bytes < sizeof(*record) || record->bytes % 64 || bytes > to - from)
			return;
		record->head.checksum = object_checksum(record, bytes, record->position);
		from += record->bytes;
	}
}

static void random_damage_is_refused_or_replayed_inside_the_heap(void **state)
{
	static uint8_t good[2 * BLOCK_SIZE + JOURNAL + 65 * BLOCK_SIZE], image[sizeof(good)];
	const uint64_t area = 2 * BLOCK_SIZE, heap = area + JOURNAL;
	unsigned seed = 9, opened = 0;

	fixture_make_bitmap(&fx, 5, 9, 0);
	for (uint64_t i = 0; i < 30; i++) {
		const struct journal_write write = {
			.operation = {fixture_block(&fx, 5), RECORD_SET, (uint16_t)(i * 9), 40}};

		assert_int_equal(write_value(i, i), 0);
		assert_int_equal(journal_commit(fx.journal, &write, 1, NULL, NULL), 0);
	}
	uint64_t end = position(COMMIT);
	assert_int_equal(sizeof(good), region_bytes(fx.region));
	memcpy(good, region_at(fx.region, 0, sizeof(good)), sizeof(good));
	fixture_shut(&fx, false);
	for (int round = 0; round < 3000; round++) {
		memcpy(image, good, sizeof(good));
		for (int n = rand_r(&seed) % 4; n >= 0; n--) {
			uint64_t at = rand_r(&seed) % 8
					      ? area + (uint64_t)rand_r(&seed) % end
					      : BLOCK_SIZE + (uint64_t)rand_r(&seed) % 280;

			image[at] = rand_r(&seed) % 2
					    ? (uint8_t)rand_r(&seed)
					    : image[at] ^ (uint8_t)(1 << rand_r(&seed) % 8);
		}
		if (rand_r(&seed) % 4)
			reseal(image, area, 0, end);
		assert_int_equal(fixture_open_region(&fx), 0);
		region_store(fx.region, 0, image, sizeof(image));
		region_close(fx.region);
		int error = fixture_reopen(&fx);
		if (error) {
			assert_int_equal(error, -EUCLEAN);
			continue;
		}
		opened++;
		assert_memory_equal(region_at(fx.region, 0, BLOCK_SIZE), image, BLOCK_SIZE);
		assert_memory_equal(region_at(fx.region, heap + 64 * BLOCK_SIZE, BLOCK_SIZE),
			image + heap + 64 * BLOCK_SIZE, BLOCK_SIZE);
		fixture_shut(&fx, false);
	}
	assert_true(opened > 0);
	assert_int_equal(fixture_open_region(&fx), 0);
	region_store(fx.region, 0, good, sizeof(good));
	region_close(fx.region);
	assert_int_equal(fixture_reopen(&fx), 0);
}

static void read_only_replays_without_writing(void **state)
{
	uint64_t commit;

	assert_int_equal(write_value(1, 11), 0);
	commit = position(COMMIT);
	fixture_shut(&fx, false);
	fx.read_only = true;
	assert_int_equal(fixture_reopen(&fx), 0);
	assert_int_equal(value_at(1), 11);
	assert_int_equal(write_value(1, 12), -EROFS);
	assert_int_equal(journal_sync(fx.journal), 0);
	fixture_shut(&fx, true);
	fx.read_only = false;
	assert_int_equal(fixture_open_region(&fx), 0);
	assert_int_equal(position(TAIL), 0);
	assert_int_equal(position(COMMIT), commit);
	region_close(fx.region);
	assert_int_equal(fixture_reopen(&fx), 0);
}

/* ---- relaxed page cache ---------------------------------------------------------------------- */

static void power_loss_goes_back_to_the_last_sync(void **state)
{
	assert_int_equal(write_value(1, 11), 0);
	assert_int_equal(journal_sync(fx.journal), 0);
	assert_int_equal(fx.data_syncs, 1);
	assert_int_equal(write_value(1, 12), 0);
	assert_int_equal(write_value(2, 22), 0);
	/* The home is not written before the log is durable. */
	assert_int_not_equal(
		*(const uint64_t *)region_durable_at(fx.region, fixture_block(&fx, 1), 8), 12);

	fx.config.boot_id[0]++;
	assert_int_equal(fixture_crash(&fx), 0);
	assert_true(fx.recovery.power_lost);
	assert_int_equal(fx.recovery.bytes_undone, 128);
	assert_int_equal(value_at(1), 11);
	assert_int_equal(value_at(2), 0);
	assert_int_equal(write_value(2, 23), 0);
	assert_int_equal(fixture_crash(&fx), 0);
	assert_false(fx.recovery.power_lost);
	assert_int_equal(value_at(2), 23);
}

static void daemon_crash_loses_nothing_that_was_not_synced(void **state)
{
	for (uint64_t i = 0; i < 40; i++)
		assert_int_equal(write_value(i, i + 100), 0);
	assert_int_equal(fixture_crash(&fx), 0);
	assert_false(fx.recovery.power_lost);
	for (uint64_t i = 0; i < 40; i++)
		assert_int_equal(value_at(i), i + 100);
}

static void power_loss_after_a_daemon_crash_goes_back_to_the_last_sync(void **state)
{
	assert_int_equal(write_value(1, 11), 0);
	assert_int_equal(journal_sync(fx.journal), 0);
	assert_int_equal(write_value(1, 12), 0);
	assert_int_equal(fixture_crash(&fx), 0);
	assert_int_equal(value_at(1), 12);
	assert_true(position(SYNCED) < position(COMMIT));
	assert_int_equal(journal_durable_position(fx.journal), position(SYNCED));
	fx.config.boot_id[0]++;
	assert_int_equal(fixture_crash(&fx), 0);
	assert_true(fx.recovery.power_lost);
	assert_int_equal(value_at(1), 11);
}

static void log_changes_its_durability(void **state)
{
	for (int round = 0; round < 6; round++) {
		assert_int_equal(write_value(1, 10 + (uint64_t)round), 0);
		fixture_shut(&fx, round % 3 == 0);
		fx.deferred = !fx.deferred;
		fx.config.defer_durable = fx.deferred;
		assert_int_equal(fixture_reopen(&fx), 0);
		assert_int_equal(value_at(1), 10 + (uint64_t)round);
		assert_true(fx.deferred == (position(SYNCED) != UINT64_MAX));
	}
}

static void damage_behind_the_last_sync_is_undone_by_a_power_loss(void **state)
{
	uint64_t at;
	uint8_t byte = 0xff;

	assert_int_equal(write_value(1, 11), 0);
	assert_int_equal(journal_sync(fx.journal), 0);
	at = position(COMMIT);
	assert_int_equal(write_value(1, 12), 0);
	region_store(fx.region, 2 * BLOCK_SIZE + at + 30, &byte, 1);
	/* Same boot: it is in the way. */
	assert_int_equal(fixture_crash(&fx), -EUCLEAN);
	fx.config.boot_id[0]++;
	assert_int_equal(fixture_reopen(&fx), 0);
	assert_true(fx.recovery.power_lost);
	assert_int_equal(value_at(1), 11);
}

static void checkpoint_publishes_only_what_is_synced(void **state)
{
	static uint8_t bytes[16 * BLOCK_SIZE];

	/* Much more than the area: commits sync and checkpoint by themselves. */
	for (int round = 0; round < 200; round++) {
		memset(bytes, round, sizeof(bytes));
		assert_int_equal(write_bytes(0, bytes, sizeof(bytes)), 0);
		assert_true(position(TAIL) <= position(SYNCED));
		assert_true(position(SYNCED) <= position(COMMIT));
		if (round % 13 == 0) {
			fx.config.boot_id[0]++;
			assert_int_equal(fixture_crash(&fx), 0);
			uint8_t last = (uint8_t)value_at(0);
			for (size_t i = 0; i < sizeof(bytes); i++)
				assert_int_equal(*(const uint8_t *)region_at(
							 fx.region, fixture_block(&fx, 0) + i, 1),
					last);
		}
	}
	assert_true(fx.data_syncs > 5);
}

static void failed_data_sync_ends_writing(void **state)
{
	assert_int_equal(write_value(1, 11), 0);
	fx.data_sync_result = -EIO;
	assert_int_equal(journal_sync(fx.journal), -EIO);
	assert_int_equal(write_value(1, 12), -EROFS);
	assert_int_equal(journal_sync(fx.journal), -EROFS);
	fx.data_sync_result = 0;
	assert_int_equal(fixture_crash(&fx), 0);
	assert_int_equal(value_at(1), 11);
}

/* ---- threads --------------------------------------------------------------------------------- */

#define THREADS 4

static void *writer(void *context)
{
	uint64_t block = (uint64_t)(uintptr_t)context;
	uint64_t bytes[100];

	for (uint64_t i = 1; i <= 1500; i++) {
		for (int n = 0; n < 100; n++)
			bytes[n] = i;
		if (write_bytes(block, bytes, sizeof(bytes)))
			abort();
		if (i % 200 == 0 && journal_sync(fx.journal))
			abort();
	}
	return NULL;
}

static void commits_of_many_threads_are_all_there(void **state)
{
	pthread_t threads[THREADS];

	for (uintptr_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, writer, (void *)i), 0);
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	assert_int_equal(fixture_crash(&fx), 0);
	for (uint64_t i = 0; i < THREADS; i++)
		assert_int_equal(value_at(i), 1500);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define CASE_DEFERRED(name)                                                                        \
	{                                                                                          \
#name " (deferred)", name, setup_deferred, teardown, NULL                          \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(committed_record_survives_a_crash),
		CASE(orderly_close_leaves_nothing_to_replay),
		CASE_DEFERRED(orderly_close_leaves_nothing_to_replay),
		CASE(records_wrap_by_pads_and_checkpoints_make_room),
		CASE_DEFERRED(records_wrap_by_pads_and_checkpoints_make_room),
		CASE(record_that_is_too_large_is_e2big),
		CASE(replaying_twice_changes_nothing),
		CASE_DEFERRED(replaying_twice_changes_nothing),
		CASE(positions_out_of_bounds_are_euclean),
		CASE_DEFERRED(positions_out_of_bounds_are_euclean),
		CASE(damaged_record_is_euclean_with_its_position),
		CASE(damaged_header_is_euclean),
		CASE(operation_out_of_bounds_is_euclean),
		CASE(random_damage_is_refused_or_replayed_inside_the_heap),
		CASE(read_only_replays_without_writing),
		CASE_DEFERRED(read_only_replays_without_writing),
		CASE_DEFERRED(power_loss_goes_back_to_the_last_sync),
		CASE_DEFERRED(daemon_crash_loses_nothing_that_was_not_synced),
		CASE_DEFERRED(power_loss_after_a_daemon_crash_goes_back_to_the_last_sync),
		CASE_DEFERRED(log_changes_its_durability),
		CASE_DEFERRED(damage_behind_the_last_sync_is_undone_by_a_power_loss),
		CASE_DEFERRED(checkpoint_publishes_only_what_is_synced),
		CASE_DEFERRED(failed_data_sync_ends_writing),
		CASE(commits_of_many_threads_are_all_there),
		CASE_DEFERRED(commits_of_many_threads_are_all_there),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
