// SPDX-License-Identifier: BSD-2-Clause
/*
 * verify_pool.c - see verify_pool.h.
 */
#include "verify_pool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "dir.h"

static const struct core_cred cred = {.fsetid = true};

struct inode *verify_pool_get(struct core *c, const char *path)
{
	struct inode *at, *next;
	char part[256];

	assert_int_equal(core_get(c, ROOT_INO, &at), 0);
	while (*path == '/')
		path++;
	while (*path) {
		size_t n = strcspn(path, "/");

		memcpy(part, path, n);
		part[n] = '\0';
		int r = core_lookup(c, at, part, &next);
		core_put(c, at, 1);
		if (r != 0)
			return NULL;
		at = next;
		path += n;
		while (*path == '/')
			path++;
	}
	return at;
}

uint64_t verify_pool_ino(struct core *c, const char *path)
{
	struct inode *ip = verify_pool_get(c, path);
	uint64_t ino;

	assert_non_null(ip);
	ino = core_ino(ip);
	core_put(c, ip, 1);
	return ino;
}

static void create(struct core *c, const char *dir_path, const char *name, mode_t mode)
{
	struct inode *dir = verify_pool_get(c, dir_path), *ip;

	assert_int_equal(core_create(c, dir, name, mode, 0, &cred, &ip), 0);
	core_put(c, ip, 1);
	core_put(c, dir, 1);
}

static void fill(uint8_t *bytes, size_t count, int seed)
{
	for (size_t i = 0; i < count; i++)
		bytes[i] = (uint8_t)(seed + (int)i * 7);
}

void verify_pool_write(struct core *c, const char *path, uint64_t offset, size_t bytes, int seed)
{
	uint8_t *buffer = malloc(bytes);
	struct inode *ip = verify_pool_get(c, path);

	assert_non_null(buffer);
	assert_non_null(ip);
	fill(buffer, bytes, seed);
	assert_int_equal(core_write(c, ip, buffer, bytes, offset, &cred), bytes);
	core_put(c, ip, 1);
	free(buffer);
}

bool verify_pool_holds(struct core *c, const char *path, uint64_t offset, size_t bytes, int seed)
{
	uint8_t *want = malloc(bytes), *have = malloc(bytes);
	struct inode *ip = verify_pool_get(c, path);
	bool same = false;

	assert_non_null(want);
	assert_non_null(have);
	fill(want, bytes, seed);
	if (ip) {
		same = core_read(c, ip, have, bytes, offset) == (ssize_t)bytes &&
		       memcmp(want, have, bytes) == 0;
		core_put(c, ip, 1);
	}
	free(want);
	free(have);
	return same;
}

static void add_links(struct core *c)
{
	struct inode *root = verify_pool_get(c, "/"), *file = verify_pool_get(c, "/small"), *ip;
	struct inode *sub = verify_pool_get(c, "/sub/deep");
	char target[3001];

	assert_int_equal(core_link(c, file, sub, "hard"), 0);
	assert_int_equal(core_symlink(c, root, "short-link", "small", &cred, &ip), 0);
	core_put(c, ip, 1);
	memset(target, 'x', 3000);
	target[3000] = '\0';
	assert_int_equal(core_symlink(c, root, "long-link", target, &cred, &ip), 0);
	core_put(c, ip, 1);
	core_put(c, root, 1);
	core_put(c, file, 1);
	core_put(c, sub, 1);
}

static void add_attributes(struct core *c)
{
	struct inode *ip = verify_pool_get(c, "/small");
	uint8_t value[9000];
	char name[32];

	for (unsigned i = 0; i < 6; i++) {
		snprintf(name, sizeof(name), "user.attribute-%u", i);
		fill(value, sizeof(value), (int)i);
		assert_int_equal(core_setxattr(c, ip, name, value, 1500 * (i + 1), 0, &cred), 0);
	}
	core_put(c, ip, 1);
}

void verify_pool_make(struct scratch_pool *p)
{
	char name[32];

	scratch_pool_make(p, 64u << 20, 32u << 20);
	struct core *c = p->c;
	create(c, "/", "sub", S_IFDIR | 0755);
	create(c, "/sub", "deep", S_IFDIR | 0755);
	create(c, "/", "big", S_IFDIR | 0755);
	create(c, "/", "fifo", S_IFIFO | 0644);
	create(c, "/", "small", S_IFREG | 0644);
	create(c, "/", "other", S_IFREG | 0644);
	create(c, "/", "comb", S_IFREG | 0644);
	create(c, "/sub/deep", "file", S_IFREG | 0644);
	for (unsigned i = 0; i < BIG_NAMES; i++) {
		snprintf(name, sizeof(name), "a-name-of-some-length-%u", i);
		create(c, "/big", name, S_IFREG | 0644);
	}
	verify_pool_write(c, "/small", 0, 20000, 1);
	verify_pool_write(c, "/other", 0, 20000, 2);
	verify_pool_write(c, "/sub/deep/file", 5000, 9000, 3);
	for (unsigned i = 0; i < COMB_BLOCKS; i++)
		verify_pool_write(c, "/comb", (uint64_t)i * 2 * BLOCK_SIZE, 100, (int)i);
	add_links(c);
	add_attributes(c);
	verify_pool_expect_clean(p);
}

/* ---- damage ---------------------------------------------------------------------------------- */

void verify_pool_edit(struct scratch_pool *p, const char *path,
	void (*change)(struct media_inode *record, uint64_t argument), uint64_t argument)
{
	struct inode *ip = verify_pool_get(p->c, path);
	struct media_inode *record;
	struct tx *tx;

	assert_non_null(ip);
	assert_int_equal(tx_begin(p->c->meta, &tx), 0);
	assert_int_equal(inode_edit(p->c, tx, ip, &record), 0);
	change(record, argument);
	assert_int_equal(tx_commit(tx), 0);
	core_put(p->c, ip, 1);
}

static struct space *space_of(struct scratch_pool *p, uint32_t space)
{
	return space == SPACE_HEAP     ? p->c->heap
	       : space == SPACE_INODES ? p->c->inodes
				       : tables_region(p->c, space - 2)->space;
}

void verify_pool_set_bits(struct scratch_pool *p, uint32_t space, uint64_t unit, bool set)
{
	uint32_t per = space == SPACE_INODES ? INODES_PER_GROUP : GROUP_BITS;
	struct media_group g;
	struct tx *tx;

	assert_int_equal(space_group(space_of(p, space), (uint32_t)(unit / per), &g), 0);
	assert_int_equal(tx_begin(p->c->meta, &tx), 0);
	assert_int_equal(tx_bits(tx, &(struct tx_bits){.bitmap = g.bitmap,
					     .first = (uint32_t)(unit % per),
					     .count = 1,
					     .set = set}),
		0);
	assert_int_equal(tx_commit(tx), 0);
	scratch_pool_reopen(p); /* what stands in memory is what stands on media */
}

uint64_t verify_pool_free_unit(struct scratch_pool *p, uint32_t space)
{
	bool used = true;
	uint64_t unit = 3000;

	while (used)
		assert_int_equal(space_test(space_of(p, space), ++unit, &used), 0);
	return unit;
}

void verify_pool_flip(struct scratch_pool *p, uint64_t offset, unsigned bit)
{
	char path[600];
	uint8_t byte;

	snprintf(path, sizeof(path), "%s/meta", p->path);
	int fd = open(path, O_RDWR | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(pread(fd, &byte, 1, (off_t)offset), 1);
	byte ^= (uint8_t)(1u << bit);
	assert_int_equal(pwrite(fd, &byte, 1, (off_t)offset), 1);
	assert_int_equal(close(fd), 0);
}

uint64_t verify_pool_first_block(struct scratch_pool *p, const char *path)
{
	struct inode *ip = verify_pool_get(p->c, path);
	const struct media_inode *m;

	assert_int_equal(inode_view(p->c, NULL, ip, &m), 0);
	uint64_t block = m->extents[0].region_block;
	core_put(p->c, ip, 1);
	return block;
}

void verify_pool_enter(struct scratch_pool *p, const char *dir_path, const char *name, uint64_t key,
	uint64_t ino, int type)
{
	struct inode *dir = verify_pool_get(p->c, dir_path);
	struct btree tree = inode_tree(p->c, dir);
	uint8_t value[300];
	struct media_dirent *d = (void *)value;
	struct media_inode *m;
	struct tx *tx;

	d->ino = ino;
	d->type = (uint8_t)type;
	d->name_bytes = (uint8_t)strlen(name);
	memcpy(d->name, name, strlen(name));
	if (key == 0)
		key = dir_hash(p->c->super.hash_seed, name, strlen(name));
	assert_int_equal(tx_begin(p->c->meta, &tx), 0);
	assert_int_equal(inode_edit(p->c, tx, dir, &m), 0);
	assert_int_equal(btree_insert(&tree, tx, &m->tree, key, value,
				 (uint16_t)(offsetof(struct media_dirent, name) + strlen(name))),
		0);
	m->size++;
	assert_int_equal(tx_commit(tx), 0);
	core_put(p->c, dir, 1);
}

void verify_pool_forget(struct scratch_pool *p, const char *dir_path, const char *name)
{
	struct inode *dir = verify_pool_get(p->c, dir_path);
	struct dir_entry entry;
	struct media_inode *m;
	struct tx *tx;

	assert_int_equal(tx_begin(p->c->meta, &tx), 0);
	assert_int_equal(inode_edit(p->c, tx, dir, &m), 0);
	assert_int_equal(dir_find(p->c, tx, dir, m, name, &entry), 0);
	assert_int_equal(dir_delete(p->c, tx, dir, m, entry.key), 0);
	assert_int_equal(tx_commit(tx), 0);
	core_put(p->c, dir, 1);
}

uint64_t verify_pool_root(struct scratch_pool *p, const char *path, bool xattrs)
{
	struct inode *ip = verify_pool_get(p->c, path);
	const struct media_inode *m;

	assert_int_equal(inode_view(p->c, NULL, ip, &m), 0);
	uint64_t root = xattrs ? m->xattrs.root : m->tree.root;
	core_put(p->c, ip, 1);
	assert_true(root != 0);
	return root;
}

uint64_t verify_pool_leaf(struct scratch_pool *p, uint64_t root)
{
	const struct media_node *n;
	const void *view;

	for (;;) {
		assert_int_equal(tx_view(p->c->meta, NULL, root, MAGIC_NODE, &view), 0);
		n = view;
		if (n->level == 0)
			return root;
		memcpy(&root, (const uint8_t *)n + n->slots[n->count / 2].offset, sizeof(root));
	}
}

/* ---- checking -------------------------------------------------------------------------------- */

struct heard {
	const char *text;
	bool matched;
	bool say;
};

static void on_found(void *context, const struct verify_finding *finding)
{
	struct heard *h = context;

	if (h->text && strstr(finding->text, h->text))
		h->matched = true;
	if (h->say)
		print_message("finding: %s\n", finding->text);
}

static void check(
	struct scratch_pool *p, bool repair, struct heard *h, struct verify_report *report)
{
	const struct verify_options options = {.repair = repair, .found = on_found, .context = h};

	assert_int_equal(verify_core(p->c, &options, report), 0);
}

void verify_pool_expect_clean(struct scratch_pool *p)
{
	struct heard h = {.say = true};
	struct verify_report report;

	check(p, false, &h, &report);
	assert_int_equal(report.found, 0);
}

void verify_pool_mend(struct scratch_pool *p, const char *text)
{
	struct heard h = {.text = text};
	struct verify_report report;

	check(p, false, &h, &report);
	if (!h.matched) {
		h.say = true;
		check(p, false, &h, &report);
		print_message("no finding contains: %s\n", text);
	}
	assert_true(h.matched);
	assert_true(report.found > 0 && report.left > 0 && report.repaired == 0);
	h = (struct heard){.text = text};
	check(p, true, &h, &report);
	if (report.left > 0) {
		h.say = true;
		check(p, false, &h, &report);
	}
	assert_int_equal(report.left, 0);
	verify_pool_expect_clean(p);
	scratch_pool_reopen(p);
	verify_pool_expect_clean(p);
}
