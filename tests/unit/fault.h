// SPDX-License-Identifier: BSD-2-Clause
/*
 * fault.h - what a process asks for, refused once: the n-th allocation of memory, or the n-th
 * reservation of backing space. The linker puts fault.c in the place of the C library's allocators,
 * and fault_space.c in that of region_reserve() (see meson.build).
 */
#ifndef TESTS_UNIT_FAULT_H
#define TESTS_UNIT_FAULT_H

#include <stdbool.h>

enum fault { FAULT_MEMORY, FAULT_SPACE, FAULTS };

/* From now on, in this thread; `n` counts from 1, and 0 ends it. */
void fault_plan(enum fault what, unsigned n);
bool fault_came(void); /* since it was planned */

/* Is it to be refused now? Asked once for each. */
bool fault_refuses(enum fault what);

#endif
