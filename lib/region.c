// SPDX-License-Identifier: BSD-2-Clause
/*
 * region.c - the regions that a session has met, opened once, and how stores become durable there.
 *
 * Descriptors are kept until the session is closed: a mapping that comes again after a recall must
 * not fail for want of a descriptor, nor after the process has given up the right to open. A region
 * keeps its number, path and media as long as the pool lives, so a new daemon changes nothing here.
 */
#include <errno.h>
#include <fcntl.h>
#include <libpmem.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lfs.h"

static struct lfs_region *find_held(struct leasefs_session *s, uint32_t number)
{
	struct lfs_region *r;

	LIST_FOREACH(r, &s->regions, link)
		if (r->info.region == number)
			return r;
	return NULL;
}

static int find_region(struct leasefs_session *s, uint32_t number, struct lfs_region **out)
{
	struct lfs_region *r, *there;
	int error;

	pthread_mutex_lock(&s->lock);
	there = find_held(s, number);
	pthread_mutex_unlock(&s->lock);
	if (there) {
		*out = there;
		return 0;
	}
	r = calloc(1, sizeof(*r));
	if (!r)
		return -ENOMEM;
	r->info.region = number;
	r->read_fd = r->write_fd = -1;
	error = lfs_call(s, LEASEFS_IOC_REGION, &r->info);
	if (!error && (r->info.alignment == 0 || (r->info.alignment & (r->info.alignment - 1))))
		error = -EIO;
	if (error) {
		free(r);
		return error;
	}
	pthread_mutex_lock(&s->lock);
	there = find_held(s, number); /* another thread's */
	if (!there)
		LIST_INSERT_HEAD(&s->regions, r, link);
	pthread_mutex_unlock(&s->lock);
	if (there)
		free(r);
	*out = there ? there : r;
	return 0;
}

int lfs_get_region(struct leasefs_session *s, uint32_t number, struct leasefs_region *out)
{
	struct lfs_region *r;
	int error = find_region(s, number, &r);

	if (!error)
		*out = r->info;
	return error;
}

int leasefs_get_region(struct leasefs_session *session, uint32_t number, struct leasefs_region *out)
{
	int error = lfs_check_session(session);

	return error ? error : lfs_get_region(session, number, out);
}

int lfs_open_region(struct leasefs_session *s, uint32_t number, bool write, int *fd,
	uint64_t *alignment, uint32_t *media)
{
	struct lfs_region *r;
	int error = find_region(s, number, &r), opened, *kept;

	if (error)
		return error;
	kept = write ? &r->write_fd : &r->read_fd;
	pthread_mutex_lock(&s->lock);
	*fd = *kept;
	pthread_mutex_unlock(&s->lock);
	if (*fd < 0) {
		opened = open(r->info.path, (write ? O_RDWR : O_RDONLY) | O_CLOEXEC);
		if (opened < 0)
			return errno == EPERM ? -EACCES : -errno;
		pthread_mutex_lock(&s->lock);
		if (*kept < 0) {
			*kept = opened;
			opened = -1;
		}
		*fd = *kept;
		pthread_mutex_unlock(&s->lock);
		if (opened >= 0)
			close(opened);
	}
	*alignment = r->info.alignment;
	*media = r->info.media;
	return 0;
}

void lfs_close_regions(struct leasefs_session *s)
{
	struct lfs_region *r;

	while ((r = LIST_FIRST(&s->regions))) {
		LIST_REMOVE(r, link);
		if (r->read_fd >= 0)
			close(r->read_fd);
		if (r->write_fd >= 0)
			close(r->write_fd);
		free(r);
	}
}

/* ---- durability ------------------------------------------------------------------------------ */

static int sync_pages(const void *address, size_t length)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE) - 1;
	uintptr_t start = (uintptr_t)address & ~page;
	uintptr_t end = ((uintptr_t)address + length + page) & ~page;

	return msync((void *)start, end - start, MS_SYNC) ? -errno : 0;
}

int leasefs_persist_range(struct leasefs_lease *lease, const void *address, size_t length)
{
	int error = lfs_check_session(lease->session);
	uint64_t offset;
	uint32_t media;
	bool direct;

	if (error)
		return error;
	pthread_mutex_lock(&lease->lock);
	offset = (uint64_t)((const char *)address - lease->address);
	if (!lease->address || (const char *)address < lease->address || length == 0 ||
		offset >= lease->length || length > lease->length - offset)
		error = -EINVAL;
	media = lease->media;
	direct = !lease->managed;
	pthread_mutex_unlock(&lease->lock);
	if (error)
		return error;
	/* Managed: some of it may be a mapping of the file, or become one now. msync(2) does for
	 * both, on other media than pmem; there the flush is needed besides, and does no harm. */
	if (media == LEASEFS_MEDIA_PMEM)
		pmem_persist(address, length);
	else
		atomic_thread_fence(memory_order_seq_cst);
	if (media == LEASEFS_MEDIA_PAGE_CACHE || !direct)
		error = sync_pages(address, length);
	return error;
}
