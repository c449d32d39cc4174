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

struct actor *stage_actor(struct stage *s, const char *name)
{
	struct actor *a = find_actor(s, name);
	int r;

	if (a)
		return a;
	r = world_make(&s->world);
	if (r) {
		stage_fail(s, "%s", s->world.why);
		return NULL;
	}
	r = actor_start(name, s->world.mount, user_of(s, name), &a);
	if (r) {
		stage_fail(s, "actor %s does not start: %s", name, strerror(-r));
		return NULL;
	}
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

struct lease_name *stage_lease(struct stage *s, const char *name)
{
	for (struct lease_name *l = s->leases; l; l = l->next)
		if (!strcmp(l->name, name))
			return l;
	stage_fail(s, "no lease is named %s", name);
	return NULL;
}

struct pin_name *stage_pin(struct stage *s, const char *name)
{
	for (struct pin_name *p = s->pins; p; p = p->next)
		if (!strcmp(p->name, name))
			return p;
	stage_fail(s, "no pin is named %s", name);
	return NULL;
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
		}
	}
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
