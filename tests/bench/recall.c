// SPDX-License-Identifier: BSD-2-Clause
/*
 * recall.c - a truncate that meets a lease, with a holder that gives way at once: from the call to
 * its completion, in round trips to the null server. Beside it the same with the kernel's own file
 * leases (fcntl F_SETLEASE, a signal, F_UNLCK) on tmpfs.
 *
 * Holders are processes of their own: who truncates what they lease themselves recalls nobody. One
 * command byte makes a holder take its lease; then it waits for the recall, gives the lease back,
 * and waits for the next command. Everybody shares one processor. Before a timed call the caller
 * lets go of it for a moment, so that the holder stands in its wait; without that the figure would
 * be better than what a program sees.
 */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"
#include "client.h"
#include "pair.h"
#include "report.h"
#include "samples.h"

#define POOL_BYTES (256ull << 20)
#define FILE_BYTES (64l << 10)
#define CUT_BYTES (32l << 10)
#define CALLS_A_ROUND 64u
#define SETTLE_NS 50000l /* several context switches */
#define MEDIAN_TARGET 4.0
#define TAIL_TARGET 10.0
#define TAIL 0.99

enum way { WAY_OURS, WAY_NULL, WAY_FCNTL, WAYS };

struct holder {
	pid_t pid; /* 0: none */
	int commands;
};

struct recall_bed {
	struct bench *b;
	struct pair pair;
	struct server plain; /* a directory of the pools' own filesystem */
	char paths[WAYS][4300];
	struct holder holders[WAYS];
	struct samples samples[WAYS];
	void *bytes; /* to write */
};

/* ---- holders --------------------------------------------------------------------------------- */

/* In the child: each takes its lease, says so, and gives it back when it is asked for it. */

static int hold_ours(int commands, const char *mount, const char *path)
{
	struct leasefs_event event;
	struct leasefs_grant grant;
	struct client client;
	int fd = open(path, O_RDWR | O_CLOEXEC);
	char command;

	if (fd < 0 || client_open(&client, mount) != 0)
		return 1;
	while (read(commands, &command, 1) == 1) {
		if (client_grant(&client, fd, 0, FILE_BYTES, LEASEFS_MODE_WRITE, &grant) != 0 ||
			write(commands, &command, 1) != 1)
			return 1;
		do {
			if (client_event(&client, &event) != 0)
				return 1;
		} while (event.kind != LEASEFS_EVENT_RECALL || event.lease != grant.lease);
		if (client_return(&client, grant.lease) != 0)
			return 1;
	}
	return 0;
}

static int hold_fcntl(int commands, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	sigset_t signals;
	char command;

	sigemptyset(&signals);
	sigaddset(&signals, SIGRTMIN);
	if (fd < 0 || sigprocmask(SIG_BLOCK, &signals, NULL) != 0)
		return 1;
	while (read(commands, &command, 1) == 1) {
		/* The kernel forgets the signal with the lease. */
		if (fcntl(fd, F_SETSIG, SIGRTMIN) != 0 || fcntl(fd, F_SETLEASE, F_RDLCK) != 0 ||
			write(commands, &command, 1) != 1)
			return 1;
		if (sigwaitinfo(&signals, NULL) != SIGRTMIN || fcntl(fd, F_SETLEASE, F_UNLCK) != 0)
			return 1;
	}
	return 0;
}

static int start_holder(struct recall_bed *t, enum way way)
{
	struct holder *h = &t->holders[way];
	int ends[2], status;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
		perror("leasebench: socketpair");
		return -1;
	}
	h->pid = fork();
	if (h->pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(ends[0]);
		for (enum way other = 0; other < way;
			other++) { /* or its holder never sees the end */
			if (t->holders[other].pid != 0)
				close(t->holders[other].commands);
		}
		status = way == WAY_OURS ? hold_ours(ends[1], t->pair.servers[SIDE_OURS].mount,
						   t->paths[way])
					 : hold_fcntl(ends[1], t->paths[way]);
		_exit(status);
	}
	close(ends[1]);
	if (h->pid < 0) {
		h->pid = 0;
		close(ends[0]);
		perror("leasebench: fork");
		return -1;
	}
	h->commands = ends[0];
	return 0;
}

static int end_holder(struct holder *h)
{
	int status;

	if (h->pid == 0)
		return 0;
	close(h->commands);
	while (waitpid(h->pid, &status, 0) < 0) {
		if (errno != EINTR)
			return -1;
	}
	h->pid = 0;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	fprintf(stderr, "leasebench: a holder ended badly (status %d)\n", status);
	return -1;
}

/* ---- calls ----------------------------------------------------------------------------------- */

/*
 * The part that is cut off is written, and the file closed: with a writer, no lease of the
 * kernel's. A write also tells the kernel that the file has no privileges to take away; it would
 * ask before each of several truncates in a row, one round trip more.
 */
static int write_end(const struct recall_bed *t, enum way way)
{
	int fd = open(t->paths[way], O_WRONLY | O_DIRECT | O_CLOEXEC);
	size_t bytes = FILE_BYTES - CUT_BYTES;
	int result = 0;

	if (fd < 0 || pwrite(fd, t->bytes, bytes, CUT_BYTES) != (ssize_t)bytes) {
		perror(t->paths[way]);
		result = -1;
	}
	if (fd >= 0)
		close(fd);
	return result;
}

/* One conflict (or, of the null server, one round trip). */
static int ask_once(struct recall_bed *t, enum way way)
{
	struct timespec settle = {.tv_nsec = SETTLE_NS};
	uint64_t begin;
	char byte = 'l';

	if (write_end(t, way) != 0)
		return -1;
	if (t->holders[way].pid != 0 &&
		(send(t->holders[way].commands, &byte, 1, MSG_NOSIGNAL) != 1 ||
			read(t->holders[way].commands, &byte, 1) != 1)) {
		fprintf(stderr, "leasebench: a holder could not take its lease\n");
		return -1;
	}
	nanosleep(&settle, NULL);
	begin = now_ns();
	if (truncate(t->paths[way], CUT_BYTES) != 0) {
		perror(t->paths[way]);
		return -1;
	}
	samples_add(&t->samples[way], (double)(now_ns() - begin) / 1e3);
	return 0;
}

static void report_tail(const struct recall_bed *t, enum way way, const char *baseline_name,
	const char *name, double target)
{
	struct row row = {
		.group = "arbitration",
		.name = name,
		.unit = "us",
		.ours = samples_quantile(&t->samples[WAY_OURS], 0, TAIL),
		.baseline_name = baseline_name,
		.baseline = samples_quantile(&t->samples[way], 0, way == WAY_NULL ? 0.5 : TAIL),
		.spread = NAN,
		.target = target,
		.sense = isnan(target) ? TARGET_NONE : TARGET_AT_MOST,
	};

	report_row(&row);
}

static int measure(struct recall_bed *t)
{
	unsigned rounds = t->b->quick ? 3 : 41;
	struct series against[WAYS] = {0};

	for (unsigned round = 0; round <= rounds; round++) {
		double median[WAYS];

		for (int way = 0; way < WAYS; way++) {
			unsigned first = t->samples[way].count;

			for (unsigned i = 0; i < CALLS_A_ROUND; i++) {
				if (ask_once(t, way) != 0)
					return -1;
			}
			median[way] = samples_quantile(&t->samples[way], first, 0.5);
			if (round == 0) /* warms up */
				t->samples[way].count = 0;
		}
		for (int way = WAY_NULL; way < WAYS && round > 0; way++) {
			series_add(&against[way], SIDE_OURS, median[WAY_OURS]);
			series_add(&against[way], SIDE_BASELINE, median[way]);
		}
	}
	report_against("arbitration", "recall", "us", &against[WAY_NULL], "null", MEDIAN_TARGET);
	report_tail(t, WAY_NULL, "null", "recall_p99", TAIL_TARGET);
	report_against("arbitration", "recall_fcntl", "us", &against[WAY_FCNTL], "fcntl", NAN);
	report_tail(t, WAY_FCNTL, "fcntl", "recall_fcntl_p99", NAN);
	return 0;
}

/* ---- the bed --------------------------------------------------------------------------------- */

static int make_file(const char *path)
{
	char *bytes = calloc(1, FILE_BYTES);
	int fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0644), result = -1;

	if (fd < 0 || bytes == NULL || pwrite(fd, bytes, FILE_BYTES, 0) != FILE_BYTES)
		perror(path);
	else
		result = 0;
	if (fd >= 0)
		close(fd);
	free(bytes);
	return result;
}

int arbitration_recall(struct bench *b)
{
	struct recall_bed *t = calloc(1, sizeof(*t));
	int result = -1;

	if (t == NULL)
		return -1;
	t->b = b;
	if (posix_memalign(&t->bytes, 4096, FILE_BYTES) != 0)
		t->bytes = NULL;
	else
		memset(t->bytes, 0x5a, FILE_BYTES);
	if (t->bytes == NULL || pair_start(b, &t->pair, POOL_BYTES) != 0)
		goto stop;
	snprintf(t->paths[WAY_OURS], sizeof(t->paths[0]), "%s/file",
		t->pair.servers[SIDE_OURS].mount);
	snprintf(t->paths[WAY_NULL], sizeof(t->paths[0]), "%s/file",
		t->pair.servers[SIDE_BASELINE].mount);
	if (server_use_directory(b, &t->plain, "fcntl", b->pool_dir) != 0)
		goto stop;
	snprintf(t->paths[WAY_FCNTL], sizeof(t->paths[0]), "%s/file", t->plain.mount);
	for (int way = 0; way < WAYS; way++) {
		if (make_file(t->paths[way]) != 0 || (way != WAY_NULL && start_holder(t, way) != 0))
			goto stop;
	}
	result = measure(t);
stop:
	for (int way = 0; way < WAYS; way++) {
		if (end_holder(&t->holders[way]) != 0)
			result = -1;
	}
	if (t->plain.mount[0] != '\0')
		server_discard(&t->plain);
	if (pair_stop(&t->pair) != 0)
		result = -1;
	free(t->bytes);
	free(t);
	return result;
}
