// SPDX-License-Identifier: BSD-2-Clause
/*
 * explore.h - every crash of one script.
 *
 * The script is run once, recorded. At each fence, and wherever an operation was acknowledged, the
 * images of cut.h are made. Each is opened by the daemon's own recovery; then
 *   1. the checker must find nothing;
 *   2. the tree must be as it was before or after the operation under way, or, where none was,
 *      exactly as after the last one. (Relaxed page cache and a loss of power: not older than the
 *      last sync.) Bytes that were written over in place are each the old or the new ones;
 *   3. the pool must be usable: make, write, read, rename, remove; then close and, of some, checked
 *      again;
 *   4. some recoveries are recorded themselves, and cut off the same way: what is recovered then
 *      must be what was recovered without the second crash.
 * Recovery is told of another number of processors than the run.
 *
 * An image that was seen before, with the same to be expected of it, is not looked at again.
 *
 * One explorer in a process.
 */
#ifndef TESTS_CRASH_EXPLORE_H
#define TESTS_CRASH_EXPLORE_H

#include "script.h"

struct explore_limits {
	unsigned images;        /* of one fence, beyond all and none */
	unsigned nested_one_in; /* recoveries that are cut off themselves; 0: none */
	unsigned nested_images; /* of each of them */
};

struct explore_stats {
	uint64_t scripts, operations, fences;
	uint64_t states; /* images opened and checked, those of `nested` included */
	uint64_t nested;
	uint64_t duplicates; /* images not looked at again */
	uint64_t uses;
	uint64_t refused; /* syncs */
};

struct finding {
	char text[2000];
};

void explorer_make(enum media_kind kind);
void explorer_remove(void);
/*
 * Explores the crashes in operations from number `from` on (0: all, the first opening too).
 * -1 with a finding, or 0. `stats` is added to as it goes on: it may be shared memory.
 */
int explore(const struct script *script, unsigned from, const struct explore_limits *limits,
	struct explore_stats *stats, struct finding *finding);

#endif
