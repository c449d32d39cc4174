// SPDX-License-Identifier: BSD-2-Clause
/*
 * planted.h - the faults of fs/core/plant.h by name: "old-name-first", and so on.
 */
#ifndef TESTS_CRASH_PLANTED_H
#define TESTS_CRASH_PLANTED_H

#include <stdbool.h>

/* From now on it is there. False: there is none of that name, or this program has the product's
 * library. */
bool plant_by_name(const char *name);

#endif
