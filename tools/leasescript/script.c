// SPDX-License-Identifier: BSD-2-Clause
/* script.c - see script.h. */
#include "script.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/*
 * Patterns: n a name, s a size, t a time, # a number, w any word, *: the rest of the line.
 * =a|b one of these words. [ ... ] may be left out as a whole. A few verbs have two forms.
 */
struct rule {
	const char *form; /* for people; it begins with the verb */
	const char *pattern;
	bool action;       /* done by an actor: may run in the background */
	const char *other; /* a second form, or NULL */
};

static const struct rule rules[] = {
	[VERB_ACK] = {"ack A L", "n n", true},
	[VERB_ALLOC] = {"alloc A F OFF LEN", "n n s s", true},
	[VERB_ANSWER] = {"answer A never|auto|after TIME", "n =never|auto", false, "n =after t"},
	[VERB_BLOCKS] = {"blocks F SIZE", "n s", false},
	[VERB_BUFPIN] = {"bufpin A P L OFF LEN", "n n n s s", true},
	[VERB_BUFUNPIN] = {"bufunpin A P", "n n", true},
	[VERB_CHMOD] = {"chmod A F MODE", "n n w", true},
	[VERB_CHOWN] = {"chown A F UID", "n n #", true},
	[VERB_CLOSE] = {"close A", "n", true},
	[VERB_COMMIT] = {"commit A L [size SIZE]", "n n [=size s]", true},
	[VERB_CONT] = {"cont A", "n", false},
	[VERB_DAEMON] = {"daemon kill|start", "=kill|start", false},
	[VERB_DATA] = {"data F OFF LEN seed N|zero", "n s s =seed #", false, "n s s =zero"},
	[VERB_DIR] = {"dir D", "n", false},
	[VERB_DOWNGRADE] = {"downgrade A L", "n n", true},
	[VERB_DRAIN] = {"drain", "", true},
	[VERB_END] = {"end", "", false},
	[VERB_EXIT] = {"exit A", "n", false},
	[VERB_EXPECT] = {"expect A EVENT L [within TIME], or: expect A nothing for TIME",
		"n =recall|revoked|recall_cancelled|layout_changed|available|drain n [=within t]",
		false, "n =nothing =for t"},
	[VERB_FILE] = {"file F SIZE seed N", "n s =seed #", false},
	[VERB_FORK] = {"fork A B", "n n", false},
	[VERB_HOLDER] = {"holder F A", "n n", false},
	[VERB_INTERRUPT] = {"interrupt ID", "n", false},
	[VERB_KILL] = {"kill A", "n", false},
	[VERB_LEASE] = {"lease A L F read|write OFF LEN [exclusive]",
		"n n n =read|write s s [=exclusive]", true},
	[VERB_LEASES] = {"leases N", "#", false},
	[VERB_LOAD] = {"load A L OFF LEN seed N|zero", "n n s s =seed #", true, "n n s s =zero"},
	[VERB_MAP] = {"map A L", "n n", true},
	[VERB_MOUNT] = {"mount OPTIONS", "*", false},
	[VERB_OPEN] = {"open A F ro|rw", "n n =ro|rw", true},
	[VERB_OTRUNC] = {"otrunc A F", "n n", true},
	[VERB_PARKED] = {"parked ID for TIME", "n =for t", false},
	[VERB_PASS] = {"pass A B", "n n", false},
	[VERB_PIN] = {"pin A P L [OFF LEN] [unbreakable]", "n n n [s s] [=unbreakable]", true},
	[VERB_PINS] = {"pins N", "#", false},
	[VERB_POOL] = {"pool [SIZE] [mkfs options]", "[s] *", false},
	[VERB_PUNCH] = {"punch A F OFF LEN", "n n s s", true},
	[VERB_QUARANTINE] = {"quarantine SIZE", "s", false},
	[VERB_RECLAIM] = {"reclaim A L|never", "n =never", true, "n n"},
	[VERB_RENAME] = {"rename A F G", "n n n", true},
	[VERB_REPEAT] = {"repeat N", "#", false},
	[VERB_RETURN] = {"return A L [OFF LEN]", "n n [s s]", true},
	[VERB_SETPOLICY] = {"setpolicy A F POLICY", "n n w", true},
	[VERB_SIZE] = {"size F SIZE", "n s", false},
	[VERB_SLEEP] = {"sleep TIME", "t", false},
	[VERB_SPARSE] = {"sparse F SIZE", "n s", false},
	[VERB_STOP] = {"stop A", "n", false},
	[VERB_STORE] = {"store A L OFF LEN seed N", "n n s s =seed #", true},
	[VERB_TRUNCATE] = {"truncate A F SIZE", "n n s", true},
	[VERB_UNLINK] = {"unlink A F", "n n", true},
	[VERB_UNPIN] = {"unpin A P", "n n", true},
	[VERB_USER] = {"user A UID", "n #", false},
	[VERB_WAIT] = {"wait ID [=> RESULT] [in LO..HI]", "n", false},
	[VERB_WRITE] = {"write A F OFF LEN seed N", "n n s s =seed #", true},
	[VERB_ZERO] = {"zero A F OFF LEN", "n n s s", true},
};
static_assert(sizeof(rules) / sizeof(rules[0]) == VERB_COUNT, "a rule for every verb");

const char *verb_name(enum verb verb)
{
	static char names[VERB_COUNT][24];
	size_t n = strcspn(rules[verb].form, " ");

	assert(n < sizeof(names[0]));
	if (!names[verb][0])
		memcpy(names[verb], rules[verb].form, n);
	return names[verb];
}

bool verb_is_action(enum verb verb)
{
	return rules[verb].action;
}

const char *result_name(int error)
{
	const char *name;

	if (!error)
		return "OK";
	name = strerrorname_np(error);
	return name ? name : "an unknown error";
}

struct complaint {
	char *text;
	size_t bytes;
};

static int complain(const struct complaint *c, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
static int complain(const struct complaint *c, const char *format, ...)
{
	va_list list;

	va_start(list, format);
	vsnprintf(c->text, c->bytes, format, list);
	va_end(list);
	return -EINVAL;
}

/* ---- scalars --------------------------------------------------------------------------------- */

static int parse_scaled(const char *text, const char *const *units, const uint64_t *factors,
	bool bare, uint64_t *out)
{
	char *end;
	unsigned long long value;

	if (!isdigit((unsigned char)text[0]))
		return -EINVAL;
	errno = 0;
	value = strtoull(text, &end, 10);
	if (errno)
		return -EINVAL;
	if (!*end && (bare || !value)) {
		*out = value;
		return 0;
	}
	for (int i = 0; units[i]; i++)
		if (!strcmp(end, units[i]))
			return __builtin_mul_overflow(value, factors[i], out) ? -EINVAL : 0;
	return -EINVAL;
}

static int parse_size(const char *text, uint64_t *out)
{
	static const char *const units[] = {"K", "M", "G", NULL};
	static const uint64_t factors[] = {1ull << 10, 1ull << 20, 1ull << 30};

	return parse_scaled(text, units, factors, true, out);
}

static int parse_time(const char *text, uint64_t *out)
{
	static const char *const units[] = {"us", "ms", "s", NULL};
	static const uint64_t factors[] = {1000, 1000000, 1000000000};

	return parse_scaled(text, units, factors, false, out);
}

static bool is_name(const char *text)
{
	size_t n = strlen(text);

	/* A slash is let through so that a file in a `dir` can be named. */
	return n >= 1 && n <= SCRIPT_NAME_MAX &&
	       strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_./") ==
		       n;
}

/* Every errno that a Linux system call returns is below this. */
#define ERRNO_MAX 134

static int parse_result(const char *text, int *out)
{
	if (!strcmp(text, "OK")) {
		*out = 0;
		return 0;
	}
	for (int e = 1; e < ERRNO_MAX; e++) {
		const char *name = strerrorname_np(e);

		if (name && !strcmp(name, text)) {
			*out = e;
			return 0;
		}
	}
	return -EINVAL;
}

/* ---- one line -------------------------------------------------------------------------------- */

#define TOKENS_MAX 64
struct tokens {
	char *at[TOKENS_MAX];
	unsigned count;
};

static int split_line(char *line, struct tokens *out, const struct complaint *c)
{
	char *save = NULL;

	line[strcspn(line, "\r")] = 0;
	out->count = 0;
	for (char *t = strtok_r(line, " \t", &save); t; t = strtok_r(NULL, " \t", &save)) {
		if (out->count == TOKENS_MAX)
			return complain(c, "more than %d words in a line", TOKENS_MAX);
		out->at[out->count++] = t;
	}
	return 0;
}

/* "=> RESULT" at the end, if it is there: the tokens that it takes. */
static int parse_result_token(struct tokens *t, struct statement *st, const struct complaint *c)
{
	char *last = t->at[t->count - 1];
	unsigned used = 0;

	if (t->count >= 2 && !strcmp(t->at[t->count - 2], "=>")) {
		used = 2;
	} else if (t->count >= 2 && !strncmp(last, "=>", 2) && last[2]) {
		last += 2;
		used = 1;
	}
	if (!used)
		return 0;
	if (parse_result(last, &st->result))
		return complain(c, "'%s' is neither OK nor the name of an errno", last);
	if (st->has_result)
		return complain(c, "two results are expected");
	st->has_result = true;
	t->count -= used;
	return 0;
}

static int parse_range(struct tokens *t, struct statement *st, const struct complaint *c)
{
	char *range = t->at[t->count - 1], *dots = strstr(range, "..");

	if (t->count < 2 || strcmp(t->at[t->count - 2], "in") || !dots)
		return 0;
	*dots = 0;
	if (parse_time(range, &st->low_ns) || parse_time(dots + 2, &st->high_ns) ||
		st->low_ns > st->high_ns || st->has_range)
		return complain(c, "'in' takes LO..HI as times, such as 0..100ms");
	st->has_range = true;
	t->count -= 2;
	return 0;
}

/* Takes "=> RESULT" and "in LO..HI" off the end, in either order. */
static int parse_outcome(struct tokens *t, struct statement *st, const struct complaint *c)
{
	int r = 0;

	for (int i = 0; i < 2 && !r; i++) {
		r = parse_range(t, st, c);
		if (!r)
			r = parse_result_token(t, st, c);
	}
	return r;
}

/* The next element of a pattern into `element`; returns what follows it. */
static const char *next_element(const char *pattern, char *element, size_t bytes)
{
	size_t n = 0;

	while (*pattern == ' ')
		pattern++;
	if (*pattern == '[' || *pattern == ']') {
		element[n++] = *pattern++;
	} else {
		while (*pattern && !strchr(" []", *pattern)) {
			assert(n + 1 < bytes);
			element[n++] = *pattern++;
		}
	}
	element[n] = 0;
	return pattern;
}

static bool word_matches(const char *alternatives, const char *text)
{
	size_t n = strlen(text);

	for (const char *a = alternatives;; a = strchr(a, '|') + 1) {
		size_t length = strcspn(a, "|");

		if (length == n && !memcmp(a, text, n))
			return true;
		if (!a[length])
			return false;
	}
}

/* Does `text` fit the element? Fills the argument if so. */
static bool match_element(const char *element, char *text, struct argument *out)
{
	out->text = text;
	out->value = 0;
	switch (element[0]) {
	case 'n':
		out->kind = ARGUMENT_NAME;
		return is_name(text);
	case 's':
		out->kind = ARGUMENT_SIZE;
		return !parse_size(text, &out->value);
	case 't':
		out->kind = ARGUMENT_TIME;
		return !parse_time(text, &out->value);
	case '#':
		out->kind = ARGUMENT_NUMBER;
		return !parse_scaled(text, (const char *const[]){NULL}, NULL, true, &out->value);
	case '=':
		out->kind = ARGUMENT_WORD;
		return word_matches(element + 1, text);
	case 'w':
		out->kind = ARGUMENT_WORD;
		return true;
	}
	assert(!"a pattern element that nobody knows");
	return false;
}

static bool match_pattern(const char *pattern, struct tokens *t, struct statement *st)
{
	char element[128];
	unsigned at = 1;
	bool optional = false, skipping = false;

	for (;;) {
		pattern = next_element(pattern, element, sizeof(element));
		if (!element[0])
			return at == t->count;
		if (element[0] == '[' || element[0] == ']') {
			optional = element[0] == '[';
			skipping = false;
			continue;
		}
		if (element[0] == '*')
			return true;
		if (skipping)
			continue;
		assert(st->count < SCRIPT_ARGUMENTS_MAX);
		if (at < t->count && match_element(element, t->at[at], &st->arguments[st->count])) {
			st->count++;
			at++;
			optional = false; /* the rest of a begun group has to follow */
		} else if (optional) {
			skipping = true;
		} else {
			return false;
		}
	}
}

static bool match_forms(const struct rule *rule, struct tokens *t, struct statement *st)
{
	if (match_pattern(rule->pattern, t, st))
		return true;
	st->count = 0;
	if (rule->other && match_pattern(rule->other, t, st))
		return true;
	st->count = 0;
	return false;
}

/* What stands behind the arguments: mkfs options, or mount options, which may be apart. */
static int join_rest(struct tokens *t, unsigned from, const char *between, char **out)
{
	size_t bytes = 1;
	char *joined;

	for (unsigned i = from; i < t->count; i++)
		bytes += strlen(t->at[i]) + 1;
	joined = calloc(1, bytes);
	if (!joined)
		return -ENOMEM;
	for (unsigned i = from; i < t->count; i++) {
		if (between[0] == ',' && !strcmp(t->at[i], "-o"))
			continue;
		if (joined[0])
			strcat(joined, between);
		strcat(joined, t->at[i]);
	}
	*out = joined;
	return 0;
}

/* Arguments point into the line: give the statement copies of its own. */
static int own_texts(struct statement *st)
{
	for (unsigned i = 0; i < st->count; i++) {
		st->arguments[i].text = strdup(st->arguments[i].text);
		if (!st->arguments[i].text) {
			st->count = i;
			return -ENOMEM;
		}
	}
	return 0;
}

static int find_verb(const char *text, enum verb *out)
{
	for (int v = 0; v < VERB_COUNT; v++) {
		if (!strcmp(verb_name(v), text)) {
			*out = v;
			return 0;
		}
	}
	return -ENOENT;
}

/* "start ID: STATEMENT"; there may be a blank before the colon, or none behind it. */
static int parse_background(struct tokens *t, struct statement *st, const struct complaint *c)
{
	unsigned from = 2; /* of the statement */
	char *id, *colon;

	if (strcmp(t->at[0], "start"))
		return 0;
	if (t->count < 2)
		return complain(c, "start takes an ID, a colon and a statement: 'start t: ...'");
	id = t->at[1];
	colon = strchr(id, ':');
	if (colon && colon[1]) {
		t->at[1] = colon + 1;
		from = 1;
	} else if (!colon && t->count > 2 && t->at[2][0] == ':') {
		t->at[2]++;
		from = t->at[2][0] ? 2 : 3;
	} else if (!colon) {
		return complain(c, "start takes an ID with a colon behind it: 'start t: ...'");
	}
	if (colon)
		*colon = 0;
	if (!is_name(id))
		return complain(c, "'%s' is not a name", id);
	if (from >= t->count)
		return complain(c, "start takes an ID, a colon and a statement: 'start t: ...'");
	st->background = strdup(id);
	if (!st->background)
		return -ENOMEM;
	t->count -= from;
	memmove(t->at, t->at + from, t->count * sizeof(t->at[0]));
	return 0;
}

static bool has_outcome(enum verb verb)
{
	return verb != VERB_POOL && verb != VERB_MOUNT && verb != VERB_REPEAT && verb != VERB_END;
}

static int check_meaning(const struct statement *st, const struct complaint *c)
{
	const char *name = verb_name(st->verb);

	if (st->background && !rules[st->verb].action)
		return complain(c, "'%s' cannot run in the background", name);
	if ((st->has_result || st->has_range) && !has_outcome(st->verb))
		return complain(c, "'%s' has no result to expect", name);
	return 0;
}

/* "pool 1T": what does not begin with a dash is no option of mkfs's. */
static bool is_size_misread(const struct tokens *t, const struct statement *st)
{
	return st->verb == VERB_POOL && !st->count && t->count > 1 && t->at[1][0] != '-';
}

static int parse_line(char *line, struct statement *st, bool *empty, const struct complaint *c)
{
	struct tokens t;
	int r;

	r = split_line(line, &t, c);
	if (r)
		return r;
	*empty = t.count == 0;
	if (*empty)
		return 0;
	r = parse_background(&t, st, c);
	if (r)
		return r;
	if (find_verb(t.at[0], &st->verb))
		return complain(c, "'%s' is not a statement", t.at[0]);
	r = parse_outcome(&t, st, c);
	if (r)
		return r;
	if (!match_forms(&rules[st->verb], &t, st) || is_size_misread(&t, st))
		return complain(c, "it should be: %s", rules[st->verb].form);
	r = own_texts(st);
	if (!r && (st->verb == VERB_POOL || st->verb == VERB_MOUNT))
		r = join_rest(&t, 1 + st->count, st->verb == VERB_POOL ? " " : ",", &st->rest);
	return r ? r : check_meaning(st, c);
}

/* ---- the whole ------------------------------------------------------------------------------- */

static int pair_repeats(struct script *s, unsigned *line, const struct complaint *c)
{
	unsigned stack[16], depth = 0;

	for (unsigned i = 0; i < s->count; i++) {
		struct statement *st = &s->statements[i];

		*line = st->line;
		if (st->verb == VERB_REPEAT) {
			if (depth == sizeof(stack) / sizeof(stack[0]))
				return complain(c, "repeat is nested too deeply");
			stack[depth++] = i;
		} else if (st->verb == VERB_END) {
			if (!depth)
				return complain(c, "end without a repeat");
			st->partner = stack[--depth];
			s->statements[st->partner].partner = i;
		}
	}
	if (depth) {
		*line = s->statements[stack[depth - 1]].line;
		return complain(c, "repeat without an end");
	}
	return 0;
}

static int append_statement(
	struct script *s, unsigned *room, const struct statement *st, const struct complaint *c)
{
	if (s->count == SCRIPT_STATEMENTS_MAX)
		return complain(c, "more than %d statements", SCRIPT_STATEMENTS_MAX);
	if (s->count == *room) {
		unsigned larger = *room ? *room * 2 : 64;
		struct statement *moved =
			reallocarray(s->statements, larger, sizeof(s->statements[0]));

		if (!moved)
			return -ENOMEM;
		s->statements = moved;
		*room = larger;
	}
	s->statements[s->count++] = *st;
	return 0;
}

static void free_statement(struct statement *st)
{
	for (unsigned i = 0; i < st->count; i++)
		free(st->arguments[i].text);
	free(st->background);
	free(st->rest);
}

/* The next line without its end and comment. 1; 0 at the end of the file, or an error. */
static int read_line(FILE *in, char *text, const struct complaint *c)
{
	bool comment = false;
	unsigned n = 0;
	int byte;

	while ((byte = getc(in)) != EOF && byte != '\n') {
		comment = comment || byte == '#';
		if (comment)
			continue;
		if (!byte)
			return complain(c, "a zero byte");
		if (n == SCRIPT_LINE_MAX)
			return complain(c, "a line of more than %d bytes", SCRIPT_LINE_MAX);
		text[n++] = (char)byte;
	}
	text[n] = 0;
	return byte != EOF || n || comment;
}

int script_parse(FILE *in, struct script *out, unsigned *line, char *why, size_t why_bytes)
{
	const struct complaint c = {why, why_bytes};
	struct script s = {0};
	char text[SCRIPT_LINE_MAX + 1];
	unsigned room = 0;
	int r = 0;

	why[0] = 0;
	for (*line = 1; (r = read_line(in, text, &c)) > 0; ++*line) {
		struct statement st = {.line = *line};
		bool empty = true;

		r = parse_line(text, &st, &empty, &c);
		if (!r && !empty)
			r = append_statement(&s, &room, &st, &c);
		if (r) {
			free_statement(&st);
			break;
		}
	}
	if (!r && ferror(in))
		r = complain(&c, "cannot be read on: %s", strerror(errno));
	if (!r)
		r = pair_repeats(&s, line, &c);
	if (r) {
		script_free(&s);
		return r;
	}
	*out = s;
	return 0;
}

void script_free(struct script *script)
{
	for (unsigned i = 0; i < script->count; i++)
		free_statement(&script->statements[i]);
	free(script->statements);
	*script = (struct script){0};
}
