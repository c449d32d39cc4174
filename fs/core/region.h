// SPDX-License-Identifier: BSD-2-Clause
/*
 * region.h - a file or device, mapped whole, whose bytes the filesystem keeps things in.
 *
 * The only caller of libpmem. Everybody else reads through region_at() and writes through the
 * functions here, each of which a recorder can watch: that is the one persist interface, and from
 * its record of stores, flushes and fences every state that a power cut could leave can be rebuilt.
 *
 * A region has two views. The *durable* view is the shared mapping. The *working* view is what
 * readers see. They are the same memory, except for a metadata region on page cache with relaxed
 * durability: there the kernel may write any dirty page at any time, so the working view is a
 * private mapping, and a checkpoint publishes it once the journal that can repeat it is durable.
 *
 * Media kinds (DESIGN: what survives what)
 *   REGION_PMEM        libpmem says is_pmem: fsdax with MAP_SYNC, /dev/dax
 *   REGION_VOLATILE    tmpfs, hugetlbfs
 *   REGION_PAGE_CACHE  any other filesystem
 *
 * Threads: any function may be called from any thread; who may touch which bytes is the business
 * of the layers above. Every function that can fail returns -errno; -EIO is the media's.
 */
#ifndef CORE_REGION_H
#define CORE_REGION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "diag.h"

enum region_media { REGION_PMEM, REGION_VOLATILE, REGION_PAGE_CACHE };
enum region_backend {
	BACKEND_FILE,
	BACKEND_TMPFS,
	BACKEND_HUGETLBFS,
	BACKEND_FSDAX,
	BACKEND_DEVDAX
};
enum durability { DURABILITY_RELAXED, DURABILITY_STRICT };

struct region;

#define REGION_CREATE 1u       /* O_EXCL: make the file, `bytes` long, sparse where that can be */
#define REGION_PRIVATE_VIEW 2u /* working view apart from the durable one (page cache, relaxed) */
#define REGION_READ_ONLY 4u    /* for fsck -n and status: writes are programmers' errors */
#define REGION_TAIL 16u        /* REGION_CREATE: one mapping unit longer than `bytes` */
#define REGION_EXCLUSIVE 8u    /* -EBUSY if another has it so: two pools on one device */

struct region_options {
	int dir_fd;       /* `path` is relative to it; AT_FDCWD for an absolute one */
	const char *path; /* never followed if it is a symlink */
	uint64_t bytes;   /* REGION_CREATE: the size; else what it must be, 0: as found */
	mode_t mode;      /* REGION_CREATE */
	unsigned flags;
	enum durability durability;
};

/*
 * Opens and maps. Errors, each with its sentence: -ENOENT, -EACCES, -ELOOP (a symlink), -EEXIST,
 * -EINVAL (not a regular file or DAX device; not a multiple of the mapping unit), -EUCLEAN (not of
 * the size that it must have), -ENOMEM (no hugetlbfs pages, no address space), -ENOSPC, -EOPNOTSUPP
 * (the filesystem cannot reserve space).
 *
 * REGION_PRIVATE_VIEW takes effect where it is needed: on page cache with relaxed durability, and
 * with REGION_READ_ONLY (the working view is then the only one that can be written).
 */
int region_open(const struct region_options *options, struct region **out, struct diag *d);
void region_close(struct region *r);

uint64_t region_bytes(const struct region *r);
enum region_media region_media(const struct region *r);
enum region_backend region_backend(const struct region *r);
const char *region_media_name(enum region_media media);       /* "pmem", "volatile", "page cache" */
const char *region_backend_name(enum region_backend backend); /* "file", "tmpfs", ... */
/* What such media promise, as half a sentence: "a daemon crash loses nothing, ...". */
const char *region_promise(enum region_media media, enum durability durability);
uint64_t region_alignment(const struct region *r); /* mapping unit, bytes: 4 KiB or 2 MiB */
int region_fd(const struct region *r);             /* borrowed; for fstat and io_uring */
bool region_read_only(const struct region *r);
bool region_has_private_view(const struct region *r);
/* Somebody cut the file short, or the media failed, under the mapping: what is read may be zeroes,
 * and reserving, flushing and syncing are -EIO until it is opened again. */
bool region_lost(const struct region *r);
/* It is not the one that was meant: zeroes in memory take its place, and it is lost. 0, -errno. */
int region_refuse(struct region *r);

/* Space that the backing filesystem could still give, bytes; what is reserved already apart. */
uint64_t region_backing_free(const struct region *r);
/* Bytes of the region that have backing space, whoever reserved them and when. */
uint64_t region_reserved_bytes(const struct region *r);

/*
 * Makes sure that [offset, offset + bytes) has backing space, so that no store into it can end in
 * SIGBUS. Idempotent, rounds outward to 2 MiB, remembers. -ENOSPC when the backing is full.
 */
int region_reserve(struct region *r, uint64_t offset, uint64_t bytes);
/* The blocks alone, and nothing remembered: for few of them, far apart. */
int region_reserve_blocks(struct region *r, uint64_t offset, uint64_t bytes);
/* Gives whole 2 MiB units inside the range back. What was in them reads as zero. May do nothing. */
int region_unreserve(struct region *r, uint64_t offset, uint64_t bytes);

/* Working view. The caller stays inside the region (asserted) and inside what was reserved. */
const void *region_at(const struct region *r, uint64_t offset, uint64_t bytes);
/* Durable view: what a checkpoint builds upon. */
const void *region_durable_at(const struct region *r, uint64_t offset, uint64_t bytes);
/* For bulk data that the caller fills by itself (read(2) into it, say): region_touched() after. */
void *region_data_at(struct region *r, uint64_t offset, uint64_t bytes);
void region_touched(struct region *r, uint64_t offset, uint64_t bytes);

/* Stores into the durable view: plain copies that reach the media after flush and fence. */
void region_store(struct region *r, uint64_t offset, const void *bytes, size_t count);
void region_store_zero(struct region *r, uint64_t offset, uint64_t count);
void region_store64(struct region *r, uint64_t offset, uint64_t value); /* one store, aligned */
/* The same into the working view; equal to region_store() where the views are one. */
void region_apply(struct region *r, uint64_t offset, const void *bytes, size_t count);

/*
 * flush + fence order stores before what follows, as far as the durability asked for: pmem cache
 * lines; nothing but compiler and processor order on volatile media and on relaxed page cache;
 * msync inside flush on strict page cache (hence the result: -EIO). Ranges are widened as needed.
 *
 * After one -EIO, region_flush() and both syncs are -EIO until the region is opened again: the
 * kernel tells of a page that it could not write once, and takes it for clean from then on, so a
 * second msync that succeeds proves nothing.
 */
int region_flush(struct region *r, uint64_t offset, uint64_t count);
void region_fence(struct region *r);

/* Durable now, whatever the durability mode: msync where that is what it takes. 0 or -EIO. */
int region_sync(struct region *r, uint64_t offset, uint64_t count);
int region_sync_all(struct region *r); /* fdatasync: every dirty page of the region */
/* Working view -> durable view, then as region_sync(). Just region_sync() where views are one. */
int region_publish(struct region *r, uint64_t offset, uint64_t count);
/* Drops private copies of what has been published whole; nothing where the views are one. */
void region_forget_private(struct region *r);

/* The recorder: watches the durable view. One for the process, set before regions are used. */
struct region_recorder {
	void *context;
	void (*store)(void *context, const struct region *r, uint64_t offset, const void *bytes,
		uint64_t count); /* bytes NULL: zeroes */
	void (*flush)(void *context, const struct region *r, uint64_t offset, uint64_t count);
	void (*fence)(void *context, const struct region *r);
};
void region_set_recorder(const struct region_recorder *recorder); /* NULL ends it */

#endif
