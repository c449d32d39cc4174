// SPDX-License-Identifier: BSD-2-Clause
/*
 * pool_bed.c - see pool_bed.h.
 */
#include "pool_bed.h"

#include <errno.h>
#include <ftw.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "verify.h"

#define BED_POOL_BYTES (64ull << 20)
#define BED_SMALL_META_BYTES (12ull << 20)

static _Atomic int64_t seconds = 1000;

static int bed_clock(struct timespec *now)
{
	*now = (struct timespec){.tv_sec = atomic_fetch_add(&seconds, 1)};
	return 0;
}

static void bed_open(struct bed *b)
{
	struct core_options options = {.pool = b->directory, .clock = bed_clock};
	struct diag d = {0};

	if (core_open(&options, &b->core, &d))
		fail_msg("core_open: %s", d.text);
	assert_int_equal(core_get(b->core, ROOT_INO, &b->root), 0);
}

static int bed_setup_in(void **state, const char *parent, uint64_t meta_bytes)
{
	struct bed *b = calloc(1, sizeof(*b));
	struct core_format format = {
		.pool_bytes = BED_POOL_BYTES, .meta_bytes = meta_bytes, .lease_gid = UINT32_MAX};
	struct diag d = {0};

	assert_non_null(b);
	snprintf(b->directory, sizeof(b->directory), "%s/leasefs-test-XXXXXX", parent);
	assert_non_null(mkdtemp(b->directory));
	*state = b;
	format.pool = b->directory;
	if (core_format_pool(&format, &d))
		fail_msg("core_format_pool: %s", d.text);
	b->cred = (struct core_cred){.uid = 1000, .gid = 1000};
	bed_open(b);
	return 0;
}

int bed_setup(void **state)
{
	return bed_setup_in(state, "/dev/shm", 0);
}

int bed_setup_small(void **state)
{
	return bed_setup_in(state, "/dev/shm", BED_SMALL_META_BYTES);
}

int bed_setup_small_page_cache(void **state)
{
	const char *parent = getenv("TMPDIR");

	return bed_setup_in(state, parent ? parent : "/tmp", BED_SMALL_META_BYTES);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

int bed_teardown(void **state)
{
	struct bed *b = *state;

	if (b->core)
		core_abandon(b->core);
	nftw(b->directory, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	free(b);
	return 0;
}

void bed_reopen(struct bed *b, bool crash)
{
	if (crash) {
		core_abandon(b->core);
	} else {
		bed_put(b, b->root);
		assert_int_equal(core_close(b->core), 0);
	}
	b->core = NULL;
	bed_open(b);
}

struct media_inode bed_record(struct bed *b, struct inode *ip)
{
	const struct media_inode *record;
	struct media_inode copy;

	inode_lock_read(ip);
	assert_int_equal(inode_view(b->core, NULL, ip, &record), 0);
	copy = *record;
	inode_unlock(ip);
	return copy;
}

struct inode *bed_create(struct bed *b, struct inode *dir, const char *name, mode_t mode)
{
	struct inode *ip;

	assert_int_equal(core_create(b->core, dir, name, mode, 0, &b->cred, &ip), 0);
	return ip;
}

struct inode *bed_lookup(struct bed *b, struct inode *dir, const char *name)
{
	struct inode *ip;

	assert_int_equal(core_lookup(b->core, dir, name, &ip), 0);
	return ip;
}

void bed_put(struct bed *b, struct inode *ip)
{
	core_put(b->core, ip, 1);
}

struct verify {
	struct bed *bed;
	struct inode *dir;
	uint64_t entries, subdirectories;
};

static void verify_directory(struct bed *b, struct inode *dir);

static int verify_entry(void *context, const struct core_dirent *entry)
{
	struct verify *v = context;
	struct media_inode record;
	struct inode *ip;

	if (entry->cookie < 3)
		return 0;
	assert_int_equal(core_lookup(v->bed->core, v->dir, entry->name, &ip), 0);
	assert_int_equal(core_ino(ip), entry->ino);
	record = bed_record(v->bed, ip);
	assert_int_equal((record.mode & S_IFMT) >> 12, entry->type);
	assert_true(record.nlink > 0);
	v->entries++;
	if (S_ISDIR(record.mode)) {
		assert_int_equal(record.parent, core_ino(v->dir));
		v->subdirectories++;
		verify_directory(v->bed, ip);
	}
	bed_put(v->bed, ip);
	return 0;
}

static void verify_directory(struct bed *b, struct inode *dir)
{
	struct verify v = {.bed = b, .dir = dir};
	struct media_inode record = bed_record(b, dir);

	assert_int_equal(core_readdir(b->core, dir, 0, verify_entry, &v), 0);
	assert_int_equal(record.size, v.entries);
	assert_int_equal(record.nlink, 2 + v.subdirectories);
}

static void say_finding(void *context, const struct verify_finding *finding)
{
	(void)context;
	print_error("%s\n", finding->text);
}

void bed_verify(struct bed *b)
{
	const struct verify_options options = {.found = say_finding};
	struct verify_report report;

	verify_directory(b, b->root);
	assert_int_equal(verify_core(b->core, &options, &report), 0);
	assert_int_equal(report.found, 0);
}
