// SPDX-License-Identifier: BSD-2-Clause
/*
 * test_btree.c - the B+tree against a sorted array, over transactions in plain memory.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "btree.h"
#include "fake_media.h"

struct bed {
	struct fake_media fake;
	struct btree tree;
	struct media_root root;
	uint64_t seed;
};

static uint64_t next_random(struct bed *b)
{
	b->seed ^= b->seed << 13;
	b->seed ^= b->seed >> 7;
	b->seed ^= b->seed << 17;
	return b->seed;
}

static void bed_open(struct bed *b, uint64_t blocks)
{
	memset(b, 0, sizeof(*b));
	fake_media_open(&b->fake, blocks);
	b->tree = (struct btree){.meta = b->fake.meta, .heap = b->fake.heap, .owner = 7};
	b->seed = 88172645463325252ull;
}

static void bed_close(struct bed *b)
{
	fake_media_close(&b->fake);
}

/* ---- checking -------------------------------------------------------------------------------- */

struct seen {
	uint64_t nodes, leaves, items;
	bool quiet;
};

static int see_block(void *context, uint64_t offset, uint16_t level)
{
	struct seen *s = context;

	(void)offset;
	s->nodes++;
	s->leaves += level == 0;
	return 0;
}

static int see_item(void *context, const struct btree_item *item)
{
	struct seen *s = context;

	(void)item;
	s->items++;
	return 0;
}

static void see_bad(void *context, uint64_t offset, const char *why)
{
	struct seen *s = context;

	if (!s->quiet)
		print_error("node %llu %s\n", (unsigned long long)offset, why);
}

static struct seen bed_check(struct bed *b)
{
	struct seen seen = {0};
	struct btree_visitor v = {&seen, see_block, see_item, see_bad};

	assert_int_equal(btree_check(&b->tree, &b->root, &v), 0);
	assert_int_equal(seen.nodes, fake_media_used(&b->fake));
	return seen;
}

/* ---- against a model ------------------------------------------------------------------------- */

#define MODEL_KEYS 1500u /* keys are numbers below it, spread out */
struct model {
	uint16_t bytes[MODEL_KEYS];
	uint8_t there[MODEL_KEYS], fill[MODEL_KEYS];
};

static uint64_t spread(unsigned k)
{
	return k * 1000003ull + 5;
}

static void fill_value(uint8_t *value, unsigned k, uint8_t fill)
{
	for (unsigned i = 0; i < BTREE_VALUE_MAX; i++)
		value[i] = (uint8_t)(fill + k + i * 7);
}

static void expect_item(const struct model *m, unsigned k, const struct btree_item *item)
{
	uint8_t value[BTREE_VALUE_MAX];

	assert_true(m->there[k]);
	assert_int_equal(item->key, spread(k));
	assert_int_equal(item->bytes, m->bytes[k]);
	fill_value(value, k, m->fill[k]);
	assert_memory_equal(item->value, value, item->bytes);
}

static uint16_t random_bytes(struct bed *b, unsigned largest)
{
	if (next_random(b) % 8)
		return (uint16_t)(next_random(b) % (largest < 40 ? largest + 1 : 40));
	return (uint16_t)(next_random(b) % (largest + 1));
}

static void random_operation(
	struct bed *b, struct tx *tx, struct model *m, unsigned largest, unsigned grow)
{
	unsigned k = (unsigned)(next_random(b) % MODEL_KEYS);
	uint8_t value[BTREE_VALUE_MAX], fill = (uint8_t)next_random(b);
	uint16_t bytes = random_bytes(b, largest);
	int r;

	fill_value(value, k, fill);
	if (next_random(b) % 4 == 0) {
		r = btree_replace(&b->tree, tx, &b->root, spread(k), value, bytes);
		assert_int_equal(r, m->there[k] ? 0 : -ENOENT);
		if (r)
			return;
	} else if (next_random(b) % 100 < grow) {
		r = btree_insert(&b->tree, tx, &b->root, spread(k), value, bytes);
		assert_int_equal(r, m->there[k] ? -EEXIST : 0);
		if (r)
			return;
	} else {
		r = btree_delete(&b->tree, tx, &b->root, spread(k));
		assert_int_equal(r, m->there[k] ? 0 : -ENOENT);
		m->there[k] = 0;
		return;
	}
	m->there[k] = 1;
	m->bytes[k] = bytes;
	m->fill[k] = fill;
}

struct walk {
	const struct model *model;
	unsigned next;
};

static int walk_visit(void *context, const struct btree_item *item)
{
	struct walk *w = context;

	while (w->next < MODEL_KEYS && !w->model->there[w->next])
		w->next++;
	assert_in_range(w->next, 0, MODEL_KEYS - 1);
	expect_item(w->model, w->next++, item);
	return 0;
}

static void compare(struct bed *b, struct tx *tx, const struct model *m)
{
	struct walk w = {m, (unsigned)(next_random(b) % MODEL_KEYS)};
	struct btree_item item;

	assert_int_equal(btree_walk(&b->tree, tx, &b->root, spread(w.next), walk_visit, &w), 0);
	while (w.next < MODEL_KEYS)
		assert_false(m->there[w.next++]);
	for (unsigned i = 0; i < 60; i++) {
		unsigned k = (unsigned)(next_random(b) % MODEL_KEYS), near;
		uint64_t off = next_random(b) % 3 - 1; /* -1, 0, 1 */
		int r = btree_find(&b->tree, tx, &b->root, spread(k), &item);

		assert_int_equal(r, m->there[k] ? 0 : -ENOENT);
		if (r == 0)
			expect_item(m, k, &item);
		for (near = off == 1 ? k + 1 : k; near < MODEL_KEYS && !m->there[near];)
			near++;
		r = btree_find_ge(&b->tree, tx, &b->root, spread(k) + off, &item);
		assert_int_equal(r, near < MODEL_KEYS ? 0 : -ENOENT);
		if (r == 0)
			expect_item(m, near, &item);
		for (near = off == UINT64_MAX ? k : k + 1; near > 0 && !m->there[near - 1];)
			near--;
		r = btree_find_le(&b->tree, tx, &b->root, spread(k) + off, &item);
		assert_int_equal(r, near ? 0 : -ENOENT);
		if (r == 0)
			expect_item(m, near - 1, &item);
	}
}

static void random_run(unsigned rounds, unsigned largest)
{
	static struct model model, before;
	struct bed b;

	bed_open(&b, 4096);
	memset(&model, 0, sizeof(model));
	for (unsigned round = 0; round < rounds; round++) {
		struct media_root root = b.root;
		unsigned count = (unsigned)(next_random(&b) % 30);
		unsigned grow = round / 200 % 2 ? 25 : 75;
		struct tx *tx;

		before = model;
		assert_int_equal(tx_begin(b.fake.meta, &tx), 0);
		for (unsigned i = 0; i < count && tx_has_room(tx); i++)
			random_operation(&b, tx, &model, largest, grow);
		if (round % 16 == 0)
			compare(&b, tx, &model);
		if (next_random(&b) % 10 == 0) {
			tx_abort(tx);
			b.root = root;
			model = before;
		} else {
			assert_int_equal(tx_commit(tx), 0);
		}
		if (round % 8 == 0) {
			bed_check(&b);
			compare(&b, NULL, &model);
		}
	}
	bed_close(&b);
}

static void random_operations_agree_with_a_sorted_array(void **state)
{
	(void)state;
	random_run(4000, 30);
	random_run(4000, BTREE_VALUE_MAX);
}

/* ---- shapes ---------------------------------------------------------------------------------- */

static void insert_one(struct bed *b, uint64_t key, uint16_t bytes)
{
	uint8_t value[BTREE_VALUE_MAX] = {0};
	struct tx *tx;

	memcpy(value, &key, sizeof(key));
	assert_int_equal(tx_begin(b->fake.meta, &tx), 0);
	assert_int_equal(btree_insert(&b->tree, tx, &b->root, key, value, bytes), 0);
	assert_int_equal(tx_commit(tx), 0);
}

static int delete_one(struct bed *b, uint64_t key)
{
	struct tx *tx;
	int r;

	assert_int_equal(tx_begin(b->fake.meta, &tx), 0);
	r = btree_delete(&b->tree, tx, &b->root, key);
	assert_int_equal(tx_commit(tx), 0);
	return r;
}

#define MILLION 1000000u

static void a_million_ascending_keys_pack_full(void **state)
{
	struct bed b;
	struct seen seen;
	uint64_t first = 0, start = 0;

	(void)state;
	bed_open(&b, 16384);
	for (uint64_t k = 0; k < MILLION; k++) {
		if (k == MILLION - 100000)
			start = fake_media_views(&b.fake);
		insert_one(&b, k * 2, 16);
		if (k == 100000)
			first = fake_media_views(&b.fake);
	}
	seen = bed_check(&b);
	assert_int_equal(seen.items, MILLION);
	/* 127 items of 32 bytes fill a leaf. */
	assert_in_range(seen.leaves, MILLION / 127, MILLION / 127 + 1);
	assert_in_range((fake_media_views(&b.fake) - start) * 10, 0, first * 14);
	for (uint64_t k = 0; k < MILLION; k++)
		assert_int_equal(delete_one(&b, k * 2), 0);
	assert_int_equal(b.root.height, 0);
	assert_int_equal(fake_media_used(&b.fake), 0);
	bed_close(&b);
}

static uint64_t scatter(uint64_t k)
{
	return k * 0x9e3779b97f4a7c15ull; /* odd: a bijection */
}

static void a_million_random_keys_cost_the_same_each(void **state)
{
	struct bed b;
	struct seen seen;
	uint64_t first = 0, start = 0;

	(void)state;
	bed_open(&b, 20000);
	for (uint64_t k = 0; k < MILLION; k++) {
		if (k == MILLION - 100000)
			start = fake_media_views(&b.fake);
		insert_one(&b, scatter(k), 16);
		if (k == 100000)
			first = fake_media_views(&b.fake);
	}
	seen = bed_check(&b);
	assert_int_equal(seen.items, MILLION);
	assert_in_range(b.root.height, 3, 4);
	assert_in_range(
		seen.leaves, MILLION / 127, MILLION * 10 / 6 / 127); /* 60 % full at least */
	assert_in_range((fake_media_views(&b.fake) - start) * 10, 0, first * 14);
	for (uint64_t k = 0; k < MILLION; k++) {
		struct btree_item item;

		if (k % 5 == 0)
			assert_int_equal(btree_find(&b.tree, NULL, &b.root, scatter(k), &item), 0);
		assert_int_equal(delete_one(&b, scatter(k)), 0);
		if (k == MILLION / 10 * 9)
			seen = bed_check(&b);
	}
	/* A tenth of the items is left: nodes were merged. */
	assert_in_range(seen.leaves, 1, MILLION / 10 / 127 * 5);
	assert_int_equal(fake_media_used(&b.fake), 0);
	bed_close(&b);
}

static void descending_and_middle_insertions_keep_the_tree_sound(void **state)
{
	struct bed b;

	(void)state;
	bed_open(&b, 4096);
	for (uint64_t k = 20000; k > 0; k--)
		insert_one(&b, k * 4, (uint16_t)(k % 100 == 0 ? 1024 : k % 24));
	bed_check(&b);
	for (uint64_t k = 1; k <= 20000; k++)
		insert_one(&b, k * 4 + (k % 2 ? 1 : 3), 8);
	bed_check(&b);
	for (uint64_t k = 1; k <= 20000; k += 2)
		assert_int_equal(delete_one(&b, k * 4), 0);
	bed_check(&b);
	bed_close(&b);
}

static void the_largest_values_split_anywhere(void **state)
{
	struct bed b;

	(void)state;
	bed_open(&b, 4096);
	for (uint64_t k = 1; k <= 1000; k++)
		insert_one(&b, scatter(k), 1024);
	bed_check(&b);
	for (uint64_t k = 1; k <= 1000; k++)
		insert_one(&b, scatter(k) + 1, 0);
	bed_check(&b);
	for (uint64_t k = 1; k <= 1000; k++) {
		uint8_t value[BTREE_VALUE_MAX] = {0};
		struct tx *tx;

		assert_int_equal(tx_begin(b.fake.meta, &tx), 0);
		assert_int_equal(
			btree_replace(&b.tree, tx, &b.root, scatter(k) + 1, value, 1024), 0);
		assert_int_equal(
			btree_replace(&b.tree, tx, &b.root, scatter(k), value, (uint16_t)k), 0);
		assert_int_equal(tx_commit(tx), 0);
	}
	bed_check(&b);
	bed_close(&b);
}

static void the_ends_of_the_key_space_are_keys_like_others(void **state)
{
	struct bed b;
	struct btree_item item;

	(void)state;
	bed_open(&b, 4096);
	insert_one(&b, UINT64_MAX, 8);
	insert_one(&b, 0, 8);
	assert_int_equal(btree_find_le(&b.tree, NULL, &b.root, UINT64_MAX - 1, &item), 0);
	assert_int_equal(item.key, 0);
	for (uint64_t k = 1; k < 3000; k++) {
		insert_one(&b, k, 8);
		insert_one(&b, UINT64_MAX - k, 8);
	}
	bed_check(&b);
	assert_int_equal(btree_find_ge(&b.tree, NULL, &b.root, 3000, &item), 0);
	assert_true(item.key == UINT64_MAX - 2999);
	assert_int_equal(delete_one(&b, UINT64_MAX), 0);
	assert_int_equal(btree_find_ge(&b.tree, NULL, &b.root, UINT64_MAX, &item), -ENOENT);
	assert_int_equal(delete_one(&b, 0), 0);
	assert_int_equal(btree_find_le(&b.tree, NULL, &b.root, 0, &item), -ENOENT);
	bed_close(&b);
}

/* ---- ends and failures ----------------------------------------------------------------------- */

static void destroy_goes_on_over_transactions_with_a_whole_tree_between(void **state)
{
	struct bed b;
	int r, rounds = 0;

	(void)state;
	bed_open(&b, 16384);
	for (uint64_t k = 0; k < 200000; k++)
		insert_one(&b, scatter(k), 16);
	do {
		struct tx *tx;

		assert_int_equal(tx_begin(b.fake.meta, &tx), 0);
		r = btree_destroy(&b.tree, tx, &b.root);
		assert_int_equal(tx_commit(tx), 0);
		bed_check(&b);
		rounds++;
	} while (r == -EAGAIN);
	assert_int_equal(r, 0);
	assert_in_range(rounds, 2, 20);
	assert_int_equal(b.root.root, 0);
	assert_int_equal(fake_media_used(&b.fake), 0);
	bed_close(&b);
}

static void no_space_at_any_allocation_leaves_the_tree_as_it_was(void **state)
{
	struct bed b;
	unsigned refused = 0;

	(void)state;
	bed_open(&b, 4096);
	for (uint64_t k = 0; k < 30000; k++) {
		struct media_root root = b.root;
		uint8_t value[64] = {0};

		for (uint64_t fail = 0;; fail++) {
			struct tx *tx;
			int r;

			assert_int_equal(tx_begin(b.fake.meta, &tx), 0);
			fake_media_fail_after(&b.fake, fail);
			r = btree_insert(&b.tree, tx, &b.root, scatter(k), value, 64);
			if (r == 0) {
				assert_int_equal(tx_commit(tx), 0);
				break;
			}
			assert_int_equal(r, -ENOSPC);
			tx_abort(tx);
			b.root = root;
			refused++;
		}
		fake_media_fail_after(&b.fake, UINT64_MAX);
		if (k % 1000 == 0)
			assert_int_equal(bed_check(&b).items, k + 1);
	}
	assert_true(refused > 500);
	bed_close(&b);
}

static int count_item(void *context, const struct btree_item *item)
{
	volatile uint8_t last = item->bytes ? ((const uint8_t *)item->value)[item->bytes - 1] : 0;

	(void)last;
	++*(uint64_t *)context;
	return 0;
}

/* Every operation on a tree with a damaged node ends, without touching what is not the node's. */
static void damage_that_no_checksum_shows_ends_in_euclean_or_nothing(void **state)
{
	unsigned found = 0;

	(void)state;
	for (unsigned round = 0; round < 400; round++) {
		struct bed b;
		struct seen seen = {.quiet = true};
		struct btree_visitor v = {&seen, see_block, see_item, see_bad};
		struct btree_item item;
		uint64_t count = 0;

		bed_open(&b, 512);
		b.seed += round * 7919;
		for (uint64_t k = 0; k < 3000; k++)
			insert_one(&b, scatter(k), (uint16_t)(k % 64));
		for (unsigned i = 0; i < 1 + round % 6; i++) {
			uint8_t *block = NULL;
			unsigned near = round % 3 ? 256 : BLOCK_SIZE - 16;

			while (!block)
				block = fake_media_block(
					&b.fake, next_random(&b) % 512 * BLOCK_SIZE);
			block[16 + next_random(&b) % near] ^= (uint8_t)(1u << next_random(&b) % 8);
		}
		found += btree_check(&b.tree, &b.root, &v) == -EUCLEAN;
		btree_walk(&b.tree, NULL, &b.root, 0, count_item, &count);
		for (unsigned i = 0; i < 500; i++) {
			uint64_t key = scatter(next_random(&b) % 3000) + next_random(&b) % 2;
			struct media_root root = b.root;
			uint8_t value[64] = {0};
			struct tx *tx;
			int r;

			btree_find(&b.tree, NULL, &b.root, key, &item);
			btree_find_ge(&b.tree, NULL, &b.root, key, &item);
			btree_find_le(&b.tree, NULL, &b.root, key, &item);
			assert_int_equal(tx_begin(b.fake.meta, &tx), 0);
			if (i % 3 == 0)
				r = btree_insert(&b.tree, tx, &b.root, key, value, 50);
			else if (i % 3 == 1)
				r = btree_replace(&b.tree, tx, &b.root, key, value, 64);
			else
				r = btree_delete(&b.tree, tx, &b.root, key);
			if (r == 0) {
				assert_int_equal(tx_commit(tx), 0);
			} else {
				tx_abort(tx);
				b.root = root;
			}
		}
		for (int r = -EAGAIN; r == -EAGAIN;) {
			struct tx *tx;

			assert_int_equal(tx_begin(b.fake.meta, &tx), 0);
			r = btree_destroy(&b.tree, tx, &b.root);
			tx_abort(tx);
			if (r == -EAGAIN)
				break;
		}
		bed_close(&b);
	}
	assert_true(found > 200);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_operations_agree_with_a_sorted_array),
		cmocka_unit_test(a_million_ascending_keys_pack_full),
		cmocka_unit_test(a_million_random_keys_cost_the_same_each),
		cmocka_unit_test(descending_and_middle_insertions_keep_the_tree_sound),
		cmocka_unit_test(the_largest_values_split_anywhere),
		cmocka_unit_test(the_ends_of_the_key_space_are_keys_like_others),
		cmocka_unit_test(destroy_goes_on_over_transactions_with_a_whole_tree_between),
		cmocka_unit_test(no_space_at_any_allocation_leaves_the_tree_as_it_was),
		cmocka_unit_test(damage_that_no_checksum_shows_ends_in_euclean_or_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
