/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * kill.h - what the parts of the kill campaign share.
 *
 * The campaign (campaign.c) keeps a daemon on a pool and kills it again and again. Workers are
 * processes of their own, which know nothing of each other: files.c works on ordinary files against
 * a model in its memory, holders.c under leases, changers.c truncates under the holders. A worker
 * that finds something wrong says it and exits with 1; that ends the campaign.
 */
#ifndef TESTS_KILL_KILL_H
#define TESTS_KILL_KILL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HELD_FILES 3u                  /* "held.0" ...: by holders; the last by a managed mapping */
#define HELD_BYTES ((size_t)256 << 10) /* of each */

/* In memory that all processes share. */
struct board {
	atomic_bool stop;
	atomic_ulong kills;
	atomic_ulong operations, stores, changes, busy, revoked, reclaimed, reconnects;
};

struct worker {
	struct board *board;
	const char *mount;
	unsigned number;
	uint64_t rng;
};

uint64_t roll(struct worker *w);
/* Says it and exits. */
void wrong(const struct worker *w, const char *format, ...)
	__attribute__((noreturn, format(printf, 2, 3)));

/*
 * The mount's root, opened anew: waits until there is a daemon. -1: the campaign has come to its
 * end. Between two daemons the mount point is an ordinary directory: that is not taken for it.
 */
int open_mount(struct worker *w);
/* Is that the errno of a mount whose daemon has gone? */
bool is_gone(int error);

void run_files(struct worker *w);
void run_holder(struct worker *w);
void run_managed(struct worker *w);
void run_changer(struct worker *w);

/* A cache line of a held file: whose it is, so that bytes of others are told from one's own. */
struct line {
	uint64_t owner; /* 1 + number of the file; 0: all of the line is 0 */
	uint64_t place;
	uint64_t version;
	uint64_t check[5];
};
void line_make(struct line *out, uint64_t owner, uint64_t place, uint64_t version);
/* Zeroes, or whole and of that owner and place. */
bool line_is_sound(const struct line *line, uint64_t owner, uint64_t place);

#endif
