// SPDX-License-Identifier: BSD-2-Clause
/* test_range_tree.c - against a plain array, and its cost. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "range_tree.h"

static uint64_t rng = 88172645463325252ull;

static uint64_t roll(uint64_t n)
{
	rng ^= rng << 13;
	rng ^= rng >> 7;
	rng ^= rng << 17;
	return rng % n;
}

static void overlaps_are_those_of_a_plain_array(void **state)
{
	enum { N = 200 };
	struct range_node nodes[N];
	bool in[N] = {false};
	struct range_tree t = {NULL};
	uint64_t id = 1;

	for (int round = 0; round < 20000; round++) {
		int i = (int)roll(N);
		uint64_t a = roll(1000), b = a + 1 + roll(100), found = 0, expected = 0, last = 0;
		struct range_node *n;

		if (in[i]) {
			range_tree_remove(&t, &nodes[i]);
		} else {
			nodes[i] = (struct range_node){.start = roll(1000), .id = id++};
			nodes[i].end = nodes[i].start + 1 + roll(roll(10) ? 20 : 1000);
			range_tree_insert(&t, &nodes[i], 42);
		}
		in[i] = !in[i];
		for (n = range_tree_first(&t, a, b); n; n = range_tree_next(&t, n, a, b)) {
			assert_true(n->start < b && n->end > a && n->start >= last);
			last = n->start;
			found++;
		}
		for (int j = 0; j < N; j++)
			expected += in[j] && nodes[j].start < b && nodes[j].end > a;
		assert_int_equal(found, expected);
		if (round % 100 == 0)
			range_tree_check(&t);
	}
}

static void a_million_ranges_cost_a_logarithm(void **state)
{
	enum { N = 1000000 };
	struct range_node *nodes = calloc(N, sizeof(*nodes));
	struct range_tree t = {NULL};
	uint64_t found = 0;
	clock_t began;

	for (uint64_t i = 0; i < N; i++) {
		nodes[i] = (struct range_node){.start = i * 10, .end = i * 10 + 10, .id = i + 1};
		range_tree_insert(&t, &nodes[i], 1);
	}
	assert_int_equal(range_tree_check(&t), N);
	began = clock();
	for (uint64_t i = 0; i < 100000; i++) {
		uint64_t at = roll(N * 10ull);

		found += range_tree_first(&t, at, at + 1) != NULL;
	}
	assert_int_equal(found, 100000);
	/* 20 us each would be a linear walk of a few thousand nodes; it takes one or two. */
	assert_true(clock() - began < 2 * CLOCKS_PER_SEC);
	free(nodes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(overlaps_are_those_of_a_plain_array),
		cmocka_unit_test(a_million_ranges_cost_a_logarithm),
	};

	return cmocka_run_group_tests_name("range_tree", tests, NULL, NULL);
}
