// SPDX-License-Identifier: BSD-2-Clause
/*
 * verify_tree.c - one tree of an inode or of the pool: claims its nodes, reports its damage.
 */
#include <errno.h>

#include "verify_impl.h"

struct walk {
	struct verify *v;
	uint64_t ino;
	const char *what;
	const char *remedy;
	int (*item)(void *context, const struct btree_item *item);
	void *context;
	bool damaged;
	bool repair;
};

static void on_bad(void *context, uint64_t offset, const char *why)
{
	struct walk *w = context;
	struct verify *v = w->v;

	w->damaged = true;
	v->tree_damage = true;
	if (w->ino == 0)
		w->repair |= verify_found(v, 0, w->remedy, "the %s: the node at byte %llu: %s",
			w->what, (unsigned long long)offset, why);
	else
		w->repair |= verify_found(v, w->ino, w->remedy,
			"inode %llu%s: the node at byte %llu of its %s: %s",
			(unsigned long long)w->ino, verify_path(v, w->ino).text,
			(unsigned long long)offset, w->what, why);
}

/* Nodes that cannot be read, or are another tree's, are not claimed: on_bad() hears of them next.
 */
static int on_block(void *context, uint64_t offset, uint16_t level)
{
	struct walk *w = context;
	struct core *c = w->v->core;
	const struct media_node *node;
	const void *view;

	(void)level;
	if (tx_view(c->meta, NULL, offset, MAGIC_NODE, &view) < 0)
		return 0;
	node = view;
	if (node->owner != w->ino)
		return 0;
	uint64_t unit = space_offset_unit(c->heap, offset);
	if (unit >= w->v->heap.bits)
		return 0;
	if (bitset_take(&w->v->heap, unit, 1) == 0) {
		w->v->report->meta_blocks++;
		return 0;
	}
	on_bad(w, offset, "is in use elsewhere too");
	return BTREE_SKIP;
}

static int on_item(void *context, const struct btree_item *item)
{
	struct walk *w = context;

	return w->item(w->context, item);
}

int verify_tree(struct verify *v, uint64_t ino, const struct media_root *root, const char *what,
	const char *remedy, int (*item)(void *context, const struct btree_item *item),
	void *context, bool *damaged, bool *repair)
{
	struct walk w = {.v = v,
		.ino = ino,
		.what = what,
		.remedy = remedy,
		.item = item,
		.context = context};
	const struct btree_visitor visitor = {
		.context = &w,
		.block = on_block,
		.item = item ? on_item : NULL,
		.bad = on_bad,
	};
	const struct btree tree = {.meta = v->core->meta, .heap = v->core->heap, .owner = ino};
	int r = btree_check(&tree, root, &visitor);

	if (r == -EUCLEAN && !w.damaged)
		on_bad(&w, root->root, "is damaged");
	*damaged = w.damaged;
	*repair = w.repair;
	return r == -EUCLEAN || r == BTREE_SKIP ? 0 : r;
}
