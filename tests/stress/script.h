// SPDX-License-Identifier: BSD-2-Clause
/*
 * script.h - operations of the tree tester, as data and as text.
 *
 * An operation stands for itself: it names what it works on by path (or by "@N", the file that slot
 * N holds open), so that any subsequence of a script is a script, and may be replayed against an
 * empty tree. A path that is not there is no accident: the error is compared like any result.
 *
 * Text: one operation a line, its name and then its arguments in the order of the table in
 * script.c; '#' begins a comment.
 */
#ifndef STRESS_SCRIPT_H
#define STRESS_SCRIPT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "rng.h"

#define PATH_BYTES 1024
#define SLOTS 8

enum op_kind {
	OP_CREATE,   /* path mode */
	OP_MKDIR,    /* path mode */
	OP_MKNOD,    /* path mode length(rdev minor) */
	OP_SYMLINK,  /* path length seed: target of that many letters */
	OP_LINK,     /* path path2 */
	OP_UNLINK,   /* path */
	OP_RMDIR,    /* path */
	OP_RENAME,   /* path path2 flags */
	OP_WRITE,    /* path offset length seed */
	OP_APPEND,   /* path length seed */
	OP_READ,     /* path offset length */
	OP_TRUNCATE, /* path offset(size) */
	OP_FALLOC,   /* path mode offset length */
	OP_COMB,     /* path offset count seed: blocks written with holes between them */
	OP_COPY,     /* path offset path2 offset2 length */
	OP_SETXATTR, /* path seed(name) length flags seed2(value) */
	OP_DELXATTR, /* path seed(name) */
	OP_CHMOD,    /* path mode */
	OP_CHOWN,    /* path uid gid */
	OP_UTIMENS,  /* path seconds */
	OP_OPEN,     /* slot path */
	OP_TMPFILE,  /* slot path(directory) mode */
	OP_CLOSE,    /* slot */
	OP_FILL,     /* path(directory) count seed: many small names */
	OP_DRAIN,    /* path(directory) count seed: the same names removed */
	OP_COMPARE,  /* the whole tree */
	OP_CRASH,    /* the daemon dies; slots are gone */
	OP_REMOUNT,  /* closed in good order and opened again; slots are gone */
	OP_KINDS
};

struct op {
	enum op_kind kind;
	char path[PATH_BYTES];
	char path2[PATH_BYTES];
	uint64_t offset, offset2, length, seed, seed2;
	uint32_t mode, count, slot;
};

struct script {
	struct op *ops;
	size_t count;
	size_t capacity;
};

void script_add(struct script *s, const struct op *op);
void script_free(struct script *s);
void op_print(const struct op *op, FILE *out);
bool op_parse(const char *line, struct op *op); /* false: not an operation */
int script_read(const char *file, struct script *s);
const char *op_name(enum op_kind kind);

/* Names and values that operations make from their seeds. */
void xattr_name(uint64_t seed, char out[64]);
void link_target(uint64_t seed, uint64_t length, char *out); /* with NUL */
void fill_name(uint64_t seed, uint32_t i, char out[64]);

struct script_options {
	uint64_t seed;
	uint64_t ops;
	unsigned batch; /* operations between two comparisons */
	bool crash;     /* crash and remount between batches */
	bool tmpfile;
	bool slots;          /* held files */
	bool privileged;     /* chown, device nodes */
	uint64_t file_bytes; /* most files stay below */
	bool huge;           /* now and then an offset around a TiB */
};
/* Makes a script: as it goes it plays the operations in a model, to choose paths that are there. */
void script_generate(const struct script_options *options, struct script *out);

#endif
