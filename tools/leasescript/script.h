// SPDX-License-Identifier: BSD-2-Clause
/*
 * script.h - a conflict script as statements.
 *
 * A script is lines; a line is tokens separated by blanks; '#' begins a comment. Each verb has one
 * pattern (script.c), which both checks a line and says what its arguments are, so that the runner
 * never sees a malformed statement. Sizes are bytes, times nanoseconds.
 */
#ifndef LEASESCRIPT_SCRIPT_H
#define LEASESCRIPT_SCRIPT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define SCRIPT_ARGUMENTS_MAX 8
#define SCRIPT_NAME_MAX 255 /* as of a file */
#define SCRIPT_STATEMENTS_MAX 100000
#define SCRIPT_LINE_MAX 65536 /* without a comment */

enum verb {
	VERB_ACK,
	VERB_ALLOC,
	VERB_ANSWER,
	VERB_BLOCKS,
	VERB_BUFPIN,
	VERB_BUFUNPIN,
	VERB_CHMOD,
	VERB_CHOWN,
	VERB_CLOSE,
	VERB_COMMIT,
	VERB_CONT,
	VERB_DAEMON,
	VERB_DATA,
	VERB_DIR,
	VERB_DOWNGRADE,
	VERB_DRAIN,
	VERB_END,
	VERB_EXIT,
	VERB_EXPECT,
	VERB_FILE,
	VERB_FORK,
	VERB_HOLDER,
	VERB_INTERRUPT,
	VERB_KILL,
	VERB_LEASE,
	VERB_LEASES,
	VERB_LOAD,
	VERB_MAP,
	VERB_MOUNT,
	VERB_OPEN,
	VERB_OTRUNC,
	VERB_PARKED,
	VERB_PASS,
	VERB_PIN,
	VERB_PINS,
	VERB_POOL,
	VERB_PUNCH,
	VERB_QUARANTINE,
	VERB_RECLAIM,
	VERB_RENAME,
	VERB_REPEAT,
	VERB_RETURN,
	VERB_SETPOLICY,
	VERB_SIZE,
	VERB_SLEEP,
	VERB_SPARSE,
	VERB_STOP,
	VERB_STORE,
	VERB_TRUNCATE,
	VERB_UNLINK,
	VERB_UNPIN,
	VERB_USER,
	VERB_WAIT,
	VERB_WRITE,
	VERB_ZERO,
	VERB_COUNT
};

enum argument_kind {
	ARGUMENT_NAME,   /* actor, file, lease, pin, background statement: `text` */
	ARGUMENT_WORD,   /* one of the words its pattern allows, or free text: `text` */
	ARGUMENT_SIZE,   /* `value` */
	ARGUMENT_TIME,   /* `value` */
	ARGUMENT_NUMBER, /* `value` */
};

struct argument {
	enum argument_kind kind;
	char *text;
	uint64_t value;
};

struct statement {
	unsigned line;
	enum verb verb;
	unsigned count;
	struct argument arguments[SCRIPT_ARGUMENTS_MAX];
	char *background; /* start ID: ... ; else NULL */
	char *rest;       /* pool: mkfs options as they stand; mount: OPTIONS */
	bool has_result;  /* "=> RESULT" was given */
	int result;       /* 0 for OK, else a positive errno */
	bool has_range;
	uint64_t low_ns, high_ns;
	unsigned partner; /* repeat: index of its end; end: of its repeat */
};

struct script {
	struct statement *statements;
	unsigned count;
};

/* Parses it all. On an error: -EINVAL, *line and `why` say where and what. -ENOMEM. */
int script_parse(FILE *in, struct script *out, unsigned *line, char *why, size_t why_bytes);
void script_free(struct script *script);

const char *verb_name(enum verb verb);
/* A statement that does something on behalf of an actor, so that it may run in the background. */
bool verb_is_action(enum verb verb);

/* "OK" or the errno's name, for messages; `error` positive. */
const char *result_name(int error);
#endif
