// SPDX-License-Identifier: BSD-2-Clause
/*
 * range_tree.h - half-open ranges in order of their start, with "which overlap [a, b)?" in
 * O(log n + k).
 *
 * A B+ tree: its nodes have copies of the keys, so that a way down it reads two or three nodes that
 * are in no cache, where a binary tree of the things themselves would read twenty of those. Beside
 * it a list, in which the things are linked themselves: a tree of a few has nothing else (nearly
 * every file's has), and what there is no memory for waits there too. So inserting cannot fail: it
 * is slower without memory, not wrong.
 *
 * Invariants
 *  1. In order by (start, id), the list and the tree each; ids are unique; start < end.
 *  2. What is in it is not changed: the nodes have copies.
 *  3. All leaves are equally deep. No node is empty; a root that is no leaf has two children.
 *  4. An inner node has of each child a key that is not above the child's first one and above all
 *     of the child before it (the first child's says nothing), and the largest end below the child.
 *  5. Nothing ends past `end`, which is the largest one: what lies behind all that is in the tree,
 *     as the end of a file often does, is answered without a look at it.
 *
 * Iteration has no state but a key, so a tree may change between two steps.
 */
#ifndef LEASEMGR_RANGE_TREE_H
#define LEASEMGR_RANGE_TREE_H

#include <stdbool.h>
#include <stdint.h>

struct range_node {
	struct range_node *next; /* in the list */
	uint64_t start;
	uint64_t end;
	uint64_t id; /* not 0 */
};

struct tree_node;
struct range_tree {
	struct range_node *list;
	struct tree_node *root; /* NULL: the list is all there is */
	uint64_t end;
	uint32_t listed;
	uint32_t height; /* of the tree: 1 if the root is a leaf */
};

/* It is the caller's, and stays where and as it is until it is removed. */
void range_tree_insert(struct range_tree *t, struct range_node *n);
void range_tree_remove(struct range_tree *t, struct range_node *n); /* it must be there */
/* The first one after (after_start, after_id) that overlaps [start, end); NULL: none. */
struct range_node *range_tree_after(const struct range_tree *t, uint64_t start, uint64_t end,
	uint64_t after_start, uint64_t after_id);
/* The first that overlaps. Ids begin at 1, so (0, 0) comes before every node. */
static inline struct range_node *range_tree_first(
	const struct range_tree *t, uint64_t start, uint64_t end)
{
	return range_tree_after(t, start, end, 0, 0);
}
static inline struct range_node *range_tree_next(
	const struct range_tree *t, const struct range_node *n, uint64_t start, uint64_t end)
{
	return range_tree_after(t, start, end, n->start, n->id);
}
static inline bool range_tree_is_empty(const struct range_tree *t)
{
	return !t->root && !t->list;
}
/* Its own memory goes, without a look at what is in it, which may be gone already. */
void range_tree_free(struct range_tree *t);
/* Asserts the invariants; returns the number of ranges. */
uint64_t range_tree_check(const struct range_tree *t);

#endif
