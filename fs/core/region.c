// SPDX-License-Identifier: BSD-2-Clause
/*
 * region.c - opening and mapping regions, and the one persist interface.
 *
 * A region is opened by name once, relative to a directory descriptor and without following a
 * symlink, as O_PATH; what it is gets decided on that descriptor; everything later, libpmem's own
 * open included, goes through /proc/self/fd/N and so reaches the same file whatever happens to the
 * name meanwhile.
 *
 * Invariants
 *  1. durable and working are mapped whole, `bytes` long, and stay so until region_close().
 *  2. The views differ only in pages that region_apply() wrote and region_publish() has not
 *     published.
 *  3. Every store into the durable view is told to the recorder, in the order of the calls.
 */
#include "region_impl.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libpmem.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <unistd.h>

/* Below this a plain copy and a flush are quicker than libpmem's non-temporal stores. */
#define PMEM_COPY_MIN 1024u

static const struct region_recorder *_Atomic recorder;

void region_set_recorder(const struct region_recorder *to)
{
	atomic_store_explicit(&recorder, to, memory_order_release);
}

static void record_store(const struct region *r, uint64_t offset, const void *bytes, uint64_t n)
{
	const struct region_recorder *to = atomic_load_explicit(&recorder, memory_order_acquire);

	if (to && to->store && n)
		to->store(to->context, r, offset, bytes, n);
}

static void record_flush(const struct region *r, uint64_t offset, uint64_t count)
{
	const struct region_recorder *to = atomic_load_explicit(&recorder, memory_order_acquire);

	if (to && to->flush)
		to->flush(to->context, r, offset, count);
}

static void record_fence(const struct region *r)
{
	const struct region_recorder *to = atomic_load_explicit(&recorder, memory_order_acquire);

	if (to && to->fence)
		to->fence(to->context, r);
}

static void assert_inside(const struct region *r, uint64_t offset, uint64_t count)
{
	assert(offset <= r->bytes && count <= r->bytes - offset);
}

/* ---- opening --------------------------------------------------------------------------------- */

static int open_existing(const struct region_options *o, int *out, struct diag *d)
{
	int access = o->flags & REGION_READ_ONLY ? O_RDONLY : O_RDWR;
	char link[64];
	struct stat st;
	int name_fd, fd, error;

	name_fd = openat(o->dir_fd, o->path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (name_fd < 0)
		return diag_set(d, -errno, "cannot open %s: %s", o->path, strerror(errno));
	if (fstat(name_fd, &st)) {
		error = diag_set(d, -errno, "%s: %s", o->path, strerror(errno));
		goto out;
	}
	if (S_ISLNK(st.st_mode)) {
		error = diag_set(
			d, -ELOOP, "%s is a symbolic link, which is never followed here", o->path);
		goto out;
	}
	if (!S_ISREG(st.st_mode) && !S_ISCHR(st.st_mode)) {
		error = diag_set(d, -EINVAL, "%s is not a regular file or a DAX device", o->path);
		goto out;
	}
	snprintf(link, sizeof(link), "/proc/self/fd/%d", name_fd);
	/* A file is waited for: its owner may have a lease on it (F_SETLEASE), which the kernel
	 * takes away in the end (fs.lease-break-time). */
	fd = open(link, access | O_CLOEXEC | O_NOCTTY | (S_ISREG(st.st_mode) ? 0 : O_NONBLOCK));
	if (fd < 0) {
		error = diag_set(d, -errno, "cannot open %s: %s", o->path, strerror(errno));
		goto out;
	}
	*out = fd;
	error = 0;
out:
	close(name_fd);
	return error;
}

static int open_new(const struct region_options *o, int *out, struct diag *d)
{
	int fd = openat(o->dir_fd, o->path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
		o->mode & 0700);

	if (fd < 0)
		return diag_set(d, -errno, "cannot make %s: %s", o->path, strerror(errno));
	if (fchmod(fd, o->mode)) { /* whatever the umask is */
		int error = diag_set(d, -errno, "%s: chmod: %s", o->path, strerror(errno));

		unlinkat(o->dir_fd, o->path, 0);
		close(fd);
		return error;
	}
	*out = fd;
	return 0;
}

/* An advisory lock on the description that stays open as long as the region. */
static int lock_whole(const struct region *r, const char *name, struct diag *d)
{
	if (flock(r->fd, (r->read_only ? LOCK_SH : LOCK_EX) | LOCK_NB) == 0)
		return 0;
	if (errno == EWOULDBLOCK)
		return diag_set(d, -EBUSY,
			"%s is in use: another pool has it as its data region, or a program locked "
			"it",
			name);
	return diag_set(d, -errno, "%s: cannot be locked: %s", name, strerror(errno));
}

static int check_size(const struct region *r, const struct region_options *o, struct diag *d)
{
	if (o->bytes && r->bytes != o->bytes)
		return diag_set(d, -EUCLEAN, "%s is %" PRIu64 " bytes, the pool says %" PRIu64,
			o->path, r->bytes, o->bytes);
	if (r->bytes == 0)
		return diag_set(d, -EINVAL, "%s is empty: not a region of a pool", o->path);
	if (r->bytes % r->alignment)
		return diag_set(d, -EINVAL,
			"%s is %" PRIu64
			" bytes, which is not a multiple of its mapping unit, %" PRIu64 " bytes",
			o->path, r->bytes, r->alignment);
	return 0;
}

/* ---- mapping --------------------------------------------------------------------------------- */

/* A DAX device is opened by libpmem by its own name: /proc's link hides what it is from it. */
static int pmem_path(const struct region *r, char *path, size_t size)
{
	char link[64];
	struct stat here, there;
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", r->fd);
	if (r->backend != BACKEND_DEVDAX) {
		snprintf(path, size, "%s", link);
		return 0;
	}
	n = readlink(link, path, size - 1);
	if (n < 0)
		return -errno;
	path[n] = '\0';
	if (fstat(r->fd, &here) || stat(path, &there))
		return -errno;
	return here.st_rdev == there.st_rdev && S_ISCHR(there.st_mode) ? 0 : -ESTALE;
}

static int map_durable(struct region *r, const char *name, struct diag *d)
{
	char path[PATH_MAX];
	int is_pmem = 0, error;
	void *at;

	error = pmem_path(r, path, sizeof(path));
	if (error)
		return diag_set(d, error, "%s changed while it was opened", name);
	at = pmem_map_file(path, 0, 0, 0, &r->durable_mapped, &is_pmem);
	if (!at) {
		error = errno ? -errno : -EIO;
		return diag_set(d, error, "%s: cannot be mapped: %s", name, pmem_errormsg());
	}
	if (r->durable_mapped < r->bytes) {
		pmem_unmap(at, r->durable_mapped);
		return diag_set(d, -EUCLEAN, "%s shrank while it was opened", name);
	}
	r->durable = at;
	if (is_pmem && r->backend == BACKEND_FILE) {
		r->backend = BACKEND_FSDAX;
		r->media = REGION_PMEM;
	}
	return 0;
}

/* libpmem maps for writing alone; without it, a mapping that takes MAP_SYNC is fsdax. */
static int map_read_only(struct region *r, const char *name, struct diag *d)
{
	void *at = MAP_FAILED;

	if (r->backend == BACKEND_FILE) {
		at = mmap(NULL, r->bytes, PROT_READ, MAP_SHARED_VALIDATE | MAP_SYNC, r->fd, 0);
		if (at != MAP_FAILED) {
			r->backend = BACKEND_FSDAX;
			r->media = REGION_PMEM;
		}
	}
	if (at == MAP_FAILED)
		at = mmap(NULL, r->bytes, PROT_READ, MAP_SHARED, r->fd, 0);
	if (at == MAP_FAILED)
		return diag_set(d, -errno, "%s: cannot be mapped: %s", name, strerror(errno));
	r->durable = at;
	r->durable_mapped = r->bytes;
	return 0;
}

static int map_private(struct region *r, const char *name, struct diag *d)
{
	int flags = MAP_PRIVATE | MAP_NORESERVE, fd = r->fd;

	/* A private copy of a huge page would need another huge page: copy to plain memory. */
	if (r->backend == BACKEND_HUGETLBFS) {
		flags |= MAP_ANONYMOUS;
		fd = -1;
	}
	void *at = mmap(NULL, r->bytes, PROT_READ | PROT_WRITE, flags, fd, 0);
	if (at == MAP_FAILED)
		return diag_set(d, -errno, "%s: cannot be mapped: %s", name, strerror(errno));
	if (r->backend == BACKEND_HUGETLBFS)
		memcpy(at, r->durable, r->bytes);
	r->working = at;
	return 0;
}

static int map_views(struct region *r, const struct region_options *o, struct diag *d)
{
	int error = r->read_only ? map_read_only(r, o->path, d) : map_durable(r, o->path, d);

	if (error)
		return error;
	r->working = r->durable;
	bool relaxed = r->media == REGION_PAGE_CACHE && r->durability == DURABILITY_RELAXED;
	if ((o->flags & REGION_PRIVATE_VIEW) && (relaxed || r->read_only))
		return map_private(r, o->path, d);
	return 0;
}

static void unmap_views(struct region *r)
{
	if (r->working && r->working != r->durable)
		munmap(r->working, r->bytes);
	if (!r->durable)
		return;
	if (r->read_only)
		munmap(r->durable, r->durable_mapped);
	else
		pmem_unmap(r->durable, r->durable_mapped);
}

int region_open(const struct region_options *options, struct region **out, struct diag *d)
{
	bool create = options->flags & REGION_CREATE;
	struct region *r;
	struct stat st;
	int error;

	assert(!create || !(options->flags & REGION_READ_ONLY));
	r = calloc(1, sizeof(*r));
	if (!r)
		return diag_set(d, -ENOMEM, "out of memory");
	r->read_only = options->flags & REGION_READ_ONLY;
	r->durability = options->durability;
	error = create ? open_new(options, &r->fd, d) : open_existing(options, &r->fd, d);
	if (error)
		goto free_region;
	if (fstat(r->fd, &st)) {
		error = diag_set(d, -errno, "%s: %s", options->path, strerror(errno));
		goto close_fd;
	}
	error = region_detect(r, options->path, &st, d);
	if (!error && (options->flags & REGION_EXCLUSIVE))
		error = lock_whole(r, options->path, d);
	if (!error && create)
		error = region_reserve_new(r, options->path,
			options->bytes + (options->flags & REGION_TAIL ? r->alignment : 0), d);
	else if (!error)
		error = check_size(r, options, d);
	if (error)
		goto close_fd;
	error = map_views(r, options, d);
	if (error)
		goto unmap;
	error = region_reserve_open(r);
	if (!error)
		error = region_fault_watch(r);
	if (error) {
		diag_set(d, error, "out of memory");
		goto close_reserve;
	}
	*out = r;
	return 0;
close_reserve:
	region_reserve_close(r);
unmap:
	unmap_views(r);
close_fd:
	close(r->fd);
	if (create)
		unlinkat(options->dir_fd, options->path, 0);
free_region:
	free(r);
	return error;
}

void region_close(struct region *r)
{
	if (!r)
		return;
	region_fault_forget(r);
	unmap_views(r);
	region_reserve_close(r);
	close(r->fd);
	free(r);
}

/* ---- what it is ------------------------------------------------------------------------------ */

uint64_t region_bytes(const struct region *r)
{
	return r->bytes;
}

enum region_media region_media(const struct region *r)
{
	return r->media;
}

enum region_backend region_backend(const struct region *r)
{
	return r->backend;
}

uint64_t region_alignment(const struct region *r)
{
	return r->alignment;
}

int region_fd(const struct region *r)
{
	return r->fd;
}

bool region_read_only(const struct region *r)
{
	return r->read_only;
}

bool region_has_private_view(const struct region *r)
{
	return r->working != r->durable;
}

const void *region_at(const struct region *r, uint64_t offset, uint64_t bytes)
{
	assert_inside(r, offset, bytes);
	return r->working + offset;
}

const void *region_durable_at(const struct region *r, uint64_t offset, uint64_t bytes)
{
	assert_inside(r, offset, bytes);
	return r->durable + offset;
}

void *region_data_at(struct region *r, uint64_t offset, uint64_t bytes)
{
	assert_inside(r, offset, bytes);
	return r->working + offset;
}

void region_touched(struct region *r, uint64_t offset, uint64_t bytes)
{
	assert_inside(r, offset, bytes);
	if (r->working == r->durable)
		record_store(r, offset, r->durable + offset, bytes);
}

/* ---- stores ---------------------------------------------------------------------------------- */

void region_store(struct region *r, uint64_t offset, const void *bytes, size_t count)
{
	assert_inside(r, offset, count);
	assert(!r->read_only);
	if (r->media == REGION_PMEM && count >= PMEM_COPY_MIN)
		pmem_memcpy_nodrain(r->durable + offset, bytes, count);
	else
		memcpy(r->durable + offset, bytes, count);
	record_store(r, offset, bytes, count);
}

void region_store_zero(struct region *r, uint64_t offset, uint64_t count)
{
	assert_inside(r, offset, count);
	assert(!r->read_only);
	if (r->media == REGION_PMEM && count >= PMEM_COPY_MIN)
		pmem_memset_nodrain(r->durable + offset, 0, count);
	else
		memset(r->durable + offset, 0, count);
	record_store(r, offset, NULL, count);
}

void region_store64(struct region *r, uint64_t offset, uint64_t value)
{
	assert_inside(r, offset, sizeof(value));
	assert(!r->read_only && offset % sizeof(value) == 0);
	__atomic_store_n((uint64_t *)(void *)(r->durable + offset), value, __ATOMIC_RELEASE);
	record_store(r, offset, &value, sizeof(value));
}

void region_apply(struct region *r, uint64_t offset, const void *bytes, size_t count)
{
	if (r->working == r->durable) {
		region_store(r, offset, bytes, count);
		return;
	}
	assert_inside(r, offset, count);
	memcpy(r->working + offset, bytes, count);
}

/* ---- order and durability -------------------------------------------------------------------- */

/* Is what was asked for durable? One refusal is for good. */
static int verdict(struct region *r, int error)
{
	if (error)
		atomic_store_explicit(&r->failed, true, memory_order_release);
	else if (atomic_load_explicit(&r->failed, memory_order_acquire) || region_lost(r))
		error = -EIO;
	return error;
}

static int sync_pages(struct region *r, uint64_t offset, uint64_t count)
{
	uint64_t start = offset & ~(uint64_t)(BLOCK_SIZE - 1);

	if (count == 0)
		return 0;
	return msync(r->durable + start, offset + count - start, MS_SYNC) ? -EIO : 0;
}

int region_flush(struct region *r, uint64_t offset, uint64_t count)
{
	int error = 0;

	assert_inside(r, offset, count);
	assert(!r->read_only);
	if (r->media == REGION_PMEM)
		pmem_flush(r->durable + offset, count);
	else if (r->media == REGION_PAGE_CACHE && r->durability == DURABILITY_STRICT)
		error = sync_pages(r, offset, count);
	/* Relaxed page cache is made durable by region_sync() alone. */
	if (!error && (r->media != REGION_PAGE_CACHE || r->durability == DURABILITY_STRICT))
		record_flush(r, offset, count);
	return verdict(r, error);
}

void region_fence(struct region *r)
{
	if (r->media == REGION_PMEM)
		pmem_drain();
	else /* stores stay in order; nobody waits until they are seen */
		atomic_thread_fence(memory_order_release);
	record_fence(r);
}

int region_sync(struct region *r, uint64_t offset, uint64_t count)
{
	int error = 0;

	assert_inside(r, offset, count);
	assert(!r->read_only);
	if (r->media == REGION_PMEM) {
		pmem_flush(r->durable + offset, count);
		pmem_drain();
	} else if (r->media == REGION_PAGE_CACHE) {
		error = sync_pages(r, offset, count);
	}
	if (!error) {
		record_flush(r, offset, count);
		record_fence(r);
	}
	return verdict(r, error);
}

int region_sync_all(struct region *r)
{
	int error = 0;

	assert(!r->read_only);
	if (r->backend == BACKEND_FILE || r->backend == BACKEND_FSDAX)
		error = fdatasync(r->fd) ? -EIO : 0;
	if (r->media == REGION_PMEM)
		pmem_drain();
	if (!error) {
		record_flush(r, 0, r->bytes);
		record_fence(r);
	}
	return verdict(r, error);
}

int region_publish(struct region *r, uint64_t offset, uint64_t count)
{
	assert_inside(r, offset, count);
	if (r->working == r->durable)
		return region_sync(r, offset, count);

	/* A page that is the same stays clean: writing it back would be for nothing. */
	for (uint64_t at = offset, end = offset + count, n; at < end; at += n) {
		n = BLOCK_SIZE - at % BLOCK_SIZE;
		if (n > end - at)
			n = end - at;
		if (memcmp(r->durable + at, r->working + at, n))
			region_store(r, at, r->working + at, n);
	}
	return region_sync(r, offset, count);
}

void region_forget_private(struct region *r)
{
	if (r->working == r->durable || r->read_only)
		return;
	/* Advice that fails leaves the copies, which say the same as the pages below them. */
	(void)madvise(r->working, r->bytes, MADV_DONTNEED);
}
