// SPDX-License-Identifier: BSD-2-Clause
/*
 * arbitrate.h - between a file operation and the leases in its way.
 *
 * An operation that changes a layout describes the change and asks. If nothing is in the way it
 * goes on at once, on the same thread; else it is parked, at the cost of one allocation and no
 * thread, and resumed when the arbiter has decided, on a worker of the daemon. While a change is
 * between its verdict and arbitrate_end(), no grant on its range is made, so that what was asked
 * stays true until the operation has happened.
 *
 * The way to ask: arbitrate_try() first, with the operation still on the stack. Only if it says no
 * is the operation made durable (copied, its payload too) and handed to arbitrate():
 *
 *     if (arbitrate_try(d, &change, &ticket)) {
 *             run(operation, ticket);
 *             arbitrate_end(d, ticket);
 *     } else {
 *             arbitrate(d, req, &change, resume, copy_of(operation));
 *     }
 *
 * FUSE_INTERRUPT of a parked request resumes it with -EINTR.
 */
#ifndef FUSE_ARBITRATE_H
#define FUSE_ARBITRATE_H

#include <fuse_lowlevel.h>
#include <stdbool.h>
#include <stdint.h>

struct daemon;
struct diag;

enum change_kind {
	CHANGE_FREE,      /* takes blocks away: truncate, O_TRUNC, punch */
	CHANGE_OVERWRITE, /* keeps the layout, changes bytes: in the way of others' exclusive leases
			   */
	CHANGE_FILL,      /* changes bytes and may add extents where holes are: as OVERWRITE, and
			     read leases over holes are told (at arbitrate_end) */
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

struct ticket;

/*
 * True: nothing is in the way; go on, then call arbitrate_end() with *ticket (which may be NULL),
 * on the same thread and before it asks again. One atomic load while the mount has no lease at all.
 * False: ask arbitrate(); nothing was begun.
 */
bool arbitrate_try(struct daemon *d, const struct change *change, struct ticket **ticket);

/*
 * Exactly one call of resume(operation, verdict), before or after arbitrate() returns:
 * 0: go on, and call arbitrate_end(d, ticket) when done; -EBUSY, -EINTR: reply that.
 * `change` is copied. `req` is only watched for interrupts; replying is the operation's.
 */
void arbitrate(struct daemon *d, fuse_req_t req, const struct change *change,
	void (*resume)(void *operation, int verdict, struct ticket *ticket), void *operation);
void arbitrate_end(struct daemon *d, struct ticket *ticket); /* NULL: nothing to end */

/* Asked by open: must ordinary I/O on this file go past the page cache (it is write-leased)? */
bool arbitrate_direct_io(struct daemon *d, uint64_t ino);

/*
 * The daemon's life. Start comes after core_open() and before the first request, and sets core's
 * arbiter; on failure the mount does not happen. Cancel comes first when the daemon is told to end:
 * every parked operation is resumed (-EINTR), new ones are not parked any more; requests still
 * run. Stop comes after the last request was answered, before core_close().
 */
int arbitrate_start(struct daemon *d, struct diag *diag);
void arbitrate_cancel(struct daemon *d);
void arbitrate_stop(struct daemon *d);

#endif
