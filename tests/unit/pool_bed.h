// SPDX-License-Identifier: BSD-2-Clause
/*
 * pool_bed.h - a small pool in a private directory, open, for tests of whole operations.
 */
#ifndef TESTS_UNIT_POOL_BED_H
#define TESTS_UNIT_POOL_BED_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core.h"
#include "inode.h"
#include "pool.h"

struct bed {
	char directory[256];
	struct core *core; /* NULL: not open */
	struct inode *root;
	struct core_cred cred; /* uid and gid 1000, umask 0, no capability, in no other group */
};

/* cmocka's setup and teardown; the state is a struct bed. The clock moves one second a look. */
int bed_setup(void **state);
/* The same with as little metadata space as there can be: in memory, and on page cache. */
int bed_setup_small(void **state);
int bed_setup_small_page_cache(void **state);
int bed_teardown(void **state);

/* Opens again, after core_close() or, `crash`, after core_abandon(). Handles are lost. */
void bed_reopen(struct bed *b, bool crash);
/* Follows the tree from the root: entries, parents, link counts and sizes agree, all handles work.
 */
void bed_verify(struct bed *b);

/* What is in the record now. */
struct media_inode bed_record(struct bed *b, struct inode *ip);
/* core_create() and core_lookup() that must succeed. */
struct inode *bed_create(struct bed *b, struct inode *dir, const char *name, mode_t mode);
struct inode *bed_lookup(struct bed *b, struct inode *dir, const char *name);
void bed_put(struct bed *b, struct inode *ip);

#endif
