// SPDX-License-Identifier: BSD-2-Clause
/*
 * leasemgr_world.h - a manager with two sessions and a clock that only moves when told; what it
 * writes down is two arrays, from which restart() puts it back, as long as there is `room`.
 * lm_check() runs after every transition. Calls that can't fail for what they are asked assert it.
 */
#ifndef UNIT_LEASEMGR_WORLD_H
#define UNIT_LEASEMGR_WORLD_H

#include <stdbool.h>
#include <stdint.h>

#include "leasemgr.h"

#define K 1024ull
#define M (1024 * K)
#define MS 1000000ull
#define SLOTS 64
#define SLOT(id) ((uint32_t)(id) & ((1u << LM_SLOT_BITS) - 1))
#define GRACE_NS (5000 * MS)
#define INO 7

struct pin_record {
	uint64_t pin, lease, start, end;
	unsigned flags;
};
struct holder {
	struct lm_session *session;
	uint64_t number;
	uint32_t pid;
	/* Outlive the manager. */
	uint32_t pins[SLOTS];
	bool recall[SLOTS];
	struct lm_lease_record leases[SLOTS];
	struct pin_record range_pins[SLOTS];
	int told; /* ready() since last asked */
	int signal;
	bool gone;
};
struct op {
	struct lm_change *change;
	int verdict; /* 1: none yet */
};
struct world {
	struct lm *lm;
	uint64_t now, next;
	struct holder a, b;
	struct holder opened; /* an open file of the second life */
	struct lm_policy policy;
	struct lm_conflict conflict; /* the latest */
	uint64_t held, released;     /* bytes */
	bool holds_fail;
	int inodes;
	struct lm_limits limits;
	int room; /* for so many writes of records of leases; -1: for all */
};

extern const struct lm_ops world_ops;

void create_manager(struct world *w); /* from w->next on; no session yet */
void open_session(struct world *w, struct holder *h, uint32_t pid);
/* Begins anew, with these. */
void limit(struct world *w, struct lm_limits limits);
int world_setup(void **state);
int world_teardown(void **state);
void restart(struct world *w);
void adopt(struct world *w, struct holder *h);
int reclaim(struct world *w, struct holder *h, uint64_t lease);
int try_grant(struct world *w, struct holder *h, uint64_t start, uint64_t end, enum lm_mode mode,
	unsigned flags, struct lm_grant *out);
struct lm_grant grant(struct world *w, struct holder *h, uint64_t start, uint64_t end);
uint64_t pin(struct world *w, struct holder *h, uint64_t lease, uint64_t start, uint64_t end,
	unsigned flags);
int begin_as(struct world *w, struct op *op, enum lm_kind kind, uint64_t start, uint64_t end,
	uint32_t pid);
int begin(struct world *w, struct op *op, uint64_t start, uint64_t end);
void pass(struct world *w, uint64_t ns);
struct lm_event expect(struct holder *h, uint32_t kind);
void expect_nothing(struct holder *h);
struct lm_status status(struct world *w);
int give_back(struct world *w, struct holder *h, uint64_t lease, uint64_t start, uint64_t end);
void policy(struct world *w, const char *text);

#define WORLD_TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)

#endif
