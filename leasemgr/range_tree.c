// SPDX-License-Identifier: BSD-2-Clause
/*
 * range_tree.c - see range_tree.h. Recursion is as deep as the tree: a few levels.
 *
 * A node that is full is split in halves. One that has become less than a third full is joined with
 * a sibling if that leaves room for some more.
 */
#include "range_tree.h"

#include <assert.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define FANOUT 31u       /* a node is a kibibyte, of which a search reads a few lines */
#define JOIN 22u         /* not so full that the next insertion would split it again */
#define HEIGHT_MAX 24u   /* of as many as there are ids, even if each node has six entries */
#define LIST_MAX 8u      /* beyond, a tree is worth its memory */
#define LEAF_MIN 4u      /* a tree with no more is made a list again */
#define LIST_STEP_MAX 4u /* from the list into the tree with one insertion */

/* Arrays and not an array: a search reads the starts alone, and the others where it ends. */
struct tree_node {
	uint32_t count;
	uint64_t start[FANOUT]; /* of an inner node: below all of the child; see invariant 4 */
	uint64_t id[FANOUT];
	uint64_t end[FANOUT]; /* of an inner node: the largest below the child */
	union {
		struct range_node *item[FANOUT];
		struct tree_node *child[FANOUT];
	};
};
_Static_assert(sizeof(struct tree_node) <= 1024 - 8, "with the header that malloc puts to it");

static bool before(uint64_t start, uint64_t id, uint64_t other_start, uint64_t other_id)
{
	return start != other_start ? start < other_start : id < other_id;
}

/* The number of entries whose key is not after (start, id). */
static uint32_t entries_up_to(const struct tree_node *n, uint64_t start, uint64_t id)
{
	uint32_t low = 0, high = n->count;

	while (low < high) {
		uint32_t mid = (low + high) / 2;

		if (before(start, id, n->start[mid], n->id[mid]))
			high = mid;
		else
			low = mid + 1;
	}
	return low;
}

/* In which child of an inner node the key is or belongs. */
static uint32_t child_of(const struct tree_node *n, uint64_t start, uint64_t id)
{
	uint32_t i = entries_up_to(n, start, id);

	return i > 0 ? i - 1 : 0;
}

static uint64_t largest_end(const struct tree_node *n)
{
	uint64_t end = 0;

	for (uint32_t i = 0; i < n->count; i++)
		end = n->end[i] > end ? n->end[i] : end;
	return end;
}

/* `count` entries of `from` at `i`, to `to` at `j`, which may be the same. */
static void move(
	struct tree_node *to, uint32_t j, const struct tree_node *from, uint32_t i, uint32_t count)
{
	memmove(&to->start[j], &from->start[i], count * sizeof(to->start[0]));
	memmove(&to->id[j], &from->id[i], count * sizeof(to->id[0]));
	memmove(&to->end[j], &from->end[i], count * sizeof(to->end[0]));
	memmove(&to->child[j], &from->child[i], count * sizeof(to->child[0]));
}

static void open_gap(struct tree_node *n, uint32_t i)
{
	assert(n->count < FANOUT);
	move(n, i + 1, n, i, n->count - i);
	n->count++;
}

static void close_gap(struct tree_node *n, uint32_t i)
{
	n->count--;
	move(n, i, n, i + 1, n->count - i);
}

/* ---- the list -------------------------------------------------------------------------------- */

static void list_insert(struct range_tree *t, struct range_node *n)
{
	struct range_node **link = &t->list;

	while (*link && before((*link)->start, (*link)->id, n->start, n->id))
		link = &(*link)->next;
	n->next = *link;
	*link = n;
	t->listed++;
}

static bool list_remove(struct range_tree *t, struct range_node *n)
{
	struct range_node **link = &t->list;

	while (*link && *link != n)
		link = &(*link)->next;
	if (!*link)
		return false;
	*link = n->next;
	n->next = NULL;
	t->listed--;
	return true;
}

static struct range_node *list_after(const struct range_tree *t, uint64_t start, uint64_t end,
	uint64_t after_start, uint64_t after_id)
{
	for (struct range_node *n = t->list; n && n->start < end; n = n->next)
		if (n->end > start && before(after_start, after_id, n->start, n->id))
			return n;
	return NULL;
}

/* ---- insertion ------------------------------------------------------------------------------- */

/* The upper half of child `i`, which is full, becomes the child behind it; there is room for one.
 */
static bool split(struct tree_node *parent, uint32_t i)
{
	struct tree_node *lower = parent->child[i], *upper = malloc(sizeof(*upper));
	uint32_t half = lower->count / 2;

	if (!upper)
		return false;
	upper->count = lower->count - half;
	move(upper, 0, lower, half, upper->count);
	lower->count = half;
	open_gap(parent, i + 1);
	parent->start[i + 1] = upper->start[0];
	parent->id[i + 1] = upper->id[0];
	parent->end[i + 1] = largest_end(upper);
	parent->child[i + 1] = upper;
	parent->end[i] = largest_end(lower);
	return true;
}

static bool grow(struct range_tree *t)
{
	struct tree_node *root = malloc(sizeof(*root));

	assert(t->height < HEIGHT_MAX);
	if (!root)
		return false;
	root->count = 1;
	root->start[0] = t->root->start[0];
	root->id[0] = t->root->id[0];
	root->end[0] = largest_end(t->root);
	root->child[0] = t->root;
	if (!split(root, 0)) {
		free(root);
		return false;
	}
	t->root = root;
	t->height++;
	return true;
}

/* Splits what is full on its way down, so that there is room for what is split below. */
static bool tree_insert(struct range_tree *t, struct range_node *n)
{
	uint64_t *ends[HEIGHT_MAX];
	struct tree_node *at;
	uint32_t i;

	if (t->root->count == FANOUT && !grow(t))
		return false;
	at = t->root;
	for (uint32_t level = t->height; level > 1; level--) {
		i = child_of(at, n->start, n->id);
		if (at->child[i]->count == FANOUT) {
			if (!split(at, i))
				return false;
			i = child_of(at, n->start, n->id);
		}
		ends[level - 1] = &at->end[i];
		at = at->child[i];
	}
	for (uint32_t level = t->height; level > 1; level--)
		if (*ends[level - 1] < n->end)
			*ends[level - 1] = n->end;
	i = entries_up_to(at, n->start, n->id);
	open_gap(at, i);
	at->start[i] = n->start;
	at->id[i] = n->id;
	at->end[i] = n->end;
	at->item[i] = n;
	return true;
}

/* Of what is in the list, as much as there is memory for. */
static void list_to_tree(struct range_tree *t, uint32_t count)
{
	struct range_node *n;

	if (!t->root) {
		t->root = malloc(sizeof(*t->root));
		if (!t->root)
			return;
		t->root->count = 0;
		t->height = 1;
	}
	while (count-- > 0 && (n = t->list) && tree_insert(t, n))
		(void)list_remove(t, n);
}

void range_tree_insert(struct range_tree *t, struct range_node *n)
{
	assert(n->start < n->end && n->id != 0);
	n->next = NULL;
	t->end = n->end > t->end ? n->end : t->end;
	if (t->root && tree_insert(t, n)) {
		if (t->list)
			list_to_tree(t, LIST_STEP_MAX);
		return;
	}
	list_insert(t, n);
	if (!t->root && t->listed > LIST_MAX)
		list_to_tree(t, t->listed);
}

/* ---- removal --------------------------------------------------------------------------------- */

/* Child `i + 1` goes into child `i`. The key of its first entry is what divided the two. */
static void join(struct tree_node *parent, uint32_t i, bool leaves)
{
	struct tree_node *lower = parent->child[i], *upper = parent->child[i + 1];

	if (!leaves) {
		upper->start[0] = parent->start[i + 1];
		upper->id[0] = parent->id[i + 1];
	}
	move(lower, lower->count, upper, 0, upper->count);
	lower->count += upper->count;
	if (parent->end[i] < parent->end[i + 1])
		parent->end[i] = parent->end[i + 1];
	free(upper);
	close_gap(parent, i + 1);
}

/* Child `i` has lost something that ended at `end`. */
static void tidy(struct tree_node *parent, uint32_t i, uint64_t end, bool leaves)
{
	struct tree_node *child = parent->child[i];

	if (child->count == 0) {
		free(child);
		close_gap(parent, i);
		return;
	}
	if (parent->end[i] == end) /* else it is another's */
		parent->end[i] = largest_end(child);
	if (child->count > JOIN / 2) /* siblings are not looked at without need: they are cold */
		return;
	if (i > 0 && parent->child[i - 1]->count + child->count <= JOIN)
		join(parent, i - 1, leaves);
	else if (i + 1 < parent->count && child->count + parent->child[i + 1]->count <= JOIN)
		join(parent, i, leaves);
}

static void take(struct tree_node *at, uint32_t level, const struct range_node *n)
{
	uint32_t i;

	if (level > 1) {
		i = child_of(at, n->start, n->id);
		take(at->child[i], level - 1, n);
		tidy(at, i, n->end, level == 2);
	} else {
		i = entries_up_to(at, n->start, n->id);
		assert(i > 0 && at->item[i - 1] == n && at->end[i - 1] == n->end);
		close_gap(at, i - 1);
	}
}

static void tree_to_list(struct range_tree *t)
{
	struct tree_node *leaf = t->root;

	for (uint32_t i = 0; i < leaf->count; i++)
		list_insert(t, leaf->item[i]);
	free(leaf);
	t->root = NULL;
	t->height = 0;
}

static uint64_t end_of_all(const struct range_tree *t)
{
	uint64_t end = t->root ? largest_end(t->root) : 0;

	for (const struct range_node *n = t->list; n; n = n->next)
		end = n->end > end ? n->end : end;
	return end;
}

static void unlink_node(struct range_tree *t, struct range_node *n)
{
	if (t->list && list_remove(t, n))
		return;
	assert(t->root);
	take(t->root, t->height, n);
	while (t->height > 1 && t->root->count == 1) {
		struct tree_node *root = t->root;

		t->root = root->child[0];
		t->height--;
		free(root);
	}
	if (t->height == 1 && t->root->count <= LEAF_MIN)
		tree_to_list(t);
}

void range_tree_remove(struct range_tree *t, struct range_node *n)
{
	uint64_t end = n->end;

	unlink_node(t, n);
	if (end == t->end) /* else it is another's */
		t->end = end_of_all(t);
}

/* ---- search ---------------------------------------------------------------------------------- */

/*
 * A child is only entered where some end lies past `start`. Then either an overlap is found there,
 * or what was found starts at or past `end`, and so does everything behind it: one way down along
 * the key's boundary and one more, O(log n).
 */
static struct range_node *tree_after(const struct tree_node *at, uint32_t level, uint64_t start,
	uint64_t end, uint64_t after_start, uint64_t after_id)
{
	uint32_t i;

	if (level == 1) {
		i = entries_up_to(at, after_start, after_id);
		for (; i < at->count && at->start[i] < end; i++)
			if (at->end[i] > start)
				return at->item[i];
		return NULL;
	}
	for (i = child_of(at, after_start, after_id); i < at->count; i++) {
		struct range_node *found = NULL;

		if (i > 0 && at->start[i] >= end)
			return NULL;
		if (at->end[i] <= start)
			continue;
		found = tree_after(at->child[i], level - 1, start, end, after_start, after_id);
		if (found)
			return found;
	}
	return NULL;
}

struct range_node *range_tree_after(const struct range_tree *t, uint64_t start, uint64_t end,
	uint64_t after_start, uint64_t after_id)
{
	struct range_node *listed, *found = NULL;

	assert(start < end);
	if (t->end <= start)
		return NULL;
	listed = list_after(t, start, end, after_start, after_id);
	if (t->root)
		found = tree_after(t->root, t->height, start, end, after_start, after_id);
	if (!listed || !found)
		return listed ? listed : found;
	return before(listed->start, listed->id, found->start, found->id) ? listed : found;
}

/* ---- the whole ------------------------------------------------------------------------------- */

static void free_node(struct tree_node *n, uint32_t level)
{
	for (uint32_t i = 0; i < n->count && level > 1; i++)
		free_node(n->child[i], level - 1);
	free(n);
}

void range_tree_free(struct range_tree *t)
{
	if (t->root)
		free_node(t->root, t->height);
	*t = (struct range_tree){0};
}

/* The last key that was seen. */
struct place {
	uint64_t start, id;
};

static uint64_t check_leaf(const struct tree_node *leaf, struct place *last)
{
	for (uint32_t i = 0; i < leaf->count; i++) {
		const struct range_node *n = leaf->item[i];

		assert(n->start == leaf->start[i] && n->id == leaf->id[i] &&
			n->end == leaf->end[i]);
		assert(n->start < n->end && before(last->start, last->id, n->start, n->id));
		*last = (struct place){n->start, n->id};
	}
	return leaf->count;
}

static uint64_t check(const struct tree_node *at, uint32_t level, struct place *last)
{
	uint64_t count = 0;

	assert(at->count > 0 && at->count <= FANOUT);
	if (level == 1)
		return check_leaf(at, last);
	for (uint32_t i = 0; i < at->count; i++) {
		if (i > 0) { /* as if the one before the key had been seen */
			assert(before(last->start, last->id, at->start[i], at->id[i]));
			*last = (struct place){at->start[i], at->id[i] - 1};
		}
		count += check(at->child[i], level - 1, last);
		assert(at->end[i] == largest_end(at->child[i]));
	}
	return count;
}

uint64_t range_tree_check(const struct range_tree *t)
{
	struct place last = {0, 0};
	uint64_t count = 0;

	for (const struct range_node *n = t->list; n; n = n->next) {
		assert(n->start < n->end && before(last.start, last.id, n->start, n->id));
		last = (struct place){n->start, n->id};
		count++;
	}
	assert(count == t->listed && t->end == end_of_all(t));
	if (!t->root)
		return count;
	assert(t->height > 0 && (t->height == 1 || t->root->count > 1));
	last = (struct place){0, 0};
	return count + check(t->root, t->height, &last);
}
