// SPDX-License-Identifier: BSD-2-Clause
/*
 * dir.h - directories: names to inode numbers.
 *
 * A directory is a B+tree. The key of a name is hash << 8 | n: 55 bits of its seeded XXH3-64, and
 * the lowest n in 0..255 that is free among names of that hash. Keys are readdir's cookies: at
 * least DIR_KEY_FIRST, so that 1 and 2 are "." and "..", below 2^63, and never changed while the
 * name exists. Value: media_dirent. The inode's size counts the entries.
 * "." and ".." are not stored: ".." is record.parent.
 *
 * The caller holds the directory's lock.
 */
#ifndef CORE_DIR_H
#define CORE_DIR_H

#include <stdint.h>

#include "btree.h"
#include "format.h"
#include "inode.h"

#define DIR_KEY_FIRST 256ull

struct dir_entry {
	uint64_t key;
	uint64_t ino;
	uint8_t type;
};
int dir_find(struct core *c, struct tx *tx, const struct inode *dir,
	const struct media_inode *record, const char *name, struct dir_entry *out); /* -ENOENT */
int dir_insert(struct core *c, struct tx *tx, const struct inode *dir, struct media_inode *record,
	const char *name, uint64_t ino, uint8_t type); /* -EEXIST, -ENOSPC */
int dir_delete(struct core *c, struct tx *tx, const struct inode *dir, struct media_inode *record,
	uint64_t key);
/* Points an entry at another inode, for rename over and exchange. */
int dir_replace(struct core *c, struct tx *tx, const struct inode *dir, struct media_inode *record,
	uint64_t key, const char *name, uint64_t ino, uint8_t type);

/* For dir.c and the verifier: the key of a name before its discriminator. */
uint64_t dir_hash(uint64_t seed, const char *name, size_t bytes);
/* The one decoder of entries: the name is not terminated. -EUCLEAN. */
int dirent_decode(const struct btree_item *item, const struct media_dirent **out);

#endif
