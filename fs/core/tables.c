// SPDX-License-Identifier: BSD-2-Clause
/*
 * tables.c - the two trees of media_roots: which groups the spaces have, and which data regions
 * there are.
 *
 * Inode groups are added when the last number is taken. A data region comes with all its groups:
 * made by mkfs, or (domains=uid) when the first file of an owner gets its first block.
 *
 * Invariants
 *  1. A region is in the region tree only after all its groups are in the space tree. What a crash
 *     leaves before that - groups of a region that is not there, a file data.N - is taken up by the
 *     next attempt; those bitmaps are empty, since nothing was ever handed out of them.
 *  2. Groups of a space are numbered from 0 without gaps.
 *  3. regions[i], once set, stays until tables_close(); it is published with release order.
 *
 * Lock: tables_lock guards the trees and the making of regions; space and journal locks are taken
 * under it.
 */
#include "pool.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "btree.h"

/* Bitmaps made by one transaction: each is a shadow, and the tree's nodes need room as well. */
#define GROUPS_PER_TX 32u

struct btree tables_tree(struct core *c)
{
	return (struct btree){.meta = c->meta, .heap = c->heap, .owner = 0};
}

struct data_region *tables_region(struct core *c, uint32_t number)
{
	if (number >= CORE_REGIONS_MAX)
		return NULL;
	return atomic_load_explicit(&c->regions[number], memory_order_acquire);
}

static void publish_region(struct core *c, struct data_region *r)
{
	uint32_t count = atomic_load_explicit(&c->region_count, memory_order_relaxed);

	atomic_store_explicit(&c->regions[r->number], r, memory_order_release);
	if (r->number >= count)
		atomic_store_explicit(&c->region_count, r->number + 1, memory_order_release);
}

static void close_region(struct data_region *r)
{
	if (!r)
		return;
	if (r->space)
		space_close(r->space);
	region_close(r->region);
	free(r);
}

void tables_close(struct core *c)
{
	for (uint32_t i = 0; i < CORE_REGIONS_MAX; i++) {
		close_region(atomic_load_explicit(&c->regions[i], memory_order_relaxed));
		atomic_store_explicit(&c->regions[i], NULL, memory_order_relaxed);
	}
	atomic_store_explicit(&c->region_count, 0, memory_order_relaxed);
}

static uint32_t data_groups(const struct media_region *media)
{
	return (uint32_t)((media->bytes / BLOCK_SIZE + GROUP_BITS - 1) / GROUP_BITS);
}

static uint32_t data_group_units(const struct media_region *media, uint32_t group)
{
	uint64_t left = media->bytes / BLOCK_SIZE - (uint64_t)group * GROUP_BITS;

	return left < GROUP_BITS ? (uint32_t)left : GROUP_BITS;
}

/* A data_region around an open region; takes it over in any case. */
static int make_region(struct core *c, uint32_t number, const struct media_region *media,
	const char *external, struct region *region, struct data_region **out)
{
	struct data_region *r = calloc(1, sizeof(*r));
	int n, error = -ENOMEM;

	if (!r) {
		region_close(region);
		return error;
	}
	r->number = number;
	r->media = *media;
	r->region = region;
	if (external)
		n = snprintf(r->path, sizeof(r->path), "%s", external);
	else
		n = snprintf(r->path, sizeof(r->path), "%s/data.%u", c->path, number);
	if (n < 0 || (size_t)n >= sizeof(r->path)) {
		error = -ENAMETOOLONG;
		goto fail;
	}
	const struct space_config config = {
		.meta = c->meta,
		.id = SPACE_REGION(number),
		.backing = region,
		.unit_bytes = BLOCK_SIZE,
		.align_units = 1u << (media->alignment_shift - BLOCK_SHIFT),
	};
	error = space_open(&config, &r->space);
	if (error)
		goto fail;
	*out = r;
	return 0;
fail:
	close_region(r);
	return error;
}

/* ---- loading --------------------------------------------------------------------------------- */

struct load {
	struct core *c;
	struct diag *d;
};

static const char *region_value_fault(struct core *c, const struct btree_item *item)
{
	struct media_region m;
	const char *path = (const char *)item->value + sizeof(m);

	if (item->key >= CORE_REGIONS_MAX || item->bytes < sizeof(m))
		return "number or length";
	memcpy(&m, item->value, sizeof(m));
	if (m.alignment_shift != BLOCK_SHIFT && m.alignment_shift != HUGE_SHIFT)
		return "alignment";
	if (m.bytes == 0 || m.bytes > c->super.pool_bytes || m.bytes % BLOCK_SIZE ||
		m.bytes & ((1ull << m.alignment_shift) - 1))
		return "size";
	if (m.path_bytes > REGION_PATH_MAX || m.path_bytes != item->bytes - sizeof(m))
		return "path length";
	if (m.kind == REGION_KIND_POOL && m.path_bytes == 0)
		return NULL;
	if (m.kind != REGION_KIND_EXTERNAL || m.path_bytes == 0 || path[0] != '/' ||
		memchr(path, '\0', m.path_bytes))
		return "path";
	return NULL;
}

/*
 * An owner has the right to cut or stretch the file of their region (region_fault.c). That costs
 * them what was in it; it must not keep everybody else's files from being mounted.
 */
static void restore_size(struct core *c, const char *name, const struct media_region *media)
{
	struct stat st;
	int fd;

	if (c->super.domains != DOMAINS_UID || media->kind != REGION_KIND_POOL ||
		c->options.read_only)
		return;
	fd = openat(c->dir_fd, name, O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return; /* region_open() has the sentence for that */
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_uid == media->owner_uid &&
		(uint64_t)st.st_size != media->bytes && ftruncate(fd, (off_t)media->bytes))
		errno = 0; /* and for this */
	close(fd);
}

static int load_region(void *context, const struct btree_item *item)
{
	struct load *load = context;
	struct core *c = load->c;
	char name[32], external[REGION_PATH_MAX + 1];
	struct media_region media;
	struct region_options options = {
		.dir_fd = c->dir_fd,
		.path = name,
		.flags = c->options.read_only ? REGION_READ_ONLY : 0,
		.durability = c->options.durability,
	};
	struct region *region;
	struct data_region *r;
	int error;

	const char *fault = region_value_fault(c, item);
	if (fault)
		return diag_set(load->d, -EUCLEAN,
			"entry %" PRIu64
			" of the region table makes no sense (%s): run fsck.leasefs",
			item->key, fault);
	memcpy(&media, item->value, sizeof(media));
	memcpy(external, (const char *)item->value + sizeof(media), media.path_bytes);
	external[media.path_bytes] = '\0';
	snprintf(name, sizeof(name), "data.%u", (unsigned)item->key);
	if (media.kind == REGION_KIND_EXTERNAL)
		options.path = external;
	options.bytes = media.bytes;
	restore_size(c, name, &media);
	error = region_open(&options, &region, load->d);
	if (error)
		return error;
	if (region_alignment(region) > 1ull << media.alignment_shift) {
		region_close(region);
		return diag_set(load->d, -EINVAL,
			"%s is now on media that map in units of 2 MiB; the pool was made for 4 "
			"KiB",
			options.path);
	}
	error = make_region(c, (uint32_t)item->key, &media,
		media.kind == REGION_KIND_EXTERNAL ? external : NULL, region, &r);
	if (error)
		return diag_set(load->d, error, "%s: %s", options.path, strerror(-error));
	publish_region(c, r);
	return 0;
}

static bool heap_holds(const struct core *c, uint64_t offset, uint64_t blocks)
{
	const struct media_super *s = &c->super;

	if (offset % BLOCK_SIZE || offset < s->heap_offset)
		return false;
	uint64_t first = (offset - s->heap_offset) / BLOCK_SIZE;
	return first < s->heap_blocks && blocks <= s->heap_blocks - first &&
	       first % GROUP_BITS != 0;
}

static int load_group(void *context, const struct btree_item *item)
{
	struct load *load = context;
	struct core *c = load->c;
	uint64_t id = item->key >> 32;
	uint32_t group = (uint32_t)item->key, units = 0;
	struct space *space = NULL;
	struct media_group g;
	bool sane;

	if (id == SPACE_INODES) {
		space = c->inodes;
		units = INODES_PER_GROUP;
	} else if (id >= SPACE_REGION(0)) {
		struct data_region *r = tables_region(c, (uint32_t)(id - SPACE_REGION(0)));

		if (!r)
			return 0; /* invariant 1 */
		space = r->space;
		if (group < data_groups(&r->media))
			units = data_group_units(&r->media, group);
	}
	sane = space && item->bytes == sizeof(g) && group == space_groups(space);
	if (sane) {
		memcpy(&g, item->value, sizeof(g));
		sane = units != 0 && g.units == units && heap_holds(c, g.bitmap, 1) &&
		       (id == SPACE_INODES ? heap_holds(c, g.table, INODE_TABLE_BLOCKS)
					   : g.table == 0);
	}
	if (!sane)
		return diag_set(load->d, -EUCLEAN,
			"group %u of space %" PRIu64
			" makes no sense in the space table: run fsck.leasefs",
			group, id);
	int error = space_add_group(space, group, &g);
	return error ? diag_set(load->d, error, "out of memory") : 0;
}

static int check_loaded(struct core *c, struct diag *d)
{
	uint64_t used = 0, total = c->super.pool_bytes / BLOCK_SIZE;

	if (space_groups(c->inodes) == 0)
		return diag_set(d, -EUCLEAN, "the pool has no inode table: run fsck.leasefs");
	if (c->super.domains == DOMAINS_SINGLE && !tables_region(c, 0))
		return diag_set(d, -EUCLEAN, "the pool has no data region: run fsck.leasefs");
	for (uint32_t i = 0; i < c->region_count; i++) {
		struct data_region *r = tables_region(c, i);
		struct space_usage usage;

		if (!r)
			continue;
		if (space_groups(r->space) != data_groups(&r->media))
			return diag_set(d, -EUCLEAN,
				"region %u has %u of its %u groups: run fsck.leasefs", i,
				space_groups(r->space), data_groups(&r->media));
		if (c->super.domains != DOMAINS_UID)
			continue;
		space_get_usage(r->space, &usage);
		used += usage.total - usage.free - usage.pending;
	}
	atomic_store(&c->data_blocks_free, used < total ? total - used : 0);
	return 0;
}

int tables_load(struct core *c, struct diag *d)
{
	struct btree tree = tables_tree(c);
	struct load load = {.c = c, .d = d};
	const void *object;
	int error;

	error = tx_view(c->meta, NULL, c->roots, MAGIC_ROOTS, &object);
	if (error)
		return diag_set(d, error, "the root table is damaged: run fsck.leasefs");
	const struct media_roots *roots = object;
	error = btree_walk(&tree, NULL, &roots->regions, 0, load_region, &load);
	if (!error)
		error = btree_walk(&tree, NULL, &roots->spaces, 0, load_group, &load);
	if (error && d && !d->text[0])
		diag_set(d, error, "the space and region tables are damaged (%s): run fsck.leasefs",
			strerror(-error));
	return error ? error : check_loaded(c, d);
}

/* ---- growing --------------------------------------------------------------------------------- */

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

static int grow_inodes_locked(struct core *c, uint32_t group)
{
	struct media_group g = {.units = INODES_PER_GROUP};
	void *roots;
	struct tx *tx;
	int error;

	if (group > UINT32_MAX / INODES_PER_GROUP)
		return -ENOSPC;
	error = tx_begin(c->meta, &tx);
	if (error)
		return error;
	error = heap_take(c, tx, INODE_TABLE_BLOCKS, &g.table);
	if (!error)
		error = heap_take(c, tx, 1, &g.bitmap);
	if (!error)
		error = tx_edit(tx, c->roots, MAGIC_ROOTS, &roots);
	if (!error)
		error = enter_group(c, tx, roots, SPACE_INODES, group, &g);
	if (error) {
		tx_abort(tx);
		return error;
	}
	error = tx_commit(tx);
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

/* Up to GROUPS_PER_TX groups from *group on; those that a crash left behind are taken up. */
static int enter_some_groups(struct core *c, struct tx *tx, struct media_roots *roots,
	const struct data_region *r, uint32_t *group, struct media_group *groups)
{
	struct btree tree = tables_tree(c);
	uint32_t id = SPACE_REGION(r->number), total = data_groups(&r->media);
	uint32_t end = *group + GROUPS_PER_TX < total ? *group + GROUPS_PER_TX : total;
	int error;

	for (; *group < end; ++*group) {
		struct media_group *g = &groups[*group];
		struct btree_item item;

		*g = (struct media_group){.units = data_group_units(&r->media, *group)};
		error = btree_find(&tree, tx, &roots->spaces, (uint64_t)id << 32 | *group, &item);
		if (!error && item.bytes == sizeof(*g) &&
			((const struct media_group *)item.value)->units == g->units) {
			memcpy(g, item.value, sizeof(*g));
			continue;
		}
		if (error != -ENOENT)
			return error ? error : -EUCLEAN;
		error = heap_take(c, tx, 1, &g->bitmap);
		if (!error)
			error = enter_group(c, tx, roots, id, *group, g);
		if (error)
			return error;
	}
	return 0;
}

static int enter_region(
	struct core *c, struct tx *tx, struct media_roots *roots, const struct data_region *r)
{
	struct btree tree = tables_tree(c);
	uint8_t value[BTREE_VALUE_MAX];

	memcpy(value, &r->media, sizeof(r->media));
	memcpy(value + sizeof(r->media), r->path, r->media.path_bytes);
	return btree_insert(&tree, tx, &roots->regions, r->number, value,
		(uint16_t)(sizeof(r->media) + r->media.path_bytes));
}

static int enter_region_with_groups(
	struct core *c, const struct data_region *r, struct media_group *groups)
{
	uint32_t group = 0, total = data_groups(&r->media);
	int error = 0;

	while (!error) {
		struct tx *tx;
		void *roots;
		bool last;

		error = tx_begin(c->meta, &tx);
		if (error)
			return error;
		error = tx_edit(tx, c->roots, MAGIC_ROOTS, &roots);
		if (!error)
			error = enter_some_groups(c, tx, roots, r, &group, groups);
		last = group == total;
		if (!error && last)
			error = enter_region(c, tx, roots, r);
		if (error) {
			tx_abort(tx);
			return error;
		}
		error = tx_commit(tx);
		if (last)
			break;
	}
	return error;
}

int tables_add_region(struct core *c, uint32_t number, const struct media_region *media,
	const char *external, struct region *region)
{
	struct media_group *groups = NULL;
	struct data_region *r;
	int error;

	assert(number < CORE_REGIONS_MAX && !tables_region(c, number));
	assert(media->path_bytes == (external ? strlen(external) : 0));
	error = make_region(c, number, media, external, region, &r);
	if (error)
		return error;
	groups = calloc(data_groups(media), sizeof(*groups));
	error = groups ? enter_region_with_groups(c, r, groups) : -ENOMEM;
	for (uint32_t g = 0; g < data_groups(media) && !error; g++)
		error = space_add_group(r->space, g, &groups[g]);
	free(groups);
	if (error) {
		close_region(r);
		return error;
	}
	publish_region(c, r);
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
		.flags = REGION_CREATE,
		.durability = c->options.durability,
	};
	int error = region_open(&options, out, NULL);

	if (error == -EEXIST) { /* invariant 1: not in the region tree, so nobody's */
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
