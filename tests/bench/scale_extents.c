// SPDX-License-Identifier: BSD-2-Clause
/*
 * scale_extents.c - a file of a million extents: every second block written.
 *
 * Nothing may cost more than it should as the file grows, so the baseline is a file of a quarter of
 * the extents, and figures are per extent: a cost that grew with the square would show as 4. The
 * two files take turns for reads; writes are timed at the file's end as it grows; a punch frees the
 * middle half in one call, and a truncate the rest in another.
 */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench.h"
#include "report.h"
#include "series.h"
#include "server.h"

#define BLOCK 4096ull
#define EXTENTS 1000000u
#define EXTENTS_QUICK 40000u
#define READS_A_ROUND 2000u
#define ROUNDS 5u
#define POOL_BYTES (6ull << 30)
#define POOL_BYTES_QUICK (512ull << 20)
#define TARGET 2.0

struct extents_file {
	int fd;
	unsigned extents;
	double write_us; /* each, over the last tenth */
	double punch_us;
	double truncate_us;
};

static int write_extents(struct extents_file *f, const char *block)
{
	unsigned last = f->extents - f->extents / 10;
	uint64_t begin = 0;

	for (unsigned i = 0; i < f->extents; i++) {
		if (i == last)
			begin = now_ns();
		if (pwrite(f->fd, block, BLOCK, (off_t)(2 * BLOCK * i)) != (ssize_t)BLOCK) {
			fprintf(stderr, "leasebench: write of extent %u: %s\n", i, strerror(errno));
			return -1;
		}
	}
	f->write_us = (double)(now_ns() - begin) / 1e3 / (f->extents - last);
	return 0;
}

static int read_extents(const struct extents_file *f, char *block, uint64_t seed, double *us)
{
	uint64_t begin = now_ns();

	for (unsigned i = 0; i < READS_A_ROUND; i++) {
		seed = seed * 6364136223846793005ull + 1442695040888963407ull;
		if (pread(f->fd, block, BLOCK, (off_t)(2 * BLOCK * ((seed >> 33) % f->extents))) !=
			(ssize_t)BLOCK) {
			perror("leasebench: read of an extent");
			return -1;
		}
	}
	*us = (double)(now_ns() - begin) / 1e3 / READS_A_ROUND;
	return 0;
}

static int free_extents(struct extents_file *f)
{
	off_t bytes = (off_t)(2 * BLOCK * f->extents);
	uint64_t begin = now_ns();

	if (fallocate(f->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, bytes / 4, bytes / 2) !=
		0) {
		perror("leasebench: punch");
		return -1;
	}
	f->punch_us = (double)(now_ns() - begin) / 1e3 / (f->extents / 2);
	begin = now_ns();
	if (ftruncate(f->fd, 0) != 0) {
		perror("leasebench: truncate");
		return -1;
	}
	f->truncate_us = (double)(now_ns() - begin) / 1e3 / (f->extents / 2);
	return 0;
}

static void report_growth(const char *name, double ours, double baseline, double spread)
{
	struct row row = {.group = "scale",
		.name = name,
		.unit = "us/extent",
		.ours = ours,
		.baseline_name = "quarter",
		.baseline = baseline,
		.spread = spread,
		.target = TARGET,
		.sense = TARGET_AT_MOST};

	report_row(&row);
}

static int measure(struct bench *b, struct extents_file files[SIDES], char *block)
{
	struct series reads = {0};
	double us;

	for (int side = 0; side < SIDES; side++) {
		if (write_extents(&files[side], block) != 0)
			return -1;
	}
	for (unsigned round = 0; round < ROUNDS; round++) {
		for (int side = 0; side < SIDES; side++) {
			if (read_extents(&files[side], block, b->seed + round, &us) != 0)
				return -1;
			series_add(&reads, side, us);
		}
	}
	for (int side = 0; side < SIDES; side++) {
		if (free_extents(&files[side]) != 0)
			return -1;
	}
	report_growth(
		"extents_write", files[SIDE_OURS].write_us, files[SIDE_BASELINE].write_us, NAN);
	report_growth("extents_read", series_median(&reads, SIDE_OURS),
		series_median(&reads, SIDE_BASELINE), series_spread(&reads));
	report_growth(
		"extents_punch", files[SIDE_OURS].punch_us, files[SIDE_BASELINE].punch_us, NAN);
	report_growth("extents_truncate", files[SIDE_OURS].truncate_us,
		files[SIDE_BASELINE].truncate_us, NAN);
	return 0;
}

int scale_extents(struct bench *b)
{
	unsigned extents = b->quick ? EXTENTS_QUICK : EXTENTS;
	struct extents_file files[SIDES] = {
		{.fd = -1, .extents = extents}, {.fd = -1, .extents = extents / 4}};
	struct server server;
	void *block = NULL;
	char path[4300];
	int result = -1;

	if (posix_memalign(&block, BLOCK, BLOCK) != 0)
		return -1;
	memset(block, 0x5a, BLOCK);
	if (server_start_ours(b, &server, "extents", b->quick ? POOL_BYTES_QUICK : POOL_BYTES) != 0)
		goto out;
	for (int side = 0; side < SIDES; side++) {
		snprintf(path, sizeof(path), "%s/%s", server.mount,
			side == SIDE_OURS ? "whole" : "quarter");
		files[side].fd = open(path, O_CREAT | O_RDWR | O_DIRECT | O_CLOEXEC, 0644);
		if (files[side].fd < 0) {
			perror(path);
			goto out;
		}
	}
	result = measure(b, files, block);
out:
	for (int side = 0; side < SIDES; side++) {
		if (files[side].fd >= 0)
			close(files[side].fd);
	}
	if (server_stop(&server) != 0)
		result = -1;
	server_discard(&server);
	free(block);
	return result;
}
