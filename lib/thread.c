// SPDX-License-Identifier: BSD-2-Clause
/*
 * thread.c - the library's thread of a session.
 *
 * It waits in poll(2) for the control file and for wake_fd, and never in read(2): the last close of
 * the session would have to wait for it. Each round it reads what events there are, applies them,
 * lets managed leases answer, and calls back.
 *
 * Signals are blocked in it, so that a program's handlers run on the program's own threads; but not
 * those that say what a thread itself has done, since a callback may touch a mapping in a guard.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "lfs.h"

/* What could not be answered, because another call on that lease was under way. */
#define ANSWER_AGAIN_MS 50

static __thread const struct leasefs_session *mine; /* the session that this thread serves */

bool lfs_is_thread(const struct leasefs_session *s)
{
	return mine == s;
}

static void drain_wakes(const struct leasefs_session *s)
{
	uint64_t count;

	while (read(s->wake_fd, &count, sizeof(count)) < 0 && errno == EINTR)
		;
}

/* Is the daemon there? A HELLO on a session shows it again. */
static bool has_gone(struct leasefs_session *s)
{
	struct leasefs_hello again;
	int error = lfs_hello(s->control, &again);

	return error == -ENOTCONN || error == -ECONNABORTED || error == -ENODEV;
}

static void look_at_daemon(struct leasefs_session *s, short revents)
{
	bool suspect;
	int error = 0;

	if (revents & POLLIN)
		error = lfs_read_events(s);
	pthread_mutex_lock(&s->lock);
	suspect = s->state == LFS_CONNECTED &&
		  (s->suspect || error == -ENOTCONN || (revents & (POLLERR | POLLHUP | POLLNVAL)));
	s->suspect = suspect;
	pthread_mutex_unlock(&s->lock);
	if (!suspect)
		return;
	if (has_gone(s)) {
		lfs_reclaim_session(s);
		return;
	}
	pthread_mutex_lock(&s->lock);
	s->suspect = false;
	pthread_cond_broadcast(&s->changed);
	pthread_mutex_unlock(&s->lock);
}

/* Not 0: somebody could not answer, and tries again. */
static int tend_all(struct leasefs_session *s)
{
	struct leasefs_lease *l = NULL;
	int error = 0;

	while ((l = lfs_get_next(s, l)))
		if (l->managed && lfs_tend(l))
			error = -EAGAIN;
	return error;
}

static void *thread_main(void *argument)
{
	struct leasefs_session *s = argument;
	struct pollfd wait[2] = {{.fd = s->wake_fd, .events = POLLIN}, {.events = POLLIN}};
	int again = 0;

	mine = s;
	for (;;) {
		bool stopping, over;

		pthread_mutex_lock(&s->lock);
		stopping = s->stopping;
		over = s->state == LFS_OVER;
		pthread_mutex_unlock(&s->lock);
		if (stopping)
			return NULL;
		wait[1].fd = over ? -1 : s->control;
		wait[0].revents = wait[1].revents = 0;
		poll(wait, 2, again && !over ? ANSWER_AGAIN_MS : -1);
		if (wait[0].revents)
			drain_wakes(s);
		if (!over)
			look_at_daemon(s, wait[1].revents);
		again = tend_all(s);
		lfs_run_callbacks(s);
	}
}

/* Takes again what managed leases have given back. The other thread never waits for it. */
static void *taker_main(void *argument)
{
	struct leasefs_session *s = argument;
	uint64_t next_ns = UINT64_MAX, seen = 0;

	for (;;) {
		int late = 0;

		pthread_mutex_lock(&s->lock);
		while (!s->stopping && s->asks == seen && !late)
			late = lfs_wait_held(s, next_ns);
		seen = s->asks;
		if (s->stopping) {
			pthread_mutex_unlock(&s->lock);
			return NULL;
		}
		pthread_mutex_unlock(&s->lock);
		next_ns = lfs_retake_due(s);
	}
}

static const int own_faults[] = {SIGBUS, SIGSEGV, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT};

static int start(pthread_t *thread, void *(*main)(void *), struct leasefs_session *s)
{
	sigset_t all, before;
	int error;

	sigfillset(&all);
	for (size_t i = 0; i < sizeof(own_faults) / sizeof(own_faults[0]); i++)
		sigdelset(&all, own_faults[i]);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	error = pthread_create(thread, NULL, main, s);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return -error;
}

int lfs_start_thread(struct leasefs_session *s)
{
	int error = start(&s->thread, thread_main, s);

	if (error) {
		close(s->wake_fd);
		s->wake_fd = -1;
	}
	return error;
}

int lfs_start_taker(struct leasefs_session *s)
{
	int error = 0;

	pthread_mutex_lock(&s->lock);
	if (!s->has_taker)
		error = start(&s->taker, taker_main, s);
	s->has_taker = !error;
	pthread_mutex_unlock(&s->lock);
	return error;
}

void lfs_stop_thread(struct leasefs_session *s)
{
	if (s->wake_fd < 0)
		return;
	pthread_mutex_lock(&s->lock);
	s->stopping = true;
	pthread_cond_broadcast(&s->changed);
	pthread_mutex_unlock(&s->lock);
	lfs_wake(s);
	pthread_join(s->thread, NULL);
	if (s->has_taker)
		pthread_join(s->taker, NULL);
}
