// SPDX-License-Identifier: BSD-2-Clause
/*
 * format_meta.c - the first contents of a metadata region.
 *
 * What transactions stand on is stored directly: an empty journal, the heap's bitmaps, the roots.
 * Everything else - inode group 0, region 0, the root directory - is made by ordinary transactions,
 * so that mkfs knows nothing of trees and tables that the filesystem does not know as well.
 *
 * A crash on the way leaves no superblock, and so no pool: they are written last, after everything
 * before them is durable. Nothing else here depends on an order.
 */
#include "format_pool.h"
#include "tag.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define JOURNAL_SHARE 64u /* of the pool's size ... */
#define JOURNAL_MIN (4ull << 20)
#define JOURNAL_MAX (64ull << 20)
#define HEAP_SHARE                                                                                 \
	8u /* one byte of heap for eight of data: ten million small files fit in 80 GiB */
#define HEAP_MIN (64ull << 20)
#define META_MIN (8ull << 20)
#define META_MAX (1ull << 44)

static uint64_t round_up(uint64_t bytes, uint64_t unit)
{
	return (bytes + unit - 1) / unit * unit;
}

static uint64_t clamp(uint64_t value, uint64_t low, uint64_t high)
{
	return value < low ? low : value > high ? high : value;
}

static int plan_geometry(struct media_super *s, uint64_t meta_bytes, struct diag *d)
{
	uint64_t journal = clamp(s->pool_bytes / JOURNAL_SHARE, JOURNAL_MIN, JOURNAL_MAX);

	journal &= ~(uint64_t)(BLOCK_SIZE - 1);
	if (meta_bytes) {
		if (meta_bytes < META_MIN || meta_bytes > META_MAX)
			return diag_set(d, -EINVAL,
				"a metadata size of %" PRIu64
				" bytes is out of bounds: 8 MiB to 16 TiB",
				meta_bytes);
		meta_bytes &= ~(uint64_t)(HUGE_SIZE - 1);
		journal = clamp(
			meta_bytes / 4 & ~(uint64_t)(BLOCK_SIZE - 1), JOURNAL_BYTES_MIN, journal);
	}
	s->journal_offset = 2 * BLOCK_SIZE;
	s->journal_bytes = journal;
	/* Heap groups are 63 units of 2 MiB: all of them are aligned if the first is. */
	s->heap_offset = round_up(s->journal_offset + journal, HUGE_SIZE);
	if (!meta_bytes) {
		uint64_t heap = clamp(s->pool_bytes / HEAP_SHARE, HEAP_MIN, META_MAX / 2);

		meta_bytes = s->heap_offset + round_up(heap + BLOCK_SIZE, HUGE_SIZE);
	}
	s->meta_bytes = meta_bytes;
	s->heap_blocks = (meta_bytes - s->heap_offset) / BLOCK_SIZE - 1;
	return 0;
}

int format_plan(
	struct core *c, const struct core_format *format, uint64_t pool_bytes, struct diag *d)
{
	struct media_super *s = &c->super;
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	*s = (struct media_super){
		.head.magic = MAGIC_SUPER,
		.major = FORMAT_MAJOR,
		.minor = FORMAT_MINOR,
		.block_size = BLOCK_SIZE,
		.incompat = FEATURE_INCOMPAT_TAGS,
		.generation = 1,
		.pool_bytes = pool_bytes,
		.domains = format->domains,
		.lease_gid = format->lease_gid,
		.creator_uid = geteuid(),
		.created_sec = now.tv_sec,
	};
	if (getentropy(s->uuid, sizeof(s->uuid)) ||
		getentropy(&s->hash_seed, sizeof(s->hash_seed)) || tag_new_stamp(0, &c->stamp))
		return diag_set(d, -errno, "no random numbers: %s", strerror(errno));
	c->next_stamp = c->stamp;
	s->uuid[6] = (s->uuid[6] & 0x0f) | 0x40; /* RFC 9562: version 4, random */
	s->uuid[8] = (s->uuid[8] & 0x3f) | 0x80;
	if (format->label)
		strncpy(s->label, format->label, sizeof(s->label) - 1);
	return plan_geometry(s, format->meta_bytes, d);
}

/* ---- stored directly ------------------------------------------------------------------------- */

static int store_object(struct region *meta, uint64_t offset, void *object)
{
	struct media_head *head = object;

	head->checksum = object_checksum(object, BLOCK_SIZE, offset);
	region_store(meta, offset, object, BLOCK_SIZE);
	return region_flush(meta, offset, BLOCK_SIZE);
}

static int store_heap(struct core *c)
{
	int error = 0;

	for (uint32_t g = 0; g < heap_groups(&c->super) && !error; g++) {
		uint64_t offset = heap_group_offset(&c->super, g);
		struct media_bitmap bitmap = {
			.head.magic = MAGIC_GROUP,
			.space = SPACE_HEAP,
			.group = g,
			.bits[0] = g == 0 ? 3 : 1, /* itself, and in group 0 media_roots */
		};

		error = region_reserve_blocks(c->meta_region, offset, BLOCK_SIZE);
		if (!error)
			error = store_object(c->meta_region, offset, &bitmap);
		core_step(c, "writing metadata bitmaps", g, heap_groups(&c->super));
	}
	return error;
}

static int store_foundation(struct core *c, const struct journal_config *journal, struct diag *d)
{
	struct media_roots roots = {
		.head.magic = MAGIC_ROOTS, .stamp = c->stamp, .next_stamp = c->stamp};
	uint64_t end = c->super.meta_bytes;
	int error;

	c->roots = c->super.heap_offset + BLOCK_SIZE;
	error = region_reserve(c->meta_region, 0, c->roots + BLOCK_SIZE);
	if (!error)
		error = region_reserve_blocks(c->meta_region, end - BLOCK_SIZE, BLOCK_SIZE);
	if (!error)
		error = journal_format(journal);
	if (!error)
		error = store_heap(c);
	if (!error)
		error = store_object(c->meta_region, c->roots, &roots);
	if (error == -ENOSPC)
		return diag_set(d, error,
			"no space for the metadata: %" PRIu64
			" bytes of journal and %u blocks of heap bitmaps",
			c->super.journal_bytes, heap_groups(&c->super));
	if (error)
		return diag_set(d, error, "writing the metadata: %s", strerror(-error));
	region_fence(c->meta_region);
	return 0;
}

/* ---- made by transactions -------------------------------------------------------------------- */

static int open_heap(struct core *c)
{
	const struct space_config heap = {
		.meta = c->meta,
		.id = SPACE_HEAP,
		.backing = c->meta_region,
		.backing_offset = c->super.heap_offset,
		.unit_bytes = BLOCK_SIZE,
		.align_units = 1,
	};
	const struct space_config inodes = {
		.meta = c->meta, .id = SPACE_INODES, .unit_bytes = INODE_SIZE, .align_units = 1};
	int error = space_open(&heap, &c->heap);

	for (uint32_t g = 0; g < heap_groups(&c->super) && !error; g++) {
		const struct media_group group = {
			.bitmap = heap_group_offset(&c->super, g),
			.units = heap_group_units(&c->super, g),
		};

		error = space_add_group(c->heap, g, &group);
		core_step(c, "reading metadata bitmaps", g, heap_groups(&c->super));
	}
	return error ? error : space_open(&inodes, &c->inodes);
}

static void fill_root(struct media_inode *root, uint64_t sequence)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	root->ino = ROOT_INO;
	root->generation = (uint32_t)sequence;
	root->mode = 0040755;
	root->uid = geteuid();
	root->gid = getegid();
	root->nlink = 2;
	root->parent = ROOT_INO;
	root->payload = PAYLOAD_TREE;
	root->atime_sec = root->mtime_sec = root->ctime_sec = root->btime_sec = now.tv_sec;
	root->atime_nsec = root->mtime_nsec = root->ctime_nsec = root->btime_nsec =
		(uint32_t)now.tv_nsec;
}

/* Number 0 is never given, so it is taken as well. */
static int make_root_directory(struct core *c)
{
	struct media_group group;
	struct tx *tx;
	void *root;
	int error;

	error = space_group(c->inodes, 0, &group);
	if (error)
		return error;
	error = tx_begin(c->meta, &tx);
	if (error)
		return error;
	error = tx_create(tx, group.table + ROOT_INO * INODE_SIZE, MAGIC_INODE, &root);
	if (!error) {
		const struct tx_bits bits = {
			.bitmap = group.bitmap, .first = 0, .count = ROOT_INO + 1, .set = true};

		fill_root(root, journal_sequence(c->journal));
		error = tx_bits(tx, &bits);
	}
	if (error) {
		tx_abort(tx);
		return error;
	}
	return tx_commit(tx);
}

static int make_contents(struct core *c, const struct media_region *media, const char *external,
	struct region **data)
{
	int error = open_heap(c);

	if (!error)
		error = tables_grow_inodes(c);
	if (!error)
		error = make_root_directory(c);
	if (!error && *data) {
		struct region *region = *data;

		*data = NULL;
		error = tables_add_region(c, 0, media, external, region);
	}
	return error;
}

int format_meta(struct core *c, const struct media_region *media, const char *external,
	struct region *data, struct diag *d)
{
	struct journal_recovery recovery;
	struct journal_config config;
	int error;

	core_journal_config(c, &config);
	config.defer_durable = false; /* one sync at the end is all that is needed */
	error = store_foundation(c, &config, d);
	if (error)
		goto out;
	error = journal_open(&config, &c->journal, &recovery, d);
	if (error)
		goto out;
	error = meta_open(c->meta_region, c->journal, &c->meta);
	if (!error)
		error = make_contents(c, media, external, &data);
	if (!error) {
		struct journal *journal = c->journal;

		c->journal = NULL;
		error = journal_close(journal);
	}
	if (!error)
		error = region_sync_all(c->meta_region);
	if (!error)
		error = super_write(c->meta_region, &c->super);
	if (error == -ENOSPC)
		diag_set(d, error,
			"the heap of %" PRIu64
			" blocks is too small for the tables of this pool: choose "
			"a larger metadata size",
			c->super.heap_blocks);
	else if (error)
		diag_set(d, error, "writing the metadata: %s", strerror(-error));
out:
	region_close(data);
	return error;
}
