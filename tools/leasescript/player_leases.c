// SPDX-License-Identifier: BSD-2-Clause
/* player_leases.c - an actor's leases and pins, and what it can be told to do with them. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "session.h"

/* ---- what is held ---------------------------------------------------------------------------- */

bool held_owns(const struct held *h, uint64_t id)
{
	if (h->id == id)
		return true;
	for (const struct piece *p = h->pieces; p; p = p->next)
		if (p->id == id)
			return true;
	for (const struct piece *p = h->ghosts; p; p = p->next)
		if (p->id == id)
			return true;
	return false;
}

static struct held *add_held(
	struct session *s, uint64_t id, uint64_t offset, uint64_t length, uint32_t slot, bool write)
{
	struct held *h = calloc(1, sizeof(*h));

	if (!h)
		return NULL;
	h->pieces = calloc(1, sizeof(*h->pieces));
	if (!h->pieces) {
		free(h);
		return NULL;
	}
	*h->pieces = (struct piece){NULL, id, offset, length};
	h->id = id;
	h->offset = offset;
	h->length = length;
	h->slot = slot;
	h->write = write;
	h->next = s->held;
	s->held = h;
	return h;
}

/* A process that was given the session learns of its leases from the commands. */
struct held *session_find(struct session *s, const struct command *c)
{
	for (struct held *h = s->held; h; h = h->next)
		if (h->id == c->lease)
			return h;
	return add_held(s, c->lease, c->lease_offset, c->lease_length, c->slot, c->flag_write);
}

static void free_pieces(struct piece *p)
{
	while (p) {
		struct piece *next = p->next;

		free(p);
		p = next;
	}
}

void lease_forget(struct session *s, struct held *h)
{
	for (struct pin **link = &s->pins; *link;) {
		struct pin *pin = *link;

		if (pin->held != h) {
			link = &pin->next;
			continue;
		}
		*link = pin->next;
		if (pin->buffer)
			buffer_unregister(pin->buffer);
		free(pin);
	}
	for (struct held **link = &s->held; *link; link = &(*link)->next) {
		if (*link == h) {
			*link = h->next;
			break;
		}
	}
	if (h->memory)
		munmap(h->memory, h->length);
	free_pieces(h->pieces);
	free_pieces(h->ghosts);
	free(h);
}

/* ---- granting and giving back ---------------------------------------------------------------- */

static int file_descriptor(struct player *p, const struct command *c, int *fd, bool *ours)
{
	struct open_file *f = player_find_file(p, c->file);
	char path[PATH_MAX];

	*ours = !f;
	if (f) {
		*fd = f->fd;
		return 0;
	}
	if (player_path(p, c->file, path, sizeof(path)))
		return ENAMETOOLONG;
	*fd = open(path, (c->flag_write ? O_RDWR : O_RDONLY) | O_CLOEXEC);
	return *fd < 0 ? errno : 0;
}

/* Without the lock: the grant is asked of the file, and may have to wait for it. */
static int lease(struct player *p, const struct command *c, struct reply *r)
{
	struct leasefs_grant grant = {
		.offset = c->offset,
		.length = c->length,
		.mode = c->flag_write ? LEASEFS_MODE_WRITE : LEASEFS_MODE_READ,
		.flags = c->flag_exclusive ? LEASEFS_GRANT_EXCLUSIVE : 0,
	};
	struct session *s;
	bool ours;
	int fd, error = leases_open_session(p);

	if (error)
		return error;
	pthread_mutex_lock(&p->lock);
	error = file_descriptor(p, c, &fd, &ours);
	memcpy(grant.cookie, p->session->hello.cookie, sizeof(grant.cookie));
	pthread_mutex_unlock(&p->lock);
	if (error)
		return error;
	/* What it was told before this belongs to the requests before. */
	pthread_mutex_lock(&p->lock);
	events_settle_available(p->session, fd, c->offset, c->length);
	pthread_mutex_unlock(&p->lock);
	error = ioctl(fd, LEASEFS_IOC_GRANT, &grant) ? errno : 0;
	if (ours)
		close(fd);
	if (error)
		return error;
	pthread_mutex_lock(&p->lock);
	s = p->session;
	if (!s || !add_held(s, grant.lease, grant.offset, grant.length, grant.slot, c->flag_write))
		error = ENOMEM;
	else if (grant.slot != LEASEFS_NO_SLOT)
		error = session_map_lines(s, grant.pin_file_bytes);
	pthread_mutex_unlock(&p->lock);
	r->id = grant.lease;
	r->extra = grant.offset;
	r->third = grant.length;
	r->fourth = grant.slot;
	return error;
}

/* One piece, [offset, end) of it. */
static int return_piece(
	struct session *s, struct held *h, struct piece **link, uint64_t offset, uint64_t end)
{
	struct piece *p = *link;
	uint64_t piece_end = p->offset + p->length;
	struct leasefs_return give = {.lease = p->id, .offset = offset, .length = end - offset};
	int r = session_call(s, LEASEFS_IOC_RETURN, &give);

	if (r)
		return r;
	memory_hide(h, offset, end - offset);
	events_settle_returned(s, p->id, offset, end);
	if (give.rest) {
		struct piece *rest = calloc(1, sizeof(*rest));

		if (!rest)
			return ENOMEM;
		*rest = (struct piece){p->next, give.rest, end, piece_end - end};
		p->next = rest;
	}
	if (offset > p->offset) {
		p->length = offset - p->offset;
	} else if (end < piece_end && !give.rest) {
		p->offset = end;
		p->length = piece_end - end;
	} else {
		*link = p->next;
		free(p);
	}
	return 0;
}

int lease_return(struct session *s, struct held *h, uint64_t offset, uint64_t length)
{
	uint64_t end = length ? offset + length : UINT64_MAX;
	bool some = false;

	for (struct piece **link = &h->pieces; *link;) {
		struct piece *p = *link;
		uint64_t from = offset > p->offset ? offset : p->offset;
		uint64_t to = end < p->offset + p->length ? end : p->offset + p->length;
		int r;

		if (from >= to) {
			link = &p->next;
			continue;
		}
		some = true;
		/* A range that reaches out of a single lease is refused by the daemon, not cut
		 * here. */
		if (length && h->pieces == p && !p->next) {
			from = offset;
			to = end;
		}
		r = return_piece(s, h, link, from, to);
		if (r)
			return r;
		if (*link == p)
			link = &p->next;
	}
	return some ? 0 : ENOENT;
}

static int return_lease(struct session *s, struct held *h, const struct command *c)
{
	if (!c->flag_range)
		return lease_return(s, h, 0, 0);
	if (!c->length)
		return EINVAL;
	return lease_return(s, h, c->offset, c->length);
}

static int downgrade(struct session *s, struct held *h)
{
	int r = h->pieces ? 0 : ENOENT;

	for (struct piece *p = h->pieces; p && !r; p = p->next) {
		struct leasefs_downgrade d = {.lease = p->id};

		r = session_call(s, LEASEFS_IOC_DOWNGRADE, &d);
	}
	return r;
}

static int commit(struct session *s, struct held *h, uint64_t size)
{
	int r = h->pieces ? 0 : ENOENT;

	for (struct piece *p = h->pieces; p && !r; p = p->next) {
		struct leasefs_commit c = {.lease = p->id};

		/* The size belongs to the piece that reaches it; past them all, the daemon says. */
		if (size && (!p->next || (size > p->offset && size <= p->offset + p->length))) {
			c.size = size;
			size = 0;
		}
		r = session_call(s, LEASEFS_IOC_COMMIT, &c);
	}
	return r;
}

static int acknowledge(struct session *s, struct held *h)
{
	struct leasefs_ack ack = {.lease = h->id};

	if (!h->ghosts)
		return session_call(s, LEASEFS_IOC_ACK, &ack);
	while (h->ghosts) {
		struct piece *g = h->ghosts;
		int r;

		ack.lease = g->id;
		r = session_call(s, LEASEFS_IOC_ACK, &ack);
		if (r)
			return r;
		memory_hide(h, g->offset, g->length);
		h->ghosts = g->next;
		free(g);
	}
	return 0;
}

/* ---- pins ------------------------------------------------------------------------------------ */

static int unpin_slot(struct session *s, const struct held *h)
{
	struct leasefs_unpinned over = {.lease = h->id};
	struct leasefs_pin_line *line;

	/* One that was given the session may not have seen the lines yet. */
	if (h->slot == LEASEFS_NO_SLOT || session_map_lines(s, s->hello.pin_file_bytes) ||
		((uint64_t)h->slot + 1) * sizeof(*line) > s->lines_bytes)
		return ENOENT;
	line = &s->lines[h->slot];
	if (__atomic_sub_fetch(&line->pins, 1, __ATOMIC_SEQ_CST) ||
		!__atomic_load_n(&line->recall, __ATOMIC_SEQ_CST))
		return 0;
	return session_call(s, LEASEFS_IOC_UNPINNED, &over);
}

static int pin_slot(struct session *s, const struct held *h)
{
	struct leasefs_pin_line *line;

	if (h->slot == LEASEFS_NO_SLOT || !s->lines)
		return ENOLCK;
	if (((uint64_t)h->slot + 1) * sizeof(*line) > s->lines_bytes)
		return ENOLCK;
	line = &s->lines[h->slot];
	__atomic_add_fetch(&line->pins, 1, __ATOMIC_SEQ_CST);
	if (!__atomic_load_n(&line->recall, __ATOMIC_SEQ_CST))
		return 0;
	/* The daemon may have seen the count: it hears that it is gone, as from any unpin. */
	(void)unpin_slot(s, h);
	return EAGAIN;
}

static const struct piece *piece_with(const struct held *h, uint64_t offset)
{
	for (const struct piece *p = h->pieces; p; p = p->next)
		if (offset >= p->offset && offset - p->offset < p->length)
			return p;
	return h->pieces;
}

static int pin_range(struct session *s, struct held *h, const struct command *c, uint64_t *id)
{
	const struct piece *p = piece_with(h, c->offset);
	struct leasefs_pin pin = {
		.lease = p ? p->id : h->id,
		.offset = c->offset,
		.length = c->length,
		.flags = c->flag_unbreakable ? LEASEFS_PIN_UNBREAKABLE : 0,
	};
	int r = session_call(s, LEASEFS_IOC_PIN, &pin);

	if (!r)
		*id = pin.pin;
	return r;
}

static int pin(struct session *s, struct held *h, const struct command *c, struct reply *r)
{
	bool slot = !c->flag_range && !c->flag_unbreakable;
	struct pin *pin = calloc(1, sizeof(*pin));
	int error;

	if (!pin)
		return ENOMEM;
	pin->held = h;
	if (slot && !session_map_lines(s, s->hello.pin_file_bytes))
		error = pin_slot(s, h);
	else
		error = pin_range(s, h, c, &pin->id);
	if (!error && c->what == VERB_BUFPIN) {
		struct leasefs_unpin unpin = {.pin = pin->id};

		error = h->memory ? 0 : memory_map(s, h);
		if (!error)
			error = buffer_register(h, c->offset, c->length, &pin->buffer);
		if (error)
			(void)session_call(s, LEASEFS_IOC_UNPIN, &unpin);
	}
	if (error) {
		free(pin);
		return error;
	}
	pin->next = s->pins;
	s->pins = pin;
	r->id = pin->id;
	r->extra = pin->id == 0;
	return 0;
}

static int drop_pin(struct session *s, struct held *h, uint64_t id)
{
	struct leasefs_unpin unpin = {.pin = id};

	return id ? session_call(s, LEASEFS_IOC_UNPIN, &unpin) : unpin_slot(s, h);
}

static int unpin(struct session *s, struct held *h, const struct command *c)
{
	uint64_t id = c->slot_pin ? 0 : c->pin;

	for (struct pin **link = &s->pins; *link; link = &(*link)->next) {
		struct pin *pin = *link;

		if (pin->held != h || pin->id != id)
			continue;
		*link = pin->next;
		if (pin->buffer)
			buffer_unregister(pin->buffer);
		free(pin);
		return drop_pin(s, h, id);
	}
	/* Of the session, but taken by another process of it. */
	return drop_pin(s, h, id);
}

int lease_unpin_all(struct session *s, struct held *h)
{
	int r = 0;

	for (struct pin **link = &s->pins; *link;) {
		struct pin *pin = *link;
		int error;

		if (pin->held != h) {
			link = &pin->next;
			continue;
		}
		*link = pin->next;
		if (pin->buffer)
			buffer_unregister(pin->buffer);
		error = drop_pin(s, h, pin->id);
		r = r ? r : error;
		free(pin);
	}
	return r;
}

/* ---- commands -------------------------------------------------------------------------------- */

static int with_lease(struct player *p, const struct command *c, struct reply *r)
{
	struct session *s = p->session;
	struct held *h;

	session_pump(p); /* what is left of the lease may depend on it */
	if (p->session != s)
		return ENOTCONN;
	h = session_find(s, c);
	if (!h)
		return ENOMEM;
	switch (c->what) {
	case VERB_MAP:
		return memory_map(s, h);
	case VERB_STORE:
		return memory_store(h, c->offset, c->length, c->seed);
	case VERB_LOAD:
		return memory_load(h, c, r);
	case VERB_RETURN:
		return return_lease(s, h, c);
	case VERB_DOWNGRADE:
		return downgrade(s, h);
	case VERB_COMMIT:
		return commit(s, h, c->length);
	case VERB_ACK:
		return acknowledge(s, h);
	case VERB_PIN:
	case VERB_BUFPIN:
		return pin(s, h, c, r);
	default:
		assert(c->what == VERB_UNPIN || c->what == VERB_BUFUNPIN);
		return unpin(s, h, c);
	}
}

static int with_session(struct player *p, const struct command *c, struct reply *r)
{
	int error;

	pthread_mutex_lock(&p->lock);
	if (c->what == VERB_EXPECT)
		error = session_expect(p, c, r);
	else if (!p->session)
		error = ENOTCONN;
	else if (c->what == VERB_ANSWER)
		error = session_set_answer(p, c);
	else
		error = with_lease(p, c, r);
	pthread_mutex_unlock(&p->lock);
	return error;
}

void leases_share(struct player *p)
{
	pthread_mutex_lock(&p->lock);
	if (p->session && p->session->answer == ANSWER_NEVER)
		session_stop_reader(p);
	pthread_mutex_unlock(&p->lock);
}

/* Nobody shares the session any more: its events are read as they come. */
static int read_alone(struct player *p)
{
	int error;

	pthread_mutex_lock(&p->lock);
	error = session_start_reader(p);
	pthread_mutex_unlock(&p->lock);
	return error;
}

bool leases_command(struct player *p, const struct command *c, struct reply *r, int descriptor)
{
	switch (c->what) {
	case VERB_LEASE:
		r->error = lease(p, c, r);
		return true;
	case VERB_RECLAIM:
		r->error = session_reclaim(p, c);
		return true;
	case VERB_ANSWER:
		r->error = leases_open_session(p);
		if (!r->error)
			r->error = with_session(p, c, r);
		return true;
	case VERB_MAP:
	case VERB_STORE:
	case VERB_LOAD:
	case VERB_RETURN:
	case VERB_DOWNGRADE:
	case VERB_COMMIT:
	case VERB_ACK:
	case VERB_PIN:
	case VERB_BUFPIN:
	case VERB_UNPIN:
	case VERB_BUFUNPIN:
	case VERB_EXPECT:
		r->error = with_session(p, c, r);
		return true;
	case VERB_CLOSE:
		pthread_mutex_lock(&p->lock);
		r->error = p->session ? 0 : ENOTCONN;
		session_close(p);
		pthread_mutex_unlock(&p->lock);
		return true;
	case VERB_PASS:
		leases_share(p);
		return true; /* the descriptor goes with the reply */
	case COMMAND_REVIVE:
	case COMMAND_RENEW:
		r->error = session_revive(p, descriptor);
		return true;
	case COMMAND_READ:
		r->error = read_alone(p);
		return true;
	case COMMAND_TAKE:
		r->error = leases_take_session(p, descriptor);
		return true;
	case COMMAND_STATUS:
	case COMMAND_FIND_CONFLICT:
	case VERB_DRAIN:
		r->error = player_look(p, c, r);
		return true;
	}
	return false;
}

void leases_leave(struct player *p, bool shared)
{
	pthread_mutex_lock(&p->lock);
	if (p->session && !p->session->dead && !shared) {
		for (struct held *h = p->session->held; h; h = h->next) {
			(void)lease_unpin_all(p->session, h);
			(void)lease_return(p->session, h, 0, 0);
		}
	}
	session_close(p);
	pthread_mutex_unlock(&p->lock);
}
