// SPDX-License-Identifier: BSD-2-Clause
/*
 * kill_points.c - the daemon is killed at a named point; what its client has mapped stays its own.
 *
 *   kill_points MKFS FSCK LEASEFS CRASHING POINT reclaim|forsake
 *   kill_points --list
 *
 * CRASHING is a daemon that is built with the points of fs/fuse/crash_point.h. The story (story.c):
 * a client leases two files, maps and pins them, commits, gives back a middle, watches one of them
 * being truncated from under it, acknowledges, lets another truncate fail on its pin, unpins and
 * gives back. The daemon dies at the first step of it that is POINT; or, for points of a restart,
 * it is killed behind the pin, and its successor dies at POINT; or it is told to end there. Then an
 * ordinary one starts, and:
 *
 *   - all free space goes to a new file; then the client stores through every mapping that it has
 *     not given back, and neither sees the other's bytes (invariants 1, 6, 8)
 *   - a stale boot verifier, a wrong cookie and the new daemon's own are refused
 *   - reclaim: every lease that was granted and not given back is there, with the same extents;
 *     it is given back, and all space is free
 *   - forsake: grace ends; the files are truncated; all space but the client's goes to a second
 *     file, with the same look at it; the client acknowledges, and all space is free
 *   - the pool is clean
 *
 * Exit status: 0 all held, 1 something did not, 77 no /dev/fuse.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "story.h"

#define POOL "16M"
#define FOUND 16
#define OPTIONS "policy=recall:150ms/busy"

enum phase { STORY, RESTART, RECLAIM, GOOD_ORDER };
static const struct point {
	const char *name;
	enum phase phase;
} points[] = {
	{"lines_made", STORY}, {"session_written", STORY}, /* HELLO */
	{"grant_entered", STORY}, {"layout_made", STORY}, {"grant_written", STORY},
	{"grant_done", STORY},                                                   /* grant */
	{"pin_entered", STORY}, {"pin_done", STORY}, {"pin_cleared", STORY},     /* pins */
	{"commit_begun", STORY}, {"commit_made", STORY}, {"commit_done", STORY}, /* commit */
	{"return_asked", STORY}, {"part_copied", STORY}, {"cut_written", STORY},
	{"lease_cleared", STORY}, {"return_done", STORY}, /* return */
	{"recall_word_set", STORY}, {"change_parked", STORY}, {"events_told", STORY},
	{"deadline_come", STORY}, {"ghost_written", STORY}, {"change_approved", STORY},
	{"blocks_held", STORY}, {"blocks_freed", STORY}, {"change_ended", STORY},
	{"change_refused", STORY}, {"recall_word_cleared", STORY}, {"ack_done", STORY}, /* recall */
	{"session_restored", RESTART}, {"grace_begun", RESTART}, /* the next daemon's start */
	{"name_written", RECLAIM}, {"session_adopted", RECLAIM}, {"lease_reclaimed", RECLAIM},
	{"told_to_end", GOOD_ORDER}, /* no crash: SIGTERM, with all of it held */
};
#define POINTS (sizeof(points) / sizeof(points[0]))

/* ---- after it -------------------------------------------------------------------------------- */

static void fill_free_space(const char *name, char byte)
{
	static char block[65536];
	int fd = open_in(name, O_WRONLY | O_CREAT | O_TRUNC);
	ssize_t n;

	if (fd < 0)
		stand_fail("%s: %s", name, strerror(errno));
	memset(block, byte, sizeof(block));
	while ((n = write(fd, block, sizeof(block))) > 0)
		;
	if (n == 0 || errno != ENOSPC || close(fd))
		stand_fail("filling the pool: %s", strerror(errno));
}

static void expect_content(const char *name, char byte)
{
	static _Alignas(4096) char block[65536];
	static char wanted[65536];
	int fd = open_in(name, O_RDONLY | O_DIRECT); /* the kernel's pages would hide it */
	ssize_t n;

	memset(wanted, byte, sizeof(wanted));
	while (fd >= 0 && (n = read(fd, block, sizeof(block))) > 0)
		if (memcmp(block, wanted, (size_t)n))
			stand_fail("%s has bytes of a client's mapping: a block was reused", name);
	if (fd < 0 || n < 0)
		stand_fail("%s: %s", name, strerror(errno));
	close(fd);
}

/* Stores through every mapping: nobody else has these blocks. */
static void expect_own_blocks(const char *others, char others_byte)
{
	for (unsigned i = 0; i < client.count; i++)
		memset(client.region + client.pieces[i].at, (int)i + 1, client.pieces[i].length);
	expect_content(others, others_byte);
	for (unsigned i = 0; i < client.count; i++) {
		const struct piece *p = &client.pieces[i];

		for (uint64_t at = 0; at < p->length; at++)
			if (client.region[p->at + at] != (char)(i + 1))
				stand_fail("a mapping at %llu of lease %llx has other bytes",
					(unsigned long long)(p->offset + at),
					(unsigned long long)p->lease);
	}
}

static int try_reclaim(uint64_t cookie_bit, uint64_t boot_bit, struct leasefs_reclaim *r)
{
	uint64_t lease = r->lease;

	*r = (struct leasefs_reclaim){.lease = lease,
		.cookie = {client.cookie[0] ^ cookie_bit, client.cookie[1]},
		.boot = {client.boot[0] ^ boot_bit, client.boot[1]}};
	return ioctl(client.control, LEASEFS_IOC_RECLAIM, r) ? errno : 0;
}

static bool any_certain(void)
{
	for (unsigned i = 0; i < client.count; i++)
		if (!client.pieces[i].doubtful)
			return true;
	return false;
}

static void expect_refusals(void)
{
	struct leasefs_reclaim r = {0};
	int error = try_reclaim(0, 1, &r);

	if (error != ESTALE)
		stand_fail("a stale boot verifier: %s", strerror(error));
	error = try_reclaim(1, 0, &r);
	if (error != (any_certain() ? EPERM : error == ESTALE ? ESTALE : EPERM))
		stand_fail("a wrong cookie: %s", strerror(error));
	memcpy(r.cookie, client.hello.cookie, sizeof(r.cookie));
	memcpy(r.boot, client.hello.boot, sizeof(r.boot));
	if (!ioctl(client.control, LEASEFS_IOC_RECLAIM, &r) || errno != ESTALE)
		stand_fail("the running daemon's own name: %s", strerror(errno));
}

/* ---- reclaiming ------------------------------------------------------------------------------ */

static struct leasefs_reclaim found[FOUND];
static unsigned found_count;

/* False: the daemon has died in it. */
static bool reclaim_all(void)
{
	found_count = 0;
	for (;;) {
		struct leasefs_reclaim r = {0};
		int error = try_reclaim(0, 0, &r);

		errno = error;
		if (error == ENOENT || (error == ESTALE && !any_certain()))
			return true;
		if (!done(error ? -1 : 0, "RECLAIM"))
			return false;
		if (found_count == FOUND)
			stand_fail("more leases than were granted");
		found[found_count++] = r;
	}
}

static void expect_layout(const struct leasefs_reclaim *r, const struct piece *p)
{
	struct leasefs_layout layout = {.lease = r->lease, .offset = r->offset};

	if (ioctl(client.control, LEASEFS_IOC_LAYOUT, &layout))
		stand_fail("LAYOUT: %s", strerror(errno));
	for (unsigned i = 0; i < layout.count; i++) {
		const struct leasefs_extent *e = &layout.extents[i];

		if (p->offset >= e->offset && p->offset < e->offset + e->length &&
			e->region_offset + (p->offset - e->offset) != p->at)
			stand_fail("lease %llx has other blocks at %llu than before",
				(unsigned long long)r->lease, (unsigned long long)p->offset);
	}
}

static void expect_all_reclaimed(void)
{
	for (unsigned i = 0; i < client.count; i++) {
		const struct piece *p = &client.pieces[i];
		const struct leasefs_reclaim *r = NULL;

		for (unsigned k = 0; k < found_count && !r; k++)
			if (found[k].inode == p->inode && found[k].offset <= p->offset &&
				p->offset + p->length <= found[k].offset + found[k].length)
				r = &found[k];
		if (!r && !p->doubtful)
			stand_fail("nothing is left of lease %llx at %llu",
				(unsigned long long)p->lease, (unsigned long long)p->offset);
		if (r && (r->mode != LEASEFS_MODE_WRITE || r->slot == LEASEFS_NO_SLOT))
			stand_fail("lease %llx has lost its mode or slot",
				(unsigned long long)r->lease);
		if (r)
			expect_layout(r, p);
	}
}

static void give_all_back(void)
{
	for (unsigned i = 0; i < found_count; i++) {
		struct leasefs_pins pins = {.inode = found[i].inode};

		if (ioctl(client.control, LEASEFS_IOC_PINS, &pins))
			stand_fail("PINS: %s", strerror(errno));
		for (unsigned k = 0; k < pins.count; k++) {
			struct leasefs_unpin unpin = {.pin = pins.pins[k].pin};

			if (ioctl(client.control, LEASEFS_IOC_UNPIN, &unpin))
				stand_fail("UNPIN: %s", strerror(errno));
		}
		if (!give_back(found[i].lease, 0, 0))
			stand_fail("the daemon died again");
	}
}

/* ---- the end --------------------------------------------------------------------------------- */

static void acknowledge_all(void)
{
	uint64_t revoked;

	do {
		struct leasefs_event e;
		struct leasefs_ack ack = {0};
		ssize_t n = read(client.control, &e, sizeof(e));

		revoked = n == (ssize_t)sizeof(e) ? 1 : 0;
		if (revoked && e.kind == LEASEFS_EVENT_REVOKED) {
			struct leasefs_pins pins = {.inode = e.inode};

			(void)ioctl(client.control, LEASEFS_IOC_PINS, &pins);
			for (unsigned k = 0; k < pins.count; k++) {
				struct leasefs_unpin unpin = {.pin = pins.pins[k].pin};

				(void)ioctl(client.control, LEASEFS_IOC_UNPIN, &unpin);
			}
			ack.lease = e.lease;
			if (ioctl(client.control, LEASEFS_IOC_ACK, &ack))
				stand_fail("ACK: %s", strerror(errno));
		}
	} while (revoked);
}

static void empty(const char *name)
{
	uint64_t revoked = 0;
	int error;

	if (!truncate_by_another(name, 0, &error, &revoked) || (error && error != ENOENT))
		stand_fail("truncate of %s to 0: %s", name, strerror(error));
}

static void expect_nothing_left(void)
{
	struct leasefs_status s = {0};

	if (ioctl(client.control, LEASEFS_IOC_STATUS, &s))
		stand_fail("STATUS: %s", strerror(errno));
	if (s.leases || s.revoked || s.range_pins || s.quarantine_bytes || s.inherited_bytes)
		stand_fail("left over: %llu leases, %llu revoked, %llu pins, %llu bytes of "
			   "quarantine",
			(unsigned long long)s.leases, (unsigned long long)s.revoked,
			(unsigned long long)s.range_pins, (unsigned long long)s.quarantine_bytes);
}

static void await_end_of_grace(void)
{
	struct leasefs_grace g = {0};
	struct timespec nap = {.tv_nsec = 5000000};

	for (int i = 0; i < PATIENCE_MS / 5; i++) {
		if (ioctl(client.control, LEASEFS_IOC_GRACE, &g))
			stand_fail("GRACE: %s", strerror(errno));
		if (!g.left_ns && !g.inherited)
			return;
		nanosleep(&nap, NULL);
	}
	stand_fail("grace does not end");
}

static void go_on(void)
{
	expect_refusals();
	if (!reclaim_all())
		stand_fail("the daemon died again");
	expect_all_reclaimed();
	give_all_back();
	acknowledge_all();
	empty("f");
	empty("h");
	acknowledge_all();
}

static void forsake(void)
{
	struct leasefs_reclaim r = {0};

	await_end_of_grace();
	empty("f");
	empty("h");
	fill_free_space("second", 's');
	expect_own_blocks("second", 's');
	expect_content("first", 'f');
	expect_refusals();
	while (try_reclaim(0, 0, &r) == 0)
		stand_fail("something was reclaimed after the end of grace");
	acknowledge_all();
}

static void make_file(const char *name, uint64_t bytes)
{
	int fd = open_in(name, O_WRONLY | O_CREAT);

	if (fd < 0 || posix_fallocate(fd, 0, (off_t)bytes) || close(fd))
		stand_fail("%s: %s", name, strerror(errno));
}

/* The daemons that die, one or two, up to the one that does not. */
static void die_at(
	const struct point *p, const char *leasefs, const char *crashing, const char *grace)
{
	char options[160];

	snprintf(options, sizeof(options), OPTIONS ",%s,crash_at=%s", grace, p->name);
	if (!stand_start(
		    p->phase == STORY ? crashing : leasefs, p->phase == STORY ? options : OPTIONS))
		stand_fail("the first daemon does not start");
	make_file("f", 4 * MiB);
	make_file("h", MiB);
	if (p->phase == STORY) {
		if (tell_the_story(true))
			stand_fail("the story does not come to %s", p->name);
		stand_await_death();
		return;
	}
	if (!tell_the_story(false))
		stand_fail("the first daemon has died");
	if (p->phase == GOOD_ORDER) {
		stand_terminate();
		return;
	}
	stand_kill();
	close(client.control);
	if (stand_start(crashing, options)) {
		if (p->phase == RESTART)
			stand_fail("the second daemon does not come to %s", p->name);
		if (hello() && reclaim_all())
			stand_fail("reclaiming does not come to %s", p->name);
		stand_await_death();
	}
}

static const struct point *find_point(const char *name)
{
	for (size_t i = 0; i < POINTS; i++)
		if (!strcmp(points[i].name, name))
			return &points[i];
	stand_fail("no point %s", name);
}

int main(int argc, char **argv)
{
	bool reclaiming = argc == 7 && !strcmp(argv[6], "reclaim");
	const char *grace = reclaiming ? "grace=60s" : "grace=300ms";
	char options[160];

	if (argc == 2 && !strcmp(argv[1], "--list")) {
		for (size_t i = 0; i < POINTS; i++)
			puts(points[i].name);
		return 0;
	}
	if (argc != 7) {
		fprintf(stderr, "usage: kill_points MKFS FSCK LEASEFS CRASHING POINT "
				"reclaim|forsake\n");
		return 2;
	}
	if (access("/dev/fuse", R_OK | W_OK)) {
		puts("skipped: no /dev/fuse to use");
		return 77;
	}
	alarm(240);
	stand_make(argv[1], argv[2], POOL);
	die_at(find_point(argv[5]), argv[3], argv[4], grace);
	snprintf(options, sizeof(options), OPTIONS ",%s", grace);
	if (!stand_start(argv[3], options))
		stand_fail("the last daemon does not start");
	close(client.control);
	if (!hello())
		stand_fail("the last daemon has died");
	fill_free_space("first", 'f');
	expect_own_blocks("first", 'f');
	(reclaiming ? go_on : forsake)();
	expect_nothing_left();
	close(client.control);
	stand_end();
	return 0;
}
