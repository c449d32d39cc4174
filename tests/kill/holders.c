// SPDX-License-Identifier: BSD-2-Clause
/*
 * holders.c - processes that store directly, under leases, while others truncate and daemons die.
 *
 * Each held file has one holder, and each line of it says whose it is. Whatever happens,
 *   - a line in a mapping, live or stale, is zeroes or the owner's own and whole: a block that
 *     somebody may still touch is never in another file (invariants 1 and 8);
 *   - while a pin is held nothing but the holder changes the line (invariant 1);
 * and the library takes leases up again after a restart without being asked.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <leasefs/leasefs.h>

#include "kill.h"

#define LINES (HELD_BYTES / sizeof(struct line))
#define WAIT_NS 200000000ull
#define LONG_PIN_MS 80
#define PAUSE_MS 1 /* between rounds: the processors are others' too */

struct holder {
	struct worker *w;
	int fd;
	struct leasefs_session *session;
	struct leasefs_lease *lease; /* NULL: there is none */
	struct line *memory;
	uint64_t version;
	bool lost; /* something was recalled or revoked: take the whole lease anew */
};

/* ---- lines ----------------------------------------------------------------------------------- */

void line_make(struct line *out, uint64_t owner, uint64_t place, uint64_t version)
{
	*out = (struct line){.owner = owner, .place = place, .version = version};
	for (unsigned i = 0; i < 5; i++)
		out->check[i] = (owner * 31 + place) * 0x9e3779b97f4a7c15ull + version * (i + 1);
}

bool line_is_sound(const struct line *line, uint64_t owner, uint64_t place)
{
	static const struct line zeroes;
	struct line right;

	if (!memcmp(line, &zeroes, sizeof(zeroes)))
		return true;
	line_make(&right, owner, place, line->version);
	return !memcmp(line, &right, sizeof(right));
}

/* ---- a holder -------------------------------------------------------------------------------- */

static bool open_held(struct holder *h)
{
	char name[16];

	snprintf(name, sizeof(name), "held.%u", h->w->number);
	for (;;) {
		int root = open_mount(h->w);

		if (root < 0)
			return false;
		if (h->fd >= 0)
			close(h->fd);
		h->fd = openat(root, name, O_RDWR | O_CLOEXEC);
		close(root);
		if (h->fd >= 0)
			return true;
	}
}

static void open_session(struct holder *h)
{
	while (open_held(h)) {
		int error = leasefs_open_session_at(h->fd, 0, &h->session);

		if (error == 0)
			return;
		if (!is_gone(error) && error != -ENOTTY)
			wrong(h->w, "a session: %s", strerror(-error));
	}
}

static void take(struct holder *h)
{
	struct leasefs_lease_state state;
	int error = leasefs_wait_lease(
		h->session, h->fd, 0, HELD_BYTES, LEASEFS_TAKE_WRITE, WAIT_NS, &h->lease);

	if (error == 0) {
		h->lost = false;
		error = leasefs_map_lease(h->lease, 0, (void **)&h->memory);
		/* What was revoked before it was mapped is not there to be looked at. */
		if (!error &&
			(leasefs_get_lease(h->lease, &state) || state.held_bytes != HELD_BYTES))
			error = -EAGAIN;
		if (error && leasefs_return_lease(h->lease) == 0)
			h->lease = NULL;
	}
	/* The descriptor, or the session still, is of the daemon that is gone. */
	if (error && (is_gone(error) || error == -ENOTTY || error == -EXDEV))
		(void)open_held(h);
	else if (error && error != -ETIMEDOUT && error != -EAGAIN && error != -ESTALE)
		wrong(h->w, "a lease: %s", strerror(-error));
}

static void look_everywhere(struct holder *h)
{
	for (unsigned i = 0; i < LINES; i += 7)
		if (!line_is_sound(&h->memory[i], h->w->number + 1, i))
			wrong(h->w, "line %u of its mapping is not its own: owner %llu, place %llu",
				i, (unsigned long long)h->memory[i].owner,
				(unsigned long long)h->memory[i].place);
}

/* Stores under a pin: nobody else may come between. */
static void store_some(struct holder *h)
{
	struct line line;

	if (leasefs_pin_lease(h->lease))
		return; /* recalled: the event says so */
	for (unsigned n = 0; n < 64; n++) {
		unsigned i = (unsigned)(roll(h->w) % LINES);

		line_make(&line, h->w->number + 1, i, ++h->version);
		memcpy(&h->memory[i], &line, sizeof(line));
		if (roll(h->w) % 4 == 0)
			usleep((useconds_t)(roll(h->w) % 200));
		if (memcmp(&h->memory[i], &line, sizeof(line)))
			wrong(h->w, "line %u changed under a pin", i);
	}
	if (roll(h->w) % 32 == 0) /* longer than the policy waits */
		(void)poll(NULL, 0, LONG_PIN_MS);
	(void)leasefs_unpin_lease(h->lease);
	atomic_fetch_add(&h->w->board->stores, 64);
}

static void give_back(struct holder *h)
{
	int error = h->lease ? leasefs_return_lease(h->lease) : 0;

	if (error && error != -ENOTCONN)
		wrong(h->w, "returning the lease: %s", strerror(-error));
	if (!error)
		h->lease = NULL;
}

static void answer(struct holder *h)
{
	struct leasefs_event event;
	struct leasefs_lease *lease;

	while (leasefs_next_event(h->session, &event, &lease) > 0) {
		switch (event.kind) {
		case LEASEFS_EVENT_RECALL:
			h->lost = true;
			break;
		case LEASEFS_EVENT_REVOKED:
			h->lost = true;
			atomic_fetch_add(&h->w->board->revoked, 1);
			break;
		case LEASEFS_EVENT_RECONNECTED:
			atomic_fetch_add(&h->w->board->reconnects, 1);
			atomic_fetch_add(&h->w->board->reclaimed, h->lease && !h->lost);
			(void)open_held(h);
			break;
		default:
			break;
		}
	}
}

void run_holder(struct worker *w)
{
	struct holder h = {.w = w, .fd = -1};

	open_session(&h);
	while (!atomic_load(&w->board->stop)) {
		answer(&h);
		if (h.lease)
			look_everywhere(&h);
		if (h.lost && roll(w) % 4) /* sometimes it is late */
			give_back(&h);
		if (!h.lease)
			take(&h);
		else if (!h.lost)
			store_some(&h);
		if (h.lease && !h.lost && roll(w) % 16 == 0)
			(void)leasefs_commit_range(h.lease, 0, 0, 0);
		(void)poll(NULL, 0, PAUSE_MS);
	}
	give_back(&h);
	(void)leasefs_close_session(h.session);
}

/* ---- a managed mapping ----------------------------------------------------------------------- */

/* It takes no notice of anything; behind the end of file, and without a daemon, the guard says so.
 */
static void load_and_store(struct holder *h)
{
	for (unsigned n = 0; n < 64; n++) {
		unsigned i = (unsigned)(roll(h->w) % LINES);
		struct line line;

		if (leasefs_copy_guarded(&line, &h->memory[i], sizeof(line)))
			continue;
		if (!line_is_sound(&line, h->w->number + 1, i))
			wrong(h->w, "line %u of the managed mapping is not its own: owner %llu", i,
				(unsigned long long)line.owner);
		line_make(&line, h->w->number + 1, i, ++h->version);
		(void)leasefs_copy_guarded(&h->memory[i], &line, sizeof(line));
	}
	atomic_fetch_add(&h->w->board->stores, 64);
}

static void map_anew(struct holder *h)
{
	int error = leasefs_map_managed(h->session, h->fd, 0, HELD_BYTES, LEASEFS_TAKE_WRITE,
		&h->lease, (void **)&h->memory);

	if (error && (is_gone(error) || error == -ENOTTY || error == -EXDEV))
		(void)open_held(h);
	else if (error)
		wrong(h->w, "a managed mapping: %s", strerror(-error));
}

void run_managed(struct worker *w)
{
	struct holder h = {.w = w, .fd = -1};

	if (leasefs_enable_guard())
		wrong(w, "no guard");
	open_session(&h);
	while (!atomic_load(&w->board->stop)) {
		answer(&h);
		if (h.lease)
			load_and_store(&h);
		else
			map_anew(&h);
		(void)poll(NULL, 0, PAUSE_MS);
	}
	give_back(&h);
	(void)leasefs_close_session(h.session);
}
