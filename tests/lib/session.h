/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * session.h - a session of its own for each test, and what tests do with it that must succeed: what
 * fails here fails the test (cmocka).
 */
#ifndef TEST_SESSION_H
#define TEST_SESSION_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "bed.h"

extern struct leasefs_session *session; /* of the test that runs */

int session_open(void **state);
int session_close(void **state);
#define with_session(name) cmocka_unit_test_setup_teardown(name, session_open, session_close)

struct leasefs_lease *take(int fd, uint64_t offset, uint64_t length, unsigned flags);
unsigned char *map(struct leasefs_lease *lease, unsigned flags);
struct leasefs_lease *manage(
	int fd, uint64_t offset, uint64_t length, unsigned flags, unsigned char **memory);
struct leasefs_lease_state state_of(struct leasefs_lease *lease);
/* Until so many bytes of a managed mapping are direct. */
void wait_for_bytes(struct leasefs_lease *lease, uint64_t held_bytes);
/* An exclusive lease of another session's, for a moment. */
void take_away(struct leasefs_session *other, int fd, uint64_t offset, uint64_t length);

#endif
