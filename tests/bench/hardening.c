// SPDX-License-Identifier: BSD-2-Clause
/*
 * hardening.c - what it costs that the daemon drops privileges and filters its system calls: two
 * daemons of ours, one of them with hardening=off, in turns. Rows of the features group.
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
#include "server.h"

#define POOL_BYTES (256ull << 20)
#define BLOCK 4096u
#define BLOCKS 1024u
#define READS 2000u
#define NAMES 1000u

struct bed {
	struct server servers[SIDES];
	int roots[SIDES], files[SIDES];
	void *buffer;
};

static int start(struct bench *b, struct bed *t)
{
	for (int side = 0; side < SIDES; side++) {
		if (server_start_with(b, &t->servers[side], side == SIDE_OURS ? "on" : "off",
			    POOL_BYTES, side == SIDE_OURS ? NULL : "hardening=off", NULL) != 0)
			return -1;
		t->roots[side] = open(t->servers[side].mount, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		t->files[side] = openat(
			t->roots[side], "file", O_CREAT | O_RDWR | O_DIRECT | O_CLOEXEC, 0644);
		for (unsigned i = 0; i < BLOCKS; i++) {
			if (pwrite(t->files[side], t->buffer, BLOCK, (off_t)i * BLOCK) != BLOCK) {
				perror(t->servers[side].mount);
				return -1;
			}
		}
	}
	return 0;
}

static int stop(struct bed *t)
{
	int result = 0;

	for (int side = 0; side < SIDES; side++) {
		if (t->files[side] >= 0)
			close(t->files[side]);
		if (t->roots[side] >= 0)
			close(t->roots[side]);
		if (server_end(&t->servers[side]) != 0)
			result = -1;
	}
	return result;
}

static int do_read(const struct bed *t, int side, unsigned i)
{
	off_t at = (off_t)(i * 7919u % BLOCKS) * BLOCK;

	return pread(t->files[side], t->buffer, BLOCK, at) == BLOCK ? 0 : -1;
}

static int do_create(const struct bed *t, int side, unsigned i)
{
	char name[32];
	int fd;

	snprintf(name, sizeof(name), "file%u", i);
	fd = openat(t->roots[side], name, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644);
	return fd < 0 ? -1 : close(fd);
}

static int do_unlink(const struct bed *t, int side, unsigned i)
{
	char name[32];

	snprintf(name, sizeof(name), "file%u", i);
	return unlinkat(t->roots[side], name, 0);
}

static const struct {
	const char *name;
	int (*run)(const struct bed *t, int side, unsigned i);
	unsigned calls;
} calls[] = {
	{"hardening_read_4k", do_read, READS},
	{"hardening_create", do_create, NAMES},
	{"hardening_unlink", do_unlink, NAMES},
};
#define CALLS (sizeof(calls) / sizeof(calls[0]))

static int measure(struct bench *b, const struct bed *t)
{
	unsigned rounds = b->quick ? 3 : 31;
	struct series series[CALLS] = {0};

	for (unsigned round = 0; round <= rounds; round++) {
		/* Who goes second finds more in the caches: they change places. */
		for (int turn = 0; turn < SIDES; turn++) {
			int side = round % 2 == 0 ? turn : SIDES - 1 - turn;

			for (size_t k = 0; k < CALLS; k++) {
				uint64_t begin = now_ns();

				for (unsigned i = 0; i < calls[k].calls; i++) {
					if (calls[k].run(t, side, i) != 0) {
						perror(calls[k].name);
						return -1;
					}
				}
				if (round > 0) /* 0 warms up */
					series_add(&series[k], side,
						(double)(now_ns() - begin) / 1e3 / calls[k].calls);
			}
		}
	}
	for (size_t k = 0; k < CALLS; k++)
		report_against("features", calls[k].name, "us", &series[k], "off", NAN);
	return 0;
}

int measure_hardening(struct bench *b)
{
	struct bed t = {.roots = {-1, -1}, .files = {-1, -1}};
	int result = -1;

	if (posix_memalign(&t.buffer, BLOCK, BLOCK) != 0)
		return -1;
	memset(t.buffer, 0x5a, BLOCK);
	if (start(b, &t) == 0)
		result = measure(b, &t);
	if (stop(&t) != 0)
		result = -1;
	free(t.buffer);
	return result;
}
