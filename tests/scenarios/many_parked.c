// SPDX-License-Identifier: BSD-2-Clause
/*
 * many_parked.c - far more truncates wait than the daemon has threads, and nobody notices.
 *
 *   many_parked MOUNT COUNT     (on a mount whose policy waits long: recall:100s/busy)
 *
 * One session leases COUNT files, as many processes truncate them, and all wait. Meanwhile the
 * daemon has no more threads than before, answers status calls, and serves an ordinary file; then
 * each return lets its truncate go on, and all succeed.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "leasefs/control.h"

#define THREADS_MAX 100u  /* of the daemon: workers for requests, and a few for leases */
#define PATIENCE_S 60     /* until all wait, on a loaded machine */
#define STATUS_MAX_S 0.25 /* a call, on average: it is tens of microseconds on an idle one */

static const char *mount_point;
static int control;

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void fail(const char *what)
{
	fprintf(stderr, "many_parked: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void name_of(unsigned i, char out[4096])
{
	snprintf(out, 4096, "%s/parked.%u", mount_point, i);
}

static struct leasefs_status status(void)
{
	struct leasefs_status s = {0};

	if (ioctl(control, LEASEFS_IOC_STATUS, &s))
		fail("STATUS");
	return s;
}

static uint64_t lease_file(const struct leasefs_hello *hello, unsigned i)
{
	struct leasefs_grant g = {.length = 4096, .mode = LEASEFS_MODE_WRITE};
	char path[4096];
	int fd;

	name_of(i, path);
	fd = open(path, O_RDWR | O_CREAT, 0600);
	memcpy(g.cookie, hello->cookie, sizeof(g.cookie));
	if (fd < 0 || write(fd, path, sizeof(path)) != (ssize_t)sizeof(path) ||
		ioctl(fd, LEASEFS_IOC_GRANT, &g))
		fail(path);
	close(fd);
	return g.lease;
}

static void start_truncate(unsigned i)
{
	char path[4096];
	pid_t pid = fork();

	if (pid < 0)
		fail("fork");
	if (pid > 0)
		return;
	close(control);
	name_of(i, path);
	_exit(truncate(path, 0) ? errno : 0);
}

static unsigned daemon_threads(uint64_t pid)
{
	char path[64], line[256];
	unsigned threads = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%llu/status", (unsigned long long)pid);
	f = fopen(path, "r");
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "Threads: %u", &threads) == 1)
			break;
	if (f)
		fclose(f);
	return threads;
}

static int check_meanwhile(unsigned count)
{
	double began = now();
	struct leasefs_status s = status();
	unsigned threads;

	while (s.parked < count && now() - began < PATIENCE_S) {
		usleep(20000);
		s = status();
	}
	began = now();
	for (int i = 0; i < 20; i++)
		s = status();
	threads = daemon_threads(s.daemon_pid);
	printf("%llu wait, %u threads, a status call in %.0f us\n", (unsigned long long)s.parked,
		threads, (now() - began) / 20 * 1e6);
	return s.parked == count && threads <= THREADS_MAX && (now() - began) / 20 < STATUS_MAX_S;
}

int main(int argc, char **argv)
{
	struct leasefs_hello hello = {.abi = LEASEFS_ABI};
	unsigned count = argc == 3 ? (unsigned)atoi(argv[2]) : 0, failed = 0;
	uint64_t *leases = calloc(count + 1, sizeof(*leases));
	char path[4096];
	int ok;

	if (!count || !leases) {
		fprintf(stderr, "usage: many_parked MOUNT COUNT\n");
		return 2;
	}
	mount_point = argv[1];
	snprintf(path, sizeof(path), "%s/%s", mount_point, LEASEFS_CONTROL_PATH);
	control = open(path, O_RDWR | O_CLOEXEC);
	if (control < 0 || ioctl(control, LEASEFS_IOC_HELLO, &hello))
		fail(path);
	for (unsigned i = 0; i < count; i++)
		leases[i] = lease_file(&hello, i);
	for (unsigned i = 0; i < count; i++)
		start_truncate(i);
	ok = check_meanwhile(count);
	lease_file(&hello, count); /* another file, as if nothing were */
	for (unsigned i = 0; i < count; i++) {
		struct leasefs_return r = {.lease = leases[i]};

		if (ioctl(control, LEASEFS_IOC_RETURN, &r))
			fail("RETURN");
	}
	for (unsigned i = 0; i < count; i++) {
		int child;

		if (wait(&child) < 0 || child != 0)
			failed++;
	}
	if (failed)
		fprintf(stderr, "many_parked: %u of %u truncates failed\n", failed, count);
	free(leases);
	return !ok || failed;
}
