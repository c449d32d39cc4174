// SPDX-License-Identifier: BSD-2-Clause
/*
 * channel.c - reading requests: workers, and the foreman.
 *
 * Workers
 *   Each takes a seat (seats.h), reads a request, serves it, and sits down again. When the kernel
 *   says ENODEV (unmounted) all end.
 *
 * The foreman
 *   As many workers as have seats are there from the beginning. When all seats were found empty
 *   FOREMAN_PATIENCE times in a row, FOREMAN_TICK_NS apart, the workers are waiting for something,
 *   or have more to do than they can: then the foreman calls one who stands by, or starts another,
 *   up to threads_max. So a request that stands behind slow ones is read after that long at the
 *   latest, and quick ones never pay for a thread to be woken. The foreman sleeps until somebody
 *   leaves the last seat, and again after FOREMAN_REST ticks in which nobody has.
 *
 * Desks
 *   /dev/fuse is one desk, with its seats and its workers; with the option io_uring each of that
 *   transport's queues (uring.h) is one more, with a single seat. The foreman looks at all of them.
 *
 * Receiving
 *   read(2) into the worker's buffer. splice(2) into a pipe and from there into the region saves a
 *   big write one copy, and was no faster at any size (page by page the pipe costs as much), while
 *   every small request takes a system call more.
 */
#include "channel_impl.h"

#include <assert.h>
#include <errno.h>
#include <fuse_lowlevel.h>
#include <linux/fuse.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "daemon.h"
#include "log.h"
#include "options.h"
#include "seats.h"
#include "uring.h"

#define BUFFER_BYTES (CHANNEL_WRITE_MAX + 4096) /* and its header */
#define FOREMAN_TICK_NS 500000
#define FOREMAN_PATIENCE 2u
#define FOREMAN_REST 100u
#define STOP_SIGNAL SIGUSR1
#define STOP_INTERVAL_NS 2000000 /* the signal may come between the check and read(2): again */

struct worker {
	struct worker *next, **previous; /* guarded by channel.lock */
	pthread_t thread;
	struct daemon *d;
	struct desk *desk;
	char *buffer; /* what was received; of /dev/fuse's workers, their own */
	bool first;   /* of its desk */
};

/* ---- requests -------------------------------------------------------------------------------- */

/* Another worker may hear of the unmount before INIT's has said that there was a mount. */
static void unmounted(struct channel *ch)
{
	if (atomic_load(&ch->negotiated))
		atomic_store(&ch->was_ready, true);
	channel_set_state(ch, CHANNEL_ENDED);
}

static bool is_init(const char *buffer)
{
	return ((const struct fuse_in_header *)buffer)->opcode == FUSE_INIT;
}

static bool on_uring(const struct channel *ch, const struct worker *w)
{
	return w->desk != &ch->desks[0];
}

static int receive(struct channel *ch, struct worker *w, size_t *bytes)
{
	if (on_uring(ch, w)) {
		int result = uring_receive(ch->uring, &w->buffer, bytes);
		if (result != 0)
			return result;
	} else {
		ssize_t n = read(ch->fd, w->buffer, BUFFER_BYTES);
		if (n < 0)
			return -errno;
		if ((size_t)n < sizeof(struct fuse_in_header))
			return -EIO;
		*bytes = (size_t)n;
	}
	channel_note_request(ch, w->buffer, *bytes);
	return 0;
}

/* ---- workers --------------------------------------------------------------------------------- */

static void *worker_run(void *argument);

static int worker_start(struct daemon *d, struct desk *desk, bool first)
{
	struct channel *ch = d->channel;
	struct worker *w = calloc(1, sizeof(*w));
	pthread_attr_t detached;
	int error;

	if (w == NULL)
		return -ENOMEM;
	w->d = d;
	w->desk = desk;
	w->first = first;
	if (!on_uring(ch, w)) {
		w->buffer = malloc(BUFFER_BYTES);
		if (w->buffer == NULL) {
			free(w);
			return -ENOMEM;
		}
	}
	pthread_attr_init(&detached);
	pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
	pthread_mutex_lock(&ch->lock);
	if (desk->workers >= d->options->threads_max || atomic_load(&ch->stopping)) {
		error = EAGAIN;
	} else {
		error = pthread_create(&w->thread, &detached, worker_run, w);
	}
	if (error == 0) {
		ch->workers++;
		desk->workers++;
		w->next = ch->first;
		w->previous = &ch->first;
		if (w->next != NULL)
			w->next->previous = &w->next;
		ch->first = w;
	}
	pthread_mutex_unlock(&ch->lock);
	pthread_attr_destroy(&detached);
	if (error != 0) {
		if (!on_uring(ch, w))
			free(w->buffer);
		free(w);
	}
	return -error;
}

static void worker_end(struct worker *w)
{
	struct channel *ch = w->d->channel;

	if (!on_uring(ch, w))
		free(w->buffer);
	pthread_mutex_lock(&ch->lock);
	*w->previous = w->next;
	if (w->next != NULL)
		w->next->previous = w->previous;
	ch->workers--;
	w->desk->workers--;
	pthread_cond_signal(&ch->gone);
	pthread_mutex_unlock(&ch->lock);
	free(w);
}

static void foreman_wake(struct channel *ch)
{
	if (atomic_load(&ch->foreman_awake) || atomic_exchange(&ch->foreman_awake, true))
		return;
	int error = sem_post(&ch->foreman_wanted);
	assert(error == 0);
	(void)error;
}

/* Before the first request: false if this queue will have none. */
static bool join(struct channel *ch, struct worker *w)
{
	if (!on_uring(ch, w))
		return true;
	if (w->first) {
		while (sem_wait(&ch->uring_agreed) != 0)
			assert(errno == EINTR);
		if (!atomic_load(&ch->over_uring) || atomic_load(&ch->stopping))
			return false;
	}
	uring_join(ch->uring, (unsigned)(w->desk - ch->desks) - 1, w->first);
	return true;
}

static void serve(struct worker *w, size_t bytes)
{
	struct fuse_buf request = {.mem = w->buffer, .size = bytes};
	bool init = is_init(w->buffer);

	fuse_session_process_buf(w->d->session, &request);
	if (init)
		channel_init_done(w->d);
}

static void *worker_run(void *argument)
{
	struct worker *w = argument;
	struct channel *ch = w->d->channel;
	size_t bytes = 0;

	pthread_setname_np(pthread_self(), "leasefs-worker");
	bool wanted = join(ch, w);
	while (wanted && !atomic_load_explicit(&ch->stopping, memory_order_relaxed)) {
		if (!seats_sit(&w->desk->seats))
			break;
		int error = receive(ch, w, &bytes);
		bool others = seats_leave(&w->desk->seats);
		/* ENOENT: the request was withdrawn while it was being read. */
		if (error == -EINTR || error == -EAGAIN || error == -ENOENT)
			continue;
		if (error == -EOPNOTSUPP) {
			log_warning("the kernel refuses FUSE over io_uring: serving without");
			atomic_store(&ch->desks_open, 1);
			break;
		}
		if (error != 0) {
			if (error != -ENODEV)
				log_error("could not read a request: %s", strerror(-error));
			atomic_store(&ch->desks_open, 1);
			unmounted(ch);
			break;
		}
		if (!others)
			foreman_wake(ch);
		serve(w, bytes);
	}
	worker_end(w);
	return NULL;
}

/* ---- the foreman ----------------------------------------------------------------------------- */

static bool all_taken(struct channel *ch)
{
	for (unsigned i = 0; i < atomic_load(&ch->desks_open); i++) {
		if (!seats_taken(&ch->desks[i].seats))
			return false;
	}
	return true;
}

static void foreman_sleep(struct channel *ch)
{
	atomic_store(&ch->foreman_awake, false);
	/* What would have woken it may have come a moment before. */
	if (!all_taken(ch) || atomic_load(&ch->stopping))
		foreman_wake(ch);
	while (sem_wait(&ch->foreman_wanted) != 0)
		assert(errno == EINTR);
}

/* False: somebody sits there. */
static bool look_after(struct daemon *d, struct desk *desk)
{
	if (seats_taken(&desk->seats)) {
		desk->empty = 0;
		return false;
	}
	if (++desk->empty >= FOREMAN_PATIENCE) {
		desk->empty = 0;
		if (!seats_call(&desk->seats))
			(void)worker_start(d, desk, false); /* if it can't be: once more */
	}
	return true;
}

static void *foreman_run(void *argument)
{
	const struct timespec tick = {.tv_nsec = FOREMAN_TICK_NS};
	struct daemon *d = argument;
	struct channel *ch = d->channel;
	unsigned quiet = FOREMAN_REST;

	pthread_setname_np(pthread_self(), "leasefs-foreman");
	while (!atomic_load(&ch->stopping)) {
		if (quiet == FOREMAN_REST) {
			foreman_sleep(ch);
			quiet = 0;
			for (unsigned i = 0; i < ch->desks_count; i++)
				ch->desks[i].empty = 0;
			continue;
		}
		clock_nanosleep(CLOCK_MONOTONIC, 0, &tick, NULL);
		quiet++;
		for (unsigned i = 0; i < atomic_load(&ch->desks_open); i++) {
			if (look_after(d, &ch->desks[i]))
				quiet = 0;
		}
	}
	return NULL;
}

/* ---- life ------------------------------------------------------------------------------------ */

static void stop_signal(int signal)
{
}

static int open_desks(struct channel *ch, unsigned seats)
{
	unsigned count = 1 + (ch->uring == NULL ? 0 : uring_queues(ch->uring));
	int result = 0;

	ch->desks = calloc(count, sizeof(*ch->desks));
	if (ch->desks == NULL)
		return -ENOMEM;
	for (; result == 0 && ch->desks_count < count; ch->desks_count += result == 0)
		result = seats_init(
			&ch->desks[ch->desks_count].seats, ch->desks_count == 0 ? seats : 1);
	atomic_init(&ch->desks_open, 1);
	return result;
}

static void channel_free(struct channel *ch)
{
	for (unsigned i = 0; i < ch->desks_count; i++)
		seats_destroy(&ch->desks[i].seats);
	free(ch->desks);
	if (ch->uring != NULL)
		uring_close(ch->uring);
	sem_destroy(&ch->uring_agreed);
	sem_destroy(&ch->foreman_wanted);
	pthread_cond_destroy(&ch->gone);
	pthread_mutex_destroy(&ch->lock);
	if (ch->event_fd >= 0)
		close(ch->event_fd);
	free(ch);
}

int channel_open(struct daemon *d)
{
	struct channel *ch = calloc(1, sizeof(*ch));
	struct sigaction action = {.sa_handler = stop_signal};
	int result = 0;

	if (ch == NULL)
		return -ENOMEM;
	ch->fd = fuse_session_fd(d->session);
	pthread_mutex_init(&ch->lock, NULL);
	pthread_cond_init(&ch->gone, NULL);
	ch->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (ch->event_fd < 0 || sigaction(STOP_SIGNAL, &action, NULL) != 0 ||
		sem_init(&ch->uring_agreed, 0, 0) != 0 || sem_init(&ch->foreman_wanted, 0, 0) != 0)
		result = -errno;
	if (result == 0 && d->options->io_uring)
		result = uring_open(&ch->uring, ch->fd);
	if (result == 0)
		result = open_desks(ch, d->options->threads_idle_max);
	d->channel = ch;
	if (result == 0)
		result = channel_hook_replies(d);
	if (result != 0) {
		d->channel = NULL;
		channel_free(ch);
	}
	return result;
}

int channel_start(struct daemon *d)
{
	struct channel *ch = d->channel;
	unsigned wanted = d->options->threads_idle_max;
	int result = -pthread_create(&ch->foreman, NULL, foreman_run, d);

	if (result != 0)
		return result;
	if (wanted > d->options->threads_max)
		wanted = d->options->threads_max;
	for (unsigned i = 1; i < ch->desks_count && result == 0; i++)
		result = worker_start(d, &ch->desks[i], true);
	for (unsigned i = 0; i < wanted && result == 0; i++)
		result = worker_start(d, &ch->desks[0], false);
	if (result != 0)
		channel_stop(d);
	return result;
}

int channel_event_fd(const struct daemon *d)
{
	return d->channel->event_fd;
}

bool channel_was_ready(const struct daemon *d)
{
	return atomic_load(&d->channel->was_ready);
}

enum channel_state channel_state(const struct daemon *d)
{
	uint64_t count;

	/* EAGAIN: nothing new, the state stands all the same. */
	(void)!read(d->channel->event_fd, &count, sizeof(count));
	return atomic_load(&d->channel->state);
}

void channel_stop(struct daemon *d)
{
	struct channel *ch = d->channel;

	atomic_store(&ch->stopping, true);
	for (unsigned i = 0; i < ch->desks_count; i++) {
		seats_end(&ch->desks[i].seats);
		sem_post(&ch->uring_agreed); /* INIT may never have come */
	}
	pthread_mutex_lock(&ch->lock);
	while (ch->workers > 0) {
		struct timespec until;
		for (struct worker *w = ch->first; w != NULL; w = w->next)
			(void)pthread_kill(w->thread, STOP_SIGNAL); /* in the list: not gone */
		clock_gettime(CLOCK_REALTIME, &until);
		until.tv_nsec += STOP_INTERVAL_NS;
		if (until.tv_nsec >= 1000000000) {
			until.tv_nsec -= 1000000000;
			until.tv_sec++;
		}
		(void)pthread_cond_timedwait(&ch->gone, &ch->lock, &until);
	}
	pthread_mutex_unlock(&ch->lock);
	foreman_wake(ch);
	pthread_join(ch->foreman, NULL);
}

void channel_close(struct daemon *d)
{
	assert(d->channel->workers == 0);
	channel_free(d->channel);
	d->channel = NULL;
}
