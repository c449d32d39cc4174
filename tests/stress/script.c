// SPDX-License-Identifier: BSD-2-Clause
/*
 * script.c - operations as text and back.
 */
#include "script.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

/*
 * Arguments, in order: p path, q path2, o offset, O offset2, l length, s seed, S seed2, m mode
 * (octal), f flags or uid (mode, decimal), n count, h slot.
 */
static const struct {
	const char *name;
	const char *arguments;
} kinds[OP_KINDS] = {
	[OP_CREATE] = {"create", "pm"},
	[OP_MKDIR] = {"mkdir", "pm"},
	[OP_MKNOD] = {"mknod", "pml"},
	[OP_SYMLINK] = {"symlink", "pls"},
	[OP_LINK] = {"link", "pq"},
	[OP_UNLINK] = {"unlink", "p"},
	[OP_RMDIR] = {"rmdir", "p"},
	[OP_RENAME] = {"rename", "pqf"},
	[OP_WRITE] = {"write", "pols"},
	[OP_APPEND] = {"append", "pls"},
	[OP_READ] = {"read", "pol"},
	[OP_TRUNCATE] = {"truncate", "po"},
	[OP_FALLOC] = {"fallocate", "pfol"},
	[OP_COMB] = {"comb", "pons"},
	[OP_COPY] = {"copy", "poqOl"},
	[OP_SETXATTR] = {"setxattr", "pslfS"},
	[OP_DELXATTR] = {"removexattr", "ps"},
	[OP_CHMOD] = {"chmod", "pm"},
	[OP_CHOWN] = {"chown", "pfn"},
	[OP_UTIMENS] = {"utimens", "po"},
	[OP_OPEN] = {"open", "hp"},
	[OP_TMPFILE] = {"tmpfile", "hpm"},
	[OP_CLOSE] = {"close", "h"},
	[OP_FILL] = {"fill", "pns"},
	[OP_DRAIN] = {"drain", "pns"},
	[OP_COMPARE] = {"compare", ""},
	[OP_CRASH] = {"crash", ""},
	[OP_REMOUNT] = {"remount", ""},
};

const char *op_name(enum op_kind kind)
{
	return kinds[kind].name;
}

void script_add(struct script *s, const struct op *op)
{
	if (s->count == s->capacity) {
		s->capacity = s->capacity ? s->capacity * 2 : 256;
		s->ops = realloc(s->ops, s->capacity * sizeof(*s->ops));
		assert(s->ops != NULL);
	}
	s->ops[s->count++] = *op;
}

void script_free(struct script *s)
{
	free(s->ops);
	memset(s, 0, sizeof(*s));
}

void op_print(const struct op *op, FILE *out)
{
	fputs(kinds[op->kind].name, out);
	for (const char *a = kinds[op->kind].arguments; *a; a++) {
		fputc(' ', out);
		switch (*a) {
		case 'p':
			fputs(op->path[0] ? op->path : "/", out);
			break;
		case 'q':
			fputs(op->path2[0] ? op->path2 : "/", out);
			break;
		case 'o':
			fprintf(out, "%" PRIu64, op->offset);
			break;
		case 'O':
			fprintf(out, "%" PRIu64, op->offset2);
			break;
		case 'l':
			fprintf(out, "%" PRIu64, op->length);
			break;
		case 's':
			fprintf(out, "%" PRIu64, op->seed);
			break;
		case 'S':
			fprintf(out, "%" PRIu64, op->seed2);
			break;
		case 'm':
			fprintf(out, "0%o", op->mode);
			break;
		case 'f':
			fprintf(out, "%u", op->mode);
			break;
		case 'n':
			fprintf(out, "%u", op->count);
			break;
		default:
			fprintf(out, "%u", op->slot);
		}
	}
	fputc('\n', out);
}

static bool set_argument(struct op *op, char kind, const char *word)
{
	char *end;
	if (kind == 'p' || kind == 'q') {
		char *to = kind == 'p' ? op->path : op->path2;
		if (strlen(word) >= PATH_BYTES)
			return false;
		strcpy(to, strcmp(word, "/") == 0 ? "" : word);
		return true;
	}
	uint64_t v = strtoull(word, &end, kind == 'm' ? 8 : 10);
	if (*end)
		return false;
	switch (kind) {
	case 'o':
		op->offset = v;
		return true;
	case 'O':
		op->offset2 = v;
		return true;
	case 'l':
		op->length = v;
		return true;
	case 's':
		op->seed = v;
		return true;
	case 'S':
		op->seed2 = v;
		return true;
	case 'm':
	case 'f':
		op->mode = (uint32_t)v;
		return true;
	case 'n':
		op->count = (uint32_t)v;
		return true;
	default:
		op->slot = (uint32_t)v;
		return v < SLOTS;
	}
}

bool op_parse(const char *line, struct op *op)
{
	char text[3 * PATH_BYTES], *rest = NULL;
	if (strlen(line) >= sizeof(text))
		return false;
	strcpy(text, line);
	const char *word = strtok_r(text, " \t\n", &rest);
	memset(op, 0, sizeof(*op));
	while (word && op->kind < OP_KINDS && strcmp(word, kinds[op->kind].name) != 0)
		op->kind++;
	if (!word || op->kind == OP_KINDS)
		return false;
	for (const char *a = kinds[op->kind].arguments; *a; a++) {
		word = strtok_r(NULL, " \t\n", &rest);
		if (!word || !set_argument(op, *a, word))
			return false;
	}
	return true;
}

int script_read(const char *file, struct script *s)
{
	char line[3 * PATH_BYTES];
	int number = 0;
	FILE *in = fopen(file, "re");
	if (!in) {
		fprintf(stderr, "%s: %s\n", file, strerror(errno));
		return -1;
	}
	while (fgets(line, sizeof(line), in)) {
		struct op op;
		number++;
		if (line[0] == '#' || line[strspn(line, " \t\n")] == '\0')
			continue;
		if (!op_parse(line, &op)) {
			fprintf(stderr, "%s:%d: not an operation: %s", file, number, line);
			fclose(in);
			return -1;
		}
		script_add(s, &op);
	}
	fclose(in);
	return 0;
}

void xattr_name(uint64_t seed, char out[64])
{
	snprintf(out, 64, "user.%.*s%u", (int)(seed % 37),
		"abcdefghijklmnopqrstuvwxyzabcdefghijklm", (unsigned)(seed % 11));
}

void link_target(uint64_t seed, uint64_t length, char *out)
{
	/* Never a name that is there: nothing is ever found through one of these links. */
	for (uint64_t i = 0; i < length; i++)
		out[i] = i % 61 == 60 ? '/' : (char)('A' + (seed + i * 7) % 26);
	out[length] = '\0';
}

void fill_name(uint64_t seed, uint32_t i, char out[64])
{
	snprintf(out, 64, "f%" PRIu64 "-%u", seed, i);
}
