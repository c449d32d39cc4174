// SPDX-License-Identifier: BSD-2-Clause
/*
 * test_nomem.c - each allocation of memory that an operation on a file makes fails once.
 *
 * The operation then says -ENOMEM, or does without; either way the file is as before or as it was
 * to be, no lock is left taken, no block is lost, and the same operation succeeds afterwards.
 */
#include "scratch_pool.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <string.h>

#include "fault.h"
#include "verify.h"

#define MIB (1ull << 20)
#define FILE_BYTES 40000u
#define FAILURES_MAX 200u

/* ---- operations ------------------------------------------------------------------------------ */

struct world {
	struct scratch_pool pool;
	struct inode *root;
	struct inode *ip;
	struct inode *other;
	uint8_t content[FILE_BYTES * 3];
};

static const struct core_cred cred = {.fsetid = true};

static int do_write(struct world *w)
{
	static const uint8_t bytes[30000] = {1, 2, 3};
	ssize_t n = core_write(w->pool.c, w->ip, bytes, sizeof(bytes), 30000, &cred);

	return n < 0 ? (int)n : n == sizeof(bytes) ? 0 : -EIO;
}

static int do_shrink(struct world *w)
{
	return core_truncate(w->pool.c, w->ip, 5000, &cred);
}

static int do_punch(struct world *w)
{
	return core_fallocate(
		w->pool.c, w->ip, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 4096, 12000, &cred);
}

static int do_allocate(struct world *w)
{
	return core_fallocate(w->pool.c, w->ip, 0, 0, FILE_BYTES * 2, &cred);
}

static int do_zero(struct world *w)
{
	return core_fallocate(w->pool.c, w->ip, FALLOC_FL_ZERO_RANGE, 100, 20000, &cred);
}

static int do_prepare(struct world *w)
{
	return core_prepare_layout(w->pool.c, w->ip, 0, FILE_BYTES * 2, NULL);
}

static int do_copy(struct world *w)
{
	ssize_t n = core_copy_range(w->pool.c, w->ip, 0, w->other, 100, FILE_BYTES, &cred);

	return n < 0 ? (int)n : 0;
}

static int do_chown(struct world *w)
{
	return core_setattr(w->pool.c, w->ip,
		&(struct core_setattr){.valid = CORE_SET_UID, .uid = 55, .cred = &cred});
}

static int do_create(struct world *w)
{
	struct inode *ip;
	int error = core_create(w->pool.c, w->root, "new", S_IFREG | 0644, 0, &cred, &ip);

	if (!error)
		core_put(w->pool.c, ip, 1);
	return error;
}

static int do_get(struct world *w)
{
	struct inode *ip;
	int error = core_lookup(w->pool.c, w->root, "quiet", &ip);

	if (!error)
		core_put(w->pool.c, ip, 1);
	return error;
}

static int do_unlink(struct world *w)
{
	return core_unlink(w->pool.c, w->root, "quiet", NULL);
}

/* ---- the test -------------------------------------------------------------------------------- */

static struct inode *create(struct world *w, const char *name)
{
	struct inode *ip;

	assert_int_equal(core_create(w->pool.c, w->root, name, S_IFREG | 0644, 0, &cred, &ip), 0);
	return ip;
}

static void set_up(struct world *w, bool domains)
{
	if (domains)
		scratch_pool_make_domains(&w->pool, 8 * MIB);
	else
		scratch_pool_make(&w->pool, 8 * MIB, 0);
	assert_int_equal(core_get(w->pool.c, ROOT_INO, &w->root), 0);
	w->ip = create(w, "file");
	w->other = create(w, "other");
	struct inode *quiet = create(w, "quiet");
	assert_int_equal(core_write(w->pool.c, quiet, "x", 1, 0, &cred), 1);
	core_put(w->pool.c, quiet, 1);
	/* More extents than the record holds. */
	for (uint64_t at = 0; at < FILE_BYTES; at += 8192)
		assert_int_equal(core_write(w->pool.c, w->ip, "abc", 3, at, &cred), 3);
}

static void say_finding(void *context, const struct verify_finding *finding)
{
	print_message("%s\n", finding->text);
}

static void tear_down(struct world *w)
{
	const struct verify_options verify = {.found = say_finding};
	struct verify_report report;

	core_put(w->pool.c, w->root, 1);
	core_put(w->pool.c, w->ip, 1);
	core_put(w->pool.c, w->other, 1);
	assert_int_equal(verify_core(w->pool.c, &verify, &report), 0);
	assert_int_equal(report.found, 0);
	scratch_pool_remove(&w->pool);
}

/* The n-th allocation fails; false: there were fewer. */
static bool try(int (*operation)(struct world *w), unsigned n, bool domains)
{
	struct world *w = calloc(1, sizeof(*w));
	struct stat before, after;
	bool did_fail;
	int error;

	assert_non_null(w);
	set_up(w, domains);
	assert_int_equal(core_getattr(w->pool.c, w->ip, &before, NULL), 0);
	fault_plan(FAULT_MEMORY, n);
	error = operation(w);
	did_fail = fault_came();
	fault_plan(FAULT_MEMORY, 0);
	if (error) {
		assert_int_equal(error, -ENOMEM);
		assert_true(did_fail);
		assert_int_equal(core_getattr(w->pool.c, w->ip, &after, NULL), 0);
		assert_memory_equal(&before, &after, sizeof(before));
		assert_int_equal(operation(w), 0);
	}
	tear_down(w);
	free(w);
	return did_fail;
}

static unsigned fail_each(int (*operation)(struct world *w), bool domains)
{
	unsigned n = 1;

	while (try(operation, n, domains))
		assert_true(++n < FAILURES_MAX);
	return n - 1;
}

static void operations_without_memory_change_nothing(void **state)
{
	static const struct {
		const char *name;
		int (*operation)(struct world *w);
		bool domains;
	} all[] = {
		{"write", do_write, false},
		{"truncate", do_shrink, false},
		{"punch", do_punch, false},
		{"fallocate", do_allocate, false},
		{"zero range", do_zero, false},
		{"prepare", do_prepare, false},
		{"copy", do_copy, false},
		{"chown", do_chown, true},
		{"create", do_create, false},
		{"lookup", do_get, false},
		{"unlink", do_unlink, false},
	};

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		print_message("[ note     ] %s: %u allocations\n", all[i].name,
			fail_each(all[i].operation, all[i].domains));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(operations_without_memory_change_nothing),
	};

	return cmocka_run_group_tests_name("nomem", tests, NULL, NULL);
}
