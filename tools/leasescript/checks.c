// SPDX-License-Identifier: BSD-2-Clause
/* checks.c - statements that say what must be so. */
#include "statements.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define TEXT(n) (st->arguments[n].text)
#define VALUE(n) (st->arguments[n].value)

#define EXPECT_NS 1000000000ull /* if the statement does not say */

static int check_parked(struct stage *s, const struct statement *st)
{
	struct background *b = stage_background(s, TEXT(0));

	if (!b || stage_await(s, b, monotonic_ns() + VALUE(2)))
		return -1;
	if (b->done)
		return stage_fail(s,
			"%s was expected to be parked, but ended with %s after %.1f ms%s%s",
			b->name, result_name(b->reply.error), (double)b->reply.elapsed_ns / 1e6,
			b->reply.text[0] ? ": " : "", b->reply.text);
	return 0;
}

static int await_end(struct stage *s, struct background *b, const struct statement *st)
{
	uint64_t patience = PATIENCE_NS + (st->has_range ? stage_limit(s, st->high_ns) : 0);

	if (stage_await(s, b, monotonic_ns() + patience))
		return -1;
	if (!b->done)
		return stage_fail(s,
			"%s was expected to end with %s, but it has not ended in %llu s", b->name,
			result_name(st->result), (unsigned long long)(patience / 1000000000));
	return 0;
}

int check_started(struct stage *s, struct background *b)
{
	const struct statement *st = b->statement;
	unsigned line = s->report->line;

	if (b->waited_for || !(st->has_result || st->has_range))
		return 0;
	b->waited_for = true;
	s->report->line = st->line;
	if (await_end(s, b, st) || check_outcome(s, st, &b->reply))
		return -1;
	s->report->line = line;
	return 0;
}

static int check_ended(struct stage *s, const struct statement *st)
{
	struct background *b = stage_background(s, TEXT(0));
	struct statement expected = *st;

	if (!b || await_end(s, b, st) || note_names(s, b->statement, b->actor, &b->reply))
		return -1;
	/* What `start` says holds, too, and a wait that says nothing means that. */
	if (check_started(s, b))
		return -1;
	if (!st->has_result)
		expected.result = b->statement->result;
	return check_outcome(s, &expected, &b->reply);
}

/* Others of the session may have read it, before they shared it. */
static bool has_been_read(struct stage *s, struct actor *a, const struct command *c)
{
	for (struct actor *other = s->actors; other; other = other->next) {
		struct command ask = *c;
		struct reply r;

		if (other == a || !a->group || other->group != a->group || other->gone ||
			other->stopped)
			continue;
		ask.queued = 1;
		if (!stage_ask(s, other, &ask, &r) && !r.error && !r.wrong)
			return true;
	}
	return false;
}

static int check_event(struct stage *s, const struct statement *st)
{
	struct command c = {.what = VERB_EXPECT};
	struct actor *a = stage_actor(s, TEXT(0));
	struct reply r;

	if (!a)
		return -1;
	snprintf(c.other, sizeof(c.other), "%s", TEXT(1));
	if (!strcmp(TEXT(1), "nothing")) {
		c.time_ns = VALUE(3);
	} else {
		const struct lease_name *l = stage_lease(s, a, TEXT(2));

		if (!l)
			return -1;
		c.lease = l->id;
		c.lease_offset = l->offset;
		c.lease_length = l->length;
		snprintf(c.file, sizeof(c.file), "%s", l->file);
		c.time_ns = stage_limit(s, st->count == 5 ? VALUE(4) : EXPECT_NS);
		c.patient = stage_is_busy(s);
		if (has_been_read(s, a, &c))
			return 0;
	}
	if (stage_ask(s, a, &c, &r))
		return -1;
	if (r.error)
		return stage_fail(s, "expect %s: %s", TEXT(1), strerror(r.error));
	if (r.wrong && !strcmp(TEXT(1), "nothing"))
		return stage_fail(
			s, "nothing was expected to reach %s, but %s came", TEXT(0), r.text);
	if (r.wrong)
		return stage_fail(s, "%s %s was expected to reach %s within %.1f ms, but %s",
			TEXT(1), TEXT(2), TEXT(0), (double)c.time_ns / 1e6, r.text);
	return 0;
}

static int check_file(struct stage *s, const struct statement *st)
{
	struct command c = {.what = st->verb == VERB_DATA ? COMMAND_READ_DATA : COMMAND_STAT};
	struct actor *a = stage_observer(s);
	uint64_t found;
	struct reply r;

	if (!a)
		return -1;
	snprintf(c.file, sizeof(c.file), "%s", TEXT(0));
	if (st->verb == VERB_DATA) {
		c.offset = VALUE(1);
		c.length = VALUE(2);
		c.flag_zero = !strcmp(TEXT(3), "zero");
		c.seed = st->count == 5 ? VALUE(4) : 0;
	}
	if (stage_ask(s, a, &c, &r))
		return -1;
	if (r.error && st->has_result) {
		s->came = r.error;
		return 0;
	}
	if (r.error)
		return stage_fail(s, "%s %s: %s", verb_name(st->verb), TEXT(0), strerror(r.error));
	if (r.wrong)
		return stage_fail(s, "data %s: %s %s were expected, but %s", TEXT(0), TEXT(3),
			st->count == 5 ? TEXT(4) : "bytes", r.text);
	if (st->result)
		return 0;
	if (st->verb == VERB_DATA)
		return 0;
	found = st->verb == VERB_SIZE ? r.id : r.extra;
	if (found != VALUE(1))
		return stage_fail(s, "%s of %s was expected to be %" PRIu64 ", it is %" PRIu64,
			verb_name(st->verb), TEXT(0), VALUE(1), found);
	return 0;
}

/* Ends of sessions are seen by the daemon a moment later (RELEASE is asynchronous): look again. */
#define STATUS_SETTLE_NS 3000000000ull

static int check_status(struct stage *s, const struct statement *st)
{
	uint64_t until = monotonic_ns() + STATUS_SETTLE_NS, found;
	struct actor *a = stage_observer(s);

	if (!a)
		return -1;
	do {
		struct command c = {.what = COMMAND_STATUS};
		struct reply r;

		if (stage_ask(s, a, &c, &r))
			return -1;
		if (r.error)
			return stage_fail(s, "%s: %s", verb_name(st->verb), strerror(r.error));
		found = st->verb == VERB_LEASES ? r.id : st->verb == VERB_PINS ? r.extra : r.third;
		if (found == VALUE(0))
			return 0;
	} while (monotonic_ns() < until);
	return stage_fail(s, "%s was expected to be %" PRIu64 ", it is %" PRIu64,
		verb_name(st->verb), VALUE(0), found);
}

static int check_holder(struct stage *s, const struct statement *st)
{
	struct command c = {.what = COMMAND_FIND_CONFLICT};
	struct actor *observer = stage_observer(s), *a;
	struct reply r;

	if (!observer)
		return -1;
	/* The holder may be dead by now: its process is still known. */
	for (a = s->actors; a && strcmp(a->name, TEXT(1)); a = a->next)
		;
	if (!a)
		return stage_fail(s, "no actor is named %s", TEXT(1));
	snprintf(c.file, sizeof(c.file), "%s", TEXT(0));
	if (stage_ask(s, observer, &c, &r))
		return -1;
	if (r.error)
		return stage_fail(s, "holder %s: %s", TEXT(0), strerror(r.error));
	if (r.id != (uint64_t)a->pid)
		return stage_fail(s,
			"the last conflict on %s was expected to name %s (process %d), it names "
			"process %" PRIu64,
			TEXT(0), TEXT(1), (int)a->pid, r.id);
	return 0;
}

int do_check(struct stage *s, const struct statement *st)
{
	switch (st->verb) {
	case VERB_PARKED:
		return check_parked(s, st);
	case VERB_WAIT:
		return check_ended(s, st);
	case VERB_EXPECT:
		return check_event(s, st);
	case VERB_SIZE:
	case VERB_DATA:
	case VERB_BLOCKS:
		return check_file(s, st);
	case VERB_LEASES:
	case VERB_PINS:
	case VERB_QUARANTINE:
		return check_status(s, st);
	default:
		return check_holder(s, st);
	}
}
