// SPDX-License-Identifier: BSD-2-Clause
/* main.c - leasescript FILE...: runs conflict scripts and prints a line for each. */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "run.h"
#include "script.h"

#define SLOW_MAX 1000u

static void usage(FILE *out)
{
	fprintf(out,
		"usage: leasescript [--mount DIR] [--pools DIR] [--data FILE] [--options OPTIONS] "
		"[--slow N] [--keep] "
		"[--trace] "
		"FILE...\n"
		"\n"
		"Runs each conflict script against a real daemon and a real mount, and prints\n"
		"'ok FILE' or 'not ok FILE:LINE: what was expected, what came'.\n"
		"\n"
		"  --mount DIR  use a mount that stands already instead of a private pool\n"
		"  --pools DIR  make the private pools there (/dev/shm)\n"
		"  --data FILE  with that file or device as their data region: what is in it is\n"
		"               lost, and it is as large as it is, whatever a script says\n"
		"  --options OPTIONS\n"
		"               mount private pools with these options, too\n"
		"  --slow N     what may take a time may take N times as long: the machine is "
		"slow\n"
		"  --keep       leave the temporary directory behind\n"
		"  --trace      print each step with its time, to standard error\n"
		"  -h, --help   this text\n"
		"  -V, --version\n"
		"               the version\n"
		"\n"
		"Exit status: 0 if all hold, 1 if one does not, 2 if the command line is wrong.\n");
}

static bool run_file(const char *path, const struct run_options *options)
{
	struct run_report report;
	struct script script;
	char why[400];
	unsigned line;
	FILE *in = fopen(path, "re");
	int r;

	if (!in) {
		printf("not ok %s:0: cannot be read: %s\n", path, strerror(errno));
		return false;
	}
	r = script_parse(in, &script, &line, why, sizeof(why));
	fclose(in);
	if (r) {
		printf("not ok %s:%u: %s\n", path, line, why[0] ? why : strerror(-r));
		return false;
	}
	if (script.count == 0) {
		printf("not ok %s:0: there is no statement in it\n", path);
		return false;
	}
	run_script(&script, options, &report);
	script_free(&script);
	if (report.outcome == RUN_OK)
		printf("ok %s\n", path);
	else if (report.outcome == RUN_SKIPPED)
		printf("ok %s # SKIP %s\n", path, report.text);
	else
		printf("not ok %s:%u: %s\n", path, report.line, report.text);
	return report.outcome != RUN_FAILED;
}

int main(int argc, char **argv)
{
	static const struct option longs[] = {
		{"mount", required_argument, NULL, 'm'},
		{"pools", required_argument, NULL, 'p'},
		{"data", required_argument, NULL, 'd'},
		{"options", required_argument, NULL, 'o'},
		{"slow", required_argument, NULL, 's'},
		{"keep", no_argument, NULL, 'k'},
		{"trace", no_argument, NULL, 't'},
		{"help", no_argument, NULL, 'h'},
		{"version", no_argument, NULL, 'V'},
		{0},
	};
	struct run_options options = {0};
	bool all = true;
	char *end;
	int o;

	signal(SIGPIPE, SIG_IGN);
	setvbuf(stdout, NULL, _IOLBF, 0);
	while ((o = getopt_long(argc, argv, "hV", longs, NULL)) != -1) {
		switch (o) {
		case 'm':
			options.mount = realpath(optarg, NULL);
			if (!options.mount) {
				fprintf(stderr, "leasescript: %s: %s\n", optarg, strerror(errno));
				return 2;
			}
			break;
		case 'p':
			options.pools = realpath(optarg, NULL);
			if (!options.pools) {
				fprintf(stderr, "leasescript: %s: %s\n", optarg, strerror(errno));
				return 2;
			}
			break;
		case 'd':
			options.data = optarg;
			break;
		case 'o':
			options.options = optarg;
			break;
		case 's':
			options.slow = (unsigned)strtoul(optarg, &end, 10);
			if (*end || options.slow < 1 || options.slow > SLOW_MAX) {
				fprintf(stderr, "leasescript: --slow takes 1 to %u\n", SLOW_MAX);
				return 2;
			}
			break;
		case 'k':
			options.keep = true;
			break;
		case 't':
			options.trace = true;
			break;
		case 'h':
			usage(stdout);
			return 0;
		case 'V':
			puts("leasescript " LEASEFS_VERSION);
			return 0;
		default:
			usage(stderr);
			return 2;
		}
	}
	if (optind == argc) {
		usage(stderr);
		return 2;
	}
	for (int i = optind; i < argc; i++)
		all = run_file(argv[i], &options) && all;
	return all ? 0 : 1;
}
