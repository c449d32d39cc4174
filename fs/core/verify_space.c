// SPDX-License-Identifier: BSD-2-Clause
/*
 * verify_space.c - phase 2: the heap's fixed blocks, the trees of the space and region tables, and
 * what they say is taken: bitmaps and inode tables; and the tags of data regions.
 *
 * core_open() believes these tables and refuses a pool whose tables make no sense, so that their
 * entries are known to be sane here; what can still be found is two owners of one block.
 */
#include <errno.h>
#include <string.h>

#include "verify_impl.h"

static void claim_fixed(struct verify *v)
{
	struct core *c = v->core;

	for (uint32_t g = 0; g < heap_groups(&c->super); g++) {
		bitset_take(&v->heap, (uint64_t)g * GROUP_BITS, 1);
		v->report->meta_blocks++;
	}
	bitset_take(&v->heap, space_offset_unit(c->heap, c->roots), 1);
	v->report->meta_blocks++;
}

static void claim_heap(struct verify *v, uint64_t offset, uint64_t blocks, const char *what,
	uint64_t space, uint32_t g)
{
	uint64_t unit = space_offset_unit(v->core->heap, offset);

	v->report->meta_blocks += blocks;
	if (bitset_take(&v->heap, unit, blocks) > 0)
		verify_found(v, 0, NULL,
			"the %s of group %u of space %llu, at byte %llu, stands on blocks that are "
			"in "
			"use elsewhere too",
			what, g, (unsigned long long)space, (unsigned long long)offset);
}

static int on_group(void *context, const struct btree_item *item)
{
	struct verify *v = context;
	uint64_t space = item->key >> 32;
	uint32_t group = (uint32_t)item->key;
	struct media_group g;

	if (item->bytes != sizeof(g)) {
		verify_found(v, 0, NULL, "group %u of space %llu: an entry of %u bytes", group,
			(unsigned long long)space, item->bytes);
		return 0;
	}
	memcpy(&g, item->value, sizeof(g));
	if (space == SPACE_INODES)
		claim_heap(v, g.table, INODE_TABLE_BLOCKS, "inode table", space, group);
	claim_heap(v, g.bitmap, 1, "bitmap", space, group);
	return 0;
}

/* Whether a file is the pool's region nobody can tell but who is asked. */
static int check_tags(struct verify *v)
{
	int r = 0;

	for (uint32_t i = 0; r == 0 && i < v->region_count; i++) {
		const struct data_region *region = tables_region(v->core, i);

		if (!region || !region->tag_fault)
			continue;
		if (!v->core->options.accept_regions)
			verify_found_foreign(v, region->tag_fault);
		else if (verify_found(
				 v, 0, "given a new tag, as the pool's", "%s", region->tag_fault))
			r = verify_queue(v, &(struct repair){.kind = REPAIR_TAG, .a = i});
	}
	return r;
}

int verify_spaces(struct verify *v)
{
	struct core *c = v->core;
	const struct media_roots *roots;
	const void *view;
	bool damaged, repair;
	int r = tx_view(c->meta, NULL, c->roots, MAGIC_ROOTS, &view);

	claim_fixed(v);
	if (r == -EUCLEAN) {
		v->tree_damage = true;
		verify_found(v, 0, NULL, "the roots of the pool's tables are damaged");
		return 0;
	}
	if (r < 0)
		return r;
	roots = view;
	r = verify_tree(v, 0, &roots->spaces, "space table", NULL, on_group, v, &damaged, &repair);
	if (r == 0)
		r = verify_tree(
			v, 0, &roots->regions, "region table", NULL, NULL, NULL, &damaged, &repair);
	return r == 0 ? check_tags(v) : r;
}
