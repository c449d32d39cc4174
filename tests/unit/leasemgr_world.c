// SPDX-License-Identifier: BSD-2-Clause
/* leasemgr_world.c - see leasemgr_world.h. */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "leasemgr_world.h"

static bool slot_pinned(void *context, void *owner, uint32_t slot)
{
	return ((struct holder *)owner)->pins[slot] != 0;
}
static void slot_recall(void *context, void *owner, uint32_t slot, bool recalled)
{
	((struct holder *)owner)->recall[slot] = recalled;
}
static void slot_fresh(void *context, void *owner, uint32_t slot, bool used_before)
{
	((struct holder *)owner)->pins[slot] = 0;
	((struct holder *)owner)->recall[slot] = false;
}
static bool has_room(struct world *w)
{
	if (w->room > 0)
		w->room--;
	else if (w->room == 0)
		return false;
	return true;
}
static int slot_split(void *context, void *owner, uint32_t from, uint32_t to)
{
	assert_int_not_equal(from, to);
	return has_room(context) ? 0 : -EIO;
}
static void slot_free(void *context, void *owner, uint32_t slot)
{
	((struct holder *)owner)->leases[slot].lease = 0;
}
static void ready(void *context, void *owner)
{
	((struct holder *)owner)->told++;
}
static void verdict(void *context, void *operation, struct lm_change *change, int v)
{
	struct op *op = operation;

	assert_int_equal(op->verdict, 1);
	op->verdict = v;
}
static void signal_holder(void *context, void *owner, int number)
{
	((struct holder *)owner)->signal = number;
}
static void on_conflict(void *context, const struct lm_conflict *c)
{
	((struct world *)context)->conflict = *c;
}
static int hold(void *context, uint32_t region, uint64_t offset, uint64_t length)
{
	struct world *w = context;

	if (w->holds_fail)
		return -ENOMEM;
	w->held += length;
	return 0;
}
static void release(void *context, uint32_t region, uint64_t offset, uint64_t length)
{
	((struct world *)context)->released += length;
}
static void *inode_used(void *context, uint64_t ino)
{
	((struct world *)context)->inodes++;
	return NULL;
}
static void inode_idle(void *context, void *inode_owner)
{
	((struct world *)context)->inodes--;
}
static void session_gone(void *context, void *owner)
{
	((struct holder *)owner)->gone = true;
}
static int persist(void *context, void *owner, const struct lm_lease_record *r)
{
	if (!has_room(context))
		return -EIO;
	((struct holder *)owner)->leases[SLOT(r->lease)] = *r;
	return 0;
}
static void pin_moved(void *context, void *owner, uint64_t pin, uint64_t lease)
{
	((struct holder *)owner)->range_pins[SLOT(pin)].lease = lease;
}
static void pin_gone(void *context, void *owner, uint64_t pin)
{
	((struct holder *)owner)->range_pins[SLOT(pin)].pin = 0;
}

const struct lm_ops world_ops = {.slot_pinned = slot_pinned,
	.slot_recall = slot_recall,
	.slot_fresh = slot_fresh,
	.slot_split = slot_split,
	.slot_free = slot_free,
	.ready = ready,
	.verdict = verdict,
	.signal_holder = signal_holder,
	.conflict = on_conflict,
	.hold = hold,
	.release = release,
	.inode_used = inode_used,
	.inode_idle = inode_idle,
	.session_gone = session_gone,
	.persist = persist,
	.pin_moved = pin_moved,
	.pin_gone = pin_gone};

void create_manager(struct world *w)
{
	struct lm_config config = {.ops = &world_ops,
		.context = w,
		.seed = 1,
		.first_id = w->next,
		.drain_ns = LM_DRAIN_NS_DEFAULT,
		.limits = w->limits,
		.check = true};

	assert_int_equal(lm_create(&config, &w->lm), 0);
}

void open_session(struct world *w, struct holder *h, uint32_t pid)
{
	h->pid = pid;
	assert_int_equal(lm_session_open(w->lm, pid, 1000, h, &h->session), 0);
	h->number = lm_session_id(h->session);
}

void limit(struct world *w, struct lm_limits limits)
{
	lm_destroy(w->lm);
	w->limits = limits;
	create_manager(w);
	open_session(w, &w->a, 100);
	open_session(w, &w->b, 200);
}

int world_setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	w->now = 1;
	w->room = -1;
	create_manager(w);
	assert_int_equal(lm_policy_parse("recall:500ms/busy", &w->policy), 0);
	open_session(w, &w->a, 100);
	open_session(w, &w->b, 200);
	*state = w;
	return 0;
}
int world_teardown(void **state)
{
	struct world *w = *state;

	lm_check(w->lm);
	lm_destroy(w->lm);
	free(w);
	return 0;
}

static void restore(struct world *w, struct holder *h)
{
	assert_int_equal(lm_session_restore(w->lm, h->number, h->pid, 1000, h, &h->session), 0);
	for (int i = 0; i < SLOTS; i++)
		if (h->leases[i].lease)
			assert_int_equal(
				lm_lease_restore(h->session, &h->leases[i], h->recall[i], w->now),
				0);
	for (int i = 0; i < SLOTS; i++) {
		const struct pin_record *p = &h->range_pins[i];

		if (p->pin)
			assert_int_equal(lm_pin_restore(h->session, p->pin, p->lease, p->start,
						 p->end, p->flags),
				0);
	}
	lm_session_restored(h->session);
}

/* The daemon is killed, and another one starts. */
void restart(struct world *w)
{
	w->next = lm_next_number(w->lm) + 1000;
	lm_destroy(w->lm);
	create_manager(w);
	restore(w, &w->a);
	restore(w, &w->b);
	assert_int_equal(lm_grace_begin(w->lm, w->now + GRACE_NS, w->now), 0);
}

/* The client opens the new control file; its lines are those of old. */
void adopt(struct world *w, struct holder *h)
{
	assert_true(lm_session_is_inherited(h->session));
	lm_session_adopt(h->session, h->pid, h, w->now);
	assert_false(lm_session_is_inherited(h->session));
}

int reclaim(struct world *w, struct holder *h, uint64_t lease)
{
	return lm_reclaim(h->session, &lease, w->now);
}

int try_grant(struct world *w, struct holder *h, uint64_t start, uint64_t end, enum lm_mode mode,
	unsigned flags, struct lm_grant *out)
{
	struct lm_grant_request r = {.ino = INO,
		.start = start,
		.end = end,
		.mode = mode,
		.flags = flags,
		.pid = 1,
		.policy = &w->policy};
	int error = lm_grant(h->session, &r, w->now, out);

	if (!error) {
		h->leases[SLOT(out->lease)] = (struct lm_lease_record){.lease = out->lease,
			.ino = INO,
			.start = start,
			.end = end,
			.mode = mode,
			.flags = flags & LM_GRANT_EXCLUSIVE ? LM_LEASE_EXCLUSIVE : 0};
		lm_grant_done(h->session, out->lease, true, w->now);
	}
	return error;
}
struct lm_grant grant(struct world *w, struct holder *h, uint64_t start, uint64_t end)
{
	struct lm_grant g;

	assert_int_equal(try_grant(w, h, start, end, LM_WRITE, 0, &g), 0);
	return g;
}
uint64_t pin(struct world *w, struct holder *h, uint64_t lease, uint64_t start, uint64_t end,
	unsigned flags)
{
	uint64_t id;

	assert_int_equal(lm_pin(h->session, lease, start, end, flags, &id), 0);
	h->range_pins[SLOT(id)] = (struct pin_record){id, lease, start, end, flags};
	return id;
}
int begin_as(struct world *w, struct op *op, enum lm_kind kind, uint64_t start, uint64_t end,
	uint32_t pid)
{
	struct lm_change_request r = {.ino = INO,
		.start = start,
		.end = end,
		.kind = kind,
		.pid = pid,
		.operation = "truncate",
		.policy = &w->policy};

	op->verdict = 1;
	return lm_change_begin(w->lm, &r, op, w->now, &op->change);
}
int begin(struct world *w, struct op *op, uint64_t start, uint64_t end)
{
	return begin_as(w, op, LM_FREE, start, end, 300);
}
void pass(struct world *w, uint64_t ns)
{
	w->now += ns;
	lm_tick(w->lm, w->now);
}
struct lm_event expect(struct holder *h, uint32_t kind)
{
	struct lm_event e;

	assert_true(lm_event_waiting(h->session));
	assert_true(lm_event_next(h->session, &e));
	assert_int_equal(e.kind, kind);
	return e;
}
void expect_nothing(struct holder *h)
{
	assert_false(lm_event_waiting(h->session));
}
struct lm_status status(struct world *w)
{
	struct lm_status s;

	lm_get_status(w->lm, &s);
	return s;
}
int give_back(struct world *w, struct holder *h, uint64_t lease, uint64_t start, uint64_t end)
{
	struct lm_grant rest;

	return lm_return(h->session, lease, start, end, w->now, &rest);
}
void policy(struct world *w, const char *text)
{
	assert_int_equal(lm_policy_parse(text, &w->policy), 0);
}
