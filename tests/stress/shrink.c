// SPDX-License-Identifier: BSD-2-Clause
/*
 * shrink.c - delta debugging: the script is run again, from scratch, without parts of it; what
 * still fails without a part does not need it. Parts are halved until they are single operations.
 */
#include <stdlib.h>
#include <time.h>

#include "run.h"

static time_t now(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec;
}

static bool still_fails(const struct run_options *o, struct script *s)
{
	struct run_result result;
	run_script(o, s, &result);
	if (result.failed && result.failed_at < s->count)
		s->count = result.failed_at + 1; /* what stands behind it never ran */
	return result.failed;
}

/* Without operations [from, to). True: the shorter one fails too, and is in *s now. */
static bool try_without(const struct run_options *o, struct script *s, size_t from, size_t to)
{
	struct script shorter = {0};
	for (size_t i = 0; i < s->count; i++)
		if (i < from || i >= to)
			script_add(&shorter, &s->ops[i]);
	if (!still_fails(o, &shorter)) {
		script_free(&shorter);
		return false;
	}
	script_free(s);
	*s = shorter;
	return true;
}

void shrink_script(const struct run_options *options, struct script *s, unsigned seconds)
{
	struct run_options o = *options;
	time_t end = now() + seconds;
	o.quiet = true;
	if (!still_fails(&o, s))
		return;
	for (size_t part = s->count / 2; part > 0 && now() < end;) {
		size_t before = s->count;
		/* From the end: what stands late in a script is needed by the least. */
		for (size_t to = s->count; to > 0 && now() < end;) {
			size_t from = to > part ? to - part : 0;
			try_without(&o, s, from, to);
			to = from < s->count ? from : s->count;
		}
		fprintf(stderr, "shrinking: %zu operations, parts of %zu\n", s->count, part);
		if (part > 1)
			part = part / 2;
		else if (s->count == before)
			break;
		if (part > s->count)
			part = s->count;
	}
}
