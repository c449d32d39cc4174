// SPDX-License-Identifier: BSD-2-Clause
/* test_machine.c - which process a number means. */
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "machine.h"

static void process_is_found(void **state)
{
	uint64_t start;
	int pidfd;

	assert_int_equal(machine_process_start((uint32_t)getpid(), &start), 0);
	assert_int_equal(machine_open_process((uint32_t)getpid(), start, &pidfd), 0);
	close(pidfd);
	assert_int_equal(machine_open_process((uint32_t)getpid(), start + 1, &pidfd), -ESRCH);
}

/* Without a descriptor to look with, nothing is known of a process: least of all that it has gone.
 */
static void without_descriptors_nobody_is_gone(void **state)
{
	struct rlimit old, none;
	uint64_t start, again;
	int pidfd, now, later, lowest = dup(0);

	assert_true(lowest >= 0);
	close(lowest);
	assert_int_equal(machine_process_start((uint32_t)getpid(), &start), 0);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	none = (struct rlimit){.rlim_cur = (rlim_t)lowest, .rlim_max = old.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	now = machine_process_start((uint32_t)getpid(), &again);
	none.rlim_cur++; /* for the pidfd alone */
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	later = machine_open_process((uint32_t)getpid(), start, &pidfd);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	assert_int_equal(now, -EMFILE);
	assert_int_equal(later, -EMFILE);
}

static void process_that_was_reaped_is_not(void **state)
{
	pid_t child = fork();
	int status, pidfd;

	if (child == 0)
		_exit(0);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(machine_open_process((uint32_t)child, 1, &pidfd), -ESRCH);
}

struct thread {
	sem_t said, heard;
	pid_t number;
};

static void *be_there(void *context)
{
	struct thread *t = context;

	t->number = gettid();
	sem_post(&t->said);
	sem_wait(&t->heard);
	return NULL;
}

/* The number of a process that has gone may be a thread's by now. */
static void thread_is_no_process(void **state)
{
	struct thread t;
	uint64_t start;
	pthread_t thread;
	int pidfd;

	assert_int_equal(sem_init(&t.said, 0, 0), 0);
	assert_int_equal(sem_init(&t.heard, 0, 0), 0);
	assert_int_equal(pthread_create(&thread, NULL, be_there, &t), 0);
	sem_wait(&t.said);
	assert_int_equal(machine_process_start((uint32_t)t.number, &start), 0);
	assert_int_equal(machine_open_process((uint32_t)t.number, start, &pidfd), -ESRCH);
	sem_post(&t.heard);
	assert_int_equal(pthread_join(thread, NULL), 0);
	sem_destroy(&t.said);
	sem_destroy(&t.heard);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(process_is_found),
		cmocka_unit_test(without_descriptors_nobody_is_gone),
		cmocka_unit_test(process_that_was_reaped_is_not),
		cmocka_unit_test(thread_is_no_process),
	};

	return cmocka_run_group_tests_name("machine", tests, NULL, NULL);
}
