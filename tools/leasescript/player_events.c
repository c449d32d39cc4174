// SPDX-License-Identifier: BSD-2-Clause
/* player_events.c - the events that a script expects, and how recalls are to be answered. */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "session.h"

static const char *const event_names[] = {
	[LEASEFS_EVENT_RECALL] = "recall",
	[LEASEFS_EVENT_RECALL_CANCELLED] = "recall_cancelled",
	[LEASEFS_EVENT_LAYOUT_CHANGED] = "layout_changed",
	[LEASEFS_EVENT_REVOKED] = "revoked",
	[LEASEFS_EVENT_AVAILABLE] = "available",
	[LEASEFS_EVENT_DRAIN] = "drain",
};

static const char *event_name(uint32_t kind)
{
	return kind < sizeof(event_names) / sizeof(event_names[0]) && event_names[kind]
		       ? event_names[kind]
		       : "an unknown event";
}

static bool overlaps_request(
	const struct player *p, const struct command *c, const struct leasefs_event *e)
{
	char path[PATH_MAX];
	struct stat st;

	if (player_path(p, c->file, path, sizeof(path)) || stat(path, &st))
		return false;
	return e->inode == st.st_ino && e->offset < c->lease_offset + c->lease_length &&
	       c->lease_offset < e->offset + e->length;
}

static bool matches(struct player *p, const struct command *c, const struct leasefs_event *e)
{
	struct session *s = p->session;

	if (strcmp(event_name(e->kind), c->other))
		return false;
	if (e->kind == LEASEFS_EVENT_DRAIN)
		return true;
	if (e->kind == LEASEFS_EVENT_AVAILABLE)
		return overlaps_request(p, c, e);
	for (struct held *h = s->held; h; h = h->next)
		if (h->id == c->lease)
			return held_owns(h, e->lease) || held_owns(h, e->origin);
	return e->lease == c->lease || e->origin == c->lease;
}

static bool take_matching(struct player *p, const struct command *c)
{
	struct session *s = p->session;

	for (struct event **link = &s->events; *link; link = &(*link)->next) {
		struct event *e = *link;

		if (!matches(p, c, &e->record))
			continue;
		*link = e->next;
		if (!*link)
			s->events_end = link;
		free(e);
		return true;
	}
	return false;
}

static bool take_unexpected(struct session *s, struct reply *r)
{
	for (struct event *e = s->events; e; e = e->next) {
		if (e->answered)
			continue;
		r->wrong = 1;
		snprintf(r->text, sizeof(r->text), "%s of [%" PRIu64 ", %" PRIu64 ")",
			event_name(e->record.kind), e->record.offset,
			e->record.offset + e->record.length);
		return true;
	}
	return false;
}

static void describe_waiting(struct session *s, struct reply *r)
{
	size_t used = 0;

	r->wrong = 1;
	if (s->dead) {
		snprintf(r->text, sizeof(r->text), "the session has ended");
		return;
	}
	used = (size_t)snprintf(r->text, sizeof(r->text), "what came is:");
	for (struct event *e = s->events; e && used < sizeof(r->text); e = e->next)
		used += (size_t)snprintf(
			r->text + used, sizeof(r->text) - used, " %s", event_name(e->record.kind));
	if (!s->events)
		snprintf(r->text, sizeof(r->text), "nothing came");
}

int session_expect(struct player *p, const struct command *c, struct reply *r)
{
	bool nothing = !strcmp(c->other, "nothing");
	uint64_t until = monotonic_ns() + c->time_ns;
	struct session *s = p->session;

	for (;;) {
		uint64_t now = monotonic_ns();

		session_pump(p);
		if (p->session != s)
			return ENOTCONN;
		if (nothing ? take_unexpected(s, r) : take_matching(p, c))
			return 0;
		if (s->dead || now >= until)
			break;
		session_wait(p, until - now);
	}
	if (!nothing)
		describe_waiting(s, r);
	return 0;
}

int session_set_answer(struct player *p, const struct command *c)
{
	struct session *s = p->session;

	/* What came before the change is met the old way. */
	session_pump(p);
	s->answer = c->answer;
	s->answer_after_ns = c->time_ns;
	return c->answer == ANSWER_NEVER ? 0 : session_start_reader(p);
}
