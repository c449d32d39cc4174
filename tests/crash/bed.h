// SPDX-License-Identifier: BSD-2-Clause
/*
 * bed.h - the filesystem on the media of media.h, and the operations of a script on it.
 *
 * One in a process, as the media are. A base is a closed pool that scripts begin with: the tree
 * that script.c names, and a log that is empty, at different places:
 *   0  anywhere in its area
 *   1  so near to the area's end that a record or two wrap
 */
#ifndef TESTS_CRASH_BED_H
#define TESTS_CRASH_BED_H

#include "script.h"
#include "tree_digest.h"

#define BED_BASES 2u

/* Exits with a sentence when it cannot be made. */
void bed_make(enum media_kind kind);
void bed_remove(void);
/* Puts the base into the files, as media.h has it. */
void bed_select(unsigned base);

/* With the same clock each time. 0, or -errno with a sentence. */
int bed_open(struct diag *d);
/* Lets go of it as a crash does, or in good order (0 or -errno). */
void bed_abandon(void);
int bed_close(void);
struct core *bed_core(void);
/* The next reading of the clock, so that what comes later has other times. */
void bed_set_clock(int64_t ticks);
int64_t bed_clock(void);

/* 0 or -errno. */
int bed_operate(const struct op *op);
/* The bytes that the operation would write over in place; an empty range if there are none. */
void bed_blur(const struct op *op, struct digest_blur *out);
/* Has the operation made everything before it durable, whatever the media? */
bool bed_syncs(const struct op *op);

/* That the pool can be used: makes, writes, reads, renames and removes. 0, or -errno with what. */
int bed_use(const char **what);

#endif
