// SPDX-License-Identifier: BSD-2-Clause
/*
 * session.c - opening and closing a session, and calling the daemon.
 *
 * The control descriptor's number never changes: after a daemon's end the new control file takes
 * its place with dup3(2), so that calls which are about to be made in other threads reach one or
 * the other, and whoever has passed the number on is not surprised.
 *
 * fork: a counter goes up in each child. A session that was made under another count is the
 * parent's. Nothing else is done at fork, so that a child may be forked with any lock held.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "lfs.h"

#define CLOSE_TRIES 16u /* each after a cut that had not been heard of: they come to an end */

static pthread_once_t fork_once = PTHREAD_ONCE_INIT;
static int fork_error;
static atomic_uint generation;

static void count_fork(void)
{
	atomic_fetch_add(&generation, 1);
}

static void watch_forks(void)
{
	fork_error = pthread_atfork(NULL, NULL, count_fork);
}

int lfs_check_session(const struct leasefs_session *s)
{
	return s->generation == atomic_load(&generation) ? 0 : -ECHILD;
}

/* ---- calls ----------------------------------------------------------------------------------- */

uint64_t lfs_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void lfs_wake(const struct leasefs_session *s)
{
	uint64_t one = 1;

	/* It can fail with EAGAIN alone: the thread has been woken 2^64 - 2 times already. */
	if (s->wake_fd >= 0 && write(s->wake_fd, &one, sizeof(one)) != sizeof(one))
		return;
}

/* In-flight requests of a daemon that dies fail with ECONNABORTED, later ones with ENOTCONN. */
int lfs_note_errno(struct leasefs_session *s, int error)
{
	if (error != ENOTCONN && error != ECONNABORTED && error != ENODEV)
		return -error;
	pthread_mutex_lock(&s->lock);
	if (s->state == LFS_CONNECTED)
		s->suspect = true;
	pthread_mutex_unlock(&s->lock);
	lfs_wake(s);
	return -ENOTCONN;
}

int lfs_call(struct leasefs_session *s, unsigned long number, void *data)
{
	int result;

	do {
		result = ioctl(s->control, number, data);
	} while (result < 0 && errno == EINTR);
	return result < 0 ? lfs_note_errno(s, errno) : 0;
}

int lfs_wait_held(struct leasefs_session *s, uint64_t deadline_ns)
{
	struct timespec until;

	if (deadline_ns == UINT64_MAX)
		return -pthread_cond_wait(&s->changed, &s->lock);
	until.tv_sec = (time_t)(deadline_ns / 1000000000u);
	until.tv_nsec = (long)(deadline_ns % 1000000000u);
	return -pthread_cond_timedwait(&s->changed, &s->lock, &until);
}

int lfs_await_daemon(struct leasefs_session *s)
{
	uint64_t deadline_ns = lfs_now() + LEASEFS_RECONNECT_NS;
	int error = 0;

	if (s->wake_fd < 0 || lfs_is_thread(s))
		return -ENOTCONN;
	pthread_mutex_lock(&s->lock);
	while (!error && (s->suspect || s->state == LFS_LOST) && !s->stopping)
		error = lfs_wait_held(s, deadline_ns);
	if (s->suspect || s->state != LFS_CONNECTED)
		error = -ENOTCONN;
	pthread_mutex_unlock(&s->lock);
	return error;
}

int lfs_hello(int control, struct leasefs_hello *hello)
{
	memset(hello, 0, sizeof(*hello));
	hello->abi = LEASEFS_ABI;
	hello->features = LEASEFS_FEATURE_SLOT_PINS | LEASEFS_FEATURE_RANGE_PINS |
			  LEASEFS_FEATURE_EXCLUSIVE | LEASEFS_FEATURE_RECLAIM;
	if (ioctl(control, LEASEFS_IOC_HELLO, hello))
		return -errno;
	if (hello->abi != LEASEFS_ABI || hello->pin_line_bytes != sizeof(struct leasefs_pin_line))
		return -EPROTO;
	return 0;
}

/* ---- opening --------------------------------------------------------------------------------- */

static int init_sync(struct leasefs_session *s)
{
	pthread_condattr_t clock;
	int error = pthread_condattr_init(&clock);

	if (error)
		return -error;
	error = pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
	if (!error)
		error = pthread_cond_init(&s->changed, &clock);
	pthread_condattr_destroy(&clock);
	if (error)
		return -error;
	error = pthread_mutex_init(&s->lock, NULL);
	if (error)
		goto destroy_changed;
	error = pthread_mutex_init(&s->reading, NULL);
	if (error)
		goto destroy_lock;
	return 0;
destroy_lock:
	pthread_mutex_destroy(&s->lock);
destroy_changed:
	pthread_cond_destroy(&s->changed);
	return -error;
}

static void free_session(struct leasefs_session *s)
{
	struct lfs_event *e;

	while ((e = STAILQ_FIRST(&s->queue))) {
		STAILQ_REMOVE_HEAD(&s->queue, link);
		free(e);
	}
	while ((e = STAILQ_FIRST(&s->early))) {
		STAILQ_REMOVE_HEAD(&s->early, link);
		free(e);
	}
	lfs_close_regions(s);
	if (s->event_fd >= 0)
		close(s->event_fd);
	if (s->wake_fd >= 0)
		close(s->wake_fd);
	close(s->control);
	free(s->root);
	pthread_mutex_destroy(&s->reading);
	pthread_mutex_destroy(&s->lock);
	pthread_cond_destroy(&s->changed);
	free(s);
}

/* Takes over `control` and `root`, on failure too. */
static int new_session(int control, char *root, unsigned flags, struct leasefs_session **out)
{
	struct leasefs_session *s = calloc(1, sizeof(*s));
	int error = s ? init_sync(s) : -ENOMEM;

	if (error) {
		free(s);
		free(root);
		close(control);
		return error;
	}
	s->control = control;
	s->root = root;
	s->flags = flags;
	s->generation = atomic_load(&generation);
	s->event_fd = s->wake_fd = -1;
	LIST_INIT(&s->leases);
	LIST_INIT(&s->regions);
	for (unsigned i = 0; i < LFS_TABLE; i++)
		LIST_INIT(&s->pieces[i]);
	STAILQ_INIT(&s->queue);
	STAILQ_INIT(&s->early);
	*out = s;
	return 0;
}

static int begin_session(struct leasefs_session *s)
{
	struct stat st;
	int error = lfs_hello(s->control, &s->hello);

	if (error == -EINVAL)
		error = -EPROTO; /* it knows no such call */
	if (!error && fstat(s->control, &st))
		error = -errno;
	if (error)
		return error;
	s->device = st.st_dev;
	s->pin_file_bytes = s->hello.pin_file_bytes;
	if (s->flags & LEASEFS_SESSION_NO_THREAD)
		return 0;
	s->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	s->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (s->event_fd < 0 || s->wake_fd < 0)
		return -errno;
	return lfs_start_thread(s);
}

static int open_session(int control, char *root, unsigned flags, struct leasefs_session **out)
{
	struct leasefs_session *s = NULL;
	int error = new_session(control, root, flags, &s);

	if (error)
		return error;
	error = begin_session(s);
	if (error)
		free_session(s);
	else
		*out = s;
	return error;
}

static int check_flags(unsigned flags)
{
	if (flags & ~(LEASEFS_SESSION_NO_THREAD | LEASEFS_SESSION_NO_RECLAIM))
		return -EINVAL;
	pthread_once(&fork_once, watch_forks);
	return -fork_error;
}

int leasefs_open_session_at(int fd, unsigned flags, struct leasefs_session **out)
{
	char *root;
	int control, error = check_flags(flags);

	if (!error)
		error = lfs_find_mount(fd, &root, &control);
	return error ? error : open_session(control, root, flags, out);
}

int leasefs_open_session(const char *path, unsigned flags, struct leasefs_session **out)
{
	int fd = open(path, O_PATH | O_CLOEXEC), error;

	if (fd < 0)
		return -errno;
	error = leasefs_open_session_at(fd, flags, out);
	close(fd);
	return error;
}

int leasefs_adopt_session(int control_fd, unsigned flags, struct leasefs_session **out)
{
	struct leasefs_process process = {0};
	int other, control, error = check_flags(flags);
	char *root;

	if (error)
		return error;
	/* Where it is, and that it is one: a process of its session becomes accountable. */
	error = lfs_find_mount(control_fd, &root, &other);
	if (error)
		return error;
	close(other);
	if (ioctl(control_fd, LEASEFS_IOC_PROCESS, &process)) {
		error = errno == EBADF ? -ENOTTY : -errno;
		free(root);
		return error;
	}
	control = fcntl(control_fd, F_DUPFD_CLOEXEC, 0);
	if (control < 0) {
		error = -errno;
		free(root);
		return error;
	}
	return open_session(control, root, flags, out);
}

int leasefs_get_session_fd(const struct leasefs_session *session)
{
	return session->control;
}

int leasefs_get_event_fd(const struct leasefs_session *session)
{
	return session->event_fd >= 0 ? session->event_fd : session->control;
}

int leasefs_get_session(struct leasefs_session *session, struct leasefs_hello *out)
{
	int error = lfs_check_session(session);

	if (error)
		return error;
	pthread_mutex_lock(&session->lock);
	*out = session->hello;
	pthread_mutex_unlock(&session->lock);
	return 0;
}

/* ---- closing --------------------------------------------------------------------------------- */

/* A child of fork: its memory and descriptors, and nothing of what it shares with its parent. */
static void close_in_child(struct leasefs_session *s)
{
	struct leasefs_lease *l;

	while ((l = LIST_FIRST(&s->leases))) {
		struct lfs_piece *p;

		LIST_REMOVE(l, link);
		while ((p = LIST_FIRST(&l->pieces)) || (p = LIST_FIRST(&l->spent))) {
			LIST_REMOVE(p, link);
			free(p);
		}
		lfs_free_managed(l);
		free(l);
	}
	if (s->fence)
		lfs_free_fence(s->fence, false);
	free_session(s);
}

/*
 * What the daemon has revoked without having been heard yet: -ENOENT for a whole lease, -EINVAL for
 * one that was cut. The event names it and is there to be read; nothing of it is mapped any more.
 */
static bool return_pieces_locked(struct leasefs_lease *l, bool *unheard)
{
	struct leasefs_session *s = l->session;
	struct lfs_piece *p, *next;
	bool cut = false;

	for (p = LIST_FIRST(&l->pieces); p; p = next) {
		struct leasefs_ack ack = {.lease = p->id};
		/* Not `all`: what is known here, or the daemon has cut it. */
		struct leasefs_return r = {
			.lease = p->id, .offset = p->offset, .length = p->length};
		int error;

		next = LIST_NEXT(p, link);
		if (p->ghost)
			error = lfs_call(s, LEASEFS_IOC_ACK, &ack);
		else
			error = p->id ? lfs_call(s, LEASEFS_IOC_RETURN, &r) : -EINVAL;
		if (!p->ghost && (error == -ENOENT || error == -EINVAL))
			*unheard = true;
		if (!p->ghost && error == -EINVAL)
			cut = true;
		else
			lfs_spend_piece(p);
	}
	return cut;
}

/* What is pinned stays the daemon's matter: its blocks wait for this process to end. */
static void give_all_back(struct leasefs_session *s)
{
	struct leasefs_lease *l;
	bool cut, unheard;
	unsigned tries = 0;

	do {
		cut = false;
		/* The thread may have been ended in front of what was returned a moment ago. */
		unheard = s->wake_fd >= 0;
		for (l = lfs_get_next(s, NULL); l; l = lfs_get_next(s, l)) {
			pthread_mutex_lock(&l->lock);
			if (l->address)
				lfs_unmap_locked(l);
			cut |= return_pieces_locked(l, &unheard);
			pthread_mutex_unlock(&l->lock);
		}
		if (unheard && lfs_read_events(s))
			break;
	} while (cut && tries++ < CLOSE_TRIES);
	while ((l = LIST_FIRST(&s->leases))) {
		struct lfs_piece *p;

		while ((p = LIST_FIRST(&l->pieces)))
			lfs_remove_piece(p);
		lfs_drop_events(s, l);
		lfs_put_lease(l);
	}
}

int leasefs_close_session(struct leasefs_session *session)
{
	if (lfs_check_session(session)) {
		close_in_child(session);
		return 0;
	}
	if (lfs_is_thread(session))
		return -EDEADLK;
	lfs_stop_thread(session);
	give_all_back(session);
	lfs_unmap_lines(session);
	if (session->fence)
		lfs_free_fence(session->fence, true);
	free_session(session);
	return 0;
}
