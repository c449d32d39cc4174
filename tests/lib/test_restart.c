// SPDX-License-Identifier: BSD-2-Clause
/* test_restart.c - the daemon ends and another comes; the application has only its mappings. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "session.h"

static void lease_mapping_and_pin_go_on(void **state)
{
	int fd = bed_file("goes-on", 16 * BLOCK);
	struct leasefs_lease *lease;
	struct leasefs_event event;
	unsigned char *memory;
	void *address;
	pid_t other;

	assert_int_equal(leasefs_take_lease(session, fd, 0, 0, LEASEFS_TAKE_WRITE, &lease), 0);
	assert_int_equal(leasefs_map_lease(lease, 0, &address), 0);
	memory = address;
	assert_int_equal(leasefs_pin_lease(lease), 0);
	close(fd);
	bed_kill();
	assert_null(expect_event(session, LEASEFS_EVENT_DISCONNECTED, &event));
	memset(memory, 'r', BLOCK); /* nobody is there, and the blocks are */
	bed_restart();
	assert_null(expect_event(session, LEASEFS_EVENT_RECONNECTED, &event));
	assert_int_equal(leasefs_commit_range(lease, 0, 0, 0), 0);
	assert_int_equal(bed_other("check", bed_path("goes-on"), 0, 'r'), 0);
	/* The pin of before counts. */
	assert_int_equal(bed_other("truncate", bed_path("goes-on"), 0, 0), EBUSY);
	assert_int_equal(leasefs_unpin_lease(lease), 0);
	other = bed_other_start("truncate", bed_path("goes-on"), 8 * BLOCK, 0);
	assert_ptr_equal(expect_event(session, LEASEFS_EVENT_RECALL, &event), lease);
	assert_int_equal(leasefs_return_range(lease, event.offset, event.length), 0);
	assert_int_equal(bed_other_wait(other), 0);
	assert_int_equal(leasefs_return_lease(lease), 0);
}

/* A call that is made while there is no daemon waits for the next one. */
static void call_in_between_is_answered_by_the_next_daemon(void **state)
{
	int fd = bed_file("between", 4 * BLOCK);
	struct leasefs_lease *lease;

	assert_int_equal(leasefs_take_lease(session, fd, 0, 0, LEASEFS_TAKE_WRITE, &lease), 0);
	close(fd);
	bed_kill();
	bed_restart();
	/* Whether or not the library has heard of either by now. */
	assert_int_equal(leasefs_commit_range(lease, 0, 0, 0), 0);
	assert_int_equal(leasefs_return_lease(lease), 0);
	fd = open(bed_path("between"), O_RDWR | O_CLOEXEC);
	assert_int_equal(leasefs_take_lease(session, fd, 0, 0, LEASEFS_TAKE_READ, &lease), 0);
	assert_int_equal(leasefs_return_lease(lease), 0);
	close(fd);
}

static void managed_mapping_goes_on(void **state)
{
	int fd = bed_file("managed", 16 * BLOCK);
	struct leasefs_lease *lease;
	struct leasefs_lease_state s;
	struct leasefs_event event;
	unsigned char *memory, byte;
	void *address;

	assert_int_equal(leasefs_map_managed(
				 session, fd, 0, 16 * BLOCK, LEASEFS_TAKE_WRITE, &lease, &address),
		0);
	memory = address;
	close(fd);
	for (int round = 0; round < 2; round++) {
		bed_kill();
		memory[0] = (unsigned char)('0' + round);
		bed_restart();
		assert_null(expect_event(session, LEASEFS_EVENT_RECONNECTED, &event));
		memory[1] = (unsigned char)('a' + round);
	}
	/* It gives way to the new daemon, and the file is the new mount's. */
	assert_int_equal(bed_other("truncate", bed_path("managed"), 8 * BLOCK, 0), 0);
	assert_int_equal(leasefs_get_lease(lease, &s), 0);
	assert_int_equal(s.held_bytes, 8 * BLOCK);
	assert_int_equal(leasefs_enable_guard(), 0);
	assert_int_equal(leasefs_copy_guarded(&byte, memory + 8 * BLOCK, 1), -EFAULT);
	assert_int_equal(memory[0], '1');
	assert_int_equal(memory[1], 'b');
	assert_int_equal(leasefs_return_lease(lease), 0);
}

/* A mapping of the file itself, at the daemon's end: it is the new mount's file afterwards. */
static void what_was_not_direct_is_mapped_anew(void **state)
{
	int fd = bed_file("indirect", 4 * BLOCK);
	struct leasefs_session *second;
	struct leasefs_lease *lease, *exclusive;
	struct leasefs_event event;
	unsigned char *memory;
	void *address;

	assert_int_equal(leasefs_open_session(bed_mount, LEASEFS_SESSION_NO_RECLAIM, &second), 0);
	assert_int_equal(leasefs_take_lease(second, fd, 0, 0,
				 LEASEFS_TAKE_READ | LEASEFS_TAKE_EXCLUSIVE, &exclusive),
		0);
	assert_int_equal(
		leasefs_map_managed(session, fd, 0, 4 * BLOCK, LEASEFS_TAKE_READ, &lease, &address),
		0);
	memory = address;
	assert_int_equal(memory[BLOCK], pattern(BLOCK));
	close(fd);
	bed_kill();
	assert_int_equal(leasefs_close_session(second), 0);
	bed_restart();
	assert_null(expect_event(session, LEASEFS_EVENT_RECONNECTED, &event));
	assert_int_equal(differs(memory, 0, 4 * BLOCK), -1);
	assert_int_equal(leasefs_return_lease(lease), 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		with_session(lease_mapping_and_pin_go_on),
		with_session(call_in_between_is_answered_by_the_next_daemon),
		with_session(managed_mapping_goes_on),
		with_session(what_was_not_direct_is_mapped_anew),
	};
	int failed;

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	bed_start("policy=recall:1s/busy,grace=10s", "128M");
	failed = cmocka_run_group_tests_name("restart", tests, NULL, NULL);
	if (!failed)
		bed_stop();
	return failed;
}
