// SPDX-License-Identifier: BSD-2-Clause
/*
 * verify.h - the checker: reads everything that a pool holds, says what is wrong, and mends it.
 *
 * It reads with the daemon's own decoders (tx_view, btree_check, dirent_decode), so that what it
 * calls sound is what a mount can read. Repairs are transactions as every change is: a crash in the
 * middle leaves a pool that can be checked again.
 *
 * The core must be quiescent: nobody else calls into it. Inodes may be held: one that is held
 * without links is an orphan, as it is on media.
 */
#ifndef CORE_VERIFY_H
#define CORE_VERIFY_H

#include <stdbool.h>
#include <stdint.h>

#include "core.h"
#include "diag.h"

enum verify_phase {
	VERIFY_SUPERS,  /* superblocks, journal, roots */
	VERIFY_SPACES,  /* space groups and the region table */
	VERIFY_INODES,  /* every inode in use: record, extents, trees */
	VERIFY_NAMES,   /* directories, reachability, links */
	VERIFY_BITMAPS, /* bitmaps against what was found, attention bits */
	VERIFY_PHASES
};
const char *verify_phase_name(enum verify_phase phase);

struct verify_finding {
	enum verify_phase phase;
	uint64_t ino;     /* 0: none in particular */
	bool repairing;   /* a repair follows */
	const char *text; /* a sentence: what, where, and what will or would be done */
};

struct verify_options {
	bool repair;
	/* Hears of each finding, once (may be NULL). */
	void (*found)(void *context, const struct verify_finding *finding);
	/* Asked before a repair, after `found` (NULL: yes to all). */
	bool (*confirm)(void *context, const struct verify_finding *finding);
	/* When a phase begins (total 0), and every so often in long ones (may be NULL). */
	void (*progress)(void *context, enum verify_phase phase, uint64_t done, uint64_t total);
	void *context;
};

struct verify_report {
	uint64_t found;    /* different findings, over all passes */
	uint64_t repaired; /* repairs made */
	uint64_t left;     /* findings that are still true at the end */
	uint64_t inodes, directories, names;
	uint64_t data_blocks, meta_blocks; /* in use, as counted */
	unsigned passes;
};

/* 0 if the check was carried through, whatever it found; -ENOMEM, -EIO, -EROFS. */
int verify_core(struct core *c, const struct verify_options *options, struct verify_report *report);

/*
 * For a pool that core_open() calls damaged (-EUCLEAN): says what is in the way, and takes it out
 * of the way if it can (a log that cannot be replayed is cleared). 0: try core_open() again;
 * -EUCLEAN: nothing can be done, or nothing was to be; else as core_open().
 */
int verify_rescue(const struct core_options *pool, const struct verify_options *options,
	struct verify_report *report, struct diag *d);

#endif
