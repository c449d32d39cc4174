// SPDX-License-Identifier: BSD-2-Clause
/*
 * tables.c - the two trees of media_roots: which groups the spaces have, and which data regions
 * there are. Loaded here, with suspicion, when a pool is opened; tables_grow.c adds to them.
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
#include "tables_impl.h"
#include "tag.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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

void tables_publish(struct core *c, struct data_region *r)
{
	uint32_t count = atomic_load_explicit(&c->region_count, memory_order_relaxed);

	atomic_store_explicit(&c->regions[r->number], r, memory_order_release);
	if (r->number >= count)
		atomic_store_explicit(&c->region_count, r->number + 1, memory_order_release);
}

void tables_close_region(struct data_region *r)
{
	if (!r)
		return;
	if (r->space)
		space_close(r->space);
	region_close(r->region);
	free(r->tag_fault);
	free(r);
}

void tables_close(struct core *c)
{
	for (uint32_t i = 0; i < CORE_REGIONS_MAX; i++) {
		tables_close_region(atomic_load_explicit(&c->regions[i], memory_order_relaxed));
		atomic_store_explicit(&c->regions[i], NULL, memory_order_relaxed);
	}
	atomic_store_explicit(&c->region_count, 0, memory_order_relaxed);
}

uint32_t tables_groups(const struct media_region *media)
{
	return (uint32_t)((media->bytes / BLOCK_SIZE + GROUP_BITS - 1) / GROUP_BITS);
}

uint32_t tables_group_units(const struct media_region *media, uint32_t group)
{
	uint64_t left = media->bytes / BLOCK_SIZE - (uint64_t)group * GROUP_BITS;

	return left < GROUP_BITS ? (uint32_t)left : GROUP_BITS;
}

int tables_make_region(struct core *c, uint32_t number, const struct media_region *media,
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
	tables_close_region(r);
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
 * them what was in it, and the tag behind it with the use of the region; it must not keep everybody
 * else's files from being mounted.
 */
static void restore_size(struct core *c, const char *name, const struct media_region *media)
{
	uint64_t bytes = media->bytes + tag_room(&c->super, media);
	struct stat st;
	int fd;

	if (c->super.domains != DOMAINS_UID || media->kind != REGION_KIND_POOL ||
		c->options.read_only)
		return;
	fd = openat(c->dir_fd, name, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return; /* region_open() has the sentence for that */
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_uid == media->owner_uid &&
		(uint64_t)st.st_size != bytes && ftruncate(fd, (off_t)bytes))
		errno = 0; /* and for this */
	close(fd);
}

/* What is not the pool's is refused with the pool, or, if it is one owner's, on its own. */
static int judge_tag(struct core *c, struct data_region *r, struct diag *d)
{
	struct diag why = {0};
	int error = tag_check(c, r, &why);

	if (!error)
		return 0;
	if (!c->options.accept_regions && c->super.domains != DOMAINS_UID)
		return diag_set(d, error, "%s", why.text);
	r->tag_fault = strdup(why.text);
	if (!r->tag_fault)
		return diag_set(d, -ENOMEM, "out of memory");
	if (c->options.accept_regions)
		return 0;
	r->refused = true;
	error = region_refuse(r->region);
	return error ? diag_set(d, error, "%s: %s", r->path, strerror(-error)) : 0;
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
	if (media.kind == REGION_KIND_EXTERNAL) {
		options.path = external;
		options.flags |= REGION_EXCLUSIVE;
	}
	options.bytes = media.bytes + tag_room(&c->super, &media);
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
	error = tables_make_region(c, (uint32_t)item->key, &media,
		media.kind == REGION_KIND_EXTERNAL ? external : NULL, region, &r);
	if (error)
		return diag_set(load->d, error, "%s: %s", options.path, strerror(-error));
	error = judge_tag(c, r, load->d);
	if (error) {
		tables_close_region(r);
		return error;
	}
	tables_publish(c, r);
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
		if (group < tables_groups(&r->media))
			units = tables_group_units(&r->media, group);
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
		if (space_groups(r->space) != tables_groups(&r->media))
			return diag_set(d, -EUCLEAN,
				"region %u has %u of its %u groups: run fsck.leasefs", i,
				space_groups(r->space), tables_groups(&r->media));
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
	c->stamp = roots->stamp;
	c->next_stamp = roots->next_stamp;
	error = btree_walk(&tree, NULL, &roots->regions, 0, load_region, &load);
	if (!error)
		error = btree_walk(&tree, NULL, &roots->spaces, 0, load_group, &load);
	if (error && d && !d->text[0])
		diag_set(d, error, "the space and region tables are damaged (%s): run fsck.leasefs",
			strerror(-error));
	return error ? error : check_loaded(c, d);
}
