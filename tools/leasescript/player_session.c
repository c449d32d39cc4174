// SPDX-License-Identifier: BSD-2-Clause
/*
 * player_session.c - the session of an actor: the control file, and the events read from it.
 *
 * A reader thread takes events as they come, so that a script finds what has reached the actor at
 * any time after it. While several processes share a session they have none, but those that answer
 * recalls by themselves, so that the one that is asked gets the event. The thread waits by poll(2)
 * and never sits in read(2), or the last close of the session would have to wait for it.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "session.h"

int session_call(struct session *s, unsigned long number, void *argument)
{
	if (s->dead)
		return ENOTCONN;
	return ioctl(s->control, number, argument) ? errno : 0;
}

int session_map_lines(struct session *s, uint64_t bytes)
{
	void *lines;
	int fd;

	if (s->lines && s->lines_bytes >= bytes)
		return 0;
	fd = open(s->hello.pin_file, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return errno;
	lines = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (lines == MAP_FAILED)
		return errno;
	/* The old mapping stays valid for pins that are under way; it is small. */
	s->lines = lines;
	s->lines_bytes = bytes;
	return 0;
}

bool session_is_dead(const struct session *s)
{
	struct leasefs_grace g = {0};

	return s->dead || (ioctl(s->control, LEASEFS_IOC_GRACE, &g) && errno == ENOTCONN);
}

/* ---- opening --------------------------------------------------------------------------------- */

/* The mount may be above the scenario's directory: look up to the root for the control file. */
int session_open_control(const struct player *p)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s", p->mount);
	for (;;) {
		char control[PATH_MAX + sizeof(LEASEFS_CONTROL_PATH) + 1];
		char *slash;
		int fd;

		snprintf(control, sizeof(control), "%s/%s", path, LEASEFS_CONTROL_PATH);
		fd = open(control, O_RDWR | O_NONBLOCK | O_CLOEXEC);
		if (fd >= 0)
			return fd;
		if (errno == ENOTCONN)
			return -ENOTCONN;
		slash = strrchr(path, '/');
		if (!slash || slash == path)
			return -ENOENT;
		*slash = 0;
	}
}

static int new_session(int control, struct session **out)
{
	struct session *s = calloc(1, sizeof(*s));
	pthread_condattr_t clock;
	int r;

	if (!s)
		return ENOMEM;
	s->control = control;
	s->events_end = &s->events;
	s->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (s->wake < 0) {
		r = errno;
		free(s);
		return r;
	}
	pthread_condattr_init(&clock);
	pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
	pthread_cond_init(&s->arrived, &clock);
	pthread_condattr_destroy(&clock);
	*out = s;
	return 0;
}

static void free_session(struct session *s)
{
	while (s->held)
		lease_forget(s, s->held);
	while (s->events) {
		struct event *e = s->events;

		s->events = e->next;
		free(e);
	}
	close(s->wake);
	close(s->control);
	pthread_cond_destroy(&s->arrived);
	free(s);
}

static int adopt_control(struct player *p, int control)
{
	struct session *s = NULL;
	int r = new_session(control, &s);

	if (r) {
		close(control);
		return r;
	}
	s->hello.abi = LEASEFS_ABI;
	s->hello.features = SESSION_FEATURES;
	r = session_call(s, LEASEFS_IOC_HELLO, &s->hello);
	if (r) {
		free_session(s);
		return r;
	}
	memcpy(s->cookie, s->hello.cookie, sizeof(s->cookie));
	memcpy(s->boot, s->hello.boot, sizeof(s->boot));
	p->session = s;
	return 0;
}

int leases_open_session(struct player *p)
{
	int control, r = 0;

	memory_prepare();
	pthread_mutex_lock(&p->lock);
	if (!p->session || session_is_dead(p->session)) {
		control = session_open_control(p);
		if (control >= 0)
			session_close(p);
		r = control < 0 ? -control : adopt_control(p, control);
		if (!r)
			r = session_start_reader(p);
	}
	pthread_mutex_unlock(&p->lock);
	return r;
}

int leases_take_session(struct player *p, int descriptor)
{
	int r;

	memory_prepare();
	pthread_mutex_lock(&p->lock);
	if (p->session)
		session_close(p);
	r = adopt_control(p, descriptor);
	pthread_mutex_unlock(&p->lock);
	return r;
}

int leases_session_descriptor(struct player *p)
{
	return p->session ? p->session->control : -1;
}

void leases_after_fork(struct player *p)
{
	struct session *s = p->session;

	if (!s)
		return;
	/* The reader is the parent's; ours begins when events are asked for. */
	s->reading = false;
	s->answer = ANSWER_NEVER;
	s->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	for (struct pin *pin = s->pins; pin; pin = pin->next)
		pin->buffer = NULL; /* a ring is not for two */
}

static void stop_reader(struct player *p, struct session *s)
{
	uint64_t one = 1;

	if (!s->reading)
		return;
	if (write(s->wake, &one, sizeof(one)) != sizeof(one))
		abort();
	pthread_mutex_unlock(&p->lock);
	pthread_join(s->reader, NULL);
	pthread_mutex_lock(&p->lock);
	if (read(s->wake, &one, sizeof(one)) != sizeof(one))
		abort();
	s->reading = false;
}

void session_close(struct player *p)
{
	struct session *s = p->session;

	if (!s)
		return;
	p->session = NULL;
	stop_reader(p, s);
	free_session(s);
}

void session_stop_reader(struct player *p)
{
	stop_reader(p, p->session);
}

/* ---- events ---------------------------------------------------------------------------------- */

static struct piece *find_piece(struct piece *list, uint64_t id)
{
	for (struct piece *p = list; p; p = p->next)
		if (p->id == id)
			return p;
	return NULL;
}

static void add_piece(struct piece **list, uint64_t id, uint64_t offset, uint64_t length)
{
	struct piece *p = calloc(1, sizeof(*p));

	if (!p)
		abort();
	*p = (struct piece){*list, id, offset, length};
	*list = p;
}

/* The pieces of the lease after a revocation, as the event tells them. */
static void note_revocation(struct held *h, const struct leasefs_event *e)
{
	struct piece *p = find_piece(h->pieces, e->origin);
	uint64_t end = e->offset + e->length, piece_end;

	if (find_piece(h->ghosts, e->lease))
		return; /* told again, by another daemon */
	add_piece(&h->ghosts, e->lease, e->offset, e->length);
	if (!p)
		return;
	piece_end = p->offset + p->length;
	if (e->rest)
		add_piece(&h->pieces, e->rest, end, piece_end - end);
	if (e->lease != e->origin && e->offset > p->offset) {
		p->length = e->offset - p->offset;
		return;
	}
	if (e->lease != e->origin) { /* its beginning was taken: what is left keeps the id */
		p->length = piece_end - end;
		p->offset = end;
		return;
	}
	for (struct piece **link = &h->pieces; *link; link = &(*link)->next) {
		if (*link == p) {
			*link = p->next;
			free(p);
			return;
		}
	}
}

static struct held *owner_of(struct session *s, uint64_t id)
{
	for (struct held *h = s->held; h; h = h->next)
		if (held_owns(h, id))
			return h;
	return NULL;
}

static bool answer_recall(struct player *p, const struct leasefs_event *e)
{
	struct session *s = p->session;
	struct held *h;

	if (s->answer == ANSWER_AFTER) {
		uint64_t ns = s->answer_after_ns;
		struct timespec t = {(time_t)(ns / 1000000000), (long)(ns % 1000000000)};

		pthread_mutex_unlock(&p->lock);
		nanosleep(&t, NULL);
		pthread_mutex_lock(&p->lock);
		if (p->session != s)
			return false;
	}
	h = owner_of(s, e->lease);
	if (!h)
		return false;
	(void)lease_unpin_all(s, h);
	(void)lease_return(s, h, e->offset, e->length);
	return true;
}

static void take_event(struct player *p, const struct leasefs_event *record)
{
	struct session *s = p->session;
	bool answered = false;
	struct held *h;

	h = owner_of(s, record->origin ? record->origin : record->lease);
	if (h && record->kind == LEASEFS_EVENT_REVOKED)
		note_revocation(h, record);
	if (record->kind == LEASEFS_EVENT_RECALL && s->answer != ANSWER_NEVER)
		answered = answer_recall(p, record);
	if (p->session == s)
		events_add(s, record, answered);
}

void session_pump(struct player *p)
{
	struct session *s = p->session;

	while (p->session == s && s && !s->dead) {
		struct leasefs_event records[16];
		ssize_t n = read(s->control, records, sizeof(records));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno != EAGAIN) {
			s->dead = true;
			pthread_cond_broadcast(&s->arrived);
		}
		if (n <= 0)
			return;
		for (size_t i = 0; i < (size_t)n / sizeof(records[0]) && p->session == s; i++)
			take_event(p, &records[i]);
	}
}

void session_wait(struct player *p, uint64_t ns)
{
	struct session *s = p->session;
	struct timespec until;

	if (s->reading) { /* it takes what comes, and says so */
		uint64_t at = monotonic_ns() + ns;

		until = (struct timespec){(time_t)(at / 1000000000), (long)(at % 1000000000)};
		pthread_cond_timedwait(&s->arrived, &p->lock, &until);
		return;
	}
	struct pollfd events = {.fd = s->control, .events = POLLIN};

	until = (struct timespec){(time_t)(ns / 1000000000), (long)(ns % 1000000000)};
	pthread_mutex_unlock(&p->lock);
	if (ppoll(&events, 1, &until, NULL) > 0 && !(events.revents & POLLIN))
		s->dead = true;
	pthread_mutex_lock(&p->lock);
}

struct reader {
	struct player *player;
	struct session *session;
};

static void *reader_main(void *argument)
{
	struct reader *r = argument;
	struct player *p = r->player;
	struct session *s = r->session;
	struct pollfd wait[2] = {
		{.fd = s->control, .events = POLLIN},
		{.fd = s->wake, .events = POLLIN},
	};

	free(r);
	for (;;) {
		int n = poll(wait, 2, -1);
		bool over;

		if (n < 0 && errno != EINTR)
			return NULL;
		if (n > 0 && wait[1].revents)
			return NULL;
		pthread_mutex_lock(&p->lock);
		if (p->session == s)
			session_pump(p);
		if (wait[0].revents & (POLLERR | POLLHUP | POLLNVAL)) {
			s->dead = true;
			pthread_cond_broadcast(&s->arrived);
		}
		over = p->session != s || s->dead;
		pthread_mutex_unlock(&p->lock);
		if (over) { /* wait to be joined */
			wait[0].fd = -1;
			continue;
		}
	}
}

int session_start_reader(struct player *p)
{
	struct reader *r;
	int error;

	if (!p->session || p->session->reading)
		return 0;
	r = malloc(sizeof(*r));
	if (!r)
		return ENOMEM;
	*r = (struct reader){p, p->session};
	error = pthread_create(&p->session->reader, NULL, reader_main, r);
	if (error)
		free(r);
	else
		p->session->reading = true;
	return error;
}
