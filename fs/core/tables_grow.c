// SPDX-License-Identifier: BSD-2-Clause
/*
 * tables_grow.c - new inode groups, and new data regions with all their groups: made by mkfs, or
 * (domains=uid) when the first file of an owner gets its first block. The invariants stand in
 * tables.c.
 */
#include "tables_impl.h"
#include "tag.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Bitmaps made by one transaction: each is a shadow, and the tree's nodes need room as well. */
#define GROUPS_PER_TX 32u

/* ---- groups ---------------------------------------------------------------------------------- */

/* A new bitmap at `offset`, entered in the space tree. */
static int enter_group(struct core *c, struct tx *tx, struct media_roots *roots, uint32_t space,
	uint32_t group, const struct media_group *g)
{
	struct btree tree = tables_tree(c);
	uint64_t key = (uint64_t)space << 32 | group;
	void *object;
	int error;

	error = tx_create(tx, g->bitmap, MAGIC_GROUP, &object);
	if (error)
		return error;
	struct media_bitmap *bitmap = object;
	bitmap->space = space;
	bitmap->group = group;
	return btree_insert(&tree, tx, &roots->spaces, key, g, sizeof(*g));
}

static int heap_take(struct core *c, struct tx *tx, uint32_t blocks, uint64_t *offset)
{
	const struct space_request request = {
		.want = blocks, .goal = SPACE_ANYWHERE, .flags = SPACE_WHOLE};
	struct space_run run;
	int error = space_alloc(c->heap, tx, &request, &run);

	if (!error)
		*offset = space_unit_offset(c->heap, run.first);
	return error;
}

/* A group that is on media already, but was not taken up for want of memory. */
static int find_group(
	struct core *c, struct tx *tx, uint32_t space, uint32_t group, struct media_group *g)
{
	struct btree tree = tables_tree(c);
	uint64_t key = (uint64_t)space << 32 | group;
	struct btree_item item;
	const void *roots;
	int error;

	error = tx_view(c->meta, tx, c->roots, MAGIC_ROOTS, &roots);
	if (!error)
		error = btree_find(
			&tree, tx, &((const struct media_roots *)roots)->spaces, key, &item);
	if (error)
		return error;
	if (item.bytes != sizeof(*g) || ((const struct media_group *)item.value)->units != g->units)
		return -EUCLEAN;
	memcpy(g, item.value, sizeof(*g));
	return 0;
}

static int make_inode_group(struct core *c, uint32_t group, struct media_group *g)
{
	void *roots;
	struct tx *tx;
	int error;

	error = tx_begin(c->meta, &tx);
	if (error)
		return error;
	error = heap_take(c, tx, INODE_TABLE_BLOCKS, &g->table);
	if (!error)
		error = heap_take(c, tx, 1, &g->bitmap);
	if (!error)
		error = tx_edit(tx, c->roots, MAGIC_ROOTS, &roots);
	if (!error)
		error = enter_group(c, tx, roots, SPACE_INODES, group, g);
	if (error) {
		tx_abort(tx);
		return error;
	}
	return tx_commit(tx);
}

static int grow_inodes_locked(struct core *c, uint32_t group)
{
	struct media_group g = {.units = INODES_PER_GROUP};
	int error;

	if (group > UINT32_MAX / INODES_PER_GROUP)
		return -ENOSPC;
	error = find_group(c, NULL, SPACE_INODES, group, &g);
	if (error == -ENOENT)
		error = make_inode_group(c, group, &g);
	return error ? error : space_add_group(c->inodes, group, &g);
}

int tables_grow_inodes(struct core *c)
{
	uint32_t seen = space_groups(c->inodes);
	int error = 0;

	pthread_mutex_lock(&c->tables_lock);
	if (space_groups(c->inodes) == seen) /* else somebody was quicker */
		error = grow_inodes_locked(c, seen);
	pthread_mutex_unlock(&c->tables_lock);
	return error;
}

/* `count` groups from `first` on, one transaction; those that were made before are taken up. */
static int enter_groups(struct core *c, const struct data_region *r, uint32_t first, uint32_t count,
	struct media_group *groups)
{
	uint32_t id = SPACE_REGION(r->number);
	void *roots;
	struct tx *tx;
	int error;

	error = tx_begin(c->meta, &tx);
	if (error)
		return error;
	error = tx_edit(tx, c->roots, MAGIC_ROOTS, &roots);
	for (uint32_t i = 0; i < count && !error; i++) {
		struct media_group *g = &groups[i];

		*g = (struct media_group){.units = tables_group_units(&r->media, first + i)};
		error = find_group(c, tx, id, first + i, g);
		if (error != -ENOENT)
			continue;
		error = heap_take(c, tx, 1, &g->bitmap);
		if (!error)
			error = enter_group(c, tx, roots, id, first + i, g);
	}
	if (error) {
		tx_abort(tx);
		return error;
	}
	return tx_commit(tx);
}

static int enter_all_groups(struct core *c, const struct data_region *r)
{
	uint32_t total = tables_groups(&r->media);
	struct media_group groups[GROUPS_PER_TX];
	int error = 0;

	for (uint32_t first = 0; first < total && !error; first += GROUPS_PER_TX) {
		uint32_t left = total - first, count = left < GROUPS_PER_TX ? left : GROUPS_PER_TX;

		error = enter_groups(c, r, first, count, groups);
		for (uint32_t i = 0; i < count && !error; i++)
			error = space_add_group(r->space, first + i, &groups[i]);
		core_step(c, "writing data bitmaps", first, total);
	}
	return error;
}

/* The transaction by which the region is there. */
static int enter_region(struct core *c, const struct data_region *r)
{
	struct btree tree = tables_tree(c);
	uint8_t value[BTREE_VALUE_MAX];
	void *roots;
	struct tx *tx;
	int error;

	memcpy(value, &r->media, sizeof(r->media));
	memcpy(value + sizeof(r->media), r->path, r->media.path_bytes);
	error = tx_begin(c->meta, &tx);
	if (error)
		return error;
	error = tx_edit(tx, c->roots, MAGIC_ROOTS, &roots);
	if (!error)
		error = btree_insert(&tree, tx, &((struct media_roots *)roots)->regions, r->number,
			value, (uint16_t)(sizeof(r->media) + r->media.path_bytes));
	if (error) {
		tx_abort(tx);
		return error;
	}
	return tx_commit(tx);
}

int tables_add_region(struct core *c, uint32_t number, const struct media_region *media,
	const char *external, struct region *region)
{
	struct data_region *r;
	int error;

	assert(number < CORE_REGIONS_MAX && !tables_region(c, number));
	assert(media->path_bytes == (external ? strlen(external) : 0));
	error = tables_make_region(c, number, media, external, region, &r);
	if (error)
		return error;
	if (tag_room(&c->super, media))
		error = tag_write(c, r); /* what is in the table has one */
	if (!error)
		error = enter_all_groups(c, r);
	if (!error)
		error = enter_region(c, r); /* and nothing after it can fail */
	if (error) {
		tables_close_region(r);
		return error;
	}
	tables_publish(c, r);
	return 0;
}

/* ---- a region for an owner ------------------------------------------------------------------- */

static struct data_region *region_of(struct core *c, uint32_t uid)
{
	uint32_t count = atomic_load_explicit(&c->region_count, memory_order_acquire);

	if (c->super.domains == DOMAINS_SINGLE)
		return tables_region(c, 0);
	for (uint32_t i = 0; i < count; i++) {
		struct data_region *r = tables_region(c, i);

		if (r && r->media.owner_uid == uid)
			return r;
	}
	return NULL;
}

static int make_data_file(struct core *c, const char *name, uint32_t uid, struct region **out)
{
	const struct region_options options = {
		.dir_fd = c->dir_fd,
		.path = name,
		.bytes = c->super.pool_bytes,
		.mode = 0600,
		.flags = REGION_CREATE |
			 (c->super.incompat & FEATURE_INCOMPAT_TAGS ? REGION_TAIL : 0),
		.durability = c->options.durability,
	};
	int error = region_open(&options, out, NULL);

	/* Invariant 1: not in the region tree, so nobody's; unless this tree is an old copy. */
	if (error == -EEXIST && !tags_all_sound(c))
		return -EIO;
	if (error == -EEXIST) {
		if (unlinkat(c->dir_fd, name, 0) && errno != ENOENT)
			return -errno;
		error = region_open(&options, out, NULL);
	}
	if (error)
		return error;
	/* A daemon without the right to give files away keeps them: their owner then gets no
	 * leases, and nobody gets at anybody's data. */
	if (fchown(region_fd(*out), uid, (gid_t)-1) && errno != EPERM) {
		error = -errno;
		region_close(*out);
		unlinkat(c->dir_fd, name, 0);
		return error;
	}
	return 0;
}

static int make_region_for(struct core *c, uint32_t uid, struct data_region **out)
{
	uint32_t number = atomic_load_explicit(&c->region_count, memory_order_relaxed);
	struct media_region media = {
		.bytes = c->super.pool_bytes,
		.kind = REGION_KIND_POOL,
		.owner_uid = uid,
		.alignment_shift = BLOCK_SHIFT,
	};
	struct region *region;
	char name[32];
	int error;

	if (c->options.read_only)
		return -EROFS;
	if (number >= CORE_REGIONS_MAX)
		return -ENOSPC;
	if (getentropy(media.uuid, sizeof(media.uuid)))
		return -errno;
	snprintf(name, sizeof(name), "data.%u", number);
	error = make_data_file(c, name, uid, &region);
	if (error)
		return error;
	if (fsync(c->dir_fd)) { /* the name must be there before the table says so */
		error = -errno;
		region_close(region);
		return error;
	}
	error = tables_add_region(c, number, &media, NULL, region);
	if (error)
		return error;
	*out = tables_region(c, number);
	return 0;
}

int tables_region_for(struct core *c, uint32_t uid, struct data_region **out)
{
	struct data_region *r = region_of(c, uid);
	int error = 0;

	if (!r) {
		pthread_mutex_lock(&c->tables_lock);
		r = region_of(c, uid);
		if (!r)
			error = make_region_for(c, uid, &r);
		pthread_mutex_unlock(&c->tables_lock);
	}
	if (!error)
		*out = r;
	return error;
}

int core_budget_take(struct core *c, uint64_t blocks)
{
	uint64_t free;

	if (c->super.domains == DOMAINS_SINGLE)
		return 0;
	free = atomic_load_explicit(&c->data_blocks_free, memory_order_relaxed);
	do {
		if (free < blocks)
			return -ENOSPC;
	} while (!atomic_compare_exchange_weak_explicit(&c->data_blocks_free, &free, free - blocks,
		memory_order_relaxed, memory_order_relaxed));
	return 0;
}

void core_budget_give(struct core *c, uint64_t blocks)
{
	if (c->super.domains == DOMAINS_SINGLE)
		return;
	atomic_fetch_add_explicit(&c->data_blocks_free, blocks, memory_order_relaxed);
}
