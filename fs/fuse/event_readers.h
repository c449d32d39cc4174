// SPDX-License-Identifier: BSD-2-Clause
/*
 * event_readers.h - the processes that have read a session's events, besides the accountable one.
 *
 * Whoever shares a session may read its events, each of which goes to one reader. A process that
 * dies may have one in its hands that the others then never see; so its end is watched, and what
 * the session was told and has not answered is told again.
 *
 * A reader belongs to its holder's list until its process is gone or the session is buried,
 * whichever takes it out of the list under arbiter.lock; that one frees it.
 */
#ifndef FUSE_EVENT_READERS_H
#define FUSE_EVENT_READERS_H

#include <stdint.h>

#include "holder.h"

#define EVENT_READERS_MAX 16u /* of one session; further ones are not watched */

/* Before events go to that thread. Best effort. Without the lock. */
void event_readers_note(struct holder *h, uint32_t tid);
/* The session is over. Without the lock. */
void event_readers_end(struct holder *h);

#endif
