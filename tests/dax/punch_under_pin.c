// SPDX-License-Identifier: BSD-2-Clause
/*
 * punch_under_pin.c - what a hole punch does while the kernel holds a page of the file.
 *
 *   punch_under_pin MAPPED OFFSET FILE LENGTH HOLD_MS
 *
 * Maps the page at OFFSET of MAPPED and gives it to a pipe by vmsplice(2): the kernel refers to it
 * until the pipe is read or closed, as it would for direct I/O under way or RDMA. Then a child
 * punches [0, LENGTH) of FILE. On a filesystem with DAX both are the same file; on leasefs FILE is
 * the file and MAPPED the region that its bytes are in.
 *
 * The pipe is closed after HOLD_MS. Prints when the punch ended and how:
 *   "ended SECONDS pinned ERRNO"    while the pipe still held the page
 *   "blocked SECONDS closed ERRNO"  only after the pipe was closed, so long after that
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096u
#define RELEASE_MS 20000 /* for the punch to end once nothing holds the page */

static void fail(const char *what)
{
	perror(what);
	exit(2);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* The pipe's ends; the page is in it. */
static void hold_page(const char *path, off_t offset, int pipe_ends[2])
{
	int fd = open(path, O_RDWR | O_CLOEXEC);
	struct iovec page = {.iov_len = PAGE};

	if (fd < 0)
		fail(path);
	page.iov_base = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, offset);
	if (page.iov_base == MAP_FAILED)
		fail("mmap");
	*(volatile char *)page.iov_base = 'P';
	if (pipe2(pipe_ends, O_CLOEXEC))
		fail("pipe");
	if (vmsplice(pipe_ends[1], &page, 1, 0) != PAGE)
		fail("vmsplice");
	close(fd);
}

/* Ends with the errno of the punch. */
static pid_t start_punch(const char *path, off_t length, const int pipe_ends[2])
{
	int fd = open(path, O_RDWR | O_CLOEXEC);
	pid_t child;

	if (fd < 0)
		fail(path);
	child = fork();
	if (child < 0)
		fail("fork");
	if (child > 0) {
		close(fd);
		return child;
	}
	close(pipe_ends[0]);
	close(pipe_ends[1]);
	_exit(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, length) ? errno : 0);
}

static int ended_within(int pidfd, int limit_ms)
{
	struct pollfd p = {.fd = pidfd, .events = POLLIN};
	int n = poll(&p, 1, limit_ms);

	if (n < 0)
		fail("poll");
	return n;
}

static const char *result(pid_t child)
{
	int status;

	if (waitpid(child, &status, 0) != child || !WIFEXITED(status))
		fail("waitpid");
	return WEXITSTATUS(status) ? strerrorname_np(WEXITSTATUS(status)) : "OK";
}

int main(int argc, char **argv)
{
	int pipe_ends[2], pidfd;
	pid_t child;
	double start;

	if (argc != 6) {
		fprintf(stderr, "usage: punch_under_pin MAPPED OFFSET FILE LENGTH HOLD_MS\n");
		return 2;
	}
	hold_page(argv[1], (off_t)strtoull(argv[2], NULL, 0), pipe_ends);
	start = now();
	child = start_punch(argv[3], (off_t)strtoull(argv[4], NULL, 0), pipe_ends);
	pidfd = (int)syscall(SYS_pidfd_open, child, 0);
	if (pidfd < 0)
		fail("pidfd_open");
	if (ended_within(pidfd, atoi(argv[5]))) {
		double took = now() - start;

		printf("ended %.3f pinned %s\n", took, result(child));
		return 0;
	}
	double blocked = now() - start;

	close(pipe_ends[0]);
	close(pipe_ends[1]);
	/* Our own mapping does not hold the page: it is taken away by the punch. */
	start = now();
	if (!ended_within(pidfd, RELEASE_MS)) {
		printf("blocked %.3f and still after the pipe was closed\n", blocked);
		return 1;
	}
	double took = now() - start;

	printf("blocked %.3f closed %.3f %s\n", blocked, took, result(child));
	return 0;
}
