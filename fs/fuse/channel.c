// SPDX-License-Identifier: BSD-2-Clause
/*
 * channel.c - reading requests, and the INIT reply.
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
 * Receiving
 *   read(2) into the worker's buffer. splice(2) into a pipe and from there into the region saves a
 *   big write one copy, and was no faster at any size (page by page the pipe costs as much), while
 *   every small request takes a system call more.
 *
 * What the kernel is told and asked beside libfuse
 *   HANDLE_KILLPRIV_V2 (setuid clearing is ours, the kernel says in each request whether the caller
 *   is exempt; and it need not ask for security.capability before every write) and
 *   DIRECT_IO_ALLOW_MMAP are asked for as any capability where libfuse knows them. Libfuse 3.14
 *   does not: there INIT's reply passes through channel_writev(), which adds the flags if the
 *   kernel offered them. (That way is closed in libraries that know them: they are built without
 *   custom io.) TMPFILE and STATX, whose bodies begin as CREATE's and GETATTR's, are shown to
 *   libfuse as those, with a note.
 */
#include "channel.h"

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

#define MAX_WRITE (1u << 20)            /* what the kernel carries in one request */
#define SMALL_WRITE (128u << 10)        /* what it did before Linux 4.20 */
#define BUFFER_BYTES (MAX_WRITE + 4096) /* and its header */
#define BACKGROUND_REQUESTS 128u
#define FOREMAN_TICK_NS 500000
#define FOREMAN_PATIENCE 2u
#define FOREMAN_REST 100u
#define STOP_SIGNAL SIGUSR1
#define STOP_INTERVAL_NS 2000000 /* the signal may come between the check and read(2): again */

/* Of the protocol's later versions (linux/fuse.h of 6.6). */
#define OPCODE_TMPFILE 51u
#define OPCODE_STATX 52u
#define FLAGS2_DIRECT_IO_ALLOW_MMAP (1u << 4) /* bit 36 */
#define FATTR_KILL_PRIVILEGES (1u << 11)

#if defined(FUSE_CAP_HANDLE_KILLPRIV_V2) && defined(FUSE_CAP_DIRECT_IO_ALLOW_MMAP)
#define LIBRARY_KNOWS_FLAGS 1
#else
#define LIBRARY_KNOWS_FLAGS 0
#endif

struct channel {
	int fd;
	int event_fd;
	_Atomic(enum channel_state) state;
	atomic_bool stopping;
	atomic_bool negotiated; /* INIT came as far as channel_negotiate() */
	atomic_bool was_ready;
#if !LIBRARY_KNOWS_FLAGS
	atomic_bool init_answered; /* the first reply; others may come before state says so */
#endif
	struct seats seats;        /* of workers in read(2), or about to be */
	atomic_bool foreman_awake; /* or about to be: the semaphore was posted */
	sem_t foreman_wanted;
	pthread_t foreman;
	uint32_t offered, offered2; /* by the kernel's INIT */
	bool direct_mmap;           /* is to be used, if offered */
	bool kills_privileges;
	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t gone;
	unsigned workers;
	struct worker *first;
};

struct worker {
	struct worker *next, **previous; /* guarded by channel.lock */
	pthread_t thread;
	struct daemon *d;
	char *buffer;
};

static _Thread_local struct channel_note note;

const struct channel_note *channel_note(void)
{
	return &note;
}

/* What has ended stays so. */
static void channel_set_state(struct channel *ch, enum channel_state state)
{
	enum channel_state before = CHANNEL_STARTING;
	uint64_t one = 1;

	if (state == CHANNEL_READY)
		(void)atomic_compare_exchange_strong(&ch->state, &before, state);
	else
		atomic_store(&ch->state, state);
	ssize_t n = write(ch->event_fd, &one, sizeof(one));
	assert(n == (ssize_t)sizeof(one));
}

/* ---- INIT ------------------------------------------------------------------------------------ */

/* After INIT was processed: its reply has been sent, and libfuse says so if that went wrong. */
static void init_done(struct daemon *d)
{
	struct channel *ch = d->channel;
	bool ready = atomic_load(&ch->negotiated) && !fuse_session_exited(d->session);

	if (ready)
		atomic_store(&ch->was_ready, true);
	channel_set_state(ch, ready ? CHANNEL_READY : CHANNEL_ENDED);
}

/* Another worker may hear of the unmount before INIT's has said that there was a mount. */
static void unmounted(struct channel *ch)
{
	if (atomic_load(&ch->negotiated))
		atomic_store(&ch->was_ready, true);
	channel_set_state(ch, CHANNEL_ENDED);
}

#if LIBRARY_KNOWS_FLAGS

static int hook_init(struct daemon *d)
{
	return 0;
}

static void ask_for_flags(struct channel *ch, struct fuse_conn_info *conn)
{
	ch->kills_privileges = conn->capable & FUSE_CAP_HANDLE_KILLPRIV_V2;
	conn->want |= conn->capable & FUSE_CAP_HANDLE_KILLPRIV_V2;
	if (ch->direct_mmap)
		conn->want |= conn->capable & FUSE_CAP_DIRECT_IO_ALLOW_MMAP;
}

#else

static void init_reply(struct channel *ch, struct iovec *vector, int count)
{
	struct fuse_init_out *out;

	if (count < 2 || vector[1].iov_len < offsetof(struct fuse_init_out, unused))
		return;
	out = vector[1].iov_base;
	if (ch->offered & FUSE_HANDLE_KILLPRIV_V2) {
		out->flags |= FUSE_HANDLE_KILLPRIV_V2;
		ch->kills_privileges = true;
	}
	if (ch->direct_mmap && (ch->offered & FUSE_INIT_EXT) &&
		(ch->offered2 & FLAGS2_DIRECT_IO_ALLOW_MMAP)) {
		out->flags |= FUSE_INIT_EXT;
		out->flags2 |= FLAGS2_DIRECT_IO_ALLOW_MMAP;
	}
}

static ssize_t channel_writev(int fd, struct iovec *vector, int count, void *userdata)
{
	struct channel *ch = ((struct daemon *)userdata)->channel;

	if (atomic_load_explicit(&ch->state, memory_order_relaxed) == CHANNEL_STARTING &&
		!atomic_exchange(&ch->init_answered, true)) {
		const struct fuse_out_header *header = vector[0].iov_base;
		if (header->error == 0)
			init_reply(ch, vector, count);
	}
	return writev(fd, vector, count);
}

static ssize_t channel_read(int fd, void *buffer, size_t bytes, void *userdata)
{
	return read(fd, buffer, bytes); /* not called: workers receive by themselves */
}

static int hook_init(struct daemon *d)
{
	static const struct fuse_custom_io io = {.writev = channel_writev, .read = channel_read};

	return fuse_session_custom_io(d->session, &io, d->channel->fd);
}

static void ask_for_flags(struct channel *ch, struct fuse_conn_info *conn)
{
}

#endif

/* ---- requests -------------------------------------------------------------------------------- */

static void note_init(struct channel *ch, const void *body, size_t bytes)
{
	struct fuse_init_in in = {0};

	memcpy(&in, body, bytes < sizeof(in) ? bytes : sizeof(in));
	ch->offered = in.flags;
	ch->offered2 = bytes >= sizeof(in) && (in.flags & FUSE_INIT_EXT) ? in.flags2 : 0;
}

/* Fills the note, and gives a request that libfuse does not know the shape of one that it does. */
static void note_request(struct channel *ch, char *buffer, size_t bytes)
{
	struct fuse_in_header *header = (struct fuse_in_header *)buffer;
	const void *body = header + 1;

	note = (struct channel_note){0};
	switch (header->opcode) {
	case FUSE_WRITE:
		note.kill_privileges =
			((const struct fuse_write_in *)body)->write_flags & FUSE_WRITE_KILL_SUIDGID;
		break;
	case FUSE_SETATTR:
		note.kill_privileges =
			((const struct fuse_setattr_in *)body)->valid & FATTR_KILL_PRIVILEGES;
		break;
	case FUSE_OPEN:
		note.kill_privileges =
			((const struct fuse_open_in *)body)->open_flags & FUSE_OPEN_KILL_SUIDGID;
		break;
	case OPCODE_TMPFILE:
		note.tmpfile = true;
		header->opcode = FUSE_CREATE;
		break;
	case OPCODE_STATX:
		note.statx = true;
		header->opcode = FUSE_GETATTR;
		break;
	case FUSE_INIT:
		note_init(ch, body, bytes - sizeof(*header));
		break;
	default:
		break;
	}
}

static bool is_init(const char *buffer)
{
	return ((const struct fuse_in_header *)buffer)->opcode == FUSE_INIT;
}

static int receive(struct channel *ch, struct worker *w, size_t *bytes)
{
	ssize_t n = read(ch->fd, w->buffer, BUFFER_BYTES);

	if (n < 0)
		return -errno;
	if ((size_t)n < sizeof(struct fuse_in_header))
		return -EIO;
	*bytes = (size_t)n;
	note_request(ch, w->buffer, *bytes);
	return 0;
}

/* ---- workers --------------------------------------------------------------------------------- */

static void *worker_run(void *argument);

static int worker_start(struct daemon *d)
{
	struct channel *ch = d->channel;
	struct worker *w = calloc(1, sizeof(*w));
	pthread_attr_t detached;
	int error;

	if (w == NULL)
		return -ENOMEM;
	w->d = d;
	w->buffer = malloc(BUFFER_BYTES);
	if (w->buffer == NULL) {
		free(w);
		return -ENOMEM;
	}
	pthread_attr_init(&detached);
	pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
	pthread_mutex_lock(&ch->lock);
	if (ch->workers >= d->options->threads_max || atomic_load(&ch->stopping)) {
		error = EAGAIN;
	} else {
		error = pthread_create(&w->thread, &detached, worker_run, w);
	}
	if (error == 0) {
		ch->workers++;
		w->next = ch->first;
		w->previous = &ch->first;
		if (w->next != NULL)
			w->next->previous = &w->next;
		ch->first = w;
	}
	pthread_mutex_unlock(&ch->lock);
	pthread_attr_destroy(&detached);
	if (error != 0) {
		free(w->buffer);
		free(w);
	}
	return -error;
}

static void worker_end(struct worker *w)
{
	struct channel *ch = w->d->channel;

	free(w->buffer);
	pthread_mutex_lock(&ch->lock);
	*w->previous = w->next;
	if (w->next != NULL)
		w->next->previous = w->previous;
	ch->workers--;
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

static void *worker_run(void *argument)
{
	struct worker *w = argument;
	struct daemon *d = w->d;
	struct channel *ch = d->channel;
	size_t bytes = 0;

	pthread_setname_np(pthread_self(), "leasefs-worker");
	while (!atomic_load_explicit(&ch->stopping, memory_order_relaxed)) {
		if (!seats_sit(&ch->seats))
			break;
		int error = receive(ch, w, &bytes);
		bool others = seats_leave(&ch->seats);
		/* ENOENT: the request was withdrawn while it was being read. */
		if (error == -EINTR || error == -EAGAIN || error == -ENOENT)
			continue;
		if (error != 0) {
			if (error != -ENODEV)
				log_error("could not read a request: %s", strerror(-error));
			unmounted(ch);
			break;
		}
		if (!others)
			foreman_wake(ch);
		struct fuse_buf request = {.mem = w->buffer, .size = bytes};
		bool init = is_init(w->buffer);
		fuse_session_process_buf(d->session, &request);
		if (init)
			init_done(d);
	}
	worker_end(w);
	return NULL;
}

/* ---- the foreman ----------------------------------------------------------------------------- */

static void foreman_sleep(struct channel *ch)
{
	atomic_store(&ch->foreman_awake, false);
	/* What would have woken it may have come a moment before. */
	if (!seats_taken(&ch->seats) || atomic_load(&ch->stopping))
		foreman_wake(ch);
	while (sem_wait(&ch->foreman_wanted) != 0)
		assert(errno == EINTR);
}

static void *foreman_run(void *argument)
{
	const struct timespec tick = {.tv_nsec = FOREMAN_TICK_NS};
	struct daemon *d = argument;
	struct channel *ch = d->channel;
	unsigned empty = 0, quiet = FOREMAN_REST;

	pthread_setname_np(pthread_self(), "leasefs-foreman");
	while (!atomic_load(&ch->stopping)) {
		if (quiet == FOREMAN_REST) {
			foreman_sleep(ch);
			quiet = empty = 0;
			continue;
		}
		clock_nanosleep(CLOCK_MONOTONIC, 0, &tick, NULL);
		if (seats_taken(&ch->seats)) {
			empty = 0;
			quiet++;
			continue;
		}
		quiet = 0;
		if (++empty < FOREMAN_PATIENCE)
			continue;
		empty = 0;
		if (!seats_call(&ch->seats))
			(void)worker_start(d); /* if it can't be: once more */
	}
	return NULL;
}

/* ---- life ------------------------------------------------------------------------------------ */

static void stop_signal(int signal)
{
}

int channel_open(struct daemon *d)
{
	struct channel *ch = calloc(1, sizeof(*ch));
	struct sigaction action = {.sa_handler = stop_signal};
	int result;

	if (ch == NULL)
		return -ENOMEM;
	ch->fd = fuse_session_fd(d->session);
	ch->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (ch->event_fd < 0 || sigaction(STOP_SIGNAL, &action, NULL) != 0) {
		result = -errno;
		goto fail;
	}
	d->channel = ch;
	result = hook_init(d);
	if (result != 0)
		goto fail;
	if (sem_init(&ch->foreman_wanted, 0, 0) != 0 ||
		seats_init(&ch->seats, d->options->threads_idle_max) != 0) {
		result = -errno;
		goto fail;
	}
	pthread_mutex_init(&ch->lock, NULL);
	pthread_cond_init(&ch->gone, NULL);
	return 0;
fail:
	d->channel = NULL;
	if (ch->event_fd >= 0)
		close(ch->event_fd);
	free(ch);
	return result;
}

void channel_negotiate(struct daemon *d, struct fuse_conn_info *conn)
{
	bool large = !(d->options->without & OPTIONS_WITHOUT_LARGE_REQUESTS);

	d->channel->direct_mmap = !(d->options->without & OPTIONS_WITHOUT_DIRECT_MMAP);
	conn->max_write = large ? MAX_WRITE : SMALL_WRITE;
	conn->max_background = BACKGROUND_REQUESTS;
	conn->congestion_threshold = BACKGROUND_REQUESTS * 3 / 4;
	/* The two versions exclude each other. */
	if (d->channel->offered & FUSE_HANDLE_KILLPRIV_V2)
		conn->want &= ~(unsigned)FUSE_CAP_HANDLE_KILLPRIV;
	ask_for_flags(d->channel, conn);
	atomic_store(&d->channel->negotiated, true);
}

bool channel_kills_privileges(const struct daemon *d)
{
	return d->channel->kills_privileges;
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
	for (unsigned i = 0; i < wanted && result == 0; i++)
		result = worker_start(d);
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
	seats_end(&ch->seats);
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
	struct channel *ch = d->channel;

	assert(ch->workers == 0);
	seats_destroy(&ch->seats);
	sem_destroy(&ch->foreman_wanted);
	pthread_cond_destroy(&ch->gone);
	pthread_mutex_destroy(&ch->lock);
	close(ch->event_fd);
	free(ch);
	d->channel = NULL;
}
