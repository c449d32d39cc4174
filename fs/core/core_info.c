// SPDX-License-Identifier: BSD-2-Clause
/*
 * core_info.c - what a pool says of itself, what it still holds, and its durability on demand.
 *
 * Numbers are those of the moment and each true on its own; they are not one snapshot.
 */
#include "pool.h"
#include "tag.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

static struct space_usage usage_of(struct space *s)
{
	struct space_usage usage = {0};

	if (s)
		space_get_usage(s, &usage);
	return usage;
}

struct pool_usage { /* blocks */
	uint64_t total;
	uint64_t free; /* on media; with what is pending */
	uint64_t pending;
	uint64_t backed; /* of free: those that the files below could really take now */
};

static uint64_t min64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static void get_pool_usage(struct core *c, struct pool_usage *out)
{
	uint32_t count = atomic_load_explicit(&c->region_count, memory_order_acquire);
	struct pool_usage sum = {.total = c->super.pool_bytes / BLOCK_SIZE};
	uint64_t used = 0, reserved_free = 0, backing_free = UINT64_MAX;

	for (uint32_t i = 0; i < count; i++) {
		struct data_region *r = tables_region(c, i);

		if (!r)
			continue;
		struct space_usage usage = usage_of(r->space);
		uint64_t free = usage.free + usage.pending, taken = usage.total - free;
		uint64_t reserved = region_reserved_bytes(r->region) / BLOCK_SIZE;

		if (reserved && tag_room(&c->super, &r->media))
			reserved--; /* its tag's */
		used += taken;
		sum.pending += usage.pending;
		reserved_free += min64(free, reserved > taken ? reserved - taken : 0);
		backing_free = min64(backing_free, region_backing_free(r->region) / BLOCK_SIZE);
	}
	if (count == 0) /* domains=uid before the first file */
		backing_free = region_backing_free(c->meta_region) / BLOCK_SIZE;
	sum.free = sum.total - min64(used, sum.total);
	sum.backed = min64(sum.free, reserved_free + backing_free);
	*out = sum;
}

/* Inodes that the heap could still take up, each group with its table and bitmap. */
static uint64_t inodes_to_come(struct core *c)
{
	struct space_usage heap = usage_of(c->heap);

	return (heap.free + heap.pending) / (INODE_TABLE_BLOCKS + 1) * INODES_PER_GROUP;
}

int core_statfs(struct core *c, struct statvfs *out)
{
	struct pool_usage pool;
	struct space_usage inodes = usage_of(c->inodes);
	uint64_t to_come = inodes_to_come(c);

	get_pool_usage(c, &pool);
	memset(out, 0, sizeof(*out));
	out->f_bsize = BLOCK_SIZE;
	out->f_frsize = BLOCK_SIZE;
	out->f_blocks = pool.total;
	out->f_bfree = pool.free;
	out->f_bavail = pool.backed;
	out->f_files = inodes.total + to_come;
	out->f_ffree = inodes.free + inodes.pending + to_come;
	out->f_favail = out->f_ffree;
	memcpy(&out->f_fsid, c->super.uuid, sizeof(out->f_fsid));
	out->f_namemax = NAME_BYTES_MAX;
	return 0;
}

/* So many groups at a time: 8 GiB, of which each takes microseconds. */
#define RUNS_GROUPS 64u

static struct data_region *region_from(struct core *c, uint32_t *number)
{
	if (core_next_region(c, *number, number))
		*number = CORE_RUNS_END;
	return *number == CORE_RUNS_END ? NULL : tables_region(c, *number);
}

int core_count_free_runs(struct core *c, struct core_runs_place *place, struct core_free_runs *out)
{
	struct core_runs_place at = *place;
	struct space_free_runs sum = {0};

	for (unsigned n = 0; n < RUNS_GROUPS; n++) {
		struct data_region *r = region_from(c, &at.region);
		int error;

		if (!r)
			break;
		error = r->space ? space_add_free_runs(r->space, at.group, &sum) : -ENOENT;
		if (error && error != -ENOENT)
			return error;
		at.group++;
		if (error)
			at = (struct core_runs_place){.region = at.region + 1};
	}
	*place = at;
	*out = (struct core_free_runs){.bytes = sum.units * BLOCK_SIZE,
		.runs = sum.runs,
		.largest_bytes = sum.largest * BLOCK_SIZE};
	return 0;
}

void core_uuid_text(const uint8_t uuid[16], char out[37])
{
	char *at = out;

	for (unsigned i = 0; i < 16; i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*at++ = '-';
		at += sprintf(at, "%02x", uuid[i]);
	}
}

void core_get_info(struct core *c, struct core_info *out)
{
	struct space_usage heap = usage_of(c->heap), inodes = usage_of(c->inodes);
	struct pool_usage pool;
	struct core_info info = {
		.format_major = c->super.major,
		.format_minor = c->super.minor,
		.pool_bytes = c->super.pool_bytes,
		.meta_bytes = c->super.meta_bytes,
		.meta_free_bytes = (heap.free + heap.pending) * BLOCK_SIZE,
		.inodes_used = inodes.total - inodes.free - inodes.pending,
		.inodes_cached = c->icache ? icache_entries(c->icache) : 0,
		.domains = c->super.domains,
		.lease_gid = c->super.lease_gid,
		.regions = atomic_load_explicit(&c->region_count, memory_order_acquire),
		.meta_media = region_media(c->meta_region),
		.durability = c->options.durability,
		.journal_bytes = c->super.journal_bytes,
		.recovered_records = c->recovery.records,
		.recovered_inodes = c->recovered_inodes,
		.was_clean = c->recovery.was_clean,
		.power_lost = c->recovery.power_lost,
		.open_seconds = c->open_seconds,
	};

	if (info.inodes_used) /* number 0 is taken so that it is never given */
		info.inodes_used--;
	get_pool_usage(c, &pool);
	info.free_bytes = pool.free * BLOCK_SIZE;
	info.pending_bytes = pool.pending * BLOCK_SIZE;
	core_uuid_text(c->super.uuid, info.uuid);
	memcpy(info.label, c->super.label, sizeof(info.label));
	*out = info;
}

int core_get_region(struct core *c, uint32_t number, struct core_region_info *out)
{
	struct data_region *r = tables_region(c, number);

	if (!r)
		return -ENOENT;
	struct space_usage usage = usage_of(r->space);

	out->region = number;
	out->owner_uid = r->media.owner_uid;
	out->bytes = r->media.bytes;
	out->free_bytes = (usage.free + usage.pending) * BLOCK_SIZE;
	out->alignment = 1ull << r->media.alignment_shift;
	out->media = region_media(r->region);
	out->backend = region_backend(r->region);
	memcpy(out->path, r->path, sizeof(out->path));
	snprintf(out->refused, sizeof(out->refused), "%s", r->refused ? r->tag_fault : "");
	return 0;
}

int core_next_region(struct core *c, uint32_t from, uint32_t *out)
{
	uint32_t count = atomic_load_explicit(&c->region_count, memory_order_acquire);

	for (uint32_t i = from; i < count; i++) {
		if (!tables_region(c, i))
			continue;
		*out = i;
		return 0;
	}
	return -ENOENT;
}

/* A pool of many regions has none of larger units: mkfs.leasefs refuses it. */
uint64_t core_layout_unit(struct core *c)
{
	const struct data_region *r = tables_region(c, 0);

	return r ? 1ull << r->media.alignment_shift : BLOCK_SIZE;
}

int core_run_dir_fd(struct core *c)
{
	return c->run_fd;
}

/* ---- durability, quarantine ------------------------------------------------------------------ */

int core_sync_journal(struct core *c)
{
	int error = journal_sync(c->journal);

	return error == -EROFS ? -EIO : error;
}

int core_sync(struct core *c)
{
	uint32_t count = atomic_load_explicit(&c->region_count, memory_order_acquire);
	uint64_t position;
	bool lost = false;
	int error;

	if (c->options.read_only)
		return 0;
	/* Direct stores of lease holders too, which no journal knows of. */
	error = core_sync_regions(c, &lost);
	if (error)
		return error;
	error = core_sync_journal(c);
	if (error)
		return error;
	position = journal_durable_position(c->journal);
	space_reap(c->heap, position);
	space_reap(c->inodes, position);
	for (uint32_t i = 0; i < count; i++) {
		struct data_region *r = tables_region(c, i);

		if (r)
			space_reap(r->space, position);
	}
	return lost ? -EIO : 0;
}

/* The units of a region that a range of bytes touches. */
static int range_of(struct core *c, uint32_t number, uint64_t offset, uint64_t length,
	struct data_region **region, struct space_run *run)
{
	struct data_region *r = tables_region(c, number);

	if (!r)
		return -ENOENT;
	if (length == 0 || offset > r->media.bytes || length > r->media.bytes - offset)
		return -EINVAL;
	run->first = offset / BLOCK_SIZE;
	run->count = (offset + length + BLOCK_SIZE - 1) / BLOCK_SIZE - run->first;
	*region = r;
	return 0;
}

int core_hold(struct core *c, uint32_t region, uint64_t region_offset, uint64_t length)
{
	struct data_region *r;
	struct space_run run;
	int error = range_of(c, region, region_offset, length, &r, &run);

	return error ? error : space_hold(r->space, &run);
}

int core_release(struct core *c, uint32_t region, uint64_t region_offset, uint64_t length)
{
	struct data_region *r;
	struct space_run run;
	int error = range_of(c, region, region_offset, length, &r, &run);

	if (error)
		return error;
	space_release(r->space, &run);
	return 0;
}
