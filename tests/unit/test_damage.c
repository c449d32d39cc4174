// SPDX-License-Identifier: BSD-2-Clause
/*
 * test_damage.c - metadata that is damaged under a good checksum, as only a bug or an attacker
 * leaves it: every operation on it ends, with an error or not, and the daemon lives.
 */
#include "pool_bed.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "acl.h"

static unsigned rounds = 25; /* the second argument */
static unsigned seed = 5;    /* the first */

static unsigned below(unsigned n)
{
	return (unsigned)rand_r(&seed) % n;
}

#define FILES 40u

static void fill_pool(struct bed *b)
{
	static char bytes[3000];
	static const uint8_t acl[] = {2, 0, 0, 0, 1, 0, 7, 0, 255, 255, 255, 255, 2, 0, 5, 0, 9, 0,
		0, 0, 4, 0, 5, 0, 255, 255, 255, 255, 16, 0, 7, 0, 255, 255, 255, 255, 32, 0, 1, 0,
		255, 255, 255, 255};
	struct inode *dir = bed_create(b, b->root, "dir", S_IFDIR | 0755), *ip;
	char name[16];

	memset(bytes, 's', sizeof(bytes) - 1);
	core_setxattr(b->core, dir, ACL_XATTR_DEFAULT, acl, sizeof(acl), 0, &b->cred);
	for (unsigned i = 0; i < FILES; i++) {
		snprintf(name, sizeof(name), "n%u", i);
		if (i % 4 == 0) {
			assert_int_equal(core_symlink(b->core, dir, name, bytes, &b->cred, &ip), 0);
		} else {
			ip = bed_create(b, dir, name, (i % 4 == 1 ? S_IFDIR : S_IFREG) | 0755);
			core_setxattr(b->core, ip, "user.x", bytes, 2500, 0, &b->cred);
			/* Some with so many extents that they stand in a tree. */
			for (unsigned k = 0; i % 4 > 1 && k < (i % 8 == 2 ? 300 : 2); k++)
				core_write(b->core, ip, bytes, 100, k * 8192ull, &b->cred);
		}
		bed_put(b, ip);
	}
	bed_put(b, dir);
}

/* Flips bits of one object and makes its checksum good again. */
static void damage_one(uint8_t *meta, const uint64_t *offsets, unsigned count)
{
	uint64_t offset = offsets[below(count)];
	struct media_head *head = (void *)(meta + offset);
	size_t bytes = object_bytes(head->magic);
	unsigned start = sizeof(*head), span = (unsigned)bytes - start;

	if (head->magic == MAGIC_NODE && below(2))
		span = 200; /* header and first slots */
	for (unsigned i = 1 + below(3); i; i--)
		meta[offset + start + below(span)] ^= (uint8_t)(1u << below(8));
	head->checksum = object_checksum(head, bytes, offset);
}

static void damage(struct bed *b)
{
	static uint64_t offsets[4096];
	char path[300];
	unsigned count = 0;
	off_t bytes;
	uint8_t *meta;
	int fd;

	snprintf(path, sizeof(path), "%s/meta", b->directory);
	fd = open(path, O_RDWR);
	assert_true(fd >= 0);
	bytes = lseek(fd, 0, SEEK_END);
	meta = mmap(NULL, (size_t)bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_true(meta != MAP_FAILED);
	for (off_t at = 0; at < bytes && count < 4096; at += INODE_SIZE) {
		const struct media_head *head = (void *)(meta + at);
		bool block = at % BLOCK_SIZE == 0 &&
			     (head->magic == MAGIC_NODE || head->magic == MAGIC_GROUP ||
				     head->magic == MAGIC_ROOTS);

		if (block || head->magic == MAGIC_INODE)
			offsets[count++] = (uint64_t)at;
	}
	assert_true(count > FILES);
	for (unsigned i = 1 + below(4); i; i--)
		damage_one(meta, offsets, count);
	munmap(meta, (size_t)bytes);
	close(fd);
}

static int ignore_entry(void *context, const struct core_dirent *e)
{
	unsigned *left = context;

	(void)e;
	return (*left)-- == 0;
}

static void use_data(struct core *c, struct inode *ip, const struct core_cred *cred)
{
	static char out[70000];
	struct core_extent extents[16];
	unsigned count;
	uint64_t next;

	for (unsigned k = 0; k < 6; k++) {
		uint64_t offset = below(300) * 8192ull + below(5000);

		core_read(c, ip, out, sizeof(out), offset);
		core_write(c, ip, out, below(20000), offset, cred);
		core_seek(c, ip, offset, k % 2 ? SEEK_HOLE : SEEK_DATA);
		core_layout(c, ip, offset, 100000, extents, 16, &count, &next);
		core_fallocate(c, ip, k % 2 ? 0 : FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			offset, 30000, cred);
	}
	core_prepare_layout(c, ip, 0, 40000, NULL);
	core_truncate(c, ip, below(2) ? 0 : 500000, cred);
}

static void use_inode(struct bed *b, struct inode *dir, const char *name)
{
	static char out[70000];
	struct core_setattr chmod = {.valid = CORE_SET_MODE, .mode = 0710, .cred = &b->cred};
	struct core *c = b->core;
	unsigned left = 100000;
	struct inode *ip, *other;

	if (core_lookup(c, dir, name, &ip))
		return;
	core_readlink(c, ip, out, sizeof(out));
	core_readdir(c, ip, 0, ignore_entry, &left);
	core_listxattr(c, ip, out, sizeof(out));
	core_getxattr(c, ip, "user.x", out, sizeof(out));
	core_setxattr(c, ip, "user.x", out, below(9000), 0, &b->cred);
	core_setxattr(c, ip, "user.y", out, 100, 0, &b->cred);
	core_removexattr(c, ip, "user.x");
	core_setattr(c, ip, &chmod);
	use_data(c, ip, &b->cred);
	if (core_create(c, ip, "below", S_IFREG | 0644, 0, &b->cred, &other) == 0)
		core_put(c, other, 1);
	core_link(c, ip, b->root, name);
	core_put(c, ip, 1);
}

static void use_pool(struct bed *b)
{
	struct core *c = b->core;
	unsigned left = 100000;
	struct inode *dir, *ip;
	char name[16], to[16];

	core_readdir(c, b->root, 0, ignore_entry, &left);
	if (core_lookup(c, b->root, "dir", &dir))
		return;
	core_readdir(c, dir, 0, ignore_entry, &left);
	for (unsigned i = 0; i < FILES; i++) {
		snprintf(name, sizeof(name), "n%u", i);
		snprintf(to, sizeof(to), "n%u", below(FILES));
		use_inode(b, dir, name);
		core_rename(c, dir, name, below(2) ? dir : b->root, to, below(3), NULL, NULL);
		if (core_lookup(c, dir, to, &ip) == 0) {
			core_rename(c, dir, name, ip, "moved", 0, NULL, NULL);
			core_rename(c, ip, "moved", dir, name, CORE_RENAME_EXCHANGE, NULL, NULL);
			core_put(c, ip, 1);
		}
		if (core_create(c, dir, "new", S_IFDIR | 0755, 0, &b->cred, &ip) == 0)
			core_put(c, ip, 1);
		core_rmdir(c, dir, "new");
	}
	for (unsigned i = 0; i < FILES; i++) {
		snprintf(name, sizeof(name), "n%u", i);
		core_unlink(c, dir, name, NULL);
		core_rmdir(c, dir, name);
	}
	core_put(c, dir, 1);
}

static void damage_under_good_checksums_kills_nobody(void **state)
{
	struct bed *b = *state;
	struct core_options options = {.pool = b->directory};
	unsigned opened = 0;
	struct diag d = {0};

	bed_put(b, b->root);
	assert_int_equal(core_close(b->core), 0);
	b->core = NULL;
	for (unsigned round = 0; round < rounds; round++) {
		struct core_format format = {.pool = b->directory,
			.pool_bytes = 32 << 20,
			.lease_gid = UINT32_MAX,
			.force = true};

		assert_int_equal(core_format_pool(&format, &d), 0);
		assert_int_equal(core_open(&options, &b->core, &d), 0);
		assert_int_equal(core_get(b->core, ROOT_INO, &b->root), 0);
		fill_pool(b);
		bed_put(b, b->root);
		assert_int_equal(core_close(b->core), 0);
		b->core = NULL;
		damage(b);
		if (core_open(&options, &b->core, &d))
			continue;
		if (core_get(b->core, ROOT_INO, &b->root) == 0) {
			opened++;
			use_pool(b);
			bed_put(b, b->root);
		}
		core_abandon(b->core);
		b->core = NULL;
	}
	assert_true(opened > rounds / 2);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			damage_under_good_checksums_kills_nobody, bed_setup_small, bed_teardown),
	};

	if (argc > 1)
		seed = (unsigned)strtoul(argv[1], NULL, 10);
	if (argc > 2)
		rounds = (unsigned)strtoul(argv[2], NULL, 10);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
