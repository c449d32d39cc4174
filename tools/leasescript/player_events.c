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

void events_add(struct session *s, const struct leasefs_event *record, bool answered)
{
	struct event *e = calloc(1, sizeof(*e));

	if (!e)
		abort();
	e->record = *record;
	e->answered = answered;
	/* As the daemon does with what has not been read yet (docs/lease-protocol.md). */
	for (struct event *old = s->events; old; old = old->next) {
		const struct leasefs_event *was = &old->record;
		bool of_it = was->lease == record->lease || was->lease == record->origin;

		if (old->settled || !of_it)
			continue;
		if (was->kind == LEASEFS_EVENT_RECALL) {
			old->settled = record->kind == LEASEFS_EVENT_RECALL ||
				       record->kind == LEASEFS_EVENT_RECALL_CANCELLED ||
				       record->kind == LEASEFS_EVENT_REVOKED;
			if (record->kind == LEASEFS_EVENT_RECALL_CANCELLED)
				e->settled = true;
		} else if (was->kind == LEASEFS_EVENT_LAYOUT_CHANGED) {
			old->settled = record->kind == LEASEFS_EVENT_LAYOUT_CHANGED;
		}
	}
	*s->events_end = e;
	s->events_end = &e->next;
	pthread_cond_broadcast(&s->arrived);
}

void events_settle_returned(struct session *s, uint64_t lease, uint64_t offset, uint64_t end)
{
	for (struct event *e = s->events; e; e = e->next)
		if (e->record.kind == LEASEFS_EVENT_RECALL && e->record.lease == lease &&
			e->record.offset < end && offset < e->record.offset + e->record.length)
			e->settled = true;
}

void events_settle_available(struct session *s, int file, uint64_t offset, uint64_t length)
{
	struct stat st;

	if (!s || fstat(file, &st))
		return;
	for (struct event *e = s->events; e; e = e->next)
		if (e->record.kind == LEASEFS_EVENT_AVAILABLE && e->record.inode == st.st_ino &&
			e->record.offset < offset + length &&
			offset < e->record.offset + e->record.length)
			e->settled = true;
}

static bool take_matching(struct player *p, const struct command *c, bool settled)
{
	struct session *s = p->session;

	for (struct event **link = &s->events; *link; link = &(*link)->next) {
		struct event *e = *link;

		if (e->settled != settled || !matches(p, c, &e->record))
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
		if (e->answered || e->settled)
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

/* Nothing reaches who has no session, or whose daemon has gone: the time passes all the same. */
static void let_time_pass(struct player *p, uint64_t until)
{
	uint64_t now = monotonic_ns(), left = until > now ? until - now : 0;
	struct timespec t = {(time_t)(left / 1000000000), (long)(left % 1000000000)};

	pthread_mutex_unlock(&p->lock);
	nanosleep(&t, NULL);
	pthread_mutex_lock(&p->lock);
}

/* What is over is found, too, but first what is not: if something runs that may still cause such an
 * event, it is that which is meant. */
static bool take_expected(struct player *p, const struct command *c, bool late)
{
	return take_matching(p, c, false) || ((late || !c->patient) && take_matching(p, c, true));
}

int session_expect(struct player *p, const struct command *c, struct reply *r)
{
	bool nothing = !strcmp(c->other, "nothing"), late = c->queued;
	uint64_t until = monotonic_ns() + (c->queued ? 0 : c->time_ns);
	struct session *s = p->session;

	while (s) {
		uint64_t now;

		if (!c->queued)
			session_pump(p);
		if (p->session != s)
			return ENOTCONN;
		if (nothing ? take_unexpected(s, r) : take_expected(p, c, late || s->dead))
			return 0;
		now = monotonic_ns();
		if (s->dead || late)
			break;
		late = now >= until; /* one more look at what has come meanwhile */
		if (!late)
			session_wait(p, until - now);
	}
	if (!nothing && !s)
		return ENOTCONN;
	if (nothing)
		let_time_pass(p, until);
	else
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
