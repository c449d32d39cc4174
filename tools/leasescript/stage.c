// SPDX-License-Identifier: BSD-2-Clause
/* stage.c - see stage.h. */
#include "stage.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define OBSERVER "@"

static int tell(struct stage *s, enum run_outcome outcome, const char *format, va_list list)
{
	if (s->report->outcome == RUN_OK) {
		s->report->outcome = outcome;
		vsnprintf(s->report->text, sizeof(s->report->text), format, list);
	}
	return -1;
}

int stage_fail(struct stage *s, const char *format, ...)
{
	va_list list;
	int r;

	va_start(list, format);
	r = tell(s, RUN_FAILED, format, list);
	va_end(list);
	return r;
}

int stage_skip(struct stage *s, const char *format, ...)
{
	va_list list;
	int r;

	va_start(list, format);
	r = tell(s, RUN_SKIPPED, format, list);
	va_end(list);
	return r;
}

static uid_t user_of(const struct stage *s, const char *name)
{
	for (const struct user_name *u = s->users; u; u = u->next)
		if (!strcmp(u->name, name))
			return u->uid;
	return (uid_t)-1;
}

static struct actor *find_actor(struct stage *s, const char *name)
{
	for (struct actor *a = s->actors; a; a = a->next)
		if (!strcmp(a->name, name) && !a->gone)
			return a;
	return NULL;
}

int stage_make_world(struct stage *s)
{
	struct world *w = &s->world;

	if (!world_make(w))
		return 0;
	if (w->line)
		s->report->line = w->line;
	return stage_fail(s, "%s", w->why);
}

struct actor *stage_actor(struct stage *s, const char *name)
{
	struct actor *a = find_actor(s, name);
	int r;

	if (a)
		return a;
	if (stage_make_world(s))
		return NULL;
	r = actor_start(name, s->world.mount, user_of(s, name), &a);
	if (r) {
		stage_fail(s, "actor %s does not start: %s", name, strerror(-r));
		return NULL;
	}
	a->daemon = s->daemons;
	a->next = s->actors;
	s->actors = a;
	return a;
}

uint64_t stage_limit(const struct stage *s, uint64_t ns)
{
	return s->options->slow ? ns * s->options->slow : ns;
}

struct actor *stage_observer(struct stage *s)
{
	return stage_actor(s, OBSERVER);
}

/* How near the one that gave a name is to the one that uses it. */
static int nearness(const struct actor *owner, const struct actor *a)
{
	if (owner == a)
		return 3;
	return owner->group && owner->group == a->group ? 2 : 1;
}

#define FIND_NAMED(found, list, a, wanted)                                                         \
	do {                                                                                       \
		int best = 0;                                                                      \
                                                                                                   \
		(found) = NULL;                                                                    \
		for (__typeof__(list) at = (list); at; at = at->next) {                            \
			if (strcmp(at->name, (wanted)) || nearness(at->owner, (a)) <= best)        \
				continue;                                                          \
			best = nearness(at->owner, (a));                                           \
			(found) = at;                                                              \
		}                                                                                  \
	} while (0)

struct lease_name *stage_lease(struct stage *s, const struct actor *a, const char *name)
{
	struct lease_name *l;

	FIND_NAMED(l, s->leases, a, name);
	if (!l)
		stage_fail(s, "no lease is named %s", name);
	return l;
}

struct pin_name *stage_pin(struct stage *s, const struct actor *a, const char *name)
{
	struct pin_name *p;

	FIND_NAMED(p, s->pins, a, name);
	if (!p)
		stage_fail(s, "no pin is named %s", name);
	return p;
}

struct background *stage_background(struct stage *s, const char *name)
{
	for (struct background *b = s->backgrounds; b; b = b->next)
		if (!strcmp(b->name, name))
			return b;
	stage_fail(s, "nothing was started as %s", name);
	return NULL;
}

/* One that is not what the caller waits for can only be of the background. */
static void put_down(struct stage *s, const struct reply *r)
{
	for (struct background *b = s->backgrounds; b; b = b->next) {
		if (b->ticket != r->ticket)
			continue;
		b->thread = r->thread;
		if (!r->begun) {
			b->reply = *r;
			b->reply.elapsed_ns =
				r->ended_ns > b->sent_ns ? r->ended_ns - b->sent_ns : 0;
			b->done = true;
		}
	}
}

void stage_actor_gone(struct stage *s, struct actor *a)
{
	a->gone = true;
	for (struct background *b = s->backgrounds; b; b = b->next) {
		if (b->actor == a && !b->done) {
			b->done = true;
			b->reply.error = EINTR;
			b->reply.elapsed_ns = monotonic_ns() - b->sent_ns;
		}
	}
	stage_unshare(s, a);
}

/* ---- sessions that several have
 * ------------------------------------------------------------------ */

void stage_share(struct stage *s, struct actor *a, struct actor *b)
{
	if (!a->group)
		a->group = ++s->groups;
	b->group = a->group;
	b->daemon = a->daemon;
}

/* Another one with the same session: alive, and any or one that can be asked. */
static struct actor *find_partner(const struct stage *s, const struct actor *a, bool running)
{
	for (struct actor *other = s->actors; other; other = other->next)
		if (other != a && a->group && other->group == a->group && !other->gone &&
			!(running && other->stopped))
			return other;
	return NULL;
}

bool stage_is_shared(const struct stage *s, const struct actor *a)
{
	return find_partner(s, a, false);
}

void stage_unshare(struct stage *s, struct actor *a)
{
	struct actor *last = find_partner(s, a, false);
	struct command c = {.what = COMMAND_READ};
	struct reply r;

	/* A process that has gone keeps its group: what it named is still found by the others. */
	if (!a->gone)
		a->group = 0;
	if (last && !find_partner(s, last, false) && !last->stopped)
		(void)stage_ask(s, last, &c, &r);
}

/* The descriptor of a session that `from` has gone on with. */
static void renew(struct stage *s, struct actor *a, struct actor *from)
{
	struct command c = {.what = VERB_PASS};
	struct reply r;
	int descriptor, none;

	if (stage_ask_with(s, from, &c, -1, &r, &descriptor) || descriptor < 0)
		return;
	c.what = COMMAND_RENEW;
	(void)stage_ask_with(s, a, &c, descriptor, &r, &none);
	close(descriptor);
}

void stage_revive(struct stage *s, struct actor *a)
{
	struct command c = {.what = COMMAND_REVIVE};
	struct actor *partner;
	struct reply r;

	if (s->by_hand || a->gone || a->stopped || a->daemon == s->daemons)
		return;
	a->daemon = s->daemons;
	partner = find_partner(s, a, true);
	if (partner && partner->daemon == s->daemons)
		renew(s, a, partner);
	else
		(void)stage_ask(s, a, &c, &r);
}

int stage_ask_with(struct stage *s, struct actor *a, struct command *c, int descriptor,
	struct reply *r, int *got)
{
	uint64_t until = monotonic_ns() + PATIENCE_NS + c->time_ns;
	int error;

	c->ticket = ++s->tickets;
	error = actor_send(a, c, descriptor);
	while (!error) {
		error = actor_receive(a, r, got, until);
		if (!error && r->ticket == c->ticket && !r->begun)
			return 0;
		if (!error)
			put_down(s, r);
	}
	if (error == -ETIMEDOUT)
		return stage_fail(s, "actor %s did not answer in %llu s", a->name,
			PATIENCE_NS / 1000000000ull);
	stage_actor_gone(s, a);
	return stage_fail(s, "actor %s is gone: %s", a->name, strerror(-error));
}

int stage_ask(struct stage *s, struct actor *a, struct command *c, struct reply *r)
{
	int got, error = stage_ask_with(s, a, c, -1, r, &got);

	if (!error && got >= 0)
		close(got);
	return error;
}

int stage_await(struct stage *s, struct background *b, uint64_t until_ns)
{
	while (!b->done) {
		struct reply r;
		int got, error = actor_receive(b->actor, &r, &got, until_ns);

		if (error == -ETIMEDOUT)
			return 0;
		if (error) {
			stage_actor_gone(s, b->actor);
			return 0;
		}
		put_down(s, &r);
	}
	return 0;
}

/* How long `start` waits for what it started to be under way, and how long that has to sleep to be
 * so if it does not wait in the daemon: it may have a file to open first. Order hangs on it alone.
 */
#define SETTLE_NS 100000000ull
#define SETTLED_NS 25000000ull

/* How often the thread has gone to sleep, if it does now; else -1. */
static long long count_sleeps(pid_t process, uint32_t thread)
{
	char path[64], text[4096];
	const char *state, *sleeps;
	FILE *in;
	size_t n;

	snprintf(path, sizeof(path), "/proc/%d/task/%u/status", (int)process, thread);
	in = fopen(path, "re");
	if (!in)
		return -1;
	n = fread(text, 1, sizeof(text) - 1, in);
	fclose(in);
	text[n] = 0;
	state = strstr(text, "\nState:\t");
	sleeps = strstr(text, "\nvoluntary_ctxt_switches:\t");
	if (!state || !sleeps || !strchr("SD", state[8]))
		return -1;
	return atoll(sleeps + strlen("\nvoluntary_ctxt_switches:\t"));
}

/* How many operations wait in the daemon; 0 if it cannot be asked. */
uint64_t stage_count_parked(struct stage *s)
{
	struct command c = {.what = COMMAND_STATUS};
	struct actor *observer = stage_observer(s);
	struct reply r;

	return !observer || stage_ask(s, observer, &c, &r) || r.error ? 0 : r.fourth;
}

int stage_settle(struct stage *s, struct background *b, uint64_t parked)
{
	uint64_t now = monotonic_ns(), until = now + SETTLE_NS, since = now;
	long long before = -1;

	while (!b->done && !b->actor->stopped && now < until) {
		long long sleeps = b->thread ? count_sleeps(b->actor->pid, b->thread) : -1;

		if (sleeps < 0 || sleeps != before)
			since = now;
		else if (now - since >= SETTLED_NS || stage_count_parked(s) > parked)
			break;
		before = sleeps;
		if (stage_await(s, b, now + 1000000))
			return -1;
		now = monotonic_ns();
	}
	return 0;
}

bool stage_is_busy(const struct stage *s)
{
	for (const struct background *b = s->backgrounds; b; b = b->next)
		if (!b->done)
			return true;
	return false;
}

#define FREE_LIST(list)                                                                            \
	while (list) {                                                                             \
		void *next = (list)->next;                                                         \
		free(list);                                                                        \
		list = next;                                                                       \
	}

void stage_clear(struct stage *s)
{
	/* Forked actors are reaped once their parents have ended: the list has children first. */
	for (int pass = 0; pass < 2; pass++) {
		struct actor **link = &s->actors;

		while (*link) {
			struct actor *a = *link;

			if (pass == 0 && a->child_of_actor) {
				link = &a->next;
				continue;
			}
			*link = a->next;
			actor_destroy(a);
		}
	}
	FREE_LIST(s->leases);
	FREE_LIST(s->pins);
	FREE_LIST(s->backgrounds);
	FREE_LIST(s->users);
}
