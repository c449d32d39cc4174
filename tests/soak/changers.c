// SPDX-License-Identifier: BSD-2-Clause
/*
 * changers.c - truncates, punches, removes and replaces the held files, as programs that know
 * nothing of leases; under every policy that an ordinary user may set.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "soak.h"

#define PATIENCE_US 150000 /* with the policy `wait`: then it is interrupted */

static const char *const policies[] = {
	"recall:20ms/busy", "recall:30ms/orphan", "recall:20ms/wait", "busy"};

const char *held_path(const struct worker *w, unsigned file)
{
	static char path[4200];

	snprintf(path, sizeof(path), "%s/held.%u", w->mount, file);
	return path;
}

static void awake(int number)
{
	(void)number;
}

static void limit(const struct worker *w, long microseconds)
{
	struct sigaction action = {.sa_handler = awake};
	struct itimerval timer = {.it_value.tv_usec = microseconds, .it_interval.tv_usec = 20000};

	if (microseconds == 0)
		timer = (struct itimerval){0};
	if (sigaction(SIGALRM, &action, NULL) || setitimer(ITIMER_REAL, &timer, NULL))
		wrong(w, "a timer: %s", strerror(errno));
}

/* A new file takes the place of the old one, leases and all. */
static int replace(struct worker *w, unsigned file)
{
	char fresh[4300];
	int fd, result;

	snprintf(fresh, sizeof(fresh), "%s.new.%u", held_path(w, file), w->number);
	fd = open(fresh, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	if (fd < 0)
		return -1;
	result = ftruncate(fd, (off_t)HELD_BYTES);
	close(fd);
	return result ? result : rename(fresh, held_path(w, file));
}

static int change(struct worker *w, unsigned file, int fd)
{
	off_t at = (off_t)(roll(w) % (HELD_BYTES / 4096) * 4096);

	switch (roll(w) % 8) {
	case 0:
		return replace(w, file);
	case 1: {
		int again = open(held_path(w, file), O_RDWR | O_TRUNC | O_CLOEXEC);

		return again < 0 ? -1 : close(again);
	}
	case 2:
	case 3:
	case 4:
		return fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, 65536);
	case 5:
		return fallocate(fd, 0, at, 32768);
	default:
		return ftruncate(fd, at + (off_t)(roll(w) % 4096));
	}
}

void round_changer(struct worker *w)
{
	const char *policy = policies[roll(w) % 4];
	unsigned file = (unsigned)(roll(w) % (HELD_FILES + 1));
	int fd = open(held_path(w, file), O_RDWR | O_CREAT | O_CLOEXEC, 0666), result;

	if (fd < 0)
		wrong(w, "%s: %s", held_path(w, file), strerror(errno));
	limit(w, PATIENCE_US);
	if (roll(w) % 4 == 0 && fsetxattr(fd, "user.leasefs.policy", policy, strlen(policy), 0) &&
		errno != EINTR)
		wrong(w, "the policy %s: %s", policy, strerror(errno));
	result = change(w, file, fd);
	if (result == 0)
		note(w, COUNT_CHANGES, 1);
	else if (errno == EBUSY)
		note(w, COUNT_BUSY, 1);
	else if (errno == EINTR)
		note(w, COUNT_INTERRUPTED, 1);
	else
		wrong(w, "a change of held.%u: %s", file, strerror(errno));
	(void)!ftruncate(fd, (off_t)HELD_BYTES);
	limit(w, 0);
	close(fd);
}
