// SPDX-License-Identifier: BSD-2-Clause
/*
 * direct_copy.c - copies a file into or out of leasefs through a direct mapping.
 *
 *     direct_copy [--against-cp] SOURCE TARGET
 *
 * Whichever of the two is on leasefs is leased and mapped; the other is read or written as usual,
 * straight from or into the mapping: the bytes are copied once. In by a write lease, out by a read
 * lease. Then TARGET is read back and compared. --against-cp has cp(1) do the same afterwards, to a
 * file beside it.
 */
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <leasefs/leasefs.h>

#define CHUNK_BYTES ((size_t)1 << 20)

extern char **environ;

struct end {
	const char *path;
	int fd;
	struct leasefs_session *session; /* NULL: not on leasefs */
	struct leasefs_lease *lease;
	char *memory;
};

static void check(int result, const char *what)
{
	if (result >= 0)
		return;
	fprintf(stderr, "direct_copy: %s: %s\n", what, strerror(-result));
	exit(1);
}

static double seconds_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* Pinned for as long as we copy: whoever truncates the file meanwhile gets EBUSY, and we no
 * SIGBUS. */
static void map_directly(struct end *e, uint64_t bytes, unsigned flags)
{
	int error = leasefs_open_session_at(e->fd, 0, &e->session);

	if (error == -ENOTTY) /* an ordinary file */
		return;
	check(error, e->path);
	check(leasefs_wait_lease(e->session, e->fd, 0, bytes, flags, 10000000000u, &e->lease),
		e->path);
	check(leasefs_map_lease(e->lease, 0, (void **)&e->memory), e->path);
	check(leasefs_pin_lease(e->lease), e->path);
}

static void let_go(struct end *e)
{
	if (!e->session)
		return;
	check(leasefs_unpin_lease(e->lease), e->path);
	check(leasefs_return_lease(e->lease), e->path);
	check(leasefs_close_session(e->session), e->path);
	e->session = NULL;
}

static void read_all(int fd, char *to, size_t bytes, off_t at, const char *path)
{
	ssize_t n;

	for (; bytes > 0; to += n, at += n, bytes -= (size_t)n) {
		n = pread(fd, to, bytes, at);
		check(n < 0 ? -errno : n == 0 ? -ENODATA : 0, path);
	}
}

static void write_all(int fd, const char *from, size_t bytes, off_t at, const char *path)
{
	ssize_t n;

	for (; bytes > 0; from += n, at += n, bytes -= (size_t)n) {
		n = pwrite(fd, from, bytes, at);
		check(n < 0 ? -errno : 0, path);
	}
}

static void copy(struct end *from, struct end *to, uint64_t bytes)
{
	char *buffer = from->memory || to->memory ? NULL : malloc(CHUNK_BYTES);

	for (uint64_t at = 0; at < bytes; at += CHUNK_BYTES) {
		size_t n = bytes - at < CHUNK_BYTES ? (size_t)(bytes - at) : CHUNK_BYTES;

		if (from->memory && to->memory) {
			memcpy(to->memory + at, from->memory + at, n);
		} else if (to->memory) {
			read_all(from->fd, to->memory + at, n, (off_t)at, from->path);
		} else if (from->memory) {
			write_all(to->fd, from->memory + at, n, (off_t)at, to->path);
		} else {
			check(buffer ? 0 : -ENOMEM, "a buffer");
			read_all(from->fd, buffer, n, (off_t)at, from->path);
			write_all(to->fd, buffer, n, (off_t)at, to->path);
		}
	}
	if (to->lease)
		check(leasefs_commit_range(to->lease, 0, 0, bytes), to->path);
	free(buffer);
}

/* By ordinary reads of both: this is what everybody else sees. */
static bool same(const char *one, const char *two, uint64_t bytes)
{
	int a = open(one, O_RDONLY | O_CLOEXEC), b = open(two, O_RDONLY | O_CLOEXEC);
	char *x = malloc(CHUNK_BYTES), *y = malloc(CHUNK_BYTES);
	bool equal = true;
	struct stat st;

	check(a < 0 || b < 0 ? -errno : x && y ? 0 : -ENOMEM, "comparing");
	check(fstat(b, &st) ? -errno : 0, two);
	equal = (uint64_t)st.st_size == bytes;
	for (uint64_t at = 0; equal && at < bytes; at += CHUNK_BYTES) {
		size_t n = bytes - at < CHUNK_BYTES ? (size_t)(bytes - at) : CHUNK_BYTES;

		read_all(a, x, n, (off_t)at, one);
		read_all(b, y, n, (off_t)at, two);
		equal = !memcmp(x, y, n);
	}
	close(a);
	close(b);
	free(x);
	free(y);
	return equal;
}

static double time_cp(const char *from, const char *to)
{
	char beside[4096];
	const char *arguments[] = {"cp", "--", from, beside, NULL};
	double began;
	int status;
	pid_t pid;

	snprintf(beside, sizeof(beside), "%s.cp", to);
	began = seconds_now();
	check(-posix_spawnp(&pid, "cp", NULL, NULL, (char **)(uintptr_t)arguments, environ), "cp");
	check(waitpid(pid, &status, 0) < 0 ? -errno : status ? -EIO : 0, "cp");
	began = seconds_now() - began;
	unlink(beside);
	return began;
}

int main(int argc, char **argv)
{
	bool against_cp = argc == 4 && !strcmp(argv[1], "--against-cp");
	struct end from = {.path = argc > 2 ? argv[argc - 2] : NULL};
	struct end to = {.path = argc > 2 ? argv[argc - 1] : NULL};
	struct stat st;
	uint64_t bytes;
	double took;

	if (argc != 3 + against_cp) {
		fprintf(stderr, "usage: direct_copy [--against-cp] SOURCE TARGET\n");
		return 2;
	}
	from.fd = open(from.path, O_RDONLY | O_CLOEXEC);
	check(from.fd < 0 || fstat(from.fd, &st) ? -errno : 0, from.path);
	check(S_ISREG(st.st_mode) ? 0 : -EINVAL, from.path);
	to.fd = open(to.path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	check(to.fd < 0 ? -errno : 0, to.path);
	bytes = (uint64_t)st.st_size;

	took = seconds_now();
	if (bytes > 0) {
		map_directly(&from, bytes, LEASEFS_TAKE_READ);
		map_directly(&to, bytes, LEASEFS_TAKE_WRITE);
		copy(&from, &to, bytes);
		printf("%s -> %s: %s%s%s\n", from.path, to.path,
			from.memory ? "out by a read lease" : "",
			from.memory && to.memory ? ", " : "",
			to.memory ? "in by a write lease" : "");
		if (!from.memory && !to.memory)
			printf("(neither is on leasefs: copied as usual)\n");
		let_go(&from);
		let_go(&to);
	}
	took = seconds_now() - took;
	check(same(from.path, to.path, bytes) ? 0 : -EIO, "the copy differs");
	printf("%llu bytes, the same when read back; %.2f GB/s", (unsigned long long)bytes,
		(double)bytes / took / 1e9);
	if (against_cp)
		printf(", cp %.2f GB/s", (double)bytes / time_cp(from.path, to.path) / 1e9);
	printf("\n");
	return 0;
}
