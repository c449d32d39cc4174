// SPDX-License-Identifier: BSD-2-Clause
/* test_mapped_file.c - a file through a mapping, also when it is cut short. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "mapped_file.h"

#define PAGE ((size_t)sysconf(_SC_PAGESIZE))

static sigjmp_buf elsewhere;
static struct sigaction installed;

static void on_other_fault(int signal_number, siginfo_t *info, void *context)
{
	siglongjmp(elsewhere, 1);
}

static int open_file(size_t bytes)
{
	char path[] = "/tmp/leasefs-mapped.XXXXXX";
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(ftruncate(fd, (off_t)bytes), 0);
	/* cmocka has put its own in the place of it for this test. */
	assert_int_equal(sigaction(SIGBUS, &installed, NULL), 0);
	return fd;
}

static uint64_t word_in(int fd, size_t offset)
{
	uint64_t word;

	assert_int_equal(pread(fd, &word, sizeof(word), (off_t)offset), sizeof(word));
	return word;
}

static void what_is_stored_is_in_the_file(void **state)
{
	int fd = open_file(2 * PAGE);
	struct mapped_file f = {0};
	uint32_t low = 7, word = 0;

	mapped_file_map(&f, fd, 2 * PAGE);
	assert_true(mapped_file_store64(&f, PAGE + 8, 5));
	assert_int_equal(word_in(fd, PAGE + 8), 5);
	assert_true(mapped_file_copy(&f, 100, "bytes", 5));
	assert_true(mapped_file_store32(&f, 16, 9));
	assert_int_equal((uint32_t)word_in(fd, 16), 9);
	assert_int_equal(pwrite(fd, &low, sizeof(low), 24), sizeof(low));
	assert_true(mapped_file_load32(&f, 24, &word));
	assert_int_equal(word, 7);
	mapped_file_unmap(&f);
	close(fd);
}

static void beyond_what_is_mapped_everything_fails(void **state)
{
	int fd = open_file(2 * PAGE);
	struct mapped_file f = {0};
	uint32_t word = 3;

	assert_false(mapped_file_load32(&f, 0, &word));
	mapped_file_map(&f, fd, PAGE);
	assert_false(mapped_file_store64(&f, PAGE, 5));
	assert_false(mapped_file_copy(&f, PAGE - 4, "bytes", 5));
	assert_false(mapped_file_store32(&f, SIZE_MAX - 3, 1));
	assert_int_equal(word_in(fd, PAGE), 0);
	assert_true(mapped_file_store64(&f, PAGE - 8, 6));
	mapped_file_map(&f, fd, 2 * PAGE);
	assert_true(mapped_file_store64(&f, PAGE, 5));
	assert_int_equal(word_in(fd, PAGE), 5);
	assert_int_equal(word_in(fd, PAGE - 8), 6);
	assert_int_equal(word, 3);
	mapped_file_unmap(&f);
	close(fd);
}

static void a_file_cut_short_fails_for_good(void **state)
{
	int fd = open_file(2 * PAGE);
	struct mapped_file f = {0};
	uint32_t word = 3;

	mapped_file_map(&f, fd, 2 * PAGE);
	assert_true(mapped_file_store64(&f, PAGE, 5));
	assert_int_equal(ftruncate(fd, 0), 0);
	errno = EDOM;
	assert_false(mapped_file_load32(&f, PAGE, &word));
	assert_int_equal(errno, EDOM);
	assert_int_equal(word, 3);
	assert_false(mapped_file_store64(&f, 0, 1));
	assert_int_equal(ftruncate(fd, (off_t)(2 * PAGE)), 0);
	assert_false(mapped_file_store64(&f, PAGE, 5)); /* not into a page that is no file's */
	assert_int_equal(word_in(fd, PAGE), 0);
	mapped_file_map(&f, fd, 3 * PAGE);
	assert_false(mapped_file_load32(&f, 0, &word));
	mapped_file_unmap(&f);
	close(fd);
}

static void each_way_of_access_survives_a_cut(void **state)
{
	for (int way = 0; way < 4; way++) {
		int fd = open_file(PAGE);
		struct mapped_file f = {0};
		uint32_t word;

		mapped_file_map(&f, fd, PAGE);
		assert_int_equal(ftruncate(fd, 0), 0);
		assert_false(way == 0   ? mapped_file_load32(&f, 0, &word)
			     : way == 1 ? mapped_file_store32(&f, 0, 1)
			     : way == 2 ? mapped_file_store64(&f, 0, 1)
					: mapped_file_copy(&f, 0, "bytes", 5));
		mapped_file_unmap(&f);
		close(fd);
	}
}

static void anothers_fault_goes_to_who_had_the_signal(void **state)
{
	int fd = open_file(PAGE);
	struct mapped_file f = {0};
	uint32_t *other = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	mapped_file_map(&f, fd, PAGE);
	assert_int_equal(ftruncate(fd, 0), 0);
	if (sigsetjmp(elsewhere, 1) == 0) {
		*(volatile uint32_t *)other = 1;
		fail();
	}
	assert_false(mapped_file_store32(&f, 0, 1)); /* ours is in its place still */
	munmap(other, PAGE);
	mapped_file_unmap(&f);
	close(fd);
}

int main(void)
{
	const struct sigaction action = {.sa_sigaction = on_other_fault, .sa_flags = SA_SIGINFO};
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_stored_is_in_the_file),
		cmocka_unit_test(beyond_what_is_mapped_everything_fails),
		cmocka_unit_test(a_file_cut_short_fails_for_good),
		cmocka_unit_test(each_way_of_access_survives_a_cut),
		cmocka_unit_test(anothers_fault_goes_to_who_had_the_signal),
	};

	struct mapped_file f = {0};

	/* Before ours, as the regions' is in the daemon; then ours. */
	if (sigaction(SIGBUS, &action, NULL))
		return 1;
	mapped_file_map(&f, -1, PAGE);
	if (f.at || sigaction(SIGBUS, NULL, &installed))
		return 1;
	return cmocka_run_group_tests_name("mapped_file", tests, NULL, NULL);
}
