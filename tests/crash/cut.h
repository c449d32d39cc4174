// SPDX-License-Identifier: BSD-2-Clause
/*
 * cut.h - the images that a power cut could leave at one point of a trace.
 *
 * Every line that is not durable may be there as it was at any time since it was, whole or torn at
 * 8 bytes. That is too many images; the ones that are made:
 *   - all lines at their newest, as a daemon's death leaves them. It is the first: whoever looks at
 *     it may say which lines it read (cut_reads). They are *hot*, the others can change nothing.
 *   - none of them
 *   - every combination of the hot lines, if there are no more than the budget; else by chance:
 *     one line less than all, one alone, any versions, torn ones
 */
#ifndef TESTS_CRASH_CUT_H
#define TESTS_CRASH_CUT_H

#include <stdbool.h>
#include <stdint.h>

#include "media.h"

struct cut_put {
	uint32_t region;
	uint32_t line;
	uint64_t content[LINE_WORDS];
};

struct cut_image {
	struct cut_put *puts; /* to what is durable */
	uint32_t count;
	uint32_t capacity;
	bool all;      /* the first one */
	uint64_t hash; /* of the whole, what is durable included */
};

struct cut {
	struct machine *const *machines;
	unsigned budget;
	unsigned *seed;
	struct cut_image image; /* its memory is kept from one to the next; cut_free() */
	struct cut_cell *cells;
	uint32_t count, capacity;
};

/* Calls `visit` with each image, until it returns non-zero, which is returned. */
int cut_each(
	struct cut *cut, int (*visit)(void *context, const struct cut_image *image), void *context);
/* Which lines are hot, from what recovery of the last image read; called from `visit`. */
void cut_reads(struct cut *cut, const struct media_reads *reads);
void cut_free(struct cut *cut);

#endif
