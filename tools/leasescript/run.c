// SPDX-License-Identifier: BSD-2-Clause
/* run.c - see run.h. */
#include "run.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "stage.h"
#include "statements.h"

#define POOL_BYTES_DEFAULT (64ull << 20)
#define REPEAT_DEPTH_MAX 16

static int do_by_kind(struct stage *s, const struct statement *st)
{
	switch (st->verb) {
	case VERB_PARKED:
	case VERB_WAIT:
	case VERB_EXPECT:
	case VERB_SIZE:
	case VERB_DATA:
	case VERB_BLOCKS:
	case VERB_LEASES:
	case VERB_PINS:
	case VERB_QUARANTINE:
	case VERB_HOLDER:
		return do_check(s, st);
	default:
		return verb_is_action(st->verb) ? do_action(s, st) : do_setting(s, st);
	}
}

static int do_statement(struct stage *s, const struct statement *st)
{
	struct reply r = {0};
	uint64_t began;

	if (verb_is_action(st->verb) || st->verb == VERB_WAIT)
		return do_by_kind(s, st);
	s->came = 0;
	began = monotonic_ns();
	if (do_by_kind(s, st))
		return -1;
	r.error = s->came;
	r.elapsed_ns = monotonic_ns() - began;
	return check_outcome(s, st, &r);
}

static void trace(const struct stage *s, const struct statement *st, int r)
{
	fprintf(stderr, "%10.3f ms  line %u: %s%s%s", (double)(monotonic_ns() - s->began_ns) / 1e6,
		st->line, st->background ? st->background : "", st->background ? ": " : "",
		verb_name(st->verb));
	for (unsigned i = 0; i < st->count; i++)
		fprintf(stderr, " %s", st->arguments[i].text);
	if (st->rest && st->rest[0])
		fprintf(stderr, " %s", st->rest);
	fprintf(stderr, "%s\n", r ? "  <- here" : "");
}

static int do_all(struct stage *s, const struct script *script)
{
	uint64_t left[REPEAT_DEPTH_MAX];
	unsigned depth = 0;

	for (unsigned i = 0; i < script->count; i++) {
		const struct statement *st = &script->statements[i];
		int r;

		s->report->line = st->line;
		if (st->verb == VERB_REPEAT) {
			if (!st->arguments[0].value)
				i = st->partner;
			else
				left[depth++] = st->arguments[0].value;
			continue;
		}
		if (st->verb == VERB_END) {
			if (--left[depth - 1])
				i = st->partner;
			else
				depth--;
			continue;
		}
		r = do_statement(s, st);
		if (s->options->trace)
			trace(s, st, r);
		if (r)
			return r;
	}
	s->report->line = 0;
	for (struct background *b = s->backgrounds; b; b = b->next)
		if (check_started(s, b))
			return -1;
	return 0;
}

static bool has_verb(const struct script *script, enum verb verb)
{
	for (unsigned i = 0; i < script->count; i++)
		if (script->statements[i].verb == verb)
			return true;
	return false;
}

void run_script(
	const struct script *script, const struct run_options *options, struct run_report *report)
{
	struct stage s = {
		.options = options,
		.report = report,
		.world = {.pool_bytes = POOL_BYTES_DEFAULT,
			.pools = options->pools,
			.data = options->data,
			.more_options = options->options,
			.keep = options->keep},
		.by_hand = has_verb(script, VERB_RECLAIM),
		.began_ns = monotonic_ns(),
	};

	*report = (struct run_report){0};
	/* Before the first step: what an ordinary user may not do can stand anywhere in it. */
	if (geteuid() != 0 && has_verb(script, VERB_USER)) {
		stage_skip(&s, "'user' needs root");
		return;
	}
	if (options->mount) {
		s.world.standing = true;
		snprintf(s.world.mount, sizeof(s.world.mount), "%s", options->mount);
	}
	do_all(&s, script);
	stage_clear(&s);
	if (report->outcome == RUN_OK && world_end(&s.world))
		stage_fail(&s, "%s", s.world.why);
	world_remove(&s.world);
}
