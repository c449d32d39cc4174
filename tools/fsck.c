// SPDX-License-Identifier: BSD-2-Clause
/*
 * fsck.c - fsck.leasefs: checks a pool that nobody has mounted, and repairs it.
 *
 * The checking is verify.c's; here are the options, the questions and the exit status of fsck(8).
 *   -n      changes nothing: the pool is opened read-only, its journal replayed in memory
 *   -y      repairs
 *   neither asks on a terminal; without one as -n
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "process.h"
#include "progress.h"
#include "verify.h"

enum {
	EXIT_CLEAN = 0,
	EXIT_CORRECTED = 1,
	EXIT_UNCORRECTED = 4,
	EXIT_OPERATIONAL = 8,
	EXIT_USAGE = 16
};

#define LOCK_WAIT_MS 5000u  /* a daemon may still be ending after its umount has returned */
#define FINDINGS_SHOWN 200u /* the rest is counted; -v shows all */

enum mode { MODE_ASK, MODE_NO, MODE_YES };

struct checker {
	enum mode mode;
	bool verbose;
	bool retag;
	bool all; /* answered "a": yes to all further questions */
	uint64_t shown;
	struct progress progress;
};

static const char usage_text[] =
	"usage: fsck.leasefs [-n|-y] [-v] [--retag] POOL\n"
	"  -n  say what is wrong, change nothing\n"
	"  -y  repair what can be repaired; -a and -p are the same\n"
	"  -v  tell what is being done, and every finding\n"
	"  --retag        take a data region for the pool's that its tag says is not, or not of\n"
	"                 this time\n"
	"  -h, --help     this text\n"
	"  -V, --version  the version\n"
	"Without -n or -y it asks, or does as with -n if there is no terminal.\n"
	"Exit status: 0 clean, 1 repaired, 4 damage is left, 8 could not check, 16 usage.\n";

static void on_found(void *context, const struct verify_finding *finding)
{
	struct checker *k = context;

	progress_clear(&k->progress);
	if (k->verbose || k->shown < FINDINGS_SHOWN)
		printf("%s\n", finding->text);
	else if (k->shown == FINDINGS_SHOWN)
		printf("(more is counted but not shown: use -v)\n");
	k->shown++;
}

static bool on_confirm(void *context, const struct verify_finding *finding)
{
	struct checker *k = context;
	char line[64];

	(void)finding;
	if (k->mode != MODE_ASK || k->all)
		return true;
	for (;;) {
		printf("  do it? [y]es, [n]o, [a]ll: ");
		fflush(stdout);
		if (!fgets(line, sizeof(line), stdin))
			return false;
		if (line[0] == 'a')
			k->all = true;
		if (line[0] == 'y' || line[0] == 'a')
			return true;
		if (line[0] == 'n')
			return false;
	}
}

static void on_progress(void *context, enum verify_phase phase, uint64_t done, uint64_t total)
{
	struct checker *k = context;

	if (k->verbose && total == 0)
		printf("checking %s\n", verify_phase_name(phase));
	progress_step(&k->progress, verify_phase_name(phase), done, total);
}

/* Opens the pool, with what help it needs. 0, or an exit status in *status and -1. */
static int open_pool(struct checker *k, const struct core_options *pool,
	const struct verify_options *options, struct verify_report *report, struct core **c,
	int *status)
{
	struct diag d = {0};
	int r = core_open(pool, c, &d);

	if (r == -EUCLEAN) {
		r = verify_rescue(pool, options, report, &d);
		if (r == 0)
			r = core_open(pool, c, &d);
	}
	if (r == 0)
		return 0;
	progress_clear(&k->progress);
	*status = r == -EUCLEAN || r == -EMEDIUMTYPE ? EXIT_UNCORRECTED : EXIT_OPERATIONAL;
	if (r != -EUCLEAN || report->found == 0)
		fprintf(stderr, "fsck.leasefs: %s\n", d.text[0] ? d.text : strerror(-r));
	else
		printf("%s: the pool cannot be opened as it is\n", pool->pool);
	return -1;
}

static void tell_opened(struct core *c, const char *pool)
{
	struct core_info info;

	core_get_info(c, &info);
	printf("%s: leasefs %u.%u, uuid %s%s%s\n", pool, info.format_major, info.format_minor,
		info.uuid, info.label[0] ? ", label " : "", info.label);
	if (info.power_lost)
		printf("the journal went back to the last sync, after a loss of power\n");
	else if (!info.was_clean)
		printf("not closed in good order: %" PRIu64 " journal records replayed, %" PRIu64
		       " inodes finished\n",
			info.recovered_records, info.recovered_inodes);
}

static int verdict(struct checker *k, const char *pool, const struct verify_report *rescue,
	const struct verify_report *report)
{
	uint64_t found = rescue->found + report->found;
	uint64_t repaired = rescue->repaired + report->repaired;

	printf("%s: %" PRIu64 " inodes, %" PRIu64 " directories, %" PRIu64 " names, %" PRIu64
	       " data and %" PRIu64 " metadata blocks: ",
		pool, report->inodes, report->directories, report->names, report->data_blocks,
		report->meta_blocks);
	if (report->left > 0) {
		printf("%" PRIu64 " found, %" PRIu64 " left%s\n", found, report->left,
			k->mode == MODE_NO ? " (-n: nothing was changed)" : "");
		return EXIT_UNCORRECTED;
	}
	if (repaired > 0) {
		printf("%" PRIu64 " found, all repaired\n", found);
		return EXIT_CORRECTED;
	}
	printf("clean\n");
	return EXIT_CLEAN;
}

static int check(struct checker *k, const char *pool)
{
	const struct core_options open_options = {
		.pool = pool,
		.durability = DURABILITY_STRICT,
		.read_only = k->mode == MODE_NO,
		.lock_wait_ms = LOCK_WAIT_MS,
		.accept_regions = k->retag,
	};
	const struct verify_options options = {
		.repair = k->mode != MODE_NO,
		.found = on_found,
		.confirm = on_confirm,
		.progress = on_progress,
		.context = k,
	};
	struct verify_report rescue = {0}, report;
	struct core *c;
	int status = EXIT_OPERATIONAL;

	progress_begin(&k->progress);
	if (open_pool(k, &open_options, &options, &rescue, &c, &status) < 0)
		return status;
	if (k->verbose)
		tell_opened(c, pool);
	int r = verify_core(c, &options, &report);
	int closed = core_close(c);
	progress_clear(&k->progress);
	if (r == 0)
		r = closed;
	if (r < 0) {
		fprintf(stderr, "fsck.leasefs: %s: %s\n", pool, strerror(-r));
		return EXIT_OPERATIONAL;
	}
	return verdict(k, pool, &rescue, &report);
}

int main(int argc, char **argv)
{
	struct checker k = {.mode = MODE_ASK};
	static const struct option long_options[] = {
		{"retag", no_argument, NULL, 'r'},
		{"help", no_argument, NULL, 'h'},
		{"version", no_argument, NULL, 'V'},
		{NULL, 0, NULL, 0},
	};
	int option;

	if (process_begin())
		return EXIT_OPERATIONAL; /* there is nothing to say it on */
	/* -a and -p are what fsck(8) and the boot scripts pass for "repair without questions". */
	while ((option = getopt_long(argc, argv, "nyapvhV", long_options, NULL)) != -1) {
		switch (option) {
		case 'n':
		case 'y':
		case 'a':
		case 'p':
			if (k.mode != MODE_ASK && (k.mode == MODE_NO) != (option == 'n')) {
				fprintf(stderr, "fsck.leasefs: -n and -y exclude each other\n");
				return EXIT_USAGE;
			}
			k.mode = option == 'n' ? MODE_NO : MODE_YES;
			break;
		case 'v':
			k.verbose = true;
			break;
		case 'r':
			k.retag = true;
			break;
		case 'h':
			fputs(usage_text, stdout);
			return 0;
		case 'V':
			printf("fsck.leasefs %s\n", LEASEFS_VERSION);
			return 0;
		default:
			fputs(usage_text, stderr);
			return EXIT_USAGE;
		}
	}
	if (optind != argc - 1 || argv[optind][0] == '\0') {
		fputs(usage_text, stderr);
		return EXIT_USAGE;
	}
	if (k.mode == MODE_ASK && !(isatty(STDIN_FILENO) && isatty(STDOUT_FILENO)))
		k.mode = MODE_NO;
	return check(&k, argv[optind]);
}
