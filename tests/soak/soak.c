// SPDX-License-Identifier: BSD-2-Clause
/*
 * soak.c - a long run of everything at once: does the daemon hold more and more?
 *
 *     soak --leasefs FILE --mkfs FILE --fsck FILE [--seconds N] [--seed N] [--rate N]
 *          [--slack N] [--leak descriptors|memory|quarantine]
 *
 * Eleven workers, each of which does up to --rate rounds a second (0: no limit), on one mount.
 * Figures are taken all the time, and at rest: now and then all workers end their rounds and wait.
 * Then there must be no session, no lease, and nothing in quarantine, and every block and inode
 * must be a file's or free. At the end each series must have been flat (flat.h), and the pool
 * clean. Progress is shown as it goes; the last thing is a table.
 *
 * --slack makes the bounds so many times as wide: a run of seconds has not settled. --leak has one
 * more worker that keeps what it gets: such a run must fail.
 *
 * Exit status: 0 flat, 3 not flat, 1 anything else that is wrong, 2 usage, 77 skipped.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../lib/bed.h"
#include "flat.h"
#include "leftovers.h"
#include "sample.h"
#include "soak.h"

#define WORKERS_MAX 12u
#define POOL_BYTES "256M"
#define SAMPLES 480u /* in all, under load */
#define RESTS 60u    /* at most, and */
/* Not more often; and after one, what is in quarantine for the dead is only filling up again. */
#define REST_S_MIN 6.0
#define SETTLE_S 3.0
#define LEAK_S_MAX 90.0
/* A machine may have much else to do, and this has the lowest priority there is. */
#define ROUND_MS_MAX 120000
#define DRAIN_MS_MAX 30000
#define DRAIN_AGAIN_MS_MAX 3000 /* what has not gone before will not go now */

/* What must be flat, and how far it may move: see docs/reliability.md for why so far. */
struct rule {
	enum figure figure;
	struct bound bound;
};
static const struct rule load_rules[] = {
	{FIGURE_ANONYMOUS, {.amount = 1024, .share = 0.05}},
	{FIGURE_DESCRIPTORS, {.amount = 8, .share = 0.1}},
	{FIGURE_THREADS, {.amount = 4}},
	{FIGURE_MAPPINGS, {.amount = 16, .share = 0.1}},
	{FIGURE_SESSIONS, {.amount = 4, .share = 0.1}},
	{FIGURE_LEASES, {.amount = 8, .share = 0.1}},
	{FIGURE_REVOKED, {.amount = 8, .share = 0.1}},
	{FIGURE_QUARANTINE, {.amount = 1024, .share = 0.1}},
	{FIGURE_FREE, {.amount = 4096, .share = 0.02, .downward = true}},
	{FIGURE_FREE_EXTENTS, {.amount = 64, .share = 0.1}},
	{FIGURE_FREE_LARGEST, {.amount = 4096, .share = 0.1, .downward = true}},
};
static const struct rule rest_rules[] = {
	{FIGURE_ANONYMOUS, {.amount = 1024, .share = 0.05}},
	{FIGURE_DESCRIPTORS, {.amount = 1}},
	{FIGURE_MAPPINGS, {.amount = 16, .share = 0.05}},
	{FIGURE_META_USED, {.amount = 256, .share = 0.05}},
	{FIGURE_FILE_EXTENTS, {.amount = 0.5, .share = 0.1}},
	{FIGURE_NEW_EXTENTS, {.amount = 2}},
	{FIGURE_FREE_EXTENTS, {.amount = 64, .share = 0.1}},
};
/* At rest, each time. */
static const enum figure nothing_left[] = {FIGURE_SESSIONS, FIGURE_LEASES, FIGURE_REVOKED,
	FIGURE_PINS, FIGURE_QUARANTINE, FIGURE_UNACCOUNTED, FIGURE_LOST_INODES};

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

static struct {
	const char *leasefs, *mkfs, *fsck;
	double seconds, rate_hz, slack;
	uint64_t seed;
	enum leak leak;
	struct board *board;
	struct worker worker[WORKERS_MAX];
	pid_t pid[WORKERS_MAX];
	unsigned workers;
	pid_t owner;
	int control;
	uint64_t began_ns;
	struct sample load[SAMPLES * 2], rest[RESTS + 1];
	size_t loads, rests;
	unsigned left_behind; /* at rest */
	bool patient;         /* rests have come to their end so far */
} run = {.seconds = 3600, .seed = 1, .slack = 1, .patient = true};

static volatile sig_atomic_t interrupted;

/* ---- what workers use ------------------------------------------------------------------------ */

uint64_t roll(struct worker *w)
{
	w->rng ^= w->rng << 13;
	w->rng ^= w->rng >> 7;
	w->rng ^= w->rng << 17;
	return w->rng >> 11;
}

void note(struct worker *w, enum count what, unsigned long n)
{
	atomic_fetch_add_explicit(&w->board->count[what], n, memory_order_relaxed);
}

void wrong(const struct worker *w, const char *format, ...)
{
	va_list arguments;

	fprintf(stderr, "worker %u: ", w->number);
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fprintf(stderr, "\n");
	_exit(1);
}

/* ---- workers --------------------------------------------------------------------------------- */

static double seconds_since_start(void)
{
	return (double)(now_ns() - run.began_ns) / 1e9;
}

static void give_up(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));
static void give_up(const char *format, ...)
{
	va_list arguments;

	fprintf(stderr, "after %.1f s: ", seconds_since_start());
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fprintf(stderr, "\n");
	exit(1);
}

static void work(struct worker *w, void (*round)(struct worker *))
{
	struct board *b = w->board;

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	while (!atomic_load(&b->stop)) {
		uint64_t began = now_ns(), spent;

		round(w);
		if (atomic_load(&b->rest)) {
			atomic_fetch_add(&b->resting, 1);
			while (atomic_load(&b->rest))
				(void)poll(NULL, 0, 5);
			atomic_fetch_sub(&b->resting, 1);
		}
		spent = now_ns() - began;
		if (w->rate_hz > 0 && (double)spent < 1e9 / w->rate_hz)
			usleep((useconds_t)((1e9 / w->rate_hz - (double)spent) / 1000));
	}
}

static void start_worker(unsigned number, void (*round)(struct worker *))
{
	unsigned i = run.workers;
	struct worker *w = &run.worker[i];

	*w = (struct worker){.board = run.board,
		.mount = bed_mount,
		.number = number,
		.rng = (run.seed * 1000 + i + 1) * 0x9e3779b97f4a7c15ull | 1,
		.rate_hz = run.rate_hz,
		.leak = run.leak};
	run.pid[i] = fork();
	if (run.pid[i] < 0)
		give_up("fork: %s", strerror(errno));
	if (run.pid[i] == 0) {
		signal(SIGINT, SIG_IGN);
		signal(SIGTERM, SIG_DFL);
		close(run.control);
		work(w, round);
		_exit(0);
	}
	run.workers++;
}

static void start_workers(void)
{
	static const struct {
		void (*round)(struct worker *);
		unsigned count;
	} kinds[] = {{round_tree, 2}, {round_holder, 3}, {round_managed, 1}, {round_changer, 3},
		{round_victim, 2}};

	for (size_t k = 0; k < COUNT_OF(kinds); k++)
		for (unsigned i = 0; i < kinds[k].count; i++)
			start_worker(i, kinds[k].round);
	if (run.leak)
		start_worker(0, round_leak);
}

static void look_after_workers(void)
{
	for (unsigned i = 0; i < run.workers; i++) {
		int status = 0;

		if (run.pid[i] && waitpid(run.pid[i], &status, WNOHANG) != 0) {
			run.pid[i] = 0;
			give_up("worker process %u has found something, or died of it: %#x", i,
				(unsigned)status);
		}
	}
}

static void end_workers(void)
{
	uint64_t end = now_ns() + ROUND_MS_MAX * 1000000ull;

	atomic_store(&run.board->stop, true);
	for (unsigned i = 0; i < run.workers; i++) {
		int status = 0;

		while (run.pid[i] && waitpid(run.pid[i], &status, WNOHANG) == 0) {
			if (now_ns() > end)
				give_up("worker process %u does not end", i);
			(void)poll(NULL, 0, 5);
		}
		run.pid[i] = 0;
		if (status != 0)
			give_up("worker process %u ended with %#x", i, (unsigned)status);
	}
}

static void kill_workers(void)
{
	if (getpid() != run.owner)
		return;
	for (unsigned i = 0; i < run.workers; i++) {
		if (run.pid[i] > 0 && kill(run.pid[i], SIGKILL) == 0)
			(void)waitpid(run.pid[i], NULL, 0);
	}
}

/* ---- rest ------------------------------------------------------------------------------------ */

static bool is_quiet(const struct sample *s)
{
	return s->figure[FIGURE_SESSIONS] == 0 && s->figure[FIGURE_LEASES] == 0 &&
	       s->figure[FIGURE_REVOKED] == 0 && s->figure[FIGURE_QUARANTINE] == 0;
}

static void await_quiet(void)
{
	uint64_t end = now_ns() + ROUND_MS_MAX * 1000000ull;
	struct sample s;

	while (atomic_load(&run.board->resting) < run.workers) {
		if (now_ns() > end)
			give_up("%u of %u workers come to rest within %d ms",
				atomic_load(&run.board->resting), run.workers, ROUND_MS_MAX);
		look_after_workers();
		(void)poll(NULL, 0, 5);
	}
	end = now_ns() + (run.patient ? DRAIN_MS_MAX : DRAIN_AGAIN_MS_MAX) * 1000000ull;
	do {
		int error = sample_take(run.control, &s);

		if (error)
			give_up("looking at the daemon: %s", strerror(-error));
		(void)poll(NULL, 0, 20);
	} while (!is_quiet(&s) && now_ns() < end);
	run.patient = is_quiet(&s);
}

static void rest(void)
{
	struct sample *s = &run.rest[run.rests];
	unsigned left_behind = run.left_behind;
	int error;

	atomic_store(&run.board->rest, true);
	await_quiet();
	s->at_s = seconds_since_start();
	error = sample_rest(run.control, bed_mount, s);
	if (error)
		give_up("looking at the mount at rest: %s", strerror(-error));
	run.rests++;
	for (size_t i = 0; i < COUNT_OF(nothing_left); i++) {
		double value = s->figure[nothing_left[i]];

		if (fabs(value) < 0.001)
			continue;
		printf("%7.1f s  AT REST, and %s: %.3f\n", s->at_s, figure_names[nothing_left[i]],
			value);
		run.left_behind++;
	}
	if (run.left_behind > left_behind)
		leftovers_say(run.control, bed_mount, fabs(s->figure[FIGURE_LOST_INODES]) > 0.001);
	atomic_store(&run.board->rest, false);
}

/* ---- the table ------------------------------------------------------------------------------- */

static bool judge(
	const char *when, const struct sample *samples, size_t count, const struct rule *rule)
{
	static double values[SAMPLES * 2];
	struct bound bound = rule->bound;
	struct flatness f;

	for (size_t i = 0; i < count; i++)
		values[i] = samples[i].figure[rule->figure];
	bound.amount *= run.slack;
	bound.share *= run.slack;
	flat_judge(values, count, &bound, &f);
	printf("%-9s %-22s %10.1f %10.1f %10.1f %+9.1f %9.1f  %s\n", when,
		figure_names[rule->figure], f.start, f.middle, f.end,
		rule->bound.downward ? -f.growth : f.growth,
		rule->bound.downward ? -f.limit : f.limit, f.flat ? "flat" : "NOT FLAT");
	return f.flat;
}

/* How many of the series were not. */
static unsigned judge_all(void)
{
	unsigned not_flat = 0;

	printf("%-9s %-22s %10s %10s %10s %9s %9s\n", "", "", "start", "middle", "end", "growth",
		"bound");
	for (size_t i = 0; i < COUNT_OF(load_rules); i++)
		not_flat += !judge("at work", run.load, run.loads, &load_rules[i]);
	if (run.rests >= FLAT_COUNT_MIN)
		for (size_t i = 0; i < COUNT_OF(rest_rules); i++)
			not_flat += !judge("at rest", run.rest, run.rests, &rest_rules[i]);
	printf("at rest %zu times: no session, lease, pin or quarantine left, all space accounted "
	       "for: %s\n",
		run.rests, run.left_behind ? "NO" : "yes");
	return not_flat;
}

static void say_counts(void)
{
	static const char *const names[COUNTS] = {"operations", "sessions", "leases granted",
		"stores under leases", "changes under them", "EBUSY", "interrupted", "recalls",
		"revocations", "holders dead"};

	printf("%.0f s, seed %llu:", seconds_since_start(), (unsigned long long)run.seed);
	for (unsigned i = 0; i < COUNTS; i++)
		printf("%s %lu %s", i ? "," : "", atomic_load(&run.board->count[i]), names[i]);
	printf("\n");
}

/* ---- the run --------------------------------------------------------------------------------- */

static void progress(const struct sample *s)
{
	printf("%7.1f s  %lu operations, %lu grants; anonymous %.0f KiB, %.0f descriptors, %.0f "
	       "leases, quarantine %.0f KiB, %.0f free extents, largest %.0f KiB\n",
		s->at_s, atomic_load(&run.board->count[COUNT_OPERATIONS]),
		atomic_load(&run.board->count[COUNT_GRANTS]), s->figure[FIGURE_ANONYMOUS],
		s->figure[FIGURE_DESCRIPTORS], s->figure[FIGURE_LEASES],
		s->figure[FIGURE_QUARANTINE], s->figure[FIGURE_FREE_EXTENTS],
		s->figure[FIGURE_FREE_LARGEST]);
	fflush(stdout);
}

static void take_sample(void)
{
	struct sample *s = &run.load[run.loads];
	int error;

	if (run.loads == COUNT_OF(run.load))
		return;
	s->at_s = seconds_since_start();
	error = sample_take(run.control, s);
	if (error)
		give_up("looking at the daemon: %s", strerror(-error));
	if (run.loads++ % 8 == 0)
		progress(s);
}

/* A busy machine takes longer to leak as much as is to be found. */
static bool goes_on(double at)
{
	if (at < run.seconds)
		return true;
	return run.leak && at < LEAK_S_MAX &&
	       atomic_load(&run.board->leaked) < leak_in(run.leak, run.seconds * 0.9);
}

static void run_load(void)
{
	double every = run.seconds / SAMPLES, rest_every = run.seconds / RESTS, next, next_rest;

	every = every < 0.1 ? 0.1 : every;
	rest_every = rest_every < REST_S_MIN ? REST_S_MIN : rest_every;
	next = SETTLE_S;
	next_rest = run.leak ? INFINITY : rest_every; /* it would never come */
	while (goes_on(seconds_since_start()) && !interrupted) {
		double at = seconds_since_start();

		look_after_workers();
		if (at >= next_rest && run.rests < RESTS) {
			rest();
			next_rest = seconds_since_start() + rest_every;
			next = seconds_since_start() + SETTLE_S;
		} else if (at >= next) {
			take_sample();
			next = at + every;
		}
		(void)poll(NULL, 0, 10);
	}
}

static void on_signal(int number)
{
	interrupted = number;
}

static int run_all(void)
{
	struct sigaction action = {.sa_handler = on_signal};
	unsigned not_flat;

	bed_start("policy=recall:20ms/busy", POOL_BYTES);
	if (sigaction(SIGINT, &action, NULL) || sigaction(SIGTERM, &action, NULL) ||
		atexit(kill_workers))
		give_up("signals: %s", strerror(errno));
	run.control = open(bed_path(LEASEFS_CONTROL_PATH), O_RDWR | O_CLOEXEC);
	if (run.control < 0)
		give_up("the control file: %s", strerror(errno));
	run.began_ns = now_ns();
	start_workers();
	run_load();
	if (!interrupted)
		rest();
	end_workers();
	close(run.control);
	bed_stop();
	say_counts();
	if (run.loads < FLAT_COUNT_MIN)
		give_up("too short to tell");
	not_flat = judge_all();
	printf("%s\n", not_flat || run.left_behind ? "not flat" : "flat");
	return not_flat || run.left_behind ? 3 : 0;
}

static bool parse_leak(const char *name)
{
	static const char *const names[] = {"none", "descriptors", "memory", "quarantine"};

	for (size_t i = 0; i < COUNT_OF(names); i++) {
		if (strcmp(name, names[i]) != 0)
			continue;
		run.leak = (enum leak)i;
		run.patient = !i; /* it will not come to its end */
		return true;
	}
	return false;
}

static bool parse(int argc, char **argv)
{
	static const struct option options[] = {{"leasefs", required_argument, NULL, 'l'},
		{"mkfs", required_argument, NULL, 'm'}, {"fsck", required_argument, NULL, 'f'},
		{"seconds", required_argument, NULL, 's'}, {"seed", required_argument, NULL, 'n'},
		{"rate", required_argument, NULL, 'r'}, {"leak", required_argument, NULL, 'k'},
		{"slack", required_argument, NULL, 'x'}, {NULL, 0, NULL, 0}};
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (option) {
		case 'l':
			run.leasefs = optarg;
			break;
		case 'm':
			run.mkfs = optarg;
			break;
		case 'f':
			run.fsck = optarg;
			break;
		case 's':
			run.seconds = strtod(optarg, NULL);
			break;
		case 'n':
			run.seed = strtoull(optarg, NULL, 10);
			break;
		case 'r':
			run.rate_hz = strtod(optarg, NULL);
			break;
		case 'x':
			run.slack = strtod(optarg, NULL);
			break;
		case 'k':
			if (!parse_leak(optarg))
				return false;
			break;
		default:
			return false;
		}
	}
	return run.leasefs && run.mkfs && run.fsck && run.seconds > 0 && run.slack > 0 &&
	       optind == argc;
}

int main(int argc, char **argv)
{
	if (!parse(argc, argv)) {
		fprintf(stderr, "usage: soak --leasefs FILE --mkfs FILE --fsck FILE [--seconds N] "
				"[--seed N] [--rate N] [--slack N] [--leak "
				"descriptors|memory|quarantine]\n");
		return 2;
	}
	if (access("/dev/fuse", R_OK | W_OK) || geteuid() != 0) {
		printf("skipped: needs /dev/fuse, and root for policies that signal and kill\n");
		return 77;
	}
	run.board = mmap(NULL, sizeof(*run.board), PROT_READ | PROT_WRITE,
		MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (run.board == MAP_FAILED || setenv("LEASEFS_DAEMON", run.leasefs, 1) ||
		setenv("LEASEFS_MKFS", run.mkfs, 1) || setenv("LEASEFS_FSCK", run.fsck, 1)) {
		perror("soak");
		return 1;
	}
	run.owner = getpid();
	printf("seed %llu, %.0f s, at most %.0f rounds a second and worker\n",
		(unsigned long long)run.seed, run.seconds, run.rate_hz);
	fflush(stdout);
	return run_all();
}
