// SPDX-License-Identifier: BSD-2-Clause
/*
 * bed_impl.h - what bed.c and operate.c share.
 */
#ifndef TESTS_CRASH_BED_IMPL_H
#define TESTS_CRASH_BED_IMPL_H

#include "bed.h"

#define HELD_MAX 16u
#define HOLDS_MAX 32u

struct bed {
	struct core *core;
	int64_t ticks;
	uint8_t *bases[BED_BASES][MEDIA_REGIONS];
	struct inode *held[HELD_MAX];
	unsigned held_count;
	struct inode *unnamed; /* the last tmpfile; also in held */
	struct core_extent holds[HOLDS_MAX];
	unsigned hold_count;
};
extern struct bed bed;
extern const struct core_cred bed_cred;

#endif
