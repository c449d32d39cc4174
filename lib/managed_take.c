// SPDX-License-Identifier: BSD-2-Clause
/*
 * managed_take.c - the way back: from a mapping of the file to direct pages. See managed.c.
 *
 * Whoever has recalled a range is to get it before it is asked for again: so the taker waits a
 * moment after a range was given back, and ever longer for one that is recalled again and again.
 * Where a request is refused for now, `available` tells when to ask; where that can't be, time
 * does.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "managed.h"

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
int lfs_need_direct_fd(struct lfs_managed *m)
{
	void *probe;
	int fd;

	if (m->direct_fd >= 0)
		return 0;
	fd = lfs_open_again(m->file_fd, true);
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

/*
 * The piece of that id, if it is still what was granted, and nobody wants it back. NULL: it is to
 * be given up.
 */
static struct lfs_piece *still_coming_locked(
	struct leasefs_lease *l, uint64_t id, uint64_t start, uint64_t end)
{
	struct lfs_piece *p = lfs_find_piece_locked(l, id);

	if (!p || p->ghost || p->recalled || l->managed->retired || p->offset != start ||
		p->offset + p->length != end)
		return NULL;
	return p;
}

/* Lets the lease's lock go and takes it again. */
static int to_direct_locked(struct leasefs_lease *l, struct lfs_piece *p, struct lfs_fence *fence)
{
	uint64_t id = p->id, start = p->offset, end = p->offset + p->length;
	struct leasefs_commit commit = {.lease = id, .offset = start, .length = end - start};
	char *at = l->address + (start - l->offset);
	int error, fd = l->managed->file_fd;

	/* Most of it, while threads still run; the commit does the rest page by page. */
	pthread_mutex_unlock(&l->lock);
	(void)sync_file_range(fd, (off_t)start, (off_t)(end - start),
		SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER);
	pthread_mutex_lock(&l->lock);
	if (!still_coming_locked(l, id, start, end))
		return -EAGAIN;
	error = lfs_raise_fence(fence, at, end - start);
	if (error)
		return error;
	pthread_mutex_unlock(&l->lock);
	error = lfs_call(l->session, LEASEFS_IOC_COMMIT, &commit);
	pthread_mutex_lock(&l->lock);
	p = still_coming_locked(l, id, start, end);
	if (!p)
		error = -EAGAIN; /* whatever the commit said: it was returned meanwhile */
	else if (!error)
		error = lfs_map_piece_locked(l, p);
	if (!error)
		p->coming = false;
	else if ((!l->managed->retired || l->managed->stays) &&
		 lfs_map_file_locked(l, start, end, false))
		(void)lfs_hide_locked(l, start, end);
	lfs_lower_fence(fence, at, end - start);
	return error;
}

/*
 * The daemon is asked: the kernel may not have heard yet of the truncate that has just made the
 * range available.
 */
int lfs_find_limit(const struct leasefs_lease *l, uint64_t *limit)
{
	uint64_t end = l->offset + l->length;
	struct statx st;

	if (statx(l->managed->file_fd, "", AT_EMPTY_PATH | AT_STATX_FORCE_SYNC, STATX_SIZE, &st))
		return lfs_note_errno(l->session, errno);
	*limit = (st.stx_size + PAGE_BYTES - 1) & ~(uint64_t)(PAGE_BYTES - 1);
	if (*limit > end)
		*limit = end;
	return 0;
}

/*
 * Under the lease the file does not become shorter than it, but it may have become so before. A
 * unit of the region that the file ends in is kept: it is mapped, and given back, as a whole.
 */
static int return_excess_locked(struct leasefs_lease *l, struct lfs_piece **p)
{
	uint64_t start = (*p)->offset, end = start + (*p)->length, limit = 0, place;
	uint64_t known = l->alignment, unit;
	int error = lfs_find_limit(l, &limit);

	if (error || limit >= end)
		return error;
	error = lfs_first_place_locked(l, *p, &place);
	l->alignment = l->alignment > known ? l->alignment : known;
	if (error)
		return error;
	unit = l->alignment > PAGE_BYTES ? l->alignment : PAGE_BYTES;
	limit += (unit - limit % unit) % unit;
	if (limit >= end)
		return 0;
	error = lfs_return_part_locked(l, *p, limit > start ? limit : start, end);
	if (!error && limit <= start)
		*p = NULL;
	return error;
}

/* Both ways of leaving again, and the way in. `first`: nobody knows the address yet. */
static int prepare_locked(struct leasefs_lease *l, bool first, struct lfs_fence **fence)
{
	int fenced, direct;

	*fence = NULL;
	if (!lfs_is_write(l))
		return 0;
	fenced = find_fence(l, fence);
	direct = lfs_need_direct_fd(l->managed);
	return !fenced || (first && !direct) ? 0 : first ? direct : fenced;
}

int lfs_take_part_locked(struct leasefs_lease *l, uint64_t start, uint64_t end, uint64_t *id)
{
	struct leasefs_grant grant = {.offset = start, .length = end - start};
	struct lfs_piece *p;
	int error = lfs_grant(l->session, l->managed->file_fd, l->flags, &grant);

	if (error)
		return error;
	p = lfs_add_piece(l, grant.lease, grant.offset, grant.length, grant.slot);
	if (!p) {
		struct leasefs_return r = {.lease = grant.lease};

		(void)lfs_call(l->session, LEASEFS_IOC_RETURN, &r);
		return -ENOMEM;
	}
	p->coming = true;
	*id = grant.lease;
	if (grant.offset < l->offset || grant.offset + grant.length > l->offset + l->length)
		error = -EOPNOTSUPP; /* blocks larger than pages */
	if (!error)
		error = return_excess_locked(l, &p);
	if (error)
		lfs_give_up_locked(l, grant.lease);
	else if (!p)
		*id = 0; /* the file ends before it */
	return error;
}

void lfs_give_up_locked(struct leasefs_lease *l, uint64_t id)
{
	struct lfs_piece *p = lfs_find_piece_locked(l, id);

	if (p && !p->ghost)
		(void)lfs_return_part_locked(l, p, p->offset, p->offset + p->length);
}

int lfs_prepare_first_locked(struct leasefs_lease *l)
{
	struct lfs_fence *fence;

	return prepare_locked(l, true, &fence);
}

/* One gap. The events about a lease that was just granted are let in before anything waits. */
static int take_gap(struct leasefs_lease *l, uint64_t start, uint64_t end)
{
	struct lfs_fence *fence = NULL;
	struct lfs_piece *p;
	uint64_t id = 0;
	int error;

	lfs_begin_taking(l->session);
	pthread_mutex_lock(&l->lock);
	error = l->managed->retired ? -ECANCELED : prepare_locked(l, false, &fence);
	if (!error)
		error = lfs_take_part_locked(l, start, end, &id);
	pthread_mutex_unlock(&l->lock);
	lfs_end_taking(l->session);
	if (error || id == 0)
		return error;
	pthread_mutex_lock(&l->lock);
	p = lfs_find_piece_locked(l, id);
	/* Whoever answers recalls may have given it back already. */
	if (!p || p->ghost || p->recalled || l->managed->retired) {
		error = -EAGAIN;
	} else if (lfs_is_write(l)) {
		error = to_direct_locked(l, p, fence);
	} else {
		error = lfs_map_piece_locked(l, p);
		p->coming = error != 0;
	}
	if (error) {
		lfs_give_up_locked(l, id);
	} else {
		lfs_inherit_pins_locked(l, p);
		l->managed->came_back++;
		l->managed->came_back_ns = lfs_now();
	}
	pthread_mutex_unlock(&l->lock);
	/* Recalled or revoked on its way: no event tells when to ask again. */
	return error == -EAGAIN || error == -ESTALE ? -EBUSY : error;
}

/* The first part from *at on that is not leased and not past the end of file. False: none. */
static bool find_gap(struct leasefs_lease *l, uint64_t *at, uint64_t *end, int *error)
{
	const struct lfs_piece *p;
	uint64_t limit = 0;

	pthread_mutex_lock(&l->lock);
	*error = l->managed->retired ? -ECANCELED : lfs_find_limit(l, &limit);
	while ((p = lfs_next_piece_locked(l, *at)) && p->offset <= *at)
		*at = p->offset + p->length;
	*end = p && p->offset < limit ? p->offset : limit;
	pthread_mutex_unlock(&l->lock);
	return !*error && *at < *end;
}

int lfs_retake(struct leasefs_lease *l)
{
	struct lfs_managed *m = l->managed;
	uint64_t at = l->offset, end = 0;
	int error = 0, stopped = 0;

	pthread_mutex_lock(&m->taking);
	atomic_store(&m->ask_at_ns, 0); /* who wants it sooner meanwhile sets it again */
	while (!stopped && find_gap(l, &at, &end, &error)) {
		stopped = take_gap(l, at, end);
		at = end;
	}
	error = error ? error : stopped;
	pthread_mutex_lock(&l->lock);
	m->error = error == -EAGAIN || error == -EBUSY ? 0 : error;
	pthread_mutex_unlock(&l->lock);
	if (error == -ENOBUFS || error == -EBUSY)
		lfs_ask_at(l, lfs_now() + ASK_AGAIN_NS);
	pthread_mutex_unlock(&m->taking);
	return error;
}

void lfs_ask_at(struct leasefs_lease *l, uint64_t at_ns)
{
	struct leasefs_session *s = l->session;

	atomic_store(&l->managed->ask_at_ns, at_ns);
	pthread_mutex_lock(&s->lock);
	s->asks++;
	pthread_cond_broadcast(&s->changed);
	pthread_mutex_unlock(&s->lock);
}

void lfs_ask_all(struct leasefs_session *s, uint64_t inode)
{
	struct leasefs_lease *l = NULL;

	while ((l = lfs_get_next(s, l)))
		if (l->managed && (inode == 0 || l->inode == inode))
			lfs_ask_at(l, 1);
}

uint64_t lfs_retake_due(struct leasefs_session *s)
{
	uint64_t next_ns = UINT64_MAX;
	struct leasefs_lease *l = NULL;

	while ((l = lfs_get_next(s, l))) {
		uint64_t at_ns = l->managed ? atomic_load(&l->managed->ask_at_ns) : 0;

		if (at_ns && at_ns <= lfs_now()) {
			(void)lfs_retake(l);
			at_ns = atomic_load(&l->managed->ask_at_ns);
		}
		if (at_ns && at_ns < next_ns)
			next_ns = at_ns;
	}
	return next_ns;
}
