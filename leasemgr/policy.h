// SPDX-License-Identifier: BSD-2-Clause
/*
 * policy.h - what an operation does about leases in its way: a ladder of rungs.
 *
 *   policy := [ "recall:" TIME "/" ] { step "/" } last
 *   step   := "signal=" NAME ":" TIME | "kill:" TIME
 *   last   := "busy" | "wait" | "orphan"
 *   TIME   := digits ( "us" | "ms" | "s" )          NAME := SIGBUS, SIGTERM, ...
 *
 * `recall` gives the holders time to return. When it is over, unpinned leases are revoked, unless a
 * pin is in the way: then the ladder goes on. `signal` and `kill` give the pin's process a signal
 * and time to obey. `busy` fails the operation with EBUSY, `wait` waits on, notifying again every
 * LM_RENOTIFY_NS, and `orphan` lets the file go on without the blocks, which stay with the pin.
 * Without `recall`, `busy` and `orphan` give no time at all, and a ladder that ends in `wait` never
 * revokes: it waits for leases as for pins.
 */
#ifndef LEASEMGR_POLICY_H
#define LEASEMGR_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LM_RUNGS_MAX 8u
#define LM_RUNG_NS_MAX (3600ull * 1000000000ull) /* an hour: what is longer is `wait` */
#define LM_POLICY_TEXT_MAX 256u                  /* 8 rungs of at most 31 characters, and a NUL */
#define LM_POLICY_DEFAULT "recall:2s/busy"

enum lm_rung_kind {
	LM_RUNG_RECALL,
	LM_RUNG_SIGNAL,
	LM_RUNG_KILL,
	LM_RUNG_BUSY,
	LM_RUNG_WAIT,
	LM_RUNG_ORPHAN
};

struct lm_rung {
	uint64_t time_ns; /* 0 for the last */
	uint8_t kind;     /* enum lm_rung_kind */
	uint8_t signal;   /* LM_RUNG_SIGNAL */
};

struct lm_policy {
	uint8_t count; /* 1 .. LM_RUNGS_MAX */
	struct lm_rung rungs[LM_RUNGS_MAX];
};

/* -EINVAL; *out is written on success only. */
int lm_policy_parse(const char *text, struct lm_policy *out);
/* The text that parses to the same policy; `bytes` at least LM_POLICY_TEXT_MAX. */
void lm_policy_print(const struct lm_policy *p, char *out, size_t bytes);
/* Does it signal or kill? Then only the administrator may set it. */
bool lm_policy_is_privileged(const struct lm_policy *p);

#endif
