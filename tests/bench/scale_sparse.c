// SPDX-License-Identifier: BSD-2-Clause
/*
 * scale_sparse.c - a sparse file of 1 TiB against one of 1 GiB: the same number of blocks at random
 * places, so that only the distance between them differs.
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
#define POOL_BYTES (512ull << 20)
#define BIG_BYTES (1ull << 40)
#define SMALL_BYTES (1ull << 30)
#define WRITES 2000u
#define ROUNDS 7u
#define TARGET 1.5

enum step { STEP_WRITE, STEP_READ_HOLES, STEP_SEEK, STEP_TRUNCATE, STEPS };
static const char *const step_names[STEPS] = {
	"sparse_write", "sparse_read_hole", "sparse_seek_data", "sparse_truncate"};

/* All steps on one file, microseconds a block each. */
static int run(int fd, uint64_t bytes, char *block, uint64_t seed, double us[STEPS])
{
	uint64_t times[STEPS + 1], state = seed;
	off_t at = 0;

	if (ftruncate(fd, (off_t)bytes) != 0)
		return -1;
	times[STEP_WRITE] = now_ns();
	for (unsigned i = 0; i < WRITES; i++) {
		state = state * 6364136223846793005ull + 1442695040888963407ull;
		if (pwrite(fd, block, BLOCK, (off_t)((state >> 20) % (bytes / BLOCK) * BLOCK)) !=
			(ssize_t)BLOCK)
			return -1;
	}
	times[STEP_READ_HOLES] = now_ns();
	for (unsigned i = 0; i < WRITES; i++) {
		state = state * 6364136223846793005ull + 1442695040888963407ull;
		if (pread(fd, block, BLOCK, (off_t)((state >> 20) % (bytes / BLOCK) * BLOCK)) !=
			(ssize_t)BLOCK)
			return -1;
	}
	times[STEP_SEEK] = now_ns();
	for (unsigned i = 0; i < WRITES && at >= 0; i++) {
		at = lseek(fd, at, SEEK_DATA);
		if (at >= 0)
			at = lseek(fd, at, SEEK_HOLE);
	}
	times[STEP_TRUNCATE] = now_ns();
	if (ftruncate(fd, 0) != 0)
		return -1;
	times[STEPS] = now_ns();
	for (int k = 0; k < STEPS; k++)
		us[k] = (double)(times[k + 1] - times[k]) / 1e3 / WRITES;
	return 0;
}

int scale_sparse(struct bench *b)
{
	const uint64_t bytes[SIDES] = {BIG_BYTES, SMALL_BYTES};
	struct series series[STEPS] = {0};
	int fds[SIDES] = {-1, -1}, result = -1;
	struct server server;
	double us[STEPS];
	void *block = NULL;
	char path[4300];

	if (posix_memalign(&block, BLOCK, BLOCK) != 0)
		return -1;
	memset(block, 0x5a, BLOCK);
	if (server_start_ours(b, &server, "sparse", POOL_BYTES) != 0)
		goto out;
	for (int side = 0; side < SIDES; side++) {
		snprintf(
			path, sizeof(path), "%s/%s", server.mount, side == SIDE_OURS ? "1t" : "1g");
		fds[side] = open(path, O_CREAT | O_RDWR | O_DIRECT | O_CLOEXEC, 0644);
		if (fds[side] < 0) {
			perror(path);
			goto out;
		}
	}
	for (unsigned round = 0; round < (b->quick ? 3 : ROUNDS); round++) {
		for (int side = 0; side < SIDES; side++) {
			if (run(fds[side], bytes[side], block, b->seed + round, us) != 0) {
				perror("leasebench: sparse file");
				goto out;
			}
			for (int k = 0; k < STEPS; k++)
				series_add(&series[k], side, us[k]);
		}
	}
	for (int k = 0; k < STEPS; k++) {
		struct row row = {.group = "scale",
			.name = step_names[k],
			.unit = "us/block",
			.ours = series_median(&series[k], SIDE_OURS),
			.baseline_name = "1 GiB",
			.baseline = series_median(&series[k], SIDE_BASELINE),
			.spread = series_spread(&series[k]),
			.target = TARGET,
			.sense = TARGET_AT_MOST};

		report_row(&row);
	}
	result = 0;
out:
	for (int side = 0; side < SIDES; side++) {
		if (fds[side] >= 0)
			close(fds[side]);
	}
	if (server_end(&server) != 0)
		result = -1;
	free(block);
	return result;
}
