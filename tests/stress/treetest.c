// SPDX-License-Identifier: BSD-2-Clause
/*
 * treetest.c - random operations on a whole tree, against a model of it.
 *
 *   treetest [--mount] [--seed N] [--ops N] [--batch N] [--small] [--runs N | --seconds N] ...
 *   treetest --replay FILE
 *
 * A failure is shrunk to a short script, which is printed and can be replayed.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <libgen.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "run.h"

#define SMALL_POOL_BYTES (8u << 20)
#define SMALL_META_BYTES (8u << 20)

struct arguments {
	struct run_options run;
	struct script_options script;
	const char *replay;
	const char *save;
	uint64_t runs;
	unsigned seconds;
	unsigned shrink_seconds;
	uint64_t out_of_space;
	bool keep;
	bool mixed; /* each run: other options, by its seed */
};

static const char usage_text[] =
	"usage: treetest [options]\n"
	"  --mount            drive a mounted pool (default: a pool in this process)\n"
	"  --seed N           of the first run (default: random; printed)\n"
	"  --ops N            operations in a run (default 2000)\n"
	"  --batch N          operations between comparisons (default 100)\n"
	"  --runs N           how many, with rising seeds (default 1)\n"
	"  --seconds N        go on with rising seeds for so long\n"
	"  --small            a pool so small that space runs out often\n"
	"  --mixed            small pools, crashes and domains by turns\n"
	"  --no-crash         no crashes and no remounts\n"
	"  --no-verify        do not run the checker\n"
	"  --domains-uid      one data region for each owner\n"
	"  --units            blocks are allocated by 2 MiB (in process)\n"
	"  --options LIST     mount options (--mount)\n"
	"  --programs DIR     build directory with the daemon and the tools (--mount)\n"
	"  --directory DIR    work there (default: a new one in /dev/shm or $TMPDIR)\n"
	"  --timeout N        seconds that one run may take (default 300)\n"
	"  --shrink N         seconds to spend on shrinking a failure (default 120)\n"
	"  --replay FILE      run that script\n"
	"  --save FILE        write the (shrunk) script there too\n"
	"  --keep             leave the pool of a failed run where it is\n"
	"exit status: 0 passed, 1 a difference was found, 2 could not run, 77 no mounts here\n";

enum {
	OPT_MOUNT = 256,
	OPT_SEED,
	OPT_OPS,
	OPT_BATCH,
	OPT_RUNS,
	OPT_SECONDS,
	OPT_SMALL,
	OPT_MIXED,
	OPT_NO_CRASH,
	OPT_NO_VERIFY,
	OPT_DOMAINS,
	OPT_UNITS,
	OPT_OPTIONS,
	OPT_PROGRAMS,
	OPT_DIRECTORY,
	OPT_TIMEOUT,
	OPT_SHRINK,
	OPT_REPLAY,
	OPT_SAVE,
	OPT_KEEP
};

static const struct option long_options[] = {
	{"mount", no_argument, NULL, OPT_MOUNT},
	{"seed", required_argument, NULL, OPT_SEED},
	{"ops", required_argument, NULL, OPT_OPS},
	{"batch", required_argument, NULL, OPT_BATCH},
	{"runs", required_argument, NULL, OPT_RUNS},
	{"seconds", required_argument, NULL, OPT_SECONDS},
	{"small", no_argument, NULL, OPT_SMALL},
	{"mixed", no_argument, NULL, OPT_MIXED},
	{"no-crash", no_argument, NULL, OPT_NO_CRASH},
	{"no-verify", no_argument, NULL, OPT_NO_VERIFY},
	{"domains-uid", no_argument, NULL, OPT_DOMAINS},
	{"units", no_argument, NULL, OPT_UNITS},
	{"options", required_argument, NULL, OPT_OPTIONS},
	{"programs", required_argument, NULL, OPT_PROGRAMS},
	{"directory", required_argument, NULL, OPT_DIRECTORY},
	{"timeout", required_argument, NULL, OPT_TIMEOUT},
	{"shrink", required_argument, NULL, OPT_SHRINK},
	{"replay", required_argument, NULL, OPT_REPLAY},
	{"save", required_argument, NULL, OPT_SAVE},
	{"keep", no_argument, NULL, OPT_KEEP},
	{NULL, 0, NULL, 0},
};

static bool set_number(struct arguments *a, int option, const char *text)
{
	char *end;
	uint64_t v = strtoull(text, &end, 10);
	if (*end || !*text)
		return false;
	switch (option) {
	case OPT_SEED:
		a->script.seed = v;
		return true;
	case OPT_OPS:
		a->script.ops = v;
		return true;
	case OPT_BATCH:
		a->script.batch = (unsigned)v;
		return v > 0;
	case OPT_RUNS:
		a->runs = v;
		return true;
	case OPT_SECONDS:
		a->seconds = (unsigned)v;
		return true;
	case OPT_TIMEOUT:
		a->run.timeout_s = (unsigned)v;
		return true;
	default:
		a->shrink_seconds = (unsigned)v;
		return true;
	}
}

static bool set_option(struct arguments *a, int option, char *text)
{
	switch (option) {
	case OPT_MOUNT:
		a->run.kind = &target_mount;
		a->script.tmpfile = false;
		return true;
	case OPT_SMALL:
		a->run.small = true;
		return true;
	case OPT_MIXED:
		a->mixed = true;
		return true;
	case OPT_NO_CRASH:
		a->script.crash = false;
		return true;
	case OPT_NO_VERIFY:
		a->run.verify = false;
		return true;
	case OPT_DOMAINS:
		a->run.target.domains = 1;
		return true;
	case OPT_UNITS:
		a->run.target.units = true;
		return true;
	case OPT_OPTIONS:
		a->run.target.mount_options = text;
		return true;
	case OPT_PROGRAMS:
		a->run.target.programs = text;
		return true;
	case OPT_DIRECTORY:
		a->run.target.directory = text;
		return true;
	case OPT_REPLAY:
		a->replay = text;
		return true;
	case OPT_SAVE:
		a->save = text;
		return true;
	case OPT_KEEP:
		a->keep = true;
		return true;
	case '?':
		return false;
	default:
		return set_number(a, option, text);
	}
}

static void print_script(const struct script *s, uint64_t seed, FILE *out)
{
	fprintf(out, "# treetest script, seed %" PRIu64 ", %zu operations\n", seed, s->count);
	for (size_t i = 0; i < s->count; i++)
		op_print(&s->ops[i], out);
	fflush(out);
}

static int failed(struct arguments *a, struct script *s, const struct run_result *result)
{
	printf("FAILED at operation %zu (%s), seed %" PRIu64 "\n", result->failed_at, result->how,
		a->script.seed);
	fflush(stdout);
	if (a->shrink_seconds > 0) {
		struct run_result again;
		shrink_script(&a->run, s, a->shrink_seconds);
		fprintf(stderr, "the shortest script that fails, run once more:\n");
		run_script(&a->run, s, &again);
		if (s->count > 400 && !a->save)
			printf("(%zu operations: use --save)\n", s->count);
		else
			print_script(s, a->script.seed, stdout);
	}
	if (a->save) {
		FILE *out = fopen(a->save, "we");
		if (out) {
			print_script(s, a->script.seed, out);
			fclose(out);
		}
	}
	return 1;
}

static int one_run(struct arguments *a)
{
	struct script s = {0};
	struct run_result result;
	if (a->mixed) {
		uint64_t dice = mix64(a->script.seed);
		a->run.small = dice % 3 == 0;
		a->script.crash = dice / 3 % 4 != 0;
		a->run.target.domains = dice / 12 % 4 == 0;
		a->script.huge = dice / 48 % 2;
		a->run.target.units = !a->run.target.domains && dice / 96 % 4 == 0;
	}
	a->run.target.pool_bytes = a->run.small ? SMALL_POOL_BYTES : 0;
	a->run.target.meta_bytes = a->run.small ? SMALL_META_BYTES : 0;
	if (a->replay) {
		if (script_read(a->replay, &s) < 0)
			return 2;
	} else {
		script_generate(&a->script, &s);
	}
	run_script(&a->run, &s, &result);
	a->out_of_space += result.out_of_space;
	int status = result.failed ? failed(a, &s, &result) : 0;
	script_free(&s);
	return status;
}

static int all_runs(struct arguments *a)
{
	struct timespec start, at;
	clock_gettime(CLOCK_MONOTONIC, &start);
	uint64_t done = 0;
	for (;;) {
		int status = one_run(a);
		if (status != 0)
			return status;
		done++;
		clock_gettime(CLOCK_MONOTONIC, &at);
		if (a->seconds ? at.tv_sec - start.tv_sec >= a->seconds : done >= a->runs)
			break;
		a->script.seed++;
	}
	printf("treetest (%s): %" PRIu64 " runs of %" PRIu64 " operations passed, %" PRIu64
	       " times out of space, last seed %" PRIu64 "\n",
		a->run.kind->name, done, a->script.ops, a->out_of_space, a->script.seed);
	return 0;
}

static const char *default_programs(void)
{
	static char path[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);
	if (n < 0)
		return ".";
	path[n] = '\0';
	return dirname(dirname(dirname(path))); /* BUILD/tests/stress/treetest */
}

int main(int argc, char **argv)
{
	static char directory[PATH_MAX];
	struct arguments a = {
		.run = {.kind = &target_core, .verify = true, .timeout_s = 300},
		.script = {.ops = 2000,
			.batch = 100,
			.crash = true,
			.tmpfile = true,
			.slots = true,
			.privileged = geteuid() == 0,
			.file_bytes = 3u << 20},
		.runs = 1,
		.shrink_seconds = 120,
	};
	int option;
	if (getrandom(&a.script.seed, sizeof(a.script.seed), 0) < 0)
		return 2;
	a.script.seed %= 1000000000;
	while ((option = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
		if (!set_option(&a, option, optarg)) {
			fputs(usage_text, stderr);
			return 2;
		}
	}
	umask(0);
	if (a.run.kind == &target_mount && access("/dev/fuse", R_OK | W_OK) < 0) {
		puts("skipped: /dev/fuse is not there or not for us");
		return 77;
	}
	if (!a.run.target.programs)
		a.run.target.programs = default_programs();
	bool own = !a.run.target.directory;
	if (own) {
		const char *base = getenv("TMPDIR");
		if (!base)
			base = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
		snprintf(directory, sizeof(directory), "%s/treetest-XXXXXX", base);
		if (!mkdtemp(directory)) {
			fprintf(stderr, "%s: %s\n", directory, strerror(errno));
			return 2;
		}
		a.run.target.directory = directory;
	}
	if (!a.replay)
		printf("seed %" PRIu64 "\n", a.script.seed);
	fflush(stdout);
	int status = all_runs(&a);
	if (status == 1 && a.keep) {
		printf("kept: %s\n", a.run.target.directory);
		return status;
	}
	remove_pool(a.run.target.directory);
	if (own)
		rmdir(directory);
	return status;
}
