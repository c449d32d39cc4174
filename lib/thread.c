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

/* Managed leases that could not ask (too many requests at once) ask again: no event tells when. */
#define ASK_AGAIN_MS 50

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

static void tend_all(struct leasefs_session *s)
{
	struct leasefs_lease *l = NULL;

	while ((l = lfs_get_next(s, l)))
		if (l->managed)
			lfs_tend(l);
}

static void *thread_main(void *argument)
{
	struct leasefs_session *s = argument;
	struct pollfd wait[2] = {{.fd = s->wake_fd, .events = POLLIN}, {.events = POLLIN}};

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
		if (poll(wait, 2, lfs_any_waits(s) ? ASK_AGAIN_MS : -1) == 0)
			lfs_retake_all(s, 0);
		if (wait[0].revents)
			drain_wakes(s);
		if (!over)
			look_at_daemon(s, wait[1].revents);
		tend_all(s);
		lfs_run_callbacks(s);
	}
}

static const int own_faults[] = {SIGBUS, SIGSEGV, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT};

int lfs_start_thread(struct leasefs_session *s)
{
	sigset_t all, before;
	int error;

	sigfillset(&all);
	for (size_t i = 0; i < sizeof(own_faults) / sizeof(own_faults[0]); i++)
		sigdelset(&all, own_faults[i]);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	error = pthread_create(&s->thread, NULL, thread_main, s);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (error) {
		close(s->wake_fd);
		s->wake_fd = -1;
	}
	return -error;
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
}
