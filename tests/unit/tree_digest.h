// SPDX-License-Identifier: BSD-2-Clause
/*
 * tree_digest.h - one number for everything that a user can see of a pool: names, attributes,
 * contents, xattrs. Access times are left out.
 */
#ifndef TESTS_UNIT_TREE_DIGEST_H
#define TESTS_UNIT_TREE_DIGEST_H

#include <stdint.h>

#include "core.h"

/* 0 or the -errno of what could not be read. `log`: prints a line for each name, to compare. */
int tree_digest(struct core *c, bool log, uint64_t *out);

#endif
