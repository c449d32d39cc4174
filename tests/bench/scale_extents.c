// SPDX-License-Identifier: BSD-2-Clause
/*
 * scale_extents.c - a file of a million extents: every second block written.
 *
 * Nothing may cost more than it should as the file grows, so the baseline is a file of a quarter of
 * the extents, and figures are per extent: a cost that grew with the square would show as 4. The
 * two files take turns in pieces: the last tenth of their writes, random reads, punches of the
 * middle half; one truncate of each frees the rest in a single call.
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
#define PIECES 10u
#define POOL_BYTES (6ull << 30)
#define POOL_BYTES_QUICK (512ull << 20)
#define TARGET 2.0

struct extents_file {
	int fd;
	unsigned extents;
};

static int write_extents(
	const struct extents_file *f, const char *block, unsigned first, unsigned end, double *us)
{
	uint64_t begin = now_ns();

	for (unsigned i = first; i < end; i++) {
		if (pwrite(f->fd, block, BLOCK, (off_t)(2 * BLOCK * i)) != (ssize_t)BLOCK) {
			fprintf(stderr, "leasebench: write of extent %u: %s\n", i, strerror(errno));
			return -1;
		}
	}
	*us = (double)(now_ns() - begin) / 1e3 / (end - first);
	return 0;
}

/* One of PIECES parts of the file's middle half. */
static int punch_extents(const struct extents_file *f, unsigned piece, double *us)
{
	unsigned count = f->extents / 2 / PIECES, first = f->extents / 4 + piece * count;
	uint64_t begin = now_ns();

	if (fallocate(f->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)(2 * BLOCK * first),
		    (off_t)(2 * BLOCK * count)) != 0) {
		perror("leasebench: punch");
		return -1;
	}
	*us = (double)(now_ns() - begin) / 1e3 / count;
	return 0;
}

static int truncate_extents(const struct extents_file *f, double *us)
{
	uint64_t begin = now_ns();

	if (ftruncate(f->fd, 0) != 0) {
		perror("leasebench: truncate");
		return -1;
	}
	*us = (double)(now_ns() - begin) / 1e3 / (f->extents - f->extents / 2);
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

static void report_growth(const char *name, const struct series *s)
{
	struct row row = {.group = "scale",
		.name = name,
		.unit = "us/extent",
		.ours = series_median(s, SIDE_OURS),
		.baseline_name = "quarter",
		.baseline = series_median(s, SIDE_BASELINE),
		.spread = series_spread(s),
		.target = TARGET,
		.sense = TARGET_AT_MOST};

	report_row(&row);
}

static int measure(struct bench *b, const struct extents_file files[SIDES], char *block)
{
	struct series writes = {0}, reads = {0}, punches = {0}, truncates = {0};
	double us;

	for (int side = 0; side < SIDES; side++) {
		unsigned most = files[side].extents - files[side].extents / 10;

		if (write_extents(&files[side], block, 0, most, &us) != 0)
			return -1;
	}
	for (unsigned piece = 0; piece < PIECES; piece++) {
		for (int side = 0; side < SIDES; side++) {
			unsigned tenth = files[side].extents / 10;
			unsigned first = files[side].extents - tenth + tenth / PIECES * piece;

			if (write_extents(
				    &files[side], block, first, first + tenth / PIECES, &us) != 0)
				return -1;
			series_add(&writes, side, us);
		}
	}
	for (unsigned piece = 0; piece < PIECES; piece++) {
		for (int side = 0; side < SIDES; side++) {
			if (read_extents(&files[side], block, b->seed + piece, &us) != 0)
				return -1;
			series_add(&reads, side, us);
		}
	}
	for (unsigned piece = 0; piece < PIECES; piece++) {
		for (int side = 0; side < SIDES; side++) {
			if (punch_extents(&files[side], piece, &us) != 0)
				return -1;
			series_add(&punches, side, us);
		}
	}
	for (int side = 0; side < SIDES; side++) {
		if (truncate_extents(&files[side], &us) != 0)
			return -1;
		series_add(&truncates, side, us);
	}
	report_growth("extents_write", &writes);
	report_growth("extents_read", &reads);
	report_growth("extents_punch", &punches);
	report_growth("extents_truncate", &truncates);
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
	if (server_end(&server) != 0)
		result = -1;
	free(block);
	return result;
}
