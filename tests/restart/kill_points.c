// SPDX-License-Identifier: BSD-2-Clause
/*
 * kill_points.c - the daemon is killed at a named point; what its client has mapped stays its own.
 *
 *   kill_points MKFS FSCK LEASEFS CRASHING POINT reclaim|forsake
 *   kill_points --list
 *
 * CRASHING is a daemon that is built with the points of fs/fuse/crash_point.h. The story: a client
 * leases two files, maps and pins them, commits, gives back a middle, watches one of them being
 * truncated from under it, acknowledges, lets another truncate fail on its pin, unpins and gives
 * back. The daemon dies at the first step of it that is POINT; or, for points of a restart, it is
 * killed behind the pin, and its successor dies at POINT; or it is told to end there. Then an
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
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "stand.h"

#define MiB (1024 * 1024ull)
#define POOL "16M"
#define PIECES 32
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

/* A stretch of blocks that the client has mapped, and believes to be its own. */
struct piece {
	uint64_t lease;
	uint64_t inode;
	uint64_t offset, length; /* in the file */
	uint64_t at;             /* in the region */
	bool doubtful;           /* a truncate is taking it, or has */
};

static struct client {
	int control;
	struct leasefs_hello hello;
	uint64_t cookie[2], boot[2]; /* what the next daemon is asked with */
	char *region;
	uint64_t region_bytes;
	struct piece pieces[PIECES];
	unsigned count;
	uint64_t pin;
} client = {.control = -1};

/* ---- calls that may find the daemon dead ------------------------------------------------------
 */

/* False: it has died in that call, as it was told to. */
static bool done(int result, const char *what)
{
	int error = errno;

	if (result == 0)
		return true;
	if ((error == ENOTCONN || error == ECONNABORTED) && stand_is_dead())
		return false;
	stand_fail("%s: %s", what, strerror(error));
}

static bool call(unsigned long number, void *argument, const char *what)
{
	return done(ioctl(client.control, number, argument), what);
}

static int open_in(const char *name, int flags)
{
	char path[160];

	stand_path(name, path);
	return open(path, flags | O_CLOEXEC, 0644);
}

/* ---- leases ---------------------------------------------------------------------------------- */

static bool hello(void)
{
	client.hello = (struct leasefs_hello){.abi = LEASEFS_ABI,
		.features = LEASEFS_FEATURE_SLOT_PINS | LEASEFS_FEATURE_RANGE_PINS |
			    LEASEFS_FEATURE_RECLAIM};
	client.control = open_in(LEASEFS_CONTROL_PATH, O_RDWR | O_NONBLOCK);
	if (client.control < 0)
		stand_fail("control file: %s", strerror(errno));
	return call(LEASEFS_IOC_HELLO, &client.hello, "HELLO");
}

static bool map_region(void)
{
	struct leasefs_region r = {0};
	int fd;

	if (client.region)
		return true;
	if (!call(LEASEFS_IOC_REGION, &r, "REGION"))
		return false;
	fd = open(r.path, O_RDWR | O_CLOEXEC);
	client.region_bytes = r.bytes;
	client.region = fd < 0 ? MAP_FAILED
			       : mmap(NULL, r.bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (client.region == MAP_FAILED)
		stand_fail("%s: %s", r.path, strerror(errno));
	close(fd);
	return true;
}

/* Its blocks are the client's from now on. */
static void add_pieces(uint64_t lease, uint64_t inode, const struct leasefs_extent *e, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		if (e[i].state == LEASEFS_EXTENT_HOLE || e[i].region != 0 || client.count == PIECES)
			stand_fail("not an extent for this test");
		client.pieces[client.count++] = (struct piece){.lease = lease,
			.inode = inode,
			.offset = e[i].offset,
			.length = e[i].length,
			.at = e[i].region_offset};
	}
}

static void split_at(uint64_t inode, uint64_t offset)
{
	for (unsigned i = 0; i < client.count; i++) {
		struct piece *p = &client.pieces[i], behind = *p;

		if (p->inode != inode || offset <= p->offset || offset >= p->offset + p->length)
			continue;
		if (client.count == PIECES)
			stand_fail("too many pieces");
		p->length = offset - p->offset;
		behind.offset += p->length;
		behind.at += p->length;
		behind.length -= p->length;
		client.pieces[client.count++] = behind;
	}
}

static bool is_in(const struct piece *p, uint64_t inode, uint64_t offset, uint64_t end)
{
	return p->inode == inode && p->offset >= offset && p->offset < end;
}

/* [offset, end) of the file is not mapped any more. */
static void drop_pieces(uint64_t inode, uint64_t offset, uint64_t end)
{
	split_at(inode, offset);
	split_at(inode, end);
	for (unsigned i = client.count; i-- > 0;)
		if (is_in(&client.pieces[i], inode, offset, end))
			client.pieces[i] = client.pieces[--client.count];
}

/* It is still mapped, but may be the client's no more. */
static void doubt_pieces(uint64_t inode, uint64_t offset, uint64_t end)
{
	split_at(inode, offset);
	split_at(inode, end);
	for (unsigned i = 0; i < client.count; i++)
		if (is_in(&client.pieces[i], inode, offset, end))
			client.pieces[i].doubtful = true;
}

static bool grant(const char *name, uint64_t length, uint64_t *lease, uint64_t *inode)
{
	struct leasefs_grant g = {.length = length, .mode = LEASEFS_MODE_WRITE};
	struct stat st;
	int fd = open_in(name, O_RDWR);
	bool ok;

	if (fd < 0 || fstat(fd, &st))
		return done(-1, name);
	memcpy(g.cookie, client.hello.cookie, sizeof(g.cookie));
	ok = done(ioctl(fd, LEASEFS_IOC_GRANT, &g), "GRANT");
	close(fd);
	if (!ok)
		return false;
	*lease = g.lease;
	*inode = st.st_ino;
	if (g.next != length)
		stand_fail("too many extents for this test");
	add_pieces(g.lease, st.st_ino, g.extents, g.count);
	return true;
}

static bool give_back(uint64_t lease, uint64_t offset, uint64_t length)
{
	struct leasefs_return r = {.lease = lease, .offset = offset, .length = length};

	return call(LEASEFS_IOC_RETURN, &r, "RETURN");
}

/* ---- others ---------------------------------------------------------------------------------- */

static int take_events(uint64_t *revoked)
{
	struct leasefs_event e[8];
	ssize_t n = read(client.control, e, sizeof(e));

	for (ssize_t i = 0; i < n / (ssize_t)sizeof(e[0]); i++)
		if (e[i].kind == LEASEFS_EVENT_REVOKED)
			*revoked = e[i].lease;
	return n < 0 && errno != EAGAIN ? -1 : 0;
}

/* Somebody truncates, and the client looks at its events meanwhile. The result is an errno. */
static bool truncate_by_another(const char *name, uint64_t size, int *error, uint64_t *revoked)
{
	char path[160];
	struct pollfd wait[2];
	pid_t child;
	int status;

	stand_path(name, path);
	child = fork();
	if (child == 0)
		_exit(truncate(path, (off_t)size) ? errno : 0);
	wait[0] = (struct pollfd){.fd = (int)syscall(SYS_pidfd_open, child, 0), .events = POLLIN};
	wait[1] = (struct pollfd){.fd = client.control, .events = POLLIN};
	while (!(wait[0].revents & POLLIN)) {
		if (poll(wait, 2, PATIENCE_MS) <= 0)
			stand_fail("truncate of %s does not end", name);
		if (wait[1].revents && take_events(revoked))
			wait[1].fd = -1; /* the daemon has gone; the child hears of it too */
	}
	close(wait[0].fd);
	if (waitpid(child, &status, 0) != child || !WIFEXITED(status))
		stand_fail("the truncating process was killed");
	*error = errno = WEXITSTATUS(status);
	return (*error != ECONNABORTED && *error != ENOTCONN) || done(-1, "truncate");
}

/* ---- the story ------------------------------------------------------------------------------- */

static bool begin(uint64_t *f, uint64_t *f_inode, uint64_t *h, uint64_t *h_inode)
{
	struct leasefs_pin pin = {.offset = 3 * MiB, .length = 4096};

	if (!hello() || !map_region())
		return false;
	memcpy(client.cookie, client.hello.cookie, sizeof(client.cookie));
	memcpy(client.boot, client.hello.boot, sizeof(client.boot));
	if (!grant("f", 4 * MiB, f, f_inode) || !grant("h", 1 * MiB, h, h_inode))
		return false;
	pin.lease = *f;
	if (!call(LEASEFS_IOC_PIN, &pin, "PIN"))
		return false;
	client.pin = pin.pin;
	return true;
}

/* The deadline passes: what is truncated is revoked. */
static bool lose_half_of_h(uint64_t h_inode)
{
	struct leasefs_ack ack = {0};
	int error;

	doubt_pieces(h_inode, MiB / 2, MiB);
	if (!truncate_by_another("h", MiB / 2, &error, &ack.lease))
		return false;
	if (error)
		stand_fail("truncate of h: %s", strerror(error));
	while (!ack.lease) {
		struct pollfd news = {.fd = client.control, .events = POLLIN};

		if (poll(&news, 1, PATIENCE_MS) <= 0)
			stand_fail("nobody says that h was revoked");
		if (take_events(&ack.lease))
			return done(-1, "read");
	}
	drop_pieces(h_inode, MiB / 2, MiB);
	return call(LEASEFS_IOC_ACK, &ack, "ACK");
}

static bool tell_the_story(bool to_its_end)
{
	uint64_t f, f_inode, h, h_inode, revoked = 0;
	struct leasefs_unpin unpin = {0};
	struct leasefs_commit commit = {0};
	int error;

	if (!begin(&f, &f_inode, &h, &h_inode))
		return false;
	if (!to_its_end)
		return true;
	commit.lease = f;
	if (!call(LEASEFS_IOC_COMMIT, &commit, "COMMIT"))
		return false;
	drop_pieces(f_inode, 1 * MiB, 2 * MiB);
	if (!give_back(f, 1 * MiB, 1 * MiB) || !lose_half_of_h(h_inode))
		return false;
	if (!truncate_by_another("f", 5 * MiB / 2, &error, &revoked))
		return false;
	if (error != EBUSY)
		stand_fail("truncate of a pinned range: %s", strerror(error));
	unpin.pin = client.pin;
	drop_pieces(f_inode, 2 * MiB, 4 * MiB);
	drop_pieces(h_inode, 0, MiB);
	return call(LEASEFS_IOC_UNPIN, &unpin, "UNPIN") && give_back(h, 0, 0);
}

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
