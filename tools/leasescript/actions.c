// SPDX-License-Identifier: BSD-2-Clause
/* actions.c - statements that do something on behalf of an actor. */
#include "statements.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TEXT(n) (st->arguments[n].text)
#define VALUE(n) (st->arguments[n].value)

static void put_file(struct command *c, const char *name)
{
	snprintf(c->file, sizeof(c->file), "%s", name);
}

static int put_lease(struct command *c, const struct lease_name *l)
{
	if (!l)
		return -1;
	c->lease = l->id;
	c->lease_offset = l->offset;
	c->lease_length = l->length;
	c->slot = l->slot;
	c->flag_write = l->write;
	put_file(c, l->file);
	return 0;
}

static int put_pin(struct command *c, const struct pin_name *p)
{
	if (!p)
		return -1;
	c->pin = p->id;
	c->slot_pin = p->slot;
	return put_lease(c, p->lease);
}

static int parse_mode(struct stage *s, const char *text, uint64_t *out)
{
	char *end;

	*out = strtoul(text, &end, 8);
	if (*end || *out > 07777)
		return stage_fail(s, "'%s' is not a mode such as 644", text);
	return 0;
}

/* Statements about a file: A F and what they have behind it. */
static int build_file_command(struct stage *s, const struct statement *st, struct command *c)
{
	put_file(c, TEXT(1));
	switch (st->verb) {
	case VERB_OPEN:
		c->flag_write = !strcmp(TEXT(2), "rw");
		return 0;
	case VERB_TRUNCATE:
	case VERB_CHOWN:
		c->length = VALUE(2);
		return 0;
	case VERB_CHMOD:
		return parse_mode(s, TEXT(2), &c->length);
	case VERB_PUNCH:
	case VERB_ZERO:
	case VERB_ALLOC:
	case VERB_WRITE:
		c->offset = VALUE(2);
		c->length = VALUE(3);
		if (st->verb == VERB_WRITE)
			c->seed = VALUE(5);
		return 0;
	case VERB_RENAME:
	case VERB_SETPOLICY:
		snprintf(c->other, sizeof(c->other), "%s", TEXT(2));
		return 0;
	case VERB_OTRUNC:
	case VERB_UNLINK:
		return 0;
	default:
		assert(!"not a statement about a file");
		return -1;
	}
}

static int build_pin(
	struct stage *s, const struct statement *st, const struct actor *a, struct command *c)
{
	if (put_lease(c, stage_lease(s, a, TEXT(2))))
		return -1;
	c->flag_unbreakable = !strcmp(TEXT(st->count - 1), "unbreakable");
	c->flag_range = st->count >= 5;
	c->offset = c->flag_range ? VALUE(3) : c->lease_offset;
	c->length = c->flag_range ? VALUE(4) : c->lease_length;
	return 0;
}

/* Statements about a lease: A L, or A P, and what they have behind it. */
static int build_lease_command(
	struct stage *s, const struct statement *st, const struct actor *a, struct command *c)
{
	switch (st->verb) {
	case VERB_LEASE:
		put_file(c, TEXT(2));
		c->flag_write = !strcmp(TEXT(3), "write");
		c->offset = VALUE(4);
		c->length = VALUE(5);
		c->flag_exclusive = st->count == 7;
		return 0;
	case VERB_PIN:
	case VERB_BUFPIN:
		return build_pin(s, st, a, c);
	case VERB_UNPIN:
	case VERB_BUFUNPIN:
		return put_pin(c, stage_pin(s, a, TEXT(1)));
	case VERB_CLOSE:
	case VERB_DRAIN:
		return 0;
	default:
		break;
	}
	if (put_lease(c, stage_lease(s, a, TEXT(1))))
		return -1;
	if (st->verb == VERB_RETURN && st->count == 4) {
		c->flag_range = 1;
		c->offset = VALUE(2);
		c->length = VALUE(3);
	}
	if (st->verb == VERB_COMMIT && st->count == 4)
		c->length = VALUE(3);
	if (st->verb == VERB_STORE || st->verb == VERB_LOAD) {
		c->offset = VALUE(2);
		c->length = VALUE(3);
		c->flag_zero = !strcmp(TEXT(4), "zero");
		c->seed = st->count == 6 ? VALUE(5) : 0;
	}
	return 0;
}

static bool is_about_file(enum verb verb)
{
	switch (verb) {
	case VERB_OPEN:
	case VERB_TRUNCATE:
	case VERB_PUNCH:
	case VERB_ZERO:
	case VERB_ALLOC:
	case VERB_WRITE:
	case VERB_OTRUNC:
	case VERB_UNLINK:
	case VERB_RENAME:
	case VERB_CHMOD:
	case VERB_CHOWN:
	case VERB_SETPOLICY:
		return true;
	default:
		return false;
	}
}

int check_outcome(struct stage *s, const struct statement *st, const struct reply *r)
{
	double ms = (double)r->elapsed_ns / 1e6;
	uint64_t high_ns = stage_limit(s, st->high_ns);

	if (r->wrong)
		return stage_fail(
			s, "%s: other bytes were expected, but %s", verb_name(st->verb), r->text);
	if (r->error != st->result)
		return stage_fail(s, "%s: expected %s, came %s after %.1f ms%s%s",
			verb_name(st->verb), result_name(st->result), result_name(r->error), ms,
			r->text[0] ? ": " : "", r->text);
	if (st->has_range && (r->elapsed_ns < st->low_ns || r->elapsed_ns > high_ns))
		return stage_fail(s, "%s: expected %s in %.1f..%.1f ms, it took %.1f ms",
			verb_name(st->verb), result_name(st->result), (double)st->low_ns / 1e6,
			(double)high_ns / 1e6, ms);
	return 0;
}

static int note_lease(
	struct stage *s, const struct statement *st, const struct actor *a, const struct reply *r)
{
	struct lease_name *l;

	for (l = s->leases; l; l = l->next)
		if (l->owner == a && !strcmp(l->name, TEXT(1)))
			break;
	if (!l) {
		l = calloc(1, sizeof(*l));
		if (!l)
			return stage_fail(s, "out of memory");
		snprintf(l->name, sizeof(l->name), "%s", TEXT(1));
		l->owner = a;
		l->next = s->leases;
		s->leases = l;
	}
	snprintf(l->file, sizeof(l->file), "%s", TEXT(2));
	l->id = r->error ? 0 : r->id;
	/* The grant is rounded outward to what can be mapped. */
	l->offset = r->error ? VALUE(4) : r->extra;
	l->length = r->error ? VALUE(5) : r->third;
	l->slot = (uint32_t)r->fourth;
	l->write = !strcmp(TEXT(3), "write");
	return 0;
}

static int note_pin(
	struct stage *s, const struct statement *st, const struct actor *a, const struct reply *r)
{
	struct lease_name *l = stage_lease(s, a, TEXT(2));
	struct pin_name *p;

	if (!l)
		return -1;
	for (p = s->pins; p; p = p->next)
		if (p->owner == a && !strcmp(p->name, TEXT(1)))
			break;
	if (!p) {
		p = calloc(1, sizeof(*p));
		if (!p)
			return stage_fail(s, "out of memory");
		snprintf(p->name, sizeof(p->name), "%s", TEXT(1));
		p->owner = a;
		p->next = s->pins;
		s->pins = p;
	}
	p->lease = l;
	p->id = r->id;
	p->slot = r->extra;
	return 0;
}

int note_names(
	struct stage *s, const struct statement *st, const struct actor *a, const struct reply *r)
{
	/* One that was refused is named too: `available` is expected by that name. */
	if (st->verb == VERB_LEASE && (!r->error || r->error == EAGAIN))
		return note_lease(s, st, a, r);
	if (r->error)
		return 0;
	if (st->verb == VERB_PIN || st->verb == VERB_BUFPIN)
		return note_pin(s, st, a, r);
	return 0;
}

static int begin_background(
	struct stage *s, const struct statement *st, struct actor *a, struct command *c)
{
	uint64_t parked = stage_count_parked(s);
	struct background *b;
	int r;

	for (b = s->backgrounds; b; b = b->next)
		if (!strcmp(b->name, st->background))
			break;
	if (b && !b->done)
		return stage_fail(s, "%s is still running", b->name);
	if (!b) {
		b = calloc(1, sizeof(*b));
		if (!b)
			return stage_fail(s, "out of memory");
		snprintf(b->name, sizeof(b->name), "%s", st->background);
		b->next = s->backgrounds;
		s->backgrounds = b;
	}
	b->actor = a;
	b->statement = st;
	b->thread = 0;
	b->done = b->waited_for = false;
	memset(&b->reply, 0, sizeof(b->reply));
	c->background = 1;
	c->ticket = b->ticket = ++s->tickets;
	b->sent_ns = monotonic_ns();
	r = actor_send(a, c, -1);
	if (r)
		return stage_fail(s, "actor %s is gone: %s", a->name, strerror(-r));
	return stage_settle(s, b, parked);
}

int do_action(struct stage *s, const struct statement *st)
{
	struct command c = {.what = st->verb};
	struct reply r;
	struct actor *a;

	a = st->verb == VERB_DRAIN ? stage_observer(s) : stage_actor(s, TEXT(0));
	if (!a)
		return -1;
	if (st->verb == VERB_RECLAIM && !strcmp(TEXT(1), "never"))
		return 0; /* said by being there: stage.by_hand */
	if (is_about_file(st->verb) ? build_file_command(s, st, &c)
				    : build_lease_command(s, st, a, &c))
		return -1;
	if (st->background)
		return begin_background(s, st, a, &c);
	if (stage_ask(s, a, &c, &r) || note_names(s, st, a, &r))
		return -1;
	if (st->verb == VERB_CLOSE && !r.error)
		stage_unshare(s, a);
	return check_outcome(s, st, &r);
}
