// SPDX-License-Identifier: BSD-2-Clause
/*
 * test_names.c - looking up, creating, linking, unlinking and listing names.
 */
#include "pool_bed.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "dir.h"

static int lookup_result(struct bed *b, struct inode *dir, const char *name)
{
	struct inode *ip;
	int r = core_lookup(b->core, dir, name, &ip);

	if (r == 0)
		bed_put(b, ip);
	return r;
}

static int create_result(struct bed *b, struct inode *dir, const char *name, mode_t mode)
{
	struct inode *ip;
	int r = core_create(b->core, dir, name, mode, 0, &b->cred, &ip);

	if (r == 0)
		bed_put(b, ip);
	return r;
}

static uint64_t inodes_used(struct bed *b)
{
	struct core_info info;

	core_get_info(b->core, &info);
	return info.inodes_used;
}

static void names_of_every_length(void **state)
{
	struct bed *b = *state;
	char name[300];

	for (unsigned n = 1; n <= 255; n++) {
		memset(name, 'a' + (int)(n % 26), n);
		name[n] = '\0';
		assert_int_equal(create_result(b, b->root, name, S_IFREG | 0644), 0);
		assert_int_equal(create_result(b, b->root, name, S_IFREG | 0644), -EEXIST);
	}
	bed_verify(b);
	bed_reopen(b, true);
	bed_verify(b);
	for (unsigned n = 1; n <= 255; n++) {
		memset(name, 'a' + (int)(n % 26), n);
		name[n] = '\0';
		assert_int_equal(lookup_result(b, b->root, name), 0);
		assert_int_equal(core_unlink(b->core, b->root, name, NULL), 0);
		assert_int_equal(lookup_result(b, b->root, name), -ENOENT);
	}
	bed_verify(b);
	memset(name, 'x', 256);
	name[256] = '\0';
	assert_int_equal(create_result(b, b->root, name, S_IFREG | 0644), -ENAMETOOLONG);
	assert_int_equal(lookup_result(b, b->root, name), -ENAMETOOLONG);
	assert_int_equal(core_unlink(b->core, b->root, name, NULL), -ENAMETOOLONG);
	assert_int_equal(
		core_rename(b->core, b->root, name, b->root, "y", 0, NULL, NULL), -ENAMETOOLONG);
	assert_int_equal(lookup_result(b, b->root, ""), -ENOENT);
	assert_int_equal(create_result(b, b->root, "a/b", S_IFREG), -EINVAL);
}

static void dots_are_understood_and_not_made(void **state)
{
	struct bed *b = *state;
	struct inode *d = bed_create(b, b->root, "d", S_IFDIR | 0755);
	struct inode *e = bed_create(b, d, "e", S_IFDIR | 0755);
	struct inode *ip;

	ip = bed_lookup(b, e, ".");
	assert_ptr_equal(ip, e);
	bed_put(b, ip);
	ip = bed_lookup(b, e, "..");
	assert_ptr_equal(ip, d);
	bed_put(b, ip);
	ip = bed_lookup(b, b->root, "..");
	assert_ptr_equal(ip, b->root);
	bed_put(b, ip);
	assert_int_equal(create_result(b, d, ".", S_IFREG), -EEXIST);
	assert_int_equal(create_result(b, d, "..", S_IFDIR), -EEXIST);
	assert_int_equal(core_rmdir(b->core, d, "."), -EINVAL);
	assert_int_equal(core_rmdir(b->core, d, ".."), -ENOTEMPTY);
	assert_int_equal(core_unlink(b->core, d, ".", NULL), -EISDIR);
	bed_put(b, d);
	bed_put(b, e);
}

static void every_type_is_made_with_its_attributes(void **state)
{
	struct bed *b = *state;
	static const mode_t types[] = {S_IFREG, S_IFDIR, S_IFIFO, S_IFSOCK, S_IFCHR, S_IFBLK};
	struct media_inode r;
	struct inode *ip;
	char name[8];

	for (unsigned i = 0; i < 6; i++) {
		snprintf(name, sizeof(name), "t%u", i);
		b->cred.umask = 022;
		assert_int_equal(core_create(b->core, b->root, name, types[i] | 07777,
					 makedev(259, 70000), &b->cred, &ip),
			0);
		r = bed_record(b, ip);
		assert_int_equal(r.mode, types[i] | 07755);
		assert_int_equal(r.uid, 1000);
		assert_int_equal(r.gid, 1000);
		assert_int_equal(r.nlink, types[i] == S_IFDIR ? 2 : 1);
		assert_int_equal(r.rdev_major, i >= 4 ? 259 : 0);
		assert_int_equal(r.rdev_minor, i >= 4 ? 70000 : 0);
		assert_int_equal(r.btime_sec, r.mtime_sec);
		bed_put(b, ip);
	}
	assert_int_equal(create_result(b, b->root, "l", S_IFLNK | 0777), -EINVAL);
	ip = bed_create(b, b->root, "plain", 0600); /* mknod(2) without a type */
	assert_int_equal(bed_record(b, ip).mode, S_IFREG | 0600);
	assert_int_equal(create_result(b, ip, "below", S_IFREG), -ENOTDIR);
	assert_int_equal(lookup_result(b, ip, "below"), -ENOTDIR);
	bed_put(b, ip);
	bed_verify(b);
}

static void names_change_the_times_that_posix_says(void **state)
{
	struct bed *b = *state;
	struct inode *d = bed_create(b, b->root, "d", S_IFDIR | 0755), *f;
	struct media_inode before = bed_record(b, d), after, file, file_after;

	f = bed_create(b, d, "f", S_IFREG | 0644);
	after = bed_record(b, d);
	assert_true(after.mtime_sec > before.mtime_sec && after.ctime_sec > before.ctime_sec);
	assert_int_equal(after.atime_sec, before.atime_sec);
	file = bed_record(b, f);
	assert_int_equal(core_link(b->core, f, d, "g"), 0);
	file_after = bed_record(b, f);
	assert_true(file_after.ctime_sec > file.ctime_sec);
	assert_int_equal(file_after.mtime_sec, file.mtime_sec);
	before = after;
	after = bed_record(b, d);
	assert_true(after.mtime_sec > before.mtime_sec);
	file = file_after;
	assert_int_equal(core_unlink(b->core, d, "g", NULL), 0);
	file_after = bed_record(b, f);
	assert_true(file_after.ctime_sec > file.ctime_sec);
	before = after;
	assert_int_equal(core_rename(b->core, d, "f", d, "h", 0, NULL, NULL), 0);
	after = bed_record(b, d);
	assert_true(after.mtime_sec > before.mtime_sec && after.ctime_sec > before.ctime_sec);
	assert_true(bed_record(b, f).ctime_sec > file_after.ctime_sec);
	assert_int_equal(bed_record(b, f).mtime_sec, file.mtime_sec);
	before = after;
	assert_int_equal(create_result(b, d, "h", S_IFREG), -EEXIST);
	assert_int_equal(bed_record(b, d).ctime_sec, before.ctime_sec);
	bed_put(b, f);
	bed_put(b, d);
}

static void a_removed_directory_takes_no_names(void **state)
{
	struct bed *b = *state;
	struct inode *d = bed_create(b, b->root, "d", S_IFDIR | 0755), *f, *ip;

	f = bed_create(b, b->root, "f", S_IFREG | 0644);
	assert_int_equal(create_result(b, d, "x", S_IFREG), 0);
	assert_int_equal(core_rmdir(b->core, b->root, "d"), -ENOTEMPTY);
	assert_int_equal(core_rmdir(b->core, b->root, "f"), -ENOTDIR);
	assert_int_equal(core_unlink(b->core, b->root, "d", NULL), -EISDIR);
	assert_int_equal(core_unlink(b->core, d, "x", NULL), 0);
	assert_int_equal(core_rmdir(b->core, b->root, "d"), 0);
	assert_int_equal(core_rmdir(b->core, b->root, "d"), -ENOENT);
	assert_int_equal(create_result(b, d, "y", S_IFREG), -ENOENT);
	assert_int_equal(create_result(b, d, "y", S_IFDIR), -ENOENT);
	assert_int_equal(core_symlink(b->core, d, "y", "t", &b->cred, &ip), -ENOENT);
	assert_int_equal(core_tmpfile(b->core, d, 0600, &b->cred, &ip), -ENOENT);
	assert_int_equal(core_link(b->core, f, d, "y"), -ENOENT);
	assert_int_equal(core_rename(b->core, b->root, "f", d, "y", 0, NULL, NULL), -ENOENT);
	bed_put(b, f);
	bed_put(b, d);
	bed_verify(b);
}

static void links_are_counted_and_bounded(void **state)
{
	struct bed *b = *state;
	struct inode *d = bed_create(b, b->root, "d", S_IFDIR | 0755);
	struct inode *f = bed_create(b, d, "f", S_IFREG | 0644), *gone;
	uint64_t used = inodes_used(b);
	char name[16];

	for (unsigned i = 0; i < 100; i++) {
		snprintf(name, sizeof(name), "l%u", i);
		assert_int_equal(core_link(b->core, f, i % 2 ? d : b->root, name), 0);
	}
	assert_int_equal(bed_record(b, f).nlink, 101);
	assert_int_equal(core_link(b->core, f, d, "l1"), -EEXIST);
	assert_int_equal(core_link(b->core, d, b->root, "dd"), -EPERM);
	assert_int_equal(bed_record(b, f).nlink, 101);
	bed_verify(b);
	for (unsigned i = 0; i < 100; i++) {
		snprintf(name, sizeof(name), "l%u", i);
		assert_int_equal(core_unlink(b->core, i % 2 ? d : b->root, name, NULL), 0);
	}
	assert_int_equal(core_unlink(b->core, d, "f", &gone), 0);
	assert_ptr_equal(gone, f);
	assert_int_equal(bed_record(b, f).nlink, 0);
	assert_int_equal(core_link(b->core, f, d, "again"), -ENOENT);
	assert_int_equal(inodes_used(b), used);
	bed_put(b, f);
	bed_put(b, gone);
	assert_int_equal(inodes_used(b), used - 1);
	bed_put(b, d);
	bed_verify(b);
}

static void an_open_orphan_is_freed_after_a_crash(void **state)
{
	struct bed *b = *state;
	struct inode *f = bed_create(b, b->root, "f", S_IFREG | 0644), *t, *s;
	uint64_t used = inodes_used(b);
	char target[3000];

	memset(target, 't', sizeof(target) - 1);
	target[sizeof(target) - 1] = '\0';
	assert_int_equal(core_symlink(b->core, b->root, "s", target, &b->cred, &s), 0);
	assert_int_equal(core_tmpfile(b->core, b->root, 0600, &b->cred, &t), 0);
	assert_int_equal(bed_record(b, t).nlink, 0);
	assert_int_equal(core_unlink(b->core, b->root, "f", NULL), 0);
	assert_int_equal(core_unlink(b->core, b->root, "s", NULL), 0);
	assert_int_equal(inodes_used(b), used + 2);
	bed_reopen(b, true);
	assert_int_equal(inodes_used(b), used - 1);
	assert_int_equal(b->core->recovered_inodes, 3);
	bed_verify(b);
	(void)f;
}

static void a_file_without_a_name_can_get_one(void **state)
{
	struct bed *b = *state;
	struct inode *t;

	b->cred.umask = 027;
	assert_int_equal(core_tmpfile(b->core, b->root, 0666, &b->cred, &t), 0);
	assert_int_equal(bed_record(b, t).mode, S_IFREG | 0640);
	assert_int_equal(bed_record(b, b->root).size, 0);
	assert_int_equal(core_link(b->core, t, b->root, "named"), 0);
	assert_int_equal(bed_record(b, t).nlink, 1);
	bed_reopen(b, true);
	assert_int_equal(b->core->recovered_inodes, 0);
	t = bed_lookup(b, b->root, "named");
	assert_int_equal(core_unlink(b->core, b->root, "named", NULL), 0);
	assert_int_equal(core_link(b->core, t, b->root, "again"), -ENOENT);
	bed_put(b, t);
	bed_verify(b);
}

static bool in_every_group(const struct core_cred *cred, uint32_t gid)
{
	(void)cred;
	(void)gid;
	return true;
}

static void the_group_and_its_bit_come_from_the_directory(void **state)
{
	struct bed *b = *state;
	struct core_cred owner = {.uid = 5, .gid = 50};
	struct media_inode r;
	struct inode *d, *ip;

	assert_int_equal(core_create(b->core, b->root, "d", S_IFDIR | 02777, 0, &owner, &d), 0);
	ip = bed_create(b, d, "sub", S_IFDIR | 0755);
	r = bed_record(b, ip);
	assert_int_equal(r.gid, 50);
	assert_int_equal(r.mode, S_IFDIR | 02755);
	bed_put(b, ip);
	ip = bed_create(b, d, "stripped", S_IFREG | 02775);
	r = bed_record(b, ip);
	assert_int_equal(r.gid, 50);
	assert_int_equal(r.mode, S_IFREG | 0775);
	bed_put(b, ip);
	ip = bed_create(b, d, "locking", S_IFREG | 02765);
	assert_int_equal(bed_record(b, ip).mode, S_IFREG | 02765);
	bed_put(b, ip);
	b->cred.fsetid = true;
	ip = bed_create(b, d, "capable", S_IFREG | 02775);
	assert_int_equal(bed_record(b, ip).mode, S_IFREG | 02775);
	bed_put(b, ip);
	b->cred.fsetid = false;
	b->cred.in_group = in_every_group;
	ip = bed_create(b, d, "member", S_IFREG | 02775);
	assert_int_equal(bed_record(b, ip).mode, S_IFREG | 02775);
	bed_put(b, ip);
	bed_put(b, d);
}

/* ---- collisions ------------------------------------------------------------------------------ */

/* Puts entries under the keys that the hash of `name` has, as if so many names collided with it. */
static void collide(struct bed *b, const char *name, unsigned from, unsigned to, uint64_t ino)
{
	uint64_t base = dir_hash(b->core->super.hash_seed, name, strlen(name));
	struct btree tree = inode_tree(b->core, b->root);
	struct media_inode *record;
	struct tx *tx;

	inode_lock_write(b->root);
	assert_int_equal(tx_begin(b->core->meta, &tx), 0);
	assert_int_equal(inode_edit(b->core, tx, b->root, &record), 0);
	for (unsigned n = from; n < to; n++) {
		uint64_t buffer[8];
		struct media_dirent *d = (void *)buffer;

		d->ino = ino;
		d->type = DT_REG;
		d->name_bytes = (uint8_t)snprintf((char *)d->name, 40, "other-%u", n);
		assert_int_equal(btree_insert(&tree, tx, &record->tree, base + n, buffer,
					 (uint16_t)(10 + d->name_bytes)),
			0);
		record->size++;
	}
	assert_int_equal(tx_commit(tx), 0);
	inode_unlock(b->root);
}

static void names_whose_hashes_collide_live_side_by_side(void **state)
{
	struct bed *b = *state;
	struct inode *f = bed_create(b, b->root, "f", S_IFREG | 0644);
	struct dir_entry entry;
	struct media_inode record;
	uint64_t base = dir_hash(b->core->super.hash_seed, "victim", 6);

	collide(b, "victim", 0, 7, core_ino(f));
	collide(b, "victim", 8, 255, core_ino(f));
	assert_int_equal(lookup_result(b, b->root, "victim"), -ENOENT);
	assert_int_equal(create_result(b, b->root, "victim", S_IFREG), 0);
	record = bed_record(b, b->root);
	assert_int_equal(dir_find(b->core, NULL, b->root, &record, "victim", &entry), 0);
	assert_int_equal(entry.key, base + 7);
	assert_int_equal(
		core_rename(b->core, b->root, "victim", b->root, "away", 0, NULL, NULL), 0);
	collide(b, "victim", 7, 8, core_ino(f));
	assert_int_equal(create_result(b, b->root, "victim", S_IFREG), 0);
	record = bed_record(b, b->root);
	assert_int_equal(dir_find(b->core, NULL, b->root, &record, "victim", &entry), 0);
	assert_int_equal(entry.key, base + 255);
	assert_int_equal(core_unlink(b->core, b->root, "victim", NULL), 0);
	collide(b, "victim", 255, 256, core_ino(f));
	assert_int_equal(lookup_result(b, b->root, "victim"), -ENOENT);
	assert_int_equal(create_result(b, b->root, "victim", S_IFREG), -ENOSPC);
	assert_int_equal(lookup_result(b, b->root, "victim"), -ENOENT);
	bed_put(b, f);
}

/* ---- listing --------------------------------------------------------------------------------- */

#define LISTED 5000u
struct listing {
	struct bed *bed;
	uint8_t seen[LISTED];
	uint64_t last;
	unsigned count, limit;
	bool removing;
};

static int list_entry(void *context, const struct core_dirent *e)
{
	struct listing *l = context;

	if (l->count == l->limit)
		return 1;
	assert_true(e->cookie > l->last && e->cookie >> 63 == 0);
	l->last = e->cookie;
	l->count++;
	assert_int_equal(strlen(e->name), e->name_bytes);
	if (e->name[0] == '.') {
		assert_int_equal(e->cookie, e->name_bytes);
		assert_int_equal(e->ino, ROOT_INO);
		return 0;
	}
	if (e->name[0] == 'n')
		l->seen[atoi(e->name + 1)]++;
	if (l->removing)
		assert_int_equal(core_unlink(l->bed->core, l->bed->root, e->name, NULL), 0);
	return 0;
}

static void listing_resumes_at_any_cookie_while_names_come_and_go(void **state)
{
	struct bed *b = *state;
	struct listing l = {.bed = b, .limit = 7};
	char name[16];

	for (unsigned i = 0; i < LISTED; i++) {
		snprintf(name, sizeof(name), "n%u", i);
		assert_int_equal(create_result(b, b->root, name, S_IFREG), 0);
	}
	for (unsigned round = 0;; round++) {
		l.count = 0;
		assert_int_equal(core_readdir(b->core, b->root, l.last, list_entry, &l), 0);
		if (l.count == 0)
			break;
		/* Newcomers may or may not be seen; others are seen exactly once. */
		snprintf(name, sizeof(name), "x%u", round);
		assert_int_equal(create_result(b, b->root, name, S_IFREG), 0);
	}
	for (unsigned i = 0; i < LISTED; i++)
		assert_int_equal(l.seen[i], 1);
	assert_int_equal(core_readdir(b->core, b->root, UINT64_MAX, list_entry, &l), 0);

	l = (struct listing){.bed = b, .limit = 100000, .removing = true};
	assert_int_equal(core_readdir(b->core, b->root, 0, list_entry, &l), 0);
	for (unsigned i = 0; i < LISTED; i++)
		assert_int_equal(l.seen[i], 1);
	assert_int_equal(bed_record(b, b->root).size, 0);
	assert_int_equal(bed_record(b, b->root).tree.height, 0);
	bed_verify(b);
}

/* ---- symlinks -------------------------------------------------------------------------------- */

static void symlinks_of_every_length(void **state)
{
	struct bed *b = *state;
	static const unsigned lengths[] = {1, 87, 88, 89, 1023, 1024, 1025, 2048, 4000, 4095};
	char target[4200], out[4200], name[16];
	struct inode *ip;

	for (unsigned i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		for (unsigned k = 0; k < lengths[i]; k++)
			target[k] = (char)('!' + (k * 7 + i) % 90);
		target[lengths[i]] = '\0';
		snprintf(name, sizeof(name), "s%u", i);
		assert_int_equal(core_symlink(b->core, b->root, name, target, &b->cred, &ip), 0);
		assert_int_equal(bed_record(b, ip).size, lengths[i]);
		assert_int_equal(bed_record(b, ip).mode, S_IFLNK | 0777);
		bed_put(b, ip);
		bed_reopen(b, i % 2);
		ip = bed_lookup(b, b->root, name);
		memset(out, '?', sizeof(out));
		assert_int_equal(core_readlink(b->core, ip, out, sizeof(out)), lengths[i]);
		assert_memory_equal(out, target, lengths[i]);
		assert_int_equal(out[lengths[i]], '?');
		memset(out, '?', sizeof(out));
		assert_int_equal(core_readlink(b->core, ip, out, lengths[i] - 1), lengths[i]);
		assert_memory_equal(out, target, lengths[i] - 1);
		assert_int_equal(out[lengths[i] - 1], '?');
		bed_put(b, ip);
	}
	memset(target, 'x', 4096);
	target[4096] = '\0';
	assert_int_equal(
		core_symlink(b->core, b->root, "long", target, &b->cred, &ip), -ENAMETOOLONG);
	assert_int_equal(core_symlink(b->core, b->root, "none", "", &b->cred, &ip), -ENOENT);
	assert_int_equal(core_readlink(b->core, b->root, out, sizeof(out)), -EINVAL);
	bed_verify(b);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, bed_setup, bed_teardown)
	const struct CMUnitTest tests[] = {
		T(names_of_every_length),
		T(dots_are_understood_and_not_made),
		T(every_type_is_made_with_its_attributes),
		T(names_change_the_times_that_posix_says),
		T(a_removed_directory_takes_no_names),
		T(links_are_counted_and_bounded),
		T(an_open_orphan_is_freed_after_a_crash),
		T(a_file_without_a_name_can_get_one),
		T(the_group_and_its_bit_come_from_the_directory),
		T(names_whose_hashes_collide_live_side_by_side),
		T(listing_resumes_at_any_cookie_while_names_come_and_go),
		T(symlinks_of_every_length),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
