// SPDX-License-Identifier: BSD-2-Clause
/*
 * mapping.c - one contiguous address for a layout.
 *
 * Address space for all of the lease is reserved without access; each run of extents that are
 * adjacent in one region is mapped over its part of it with MAP_FIXED, holes of a read lease as
 * private zero pages. Nothing of a reservation is unmapped before its end, so no other memory
 * can come to stand between.
 *
 * The reservation's address is congruent, modulo 2 MiB or the region's alignment, to the place of
 * the lease's first byte in its region: the kernel maps huge pages only so, and /dev/dax and
 * hugetlbfs nothing else. Regions with an alignment above a page allocate in that unit: what is
 * mapped around the lease to fill up a unit is the same file's.
 *
 * Invariant: address + (x - offset) is where byte x of the file is, from the first mapping on to
 * the end of the lease's life, or leasefs_unmap_lease().
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lfs.h"

static int protection_of(const struct leasefs_lease *l)
{
	return PROT_READ | (l->flags & LEASEFS_TAKE_WRITE ? PROT_WRITE : 0);
}

static char *address_of(const struct leasefs_lease *l, uint64_t offset)
{
	return l->address + (offset - l->offset);
}

/* ---- reserving ------------------------------------------------------------------------------- */

int lfs_reserve_locked(struct leasefs_lease *l, uint64_t congruent)
{
	uint64_t unit = l->alignment > LFS_HUGE_BYTES ? l->alignment : LFS_HUGE_BYTES;
	uint64_t skip = congruent % unit;
	/* What fills up units at both ends, and room to move to a unit's start. */
	size_t bytes = (size_t)(skip + l->length + 2 * unit);
	uintptr_t start;
	char *all;

	if (bytes < l->length)
		return -ENOMEM;
	all = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (all == MAP_FAILED)
		return -ENOMEM;
	start = ((uintptr_t)all + unit - 1) & ~(uintptr_t)(unit - 1);
	if (start > (uintptr_t)all)
		munmap(all, start - (uintptr_t)all);
	bytes -= start - (uintptr_t)all;
	l->reserved = (char *)start;
	l->reserved_bytes = (size_t)((skip + l->length + unit - 1) & ~(unit - 1));
	assert(l->reserved_bytes <= bytes);
	if (bytes > l->reserved_bytes)
		munmap(l->reserved + l->reserved_bytes, bytes - l->reserved_bytes);
	l->address = l->reserved + skip;
	return 0;
}

void lfs_unmap_locked(struct leasefs_lease *l)
{
	/* Cannot fail: it is all of our reservation, so no mapping is split. */
	int error = munmap(l->reserved, l->reserved_bytes);

	assert(!error);
	l->address = l->reserved = NULL;
	l->reserved_bytes = 0;
}

void lfs_abandon_memory_locked(struct leasefs_lease *l)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
	uintptr_t end = ((uintptr_t)l->address + l->length + page - 1) & ~(page - 1);
	uintptr_t reserved_end = (uintptr_t)l->reserved + l->reserved_bytes;
	size_t before = (size_t)((char *)l->address - (char *)l->reserved);

	(void)madvise(l->address, end - (uintptr_t)l->address, MADV_DOFORK);
	if (before)
		(void)munmap(l->reserved, before);
	if (end < reserved_end)
		(void)munmap((void *)end, reserved_end - end);
	l->address = l->reserved = NULL;
	l->reserved_bytes = 0;
}

void lfs_align_locked(const struct leasefs_lease *l, uint64_t *start, uint64_t *end)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	uint64_t unit = l->alignment > page ? l->alignment : page;
	uint64_t base = l->address ? (uintptr_t)l->address : l->offset;
	uint64_t from = base + (*start - l->offset), to = base + (*end - l->offset);
	uint64_t low = from - from % unit, high = to + (unit - to % unit) % unit;

	/* At the lease's own ends a unit may be cut: the rest of it is not the lease's. */
	*start = low < base ? l->offset : l->offset + (low - base);
	*end = high - base > l->length ? l->offset + l->length : l->offset + (high - base);
}

int lfs_hide_locked(struct leasefs_lease *l, uint64_t start, uint64_t end)
{
	char *from, *to;
	uintptr_t unit = l->alignment > 1 ? (uintptr_t)l->alignment : 1;

	if (!l->address || start >= end)
		return 0;
	lfs_align_locked(l, &start, &end);
	from = (char *)((uintptr_t)address_of(l, start) & ~(unit - 1));
	to = (char *)(((uintptr_t)address_of(l, end) + unit - 1) & ~(unit - 1));
	return mmap(from, (size_t)(to - from), PROT_NONE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) == MAP_FAILED
		       ? -ENOMEM
		       : 0;
}

/* ---- mapping --------------------------------------------------------------------------------- */

/* Extents on their way into mappings: what follows in the same region joins the run. */
struct run {
	struct leasefs_lease *lease;
	uint64_t offset, length;
	uint64_t region_offset;
	uint32_t region;
	bool zeroes;
};

/* A hole; and blocks that the file has but nobody has written yet: in the region they still have
 * another file's bytes. A write lease has neither. */
static bool reads_as_zeroes(const struct leasefs_extent *e)
{
	return e->state != LEASEFS_EXTENT_WRITTEN;
}

static int map_blocks(const struct run *r)
{
	struct leasefs_lease *l = r->lease;
	uint64_t alignment = 1, skip, bytes;
	uint32_t media = 0;
	int fd = -1, error;

	error = lfs_open_region(l->session, r->region, (l->flags & LEASEFS_TAKE_WRITE) != 0, &fd,
		&alignment, &media);
	if (error)
		return error;
	skip = r->region_offset % alignment;
	bytes = (skip + r->length + alignment - 1) & ~(alignment - 1);
	if (mmap(address_of(l, r->offset) - skip, bytes, protection_of(l),
		    MAP_SHARED | MAP_FIXED |
			    (l->map_flags & LEASEFS_MAP_POPULATE ? MAP_POPULATE : 0),
		    fd, (off_t)(r->region_offset - skip)) == MAP_FAILED)
		return errno == EPERM ? -EACCES : -errno;
	l->alignment = alignment > l->alignment ? alignment : l->alignment;
	l->media = media;
	return 0;
}

static int map_run(const struct run *r)
{
	struct leasefs_lease *l = r->lease;

	if (r->length == 0)
		return 0;
	if (!r->zeroes)
		return map_blocks(r);
	/* The file's own pages say what becomes of it; a plain mapping has zeros. */
	if (l->managed)
		return lfs_to_file_locked(l, r->offset, r->offset + r->length);
	return mmap(address_of(l, r->offset), r->length, PROT_READ,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) == MAP_FAILED
		       ? -errno
		       : 0;
}

/* Of an extent the part in [start, end), after the run or as a new one. */
static int add_extent(struct run *r, const struct leasefs_extent *e, uint64_t start, uint64_t end)
{
	bool zeroes = reads_as_zeroes(e);
	uint64_t from = e->offset > start ? e->offset : start;
	uint64_t to = e->offset + e->length < end ? e->offset + e->length : end;
	uint64_t place = zeroes ? 0 : e->region_offset + (from - e->offset);
	int error = 0;

	if (from >= to)
		return 0;
	if (r->length && r->offset + r->length == from && zeroes == r->zeroes &&
		(zeroes || (r->region == e->region && r->region_offset + r->length == place))) {
		r->length += to - from;
		return 0;
	}
	error = map_run(r);
	r->offset = from;
	r->length = to - from;
	r->region_offset = place;
	r->region = e->region;
	r->zeroes = zeroes;
	return error;
}

int lfs_map_range_locked(
	struct leasefs_lease *l, const struct lfs_piece *p, uint64_t start, uint64_t end)
{
	struct leasefs_layout page = {.lease = p->id, .offset = p->offset};
	struct run run = {.lease = l};
	int error = 0;

	assert(start >= p->offset && end <= p->offset + p->length);
	if (l->first_count) {
		for (unsigned i = 0; i < l->first_count && !error; i++)
			error = add_extent(&run, &l->first[i], start, end);
		page.offset = end;
	} else {
		page.offset = start;
	}
	while (!error && page.offset < end) {
		error = lfs_call(l->session, LEASEFS_IOC_LAYOUT, &page);
		if (!error && (page.count == 0 || page.count > LEASEFS_LAYOUT_EXTENTS ||
				      page.next <= page.offset))
			error = -EIO;
		for (uint32_t i = 0; i < page.count && !error; i++)
			error = add_extent(&run, &page.extents[i], start, end);
		page.offset = page.next;
	}
	if (!error)
		error = map_run(&run);
	if (!error && !(l->map_flags & LEASEFS_MAP_FORK))
		madvise(address_of(l, start), end - start, MADV_DONTFORK);
	return error == -ENOENT ? -ESTALE : error;
}

int lfs_map_piece_locked(struct leasefs_lease *l, const struct lfs_piece *p)
{
	return lfs_map_range_locked(l, p, p->offset, p->offset + p->length);
}

/* Where in its region the lease's first byte is, or would be if its hole were filled up. */
int lfs_first_place_locked(struct leasefs_lease *l, const struct lfs_piece *p, uint64_t *place)
{
	struct leasefs_layout page = {.lease = p->id, .offset = p->offset};
	const struct leasefs_extent *e = l->first;
	uint32_t count = l->first_count, media;
	int error = 0, fd;

	*place = l->offset;
	if (!count) {
		error = lfs_call(l->session, LEASEFS_IOC_LAYOUT, &page);
		e = page.extents;
		count = error ? 0 : page.count;
	}
	for (; count > 0 && reads_as_zeroes(e); count--)
		e++;
	if (error || count == 0)
		return error == -ENOENT ? -ESTALE : error;
	*place = e->region_offset - (e->offset - l->offset);
	return lfs_open_region(l->session, e->region, (l->flags & LEASEFS_TAKE_WRITE) != 0, &fd,
		&l->alignment, &media);
}

static int map_lease_locked(struct leasefs_lease *l)
{
	struct lfs_piece *p;
	uint64_t place;
	int error = -ESTALE;

	LIST_FOREACH(p, &l->pieces, link)
		if (!p->ghost)
			break;
	if (p)
		error = lfs_first_place_locked(l, p, &place);
	if (!error)
		error = lfs_reserve_locked(l, place);
	if (error)
		return error;
	LIST_FOREACH(p, &l->pieces, link) {
		if (!p->ghost)
			error = lfs_map_piece_locked(l, p);
		if (error) {
			lfs_unmap_locked(l);
			return error;
		}
	}
	return 0;
}

/* ---- the interface --------------------------------------------------------------------------- */

int leasefs_map_lease(struct leasefs_lease *lease, unsigned flags, void **address)
{
	int error = lfs_check_session(lease->session);

	if (!error && (flags & ~(LEASEFS_MAP_FORK | LEASEFS_MAP_POPULATE)))
		error = -EINVAL;
	if (error)
		return error;
	do {
		pthread_mutex_lock(&lease->lock);
		error = 0;
		if (!lease->address) {
			lease->map_flags = flags;
			error = map_lease_locked(lease);
		}
		if (!error)
			*address = lease->address;
		pthread_mutex_unlock(&lease->lock);
	} while (error == -ENOTCONN && !lfs_await_daemon(lease->session));
	return error;
}

int leasefs_unmap_lease(struct leasefs_lease *lease)
{
	int error = lfs_check_session(lease->session);

	if (error)
		return error;
	pthread_mutex_lock(&lease->lock);
	if (lease->managed)
		error = -EOPNOTSUPP;
	else if (lfs_is_pinned_locked(lease))
		error = -EBUSY;
	else if (lease->address)
		lfs_unmap_locked(lease);
	pthread_mutex_unlock(&lease->lock);
	return error;
}

int leasefs_refresh_lease(struct leasefs_lease *lease)
{
	struct lfs_piece *p;
	int error = lfs_check_session(lease->session);

	if (error)
		return error;
	if (lease->managed)
		return lfs_retake(lease);
	do {
		error = 0;
		pthread_mutex_lock(&lease->lock);
		LIST_FOREACH(p, &lease->pieces, link)
			if (!error && !p->ghost && lease->address)
				error = lfs_map_piece_locked(lease, p);
		pthread_mutex_unlock(&lease->lock);
	} while (error == -ENOTCONN && !lfs_await_daemon(lease->session));
	return error;
}

int leasefs_get_layout(struct leasefs_lease *lease, uint64_t offset, struct leasefs_extent *extents,
	unsigned count, uint64_t *next)
{
	struct leasefs_layout page = {.offset = offset};
	int error = lfs_check_session(lease->session);
	struct lfs_piece *p;
	unsigned n;

	if (!error &&
		(count == 0 || offset < lease->offset || offset >= lease->offset + lease->length))
		error = -EINVAL;
	if (error)
		return error;
	do {
		pthread_mutex_lock(&lease->lock);
		p = lfs_next_piece_locked(lease, offset);
		if (p) {
			page.lease = p->id;
			page.offset = offset > p->offset ? offset : p->offset;
			error = lfs_call(lease->session, LEASEFS_IOC_LAYOUT, &page);
			if (!error && p->offset + p->length == page.next &&
				!lfs_next_piece_locked(lease, page.next))
				page.next = lease->offset + lease->length;
		} else {
			error = -ESTALE;
		}
		pthread_mutex_unlock(&lease->lock);
	} while (error == -ENOTCONN && !lfs_await_daemon(lease->session));
	if (error)
		return error == -ENOENT ? -ESTALE : error;
	if (page.count > LEASEFS_LAYOUT_EXTENTS)
		return -EIO;
	n = page.count < count ? page.count : count;
	for (unsigned i = 0; i < n; i++)
		extents[i] = page.extents[i];
	*next = n < page.count ? page.extents[n].offset : page.next;
	return (int)n;
}
