// SPDX-License-Identifier: BSD-2-Clause
/*
 * mapped.c - see mapped.h.
 */
#include "mapped.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define HUGE_BYTES (2ul << 20)
#define EXTENTS_AT_ONCE 1024u
#define EXTENTS_MAX 65536u /* maps that a process may have, about */

static int complain(const char *what, int error)
{
	fprintf(stderr, "leasebench: %s: %s\n", what, strerror(-error));
	return -1;
}

int mapped_open(struct mapped *m, struct server *s, const char *name)
{
	char path[4300];
	int error;

	*m = (struct mapped){.server = s, .file = -1, .region = -1};
	snprintf(path, sizeof(path), "%s/%s", s->mount, name);
	m->file = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0644);
	if (m->file < 0)
		return complain(path, -errno);
	error = leasefs_open_session_at(m->file, 0, &m->session);
	return error == 0 ? 0 : complain("leasefs_open_session_at", error);
}

/* The layout, for those who map it by themselves. */
static int list_extents(struct mapped *m)
{
	struct leasefs_region region = {0};
	uint64_t at = 0;
	int error;

	m->extents = calloc(EXTENTS_MAX, sizeof(*m->extents));
	if (m->extents == NULL)
		return complain("extents", -ENOMEM);
	while (at < m->bytes && m->extent_count + EXTENTS_AT_ONCE <= EXTENTS_MAX) {
		int count = leasefs_get_layout(
			m->lease, at, m->extents + m->extent_count, EXTENTS_AT_ONCE, &at);

		if (count < 0)
			return complain("leasefs_get_layout", count);
		m->extent_count += (unsigned)count;
	}
	error = m->extent_count > 0 ? leasefs_get_region(m->session, m->extents[0].region, &region)
				    : -ENODATA;
	if (error != 0)
		return complain("leasefs_get_region", error);
	m->region = open(region.path, O_RDWR | O_CLOEXEC);
	return m->region >= 0 ? 0 : complain(region.path, -errno);
}

int mapped_lease(struct mapped *m, size_t bytes, unsigned flags)
{
	int error;

	m->bytes = bytes;
	error = leasefs_take_lease(m->session, m->file, 0, bytes, flags, &m->lease);
	if (error != 0)
		return complain("leasefs_take_lease", error);
	return list_extents(m);
}

int mapped_map_leased(struct mapped *m)
{
	int error = leasefs_map_lease(m->lease, 0, &m->leased);

	return error == 0 ? 0 : complain("leasefs_map_lease", error);
}

/* At an address that is as far from a huge page's as the region's bytes are, as libleasefs does. */
int mapped_map_bare(struct mapped *m)
{
	size_t skip = m->extents[0].region_offset % HUGE_BYTES;
	size_t room = m->bytes + 2 * HUGE_BYTES;
	char *all = mmap(NULL, room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	char *at;

	if (all == MAP_FAILED)
		return complain("mmap", -errno);
	at = (char *)(((uintptr_t)all + HUGE_BYTES - 1) & ~(HUGE_BYTES - 1)) + skip;
	munmap(all, (size_t)(at - all));
	munmap(at + m->bytes, (size_t)(all + room - at) - m->bytes);
	m->bare = at;
	for (unsigned i = 0; i < m->extent_count; i++) {
		const struct leasefs_extent *e = &m->extents[i];

		if (e->state == LEASEFS_EXTENT_HOLE)
			continue;
		if (mmap(at + e->offset, e->length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
			    m->region, (off_t)e->region_offset) == MAP_FAILED)
			return complain("mmap of an extent", -errno);
	}
	return 0;
}

int mapped_unmap_leased(struct mapped *m)
{
	int error = m->leased != NULL ? leasefs_unmap_lease(m->lease) : 0;

	m->leased = NULL;
	return error == 0 ? 0 : complain("leasefs_unmap_lease", error);
}

int mapped_unmap_bare(struct mapped *m)
{
	int error = m->bare != NULL && munmap(m->bare, m->bytes) != 0 ? -errno : 0;

	m->bare = NULL;
	return error == 0 ? 0 : complain("munmap", error);
}

void mapped_close(struct mapped *m)
{
	if (m->server == NULL)
		return;
	mapped_unmap_bare(m);
	if (m->lease != NULL)
		leasefs_return_lease(m->lease);
	if (m->session != NULL)
		leasefs_close_session(m->session);
	if (m->region >= 0)
		close(m->region);
	if (m->file >= 0)
		close(m->file);
	free(m->extents);
	*m = (struct mapped){0};
}
