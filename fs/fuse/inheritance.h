// SPDX-License-Identifier: BSD-2-Clause
/*
 * inheritance.h - sessions of an earlier daemon of this boot: found, waited for, given to whoever
 * reclaims them.
 *
 * inheritance_start() puts every session that run/ has a record of back into leasemgr, as a holder
 * without an open file, before the first request is served; then the grace period runs (see
 * leasemgr.h). What each lease's holder may touch and its file does not have any more, by whatever
 * way it was lost, is held at once: it was in quarantine when the daemon died, or is lost with a
 * file that only that lease kept alive. The rest is in the file, and watched as any lease's blocks.
 *
 *   session of old   waits: its process is watched. When that is gone, another one that still has
 *                    its blocks mapped is sought, and watched instead; when there is none, all
 *                    that it has drains.
 *   adopted          RECLAIM on an open control file with the right names: that file's holder gets
 *                    the session, its files in run/ and their descriptors; the fresh session that
 *                    HELLO made goes the other way, and ends with the holder of old.
 *
 * A session without leases is not kept: there is nothing to reclaim. Other machines' boots' files
 * are removed. Where the pool is read-only nothing is freed, and nothing is done.
 */
#ifndef FUSE_INHERITANCE_H
#define FUSE_INHERITANCE_H

#include <stdint.h>

#include "holder.h"

/* Before the first request. */
int inheritance_start(struct arbiter *a, struct diag *diag);
/*
 * `h` is the session of old with that name from now on, if it is not yet. -ESTALE, -EPERM, -EBUSY
 * as RECLAIM; -EBADF: `h` has no session. Without the lock.
 */
int inheritance_adopt(struct holder *h, const struct record_name *name);
/* On the engine's thread: the process that a session of old was waiting for is gone. */
void inheritance_process_gone(struct holder *h);

/*
 * restore.c: puts the session of that number back, as a holder without an open file, or finds that
 * nothing is left of it: then *kept is false. -ENOENT: it has no records.
 */
int restore_session(struct arbiter *a, uint64_t number, bool *kept);

#endif
