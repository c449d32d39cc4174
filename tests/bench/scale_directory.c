// SPDX-License-Identifier: BSD-2-Clause
/*
 * scale_directory.c - a directory of a million names, and what a pool of a million files costs at
 * mount, after a kill, and in memory.
 *
 * One server, in this order: nine tenths of the names are created in the big directory; the last
 * tenth goes there in batches that take turns with the same batches in an empty directory, which
 * is what the first tenth was, but under the same weather; the pool is unmounted and mounted again
 * (clean mount); names are looked up in both in turns through the fresh mount, so that each lookup
 * is a request (memory per inode comes from the same lookups); the server is killed and mounted
 * again (recovery).
 */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench.h"
#include "report.h"
#include "series.h"
#include "server.h"

#define NAMES 1000000u
#define NAMES_QUICK 50000u
#define BATCHES 100u
#define LAST_BATCHES (BATCHES / 10)
#define POOL_BYTES (8ull << 30)
#define POOL_BYTES_QUICK (1ull << 30)
#define MOUNTS 3

struct scale {
	struct bench *b;
	struct server server;
	unsigned names;
	int dirs[SIDES]; /* the big one is ours, the small one the baseline */
};

static int open_directories(struct scale *s, bool make)
{
	static const char *const names[SIDES] = {"big", "small"};
	char path[4300];

	for (int side = 0; side < SIDES; side++) {
		snprintf(path, sizeof(path), "%s/%s", s->server.mount, names[side]);
		if (make && mkdir(path, 0755) != 0) {
			perror(path);
			return -1;
		}
		s->dirs[side] = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (s->dirs[side] < 0) {
			perror(path);
			return -1;
		}
	}
	return 0;
}

static void close_directories(struct scale *s)
{
	for (int side = 0; side < SIDES; side++) {
		if (s->dirs[side] >= 0)
			close(s->dirs[side]);
		s->dirs[side] = -1;
	}
}

static void name_of(unsigned i, char name[32])
{
	snprintf(name, 32, "entry-%08u", i);
}

static int create_batch(struct scale *s, enum side side, unsigned batch, double *us)
{
	unsigned count = s->names / BATCHES;
	uint64_t begin = now_ns();
	char name[32];
	int fd;

	for (unsigned i = batch * count; i < (batch + 1) * count; i++) {
		name_of(i, name);
		fd = openat(s->dirs[side], name, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644);
		if (fd < 0) {
			fprintf(stderr, "leasebench: create of name %u: %s\n", i, strerror(errno));
			return -1;
		}
		close(fd);
	}
	*us = (double)(now_ns() - begin) / 1e3 / count;
	return 0;
}

static int lookup_batch(struct scale *s, enum side side, unsigned batch, double *us)
{
	unsigned count = s->names / BATCHES;
	uint64_t begin = now_ns();
	struct stat st;
	char name[32];

	for (unsigned i = batch * count; i < (batch + 1) * count; i++) {
		name_of(i, name);
		if (fstatat(s->dirs[side], name, &st, 0) != 0) {
			fprintf(stderr, "leasebench: lookup of name %u: %s\n", i, strerror(errno));
			return -1;
		}
	}
	*us = (double)(now_ns() - begin) / 1e3 / count;
	return 0;
}

static void report_big(const char *name, const struct series *s, double target)
{
	struct row row = {.group = "scale",
		.name = name,
		.unit = "us",
		.ours = series_median(s, SIDE_OURS),
		.baseline_name = "small",
		.baseline = series_median(s, SIDE_BASELINE),
		.spread = series_spread(s),
		.target = target,
		.sense = TARGET_AT_MOST};

	report_row(&row);
}

static void report_alone(const char *name, const char *unit, double value)
{
	struct row row = {.group = "scale",
		.name = name,
		.unit = unit,
		.ours = value,
		.baseline_name = "none",
		.baseline = NAN,
		.ratio = NAN,
		.spread = NAN,
		.target = NAN,
		.sense = TARGET_NONE};

	report_row(&row);
}

static int measure_create(struct scale *s)
{
	struct series series = {0};
	double us;

	if (open_directories(s, true) != 0)
		return -1;
	for (unsigned batch = 0; batch < BATCHES - LAST_BATCHES; batch++) {
		if (create_batch(s, SIDE_OURS, batch, &us) != 0)
			return -1;
	}
	for (unsigned i = 0; i < LAST_BATCHES; i++) {
		if (create_batch(s, SIDE_OURS, BATCHES - LAST_BATCHES + i, &us) != 0)
			return -1;
		series_add(&series, SIDE_OURS, us);
		if (create_batch(s, SIDE_BASELINE, i, &us) != 0)
			return -1;
		series_add(&series, SIDE_BASELINE, us);
	}
	report_big("directory_create", &series, 1.3);
	close_directories(s);
	return 0;
}

static int measure_mount(struct scale *s)
{
	struct series series = {0};

	for (int i = 0; i < MOUNTS; i++) {
		if (server_stop(&s->server) != 0 || server_restart(s->b, &s->server) != 0)
			return -1;
		series_add(&series, SIDE_OURS, s->server.start_seconds);
	}
	report_limit("scale", "mount_clean", "s", series_median(&series, SIDE_OURS), 0.2);
	return 0;
}

static int measure_lookup(struct scale *s)
{
	struct series series = {0};
	int64_t before, after;
	double us;

	if (open_directories(s, false) != 0)
		return -1;
	before = server_memory_bytes(&s->server);
	for (unsigned i = 0; i < LAST_BATCHES; i++) {
		if (lookup_batch(s, SIDE_OURS, BATCHES - LAST_BATCHES + i, &us) != 0)
			return -1;
		series_add(&series, SIDE_OURS, us);
		if (lookup_batch(s, SIDE_BASELINE, i, &us) != 0)
			return -1;
		series_add(&series, SIDE_BASELINE, us);
	}
	after = server_memory_bytes(&s->server);
	report_big("directory_lookup", &series, 1.3);
	if (before < 0 || after < 0) {
		fprintf(stderr, "leasebench: no RssAnon in /proc/PID/status\n");
		return -1;
	}
	report_limit("scale", "memory_per_inode", "bytes",
		(double)(after - before) / (2.0 * LAST_BATCHES * (s->names / BATCHES)), 512);
	close_directories(s);
	return 0;
}

/* Some files are open without a name at the kill, so that there is something to finish. */
static int measure_recovery(struct scale *s)
{
	unsigned count = s->names / BATCHES;
	char name[32];
	double us;
	int fd = -1;

	if (open_directories(s, false) != 0)
		return -1;
	for (unsigned i = 0; i < count; i++) {
		name_of(i, name);
		if (i == 0)
			fd = openat(s->dirs[SIDE_OURS], name, O_WRONLY | O_CLOEXEC);
		if (unlinkat(s->dirs[SIDE_OURS], name, 0) != 0) {
			perror("leasebench: unlink");
			return -1;
		}
	}
	if (create_batch(s, SIDE_OURS, 0, &us) != 0)
		return -1;
	if (server_kill(&s->server) != 0)
		fprintf(stderr, "leasebench: the mount of the killed server stays\n");
	close_directories(s);
	if (fd >= 0)
		close(fd);
	if (server_restart(s->b, &s->server) != 0)
		return -1;
	report_alone("recovery_time", "s", s->server.start_seconds);
	report_alone("recovery_rate", "files/s", s->names / s->server.start_seconds);
	return 0;
}

int scale_directory(struct bench *b)
{
	struct scale s = {.b = b, .names = b->quick ? NAMES_QUICK : NAMES, .dirs = {-1, -1}};
	int result = -1;

	if (server_start_ours(b, &s.server, "names", b->quick ? POOL_BYTES_QUICK : POOL_BYTES) !=
			0 ||
		measure_create(&s) != 0 || measure_mount(&s) != 0 || measure_lookup(&s) != 0 ||
		measure_recovery(&s) != 0)
		goto out;
	result = 0;
out:
	close_directories(&s);
	if (server_end(&s.server) != 0)
		result = -1;
	return result;
}
