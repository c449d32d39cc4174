// SPDX-License-Identifier: BSD-2-Clause
/*
 * region_reserve.c - backing space, before anything is stored there.
 *
 * A region's file is sparse, and a store into a hole of a full filesystem is SIGBUS. So every byte
 * is reserved by fallocate(2) first, in units of 2 MiB: few calls, and the filesystem below can
 * give runs that huge pages fit on. What was reserved is remembered as one bit a unit.
 *
 *   hugetlbfs   the whole file is reserved when it is made: its pages are all there or there is
 *               no region
 *   devdax      nothing to reserve
 *
 * On a filesystem that writes elsewhere (btrfs with copy-on-write, for one) fallocate(2) promises
 * less than it says; data regions belong on one that writes in place.
 *
 * When the filesystem below has less than a unit left, what was asked for is reserved alone, so
 * that the last blocks can be used as well. Nothing is remembered of that: it is asked again.
 *
 * Threads: two that reserve the same unit both call fallocate(2), which changes nothing. The bits
 * are set after the space is there.
 */
#include "region_impl.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define BITS 64

static uint64_t unit_count(const struct region *r)
{
	return (r->bytes + HUGE_SIZE - 1) >> HUGE_SHIFT;
}

static bool is_reserved(const struct region *r, uint64_t unit)
{
	uint64_t word = atomic_load_explicit(&r->reserved[unit / BITS], memory_order_acquire);

	return word >> (unit % BITS) & 1;
}

static void mark(struct region *r, uint64_t unit, bool on)
{
	uint64_t bit = 1ull << (unit % BITS);

	if (on)
		atomic_fetch_or_explicit(&r->reserved[unit / BITS], bit, memory_order_release);
	else
		atomic_fetch_and_explicit(&r->reserved[unit / BITS], ~bit, memory_order_release);
}

/* fallocate(2), repeated when it is interrupted. */
static int allocate(struct region *r, int mode, uint64_t start, uint64_t end)
{
	while (fallocate(r->fd, mode, (off_t)start, (off_t)(end - start))) {
		if (errno == EINTR)
			continue;
		return errno == EDQUOT || errno == ENOMEM ? -ENOSPC : -errno;
	}
	return 0;
}

/* Whole units, cut at the region's end. */
static int allocate_units(struct region *r, int mode, uint64_t first, uint64_t count)
{
	uint64_t end = (first + count) << HUGE_SHIFT;

	return allocate(r, mode, first << HUGE_SHIFT, end < r->bytes ? end : r->bytes);
}

int region_reserve_open(struct region *r)
{
	if (r->backend == BACKEND_HUGETLBFS || r->backend == BACKEND_DEVDAX || r->read_only)
		return 0;
	r->reserved = calloc((unit_count(r) + BITS - 1) / BITS, sizeof(*r->reserved));
	return r->reserved ? 0 : -ENOMEM;
}

void region_reserve_close(struct region *r)
{
	free(r->reserved);
	r->reserved = NULL;
}

/* Free pages of 2 MiB, or -1 when the kernel does not say. */
static long hugetlb_pages_free(void)
{
	FILE *f = fopen("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "re");
	long pages = -1;

	if (!f)
		return -1;
	if (fscanf(f, "%ld", &pages) != 1)
		pages = -1;
	fclose(f);
	return pages;
}

static int reserve_hugetlb(struct region *r, const char *name, struct diag *d)
{
	uint64_t wanted = r->bytes >> HUGE_SHIFT;
	int error = allocate_units(r, 0, 0, wanted);

	if (error == -ENOSPC)
		return diag_set(d, -ENOMEM,
			"%s needs %" PRIu64
			" huge pages of 2 MiB and %ld are free: raise them with "
			"`sysctl vm.nr_hugepages=N` (or the mount's size= limit), or choose a "
			"smaller "
			"size",
			name, wanted, hugetlb_pages_free());
	if (error)
		return diag_set(
			d, error, "%s: cannot reserve huge pages: %s", name, strerror(-error));
	return 0;
}

int region_reserve_new(struct region *r, const char *name, uint64_t bytes, struct diag *d)
{
	int error;

	if (bytes == 0 || bytes % r->alignment || bytes > INT64_MAX)
		return diag_set(d, -EINVAL,
			"%s: a size of %" PRIu64
			" bytes is not a multiple of the mapping unit, %" PRIu64 " bytes",
			name, bytes, r->alignment);
	if (ftruncate(r->fd, (off_t)bytes))
		return diag_set(d, -errno, "%s: cannot be made %" PRIu64 " bytes long: %s", name,
			bytes, strerror(errno));
	r->bytes = bytes;
	if (r->backend == BACKEND_HUGETLBFS)
		return reserve_hugetlb(r, name, d);
	error = allocate_units(r, FALLOC_FL_KEEP_SIZE, 0, 1);
	if (error == -EOPNOTSUPP || error == -ENOSYS)
		return diag_set(d, -EOPNOTSUPP,
			"%s: this filesystem cannot reserve space (fallocate), without which a "
			"store "
			"could end in SIGBUS: use ext4, xfs or tmpfs",
			name);
	if (error)
		return diag_set(d, error, "%s: cannot reserve space: %s", name, strerror(-error));
	return 0;
}

int region_reserve_blocks(struct region *r, uint64_t offset, uint64_t bytes)
{
	const uint64_t page = BLOCK_SIZE - 1;

	assert(offset <= r->bytes && bytes <= r->bytes - offset);
	if (r->read_only)
		return -EROFS;
	if (region_lost(r))
		return -EIO;
	if (!r->reserved || bytes == 0)
		return 0;
	return allocate(r, FALLOC_FL_KEEP_SIZE, offset & ~page, (offset + bytes + page) & ~page);
}

int region_reserve(struct region *r, uint64_t offset, uint64_t bytes)
{
	assert(offset <= r->bytes && bytes <= r->bytes - offset);
	if (r->read_only)
		return -EROFS;
	if (region_lost(r))
		return -EIO;
	if (!r->reserved || bytes == 0)
		return 0;

	uint64_t unit = offset >> HUGE_SHIFT;
	uint64_t end = (offset + bytes + HUGE_SIZE - 1) >> HUGE_SHIFT;

	while (unit < end) {
		if (is_reserved(r, unit)) {
			unit++;
			continue;
		}
		uint64_t last = unit + 1;
		while (last < end && !is_reserved(r, last))
			last++;
		int error = allocate_units(r, FALLOC_FL_KEEP_SIZE, unit, last - unit);
		if (error == -ENOSPC) {
			uint64_t start = unit << HUGE_SHIFT;

			if (start < offset)
				start = offset;
			return region_reserve_blocks(r, start, offset + bytes - start);
		}
		if (error)
			return error;
		for (; unit < last; unit++)
			mark(r, unit, true);
	}
	return 0;
}

int region_unreserve(struct region *r, uint64_t offset, uint64_t bytes)
{
	assert(offset <= r->bytes && bytes <= r->bytes - offset);
	if (r->read_only)
		return -EROFS;
	if (region_lost(r))
		return -EIO;
	if (!r->reserved)
		return 0;

	uint64_t first = (offset + HUGE_SIZE - 1) >> HUGE_SHIFT;
	uint64_t end = (offset + bytes) >> HUGE_SHIFT;
	int error;

	if (offset + bytes == r->bytes)
		end = unit_count(r);
	if (first >= end)
		return 0;
	for (uint64_t unit = first; unit < end; unit++)
		mark(r, unit, false);
	error = allocate_units(r, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, first, end - first);
	return error == -EOPNOTSUPP ? 0 : error;
}

uint64_t region_backing_free(const struct region *r)
{
	struct statvfs fs;

	if (r->backend == BACKEND_HUGETLBFS || r->backend == BACKEND_DEVDAX)
		return 0;
	if (fstatvfs(r->fd, &fs))
		return 0;
	return (uint64_t)(geteuid() == 0 ? fs.f_bfree : fs.f_bavail) * fs.f_frsize;
}

uint64_t region_reserved_bytes(const struct region *r)
{
	struct stat st;

	if (r->backend == BACKEND_HUGETLBFS || r->backend == BACKEND_DEVDAX)
		return r->bytes;
	if (fstat(r->fd, &st))
		return 0;
	uint64_t bytes = (uint64_t)st.st_blocks * 512;
	return bytes < r->bytes ? bytes : r->bytes;
}
