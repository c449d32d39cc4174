// SPDX-License-Identifier: BSD-2-Clause
/* test_timescale.c - where moments stand on a timeline. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "timescale.h"

#define S 1000000000ull
#define LEFT 100.0
#define RIGHT 1100.0

/* Operations of a second, each that long after the beginning of the one before. */
static struct story operations(unsigned count, uint64_t every_ns)
{
	struct story s = {.rows = calloc(count, sizeof(s.rows[0])), .row_count = count};

	assert_non_null(s.rows);
	for (unsigned i = 0; i < count; i++) {
		s.rows[i].is_operation = true;
		s.rows[i].begin_ns = 1000 * S + i * every_ns;
		s.rows[i].end_ns = s.rows[i].begin_ns + S;
	}
	s.now_ns = s.rows[count - 1].end_ns + S;
	return s;
}

static void check_order(const struct timescale *t, const struct story *s)
{
	double last = LEFT;

	for (size_t i = 0; i < s->row_count; i++) {
		double begin = timescale_x(t, s->rows[i].begin_ns);
		double end = timescale_x(t, s->rows[i].end_ns);

		assert_true(begin >= last && end >= begin && end <= RIGHT);
		last = end;
	}
}

static void short_pauses_are_to_scale(void **state)
{
	struct story s = operations(4, 2 * S);
	struct timescale t;

	assert_int_equal(timescale_make(&t, &s, LEFT, RIGHT), 0);
	assert_int_equal(t.count, 1);
	check_order(&t, &s);
	assert_true(timescale_x(&t, s.rows[1].end_ns) - timescale_x(&t, s.rows[1].begin_ns) > 100);
	free(s.rows);
}

static void long_pause_becomes_a_gap(void **state)
{
	struct story s = operations(2, 86400 * S);
	struct timescale t;
	double width;

	assert_int_equal(timescale_make(&t, &s, LEFT, RIGHT), 0);
	assert_int_equal(t.count, 2);
	check_order(&t, &s);
	width = timescale_x(&t, s.rows[1].end_ns) - timescale_x(&t, s.rows[1].begin_ns);
	assert_true(width > 350); /* of a second in a day */
	/* What is in the gap stands in its middle. */
	assert_true(timescale_x(&t, 2000 * S) > timescale_x(&t, s.rows[0].end_ns));
	assert_true(timescale_x(&t, 2000 * S) < timescale_x(&t, s.rows[1].begin_ns));
	free(s.rows);
}

static void old_pieces_are_left_out(void **state)
{
	struct story s = operations(40, 100 * S);
	struct timescale t;

	assert_int_equal(timescale_make(&t, &s, LEFT, RIGHT), 0);
	assert_int_equal(t.count, TIMESCALE_PIECES_MAX);
	assert_false(timescale_shows(&t, s.rows[0].begin_ns, s.rows[0].end_ns));
	assert_true(timescale_shows(&t, s.rows[0].begin_ns, 0)); /* it goes on */
	assert_true(timescale_shows(&t, s.rows[39].begin_ns, s.rows[39].end_ns));
	assert_true(timescale_x(&t, s.rows[0].begin_ns) == LEFT);
	check_order(&t, &s);
	free(s.rows);
}

static void moment_without_length_is_drawn(void **state)
{
	struct story s = operations(1, 0);
	struct timescale t;

	s.rows[0].is_operation = false;
	s.rows[0].end_ns = 0;
	assert_int_equal(timescale_make(&t, &s, LEFT, RIGHT), 0);
	assert_int_equal(t.count, 1);
	assert_true(timescale_x(&t, s.rows[0].begin_ns) > LEFT);
	assert_true(timescale_x(&t, UINT64_MAX) == RIGHT);
	free(s.rows);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(short_pauses_are_to_scale),
		cmocka_unit_test(long_pause_becomes_a_gap),
		cmocka_unit_test(old_pieces_are_left_out),
		cmocka_unit_test(moment_without_length_is_drawn),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
