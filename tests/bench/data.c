// SPDX-License-Identifier: BSD-2-Clause
/*
 * data.c - the data group: reads and writes of one file, and two writers beside one.
 *
 * Direct I/O goes past the page cache, so that every call is one request to the server. The file is
 * written once before anything is measured: blocks are there on our side, pages on the other.
 */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench.h"
#include "pair.h"
#include "report.h"

#define KIB 1024ull
#define MIB (1024 * KIB)
#define FILE_BYTES (64 * MIB) /* above the processors' caches */
#define POOL_BYTES (512 * MIB)
#define WRITER_BYTES (64 * MIB)
#define TWO_WRITERS_TARGET 1.6
#define LIKE_NULL 0.9 /* where the null server misses it: how near to that we have to be */

struct data_row {
	const char *name;
	int flags;
	bool write;
	size_t bytes;
	unsigned calls; /* a round */
	double target;
};

static const struct data_row rows[] = {
	{"read_4k_direct", O_DIRECT, false, 4 * KIB, 2000, 1.25},
	{"write_4k_direct", O_DIRECT, true, 4 * KIB, 2000, 1.25},
	{"read_1m_direct", O_DIRECT, false, MIB, 128, 1.15},
	{"write_1m_direct", O_DIRECT, true, MIB, 128, 1.15},
	{"read_4k_cached", 0, false, 4 * KIB, 8000, 1.1},
};

static uint64_t next_random(uint64_t *state)
{
	*state = *state * 6364136223846793005ull + 1442695040888963407ull;
	return *state >> 33;
}

/* One round: seconds a call, or -1. Small calls go to random places, big ones in order. */
static double transfer(int fd, const struct data_row *row, void *buffer, uint64_t seed)
{
	uint64_t slots = FILE_BYTES / row->bytes, begin = now_ns();

	for (unsigned i = 0; i < row->calls; i++) {
		uint64_t slot = row->bytes < MIB ? next_random(&seed) % slots : i % slots;
		off_t offset = (off_t)(slot * row->bytes);
		ssize_t n = row->write ? pwrite(fd, buffer, row->bytes, offset)
				       : pread(fd, buffer, row->bytes, offset);

		if (n != (ssize_t)row->bytes) {
			fprintf(stderr, "leasebench: %s: %s\n", row->name,
				n < 0 ? strerror(errno) : "short");
			return -1;
		}
	}
	return (double)(now_ns() - begin) / 1e9 / row->calls;
}

static int fill(int root, const char *name, uint64_t bytes, void *buffer)
{
	int fd = openat(root, name, O_CREAT | O_RDWR | O_CLOEXEC, 0644), result = 0;

	if (fd < 0) {
		perror(name);
		return -1;
	}
	for (uint64_t at = 0; at < bytes && result == 0; at += MIB) {
		if (pwrite(fd, buffer, MIB, (off_t)at) != (ssize_t)MIB) {
			perror(name);
			result = -1;
		}
	}
	if (close(fd) != 0)
		result = -1;
	return result;
}

/* What is read from the cache has to be there, all of it: a round goes to places of its own. */
static int cache_all(int fd, void *buffer)
{
	for (uint64_t at = 0; at < FILE_BYTES; at += MIB) {
		if (pread(fd, buffer, MIB, (off_t)at) != (ssize_t)MIB) {
			perror("leasebench: filling the page cache");
			return -1;
		}
	}
	return 0;
}

static int measure_row(struct bench *b, struct pair *p, const struct data_row *row, void *buffer)
{
	unsigned rounds = b->quick ? 3 : 31;
	struct data_row scaled = *row;
	struct series series = {0};
	int fds[SIDES] = {-1, -1}, result = -1;

	scaled.calls = b->quick ? row->calls / 2 : row->calls;
	for (int side = 0; side < SIDES; side++) {
		fds[side] = openat(p->roots[side], "file", O_RDWR | O_CLOEXEC | row->flags);
		if (fds[side] < 0 && side == SIDE_BASELINE && b->peer != NULL && errno == EINVAL) {
			fprintf(stderr, "leasebench: %s has no direct I/O: %s is left out\n",
				b->peer->name, row->name);
			result = 0;
			goto out;
		}
		if (fds[side] < 0) {
			perror(row->name);
			goto out;
		}
		if (!(row->flags & O_DIRECT) && cache_all(fds[side], buffer) != 0)
			goto out;
		if (transfer(fds[side], &scaled, buffer, b->seed) < 0) /* warms up */
			goto out;
	}
	for (unsigned round = 0; round < rounds; round++) {
		for (int side = 0; side < SIDES; side++) {
			double seconds = transfer(fds[side], &scaled, buffer, b->seed + round);

			if (seconds < 0)
				goto out;
			series_add(&series, side, seconds * 1e6);
		}
	}
	report_series("data", row->name, "us", &series, row->target);
	result = 0;
out:
	for (int side = 0; side < SIDES; side++) {
		if (fds[side] >= 0)
			close(fds[side]);
	}
	return result;
}

static int measure_stat(struct bench *b, struct pair *p)
{
	unsigned rounds = b->quick ? 3 : 41, calls = 20000;
	struct series series = {0};
	struct stat st;

	for (unsigned round = 0; round < rounds; round++) {
		for (int side = 0; side < SIDES; side++) {
			uint64_t begin = now_ns();

			for (unsigned i = 0; i < calls; i++) {
				if (fstatat(p->roots[side], "file", &st, 0) != 0) {
					perror("stat");
					return -1;
				}
			}
			series_add(&series, side, (double)(now_ns() - begin) / 1e3 / calls);
		}
	}
	report_series("data", "stat_cached", "us", &series, 1.1);
	return 0;
}

/* ---- two writers ----------------------------------------------------------------------------- */

struct writer {
	pthread_t thread;
	int fd;
	int cpu;
	unsigned passes;
	void *buffer;
	pthread_barrier_t *start;
	int result;
};

static void *write_passes(void *argument)
{
	struct writer *w = argument;

	w->result = server_pin(0, w->cpu, -1);
	pthread_barrier_wait(w->start);
	for (unsigned pass = 0; pass < w->passes && w->result == 0; pass++) {
		for (uint64_t at = 0; at < WRITER_BYTES && w->result == 0; at += MIB / 4) {
			if (pwrite(w->fd, w->buffer, MIB / 4, (off_t)at) != (ssize_t)(MIB / 4))
				w->result = -1;
		}
	}
	return NULL;
}

/* Where a writer writes, and on which processor. */
struct desk {
	int root;
	const char *file;
	int cpu;
};

/* MiB/s of `count` writers at once; or -1. */
static double run_writers(const struct desk *desks, int count, unsigned passes, void *buffer)
{
	struct writer writers[2] = {0};
	pthread_barrier_t start;
	double result = -1;
	uint64_t begin;
	int made = 0;

	pthread_barrier_init(&start, NULL, (unsigned)count + 1);
	for (; made < count; made++) {
		struct writer *w = &writers[made];

		*w = (struct writer){.cpu = desks[made].cpu,
			.passes = passes,
			.buffer = buffer,
			.start = &start};
		w->fd = openat(desks[made].root, desks[made].file, O_RDWR | O_DIRECT | O_CLOEXEC);
		if (w->fd < 0 || pthread_create(&w->thread, NULL, write_passes, w) != 0) {
			/* Threads that wait at the barrier can't be joined: give up as a whole. */
			perror("two_writers");
			exit(1);
		}
	}
	pthread_barrier_wait(&start);
	begin = now_ns();
	for (int i = 0; i < count; i++)
		pthread_join(writers[i].thread, NULL);
	result = (double)WRITER_BYTES * passes * count / (double)MIB /
		 ((double)(now_ns() - begin) / 1e9);
	for (int i = 0; i < count; i++) {
		close(writers[i].fd);
		if (writers[i].result != 0)
			result = -1;
	}
	pthread_barrier_destroy(&start);
	return result;
}

/*
 * Two writers against one: the one and its server on one processor, the two and theirs on two.
 * `second` serves the second writer from the other processor, or is the same server, whose threads
 * may run on both then.
 */
static int compare_writers(struct bench *b, const struct server *first, const struct server *second,
	const int roots[2], struct series *series, void *buffer)
{
	const struct desk desks[2] = {{.root = roots[0], .file = "file", .cpu = b->cpu},
		{.root = roots[1], .file = "file2", .cpu = b->second_cpu}};
	unsigned rounds = b->quick ? 3 : 15, passes = b->quick ? 2 : 4;

	if (fill(roots[1], "file2", WRITER_BYTES, buffer) != 0 ||
		(second != first && server_pin(second->pid, b->second_cpu, -1) != 0))
		return -1;
	for (unsigned round = 0; round < rounds; round++) {
		for (int side = 0; side < SIDES; side++) {
			int two = side == SIDE_OURS;
			double rate;

			if (server_pin(first->pid, b->cpu,
				    two && second == first ? b->second_cpu : -1) != 0)
				return -1;
			rate = run_writers(desks, two ? 2 : 1, passes, buffer);
			if (rate < 0) {
				fprintf(stderr, "leasebench: two writers: one failed\n");
				return -1;
			}
			series_add(series, side, rate);
		}
	}
	return server_pin(first->pid, b->cpu, -1);
}

static void report_writers(const char *name, const struct series *s, struct row row)
{
	row.group = "data";
	row.name = name;
	row.unit = "MiB/s";
	row.ours = series_median(s, SIDE_OURS);
	row.baseline_name = "one writer";
	row.baseline = series_median(s, SIDE_BASELINE);
	row.spread = series_spread(s);
	report_row(&row);
}

/* Why ours can't be held against the target, if it misses it; NULL: it can. */
static const char *why_unjudged(
	const struct series *ours, const struct series *null, double machine)
{
	if (machine < TWO_WRITERS_TARGET)
		return "two processors were not free: two threads that only copy are below the "
		       "target, too (two_writers_machine)";
	if (series_ratio(null) < TWO_WRITERS_TARGET &&
		series_ratio(ours) >= LIKE_NULL * series_ratio(null))
		return "a server whose writers share nothing is below the target here, too "
		       "(two_writers_null)";
	return NULL;
}

/* Two null servers, each with its writer on a processor of its own. */
static int measure_apart(struct bench *b, struct pair *p, struct series *out, void *buffer)
{
	struct server second;
	int result = -1, roots[2] = {p->roots[SIDE_BASELINE], -1};

	if (server_start_null(b, &second, "second") == 0)
		roots[1] = open(second.mount, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (roots[1] >= 0) {
		result =
			compare_writers(b, &p->servers[SIDE_BASELINE], &second, roots, out, buffer);
		close(roots[1]);
	}
	if (server_end(&second) != 0)
		result = -1;
	return result;
}

/*
 * The other rows tell what there is to reach: by a server that does nothing, by two of them that
 * the scheduler can't mix up, and by the machine.
 */
static int measure_two_writers(struct bench *b, struct pair *p, void *buffer)
{
	struct row judged = {.target = TWO_WRITERS_TARGET, .sense = TARGET_AT_LEAST};
	const struct row told = {.target = NAN, .sense = TARGET_NONE};
	struct series two[SIDES] = {0}, apart = {0};
	double machine;

	if (b->second_cpu < 0) {
		fprintf(stderr, "leasebench: two_writers needs two processors: left out\n");
		return 0;
	}
	for (int side = 0; side < SIDES; side++) {
		const struct server *server = &p->servers[side];
		const int roots[2] = {p->roots[side], p->roots[side]};

		if (compare_writers(b, server, server, roots, &two[side], buffer) != 0)
			return -1;
	}
	if (measure_apart(b, p, &apart, buffer) != 0 || measure_copiers(b, &machine) != 0)
		return -1;
	judged.unjudged = why_unjudged(&two[SIDE_OURS], &two[SIDE_BASELINE], machine);
	report_writers("two_writers", &two[SIDE_OURS], judged);
	report_writers("two_writers_null", &two[SIDE_BASELINE], told);
	report_writers("two_writers_apart", &apart, told);
	return 0;
}

int data_group(struct bench *b)
{
	struct pair pair;
	void *buffer = NULL;
	int result = -1;

	if (posix_memalign(&buffer, MIB, MIB) != 0)
		return -1;
	memset(buffer, 0x5a, MIB);
	if (pair_start(b, &pair, POOL_BYTES) != 0)
		goto stop;
	for (int side = 0; side < SIDES; side++) {
		if (fill(pair.roots[side], "file", FILE_BYTES, buffer) != 0)
			goto stop;
	}
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (measure_row(b, &pair, &rows[i], buffer) != 0)
			goto stop;
	}
	if (measure_stat(b, &pair) != 0 ||
		(b->peer == NULL && measure_two_writers(b, &pair, buffer) != 0))
		goto stop;
	result = 0;
stop:
	if (pair_stop(&pair) != 0)
		result = -1;
	free(buffer);
	return result;
}
