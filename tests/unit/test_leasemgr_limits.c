// SPDX-License-Identifier: BSD-2-Clause
/*
 * test_leasemgr_limits.c - how many leases and range pins there can be: one more is -ENOLCK and
 * changes nothing, and where one has gone there is room for one. What is done with that many at
 * once takes no longer than there are: by the square of it, it would take an hour. With the
 * argument `mount`, also as many leases as a mount can have, with what they cost: a gibibyte, so
 * that is done by hand. test_limits.c has every limit, lowered.
 *
 * The manager's checks after every transition are off: each would look at all that is there.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include <cmocka.h>

#include "leasemgr.h"

#define BLOCK 4096ull
#define INO 7
#define NOW 1
#define MOST LM_LEASES_PER_SESSION_MAX

static struct lm *lm;
static struct lm_policy policy;

static bool slot_pinned(void *context, void *owner, uint32_t slot)
{
	return false;
}
static void slot_fresh(void *context, void *owner, uint32_t slot, bool used_before)
{
}
static void slot_free(void *context, void *owner, uint32_t slot)
{
}
static void *inode_used(void *context, uint64_t ino)
{
	return NULL;
}
static void inode_idle(void *context, void *inode_owner)
{
}
static void session_gone(void *context, void *owner)
{
}
static void slot_recall(void *context, void *owner, uint32_t slot, bool recalled)
{
}
static int slot_split(void *context, void *owner, uint32_t from, uint32_t to)
{
	return 0;
}
static void ready(void *context, void *owner)
{
}
static int verdict_given;
static void verdict(void *context, void *operation, struct lm_change *change, int result)
{
	verdict_given = result;
}
static void conflict(void *context, const struct lm_conflict *c)
{
}

static const struct lm_ops ops = {.slot_pinned = slot_pinned,
	.slot_fresh = slot_fresh,
	.slot_free = slot_free,
	.inode_used = inode_used,
	.inode_idle = inode_idle,
	.slot_recall = slot_recall,
	.slot_split = slot_split,
	.ready = ready,
	.verdict = verdict,
	.conflict = conflict,
	.session_gone = session_gone};

static int setup(void **state)
{
	struct lm_config config = {.ops = &ops, .seed = 1, .drain_ns = LM_DRAIN_NS_DEFAULT};

	assert_int_equal(lm_policy_parse("recall:500ms/busy", &policy), 0);
	return lm_create(&config, &lm);
}

static int teardown(void **state)
{
	lm_check(lm);
	lm_destroy(lm);
	return 0;
}

static struct lm_session *open_session(uint32_t pid)
{
	struct lm_session *s;

	assert_int_equal(lm_session_open(lm, pid, 1000, NULL, &s), 0);
	return s;
}

static struct lm_status status(void)
{
	struct lm_status s;

	lm_get_status(lm, &s);
	return s;
}

static int take(struct lm_session *s, uint64_t first, uint64_t end, struct lm_grant *out)
{
	struct lm_grant_request r = {.ino = INO,
		.start = first * BLOCK,
		.end = end * BLOCK,
		.mode = LM_WRITE,
		.pid = 1,
		.policy = &policy};
	int error = lm_grant(s, &r, NOW, out);

	if (!error)
		lm_grant_done(s, out->lease, true, NOW);
	return error;
}

static void session_has_so_many_leases(void **state)
{
	struct lm_session *s = open_session(100), *other = open_session(200);
	struct lm_grant first, g = {0}, rest;

	assert_int_equal(take(s, 0, 1, &first), 0);
	for (uint64_t i = 1; i < MOST; i++)
		if (take(s, i, i + 1, &g))
			fail_msg("lease %llu was refused", (unsigned long long)i);
	assert_int_equal(take(s, MOST, MOST + 1, &g), -ENOLCK);
	assert_int_equal(status().leases, MOST);
	assert_int_equal(take(other, 0, 1, &g), 0);
	assert_int_equal(lm_return(s, first.lease, 0, BLOCK, NOW, &rest), 0);
	assert_int_equal(take(s, MOST, MOST + 1, &g), 0);
	assert_int_equal(take(s, 0, 1, &g), -ENOLCK);
}

static void session_and_mount_have_so_many_range_pins(void **state)
{
	struct lm_session *s = NULL;
	struct lm_grant g;
	uint64_t pin = 0, refused = 0;

	for (uint32_t n = 0; n < LM_PINS_MAX / LM_PINS_PER_SESSION_MAX; n++) {
		s = open_session(100 + n);
		assert_int_equal(take(s, 0, LM_PINS_PER_SESSION_MAX / BLOCK, &g), 0);
		for (uint32_t i = 0; i < LM_PINS_PER_SESSION_MAX; i++)
			if (lm_pin(s, g.lease, i, i + 1, 0, &pin))
				fail_msg("pin %u of session %u was refused", i, n);
		assert_int_equal(lm_pin(s, g.lease, 0, 1, 0, &refused), -ENOLCK);
		assert_int_equal(lm_unpin(s, pin, NOW), 0);
		assert_int_equal(lm_pin(s, g.lease, 0, 1, 0, &pin), 0);
	}
	assert_int_equal(status().range_pins, LM_PINS_MAX);
	s = open_session(99);
	assert_int_equal(take(s, 0, LM_PINS_PER_SESSION_MAX / BLOCK, &g), 0);
	assert_int_equal(lm_pin(s, g.lease, 0, 1, 0, &refused), -ENOLCK);
	assert_int_equal(refused, 0);
	assert_int_equal(status().range_pins, LM_PINS_MAX);
}

/* A truncate of a block on which a session has so many leases, each pinned; and the session's end.
 */
static void many_pinned_leases_of_one_block(void **state)
{
	const struct lm_change_request r = {.ino = INO,
		.end = BLOCK,
		.kind = LM_FREE,
		.pid = 300,
		.operation = "truncate",
		.policy = &policy};
	struct lm_session *s = open_session(100);
	struct lm_change *change;
	struct lm_grant g;
	uint64_t pin;

	for (uint32_t i = 0; i < LM_PINS_PER_SESSION_MAX; i++)
		if (take(s, 0, 1, &g) || lm_pin(s, g.lease, 0, BLOCK, 0, &pin))
			fail_msg("lease or pin %u was refused", i);
	assert_int_equal(lm_change_begin(lm, &r, NULL, NOW, &change), LM_PARKED);
	lm_tick(lm, NOW + 500000000);
	assert_int_equal(verdict_given, -EBUSY);
	lm_session_close(s, NOW + 500000000);
	lm_session_process_gone(s, NOW + 500000000);
	lm_tick(lm, NOW + 500000000 + LM_DRAIN_NS_DEFAULT);
	assert_int_equal(status().leases + status().ghosts + status().range_pins, 0);
}

/* Pins on each block of a lease but the middle one, which is returned: half of them go with the
 * part. */
static void many_pins_follow_a_part(void **state)
{
	const uint64_t middle = LM_PINS_PER_SESSION_MAX / 2;
	struct lm_session *s = open_session(100);
	struct lm_grant g, rest;
	uint64_t pin;

	assert_int_equal(take(s, 0, LM_PINS_PER_SESSION_MAX + 1, &g), 0);
	for (uint64_t i = 0; i <= LM_PINS_PER_SESSION_MAX; i++)
		if (i != middle && lm_pin(s, g.lease, i * BLOCK, (i + 1) * BLOCK, 0, &pin))
			fail_msg("pin %llu was refused", (unsigned long long)i);
	assert_int_equal(
		lm_return(s, g.lease, middle * BLOCK, (middle + 1) * BLOCK, NOW, &rest), 0);
	assert_int_equal(lm_return(s, g.lease, 0, BLOCK, NOW, &rest), -EBUSY);
	lm_session_close(s, NOW);
	lm_session_process_gone(s, NOW);
	lm_tick(lm, NOW + LM_DRAIN_NS_DEFAULT);
	assert_int_equal(status().leases + status().ghosts + status().range_pins, 0);
}

static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void say(const char *what, double began)
{
	struct rusage use;

	assert_int_equal(getrusage(RUSAGE_SELF, &use), 0);
	printf("%-8s %u leases: %.2f s of processor time, %ld MiB at most\n", what, LM_LEASES_MAX,
		seconds() - began, use.ru_maxrss / 1024);
}

static void mount_has_so_many_leases(void **state)
{
	const uint32_t sessions = (LM_LEASES_MAX + MOST - 1) / MOST;
	struct lm_session *s[8], *other = open_session(99);
	struct lm_grant g = {0}, first = {0}, rest;
	double began = seconds();

	assert_true(sessions <= 8);
	for (uint32_t n = 0; n < sessions; n++)
		s[n] = open_session(100 + n);
	for (uint64_t i = 0; i < LM_LEASES_MAX; i++) {
		if (take(s[i / MOST], i % MOST, i % MOST + 1, &g))
			fail_msg("lease %llu was refused", (unsigned long long)i);
		if (i == 0)
			first = g;
	}
	say("take", began);
	assert_int_equal(status().leases, LM_LEASES_MAX);
	assert_int_equal(take(s[sessions - 1], MOST, MOST + 1, &g), -ENOLCK);
	assert_int_equal(take(other, 0, 1, &g), -ENOLCK);
	assert_int_equal(lm_return(s[0], first.lease, 0, BLOCK, NOW, &rest), 0);
	assert_int_equal(take(other, 0, 1, &g), 0);
	assert_int_equal(take(other, 1, 2, &g), -ENOLCK);
	began = seconds();
	for (uint32_t n = 0; n < sessions; n++) {
		lm_session_process_gone(s[n], NOW);
		lm_session_close(s[n], NOW);
	}
	say("end", began);
	assert_int_equal(status().leases + status().ghosts, 1);
	assert_int_equal(take(other, 1, 2, &g), 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest by_hand[] = {
		cmocka_unit_test_setup_teardown(mount_has_so_many_leases, setup, teardown),
	};
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(session_has_so_many_leases, setup, teardown),
		cmocka_unit_test_setup_teardown(
			session_and_mount_have_so_many_range_pins, setup, teardown),
		cmocka_unit_test_setup_teardown(many_pinned_leases_of_one_block, setup, teardown),
		cmocka_unit_test_setup_teardown(many_pins_follow_a_part, setup, teardown),
	};

	if (argc > 1 && !strcmp(argv[1], "mount"))
		return cmocka_run_group_tests_name("leasemgr_limits_mount", by_hand, NULL, NULL);
	return cmocka_run_group_tests_name("leasemgr_limits", tests, NULL, NULL);
}
