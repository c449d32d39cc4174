// SPDX-License-Identifier: BSD-2-Clause
/*
 * test_region.c - regions: each backend that this machine has, the views, space, the recorder, and
 * what must not be opened.
 */
#include "region_bed.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <libgen.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "format.h"
#include "huge.h"
#include "scratch.h"

static uint64_t allocated(struct region *r)
{
	struct stat st;

	assert_int_equal(fstat(region_fd(r), &st), 0);
	return (uint64_t)st.st_blocks * 512;
}

/* What every backend must do: stores are there after closing and opening again. */
static void check_backend(int dir_fd, uint64_t bytes, enum region_backend backend,
	enum region_media media, uint64_t alignment)
{
	struct region *r = make(dir_fd, "data", bytes);
	struct diag d = {{0}};
	char text[] = "stored";

	assert_int_equal(region_backend(r), backend);
	assert_int_equal(region_media(r), media);
	assert_int_equal(region_alignment(r), alignment);
	assert_int_equal(region_bytes(r), bytes);
	assert_false(region_has_private_view(r));
	assert_int_equal(region_reserve(r, 4096, 4096), 0);
	assert_true(region_reserved_bytes(r) >= 2 * MIB);
	region_store(r, 4100, text, sizeof(text));
	region_store64(r, 4096 + 64, 0x0123456789abcdefull);
	assert_int_equal(region_flush(r, 4096, 4096), 0);
	region_fence(r);
	assert_int_equal(region_sync(r, 4100, 10), 0);
	assert_int_equal(region_sync_all(r), 0);
	region_close(r);

	assert_int_equal(open_in(dir_fd, "data", 0, bytes, DURABILITY_STRICT, &r, &d), 0);
	assert_string_equal(region_at(r, 4100, sizeof(text)), text);
	region_store_zero(r, 4096, 32);
	assert_int_equal(region_flush(r, 4097, 3), 0);
	region_fence(r);
	assert_int_equal(*(const char *)region_at(r, 4100, 1), 0);
	assert_int_equal(*(const uint64_t *)region_at(r, 4096 + 64, 8), 0x0123456789abcdefull);
	region_close(r);

	assert_int_equal(
		open_in(dir_fd, "data", REGION_READ_ONLY, 0, DURABILITY_STRICT, &r, &d), 0);
	assert_true(region_read_only(r));
	assert_int_equal(region_bytes(r), bytes);
	if (!getenv("PMEM_IS_PMEM_FORCE")) /* libpmem maps for writing alone */
		assert_int_equal(region_backend(r), backend);
	assert_int_equal(region_reserve(r, 0, 1), -EROFS);
	region_close(r);

	/* Read-only with a view of its own: changes are seen here and nowhere else. */
	assert_int_equal(open_in(dir_fd, "data", REGION_READ_ONLY | REGION_PRIVATE_VIEW, 0,
				 DURABILITY_STRICT, &r, &d),
		0);
	assert_true(region_has_private_view(r));
	region_apply(r, 4096, "private", 8);
	assert_string_equal(region_at(r, 4096, 8), "private");
	region_close(r);
	assert_int_equal(open_in(dir_fd, "data", 0, 0, DURABILITY_STRICT, &r, &d), 0);
	assert_int_equal(*(const char *)region_at(r, 4096, 1), 0);
	region_close(r);
}

static void ordinary_file_is_page_cache(void **state)
{
	const char *path = scratch_directory(NULL);
	int fd = dir_of(path);
	struct statfs fs;

	assert_int_equal(fstatfs(fd, &fs), 0);
	if (fs.f_type == 0x01021994) {
		close(fd);
		skip();
	}
	if (getenv("PMEM_IS_PMEM_FORCE") || getenv("LEASEFS_TEST_FSDAX"))
		check_backend(fd, 8 * MIB, BACKEND_FSDAX, REGION_PMEM, 4096);
	else
		check_backend(fd, 8 * MIB, BACKEND_FILE, REGION_PAGE_CACHE, 4096);
	close(fd);
}

static void tmpfs_is_volatile(void **state)
{
	int fd = dir_of(scratch_directory("/dev/shm"));

	check_backend(fd, 8 * MIB, BACKEND_TMPFS, REGION_VOLATILE, 4096);
	close(fd);
}

static void hugetlbfs_is_reserved_whole_or_refused(void **state)
{
	const char *path = scratch_directory(NULL);
	struct region *r = NULL;
	struct diag d = {{0}};
	char mounted[4200];

	if (scratch_mount(path, "huge", "hugetlbfs", "pagesize=2M"))
		skip();
	snprintf(mounted, sizeof(mounted), "%s/huge", path);
	int fd = dir_of(mounted);

	/* More than the machine has: nothing is left behind, and the sentence says what to do. */
	assert_int_equal(open_in(fd, "data", REGION_CREATE, 1ull << 40, DURABILITY_RELAXED, &r, &d),
		-ENOMEM);
	assert_non_null(strstr(d.text, "524288 huge pages"));
	assert_non_null(strstr(d.text, "vm.nr_hugepages"));
	assert_int_equal(faccessat(fd, "data", F_OK, 0), -1);
	assert_int_equal(
		open_in(fd, "data", REGION_CREATE, MIB, DURABILITY_RELAXED, &r, &d), -EINVAL);

	close(fd);

	const char *why, *file = huge_borrow(8 * MIB, &why);
	if (!file) {
		print_message("%s: only the refusal was tried\n", why);
		return;
	}
	assert_int_equal(unlink(file), 0);
	snprintf(mounted, sizeof(mounted), "%s", file);
	fd = dir_of(dirname(mounted));
	check_backend(fd, 8 * MIB, BACKEND_HUGETLBFS, REGION_VOLATILE, 2 * MIB);
	assert_int_equal(unlinkat(fd, "data", 0), 0);
	close(fd);
	huge_return();
}

static void views_differ_until_published(void **state)
{
	int fd = dir_of(scratch_directory(NULL));
	struct region *r = NULL;
	struct diag d = {{0}};
	char on_file[8] = {0};

	region_close(make(fd, "meta", 4 * MIB));
	assert_int_equal(
		open_in(fd, "meta", REGION_PRIVATE_VIEW, 0, DURABILITY_RELAXED, &r, &d), 0);
	if (region_media(r) != REGION_PAGE_CACHE) {
		region_close(r);
		close(fd);
		skip();
	}
	assert_true(region_has_private_view(r));
	assert_int_equal(region_reserve(r, 0, 4 * MIB), 0);
	region_apply(r, 8192, "working", 8);
	assert_string_equal(region_at(r, 8192, 8), "working");
	assert_int_equal(pread(region_fd(r), on_file, 8, 8192), 8);
	assert_int_equal(on_file[0], 0);

	/* A store reaches the durable view, and the working one where it has no copy. */
	region_store(r, 65536, "durable", 8);
	assert_string_equal(region_at(r, 65536, 8), "durable");
	assert_int_equal(pread(region_fd(r), on_file, 8, 65536), 8);
	assert_string_equal(on_file, "durable");

	assert_int_equal(region_publish(r, 8192, 8), 0);
	assert_int_equal(pread(region_fd(r), on_file, 8, 8192), 8);
	assert_string_equal(on_file, "working");
	region_forget_private(r);
	assert_string_equal(region_at(r, 8192, 8), "working");
	region_close(r);

	/* Strict: one view. */
	assert_int_equal(open_in(fd, "meta", REGION_PRIVATE_VIEW, 0, DURABILITY_STRICT, &r, &d), 0);
	assert_false(region_has_private_view(r));
	region_close(r);
	close(fd);
}

static void reserving_is_in_whole_units_and_remembered(void **state)
{
	int fd = dir_of(scratch_directory("/dev/shm"));
	struct region *r = make(fd, "data", 9 * MIB);

	assert_int_equal(allocated(r), 2 * MIB);
	assert_int_equal(region_reserve(r, 3 * MIB, 1), 0);
	assert_int_equal(allocated(r), 4 * MIB);
	assert_int_equal(region_reserve(r, 2 * MIB, 2 * MIB), 0);
	assert_int_equal(allocated(r), 4 * MIB);
	assert_int_equal(region_reserve(r, 0, 0), 0);
	/* The last unit is cut at the end. */
	assert_int_equal(region_reserve(r, 9 * MIB - 1, 1), 0);
	assert_int_equal(allocated(r), 5 * MIB);
	assert_int_equal(region_reserved_bytes(r), 5 * MIB);
	assert_int_equal(region_reserve(r, 0, 9 * MIB), 0);
	assert_int_equal(allocated(r), 9 * MIB);

	/* Only units that lie inside as a whole are given back; then they read as zero. */
	memset(region_data_at(r, 0, 9 * MIB), 0x55, 9 * MIB);
	assert_int_equal(region_unreserve(r, 1, 6 * MIB), 0);
	assert_int_equal(allocated(r), 5 * MIB);
	assert_int_equal(region_reserve(r, 2 * MIB, 4 * MIB), 0);
	assert_int_equal(*(const char *)region_at(r, 2 * MIB, 1), 0);
	assert_int_equal(*(const char *)region_at(r, 2 * MIB - 1, 1), 0x55);
	assert_int_equal(*(const char *)region_at(r, 6 * MIB, 1), 0x55);
	assert_int_equal(region_unreserve(r, 8 * MIB, MIB), 0);
	assert_int_equal(allocated(r), 8 * MIB);
	region_close(r);
	close(fd);
}

static void full_backing_is_enospc_and_never_sigbus(void **state)
{
	const char *path = scratch_directory(NULL);
	char mounted[4200];

	if (scratch_mount(path, "small", "tmpfs", "size=6m"))
		skip();
	snprintf(mounted, sizeof(mounted), "%s/small", path);
	int fd = dir_of(mounted);
	struct region *r = make(fd, "data", 64 * MIB);

	assert_int_equal(region_reserve(r, 0, 4 * MIB), 0);
	assert_true(region_backing_free(r) <= 2 * MIB);
	assert_int_equal(region_reserve(r, 32 * MIB, 4 * MIB), -ENOSPC);
	/* Less than a unit is left: the last blocks can be had, one by one. */
	int filler = openat(fd, "filler", O_RDWR | O_CREAT, 0600);
	assert_int_equal(fallocate(filler, 0, 0, MIB), 0);
	assert_int_equal(region_reserve(r, 4 * MIB + 5000, 10), 0);
	assert_int_equal(allocated(r), 4 * MIB + 4096);
	close(filler);
	unlinkat(fd, "filler", 0);
	assert_int_equal(region_reserve(r, 4 * MIB, 2 * MIB), 0);
	assert_int_equal(region_backing_free(r), 0);
	assert_int_equal(region_reserve(r, 8 * MIB, 1), -ENOSPC);
	memset(region_data_at(r, 0, 6 * MIB), 1, 6 * MIB);
	assert_int_equal(region_unreserve(r, 0, 2 * MIB), 0);
	assert_int_equal(region_reserve(r, 8 * MIB, 1), 0);
	region_close(r);

	struct region *none = NULL;
	struct diag d = {{0}};
	assert_int_equal(
		open_in(fd, "other", REGION_CREATE, 4 * MIB, DURABILITY_RELAXED, &none, &d),
		-ENOSPC);
	assert_int_equal(faccessat(fd, "other", F_OK, 0), -1);
	close(fd);
}

static void what_must_not_be_opened_is_refused(void **state)
{
	int fd = dir_of(scratch_directory(NULL));
	struct region *r = NULL;
	struct diag d = {{0}};

	region_close(make(fd, "target", 2 * MIB));
	assert_int_equal(symlinkat("target", fd, "link"), 0);
	assert_int_equal(open_in(fd, "link", 0, 0, DURABILITY_RELAXED, &r, &d), -ELOOP);
	assert_non_null(strstr(d.text, "symbolic link"));
	assert_int_equal(
		open_in(fd, "link", REGION_CREATE, 2 * MIB, DURABILITY_RELAXED, &r, &d), -EEXIST);
	assert_int_equal(symlinkat("nowhere", fd, "dangling"), 0);
	assert_int_equal(
		open_in(fd, "dangling", REGION_CREATE, 2 * MIB, DURABILITY_RELAXED, &r, &d),
		-EEXIST);
	assert_int_equal(faccessat(fd, "nowhere", F_OK, 0), -1);
	assert_int_equal(
		open_in(fd, "target", REGION_CREATE, 2 * MIB, DURABILITY_RELAXED, &r, &d), -EEXIST);

	assert_int_equal(mkdirat(fd, "directory", 0700), 0);
	assert_int_equal(open_in(fd, "directory", 0, 0, DURABILITY_RELAXED, &r, &d), -EINVAL);
	assert_int_equal(mkfifoat(fd, "fifo", 0600), 0); /* and no waiting for a writer */
	assert_int_equal(open_in(fd, "fifo", 0, 0, DURABILITY_RELAXED, &r, &d), -EINVAL);
	assert_int_equal(open_in(AT_FDCWD, "/dev/null", 0, 0, DURABILITY_RELAXED, &r, &d), -EINVAL);
	assert_non_null(strstr(d.text, "not a DAX device"));
	assert_int_equal(open_in(fd, "absent", 0, 0, DURABILITY_RELAXED, &r, &d), -ENOENT);

	assert_int_equal(open_in(fd, "target", 0, 4 * MIB, DURABILITY_RELAXED, &r, &d), -EUCLEAN);
	assert_string_equal(d.text, "target is 2097152 bytes, the pool says 4194304");
	int file = openat(fd, "odd", O_RDWR | O_CREAT, 0600);
	assert_int_equal(open_in(fd, "odd", 0, 0, DURABILITY_RELAXED, &r, &d), -EINVAL);
	assert_int_equal(ftruncate(file, 5000), 0);
	assert_int_equal(open_in(fd, "odd", 0, 0, DURABILITY_RELAXED, &r, &d), -EINVAL);
	close(file);
	assert_null(r);

	/* Nobody wants the sentence. */
	assert_int_equal(open_in(fd, "absent", 0, 0, DURABILITY_RELAXED, &r, NULL), -ENOENT);
	close(fd);
}

static void mode_is_as_asked_whatever_the_umask(void **state)
{
	int fd = dir_of(scratch_directory(NULL));
	mode_t before = umask(0777);
	struct region *r = make(fd, "data", 2 * MIB);
	struct stat st;

	umask(before);
	assert_int_equal(fstat(region_fd(r), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0640);
	region_close(r);
	close(fd);
}

/* ---- the recorder ---------------------------------------------------------------------------- */

struct record {
	char text[1024];
};

static void note(struct record *record, const char *what, uint64_t offset, uint64_t count)
{
	size_t used = strlen(record->text);

	snprintf(record->text + used, sizeof(record->text) - used, "%s %llu %llu;", what,
		(unsigned long long)offset, (unsigned long long)count);
}

static void on_store(
	void *context, const struct region *r, uint64_t offset, const void *bytes, uint64_t count)
{
	note(context, bytes ? "store" : "zero", offset, count);
}

static void on_flush(void *context, const struct region *r, uint64_t offset, uint64_t count)
{
	note(context, "flush", offset, count);
}

static void on_fence(void *context, const struct region *r)
{
	note(context, "fence", 0, 0);
}

static void recorder_sees_what_reaches_the_durable_view(void **state)
{
	int fd = dir_of(scratch_directory(NULL));
	struct region *r = make(fd, "meta", 2 * MIB);
	struct record record = {{0}};
	const struct region_recorder recorder = {&record, on_store, on_flush, on_fence};
	bool private_view;

	region_set_recorder(&recorder);
	region_store(r, 8, "abcdefg", 8);
	assert_int_equal(region_flush(r, 8, 8), 0);
	region_fence(r);
	region_store64(r, 16, 1);
	region_store_zero(r, 24, 8);
	region_touched(r, 4096, 100);
	assert_int_equal(region_sync(r, 16, 8), 0);
	region_apply(r, 32, "abcdefg", 8);
	/* Relaxed page cache has nothing that region_flush() could do. */
	const char *first = region_media(r) == REGION_PAGE_CACHE ? "store 8 8;fence 0 0;"
								 : "store 8 8;flush 8 8;fence 0 0;";
	size_t length = strlen(first);
	assert_memory_equal(record.text, first, length);
	assert_string_equal(record.text + length,
		"store 16 8;zero 24 8;store 4096 100;flush 16 8;fence 0 0;store 32 8;");
	region_close(r);

	struct diag d = {{0}};
	assert_int_equal(
		open_in(fd, "meta", REGION_PRIVATE_VIEW, 0, DURABILITY_RELAXED, &r, &d), 0);
	private_view = region_has_private_view(r);
	record.text[0] = '\0';
	region_apply(r, 4090, "abcdefg", 8);
	if (private_view) {
		assert_string_equal(record.text, "");
		assert_int_equal(region_publish(r, 4088, 16), 0);
		assert_string_equal(
			record.text, "store 4088 8;store 4096 8;flush 4088 16;fence 0 0;");
		record.text[0] = '\0';
		assert_int_equal(region_publish(r, 4088, 16), 0); /* nothing differs any more */
		assert_string_equal(record.text, "flush 4088 16;fence 0 0;");
	}
	region_set_recorder(NULL);
	record.text[0] = '\0';
	region_store64(r, 16, 2);
	assert_string_equal(record.text, "");
	region_close(r);
	close(fd);
}

/* ---- many threads ---------------------------------------------------------------------------- */

static void *reserve_everything(void *argument)
{
	struct region *r = argument;

	for (uint64_t at = 0; at < region_bytes(r); at += 64 * 1024)
		if (region_reserve(r, at, 64 * 1024))
			return argument;
	return NULL;
}

static void threads_may_reserve_the_same(void **state)
{
	int fd = dir_of(scratch_directory("/dev/shm"));
	struct region *r = make(fd, "data", 16 * MIB);
	pthread_t threads[4];
	void *result;

	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, reserve_everything, r), 0);
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(pthread_join(threads[i], &result), 0);
		assert_null(result);
	}
	assert_int_equal(allocated(r), 16 * MIB);
	region_close(r);
	close(fd);
}

/* A region's owner may take a lease of the kernel's on its file. Told of us, it ends by SIGIO. */
static void owners_file_lease_delays_and_does_not_refuse(void **state)
{
	const char *path = scratch_directory("/dev/shm");
	int dir_fd = dir_of(path), ready[2], status;
	struct region *r = make(dir_fd, "data", 4 * MIB);
	struct diag d = {{0}};
	char byte;

	region_close(r);
	assert_int_equal(pipe(ready), 0);
	pid_t child = fork();
	if (child == 0) {
		int fd = openat(dir_fd, "data", O_RDWR);

		byte = fcntl(fd, F_SETLEASE, F_WRLCK) == 0 ? 'y' : 'n';
		if (write(ready[1], &byte, 1) != 1 || byte == 'n')
			_exit(1);
		for (;;)
			pause();
	}
	assert_true(child > 0);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	if (byte == 'y')
		assert_int_equal(
			open_in(dir_fd, "data", 0, 4 * MIB, DURABILITY_RELAXED, &r, &d), 0);
	assert_int_equal(waitpid(child, &status, 0), child);
	close(ready[0]);
	close(ready[1]);
	close(dir_fd);
	if (byte != 'y')
		skip();
	assert_int_equal(WTERMSIG(status), SIGIO);
	region_close(r);
}

static void sentence_is_one_line(void **state)
{
	struct diag d = {{0}};

	assert_int_equal(diag_set(&d, -EIO, "%s is %d", "a\nb\x1b[1m", 7), -EIO);
	assert_string_equal(d.text, "a?b?[1m is 7");
	assert_int_equal(diag_set(NULL, -ENOMEM, "nobody listens"), -ENOMEM);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ordinary_file_is_page_cache),
		cmocka_unit_test(tmpfs_is_volatile),
		cmocka_unit_test(hugetlbfs_is_reserved_whole_or_refused),
		cmocka_unit_test(views_differ_until_published),
		cmocka_unit_test(reserving_is_in_whole_units_and_remembered),
		cmocka_unit_test(full_backing_is_enospc_and_never_sigbus),
		cmocka_unit_test(what_must_not_be_opened_is_refused),
		cmocka_unit_test(mode_is_as_asked_whatever_the_umask),
		cmocka_unit_test(recorder_sees_what_reaches_the_durable_view),
		cmocka_unit_test(threads_may_reserve_the_same),
		cmocka_unit_test(owners_file_lease_delays_and_does_not_refuse),
		cmocka_unit_test(sentence_is_one_line),
	};

	return cmocka_run_group_tests_name("region", tests, NULL, NULL);
}
