// SPDX-License-Identifier: BSD-2-Clause
/*
 * player_reclaim.c - an actor goes on after its daemon's end, as libleasefs would.
 *
 * The mappings, the pin lines and what is known of leases stay; only the control file is another
 * one. The name that the session is asked for with changes when it has been given under the last
 * one, so that a daemon that ends in between does not matter.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "session.h"

/* Descriptors of the old mount are dead. */
static void forget_files(struct player *p)
{
	while (p->files) {
		struct open_file *f = p->files;

		p->files = f->next;
		close(f->fd);
		free(f);
	}
}

/* A new control file, which becomes the session's, and HELLO. */
static int reconnect(struct player *p, int control)
{
	struct session *s = p->session;
	struct leasefs_hello hello = {.abi = LEASEFS_ABI, .features = SESSION_FEATURES};
	bool reading = s->reading;

	if (control < 0)
		return -control;
	if (ioctl(control, LEASEFS_IOC_HELLO, &hello)) {
		int error = errno;

		close(control);
		return error;
	}
	session_stop_reader(p);
	if (p->session != s) {
		close(control);
		return ENOTCONN;
	}
	close(s->control);
	s->control = control;
	s->dead = false;
	if (s->reclaimed) {
		memcpy(s->cookie, s->hello.cookie, sizeof(s->cookie));
		memcpy(s->boot, s->hello.boot, sizeof(s->boot));
		s->reclaimed = false;
	}
	memcpy(hello.pin_file, s->hello.pin_file, sizeof(hello.pin_file)); /* it stays */
	s->hello = hello;
	forget_files(p);
	return reading ? session_start_reader(p) : 0;
}

static int reclaim_piece(struct session *s, struct piece *piece)
{
	struct leasefs_reclaim r = {.lease = piece->id,
		.cookie = {s->cookie[0], s->cookie[1]},
		.boot = {s->boot[0], s->boot[1]}};
	int error = session_call(s, LEASEFS_IOC_RECLAIM, &r);

	if (error)
		return error;
	s->reclaimed = true;
	piece->offset = r.offset; /* a return that was not answered may have happened */
	piece->length = r.length;
	return r.lease == piece->id ? 0 : EPROTO;
}

int session_reclaim(struct player *p, const struct command *c)
{
	struct held *h;
	int error = 0;

	pthread_mutex_lock(&p->lock);
	if (!p->session)
		error = ENOTCONN;
	else if (session_is_dead(p->session))
		error = reconnect(p, session_open_control(p));
	h = error ? NULL : session_find(p->session, c);
	if (!error && !h)
		error = ENOMEM;
	if (!error && !h->pieces)
		error = ENOENT;
	for (struct piece *piece = error ? NULL : h->pieces; piece && !error; piece = piece->next)
		error = reclaim_piece(p->session, piece);
	pthread_mutex_unlock(&p->lock);
	return error;
}

static void note_reclaimed(struct session *s, const struct leasefs_reclaim *r)
{
	for (struct held *h = s->held; h; h = h->next) {
		for (struct piece *piece = h->pieces; piece; piece = piece->next) {
			if (piece->id != r->lease)
				continue;
			piece->offset = r->offset;
			piece->length = r->length;
		}
	}
}

/* All that the daemon has written down: also what another process of the session was granted. */
static int reclaim_all(struct session *s)
{
	for (;;) {
		struct leasefs_reclaim r = {
			.cookie = {s->cookie[0], s->cookie[1]}, .boot = {s->boot[0], s->boot[1]}};
		int error = session_call(s, LEASEFS_IOC_RECLAIM, &r);

		if (error == ENOENT || error == ESTALE)
			return 0;
		if (error)
			return error;
		s->reclaimed = true;
		note_reclaimed(s, &r);
	}
}

/* There was nothing to go on with: the session is one of the new daemon's. */
static int begin_anew(struct session *s)
{
	int error = session_call(s, LEASEFS_IOC_HELLO, &s->hello);

	s->lines = NULL; /* the mapping is small, and may be in use */
	s->lines_bytes = 0;
	memcpy(s->cookie, s->hello.cookie, sizeof(s->cookie));
	memcpy(s->boot, s->hello.boot, sizeof(s->boot));
	return error;
}

int session_revive(struct player *p, int control)
{
	bool given = control >= 0;
	struct session *s;
	int error = 0;

	pthread_mutex_lock(&p->lock);
	s = p->session;
	if (!s)
		forget_files(p);
	if (s && session_is_dead(s)) {
		control = given ? fcntl(control, F_DUPFD_CLOEXEC, 0) : session_open_control(p);
		error = reconnect(p, given && control < 0 ? -errno : control);
		if (!error && given) {
			memcpy(s->cookie, s->hello.cookie, sizeof(s->cookie));
			memcpy(s->boot, s->hello.boot, sizeof(s->boot));
		} else if (!error) {
			error = reclaim_all(s);
			if (!s->reclaimed)
				error = begin_anew(s);
		}
	}
	pthread_mutex_unlock(&p->lock);
	return error;
}
