// SPDX-License-Identifier: BSD-2-Clause
/*
 * mapping_make.c - what it takes to lease and map a file: system calls and maps for one contiguous
 * file, time for one in ten thousand pieces; and what it takes a managed mapping to give way.
 *
 * The file in pieces: a large file takes the whole pool, every second block of it is punched, and
 * what is written then has nowhere else to go.
 */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mapped.h"
#include "mapping_calls.h"
#include "report.h"

#define MIB (1ul << 20)
#define WHOLE_MIB 1024ul
#define WHOLE_MIB_QUICK 64ul
#define ROUND_TRIPS 3.0
#define PAGE 4096ul
#define PIECES 10000ul
#define PIECES_QUICK 1000ul
#define PIECES_POOL_MIB 128ul
#define PIECES_TARGET 2.0
#define MANAGED_MIB 64ul
#define MANAGED_POOL_MIB 256ul

static void report_count(
	const char *name, const char *unit, double ours, const char *baseline_name, double baseline)
{
	struct row row = {.group = "mapping",
		.name = name,
		.unit = unit,
		.ours = ours,
		.baseline_name = baseline_name,
		.baseline = baseline,
		.spread = NAN,
		.target = 1.0,
		.sense = TARGET_AT_MOST};

	report_row(&row);
}

/* ---- in one piece ---------------------------------------------------------------------------- */

int mapping_whole(struct bench *b)
{
	size_t bytes = (b->quick ? WHOLE_MIB_QUICK : WHOLE_MIB) * MIB;
	struct mapping_calls before, after;
	struct mapped m = {0};
	struct server server;
	int result = -1, error;

	if (server_start_ours(b, &server, "whole", bytes + 64 * MIB) != 0 ||
		mapped_open(&m, &server, "file") != 0)
		goto stop;
	if (fallocate(m.file, 0, 0, (off_t)bytes) != 0) {
		perror("leasebench: fallocate");
		goto stop;
	}
	before = mapping_calls_now();
	error = leasefs_take_lease(m.session, m.file, 0, bytes, LEASEFS_TAKE_WRITE, &m.lease);
	if (error == 0)
		error = leasefs_map_lease(m.lease, 0, &m.leased);
	after = mapping_calls_now();
	if (error != 0) {
		fprintf(stderr, "leasebench: lease and map: %s\n", strerror(-error));
		goto stop;
	}
	leasefs_return_lease(m.lease);
	m.lease = NULL;
	if (mapped_lease(&m, bytes, LEASEFS_TAKE_WRITE) != 0)
		goto stop;
	report_count(
		"whole_round_trips", "calls", after.ioctls - before.ioctls, "limit", ROUND_TRIPS);
	report_count("whole_maps", "maps", after.maps - before.maps, "extents", m.extent_count);
	result = 0;
stop:
	mapped_close(&m);
	if (server_end(&server) != 0)
		result = -1;
	return result;
}

/* ---- in many pieces -------------------------------------------------------------------------- */

static int scatter(const struct server *s, size_t pieces)
{
	struct statvfs vfs;
	char path[4300];
	off_t bytes;
	int fd, result = -1;

	snprintf(path, sizeof(path), "%s/everything", s->mount);
	fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0644);
	if (fd < 0 || fstatvfs(fd, &vfs) != 0)
		goto out;
	bytes = (off_t)(vfs.f_bavail * vfs.f_frsize);
	/* A few blocks may be kept for metadata of the extents. */
	while (bytes > 0 && fallocate(fd, 0, 0, bytes) != 0)
		bytes -= (off_t)PAGE;
	for (size_t i = 0; i < pieces; i++) {
		if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)(2 * i * PAGE),
			    (off_t)PAGE) != 0)
			goto out;
	}
	result = 0;
out:
	if (result != 0)
		perror(path);
	if (fd >= 0)
		close(fd);
	return result;
}

/* From the request for the lease to the mapping, against the bare maps alone. */
static int map_round(struct mapped *m, double us[SIDES])
{
	uint64_t begin = now_ns();
	int error = leasefs_return_lease(m->lease);

	m->lease = NULL;
	m->leased = NULL;
	if (error == 0) {
		begin = now_ns();
		error = leasefs_take_lease(
			m->session, m->file, 0, m->bytes, LEASEFS_TAKE_WRITE, &m->lease);
	}
	if (error == 0)
		error = leasefs_map_lease(m->lease, 0, &m->leased);
	us[SIDE_OURS] = (double)(now_ns() - begin) / 1e3;
	if (error != 0) {
		fprintf(stderr, "leasebench: map in pieces: %s\n", strerror(-error));
		return -1;
	}
	if (mapped_unmap_leased(m) != 0)
		return -1;
	begin = now_ns();
	if (mapped_map_bare(m) != 0)
		return -1;
	us[SIDE_BASELINE] = (double)(now_ns() - begin) / 1e3;
	return mapped_unmap_bare(m);
}

int mapping_pieces(struct bench *b)
{
	size_t pieces = b->quick ? PIECES_QUICK : PIECES;
	unsigned rounds = b->quick ? 3 : 15;
	struct series series = {0};
	struct mapped m = {0};
	struct server server;
	double us[SIDES];
	int result = -1;

	if (server_start_ours(b, &server, "pieces", PIECES_POOL_MIB * MIB) != 0 ||
		scatter(&server, pieces) != 0 || mapped_open(&m, &server, "pieces") != 0)
		goto stop;
	if (ftruncate(m.file, (off_t)(pieces * PAGE)) != 0 ||
		mapped_lease(&m, pieces * PAGE, LEASEFS_TAKE_WRITE) != 0)
		goto stop;
	if (m.extent_count < pieces * 9 / 10) {
		fprintf(stderr, "leasebench: the file has %u pieces, not %zu\n", m.extent_count,
			pieces);
		goto stop;
	}
	for (unsigned round = 0; round <= rounds; round++) {
		if (map_round(&m, us) != 0)
			goto stop;
		for (int side = 0; side < SIDES && round > 0; side++) /* 0 warms up */
			series_add(&series, side, us[side]);
	}
	report_against("mapping", b->quick ? "map_1000_extents" : "map_10000_extents", "us",
		&series, "bare mmap", PIECES_TARGET);
	result = 0;
stop:
	mapped_close(&m);
	if (server_end(&server) != 0)
		result = -1;
	return result;
}

/* ---- giving way ------------------------------------------------------------------------------ */

/* In a child, which leases nothing: truncates the file when told to, and says how long it took. */
static void truncate_on_command(int commands, const char *path)
{
	double us;
	char byte;

	while (read(commands, &byte, 1) == 1) {
		uint64_t begin = now_ns();

		if (truncate(path, 0) != 0)
			_exit(1);
		us = (double)(now_ns() - begin) / 1e3;
		if (write(commands, &us, sizeof(us)) != (ssize_t)sizeof(us))
			_exit(1);
	}
	_exit(0);
}

static int give_way(struct mapped *m, int commands, bool managed, double *us)
{
	struct leasefs_lease *lease = NULL;
	size_t bytes = MANAGED_MIB * MIB;
	void *memory = NULL;
	char byte = 't';
	int error = 0;

	if (ftruncate(m->file, (off_t)bytes) != 0 || fallocate(m->file, 0, 0, (off_t)bytes) != 0) {
		perror("leasebench: fallocate");
		return -1;
	}
	if (managed) {
		error = leasefs_map_managed(
			m->session, m->file, 0, bytes, LEASEFS_TAKE_WRITE, &lease, &memory);
		if (error != 0) {
			fprintf(stderr, "leasebench: leasefs_map_managed: %s\n", strerror(-error));
			return -1;
		}
		memset(memory, 0x5a, bytes);
	}
	if (send(commands, &byte, 1, MSG_NOSIGNAL) != 1 ||
		read(commands, us, sizeof(*us)) != (ssize_t)sizeof(*us)) {
		fprintf(stderr, "leasebench: the truncate failed\n");
		error = -1;
	}
	if (lease != NULL)
		leasefs_return_lease(lease);
	return error == 0 ? 0 : -1;
}

static int measure_giving_way(struct bench *b, struct mapped *m, int commands)
{
	unsigned rounds = b->quick ? 3 : 15;
	struct series series = {0};
	double us;
	struct row row = {.group = "mapping",
		.name = "managed_recall_page",
		.unit = "ns/page",
		.baseline_name = "none",
		.baseline = NAN,
		.ratio = NAN,
		.spread = NAN,
		.target = NAN,
		.sense = TARGET_NONE};

	for (unsigned round = 0; round <= rounds; round++) {
		for (int side = 0; side < SIDES; side++) {
			if (give_way(m, commands, side == SIDE_OURS, &us) != 0)
				return -1;
			if (round > 0) /* 0 warms up */
				series_add(&series, side, us);
		}
	}
	report_against("mapping", "managed_recall_64m", "us", &series, "no lease", NAN);
	row.ours = (series_median(&series, SIDE_OURS) - series_median(&series, SIDE_BASELINE)) *
		   1e3 / (double)(MANAGED_MIB * MIB / PAGE);
	report_row(&row);
	return 0;
}

int mapping_managed(struct bench *b)
{
	int ends[2] = {-1, -1}, result = -1;
	struct mapped m = {0};
	struct server server;
	char path[4300];
	pid_t pid = -1;

	if (server_start_ours(b, &server, "managed", MANAGED_POOL_MIB * MIB) != 0 ||
		socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
		goto stop;
	snprintf(path, sizeof(path), "%s/file", server.mount);
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(ends[0]);
		truncate_on_command(ends[1], path);
	}
	close(ends[1]);
	if (pid < 0 || mapped_open(&m, &server, "file") != 0)
		goto stop;
	result = measure_giving_way(b, &m, ends[0]);
stop:
	if (ends[0] >= 0)
		close(ends[0]);
	while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		continue;
	mapped_close(&m);
	if (server_end(&server) != 0)
		result = -1;
	return result;
}
