// SPDX-License-Identifier: BSD-2-Clause
/*
 * core.c - a pool is opened, recovered and closed.
 *
 * Order of opening, and the reverse of closing:
 *   1. the directory and its lock        pool.c
 *   2. meta, mapped; its superblock      super.c
 *   3. the journal, which recovers       journal.c
 *   4. the spaces, the data regions      tables.c
 *      the regions' tags get a new stamp tag.c (not when read-only)
 *   5. the inode cache; orphans and trims are finished (not when read-only)
 *
 * Read-only: files are opened for reading alone; the log is replayed into a private view of meta,
 * and nothing is finished.
 *
 * Relaxed page cache after a daemon's death: recovery makes records durable whose data the kernel
 * may still hold, in files that are not open before step 4. So a look in read-only manner goes
 * first, which finds the data regions, and makes them durable.
 */
#include "pool.h"
#include "plant.h"
#include "tag.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static double monotonic_seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* 16 bytes that change with each boot; zeroes where the kernel does not say. */
static void read_boot_id(uint8_t out[16])
{
	char text[64];
	unsigned digits = 0;
	int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);

	memset(out, 0, 16);
	if (fd < 0)
		return;
	ssize_t n = read(fd, text, sizeof(text));
	close(fd);
	for (ssize_t i = 0; i < n && digits < 32; i++) {
		const char *hex = "0123456789abcdef", *at = memchr(hex, text[i], 16);

		if (!at)
			continue;
		out[digits / 2] |= (uint8_t)((at - hex) << (digits % 2 ? 0 : 4));
		digits++;
	}
}

int core_sync_regions(struct core *c, bool *lost)
{
	uint32_t count = atomic_load_explicit(&c->region_count, memory_order_acquire);

	*lost = false;
	for (uint32_t i = 0; i < count; i++) {
		struct data_region *r = tables_region(c, i);
		int error = r && !r->refused ? region_sync_all(r->region) : 0;

		if (error && region_lost(r->region))
			*lost = true;
		else if (error)
			return error;
	}
	return 0;
}

static int sync_data(void *context)
{
	bool lost;

	return core_sync_regions(context, &lost);
}

void core_journal_config(struct core *c, struct journal_config *out)
{
	*out = (struct journal_config){
		.meta = c->meta_region,
		.header_offset = BLOCK_SIZE,
		.area_offset = c->super.journal_offset,
		.area_bytes = c->super.journal_bytes,
		.defer_durable = region_media(c->meta_region) == REGION_PAGE_CACHE &&
				 c->options.durability == DURABILITY_RELAXED,
		.read_only = c->options.read_only,
		.sync_data = sync_data,
		.context = c,
	};
	read_boot_id(out->boot_id);
}

/* ---- steps ----------------------------------------------------------------------------------- */

int core_new(const struct core_options *options, struct core **out, struct diag *d)
{
	struct core *c = calloc(1, sizeof(*c));

	if (!c)
		return diag_set(d, -ENOMEM, "out of memory");
	c->dir_fd = c->run_fd = c->lock_fd = -1;
	c->options = *options;
	pthread_mutex_init(&c->rename_lock, NULL);
	pthread_mutex_init(&c->tables_lock, NULL);
	*out = c;
	return 0;
}

int core_open_pool(struct core *c, struct diag *d)
{
	struct stat st;
	int error = pool_open(c, d);

	if (error)
		return error;
	/* Looked for before the lock: a directory that is no pool stays as it is. */
	if (fstatat(c->dir_fd, "meta", &st, AT_SYMLINK_NOFOLLOW))
		return diag_set(d, -errno,
			errno == ENOENT ? "%s is not a leasefs pool: it has no file meta "
					  "(mkfs.leasefs makes one)"
					: "%s: meta cannot be looked at",
			c->path);
	return pool_lock(c, d);
}

int core_open_meta(struct core *c, struct diag *d)
{
	const struct region_options options = {
		.dir_fd = c->dir_fd,
		.path = "meta",
		.flags = REGION_PRIVATE_VIEW | (c->options.read_only ? REGION_READ_ONLY : 0),
		.durability = c->options.durability,
	};
	uint64_t unknown;
	int error;

	error = region_open(&options, &c->meta_region, d);
	if (error == -EINVAL) /* a size that no mkfs makes, or not a file at all */
		return -EUCLEAN;
	if (error)
		return error;
	error = super_read(c->meta_region, &c->super, d);
	if (error)
		return error;
	unknown = c->super.ro_compat & ~FEATURE_RO_COMPAT_KNOWN;
	if (unknown && !c->options.read_only)
		return diag_set(d, -EROFS,
			"the pool uses features (ro_compat %#" PRIx64
			") that this program can only read: open it read-only",
			unknown);
	c->roots = c->super.heap_offset + BLOCK_SIZE;
	return 0;
}

static bool was_clean(struct core *c)
{
	const struct media_journal *header = region_at(c->meta_region, BLOCK_SIZE, BLOCK_SIZE);

	return header->clean == 1;
}

/* The lock is ours already, and nothing is written through `look`. */
static int sync_before_recovery(struct core *c)
{
	struct core_options options = c->options;
	struct core *look;
	int error;

	options.read_only = true;
	error = core_new(&options, &look, NULL);
	if (error)
		return error;
	error = pool_open(look, NULL);
	if (!error)
		error = core_open_meta(look, NULL);
	if (!error)
		error = core_open_journal(look, NULL);
	if (!error)
		error = core_open_spaces(look, NULL);
	if (error)
		sync(); /* damaged: recovery will say so, or go on with less than all of it */
	error = 0;
	for (uint32_t i = 0; i < look->region_count && !error; i++) {
		struct data_region *r = tables_region(look, i);

		if (r && region_media(r->region) == REGION_PAGE_CACHE &&
			fdatasync(region_fd(r->region)))
			error = -EIO;
	}
	core_free(look);
	return error;
}

int core_open_journal(struct core *c, struct diag *d)
{
	struct journal_config config;
	int error;

	core_journal_config(c, &config);
	if (config.defer_durable && !config.read_only && !was_clean(c)) {
		error = sync_before_recovery(c);
		if (error)
			return diag_set(d, error, "the data regions cannot be made durable: %s",
				strerror(-error));
	}
	error = journal_open(&config, &c->journal, &c->recovery, d);
	if (error)
		return error;
	error = meta_open(c->meta_region, c->journal, &c->meta);
	if (error)
		return diag_set(d, error, "out of memory");
	return 0;
}

static int open_space(struct core *c, uint32_t id, struct space **out, struct diag *d)
{
	const struct space_config config = {
		.meta = c->meta,
		.id = id,
		.backing = id == SPACE_HEAP ? c->meta_region : NULL,
		.backing_offset = id == SPACE_HEAP ? c->super.heap_offset : 0,
		.unit_bytes = id == SPACE_HEAP ? BLOCK_SIZE : INODE_SIZE,
		.align_units = 1,
	};
	int error = space_open(&config, out);

	return error ? diag_set(d, error, "out of memory") : 0;
}

int core_open_spaces(struct core *c, struct diag *d)
{
	int error;

	error = open_space(c, SPACE_HEAP, &c->heap, d);
	if (error)
		return error;
	for (uint32_t g = 0; g < heap_groups(&c->super); g++) {
		const struct media_group group = {
			.bitmap = heap_group_offset(&c->super, g),
			.units = heap_group_units(&c->super, g),
		};

		error = space_add_group(c->heap, g, &group);
		if (error)
			return diag_set(d, error, "heap group %u: %s", g, strerror(-error));
	}
	error = open_space(c, SPACE_INODES, &c->inodes, d);
	if (!error && planted(PLANT_ORPHANS_FIRST))
		error = inode_recover_all(c, &c->recovered_inodes);
	return error ? error : tables_load(c, d);
}

void core_free(struct core *c)
{
	if (!c)
		return;
	if (c->icache)
		icache_close(c->icache);
	tables_close(c);
	if (c->inodes)
		space_close(c->inodes);
	if (c->heap)
		space_close(c->heap);
	if (c->meta)
		meta_close(c->meta);
	if (c->journal)
		journal_abandon(c->journal);
	region_close(c->meta_region);
	pool_unlock(c);
	pthread_mutex_destroy(&c->tables_lock);
	pthread_mutex_destroy(&c->rename_lock);
	free(c);
}

/* Nothing was changed since it was opened: as clean as it was found, so that the next opening, with
 * the right regions, stamps them. What fails leaves a pool to recover. */
static void close_as_found(struct core *c)
{
	if (!c->recovery.was_clean)
		return;
	(void)journal_close(c->journal);
	c->journal = NULL;
}

/* ---- the whole ------------------------------------------------------------------------------- */

int core_open(const struct core_options *options, struct core **out, struct diag *d)
{
	double start = monotonic_seconds();
	struct core *c;
	int error;

	error = core_new(options, &c, d);
	if (error)
		return error;
	error = core_open_pool(c, d);
	if (!error)
		error = core_open_meta(c, d);
	if (!error)
		error = core_open_journal(c, d);
	if (!error)
		error = core_open_spaces(c, d);
	if (!error && !c->options.read_only)
		error = tags_renew(c, d);
	if (error)
		goto fail;
	error = icache_open(c, &c->icache);
	if (error) {
		diag_set(d, error, "out of memory");
		goto fail;
	}
	if (!c->options.read_only && !planted(PLANT_ORPHANS_FIRST)) {
		error = inode_recover_all(c, &c->recovered_inodes);
		if (error) {
			diag_set(d, error,
				"recovery of orphaned files failed: %s; run fsck.leasefs on %s",
				strerror(-error), c->path);
			goto fail;
		}
	}
	c->open_seconds = monotonic_seconds() - start;
	*out = c;
	return 0;
fail:
	if (error == -EMEDIUMTYPE)
		close_as_found(c);
	core_free(c);
	return error;
}

/*
 * Handles that nobody put (the kernel forgets nothing when it unmounts) are void by now, and files
 * without links end with them. What cannot be ended is left to the next opening.
 */
static void end_orphans(struct core *c)
{
	uint64_t finished;

	icache_close(c->icache);
	c->icache = NULL;
	if (c->options.read_only || icache_open(c, &c->icache))
		return;
	(void)inode_recover_all(c, &finished);
	icache_close(c->icache);
	c->icache = NULL;
}

int core_close(struct core *c)
{
	int error = 0;

	end_orphans(c);
	if (!c->options.read_only) {
		/* Data first, while the regions are open: a clean pool is a whole one. */
		bool lost;

		error = core_sync_regions(c, &lost);
		if (!error && lost)
			error = -EIO;
		int closed = journal_close(c->journal);

		c->journal = NULL;
		if (!error)
			error = closed;
	}
	core_free(c);
	return error;
}

void core_abandon(struct core *c)
{
	core_free(c);
}

void core_set_arbiter(struct core *c, const struct core_arbiter *arbiter)
{
	c->arbiter = arbiter ? *arbiter : (struct core_arbiter){0};
}
