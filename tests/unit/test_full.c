// SPDX-License-Identifier: BSD-2-Clause
/*
 * test_full.c - names and xattrs when the metadata space runs out: what was done stays, what failed
 * left nothing, removing always works and gives everything back - also where space that was freed
 * waits until it is durable.
 */
#include "pool_bed.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t meta_free(struct bed *b)
{
	struct core_info info;

	core_get_info(b->core, &info);
	return info.meta_free_bytes;
}

/* What makes the i-th file. 0, or what the step that failed said; *named: there is the name. */
static int make_one(struct bed *b, struct inode *dir, unsigned i, bool *named)
{
	static char bytes[3000];
	struct inode *ip;
	char name[32];
	int r;

	memset(bytes, 'x', sizeof(bytes) - 1);
	snprintf(name, sizeof(name), "f%u", i);
	if (i % 3 == 0)
		r = core_symlink(b->core, dir, name, bytes, &b->cred, &ip);
	else if (i % 3 == 1)
		r = core_create(b->core, dir, name, S_IFDIR | 0755, 0, &b->cred, &ip);
	else
		r = core_create(b->core, dir, name, S_IFREG | 0644, 0, &b->cred, &ip);
	*named = r == 0;
	if (r)
		return r;
	if (i % 3 == 2)
		r = core_setxattr(b->core, ip, "user.big", bytes, sizeof(bytes), 0, &b->cred);
	bed_put(b, ip);
	return r;
}

static void remove_all(struct bed *b, struct inode *dir, unsigned count)
{
	char name[32];

	for (unsigned i = 0; i < count; i++) {
		snprintf(name, sizeof(name), "f%u", i);
		if (i % 3 == 1)
			assert_int_equal(core_rmdir(b->core, dir, name), 0);
		else
			assert_int_equal(core_unlink(b->core, dir, name, NULL), 0);
	}
}

static void everything_comes_back_from_a_full_pool(void **state)
{
	struct bed *b = *state;
	struct inode *dir = bed_create(b, b->root, "dir", S_IFDIR | 0755);
	unsigned first = 0;
	uint64_t empty = 0;

	for (unsigned round = 0; round < 4; round++) {
		unsigned count = 0;
		bool named;
		int r;

		while ((r = make_one(b, dir, count, &named)) == 0)
			count++;
		assert_int_equal(r, -ENOSPC);
		count += named;
		assert_int_equal(bed_record(b, dir).size, count);
		bed_verify(b);
		assert_true(count > 300);
		/* The inodes' tables stay; everything else is there again, and again. */
		if (round > 1)
			assert_in_range(count, first - first / 20, first + first / 20);
		first = count;
		remove_all(b, dir, count);
		bed_verify(b);
		assert_int_equal(core_sync(b->core), 0);
		if (round)
			assert_int_equal(meta_free(b), empty);
		empty = meta_free(b);
		bed_put(b, dir);
		bed_reopen(b, round % 2);
		dir = bed_lookup(b, b->root, "dir");
		assert_int_equal(meta_free(b), empty);
	}
	bed_put(b, dir);
}

static void a_full_pool_can_still_be_rearranged(void **state)
{
	struct bed *b = *state;
	struct inode *a = bed_create(b, b->root, "a", S_IFDIR | 0755);
	struct inode *z = bed_create(b, b->root, "z", S_IFDIR | 0755), *f, *ip;
	struct core_setattr chmod = {.valid = CORE_SET_MODE, .mode = 0700, .cred = &b->cred};
	unsigned count = 0;
	bool named;

	f = bed_create(b, z, "f", S_IFREG | 0644);
	while (make_one(b, a, count, &named) == 0)
		count++;
	assert_int_equal(core_setattr(b->core, f, &chmod), 0);
	assert_int_equal(core_create(b->core, a, "f0", S_IFREG | 0644, 0, &b->cred, &ip), -EEXIST);
	assert_int_equal(core_symlink(b->core, a, "f0", "x", &b->cred, &ip), -EEXIST);
	assert_int_equal(
		core_rename(b->core, a, "f0", z, "f", CORE_RENAME_EXCHANGE, NULL, NULL), 0);
	assert_int_equal(core_rename(b->core, a, "f0", z, "f", 0, NULL, NULL), 0);
	assert_int_equal(core_rename(b->core, z, "f", z, "g", 0, NULL, NULL), 0);
	assert_int_equal(core_unlink(b->core, z, "g", NULL), 0);
	bed_put(b, f);
	bed_put(b, a);
	bed_put(b, z);
	bed_verify(b);
}

#define INODES_MAX 100000u /* more than fit */

static void a_whiteout_without_a_number_changes_nothing(void **state)
{
	static struct inode *held[INODES_MAX];
	struct bed *b = *state;
	struct inode *a = bed_create(b, b->root, "a", S_IFDIR | 0755);
	struct inode *z = bed_create(b, b->root, "z", S_IFDIR | 0755);
	struct inode *f = bed_create(b, a, "f", S_IFREG | 0644);
	struct inode *t = bed_create(b, z, "t", S_IFREG | 0644);
	struct inode *all[] = {a, z, f, t}, *ip;
	struct media_inode before[4], after;
	unsigned count = 0;
	int r;

	while ((r = core_tmpfile(b->core, b->root, 0600, &b->cred, &held[count])) == 0) {
		count++;
		assert_true(count < INODES_MAX);
	}
	assert_int_equal(r, -ENOSPC);
	for (unsigned i = 0; i < 4; i++)
		before[i] = bed_record(b, all[i]);
	assert_int_equal(core_rename(b->core, a, "f", z, "t", CORE_RENAME_WHITEOUT, &b->cred, NULL),
		-ENOSPC);
	for (unsigned i = 0; i < 4; i++) {
		after = bed_record(b, all[i]);
		assert_memory_equal(&after, &before[i], sizeof(after));
	}
	ip = bed_lookup(b, a, "f");
	assert_ptr_equal(ip, f);
	bed_put(b, ip);
	/* The one that goes next is for the whiteout. */
	bed_put(b, held[--count]);
	assert_int_equal(
		core_rename(b->core, a, "f", z, "t", CORE_RENAME_WHITEOUT, &b->cred, NULL), 0);
	ip = bed_lookup(b, a, "f");
	assert_int_equal(bed_record(b, ip).mode, S_IFCHR);
	bed_put(b, ip);
	while (count > 0)
		bed_put(b, held[--count]);
	for (unsigned i = 0; i < 4; i++)
		bed_put(b, all[i]);
	bed_verify(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		{"everything_comes_back_from_a_full_pool/memory",
			everything_comes_back_from_a_full_pool, bed_setup_small, bed_teardown,
			NULL},
		{"everything_comes_back_from_a_full_pool/page cache",
			everything_comes_back_from_a_full_pool, bed_setup_small_page_cache,
			bed_teardown, NULL},
		{"a_full_pool_can_still_be_rearranged", a_full_pool_can_still_be_rearranged,
			bed_setup_small, bed_teardown, NULL},
		{"a_whiteout_without_a_number_changes_nothing/memory",
			a_whiteout_without_a_number_changes_nothing, bed_setup_small, bed_teardown,
			NULL},
		{"a_whiteout_without_a_number_changes_nothing/page cache",
			a_whiteout_without_a_number_changes_nothing, bed_setup_small_page_cache,
			bed_teardown, NULL},
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
