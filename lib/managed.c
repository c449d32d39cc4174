// SPDX-License-Identifier: BSD-2-Clause
/*
 * managed.c - mappings that give way by themselves.
 *
 * Every part of a managed mapping is at any time one of two: *direct*, pages of the region under a
 * piece that is held; or *file*, a mapping of the mounted file. Both are shared and show the same
 * bytes, if each change from one to the other keeps this rule:
 *
 *     Between the last access to the one and the first to the other, by any thread, the kernel's
 *     page cache of the range is written back and dropped.
 *
 * direct -> file: one mmap(2) of a descriptor that is open for direct I/O over the range. Under the
 *     lock that also stops page faults, the kernel takes the old pages out of the page tables, then
 *     writes back and drops the file's page cache (fuse_file_mmap() does that for such
 *     descriptors, from Linux 6.6 on), then puts the new mapping in. No store can come between, so
 *     none needs to wait. Without this the cache may hold what the file was when somebody else read
 *     it, and older bytes would come to light. Then the lease is committed and given back: a store
 *     cannot reach the blocks any more when the daemon hears of it. The daemon opens files for
 *     direct I/O while they are write-leased, so the descriptor is opened when a lease has been
 *     got, and kept. For a read lease there are no stores of ours; it is opened for each change.
 *
 * file -> direct: a fence is raised over the range (fence.c), the new lease is committed, which
 *     makes the kernel write back and drop the cache, the region's pages are mapped, the fence is
 *     lowered. What was written back through the file between grant and fence is in the same
 *     blocks. Without a fence this would lose a store that is in the cache while the next one goes
 *     to the region. A read lease needs none of it. Write-back must be over when the kernel says
 * so, which FUSE does from Linux 6.16 on; before, only a page that the kernel itself was writing
 *     back at that very moment could be late.
 *
 * States of a part
 *   event                      direct                      file
 *   recall, not pinned         -> file, commit, return     .
 *   recall, pinned             told; on the last unpin     .
 *   revoked, not pinned        -> file, acknowledge        .
 *   available, refresh         .                           lease, -> direct
 *   daemon gone                .                           SIGBUS until reopened
 *
 * Who does it: the session's thread, or the caller of leasefs_refresh_lease(), under the lease's
 * lock. While it is held no call is made that waits for the file's inode lock: a truncate that
 * waits for this very lease may have it.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "managed.h"

static bool is_write(const struct leasefs_lease *l)
{
	return (l->flags & LEASEFS_TAKE_WRITE) != 0;
}

void lfs_free_managed(struct leasefs_lease *l)
{
	struct lfs_managed *m = l->managed;

	if (!m)
		return;
	if (m->file_fd >= 0)
		close(m->file_fd);
	if (m->direct_fd >= 0)
		close(m->direct_fd);
	free(m->path);
	free(m);
	l->managed = NULL;
}

void lfs_describe_managed_locked(struct leasefs_lease *l, struct leasefs_lease_state *out)
{
	out->managed = 1;
	out->gave_way = l->managed->gave_way;
	out->came_back = l->managed->came_back;
	out->error = l->managed->error;
}

/* The same file, opened anew: with the cache or past it, as the daemon says now. */
static int open_again(int fd, bool write)
{
	char path[32];
	int again;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	again = open(path, (write ? O_RDWR : O_RDONLY) | O_CLOEXEC);
	return again < 0 ? -errno : again;
}

/* ---- direct -> file -------------------------------------------------------------------------- */

int lfs_to_file_locked(struct leasefs_lease *l, uint64_t start, uint64_t end)
{
	const struct lfs_managed *m = l->managed;
	int protection = PROT_READ | (is_write(l) ? PROT_WRITE : 0), error = 0, fd, own = -1;
	char *at;

	lfs_align_locked(l, &start, &end);
	at = l->address + (start - l->offset);
	if (!is_write(l))
		own = open_again(m->file_fd, false);
	fd = own >= 0 ? own : m->direct_fd >= 0 ? m->direct_fd : m->file_fd;
	if (mmap(at, end - start, protection, MAP_SHARED | MAP_FIXED, fd, (off_t)start) ==
		MAP_FAILED)
		error = -errno;
	else
		madvise(at, end - start, MADV_DONTFORK);
	if (own >= 0)
		close(own);
	return error;
}

static int give_way_locked(
	struct leasefs_lease *l, struct lfs_piece *p, uint64_t start, uint64_t end)
{
	struct leasefs_commit commit = {.lease = p->id};
	int error = lfs_to_file_locked(l, start, end);

	if (error)
		return error;
	commit.offset = start;
	commit.length = end - start;
	if (is_write(l))
		error = lfs_call(l->session, LEASEFS_IOC_COMMIT, &commit);
	if (error == -ENOTCONN)
		return error;
	l->managed->error = error;
	error = lfs_return_part_locked(l, p, start, end);
	if (!error)
		l->managed->gave_way++;
	return error;
}

static int end_ghost_locked(struct leasefs_lease *l, struct lfs_piece *p)
{
	struct leasefs_ack ack = {.lease = p->id};
	int error = lfs_to_file_locked(l, p->offset, p->offset + p->length);

	if (!error && !p->unknown)
		error = lfs_call(l->session, LEASEFS_IOC_ACK, &ack);
	if (error && error != -ENOENT)
		return error;
	lfs_remove_piece(p);
	l->managed->gave_way++;
	return 0;
}

/* One that is to be answered, and can be. */
static struct lfs_piece *find_due_locked(struct leasefs_lease *l)
{
	struct lfs_piece *p;

	if (lfs_is_pinned_locked(l))
		return NULL;
	LIST_FOREACH(p, &l->pieces, link)
	if (p->ghost || p->recalled)
		return p;
	return NULL;
}

static int answer_locked(struct leasefs_lease *l, struct lfs_piece *p)
{
	uint64_t start = p->offset, end = p->offset + p->length;
	uint64_t from = p->recall_start, to = p->recall_end;
	int error;

	if (p->ghost)
		return end_ghost_locked(l, p);
	p->recalled = false; /* what stays of it is not */
	if (from >= end || to <= start || from >= to)
		return 0;
	from = from > start ? from : start;
	to = to < end ? to : end;
	lfs_align_locked(l, &from, &to);
	error = give_way_locked(l, p, from > start ? from : start, to < end ? to : end);
	if (error)
		p->recalled = true;
	return error;
}

void lfs_tend(struct leasefs_lease *l)
{
	struct leasefs_session *s = l->session;
	struct lfs_piece *p;
	int error = 0;
	bool some = false;

	lfs_begin_taking(s);
	pthread_mutex_lock(&l->lock);
	while (!error && (p = find_due_locked(l))) {
		error = answer_locked(l, p);
		some = true;
	}
	if (error)
		atomic_store(&l->managed->ask_again, true);
	pthread_mutex_unlock(&l->lock);
	lfs_end_taking(s);
	if (some && !error)
		(void)lfs_retake(l);
}

/* ---- file -> direct -------------------------------------------------------------------------- */

static int find_fence(struct leasefs_lease *l, struct lfs_fence **out)
{
	struct leasefs_session *s = l->session;
	struct lfs_fence *made = NULL;
	int error;

	pthread_mutex_lock(&s->lock);
	*out = s->fence;
	pthread_mutex_unlock(&s->lock);
	if (*out)
		return 0;
	error = lfs_make_fence(l->managed->user_faults, &made);
	if (error)
		return error;
	pthread_mutex_lock(&s->lock);
	if (!s->fence) {
		s->fence = made;
		made = NULL;
	}
	*out = s->fence;
	pthread_mutex_unlock(&s->lock);
	if (made)
		lfs_free_fence(made, true);
	return 0;
}

/* Also tells whether the kernel can map such a descriptor at all. */
static int need_direct_fd(struct lfs_managed *m)
{
	void *probe;
	int fd;

	if (m->direct_fd >= 0)
		return 0;
	fd = open_again(m->file_fd, true);
	if (fd < 0)
		return fd == -EPERM ? -EACCES : fd;
	probe = mmap(NULL, PAGE_BYTES, PROT_READ, MAP_SHARED, fd, 0);
	if (probe == MAP_FAILED) {
		int error = errno == ENODEV ? -EOPNOTSUPP : -errno;

		close(fd);
		return error;
	}
	munmap(probe, PAGE_BYTES);
	m->direct_fd = fd;
	return 0;
}

static int to_direct_locked(struct leasefs_lease *l, struct lfs_piece *p)
{
	struct leasefs_commit commit = {.lease = p->id, .offset = p->offset, .length = p->length};
	char *at = l->address + (p->offset - l->offset);
	struct lfs_fence *fence = NULL;
	int error;

	if (!is_write(l))
		return lfs_map_piece_locked(l, p);
	error = find_fence(l, &fence);
	if (error)
		return error;
	/* Most of it, while threads still run; the commit does the rest page by page. */
	(void)sync_file_range(l->managed->file_fd, (off_t)p->offset, (off_t)p->length,
		SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER);
	error = lfs_raise_fence(fence, at, p->length);
	if (error)
		return error;
	error = lfs_call(l->session, LEASEFS_IOC_COMMIT, &commit);
	if (!error)
		error = lfs_map_piece_locked(l, p);
	if (error && lfs_to_file_locked(l, p->offset, p->offset + p->length))
		(void)lfs_hide_locked(l, p->offset, p->offset + p->length);
	lfs_lower_fence(fence, at, p->length);
	return error;
}

int lfs_take_part_locked(struct leasefs_lease *l, uint64_t start, uint64_t end, bool first)
{
	struct leasefs_grant grant = {.offset = start, .length = end - start};
	struct lfs_managed *m = l->managed;
	struct lfs_fence *fence;
	struct lfs_piece *p;
	int error = is_write(l) && !first ? find_fence(l, &fence) : 0;

	if (!error)
		error = lfs_grant(l->session, m->file_fd, l->flags, &grant);
	if (error)
		return error;
	p = lfs_add_piece(l, grant.lease, grant.offset, grant.length, grant.slot);
	if (!p) {
		struct leasefs_return r = {.lease = grant.lease};

		(void)lfs_call(l->session, LEASEFS_IOC_RETURN, &r);
		return -ENOMEM;
	}
	if (grant.offset < l->offset || grant.offset + grant.length > l->offset + l->length)
		error = -EOPNOTSUPP; /* blocks larger than pages */
	if (!error && is_write(l))
		error = need_direct_fd(m);
	if (!error && !first)
		error = to_direct_locked(l, p);
	if (error) {
		(void)lfs_return_part_locked(l, p, p->offset, p->offset + p->length);
		return error;
	}
	lfs_inherit_pins_locked(l, p);
	m->came_back += !first;
	return 0;
}

int lfs_find_limit(const struct leasefs_lease *l, uint64_t *limit)
{
	uint64_t end = l->offset + l->length;
	struct stat st;

	if (fstat(l->managed->file_fd, &st))
		return -errno;
	*limit = ((uint64_t)st.st_size + PAGE_BYTES - 1) & ~(uint64_t)(PAGE_BYTES - 1);
	if (*limit > end)
		*limit = end;
	return 0;
}

static int retake_locked(struct leasefs_lease *l)
{
	uint64_t at = l->offset, limit = 0;
	int error = lfs_find_limit(l, &limit), result = 0;

	while (!error && at < limit) {
		const struct lfs_piece *p = lfs_next_piece_locked(l, at);
		uint64_t gap_end = p && p->offset < limit ? p->offset : limit;

		if (gap_end > at)
			result = lfs_take_part_locked(l, at, gap_end, false);
		if (result)
			break;
		p = lfs_next_piece_locked(l, at);
		at = p ? p->offset + p->length : limit;
	}
	return error ? error : result;
}

int lfs_retake(struct leasefs_lease *l)
{
	struct leasefs_session *s = l->session;
	int error = 0;

	lfs_begin_taking(s);
	pthread_mutex_lock(&l->lock);
	if (l->managed && !l->managed->retired && l->address) {
		error = retake_locked(l);
		l->managed->error = error == -EAGAIN ? 0 : error;
		atomic_store(&l->managed->ask_again, error == -ENOBUFS || error == -EBUSY);
	}
	pthread_mutex_unlock(&l->lock);
	lfs_end_taking(s);
	return error;
}

void lfs_retake_all(struct leasefs_session *s, uint64_t inode)
{
	struct leasefs_lease *l = NULL;

	while ((l = lfs_get_next(s, l)))
		if (l->managed &&
			(inode == 0 ? atomic_load(&l->managed->ask_again) : l->inode == inode))
			(void)lfs_retake(l);
}

bool lfs_any_waits(struct leasefs_session *s)
{
	struct leasefs_lease *l;
	bool any = false;

	pthread_mutex_lock(&s->lock);
	LIST_FOREACH(l, &s->leases, link)
	any = any || (l->managed && atomic_load(&l->managed->ask_again));
	pthread_mutex_unlock(&s->lock);
	return any;
}

int lfs_sync_file(struct leasefs_lease *l)
{
	int fd, error = 0;

	pthread_mutex_lock(&l->lock);
	fd = fcntl(l->managed->file_fd, F_DUPFD_CLOEXEC, 0);
	pthread_mutex_unlock(&l->lock);
	if (fd < 0 || fdatasync(fd))
		error = -errno;
	if (fd >= 0)
		close(fd);
	return error;
}

/* ---- a new daemon ---------------------------------------------------------------------------- */

static int find_file(const struct leasefs_lease *l, dev_t device)
{
	struct stat st;
	int fd;

	if (!l->managed->path)
		return -ENOENT;
	fd = open(l->managed->path, (is_write(l) ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) || st.st_dev != device || st.st_ino != l->inode) {
		close(fd);
		return -ESTALE;
	}
	return fd;
}

void lfs_reopen_locked(struct leasefs_lease *l)
{
	struct leasefs_event lost = {.kind = LEASEFS_EVENT_LOST, .inode = l->inode};
	uint64_t at = l->offset, end = l->offset + l->length;
	struct lfs_managed *m = l->managed;
	int fd;

	fd = find_file(l, l->session->device);
	if (fd >= 0) {
		close(m->file_fd);
		m->file_fd = fd;
		if (m->direct_fd >= 0)
			close(m->direct_fd);
		m->direct_fd = -1;
		if (is_write(l) && !LIST_EMPTY(&l->pieces))
			m->error = need_direct_fd(m);
	} else {
		m->error = fd;
		m->retired = true;
		lost.offset = l->offset;
		lost.length = l->length;
		lost.flags = (uint32_t)-fd;
		lfs_queue_event(l->session, &lost, l);
	}
	/* What is a mapping of the old mount's file. */
	while (fd >= 0 && at < end) {
		const struct lfs_piece *p = lfs_next_piece_locked(l, at);
		uint64_t gap_end = p && p->offset < end ? p->offset : end;

		if (gap_end > at)
			(void)lfs_to_file_locked(l, at, gap_end);
		at = p ? p->offset + p->length : end;
	}
}
