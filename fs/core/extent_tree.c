// SPDX-License-Identifier: BSD-2-Clause
/*
 * extent_tree.c - the two forms of an extent map: inline in the record, and a tree.
 *
 * The only place that knows media_extent and media_run. Tree values have a fixed size, so that a
 * change of length or state is a replacement in place.
 */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "btree.h"
#include "extent_map.h"
#include "pool.h"

static int decode(
	struct core *c, uint64_t file_block, const struct media_run *run, struct extent *out)
{
	uint64_t blocks = run->blocks_state & ~EXTENT_UNWRITTEN;
	struct data_region *dr = tables_region(c, run->region);
	uint64_t limit;

	if (!dr || blocks == 0 || file_block >= FILE_BLOCKS_MAX ||
		blocks > FILE_BLOCKS_MAX - file_block)
		return -EUCLEAN;
	limit = dr->media.bytes >> BLOCK_SHIFT;
	if (run->region_block >= limit || blocks > limit - run->region_block)
		return -EUCLEAN;
	*out = (struct extent){
		.file_block = file_block,
		.region_block = run->region_block,
		.blocks = blocks,
		.region = run->region,
		.unwritten = run->blocks_state & EXTENT_UNWRITTEN,
	};
	return 0;
}

static int decode_inline(struct core *c, const struct media_extent *e, struct extent *out)
{
	const struct media_run run = {
		.region_block = e->region_block,
		.region = e->region,
		.blocks_state = e->blocks_state,
	};

	return decode(c, e->file_block, &run, out);
}

static int decode_item(struct core *c, const struct btree_item *item, struct extent *out)
{
	struct media_run run;

	if (item->bytes != sizeof(run))
		return -EUCLEAN;
	memcpy(&run, item->value, sizeof(run));
	return decode(c, item->key, &run, out);
}

static uint32_t blocks_state(const struct extent *e)
{
	assert(e->blocks > 0 && e->blocks <= EXTENT_BLOCKS_MAX);
	return (uint32_t)e->blocks | (e->unwritten ? EXTENT_UNWRITTEN : 0);
}

static struct media_run to_run(const struct extent *e)
{
	return (struct media_run){
		.region_block = e->region_block,
		.region = e->region,
		.blocks_state = blocks_state(e),
	};
}

static struct media_extent to_inline(const struct extent *e)
{
	return (struct media_extent){
		.file_block = e->file_block,
		.region_block = e->region_block,
		.region = e->region,
		.blocks_state = blocks_state(e),
	};
}

/* How many inline extents begin before `block`. */
static unsigned inline_before(const struct media_inode *record, uint64_t block)
{
	unsigned i = 0;

	while (i < record->payload_count && record->extents[i].file_block < block)
		i++;
	return i;
}

static bool is_tree(const struct media_inode *record)
{
	assert(record->payload == PAYLOAD_TREE ||
		(record->payload == PAYLOAD_INLINE && record->payload_count <= INODE_EXTENTS));
	return record->payload == PAYLOAD_TREE;
}

int extent_map_le(struct core *c, struct tx *tx, const struct inode *ip,
	const struct media_inode *record, uint64_t block, struct extent *out)
{
	struct btree tree = inode_tree(c, ip);
	struct btree_item item;
	int error;

	if (!is_tree(record)) {
		unsigned i = inline_before(record, block + 1);

		return i == 0 ? -ENOENT : decode_inline(c, &record->extents[i - 1], out);
	}
	error = btree_find_le(&tree, tx, &record->tree, block, &item);
	return error ? error : decode_item(c, &item, out);
}

int extent_map_ge(struct core *c, struct tx *tx, const struct inode *ip,
	const struct media_inode *record, uint64_t block, struct extent *out)
{
	struct btree tree = inode_tree(c, ip);
	struct btree_item item;
	int error;

	if (!is_tree(record)) {
		unsigned i = inline_before(record, block);

		return i == record->payload_count ? -ENOENT
						  : decode_inline(c, &record->extents[i], out);
	}
	error = btree_find_ge(&tree, tx, &record->tree, block, &item);
	return error ? error : decode_item(c, &item, out);
}

static int tree_insert(struct core *c, struct tx *tx, const struct inode *ip,
	struct media_root *root, const struct extent *e)
{
	struct btree tree = inode_tree(c, ip);
	struct media_run run = to_run(e);
	int error = btree_insert(&tree, tx, root, e->file_block, &run, sizeof(run));

	return error == -EEXIST ? -EUCLEAN : error;
}

/* The root is built beside the extents that it replaces: both stand in the same bytes. */
static int move_to_tree(
	struct core *c, struct tx *tx, const struct inode *ip, struct media_inode *record)
{
	struct media_root root = {0};

	for (unsigned i = 0; i < record->payload_count; i++) {
		struct extent e;
		int error = decode_inline(c, &record->extents[i], &e);

		if (!error)
			error = tree_insert(c, tx, ip, &root, &e);
		if (error)
			return error;
	}
	memset(record->bytes, 0, sizeof(record->bytes));
	record->payload = PAYLOAD_TREE;
	record->payload_count = 0;
	record->tree = root;
	return 0;
}

int extent_map_add(struct core *c, struct tx *tx, const struct inode *ip,
	struct media_inode *record, const struct extent *extent)
{
	if (!is_tree(record) && record->payload_count < INODE_EXTENTS) {
		unsigned at = inline_before(record, extent->file_block);

		memmove(&record->extents[at + 1], &record->extents[at],
			(record->payload_count - at) * sizeof(record->extents[0]));
		record->extents[at] = to_inline(extent);
		record->payload_count++;
		return 0;
	}
	if (!is_tree(record)) {
		int error = move_to_tree(c, tx, ip, record);

		if (error)
			return error;
	}
	return tree_insert(c, tx, ip, &record->tree, extent);
}

int extent_map_set(struct core *c, struct tx *tx, const struct inode *ip,
	struct media_inode *record, uint64_t old, const struct extent *extent)
{
	struct btree tree = inode_tree(c, ip);
	struct media_run run = to_run(extent);
	int error;

	if (!is_tree(record)) {
		unsigned at = inline_before(record, old);

		if (at >= record->payload_count || record->extents[at].file_block != old)
			return -EUCLEAN; /* they are not sorted */
		record->extents[at] = to_inline(extent);
		return 0;
	}
	if (extent->file_block == old) {
		error = btree_replace(&tree, tx, &record->tree, old, &run, sizeof(run));
	} else {
		error = btree_delete(&tree, tx, &record->tree, old);
		if (!error)
			error = tree_insert(c, tx, ip, &record->tree, extent);
	}
	return error == -ENOENT ? -EUCLEAN : error;
}

int extent_map_delete(struct core *c, struct tx *tx, const struct inode *ip,
	struct media_inode *record, uint64_t block)
{
	struct btree tree = inode_tree(c, ip);
	int error;

	if (!is_tree(record)) {
		unsigned at = inline_before(record, block);
		unsigned after = record->payload_count - at - 1u;

		if (at >= record->payload_count || record->extents[at].file_block != block)
			return -EUCLEAN;
		memmove(&record->extents[at], &record->extents[at + 1],
			after * sizeof(record->extents[0]));
		record->payload_count--;
		memset(&record->extents[record->payload_count], 0, sizeof(record->extents[0]));
		return 0;
	}
	error = btree_delete(&tree, tx, &record->tree, block);
	if (error)
		return error == -ENOENT ? -EUCLEAN : error;
	if (record->tree.height == 0) {
		memset(record->bytes, 0, sizeof(record->bytes));
		record->payload = PAYLOAD_INLINE;
		record->payload_count = 0;
	}
	return 0;
}

struct walk {
	struct core *c;
	int (*visit)(void *context, const struct extent *extent);
	void *context;
};

static int walk_item(void *context, const struct btree_item *item)
{
	struct walk *w = context;
	struct extent e;
	int error = decode_item(w->c, item, &e);

	return error ? error : w->visit(w->context, &e);
}

int extent_map_walk(struct core *c, const struct inode *ip, const struct media_inode *record,
	uint64_t from, int (*visit)(void *context, const struct extent *extent), void *context)
{
	struct btree tree = inode_tree(c, ip);
	struct walk w = {.c = c, .visit = visit, .context = context};

	if (is_tree(record))
		return btree_walk(&tree, NULL, &record->tree, from, walk_item, &w);
	for (unsigned i = inline_before(record, from); i < record->payload_count; i++) {
		struct extent e;
		int error = decode_inline(c, &record->extents[i], &e);

		if (!error)
			error = visit(context, &e);
		if (error)
			return error;
	}
	return 0;
}
