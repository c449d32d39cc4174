// SPDX-License-Identifier: BSD-2-Clause
/*
 * ender.h - the process that takes the mount away when the daemon has to end by itself.
 *
 * Unmounting takes what a serving daemon gives up (harden.h): CAP_SYS_ADMIN, or fusermount3, which
 * is setuid, and running programs at all. So a child is made first of all, before the pool is open,
 * that can do these two things at this one mount point and nothing else. It ends with the daemon.
 */
#ifndef FUSE_ENDER_H
#define FUSE_ENDER_H

#include <sys/types.h>

struct ender {
	int fd; /* to the child; -1: there is none */
	pid_t pid;
};

/* With one thread yet. 0, or -errno. */
int ender_start(struct ender *e, const char *mountpoint);
/* Both return when it is done or was given up, with the reason in the log. */
void ender_write_back(struct ender *e);
void ender_detach(struct ender *e);
void ender_stop(struct ender *e);

#endif
