/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * soak.h - what the parts of the long run share.
 *
 * Workers are processes of their own: trees.c uses files as any program does, holders.c and
 * managed.c hold leases, changers.c truncates, punches, removes and replaces under them, and
 * victims.c has holders that die. A worker's round leaves nothing behind: no descriptor, no
 * mapping, no session. So when all of them rest (workers_rest()), what the daemon still holds is
 * its own, and must be what it was an hour ago.
 *
 * A worker that finds something wrong says it and exits with 1; that ends the run.
 */
#ifndef TESTS_SOAK_SOAK_H
#define TESTS_SOAK_SOAK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HELD_FILES 3u                  /* "held.0" ...: under leases */
#define MANAGED_FILE HELD_FILES        /* "held.3": under managed mappings */
#define HELD_BYTES ((size_t)512 << 10) /* of each */

enum count {
	COUNT_OPERATIONS, /* of files and names */
	COUNT_SESSIONS,
	COUNT_GRANTS,
	COUNT_STORES, /* lines of 64 bytes, under leases */
	COUNT_CHANGES,
	COUNT_BUSY,
	COUNT_INTERRUPTED,
	COUNT_RECALLS,
	COUNT_REVOKED,
	COUNT_DEATHS,
	COUNTS
};

enum leak { LEAK_NONE, LEAK_DESCRIPTORS, LEAK_MEMORY, LEAK_QUARANTINE };

/* In memory that all processes share. */
struct board {
	atomic_bool stop;
	atomic_bool rest; /* no worker begins a round */
	atomic_uint resting;
	atomic_ulong count[COUNTS];
	atomic_ulong leaked;
};

struct worker {
	struct board *board;
	const char *mount;
	unsigned number; /* among those of its kind */
	uint64_t rng;
	double rate_hz; /* rounds a second at most; 0: no limit */
	enum leak leak;
};

uint64_t roll(struct worker *w);
void note(struct worker *w, enum count what, unsigned long n);
/* Says it and exits. */
void wrong(const struct worker *w, const char *format, ...)
	__attribute__((noreturn, format(printf, 2, 3)));
/* "<mount>/held.N"; static. */
const char *held_path(const struct worker *w, unsigned file);

/* One round each. */
void round_tree(struct worker *w);
void round_holder(struct worker *w);
void round_managed(struct worker *w);
void round_changer(struct worker *w);
void round_victim(struct worker *w);
/* Instead, for a run that must not be found flat: keeps a little more with each round. */
void round_leak(struct worker *w);
/* How often it keeps something in so many seconds, if the machine has the time. */
unsigned long leak_in(enum leak leak, double seconds);

/* A cache line's only right bytes, but zeroes: whose it is, and where. So each byte of a mapping is
 * zero or known, whoever has stored it and wherever the file was cut. */
struct line {
	uint64_t word[8];
};
void line_make(struct line *out, uint64_t owner, uint64_t place);
bool line_is_sound(const struct line *line, uint64_t owner, uint64_t place);

#endif
