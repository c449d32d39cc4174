// SPDX-License-Identifier: BSD-2-Clause
/*
 * world.h - what a scenario runs in: a private pool, its daemon and its mount, in a directory that
 * is removed at the end; or a mount that stands already (--mount), where only a directory is ours.
 *
 * Every wait on another program is bounded (WORLD_PATIENCE_MS); a mount that does not go away in
 * good order is taken away with MNT_DETACH.
 */
#ifndef LEASESCRIPT_WORLD_H
#define LEASESCRIPT_WORLD_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define WORLD_PATIENCE_MS 30000

struct world {
	char top[PATH_MAX];   /* temporary directory; "" while there is none */
	char pool[PATH_MAX];  /* "" with --mount */
	char mount[PATH_MAX]; /* where the scenario's files are */
	char options[1024];   /* of the mount */
	char mkfs_options[1024];
	uint64_t pool_bytes;
	unsigned pool_line, mount_line; /* where the script says so; 0: it does not */
	unsigned line;                  /* which of them the last failure is about; 0: neither */
	const char *pools;              /* run_options */
	const char *data;
	const char *more_options;
	pid_t daemon;  /* 0: not running */
	bool standing; /* --mount */
	bool stale;    /* the killed daemon's mount is still there */
	bool keep;
	bool made;
	char why[512]; /* the last failure, in words */
};

/* All of them: 0, or -errno with world.why set. */
int world_make(struct world *w); /* mkfs and mount; or a directory in the standing mount */
int world_kill_daemon(struct world *w);
int world_start_daemon(struct world *w);
/* Unmounts and checks: -EUCLEAN if fsck.leasefs -n found something (world.why shows the first of
 * it). */
int world_end(struct world *w);
void world_remove(struct world *w); /* whatever is left, also after a failure */

/* Runs a program of the project (found beside this one, else in PATH) and waits. Its exit status,
 * or -errno. `output` gets the beginning of what it printed, to both streams. */
int world_run(struct world *w, const char *const argv[], char *output, size_t bytes);

#endif
