// SPDX-License-Identifier: BSD-2-Clause
/* test_managed.c - mappings that give way by themselves, and come back. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "session.h"
#include "storm.h"

/* The test harness sets a handler of its own for each test. */
static void guard(void)
{
	assert_int_equal(leasefs_enable_guard(), 0);
}

/* ---- giving way ------------------------------------------------------------------------------ */

static void truncate_is_not_noticed_but_past_the_end(void **state)
{
	int fd = bed_file("truncated", 16 * BLOCK);
	unsigned char *memory, byte = 0;
	struct leasefs_lease *lease = manage(fd, 0, 16 * BLOCK, LEASEFS_TAKE_WRITE, &memory);
	uint64_t began = now_ns();

	guard();
	assert_int_equal(state_of(lease).held_bytes, 16 * BLOCK);
	memory[0] = 'x';
	memory[8 * BLOCK - 1] = 'y';
	memory[9 * BLOCK] = 'z';
	assert_int_equal(bed_other("truncate", bed_path("truncated"), 8 * BLOCK, 0), 0);
	assert_in_range(now_ns() - began, 0, 4000000000); /* the policy gives 5 s */
	assert_int_equal(memory[0], 'x');
	assert_int_equal(memory[8 * BLOCK - 1], 'y');
	assert_int_equal(leasefs_copy_guarded(&byte, memory + 8 * BLOCK, 1), -EFAULT);
	assert_int_equal(leasefs_copy_guarded(memory + 12 * BLOCK, &byte, 1), -EFAULT);
	assert_int_equal(state_of(lease).held_bytes, 8 * BLOCK);
	assert_int_equal(state_of(lease).gave_way, 1);
	/* It grows again: zeros, and direct when asked for. */
	assert_int_equal(ftruncate(fd, 16 * BLOCK), 0);
	assert_int_equal(leasefs_copy_guarded(&byte, memory + 9 * BLOCK, 1), 0);
	assert_int_equal(byte, 0);
	memory[10 * BLOCK] = 'w';
	if (can_come_back()) {
		assert_int_equal(leasefs_refresh_lease(lease), 0);
		assert_int_equal(state_of(lease).held_bytes, 16 * BLOCK);
	}
	assert_int_equal(memory[10 * BLOCK], 'w');
	assert_int_equal(leasefs_return_lease(lease), 0);
	assert_int_equal(pread(fd, &byte, 1, 10 * BLOCK), 1);
	assert_int_equal(byte, 'w');
	close(fd);
}

static void punch_gives_back_only_its_range(void **state)
{
	int fd = bed_file("punched", 32 * BLOCK);
	unsigned char *memory;
	struct leasefs_lease *lease = manage(fd, 0, 32 * BLOCK, LEASEFS_TAKE_WRITE, &memory);

	memory[9 * BLOCK] = 'a';
	memory[10 * BLOCK] = 'b';
	assert_int_equal(bed_other("punch", bed_path("punched"), 10 * BLOCK, 4 * BLOCK), 0);
	assert_int_equal(memory[9 * BLOCK], 'a');
	assert_int_equal(memory[10 * BLOCK], 0);
	assert_int_equal(memory[14 * BLOCK], pattern(14 * BLOCK));
	memory[11 * BLOCK] = 'c';
	if (can_come_back())
		wait_for_bytes(lease, 32 * BLOCK);
	assert_int_equal(memory[11 * BLOCK], 'c');
	assert_int_equal(state_of(lease).gave_way, 1);
	assert_int_equal(leasefs_commit_range(lease, 0, 0, 0), 0);
	assert_int_equal(leasefs_return_lease(lease), 0);
	close(fd);
}

static void own_truncate_is_as_anybody_elses(void **state)
{
	int fd = bed_file("own", 16 * BLOCK);
	unsigned char *memory, byte;
	struct leasefs_lease *lease = manage(fd, 0, 16 * BLOCK, LEASEFS_TAKE_WRITE, &memory);

	guard();
	assert_int_equal(ftruncate(fd, 4 * BLOCK), 0);
	wait_for_bytes(lease, 4 * BLOCK);
	while (state_of(lease).revoked_bytes)
		poll(NULL, 0, 1);
	assert_int_equal(leasefs_copy_guarded(&byte, memory + 4 * BLOCK, 1), -EFAULT);
	assert_int_equal(memory[3 * BLOCK], pattern(3 * BLOCK));
	assert_int_equal(leasefs_return_lease(lease), 0);
	close(fd);
}

static void read_mapping_gives_way_and_comes_back(void **state)
{
	int fd = bed_file("readers", 16 * BLOCK), again;
	struct leasefs_session *second;
	struct leasefs_lease *lease, *exclusive;
	unsigned char *memory;
	void *other;

	again = open(bed_path("readers"), O_RDONLY | O_CLOEXEC);
	lease = manage(again, 4 * BLOCK, 8 * BLOCK, LEASEFS_TAKE_READ, &memory);
	assert_int_equal(differs(memory, 4 * BLOCK, 8 * BLOCK), -1);
	assert_int_equal(leasefs_open_session(bed_mount, 0, &second), 0);
	assert_int_equal(leasefs_wait_lease(second, fd, 4 * BLOCK, 2 * BLOCK,
				 LEASEFS_TAKE_WRITE | LEASEFS_TAKE_EXCLUSIVE,
				 BED_PATIENCE_MS * 1000000ull, &exclusive),
		0);
	assert_int_equal(state_of(lease).held_bytes, 6 * BLOCK);
	assert_int_equal(differs(memory, 4 * BLOCK, 8 * BLOCK), -1);
	assert_int_equal(leasefs_map_lease(exclusive, 0, &other), 0);
	memset(other, 'e', 2 * BLOCK);
	assert_int_equal(leasefs_return_lease(exclusive), 0);
	wait_for_bytes(lease, 8 * BLOCK);
	assert_int_equal(memory[0], 'e');
	assert_true(state_of(lease).came_back >= 1);
	assert_int_equal(leasefs_return_lease(lease), 0);
	assert_int_equal(leasefs_close_session(second), 0);
	close(again);
	close(fd);
}

/* The memory stays where it is, is the file's, and a child has it too. */
static void left_mapping_is_an_ordinary_one(void **state)
{
	int fd = bed_file("left", 16 * BLOCK), status;
	struct leasefs_lease *lease;
	unsigned char *memory;
	pid_t child;

	lease = manage(fd, 0, 16 * BLOCK, LEASEFS_TAKE_WRITE, &memory);
	memory[5 * BLOCK] ^= 0xff;
	assert_int_equal(leasefs_leave_mapping(lease), 0);
	assert_int_equal(memory[5 * BLOCK], (unsigned char)~pattern(5 * BLOCK));
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		memory[6 * BLOCK] = 77;
		_exit(differs(memory, 0, 5 * BLOCK) != -1);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	assert_int_equal(memory[6 * BLOCK], 77);
	assert_int_equal(munmap(memory, 8 * BLOCK), 0);
	assert_int_equal(differs(memory + 8 * BLOCK, 8 * BLOCK, 8 * BLOCK), -1);
	assert_int_equal(munmap(memory + 8 * BLOCK, 8 * BLOCK), 0);
	assert_int_equal(bed_other("truncate", bed_path("left"), 0, 0), 0);
	close(fd);
}

static void hole_of_a_read_mapping_fills_by_itself(void **state)
{
	int fd = bed_file("hole", 0);
	unsigned char *memory;
	struct leasefs_lease *lease;

	assert_int_equal(ftruncate(fd, 8 * BLOCK), 0);
	lease = manage(fd, 0, 8 * BLOCK, LEASEFS_TAKE_READ, &memory);
	assert_int_equal(memory[3 * BLOCK], 0);
	assert_int_equal(bed_other("fill", bed_path("hole"), 3 * BLOCK, 'f'), 0);
	while (*(volatile unsigned char *)&memory[3 * BLOCK] != 'f')
		poll(NULL, 0, 1);
	assert_int_equal(leasefs_return_lease(lease), 0);
	close(fd);
}

/* ---- pins ------------------------------------------------------------------------------------ */

static void let_go(void *context, const struct leasefs_event *event, struct leasefs_lease *lease)
{
	int *asked = context;

	if (event->kind == LEASEFS_EVENT_RECALL && leasefs_unpin_lease(lease) == 0)
		__atomic_add_fetch(asked, 1, __ATOMIC_SEQ_CST);
}

static void pinned_mapping_asks_the_application(void **state)
{
	int fd = bed_file("pinned", 16 * BLOCK), asked = 0;
	unsigned char *memory;
	struct leasefs_lease *lease = manage(fd, 0, 16 * BLOCK, LEASEFS_TAKE_WRITE, &memory);

	assert_int_equal(leasefs_set_callback(session, let_go, &asked), 0);
	assert_int_equal(leasefs_pin_lease(lease), 0);
	assert_int_equal(leasefs_return_lease(lease), -EBUSY);
	assert_int_equal(bed_other("truncate", bed_path("pinned"), 8 * BLOCK, 0), 0);
	assert_int_equal(__atomic_load_n(&asked, __ATOMIC_SEQ_CST), 1);
	assert_int_equal(state_of(lease).held_bytes, 8 * BLOCK);
	assert_int_equal(leasefs_set_callback(session, NULL, NULL), 0);
	assert_int_equal(leasefs_unpin_lease(lease), -EINVAL);
	assert_int_equal(leasefs_return_lease(lease), 0);
	close(fd);
}

static void pins_need_direct_pages(void **state)
{
	int fd = bed_file("indirect", 4 * BLOCK);
	struct leasefs_session *second;
	struct leasefs_lease *lease, *exclusive;
	unsigned char *memory;
	uint64_t pin;

	assert_int_equal(leasefs_open_session(bed_mount, 0, &second), 0);
	assert_int_equal(leasefs_take_lease(second, fd, 0, 0,
				 LEASEFS_TAKE_WRITE | LEASEFS_TAKE_EXCLUSIVE, &exclusive),
		0);
	lease = manage(fd, 0, 4 * BLOCK, LEASEFS_TAKE_READ, &memory);
	assert_int_equal(state_of(lease).held_bytes, 0);
	assert_int_equal(state_of(lease).error, 0);
	assert_int_equal(memory[0], pattern(0));
	assert_int_equal(leasefs_pin_lease(lease), -EAGAIN);
	assert_int_equal(leasefs_pin_range(lease, 0, BLOCK, 0, &pin), -EAGAIN);
	assert_int_equal(leasefs_return_lease(exclusive), 0);
	wait_for_bytes(lease, 4 * BLOCK);
	assert_int_equal(leasefs_pin_lease(lease), 0);
	assert_int_equal(leasefs_unpin_lease(lease), 0);
	assert_int_equal(leasefs_pin_range(lease, 0, BLOCK, 0, &pin), 0);
	assert_int_equal(leasefs_unpin_range(lease, pin), 0);
	assert_int_equal(leasefs_return_lease(lease), 0);
	assert_int_equal(leasefs_close_session(second), 0);
	close(fd);
}

/* ---- many ------------------------------------------------------------------------------------ */

#define MANY 1000

static void thousand_mappings_give_way_one_by_one(void **state)
{
	static struct leasefs_lease *leases[MANY];
	static unsigned char *memories[MANY];
	int fd = bed_file("many", MANY * BLOCK);

	guard();
	for (unsigned i = 0; i < MANY; i++)
		leases[i] = manage(fd, i * BLOCK, BLOCK, LEASEFS_TAKE_READ, &memories[i]);
	for (unsigned i = 0; i < MANY; i++)
		assert_int_equal(memories[i][7], pattern(i * BLOCK + 7));
	assert_int_equal(bed_other("truncate", bed_path("many"), MANY / 2 * BLOCK, 0), 0);
	for (unsigned i = 0; i < MANY; i++) {
		unsigned char byte = 0;

		assert_int_equal(leasefs_copy_guarded(&byte, memories[i] + 7, 1),
			i < MANY / 2 ? 0 : -EFAULT);
		assert_int_equal(state_of(leases[i]).held_bytes, i < MANY / 2 ? BLOCK : 0);
	}
	for (unsigned i = 0; i < MANY; i++)
		assert_int_equal(leasefs_return_lease(leases[i]), 0);
	close(fd);
}

/* ---- storms ---------------------------------------------------------------------------------- */

#define STORM_BLOCKS 48u
#define STORM_THREADS 3u
#define STORM_ROUNDS 40
/* A second and more each under a sanitizer, where nearly every store is a signal. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define CUT_ROUNDS 12
#else
#define CUT_ROUNDS 40
#endif

/* The range is taken away and comes back, while threads store as fast as they can. */
static void no_store_is_lost(void **state)
{
	struct storm storm = {.stride = BLOCK, .places = STORM_BLOCKS, .threads = STORM_THREADS};
	unsigned char *memory, block[BLOCK];
	struct leasefs_session *second;
	struct leasefs_lease *lease;
	int fd = bed_file("storm", 0);
	uint64_t stores;

	assert_int_equal(ftruncate(fd, STORM_BLOCKS * BLOCK), 0);
	lease = manage(fd, 0, STORM_BLOCKS * BLOCK, LEASEFS_TAKE_WRITE, &memory);
	assert_int_equal(leasefs_open_session(bed_mount, 0, &second), 0);
	storm.memory = memory;
	storm_begin(&storm, storm_count);
	for (unsigned i = 0; i < STORM_ROUNDS; i++) {
		uint64_t from = i % 5 * 8 * BLOCK;

		/* Somebody whose reading fills the kernel's cache with what is there now. */
		assert_int_equal(pread(fd, block, BLOCK, (off_t)from), BLOCK);
		take_away(second, fd, from, (1 + i % 3) * 4 * BLOCK);
		if (can_come_back())
			wait_for_bytes(lease, STORM_BLOCKS * BLOCK);
	}
	stores = storm_end(&storm);
	print_message("%llu stores, %llu times away, %llu times back\n", (unsigned long long)stores,
		(unsigned long long)state_of(lease).gave_way,
		(unsigned long long)state_of(lease).came_back);
	if (can_come_back())
		assert_true(state_of(lease).came_back >= STORM_ROUNDS / 2);
	/* What is in memory is in the file, too. */
	assert_int_equal(leasefs_commit_range(lease, 0, 0, 0), 0);
	for (unsigned b = 0; b < STORM_BLOCKS; b++) {
		assert_int_equal(pread(fd, block, BLOCK, b * BLOCK), BLOCK);
		assert_memory_equal(block, memory + b * BLOCK, BLOCK);
	}
	assert_int_equal(leasefs_return_lease(lease), 0);
	assert_int_equal(leasefs_close_session(second), 0);
	close(fd);
}

/* The file is cut and grows, while another takes the blocks that it has lost. */
static void no_store_reaches_a_freed_block(void **state)
{
	struct storm storm = {.stride = BLOCK, .places = STORM_BLOCKS, .threads = STORM_THREADS};
	int fd = bed_file("cut", STORM_BLOCKS * BLOCK), taker;
	unsigned char *memory, block[BLOCK];
	struct leasefs_lease *lease =
		manage(fd, 0, STORM_BLOCKS * BLOCK, LEASEFS_TAKE_WRITE, &memory);

	guard();
	storm.memory = memory;
	storm_begin(&storm, storm_guarded);
	for (unsigned i = 0; i < CUT_ROUNDS; i++) {
		assert_int_equal(bed_other("truncate", bed_path("cut"), i % 4 * 10 * BLOCK, 0), 0);
		taker = bed_file("taker", STORM_BLOCKS * BLOCK);
		assert_int_equal(
			bed_other("truncate", bed_path("cut"), STORM_BLOCKS * BLOCK, 0), 0);
		if (can_come_back())
			assert_int_equal(leasefs_refresh_lease(lease), 0);
		for (unsigned b = 0; b < STORM_BLOCKS; b++) {
			assert_int_equal(pread(taker, block, BLOCK, b * BLOCK), BLOCK);
			assert_int_equal(differs(block, b * BLOCK, BLOCK), -1);
		}
		close(taker);
	}
	storm_end(&storm);
	assert_true(state_of(lease).gave_way >= (can_come_back() ? CUT_ROUNDS / 3 : 1));
	assert_int_equal(leasefs_return_lease(lease), 0);
	close(fd);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		with_session(truncate_is_not_noticed_but_past_the_end),
		with_session(punch_gives_back_only_its_range),
		with_session(own_truncate_is_as_anybody_elses),
		with_session(left_mapping_is_an_ordinary_one),
		with_session(read_mapping_gives_way_and_comes_back),
		with_session(hole_of_a_read_mapping_fills_by_itself),
		with_session(pinned_mapping_asks_the_application),
		with_session(pins_need_direct_pages),
		with_session(thousand_mappings_give_way_one_by_one),
		with_session(no_store_is_lost),
		with_session(no_store_reaches_a_freed_block),
	};
	int failed;

	if (argc > 1 && !strcmp(argv[1], "--without-userfaultfd"))
		bed_forbid_fences();
	else if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	bed_start("policy=recall:5s/busy", "256M");
	failed = cmocka_run_group_tests_name("managed", tests, NULL, NULL);
	if (!failed)
		bed_stop();
	return failed;
}
