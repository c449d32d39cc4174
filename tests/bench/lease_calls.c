// SPDX-License-Identifier: BSD-2-Clause
/*
 * lease_calls.c - what a lease costs: grant, return and counted pin against an ioctl of the same
 * number and size on the null server, with no other lease and with many on the same file; a pin in
 * shared memory against the two bare atomic additions that it consists of.
 *
 * A round takes a batch of leases of one block each, pins them, unpins them and returns them, each
 * step on all of them before the next. A write lease on a file that was written by ordinary writes
 * is the costly kind: the kernel may have to forget pages.
 */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "bench.h"
#include "client.h"
#include "leasefs/leasefs.h"
#include "pair.h"
#include "report.h"

#define POOL_BYTES (512ull << 20)
#define BLOCK 4096ull
#define FILE_BLOCKS 16384u
#define BATCH 1000u
#define OUTSTANDING 100000u
#define OUTSTANDING_QUICK 5000u
#define TARGET 1.3
#define PINS_A_ROUND 1000000u
#define PIN_LIMIT_NS 25.0
#define PIN_TARGET 3.0

enum step { STEP_GRANT, STEP_PIN, STEP_UNPIN, STEP_RETURN, STEPS };

struct lease_bed {
	struct bench *b;
	struct pair pair;
	struct client client;
	int files[SIDES];
	unsigned batch;
	uint64_t leases[BATCH];
	uint64_t pins[BATCH];
};

/* One call of ours; 0 or -errno. */
static int call_ours(struct lease_bed *t, enum step step, uint32_t mode, unsigned i)
{
	struct leasefs_grant g;
	int error;

	switch (step) {
	case STEP_GRANT:
		error = client_grant(&t->client, t->files[SIDE_OURS],
			i * 7919ull % FILE_BLOCKS * BLOCK, BLOCK, mode, &g);
		t->leases[i] = g.lease;
		return error;
	case STEP_PIN:
		return client_pin(&t->client, t->leases[i], &t->pins[i]);
	case STEP_UNPIN:
		return client_unpin(&t->client, t->pins[i]);
	default:
		return client_return(&t->client, t->leases[i]);
	}
}

/* The same ioctl on the null server, which copies as much in and out, and does nothing. */
static int call_null(struct lease_bed *t, enum step step)
{
	static const unsigned long commands[STEPS] = {[STEP_GRANT] = LEASEFS_IOC_GRANT,
		[STEP_PIN] = LEASEFS_IOC_PIN,
		[STEP_UNPIN] = LEASEFS_IOC_UNPIN,
		[STEP_RETURN] = LEASEFS_IOC_RETURN};
	struct leasefs_grant room = {0};

	return ioctl(t->files[SIDE_BASELINE], commands[step], &room) == 0 ? 0 : -errno;
}

static int run_round(struct lease_bed *t, enum side side, uint32_t mode, double us[STEPS])
{
	for (enum step step = 0; step < STEPS; step++) {
		uint64_t begin = now_ns();

		for (unsigned i = 0; i < t->batch; i++) {
			int error = side == SIDE_OURS ? call_ours(t, step, mode, i)
						      : call_null(t, step);

			if (error != 0) {
				fprintf(stderr, "leasebench: lease call %d: %s\n", (int)step,
					strerror(-error));
				return -1;
			}
		}
		us[step] = (double)(now_ns() - begin) / 1e3 / t->batch;
	}
	return 0;
}

static int measure_mode(struct lease_bed *t, uint32_t mode, const char *suffix)
{
	static const char *const names[STEPS] = {"grant", "pin_ioctl", "unpin_ioctl", "return"};
	unsigned rounds = t->b->quick ? 3 : 31;
	struct series series[STEPS] = {0};
	double us[STEPS];
	char name[64];

	for (unsigned round = 0; round <= rounds; round++) {
		for (int side = 0; side < SIDES; side++) {
			if (run_round(t, side, mode, us) != 0)
				return -1;
			for (int k = 0; k < STEPS && round > 0; k++) /* 0 warms up */
				series_add(&series[k], side, us[k]);
		}
	}
	for (int k = 0; k < STEPS; k++) {
		bool either = k == STEP_PIN || k == STEP_UNPIN; /* the mode does not matter */

		if (either && mode == LEASEFS_MODE_WRITE)
			continue;
		snprintf(name, sizeof(name), "%s%s%s", names[k],
			either                       ? ""
			: mode == LEASEFS_MODE_WRITE ? "_write"
						     : "_read",
			suffix);
		report_series("lease", name, "us", &series[k], TARGET);
	}
	return 0;
}

static int measure_modes(struct lease_bed *t, const char *suffix)
{
	if (measure_mode(t, LEASEFS_MODE_READ, suffix) != 0)
		return -1;
	return measure_mode(t, LEASEFS_MODE_WRITE, suffix);
}

static int take_outstanding(struct lease_bed *t)
{
	unsigned count = t->b->quick ? OUTSTANDING_QUICK : OUTSTANDING;
	struct leasefs_grant g;

	for (unsigned i = 0; i < count; i++) {
		int error = client_grant(&t->client, t->files[SIDE_OURS], i % FILE_BLOCKS * BLOCK,
			BLOCK, i % 2 != 0 ? LEASEFS_MODE_READ : LEASEFS_MODE_WRITE, &g);

		if (error != 0) {
			fprintf(stderr, "leasebench: lease %u: %s\n", i, strerror(-error));
			return -1;
		}
	}
	return 0;
}

/* ---- pins in shared memory ------------------------------------------------------------------- */

/* As programs do it, with what libleasefs' header puts into them. */
static double pin_and_unpin(struct leasefs_lease *lease)
{
	uint64_t begin = now_ns();
	unsigned failed = 0;

	for (unsigned i = 0; i < PINS_A_ROUND; i++) {
		if (leasefs_pin_lease(lease) != 0 || leasefs_unpin_lease(lease) != 0)
			failed++;
	}
	return failed != 0 ? -1 : (double)(now_ns() - begin) / PINS_A_ROUND;
}

static double add_and_subtract(struct leasefs_pin_line *line)
{
	_Atomic uint32_t *pins = (_Atomic uint32_t *)&line->pins;
	uint64_t begin = now_ns();

	for (unsigned i = 0; i < PINS_A_ROUND; i++) {
		atomic_fetch_add(pins, 1);
		atomic_fetch_sub(pins, 1);
	}
	return (double)(now_ns() - begin) / PINS_A_ROUND;
}

static int measure_slot(struct lease_bed *t)
{
	unsigned rounds = t->b->quick ? 3 : 31;
	struct leasefs_session *session = NULL;
	struct leasefs_lease *lease = NULL;
	struct leasefs_pin_line *line;
	struct series series = {0};
	int fd = t->files[SIDE_OURS], error = leasefs_open_session_at(fd, 0, &session);

	if (error == 0)
		error = leasefs_take_lease(session, fd, 0, BLOCK, LEASEFS_TAKE_READ, &lease);
	line = error == 0 ? ((struct leasefs_lease_head *)lease)->line : NULL;
	for (unsigned round = 0; round < rounds && line != NULL; round++) {
		double ns = pin_and_unpin(lease);

		if (ns < 0) {
			line = NULL;
			break;
		}
		series_add(&series, SIDE_OURS, ns);
		series_add(&series, SIDE_BASELINE, add_and_subtract(line));
	}
	if (lease != NULL)
		leasefs_return_lease(lease);
	if (session != NULL)
		leasefs_close_session(session);
	if (line == NULL) {
		fprintf(stderr, "leasebench: no pin in shared memory: %s\n", strerror(-error));
		return -1;
	}
	report_against("lease", "pin_slot", "ns", &series, "atomics", PIN_TARGET);
	report_limit(
		"lease", "pin_slot_limit", "ns", series_median(&series, SIDE_OURS), PIN_LIMIT_NS);
	return 0;
}

/* ---- the bed --------------------------------------------------------------------------------- */

static int open_files(struct lease_bed *t)
{
	char *block = calloc(1, 1 << 20);
	int result = 0;

	if (block == NULL)
		return -1;
	for (int side = 0; side < SIDES && result == 0; side++) {
		t->files[side] =
			openat(t->pair.roots[side], "leased", O_CREAT | O_RDWR | O_CLOEXEC, 0644);
		for (uint64_t at = 0; at < FILE_BLOCKS * BLOCK && result == 0; at += 1 << 20) {
			if (pwrite(t->files[side], block, 1 << 20, (off_t)at) != 1 << 20) {
				perror("leasebench: the leased file");
				result = -1;
			}
		}
	}
	free(block);
	return result;
}

int lease_calls(struct bench *b)
{
	struct lease_bed *t = calloc(1, sizeof(*t));
	int result = -1;

	if (t == NULL)
		return -1;
	t->b = b;
	t->batch = b->quick ? BATCH / 4 : BATCH;
	t->client.control = -1;
	t->files[SIDE_OURS] = t->files[SIDE_BASELINE] = -1;
	if (pair_start(b, &t->pair, POOL_BYTES) != 0 || open_files(t) != 0 ||
		client_open(&t->client, t->pair.servers[SIDE_OURS].mount) != 0)
		goto stop;
	if (measure_modes(t, "") != 0 || measure_slot(t) != 0 || take_outstanding(t) != 0 ||
		measure_modes(t, b->quick ? "_5k" : "_100k") != 0)
		goto stop;
	result = 0;
stop:
	client_close(&t->client);
	for (int side = 0; side < SIDES; side++) {
		if (t->files[side] >= 0)
			close(t->files[side]);
	}
	if (pair_stop(&t->pair) != 0)
		result = -1;
	free(t);
	return result;
}
