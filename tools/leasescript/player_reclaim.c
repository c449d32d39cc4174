// SPDX-License-Identifier: BSD-2-Clause
/*
 * player_reclaim.c - an actor goes on after its daemon's end, as libleasefs would.
 *
 * The mappings, the pin lines and what is known of leases stay; only the control file is another
 * one. The name that the session is asked for with changes when it has been given under the last
 * one, so that a daemon that ends in between does not matter.
 */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "session.h"

/* A new control file, and HELLO. */
static int reconnect(struct player *p)
{
	struct session *s = p->session;
	struct leasefs_hello hello = {.abi = LEASEFS_ABI, .features = SESSION_FEATURES};
	bool reading = s->reading;
	int control = session_open_control(p);

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
		error = reconnect(p);
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
