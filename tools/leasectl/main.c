// SPDX-License-Identifier: BSD-2-Clause
/*
 * main.c - leasectl: what a pool or a mount is doing, and what an administrator can do about it.
 *
 *     leasectl [POOL-or-MOUNT] VERB [WORD...] [OPTION...]
 *
 * A mount is asked through its control file. A pool that is mounted somewhere is asked through that
 * mount; one that is not is opened read-only, for `status` alone. When the first word is a verb,
 * the mount is that of the file that the verb is about, or else the only one that there is.
 */
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "leasectl.h"
#include "process.h"

#define INTERVAL_S_MIN 0.1

enum long_option { JSON = 256, SVG, ONCE, ALL, SORT, SESSION, INTERVAL };

static const struct option options[] = {
	{"json", no_argument, NULL, JSON},
	{"svg", no_argument, NULL, SVG},
	{"once", no_argument, NULL, ONCE},
	{"all", no_argument, NULL, ALL},
	{"sort", required_argument, NULL, SORT},
	{"session", required_argument, NULL, SESSION},
	{"interval", required_argument, NULL, INTERVAL},
	{"output", required_argument, NULL, 'o'},
	{"help", no_argument, NULL, 'h'},
	{"version", no_argument, NULL, 'V'},
	{NULL, 0, NULL, 0},
};

struct command_line {
	struct request r;
	bool help;
	const char *words[WORDS_MAX + 2];
	int count;
};

static bool parse_interval(const char *text, double *out)
{
	char *end;
	double s = strtod(text, &end);

	if (end == text || *end || !(s >= INTERVAL_S_MIN && s <= 3600)) {
		fprintf(stderr, "leasectl: --interval takes seconds, from %.1f to 3600\n",
			INTERVAL_S_MIN);
		return false;
	}
	*out = s;
	return true;
}

static bool take_option(int option, struct command_line *c)
{
	switch (option) {
	case JSON:
		as_json = true;
		return true;
	case SVG:
		return c->r.svg = true;
	case ONCE:
		return c->r.once = true;
	case ALL:
		return c->r.all = true;
	case SORT:
		c->r.sort = optarg;
		return true;
	case SESSION:
		if (parse_number(optarg, &c->r.session) && c->r.session)
			return true;
		fprintf(stderr, "leasectl: --session takes the number of a session; see 'top'\n");
		return false;
	case INTERVAL:
		return parse_interval(optarg, &c->r.interval_s);
	case 'o':
		c->r.out = optarg;
		return true;
	case 'h':
		return c->help = true;
	default:
		return false; /* getopt has said why */
	}
}

static int no_mount(const char *where)
{
	fprintf(stderr,
		"leasectl: %s is not a mount of leasefs, nor a pool that is mounted; findmnt -t"
		" fuse.leasefs lists mounts, leasefs POOL MOUNT makes one\n",
		where);
	return LEASECTL_FAILED;
}

/* Inodes are numbers: of another filesystem's file, they would mean some other file here. */
static int not_in_mount(const struct request *r)
{
	fprintf(stderr, "leasectl: %s is not in the mount %s\n", r->words[0], r->where);
	return LEASECTL_FAILED;
}

/* No mount was named. */
static int guess_mount(struct request *r)
{
	unsigned count;

	if (r->inode) {
		if (!find_mount_of(r->words[0], r->where))
			return failed(r->words[0]);
		return 0;
	}
	count = find_only_mount(r->where);
	if (count == 1)
		return 0;
	fprintf(stderr, "leasectl: there %s: say which is meant, as in leasectl /mnt top\n",
		count ? "are several mounts of leasefs" : "is no mount of leasefs here");
	return LEASECTL_FAILED;
}

static int run(const struct verb *verb, struct request *r, const char *typed)
{
	struct stat st, mount;
	int result;

	if (verb_takes_file(verb) && r->count > 0) {
		if (stat(r->words[0], &st))
			return failed(r->words[0]);
		r->inode = st.st_ino;
	}
	if (!typed) {
		result = guess_mount(r);
		if (result)
			return result;
	} else if (!realpath(typed, r->where)) {
		return failed(typed);
	}
	r->control = find_control(r->where, typed ? typed : r->where);
	if (r->control < 0 && !verb_takes_pool(verb))
		return no_mount(r->where);
	if (r->control >= 0 && r->inode && !stat(r->where, &mount) && mount.st_dev != st.st_dev)
		result = not_in_mount(r);
	else
		result = verb_run(verb, r);
	if (r->control >= 0)
		close(r->control);
	return result;
}

int main(int argc, char **argv)
{
	struct command_line c = {.r = {.control = -1}};
	const struct verb *verb = NULL;
	const char *mount = NULL;
	int option, at = 0;

	if (process_begin())
		return LEASECTL_FAILED; /* there is nothing to say it on */
	while ((option = getopt_long(argc, argv, "ho:V", options, NULL)) >= 0) {
		if (option == 'V')
			return puts("leasectl " LEASEFS_VERSION) < 0;
		if (!take_option(option, &c))
			return LEASECTL_USAGE;
	}
	for (; optind < argc; optind++) {
		if (c.count == WORDS_MAX + 2)
			return verbs_usage(stderr);
		c.words[c.count++] = argv[optind];
	}
	if (c.count > 0 && !strcmp(c.words[0], "help")) {
		c.help = true;
		at = 1;
	}
	if (c.count > at + 1 && !find_verb(c.words[at]))
		mount = c.words[at++];
	if (c.count > at)
		verb = find_verb(c.words[at]);
	if (c.help)
		return verb ? verb_usage(verb, stdout) : verbs_usage(stdout);
	if (!verb) {
		if (c.count > at)
			fprintf(stderr,
				"leasectl: there is no verb '%s'; leasectl --help lists them\n",
				c.words[at]);
		return c.count > at ? LEASECTL_USAGE : verbs_usage(stderr);
	}
	c.r.count = c.count - at - 1;
	if (c.r.count > WORDS_MAX)
		return verb_usage(verb, stderr);
	memcpy(c.r.words, c.words + at + 1, (size_t)c.r.count * sizeof(c.words[0]));
	if (!verb_accepts(verb, &c.r))
		return verb_usage(verb, stderr);
	return run(verb, &c.r, mount);
}
