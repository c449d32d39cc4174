/* SPDX-License-Identifier: BSD-2-Clause */
/* region_bed.h - regions as tests make and open them. */
#ifndef TESTS_UNIT_REGION_BED_H
#define TESTS_UNIT_REGION_BED_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <setjmp.h>
#include <cmocka.h>

#include "region.h"

#define MIB (1ull << 20)

/* A descriptor. */
int dir_of(const char *path);
/* region_open() of a file there. */
int open_in(int dir_fd, const char *name, unsigned flags, uint64_t bytes,
	enum durability durability, struct region **out, struct diag *d);
/* A new one, for relaxed durability; must succeed. */
struct region *make(int dir_fd, const char *name, uint64_t bytes);

#endif
