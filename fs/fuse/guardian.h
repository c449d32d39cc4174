// SPDX-License-Identifier: BSD-2-Clause
/*
 * guardian.h - a process that ends the connection to the kernel when the daemon dies.
 *
 * The kernel ends a connection when its last descriptor is closed; and when it is told to forget
 * pages that a mapping has left dirty, it writes them back first, uninterruptibly. A daemon that is
 * killed in the middle of such a notification can neither write them (its workers are dead) nor
 * die (the notifying thread waits for them, with the descriptor open): the mount, and every process
 * that uses it, would hang for ever. The guardian is told by the kernel that the daemon's main
 * thread has died, and says "abort" to the connection (Documentation/filesystems/fuse.rst,
 * "Aborting a filesystem connection").
 *
 * It does nothing else, has nothing else open, and ends with the daemon.
 */
#ifndef FUSE_GUARDIAN_H
#define FUSE_GUARDIAN_H

#include <stdint.h>
#include <sys/types.h>

struct guardian {
	pid_t pid; /* 0: there is none */
};

/*
 * Once mounted; by the thread that lives as long as the daemon. `device` is the mount's, as
 * mountpoint_device() says. -ENOENT, -EPERM: there is no way to the connection's control file, for
 * an ordinary user without /sys/fs/fuse/connections; others as fork(2). The mount works all the
 * same.
 */
int guardian_start(struct guardian *g, uint64_t device);
void guardian_stop(struct guardian *g);

#endif
