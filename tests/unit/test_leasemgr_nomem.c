// SPDX-License-Identifier: BSD-2-Clause
/*
 * test_leasemgr_nomem.c - arbitration with each allocation of memory refused once, and with more to
 * be told to a holder than anybody would queue.
 *
 * What can be refused says -ENOMEM, has changed nothing, and can be done afterwards. What cannot
 * fail (a deadline, a death, the freeing of blocks) does without: never fewer blocks are kept from
 * reuse than with memory. lm_check() runs after every transition.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fault.h"
#include "leasemgr.h"

#define K 1024ull
#define INO 7u
#define SLOTS 16384u
#define FAULTS_MAX 100u
#define FLOOD 10000u /* leases */

struct holder {
	struct lm_session *session;
	uint32_t pins[SLOTS];
	bool gone;
};

struct world {
	struct lm *lm;
	uint64_t now;
	struct holder a, b, c;
	struct lm_policy policy;
	struct lm_grant lease; /* of a's: [0, 64 K), for writing */
	struct lm_change *change;
	int verdict;
	uint64_t held; /* bytes */
};

static bool slot_pinned(void *context, void *owner, uint32_t slot)
{
	return ((struct holder *)owner)->pins[slot] != 0;
}

static void slot_recall(void *context, void *owner, uint32_t slot, bool recalled)
{
}

static void slot_fresh(void *context, void *owner, uint32_t slot, bool used_before)
{
	((struct holder *)owner)->pins[slot] = 0;
}

static int slot_split(void *context, void *owner, uint32_t from, uint32_t to)
{
	((struct holder *)owner)->pins[to] = ((struct holder *)owner)->pins[from];
	return 0;
}

static void slot_free(void *context, void *owner, uint32_t slot)
{
}

static void ready(void *context, void *owner)
{
}

static void verdict(void *context, void *operation, struct lm_change *change, int v)
{
	((struct world *)context)->verdict = v;
	if (v)
		((struct world *)context)->change = NULL;
}

static void signal_holder(void *context, void *owner, int number)
{
}

static void conflict(void *context, const struct lm_conflict *c)
{
}

static int hold(void *context, uint32_t region, uint64_t offset, uint64_t length)
{
	((struct world *)context)->held += length;
	return 0;
}

static void release(void *context, uint32_t region, uint64_t offset, uint64_t length)
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
	((struct holder *)owner)->gone = true;
}

static const struct lm_ops ops = {slot_pinned, slot_recall, slot_fresh, slot_split, slot_free,
	ready, verdict, signal_holder, conflict, hold, release, inode_used, inode_idle,
	session_gone};

static int grant(struct world *w, struct holder *h, uint64_t ino, uint64_t start, uint64_t end,
	unsigned flags, struct lm_grant *out)
{
	const struct lm_grant_request r = {
		.ino = ino,
		.start = start,
		.end = end,
		.mode = flags ? LM_WRITE : LM_READ,
		.flags = flags == LM_GRANT_EXCLUSIVE ? flags : 0,
		.pid = 1,
		.policy = &w->policy,
	};
	int error = lm_grant(h->session, &r, w->now, out);

	if (!error)
		lm_grant_done(h->session, out->lease, true, w->now);
	return error;
}

#define TO_WRITE 2u

static void create(struct world *w, bool check)
{
	const struct lm_config config = {.ops = &ops,
		.context = w,
		.seed = 1,
		.drain_ns = LM_DRAIN_NS_DEFAULT,
		.check = check};

	memset(w, 0, sizeof(*w));
	w->now = 1;
	assert_int_equal(lm_create(&config, &w->lm), 0);
	assert_int_equal(lm_policy_parse("recall:500ms/busy", &w->policy), 0);
	assert_int_equal(lm_session_open(w->lm, 100, 1000, &w->a, &w->a.session), 0);
}

static void setup(struct world *w)
{
	struct lm_grant other;

	create(w, true);
	assert_int_equal(lm_session_open(w->lm, 200, 1000, &w->b, &w->b.session), 0);
	assert_int_equal(grant(w, &w->a, INO, 0, 64 * K, TO_WRITE, &w->lease), 0);
	assert_int_equal(grant(w, &w->b, INO, 32 * K, 96 * K, 0, &other), 0);
}

/* ---- what can be refused --------------------------------------------------------------------- */

static int open_session(struct world *w)
{
	return lm_session_open(w->lm, 300, 1000, &w->c, &w->c.session);
}

static int grant_here(struct world *w)
{
	struct lm_grant g;

	return grant(w, &w->b, INO, 128 * K, 160 * K, TO_WRITE, &g);
}

static int grant_elsewhere(struct world *w)
{
	struct lm_grant g;

	return grant(w, &w->b, 9, 0, 4 * K, TO_WRITE, &g);
}

static int want_exclusive(struct world *w)
{
	struct lm_grant g;

	return grant(w, &w->b, INO, 0, 16 * K, LM_GRANT_EXCLUSIVE, &g);
}

static int return_middle(struct world *w)
{
	struct lm_grant rest;

	return lm_return(w->a.session, w->lease.lease, 16 * K, 32 * K, w->now, &rest);
}

static int pin_range(struct world *w)
{
	uint64_t pin;

	return lm_pin(w->a.session, w->lease.lease, 4 * K, 8 * K, LM_PIN_UNBREAKABLE, &pin);
}

static struct lm_change_request request(const struct world *w, uint64_t start, uint64_t end)
{
	return (struct lm_change_request){
		.ino = INO,
		.start = start,
		.end = end,
		.kind = LM_FREE,
		.pid = 400,
		.operation = "truncate",
		.policy = &w->policy,
	};
}

static int change(struct world *w, uint64_t start, uint64_t end)
{
	const struct lm_change_request r = request(w, start, end);

	w->verdict = 1;
	return lm_change_begin(w->lm, &r, w, w->now, &w->change);
}

static int change_in_the_way(struct world *w)
{
	return change(w, 0, 128 * K);
}

static int change_of_nobodys(struct world *w)
{
	int error = change(w, 200 * K, 300 * K);

	if (!error)
		lm_change_end(w->change, w->now);
	return error;
}

static int change_tried(struct world *w)
{
	struct lm_change_request r = request(w, 0, 4 * K);
	int error;

	r.ino = INO + 2;
	error = lm_change_try(w->lm, &r, w, &w->change);
	if (!error)
		lm_change_end(w->change, w->now);
	return error;
}

/* ---- what cannot ----------------------------------------------------------------------------- */

/* The deadline: a's lease is cut, what is freed is held. */
static int revoke_and_free(struct world *w)
{
	int result = change(w, 16 * K, 32 * K);

	if (result != LM_PARKED)
		return result;
	w->now += 1000000000ull;
	lm_tick(w->lm, w->now);
	if (w->verdict)
		return w->verdict;
	lm_freeing(w->lm, INO, 16 * K, 32 * K, 0, 0);
	lm_change_end(w->change, w->now);
	return 0;
}

static int die_pinned(struct world *w)
{
	w->a.pins[w->lease.slot] = 1;
	lm_session_process_gone(w->a.session, w->now);
	lm_freeing(w->lm, INO, 0, 64 * K, 0, 0);
	return 0;
}

static int close_alive(struct world *w)
{
	lm_session_close(w->a.session, w->now);
	lm_freeing(w->lm, INO, 0, 64 * K, 0, 0);
	return 0;
}

static const struct {
	const char *name;
	int (*run)(struct world *w);
	int result;
	bool cannot_fail;
} steps[] = {
	{"open a session", open_session, 0, false},
	{"grant", grant_here, 0, false},
	{"grant on another file", grant_elsewhere, 0, false},
	{"want", want_exclusive, -EAGAIN, false},
	{"return the middle", return_middle, 0, false},
	{"pin a range", pin_range, 0, false},
	{"park a change", change_in_the_way, LM_PARKED, false},
	{"change", change_of_nobodys, 0, false},
	{"change, tried", change_tried, 0, false},
	{"revoke", revoke_and_free, 0, true},
	{"die pinned", die_pinned, 0, true},
	{"close", close_alive, 0, true},
};

/* What is there: the counters of what has happened apart. */
static struct lm_status present(struct world *w)
{
	struct lm_status s;

	lm_get_status(w->lm, &s);
	s.grants = s.returns = s.recalls = s.revocations = s.busy = 0;
	return s;
}

/* False: the step asks for less than n allocations. */
static bool refuse(unsigned step, unsigned n, uint64_t *held)
{
	struct lm_status before, after;
	static struct world w;
	bool came;
	int result;

	setup(&w);
	before = present(&w);
	fault_plan(FAULT_MEMORY, n);
	result = steps[step].run(&w);
	came = fault_came();
	fault_plan(FAULT_MEMORY, 0);
	lm_check(w.lm);
	if (result == -ENOMEM && came && !steps[step].cannot_fail) {
		after = present(&w);
		/* What follows `draining` is padding. */
		assert_memory_equal(&before, &after, offsetof(struct lm_status, draining));
		assert_int_equal(before.draining, after.draining);
		result = steps[step].run(&w);
	}
	if (result != -ENOMEM || !came)
		assert_int_equal(result, steps[step].result);
	if (n == 0)
		*held = w.held;
	else if (steps[step].cannot_fail && result == 0)
		assert_true(w.held >= *held);
	lm_check(w.lm);
	lm_destroy(w.lm);
	return came;
}

static void memory_refused_changes_nothing(void **state)
{
	unsigned refusals = 0;

	for (unsigned i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		uint64_t held = 0;
		unsigned n = 1;

		(void)refuse(i, 0, &held);
		while (refuse(i, n, &held))
			assert_true(++n < FAULTS_MAX);
		print_message("%s: %u allocations refused\n", steps[i].name, n - 1);
		refusals += n - 1;
	}
	assert_true(refusals >= 10);
}

static void creation_without_memory_leaves_nothing(void **state)
{
	const struct lm_config config = {.ops = &ops, .seed = 1};
	struct lm *lm = NULL;
	unsigned n = 1;
	int error;

	for (;; n++) {
		fault_plan(FAULT_MEMORY, n);
		error = lm_create(&config, &lm);
		fault_plan(FAULT_MEMORY, 0);
		if (!error)
			break;
		assert_int_equal(error, -ENOMEM);
		assert_null(lm);
	}
	assert_true(n > 1);
	lm_destroy(lm);
}

/* Who reads no events is told all the same what is so by then, once for each lease. */
static void events_that_nobody_reads_are_kept(void **state)
{
	static uint8_t told[FLOOD];
	static struct world w;
	struct lm_event e;
	struct lm_grant g;
	unsigned count = 0;

	create(&w, false);
	for (unsigned i = 0; i < FLOOD; i++)
		assert_int_equal(grant(&w, &w.a, INO, i * 4 * K, (i + 1) * 4 * K, TO_WRITE, &g), 0);
	/* Recalled, and cancelled, and recalled again, and revoked. */
	for (unsigned round = 0; round < 3; round++) {
		assert_int_equal(change(&w, 0, FLOOD * 4 * K), LM_PARKED);
		assert_int_equal(lm_change_interrupt(w.change, w.now), 0);
	}
	assert_int_equal(change(&w, 0, FLOOD * 4 * K), LM_PARKED);
	w.now += 1000000000ull;
	lm_tick(w.lm, w.now);
	assert_int_equal(w.verdict, 0);
	lm_change_end(w.change, w.now);
	lm_check(w.lm);
	while (lm_event_next(w.a.session, &e)) {
		assert_int_equal(e.kind, LM_EVENT_REVOKED);
		assert_true(e.start % (4 * K) == 0 && e.start / (4 * K) < FLOOD);
		assert_int_equal(told[e.start / (4 * K)]++, 0);
		count++;
	}
	assert_int_equal(count, FLOOD);
	lm_destroy(w.lm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(memory_refused_changes_nothing),
		cmocka_unit_test(creation_without_memory_leaves_nothing),
		cmocka_unit_test(events_that_nobody_reads_are_kept),
	};

	return cmocka_run_group_tests_name("leasemgr-nomem", tests, NULL, NULL);
}
