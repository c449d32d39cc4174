// SPDX-License-Identifier: BSD-2-Clause
/*
 * session.h - a mount from its beginning to its end.
 */
#ifndef FUSE_SESSION_H
#define FUSE_SESSION_H

#include "options.h"

struct session_hooks { /* called by the thread that runs the session, once at most */
	void (*usable)(void *context); /* the mount can be used */
	void (*ending)(void *context); /* it was usable, and is coming to its end */
	void *context;
};

/*
 * Opens the pool, mounts, serves until it is unmounted or a signal says so, and lets go of
 * everything. 0 after a clean end; -errno with a sentence in d.
 */
int session_run(const struct options *options, const struct session_hooks *hooks, struct diag *d);

#endif
