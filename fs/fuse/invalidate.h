// SPDX-License-Identifier: BSD-2-Clause
/*
 * invalidate.h - tells the kernel that what it cached about an inode is no longer so.
 *
 * The daemon is the only writer, so the kernel's caches need it only where a change did not come
 * through an ordinary request: a lease's commit, a return after direct stores. The notification may
 * wait for pages that are locked by requests still unanswered, so it is sent from a thread that
 * serves none. Any thread may ask; nothing here blocks.
 */
#ifndef FUSE_INVALIDATE_H
#define FUSE_INVALIDATE_H

#include <fuse_lowlevel.h>
#include <stdint.h>

struct daemon;

int invalidate_start(struct daemon *d);
/* What is queued is dropped: the mount is going away. */
void invalidate_stop(struct daemon *d);

/*
 * Attributes, and the cached pages of [start, end) (start == end: attributes alone; end UINT64_MAX:
 * to the end of the file). `done` (may be NULL) is called afterwards on the invalidating thread,
 * also when the daemon is ending. -ENOMEM.
 */
int invalidate_pages(struct daemon *d, uint64_t ino, uint64_t start, uint64_t end,
	void (*done)(void *context), void *context);

#endif
