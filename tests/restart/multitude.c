// SPDX-License-Identifier: BSD-2-Clause
/*
 * multitude.c - as many sessions as a user may have, and many leases, over a restart of the daemon.
 *
 *   multitude MKFS FSCK LEASEFS SESSIONS LEASES
 *
 * SESSIONS sessions of this process take LEASES read leases of a block each; every third is pinned
 * in its line. More HELLOs, up to 100,000 in all, get EMFILE if SESSIONS is what a user may have.
 * The daemon is killed, and the next one has to be there in time; while leases wait to be
 * reclaimed, ordinary work on other files goes on. Then each session reclaims all of its leases by
 * asking for "any" until ENOENT: each comes once, with its range. What is pinned can't be given
 * back, all else can; nothing is left in the end. How long each part took is printed, and judged
 * only by the test's time limit, which a step that is quadratic in either number would not keep.
 *
 * Exit status: 0 all held, 1 something did not, 77 no /dev/fuse.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "stand.h"

#define BLOCK 4096ull
#define ALLOCATED 1024u        /* blocks of the file; holes behind */
#define ATTEMPTS 100000u       /* HELLOs */
#define SESSIONS_OF_USER 1024u /* docs/lease-protocol.md, section 11 */

struct member {
	int control;
	struct leasefs_hello hello;
	uint64_t cookie[2], boot[2];
	uint32_t leases;
	int lines; /* pin file; -1: none */
};

static struct member *members;
static uint32_t member_count;
/* By block. */
static struct back {
	uint64_t lease; /* reclaimed; 0: not yet */
	uint32_t slot;
} * back;
static uint32_t lease_count;

static void lap(const char *what, uint64_t count)
{
	static struct timespec last;
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	if (what)
		printf("%-28s %8llu in %7.3f s\n", what, (unsigned long long)count,
			(double)(now.tv_sec - last.tv_sec) +
				(double)(now.tv_nsec - last.tv_nsec) / 1e9);
	last = now;
}

static int open_control(struct leasefs_hello *hello, int *error)
{
	char path[160];
	int fd;

	stand_path(LEASEFS_CONTROL_PATH, path);
	fd = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		stand_fail("control file: %s", strerror(errno));
	*hello = (struct leasefs_hello){.abi = LEASEFS_ABI,
		.features = LEASEFS_FEATURE_SLOT_PINS | LEASEFS_FEATURE_RANGE_PINS |
			    LEASEFS_FEATURE_RECLAIM};
	*error = ioctl(fd, LEASEFS_IOC_HELLO, hello) ? errno : 0;
	return fd;
}

static void join_all(void)
{
	int error;

	for (uint32_t i = 0; i < member_count; i++) {
		struct member *m = &members[i];

		m->control = open_control(&m->hello, &error);
		if (error)
			stand_fail("HELLO %u: %s", i, strerror(error));
	}
}

static void join_too_many(void)
{
	struct leasefs_hello hello;
	int error, fd;

	for (uint32_t i = member_count; i < ATTEMPTS; i++) {
		fd = open_control(&hello, &error);
		close(fd);
		if (error != EMFILE)
			stand_fail("HELLO %u: %s", i, strerror(error));
	}
}

static bool is_pinned(uint32_t block)
{
	return block % 3 == 0;
}

static void write_line(const struct member *m, uint32_t slot, uint32_t pins)
{
	if (pwrite(m->lines, &pins, sizeof(pins), (off_t)slot * 64) != (ssize_t)sizeof(pins))
		stand_fail("pin line: %s", strerror(errno));
}

static void take_leases(int file)
{
	for (uint32_t i = 0; i < lease_count; i++) {
		struct member *m = &members[i % member_count];
		struct leasefs_grant g = {.cookie = {m->hello.cookie[0], m->hello.cookie[1]},
			.offset = i * BLOCK,
			.length = BLOCK,
			.mode = LEASEFS_MODE_READ};

		if (ioctl(file, LEASEFS_IOC_GRANT, &g))
			stand_fail("lease %u: %s", i, strerror(errno));
		if (g.slot == LEASEFS_NO_SLOT)
			stand_fail("lease %u has no line", i);
		if (is_pinned(i))
			write_line(m, g.slot, 1);
		m->leases++;
	}
}

static void reclaim_all(void)
{
	for (uint32_t i = 0; i < member_count; i++) {
		struct member *m = &members[i];
		struct leasefs_reclaim r;
		uint32_t n = 0;

		for (;; n++) {
			uint32_t block;

			r = (struct leasefs_reclaim){.cookie = {m->cookie[0], m->cookie[1]},
				.boot = {m->boot[0], m->boot[1]}};
			if (ioctl(m->control, LEASEFS_IOC_RECLAIM, &r))
				break;
			block = (uint32_t)(r.offset / BLOCK);
			if (r.length != BLOCK || block >= lease_count ||
				block % member_count != i || back[block].lease)
				stand_fail("a lease of [%llu, +%llu) came back",
					(unsigned long long)r.offset, (unsigned long long)r.length);
			back[block] = (struct back){r.lease, r.slot};
		}
		if (errno != ENOENT || n != m->leases)
			stand_fail("session %u: %u of %u leases, then %s", i, n, m->leases,
				strerror(errno));
	}
}

static void give_back(uint32_t block)
{
	const struct member *m = &members[block % member_count];
	struct leasefs_return r = {.lease = back[block].lease};

	if (is_pinned(block)) {
		if (!ioctl(m->control, LEASEFS_IOC_RETURN, &r) || errno != EBUSY)
			stand_fail("a pinned lease was given back");
		write_line(m, back[block].slot, 0);
		r = (struct leasefs_return){.lease = back[block].lease};
	}
	if (ioctl(m->control, LEASEFS_IOC_RETURN, &r))
		stand_fail("return: %s", strerror(errno));
}

static void get_status(struct leasefs_status *status)
{
	*status = (struct leasefs_status){0};
	if (ioctl(members[0].control, LEASEFS_IOC_STATUS, status))
		stand_fail("status: %s", strerror(errno));
}

/* Nobody else is held up by those who have not come yet. */
static void work_on_another_file(void)
{
	int fd = stand_open("other", O_RDWR | O_CREAT);

	if (pwrite(fd, "some", 4, 0) != 4 || fsync(fd) || ftruncate(fd, 0))
		stand_fail("another file: %s", strerror(errno));
	close(fd);
}

static void begin(void)
{
	static char bytes[ALLOCATED * BLOCK];
	int file = stand_open("f", O_RDWR | O_CREAT);

	if (pwrite(file, bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes) ||
		ftruncate(file, (off_t)(lease_count * BLOCK)))
		stand_fail("f: %s", strerror(errno));
	lap(NULL, 0);
	join_all();
	lap("sessions", member_count);
	for (uint32_t i = 0; i < member_count; i++) {
		struct member *m = &members[i];

		memcpy(m->cookie, m->hello.cookie, sizeof(m->cookie));
		memcpy(m->boot, m->hello.boot, sizeof(m->boot));
		m->lines = open(m->hello.pin_file, O_RDWR | O_CLOEXEC);
		if (m->lines < 0)
			stand_fail("%s: %s", m->hello.pin_file, strerror(errno));
	}
	if (member_count == SESSIONS_OF_USER) {
		join_too_many();
		lap("sessions refused", ATTEMPTS - member_count);
	}
	take_leases(file);
	lap("leases", lease_count);
	close(file);
}

static void go_on(void)
{
	struct leasefs_status status;

	for (uint32_t i = 0; i < member_count; i++)
		close(members[i].control);
	lap(NULL, 0);
	join_all();
	get_status(&status);
	if (status.leases != lease_count)
		stand_fail("%llu leases are there again", (unsigned long long)status.leases);
	lap("sessions again", member_count);
	work_on_another_file();
	lap("another file", 1);
	reclaim_all();
	lap("reclaimed", lease_count);
	for (uint32_t block = 0; block < lease_count; block++)
		give_back(block);
	lap("given back", lease_count);
	get_status(&status);
	if (status.leases || status.revoked)
		stand_fail("%llu leases are left", (unsigned long long)status.leases);
}

static void raise_limit(void)
{
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r))
		stand_fail("getrlimit: %s", strerror(errno));
	r.rlim_cur = r.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &r) || r.rlim_cur < 2 * (rlim_t)member_count + 64) {
		fprintf(stderr, "multitude: too few descriptors are allowed\n");
		exit(77);
	}
}

int main(int argc, char **argv)
{
	const char *options = "grace=600s,policy=recall:1s/busy";

	if (argc != 6) {
		fprintf(stderr, "usage: multitude MKFS FSCK LEASEFS SESSIONS LEASES\n");
		return 1;
	}
	if (access("/dev/fuse", R_OK | W_OK))
		return 77;
	member_count = (uint32_t)strtoul(argv[4], NULL, 10);
	lease_count = (uint32_t)strtoul(argv[5], NULL, 10);
	members = calloc(member_count, sizeof(*members));
	back = calloc(lease_count, sizeof(*back));
	if (!members || !back || lease_count < ALLOCATED || !member_count)
		return 1;
	raise_limit();
	stand_make(argv[1], argv[2], "32M");
	if (!stand_start(argv[3], options))
		stand_fail("the daemon does not start");
	begin();
	stand_kill();
	lap("kill", 1);
	if (!stand_start(argv[3], options))
		stand_fail("the next daemon does not start");
	lap("start", lease_count);
	go_on();
	for (uint32_t i = 0; i < member_count; i++) {
		close(members[i].control);
		close(members[i].lines);
	}
	lap(NULL, 0);
	stand_end();
	lap("end", 1);
	free(members);
	free(back);
	return 0;
}
