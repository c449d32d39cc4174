// SPDX-License-Identifier: BSD-2-Clause
/*
 * leasebench.c - measures leasefs against baselines of the same run.
 *
 * Nothing here is judged by absolute time (but for the few limits that are promises): a figure of
 * ours stands beside the figure of a baseline that was measured in turns with it on the same
 * processor. Client and server share one processor: a FUSE round trip takes 6 to 8 us so, against
 * 40 us across two idle ones, where the wake-up of the other processor hides everything else.
 *
 * It starts servers and pools of its own and removes them at any exit.
 */
#include <errno.h>
#include <getopt.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench.h"
#include "report.h"
#include "server.h"

static const struct {
	const char *name;
	int (*run)(struct bench *b);
	const char *about;
} groups[] = {
	{"data", data_group, "reads and writes of one file, two writers"},
	{"metadata", metadata_group, "create, chmod, rename, unlink, mkdir, rmdir"},
	{"tree", tree_group, "unpacking and removing 20,000 files (rows of the group metadata)"},
	{"lease", lease_group, "grant, return, pins; truncate and memory beside a million leases"},
	{"mapping", mapping_group,
		"leased mappings beside bare ones; leasing, mapping, giving way"},
	{"arbitration", arbitration_group,
		"a truncate that recalls; work beside a thousand that wait"},
	{"scale", scale_group,
		"a million names, a million extents, 1 TiB, mount, recovery, memory"},
};
#define GROUPS (sizeof(groups) / sizeof(groups[0]))

static struct bench bench = {.cpu = -1, .second_cpu = -1, .seed = 1, .pool_dir = "/dev/shm"};

int lease_group(struct bench *b)
{
	int result = lease_calls(b);

	return lease_crowd(b) != 0 ? -1 : result;
}

int mapping_group(struct bench *b)
{
	int (*const parts[])(struct bench * b) = {
		mapping_access, mapping_whole, mapping_pieces, mapping_managed};
	int result = 0;

	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		if (parts[i](b) != 0)
			result = -1;
	}
	return result;
}

int arbitration_group(struct bench *b)
{
	int result = arbitration_recall(b);

	return arbitration_parked(b) != 0 ? -1 : result;
}

int scale_group(struct bench *b)
{
	int result = scale_directory(b);

	if (scale_extents(b) != 0)
		result = -1;
	if (scale_sparse(b) != 0)
		result = -1;
	return result;
}

static void usage(FILE *out)
{
	fprintf(out, "usage: leasebench [options]\n"
		     "  --group G       only this group (may be given again)\n"
		     "  --quick         fewer rounds and smaller sizes\n"
		     "  --json          one JSON object a row\n"
		     "  --check         exit status 3 if a target is missed\n"
		     "  --pool-dir DIR  where private pools are made (/dev/shm)\n"
		     "  --cpu N         the processor to share (the first one allowed)\n"
		     "  --seed N        of random places (1)\n"
		     "groups:\n");
	for (size_t i = 0; i < GROUPS; i++)
		fprintf(out, "  %-12s    %s\n", groups[i].name, groups[i].about);
}

static int choose_processors(void)
{
	cpu_set_t allowed;

	if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0) {
		perror("leasebench: sched_getaffinity");
		return -1;
	}
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (!CPU_ISSET(cpu, &allowed))
			continue;
		if (bench.cpu < 0)
			bench.cpu = cpu;
		else if (cpu != bench.cpu && bench.second_cpu < 0)
			bench.second_cpu = cpu;
	}
	return server_pin(0, bench.cpu, -1);
}

static void clean_up(void)
{
	server_discard_all();
	if (bench.work[0] != '\0')
		rmdir(bench.work);
}

/*
 * exit() is not safe in a handler, but a run that is interrupted stands in a system call of its own
 * loops nearly always, and mounts that stay behind are worse.
 */
static void on_signal(int signal_number)
{
	signal(SIGPIPE, SIG_IGN); /* what is still to be printed may have no reader */
	exit(128 + signal_number);
}

static int make_work_directory(void)
{
	const char *base = getenv("TMPDIR") != NULL ? getenv("TMPDIR") : "/tmp";

	snprintf(bench.work, sizeof(bench.work), "%s/leasebench.XXXXXX", base);
	if (mkdtemp(bench.work) == NULL) {
		perror(bench.work);
		bench.work[0] = '\0';
		return -1;
	}
	return 0;
}

static int select_group(bool selected[GROUPS], const char *name)
{
	for (size_t i = 0; i < GROUPS; i++) {
		if (strcmp(groups[i].name, name) == 0) {
			selected[i] = true;
			return 0;
		}
	}
	fprintf(stderr, "leasebench: no such group: %s\n", name);
	return -1;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {{"group", required_argument, NULL, 'g'},
		{"quick", no_argument, NULL, 'q'}, {"json", no_argument, NULL, 'j'},
		{"check", no_argument, NULL, 'c'}, {"pool-dir", required_argument, NULL, 'p'},
		{"cpu", required_argument, NULL, 'u'}, {"seed", required_argument, NULL, 's'},
		{"help", no_argument, NULL, 'h'}, {0}};
	bool json = false, check = false, some = false, selected[GROUPS] = {false};
	int option, result = 0;

	while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		switch (option) {
		case 'g':
			some = true;
			if (select_group(selected, optarg) != 0)
				return 2;
			break;
		case 'q':
			bench.quick = true;
			break;
		case 'j':
			json = true;
			break;
		case 'c':
			check = true;
			break;
		case 'p':
			bench.pool_dir = optarg;
			break;
		case 'u':
			bench.cpu = atoi(optarg);
			break;
		case 's':
			bench.seed = strtoull(optarg, NULL, 0);
			break;
		case 'h':
			usage(stdout);
			return 0;
		default:
			usage(stderr);
			return 2;
		}
	}
	if (optind != argc) {
		usage(stderr);
		return 2;
	}
	if (server_find_programs() != 0 || choose_processors() != 0 || make_work_directory() != 0)
		return 1;
	atexit(clean_up);
	signal(SIGINT, on_signal);
	signal(SIGTERM, on_signal);
	signal(SIGHUP, on_signal);
	signal(SIGPIPE, on_signal);
	report_begin(json);
	for (size_t i = 0; i < GROUPS; i++) {
		if ((!some || selected[i]) && groups[i].run(&bench) != 0) {
			fprintf(stderr, "leasebench: group %s could not be run to its end\n",
				groups[i].name);
			result = 1;
		}
	}
	if (result == 0 && check && report_missed() > 0)
		result = 3;
	return result;
}
