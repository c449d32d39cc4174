// SPDX-License-Identifier: BSD-2-Clause
/*
 * session.h - a mount from its beginning to its end.
 */
#ifndef FUSE_SESSION_H
#define FUSE_SESSION_H

#include "options.h"

/*
 * Opens the pool, mounts, calls usable(context) when the mount can be used, serves until it is
 * unmounted or a signal says so, and lets go of everything. 0 after a clean end; -errno with a
 * sentence in d.
 */
int session_run(const struct options *options, void (*usable)(void *context), void *context,
	struct diag *d);

#endif
