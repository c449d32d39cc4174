// SPDX-License-Identifier: BSD-2-Clause
/*
 * stand.h - a private pool, and daemons on it one after the other, for tests of restarts.
 *
 * Nothing here returns on failure: stand_fail() says what was wrong, takes down what stands, and
 * exits. Waits are for what the kernel or the daemon says, each with an end.
 */
#ifndef RESTART_STAND_H
#define RESTART_STAND_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "leasefs/control.h"

#define PATIENCE_MS 30000 /* on a loaded machine */

struct stand {
	char dir[64]; /* on tmpfs if there is one */
	char pool[96], mount[96];
	const char *mkfs, *fsck;
	pid_t daemon;  /* 0: none */
	int daemon_fd; /* pidfd */
	bool is_clean;
};

_Noreturn void stand_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The one there is; taken down at the end, on failure too. */
extern struct stand stand;
void stand_make(const char *mkfs, const char *fsck, const char *size);
/* The mount is usable: true. The daemon has ended before that: false. */
bool stand_start(const char *leasefs, const char *options);
/* It has ended by itself, or does so soon; the dead mount is removed. */
void stand_await_death(void);
void stand_kill(void); /* SIGKILL, and the same */
/* SIGTERM: it ends in good order, whatever is held. */
void stand_terminate(void);
bool stand_is_dead(void);
void stand_end(void); /* unmounts, the daemon ends well, and the pool is clean */
void stand_path(const char *name, char out[160]);
/* A descriptor; what is made is of mode 0644. */
int stand_open(const char *name, int flags);

#endif
