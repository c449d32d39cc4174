// SPDX-License-Identifier: BSD-2-Clause
/*
 * test_coherence.c - the rows of docs/coherence.md, by number.
 *
 * The program without leases is other.c, which opens the file anew each time, and for files and
 * mappings from before the lease, this process by its ordinary descriptor.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "bed.h"

static struct leasefs_session *session, *second;

struct both {
	int fd; /* opened before the lease */
	struct leasefs_lease *lease;
	unsigned char *memory;
};

static struct both begin(const char *name, unsigned flags)
{
	struct both b = {.fd = bed_file(name, 4 * BLOCK)};
	void *address;

	assert_int_equal(leasefs_take_lease(session, b.fd, 0, 0, flags, &b.lease), 0);
	assert_int_equal(leasefs_map_lease(b.lease, 0, &address), 0);
	b.memory = address;
	return b;
}

static void end(struct both *b)
{
	assert_int_equal(leasefs_return_lease(b->lease), 0);
	close(b->fd);
}

static unsigned char read_byte(int fd)
{
	unsigned char byte = 0;

	assert_int_equal(pread(fd, &byte, 1, 0), 1);
	return byte;
}

static unsigned char *map_file(int fd)
{
	unsigned char *memory = mmap(NULL, BLOCK, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	assert_ptr_not_equal(memory, MAP_FAILED);
	return memory;
}

static void row_1_write_is_seen_by_a_leased_mapping(void **state)
{
	struct both b = begin("row1", LEASEFS_TAKE_READ);

	assert_int_equal(bed_other("fill", bed_path("row1"), 0, 'w'), 0);
	assert_int_equal(b.memory[5], 'w');
	end(&b);
}

static void row_2_store_is_seen_by_another_leased_mapping(void **state)
{
	struct both b = begin("row2", LEASEFS_TAKE_WRITE);
	struct leasefs_lease *lease;
	void *address;

	assert_int_equal(leasefs_take_lease(second, b.fd, 0, 0, LEASEFS_TAKE_READ, &lease), 0);
	assert_int_equal(leasefs_map_lease(lease, 0, &address), 0);
	memset(b.memory, 's', BLOCK);
	assert_int_equal(*(unsigned char *)address, 's');
	assert_int_equal(leasefs_return_lease(lease), 0);
	end(&b);
}

static void row_3_store_is_read_by_who_opens_now(void **state)
{
	struct both b = begin("row3", LEASEFS_TAKE_WRITE);

	for (int i = 'a'; i < 'e'; i++) {
		memset(b.memory, i, BLOCK);
		assert_int_equal(bed_other("check", bed_path("row3"), 0, (uint64_t)i), 0);
	}
	end(&b);
}

static void row_4_store_is_read_by_who_has_opened_before_after_commit(void **state)
{
	struct both b = begin("row4", LEASEFS_TAKE_WRITE);

	assert_int_equal(read_byte(b.fd), pattern(0));
	memset(b.memory, 'c', BLOCK);
	assert_int_equal(leasefs_commit_range(b.lease, 0, BLOCK, 0), 0);
	assert_int_equal(read_byte(b.fd), 'c');
	memset(b.memory, 'r', BLOCK);
	assert_int_equal(leasefs_return_lease(b.lease), 0);
	assert_int_equal(read_byte(b.fd), 'r');
	close(b.fd);
}

static void row_5_store_is_seen_by_an_ordinary_mapping_after_commit(void **state)
{
	struct both b = begin("row5", LEASEFS_TAKE_WRITE);
	volatile unsigned char *ordinary = map_file(b.fd);

	assert_int_equal(ordinary[0], pattern(0));
	memset(b.memory, 'm', BLOCK);
	assert_int_equal(leasefs_commit_range(b.lease, 0, BLOCK, 0), 0);
	assert_int_equal(ordinary[0], 'm');
	assert_int_equal(bed_other("mapcheck", bed_path("row5"), 0, 'm'), 0);
	munmap((void *)ordinary, BLOCK);
	end(&b);
}

static void row_6_ordinary_mapping_is_seen_after_msync(void **state)
{
	struct both b = begin("row6", LEASEFS_TAKE_READ);

	assert_int_equal(bed_other("mapfill", bed_path("row6"), 0, 'o'), 0);
	assert_int_equal(b.memory[0], 'o');
	end(&b);
}

static void row_7_ordinary_mappings_are_one(void **state)
{
	struct both b = begin("row7", LEASEFS_TAKE_READ);
	unsigned char *one = map_file(b.fd), *two = map_file(b.fd);

	one[0] = '7';
	assert_int_equal(*(volatile unsigned char *)two, '7');
	assert_int_equal(read_byte(b.fd), '7');
	munmap(one, BLOCK);
	munmap(two, BLOCK);
	end(&b);
}

static void row_8_managed_mapping_commits_when_it_gives_way(void **state)
{
	int fd = bed_file("row8", 4 * BLOCK);
	struct leasefs_lease *lease, *exclusive;
	void *address;

	assert_int_equal(read_byte(fd), pattern(0));
	assert_int_equal(leasefs_map_managed(
				 session, fd, 0, 4 * BLOCK, LEASEFS_TAKE_WRITE, &lease, &address),
		0);
	memset(address, '8', BLOCK);
	assert_int_equal(bed_other("check", bed_path("row8"), 0, '8'), 0);
	assert_int_equal(
		leasefs_wait_lease(second, fd, 0, 0, LEASEFS_TAKE_READ | LEASEFS_TAKE_EXCLUSIVE,
			BED_PATIENCE_MS * 1000000ull, &exclusive),
		0);
	assert_int_equal(read_byte(fd), '8');
	assert_int_equal(leasefs_return_lease(exclusive), 0);
	assert_int_equal(leasefs_return_lease(lease), 0);
	close(fd);
}

static void row_9_managed_mapping_that_gave_way_is_an_ordinary_one(void **state)
{
	int fd = bed_file("row9", 4 * BLOCK);
	struct leasefs_lease *lease, *exclusive;
	unsigned char *ordinary = map_file(fd);
	void *address;

	assert_int_equal(leasefs_map_managed(
				 session, fd, 0, 4 * BLOCK, LEASEFS_TAKE_WRITE, &lease, &address),
		0);
	assert_int_equal(
		leasefs_wait_lease(second, fd, 0, 0, LEASEFS_TAKE_READ | LEASEFS_TAKE_EXCLUSIVE,
			BED_PATIENCE_MS * 1000000ull, &exclusive),
		0);
	*(volatile unsigned char *)address = '9';
	assert_int_equal(*(volatile unsigned char *)ordinary, '9');
	assert_int_equal(read_byte(fd), '9');
	assert_int_equal(leasefs_return_lease(exclusive), 0);
	assert_int_equal(leasefs_return_lease(lease), 0);
	munmap(ordinary, BLOCK);
	close(fd);
}

static void row_10_truncated_bytes_are_zeros(void **state)
{
	int fd = bed_file("row10", 4 * BLOCK);
	struct leasefs_lease *lease;
	unsigned char *memory, byte;
	void *address;

	assert_int_equal(leasefs_enable_guard(), 0);
	assert_int_equal(leasefs_map_managed(
				 session, fd, 0, 4 * BLOCK, LEASEFS_TAKE_WRITE, &lease, &address),
		0);
	memory = address;
	assert_int_equal(bed_other("truncate", bed_path("row10"), BLOCK + 1, 0), 0);
	assert_int_equal(leasefs_copy_guarded(&byte, memory + 2 * BLOCK, 1), -EFAULT);
	assert_int_equal(bed_other("truncate", bed_path("row10"), 4 * BLOCK, 0), 0);
	assert_int_equal(memory[BLOCK], pattern(BLOCK));
	assert_int_equal(memory[BLOCK + 1], 0);
	assert_int_equal(memory[3 * BLOCK], 0);
	assert_int_equal(bed_other("check", bed_path("row10"), 2 * BLOCK, 0), 0);
	assert_int_equal(leasefs_return_lease(lease), 0);
	close(fd);
}

static void row_11_commit_grows_the_file_for_all(void **state)
{
	int fd = bed_file("row11", 0);
	struct leasefs_lease *lease;
	struct stat st;
	void *address;

	assert_int_equal(
		leasefs_take_lease(session, fd, 0, 2 * BLOCK, LEASEFS_TAKE_WRITE, &lease), 0);
	assert_int_equal(leasefs_map_lease(lease, 0, &address), 0);
	memset(address, 'g', 2 * BLOCK);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_size, 0);
	assert_int_equal(leasefs_commit_range(lease, 0, 0, 2 * BLOCK), 0);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_size, 2 * BLOCK);
	assert_int_equal(bed_other("check", bed_path("row11"), BLOCK, 'g'), 0);
	assert_int_equal(leasefs_return_lease(lease), 0);
	close(fd);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(row_1_write_is_seen_by_a_leased_mapping),
		cmocka_unit_test(row_2_store_is_seen_by_another_leased_mapping),
		cmocka_unit_test(row_3_store_is_read_by_who_opens_now),
		cmocka_unit_test(row_4_store_is_read_by_who_has_opened_before_after_commit),
		cmocka_unit_test(row_5_store_is_seen_by_an_ordinary_mapping_after_commit),
		cmocka_unit_test(row_6_ordinary_mapping_is_seen_after_msync),
		cmocka_unit_test(row_7_ordinary_mappings_are_one),
		cmocka_unit_test(row_8_managed_mapping_commits_when_it_gives_way),
		cmocka_unit_test(row_9_managed_mapping_that_gave_way_is_an_ordinary_one),
		cmocka_unit_test(row_10_truncated_bytes_are_zeros),
		cmocka_unit_test(row_11_commit_grows_the_file_for_all),
	};
	int failed;

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	bed_start("policy=recall:5s/busy", "128M");
	if (leasefs_open_session(bed_mount, 0, &session) ||
		leasefs_open_session(bed_mount, 0, &second))
		return 1;
	failed = cmocka_run_group_tests_name("coherence", tests, NULL, NULL);
	leasefs_close_session(second);
	leasefs_close_session(session);
	if (!failed)
		bed_stop();
	return failed;
}
