// SPDX-License-Identifier: BSD-2-Clause
/*
 * test_records.c - what leasemgr tells who looks on: each way in which an operation and a lease can
 * end leaves its records, in order, under one number.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "leasemgr.h"

#define K 1024ull
#define MS 1000000ull
#define RECORDS 64

struct holder {
	struct lm_session *session;
	bool pinned;
};
struct world {
	struct lm *lm;
	uint64_t now;
	struct holder a, b;
	struct lm_policy policy;
	int verdict; /* 1: none yet */
	struct lm_record records[RECORDS];
	unsigned count, seen;
};

static bool slot_pinned(void *context, void *owner, uint32_t slot)
{
	return ((struct holder *)owner)->pinned;
}
static void slot_flag(void *context, void *owner, uint32_t slot, bool flag)
{
}
static int slot_split(void *context, void *owner, uint32_t from, uint32_t to)
{
	return 0;
}
static void slot_free(void *context, void *owner, uint32_t slot)
{
}
static void on_owner(void *context, void *owner)
{
}
static void verdict(void *context, void *operation, struct lm_change *change, int v)
{
	((struct world *)context)->verdict = v;
}
static void signal_holder(void *context, void *owner, int number)
{
}
static void conflict(void *context, const struct lm_conflict *c)
{
}
static int hold(void *context, uint32_t region, uint64_t offset, uint64_t length)
{
	return 0;
}
static void release(void *context, uint32_t region, uint64_t offset, uint64_t length)
{
}
static void *inode_used(void *context, uint64_t ino)
{
	return NULL;
}
static void happened(void *context, const struct lm_record *r)
{
	struct world *w = context;

	assert_true(w->count < RECORDS);
	w->records[w->count++] = *r;
}

static const struct lm_ops ops = {.slot_pinned = slot_pinned,
	.slot_recall = slot_flag,
	.slot_fresh = slot_flag,
	.slot_split = slot_split,
	.slot_free = slot_free,
	.ready = on_owner,
	.verdict = verdict,
	.signal_holder = signal_holder,
	.conflict = conflict,
	.hold = hold,
	.release = release,
	.inode_used = inode_used,
	.inode_idle = on_owner,
	.session_gone = on_owner,
	.happened = happened};

/* The next record is of that kind; and about that operation, if `number` is not 0. */
static const struct lm_record *next(struct world *w, enum lm_record_kind kind, uint64_t number)
{
	const struct lm_record *r = &w->records[w->seen];

	assert_true(w->seen < w->count);
	assert_int_equal(r->kind, kind);
	if (number)
		assert_int_equal(r->number, number);
	w->seen++;
	return r;
}

static void no_more(const struct world *w)
{
	assert_int_equal(w->seen, w->count);
}

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	struct lm_config config = {.ops = &ops,
		.context = w,
		.seed = 1,
		.drain_ns = LM_DRAIN_NS_DEFAULT,
		.check = true};

	assert_int_equal(lm_create(&config, &w->lm), 0);
	w->now = 1;
	assert_int_equal(lm_policy_parse("recall:500ms/busy", &w->policy), 0);
	assert_int_equal(lm_session_open(w->lm, 100, 1000, &w->a, &w->a.session), 0);
	assert_int_equal(lm_session_open(w->lm, 200, 1001, &w->b, &w->b.session), 0);
	assert_int_equal(next(w, LM_RECORD_SESSION_OPEN, 0)->holder_pid, 100);
	assert_int_equal(next(w, LM_RECORD_SESSION_OPEN, 0)->holder_uid, 1001);
	*state = w;
	return 0;
}
static int teardown(void **state)
{
	struct world *w = *state;

	lm_destroy(w->lm);
	free(w);
	return 0;
}

static uint64_t grant(struct world *w, struct holder *h)
{
	struct lm_grant_request r = {.ino = 7,
		.start = 0,
		.end = 64 * K,
		.mode = LM_WRITE,
		.pid = 100,
		.policy = &w->policy};
	struct lm_grant g;

	assert_int_equal(lm_grant(h->session, &r, w->now, &g), 0);
	no_more(w); /* not before it is made */
	lm_grant_done(h->session, g.lease, true, w->now);
	assert_int_equal(next(w, LM_RECORD_GRANT, 0)->lease, g.lease);
	return g.lease;
}

/* A truncate by somebody else to half of it; its number, from the record of its parking. */
static struct lm_change *park(struct world *w, uint64_t *number)
{
	struct lm_change_request r = {.ino = 7,
		.start = 32 * K,
		.end = 1024 * K,
		.kind = LM_FREE,
		.pid = 300,
		.uid = 1002,
		.operation = "truncate",
		.policy = &w->policy};
	const struct lm_record *parked, *recall;
	struct lm_change_info info;
	struct lm_change *c;

	w->verdict = 1;
	assert_int_equal(lm_change_begin(w->lm, &r, w, w->now, &c), LM_PARKED);
	parked = next(w, LM_RECORD_PARK, 0);
	assert_string_equal(parked->operation, "truncate");
	assert_int_equal(parked->pid, 300);
	assert_int_equal(parked->value, w->now + 500 * MS);
	recall = next(w, LM_RECORD_RECALL, parked->number);
	assert_int_equal(recall->start, 32 * K);
	assert_int_equal(recall->end, 64 * K);
	assert_int_equal(recall->holder_pid, 100);
	assert_int_equal(recall->pid, 300);
	assert_int_equal(recall->value, w->now + 500 * MS);
	lm_change_info(c, &info);
	assert_int_equal(info.number, parked->number);
	assert_int_equal(info.deadline_ns, w->now + 500 * MS);
	assert_int_equal(info.holder_pid, 100);
	no_more(w);
	*number = parked->number;
	return c;
}

static void recall_that_is_answered_completes(void **state)
{
	struct world *w = *state;
	struct lm_grant rest;
	uint64_t number, lease = grant(w, &w->a);
	struct lm_change *c = park(w, &number);

	w->now += 20 * MS;
	assert_int_equal(lm_return(w->a.session, lease, 32 * K, 64 * K, w->now, &rest), 0);
	assert_int_equal(w->verdict, 0);
	assert_int_equal(next(w, LM_RECORD_RETURN, 0)->start, 32 * K);
	next(w, LM_RECORD_CANCEL, 0); /* what is left of the lease is whole */
	lm_change_end(c, w->now);
	assert_int_equal(next(w, LM_RECORD_COMPLETE, number)->value, 20 * MS);
	no_more(w);
}

static void deadline_revokes_and_keeps_in_quarantine(void **state)
{
	struct world *w = *state;
	uint64_t number, lease = grant(w, &w->a), ghost;
	struct lm_change *c = park(w, &number);
	const struct lm_record *r;
	struct lm_session_info s;

	w->now += 500 * MS;
	lm_tick(w->lm, w->now);
	assert_int_equal(w->verdict, 0);
	next(w, LM_RECORD_CANCEL, 0);
	r = next(w, LM_RECORD_REVOKE, number);
	assert_int_equal(r->value, lease);
	ghost = r->lease;
	lm_session_info(w->a.session, &s);
	assert_int_equal(s.leases, 1);
	assert_int_equal(s.ghosts, 1);
	for (uint64_t at = 32 * K; at < 64 * K; at += 4 * K) /* a file in pieces */
		lm_freeing(w->lm, 7, at, at + 4 * K, 0, 2 * at);
	lm_change_end(c, w->now);
	r = next(w, LM_RECORD_QUARANTINE, number); /* one, all the same */
	assert_int_equal(r->value, 32 * K);
	assert_int_equal(r->lease, ghost);
	next(w, LM_RECORD_COMPLETE, number);
	assert_int_equal(lm_ack(w->a.session, ghost, w->now), 0);
	r = next(w, LM_RECORD_RELEASE, 0);
	assert_int_equal(r->value, 32 * K);
	assert_int_equal(r->holder_pid, 100);
	no_more(w);
}

static void pin_makes_it_busy_and_cancels(void **state)
{
	struct world *w = *state;
	uint64_t number, lease = grant(w, &w->a);
	const struct lm_record *r;

	w->a.pinned = true;
	park(w, &number);
	w->now += 500 * MS;
	lm_tick(w->lm, w->now);
	assert_int_equal(w->verdict, -EBUSY);
	r = next(w, LM_RECORD_BUSY, number);
	assert_int_equal(r->lease, lease);
	assert_int_equal(r->holder_pid, 100);
	assert_int_equal(r->value, 500 * MS);
	assert_int_equal(next(w, LM_RECORD_CANCEL, 0)->lease, lease);
	no_more(w);
}

static void interrupt_is_told(void **state)
{
	struct world *w = *state;
	uint64_t number;
	struct lm_change *c;

	grant(w, &w->a);
	c = park(w, &number);
	assert_int_equal(lm_change_interrupt(c, w->now), 0);
	next(w, LM_RECORD_INTERRUPT, number);
	next(w, LM_RECORD_CANCEL, 0);
	no_more(w);
}

static void what_meets_no_lease_is_not_told(void **state)
{
	struct world *w = *state;
	struct lm_change_request r = {.ino = 8,
		.end = 4 * K,
		.kind = LM_FREE,
		.operation = "truncate",
		.policy = &w->policy};
	struct lm_change *c;

	assert_int_equal(lm_change_begin(w->lm, &r, w, w->now, &c), 0);
	lm_change_end(c, w->now);
	no_more(w);
}

static void own_truncate_is_told_without_parking(void **state)
{
	struct world *w = *state;
	struct lm_change_request r = {.ino = 7,
		.end = 1024 * K,
		.kind = LM_FREE,
		.pid = 100,
		.operation = "truncate",
		.policy = &w->policy};
	struct lm_change *c;
	const struct lm_record *revoked;

	grant(w, &w->a);
	assert_int_equal(lm_change_begin(w->lm, &r, w, w->now, &c), 0);
	revoked = next(w, LM_RECORD_REVOKE, 0);
	assert_int_equal(revoked->flags, LM_EVENT_OWN);
	lm_change_end(c, w->now);
	next(w, LM_RECORD_COMPLETE, revoked->number);
	no_more(w);
}

static void lease_request_that_waits_is_an_operation(void **state)
{
	struct world *w = *state;
	struct lm_grant_request r = {.ino = 7,
		.end = 64 * K,
		.mode = LM_WRITE,
		.flags = LM_GRANT_EXCLUSIVE,
		.pid = 200,
		.policy = &w->policy};
	struct lm_grant g, rest;
	uint64_t lease = grant(w, &w->a), number;

	assert_int_equal(lm_grant(w->b.session, &r, w->now, &g), -EAGAIN);
	number = next(w, LM_RECORD_PARK, 0)->number;
	assert_int_equal(next(w, LM_RECORD_RECALL, number)->pid, 200);
	assert_int_equal(lm_return(w->a.session, lease, 0, 0, w->now, &rest), 0);
	next(w, LM_RECORD_RETURN, 0);
	next(w, LM_RECORD_COMPLETE, number);
	no_more(w);
}

static void session_ends_step_by_step(void **state)
{
	struct world *w = *state;

	grant(w, &w->a);
	assert_ptr_equal(lm_session_below(w->lm, UINT64_MAX), w->b.session);
	assert_ptr_equal(lm_session_after(w->b.session), w->a.session);
	assert_null(lm_session_after(w->a.session));
	lm_session_close(w->a.session, w->now);
	next(w, LM_RECORD_SESSION_CLOSE, 0);
	next(w, LM_RECORD_REVOKE, 0); /* its process lives: a mapping may have stayed */
	no_more(w);
	lm_session_process_gone(w->a.session, w->now);
	next(w, LM_RECORD_SESSION_EXIT, 0);
	assert_int_equal(next(w, LM_RECORD_SESSION_GONE, 0)->holder_pid, 100);
	lm_drain(w->lm);
	next(w, LM_RECORD_DRAIN, 0);
	no_more(w);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		CASE(recall_that_is_answered_completes),
		CASE(deadline_revokes_and_keeps_in_quarantine),
		CASE(pin_makes_it_busy_and_cancels),
		CASE(interrupt_is_told),
		CASE(what_meets_no_lease_is_not_told),
		CASE(own_truncate_is_told_without_parking),
		CASE(lease_request_that_waits_is_an_operation),
		CASE(session_ends_step_by_step),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
