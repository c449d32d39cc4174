// SPDX-License-Identifier: BSD-2-Clause
/*
 * test_exhaustion.c - every allocation fails once, while a pool is made, opened and changed: an
 * error with a sentence comes out, nothing stays open, and the pool is as good as before.
 *
 * The linker puts the allocators below in the place of libc's for everything but shared libraries.
 */
#include "pool_fixture.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "verify.h"

static _Atomic long countdown = -1; /* allocations that succeed until one fails; -1: all do */

static bool fails(void)
{
	long left = atomic_load(&countdown);

	if (left < 0)
		return false;
	atomic_store(&countdown, left - 1);
	return left == 0;
}

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count, size_t bytes);
void *__real_realloc(void *old, size_t bytes);
void *__real_aligned_alloc(size_t alignment, size_t bytes);
char *__real_strdup(const char *text);
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes);
void *__wrap_realloc(void *old, size_t bytes);
void *__wrap_aligned_alloc(size_t alignment, size_t bytes);
char *__wrap_strdup(const char *text);

#define OR_FAIL(call)                                                                              \
	do {                                                                                       \
		if (!fails())                                                                      \
			return call;                                                               \
		errno = ENOMEM;                                                                    \
		return NULL;                                                                       \
	} while (0)

void *__wrap_malloc(size_t bytes)
{
	OR_FAIL(__real_malloc(bytes));
}

void *__wrap_calloc(size_t count, size_t bytes)
{
	OR_FAIL(__real_calloc(count, bytes));
}

void *__wrap_realloc(void *old, size_t bytes)
{
	OR_FAIL(__real_realloc(old, bytes));
}

void *__wrap_aligned_alloc(size_t alignment, size_t bytes)
{
	OR_FAIL(__real_aligned_alloc(alignment, bytes));
}

char *__wrap_strdup(const char *text)
{
	OR_FAIL(__real_strdup(text));
}

/* Did the countdown run out, so that an allocation failed? Ends it in any case. */
static bool ran_out(void)
{
	return atomic_exchange(&countdown, -1) < 0;
}

static unsigned open_descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned count = 0;

	assert_non_null(dir);
	while (readdir(dir))
		count++;
	closedir(dir);
	return count;
}

static void mkfs_fails_whole(void **state)
{
	unsigned descriptors = open_descriptors(), failed = 0;
	struct core_format f = format_of(64 * MIB);

	for (long n = 0;; n++) {
		struct diag d = {{0}};

		atomic_store(&countdown, n);
		int error = core_format_pool(&f, &d);
		if (!ran_out()) {
			expect(error, 0, &d, NULL);
			break;
		}
		assert_int_equal(open_descriptors(), descriptors);
		if (error) {
			expect(error, -ENOMEM, &d, NULL);
			assert_true(d.text[0] != '\0');
			failed++;
		} else { /* it did without */
			f.force = true;
		}
	}
	assert_true(failed > 10);
	expect_open(true, 0, NULL);
}

static void opening_fails_whole(void **state)
{
	unsigned descriptors, failed = 0;
	struct core *c;

	make_pool(64 * MIB);
	c = open_pool(false);
	assert_int_equal(tables_grow_inodes(c), 0);
	core_abandon(c); /* so that there is something to recover, the first time */
	descriptors = open_descriptors();
	for (long n = 0;; n++) {
		const struct core_options options = {.pool = pool, .read_only = n % 2};
		struct diag d = {{0}};

		atomic_store(&countdown, n / 2);
		int error = core_open(&options, &c, &d);
		bool over = !ran_out();
		if (error) {
			expect(error, -ENOMEM, &d, NULL);
			assert_true(d.text[0] != '\0');
			failed++;
		} else {
			core_abandon(c);
		}
		assert_int_equal(open_descriptors(), descriptors);
		if (over && n % 2)
			break;
	}
	assert_true(failed > 20);
}

static void tables_are_whole_after_each_failure(void **state)
{
	struct core_format f = format_of(300 * MIB);
	struct verify_report report = {0};
	const struct verify_options verify = {0};
	struct data_region *r;
	unsigned failed = 0, descriptors;
	struct core *c;
	bool over = false;

	f.domains = DOMAINS_UID;
	expect_format(&f, 0, NULL);
	c = open_pool(false);
	descriptors = open_descriptors();
	for (long n = 0; !over; n++) {
		uint32_t count = c->region_count;

		atomic_store(&countdown, n);
		int error = tables_region_for(c, 1000 + (uint32_t)n, &r);
		over = !ran_out();
		if (error) {
			assert_int_equal(error, -ENOMEM);
			assert_int_equal(c->region_count, count);
			assert_int_equal(open_descriptors(), descriptors);
			failed++;
		} else {
			descriptors = open_descriptors();
		}
		atomic_store(&countdown, n);
		error = tables_grow_inodes(c);
		over = !ran_out() && over;
		assert_true(error == 0 || error == -ENOMEM);
		failed += error != 0;
	}
	assert_true(failed > 2);
	assert_int_equal(verify_core(c, &verify, &report), 0);
	assert_int_equal(report.found, 0);
	assert_int_equal(core_close(c), 0);
	expect_open(true, 0, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		MEMORY(mkfs_fails_whole),
		MEMORY(opening_fails_whole),
		FILES(opening_fails_whole),
		MEMORY(tables_are_whole_after_each_failure),
	};

	return cmocka_run_group_tests_name("exhaustion", tests, NULL, NULL);
}
