// SPDX-License-Identifier: BSD-2-Clause
/*
 * script.h - sequences of operations, as data and as text.
 *
 * A script is text that can be replayed, shortened by leaving lines out, and read by people:
 *
 *	media pmem
 *	base 1
 *	seed 17
 *	rename d/x f
 *	write f 100 5001
 *
 * Names are of a small set (script_path()); every base (bed.h) begins with the same tree.
 */
#ifndef TESTS_CRASH_SCRIPT_H
#define TESTS_CRASH_SCRIPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "media.h"

enum verb {
	VERB_CREATE,
	VERB_MKDIR,
	VERB_SYMLINK, /* with a target of so many bytes */
	VERB_MKNOD,
	VERB_UNLINK,
	VERB_RMDIR,
	VERB_LINK,
	VERB_RENAME,
	VERB_EXCHANGE,
	VERB_WHITEOUT, /* a rename that leaves one */
	VERB_WRITE,    /* offset, length */
	VERB_APPEND,
	VERB_TRUNCATE,
	VERB_ALLOCATE,
	VERB_RESERVE, /* allocate, and the size stays */
	VERB_PUNCH,
	VERB_ZERO,
	VERB_COPY,
	VERB_CHMOD,
	VERB_CHOWN,
	VERB_UTIMES,
	VERB_SETXATTR, /* which, length */
	VERB_REMOVEXATTR,
	VERB_SETACL,
	VERB_OPEN,    /* holds the inode: if it loses its name it becomes an orphan */
	VERB_TMPFILE, /* an orphan from the beginning, held */
	VERB_NAME,    /* links the last tmpfile */
	VERB_CLOSE,   /* lets all of them go */
	VERB_PREPARE, /* what a write lease asks for: offset, length */
	VERB_COMMIT,  /* its holder's stores, and the commit: offset, length */
	VERB_HOLD,    /* quarantine: the blocks of offset, length are not to be reused */
	VERB_RELEASE, /* all of them */
	VERB_FSYNC,
	VERB_SYNC,
	VERB_CHECKPOINT,
	VERB_REMOUNT,
	VERBS
};

struct op {
	enum verb verb;
	uint8_t path[2]; /* script_path() */
	uint32_t number[2];
};

#define SCRIPT_OPS_MAX 256u
struct script {
	enum media_kind media;
	unsigned base;   /* of BED_BASES */
	unsigned seed;   /* of the choice of what a cut leaves */
	unsigned refuse; /* the number of the sync that the media refuse; 0: none */
	unsigned count;
	struct op ops[SCRIPT_OPS_MAX];
};

/* Path number i as it stands in scripts, and as it is; NULL beyond the last. */
const char *script_path(unsigned i);
const char *script_real_path(unsigned i);

void script_print(const struct script *s, FILE *to);
void script_print_op(const struct op *op, FILE *to);
/* 0, or the number of the first line that it does not understand. */
unsigned script_parse(FILE *from, struct script *out);

/* The vocabulary of which all pairs and triples are explored. */
extern const struct op script_vocabulary[];
extern const unsigned script_vocabulary_count;

/* Any operation, with any arguments. */
void script_random_op(unsigned *seed, struct op *out);
/* On relaxed page cache bytes written in place may reach the media before an older size does, as
 * anywhere: cuts the operation down to whole blocks, or false if it writes in place by its nature.
 */
bool script_fit_relaxed(struct op *op);

#endif
