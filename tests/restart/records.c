// SPDX-License-Identifier: BSD-2-Clause
/*
 * records.c - what a holder may map is in its lease's record, whatever becomes of the daemon.
 *
 *   records MKFS FSCK LEASEFS refused|paged
 *
 * A client maps a file in more extents than a record of a lease has room for. Then
 *
 *   refused  The daemon gets a file size limit of 0 (it ignores SIGXFSZ, as this process does); its
 *            mappings, metadata among them, can be written to all the same. A part of the file is
 *            punched out: the holder does not answer, and that its lease is revoked cannot be
 *            written down, so the punch fails with EIO and changes nothing. With the limit gone it
 *            is done.
 *   paged    A hole under the lease is filled, and the client asks for one page of the layout, not
 *            the last. What that tells of is punched out.
 *
 * After each of these the daemon is killed and another started, all free space goes to a new file,
 * and the client's mapping shows none of its bytes (invariants 1, 2 and 6).
 *
 * Exit status: 0 all held, 1 something did not, 77 no /dev/fuse.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "stand.h"

#define MiB (1024 * 1024ull)
#define PIECE 16384u
#define PIECES 256u /* of PIECE, with as much between two: a hole */
#define FILE_BYTES (2ull * PIECES * PIECE)
#define OPTIONS "policy=recall:150ms/busy,grace=1s"

static const char *region;
static uint64_t lease;
static struct leasefs_extent mapped[4 * PIECES];
static unsigned mapped_count;

static void make_file(void)
{
	static char bytes[PIECE];
	int fd = stand_open("f", O_RDWR | O_CREAT);

	memset(bytes, 'f', sizeof(bytes));
	for (off_t i = 0; i < PIECES; i++)
		if (pwrite(fd, bytes, PIECE, 2 * i * PIECE) != PIECE)
			stand_fail("f: %s", strerror(errno));
	close(fd);
}

static void note_extents(const struct leasefs_extent *e, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		if (e[i].state != LEASEFS_EXTENT_HOLE)
			mapped[mapped_count++] = e[i];
}

static void map_region(int control)
{
	struct leasefs_region r = {0};
	int fd;

	if (ioctl(control, LEASEFS_IOC_REGION, &r))
		stand_fail("REGION: %s", strerror(errno));
	fd = open(r.path, O_RDWR | O_CLOEXEC);
	region = fd < 0 ? MAP_FAILED : mmap(NULL, r.bytes, PROT_READ, MAP_SHARED, fd, 0);
	if (region == MAP_FAILED)
		stand_fail("%s: %s", r.path, strerror(errno));
	close(fd);
}

/* The control file that holds it. */
static int take_lease(void)
{
	int control = stand_open(LEASEFS_CONTROL_PATH, O_RDWR), fd = stand_open("f", O_RDONLY);
	struct leasefs_hello hello = {.abi = LEASEFS_ABI};
	struct leasefs_grant g = {.mode = LEASEFS_MODE_READ};
	struct leasefs_layout more = {0};

	if (ioctl(control, LEASEFS_IOC_HELLO, &hello))
		stand_fail("HELLO: %s", strerror(errno));
	memcpy(g.cookie, hello.cookie, sizeof(g.cookie));
	if (ioctl(fd, LEASEFS_IOC_GRANT, &g))
		stand_fail("GRANT: %s", strerror(errno));
	note_extents(g.extents, g.count);
	lease = more.lease = g.lease;
	for (more.offset = g.next; more.offset < g.offset + g.length; more.offset = more.next) {
		if (ioctl(control, LEASEFS_IOC_LAYOUT, &more))
			stand_fail("LAYOUT: %s", strerror(errno));
		note_extents(more.extents, more.count);
	}
	close(fd);
	map_region(control);
	if (mapped_count < 16)
		stand_fail("f is in %u extents only", mapped_count);
	return control;
}

static void let_write(bool may)
{
	struct rlimit limit;

	if (prlimit(stand.daemon, RLIMIT_FSIZE, NULL, &limit))
		stand_fail("prlimit: %s", strerror(errno));
	limit.rlim_cur = may ? limit.rlim_max : 0;
	if (prlimit(stand.daemon, RLIMIT_FSIZE, &limit, NULL))
		stand_fail("prlimit: %s", strerror(errno));
}

/* Its errno, or 0. */
static int punch_file(uint64_t offset, uint64_t length)
{
	int fd = stand_open("f", O_RDWR), status;
	pid_t child = fork();
	struct pollfd end;

	if (child == 0)
		_exit(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset,
			      (off_t)length)
				? errno
				: 0);
	close(fd);
	end = (struct pollfd){.fd = (int)syscall(SYS_pidfd_open, child, 0), .events = POLLIN};
	if (poll(&end, 1, PATIENCE_MS) != 1)
		stand_fail("the punch does not end");
	close(end.fd);
	if (waitpid(child, &status, 0) != child || !WIFEXITED(status))
		stand_fail("the punching process was killed");
	return WEXITSTATUS(status);
}

static uint64_t blocks_of_file(void)
{
	char path[160];
	struct stat st;

	stand_path("f", path);
	if (stat(path, &st))
		stand_fail("f: %s", strerror(errno));
	return (uint64_t)st.st_blocks;
}

static void fill_free_space(const char *name)
{
	static char block[PIECE];
	int fd = stand_open(name, O_WRONLY | O_CREAT | O_TRUNC);
	ssize_t n;

	memset(block, 'x', sizeof(block));
	while ((n = write(fd, block, sizeof(block))) > 0)
		;
	if (n == 0 || errno != ENOSPC || close(fd))
		stand_fail("filling the pool: %s", strerror(errno));
}

static void expect_own_blocks(const char *when)
{
	for (unsigned i = 0; i < mapped_count; i++)
		for (uint64_t at = 0; at < mapped[i].length; at++)
			if (region[mapped[i].region_offset + at] == 'x')
				stand_fail("%s: the mapping of %llu of f has another file's bytes",
					when, (unsigned long long)(mapped[i].offset + at));
}

static void start(const char *leasefs)
{
	if (!stand_start(leasefs, OPTIONS))
		stand_fail("no mount");
}

static void try_refused(const char *leasefs)
{
	uint64_t blocks = blocks_of_file();
	int error;

	let_write(false);
	error = punch_file(0, MiB);
	stand_kill();
	start(leasefs);
	fill_free_space("first");
	expect_own_blocks("records refused");
	if (error != EIO || blocks_of_file() != blocks)
		stand_fail("punch: %s, and f has %llu blocks of %llu", strerror(error),
			(unsigned long long)blocks_of_file(), (unsigned long long)blocks);

	error = punch_file(0, MiB); /* when the grace period is over */
	if (error || blocks_of_file() != blocks / 8 * 7)
		stand_fail("punch: %s", strerror(error));
	fill_free_space("second");
	expect_own_blocks("records taken");
}

/* Where blocks have no room of their own between others', which a record might take in. */
static void try_paged(int control)
{
	struct leasefs_layout page = {.lease = lease, .offset = FILE_BYTES / 2};
	static char bytes[PIECE];
	int fd = stand_open("f", O_RDWR);

	if (pwrite(fd, bytes, PIECE, (off_t)page.offset + PIECE) != PIECE)
		stand_fail("f: %s", strerror(errno));
	close(fd);
	if (ioctl(control, LEASEFS_IOC_LAYOUT, &page))
		stand_fail("LAYOUT: %s", strerror(errno));
	if (page.next >= FILE_BYTES - PIECE || page.extents[1].state == LEASEFS_EXTENT_HOLE)
		stand_fail("not a page for this test");
	note_extents(page.extents, page.count);
	if (punch_file(page.offset, 4 * PIECE))
		stand_fail("punch: %s", strerror(errno));
}

int main(int argc, char **argv)
{
	int control;

	if (argc != 5) {
		fprintf(stderr, "usage: records MKFS FSCK LEASEFS refused|paged\n");
		return 2;
	}
	if (access("/dev/fuse", R_OK | W_OK))
		return 77;
	signal(SIGXFSZ, SIG_IGN); /* the daemon's too */
	stand_make(argv[1], argv[2], "16M");
	start(argv[3]);
	make_file();
	control = take_lease();
	if (!strcmp(argv[4], "refused"))
		try_refused(argv[3]);
	else
		try_paged(control);
	stand_kill();
	start(argv[3]);
	fill_free_space("last");
	expect_own_blocks("after a restart");
	close(control);
	stand_end();
	return 0;
}
