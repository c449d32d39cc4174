// SPDX-License-Identifier: BSD-2-Clause
/*
 * features.c - what the kernel and libfuse offer, each used and left out (mount option without=):
 * two daemons of ours that differ in that alone, in turns.
 *
 * Requests of 1 MiB, against 128 KiB. Direct writes of one file from two processors at once. Shared
 * mappings of files that are open for direct I/O: there it is the call that works, or does not.
 * Requests over io_uring, against /dev/fuse: what each call costs.
 */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench.h"
#include "client.h"
#include "report.h"
#include "server.h"

#define MIB (1ul << 20)
#define FILE_BYTES (64 * MIB)
#define POOL_BYTES (256ull << 20)
#define CALLS 64u

struct feature_bed {
	struct bench *b;
	struct server servers[SIDES]; /* with the feature, and without */
	int files[SIDES];
	void *buffer;
};

static int start(struct feature_bed *t, const char *with, const char *without)
{
	char path[4300];

	for (int side = 0; side < SIDES; side++) {
		if (server_start_with(t->b, &t->servers[side],
			    side == SIDE_OURS ? "with" : "without", POOL_BYTES,
			    side == SIDE_OURS ? with : without, NULL) != 0)
			return -1;
		snprintf(path, sizeof(path), "%s/file", t->servers[side].mount);
		for (int pass = 0; pass < 2;
			pass++) { /* made, then opened as a file that is there */
			if (t->files[side] >= 0)
				close(t->files[side]);
			t->files[side] = open(path, O_CREAT | O_RDWR | O_DIRECT | O_CLOEXEC, 0644);
			if (t->files[side] < 0) {
				perror(path);
				return -1;
			}
		}
		for (uint64_t at = 0; at < FILE_BYTES; at += MIB) {
			if (pwrite(t->files[side], t->buffer, MIB, (off_t)at) != (ssize_t)MIB) {
				perror(path);
				return -1;
			}
		}
	}
	return 0;
}

static int stop(struct feature_bed *t)
{
	int result = 0;

	for (int side = 0; side < SIDES; side++) {
		if (t->files[side] >= 0)
			close(t->files[side]);
		t->files[side] = -1;
		if (server_end(&t->servers[side]) != 0)
			result = -1;
	}
	return result;
}

static void report_rate(const char *name, const struct series *s)
{
	struct row row = {.group = "features",
		.name = name,
		.unit = "MiB/s",
		.ours = series_median(s, SIDE_OURS),
		.baseline_name = "without",
		.baseline = series_median(s, SIDE_BASELINE),
		.spread = series_spread(s),
		.target = NAN,
		.sense = TARGET_NONE};

	report_row(&row);
}

/* ---- large requests -------------------------------------------------------------------------- */

static double transfer(const struct feature_bed *t, enum side side, bool write)
{
	uint64_t begin = now_ns();

	for (unsigned i = 0; i < CALLS; i++) {
		off_t at = (off_t)(i * MIB % FILE_BYTES);
		ssize_t n = write ? pwrite(t->files[side], t->buffer, MIB, at)
				  : pread(t->files[side], t->buffer, MIB, at);

		if (n != (ssize_t)MIB) {
			perror("leasebench: large requests");
			return -1;
		}
	}
	return CALLS / ((double)(now_ns() - begin) / 1e9);
}

static int measure_large(struct feature_bed *t, const char *prefix)
{
	unsigned rounds = t->b->quick ? 3 : 31;

	for (int write = 0; write < 2; write++) {
		struct series series = {0};

		for (unsigned round = 0; round <= rounds; round++) {
			for (int side = 0; side < SIDES; side++) {
				double rate = transfer(t, side, write != 0);

				if (rate < 0)
					return -1;
				if (round > 0) /* 0 warms up */
					series_add(&series, side, rate);
			}
		}
		char name[64];
		snprintf(name, sizeof(name), "%s%s", prefix, write != 0 ? "write" : "read");
		report_rate(name, &series);
	}
	return 0;
}

static int measure_large_requests(struct feature_bed *t)
{
	return measure_large(t, "large_requests_");
}

/* ---- parallel direct writes ------------------------------------------------------------------ */

struct writer {
	pthread_t thread;
	const struct feature_bed *bed;
	enum side side;
	int cpu;
	uint64_t first; /* byte of its half */
	int result;
};

static void *write_half(void *argument)
{
	struct writer *w = argument;

	w->result = server_pin(0, w->cpu, -1);
	for (uint64_t at = 0; at < FILE_BYTES / 2 && w->result == 0; at += MIB / 16) {
		if (pwrite(w->bed->files[w->side], w->bed->buffer, MIB / 16,
			    (off_t)(w->first + at)) != (ssize_t)(MIB / 16))
			w->result = -1;
	}
	return NULL;
}

static double write_in_parallel(const struct feature_bed *t, enum side side)
{
	struct writer writers[2];
	uint64_t begin = now_ns();
	int result = 0, made = 0;

	for (; made < 2; made++) {
		writers[made] = (struct writer){.bed = t,
			.side = side,
			.cpu = made == 0 ? t->b->cpu : t->b->second_cpu,
			.first = (uint64_t)made * FILE_BYTES / 2};
		if (pthread_create(&writers[made].thread, NULL, write_half, &writers[made]) != 0)
			break;
	}
	for (int i = 0; i < made; i++) {
		pthread_join(writers[i].thread, NULL);
		if (writers[i].result != 0)
			result = -1;
	}
	if (result != 0 || made < 2) {
		fprintf(stderr, "leasebench: parallel writes: a writer failed\n");
		return -1;
	}
	return (double)(FILE_BYTES / MIB) / ((double)(now_ns() - begin) / 1e9);
}

static int measure_parallel(struct feature_bed *t)
{
	unsigned rounds = t->b->quick ? 3 : 31;
	struct series series = {0};

	if (t->b->second_cpu < 0) {
		fprintf(stderr, "leasebench: parallel_writes needs two processors: left out\n");
		return 0;
	}
	for (int side = 0; side < SIDES; side++) {
		if (server_pin(t->servers[side].pid, t->b->cpu, t->b->second_cpu) != 0)
			return -1;
	}
	for (unsigned round = 0; round <= rounds; round++) {
		for (int side = 0; side < SIDES; side++) {
			double rate = write_in_parallel(t, side);

			if (rate < 0)
				return -1;
			if (round > 0) /* 0 warms up */
				series_add(&series, side, rate);
		}
	}
	report_rate("parallel_writes", &series);
	return 0;
}

/* ---- direct-I/O mmap ------------------------------------------------------------------------- */

/* A lease makes new opens of the file go past the page cache; may such a file be mapped? */
static double may_map(struct feature_bed *t, enum side side)
{
	char path[4300];
	void *memory;
	int fd;

	snprintf(path, sizeof(path), "%s/file", t->servers[side].mount);
	fd = open(path, O_RDWR | O_CLOEXEC);
	memory = fd < 0 ? MAP_FAILED : mmap(NULL, MIB, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (fd >= 0)
		close(fd);
	if (memory == MAP_FAILED)
		return 0;
	munmap(memory, MIB);
	return 1;
}

static int measure_direct_mmap(struct feature_bed *t)
{
	struct client clients[SIDES] = {{.control = -1}, {.control = -1}};
	struct leasefs_grant grant;
	struct row row = {.group = "features",
		.name = "direct_mmap",
		.unit = "works",
		.baseline_name = "without",
		.ratio = NAN,
		.spread = NAN,
		.target = NAN,
		.sense = TARGET_NONE};
	double works[SIDES];
	int result = 0;

	for (int side = 0; side < SIDES && result == 0; side++) {
		result = client_open(&clients[side], t->servers[side].mount);
		if (result == 0 && client_grant(&clients[side], t->files[side], 0, MIB,
					   LEASEFS_MODE_WRITE, &grant) != 0) {
			fprintf(stderr, "leasebench: direct_mmap: no lease\n");
			result = -1;
		}
		works[side] = may_map(t, side);
	}
	for (int side = 0; side < SIDES; side++)
		client_close(&clients[side]);
	if (result != 0)
		return -1;
	row.ours = works[SIDE_OURS];
	row.baseline = works[SIDE_BASELINE];
	report_row(&row);
	return 0;
}

/* ---- requests over io_uring ------------------------------------------------------------------ */

#define SHORT_CALLS 500u

static int chmod_once(const struct feature_bed *t, enum side side, unsigned i)
{
	return fchmod(t->files[side], 0600 | (i & 077));
}

static int read_once(const struct feature_bed *t, enum side side, unsigned i)
{
	return pread(t->files[side], t->buffer, 4096, (off_t)i * 4096) == 4096 ? 0 : -1;
}

static int write_once(const struct feature_bed *t, enum side side, unsigned i)
{
	return pwrite(t->files[side], t->buffer, 4096, (off_t)i * 4096) == 4096 ? 0 : -1;
}

static int create_once(const struct feature_bed *t, enum side side, unsigned i)
{
	char path[4300];
	int fd;

	snprintf(path, sizeof(path), "%s/created", t->servers[side].mount);
	fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
	if (fd < 0 || close(fd) != 0)
		return -1;
	return unlink(path);
}

static int measure_call(struct feature_bed *t, const char *name,
	int (*call)(const struct feature_bed *t, enum side side, unsigned i))
{
	unsigned rounds = t->b->quick ? 3 : 61;
	struct series series = {0};

	for (unsigned round = 0; round <= rounds; round++) {
		for (int side = 0; side < SIDES; side++) {
			uint64_t begin = now_ns();

			for (unsigned i = 0; i < SHORT_CALLS; i++) {
				if (call(t, side, i) != 0) {
					perror(name);
					return -1;
				}
			}
			if (round > 0) /* 0 warms up */
				series_add(&series, side,
					(double)(now_ns() - begin) / 1e3 / SHORT_CALLS);
		}
	}
	struct row row = {.group = "features",
		.name = name,
		.unit = "us",
		.ours = series_median(&series, SIDE_OURS),
		.baseline_name = "without",
		.baseline = series_median(&series, SIDE_BASELINE),
		.spread = series_spread(&series),
		.target = NAN,
		.sense = TARGET_NONE};
	report_row(&row);
	return 0;
}

static int measure_io_uring(struct feature_bed *t)
{
	static const struct {
		const char *name;
		int (*call)(const struct feature_bed *t, enum side side, unsigned i);
	} calls[] = {{"io_uring_chmod", chmod_once}, {"io_uring_read_4k", read_once},
		{"io_uring_write_4k", write_once}, {"io_uring_create_unlink", create_once}};
	int result = 0;

	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]) && result == 0; i++)
		result = measure_call(t, calls[i].name, calls[i].call);
	return result == 0 ? measure_large(t, "io_uring_1m_") : result;
}

/* The kernel's part of it: a parameter of its module, since Linux 6.14. */
static bool io_uring_is_there(void)
{
	FILE *f = fopen("/sys/module/fuse/parameters/enable_uring", "re");
	int enabled = f != NULL ? fgetc(f) : EOF;

	if (f != NULL)
		fclose(f);
	if (enabled == 'Y' || enabled == '1')
		return true;
	fprintf(stderr, "leasebench: io_uring_*: %s: left out\n",
		enabled == EOF ? "this kernel has no such transport"
			       : "switched off (/sys/module/fuse/parameters/enable_uring)");
	return false;
}

/* ---- all ------------------------------------------------------------------------------------- */

int features_group(struct bench *b)
{
	static const struct {
		const char *with, *without; /* options */
		int (*measure)(struct feature_bed *t);
	} features[] = {{NULL, "without=large_requests", measure_large_requests},
		{NULL, "without=parallel_writes", measure_parallel},
		{NULL, "without=direct_mmap", measure_direct_mmap},
		{"io_uring", NULL, measure_io_uring}};
	struct feature_bed t = {.b = b, .files = {-1, -1}};
	int result = 0;

	if (posix_memalign(&t.buffer, MIB, MIB) != 0)
		return -1;
	memset(t.buffer, 0x5a, MIB);
	for (size_t i = 0; i < sizeof(features) / sizeof(features[0]); i++) {
		memset(t.servers, 0, sizeof(t.servers));
		if (features[i].with != NULL && !io_uring_is_there())
			continue;
		if (start(&t, features[i].with, features[i].without) != 0 ||
			features[i].measure(&t) != 0)
			result = -1;
		if (stop(&t) != 0)
			result = -1;
	}
	if (measure_hardening(b) != 0)
		result = -1;
	free(t.buffer);
	return result;
}
