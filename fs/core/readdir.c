// SPDX-License-Identifier: BSD-2-Clause
/*
 * readdir.c - listing a directory.
 *
 * A cookie names the entry that was handed out last, by its key in the directory's tree: what is
 * greater comes next, whatever was added or removed in between. "." and ".." have 1 and 2.
 *
 * Entries are collected in batches under the directory's lock and handed out without it, so that
 * the receiver may look inodes up.
 */
#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <string.h>

#include "dir.h"
#include "pool.h"

#define COOKIE_DOT 1ull
#define COOKIE_DOTDOT 2ull
/* Of a size that a reply of one page takes; more would be copied and not taken. */
#define BATCH_ENTRIES 48u
#define BATCH_FULL 1

struct batch {
	unsigned count;
	struct core_dirent entries[BATCH_ENTRIES];
};

static struct core_dirent *batch_add(struct batch *b, uint64_t ino, uint64_t cookie, uint8_t type,
	const void *name, uint8_t bytes)
{
	struct core_dirent *d = &b->entries[b->count++];

	d->ino = ino;
	d->cookie = cookie;
	d->type = type;
	d->name_bytes = bytes;
	memcpy(d->name, name, bytes);
	d->name[bytes] = '\0';
	return d;
}

static int batch_visit(void *context, const struct btree_item *item)
{
	struct batch *b = context;
	const struct media_dirent *d;
	int r = dirent_decode(item, &d);

	if (r)
		return r;
	batch_add(b, d->ino, item->key, d->type, d->name, d->name_bytes);
	return b->count == BATCH_ENTRIES ? BATCH_FULL : 0;
}

static int batch_fill(struct core *c, struct inode *dir, uint64_t cookie, struct batch *b)
{
	struct btree tree = inode_tree(c, dir);
	const struct media_inode *record;
	int r = inode_view(c, NULL, dir, &record);

	b->count = 0;
	if (r)
		return r;
	if (!S_ISDIR(record->mode))
		return -ENOTDIR;
	if (cookie < COOKIE_DOT)
		batch_add(b, dir->ino, COOKIE_DOT, DT_DIR, ".", 1);
	if (cookie < COOKIE_DOTDOT)
		batch_add(b, record->parent, COOKIE_DOTDOT, DT_DIR, "..", 2);
	if (cookie < DIR_KEY_FIRST - 1)
		cookie = DIR_KEY_FIRST - 1;
	r = btree_walk(&tree, NULL, &record->tree, cookie + 1, batch_visit, b);
	return r == BATCH_FULL ? 0 : r;
}

int core_readdir(struct core *c, struct inode *dir, uint64_t cookie,
	int (*emit)(void *context, const struct core_dirent *entry), void *context)
{
	struct batch b;

	if (cookie >> 63)
		return 0;
	do {
		int r;

		inode_lock_read(dir);
		r = batch_fill(c, dir, cookie, &b);
		inode_unlock(dir);
		if (r)
			return r;
		for (unsigned i = 0; i < b.count; i++) {
			cookie = b.entries[i].cookie;
			if (emit(context, &b.entries[i]))
				return 0;
		}
	} while (b.count == BATCH_ENTRIES);
	return 0;
}
