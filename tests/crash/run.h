// SPDX-License-Identifier: BSD-2-Clause
/*
 * run.h - one run of a script: the trace of it, and what the tree was after each operation.
 */
#ifndef TESTS_CRASH_RUN_H
#define TESTS_CRASH_RUN_H

#include "bed.h"
#include "explore.h"

enum run_mark { RUN_BEGUN = 1, RUN_ENDED, RUN_SYNCED, RUN_OVER };

/* After operation number i; number 0 is the opening of the pool. */
struct run_step {
	uint64_t digest;
	/* What the operation writes over in place, if anything: the tree before and after it
	 * without those bytes, and the bytes. */
	struct digest_blur blur;
	uint64_t blurred_before, blurred_after;
	uint8_t *old, *new;
};

struct run {
	const struct script *script;
	struct trace trace;
	struct run_step steps[SCRIPT_OPS_MAX + 1];
	int64_t clock; /* at the end */
	bool refused;  /* the sync of that number came */
};

/*
 * The base is selected. -1 with a finding: the script went wrong without any crash.
 *
 * With a sync that the media refuse the script is run twice: once without that, to know what the
 * tree is after each operation; then recorded, up to the operation that fails. What was
 * acknowledged must be durable all the same, and nothing that is synced later may be said to be.
 */
int run_record(struct run *run, const struct script *script, struct finding *finding);
void run_clear(struct run *run);

/* What a crash may have left. */
struct expectation {
	const struct run *run;
	uint64_t digest; /* if `exact`: that alone */
	bool exact;
	unsigned oldest, newest; /* steps */
	unsigned blurred;        /* the step under way, whose blur counts; 0: none */
};

#define SAY(finding, ...) snprintf((finding)->text, sizeof((finding)->text), __VA_ARGS__)

/* Looks at an open pool. Its digest comes back. -1 with a finding. */
int run_compare(const struct expectation *e, uint64_t *digest, struct finding *finding);

#endif
