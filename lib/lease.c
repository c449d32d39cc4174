// SPDX-License-Identifier: BSD-2-Clause
/*
 * lease.c - taking, returning, downgrading and committing leases.
 *
 * Giving back, in this order, under the lease's lock: `slowly` is set, so that no inline pin
 * succeeds any more; the mapping of the range is made inaccessible in one step (managed: a mapping
 * of the file); the daemon is told. If it refuses (pinned), the range is mapped again as it was.
 *
 * A call that meets the daemon's end is made again with the next one: the reclaim has corrected the
 * pieces meanwhile, so that what had happened already is not asked for twice.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "lfs.h"

#define CATCH_UP_TRIES 1000u /* of a millisecond: another thread has the event in its hands */

/* ---- handles --------------------------------------------------------------------------------- */

int lfs_new_lease(struct leasefs_session *s, struct leasefs_lease **out)
{
	struct leasefs_lease *l = calloc(1, sizeof(*l));
	int error = l ? -pthread_mutex_init(&l->lock, NULL) : -ENOMEM;

	if (error) {
		free(l);
		return error;
	}
	l->session = s;
	l->references = 1;
	LIST_INIT(&l->pieces);
	LIST_INIT(&l->spent);
	*out = l;
	return 0;
}

void lfs_put_lease(struct leasefs_lease *l)
{
	struct lfs_piece *p;
	bool last;

	if (!l)
		return;
	pthread_mutex_lock(&l->session->lock);
	last = --l->references == 0;
	if (last && l->link.le_prev)
		LIST_REMOVE(l, link);
	pthread_mutex_unlock(&l->session->lock);
	if (!last)
		return;
	/* Returned; an event on its way may have come after that. It is memory now. */
	while ((p = LIST_FIRST(&l->pieces)))
		lfs_remove_piece(p);
	lfs_forget_spent(l);
	lfs_free_managed(l);
	pthread_mutex_destroy(&l->lock);
	free(l);
}

/* Walks the session's leases, with a reference on the one returned; gives `after`'s back. */
struct leasefs_lease *lfs_get_next(struct leasefs_session *s, struct leasefs_lease *after)
{
	struct leasefs_lease *l;

	pthread_mutex_lock(&s->lock);
	l = after ? LIST_NEXT(after, link) : LIST_FIRST(&s->leases);
	if (l)
		l->references++;
	pthread_mutex_unlock(&s->lock);
	lfs_put_lease(after);
	return l;
}

/* No event and no callback about it from now on; the application's reference goes. */
static void retire(struct leasefs_lease *l)
{
	struct leasefs_session *s = l->session;

	pthread_mutex_lock(&s->lock);
	l->gone = true;
	while (s->calling == l && !lfs_is_thread(s))
		(void)lfs_wait_held(s, UINT64_MAX);
	pthread_mutex_unlock(&s->lock);
	lfs_drop_events(s, l);
	lfs_put_lease(l);
}

/* ---- taking ---------------------------------------------------------------------------------- */

static bool on_device(struct leasefs_session *s, const struct statx *st)
{
	bool same;

	pthread_mutex_lock(&s->lock);
	same = s->device == makedev(st->stx_dev_major, st->stx_dev_minor);
	pthread_mutex_unlock(&s->lock);
	return same;
}

int lfs_identify(struct leasefs_session *s, int fd, uint64_t *inode)
{
	struct statx st;

	if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE | STATX_INO, &st))
		return -errno;
	if (!on_device(s, &st)) {
		char *root;
		int control, error;

		/* A new mount, perhaps, of a daemon that the thread has not met yet. */
		(void)lfs_note_errno(s, ENOTCONN);
		if (lfs_await_daemon(s) || !on_device(s, &st)) {
			error = lfs_find_mount(fd, &root, &control);
			if (error)
				return error;
			free(root);
			close(control);
			return -EXDEV;
		}
	}
	if (!S_ISREG(st.stx_mode))
		return -EOPNOTSUPP;
	*inode = st.stx_ino;
	return 0;
}

int lfs_grant(struct leasefs_session *s, int fd, unsigned flags, struct leasefs_grant *grant)
{
	int result;

	grant->mode = flags & LEASEFS_TAKE_WRITE ? LEASEFS_MODE_WRITE : LEASEFS_MODE_READ;
	grant->flags = flags & LEASEFS_TAKE_EXCLUSIVE ? LEASEFS_GRANT_EXCLUSIVE : 0;
	pthread_mutex_lock(&s->lock);
	memcpy(grant->cookie, s->hello.cookie, sizeof(grant->cookie));
	pthread_mutex_unlock(&s->lock);
	do {
		result = ioctl(fd, LEASEFS_IOC_GRANT, grant);
	} while (result < 0 && errno == EINTR);
	if (result < 0)
		return lfs_note_errno(s, errno);
	pthread_mutex_lock(&s->lock);
	s->pin_file_bytes = grant->pin_file_bytes;
	pthread_mutex_unlock(&s->lock);
	return 0;
}

/* `available` for it goes to the application. */
static void note_want(
	struct leasefs_session *s, uint64_t inode, uint64_t offset, uint64_t length, unsigned flags)
{
	struct lfs_want w = {.inode = inode,
		.start = offset,
		.end = length ? offset + length : UINT64_MAX,
		.mode = flags & LEASEFS_TAKE_WRITE ? LEASEFS_MODE_WRITE : LEASEFS_MODE_READ};

	pthread_mutex_lock(&s->lock);
	for (unsigned i = 0; i < s->want_count; i++)
		if (!memcmp(&s->wants[i], &w, sizeof(w)))
			s->wants[i] = s->wants[--s->want_count];
	if (s->want_count < LFS_WANTS_MAX)
		s->wants[s->want_count++] = w;
	pthread_mutex_unlock(&s->lock);
}

static void forget_want(struct leasefs_session *s, uint64_t inode, uint64_t offset)
{
	pthread_mutex_lock(&s->lock);
	for (unsigned i = s->want_count; i-- > 0;)
		if (s->wants[i].inode == inode && s->wants[i].start == offset)
			s->wants[i] = s->wants[--s->want_count];
	pthread_mutex_unlock(&s->lock);
}

static int take(struct leasefs_session *s, int fd, unsigned flags, struct leasefs_grant *grant,
	struct leasefs_lease *l)
{
	struct leasefs_return give_back = {0};
	struct lfs_piece *p;
	int error = lfs_grant(s, fd, flags, grant);

	if (error)
		return error;
	l->offset = grant->offset;
	l->length = grant->length;
	l->flags = flags;
	if ((flags & LEASEFS_TAKE_WRITE) && grant->next == grant->offset + grant->length) {
		memcpy(l->first, grant->extents, sizeof(l->first));
		l->first_count = grant->count;
	}
	p = lfs_add_piece(l, grant->lease, grant->offset, grant->length, grant->slot);
	if (!p) {
		give_back.lease = grant->lease;
		(void)lfs_call(s, LEASEFS_IOC_RETURN, &give_back);
		return -ENOMEM;
	}
	l->head.line = p->line;
	pthread_mutex_lock(&s->lock);
	LIST_INSERT_HEAD(&s->leases, l, link);
	pthread_mutex_unlock(&s->lock);
	return 0;
}

#define TAKE_FLAGS (LEASEFS_TAKE_READ | LEASEFS_TAKE_WRITE | LEASEFS_TAKE_EXCLUSIVE)

static bool are_take_flags(unsigned flags)
{
	unsigned mode = flags & (LEASEFS_TAKE_READ | LEASEFS_TAKE_WRITE);

	return !(flags & ~TAKE_FLAGS) && (mode == LEASEFS_TAKE_READ || mode == LEASEFS_TAKE_WRITE);
}

int leasefs_take_lease(struct leasefs_session *session, int fd, uint64_t offset, uint64_t length,
	unsigned flags, struct leasefs_lease **out)
{
	struct leasefs_grant grant = {.offset = offset, .length = length};
	int error = lfs_check_session(session);
	struct leasefs_lease *l = NULL;
	uint64_t inode;

	if (!error && !are_take_flags(flags))
		error = -EINVAL;
	if (!error)
		error = lfs_identify(session, fd, &inode);
	if (!error)
		error = lfs_new_lease(session, &l);
	if (error)
		return error;
	l->inode = inode;
	/* Before it is asked: the answer to a want may be quicker than this thread. */
	note_want(session, inode, offset, length, flags);
	lfs_begin_taking(session);
	error = take(session, fd, flags, &grant, l);
	lfs_end_taking(session);
	if (error != -EAGAIN)
		forget_want(session, inode, offset);
	if (error)
		lfs_put_lease(l);
	else
		*out = l;
	return error;
}

int leasefs_wait_lease(struct leasefs_session *session, int fd, uint64_t offset, uint64_t length,
	unsigned flags, uint64_t timeout_ns, struct leasefs_lease **out)
{
	uint64_t now_ns = lfs_now(), deadline_ns;
	int error = lfs_check_session(session);

	if (error)
		return error;
	if (session->wake_fd < 0)
		return -EOPNOTSUPP;
	if (lfs_is_thread(session))
		return -EDEADLK;
	deadline_ns = timeout_ns > UINT64_MAX - now_ns ? UINT64_MAX : now_ns + timeout_ns;
	for (;;) {
		uint64_t seen;
		int late = 0;

		pthread_mutex_lock(&session->lock);
		seen = session->available;
		pthread_mutex_unlock(&session->lock);
		error = leasefs_take_lease(session, fd, offset, length, flags, out);
		if (error != -EAGAIN && error != -ENOBUFS)
			return error;
		pthread_mutex_lock(&session->lock);
		while (session->available == seen && !late && session->state == LFS_CONNECTED)
			late = lfs_wait_held(session, deadline_ns);
		pthread_mutex_unlock(&session->lock);
		if (late)
			return late;
	}
}

/* ---- giving back ----------------------------------------------------------------------------- */

int lfs_return_part_locked(
	struct leasefs_lease *l, struct lfs_piece *p, uint64_t start, uint64_t end)
{
	struct leasefs_return r = {.lease = p->id, .offset = start, .length = end - start};
	bool whole = start <= p->offset && end >= p->offset + p->length;
	/* What lies behind a part that was revoked, and is not known by its id yet. */
	int error = p->id ? lfs_call(l->session, LEASEFS_IOC_RETURN, &r) : -EINVAL;

	/* Revoked, and the event is still to come. It finds no lease; or a part, if that is left.
	 */
	if (error == -ENOENT)
		error = whole ? 0 : -EINVAL;
	if (error)
		return error;
	lfs_cut_piece(p, start, end, r.rest, r.rest_slot);
	if (r.rest && !lfs_find_piece_locked(l, r.rest)) {
		struct leasefs_return rest = {.lease = r.rest};

		(void)lfs_hide_locked(l, end, l->offset + l->length);
		(void)lfs_call(l->session, LEASEFS_IOC_RETURN, &rest);
	}
	return 0;
}

static int give_back_locked(
	struct leasefs_lease *l, struct lfs_piece *p, uint64_t start, uint64_t end)
{
	int error = 0;

	if (l->managed)
		return lfs_leave_locked(l, p, start, end);
	if (l->address)
		error = lfs_hide_locked(l, start, end);
	if (!error)
		error = lfs_return_part_locked(l, p, start, end);
	if (error == -EBUSY && l->address)
		(void)lfs_map_range_locked(l, p, start, end);
	return error;
}

static int acknowledge_locked(struct leasefs_lease *l)
{
	struct lfs_piece *p, *next;
	int result = 0;

	for (p = LIST_FIRST(&l->pieces); p; p = next) {
		struct leasefs_ack ack = {.lease = p->id};
		int error = 0;

		next = LIST_NEXT(p, link);
		if (!p->ghost)
			continue;
		if (l->address && !l->managed)
			error = lfs_hide_locked(l, p->offset, p->offset + p->length);
		if (!error && !p->unknown)
			error = lfs_call(l->session, LEASEFS_IOC_ACK, &ack);
		if (error && error != -ENOENT)
			result = error;
		else
			lfs_remove_piece(p);
	}
	return result;
}

/* Where [start, end) overlaps pieces that are held. -ENOENT: nowhere. */
static int return_range_locked(struct leasefs_lease *l, uint64_t start, uint64_t end)
{
	struct lfs_piece *p, *next;
	uint32_t slowly = l->head.slowly;
	int error = -ENOENT;

	__atomic_store_n(&l->head.slowly, 1, __ATOMIC_SEQ_CST);
	if (lfs_is_pinned_locked(l))
		error = -EBUSY;
	for (p = LIST_FIRST(&l->pieces); p && (!error || error == -ENOENT); p = next) {
		uint64_t from = start > p->offset ? start : p->offset;
		uint64_t to = end < p->offset + p->length ? end : p->offset + p->length;

		next = LIST_NEXT(p, link);
		if (!p->ghost && from < to) {
			error = give_back_locked(l, p, from, to);
			slowly = error ? slowly : 1;
		}
	}
	__atomic_store_n(&l->head.slowly, slowly, __ATOMIC_SEQ_CST);
	return error;
}

/* A lease that is being taken for a managed mapping, and in the middle of a call. */
static bool is_coming_locked(const struct leasefs_lease *l)
{
	const struct lfs_piece *p;

	LIST_FOREACH(p, &l->pieces, link)
		if (p->coming)
			return true;
	return false;
}

/*
 * `leave`: the memory goes on as a mapping of the file. What is being taken, and may stand behind a
 * fence, is awaited first (can_catch_up()): it becomes one again.
 */
static int return_all_locked(struct leasefs_lease *l, bool leave)
{
	int error = lfs_is_pinned_locked(l) ? -EBUSY : 0;

	if (error)
		return error;
	lfs_retire_locked(l, leave);
	if (leave && is_coming_locked(l))
		return -EBUSY;
	error = return_range_locked(l, l->offset, l->offset + l->length);
	if (!error || error == -ENOENT)
		error = acknowledge_locked(l);
	if (!error && l->address && leave)
		lfs_abandon_memory_locked(l);
	else if (!error && l->address)
		lfs_unmap_locked(l);
	return error;
}

/* The daemon has gone for good: what is left is memory. */
static void abandon(struct leasefs_lease *l)
{
	struct lfs_piece *p;

	pthread_mutex_lock(&l->lock);
	if (l->address)
		lfs_unmap_locked(l);
	while ((p = LIST_FIRST(&l->pieces)))
		lfs_remove_piece(p);
	pthread_mutex_unlock(&l->lock);
}

/*
 * The daemon says -EINVAL where it has cut a lease of which this side has not heard yet: the event
 * is there to be read, or another thread has it already. And -EBUSY where the session's other
 * thread is at a call on what it takes for a managed mapping: `coming`.
 */
static bool can_catch_up(struct leasefs_session *s, int error, bool coming, unsigned *tries)
{
	if (!(error == -EINVAL || (error == -EBUSY && coming)) || (*tries)++ == CATCH_UP_TRIES)
		return false;
	if (error == -EINVAL && lfs_read_events(s))
		return false;
	if (*tries > 1 || coming)
		(void)poll(NULL, 0, 1);
	return true;
}

static int return_all(struct leasefs_lease *lease, bool leave)
{
	struct leasefs_session *s = lease->session;
	int error = lfs_check_session(s);
	unsigned tries = 0;
	bool coming;

	if (error)
		return error;
	do {
		lfs_begin_taking(s);
		pthread_mutex_lock(&lease->lock);
		error = return_all_locked(lease, leave);
		coming = is_coming_locked(lease);
		pthread_mutex_unlock(&lease->lock);
		lfs_end_taking(s);
	} while ((error == -ENOTCONN && !lfs_await_daemon(s)) ||
		 can_catch_up(s, error, coming, &tries));
	return error;
}

int leasefs_return_lease(struct leasefs_lease *lease)
{
	int error = return_all(lease, false);

	if (error == -ENOTCONN) {
		abandon(lease);
		error = 0;
	}
	if (!error)
		retire(lease);
	return error;
}

int leasefs_leave_mapping(struct leasefs_lease *lease)
{
	int error = lease->managed ? return_all(lease, true) : -EOPNOTSUPP;

	if (!error)
		retire(lease);
	return error;
}

int leasefs_return_range(struct leasefs_lease *lease, uint64_t offset, uint64_t length)
{
	struct leasefs_session *s = lease->session;
	uint64_t start = offset, end = offset + length;
	int error = lfs_check_session(s);
	unsigned tries = 0;
	bool coming;

	if (error)
		return error;
	pthread_mutex_lock(&lease->lock);
	lfs_align_locked(lease, &start, &end);
	if (length == 0 || end < start || start != offset || end != offset + length ||
		start < lease->offset || end > lease->offset + lease->length)
		error = -EINVAL;
	pthread_mutex_unlock(&lease->lock);
	if (error)
		return error;
	do {
		lfs_begin_taking(s);
		pthread_mutex_lock(&lease->lock);
		error = return_range_locked(lease, start, end);
		coming = is_coming_locked(lease);
		pthread_mutex_unlock(&lease->lock);
		lfs_end_taking(s);
	} while ((error == -ENOTCONN && !lfs_await_daemon(s)) ||
		 can_catch_up(s, error, coming, &tries));
	return error;
}

int leasefs_acknowledge_lease(struct leasefs_lease *lease)
{
	int error = lfs_check_session(lease->session);

	if (error)
		return error;
	do {
		pthread_mutex_lock(&lease->lock);
		error = lfs_is_pinned_locked(lease) ? -EBUSY : acknowledge_locked(lease);
		pthread_mutex_unlock(&lease->lock);
	} while (error == -ENOTCONN && !lfs_await_daemon(lease->session));
	return error;
}

/* ---- downgrading and committing -------------------------------------------------------------- */

static int protect_locked(struct leasefs_lease *l, const struct lfs_piece *p, int protection)
{
	if (!l->address)
		return 0;
	return mprotect(l->address + (p->offset - l->offset), p->length, protection) ? -errno : 0;
}

static int downgrade_locked(struct leasefs_lease *l, unsigned flags)
{
	struct lfs_piece *p;
	int error = 0;

	if (l->managed)
		return -EOPNOTSUPP;
	if (lfs_is_pinned_locked(l))
		return -EBUSY;
	LIST_FOREACH(p, &l->pieces, link) {
		struct leasefs_downgrade d = {.lease = p->id, .flags = flags};

		if (p->ghost)
			continue;
		error = protect_locked(l, p, PROT_READ);
		if (!error)
			error = lfs_call(l->session, LEASEFS_IOC_DOWNGRADE, &d);
		if (error && (l->flags & LEASEFS_TAKE_WRITE))
			(void)protect_locked(l, p, PROT_READ | PROT_WRITE);
		if (error)
			return error;
	}
	l->flags = LEASEFS_TAKE_READ |
		   (flags & LEASEFS_DOWNGRADE_SHARE ? 0 : l->flags & LEASEFS_TAKE_EXCLUSIVE);
	l->first_count = 0;
	return 0;
}

int leasefs_downgrade_lease(struct leasefs_lease *lease, unsigned flags)
{
	int error = lfs_check_session(lease->session);

	if (!error && (flags & ~LEASEFS_DOWNGRADE_SHARE))
		error = -EINVAL;
	if (error)
		return error;
	do {
		pthread_mutex_lock(&lease->lock);
		error = downgrade_locked(lease, flags);
		pthread_mutex_unlock(&lease->lock);
	} while (error == -ENOTCONN && !lfs_await_daemon(lease->session));
	return error;
}

/* The piece that the new size goes with: the first one that reaches it. */
static struct lfs_piece *piece_for_size(
	struct leasefs_lease *l, uint64_t start, uint64_t end, uint64_t size)
{
	struct lfs_piece *p, *best = NULL;

	LIST_FOREACH(p, &l->pieces, link)
		if (!p->ghost && p->offset < end && p->offset + p->length > start &&
			p->offset + p->length >= size && (!best || p->offset < best->offset))
			best = p;
	return best;
}

static int commit_locked(struct leasefs_lease *l, uint64_t start, uint64_t end, uint64_t size)
{
	struct lfs_piece *grows = size ? piece_for_size(l, start, end, size) : NULL, *p;
	int error = -ESTALE;

	if (size && !grows)
		return -EINVAL;
	LIST_FOREACH(p, &l->pieces, link) {
		uint64_t from = start > p->offset ? start : p->offset;
		uint64_t to = end < p->offset + p->length ? end : p->offset + p->length;
		struct leasefs_commit c = {.lease = p->id,
			.offset = from,
			.length = to - from,
			.size = p == grows ? size : 0};

		if (p->ghost || from >= to)
			continue;
		error = lfs_call(l->session, LEASEFS_IOC_COMMIT, &c);
		if (error)
			break;
	}
	return error;
}

int leasefs_commit_range(
	struct leasefs_lease *lease, uint64_t offset, uint64_t length, uint64_t size)
{
	uint64_t start = offset, end = offset + length;
	int error = lfs_check_session(lease->session);

	if (offset == 0 && length == 0) {
		start = lease->offset;
		end = start + lease->length;
	}
	if (!error &&
		(start >= end || start < lease->offset || end > lease->offset + lease->length))
		error = -EINVAL;
	if (error)
		return error;
	do {
		pthread_mutex_lock(&lease->lock);
		error = commit_locked(lease, start, end, size);
		pthread_mutex_unlock(&lease->lock);
	} while (error == -ENOTCONN && !lfs_await_daemon(lease->session));
	/* What is not direct is in the kernel's cache, and seen by everybody. */
	if (error == -ESTALE && lease->managed && !size)
		error = lfs_sync_file(lease);
	return error;
}
