// SPDX-License-Identifier: BSD-2-Clause
/*
 * mappers.h - which processes have blocks of a lease mapped, as /proc/PID/maps says.
 *
 * A session may have been passed on (fork, SCM_RIGHTS) before the daemon died; then its accountable
 * process may be gone while another one still has the mapping. A daemon that is not root's cannot
 * look into processes of others: any of the session's user may have the mapping, then.
 */
#ifndef FUSE_MAPPERS_H
#define FUSE_MAPPERS_H

#include <stdint.h>

#include "core.h"

/*
 * A process but this one that maps an extent of a record in that file, which is of a session of
 * user `uid`, or may do so; *pid 0: none. Takes a while. -errno: it cannot be found out.
 */
int mappers_find(struct core *c, int leases_fd, uint32_t uid, uint32_t *pid);

#endif
