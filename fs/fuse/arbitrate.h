// SPDX-License-Identifier: BSD-2-Clause
/*
 * arbitrate.h - between a file operation and the leases in its way.
 *
 * An operation that changes a layout describes the change and asks. If nothing is in the way it is
 * resumed at once, on the same thread; else it is parked, at the cost of one allocation and no
 * thread, and resumed when the arbiter has decided, on a worker of the daemon. While a change is
 * between its verdict and arbitrate_end(), no grant on its range is made, so that what was asked
 * stays true until the operation has happened.
 *
 * FUSE_INTERRUPT of a parked request resumes it with -EINTR.
 */
#ifndef FUSE_ARBITRATE_H
#define FUSE_ARBITRATE_H

#include <fuse_lowlevel.h>
#include <stdint.h>

struct daemon;

enum change_kind {
	CHANGE_FREE,      /* takes blocks away: truncate, O_TRUNC, punch */
	CHANGE_OVERWRITE, /* keeps the layout, changes bytes: in the way of others' exclusive leases */
	CHANGE_FILL,      /* adds extents where holes are: read leases are told */
	CHANGE_MOVE,      /* takes every block away or elsewhere: chown across domains */
};

struct change {
	uint64_t ino;
	uint64_t start; /* bytes, [start, end) */
	uint64_t end;
	enum change_kind kind;
	uint32_t pid; /* who asks, for messages; a holder's own leases never park it */
	uint32_t uid;
	const char *operation; /* "truncate", "punch", ... static */
};

/*
 * Exactly one call of resume(operation, verdict), before or after arbitrate() returns:
 * 0: go on, and call arbitrate_end(d, ticket) when done; -EBUSY, -EINTR: reply that.
 * `change` is copied. `req` is only watched for interrupts; replying is the operation's.
 */
struct ticket;
void arbitrate(struct daemon *d, fuse_req_t req, const struct change *change,
	void (*resume)(void *operation, int verdict, struct ticket *ticket), void *operation);
void arbitrate_end(struct daemon *d, struct ticket *ticket); /* NULL: nothing to end */

#endif
