// SPDX-License-Identifier: BSD-2-Clause
/*
 * btree_check.c - verifying a whole B+tree. See btree.h.
 *
 * Depth first with a stack of one frame a level. Levels fall by one a step, so that no pointer can
 * lead the walk in a circle; a visitor that remembers nodes ends it where two pointers meet.
 */
#include "btree.h"

#include <errno.h>

#include "btree_node.h"

struct frame {
	const struct media_node *node;
	uint64_t offset;
	uint64_t lower, upper; /* keys are >= lower, and < upper if has_upper */
	bool has_upper;
	unsigned next; /* child to look at next */
};

struct check {
	const struct btree *tree;
	const struct btree_visitor *visitor;
	bool damaged;
	struct frame frames[BTREE_HEIGHT_MAX]; /* by level */
};

static void check_bad(struct check *k, uint64_t offset, const char *why)
{
	k->damaged = true;
	if (k->visitor->bad)
		k->visitor->bad(k->visitor->context, offset, why);
}

static const char *node_faults(
	const struct check *k, const struct frame *f, unsigned level, bool is_root)
{
	const struct media_node *n = f->node;
	const char *why;
	unsigned first = level ? 1 : 0; /* an inner node's first key means minus infinity */

	if (n->owner != k->tree->owner)
		return "belongs to another inode's tree";
	if (n->level != level)
		return "is of another level than its place in the tree";
	why = node_check(n);
	if (why)
		return why;
	if (n->count == 0)
		return "is empty";
	if (is_root && level && n->count < 2)
		return "is an inner root with a single child";
	if (n->count > first && n->slots[first].key < f->lower)
		return "has a key below its range";
	if (n->count > first && f->has_upper && n->slots[n->count - 1].key >= f->upper)
		return "has a key above its range";
	return NULL;
}

/* Looks at the node of a frame that has its offset and bounds. 1: do not go below it. */
static int check_enter(struct check *k, unsigned level, bool is_root)
{
	const struct btree_visitor *v = k->visitor;
	struct frame *f = &k->frames[level];
	const void *view;
	const char *why;
	int r = v->block ? v->block(v->context, f->offset, (uint16_t)level) : 0;

	if (r)
		return r;
	r = tx_view(k->tree->meta, NULL, f->offset, MAGIC_NODE, &view);
	if (r && r != -EUCLEAN && r != -ENXIO)
		return r;
	if (r) {
		check_bad(k, f->offset,
			r == -ENXIO ? "lies where no node can be" : "fails its checksum");
		return BTREE_SKIP;
	}
	f->node = view;
	f->next = 0;
	why = node_faults(k, f, level, is_root);
	if (why) {
		check_bad(k, f->offset, why);
		return BTREE_SKIP;
	}
	return 0;
}

static int check_leaf(struct check *k)
{
	const struct btree_visitor *v = k->visitor;
	const struct media_node *n = k->frames[0].node;
	int r = 0;

	for (unsigned i = 0; r == 0 && v->item && i < n->count; i++) {
		struct btree_item item;

		r = node_item(n, i, &item);
		if (r == 0)
			r = v->item(v->context, &item);
	}
	return r;
}

/* Prepares the frame below `level` for its next child. False: there is none. */
static int check_next(struct check *k, unsigned level, bool *more)
{
	struct frame *f = &k->frames[level], *below = &k->frames[level - 1];
	unsigned i = f->next++;

	*more = i < f->node->count;
	if (!*more)
		return 0;
	below->lower = i ? f->node->slots[i].key : f->lower;
	below->has_upper = i + 1 < f->node->count || f->has_upper;
	below->upper = i + 1 < f->node->count ? f->node->slots[i + 1].key : f->upper;
	return node_child(f->node, i, &below->offset);
}

int btree_check(
	const struct btree *t, const struct media_root *root, const struct btree_visitor *visitor)
{
	struct check k = {.tree = t, .visitor = visitor};
	unsigned level;
	int r;

	if (root->height > BTREE_HEIGHT_MAX || (root->height == 0) != (root->root == 0)) {
		check_bad(&k, root->root, "is a root of an impossible height");
		return -EUCLEAN;
	}
	if (root->height == 0)
		return 0;
	level = root->height - 1;
	k.frames[level].offset = root->root;
	r = check_enter(&k, level, true);
	if (r)
		return r != BTREE_SKIP ? r : k.damaged ? -EUCLEAN : 0;
	for (;;) {
		bool more = false;

		if (level == 0)
			r = check_leaf(&k);
		else
			r = check_next(&k, level, &more);
		if (r == 0 && more) {
			r = check_enter(&k, level - 1, false);
			if (r == 0)
				level--;
			else if (r == BTREE_SKIP)
				r = 0;
		} else if (r == 0 && ++level == root->height) {
			return k.damaged ? -EUCLEAN : 0;
		}
		if (r)
			return r;
	}
}
