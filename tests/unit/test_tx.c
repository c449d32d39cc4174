// SPDX-License-Identifier: BSD-2-Clause
/*
 * test_tx.c - transactions: what is seen, what is kept, what an abort leaves, what a crash leaves.
 */
#include "fixture.h"

#include <errno.h>
#include <string.h>

#define JOURNAL (1u << 20)

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

static struct media_node *create_node(struct tx *tx, uint64_t block)
{
	void *out;

	assert_int_equal(tx_create(tx, fixture_block(&fx, block), MAGIC_NODE, &out), 0);
	return out;
}

static void view_sees_own_shadow_and_others_do_not(void **state)
{
	uint64_t at = fixture_block(&fx, 3);
	const struct media_node *seen;
	struct media_node *node, *again;
	struct tx *tx;

	assert_int_equal(tx_begin(fx.meta, &tx), 0);
	node = create_node(tx, 3);
	node->owner = 77;
	assert_int_equal(tx_view(fx.meta, tx, at, MAGIC_NODE, (const void **)&seen), 0);
	assert_int_equal(seen->owner, 77);
	assert_int_equal(tx_edit(tx, at, MAGIC_NODE, (void **)&again), 0);
	assert_ptr_equal(node, again);
	assert_int_equal(tx_view(fx.meta, NULL, at, MAGIC_NODE, (const void **)&seen), -EUCLEAN);
	assert_int_equal(tx_commit(tx), 0);
	assert_int_equal(tx_view(fx.meta, NULL, at, MAGIC_NODE, (const void **)&seen), 0);
	assert_int_equal(seen->owner, 77);
	assert_int_equal(meta_verify(fx.meta, at, MAGIC_NODE), 0);
}

static void abort_leaves_nothing(void **state)
{
	uint64_t position = journal_sequence(fx.journal);
	uint8_t before[BLOCK_SIZE];
	struct tx *tx;

	memcpy(before, region_at(fx.region, fixture_block(&fx, 3), BLOCK_SIZE), BLOCK_SIZE);
	assert_int_equal(tx_begin(fx.meta, &tx), 0);
	create_node(tx, 3)->owner = 77;
	tx_abort(tx);
	assert_memory_equal(
		before, region_at(fx.region, fixture_block(&fx, 3), BLOCK_SIZE), BLOCK_SIZE);
	assert_int_equal(journal_sequence(fx.journal), position);
}

static void transaction_without_change_writes_nothing(void **state)
{
	uint64_t position;
	void *node;
	struct tx *tx;

	assert_int_equal(tx_begin(fx.meta, &tx), 0);
	create_node(tx, 3);
	assert_int_equal(tx_commit(tx), 0);
	position = journal_sequence(fx.journal);
	assert_int_equal(tx_begin(fx.meta, &tx), 0);
	assert_int_equal(tx_edit(tx, fixture_block(&fx, 3), MAGIC_NODE, &node), 0);
	assert_int_equal(tx_commit(tx), 0);
	assert_int_equal(journal_sequence(fx.journal), position);
}

static void damaged_object_is_euclean_and_others_are_not(void **state)
{
	const void *seen;
	struct tx *tx;
	uint8_t byte;

	assert_int_equal(tx_begin(fx.meta, &tx), 0);
	create_node(tx, 3);
	create_node(tx, 4);
	assert_int_equal(tx_commit(tx), 0);
	assert_int_equal(fixture_crash(&fx), 0);
	byte = *(const uint8_t *)region_at(fx.region, fixture_block(&fx, 3) + 3000, 1) ^ 4;
	region_store(fx.region, fixture_block(&fx, 3) + 3000, &byte, 1);
	assert_int_equal(
		tx_view(fx.meta, NULL, fixture_block(&fx, 3), MAGIC_NODE, &seen), -EUCLEAN);
	assert_int_equal(tx_view(fx.meta, NULL, fixture_block(&fx, 4), MAGIC_NODE, &seen), 0);
}

static void place_that_holds_no_object_is_enxio(void **state)
{
	const void *seen;

	assert_int_equal(tx_view(fx.meta, NULL, 0, MAGIC_NODE, &seen), -ENXIO);
	assert_int_equal(tx_view(fx.meta, NULL, BLOCK_SIZE, MAGIC_NODE, &seen), -ENXIO);
	assert_int_equal(
		tx_view(fx.meta, NULL, fixture_block(&fx, 3) + 8, MAGIC_NODE, &seen), -ENXIO);
	assert_int_equal(tx_view(fx.meta, NULL, fixture_block(&fx, 64), MAGIC_NODE, &seen), -ENXIO);
	assert_int_equal(tx_view(fx.meta, NULL, ~4095ull, MAGIC_NODE, &seen), -ENXIO);
}

struct told {
	unsigned calls;
	bool committed;
	uint64_t position;
};

static void tell(void *context, const struct tx_bits *bits, bool committed, uint64_t position)
{
	struct told *told = context;

	told->calls++;
	told->committed = committed;
	told->position = position;
}

static void bits_change_at_commit_only_and_completions_run_once(void **state)
{
	struct told told = {0};
	const struct media_bitmap *bitmap;
	struct tx *tx;

	fixture_make_bitmap(&fx, 5, 9, 0);
	struct tx_bits bits = {fixture_block(&fx, 5), 60, 70, true, tell, &told};

	assert_int_equal(tx_begin(fx.meta, &tx), 0);
	assert_int_equal(tx_bits(tx, &bits), 0);
	tx_abort(tx);
	assert_int_equal(told.calls, 1);
	assert_false(told.committed);
	assert_int_equal(tx_begin(fx.meta, &tx), 0);
	assert_int_equal(tx_bits(tx, &bits), 0);
	assert_int_equal(tx_commit(tx), 0);
	assert_int_equal(told.calls, 2);
	assert_true(told.committed);
	assert_int_equal(told.position, journal_durable_position(fx.journal));
	assert_int_equal(
		tx_view(fx.meta, NULL, bits.bitmap, MAGIC_GROUP, (const void **)&bitmap), 0);
	assert_int_equal(bitmap->bits[0], 0xfull << 60);
	assert_int_equal(bitmap->bits[1], ~0ull);
	assert_int_equal(bitmap->bits[2], 3);
	assert_int_equal(meta_verify(fx.meta, bits.bitmap, MAGIC_GROUP), 0);
}

static void limits_are_e2big(void **state)
{
	struct told told = {0};
	struct tx *tx;
	void *out;

	fixture_shut(&fx, true);
	fixture_open(&fx, 4u << 20, TX_OBJECTS_MAX + 8, false);
	fixture_make_bitmap(&fx, TX_OBJECTS_MAX + 1, 9, 0);
	assert_int_equal(tx_begin(fx.meta, &tx), 0);
	assert_true(tx_has_room(tx));
	for (uint32_t i = 0; i < TX_OBJECTS_MAX; i++)
		memset(create_node(tx, i)->slots, 0xa5 ^ (int)i, 4000);
	assert_false(tx_has_room(tx));
	assert_int_equal(
		tx_create(tx, fixture_block(&fx, TX_OBJECTS_MAX), MAGIC_NODE, &out), -E2BIG);
	for (uint32_t i = 0; i < TX_BITS_MAX; i++)
		assert_int_equal(
			tx_bits(tx, &(struct tx_bits){fixture_block(&fx, TX_OBJECTS_MAX + 1), i * 2,
					    1, true, tell, &told}),
			0);
	assert_int_equal(tx_bits(tx, &(struct tx_bits){fixture_block(&fx, TX_OBJECTS_MAX + 1), 1, 1,
					     true, NULL, NULL}),
		-E2BIG);
	assert_int_equal(tx_commit(tx), 0);
	assert_int_equal(told.calls, TX_BITS_MAX);
	assert_int_equal(fixture_crash(&fx), 0);
	for (uint32_t i = 0; i < TX_OBJECTS_MAX; i++)
		assert_int_equal(meta_verify(fx.meta, fixture_block(&fx, i), MAGIC_NODE), 0);
	assert_int_equal(
		meta_verify(fx.meta, fixture_block(&fx, TX_OBJECTS_MAX + 1), MAGIC_GROUP), 0);
}

/* Random edits of a few blocks against plain copies, with aborts, and crashes in between. */
static void random_edits_equal_the_model(void **state)
{
	static uint8_t model[8][BLOCK_SIZE], next[8][BLOCK_SIZE];
	const size_t skip = sizeof(struct media_head);
	bool exists[8] = {0};
	struct tx *tx;

	srand(42);
	for (int round = 0; round < 4000; round++) {
		bool made[8];

		memcpy(next, model, sizeof(next));
		memcpy(made, exists, sizeof(made));
		assert_int_equal(tx_begin(fx.meta, &tx), 0);
		for (int n = rand() % 4; n >= 0; n--) {
			int block = rand() % 8;
			uint64_t at = fixture_block(&fx, (uint64_t)block);
			uint8_t *object;

			if (!made[block] || rand() % 50 == 0) {
				object = (uint8_t *)create_node(tx, (uint64_t)block);
				memset(next[block], 0, BLOCK_SIZE);
				made[block] = true;
			} else {
				assert_int_equal(tx_edit(tx, at, MAGIC_NODE, (void **)&object), 0);
			}
			for (int edit = rand() % 5; edit >= 0; edit--) {
				size_t from = skip + (size_t)rand() % (BLOCK_SIZE - skip);
				size_t most = BLOCK_SIZE - from;
				size_t bytes = 1 + (size_t)rand() % (rand() % 10 ? 40 : most);
				int value = rand();

				if (bytes > most)
					bytes = most;
				memset(object + from, value, bytes);
				memset(next[block] + from, value, bytes);
			}
		}
		if (rand() % 4 == 0) {
			tx_abort(tx);
		} else {
			assert_int_equal(tx_commit(tx), 0);
			memcpy(model, next, sizeof(model));
			memcpy(exists, made, sizeof(exists));
		}
		if (rand() % 200 == 0)
			assert_int_equal(fixture_crash(&fx), 0);
		if (rand() % 200 == 0)
			assert_int_equal(journal_sync(fx.journal), 0);
		for (int block = 0; block < 8; block++) {
			const uint8_t *seen;

			if (!exists[block])
				continue;
			assert_int_equal(meta_verify(fx.meta, fixture_block(&fx, (uint64_t)block),
						 MAGIC_NODE),
				0);
			assert_int_equal(tx_view(fx.meta, NULL, fixture_block(&fx, (uint64_t)block),
						 MAGIC_NODE, (const void **)&seen),
				0);
			assert_memory_equal(seen + skip, model[block] + skip, BLOCK_SIZE - skip);
		}
	}
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define CASE_DEFERRED(name)                                                                        \
	{                                                                                          \
#name " (deferred)", name, setup_deferred, teardown, NULL                          \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(view_sees_own_shadow_and_others_do_not),
		CASE(abort_leaves_nothing),
		CASE(transaction_without_change_writes_nothing),
		CASE(damaged_object_is_euclean_and_others_are_not),
		CASE(place_that_holds_no_object_is_enxio),
		CASE(bits_change_at_commit_only_and_completions_run_once),
		CASE(limits_are_e2big),
		CASE(random_edits_equal_the_model),
		CASE_DEFERRED(random_edits_equal_the_model),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
