// SPDX-License-Identifier: BSD-2-Clause
/* test_ender.c - the child that unmounts: what it is as soon as the daemon goes on. */
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "ender.h"

#define TIMES 50u

/* On one processor, where a child rarely runs before its parent waits for something. */
static int setup(void **state)
{
	cpu_set_t allowed, one;

	if (sched_getaffinity(0, sizeof(allowed), &allowed))
		return -1;
	CPU_ZERO(&one);
	for (int i = 0; i < CPU_SETSIZE && CPU_COUNT(&one) == 0; i++)
		if (CPU_ISSET(i, &allowed))
			CPU_SET(i, &one);
	return sched_setaffinity(0, sizeof(one), &one);
}

static void read_name(pid_t pid, char name[64])
{
	char path[64];
	int fd;
	ssize_t n;

	memset(name, 0, 64);
	snprintf(path, sizeof(path), "/proc/%d/cmdline", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, name, 63);
	if (fd >= 0)
		close(fd);
	assert_true(n > 0);
}

static void is_never_taken_for_the_daemon(void **state)
{
	for (unsigned i = 0; i < TIMES; i++) {
		struct ender e;
		char name[64];

		assert_int_equal(ender_start(&e, "/nowhere"), 0);
		read_name(e.pid, name);
		ender_stop(&e);
		assert_string_equal(name, "leasefs-ender");
	}
}

/* What it had of the daemon's is closed: a pipe whose other end it had reads as ended. */
static void has_nothing_of_the_daemons(void **state)
{
	for (unsigned i = 0; i < TIMES; i++) {
		struct ender e;
		int ends[2];
		char byte;

		assert_int_equal(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
		assert_int_equal(ender_start(&e, "/nowhere"), 0);
		close(ends[1]);
		/* -1, EAGAIN: somebody still has it open for writing. */
		assert_int_equal(read(ends[0], &byte, 1), 0);
		close(ends[0]);
		ender_stop(&e);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(is_never_taken_for_the_daemon),
		cmocka_unit_test(has_nothing_of_the_daemons),
	};

	return cmocka_run_group_tests_name("ender", tests, setup, NULL);
}
