// SPDX-License-Identifier: BSD-2-Clause
/*
 * control_fuzz.c - a client that means harm: random calls with fields at their extremes.
 *
 *   control_fuzz MOUNT FILE SECONDS SEED
 *
 * Several sessions, as many descriptors of FILE, forged cookies, foreign and stale lease ids,
 * lengths that wrap, unknown numbers and sizes, reserved fields that are not zero; its pin lines
 * are scribbled over and truncated, its events mostly left unread. The daemon may refuse whatever
 * it likes; at the end it must still say its status and give a lease to a client that behaves.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "leasefs/control.h"

#define SESSIONS 6
#define IDS 64

static uint64_t rng;
static struct {
	int fd;
	int pins;
	struct leasefs_hello hello;
} session[SESSIONS];
static uint64_t ids[IDS]; /* of leases and pins that there were */
static const char *mount_point, *file;
static int fds[2];

static uint64_t roll(void)
{
	rng ^= rng << 13;
	rng ^= rng >> 7;
	rng ^= rng << 17;
	return rng;
}

/* Extremes, neighbours of extremes, small aligned numbers, and noise. */
static uint64_t number(void)
{
	static const uint64_t extremes[] = {0, 1, 4095, 4096, 4097, 1ull << 20, 1ull << 31,
		1ull << 32, 1ull << 55, 1ull << 62, INT64_MAX, 1ull << 63, UINT64_MAX - 4095,
		UINT64_MAX};

	switch (roll() % 4) {
	case 0:
		return extremes[roll() % (sizeof(extremes) / sizeof(extremes[0]))] + roll() % 3 - 1;
	case 1:
		return roll() >> (roll() % 64);
	default:
		return roll() % 300 * 4096;
	}
}

static uint64_t id(void)
{
	return roll() % 8 ? ids[roll() % IDS] : number();
}

static void remember(uint64_t value)
{
	ids[roll() % IDS] = value;
}

static void open_session(int i)
{
	char path[4096];

	if (session[i].fd >= 0)
		close(session[i].fd);
	if (session[i].pins >= 0)
		close(session[i].pins);
	snprintf(path, sizeof(path), "%s/%s", mount_point, LEASEFS_CONTROL_PATH);
	session[i].fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	session[i].pins = -1;
	if (session[i].fd < 0 || roll() % 16 == 0)
		return;
	session[i].hello = (struct leasefs_hello){.abi = 1, .features = roll()};
	if (ioctl(session[i].fd, LEASEFS_IOC_HELLO, &session[i].hello) == 0)
		session[i].pins = open(session[i].hello.pin_file, O_RDWR | O_CLOEXEC);
}

static void fuzz_grant(int i)
{
	struct leasefs_grant g = {.offset = number(),
		.length = number(),
		.mode = roll() % 8 ? 1 + roll() % 2 : (uint32_t)number(),
		.flags = roll() % 8 ? roll() % 2 : (uint32_t)number()};

	memcpy(g.cookie, session[i].hello.cookie, sizeof(g.cookie));
	if (roll() % 16 == 0)
		g.cookie[roll() % 2] = roll();
	if (roll() % 32 == 0)
		g.reserved[0] = number();
	if (ioctl(fds[roll() % 2], LEASEFS_IOC_GRANT, &g) == 0)
		remember(g.lease);
}

static void fuzz_calls(int i)
{
	int fd = session[i].fd;
	union {
		struct leasefs_hello hello;
		struct leasefs_process process;
		struct leasefs_layout layout;
		struct leasefs_region region;
		struct leasefs_return back;
		struct leasefs_downgrade downgrade;
		struct leasefs_commit commit;
		struct leasefs_ack ack;
		struct leasefs_pin pin;
		struct leasefs_unpin unpin;
		struct leasefs_status status;
		struct leasefs_leases leases;
		struct leasefs_conflicts conflicts;
		struct leasefs_sessions sessions;
		struct leasefs_operations operations;
		struct leasefs_history history;
		struct leasefs_held held;
		struct leasefs_reclaim reclaim;
		struct leasefs_grace grace;
	} u;

	memset(&u, 0, sizeof(u));
	switch (roll() % 19) {
	case 0:
		u.hello.abi = (uint32_t)number();
		u.hello.flags = roll() % 4 ? 0 : (uint32_t)number();
		ioctl(fd, LEASEFS_IOC_HELLO, &u);
		break;
	case 1:
		u.process.flags = roll() % 4 == 0;
		ioctl(fd, LEASEFS_IOC_PROCESS, &u);
		break;
	case 2:
		u.layout.lease = id();
		u.layout.offset = number();
		ioctl(fd, LEASEFS_IOC_LAYOUT, &u);
		break;
	case 3:
		u.region.region = (uint32_t)number();
		ioctl(fd, LEASEFS_IOC_REGION, &u);
		break;
	case 4:
	case 5:
	case 6:
		u.back.lease = id();
		u.back.offset = roll() % 2 ? number() : 0;
		u.back.length = u.back.offset ? number() : 0;
		if (ioctl(fd, LEASEFS_IOC_RETURN, &u) == 0 && u.back.rest)
			remember(u.back.rest);
		break;
	case 7:
		u.downgrade.lease = id();
		u.downgrade.flags = roll() % 3;
		ioctl(fd, LEASEFS_IOC_DOWNGRADE, &u);
		break;
	case 8:
		u.commit.lease = id();
		u.commit.offset = number();
		u.commit.length = number();
		u.commit.size = number();
		ioctl(fd, LEASEFS_IOC_COMMIT, &u);
		break;
	case 9:
		u.ack.lease = id();
		ioctl(fd, LEASEFS_IOC_ACK, &u);
		break;
	case 10:
		u.pin.lease = id();
		u.pin.offset = number();
		u.pin.length = number();
		u.pin.flags = roll() % 3;
		if (ioctl(fd, LEASEFS_IOC_PIN, &u) == 0)
			remember(u.pin.pin);
		break;
	case 11:
		u.unpin.pin = id();
		ioctl(fd, roll() % 2 ? LEASEFS_IOC_UNPIN : LEASEFS_IOC_UNPINNED, &u);
		break;
	case 12:
		ioctl(fd, LEASEFS_IOC_STATUS, &u);
		break;
	case 13:
		u.leases.cursor[0] = number();
		u.leases.cursor[1] = number();
		ioctl(fd, LEASEFS_IOC_LEASES, &u);
		break;
	case 14:
		u.conflicts.skip = number();
		ioctl(fd, LEASEFS_IOC_CONFLICTS, &u);
		break;
	case 15:
		u.history.next = number();
		u.history.inode = roll() % 4 ? 0 : number();
		u.history.session = roll() % 4 ? 0 : number();
		u.history.flags = roll() % 3;
		ioctl(fd, LEASEFS_IOC_HISTORY, &u);
		break;
	case 16:
		u.sessions.cursor = number(); /* and `skip` of the operations */
		ioctl(fd, roll() % 2 ? LEASEFS_IOC_SESSIONS : LEASEFS_IOC_OPERATIONS, &u);
		u.held.session = roll() % 2 ? session[i].hello.session : number();
		u.held.lease = id();
		u.held.offset = number();
		ioctl(fd, LEASEFS_IOC_HELD, &u);
		break;
	case 17: /* names of this daemon, of none, and of nobody */
		memcpy(u.reclaim.cookie, session[roll() % SESSIONS].hello.cookie,
			sizeof(u.reclaim.cookie));
		if (roll() % 2)
			memcpy(u.reclaim.boot, session[i].hello.boot, sizeof(u.reclaim.boot));
		else
			u.reclaim.boot[roll() % 2] = number();
		u.reclaim.lease = roll() % 2 ? id() : number();
		u.reclaim.pad = roll() % 8 == 0;
		ioctl(fd, LEASEFS_IOC_RECLAIM, &u);
		u.grace.reserved[roll() % 2] = roll() % 4 ? 0 : number();
		ioctl(fd, LEASEFS_IOC_GRACE, &u);
		break;
	default: /* any number and size, filled with noise */
		for (size_t b = 0; b < sizeof(u); b += 8)
			memcpy((char *)&u + b, &(uint64_t){roll()}, 8);
		ioctl(roll() % 4 ? fd : fds[0],
			_IOC(roll() % 4, roll() % 4 ? LEASEFS_IOC_MAGIC : roll() % 256, roll() % 32,
				roll() % (sizeof(u) + 1)),
			&u);
	}
}

static void fuzz_files(int i)
{
	struct leasefs_event events[3];
	char noise[256] = {0};

	switch (roll() % 8) {
	case 0:
		if (read(session[i].fd, events, roll() % (sizeof(events) + 1)) < 0)
			return;
		remember(events[0].lease);
		remember(events[0].rest);
		break;
	case 1:
		(void)!write(session[i].fd, noise, roll() % sizeof(noise));
		break;
	case 2:
		poll(&(struct pollfd){.fd = session[i].fd, .events = POLLIN}, 1, 0);
		break;
	case 3:
		for (size_t b = 0; b < sizeof(noise); b++)
			noise[b] = (char)(roll() % 4 ? 0 : roll());
		if (session[i].pins >= 0)
			(void)!pwrite(
				session[i].pins, noise, sizeof(noise), (off_t)(roll() % 16 * 64));
		break;
	case 4:
		if (session[i].pins >= 0)
			(void)!ftruncate(session[i].pins, (off_t)(roll() % 8192));
		break;
	case 5:
		(void)!ftruncate(fds[0], (off_t)(roll() % 300 * 4096));
		break;
	case 6:
		(void)!fallocate(fds[0], FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			(off_t)(roll() % 300 * 4096), (off_t)(1 + roll() % 100000));
		break;
	default:
		(void)!pwrite(fds[0], noise, sizeof(noise), (off_t)(roll() % 300 * 4096));
	}
}

/* A client that behaves must be served as if nothing had been. */
static int behave(void)
{
	struct leasefs_status status = {0};
	struct leasefs_grant g = {
		.length = 4096, .mode = LEASEFS_MODE_READ}; /* of a hole: no space */
	char path[4096];
	int fd;

	for (int i = 0; i < SESSIONS; i++)
		close(session[i].fd);
	snprintf(path, sizeof(path), "%s/beside", mount_point);
	fd = open(path, O_RDWR | O_CREAT, 0600);
	for (int i = 0; i < SESSIONS; i++)
		session[i].fd = -1;
	rng = 1;
	open_session(0);
	if (ioctl(session[0].fd, LEASEFS_IOC_HELLO, &session[0].hello))
		session[0].hello = (struct leasefs_hello){.abi = 1};
	memcpy(g.cookie, session[0].hello.cookie, sizeof(g.cookie));
	if (fd < 0 || ioctl(session[0].fd, LEASEFS_IOC_STATUS, &status) ||
		ioctl(fd, LEASEFS_IOC_GRANT, &g)) {
		fprintf(stderr, "control_fuzz: afterwards: %s\n", strerror(errno));
		return 1;
	}
	printf("%llu grants, %llu returns, %llu recalls, %llu revocations, %llu EBUSY\n",
		(unsigned long long)status.grants, (unsigned long long)status.returns,
		(unsigned long long)status.recalls, (unsigned long long)status.revocations,
		(unsigned long long)status.busy);
	return 0;
}

int main(int argc, char **argv)
{
	time_t end;

	if (argc != 5) {
		fprintf(stderr, "usage: control_fuzz MOUNT FILE SECONDS SEED\n");
		return 2;
	}
	mount_point = argv[1];
	file = argv[2];
	end = time(NULL) + atoi(argv[3]);
	rng = strtoull(argv[4], NULL, 0) * 0x9e3779b97f4a7c15ull + 1;
	fds[0] = open(file, O_RDWR | O_CREAT, 0600);
	fds[1] = open(file, O_RDONLY);
	if (fds[0] < 0 || fds[1] < 0) {
		perror(file);
		return 1;
	}
	for (int i = 0; i < SESSIONS; i++) {
		session[i].fd = session[i].pins = -1;
		open_session(i);
	}
	while (time(NULL) < end) {
		int i = (int)(roll() % SESSIONS);

		if (session[i].fd < 0 || roll() % 500 == 0)
			open_session(i);
		else if (roll() % 3 == 0)
			fuzz_grant(i);
		else if (roll() % 6)
			fuzz_calls(i);
		else
			fuzz_files(i);
	}
	return behave();
}
