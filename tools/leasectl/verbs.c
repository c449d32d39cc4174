// SPDX-License-Identifier: BSD-2-Clause
/* verbs.c - what leasectl can do: one row each, and the help that comes from it. */
#include <string.h>

#include "leasectl.h"

/* Options that a verb knows. */
#define MAY_JSON 1u
#define MAY_SVG 2u
#define MAY_ONCE 4u
#define MAY_ALL 8u
#define MAY_SORT 16u
#define MAY_SESSION 32u
#define MAY_OUT 64u
#define MAY_INTERVAL 128u

static const char *const option_help[] = {
	"--json              for programs: one document, or one a line",
	"--svg               draw it",
	"--once              once, instead of going on",
	"--all               begin with the oldest that the daemon remembers",
	"--sort COLUMN       by session, pid, held, inode, age or left",
	"--session N         of this session alone",
	"-o, --output OUT    into this file",
	"--interval SECONDS  between two pictures; 1",
};

struct verb {
	const char *name;
	int (*run)(const struct request *r);
	int least, most; /* words */
	bool takes_file; /* the first word is a file */
	bool takes_pool; /* a pool that is not mounted will do */
	unsigned options;
	const char *words, *help, *detail;
};

static const struct verb verbs[] = {
	{"status", do_status, 0, 0, false, true, MAY_JSON, "",
		"the pool, its media, and what is held and waited for",
		"Media and what they promise, sizes, the policy, and what has happened since the\n"
		"daemon's start. Works on a pool that is not mounted, too.\n"},
	{"top", do_top, 0, 0, false, false, MAY_JSON | MAY_ONCE | MAY_SORT | MAY_INTERVAL, "",
		"live, full screen: who holds, who waits, and how much happens",
		"Keys: q quits; s, l, o, a show sessions, leases, operations or all three; the\n"
		"arrows, PgUp, PgDn, Home and End scroll; < and > choose the column to sort by, r\n"
		"turns the order round; space stops and goes on; + and - change the interval.\n"
		"Without a terminal, and with --once or --json, it prints one picture and ends. "
		"Columns for\n"
		"--sort: session, pid, held, inode, age, left.\n"},
	{"watch", do_watch, 0, 1, true, false, MAY_JSON | MAY_ONCE | MAY_ALL | MAY_SESSION,
		"[FILE]", "what happens, as it happens: grants, recalls, returns",
		"One line for each event, from now on; --all begins with the oldest that is\n"
		"remembered, --once ends with the latest. When this is too slow for the daemon, "
		"it\n"
		"says how many events it has missed.\n"},
	{"leases", do_leases, 0, 1, true, false, MAY_JSON, "[FILE]", "who holds which range",
		"Of a file, or of all. Ordinary users see their own.\n"},
	{"pins", do_pins, 0, 1, true, false, MAY_JSON, "[FILE]", "what is pinned, and how often",
		"A pinned range cannot be truncated or punched; see 'conflicts' for what has "
		"failed.\n"},
	{"conflicts", do_conflicts, 0, 1, true, false, MAY_JSON, "[FILE]",
		"what failed with EBUSY lately, and who held",
		"Latest first. The holder is the process to ask, or to end.\n"},
	{"quarantine", do_quarantine, 0, 0, false, false, MAY_JSON, "",
		"revoked leases, and the space kept for them",
		"The space comes back when the holder acknowledges, or ends; 'release' forces "
		"it.\n"},
	{"layout", do_layout, 1, 1, true, false, MAY_JSON, "FILE", "the extents of a file",
		"Where in which region each part of the file stands.\n"},
	{"map", do_map, 1, 1, true, false, MAY_SVG | MAY_OUT, "FILE",
		"the extents of a file, with the leases and pins on them",
		"As text, or drawn with --svg: leasectl map FILE --svg -o map.svg\n"},
	{"timeline", do_timeline, 0, 1, true, false, MAY_SVG | MAY_OUT | MAY_SESSION, "[FILE]",
		"who asked, who was recalled, and what it ended in",
		"Of a file, or of a session with --session N: as lines, or drawn with --svg. It "
		"goes\n"
		"back as far as the daemon remembers.\n"},
	{"metrics", do_metrics, 0, 0, false, false, MAY_OUT, "",
		"everything that can be counted, for Prometheus",
		"In its text format, for the node exporter's textfile collector:\n"
		"    leasectl /mnt metrics -o /var/lib/prometheus/node-exporter/leasefs.prom\n"},
	{"audit", do_audit, 0, 0, false, false, MAY_JSON, "",
		"processes that map what they hold no lease on",
		"Looks through the mappings of all processes, so it is for root. Exit status 3: "
		"there\n"
		"are some. Such a process can touch bytes that are another file's by now: restart "
		"it.\n"},
	{"recall", do_recall, 1, 3, true, false, 0, "FILE [OFFSET LENGTH]",
		"ask the holders of a file to give it back",
		"Returns when they have, or when what is left was revoked at the deadline; fails "
		"if\n"
		"something is pinned. For the administrator.\n"},
	{"drain", do_drain, 0, 0, false, false, 0, "", "recall everything, grant nothing any more",
		"To be done before maintenance. Mount again to grant leases. For the "
		"administrator.\n"},
	{"release", do_release, 1, 1, false, false, 0, "SESSION",
		"a closed session touches nothing any more: free its quarantine",
		"If that is not true, data of other files is at risk. For the administrator.\n"},
	{"policy", do_policy, 1, 2, true, false, MAY_JSON, "FILE [POLICY]",
		"show or set what meets the leases of a file; '' unsets",
		"Such as recall:2s/busy, recall:5s/orphan, or wait; see leasefs(7).\n"},
};
#define VERBS (sizeof(verbs) / sizeof(verbs[0]))

const struct verb *find_verb(const char *name)
{
	for (size_t i = 0; i < VERBS; i++)
		if (!strcmp(verbs[i].name, name))
			return &verbs[i];
	return NULL;
}

bool verb_takes_file(const struct verb *verb)
{
	return verb->takes_file;
}

bool verb_takes_pool(const struct verb *verb)
{
	return verb->takes_pool;
}

bool verb_accepts(const struct verb *verb, const struct request *r)
{
	unsigned asked = (as_json ? MAY_JSON : 0) | (r->svg ? MAY_SVG : 0) |
			 (r->once ? MAY_ONCE : 0) | (r->all ? MAY_ALL : 0) |
			 (r->sort ? MAY_SORT : 0) | (r->session ? MAY_SESSION : 0) |
			 (r->out ? MAY_OUT : 0) | (r->interval_s > 0 ? MAY_INTERVAL : 0);

	for (unsigned i = 0; i < sizeof(option_help) / sizeof(option_help[0]); i++)
		if (asked & ~verb->options & 1u << i)
			fprintf(stderr, "leasectl: %s does not take this option: %s\n", verb->name,
				option_help[i]);
	return r->count >= verb->least && r->count <= verb->most && !(asked & ~verb->options);
}

int verb_run(const struct verb *verb, const struct request *r)
{
	return verb->run(r);
}

int verb_usage(const struct verb *verb, FILE *out)
{
	fprintf(out, "usage: leasectl [MOUNT] %s%s%s%s\n\n%s: %s.\n%s", verb->name,
		verb->words[0] ? " " : "", verb->words, verb->options ? " [OPTION...]" : "",
		verb->name, verb->help, verb->detail);
	if (verb->options)
		fprintf(out, "\n");
	for (unsigned i = 0; i < sizeof(option_help) / sizeof(option_help[0]); i++)
		if (verb->options & 1u << i)
			fprintf(out, "  %s\n", option_help[i]);
	return out == stdout ? LEASECTL_DONE : LEASECTL_USAGE;
}

int verbs_usage(FILE *out)
{
	fprintf(out, "usage: leasectl [POOL-or-MOUNT] VERB [WORD...] [OPTION...]\n"
		     "       leasectl VERB --help\n\n"
		     "Shows what a leasefs mount is doing, and who is in whose way.\n\n");
	for (size_t i = 0; i < VERBS; i++)
		fprintf(out, "  %-10s %-21s %s\n", verbs[i].name, verbs[i].words, verbs[i].help);
	fprintf(out, "\n");
	for (unsigned i = 0; i < sizeof(option_help) / sizeof(option_help[0]); i++)
		fprintf(out, "  %s\n", option_help[i]);
	fprintf(out,
		"  -h, --help          this text, or that of a verb\n"
		"  -V, --version       the version\n"
		"\nThe mount may be left out where a FILE on it is named, or where there is only"
		" one.\nA pool that is not mounted has a status alone.\n\n"
		"A first look:      leasectl /mnt top\n"
		"A failed truncate: leasectl /mnt conflicts FILE\n\n"
		"Exit status: 0; 1 with a sentence; 2: the command line; 3: audit has found"
		" something.\n");
	return out == stdout ? LEASECTL_DONE : LEASECTL_USAGE;
}
