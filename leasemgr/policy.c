// SPDX-License-Identifier: BSD-2-Clause
/* policy.c - see policy.h. */
#include "policy.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

/* The signals that make sense to a program: it can catch them and give way, or it dies of them. */
static const struct {
	const char *name;
	int number;
} signals[] = {
	{"SIGBUS", SIGBUS},
	{"SIGTERM", SIGTERM},
	{"SIGUSR1", SIGUSR1},
	{"SIGUSR2", SIGUSR2},
	{"SIGHUP", SIGHUP},
	{"SIGINT", SIGINT},
	{"SIGIO", SIGIO},
	{"SIGABRT", SIGABRT},
};
#define SIGNALS (sizeof(signals) / sizeof(signals[0]))

static int parse_time(const char *text, size_t n, uint64_t *out)
{
	uint64_t value = 0, unit;
	size_t i = 0;

	for (; i < n && text[i] >= '0' && text[i] <= '9'; i++) {
		value = value * 10 + (uint64_t)(text[i] - '0');
		if (value > LM_RUNG_NS_MAX)
			return -EINVAL;
	}
	if (i == 0)
		return -EINVAL;
	if (n - i == 2 && !memcmp(text + i, "us", 2))
		unit = 1000;
	else if (n - i == 2 && !memcmp(text + i, "ms", 2))
		unit = 1000000;
	else if (n - i == 1 && text[i] == 's')
		unit = 1000000000;
	else
		return -EINVAL;
	if (value > LM_RUNG_NS_MAX / unit)
		return -EINVAL;
	*out = value * unit;
	return 0;
}

static int parse_signal(const char *text, size_t n, uint8_t *out)
{
	for (size_t i = 0; i < SIGNALS; i++) {
		if (n == strlen(signals[i].name) && !memcmp(text, signals[i].name, n)) {
			*out = (uint8_t)signals[i].number;
			return 0;
		}
	}
	return -EINVAL;
}

static bool is(const char *text, size_t n, const char *word)
{
	return n == strlen(word) && !memcmp(text, word, n);
}

static int parse_rung(const char *text, size_t n, struct lm_rung *out)
{
	const char *colon = memchr(text, ':', n);
	size_t name = colon ? (size_t)(colon - text) : n;
	struct lm_rung r = {0};
	int error = 0;

	if (is(text, n, "busy"))
		r.kind = LM_RUNG_BUSY;
	else if (is(text, n, "wait"))
		r.kind = LM_RUNG_WAIT;
	else if (is(text, n, "orphan"))
		r.kind = LM_RUNG_ORPHAN;
	else if (!colon)
		return -EINVAL;
	else if (is(text, name, "recall"))
		r.kind = LM_RUNG_RECALL;
	else if (is(text, name, "kill"))
		r.kind = LM_RUNG_KILL;
	else if (name > 7 && !memcmp(text, "signal=", 7)) {
		r.kind = LM_RUNG_SIGNAL;
		error = parse_signal(text + 7, name - 7, &r.signal);
	} else
		return -EINVAL;
	if (!error && colon)
		error = parse_time(colon + 1, n - name - 1, &r.time_ns);
	if (!error)
		*out = r;
	return error;
}

int lm_policy_parse(const char *text, struct lm_policy *out)
{
	struct lm_policy p = {0};

	if (strlen(text) >= LM_POLICY_TEXT_MAX)
		return -EINVAL;
	for (;;) {
		size_t n = strcspn(text, "/");
		struct lm_rung *r = &p.rungs[p.count];
		bool last = text[n] == '\0';
		int error;

		if (p.count == LM_RUNGS_MAX)
			return -EINVAL;
		error = parse_rung(text, n, r);
		if (error)
			return error;
		if (last != (r->kind >= LM_RUNG_BUSY))
			return -EINVAL;
		if (r->kind == LM_RUNG_RECALL && p.count != 0)
			return -EINVAL;
		p.count++;
		if (last)
			break;
		text += n + 1;
	}
	*out = p;
	return 0;
}

static int print_time(uint64_t ns, char *out, size_t bytes)
{
	if (ns % 1000000000 == 0)
		return snprintf(out, bytes, ":%llus", (unsigned long long)(ns / 1000000000));
	if (ns % 1000000 == 0)
		return snprintf(out, bytes, ":%llums", (unsigned long long)(ns / 1000000));
	return snprintf(out, bytes, ":%lluus", (unsigned long long)(ns / 1000));
}

static const char *signal_name(int number)
{
	for (size_t i = 0; i < SIGNALS; i++)
		if (signals[i].number == number)
			return signals[i].name;
	return "SIG?";
}

void lm_policy_print(const struct lm_policy *p, char *out, size_t bytes)
{
	static const char *const names[] = {"recall", "signal=", "kill", "busy", "wait", "orphan"};
	size_t n = 0;

	_Static_assert(sizeof(names) / sizeof(names[0]) == LM_RUNG_ORPHAN + 1, "a name each");
	assert(bytes >= LM_POLICY_TEXT_MAX && p->count >= 1 && p->count <= LM_RUNGS_MAX);
	for (unsigned i = 0; i < p->count; i++) {
		const struct lm_rung *r = &p->rungs[i];

		n += (size_t)snprintf(out + n, bytes - n, "%s%s%s", i ? "/" : "", names[r->kind],
			r->kind == LM_RUNG_SIGNAL ? signal_name(r->signal) : "");
		if (r->kind < LM_RUNG_BUSY)
			n += (size_t)print_time(r->time_ns, out + n, bytes - n);
		assert(n < bytes);
	}
}

bool lm_policy_is_privileged(const struct lm_policy *p)
{
	for (unsigned i = 0; i < p->count; i++)
		if (p->rungs[i].kind == LM_RUNG_SIGNAL || p->rungs[i].kind == LM_RUNG_KILL)
			return true;
	return false;
}
