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
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench.h"
#include "plot.h"
#include "progress.h"
#include "report.h"
#include "server.h"

static const struct {
	const char *name;
	int (*run)(struct bench *b);
	unsigned rows;  /* about as many; for the progress bar alone */
	bool has_peers; /* runs on any directory too */
	const char *about;
} groups[] = {
	{"data", data_group, 10, true, "reads and writes of one file, two writers"},
	{"metadata", metadata_group, 6, true, "create, chmod, rename, unlink, mkdir, rmdir"},
	{"tree", tree_group, 2, true,
		"unpacking and removing 20,000 files (rows of the group metadata)"},
	{"lease", lease_group, 16, false,
		"grant, return, pins; truncate and memory beside a million leases"},
	{"mapping", mapping_group, 17, false,
		"leased mappings beside bare ones; leasing, mapping, giving way"},
	{"arbitration", arbitration_group, 8, false,
		"a truncate that recalls; work beside a thousand that wait"},
	{"scale", scale_group, 14, false,
		"a million names, a million extents, 1 TiB, mount, recovery, memory"},
	{"features", features_group, 7, false,
		"what the kernel and libfuse offer: used, and left out"},
};
#define GROUPS (sizeof(groups) / sizeof(groups[0]))

#define PEERS_MAX 8u

struct asked {
	bool json, check, some;
	bool selected[GROUPS]; /* if some */
	const char *plot;
	unsigned peer_count;
	struct peer peers[PEERS_MAX];
};

static pid_t owner;
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

static void list_groups(FILE *out)
{
	for (size_t i = 0; i < GROUPS; i++)
		fprintf(out, "  %-12s %s\n", groups[i].name, groups[i].about);
}

static void usage(FILE *out)
{
	fputs("usage: leasebench [options]\n"
	      "Measures leasefs beside baselines of the same run, in turns, on one processor.\n\n"
	      "  --group G          only this group (may be given again)\n"
	      "  --list             the groups\n"
	      "  --quick            fewer rounds and smaller sizes: a minute, and rough\n"
	      "  --json             one JSON object a row\n"
	      "  --plot FILE.svg    a picture of the rows as well\n"
	      "  --peer NAME=DIR    the groups data, metadata and tree beside any mounted "
	      "directory,\n"
	      "                     too (may be given again)\n"
	      "  --check            exit status 3 if a target is missed\n"
	      "  --pool-dir DIR     where private pools are made (/dev/shm)\n"
	      "  --cpu N            the processor to share (the first one allowed)\n"
	      "  --seed N           of random places (1)\n"
	      "  --help             this text\n\n"
	      "groups:\n",
		out);
	list_groups(out);
	fputs("\nA row: ours, the baseline, their ratio, the spread of the rounds' ratios, the "
	      "target "
	      "of the\nratio. The baseline 'null' is a FUSE server that does nothing. A spread "
	      "above "
	      "0.2 says that\nthe machine was busy: run again. docs/performance.md explains the "
	      "rows.\n"
	      "\n  leasebench --quick --group lease       a first look\n"
	      "  leasebench --plot run.svg              everything, some minutes\n"
	      "  leasebench --peer ext4=/mnt/ext4       beside another filesystem\n",
		out);
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
	/* Where that is allowed, before all others, who run on the same processor too. */
	(void)setpriority(PRIO_PROCESS, 0, -20);
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
	if (getpid() != owner)
		_exit(128 + signal_number); /* a child: it owns nothing */
	signal(SIGPIPE, SIG_IGN);           /* what is still to be printed may have no reader */
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

static int add_peer(struct asked *a, char *argument)
{
	char *dir = strchr(argument, '=');

	if (dir == NULL || dir == argument || dir[1] == '\0') {
		fprintf(stderr, "leasebench: --peer %s: expected NAME=DIR\n", argument);
		return -1;
	}
	if (a->peer_count == PEERS_MAX) {
		fprintf(stderr, "leasebench: more than %u peers\n", PEERS_MAX);
		return -1;
	}
	*dir = '\0';
	a->peers[a->peer_count++] = (struct peer){.name = argument, .dir = dir + 1};
	return 0;
}

/* 0: go on; otherwise the exit status, plus one. */
static int parse(int argc, char **argv, struct asked *a)
{
	static const struct option options[] = {{"group", required_argument, NULL, 'g'},
		{"list", no_argument, NULL, 'l'}, {"quick", no_argument, NULL, 'q'},
		{"json", no_argument, NULL, 'j'}, {"plot", required_argument, NULL, 'o'},
		{"peer", required_argument, NULL, 'e'}, {"check", no_argument, NULL, 'c'},
		{"pool-dir", required_argument, NULL, 'p'}, {"cpu", required_argument, NULL, 'u'},
		{"seed", required_argument, NULL, 's'}, {"help", no_argument, NULL, 'h'}, {0}};
	int option;

	while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		switch (option) {
		case 'g':
			a->some = true;
			if (select_group(a->selected, optarg) != 0)
				return 2 + 1;
			break;
		case 'l':
			list_groups(stdout);
			return 0 + 1;
		case 'q':
			bench.quick = true;
			break;
		case 'j':
			a->json = true;
			break;
		case 'o':
			a->plot = optarg;
			break;
		case 'e':
			if (add_peer(a, optarg) != 0)
				return 2 + 1;
			break;
		case 'c':
			a->check = true;
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
			return 0 + 1;
		default:
			fputs("leasebench --help says more\n", stderr);
			return 2 + 1;
		}
	}
	if (optind == argc)
		return 0;
	fprintf(stderr, "leasebench: %s: there are options only; --help says more\n", argv[optind]);
	return 2 + 1;
}

/* The group itself, then beside each peer. */
static int run_group(const struct asked *a, size_t i)
{
	int result;

	progress_group(groups[i].name);
	result = groups[i].run(&bench);
	for (unsigned k = 0; k < a->peer_count && groups[i].has_peers; k++) {
		bench.peer = &a->peers[k];
		report_peer(bench.peer->name);
		if (groups[i].run(&bench) != 0)
			result = -1;
	}
	bench.peer = NULL;
	report_peer(NULL);
	progress_hide();
	if (result != 0)
		fprintf(stderr, "leasebench: group %s could not be run to its end\n",
			groups[i].name);
	return result;
}

static bool is_asked(const struct asked *a, size_t i)
{
	return !a->some || a->selected[i];
}

int main(int argc, char **argv)
{
	struct asked asked = {0};
	int result = parse(argc, argv, &asked);
	unsigned rows = 0;

	if (result != 0)
		return result - 1;
	if (server_find_programs() != 0 || choose_processors() != 0 || make_work_directory() != 0)
		return 1;
	owner = getpid();
	atexit(clean_up);
	signal(SIGINT, on_signal);
	signal(SIGTERM, on_signal);
	signal(SIGHUP, on_signal);
	signal(SIGPIPE, on_signal);
	for (size_t i = 0; i < GROUPS; i++)
		rows += is_asked(&asked, i)
				? groups[i].rows *
					  (1 + (groups[i].has_peers ? asked.peer_count : 0))
				: 0;
	report_begin(asked.json, asked.plot != NULL);
	progress_begin(rows);
	for (size_t i = 0; i < GROUPS; i++) {
		if (is_asked(&asked, i) && run_group(&asked, i) != 0)
			result = 1;
	}
	if (asked.plot != NULL && plot_write(asked.plot) != 0)
		result = 1;
	if (result == 0 && asked.check && report_missed() > 0)
		result = 3;
	return result;
}
