// SPDX-License-Identifier: BSD-2-Clause
/*
 * dir.c - names to inode numbers. See dir.h.
 *
 * All names of one hash stand side by side under keys base..base + 255, so that a look-up is one
 * descent and, but for collisions, one comparison.
 */
#include "dir.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <xxhash.h>

#include "pool.h"

#define DIRENT_HEADER offsetof(struct media_dirent, name)
#define DIRENT_BYTES_MAX (DIRENT_HEADER + NAME_BYTES_MAX)
#define DIR_COLLISIONS 256u
static_assert(DIRENT_HEADER == 10, "media_dirent");

uint64_t dir_hash(uint64_t seed, const char *name, size_t bytes)
{
	uint64_t hash = XXH3_64bits_withSeed(name, bytes, seed) >> 9;

	/* Keys below DIR_KEY_FIRST are the cookies of "." and "..". */
	return (hash ? hash : 1) << 8;
}

int dirent_decode(const struct btree_item *item, const struct media_dirent **out)
{
	const struct media_dirent *d = item->value;

	if (item->bytes <= DIRENT_HEADER || item->bytes != DIRENT_HEADER + d->name_bytes ||
		item->key < DIR_KEY_FIRST || item->key >> 63 || d->ino == 0)
		return -EUCLEAN;
	*out = d;
	return 0;
}

/*
 * Looks at the names of one hash. 0: found; -ENOENT: *free_key is the lowest key that they leave
 * free, 0 if there is none.
 */
static int dir_search(struct core *c, struct tx *tx, const struct inode *dir,
	const struct media_inode *record, const char *name, size_t bytes, struct dir_entry *out,
	uint64_t *free_key)
{
	struct btree tree = inode_tree(c, dir);
	uint64_t base = dir_hash(c->super.hash_seed, name, bytes), expected = base;

	*free_key = 0;
	for (unsigned i = 0; i < DIR_COLLISIONS; i++) {
		const struct media_dirent *d;
		struct btree_item item;
		int r = btree_find_ge(&tree, tx, &record->tree, expected, &item);

		if (r == 0 && item.key - base >= DIR_COLLISIONS)
			r = -ENOENT;
		if ((r == -ENOENT || (r == 0 && item.key > expected)) && *free_key == 0)
			*free_key = expected;
		if (r == 0)
			r = dirent_decode(&item, &d);
		if (r)
			return r;
		if (d->name_bytes == bytes && memcmp(d->name, name, bytes) == 0) {
			*out = (struct dir_entry){.key = item.key, .ino = d->ino, .type = d->type};
			return 0;
		}
		expected = item.key + 1;
		if (expected - base == DIR_COLLISIONS)
			return -ENOENT;
	}
	return -EUCLEAN;
}

int dir_find(struct core *c, struct tx *tx, const struct inode *dir,
	const struct media_inode *record, const char *name, struct dir_entry *out)
{
	uint64_t free_key;

	return dir_search(c, tx, dir, record, name, strlen(name), out, &free_key);
}

static uint16_t dirent_encode(
	uint64_t *buffer, const char *name, size_t bytes, uint64_t ino, uint8_t type)
{
	struct media_dirent *d = (void *)buffer;

	assert(bytes > 0 && bytes <= NAME_BYTES_MAX);
	d->ino = ino;
	d->type = type;
	d->name_bytes = (uint8_t)bytes;
	memcpy(d->name, name, bytes);
	return (uint16_t)(DIRENT_HEADER + bytes);
}

int dir_insert(struct core *c, struct tx *tx, const struct inode *dir, struct media_inode *record,
	const char *name, uint64_t ino, uint8_t type)
{
	struct btree tree = inode_tree(c, dir);
	uint64_t buffer[(DIRENT_BYTES_MAX + 7) / 8];
	size_t bytes = strlen(name);
	struct dir_entry entry;
	uint64_t key;
	int r = dir_search(c, tx, dir, record, name, bytes, &entry, &key);

	if (r != -ENOENT)
		return r ? r : -EEXIST;
	if (key == 0)
		return -ENOSPC;
	r = btree_insert(&tree, tx, &record->tree, key, buffer,
		dirent_encode(buffer, name, bytes, ino, type));
	if (r)
		return r == -EEXIST ? -EUCLEAN : r;
	record->size++;
	return 0;
}

int dir_delete(struct core *c, struct tx *tx, const struct inode *dir, struct media_inode *record,
	uint64_t key)
{
	struct btree tree = inode_tree(c, dir);
	int r = btree_delete(&tree, tx, &record->tree, key);

	if (r)
		return r;
	if (record->size == 0)
		return -EUCLEAN;
	record->size--;
	return 0;
}

int dir_replace(struct core *c, struct tx *tx, const struct inode *dir, struct media_inode *record,
	uint64_t key, const char *name, uint64_t ino, uint8_t type)
{
	struct btree tree = inode_tree(c, dir);
	uint64_t buffer[(DIRENT_BYTES_MAX + 7) / 8];

	return btree_replace(&tree, tx, &record->tree, key, buffer,
		dirent_encode(buffer, name, strlen(name), ino, type));
}
