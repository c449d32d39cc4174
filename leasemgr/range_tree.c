// SPDX-License-Identifier: BSD-2-Clause
/* range_tree.c - see range_tree.h. Recursion is as deep as the tree: O(log n). */
#include "range_tree.h"

#include <assert.h>
#include <stddef.h>

/* The finaliser of splitmix64: every bit of the id reaches the priority. */
static uint32_t mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15ull;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
	return (uint32_t)((x ^ (x >> 31)) >> 32);
}

static bool before(const struct range_node *a, const struct range_node *b)
{
	return a->start != b->start ? a->start < b->start : a->id < b->id;
}

static void update(struct range_node *n)
{
	n->max_end = n->end;
	if (n->left && n->left->max_end > n->max_end)
		n->max_end = n->left->max_end;
	if (n->right && n->right->max_end > n->max_end)
		n->max_end = n->right->max_end;
}

/* Everything before `key` goes to *left, the rest to *right. */
static void split(struct range_node *n, const struct range_node *key, struct range_node **left,
	struct range_node **right)
{
	if (!n) {
		*left = *right = NULL;
	} else if (before(n, key)) {
		split(n->right, key, &n->right, right);
		*left = n;
		update(n);
	} else {
		split(n->left, key, left, &n->left);
		*right = n;
		update(n);
	}
}

static struct range_node *merge(struct range_node *a, struct range_node *b)
{
	if (!a)
		return b;
	if (!b)
		return a;
	if (a->priority >= b->priority) {
		a->right = merge(a->right, b);
		update(a);
		return a;
	}
	b->left = merge(a, b->left);
	update(b);
	return b;
}

/* Looks at no node but those on its way: each of the others is a line that the cache lacks. */
static void insert(struct range_node **link, struct range_node *n)
{
	struct range_node *at;

	while ((at = *link) && n->priority <= at->priority) {
		if (at->max_end < n->end)
			at->max_end = n->end;
		link = before(n, at) ? &at->left : &at->right;
	}
	split(at, n, &n->left, &n->right);
	update(n);
	*link = n;
}

void range_tree_insert(struct range_tree *t, struct range_node *n, uint64_t seed)
{
	assert(n->start < n->end && n->id != 0);
	n->left = n->right = NULL;
	n->priority = mix(n->id ^ seed);
	insert(&t->root, n);
}

static struct range_node *take(struct range_node *at, struct range_node *n)
{
	assert(at);
	if (at == n)
		return merge(n->left, n->right);
	if (before(n, at))
		at->left = take(at->left, n);
	else
		at->right = take(at->right, n);
	if (at->max_end == n->end) /* else it is another's */
		update(at);
	return at;
}

void range_tree_remove(struct range_tree *t, struct range_node *n)
{
	t->root = take(t->root, n);
	n->left = n->right = NULL;
}

/*
 * Left subtrees are only entered where some end lies past `start`. Then either an overlap is found
 * there, or what was found starts at or past `end`, and so does everything to its right: one path
 * down and one along the key's boundary, O(log n).
 */
static struct range_node *find(
	struct range_node *n, uint64_t start, uint64_t end, uint64_t after_start, uint64_t after_id)
{
	while (n && n->max_end > start) {
		bool after = n->start != after_start ? n->start > after_start : n->id > after_id;

		if (after) {
			struct range_node *r = find(n->left, start, end, after_start, after_id);

			if (r)
				return r;
			if (n->start >= end)
				return NULL;
			if (n->end > start)
				return n;
		}
		n = n->right;
	}
	return NULL;
}

struct range_node *range_tree_after(const struct range_tree *t, uint64_t start, uint64_t end,
	uint64_t after_start, uint64_t after_id)
{
	assert(start < end);
	return find(t->root, start, end, after_start, after_id);
}

static uint64_t check(const struct range_node *n)
{
	uint64_t max_end, count = 1;

	if (!n)
		return 0;
	assert(n->start < n->end);
	max_end = n->end;
	if (n->left) {
		assert(before(n->left, n) && n->left->priority <= n->priority);
		max_end = n->left->max_end > max_end ? n->left->max_end : max_end;
		count += check(n->left);
	}
	if (n->right) {
		assert(before(n, n->right) && n->right->priority <= n->priority);
		max_end = n->right->max_end > max_end ? n->right->max_end : max_end;
		count += check(n->right);
	}
	assert(n->max_end == max_end);
	return count;
}

uint64_t range_tree_check(const struct range_tree *t)
{
	return check(t->root);
}
