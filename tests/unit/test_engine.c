// SPDX-License-Identifier: BSD-2-Clause
/* test_engine.c - deadlines, ends of processes, and work handed on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine.h"
#include "workers.h"

#define MS 1000000ull

static _Atomic int fired, gone;

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Waits up to 5 s: a loaded machine may need some of it. */
static bool becomes(_Atomic int *value, int wanted)
{
	for (int i = 0; i < 5000 && *value != wanted; i++)
		usleep(1000);
	return *value == wanted;
}

static void on_deadline(void *context)
{
	fired++;
}

static void on_gone(void *context)
{
	gone++;
}

static int setup(void **state)
{
	struct engine *e;
	int error = engine_create(on_deadline, NULL, &e);

	if (error) {
		printf("skipped: no io_uring here (%d)\n", error);
		exit(77);
	}
	fired = gone = 0;
	*state = e;
	return 0;
}

static int teardown(void **state)
{
	engine_destroy(*state);
	return 0;
}

static void deadline_fires_once_and_not_early(void **state)
{
	uint64_t began = now();

	engine_set_deadline(*state, began + 30 * MS);
	assert_true(becomes(&fired, 1));
	assert_true(now() >= began + 30 * MS);
	usleep(50000);
	assert_int_equal(fired, 1);
}

static void last_deadline_counts(void **state)
{
	engine_set_deadline(*state, now() + 20 * MS);
	engine_set_deadline(*state, now() + 3600000 * MS);
	usleep(60000);
	assert_int_equal(fired, 0);
	engine_set_deadline(*state, now() + 10 * MS);
	assert_true(becomes(&fired, 1));
	engine_set_deadline(*state, now() + 10 * MS);
	engine_set_deadline(*state, UINT64_MAX);
	usleep(50000);
	assert_int_equal(fired, 1);
	engine_set_deadline(*state, 1); /* long over */
	assert_true(becomes(&fired, 2));
}

static int start_child(int *pidfd)
{
	pid_t pid = fork();

	if (pid == 0) {
		pause();
		_exit(0);
	}
	*pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	assert_true(*pidfd >= 0);
	return pid;
}

static void end_of_a_process_is_told(void **state)
{
	struct engine_watch *w;
	int pidfd, pid = start_child(&pidfd);

	assert_int_equal(engine_watch_process(*state, pidfd, on_gone, NULL, &w), 0);
	usleep(30000);
	assert_int_equal(gone, 0);
	kill(pid, 9);
	assert_true(becomes(&gone, 1));
	engine_unwatch(*state, w);
	close(pidfd);
	waitpid(pid, NULL, 0);
}

static void unwatched_process_ends_untold(void **state)
{
	struct engine_watch *w[200];
	int pidfd, pid = start_child(&pidfd);

	for (int i = 0; i < 200; i++) /* more than the ring has entries */
		assert_int_equal(engine_watch_process(*state, pidfd, on_gone, NULL, &w[i]), 0);
	usleep(20000);
	for (int i = 0; i < 199; i++)
		engine_unwatch(*state, w[i]);
	kill(pid, 9);
	assert_true(becomes(&gone, 1));
	usleep(20000);
	assert_int_equal(gone, 1);
	engine_unwatch(*state, w[199]);
	close(pidfd);
	waitpid(pid, NULL, 0);
}

struct counted {
	struct work work;
	_Atomic int *count;
};

static void count(struct work *work)
{
	(*((struct counted *)work)->count)++;
}

static void workers_do_everything_before_they_end(void **state)
{
	enum { N = 10000 };
	struct counted *all = calloc(N, sizeof(*all));
	_Atomic int done = 0;
	struct workers *w;

	assert_int_equal(workers_create(4, "test", &w), 0);
	for (int i = 0; i < N; i++) {
		all[i] = (struct counted){.work.run = count, .count = &done};
		workers_give(w, &all[i].work);
	}
	workers_destroy(w);
	assert_int_equal(done, N);
	free(all);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(deadline_fires_once_and_not_early, setup, teardown),
		cmocka_unit_test_setup_teardown(last_deadline_counts, setup, teardown),
		cmocka_unit_test_setup_teardown(end_of_a_process_is_told, setup, teardown),
		cmocka_unit_test_setup_teardown(unwatched_process_ends_untold, setup, teardown),
		cmocka_unit_test(workers_do_everything_before_they_end),
	};

	return cmocka_run_group_tests_name("engine", tests, NULL, NULL);
}
