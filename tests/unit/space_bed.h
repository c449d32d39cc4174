/* SPDX-License-Identifier: BSD-2-Clause */
/* space_bed.h - a space of some groups, the last one short, for tests of the allocator. */
#ifndef TESTS_UNIT_SPACE_BED_H
#define TESTS_UNIT_SPACE_BED_H

#include "fixture.h"
#include "space.h"

#define SPACE_ID SPACE_REGION(0)
#define GROUPS 4u
#define LAST_UNITS 1000u
#define UNITS ((GROUPS - 1) * GROUP_BITS + LAST_UNITS)

extern struct fixture fx; /* of the test that runs */
extern struct space *space;

struct media_group group_of(uint32_t group);
void open_space_with(uint32_t align, struct region *backing); /* without its groups */
void open_space(void);

int setup(void **state);
int setup_deferred(void **state); /* frees wait for a sync */
int teardown(void **state);

/* The first in a transaction under way, the others in one of their own. */
int alloc(struct tx *tx, uint64_t want, uint64_t goal, unsigned flags, struct space_run *out);
int alloc_now(uint64_t want, uint64_t goal, unsigned flags, struct space_run *out);
void free_now(uint64_t first, uint64_t count);
uint64_t free_units(void);

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define CASE_DEFERRED(name)                                                                        \
	{                                                                                          \
#name " (deferred)", name, setup_deferred, teardown, NULL                          \
	}

#endif
