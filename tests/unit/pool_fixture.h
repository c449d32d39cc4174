// SPDX-License-Identifier: BSD-2-Clause
/*
 * pool_fixture.h - a pool in a private directory for each test, in memory or on $TMPDIR.
 */
#ifndef TESTS_UNIT_POOL_FIXTURE_H
#define TESTS_UNIT_POOL_FIXTURE_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <setjmp.h>
#include <cmocka.h>

#include "core.h"
#include "pool.h"

#define MIB (1ull << 20)

extern char pool[4096];       /* its path; not made before the test makes it */
extern const char *directory; /* the pool's parent */

int set_up(void **state);
int tear_down(void **state);
/* The test in memory (/dev/shm), and on whatever $TMPDIR stands on. */
#define MEMORY(test) cmocka_unit_test_prestate_setup_teardown(test, set_up, tear_down, NULL)
#define FILES(test) cmocka_unit_test_prestate_setup_teardown(test, set_up, tear_down, pool)

const char *in_pool(const char *name); /* the same memory each time */
struct core_format format_of(uint64_t bytes);
void make_pool(uint64_t bytes);
struct core *open_pool(bool read_only);
/* 4096 bytes of a file of the pool. */
void get_block(const char *name, uint64_t offset, void *block);
void put_block(const char *name, uint64_t offset, const void *block);

/* The error must be that one, and the sentence hold `part` (NULL: anything). */
void expect(int error, int expected, const struct diag *d, const char *part);
void expect_format(const struct core_format *f, int expected, const char *part);
void expect_open(bool read_only, int expected, const char *part);

/* A recorder's store() that ends the process, status 42, at the store numbered *context. */
void die_at_store(
	void *context, const struct region *r, uint64_t offset, const void *bytes, uint64_t count);

#endif
