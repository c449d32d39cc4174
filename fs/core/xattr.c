// SPDX-License-Identifier: BSD-2-Clause
/*
 * xattr.c - extended attributes. See xattr.h.
 *
 * Setting one replaces what was there piece by piece, in one transaction: at most
 * XATTR_PIECES_MAX changes of a tree, far below what a transaction can take.
 */
#include "xattr.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/xattr.h>
#include <xxhash.h>

#include "acl.h"
#include "namei.h"
#include "pool.h"

#define XATTR_HEADER offsetof(struct media_xattr, name)
#define XATTR_COLLISIONS 256u
static_assert(XATTR_HEADER == 8, "media_xattr");

uint64_t xattr_hash(uint64_t seed, const char *name, size_t bytes)
{
	return XXH3_64bits_withSeed(name, bytes, seed) >> 17 << 16;
}

int xattr_decode(const struct btree_item *item, const struct media_xattr **out)
{
	const struct media_xattr *x = item->value;
	size_t bytes;

	if (item->bytes <= XATTR_HEADER || x->name_bytes == 0 ||
		x->name_bytes > XATTR_NAME_MAX_BYTES || x->value_bytes > XATTR_VALUE_MAX_BYTES)
		return -EUCLEAN;
	bytes = XATTR_HEADER + x->name_bytes + x->value_bytes;
	if (item->bytes != (bytes < BTREE_VALUE_MAX ? bytes : BTREE_VALUE_MAX))
		return -EUCLEAN;
	*out = x;
	return 0;
}

int xattr_check_name(const char *name)
{
	static const char *const prefixes[] = {"user.", "trusted.", "security."};
	size_t bytes = strlen(name);

	if (bytes == 0 || bytes > XATTR_NAME_MAX_BYTES)
		return -ERANGE;
	if (strcmp(name, ACL_XATTR_ACCESS) == 0 || strcmp(name, ACL_XATTR_DEFAULT) == 0)
		return 0;
	for (unsigned i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++) {
		size_t prefix = strlen(prefixes[i]);

		if (strncmp(name, prefixes[i], prefix) == 0)
			return bytes > prefix ? 0 : -EINVAL;
	}
	return -EOPNOTSUPP;
}

static uint32_t acl_flag(const char *name)
{
	if (strcmp(name, ACL_XATTR_ACCESS) == 0)
		return INODE_ACL_ACCESS;
	return strcmp(name, ACL_XATTR_DEFAULT) == 0 ? INODE_ACL_DEFAULT : 0;
}

/*
 * Piece 0 of a name. -ENODATA: *free_key is where it could stand, 0 if all places of that hash are
 * taken.
 */
static int xattr_find(struct core *c, struct tx *tx, const struct inode *ip,
	const struct media_inode *record, const char *name, struct btree_item *out,
	uint64_t *free_key)
{
	struct btree tree = inode_tree(c, ip);
	size_t bytes = strlen(name);
	uint64_t base = xattr_hash(c->super.hash_seed, name, bytes);

	*free_key = 0;
	for (unsigned i = 0; i < XATTR_COLLISIONS; i++) {
		uint64_t expected = base | (uint64_t)i << 8;
		const struct media_xattr *x;
		int r = btree_find_ge(&tree, tx, &record->xattrs, expected, out);

		if (r && r != -ENOENT)
			return r;
		if (r == -ENOENT || out->key >> 8 != expected >> 8) {
			if (*free_key == 0)
				*free_key = expected;
			if (r == -ENOENT || out->key >> 16 != base >> 16)
				return -ENODATA;
			continue;
		}
		if (out->key != expected)
			return -EUCLEAN; /* pieces without their first */
		r = xattr_decode(out, &x);
		if (r)
			return r;
		if (x->name_bytes == bytes && memcmp(x->name, name, bytes) == 0)
			return 0;
	}
	return -ENODATA;
}

struct gather {
	uint8_t *out;
	size_t skip; /* header and name: the first so many bytes of all pieces are passed over */
	size_t total;
	size_t done;  /* bytes seen, header and name included */
	uint64_t key; /* of the next piece */
};

#define GATHERED 1

static int gather_piece(void *context, const struct btree_item *item)
{
	struct gather *g = context;
	size_t left = g->total - g->done;
	size_t from = g->done ? 0 : g->skip;

	if (item->key != g->key || item->bytes != (left < BTREE_VALUE_MAX ? left : BTREE_VALUE_MAX))
		return -EUCLEAN;
	memcpy(g->out + (g->done ? g->done - g->skip : 0), (const uint8_t *)item->value + from,
		item->bytes - from);
	g->done += item->bytes;
	g->key++;
	return g->done == g->total ? GATHERED : 0;
}

ssize_t xattr_get(struct core *c, struct tx *tx, const struct inode *ip,
	const struct media_inode *record, const char *name, void *value, size_t bytes)
{
	struct btree tree = inode_tree(c, ip);
	const struct media_xattr *x;
	struct btree_item item;
	uint64_t free_key;
	int r = xattr_find(c, tx, ip, record, name, &item, &free_key);

	if (r)
		return r;
	x = item.value;
	if (!value || bytes == 0)
		return (ssize_t)x->value_bytes;
	if (bytes < x->value_bytes)
		return -ERANGE;
	struct gather g = {
		.out = value,
		.skip = XATTR_HEADER + x->name_bytes,
		.total = XATTR_HEADER + x->name_bytes + x->value_bytes,
		.key = item.key,
	};

	r = btree_walk(&tree, tx, &record->xattrs, item.key, gather_piece, &g);
	if (r != GATHERED)
		return r < 0 ? r : -EUCLEAN;
	return (ssize_t)(g.total - g.skip);
}

/* How many pieces the xattr has whose first is `item`. */
static unsigned piece_count(const struct btree_item *item)
{
	const struct media_xattr *x = item->value;
	size_t bytes = XATTR_HEADER + x->name_bytes + x->value_bytes;

	return (unsigned)((bytes + BTREE_VALUE_MAX - 1) / BTREE_VALUE_MAX);
}

static int drop_pieces(const struct btree *tree, struct tx *tx, struct media_inode *record,
	uint64_t key, unsigned from, unsigned to)
{
	for (unsigned i = from; i < to; i++) {
		int r = btree_delete(tree, tx, &record->xattrs, key + i);

		if (r)
			return r == -ENOENT ? -EUCLEAN : r;
	}
	return 0;
}

/* One piece: a part of the head (header and name; piece 0 alone has it), then of the value. */
static int put_piece(const struct btree *tree, struct tx *tx, struct media_inode *record,
	uint64_t key, const uint8_t *head, size_t head_bytes, const uint8_t *value,
	size_t value_bytes, bool replace)
{
	uint64_t buffer[BTREE_VALUE_MAX / 8];
	uint16_t bytes = (uint16_t)(head_bytes + value_bytes);

	assert(bytes <= BTREE_VALUE_MAX);
	if (head_bytes)
		memcpy(buffer, head, head_bytes);
	if (value_bytes)
		memcpy((uint8_t *)buffer + head_bytes, value, value_bytes);
	return replace ? btree_replace(tree, tx, &record->xattrs, key, buffer, bytes)
		       : btree_insert(tree, tx, &record->xattrs, key, buffer, bytes);
}

static int put_pieces(const struct btree *tree, struct tx *tx, struct media_inode *record,
	uint64_t key, const char *name, const uint8_t *value, size_t bytes, unsigned old)
{
	uint64_t head[(XATTR_HEADER + XATTR_NAME_MAX_BYTES + 7) / 8];
	struct media_xattr *x = (void *)head;
	size_t head_bytes, done = 0;
	unsigned i = 0;

	x->value_bytes = (uint32_t)bytes;
	x->name_bytes = (uint16_t)strlen(name);
	x->reserved = 0;
	memcpy(x->name, name, x->name_bytes);
	head_bytes = XATTR_HEADER + x->name_bytes;
	do {
		size_t room = BTREE_VALUE_MAX - head_bytes;
		size_t piece = bytes - done < room ? bytes - done : room;
		int r = put_piece(tree, tx, record, key + i, (uint8_t *)head, head_bytes,
			value + done, piece, i < old);

		if (r)
			return r == -ENOENT || r == -EEXIST ? -EUCLEAN : r;
		head_bytes = 0;
		done += piece;
		i++;
	} while (done < bytes);
	return drop_pieces(tree, tx, record, key, i, old);
}

int xattr_put(struct core *c, struct tx *tx, const struct inode *ip, struct media_inode *record,
	const char *name, const void *value, size_t bytes, int flags)
{
	struct btree tree = inode_tree(c, ip);
	struct btree_item item;
	unsigned old = 0;
	uint64_t key;
	int r = xattr_find(c, tx, ip, record, name, &item, &key);

	assert(bytes <= XATTR_VALUE_MAX_BYTES);
	if (r && r != -ENODATA)
		return r;
	if (r == 0) {
		if (flags & XATTR_CREATE)
			return -EEXIST;
		key = item.key;
		old = piece_count(&item);
	} else if (flags & XATTR_REPLACE) {
		return -ENODATA;
	} else if (key == 0) {
		return -ENOSPC;
	}
	r = put_pieces(&tree, tx, record, key, name, value, bytes, old);
	if (r == 0)
		record->acl_flags |= acl_flag(name);
	return r;
}

int xattr_drop(struct core *c, struct tx *tx, const struct inode *ip, struct media_inode *record,
	const char *name)
{
	struct btree tree = inode_tree(c, ip);
	struct btree_item item;
	uint64_t key;
	int r = xattr_find(c, tx, ip, record, name, &item, &key);

	if (r == 0)
		r = drop_pieces(&tree, tx, record, item.key, 0, piece_count(&item));
	if (r == 0)
		record->acl_flags &= ~acl_flag(name);
	return r;
}
