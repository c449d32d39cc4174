// SPDX-License-Identifier: BSD-2-Clause
/*
 * control_layouts.c - which bytes of which region hold a file: page by page for a lease's holder,
 * who may map them, and as they are for who may only know. Regions.
 */
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "control_calls.h"
#include "format.h"

#define LAYOUT_TRIES 16u /* of a lease that is being cut again and again */

/* core_layout(), or core_mappable_layout() for the holder of a lease. */
typedef int read_extents(struct core *c, struct inode *ip, uint64_t offset, uint64_t length,
	struct core_extent *out, unsigned max, unsigned *count, uint64_t *next);

static int read_with(read_extents *read, struct core *c, struct inode *ip, uint64_t offset,
	uint64_t end, struct leasefs_extent *out, unsigned max, uint32_t *count, uint64_t *next)
{
	_Static_assert(sizeof(struct core_extent) == sizeof(struct leasefs_extent) &&
			       offsetof(struct core_extent, region_offset) ==
				       offsetof(struct leasefs_extent, region_offset) &&
			       offsetof(struct core_extent, region) ==
				       offsetof(struct leasefs_extent, region) &&
			       CORE_EXTENT_UNWRITTEN == LEASEFS_EXTENT_UNWRITTEN &&
			       CORE_EXTENT_HOLE == LEASEFS_EXTENT_HOLE,
		"one form of extents");
	unsigned n;
	int error = read(c, ip, offset, end - offset, (struct core_extent *)out, max, &n, next);

	if (!error)
		*count = n;
	return error;
}

int control_read_layout(struct core *c, struct inode *ip, uint64_t offset, uint64_t end,
	struct leasefs_extent *out, unsigned max, uint32_t *count, uint64_t *next)
{
	return read_with(core_mappable_layout, c, ip, offset, end, out, max, count, next);
}

#define RECORD_PAGE 64u

int control_describe_lease(struct core *c, struct inode *ip, const struct lm_lease_info *info,
	const struct leasefs_extent *first, uint32_t count, uint64_t at, struct lease_record *out)
{
	struct leasefs_extent page[RECORD_PAGE];
	int error;

	memset(out, 0, sizeof(*out));
	out->lease = info->lease;
	out->ino = info->ino;
	out->generation = core_generation(ip);
	out->start = info->start;
	out->end = info->end;
	out->mode = info->mode;
	out->flags = info->flags & LM_LEASE_EXCLUSIVE;
	error = lease_record_add(out, first, count);
	while (at < info->end && !error) {
		error = control_read_layout(c, ip, at, info->end, page, RECORD_PAGE, &count, &at);
		if (!error)
			error = lease_record_add(out, page, count);
	}
	return error;
}

/*
 * Holes of a read lease may have been filled since: the client may map what this page tells of as
 * soon as it has it. -EAGAIN: the lease has been cut meanwhile, and the page tells of what was
 * taken away.
 */
static int note_page(struct holder *h, const struct leasefs_layout *page)
{
	struct lm_lease_info now;
	int error;

	arbiter_lock(h->arbiter);
	error = lm_lease_info(h->session, page->lease, &now);
	if (!error && (now.flags & LM_LEASE_REVOKED))
		error = -ESTALE;
	if (!error && (page->offset < now.start || page->next > now.end))
		error = -EAGAIN;
	if (!error && h->leases_fd >= 0)
		error = lease_record_note(h->leases_fd, now.slot, page->extents, page->count);
	arbiter_unlock(h->arbiter);
	return error;
}

static int read_page(const struct call *call, struct leasefs_layout *layout)
{
	struct arbiter *a = call->daemon->arbiter;
	struct holder *h = call->holder;
	struct lm_lease_info info;
	struct inode *ip;
	int error;

	arbiter_lock(a);
	error = lm_lease_info(h->session, layout->lease, &info);
	arbiter_unlock(a);
	if (!error && (info.flags & (LM_LEASE_MAKING | LM_LEASE_INHERITED)))
		error = -ENOENT;
	if (!error && (info.flags & LM_LEASE_REVOKED))
		error = -ESTALE;
	if (!error && (layout->offset < info.start || layout->offset >= info.end))
		error = -EINVAL;
	if (error)
		return error;
	error = core_get(call->daemon->core, info.ino, &ip);
	if (error)
		return error;
	error = control_read_layout(call->daemon->core, ip, layout->offset, info.end,
		layout->extents, LEASEFS_LAYOUT_EXTENTS, &layout->count, &layout->next);
	if (!error && info.mode == LM_READ)
		error = note_page(h, layout);
	core_put(call->daemon->core, ip, 1);
	return error;
}

int call_layout(const struct call *call, void *data)
{
	struct leasefs_layout *layout = data;
	int error = -EAGAIN;

	if (!all_zero(layout->reserved, sizeof(layout->reserved)))
		return -EINVAL;
	for (unsigned i = 0; i < LAYOUT_TRIES && error == -EAGAIN; i++)
		error = read_page(call, layout);
	layout->pad = 0;
	return error == -EAGAIN ? -ESTALE : error;
}

int call_extents(const struct call *call, struct inode *ip, int open_flags, void *data)
{
	struct leasefs_extents *page = data;
	struct stat st;
	int error;

	if (!all_zero(page->reserved, sizeof(page->reserved)))
		return -EINVAL;
	if ((open_flags & O_ACCMODE) == O_WRONLY)
		return -EBADF;
	error = core_getattr(call->daemon->core, ip, &st, NULL);
	if (!error && !S_ISREG(st.st_mode))
		error = -EOPNOTSUPP;
	if (error)
		return error;
	if (!page->end)
		page->end = (uint64_t)st.st_size;
	if (page->end > FILE_BYTES_MAX || page->offset > page->end)
		return -EINVAL;
	page->count = 0;
	page->next = page->end;
	if (page->offset < page->end)
		error = read_with(core_layout, call->daemon->core, ip, page->offset, page->end,
			page->extents, LEASEFS_LAYOUT_EXTENTS, &page->count, &page->next);
	page->pad = 0;
	return error;
}

int call_region(const struct call *call, void *data)
{
	struct leasefs_region *region = data;
	struct core_region_info *info;
	int error;

	if (region->flags || !all_zero(region->reserved, sizeof(region->reserved)))
		return -EINVAL;
	info = malloc(sizeof(*info));
	if (!info)
		return -ENOMEM;
	error = core_get_region(call->daemon->core, region->region, info);
	if (!error && strlen(info->path) >= sizeof(region->path))
		error = -ENAMETOOLONG;
	if (!error) {
		_Static_assert(LEASEFS_MEDIA_PMEM == (int)REGION_PMEM &&
				       LEASEFS_MEDIA_VOLATILE == (int)REGION_VOLATILE &&
				       LEASEFS_MEDIA_PAGE_CACHE == (int)REGION_PAGE_CACHE,
			"one set of numbers");
		region->bytes = info->bytes;
		region->alignment = info->alignment;
		region->media = (uint32_t)info->media;
		region->owner_uid = info->owner_uid;
		region->flags = info->backend == BACKEND_TMPFS ||
						info->backend == BACKEND_HUGETLBFS ||
						info->backend == BACKEND_DEVDAX
					? LEASEFS_REGION_LONG_TERM_PINS
					: 0;
		strcpy(region->path, info->path);
	}
	free(info);
	return error;
}
