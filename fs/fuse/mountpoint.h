// SPDX-License-Identifier: BSD-2-Clause
/*
 * mountpoint.h - the directory that is mounted at: is it one, and letting go of it.
 *
 * The daemon's own threads never make a system call that its own mount would have to answer: a
 * thread that waits for such an answer when the process is killed can neither end (the request is
 * with the daemon) nor be answered (the workers are dead), and keeps the mount hanging for ever.
 * What needs the mount's answer is done by another program.
 */
#ifndef FUSE_MOUNTPOINT_H
#define FUSE_MOUNTPOINT_H

#include <stdint.h>

#include "options.h"

/* Is that a place to mount at, for us? 0, or -errno with a sentence that says what is wrong. */
int mountpoint_check(const struct options *options, struct diag *d);
/* Which filesystem is to be seen there; no request is made of it. 0 or -errno. */
int mountpoint_device(const char *path, uint64_t *device);
/* Makes the kernel write back what mappings have left dirty. The workers must be serving. */
void mountpoint_write_back(const char *path);
/* Takes the mount out of the tree; who has files open there keeps them while the daemon serves. */
void mountpoint_detach(const char *path);

#endif
