// SPDX-License-Identifier: BSD-2-Clause
/*
 * lease_crowd.c - a million leases: what they cost a truncate that has nothing to do with them, and
 * the memory that the daemon needs for each.
 *
 * Two daemons of ours: in one, half of the leases lie on the file that is truncated, below what is
 * cut off, and half on other files; in the other there is no session at all. Each call of a round
 * takes one block off the end; between rounds the file is filled again.
 */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench.h"
#include "client.h"
#include "report.h"
#include "server.h"

#define POOL_BYTES (512ull << 20)
#define BLOCK 4096ull
#define LEASES 1000000u
#define LEASES_QUICK 20000u
#define SESSIONS 2u /* a session's limit is a million */
#define OTHER_FILES 64u
#define LEASED_BLOCKS 1024u /* of each file: several leases a block */
#define CUT_BLOCKS 512u
#define TARGET 1.05
#define LEASE_BYTES_LIMIT 256.0

struct crowd {
	struct bench *b;
	struct server servers[SIDES]; /* with leases, and without */
	int files[SIDES];
	int others[OTHER_FILES];
	struct client clients[SESSIONS];
};

static int make_file(const struct server *s, const char *name)
{
	char path[4300];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", s->mount, name);
	fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0644);
	if (fd < 0 || fallocate(fd, 0, 0, (off_t)(LEASED_BLOCKS * BLOCK)) != 0) {
		perror(path);
		if (fd >= 0)
			close(fd);
		return -1;
	}
	return fd;
}

static int make_files(struct crowd *c)
{
	char name[32];

	for (int side = 0; side < SIDES; side++) {
		c->files[side] = make_file(&c->servers[side], "target");
		if (c->files[side] < 0)
			return -1;
	}
	for (unsigned i = 0; i < OTHER_FILES; i++) {
		snprintf(name, sizeof(name), "other%u", i);
		c->others[i] = make_file(&c->servers[SIDE_OURS], name);
		if (c->others[i] < 0)
			return -1;
	}
	return 0;
}

static int take_leases(struct crowd *c, unsigned count)
{
	struct leasefs_grant g;

	for (unsigned i = 0; i < count; i++) {
		int fd = i % 2 == 0 ? c->files[SIDE_OURS] : c->others[i / 2 % OTHER_FILES];
		int error = client_grant(&c->clients[i % SESSIONS], fd,
			i / 2 % LEASED_BLOCKS * BLOCK, BLOCK, LEASEFS_MODE_READ, &g);

		if (error != 0) {
			fprintf(stderr, "leasebench: lease %u: %s\n", i, strerror(-error));
			return -1;
		}
	}
	return 0;
}

static int report_memory(struct crowd *c)
{
	unsigned count = c->b->quick ? LEASES_QUICK : LEASES;
	int64_t before = server_memory_bytes(&c->servers[SIDE_OURS]), after;

	if (take_leases(c, count) != 0)
		return -1;
	after = server_memory_bytes(&c->servers[SIDE_OURS]);
	if (before < 0 || after < 0) {
		fprintf(stderr, "leasebench: no RssAnon in /proc/PID/status\n");
		return -1;
	}
	report_limit("lease", "memory_per_lease", "bytes", (double)(after - before) / count,
		LEASE_BYTES_LIMIT);
	return 0;
}

static int cut_round(int fd, double *us)
{
	off_t floor = (off_t)(LEASED_BLOCKS * BLOCK);
	uint64_t begin;

	if (fallocate(fd, 0, floor, (off_t)(CUT_BLOCKS * BLOCK)) != 0) {
		perror("leasebench: fallocate");
		return -1;
	}
	begin = now_ns();
	for (unsigned left = CUT_BLOCKS; left > 0; left--) {
		if (ftruncate(fd, floor + (off_t)((left - 1) * BLOCK)) != 0) {
			perror("leasebench: truncate");
			return -1;
		}
	}
	*us = (double)(now_ns() - begin) / 1e3 / CUT_BLOCKS;
	return 0;
}

static int measure_truncate(struct crowd *c)
{
	unsigned rounds = c->b->quick ? 3 : 41;
	struct series series = {0};
	double us;

	for (unsigned round = 0; round <= rounds; round++) {
		for (int side = 0; side < SIDES; side++) {
			if (cut_round(c->files[side], &us) != 0)
				return -1;
			if (round > 0) /* 0 warms up */
				series_add(&series, side, us);
		}
	}
	report_against("lease", c->b->quick ? "truncate_beside_20k" : "truncate_beside_1m", "us",
		&series, "no leases", TARGET);
	return 0;
}

int lease_crowd(struct bench *b)
{
	struct crowd c = {.b = b, .files = {-1, -1}};
	int result = -1;

	for (unsigned i = 0; i < OTHER_FILES; i++)
		c.others[i] = -1;
	for (unsigned i = 0; i < SESSIONS; i++)
		c.clients[i].control = -1;
	if (server_start_ours(b, &c.servers[SIDE_OURS], "crowd", POOL_BYTES) != 0 ||
		server_start_ours(b, &c.servers[SIDE_BASELINE], "alone", POOL_BYTES) != 0 ||
		make_files(&c) != 0)
		goto stop;
	for (unsigned i = 0; i < SESSIONS; i++) {
		if (client_open(&c.clients[i], c.servers[SIDE_OURS].mount) != 0)
			goto stop;
	}
	if (report_memory(&c) != 0 || measure_truncate(&c) != 0)
		goto stop;
	result = 0;
stop:
	for (unsigned i = 0; i < SESSIONS; i++)
		client_close(&c.clients[i]);
	for (unsigned i = 0; i < OTHER_FILES; i++) {
		if (c.others[i] >= 0)
			close(c.others[i]);
	}
	for (int side = 0; side < SIDES; side++) {
		if (c.files[side] >= 0)
			close(c.files[side]);
		if (server_end(&c.servers[side]) != 0)
			result = -1;
	}
	return result;
}
