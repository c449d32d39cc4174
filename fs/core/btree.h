// SPDX-License-Identifier: BSD-2-Clause
/*
 * btree.h - the B+tree that extents, directories, xattrs and the pool's tables are kept in.
 *
 * Keys are 64 bits and unique, values are bytes (format.h: media_node). The root is a media_root
 * that lives in the caller's object: a shadow for changes, a view for look-ups. The caller holds
 * the lock that guards the tree. Changes are part of the caller's transaction; after an error other
 * than -EEXIST and -ENOENT it must be aborted.
 *
 * Invariants (btree_check)
 *  1. Keys rise strictly in a node; all keys below a child are >= its key (first child: any) and
 *     < the next child's.
 *  2. All leaves are at level 0; level falls by one a step; height <= BTREE_HEIGHT_MAX.
 *  3. No node but the root is empty; an inner root has two children at least.
 *  4. Slots and values of a node do not overlap; count, low and garbage agree.
 *  5. node.owner is the tree's owner.
 * A node that breaks one of them, although its checksum holds, is -EUCLEAN too.
 */
#ifndef CORE_BTREE_H
#define CORE_BTREE_H

#include <stdbool.h>
#include <stdint.h>

#include "format.h"
#include "space.h"
#include "tx.h"

struct btree {
	struct meta *meta;
	struct space *heap;
	uint64_t owner;
};

struct btree_item {
	uint64_t key;
	const void *value; /* in the node: valid until the tree's next change or the tx's end */
	uint16_t bytes;
};

/* Exact. -ENOENT, -EUCLEAN. tx may be NULL. */
int btree_find(const struct btree *t, struct tx *tx, const struct media_root *root, uint64_t key,
	struct btree_item *out);
/* The first item with a key >= `key`. -ENOENT past the end. */
int btree_find_ge(const struct btree *t, struct tx *tx, const struct media_root *root, uint64_t key,
	struct btree_item *out);
/* The last item with a key <= `key`. -ENOENT before the beginning. */
int btree_find_le(const struct btree *t, struct tx *tx, const struct media_root *root, uint64_t key,
	struct btree_item *out);

/*
 * In order from the first key >= `from`, while `visit` returns 0; its other results are passed on.
 * One descent a leaf, not one an item. `visit` must not change the tree.
 */
int btree_walk(const struct btree *t, struct tx *tx, const struct media_root *root, uint64_t from,
	int (*visit)(void *context, const struct btree_item *item), void *context);

/* -EEXIST, -ENOSPC, -EUCLEAN, -E2BIG (the transaction is full). */
int btree_insert(const struct btree *t, struct tx *tx, struct media_root *root, uint64_t key,
	const void *value, uint16_t bytes);
/* Puts another value, of any length, under a key that is there. -ENOENT and as above. */
int btree_replace(const struct btree *t, struct tx *tx, struct media_root *root, uint64_t key,
	const void *value, uint16_t bytes);
/* -ENOENT and as above. Frees nodes that become empty, merges sparse ones, lowers the root. */
int btree_delete(const struct btree *t, struct tx *tx, struct media_root *root, uint64_t key);

/*
 * Frees nodes of the tree, leaves first, until it is empty (0) or the transaction has no room
 * (-EAGAIN: commit, begin another, call again; the tree is whole in between). Values are not
 * looked at.
 */
int btree_destroy(const struct btree *t, struct tx *tx, struct media_root *root);

/*
 * Verifies the whole tree. `block` (may be NULL) hears of each node before it is read, `item` (may
 * be NULL) of each item; a result other than 0 ends the walk and is passed on, but for BTREE_SKIP
 * from `block`, which passes over that node and all below it: for nodes that were seen before.
 * Damage: `bad` (may be NULL) is told the node's offset and why, and the walk goes on with the next
 * sibling; -EUCLEAN in the end.
 */
#define BTREE_SKIP 1
struct btree_visitor {
	void *context;
	int (*block)(void *context, uint64_t offset, uint16_t level);
	int (*item)(void *context, const struct btree_item *item);
	void (*bad)(void *context, uint64_t offset, const char *why);
};
int btree_check(
	const struct btree *t, const struct media_root *root, const struct btree_visitor *visitor);

#endif
