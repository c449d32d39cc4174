// SPDX-License-Identifier: BSD-2-Clause
/* test_range_tree.c - against a plain array, without memory, and its cost. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "fault.h"
#include "range_tree.h"

static uint64_t rng = 88172645463325252ull;

static uint64_t roll(uint64_t n)
{
	rng ^= rng << 13;
	rng ^= rng >> 7;
	rng ^= rng << 17;
	return rng % n;
}

enum { NODES = 3000 };

struct plain {
	struct range_node nodes[NODES];
	bool in[NODES];
	uint64_t ids;
	uint64_t ranges; /* starts are below it */
};

static void put_or_take(struct range_tree *t, struct plain *p, uint64_t count)
{
	uint64_t i = roll(count);
	struct range_node *n = &p->nodes[i];

	if (p->in[i]) {
		range_tree_remove(t, n);
	} else {
		*n = (struct range_node){.start = roll(p->ranges), .id = ++p->ids};
		n->end = n->start + 1 + roll(roll(10) ? 20 : 1000);
		range_tree_insert(t, n);
	}
	p->in[i] = !p->in[i];
}

/* All that begin in some window: whole leaves are emptied. */
static void take_window(struct range_tree *t, struct plain *p)
{
	uint64_t first = roll(p->ranges), width = p->ranges / 16;

	for (int i = 0; i < NODES; i++) {
		if (!p->in[i] || p->nodes[i].start - first >= width)
			continue;
		range_tree_remove(t, &p->nodes[i]);
		p->in[i] = false;
	}
}

static void look(const struct range_tree *t, const struct plain *p)
{
	uint64_t a = roll(p->ranges), b = a + 1 + roll(100), found = 0, expected = 0;
	uint64_t last = 0, last_id = 0;

	for (struct range_node *n = range_tree_first(t, a, b); n; n = range_tree_next(t, n, a, b)) {
		assert_true(n->start < b && n->end > a);
		assert_true(n->start > last || (n->start == last && n->id > last_id));
		last = n->start;
		last_id = n->id;
		found++;
	}
	for (int j = 0; j < NODES; j++)
		expected += p->in[j] && p->nodes[j].start < b && p->nodes[j].end > a;
	assert_int_equal(found, expected);
}

static uint64_t count_in(const struct plain *p)
{
	uint64_t count = 0;

	for (int j = 0; j < NODES; j++)
		count += p->in[j];
	return count;
}

/*
 * Waves: many are taken out again, so that nodes are joined and the tree becomes a list; in some,
 * memory is refused now and then.
 */
static void compare(uint64_t ranges, bool memory_fails)
{
	struct plain *p = calloc(1, sizeof(*p));
	struct range_tree t = {0};
	unsigned refused = 0;

	p->ranges = ranges;
	for (int wave = 0; wave < 60; wave++) {
		uint64_t count = wave % 3 == 0 ? 12 : wave % 3 == 1 ? NODES / 8 : NODES;

		for (int round = 0; round < 3000; round++) {
			if (memory_fails && roll(4) == 0)
				fault_plan(FAULT_MEMORY, 1 + (unsigned)roll(3));
			put_or_take(&t, p, count);
			refused += fault_came();
			fault_plan(FAULT_MEMORY, 0);
			if (round % 500 == 0)
				take_window(&t, p);
			if (round % 100 == 0) {
				look(&t, p);
				assert_int_equal(range_tree_check(&t), count_in(p));
			}
		}
		for (int i = 0; i < NODES && wave % 2 != 0; i++) {
			if (p->in[i])
				range_tree_remove(&t, &p->nodes[i]);
			p->in[i] = false;
		}
		assert_true(wave % 2 == 0 || range_tree_is_empty(&t));
	}
	assert_int_equal(refused > 100, memory_fails);
	range_tree_free(&t);
	assert_true(range_tree_is_empty(&t));
	free(p);
}

static void overlaps_are_those_of_a_plain_array(void **state)
{
	compare(5000, false);
}

static void equal_starts_are_in_the_order_of_ids(void **state)
{
	compare(3, false);
}

static void without_memory_nothing_is_lost(void **state)
{
	compare(5000, true);
	compare(3, true);
}

static void a_few_need_no_memory(void **state)
{
	struct range_node nodes[8];
	struct range_tree t = {0};

	fault_plan(FAULT_MEMORY, 1);
	for (uint64_t i = 0; i < 8; i++) {
		nodes[i] = (struct range_node){.start = i, .end = i + 2, .id = 9 - i};
		range_tree_insert(&t, &nodes[i]);
	}
	assert_false(fault_came());
	fault_plan(FAULT_MEMORY, 0);
	assert_int_equal(range_tree_check(&t), 8);
	assert_ptr_equal(range_tree_first(&t, 5, 6), &nodes[4]);
	assert_ptr_equal(range_tree_next(&t, &nodes[4], 5, 6), &nodes[5]);
	assert_null(range_tree_next(&t, &nodes[5], 5, 6));
}

/* From either end and from the middle on: the worst for nodes that are split in halves. */
static void a_million_ranges_cost_a_logarithm(void **state)
{
	enum { N = 1000000 };
	struct range_node *nodes = calloc(N, sizeof(*nodes));
	struct range_tree t = {0};
	uint64_t found = 0;
	clock_t began;

	for (uint64_t i = 0; i < N; i++) {
		uint64_t at = i % 3 == 0 ? i : i % 3 == 1 ? 2 * N - i : 3 * N + (i % 2) * 10 * N;

		nodes[i] = (struct range_node){.start = at * 10, .end = at * 10 + 10, .id = i + 1};
		range_tree_insert(&t, &nodes[i]);
	}
	assert_int_equal(range_tree_check(&t), N);
	began = clock();
	for (uint64_t i = 0; i < 100000; i++) {
		uint64_t at = nodes[roll(N)].start;

		found += range_tree_first(&t, at, at + 1) != NULL;
	}
	assert_int_equal(found, 100000);
	/* 20 us each would be a linear walk of a few thousand nodes; it takes less than one. */
	assert_true(clock() - began < 2 * CLOCKS_PER_SEC);
	for (uint64_t i = 0; i < N; i++)
		range_tree_remove(&t, &nodes[i * 7919 % N]);
	assert_true(range_tree_is_empty(&t));
	free(nodes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(overlaps_are_those_of_a_plain_array),
		cmocka_unit_test(equal_starts_are_in_the_order_of_ids),
		cmocka_unit_test(without_memory_nothing_is_lost),
		cmocka_unit_test(a_few_need_no_memory),
		cmocka_unit_test(a_million_ranges_cost_a_logarithm),
	};

	return cmocka_run_group_tests_name("range_tree", tests, NULL, NULL);
}
