// SPDX-License-Identifier: BSD-2-Clause
/*
 * tree_digest.h - one number for everything that a user can see of a pool: names, attributes,
 * contents, xattrs. Access times are left out.
 */
#ifndef TESTS_CRASH_TREE_DIGEST_H
#define TESTS_CRASH_TREE_DIGEST_H

#include <stdint.h>
#include <stdio.h>

#include "core.h"

/* Bytes of one file that count as zeroes: they are being written over in place. */
struct digest_blur {
	uint64_t ino;
	uint64_t start;
	uint64_t end;
};

/* 0 or the -errno of what could not be read. `blur` may be NULL; `log` too: it gets a line for each
 * name, to compare. */
int tree_digest(struct core *c, const struct digest_blur *blur, FILE *log, uint64_t *out);

#endif
