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
 * direct -> file, for writing: the lease is committed; a fence is raised over the range (fence.c);
 *     the lease is returned, which makes the kernel drop what is in its cache; the file is mapped
 *     there; the fence is lowered. A store that came before the fence is in the blocks, a later one
 *     goes through the file: none reaches the blocks directly once the daemon hears of the return.
 *     The cache must be dropped, because it may hold what the file was when somebody else read it.
 *     Without a fence (no userfaultfd) one mmap(2) of a descriptor that is open for direct I/O does
 *     the same: under the lock that stops page faults too, the kernel takes the old pages out of
 *     the page tables, drops the file's cache (fuse_file_mmap(), from Linux 6.6 on), and puts the
 *     new mapping in; then the lease is returned. The daemon opens files so while they are
 *     write-leased. It drops the cache of all the file, and may have to write some of it back,
 * which waits for a truncate that is under way: in the worst case until our lease is revoked.
 *
 * file -> direct, for writing: the lease is granted; what is in the cache is written back; a fence
 * is raised; the rest is written back and dropped, by a commit; the region's pages are mapped; the
 *     fence is lowered. Without a fence this would lose a store that is in the cache while the next
 *     goes to the region. Write-back must be over when the kernel says so, which FUSE does from
 *     Linux 6.16 on; before, a page that the kernel itself was just writing back could be late.
 *
 * for reading: one mapping over the other.
 *
 * The kernel writes nothing of a file back while a truncate of it is parked, and a truncate may be
 * parked for this very lease. So nothing is written back with the lease's lock held: a piece is
 * *coming* meanwhile, and if it is recalled it is simply returned. The truncate goes on then, and
 * so does the write-back. Nor is anything called with the lock that waits for the file's inode
 * lock.
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

bool lfs_is_write(const struct leasefs_lease *l)
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
	pthread_mutex_destroy(&m->taking);
	free(m->path);
	free(m);
	l->managed = NULL;
}

void lfs_retire_locked(struct leasefs_lease *l, bool stays)
{
	if (!l->managed)
		return;
	l->managed->retired = true;
	l->managed->stays = stays;
}

void lfs_describe_managed_locked(struct leasefs_lease *l, struct leasefs_lease_state *out)
{
	out->managed = 1;
	out->gave_way = l->managed->gave_way;
	out->came_back = l->managed->came_back;
	out->error = l->managed->error;
}

int lfs_open_again(int fd, bool write)
{
	char path[32];
	int again;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	again = open(path, (write ? O_RDWR : O_RDONLY) | O_CLOEXEC);
	return again < 0 ? -errno : again;
}

/* ---- direct -> file -------------------------------------------------------------------------- */

int lfs_map_file_locked(struct leasefs_lease *l, uint64_t start, uint64_t end, bool past_cache)
{
	const struct lfs_managed *m = l->managed;
	int protection = PROT_READ | (lfs_is_write(l) ? PROT_WRITE : 0), error = 0, fd, own = -1;
	char *at;

	lfs_align_locked(l, &start, &end);
	at = l->address + (start - l->offset);
	if (!lfs_is_write(l))
		own = lfs_open_again(m->file_fd, false);
	fd = own >= 0 ? own : past_cache && m->direct_fd >= 0 ? m->direct_fd : m->file_fd;
	if (mmap(at, end - start, protection, MAP_SHARED | MAP_FIXED, fd, (off_t)start) ==
		MAP_FAILED)
		error = -errno;
	else
		madvise(at, end - start, MADV_DONTFORK);
	if (own >= 0)
		close(own);
	return error;
}

int lfs_to_file_locked(struct leasefs_lease *l, uint64_t start, uint64_t end)
{
	return lfs_map_file_locked(l, start, end, true);
}

static void note_way_given(struct leasefs_lease *l)
{
	struct lfs_managed *m = l->managed;
	uint64_t now_ns = lfs_now();
	bool soon = m->delay_ns && now_ns - m->came_back_ns < 4 * m->delay_ns;

	m->gave_way++;
	m->delay_ns = soon ? 2 * m->delay_ns : ASK_DELAY_NS;
	if (m->delay_ns > ASK_DELAY_MAX_NS)
		m->delay_ns = ASK_DELAY_MAX_NS;
	lfs_ask_at(l, now_ns + m->delay_ns);
}

static struct lfs_fence *fence_of(struct leasefs_session *s)
{
	struct lfs_fence *fence;

	pthread_mutex_lock(&s->lock);
	fence = s->fence;
	pthread_mutex_unlock(&s->lock);
	return fence;
}

/* -errno: everything is as before. */
static int return_fenced_locked(struct leasefs_lease *l, struct lfs_piece *p, uint64_t start,
	uint64_t end, struct lfs_fence *fence)
{
	char *at = l->address + (start - l->offset);
	int error = lfs_raise_fence(fence, at, end - start);

	if (error)
		return error;
	error = lfs_return_part_locked(l, p, start, end);
	if (error && !lfs_map_range_locked(l, p, start, end))
		goto lower;
	/* Never without a mapping: whoever waits at the fence would wait for ever. */
	if (lfs_map_file_locked(l, start, end, false))
		(void)lfs_hide_locked(l, start, end);
lower:
	lfs_lower_fence(fence, at, end - start);
	return error;
}

int lfs_leave_locked(struct leasefs_lease *l, struct lfs_piece *p, uint64_t start, uint64_t end)
{
	struct leasefs_commit commit = {.lease = p->id, .offset = start, .length = end - start};
	struct lfs_fence *fence = lfs_is_write(l) ? fence_of(l->session) : NULL;
	int error;

	if (p->coming)
		return lfs_return_part_locked(l, p, start, end);
	error = lfs_is_write(l) ? lfs_call(l->session, LEASEFS_IOC_COMMIT, &commit) : 0;
	if (error == -ENOTCONN)
		return error;
	l->managed->error = error;
	if (fence) {
		error = return_fenced_locked(l, p, start, end, fence);
	} else {
		error = lfs_to_file_locked(l, start, end);
		if (!error)
			error = lfs_return_part_locked(l, p, start, end);
	}
	return error;
}

static int end_ghost_locked(struct leasefs_lease *l, struct lfs_piece *p)
{
	struct leasefs_ack ack = {.lease = p->id};
	int error = p->coming ? 0 : lfs_to_file_locked(l, p->offset, p->offset + p->length);

	if (!error && !p->unknown)
		error = lfs_call(l->session, LEASEFS_IOC_ACK, &ack);
	if (error && error != -ENOENT)
		return error;
	lfs_remove_piece(p);
	note_way_given(l);
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
	if (p->coming)
		return lfs_return_part_locked(l, p, start, end);
	p->recalled = false; /* what stays of it is not */
	if (from >= end || to <= start || from >= to)
		return 0;
	from = from > start ? from : start;
	to = to < end ? to : end;
	lfs_align_locked(l, &from, &to);
	error = lfs_leave_locked(l, p, from > start ? from : start, to < end ? to : end);
	if (error)
		p->recalled = true;
	else
		note_way_given(l);
	return error;
}

int lfs_tend(struct leasefs_lease *l)
{
	struct leasefs_session *s = l->session;
	struct lfs_piece *p;
	int error = 0;

	lfs_begin_taking(s);
	pthread_mutex_lock(&l->lock);
	while (!error && (p = find_due_locked(l)))
		error = answer_locked(l, p);
	pthread_mutex_unlock(&l->lock);
	lfs_end_taking(s);
	return error;
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
	fd = open(l->managed->path, (lfs_is_write(l) ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NOFOLLOW);
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
		if (lfs_is_write(l) && !LIST_EMPTY(&l->pieces))
			(void)lfs_need_direct_fd(m);
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
