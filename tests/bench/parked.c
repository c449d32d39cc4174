// SPDX-License-Identifier: BSD-2-Clause
/*
 * parked.c - what a thousand truncates that wait for leases cost everybody else: reads of another
 * file, grants, returns and status, beside a daemon in which nothing waits.
 *
 * The truncates wait in threads of a process of their own, each on a file of its own with a lease
 * of ours on it, under a policy that gives the holder minutes. At the end the leases are returned,
 * and every one of them has to succeed.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "bench.h"
#include "client.h"
#include "report.h"
#include "server.h"

#define POOL_BYTES (256ull << 20)
#define PARKED 1000u
#define PARKED_QUICK 100u
#define POLICY_XATTR "user.leasefs.policy"
#define POLICY "recall:600s/busy"
#define BLOCK 4096ul
#define FILE_BLOCKS 256u
#define CALLS 500u
#define TARGET 1.1
#define STACK_BYTES (64ul << 10)
#define PARK_WAIT_NS 60000000000ull
#define POLL_INTERVAL_US 1000

enum step { STEP_READ, STEP_GRANT, STEP_RETURN, STEP_STATUS, STEPS };

struct parked_bed {
	struct bench *b;
	unsigned count;
	struct server servers[SIDES]; /* with truncates that wait, and without */
	struct client clients[SIDES];
	int files[SIDES];
	uint64_t *held; /* leases that the truncates wait for */
	pid_t truncaters;
	char *buffer;
	uint64_t leases[CALLS];
};

static void path_of(const struct parked_bed *t, unsigned i, char path[4400])
{
	snprintf(path, 4400, "%s/waiting/%u", t->servers[SIDE_OURS].mount, i);
}

/* ---- the truncates --------------------------------------------------------------------------- */

static void *truncate_file(void *argument)
{
	return truncate(argument, 0) == 0 ? NULL : argument;
}

/* In the child: returns its exit status. */
static int truncate_all(const struct parked_bed *t)
{
	pthread_t *threads = calloc(t->count, sizeof(*threads));
	pthread_attr_t small;
	int status = 0;

	if (threads == NULL || pthread_attr_init(&small) != 0 ||
		pthread_attr_setstacksize(&small, STACK_BYTES) != 0)
		return 1;
	for (unsigned i = 0; i < t->count; i++) {
		char *path = malloc(4400);

		if (path == NULL)
			return 1;
		path_of(t, i, path);
		if (pthread_create(&threads[i], &small, truncate_file, path) != 0)
			return 1;
	}
	for (unsigned i = 0; i < t->count; i++) {
		void *failed;

		pthread_join(threads[i], &failed);
		if (failed != NULL)
			status = 1;
	}
	return status;
}

static int make_waiting_files(struct parked_bed *t)
{
	struct leasefs_grant g;
	char path[4400];

	snprintf(path, sizeof(path), "%s/waiting", t->servers[SIDE_OURS].mount);
	if (mkdir(path, 0755) != 0 ||
		setxattr(path, POLICY_XATTR, POLICY, strlen(POLICY), 0) != 0) {
		perror(path);
		return -1;
	}
	for (unsigned i = 0; i < t->count; i++) {
		int fd, error;

		path_of(t, i, path);
		fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0644);
		if (fd < 0) {
			perror(path);
			return -1;
		}
		error = client_grant(&t->clients[SIDE_OURS], fd, 0, BLOCK, LEASEFS_MODE_WRITE, &g);
		if (error == 0 && ftruncate(fd, (off_t)BLOCK) != 0)
			error = -errno;
		close(fd);
		if (error != 0) {
			fprintf(stderr, "leasebench: %s: %s\n", path, strerror(-error));
			return -1;
		}
		t->held[i] = g.lease;
	}
	return 0;
}

static int park_truncates(struct parked_bed *t)
{
	struct leasefs_status status = {0};
	uint64_t begin = now_ns();

	t->truncaters = fork();
	if (t->truncaters == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		_exit(truncate_all(t));
	}
	if (t->truncaters < 0) {
		t->truncaters = 0;
		perror("leasebench: fork");
		return -1;
	}
	while (status.parked < t->count) {
		status = (struct leasefs_status){0};
		if (ioctl(t->clients[SIDE_OURS].control, LEASEFS_IOC_STATUS, &status) != 0 ||
			now_ns() - begin > PARK_WAIT_NS) {
			fprintf(stderr, "leasebench: %llu of %u truncates wait\n",
				(unsigned long long)status.parked, t->count);
			return -1;
		}
		usleep(POLL_INTERVAL_US);
	}
	return 0;
}

/* Gives way to all of them: each has to have succeeded. */
static int end_truncates(struct parked_bed *t)
{
	int status, result = 0;

	if (t->truncaters == 0)
		return 0;
	for (unsigned i = 0; i < t->count; i++) {
		if (client_return(&t->clients[SIDE_OURS], t->held[i]) != 0)
			result = -1;
	}
	if (result != 0)
		kill(t->truncaters, SIGKILL);
	while (waitpid(t->truncaters, &status, 0) < 0) {
		if (errno != EINTR)
			return -1;
	}
	t->truncaters = 0;
	if (result == 0 && (!WIFEXITED(status) || WEXITSTATUS(status) != 0))
		result = -1;
	if (result != 0)
		fprintf(stderr, "leasebench: not all truncates that waited came to their end\n");
	return result;
}

/* ---- what goes on beside them ---------------------------------------------------------------- */

static int call(struct parked_bed *t, enum side side, enum step step, unsigned i)
{
	off_t offset = (off_t)(i * 7919ul % FILE_BLOCKS * BLOCK);
	struct leasefs_status status;
	struct leasefs_grant g;
	int error;

	switch (step) {
	case STEP_READ:
		return pread(t->files[side], t->buffer, BLOCK, offset) == (ssize_t)BLOCK ? 0 : -EIO;
	case STEP_GRANT:
		error = client_grant(&t->clients[side], t->files[side], (uint64_t)offset, BLOCK,
			LEASEFS_MODE_READ, &g);
		t->leases[i] = g.lease;
		return error;
	case STEP_RETURN:
		return client_return(&t->clients[side], t->leases[i]);
	default:
		status = (struct leasefs_status){0};
		return ioctl(t->clients[side].control, LEASEFS_IOC_STATUS, &status) == 0 ? 0
											 : -errno;
	}
}

static int measure(struct parked_bed *t)
{
	static const char *const names[STEPS] = {"read_4k", "grant", "return", "status"};
	unsigned rounds = t->b->quick ? 3 : 31;
	struct series series[STEPS] = {0};
	char name[64];

	for (unsigned round = 0; round <= rounds; round++) {
		for (unsigned k = 0; k < STEPS * SIDES; k++) {
			enum side side = k / STEPS;
			enum step step = k % STEPS;
			uint64_t begin = now_ns();

			for (unsigned i = 0; i < CALLS; i++) {
				int error = call(t, side, step, i);

				if (error != 0) {
					fprintf(stderr, "leasebench: %s: %s\n", names[step],
						strerror(-error));
					return -1;
				}
			}
			if (round > 0) /* 0 warms up */
				series_add(&series[step], side,
					(double)(now_ns() - begin) / 1e3 / CALLS);
		}
	}
	for (int step = 0; step < STEPS; step++) {
		snprintf(name, sizeof(name), "%s_beside_parked", names[step]);
		report_against("arbitration", name, "us", &series[step], "none parked", TARGET);
	}
	return 0;
}

/* ---- the bed --------------------------------------------------------------------------------- */

static int start_side(struct parked_bed *t, enum side side)
{
	char path[4400];

	if (server_start_ours(t->b, &t->servers[side], side == SIDE_OURS ? "parked" : "free",
		    POOL_BYTES) != 0 ||
		client_open(&t->clients[side], t->servers[side].mount) != 0)
		return -1;
	snprintf(path, sizeof(path), "%s/file", t->servers[side].mount);
	t->files[side] = open(path, O_CREAT | O_RDWR | O_DIRECT | O_CLOEXEC, 0644);
	for (unsigned i = 0; i < FILE_BLOCKS; i++) {
		if (pwrite(t->files[side], t->buffer, BLOCK, (off_t)(i * BLOCK)) !=
			(ssize_t)BLOCK) {
			perror(path);
			return -1;
		}
	}
	return 0;
}

int arbitration_parked(struct bench *b)
{
	struct parked_bed *t = calloc(1, sizeof(*t));
	void *buffer = NULL;
	int result = -1;

	if (t == NULL)
		return -1;
	t->b = b;
	t->count = b->quick ? PARKED_QUICK : PARKED;
	t->held = calloc(t->count, sizeof(*t->held));
	for (int side = 0; side < SIDES; side++)
		t->clients[side].control = t->files[side] = -1;
	if (t->held == NULL || posix_memalign(&buffer, BLOCK, BLOCK) != 0)
		goto stop;
	t->buffer = memset(buffer, 0x5a, BLOCK);
	if (start_side(t, SIDE_OURS) != 0 || start_side(t, SIDE_BASELINE) != 0 ||
		make_waiting_files(t) != 0 || park_truncates(t) != 0 || measure(t) != 0)
		goto stop;
	result = 0;
stop:
	if (end_truncates(t) != 0)
		result = -1;
	for (int side = 0; side < SIDES; side++) {
		client_close(&t->clients[side]);
		if (t->files[side] >= 0)
			close(t->files[side]);
		if (server_end(&t->servers[side]) != 0)
			result = -1;
	}
	free(t->held);
	free(buffer);
	free(t);
	return result;
}
