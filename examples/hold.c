// SPDX-License-Identifier: BSD-2-Clause
/*
 * hold.c - takes a lease on a part of a file, touches its bytes directly, and says what happens.
 *
 *   hold [options] FILE
 *     --offset N --length N   the range; all of the file if left out (K, M, G are understood)
 *     --read                  a read lease; else a write lease
 *     --exclusive
 *     --pin                   pin the lease as long as it is held, in shared memory
 *     --pin-range             pin the range by a call instead
 *     --unbreakable           with --pin-range: operations in its way fail at once
 *     --fill BYTE             store that byte (a number) all over the range, directly, and commit
 *     --answer auto|never     auto: on a recall unpin, return the range, and go on without it;
 *                             never (default): only commands do so
 *     --seconds N             end after N seconds (default: when standard input ends)
 *   Commands on standard input: pin, unpin, return, status, quit.
 *
 * One line is printed for each thing that happens; scripts may wait for them. It uses nothing but
 * the control file (leasefs/control.h): read it as the protocol's shortest complete client.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "leasefs/control.h"

static struct {
	const char *file;
	uint64_t offset, length;
	bool read_only, exclusive, pin, pin_range, unbreakable, answer, fill;
	unsigned char byte;
	double seconds;
} option;

static int control_fd = -1;
static struct leasefs_hello hello;
static struct leasefs_grant grant;
static struct leasefs_pin_line *pin_line; /* the lease's, shared with the daemon */
static unsigned char *mapping;            /* of the first extent */
static size_t mapping_bytes;
static size_t mapping_skip; /* a region is mapped from its alignment on */
static bool held, slot_pinned;
static uint64_t range_pin; /* 0: none */

static void fail(const char *what)
{
	fprintf(stderr, "hold: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void call(unsigned long request, void *data, const char *what)
{
	if (ioctl(control_fd, request, data))
		fail(what);
}

/* The control file is in the root of the mount that the file is on. */
static int open_control(const char *file)
{
	char path[4096];
	struct stat at, up;
	char *slash;

	if (!realpath(file, path) || stat(path, &at))
		fail(file);
	for (;;) {
		char name[sizeof(path) + sizeof(LEASEFS_CONTROL_PATH) + 1];
		dev_t device = at.st_dev;
		int fd;

		slash = strrchr(path, '/');
		*slash = '\0';
		if (stat(path[0] ? path : "/", &up))
			fail(path);
		snprintf(name, sizeof(name), "%s/%s", path, LEASEFS_CONTROL_PATH);
		fd = up.st_dev == device ? open(name, O_RDWR | O_CLOEXEC) : -1;
		if (fd < 0 && errno == EROFS && up.st_dev == device)
			fd = open(name, O_RDONLY | O_CLOEXEC);
		if (fd >= 0)
			return fd;
		if (up.st_dev != device || !path[0]) {
			fprintf(stderr, "hold: %s is not on a leasefs mount\n", file);
			exit(1);
		}
	}
}

static void map_pin_line(void)
{
	int fd;
	char *lines;

	if (!(hello.features & LEASEFS_FEATURE_SLOT_PINS) || grant.slot == LEASEFS_NO_SLOT)
		return;
	fd = open(hello.pin_file, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		fail(hello.pin_file);
	lines = mmap(NULL, grant.pin_file_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (lines == MAP_FAILED)
		fail("mmap of the pin lines");
	close(fd);
	pin_line = (struct leasefs_pin_line *)(lines + (size_t)grant.slot * sizeof(*pin_line));
}

/* The first extent: enough for an example. A real client maps them all. */
static void map_layout(void)
{
	const struct leasefs_extent *e = &grant.extents[0];
	struct leasefs_region region = {.region = e->region};
	int protection = option.read_only ? PROT_READ : PROT_READ | PROT_WRITE;
	int fd;

	printf("lease %llx [%llu, %llu) %s%s, %u extent%s\n", (unsigned long long)grant.lease,
		(unsigned long long)grant.offset, (unsigned long long)(grant.offset + grant.length),
		option.read_only ? "read" : "write", option.exclusive ? " exclusive" : "",
		grant.count, grant.count == 1 ? "" : "s");
	if (e->state != LEASEFS_EXTENT_WRITTEN) {
		printf("the range begins with a hole, or unwritten: nothing to map\n");
		return;
	}
	call(LEASEFS_IOC_REGION, &region, "REGION");
	fd = open(region.path, (option.read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC);
	if (fd < 0)
		fail(region.path);
	mapping_skip = e->region_offset % region.alignment;
	mapping_bytes = mapping_skip + e->length + region.alignment - 1;
	mapping_bytes -= mapping_bytes % region.alignment;
	mapping = mmap(NULL, mapping_bytes, protection, MAP_SHARED, fd,
		(off_t)(e->region_offset - mapping_skip));
	if (mapping == MAP_FAILED)
		fail("mmap of the region");
	madvise(mapping, mapping_bytes, MADV_DONTFORK);
	close(fd);
	printf("mapped %llu bytes at %llu of %s\n", (unsigned long long)e->length,
		(unsigned long long)e->region_offset, region.path);
}

static void take_lease(void)
{
	int fd = open(option.file, (option.read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC);

	if (fd < 0)
		fail(option.file);
	memset(&grant, 0, sizeof(grant));
	memcpy(grant.cookie, hello.cookie, sizeof(grant.cookie));
	grant.offset = option.offset;
	grant.length = option.length;
	grant.mode = option.read_only ? LEASEFS_MODE_READ : LEASEFS_MODE_WRITE;
	grant.flags = option.exclusive ? LEASEFS_GRANT_EXCLUSIVE : 0;
	if (ioctl(fd, LEASEFS_IOC_GRANT, &grant))
		fail("GRANT");
	close(fd); /* the lease does not need it */
	held = true;
}

/* One of the line's pins less; the daemon that waits for the last of them is told. */
static void unpin_line(void)
{
	struct leasefs_unpinned u = {.lease = grant.lease};

	if (atomic_fetch_sub((_Atomic uint32_t *)&pin_line->pins, 1) == 1 &&
		atomic_load((_Atomic uint32_t *)&pin_line->recall))
		call(LEASEFS_IOC_UNPINNED, &u, "UNPINNED");
}

static void do_pin(void)
{
	if (!held || slot_pinned || range_pin) {
		printf("nothing to pin\n");
	} else if (option.pin_range) {
		struct leasefs_pin p = {.lease = grant.lease,
			.offset = grant.offset,
			.length = grant.length,
			.flags = option.unbreakable ? LEASEFS_PIN_UNBREAKABLE : 0};

		call(LEASEFS_IOC_PIN, &p, "PIN");
		range_pin = p.pin;
		printf("pinned\n");
	} else if (!pin_line) {
		printf("no pin lines here: try --pin-range\n");
	} else {
		atomic_fetch_add((_Atomic uint32_t *)&pin_line->pins, 1);
		if (atomic_load((_Atomic uint32_t *)&pin_line->recall)) {
			unpin_line();
			printf("not pinned: it is being recalled\n");
			return;
		}
		slot_pinned = true;
		printf("pinned\n");
	}
}

static void do_unpin(void)
{
	if (range_pin) {
		struct leasefs_unpin u = {.pin = range_pin};

		call(LEASEFS_IOC_UNPIN, &u, "UNPIN");
	} else if (slot_pinned) {
		unpin_line();
	} else {
		return;
	}
	range_pin = 0;
	slot_pinned = false;
	printf("unpinned\n");
}

static void do_return(void)
{
	struct leasefs_return r = {.lease = grant.lease};

	if (!held)
		return;
	if (slot_pinned || range_pin) {
		printf("still pinned\n");
		return;
	}
	if (mapping && munmap(mapping, mapping_bytes))
		fail("munmap");
	mapping = NULL;
	call(LEASEFS_IOC_RETURN, &r, "RETURN");
	held = false;
	printf("returned\n");
}

static void fill(void)
{
	struct leasefs_commit m = {
		.lease = grant.lease, .offset = grant.offset, .length = grant.extents[0].length};

	memset(mapping + mapping_skip, option.byte, grant.extents[0].length);
	call(LEASEFS_IOC_COMMIT, &m, "COMMIT");
	printf("filled and committed %llu bytes\n", (unsigned long long)m.length);
}

static void on_event(const struct leasefs_event *e)
{
	static const char *const names[] = {"?", "recall", "recall cancelled", "layout changed",
		"revoked", "available", "drain"};
	struct timespec now;

	printf("event: %s lease %llx [%llu, %llu)", names[e->kind < 7 ? e->kind : 0],
		(unsigned long long)e->lease, (unsigned long long)e->offset,
		(unsigned long long)(e->offset + e->length));
	if (e->kind == LEASEFS_EVENT_RECALL && e->deadline_ns) {
		clock_gettime(CLOCK_MONOTONIC, &now);
		printf(" within %.3f s, for process %u",
			((double)e->deadline_ns - (double)now.tv_sec * 1e9 - (double)now.tv_nsec) /
				1e9,
			e->pid);
	}
	printf("\n");
	if (e->kind == LEASEFS_EVENT_RECALL && option.answer) {
		do_unpin();
		do_return();
	}
	if (e->kind == LEASEFS_EVENT_REVOKED) {
		struct leasefs_ack ack = {.lease = e->lease};

		if (slot_pinned || range_pin)
			return; /* the blocks stay ours until the pin ends */
		if (mapping && munmap(mapping, mapping_bytes))
			fail("munmap");
		mapping = NULL;
		held = false;
		call(LEASEFS_IOC_ACK, &ack, "ACK");
		printf("acknowledged\n");
	}
}

static bool on_command(void)
{
	char line[64];

	errno = 0;
	if (!fgets(line, sizeof(line), stdin))
		return option.seconds > 0 || errno == EIO;
	line[strcspn(line, "\n")] = '\0';
	if (!strcmp(line, "quit"))
		return false;
	if (!strcmp(line, "pin"))
		do_pin();
	else if (!strcmp(line, "unpin"))
		do_unpin();
	else if (!strcmp(line, "return"))
		do_return();
	else if (!strcmp(line, "status"))
		printf("%s, %s\n", held ? "held" : "not held",
			slot_pinned || range_pin ? "pinned" : "not pinned");
	else
		printf("commands: pin, unpin, return, status, quit\n");
	return true;
}

static void serve(void)
{
	struct pollfd fds[] = {
		{.fd = control_fd, .events = POLLIN}, {.fd = STDIN_FILENO, .events = POLLIN}};
	struct timespec began, now;
	struct leasefs_event e;

	clock_gettime(CLOCK_MONOTONIC, &began);
	for (;;) {
		double left = -1;

		if (option.seconds > 0) {
			clock_gettime(CLOCK_MONOTONIC, &now);
			left = option.seconds - (double)(now.tv_sec - began.tv_sec) -
			       (double)(now.tv_nsec - began.tv_nsec) / 1e9;
			if (left <= 0)
				return;
		}
		if (poll(fds, 2, left < 0 ? -1 : (int)(left * 1000) + 1) < 0 && errno != EINTR)
			fail("poll");
		if (fds[0].revents & (POLLERR | POLLHUP))
			return;
		if (fds[0].revents & POLLIN) {
			if (read(control_fd, &e, sizeof(e)) == (ssize_t)sizeof(e))
				on_event(&e);
			else if (errno != EAGAIN && errno != EINTR)
				fail("reading events");
		}
		if (fds[1].revents && !on_command())
			return;
		if (ferror(stdin) || (fds[1].revents & POLLHUP && !(fds[1].revents & POLLIN)))
			fds[1].fd = -1; /* it goes on without commands */
	}
}

static uint64_t parse_bytes(const char *text)
{
	char *end;
	uint64_t n = strtoull(text, &end, 0);

	if (*end == 'K')
		return n << 10;
	if (*end == 'M')
		return n << 20;
	if (*end == 'G')
		return n << 30;
	return n;
}

static void usage(FILE *out)
{
	fprintf(out, "usage: hold [--offset N] [--length N] [--read] [--exclusive] [--pin]"
		     " [--pin-range [--unbreakable]] [--fill BYTE]"
		     " [--answer auto|never] [--seconds N] FILE\n");
	exit(out == stdout ? 0 : 2);
}

static void parse(int argc, char **argv)
{
	enum {
		OFFSET = 1,
		LENGTH,
		READ,
		EXCLUSIVE,
		PIN,
		PIN_RANGE,
		UNBREAKABLE,
		FILL,
		ANSWER,
		SECONDS,
		HELP
	};
	static const struct option names[] = {{"offset", 1, NULL, OFFSET},
		{"length", 1, NULL, LENGTH}, {"read", 0, NULL, READ},
		{"exclusive", 0, NULL, EXCLUSIVE}, {"pin", 0, NULL, PIN},
		{"pin-range", 0, NULL, PIN_RANGE}, {"unbreakable", 0, NULL, UNBREAKABLE},
		{"fill", 1, NULL, FILL}, {"answer", 1, NULL, ANSWER}, {"seconds", 1, NULL, SECONDS},
		{"help", 0, NULL, HELP}, {NULL, 0, NULL, 0}};
	int c;

	while ((c = getopt_long(argc, argv, "", names, NULL)) != -1) {
		option.offset = c == OFFSET ? parse_bytes(optarg) : option.offset;
		option.length = c == LENGTH ? parse_bytes(optarg) : option.length;
		option.read_only = option.read_only || c == READ;
		option.exclusive = option.exclusive || c == EXCLUSIVE;
		option.pin = option.pin || c == PIN || c == PIN_RANGE;
		option.pin_range = option.pin_range || c == PIN_RANGE;
		option.unbreakable = option.unbreakable || c == UNBREAKABLE;
		option.fill = option.fill || c == FILL;
		option.byte = c == FILL ? (unsigned char)strtoul(optarg, NULL, 0) : option.byte;
		option.answer = option.answer || (c == ANSWER && !strcmp(optarg, "auto"));
		option.seconds = c == SECONDS ? strtod(optarg, NULL) : option.seconds;
		if (c == '?')
			exit(2);
		if (c == HELP)
			usage(stdout);
	}
	if (optind + 1 != argc || (option.fill && option.read_only))
		usage(stderr);
	option.file = argv[optind];
}

int main(int argc, char **argv)
{
	parse(argc, argv);
	setvbuf(stdout, NULL, _IOLBF, 0);
	signal(SIGTTIN, SIG_IGN);        /* in the background of a terminal: EIO instead */
	setvbuf(stdin, NULL, _IONBF, 0); /* poll(2) must see what is left */
	control_fd = open_control(option.file);
	hello = (struct leasefs_hello){.abi = LEASEFS_ABI,
		.features = LEASEFS_FEATURE_SLOT_PINS | LEASEFS_FEATURE_RANGE_PINS};
	call(LEASEFS_IOC_HELLO, &hello, "HELLO");
	printf("session %llu, process %u\n", (unsigned long long)hello.session, hello.pid);
	take_lease();
	map_pin_line();
	map_layout();
	if (option.fill && mapping)
		fill();
	if (option.pin)
		do_pin();
	serve();
	do_unpin();
	do_return();
	return 0;
}
