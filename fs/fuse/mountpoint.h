// SPDX-License-Identifier: BSD-2-Clause
/*
 * mountpoint.h - the directory that is mounted at: is it one, and letting go of it.
 */
#ifndef FUSE_MOUNTPOINT_H
#define FUSE_MOUNTPOINT_H

#include "options.h"

/* Is that a place to mount at, for us? 0, or -errno with a sentence that says what is wrong. */
int mountpoint_check(const struct options *options, struct diag *d);
/* Takes the mount out of the tree; who has files open there keeps them while the daemon serves. */
void mountpoint_detach(const char *path);

#endif
