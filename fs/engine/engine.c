// SPDX-License-Identifier: BSD-2-Clause
/*
 * engine.c - see engine.h.
 *
 * Only the engine's thread touches the ring. Others leave what they want under the lock, and wake
 * it through an eventfd that the ring reads.
 *
 * A watch:  WANTED --thread submits a poll--> WATCHING --process ends--> GONE (callback)
 *                                             any --unwatch--> ENDING --poll's completion--> freed
 *
 * Invariants
 *  1. At most one timeout is in the ring that is not being removed; `armed_ns` is its time.
 *  2. A watch is freed by the thread alone, and only when the ring knows nothing of it any more.
 *  3. The callback's context is used only in state WATCHING or while `running`, which unwatch
 *     waits for: it ends that use.
 */
#include "engine.h"

#include <assert.h>
#include <errno.h>
#include <liburing.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/queue.h>
#include <unistd.h>

#define RING_ENTRIES 64u /* submissions between two waits; more are submitted in turns */
#define NEVER UINT64_MAX

/* What a completion is about: a watch's address, or one of these (never an address). */
enum { TAG_NOTHING, TAG_WAKE, TAG_TIMEOUT };

enum watch_state { WATCH_WANTED, WATCH_WATCHING, WATCH_GONE, WATCH_ENDING };
struct engine_watch {
	TAILQ_ENTRY(engine_watch) all;
	enum watch_state state;
	bool in_ring;
	bool cancelled; /* a removal was submitted */
	int pidfd;
	void (*gone)(void *context);
	void *context;
};

struct engine {
	struct io_uring ring;
	pthread_t thread;
	int wake_fd;
	uint64_t wake_value; /* what the ring reads */
	void (*deadline)(void *context);
	void *context;
	struct __kernel_timespec timeout;
	uint64_t armed_ns; /* the thread's */
	uint64_t
		generation; /* of the timeout, in its tag: late completions of old ones are known */

	pthread_mutex_t lock; /* guards what follows */
	uint64_t wanted_ns;
	bool ending;
	bool changed;                 /* a watch wants something of the ring */
	struct engine_watch *running; /* whose callback runs */
	pthread_cond_t ran;
	TAILQ_HEAD(, engine_watch) watches;
};

static void wake(struct engine *e)
{
	uint64_t one = 1;

	/* EAGAIN means that a wake is pending already. */
	while (write(e->wake_fd, &one, sizeof(one)) < 0 && errno == EINTR)
		;
}

static struct io_uring_sqe *get_sqe(struct engine *e)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&e->ring);

	while (!sqe) {
		io_uring_submit(&e->ring);
		sqe = io_uring_get_sqe(&e->ring);
	}
	return sqe;
}

static uint64_t timeout_tag(const struct engine *e)
{
	return TAG_TIMEOUT | e->generation << 8; /* 2 in its low byte: no address of a watch */
}

static void arm_wake(struct engine *e)
{
	struct io_uring_sqe *sqe = get_sqe(e);

	io_uring_prep_read(sqe, e->wake_fd, &e->wake_value, sizeof(e->wake_value), 0);
	io_uring_sqe_set_data64(sqe, TAG_WAKE);
}

static void arm_timeout(struct engine *e, uint64_t wanted_ns)
{
	struct io_uring_sqe *sqe;

	if (wanted_ns == e->armed_ns)
		return;
	if (e->armed_ns != NEVER) {
		sqe = get_sqe(e);
		io_uring_prep_timeout_remove(sqe, timeout_tag(e), 0);
		io_uring_sqe_set_data64(sqe, TAG_NOTHING);
	}
	e->armed_ns = wanted_ns;
	if (wanted_ns == NEVER)
		return;
	e->generation++;
	e->timeout = (struct __kernel_timespec){.tv_sec = (long long)(wanted_ns / 1000000000),
		.tv_nsec = (long long)(wanted_ns % 1000000000)};
	sqe = get_sqe(e);
	io_uring_prep_timeout(sqe, &e->timeout, 0, IORING_TIMEOUT_ABS);
	io_uring_sqe_set_data64(sqe, timeout_tag(e));
	io_uring_submit(&e->ring); /* it reads e->timeout now */
}

/* With the lock held. */
static void submit_watches_locked(struct engine *e)
{
	struct engine_watch *w, *next;

	if (!e->changed)
		return;
	e->changed = false;
	for (w = TAILQ_FIRST(&e->watches); w; w = next) {
		struct io_uring_sqe *sqe;

		next = TAILQ_NEXT(w, all);
		if (w->state == WATCH_WANTED) {
			sqe = get_sqe(e);
			io_uring_prep_poll_add(sqe, w->pidfd, POLLIN);
			io_uring_sqe_set_data(sqe, w);
			w->state = WATCH_WATCHING;
			w->in_ring = true;
		} else if (w->state == WATCH_ENDING && w->in_ring && !w->cancelled) {
			sqe = get_sqe(e);
			io_uring_prep_poll_remove(sqe, (uint64_t)(uintptr_t)w);
			io_uring_sqe_set_data64(sqe, TAG_NOTHING);
			w->cancelled = true;
		} else if (w->state == WATCH_ENDING && !w->in_ring) {
			TAILQ_REMOVE(&e->watches, w, all);
			free(w);
		}
	}
}

static void on_watch(struct engine *e, struct engine_watch *w)
{
	void (*gone)(void *context) = NULL;
	void *context = NULL;

	pthread_mutex_lock(&e->lock);
	w->in_ring = false;
	if (w->state == WATCH_WATCHING) {
		w->state = WATCH_GONE;
		gone = w->gone;
		context = w->context;
		e->running = w;
	} else {
		e->changed = true;
	}
	pthread_mutex_unlock(&e->lock);
	if (!gone)
		return;
	gone(context);
	pthread_mutex_lock(&e->lock);
	e->running = NULL;
	pthread_cond_broadcast(&e->ran);
	pthread_mutex_unlock(&e->lock);
}

static void on_completion(struct engine *e, uint64_t tag)
{
	if (tag == TAG_NOTHING)
		return;
	if (tag == TAG_WAKE) {
		arm_wake(e);
	} else if ((tag & 0xff) == TAG_TIMEOUT) {
		if (tag != timeout_tag(e) || e->armed_ns == NEVER)
			return;
		e->armed_ns = NEVER;
		pthread_mutex_lock(&e->lock);
		e->wanted_ns = NEVER;
		pthread_mutex_unlock(&e->lock);
		e->deadline(e->context);
	} else {
		on_watch(e, (struct engine_watch *)(uintptr_t)tag);
	}
}

static void *engine_loop(void *context)
{
	struct engine *e = context;

	arm_wake(e);
	for (;;) {
		struct io_uring_cqe *cqe;
		uint64_t wanted_ns;
		bool ending;

		pthread_mutex_lock(&e->lock);
		submit_watches_locked(e);
		wanted_ns = e->wanted_ns;
		ending = e->ending;
		pthread_mutex_unlock(&e->lock);
		if (ending)
			break;
		arm_timeout(e, wanted_ns);
		io_uring_submit_and_wait(&e->ring, 1);
		while (io_uring_peek_cqe(&e->ring, &cqe) == 0) {
			uint64_t tag = io_uring_cqe_get_data64(cqe);

			io_uring_cqe_seen(&e->ring, cqe);
			on_completion(e, tag);
		}
	}
	return NULL;
}

int engine_create(void (*deadline)(void *context), void *context, struct engine **out)
{
	struct engine *e = calloc(1, sizeof(*e));
	int error;

	_Static_assert(_Alignof(struct engine_watch) >= 4, "tags are no addresses");
	if (!e)
		return -ENOMEM;
	e->deadline = deadline;
	e->context = context;
	e->armed_ns = e->wanted_ns = NEVER;
	TAILQ_INIT(&e->watches);
	pthread_mutex_init(&e->lock, NULL);
	pthread_cond_init(&e->ran, NULL);
	e->wake_fd = eventfd(0, EFD_CLOEXEC);
	if (e->wake_fd < 0) {
		error = -errno;
		goto free_engine;
	}
	error = io_uring_queue_init(RING_ENTRIES, &e->ring, 0);
	if (error)
		goto close_wake;
	error = -pthread_create(&e->thread, NULL, engine_loop, e);
	if (error)
		goto exit_ring;
	pthread_setname_np(e->thread, "leasefs-engine");
	*out = e;
	return 0;
exit_ring:
	io_uring_queue_exit(&e->ring);
close_wake:
	close(e->wake_fd);
free_engine:
	pthread_cond_destroy(&e->ran);
	pthread_mutex_destroy(&e->lock);
	free(e);
	return error;
}

void engine_destroy(struct engine *e)
{
	struct engine_watch *w;

	if (!e)
		return;
	pthread_mutex_lock(&e->lock);
	e->ending = true;
	pthread_mutex_unlock(&e->lock);
	wake(e);
	pthread_join(e->thread, NULL);
	io_uring_queue_exit(&e->ring);
	while ((w = TAILQ_FIRST(&e->watches))) {
		TAILQ_REMOVE(&e->watches, w, all);
		free(w);
	}
	close(e->wake_fd);
	pthread_cond_destroy(&e->ran);
	pthread_mutex_destroy(&e->lock);
	free(e);
}

void engine_set_deadline(struct engine *e, uint64_t deadline_ns)
{
	bool changed;

	pthread_mutex_lock(&e->lock);
	changed = e->wanted_ns != deadline_ns;
	e->wanted_ns = deadline_ns;
	pthread_mutex_unlock(&e->lock);
	if (changed)
		wake(e);
}

int engine_watch_process(struct engine *e, int pidfd, void (*gone)(void *context), void *context,
	struct engine_watch **out)
{
	struct engine_watch *w = calloc(1, sizeof(*w));

	if (!w)
		return -ENOMEM;
	w->pidfd = pidfd;
	w->gone = gone;
	w->context = context;
	pthread_mutex_lock(&e->lock);
	TAILQ_INSERT_TAIL(&e->watches, w, all);
	e->changed = true;
	*out = w;
	pthread_mutex_unlock(&e->lock);
	wake(e);
	return 0;
}

void engine_unwatch(struct engine *e, struct engine_watch *w)
{
	pthread_mutex_lock(&e->lock);
	assert(w->state != WATCH_ENDING);
	while (e->running == w && !pthread_equal(pthread_self(), e->thread))
		pthread_cond_wait(&e->ran, &e->lock);
	w->state = WATCH_ENDING;
	e->changed = true;
	pthread_mutex_unlock(&e->lock);
	wake(e);
}
