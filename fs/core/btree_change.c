// SPDX-License-Identifier: BSD-2-Clause
/*
 * btree_change.c - insertion and deletion in a B+tree. See btree.h.
 *
 * A change descends once and remembers its path. Insertion splits full nodes from the leaf up;
 * deletion frees empty nodes, merges a sparse one with a neighbour, and lowers the root, again from
 * the leaf up. Only nodes that change are shadowed.
 *
 * The key of an inner node's first slot means minus infinity; its stored value is only kept below
 * that of the second, so that the keys of every node rise.
 */
#include "btree.h"

#include <assert.h>
#include <errno.h>

#include "btree_node.h"

struct step {
	const struct media_node *node; /* view, until the node is edited */
	uint64_t offset;
	unsigned slot; /* leaf: where the key is or would be; else the child on the path */
};

struct path {
	unsigned height;
	struct step steps[BTREE_HEIGHT_MAX]; /* by level: 0 is the leaf */
};

/* -ENOENT: the tree is empty. */
static int path_find(const struct btree *t, struct tx *tx, const struct media_root *root,
	uint64_t key, struct path *path)
{
	uint64_t offset = root->root;

	if (root->height > BTREE_HEIGHT_MAX || (root->height == 0) != (root->root == 0))
		return -EUCLEAN;
	if (root->height == 0)
		return -ENOENT;
	path->height = root->height;
	for (unsigned level = root->height; level--;) {
		struct step *s = &path->steps[level];
		int r = node_get(t, tx, offset, level, &s->node);

		if (r)
			return r;
		if (s->node->count == 0)
			return -EUCLEAN;
		s->offset = offset;
		s->slot = level ? node_route(s->node, key) : node_search(s->node, key);
		if (level) {
			r = node_child(s->node, s->slot, &offset);
			if (r)
				return r;
		}
	}
	return 0;
}

static bool path_hits(const struct path *path, uint64_t key)
{
	const struct step *leaf = &path->steps[0];

	return leaf->slot < leaf->node->count && leaf->node->slots[leaf->slot].key == key;
}

/* A root above the one there is, with it as the only child. */
static int root_raise(
	const struct btree *t, struct tx *tx, struct media_root *root, struct path *path)
{
	struct media_node *n;
	uint64_t offset;
	int r;

	if (root->height == BTREE_HEIGHT_MAX)
		return -ENOSPC;
	r = node_create(t, tx, root->height, root->root, &offset, &n);
	if (r)
		return r;
	r = node_insert(n, 0, 0, &root->root, sizeof(root->root));
	if (r)
		return r;
	path->steps[root->height] = (struct step){.node = n, .offset = offset, .slot = 0};
	root->root = offset;
	root->height++;
	path->height = root->height;
	return 0;
}

/*
 * Inserts at the path's leaf, splitting upwards. `node` is the node to insert into, `slot` the
 * place; a split makes the insertion of the new right sibling into the parent the next round.
 */
static int path_insert(const struct btree *t, struct tx *tx, struct media_root *root,
	struct path *path, uint64_t key, const void *value, uint16_t bytes)
{
	uint64_t child = 0;

	for (unsigned level = 0;; level++) {
		struct media_node *node, *right;
		unsigned slot = path->steps[level].slot;
		uint64_t right_offset;
		int r = node_edit(t, tx, path->steps[level].offset, level, &node);

		if (r)
			return r;
		if (level) { /* behind the child that was split */
			if (slot == 0 && node->slots[0].key >= key)
				node->slots[0].key = 0;
			slot++;
			if (node->slots[slot - 1].key >= key ||
				(slot < node->count && node->slots[slot].key <= key))
				return -EUCLEAN;
			value = &child;
			bytes = sizeof(child);
		}
		if (node_fits(node, bytes))
			return node_insert(node, slot, key, value, bytes);
		r = node_create(t, tx, level, path->steps[level].offset, &right_offset, &right);
		if (r)
			return r;
		r = node_split(node, right, slot, key, value, bytes);
		if (r)
			return r;
		key = right->slots[0].key;
		child = right_offset;
		if (level + 1 == path->height) {
			r = root_raise(t, tx, root, path);
			if (r)
				return r;
		}
	}
}

int btree_insert(const struct btree *t, struct tx *tx, struct media_root *root, uint64_t key,
	const void *value, uint16_t bytes)
{
	struct path path;
	struct media_node *n;
	uint64_t offset;
	int r;

	assert(bytes <= BTREE_VALUE_MAX);
	r = path_find(t, tx, root, key, &path);
	if (r == -ENOENT) {
		r = node_create(t, tx, 0, 0, &offset, &n);
		if (r)
			return r;
		root->root = offset;
		root->height = 1;
		return node_insert(n, 0, key, value, bytes);
	}
	if (r)
		return r;
	if (path_hits(&path, key))
		return -EEXIST;
	return path_insert(t, tx, root, &path, key, value, bytes);
}

int btree_replace(const struct btree *t, struct tx *tx, struct media_root *root, uint64_t key,
	const void *value, uint16_t bytes)
{
	struct path path;
	struct media_node *n;
	int r;

	assert(bytes <= BTREE_VALUE_MAX);
	r = path_find(t, tx, root, key, &path);
	if (r)
		return r;
	if (!path_hits(&path, key))
		return -ENOENT;
	r = node_edit(t, tx, path.steps[0].offset, 0, &n);
	if (r)
		return r;
	r = node_replace(n, path.steps[0].slot, value, bytes);
	if (r != -ENOSPC)
		return r;
	/* The old value has gone, and the node is too full for the new one. */
	return path_insert(t, tx, root, &path, key, value, bytes);
}

/* While an inner root has one child, that becomes the root; an empty leaf is no root. */
static int root_lower(const struct btree *t, struct tx *tx, struct media_root *root)
{
	while (root->height) {
		const struct media_node *n;
		uint64_t child = 0;
		int r = node_get(t, tx, root->root, root->height - 1, &n);

		if (r)
			return r;
		if (n->count > 1 || (n->count == 1 && n->level == 0))
			return 0;
		if (n->count == 1) {
			r = node_child(n, 0, &child);
			if (r)
				return r;
		}
		r = node_free(t, tx, root->root);
		if (r)
			return r;
		root->root = child;
		root->height = child ? root->height - 1 : 0;
	}
	return 0;
}

/*
 * Merges the children `slot` and `slot` + 1 of the node at `offset` where they fit well into one.
 * *merged: the second is gone, and its slot too.
 */
static int children_merge(const struct btree *t, struct tx *tx, uint64_t offset, unsigned level,
	unsigned slot, bool *merged)
{
	const struct media_node *view, *right;
	struct media_node *parent, *left;
	uint64_t left_offset, right_offset;
	int r = node_get(t, tx, offset, level, &view);

	*merged = false;
	if (r == 0)
		r = node_child(view, slot, &left_offset);
	if (r == 0)
		r = node_child(view, slot + 1, &right_offset);
	if (r == 0)
		r = node_get(t, tx, left_offset, level - 1, &view);
	if (r == 0)
		r = node_get(t, tx, right_offset, level - 1, &right);
	if (r)
		return r;
	if (node_used(view) + node_used(right) > NODE_MERGED_MAX)
		return 0;
	r = node_edit(t, tx, offset, level, &parent);
	if (r == 0)
		r = node_edit(t, tx, left_offset, level - 1, &left);
	if (r)
		return r;
	if (left_offset == right_offset)
		return -EUCLEAN;
	r = node_merge(left, right, parent->slots[slot + 1].key);
	if (r == 0)
		r = node_remove(parent, slot + 1);
	if (r)
		return r;
	*merged = true;
	return node_free(t, tx, right_offset);
}

/* A slot went from the leaf of the path: frees or merges nodes, from there upwards. */
static int path_shrink(
	const struct btree *t, struct tx *tx, struct media_root *root, struct path *path)
{
	for (unsigned level = 0; level + 1 < path->height; level++) {
		const struct step *up = &path->steps[level + 1];
		const struct media_node *n;
		struct media_node *parent;
		bool merged = false;
		int r = node_get(t, tx, path->steps[level].offset, level, &n);

		if (r)
			return r;
		if (node_used(n) > NODE_SPARSE_MAX)
			return 0;
		if (n->count == 0) {
			r = node_edit(t, tx, up->offset, level + 1, &parent);
			if (r == 0)
				r = node_remove(parent, up->slot);
			if (r == 0)
				r = node_free(t, tx, path->steps[level].offset);
			if (r)
				return r;
			continue;
		}
		if (up->slot)
			r = children_merge(t, tx, up->offset, level + 1, up->slot - 1, &merged);
		if (r == 0 && !merged && up->slot + 1u < up->node->count)
			r = children_merge(t, tx, up->offset, level + 1, up->slot, &merged);
		if (r || !merged)
			return r;
	}
	return root_lower(t, tx, root);
}

int btree_delete(const struct btree *t, struct tx *tx, struct media_root *root, uint64_t key)
{
	struct media_node *n;
	struct path path;
	int r = path_find(t, tx, root, key, &path);

	if (r)
		return r;
	if (!path_hits(&path, key))
		return -ENOENT;
	r = node_edit(t, tx, path.steps[0].offset, 0, &n);
	if (r == 0)
		r = node_remove(n, path.steps[0].slot);
	if (r)
		return r;
	return path_shrink(t, tx, root, &path);
}

/*
 * Frees leaves from the right end, under the last node of level 1, and the nodes above as they
 * become empty. Leaves are not read.
 */
static int destroy_right(const struct btree *t, struct tx *tx, struct media_root *root)
{
	struct media_node *n;
	struct path path;
	int r = path_find(t, tx, root, UINT64_MAX, &path);

	if (r)
		return r;
	for (unsigned level = 1; level < path.height; level++) {
		r = node_edit(t, tx, path.steps[level].offset, level, &n);
		if (r)
			return r;
		do {
			uint64_t child;

			r = node_child(n, n->count - 1u, &child);
			if (r == 0)
				r = node_free(t, tx, child);
			if (r == 0)
				r = node_remove(n, n->count - 1u);
			if (r)
				return r;
		} while (level == 1 && n->count && tx_has_room(tx));
		if (n->count)
			return 0;
	}
	r = node_free(t, tx, root->root);
	if (r == 0) {
		root->root = 0;
		root->height = 0;
	}
	return r;
}

int btree_destroy(const struct btree *t, struct tx *tx, struct media_root *root)
{
	while (root->height) {
		int r;

		if (!tx_has_room(tx)) {
			r = root_lower(t, tx, root);
			return r ? r : root->height ? -EAGAIN : 0;
		}
		r = destroy_right(t, tx, root);
		if (r)
			return r;
	}
	return 0;
}
