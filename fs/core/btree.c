// SPDX-License-Identifier: BSD-2-Clause
/*
 * btree.c - looking things up in a B+tree. See btree.h.
 *
 * Leaves are not chained. A descent remembers the bounds of the leaf that it came to, which are
 * keys of inner nodes: what is past the leaf is found by another descent from its upper bound.
 * Each further descent must move on in key order, and levels fall by one a step, so that a
 * damaged tree ends a search with -EUCLEAN and never keeps it going.
 */
#include "btree.h"

#include <errno.h>

#include "btree_node.h"

struct leaf {
	const struct media_node *node;
	bool has_lower, has_upper;
	uint64_t lower; /* keys of the leaf are >= lower, if it has one */
	uint64_t upper; /* and < upper */
};

static int root_check(const struct media_root *root)
{
	if (root->height > BTREE_HEIGHT_MAX || (root->height == 0) != (root->root == 0))
		return -EUCLEAN;
	return root->height ? 0 : -ENOENT;
}

/* Goes down to the leaf where `key` is, or would be. -ENOENT: the tree is empty. */
static int descend(const struct btree *t, struct tx *tx, const struct media_root *root,
	uint64_t key, struct leaf *out)
{
	const struct media_node *n;
	uint64_t offset = root->root;
	int r = root_check(root);

	*out = (struct leaf){0};
	for (unsigned level = root->height; r == 0;) {
		unsigned slot;

		level--;
		r = node_get(t, tx, offset, level, &n);
		if (r)
			break;
		if (n->count == 0)
			return -EUCLEAN;
		if (level == 0) {
			out->node = n;
			return 0;
		}
		slot = node_route(n, key);
		if (slot) {
			out->has_lower = true;
			out->lower = n->slots[slot].key;
		}
		if (slot + 1 < n->count) {
			out->has_upper = true;
			out->upper = n->slots[slot + 1].key;
		}
		r = node_child(n, slot, &offset);
	}
	return r;
}

int btree_find(const struct btree *t, struct tx *tx, const struct media_root *root, uint64_t key,
	struct btree_item *out)
{
	struct leaf leaf;
	unsigned slot;
	int r = descend(t, tx, root, key, &leaf);

	if (r)
		return r;
	slot = node_search(leaf.node, key);
	if (slot == leaf.node->count || leaf.node->slots[slot].key != key)
		return -ENOENT;
	return node_item(leaf.node, slot, out);
}

int btree_find_ge(const struct btree *t, struct tx *tx, const struct media_root *root, uint64_t key,
	struct btree_item *out)
{
	struct leaf leaf;
	unsigned slot;
	int r = descend(t, tx, root, key, &leaf);

	if (r)
		return r;
	slot = node_search(leaf.node, key);
	if (slot < leaf.node->count)
		return node_item(leaf.node, slot, out);
	if (!leaf.has_upper)
		return -ENOENT;
	/* The next leaf is not empty, and all of it is past the bound. */
	if (leaf.upper <= key)
		return -EUCLEAN;
	key = leaf.upper;
	r = descend(t, tx, root, key, &leaf);
	if (r)
		return r;
	if (leaf.node->slots[0].key < key)
		return -EUCLEAN;
	return node_item(leaf.node, 0, out);
}

int btree_find_le(const struct btree *t, struct tx *tx, const struct media_root *root, uint64_t key,
	struct btree_item *out)
{
	struct leaf leaf;
	unsigned slot;
	int r = descend(t, tx, root, key, &leaf);

	if (r)
		return r;
	slot = node_route(leaf.node, key);
	if (leaf.node->slots[slot].key <= key)
		return node_item(leaf.node, slot, out);
	if (!leaf.has_lower || leaf.lower == 0)
		return -ENOENT;
	key = leaf.lower - 1;
	r = descend(t, tx, root, key, &leaf);
	if (r)
		return r;
	slot = leaf.node->count - 1u;
	if (leaf.node->slots[slot].key > key)
		return -EUCLEAN;
	return node_item(leaf.node, slot, out);
}

int btree_walk(const struct btree *t, struct tx *tx, const struct media_root *root, uint64_t from,
	int (*visit)(void *context, const struct btree_item *item), void *context)
{
	for (;;) {
		struct btree_item item;
		struct leaf leaf;
		int r = descend(t, tx, root, from, &leaf);

		if (r)
			return r == -ENOENT ? 0 : r;
		for (unsigned i = node_search(leaf.node, from); i < leaf.node->count; i++) {
			r = node_item(leaf.node, i, &item);
			if (r == 0 && item.key < from)
				r = -EUCLEAN;
			if (r == 0)
				r = visit(context, &item);
			if (r)
				return r;
		}
		if (!leaf.has_upper)
			return 0;
		if (leaf.upper <= from)
			return -EUCLEAN;
		from = leaf.upper;
	}
}
