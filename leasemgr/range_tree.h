// SPDX-License-Identifier: BSD-2-Clause
/*
 * range_tree.h - half-open ranges in order of their start, with "which overlap [a, b)?" in
 * O(log n + k).
 *
 * A treap whose nodes know the largest end below them. Priorities are a hash of the id under a seed
 * that the owner chose, so that nobody who picks ranges or counts ids can unbalance it, and a
 * simulation with a fixed seed always builds the same tree.
 *
 * Invariants
 *  1. In order by (start, id); ids are unique in a tree; start < end.
 *  2. A parent's priority is at least its children's.
 *  3. max_end is the largest end in the subtree.
 *
 * Iteration has no state but a key, so a tree may change between two steps.
 */
#ifndef LEASEMGR_RANGE_TREE_H
#define LEASEMGR_RANGE_TREE_H

#include <stdbool.h>
#include <stdint.h>

struct range_node {
	struct range_node *left;
	struct range_node *right;
	uint64_t start;
	uint64_t end;
	uint64_t max_end;
	uint64_t id;
	uint32_t priority;
};

struct range_tree {
	struct range_node *root;
};

void range_tree_insert(struct range_tree *t, struct range_node *n, uint64_t seed);
void range_tree_remove(struct range_tree *t, struct range_node *n); /* it must be there */
/* The first node after (after_start, after_id) that overlaps [start, end); NULL: none. */
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
/* Asserts the invariants; returns the number of nodes. */
uint64_t range_tree_check(const struct range_tree *t);

#endif
