// SPDX-License-Identifier: BSD-2-Clause
/*
 * operation.h - an operation that leases may stand against: described, arbitrated, run, replied to.
 *
 * It lives on the stack of the thread that got the request, unless it has to wait: then it is
 * copied, with what it needs of the request's buffer, and goes on later on another thread.
 *
 *   described --arbitrate_try--> run --> end of the ticket --> reply
 *             \--parked (copied)--verdict 0--> run --> end --> reply --> freed
 *                               \-verdict < 0----------------> reply --> freed
 *
 * The ticket ends before the reply, so that a caller which takes a lease next finds nothing of its
 * own in the way.
 */
#ifndef FUSE_OPERATION_H
#define FUSE_OPERATION_H

#include <fuse_lowlevel.h>
#include <stddef.h>

#include "arbitrate.h"
#include "caller.h"

struct operation {    /* the first member of each kind */
	size_t bytes; /* of the whole */
	struct daemon *daemon;
	fuse_req_t req;
	struct inode *inode; /* whoever described it puts it; a copy has a count of its own */
	struct caller caller;
	int (*run)(struct operation *op);
	void (*reply)(struct operation *op, int result);
	/* May be NULL. Before waiting: takes what lies in the request's buffer; lets go of it. */
	int (*keep)(struct operation *op);
	void (*drop)(struct operation *op);
};

/* change.ino, pid and uid are filled in from the operation. An empty range asks nobody. */
void operation_start(struct operation *op, const struct change *change);

#endif
