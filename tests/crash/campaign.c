// SPDX-License-Identifier: BSD-2-Clause
/*
 * campaign.c - the program `explore`: many scripts, on all processors.
 *
 *	explore [--media pmem|strict|relaxed] [--depth 1..3] [--long N] [--seed S] [--hours H]
 *		[--seconds S] [--images N] [--workers W] [--least-states N] [--save FILE]
 *		[--refuse-syncs] [--plant NAME [--must-find]]
 *	explore --replay FILE
 *
 * First all sequences of up to `depth` operations of the vocabulary, each explored in its last
 * operation (the ones before it are sequences of their own); then `long` random ones, or as many
 * as the time allows. --refuse-syncs: each of them again with each sync of it refused (run.h).
 * Workers are processes, each with a pool and an explorer of its own.
 *
 * Exit status: 0 nothing found, 1 something was, 2 it could not be tried; with --must-find 0 and 1
 * change places. What is found is shrunk and printed as a script, which --replay takes.
 */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bed.h"
#include "explore.h"
#include "planted.h"
#include "scratch.h"
#include "shrink.h"

#define WORKERS_MAX 64u
#define PROGRESS_S 60
#define LONG_OPS_MIN 20u
#define LONG_OPS_MAX 120u

/* Shared with a worker. */
struct worker {
	pid_t pid;
	struct script script; /* that it is at */
	struct explore_stats stats;
	struct finding finding;
	double processor_seconds;
	bool found;
	bool done;
};

static struct {
	enum media_kind media;
	unsigned depth;
	unsigned long_scripts;
	unsigned seed;
	double seconds; /* 0: no limit */
	unsigned workers;
	uint64_t least_states;
	const char *save, *replay, *plant;
	bool must_find;
	bool refuse;
	struct explore_limits limits;
} options = {
	.depth = 2,
	.seed = 1,
	.limits = {.images = 6, .nested_one_in = 8, .nested_images = 6},
};

static double started;
static volatile sig_atomic_t interrupted;

/* Shared by all: a worker that sees `stop` ends after the script that it is at. */
struct sharing {
	_Atomic bool stop;
	struct worker workers[WORKERS_MAX];
};
static struct sharing *shared;

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static bool time_is_up(void)
{
	if (shared && atomic_load(&shared->stop))
		return true;
	return options.seconds > 0 && now() - started >= options.seconds;
}

/* ---- a worker -------------------------------------------------------------------------------- */

static bool try_script(struct worker *w, unsigned from, const struct explore_limits *limits)
{
	uint64_t refused;

	w->found = explore(&w->script, from, limits, &w->stats, &w->finding) != 0;
	w->processor_seconds = (double)clock() / CLOCKS_PER_SEC;
	if (!options.refuse)
		return !w->found;
	do {
		refused = w->stats.refused;
		w->script.refuse++;
		if (!w->found)
			w->found = explore(&w->script, 0, limits, &w->stats, &w->finding) != 0;
		w->processor_seconds = (double)clock() / CLOCKS_PER_SEC;
	} while (!w->found && w->stats.refused > refused);
	return !w->found;
}

/* Sequence number n of `length` operations of the vocabulary. False: not on these media. */
static bool make_sequence(uint64_t n, unsigned length, struct script *out)
{
	*out = (struct script){
		.media = options.media,
		.base = (unsigned)(n / script_vocabulary_count % BED_BASES),
		.seed = options.seed + (unsigned)n,
		.count = length,
	};
	for (unsigned i = length; i > 0; i--) {
		out->ops[i - 1] = script_vocabulary[n % script_vocabulary_count];
		n /= script_vocabulary_count;
		if (options.media == MEDIA_RELAXED && !script_fit_relaxed(&out->ops[i - 1]))
			return false;
	}
	return true;
}

static bool try_sequences(struct worker *w, unsigned number, unsigned length)
{
	/* There are many triples, and their images are much alike. */
	struct explore_limits fewer = {
		.images = options.limits.images / 2,
		.nested_one_in = options.limits.nested_one_in * 2,
		.nested_images = options.limits.nested_images,
	};
	uint64_t count = 1;

	for (unsigned i = 0; i < length; i++)
		count *= script_vocabulary_count;
	for (uint64_t n = number; n < count && !time_is_up(); n += options.workers)
		if (make_sequence(n, length, &w->script) &&
			!try_script(w, length, length < 3 ? &options.limits : &fewer))
			return false;
	return true;
}

static void make_long(unsigned n, struct script *out)
{
	unsigned seed = options.seed * 1000003u + n;

	*out = (struct script){
		.media = options.media,
		.base = n % 2,
		.seed = seed,
	};
	out->count = LONG_OPS_MIN + (unsigned)rand_r(&seed) % (LONG_OPS_MAX - LONG_OPS_MIN);
	for (unsigned i = 0; i < out->count; i++)
		do {
			script_random_op(&seed, &out->ops[i]);
		} while (options.media == MEDIA_RELAXED && !script_fit_relaxed(&out->ops[i]));
}

static void work(struct worker *w, unsigned number)
{
	explorer_make(options.media);
	for (unsigned length = 1; length <= options.depth; length++)
		if (!try_sequences(w, number, length))
			goto out;
	for (unsigned n = number; n < options.long_scripts && !time_is_up(); n += options.workers) {
		make_long(n, &w->script);
		if (!try_script(w, 0, &options.limits))
			goto out;
	}
	w->done = !interrupted;
out:
	explorer_remove();
}

/* ---- all of them ----------------------------------------------------------------------------- */

static void start(struct worker *w, unsigned number)
{
	fflush(NULL);
	pid_t pid = fork();

	if (pid < 0) {
		perror("fork");
		exit(2);
	}
	if (pid == 0) {
		work(w, number);
		exit(0);
	}
	w->pid = pid;
}

static uint64_t report(void)
{
	struct explore_stats sum = {0};
	double seconds = now() - started, processor_seconds = 0;

	for (unsigned i = 0; i < options.workers; i++) {
		const struct explore_stats *s = &shared->workers[i].stats;

		processor_seconds += shared->workers[i].processor_seconds;
		sum.scripts += s->scripts;
		sum.operations += s->operations;
		sum.fences += s->fences;
		sum.states += s->states;
		sum.nested += s->nested;
		sum.duplicates += s->duplicates;
		sum.refused += s->refused;
	}
	printf("%s, seed %u: %lu sequences, %lu fences, %lu states (%lu of them crashes in "
	       "recovery), %lu more were duplicates; %.1f s, %.0f states/s with %u workers; %.1f s "
	       "of processor time, %.0f states/s of it\n",
		media_names[options.media], options.seed, (unsigned long)sum.scripts,
		(unsigned long)sum.fences, (unsigned long)sum.states, (unsigned long)sum.nested,
		(unsigned long)sum.duplicates, seconds, (double)sum.states / seconds,
		options.workers, processor_seconds, (double)sum.states / processor_seconds);
	if (options.refuse)
		printf("%lu syncs were refused\n", (unsigned long)sum.refused);
	fflush(stdout);
	return sum.states;
}

static void on_interrupt(int number)
{
	interrupted = number;
}

/* What ended; NULL: it was done with everything. */
static struct worker *reap(pid_t pid, int status)
{
	for (unsigned i = 0; i < options.workers; i++) {
		struct worker *w = &shared->workers[i];

		if (w->pid != pid)
			continue;
		w->pid = 0;
		if (w->done || (!w->found && interrupted))
			return NULL;
		if (!w->found)
			snprintf(w->finding.text, sizeof(w->finding.text),
				"the process ended, status %#x", status);
		return w;
	}
	return NULL;
}

/* Which worker ended with a finding, or by itself; NULL: none. The others end then, too. */
static struct worker *await(const sigset_t *child_signal)
{
	const struct timespec progress = {.tv_sec = PROGRESS_S};
	unsigned running = options.workers;
	struct worker *bad = NULL;

	while (running > 0) {
		int status, number = sigtimedwait(child_signal, NULL, &progress);
		pid_t pid;

		if (number < 0 && errno == EAGAIN)
			report();
		if (interrupted)
			atomic_store(&shared->stop, true);
		while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
			struct worker *w = reap(pid, status);

			running--;
			if (!w || bad)
				continue;
			bad = w;
			atomic_store(&shared->stop, true);
		}
	}
	return bad;
}

static void save(const struct script *script, const char *text)
{
	FILE *to = fopen(options.save, "w");

	if (!to) {
		perror(options.save);
		return;
	}
	for (const char *line = text; *line; line += *line == '\n') {
		size_t bytes = strcspn(line, "\n");

		fputs("# ", to);
		fwrite(line, 1, bytes, to);
		fputc('\n', to);
		line += bytes;
	}
	script_print(script, to);
	if (fclose(to))
		perror(options.save);
}

static int campaign(void)
{
	struct sigaction action = {.sa_handler = on_interrupt};
	struct worker *bad;
	sigset_t child_signal;
	uint64_t states;

	shared = mmap(
		NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED) {
		perror("mmap");
		return 2;
	}
	/* One for all, so that what a worker leaves behind goes with it. */
	media_place(scratch_directory(access("/dev/shm", W_OK) ? NULL : "/dev/shm"));
	sigemptyset(&child_signal);
	sigaddset(&child_signal, SIGCHLD);
	sigprocmask(SIG_BLOCK, &child_signal, NULL);
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	started = now();
	for (unsigned i = 0; i < options.workers; i++)
		start(&shared->workers[i], i);
	bad = await(&child_signal);
	if (!bad) {
		states = report();
		if (states < options.least_states)
			printf("that is less than %lu\n", (unsigned long)options.least_states);
		return interrupted || states < options.least_states ? 2 : options.must_find;
	}
	printf("after %lu sequences: %s\n", (unsigned long)bad->stats.scripts, bad->finding.text);
	shrink(&bad->script, &options.limits, &bad->finding);
	printf("shrunk: %s\n", bad->finding.text);
	script_print(&bad->script, stdout);
	if (options.save)
		save(&bad->script, bad->finding.text);
	return options.must_find ? 0 : 1;
}

static int replay(void)
{
	struct explore_stats stats = {0};
	static struct finding finding;
	static struct script script;
	FILE *from = fopen(options.replay, "r");
	unsigned line;

	if (!from) {
		perror(options.replay);
		return 2;
	}
	line = script_parse(from, &script);
	fclose(from);
	if (line) {
		fprintf(stderr, "%s: line %u is not understood\n", options.replay, line);
		return 2;
	}
	explorer_make(script.media);
	int found = explore(&script, 0, &options.limits, &stats, &finding);
	explorer_remove();
	printf("%lu states: %s\n", (unsigned long)stats.states,
		found ? finding.text : "nothing found");
	return !found == options.must_find ? 1 : 0;
}

/* ---- options --------------------------------------------------------------------------------- */

static const struct option long_options[] = {
	{"media", required_argument, NULL, 'm'},
	{"depth", required_argument, NULL, 'd'},
	{"long", required_argument, NULL, 'l'},
	{"seed", required_argument, NULL, 's'},
	{"hours", required_argument, NULL, 'H'},
	{"seconds", required_argument, NULL, 'S'},
	{"images", required_argument, NULL, 'i'},
	{"workers", required_argument, NULL, 'w'},
	{"least-states", required_argument, NULL, 'n'},
	{"save", required_argument, NULL, 'o'},
	{"replay", required_argument, NULL, 'r'},
	{"plant", required_argument, NULL, 'p'},
	{"must-find", no_argument, NULL, 'f'},
	{"refuse-syncs", no_argument, NULL, 'e'},
	{0},
};

static bool set_option(int option, const char *value)
{
	switch (option) {
	case 'm':
		for (int i = 0; i < MEDIA_KINDS; i++)
			if (strcmp(value, media_names[i]) == 0) {
				options.media = (enum media_kind)i;
				return true;
			}
		return false;
	case 'd':
		options.depth = (unsigned)atoi(value);
		return options.depth <= 3;
	case 'l':
		options.long_scripts = (unsigned)strtoul(value, NULL, 10);
		return true;
	case 's':
		options.seed = (unsigned)strtoul(value, NULL, 10);
		return true;
	case 'H':
		options.seconds = atof(value) * 3600;
		options.long_scripts = UINT32_MAX;
		return options.seconds > 0;
	case 'S':
		options.seconds = atof(value);
		return options.seconds > 0;
	case 'i':
		options.limits.images = (unsigned)atoi(value);
		return true;
	case 'w':
		options.workers = (unsigned)atoi(value);
		return options.workers > 0 && options.workers <= WORKERS_MAX;
	case 'n':
		options.least_states = strtoull(value, NULL, 10);
		return true;
	case 'o':
		options.save = value;
		return true;
	case 'r':
		options.replay = value;
		return true;
	case 'p':
		options.plant = value;
		return plant_by_name(value);
	case 'e':
		options.refuse = true;
		return true;
	case 'f':
		options.must_find = true;
		return true;
	default:
		return false;
	}
}

int main(int argc, char **argv)
{
	long processors = sysconf(_SC_NPROCESSORS_ONLN);
	int option;

	options.workers = processors < 1 ? 1 : processors < 16 ? (unsigned)processors : 16;
	while ((option = getopt_long(argc, argv, "", long_options, NULL)) != -1)
		if (!set_option(option, optarg)) {
			fprintf(stderr, "%s: what is this? The file campaign.c says how\n",
				argv[optind - 1]);
			return 2;
		}
	if (options.replay)
		return replay();
	return campaign();
}
