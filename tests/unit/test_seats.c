// SPDX-License-Identifier: BSD-2-Clause
/* test_seats.c - who waits for requests, who stands by, and how all of them end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <pthread.h>
#include <sched.h>

#include <cmocka.h>

#include "seats.h"

#define THREADS 8
#define TURNS 20000
#define MAX_SEATS 2

static struct seats seats;
static _Atomic int sitting, finished, sent_home;
static atomic_bool wrong;

static int setup(void **state)
{
	sitting = finished = sent_home = 0;
	wrong = false;
	return seats_init(&seats, MAX_SEATS);
}

static int teardown(void **state)
{
	seats_destroy(&seats);
	return 0;
}

static void *sit_once(void *context)
{
	if (seats_sit(&seats))
		seats_leave(&seats);
	else
		sent_home++;
	finished++;
	return NULL;
}

static pthread_t start(void *(*run)(void *))
{
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, run, NULL), 0);
	return thread;
}

static void last_seat_left_is_said(void **state)
{
	assert_false(seats_taken(&seats));
	assert_true(seats_sit(&seats));
	assert_true(seats_sit(&seats));
	assert_true(seats_leave(&seats));
	assert_true(seats_taken(&seats));
	assert_false(seats_leave(&seats));
	assert_false(seats_taken(&seats));
}

static void call_finds_nobody_standing_by(void **state)
{
	assert_false(seats_call(&seats));
	assert_true(seats_sit(&seats));
	assert_true(seats_call(&seats)); /* nobody is needed */
	seats_leave(&seats);
}

static void call_seats_one_who_stands_by(void **state)
{
	assert_true(seats_sit(&seats));
	assert_true(seats_sit(&seats));
	pthread_t thread = start(sit_once);
	seats_leave(&seats);
	seats_leave(&seats);
	/* Until it stands by there is nobody to call; it may also come late, and find a seat. */
	while (finished == 0) {
		seats_call(&seats);
		sched_yield();
	}
	pthread_join(thread, NULL);
	assert_int_equal(sent_home, 0);
	assert_false(seats_taken(&seats));
}

static void end_sends_everybody_home(void **state)
{
	pthread_t threads[3];

	assert_true(seats_sit(&seats));
	assert_true(seats_sit(&seats));
	for (int i = 0; i < 3; i++)
		threads[i] = start(sit_once);
	seats_end(&seats);
	for (int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(sent_home, 3);
	assert_false(seats_sit(&seats));
	seats_leave(&seats);
	seats_leave(&seats);
}

/* Whoever leaves last calls, as the foreman would. */
static void *take_turns(void *context)
{
	for (int i = 0; i < TURNS; i++) {
		if (!seats_sit(&seats))
			break;
		int now = ++sitting;
		if (now > MAX_SEATS)
			wrong = true;
		sitting--;
		if (!seats_leave(&seats))
			seats_call(&seats);
	}
	/* The one who calls is gone soon: the others may all stand by. */
	seats_end(&seats);
	return NULL;
}

static void never_more_sit_than_there_are_seats(void **state)
{
	pthread_t threads[THREADS];

	for (int i = 0; i < THREADS; i++)
		threads[i] = start(take_turns);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	assert_false(wrong);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(last_seat_left_is_said, setup, teardown),
		cmocka_unit_test_setup_teardown(call_finds_nobody_standing_by, setup, teardown),
		cmocka_unit_test_setup_teardown(call_seats_one_who_stands_by, setup, teardown),
		cmocka_unit_test_setup_teardown(end_sends_everybody_home, setup, teardown),
		cmocka_unit_test_setup_teardown(
			never_more_sit_than_there_are_seats, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
