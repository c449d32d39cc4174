// SPDX-License-Identifier: BSD-2-Clause
/*
 * test_cached_pages.c - a word for what the kernel may have cached, beside a plain list of pages.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <setjmp.h>

#include <cmocka.h>

#include "cached_pages.h"

#define PAGE 4096ull
#define MIB (1ull << 20)

static void nothing_is_cached_at_first(void **state)
{
	_Atomic uint64_t word = 0;
	uint64_t start = 0, end = UINT64_MAX;

	(void)state;
	assert_false(cached_any(&word, 0, UINT64_MAX));
	assert_false(cached_forget(&word, &start, &end));
	assert_int_equal(start, 0);
	assert_int_equal(end, UINT64_MAX);
	assert_int_equal(word, 0);
}

static void what_was_noted_is_forgotten_once(void **state)
{
	_Atomic uint64_t word = 0;
	uint64_t start = 8 * PAGE, end = 9 * PAGE;

	(void)state;
	cached_note(&word, 0, 64 * MIB);
	assert_true(cached_forget(&word, &start, &end));
	assert_true(start <= 8 * PAGE && end >= 9 * PAGE);
	assert_true(end - start <= CACHED_WIDEN_BYTES);
	cached_forgotten(&word);
	assert_false(cached_forget(&word, &start, &end));
	assert_true(cached_any(&word, end, 64 * MIB));
}

static void who_comes_while_it_is_forgotten_waits_too(void **state)
{
	_Atomic uint64_t word = 0;
	uint64_t start = 0, end = PAGE, other_start = 0, other_end = PAGE;

	(void)state;
	cached_note(&word, 0, PAGE);
	assert_true(cached_forget(&word, &start, &end));
	assert_false(cached_any(&word, 0, PAGE));
	assert_true(cached_forget(&word, &other_start, &other_end));
	cached_forgotten(&word);
	assert_true(cached_forget(&word, &other_start, &other_end));
	cached_forgotten(&word);
	cached_forgotten(&word);
	assert_false(cached_forget(&word, &start, &end));
}

static void parts_of_large_chunks_stay_noted(void **state)
{
	_Atomic uint64_t word = 0;
	uint64_t start = 512 * MIB, end = 513 * MIB;

	(void)state;
	cached_note(&word, 0, 1ull << 40);
	assert_true(cached_forget(&word, &start, &end));
	assert_int_equal(start, 512 * MIB);
	assert_int_equal(end, 513 * MIB);
	cached_forgotten(&word);
	assert_true(cached_forget(&word, &start, &end));
	cached_forgotten(&word);
	start = 0;
	end = UINT64_MAX;
	assert_true(cached_forget(&word, &start, &end));
	cached_forgotten(&word);
	assert_false(cached_any(&word, 0, UINT64_MAX));
}

static void the_highest_offsets_have_their_place(void **state)
{
	_Atomic uint64_t word = 0;
	uint64_t start = 0, end = UINT64_MAX;

	(void)state;
	cached_note(&word, 0, PAGE);
	cached_note(&word, (uint64_t)INT64_MAX - PAGE, (uint64_t)INT64_MAX);
	assert_true(cached_any(&word, 0, PAGE));
	assert_true(cached_any(&word, (uint64_t)INT64_MAX - PAGE, (uint64_t)INT64_MAX));
	assert_true(cached_forget(&word, &start, &end));
	cached_forgotten(&word);
	assert_false(cached_any(&word, 0, UINT64_MAX));
}

static void too_many_at_once_wait_for_ever(void **state)
{
	_Atomic uint64_t word = 0;
	uint64_t start = 0, end = PAGE;

	(void)state;
	cached_note(&word, 0, PAGE);
	for (unsigned i = 0; i < 70000; i++)
		assert_true(cached_forget(&word, &start, &end));
	for (unsigned i = 0; i < 70000; i++)
		cached_forgotten(&word);
	assert_true(cached_forget(&word, &start, &end));
}

#define MODEL_PAGES 60000u /* some chunks are widened to, the largest not */

/* Random notes and forgettings: no page that the kernel has is ever taken for unknown. */
static void no_page_is_missed(void **state)
{
	static bool cached[MODEL_PAGES];
	_Atomic uint64_t word = 0;
	unsigned seed = 93;
	unsigned limit = 100;

	(void)state;
	for (unsigned step = 0; step < 20000; step++) {
		if (step % 4000 == 3999 && limit * 5 < MODEL_PAGES)
			limit *= 5;
		unsigned first = (unsigned)rand_r(&seed) % limit;
		unsigned count = 1 + (unsigned)rand_r(&seed) % (limit / 4);
		uint64_t start, end;
		bool any = false;

		if (first + count > limit)
			count = limit - first;
		start = first * PAGE;
		end = start + count * PAGE;
		if (rand_r(&seed) % 3 == 0) {
			cached_note(&word, start, end);
			memset(cached + first, 1, count);
			continue;
		}
		for (unsigned i = first; i < first + count; i++)
			any |= cached[i];
		if (any && !cached_any(&word, start, end))
			fail_msg("step %u: pages [%u, +%u) were missed", step, first, count);
		if (cached_forget(&word, &start, &end)) {
			assert_true(start <= first * PAGE && end >= (first + count) * PAGE);
			for (uint64_t i = start / PAGE; i < end / PAGE && i < MODEL_PAGES; i++)
				cached[i] = false;
			cached_forgotten(&word);
		} else {
			assert_false(any);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_is_cached_at_first),
		cmocka_unit_test(what_was_noted_is_forgotten_once),
		cmocka_unit_test(who_comes_while_it_is_forgotten_waits_too),
		cmocka_unit_test(parts_of_large_chunks_stay_noted),
		cmocka_unit_test(the_highest_offsets_have_their_place),
		cmocka_unit_test(too_many_at_once_wait_for_ever),
		cmocka_unit_test(no_page_is_missed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
