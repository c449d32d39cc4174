// SPDX-License-Identifier: BSD-2-Clause
/*
 * reclaim.c - going on with a new daemon.
 *
 * The thread alone does this. It looks for the new mount at the old one's path, as often as the
 * table of mounts changes and from time to time besides (the same mount may become usable later),
 * until the session is closed: calls wait only for LEASEFS_RECONNECT_NS, but a daemon that comes
 * later is still welcome.
 *
 *   1. control file, HELLO
 *   2. RECLAIM of each piece. What comes back has the range that the daemon knows: a return whose
 *      answer was lost has made it smaller. ESTALE: revoked; ENOENT: it was given back.
 *   3. RECLAIM of any, until there are none: ids that were never heard of. They are returned.
 *   4. the new control file takes the old descriptor's number; its cookie is the session's
 *   5. managed leases open their files again, and take what they lack
 *
 * If the daemon ends before 4, everything starts again with the next one and the old cookie. What
 * cannot be reclaimed becomes a ghost that the daemon does not know, and is reported as revoked:
 * its blocks wait for this process, whose mapping stays until it says so.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lfs.h"

#define LOOK_AGAIN_MS 100

static void set_state(struct leasefs_session *s, enum lfs_state state)
{
	pthread_mutex_lock(&s->lock);
	s->state = state;
	s->suspect = false;
	pthread_cond_broadcast(&s->changed);
	pthread_mutex_unlock(&s->lock);
}

static bool is_stopping(struct leasefs_session *s)
{
	bool stopping;

	pthread_mutex_lock(&s->lock);
	stopping = s->stopping;
	pthread_mutex_unlock(&s->lock);
	return stopping;
}

static void tell(struct leasefs_session *s, uint32_t kind)
{
	struct leasefs_event e = {.kind = kind};

	lfs_queue_event(s, &e, NULL);
	lfs_run_callbacks(s);
}

/* ---- one daemon ------------------------------------------------------------------------------ */

static int reclaim_one(
	const struct leasefs_session *s, int control, uint64_t id, struct leasefs_reclaim *r)
{
	memset(r, 0, sizeof(*r));
	memcpy(r->cookie, s->old_cookie, sizeof(r->cookie));
	memcpy(r->boot, s->old_boot, sizeof(r->boot));
	r->lease = id;
	return ioctl(control, LEASEFS_IOC_RECLAIM, r) ? -errno : 0;
}

static void lose_piece_locked(struct leasefs_lease *l, struct lfs_piece *p, bool unknown)
{
	struct leasefs_event e = {.kind = LEASEFS_EVENT_REVOKED,
		.lease = p->id,
		.origin = p->id,
		.inode = l->inode,
		.offset = p->offset,
		.length = p->length,
		.mode = l->flags & LEASEFS_TAKE_WRITE ? LEASEFS_MODE_WRITE : LEASEFS_MODE_READ};

	if (p->ghost) {
		p->unknown = p->unknown || unknown;
		return;
	}
	p->ghost = true;
	p->unknown = unknown;
	p->recalled = false;
	p->slow_pin = 0;
	l->range_pins = unknown ? 0 : l->range_pins;
	__atomic_store_n(&l->head.slowly, 1, __ATOMIC_SEQ_CST);
	if (!l->managed)
		lfs_queue_event(l->session, &e, l);
}

/*
 * The daemon's range is inside the piece's. The rest had been given back, and is inaccessible since
 * before the call; or it had been revoked, and stays mapped until that event, which comes again,
 * has been answered.
 */
static int shrink_piece_locked(struct lfs_piece *p, const struct leasefs_reclaim *r)
{
	uint64_t end = p->offset + p->length, new_end = r->offset + r->length;

	if (r->offset < p->offset || new_end > end || r->length == 0)
		return -EIO;
	p->offset = r->offset;
	p->length = r->length;
	return 0;
}

/* -ENOTCONN: this daemon has gone, too. */
static int reclaim_piece_locked(
	struct leasefs_session *s, int control, struct leasefs_lease *l, struct lfs_piece *p)
{
	struct leasefs_reclaim r;
	int error = reclaim_one(s, control, p->id, &r);

	if (error == -ENOTCONN || error == -ECONNABORTED || error == -ENODEV)
		return -ENOTCONN;
	p->recalled = false; /* it comes again */
	if (!error)
		error = shrink_piece_locked(p, &r);
	if (error)
		lose_piece_locked(l, p, error != -ESTALE);
	return 0;
}

static int reclaim_pieces(struct leasefs_session *s, int control)
{
	struct leasefs_lease *l = NULL;
	int error = 0;

	while ((l = lfs_get_next(s, l))) {
		struct lfs_piece *p, *next;

		pthread_mutex_lock(&l->lock);
		for (p = LIST_FIRST(&l->pieces); p && !error; p = next) {
			next = LIST_NEXT(p, link);
			if (p->coming) /* nothing is mapped of it: it is returned unheard */
				lfs_remove_piece(p);
			else
				error = reclaim_piece_locked(s, control, l, p);
		}
		pthread_mutex_unlock(&l->lock);
	}
	return error;
}

/* What was granted, or cut, without our hearing of it. */
static int return_unheard(struct leasefs_session *s, int control)
{
	struct leasefs_reclaim r;
	int error;

	while (!(error = reclaim_one(s, control, 0, &r))) {
		struct leasefs_return give_back = {.lease = r.lease};

		if (ioctl(control, LEASEFS_IOC_RETURN, &give_back))
			break; /* pinned by a process that we share with: the grace period ends it
				*/
	}
	return error == -ENOTCONN || error == -ECONNABORTED ? -ENOTCONN : 0;
}

/* The session of old goes on on `control`, or a new one begins there. */
static int switch_control(struct leasefs_session *s, int control, struct leasefs_hello *hello)
{
	struct stat st;

	if (fstat(control, &st) || dup3(control, s->control, O_CLOEXEC) < 0)
		return -errno;
	pthread_mutex_lock(&s->lock);
	/* With the session its pin file is reclaimed. */
	memcpy(hello->pin_file, s->hello.pin_file, sizeof(hello->pin_file));
	hello->session = s->hello.session;
	s->hello = *hello;
	s->device = st.st_dev;
	pthread_mutex_unlock(&s->lock);
	return 0;
}

static int meet_daemon(struct leasefs_session *s)
{
	struct leasefs_reclaim any;
	struct leasefs_hello hello;
	int control = lfs_open_control(s->root), error;

	if (control < 0)
		return control;
	error = lfs_hello(control, &hello);
	if (!error && !(hello.features & LEASEFS_FEATURE_RECLAIM))
		error = -EPROTO;
	if (!error)
		error = reclaim_pieces(s, control);
	if (!error)
		error = return_unheard(s, control);
	if (!error) {
		/* Nothing of old: then the pin file is HELLO's. */
		error = reclaim_one(s, control, 0, &any);
		if (error == -ESTALE || error == -EPERM)
			lfs_forget_lines(s, &hello); /* and so are number and lines */
		error = switch_control(s, control, &hello);
	}
	close(control);
	return error;
}

/* ---- looking --------------------------------------------------------------------------------- */

/* Until the mounts change, the thread is woken, or some time has passed. */
static void wait_for_change(struct leasefs_session *s, int mounts)
{
	struct pollfd wait[2] = {
		{.fd = s->wake_fd, .events = POLLIN}, {.fd = mounts, .events = POLLPRI}};
	uint64_t count;

	poll(wait, 2, LOOK_AGAIN_MS);
	while (read(s->wake_fd, &count, sizeof(count)) < 0 && errno == EINTR)
		;
}

static void begin_again(struct leasefs_session *s)
{
	struct leasefs_lease *l = NULL;

	while ((l = lfs_get_next(s, l))) {
		pthread_mutex_lock(&l->lock);
		if (l->managed)
			lfs_reopen_locked(l);
		pthread_mutex_unlock(&l->lock);
	}
	set_state(s, LFS_CONNECTED);
	lfs_ask_all(s, 0);
	pthread_mutex_lock(&s->lock);
	s->available++; /* whoever waits asks the new one */
	s->want_count = 0;
	pthread_cond_broadcast(&s->changed);
	pthread_mutex_unlock(&s->lock);
	tell(s, LEASEFS_EVENT_RECONNECTED);
}

void lfs_reclaim_session(struct leasefs_session *s)
{
	bool over = (s->flags & LEASEFS_SESSION_NO_RECLAIM) != 0;
	int mounts;

	pthread_mutex_lock(&s->lock);
	memcpy(s->old_cookie, s->hello.cookie, sizeof(s->old_cookie));
	memcpy(s->old_boot, s->hello.boot, sizeof(s->old_boot));
	pthread_mutex_unlock(&s->lock);
	set_state(s, over ? LFS_OVER : LFS_LOST);
	tell(s, LEASEFS_EVENT_DISCONNECTED);
	if (over)
		return;
	mounts = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
	while (!is_stopping(s) && meet_daemon(s))
		wait_for_change(s, mounts);
	if (mounts >= 0)
		close(mounts);
	if (!is_stopping(s))
		begin_again(s);
}
