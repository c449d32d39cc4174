// SPDX-License-Identifier: BSD-2-Clause
/*
 * test_xattr.c - extended attributes and POSIX ACLs.
 */
#include "pool_bed.h"

#include <errno.h>
#include <linux/posix_acl.h>
#include <linux/posix_acl_xattr.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>

#include "acl.h"
#include "xattr.h"

static int set(struct bed *b, struct inode *ip, const char *name, const void *value, size_t bytes,
	int flags)
{
	return core_setxattr(b->core, ip, name, value, bytes, flags, &b->cred);
}

static uint64_t meta_free(struct bed *b)
{
	struct core_info info;

	assert_int_equal(core_sync(b->core), 0);
	core_get_info(b->core, &info);
	return info.meta_free_bytes;
}

static void fill(uint8_t *value, size_t bytes, unsigned seed)
{
	for (size_t i = 0; i < bytes; i++)
		value[i] = (uint8_t)((i * 31 + seed) >> (i % 3));
}

static void check_value(
	struct bed *b, struct inode *ip, const char *name, const uint8_t *value, size_t bytes)
{
	static uint8_t out[70000];

	assert_int_equal(core_getxattr(b->core, ip, name, NULL, 0), bytes);
	memset(out, 0xee, sizeof(out));
	assert_int_equal(core_getxattr(b->core, ip, name, out, sizeof(out)), bytes);
	assert_memory_equal(out, value, bytes);
	assert_int_equal(out[bytes], 0xee);
	if (bytes == 0)
		return;
	assert_int_equal(core_getxattr(b->core, ip, name, out, bytes), bytes);
	if (bytes > 1)
		assert_int_equal(core_getxattr(b->core, ip, name, out, bytes - 1), -ERANGE);
}

static void values_of_every_size_replace_each_other(void **state)
{
	struct bed *b = *state;
	static const size_t sizes[] = {0, 1, 7, 100, 1000, 1007, 1008, 1009, 1024, 2031, 2032, 2033,
		4096, 10000, 65535, 65536};
	static uint8_t value[65537], other[65537];
	unsigned n = sizeof(sizes) / sizeof(sizes[0]);
	uint64_t free_before = meta_free(b);
	struct inode *ip = bed_create(b, b->root, "f", S_IFREG | 0644);

	fill(other, 3000, 99);
	assert_int_equal(set(b, ip, "user.neighbour", other, 3000, 0), 0);
	for (unsigned i = 0; i < n; i++) {
		for (unsigned k = 0; k < n; k++) {
			fill(value, sizes[i], i);
			assert_int_equal(set(b, ip, "user.name", value, sizes[i], 0), 0);
			check_value(b, ip, "user.name", value, sizes[i]);
			fill(value, sizes[k], k + 100);
			assert_int_equal(
				set(b, ip, "user.name", value, sizes[k], XATTR_REPLACE), 0);
			check_value(b, ip, "user.name", value, sizes[k]);
		}
	}
	check_value(b, ip, "user.neighbour", other, 3000);
	assert_int_equal(set(b, ip, "user.name", value, 65537, 0), -E2BIG);
	check_value(b, ip, "user.name", value, 65536);
	bed_put(b, ip);
	bed_reopen(b, true);
	ip = bed_lookup(b, b->root, "f");
	check_value(b, ip, "user.name", value, 65536);
	assert_int_equal(core_removexattr(b->core, ip, "user.name"), 0);
	assert_int_equal(core_removexattr(b->core, ip, "user.name"), -ENODATA);
	assert_int_equal(core_getxattr(b->core, ip, "user.name", NULL, 0), -ENODATA);
	assert_int_equal(core_removexattr(b->core, ip, "user.neighbour"), 0);
	assert_int_equal(bed_record(b, ip).xattrs.height, 0);
	assert_int_equal(core_unlink(b->core, b->root, "f", NULL), 0);
	bed_put(b, ip);
	assert_int_equal(meta_free(b), free_before);
}

static void flags_and_names_are_checked(void **state)
{
	struct bed *b = *state;
	struct inode *ip = bed_create(b, b->root, "f", S_IFREG | 0644);
	char name[300] = "user.";

	assert_int_equal(set(b, ip, "user.a", "1", 1, XATTR_REPLACE), -ENODATA);
	assert_int_equal(set(b, ip, "user.a", "1", 1, XATTR_CREATE), 0);
	assert_int_equal(set(b, ip, "user.a", "2", 1, XATTR_CREATE), -EEXIST);
	assert_int_equal(set(b, ip, "user.a", "2", 1, 4), -EINVAL);
	assert_int_equal(set(b, ip, "trusted.t", "2", 1, 0), 0);
	assert_int_equal(set(b, ip, "security.s", "2", 1, 0), 0);
	assert_int_equal(set(b, ip, "user.", "2", 1, 0), -EINVAL);
	assert_int_equal(set(b, ip, "", "2", 1, 0), -ERANGE);
	assert_int_equal(set(b, ip, "other.x", "2", 1, 0), -EOPNOTSUPP);
	assert_int_equal(set(b, ip, "system.other", "2", 1, 0), -EOPNOTSUPP);
	assert_int_equal(core_getxattr(b->core, ip, "system.other", NULL, 0), -EOPNOTSUPP);
	memset(name + 5, 'n', 250);
	assert_int_equal(set(b, ip, name, "long", 4, 0), 0);
	check_value(b, ip, name, (const uint8_t *)"long", 4);
	name[255] = 'n';
	assert_int_equal(set(b, ip, name, "long", 4, 0), -ERANGE);
	bed_put(b, ip);
}

static void a_failed_change_leaves_times_alone(void **state)
{
	struct bed *b = *state;
	struct inode *ip = bed_create(b, b->root, "f", S_IFREG | 0644);
	int64_t ctime_sec = bed_record(b, ip).ctime_sec;

	assert_int_equal(core_removexattr(b->core, ip, "user.none"), -ENODATA);
	assert_int_equal(bed_record(b, ip).ctime_sec, ctime_sec);
	assert_int_equal(set(b, ip, "user.a", "1", 1, 0), 0);
	assert_true(bed_record(b, ip).ctime_sec > ctime_sec);
	bed_put(b, ip);
}

#define MANY 700u
static void many_names_are_listed_once_each(void **state)
{
	struct bed *b = *state;
	struct inode *ip = bed_create(b, b->root, "f", S_IFREG | 0644);
	static char list[MANY * 20];
	static uint8_t value[5000], seen[MANY];
	ssize_t bytes = 0;
	char name[32];

	assert_int_equal(core_listxattr(b->core, ip, NULL, 0), 0);
	for (unsigned i = 0; i < MANY; i++) {
		bytes += snprintf(name, sizeof(name), "user.n%u", i) + 1;
		assert_int_equal(set(b, ip, name, value, i % 50 ? i % 30 : 5000, 0), 0);
	}
	assert_int_equal(core_listxattr(b->core, ip, NULL, 0), bytes);
	assert_int_equal(core_listxattr(b->core, ip, list, (size_t)bytes - 1), -ERANGE);
	assert_int_equal(core_listxattr(b->core, ip, list, (size_t)bytes), bytes);
	for (char *p = list; p < list + bytes; p += strlen(p) + 1) {
		assert_memory_equal(p, "user.n", 6);
		seen[atoi(p + 6)]++;
	}
	for (unsigned i = 0; i < MANY; i++) {
		assert_int_equal(seen[i], 1);
		snprintf(name, sizeof(name), "user.n%u", i);
		assert_int_equal(core_removexattr(b->core, ip, name), 0);
	}
	assert_int_equal(core_listxattr(b->core, ip, list, sizeof(list)), 0);
	assert_int_equal(bed_record(b, ip).xattrs.height, 0);
	bed_put(b, ip);
}

static void names_whose_hashes_collide_live_side_by_side(void **state)
{
	struct bed *b = *state;
	struct inode *ip = bed_create(b, b->root, "f", S_IFREG | 0644);
	uint64_t base = xattr_hash(b->core->super.hash_seed, "user.v", 6);
	struct btree tree = inode_tree(b->core, ip);
	static uint8_t value[3000];
	char list[256 * 20];
	struct media_inode *record;
	struct tx *tx;

	inode_lock_write(ip);
	assert_int_equal(tx_begin(b->core->meta, &tx), 0);
	assert_int_equal(inode_edit(b->core, tx, ip, &record), 0);
	for (uint64_t n = 0; n < 256; n++) {
		uint64_t buffer[8] = {0};
		struct media_xattr *x = (void *)buffer;

		if (n == 3)
			continue;
		x->name_bytes = (uint16_t)snprintf((char *)x->name, 40, "user.o%u", (unsigned)n);
		assert_int_equal(btree_insert(&tree, tx, &record->xattrs, base | n << 8, buffer,
					 (uint16_t)(8 + x->name_bytes)),
			0);
	}
	assert_int_equal(tx_commit(tx), 0);
	inode_unlock(ip);
	fill(value, sizeof(value), 5);
	assert_int_equal(core_getxattr(b->core, ip, "user.v", NULL, 0), -ENODATA);
	assert_int_equal(set(b, ip, "user.v", value, sizeof(value), 0), 0);
	check_value(b, ip, "user.v", value, sizeof(value));
	assert_true(core_listxattr(b->core, ip, list, sizeof(list)) > 255 * 7);
	assert_int_equal(core_removexattr(b->core, ip, "user.v"), 0);
	assert_int_equal(core_removexattr(b->core, ip, "user.v"), -ENODATA);
	assert_int_equal(set(b, ip, "user.v", value, 5, 0), 0);
	bed_put(b, ip);
}

/* ---- ACLs ------------------------------------------------------------------------------------ */

struct acl {
	struct posix_acl_xattr_header header;
	struct posix_acl_xattr_entry entries[12];
	size_t bytes;
};

/* "u7 U5:1001 g5 G4:2000 m5 o0", in the order given. */
static struct acl parse(const char *text)
{
	struct acl a = {.header = {.a_version = POSIX_ACL_XATTR_VERSION}};
	unsigned n = 0;

	for (const char *p = text; *p; p++) {
		struct posix_acl_xattr_entry *e = &a.entries[n];
		unsigned id;

		if (*p == ' ')
			continue;
		e->e_tag = *p == 'u'   ? ACL_USER_OBJ
			   : *p == 'U' ? ACL_USER
			   : *p == 'g' ? ACL_GROUP_OBJ
			   : *p == 'G' ? ACL_GROUP
			   : *p == 'm' ? ACL_MASK
				       : ACL_OTHER;
		e->e_perm = (uint16_t)(*++p - '0');
		e->e_id = UINT32_MAX;
		if (p[1] == ':' && sscanf(p + 2, "%u", &id) == 1) {
			e->e_id = id;
			while (p[1] && p[1] != ' ')
				p++;
		}
		n++;
	}
	a.bytes = sizeof(a.header) + n * sizeof(a.entries[0]);
	return a;
}

static int set_acl(struct bed *b, struct inode *ip, const char *name, const char *text)
{
	struct acl a = parse(text);

	return set(b, ip, name, &a, a.bytes, 0);
}

static void expect_acl(struct bed *b, struct inode *ip, const char *name, const char *text)
{
	struct acl a = parse(text), out;

	memset(&out, 0, sizeof(out));
	assert_int_equal(core_getxattr(b->core, ip, name, &out, sizeof(out)), a.bytes);
	assert_memory_equal(&a, &out, a.bytes);
}

static uint32_t mode_of(struct bed *b, struct inode *ip)
{
	return bed_record(b, ip).mode & 07777;
}

static void an_access_acl_and_the_mode_keep_in_step(void **state)
{
	struct bed *b = *state;
	struct inode *ip = bed_create(b, b->root, "f", S_IFREG | 0644);
	struct core_setattr chmod = {.valid = CORE_SET_MODE, .mode = 0751, .cred = &b->cred};

	assert_int_equal(set_acl(b, ip, ACL_XATTR_ACCESS, "u6 U7:1001 g5 G1:7 m7 o1"), 0);
	assert_int_equal(mode_of(b, ip), 0671);
	expect_acl(b, ip, ACL_XATTR_ACCESS, "u6 U7:1001 g5 G1:7 m7 o1");
	assert_int_equal(bed_record(b, ip).acl_flags, INODE_ACL_ACCESS);
	assert_int_equal(core_setattr(b->core, ip, &chmod), 0);
	assert_int_equal(mode_of(b, ip), 0751);
	expect_acl(b, ip, ACL_XATTR_ACCESS, "u7 U7:1001 g5 G1:7 m5 o1");
	/* Nothing but what the mode says: not kept. */
	assert_int_equal(set_acl(b, ip, ACL_XATTR_ACCESS, "u6 g4 o0"), 0);
	assert_int_equal(mode_of(b, ip), 0640);
	assert_int_equal(core_getxattr(b->core, ip, ACL_XATTR_ACCESS, NULL, 0), -ENODATA);
	assert_int_equal(bed_record(b, ip).acl_flags, 0);
	assert_int_equal(bed_record(b, ip).xattrs.height, 0);
	/* A mask alone makes a difference. */
	assert_int_equal(set_acl(b, ip, ACL_XATTR_ACCESS, "u6 g6 m4 o0"), 0);
	assert_int_equal(mode_of(b, ip), 0640);
	expect_acl(b, ip, ACL_XATTR_ACCESS, "u6 g6 m4 o0");
	assert_int_equal(core_removexattr(b->core, ip, ACL_XATTR_ACCESS), 0);
	assert_int_equal(core_removexattr(b->core, ip, ACL_XATTR_ACCESS), 0);
	assert_int_equal(mode_of(b, ip), 0640);
	assert_int_equal(bed_record(b, ip).acl_flags, 0);
	bed_put(b, ip);
}

static void the_sgid_bit_goes_with_an_acl_from_outside_the_group(void **state)
{
	struct bed *b = *state;
	struct core_cred owner = {.uid = 1000, .gid = 50, .fsetid = true};
	struct inode *ip;

	assert_int_equal(core_create(b->core, b->root, "f", S_IFREG | 02755, 0, &owner, &ip), 0);
	assert_int_equal(
		core_setxattr(b->core, ip, ACL_XATTR_ACCESS, &(struct acl){0}, 3, 0, &owner),
		-EINVAL);
	b->cred.fsetid = true;
	assert_int_equal(set_acl(b, ip, ACL_XATTR_ACCESS, "u7 U7:9 g5 m5 o5"), 0);
	assert_int_equal(mode_of(b, ip), 02755);
	b->cred.fsetid = false;
	b->cred.gid = 50;
	assert_int_equal(set_acl(b, ip, ACL_XATTR_ACCESS, "u7 U7:9 g5 m5 o5"), 0);
	assert_int_equal(mode_of(b, ip), 02755);
	b->cred.gid = 51;
	assert_int_equal(set_acl(b, ip, ACL_XATTR_ACCESS, "u7 g5 o5"), 0);
	assert_int_equal(mode_of(b, ip), 0755);
	bed_put(b, ip);
}

static void invalid_acls_change_nothing(void **state)
{
	struct bed *b = *state;
	struct inode *ip = bed_create(b, b->root, "f", S_IFREG | 0644), *link;
	static const char *const bad[] = {"u7 g5", "g5 u7 o1", "u7 U7:1 g5 o1", "u7 g5 m7",
		"u8 g5 o1", "u7 g5 o1 m7", "u7 u7 g5 o1", "u7 g5 g5 o1", "u7 g5 o1 o1",
		"u7 g5 m5 m5 o1", "u7 U7 g5 m7 o1", "o1", "u7 g5 G5:1 o1", "u7 g5 U5:1 m5 o1"};
	struct acl a = parse("u7 g5 o1");

	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(set_acl(b, ip, ACL_XATTR_ACCESS, bad[i]), -EINVAL);
		assert_int_equal(set_acl(b, b->root, ACL_XATTR_DEFAULT, bad[i]), -EINVAL);
	}
	for (size_t bytes = 5; bytes < a.bytes; bytes++)
		assert_int_equal(set(b, ip, ACL_XATTR_ACCESS, &a, bytes, 0), -EINVAL);
	a.header.a_version = 3;
	assert_int_equal(set(b, ip, ACL_XATTR_ACCESS, &a, a.bytes, 0), -EOPNOTSUPP);
	a = parse("");
	assert_int_equal(set(b, ip, ACL_XATTR_ACCESS, &a, a.bytes, 0), 0); /* removes */
	a = parse("u7 g5 o1");
	a.entries[0].e_tag = 0x40;
	assert_int_equal(set(b, ip, ACL_XATTR_ACCESS, &a, a.bytes, 0), -EINVAL);
	assert_int_equal(set_acl(b, ip, ACL_XATTR_DEFAULT, "u7 g5 o1"), -EACCES);
	assert_int_equal(core_symlink(b->core, b->root, "l", "t", &b->cred, &link), 0);
	assert_int_equal(set_acl(b, link, ACL_XATTR_ACCESS, "u7 g5 o1"), -EOPNOTSUPP);
	assert_int_equal(mode_of(b, ip), 0644);
	assert_int_equal(bed_record(b, ip).xattrs.height, 0);
	bed_put(b, ip);
	bed_put(b, link);
}

static void a_default_acl_is_inherited_and_stands_for_the_umask(void **state)
{
	struct bed *b = *state;
	struct inode *d = bed_create(b, b->root, "d", S_IFDIR | 0755), *ip, *sub;

	b->cred.umask = 077;
	assert_int_equal(set_acl(b, d, ACL_XATTR_DEFAULT, "u7 U6:1001 g5 m7 o1"), 0);
	assert_int_equal(mode_of(b, d), 0755);
	assert_int_equal(bed_record(b, d).acl_flags, INODE_ACL_DEFAULT);
	ip = bed_create(b, d, "f", S_IFREG | 0664);
	assert_int_equal(mode_of(b, ip), 0660);
	expect_acl(b, ip, ACL_XATTR_ACCESS, "u6 U6:1001 g5 m6 o0");
	assert_int_equal(core_getxattr(b->core, ip, ACL_XATTR_DEFAULT, NULL, 0), -ENODATA);
	bed_put(b, ip);
	sub = bed_create(b, d, "sub", S_IFDIR | 0777);
	assert_int_equal(mode_of(b, sub), 0771);
	expect_acl(b, sub, ACL_XATTR_ACCESS, "u7 U6:1001 g5 m7 o1");
	expect_acl(b, sub, ACL_XATTR_DEFAULT, "u7 U6:1001 g5 m7 o1");
	assert_int_equal(bed_record(b, sub).acl_flags, INODE_ACL_ACCESS | INODE_ACL_DEFAULT);
	bed_put(b, sub);
	assert_int_equal(core_tmpfile(b->core, d, 0666, &b->cred, &ip), 0);
	expect_acl(b, ip, ACL_XATTR_ACCESS, "u6 U6:1001 g5 m6 o0");
	bed_put(b, ip);
	assert_int_equal(core_symlink(b->core, d, "l", "t", &b->cred, &ip), 0);
	assert_int_equal(mode_of(b, ip), 0777);
	assert_int_equal(bed_record(b, ip).acl_flags, 0);
	bed_put(b, ip);
	/* A default ACL that is only a mode: nothing but the mode comes of it, for a file. */
	assert_int_equal(set_acl(b, d, ACL_XATTR_DEFAULT, "u7 g5 o4"), 0);
	ip = bed_create(b, d, "g", S_IFREG | 0666);
	assert_int_equal(mode_of(b, ip), 0644);
	assert_int_equal(bed_record(b, ip).xattrs.height, 0);
	bed_put(b, ip);
	assert_int_equal(core_removexattr(b->core, d, ACL_XATTR_DEFAULT), 0);
	ip = bed_create(b, d, "h", S_IFREG | 0666);
	assert_int_equal(mode_of(b, ip), 0600);
	bed_put(b, ip);
	bed_put(b, d);
	bed_verify(b);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, bed_setup, bed_teardown)
	const struct CMUnitTest tests[] = {
		T(values_of_every_size_replace_each_other),
		T(flags_and_names_are_checked),
		T(a_failed_change_leaves_times_alone),
		T(many_names_are_listed_once_each),
		T(names_whose_hashes_collide_live_side_by_side),
		T(an_access_acl_and_the_mode_keep_in_step),
		T(the_sgid_bit_goes_with_an_acl_from_outside_the_group),
		T(invalid_acls_change_nothing),
		T(a_default_acl_is_inherited_and_stands_for_the_umask),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
