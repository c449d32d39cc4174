// SPDX-License-Identifier: BSD-2-Clause
/*
 * leak.c - what must be found: a client that keeps a little more of the daemon with each round.
 *
 *   descriptors   sessions: a pidfd and a pin file each
 *   memory        leases on a sparse file
 *   quarantine    blocks of a revoked lease that is never acknowledged
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <leasefs/leasefs.h>

#include "soak.h"

#define UNIT 4096u
#define KEPT_BYTES (32 * UNIT)

static const double a_second[] = {
	[LEAK_DESCRIPTORS] = 50, [LEAK_MEMORY] = 6000, [LEAK_QUARANTINE] = 64};

static int leak_file(struct worker *w, uint64_t bytes)
{
	char path[4200];
	int fd;

	snprintf(path, sizeof(path), "%s/leak", w->mount);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
	if (fd < 0 || ftruncate(fd, (off_t)bytes))
		wrong(w, "%s: %s", path, strerror(errno));
	return fd;
}

static struct leasefs_session *open_session(struct worker *w)
{
	struct leasefs_session *session;
	int error = leasefs_open_session(w->mount, LEASEFS_SESSION_NO_THREAD, &session);

	if (error)
		wrong(w, "a session to keep: %s", strerror(-error));
	return session;
}

static void keep_lease(struct worker *w, struct leasefs_session *session)
{
	static int fd = -1;
	static uint64_t at;
	struct leasefs_lease *lease;
	int error;

	if (fd < 0)
		fd = leak_file(w, 1ull << 40);
	error = leasefs_take_lease(session, fd, at, UNIT, LEASEFS_TAKE_READ, &lease);
	if (error)
		wrong(w, "a lease to keep: %s", strerror(-error));
	at += 2 * UNIT;
}

static void keep_blocks(struct worker *w, struct leasefs_session *session)
{
	int fd = leak_file(w, KEPT_BYTES), error;
	struct leasefs_lease *lease;
	void *memory;

	error = leasefs_take_lease(session, fd, 0, KEPT_BYTES, LEASEFS_TAKE_WRITE, &lease);
	if (!error)
		error = leasefs_map_lease(lease, 0, &memory);
	if (error || ftruncate(fd, 0))
		wrong(w, "a lease to be revoked: %s", strerror(error ? -error : errno));
	close(fd);
}

/* How many by now, however few rounds a busy machine has time for. */
static unsigned long wanted(enum leak leak)
{
	static struct timespec first;
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	if (first.tv_sec == 0)
		first = now;
	return (unsigned long)(((double)(now.tv_sec - first.tv_sec) +
				       (double)(now.tv_nsec - first.tv_nsec) / 1e9) *
			       a_second[leak]);
}

unsigned long leak_in(enum leak leak, double seconds)
{
	return (unsigned long)(a_second[leak] * seconds);
}

void round_leak(struct worker *w)
{
	static struct leasefs_session *session;
	unsigned long upto = wanted(w->leak);

	if (!session)
		session = open_session(w);
	while (atomic_load(&w->board->leaked) < upto && !atomic_load(&w->board->stop)) {
		if (w->leak == LEAK_DESCRIPTORS)
			(void)open_session(w);
		else if (w->leak == LEAK_MEMORY)
			keep_lease(w, session);
		else
			keep_blocks(w, session);
		atomic_fetch_add(&w->board->leaked, 1);
	}
}
