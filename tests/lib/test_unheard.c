// SPDX-License-Identifier: BSD-2-Clause
/*
 * test_unheard.c - what the daemon has revoked, and this side has not heard of when it gives back.
 *
 * Sessions without a thread read events only when they are asked to, so each order of revocation,
 * return and event can be had. Whatever it is: the library's pieces must come to be the daemon's,
 * no part may stay mapped that is acknowledged, and nothing may be left when all is given back.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cmocka.h>

#include "bed.h"

#define BLOCKS 64u

static int fd, control;
static struct leasefs_session *session;
static struct leasefs_lease *lease;
static unsigned char *memory;

static int setup(void **state)
{
	static const char policy[] = "recall:20ms/busy";

	fd = bed_file("f", (uint64_t)BLOCKS * BLOCK);
	control = open(bed_path(LEASEFS_CONTROL_PATH), O_RDWR | O_CLOEXEC);
	if (fd < 0 || control < 0 ||
		fsetxattr(fd, "user.leasefs.policy", policy, strlen(policy), 0) ||
		leasefs_open_session_at(fd, LEASEFS_SESSION_NO_THREAD, &session) ||
		leasefs_take_lease(session, fd, 0, 0, LEASEFS_TAKE_WRITE, &lease) ||
		leasefs_map_lease(lease, 0, (void **)&memory))
		return -1;
	return 0;
}

static bool is_nothing_left(void *context)
{
	struct leasefs_status *s = context;

	*s = (struct leasefs_status){0};
	assert_int_equal(ioctl(control, LEASEFS_IOC_STATUS, s), 0);
	return s->leases == 0 && s->revoked == 0 && s->quarantine_bytes == 0 && s->sessions == 0;
}

/* Nothing of that session, in the daemon's books, while its process lives. The kernel tells the
 * daemon of a close(2) when that is over. */
static void expect_nothing_left(void)
{
	struct leasefs_status status;

	wait_until(is_nothing_left, &status, "the end of the session");
}

static int teardown(void **state)
{
	close(control);
	close(fd);
	return unlink(bed_path("f"));
}

/* Blocks [first, end) are punched by another process: revoked from whoever does not answer. */
static void take_away(unsigned first, unsigned end)
{
	assert_int_equal(bed_other("punch", bed_path("f"), (uint64_t)first * BLOCK,
				 (uint64_t)(end - first) * BLOCK),
		0);
}

static void return_blocks(unsigned first, unsigned end)
{
	assert_int_equal(leasefs_return_range(
				 lease, (uint64_t)first * BLOCK, (uint64_t)(end - first) * BLOCK),
		0);
}

static void hear(void)
{
	struct leasefs_event event;
	struct leasefs_lease *about;
	int r;

	while ((r = leasefs_next_event(session, &event, &about)) > 0)
		;
	assert_int_equal(r, 0);
}

static void expect_held(unsigned held, unsigned revoked)
{
	struct leasefs_lease_state s;

	assert_int_equal(leasefs_get_lease(lease, &s), 0);
	assert_int_equal(s.held_bytes, held * BLOCK);
	assert_int_equal(s.revoked_bytes, revoked * BLOCK);
}

/* Is that block accessible? Asked of the kernel, which copies from it. */
static bool is_mapped(unsigned block)
{
	int pipes[2];
	ssize_t n;

	assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
	n = write(pipes[1], memory + (size_t)block * BLOCK, 1);
	close(pipes[0]);
	close(pipes[1]);
	return n == 1;
}

static void end_well(void)
{
	assert_int_equal(leasefs_return_lease(lease), 0);
	assert_int_equal(leasefs_close_session(session), 0);
	expect_nothing_left();
}

static void middle_is_returned_in_front_of_a_tail_that_was_revoked(void **state)
{
	take_away(48, 64);
	return_blocks(8, 16);
	hear();
	expect_held(8 + 32, 16);
	assert_true(is_mapped(20));
	assert_int_equal(leasefs_acknowledge_lease(lease), 0);
	assert_false(is_mapped(50));
	end_well();
}

static void all_in_front_of_a_revoked_part_is_returned(void **state)
{
	take_away(16, 24);
	return_blocks(0, 16);
	hear();
	expect_held(40, 8);
	assert_int_equal(leasefs_acknowledge_lease(lease), 0);
	assert_false(is_mapped(16));
	assert_true(is_mapped(24));
	end_well();
}

/* Not even the id that the event will name is left. */
static void front_is_returned_in_two_steps(void **state)
{
	take_away(16, 24);
	return_blocks(4, 8);
	return_blocks(0, 4);
	hear();
	expect_held(8 + 40, 8);
	assert_int_equal(leasefs_acknowledge_lease(lease), 0);
	assert_false(is_mapped(16));
	assert_true(is_mapped(12));
	end_well();
}

static void what_touches_a_revoked_tail_is_returned(void **state)
{
	take_away(48, 64);
	return_blocks(40, 48);
	hear();
	expect_held(40, 16);
	assert_true(is_mapped(39));
	end_well();
}

static void two_parts_were_revoked(void **state)
{
	take_away(16, 24);
	take_away(40, 48);
	return_blocks(8, 12);
	hear();
	expect_held(8 + 4 + 16 + 16, 16);
	assert_int_equal(leasefs_acknowledge_lease(lease), 0);
	assert_false(is_mapped(16));
	assert_false(is_mapped(40));
	assert_true(is_mapped(30));
	end_well();
}

static void part_of_what_was_revoked_as_a_whole_is_returned(void **state)
{
	take_away(0, 64);
	/* It reads the event, and then there is nothing of the lease there. */
	assert_int_equal(leasefs_return_range(lease, 8 * BLOCK, 8 * BLOCK), -ENOENT);
	expect_held(0, 64);
	end_well();
}

static void all_is_returned_when_the_front_was_revoked(void **state)
{
	take_away(0, 8);
	assert_int_equal(leasefs_return_lease(lease), 0);
	hear();
	assert_int_equal(leasefs_close_session(session), 0);
	expect_nothing_left();
}

static void all_is_returned_when_the_middle_was_revoked(void **state)
{
	take_away(8, 16);
	take_away(24, 32);
	return_blocks(0, 8);
	assert_int_equal(leasefs_return_lease(lease), 0);
	hear();
	assert_int_equal(leasefs_close_session(session), 0);
	expect_nothing_left();
}

static void session_ends_when_the_front_was_revoked(void **state)
{
	take_away(0, 8);
	assert_int_equal(leasefs_close_session(session), 0);
	expect_nothing_left();
}

static void session_ends_with_a_revoked_lease(void **state)
{
	take_away(0, 64);
	assert_int_equal(leasefs_close_session(session), 0);
	expect_nothing_left();
}

static void session_ends_with_a_lease_that_was_cut(void **state)
{
	take_away(16, 24);
	take_away(40, 48);
	return_blocks(8, 12);
	assert_int_equal(leasefs_close_session(session), 0);
	expect_nothing_left();
}

#define with_lease(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		with_lease(middle_is_returned_in_front_of_a_tail_that_was_revoked),
		with_lease(all_in_front_of_a_revoked_part_is_returned),
		with_lease(front_is_returned_in_two_steps),
		with_lease(what_touches_a_revoked_tail_is_returned),
		with_lease(two_parts_were_revoked),
		with_lease(part_of_what_was_revoked_as_a_whole_is_returned),
		with_lease(all_is_returned_when_the_front_was_revoked),
		with_lease(all_is_returned_when_the_middle_was_revoked),
		with_lease(session_ends_when_the_front_was_revoked),
		with_lease(session_ends_with_a_revoked_lease),
		with_lease(session_ends_with_a_lease_that_was_cut),
	};
	int failed;

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	bed_start(NULL, "128M");
	failed = cmocka_run_group_tests_name("unheard", tests, NULL, NULL);
	if (!failed)
		bed_stop();
	return failed;
}
