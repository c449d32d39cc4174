// SPDX-License-Identifier: BSD-2-Clause
/*
 * btree_node.h - one node of a B+tree: slots and values in a block. Private to btree*.c.
 *
 * Slots grow up behind the header and rise by key; values grow down from the block's end, in the
 * order in which they came. A value that is removed leaves garbage, which node_compact() squeezes
 * out when an insertion needs the room, so that a change touches few bytes as a rule.
 *
 * A node that was read may be damaged although its checksum holds. node_get() and node_edit() check
 * what costs nothing to check: owner, level, count, low. Each slot is checked when it is used, and
 * node_check() looks at all of them before a node is compacted, split or merged. After that the
 * functions here rely on the structure and assert it.
 */
#ifndef CORE_BTREE_NODE_H
#define CORE_BTREE_NODE_H

#include <stdbool.h>
#include <stdint.h>

#include "btree.h"
#include "format.h"
#include "tx.h"

#define NODE_HEADER offsetof(struct media_node, slots)
#define NODE_ROOM (BLOCK_SIZE - NODE_HEADER) /* of slots and values together */
#define NODE_SLOTS_MAX (NODE_ROOM / sizeof(struct media_slot))
#define NODE_MERGED_MAX (NODE_ROOM / 4 * 3)   /* two siblings are merged when they fit in that */
#define NODE_SPARSE_MAX (NODE_MERGED_MAX / 2) /* of two such siblings, one is below that */

static inline uint32_t node_value_room(uint32_t bytes)
{
	return (bytes + 7u) & ~7u;
}

static inline uint32_t node_item_room(uint32_t bytes)
{
	return (uint32_t)sizeof(struct media_slot) + node_value_room(bytes);
}

/* Bytes in use by slots and live values. */
static inline uint32_t node_used(const struct media_node *n)
{
	return (uint32_t)(n->count * sizeof(struct media_slot)) + (BLOCK_SIZE - n->low) -
	       n->garbage;
}

static inline bool node_fits(const struct media_node *n, uint32_t bytes)
{
	return node_used(n) + node_item_room(bytes) <= NODE_ROOM;
}

/* A view (or shadow) of the node at `offset`, which must be of that level. -EUCLEAN. */
int node_get(const struct btree *t, struct tx *tx, uint64_t offset, unsigned level,
	const struct media_node **out);
int node_edit(const struct btree *t, struct tx *tx, uint64_t offset, unsigned level,
	struct media_node **out);
/* A new node in a block near `near` (0: anywhere). -ENOSPC. */
int node_create(const struct btree *t, struct tx *tx, unsigned level, uint64_t near,
	uint64_t *offset, struct media_node **out);
int node_free(const struct btree *t, struct tx *tx, uint64_t offset);

/* NULL, or what is wrong with the structure of this node by itself. */
const char *node_check(const struct media_node *n);

/* The first slot whose key is >= `key`: 0..count. */
unsigned node_search(const struct media_node *n, uint64_t key);
/* The child to go down to for `key`. */
unsigned node_route(const struct media_node *n, uint64_t key);
/* The item in a slot. -EUCLEAN. */
int node_item(const struct media_node *n, unsigned slot, struct btree_item *out);
int node_child(const struct media_node *n, unsigned slot, uint64_t *out);

/* Into a node where node_fits() says that there is room (asserted). -EUCLEAN. */
int node_insert(
	struct media_node *n, unsigned slot, uint64_t key, const void *value, uint16_t bytes);
int node_remove(struct media_node *n, unsigned slot); /* -EUCLEAN */
/* A slot of the same key gets another value. -ENOSPC: it does not fit, and the old one is gone. */
int node_replace(struct media_node *n, unsigned slot, const void *value, uint16_t bytes);
/*
 * Inserts into a node that is too full, giving the upper part to `right`, which is new. The first
 * slot of `right` then holds the key that separates the two. -EUCLEAN.
 */
int node_split(struct media_node *left, struct media_node *right, unsigned slot, uint64_t key,
	const void *value, uint16_t bytes);
/* Appends the items of `right`; the key of its first becomes `separator` in inner nodes. -EUCLEAN.
 */
int node_merge(struct media_node *left, const struct media_node *right, uint64_t separator);

#endif
