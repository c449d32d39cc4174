// SPDX-License-Identifier: BSD-2-Clause
/*
 * script.c - see script.h.
 */
#include "script.h"

#include <stdlib.h>
#include <string.h>

#include "format.h"

#define LONG_A "LLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLL"
#define LONG_B "MMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMM"
#define FIVE(text) text text text text text

static const struct {
	const char *text;
	const char *real;
} paths[] = {
	{"f", "f"},     /* a file of a few inline extents, its size unaligned */
	{"g", "g"},     /* a file whose extents are in a tree */
	{"d", "d"},     /* a directory with x, a second link to f, and y, an empty directory */
	{"d/x", "d/x"}, /* also h */
	{"d/y", "d/y"}, {"e", "e"}, /* an empty directory */
	{"h", "h"}, {"n", "n"},     /* nothing, as those that follow */
	{"d/n", "d/n"}, {"e/n", "e/n"}, {"L", FIVE(LONG_A) "LLLLL"},
	{"d/M", "d/" FIVE(LONG_B) "MMMMM"}, {"s", "s"}, /* a symlink with a target in a tree */
};
#define PATHS (sizeof(paths) / sizeof(paths[0]))

/* p: a path; n: a number. */
static const struct {
	const char *name;
	const char *arguments;
} verbs[VERBS] = {
	[VERB_CREATE] = {"create", "p"},
	[VERB_MKDIR] = {"mkdir", "p"},
	[VERB_SYMLINK] = {"symlink", "pn"},
	[VERB_MKNOD] = {"mknod", "p"},
	[VERB_UNLINK] = {"unlink", "p"},
	[VERB_RMDIR] = {"rmdir", "p"},
	[VERB_LINK] = {"link", "pp"},
	[VERB_RENAME] = {"rename", "pp"},
	[VERB_EXCHANGE] = {"exchange", "pp"},
	[VERB_WHITEOUT] = {"whiteout", "pp"},
	[VERB_WRITE] = {"write", "pnn"},
	[VERB_APPEND] = {"append", "pn"},
	[VERB_TRUNCATE] = {"truncate", "pn"},
	[VERB_ALLOCATE] = {"allocate", "pnn"},
	[VERB_RESERVE] = {"reserve", "pnn"},
	[VERB_PUNCH] = {"punch", "pnn"},
	[VERB_ZERO] = {"zero", "pnn"},
	[VERB_COPY] = {"copy", "pp"},
	[VERB_CHMOD] = {"chmod", "pn"},
	[VERB_CHOWN] = {"chown", "pn"},
	[VERB_UTIMES] = {"utimes", "pn"},
	[VERB_SETXATTR] = {"setxattr", "pnn"},
	[VERB_REMOVEXATTR] = {"removexattr", "pn"},
	[VERB_SETACL] = {"setacl", "pn"},
	[VERB_OPEN] = {"open", "p"},
	[VERB_TMPFILE] = {"tmpfile", "n"},
	[VERB_NAME] = {"name", "p"},
	[VERB_CLOSE] = {"close", ""},
	[VERB_PREPARE] = {"prepare", "pnn"},
	[VERB_COMMIT] = {"commit", "pnn"},
	[VERB_HOLD] = {"hold", "pnn"},
	[VERB_RELEASE] = {"release", ""},
	[VERB_FSYNC] = {"fsync", "p"},
	[VERB_SYNC] = {"sync", ""},
	[VERB_CHECKPOINT] = {"checkpoint", ""},
	[VERB_REMOUNT] = {"remount", ""},
};

enum { F, G, D, DX, DY, E, H, N, DN, EN, LONG, DLONG, S };
static_assert(S + 1 == PATHS, "the names of paths");

const struct op script_vocabulary[] = {
	{VERB_CREATE, {DN}},
	{VERB_CREATE, {LONG}},
	{VERB_MKDIR, {EN}},
	{VERB_SYMLINK, {N}, {2000}},
	{VERB_UNLINK, {G}},
	{VERB_UNLINK, {DX}},
	{VERB_RMDIR, {E}},
	{VERB_LINK, {F, DLONG}},
	{VERB_RENAME, {F, G}},
	{VERB_RENAME, {DX, N}},
	{VERB_RENAME, {D, E}},
	{VERB_RENAME, {DY, LONG}},
	{VERB_EXCHANGE, {G, DY}},
	{VERB_WHITEOUT, {DX, G}},
	{VERB_APPEND, {F}, {3000}},
	{VERB_WRITE, {F}, {100000, 9001}},
	{VERB_TRUNCATE, {F}, {1000}},
	{VERB_TRUNCATE, {G}, {0}},
	{VERB_PUNCH, {G}, {8192, 20480}},
	{VERB_ALLOCATE, {F}, {20000, 30000}},
	{VERB_SETXATTR, {F}, {2, 3000}},
	{VERB_REMOVEXATTR, {G}, {1}},
	{VERB_CHMOD, {D}, {0711}},
	{VERB_OPEN, {G}},
	{VERB_COMMIT, {G}, {4096, 5000}},
	{VERB_HOLD, {G}, {0, 40000}},
	{VERB_REMOUNT},
};
const unsigned script_vocabulary_count = sizeof(script_vocabulary) / sizeof(script_vocabulary[0]);

const char *script_path(unsigned i)
{
	return i < PATHS ? paths[i].text : NULL;
}

const char *script_real_path(unsigned i)
{
	return i < PATHS ? paths[i].real : NULL;
}

/* ---- text ------------------------------------------------------------------------------------ */

void script_print_op(const struct op *op, FILE *to)
{
	unsigned p = 0, n = 0;

	fputs(verbs[op->verb].name, to);
	for (const char *a = verbs[op->verb].arguments; *a; a++) {
		if (*a == 'p')
			fprintf(to, " %s", paths[op->path[p++]].text);
		else
			fprintf(to, " %u", op->number[n++]);
	}
	fputc('\n', to);
}

void script_print(const struct script *s, FILE *to)
{
	fprintf(to, "media %s\nbase %u\nseed %u\n", media_names[s->media], s->base, s->seed);
	if (s->refuse)
		fprintf(to, "refuse %u\n", s->refuse);
	for (unsigned i = 0; i < s->count; i++)
		script_print_op(&s->ops[i], to);
}

static bool parse_number(const char *word, unsigned *out)
{
	char *end;

	if (!word)
		return false;
	*out = (unsigned)strtoul(word, &end, 10);
	return end != word && *end == '\0';
}

static bool parse_path(const char *word, uint8_t *out)
{
	for (unsigned i = 0; word && i < PATHS; i++)
		if (strcmp(word, paths[i].text) == 0) {
			*out = (uint8_t)i;
			return true;
		}
	return false;
}

static bool parse_op(const char *word, char **rest, struct op *out)
{
	unsigned p = 0, n = 0, verb = 0;

	while (verb < VERBS && strcmp(word, verbs[verb].name))
		verb++;
	if (verb == VERBS)
		return false;
	*out = (struct op){.verb = (enum verb)verb};
	for (const char *a = verbs[verb].arguments; *a; a++) {
		word = strtok_r(NULL, " \t\n", rest);
		if (*a == 'p' ? !parse_path(word, &out->path[p++])
			      : !parse_number(word, &out->number[n++]))
			return false;
	}
	return true;
}

static bool parse_line(char *line, struct script *s)
{
	char *rest, *word = strtok_r(line, " \t\n", &rest);

	if (!word || *word == '#')
		return true;
	if (strcmp(word, "base") == 0)
		return parse_number(strtok_r(NULL, " \t\n", &rest), &s->base);
	if (strcmp(word, "seed") == 0)
		return parse_number(strtok_r(NULL, " \t\n", &rest), &s->seed);
	if (strcmp(word, "refuse") == 0)
		return parse_number(strtok_r(NULL, " \t\n", &rest), &s->refuse);
	if (strcmp(word, "media") == 0) {
		word = strtok_r(NULL, " \t\n", &rest);
		for (int i = 0; word && i < MEDIA_KINDS; i++)
			if (strcmp(word, media_names[i]) == 0) {
				s->media = (enum media_kind)i;
				return true;
			}
		return false;
	}
	return s->count < SCRIPT_OPS_MAX && parse_op(word, &rest, &s->ops[s->count++]);
}

unsigned script_parse(FILE *from, struct script *out)
{
	char line[256];

	*out = (struct script){0};
	for (unsigned n = 1; fgets(line, sizeof(line), from); n++)
		if (!parse_line(line, out))
			return n;
	return 0;
}

/* ---- chance ---------------------------------------------------------------------------------- */

/* What it is for; the rest of the number line is there as well. */
static uint32_t random_number(unsigned *seed, enum verb verb, unsigned which)
{
	static const uint32_t edges[] = {0, 1, 63, 64, 100, 4095, 4096, 4097, 8192, 20000, 65536};
	uint32_t edge = edges[(unsigned)rand_r(seed) % (sizeof(edges) / sizeof(edges[0]))];

	switch (verb) {
	case VERB_SYMLINK:
		return 1 + (uint32_t)rand_r(seed) % (rand_r(seed) % 2 ? 60 : 4000);
	case VERB_CHMOD:
		return (uint32_t)rand_r(seed) % 01000;
	case VERB_SETXATTR:
		return which ? (uint32_t)rand_r(seed) % (rand_r(seed) % 3 ? 200 : 9000)
			     : (uint32_t)rand_r(seed) % 4;
	case VERB_REMOVEXATTR:
		return (uint32_t)rand_r(seed) % 4;
	default:
		break;
	}
	if (which == 1 && rand_r(seed) % 2)
		return 1 + (uint32_t)rand_r(seed) % 12000;
	return rand_r(seed) % 3 ? edge : (uint32_t)rand_r(seed) % 150000;
}

void script_random_op(unsigned *seed, struct op *out)
{
	/* Whatever makes and removes names keeps the others supplied. */
	static const enum verb often[] = {VERB_CREATE, VERB_MKDIR, VERB_RENAME, VERB_RENAME,
		VERB_APPEND, VERB_WRITE, VERB_TRUNCATE, VERB_LINK, VERB_UNLINK};

	out->verb = rand_r(seed) % 2
			    ? often[(unsigned)rand_r(seed) % (sizeof(often) / sizeof(often[0]))]
			    : (enum verb)((unsigned)rand_r(seed) % VERBS);
	for (unsigned i = 0; i < 2; i++) {
		out->path[i] = (uint8_t)((unsigned)rand_r(seed) % PATHS);
		out->number[i] = random_number(seed, out->verb, i);
	}
	if (out->number[1] == 0)
		out->number[1] = 1;
}

bool script_fit_relaxed(struct op *op)
{
	switch (op->verb) {
	case VERB_WRITE: /* into holes, or over what is there */
	case VERB_ZERO:
	case VERB_COPY:
	case VERB_COMMIT:
		return false;
	case VERB_PUNCH:
		op->number[1] = (op->number[1] + BLOCK_SIZE - 1) & ~(BLOCK_SIZE - 1);
		op->number[0] &= ~(BLOCK_SIZE - 1);
		return true;
	case VERB_TRUNCATE:
		op->number[0] &= ~(BLOCK_SIZE - 1);
		return true;
	default:
		return true;
	}
}
