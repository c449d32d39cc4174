// SPDX-License-Identifier: BSD-2-Clause
/*
 * caller.h - who asks: the credentials of a request, as fs/core wants them.
 *
 * CAP_FSETID decides whether setuid and setgid bits survive a change. The kernel says in the
 * request of a write, a truncate and an open(O_TRUNC) whether the caller has it (channel_note());
 * for chmod and creation it has already applied the rule. Elsewhere (fallocate, copy_file_range,
 * chown, ACLs) /proc/PID/status is asked, and only where there is such a bit to lose.
 */
#ifndef FUSE_CALLER_H
#define FUSE_CALLER_H

#include <fuse_lowlevel.h>
#include <stdbool.h>

#include "core.h"

struct caller {
	struct core_cred cred; /* cred.context is the request */
	uint32_t pid;
};

void caller_init(struct caller *caller, fuse_req_t req, bool fsetid);
/* From the request's note. Call it on the thread that got the request, before it can be parked. */
void caller_init_noted(struct caller *caller, fuse_req_t req);
/* From the process, where `ip` has bits to lose. */
void caller_init_asked(struct caller *caller, fuse_req_t req, struct inode *ip);

#endif
