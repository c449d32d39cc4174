/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * story.h - a client whose daemon may die in any of its calls: what it leases, maps, pins, commits
 * and gives back, and what it may believe to be its own afterwards.
 *
 * Functions that return bool: false says that the daemon has died in that call, as it was told to.
 * Whatever else goes wrong ends the test (stand_fail()).
 */
#ifndef RESTART_STORY_H
#define RESTART_STORY_H

#include <stdbool.h>
#include <stdint.h>

#include "stand.h"

#define MiB (1024 * 1024ull)
#define PIECES 32

/* A stretch of blocks that the client has mapped, and believes to be its own. */
struct piece {
	uint64_t lease;
	uint64_t inode;
	uint64_t offset, length; /* in the file */
	uint64_t at;             /* in the region */
	bool doubtful;           /* a truncate is taking it, or has */
};

struct client {
	int control;
	struct leasefs_hello hello;
	uint64_t cookie[2], boot[2]; /* what the next daemon is asked with */
	char *region;
	uint64_t region_bytes;
	struct piece pieces[PIECES];
	unsigned count;
	uint64_t pin;
};
extern struct client client;

/* Of a call's result and errno. */
bool done(int result, const char *what);
int open_in(const char *name, int flags); /* -1 and errno */
bool hello(void);
bool give_back(uint64_t lease, uint64_t offset, uint64_t length);
/* Somebody truncates, and the client looks at its events meanwhile. The result is an errno. */
bool truncate_by_another(const char *name, uint64_t size, int *error, uint64_t *revoked);

/* Leases, maps and pins "f" and "h", which are there; and, `to_its_end`, all the rest. */
bool tell_the_story(bool to_its_end);

#endif
