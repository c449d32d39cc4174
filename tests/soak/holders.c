// SPDX-License-Identifier: BSD-2-Clause
/*
 * holders.c - sessions that come, take leases in every way, and go; mappings, stores, pins.
 *
 * A holder answers recalls as programs do: at once, late, or not at all. What it reads in its
 * mapping, live or revoked, is the file's own or zeroes: blocks in quarantine are nobody else's.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <leasefs/leasefs.h>

#include "soak.h"

#define LEASES_MAX 4u
#define UNIT 4096u

struct held {
	struct leasefs_lease *lease; /* NULL: none */
	struct line *memory;
	uint64_t offset, length;
	unsigned flags;
	uint64_t range_pin;
	bool slot_pinned, range_pinned;
	bool recalled, revoked;
};

struct holder {
	struct worker *w;
	unsigned file;
	int fd;
	struct leasefs_session *session;
	struct held held[LEASES_MAX];
};

void line_make(struct line *out, uint64_t owner, uint64_t place)
{
	for (uint64_t i = 0; i < 8; i++)
		out->word[i] = ((owner * 31 + place) * 8 + i) * 0x9e3779b97f4a7c15ull | 1;
}

bool line_is_sound(const struct line *line, uint64_t owner, uint64_t place)
{
	const unsigned char *got = (const unsigned char *)line, *wanted;
	struct line right;

	line_make(&right, owner, place);
	wanted = (const unsigned char *)&right;
	for (size_t i = 0; i < sizeof(right); i++)
		if (got[i] && got[i] != wanted[i])
			return false;
	return true;
}

/* What a lease may be refused with, where others are at work on the file. */
static bool is_usual(int error)
{
	return error == -EAGAIN || error == -EBUSY || error == -ESTALE || error == -ENOENT ||
	       error == -EINVAL || error == -ENOBUFS || error == -ENOSPC || error == -EBADF ||
	       error == -ETIMEDOUT;
}

static void expect_usual(struct holder *h, const char *what, int error)
{
	if (error < 0 && !is_usual(error))
		wrong(h->w, "%s: %s", what, strerror(-error));
}

static void take(struct holder *h, struct held *l)
{
	static const unsigned flags[] = {LEASEFS_TAKE_READ, LEASEFS_TAKE_WRITE, LEASEFS_TAKE_WRITE,
		LEASEFS_TAKE_WRITE | LEASEFS_TAKE_EXCLUSIVE};
	struct worker *w = h->w;
	struct leasefs_lease_state state;
	int error;

	*l = (struct held){.offset = roll(w) % (HELD_BYTES / UNIT) * UNIT,
		.length = (1 + roll(w) % 32) * UNIT,
		.flags = flags[roll(w) % 4]};
	if (roll(w) % 4 == 0)
		error = leasefs_wait_lease(
			h->session, h->fd, l->offset, l->length, l->flags, 50000000, &l->lease);
	else
		error = leasefs_take_lease(
			h->session, h->fd, l->offset, l->length, l->flags, &l->lease);
	expect_usual(h, "a lease", error);
	if (error) {
		l->lease = NULL;
		return;
	}
	note(w, COUNT_GRANTS, 1);
	leasefs_set_lease_data(l->lease, l);
	error = leasefs_map_lease(
		l->lease, roll(w) % 2 ? LEASEFS_MAP_POPULATE : 0, (void **)&l->memory);
	expect_usual(h, "a mapping", error);
	/* What was revoked before it was mapped is not there to be touched. */
	if (error || leasefs_get_lease(l->lease, &state) || state.revoked_bytes)
		l->memory = NULL;
}

static void pin(struct holder *h, struct held *l)
{
	uint64_t kind = roll(h->w) % 4;

	if (kind == 0)
		return;
	if (kind == 1) {
		l->slot_pinned = leasefs_pin_lease(l->lease) == 0;
		return;
	}
	l->range_pinned = leasefs_pin_range(l->lease, 0, 0, kind == 2 ? 0 : LEASEFS_PIN_UNBREAKABLE,
				  &l->range_pin) == 0;
}

static void unpin(struct holder *h, struct held *l)
{
	int error = l->slot_pinned ? leasefs_unpin_lease(l->lease) : 0;

	if (!error && l->range_pinned)
		error = leasefs_unpin_range(l->lease, l->range_pin);
	if (error)
		wrong(h->w, "unpinning a %s: %s", l->slot_pinned ? "lease" : "range",
			strerror(-error));
	l->slot_pinned = l->range_pinned = false;
}

static void use(struct holder *h, struct held *l)
{
	uint64_t lines = l->length / sizeof(struct line), first = l->offset / sizeof(struct line);

	for (unsigned n = 0; n < 32; n++) {
		uint64_t i = roll(h->w) % lines;
		struct line line = l->memory[i];

		if (!line_is_sound(&line, h->file + 1, first + i))
			wrong(h->w, "line %llu of held.%u is not its own, under a %s lease: %#llx",
				(unsigned long long)(first + i), h->file,
				l->flags & LEASEFS_TAKE_WRITE ? "write" : "read",
				(unsigned long long)line.word[0]);
		if (!(l->flags & LEASEFS_TAKE_WRITE))
			continue;
		line_make(&line, h->file + 1, first + i);
		memcpy(&l->memory[i], &line, sizeof(line));
		note(h->w, COUNT_STORES, 1);
	}
}

static void give_back(struct holder *h, struct held *l)
{
	int error;

	unpin(h, l);
	if (l->revoked)
		(void)leasefs_acknowledge_lease(l->lease);
	error = leasefs_return_lease(l->lease);
	if (error)
		wrong(h->w, "returning a lease that is not pinned: %s", strerror(-error));
	*l = (struct held){0};
}

static void hear(struct holder *h)
{
	struct leasefs_event event;
	struct leasefs_lease *lease;

	while (leasefs_next_event(h->session, &event, &lease) > 0) {
		struct held *l = lease ? leasefs_get_lease_data(lease) : NULL;

		if (event.kind == LEASEFS_EVENT_RECALL)
			note(h->w, COUNT_RECALLS, 1);
		if (event.kind == LEASEFS_EVENT_REVOKED)
			note(h->w, COUNT_REVOKED, 1);
		if (!l)
			continue;
		l->recalled |= event.kind == LEASEFS_EVENT_RECALL;
		l->revoked |= event.kind == LEASEFS_EVENT_REVOKED;
		if (event.kind == LEASEFS_EVENT_LAYOUT_CHANGED && l->memory)
			(void)leasefs_refresh_lease(lease);
	}
}

static void go_on(struct holder *h, struct held *l)
{
	struct worker *w = h->w;

	if ((l->recalled || l->revoked) && roll(w) % 3) {
		give_back(h, l);
		return;
	}
	if (l->memory && !l->revoked)
		use(h, l);
	switch (roll(w) % 12) {
	case 0:
		expect_usual(h, "a commit", leasefs_commit_range(l->lease, 0, 0, 0));
		break;
	case 1:
		unpin(h, l);
		expect_usual(h, "a return",
			leasefs_return_range(l->lease, l->offset + roll(w) % 8 * UNIT, UNIT));
		l->memory = NULL; /* there is a gap in it */
		break;
	case 2:
		unpin(h, l);
		expect_usual(h, "a downgrade", leasefs_downgrade_lease(l->lease, 0));
		l->flags = LEASEFS_TAKE_READ;
		break;
	case 3:
		unpin(h, l);
		break;
	default:
		break;
	}
}

void round_holder(struct worker *w)
{
	struct holder h = {.w = w, .file = (unsigned)(roll(w) % HELD_FILES)};
	int error;

	h.fd = open(held_path(w, h.file), O_RDWR | O_CLOEXEC);
	if (h.fd < 0)
		return; /* just being replaced */
	error = leasefs_open_session_at(h.fd, 0, &h.session);
	if (error)
		wrong(w, "a session: %s", strerror(-error));
	note(w, COUNT_SESSIONS, 1);
	for (unsigned n = 0; n < 12; n++) {
		struct held *l = &h.held[roll(w) % LEASES_MAX];

		hear(&h);
		if (l->lease) {
			go_on(&h, l);
		} else {
			take(&h, l);
			if (l->lease)
				pin(&h, l);
		}
		if (roll(w) % 4 == 0) /* longer than the policy waits, at times */
			(void)poll(NULL, 0, (int)(roll(w) % 40));
	}
	/* Some end in order, some leave it all to the end of the session. */
	for (unsigned i = 0; i < LEASES_MAX; i++) {
		if (!h.held[i].lease)
			continue;
		unpin(&h, &h.held[i]);
		if (roll(w) % 2)
			give_back(&h, &h.held[i]);
	}
	error = leasefs_close_session(h.session);
	if (error)
		wrong(w, "the end of a session: %s", strerror(-error));
	close(h.fd);
}

void round_managed(struct worker *w)
{
	struct leasefs_session *session;
	struct leasefs_lease *lease;
	struct line *memory, line;
	unsigned flags = roll(w) % 3 ? LEASEFS_TAKE_WRITE : LEASEFS_TAKE_READ;
	int fd = open(held_path(w, MANAGED_FILE), O_RDWR | O_CLOEXEC), error;

	if (fd < 0)
		return;
	if (leasefs_enable_guard())
		wrong(w, "no guard");
	error = leasefs_open_session_at(fd, 0, &session);
	if (error)
		wrong(w, "a session: %s", strerror(-error));
	note(w, COUNT_SESSIONS, 1);
	error = leasefs_map_managed(session, fd, 0, HELD_BYTES, flags, &lease, (void **)&memory);
	for (unsigned n = 0; n < 200 && !error; n++) {
		uint64_t i = roll(w) % (HELD_BYTES / sizeof(line));

		if (leasefs_copy_guarded(&line, &memory[i], sizeof(line)))
			continue; /* behind the end of file */
		if (!line_is_sound(&line, MANAGED_FILE + 1, i))
			wrong(w, "line %llu of the managed mapping is not its own, %s lease: %#llx",
				(unsigned long long)i,
				flags == LEASEFS_TAKE_WRITE ? "write" : "read",
				(unsigned long long)line.word[0]);
		if (flags == LEASEFS_TAKE_WRITE) {
			line_make(&line, MANAGED_FILE + 1, i);
			(void)leasefs_copy_guarded(&memory[i], &line, sizeof(line));
			note(w, COUNT_STORES, 1);
		}
		if (n % 8 == 0)
			(void)poll(NULL, 0, 1);
	}
	if (!error && roll(w) % 2) {
		if (leasefs_leave_mapping(lease) == 0)
			munmap(memory, HELD_BYTES);
	}
	error = leasefs_close_session(session);
	if (error)
		wrong(w, "the end of a session: %s", strerror(-error));
	close(fd);
}
