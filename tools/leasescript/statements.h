// SPDX-License-Identifier: BSD-2-Clause
/* statements.h - what each statement does; the three kinds of them. 0, or -1 after stage_fail(). */
#ifndef LEASESCRIPT_STATEMENTS_H
#define LEASESCRIPT_STATEMENTS_H

#include "stage.h"

int do_action(
	struct stage *s, const struct statement *st); /* for an actor, perhaps in the background */
int do_setting(struct stage *s, const struct statement *st); /* pools, files, actors, time */
int do_check(struct stage *s, const struct statement *st);   /* what must be so now */

/* Holds a reply against what the statement says it must come to. */
int check_outcome(struct stage *s, const struct statement *st, const struct reply *r);
/* What `start` was told its statement must come to, if that has not been waited for. */
int check_started(struct stage *s, struct background *b);
/* A lease or pin that the statement has named, when it came to OK. 0, or -1 after stage_fail(). */
int note_names(
	struct stage *s, const struct statement *st, const struct actor *a, const struct reply *r);

#endif
