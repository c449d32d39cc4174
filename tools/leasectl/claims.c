// SPDX-License-Identifier: BSD-2-Clause
/* claims.c - see claims.h. */
#include "claims.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

static int read_regions(int control, struct claims *c)
{
	uint32_t count = c->now.status.regions;

	c->regions = calloc(count ? count : 1, sizeof(c->regions[0]));
	if (!c->regions)
		return -ENOMEM;
	for (uint32_t i = 0; i < count; i++) {
		struct leasefs_region region = {.region = i};
		struct stat st;

		if (ioctl(control, LEASEFS_IOC_REGION, &region) || stat(region.path, &st))
			return -errno;
		c->regions[i] = (struct region_file){.device = st.st_dev,
			.inode = st.st_ino,
			.alignment = region.alignment ? region.alignment : 4096};
		memcpy(c->regions[i].path, region.path, sizeof(c->regions[i].path));
		c->region_count++;
	}
	return 0;
}

static int add_claim(
	struct claims *c, const struct leasefs_lease_info *l, const struct leasefs_extent *e)
{
	uint64_t alignment;

	if (e->state == LEASEFS_EXTENT_HOLE || e->region >= c->region_count)
		return 0;
	if (c->count == c->room) {
		size_t room = c->room ? c->room * 2 : 256;
		void *grown = realloc(c->list, room * sizeof(c->list[0]));

		if (!grown)
			return -ENOMEM;
		c->list = grown;
		c->room = room;
	}
	alignment = c->regions[e->region].alignment;
	c->list[c->count++] = (struct claim){.region = e->region,
		.pid = l->pid,
		.start = e->region_offset / alignment * alignment,
		.end = (e->region_offset + e->length + alignment - 1) / alignment * alignment,
		.session = l->session,
		.lease = l->lease,
		.inode = l->inode};
	return 0;
}

/* A lease that has ended meanwhile has no claims. */
static int read_lease(int control, struct claims *c, const struct leasefs_lease_info *l)
{
	struct leasefs_held page = {.session = l->session, .lease = l->lease};
	int error = 0;

	do {
		page.offset = page.next;
		if (ioctl(control, LEASEFS_IOC_HELD, &page))
			return errno == ENOENT || errno == ESTALE ? 0 : -errno;
		for (uint32_t i = 0; i < page.count && !error; i++)
			error = add_claim(c, l, &page.extents[i]);
	} while (!error && page.next < page.end);
	return error;
}

static int compare_claims(const void *a, const void *b)
{
	const struct claim *x = a, *y = b;

	if (x->region != y->region)
		return x->region < y->region ? -1 : 1;
	return x->start < y->start ? -1 : x->start > y->start;
}

int claims_read(int control, struct claims *out)
{
	struct claims c = {0};
	int error = snapshot_take(control, 0, SIZE_MAX, &c.now);

	if (error)
		return error;
	error = read_regions(control, &c);
	for (size_t i = 0; i < c.now.lease_count && !error; i++)
		if (!(c.now.leases[i].flags & LEASEFS_LEASE_REVOKED))
			error = read_lease(control, &c, &c.now.leases[i]);
	if (error) {
		claims_free(&c);
		return error;
	}
	if (c.count)
		qsort(c.list, c.count, sizeof(c.list[0]), compare_claims);
	*out = c;
	return 0;
}

void claims_free(struct claims *c)
{
	free(c->list);
	free(c->regions);
	snapshot_free(&c->now);
	*c = (struct claims){0};
}

bool claims_gap(const struct claims *c, uint32_t region, uint32_t pid, uint64_t start, uint64_t end,
	uint64_t *gap_start, uint64_t *gap_end)
{
	uint64_t at = start;

	for (size_t i = 0; i < c->count && at < end; i++) {
		const struct claim *claim = &c->list[i];

		if (claim->region != region || claim->pid != pid || claim->end <= at)
			continue;
		if (claim->start > at) {
			*gap_start = at;
			*gap_end = claim->start < end ? claim->start : end;
			return true;
		}
		at = claim->end;
	}
	*gap_start = at;
	*gap_end = end;
	return at < end;
}

const struct claim *claims_find(
	const struct claims *c, uint32_t region, uint64_t start, uint64_t end)
{
	for (size_t i = 0; i < c->count; i++)
		if (c->list[i].region == region && c->list[i].start < end && c->list[i].end > start)
			return &c->list[i];
	return NULL;
}
