// SPDX-License-Identifier: BSD-2-Clause
/*
 * target_mount.h - a leasefs daemon of the tester's own: started, killed, unmounted, checked.
 */
#ifndef STRESS_TARGET_MOUNT_H
#define STRESS_TARGET_MOUNT_H

#include <sys/types.h>

#include "target.h"

struct mount {
	struct target_options options;
	char pool[4096];
	char point[4096];
	pid_t daemon; /* 0: not running */
};

/* All: 0 or -errno, with a sentence on stderr. */
int mount_format(struct mount *m);
int mount_start(struct mount *m); /* returns when the mount is usable */
int mount_kill(struct mount *m);  /* SIGKILL, and the dead mount is taken away */
int mount_stop(struct mount *m);  /* unmounts and waits for the daemon's end */
int mount_check(struct mount *m); /* fsck.leasefs -n */
void mount_detach(const char *point);

#endif
