// SPDX-License-Identifier: BSD-2-Clause
/*
 * fsxtest.c - random operations on one file against a buffer in memory.
 *
 *   fsxtest [--seed N] [--ops N] [--size BYTES] [--without LIST] DIRECTORY
 *
 * Read and write, through the page cache, past it (O_DIRECT) and through mappings; truncate; every
 * mode of fallocate; copies within the file; closing, opening, msync, dropping cached pages: each
 * with ends that are aligned to nothing. Every byte read is compared at once, and the whole file
 * every so often. What a filesystem does not support (EOPNOTSUPP, EINVAL for O_DIRECT) is left out
 * from then on, and told at the end. A failure prints the operations that led to it.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <linux/falloc.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "rng.h"

#define PAGE 4096u
#define HISTORY 64u
#define WHOLE_EVERY 500u /* operations between comparisons of the whole file */

enum kind {
	OP_READ,
	OP_WRITE,
	OP_APPEND,
	OP_MAPREAD,
	OP_MAPWRITE,
	OP_DIRECT_READ,
	OP_DIRECT_WRITE,
	OP_TRUNCATE,
	OP_PUNCH,
	OP_ZERO,
	OP_ZERO_KEEP,
	OP_ALLOCATE,
	OP_ALLOCATE_KEEP,
	OP_COPY,
	OP_REOPEN,
	OP_SYNC,
	OP_DROP_CACHE,
	OP_STAT,
	OP_KINDS
};

struct step {
	enum kind kind;
	uint64_t offset, length, to;
};

struct test {
	struct rng rng;
	char path[4096];
	int fd;         /* through the page cache */
	int direct_fd;  /* O_DIRECT; -1: not supported */
	uint8_t *good;  /* what the file should hold; zero past its size */
	uint8_t *bytes; /* page aligned, to read into and write from */
	uint64_t size, limit;
	uint64_t ops, seed;
	bool off[OP_KINDS];
	struct step history[HISTORY];
	uint64_t done;
};

/* ---- reporting ------------------------------------------------------------------------------- */

static const struct {
	const char *name;
	unsigned weight;
} kinds[OP_KINDS] = {
	[OP_READ] = {"read", 10},
	[OP_WRITE] = {"write", 14},
	[OP_APPEND] = {"append", 4},
	[OP_MAPREAD] = {"mapread", 8},
	[OP_MAPWRITE] = {"mapwrite", 12},
	[OP_DIRECT_READ] = {"direct-read", 6},
	[OP_DIRECT_WRITE] = {"direct-write", 8},
	[OP_TRUNCATE] = {"truncate", 8},
	[OP_PUNCH] = {"punch", 6},
	[OP_ZERO] = {"zero", 4},
	[OP_ZERO_KEEP] = {"zero-keep-size", 3},
	[OP_ALLOCATE] = {"allocate", 3},
	[OP_ALLOCATE_KEEP] = {"allocate-keep-size", 3},
	[OP_COPY] = {"copy", 5},
	[OP_REOPEN] = {"reopen", 1},
	[OP_SYNC] = {"sync", 2},
	[OP_DROP_CACHE] = {"drop-cache", 2},
	[OP_STAT] = {"stat", 3},
};

static void print_history(const struct test *t)
{
	uint64_t first = t->done > HISTORY ? t->done - HISTORY : 0;
	for (uint64_t i = first; i < t->done; i++) {
		const struct step *s = &t->history[i % HISTORY];
		fprintf(stderr, "%8" PRIu64 " %-18s offset %" PRIu64 " length %" PRIu64, i,
			kinds[s->kind].name, s->offset, s->length);
		if (s->kind == OP_COPY)
			fprintf(stderr, " to %" PRIu64, s->to);
		fputc('\n', stderr);
	}
}

static int failed(struct test *t, const char *what, int64_t got, int64_t should)
{
	print_history(t);
	fprintf(stderr,
		"FAILED: operation %" PRIu64 ", %s: got %" PRId64 "%s%s%s, should be %" PRId64
		", size %" PRIu64 ", seed %" PRIu64 "\n",
		t->done - 1, what, got, got < 0 ? " (" : "", got < 0 ? strerror((int)-got) : "",
		got < 0 ? ")" : "", should, t->size, t->seed);
	return -1;
}

static int compare(
	struct test *t, const uint8_t *have, uint64_t offset, uint64_t length, const char *what)
{
	const uint8_t *want = t->good + offset;
	if (memcmp(have, want, length) == 0)
		return 0;
	uint64_t at = 0, wrong = 0;
	while (have[at] == want[at])
		at++;
	for (uint64_t i = at; i < length; i++)
		wrong += have[i] != want[i];
	print_history(t);
	fprintf(stderr,
		"FAILED: operation %" PRIu64 ", %s: byte %" PRIu64
		" is 0x%02x, should be 0x%02x; %" PRIu64 " bytes wrong in [%" PRIu64 ", %" PRIu64
		"), size %" PRIu64 ", seed %" PRIu64 "\n",
		t->done - 1, what, offset + at, have[at], want[at], wrong, offset, offset + length,
		t->size, t->seed);
	return -1;
}

/* An operation that is not to be had here: not again. */
static int unsupported(struct test *t, enum kind kind)
{
	t->off[kind] = true;
	return 0;
}

static void grow(struct test *t, uint64_t end)
{
	if (end > t->size)
		t->size = end;
}

/* ---- reading and writing --------------------------------------------------------------------- */

static int do_read(struct test *t, const struct step *s, int fd)
{
	uint64_t should = s->offset >= t->size              ? 0
			  : t->size - s->offset < s->length ? t->size - s->offset
							    : s->length;
	ssize_t n = pread(fd, t->bytes, s->length, (off_t)s->offset);
	if (n < 0)
		n = -errno;
	if (n == -EINVAL && s->kind == OP_DIRECT_READ)
		return unsupported(t, s->kind);
	if (n != (ssize_t)should)
		return failed(t, "read", n, (int64_t)should);
	return compare(t, t->bytes, s->offset, should, "read");
}

static int do_write(struct test *t, const struct step *s, int fd)
{
	fill_bytes(t->bytes, s->length, t->seed + t->done * 31);
	ssize_t n = pwrite(fd, t->bytes, s->length, (off_t)s->offset);
	if (n < 0)
		n = -errno;
	if (n == -EINVAL && s->kind == OP_DIRECT_WRITE)
		return unsupported(t, s->kind);
	if (n != (ssize_t)s->length)
		return failed(t, "write", n, (int64_t)s->length);
	memcpy(t->good + s->offset, t->bytes, s->length);
	grow(t, s->offset + s->length);
	return 0;
}

static int do_append(struct test *t, const struct step *s)
{
	struct step end = *s;
	end.offset = t->size;
	if (end.offset + end.length > t->limit)
		return 0;
	int fd = open(t->path, O_WRONLY | O_APPEND | O_CLOEXEC);
	if (fd < 0)
		return failed(t, "open", -errno, 0);
	fill_bytes(t->bytes, end.length, t->seed + t->done * 31);
	ssize_t n = write(fd, t->bytes, end.length);
	if (n < 0)
		n = -errno;
	close(fd);
	if (n != (ssize_t)end.length)
		return failed(t, "append", n, (int64_t)end.length);
	memcpy(t->good + end.offset, t->bytes, end.length);
	grow(t, end.offset + end.length);
	return 0;
}

/* ---- mappings -------------------------------------------------------------------------------- */

static int do_map_read(struct test *t, const struct step *s)
{
	if (s->offset >= t->size)
		return 0;
	uint64_t length = t->size - s->offset < s->length ? t->size - s->offset : s->length;
	uint64_t start = s->offset & ~(uint64_t)(PAGE - 1);
	uint64_t mapped = s->offset + length - start;
	uint8_t *at = mmap(NULL, mapped, PROT_READ, MAP_SHARED, t->fd, (off_t)start);
	if (at == MAP_FAILED)
		return errno == ENODEV ? unsupported(t, s->kind) : failed(t, "mmap", -errno, 0);
	int r = compare(t, at + (s->offset - start), s->offset, length, "mapping read");
	/* What stands in the last page past the end of file is zero. */
	uint64_t end = s->offset + length;
	if (r == 0 && end == t->size && end % PAGE != 0) {
		uint64_t rest = PAGE - end % PAGE;
		r = compare(t, at + (end - start), end, rest, "mapping read past the end");
	}
	munmap(at, mapped);
	return r;
}

static int do_map_write(struct test *t, const struct step *s)
{
	uint64_t end = s->offset + s->length;
	uint64_t start = s->offset & ~(uint64_t)(PAGE - 1);
	if (end > t->size) {
		if (ftruncate(t->fd, (off_t)end) < 0)
			return failed(t, "truncate", -errno, 0);
		grow(t, end);
	}
	uint8_t *at =
		mmap(NULL, end - start, PROT_READ | PROT_WRITE, MAP_SHARED, t->fd, (off_t)start);
	if (at == MAP_FAILED)
		return errno == ENODEV ? unsupported(t, s->kind) : failed(t, "mmap", -errno, 0);
	fill_bytes(t->good + s->offset, s->length, t->seed + t->done * 31);
	memcpy(at + (s->offset - start), t->good + s->offset, s->length);
	int r = 0;
	if (rng_percent(&t->rng, 30) && msync(at, end - start, MS_SYNC) < 0)
		r = failed(t, "msync", -errno, 0);
	munmap(at, end - start);
	return r;
}

/* ---- layout ---------------------------------------------------------------------------------- */

static int do_truncate(struct test *t, const struct step *s)
{
	if (ftruncate(t->fd, (off_t)s->offset) < 0)
		return failed(t, "truncate", -errno, 0);
	if (s->offset < t->size)
		memset(t->good + s->offset, 0, t->size - s->offset);
	t->size = s->offset;
	return 0;
}

static int do_fallocate(struct test *t, const struct step *s, int mode)
{
	uint64_t end = s->offset + s->length;
	if (fallocate(t->fd, mode, (off_t)s->offset, (off_t)s->length) < 0) {
		if (errno == EOPNOTSUPP)
			return unsupported(t, s->kind);
		return failed(t, "fallocate", -errno, 0);
	}
	if (mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE) && s->offset < t->size) {
		uint64_t stop = end < t->size ? end : t->size;
		memset(t->good + s->offset, 0, stop - s->offset);
	}
	if (!(mode & FALLOC_FL_KEEP_SIZE))
		grow(t, end);
	return 0;
}

static int do_copy(struct test *t, const struct step *s)
{
	off_t from = (off_t)s->offset, to = (off_t)s->to;
	uint64_t length = s->length, done = 0;
	if (s->offset >= t->size)
		return 0;
	if (length > t->size - s->offset)
		length = t->size - s->offset;
	if (s->offset < s->to + length && s->to < s->offset + length)
		return 0; /* overlapping copies are refused */
	while (done < length) {
		ssize_t n = copy_file_range(t->fd, &from, t->fd, &to, length - done, 0);
		if (n < 0 && (errno == EOPNOTSUPP || errno == EXDEV || errno == ENOSYS))
			return unsupported(t, s->kind);
		if (n <= 0)
			return failed(t, "copy_file_range", n < 0 ? -errno : 0, (int64_t)length);
		done += (uint64_t)n;
	}
	memmove(t->good + s->to, t->good + s->offset, length);
	grow(t, s->to + length);
	return 0;
}

/* ---- the rest -------------------------------------------------------------------------------- */

static int open_file(struct test *t, int flags)
{
	t->fd = open(t->path, O_RDWR | O_CLOEXEC | flags, 0600);
	if (t->fd < 0) {
		fprintf(stderr, "%s: %s\n", t->path, strerror(errno));
		return -1;
	}
	t->direct_fd = open(t->path, O_RDWR | O_CLOEXEC | O_DIRECT);
	if (t->direct_fd < 0)
		t->off[OP_DIRECT_READ] = t->off[OP_DIRECT_WRITE] = true;
	return 0;
}

static void close_file(struct test *t)
{
	if (t->direct_fd >= 0)
		close(t->direct_fd);
	if (t->fd >= 0)
		close(t->fd);
	t->fd = t->direct_fd = -1;
}

static int do_stat(struct test *t)
{
	struct stat st;
	if (fstat(t->fd, &st) < 0)
		return failed(t, "stat", -errno, 0);
	if ((uint64_t)st.st_size != t->size)
		return failed(t, "size", st.st_size, (int64_t)t->size);
	return 0;
}

static int check_whole(struct test *t)
{
	struct step all = {.kind = OP_READ, .offset = 0, .length = t->limit};
	int r = do_stat(t);
	return r == 0 ? do_read(t, &all, t->fd) : r;
}

static int run_step(struct test *t, const struct step *s)
{
	switch (s->kind) {
	case OP_READ:
		return do_read(t, s, t->fd);
	case OP_WRITE:
		return do_write(t, s, t->fd);
	case OP_APPEND:
		return do_append(t, s);
	case OP_MAPREAD:
		return do_map_read(t, s);
	case OP_MAPWRITE:
		return do_map_write(t, s);
	case OP_DIRECT_READ:
		return do_read(t, s, t->direct_fd);
	case OP_DIRECT_WRITE:
		return do_write(t, s, t->direct_fd);
	case OP_TRUNCATE:
		return do_truncate(t, s);
	case OP_PUNCH:
		return do_fallocate(t, s, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE);
	case OP_ZERO:
		return do_fallocate(t, s, FALLOC_FL_ZERO_RANGE);
	case OP_ZERO_KEEP:
		return do_fallocate(t, s, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE);
	case OP_ALLOCATE:
		return do_fallocate(t, s, 0);
	case OP_ALLOCATE_KEEP:
		return do_fallocate(t, s, FALLOC_FL_KEEP_SIZE);
	case OP_COPY:
		return do_copy(t, s);
	case OP_REOPEN:
		close_file(t);
		return open_file(t, 0);
	case OP_SYNC:
		return fsync(t->fd) < 0 ? failed(t, "fsync", -errno, 0) : 0;
	case OP_DROP_CACHE:
		posix_fadvise(t->fd, 0, 0, POSIX_FADV_DONTNEED);
		return 0;
	default:
		return do_stat(t);
	}
}

static void pick_step(struct test *t, struct step *s)
{
	struct rng *r = &t->rng;
	unsigned total = 0;
	for (unsigned i = 0; i < OP_KINDS; i++)
		total += t->off[i] ? 0 : kinds[i].weight;
	unsigned at = (unsigned)rng_below(r, total);
	memset(s, 0, sizeof(*s));
	for (s->kind = 0; t->off[s->kind] || at >= kinds[s->kind].weight; s->kind++)
		at -= t->off[s->kind] ? 0 : kinds[s->kind].weight;
	s->length = 1 + rng_below(r, 1ull << (2 + rng_below(r, 16)));
	if (s->length > t->limit / 2)
		s->length = t->limit / 2;
	s->offset = rng_below(r, t->limit - s->length);
	s->to = rng_below(r, t->limit - s->length);
	bool direct = s->kind == OP_DIRECT_READ || s->kind == OP_DIRECT_WRITE;
	if (direct || rng_percent(r, 20)) {
		s->offset &= ~(uint64_t)(PAGE - 1);
		s->length = (s->length + PAGE - 1) & ~(uint64_t)(PAGE - 1);
	}
	if (rng_percent(r, 15)) /* around the end of file */
		s->offset = t->size > s->length && !direct ? t->size - s->length / 2 : s->offset;
	if (s->offset + s->length > t->limit)
		s->offset = (t->limit - s->length) & ~(uint64_t)(PAGE - 1);
}

static int run(struct test *t)
{
	for (uint64_t i = 0; i < t->ops; i++) {
		struct step *s = &t->history[t->done % HISTORY];
		pick_step(t, s);
		t->done++;
		int r = run_step(t, s);
		if (r == 0 && t->done % WHOLE_EVERY == 0)
			r = check_whole(t);
		if (r < 0)
			return r;
	}
	return check_whole(t);
}

/* ---- command line ---------------------------------------------------------------------------- */

static const char usage_text[] =
	"usage: fsxtest [--seed N] [--ops N] [--size BYTES] [--without LIST] DIRECTORY\n"
	"LIST names operations, with commas: read,write,append,mapread,mapwrite,direct-read,\n"
	"direct-write,truncate,punch,zero,zero-keep-size,allocate,allocate-keep-size,copy,reopen,\n"
	"sync,drop-cache,stat\n";

static bool without(struct test *t, char *list)
{
	char *rest = NULL;
	for (char *word = strtok_r(list, ",", &rest); word; word = strtok_r(NULL, ",", &rest)) {
		unsigned i = 0;
		while (i < OP_KINDS && strcmp(kinds[i].name, word) != 0)
			i++;
		if (i == OP_KINDS) {
			fprintf(stderr, "fsxtest: no operation is called %s\n", word);
			return false;
		}
		t->off[i] = true;
	}
	return true;
}

static bool parse(struct test *t, int argc, char **argv)
{
	static const struct option options[] = {
		{"seed", required_argument, NULL, 's'},
		{"ops", required_argument, NULL, 'n'},
		{"size", required_argument, NULL, 'l'},
		{"without", required_argument, NULL, 'w'},
		{NULL, 0, NULL, 0},
	};
	int option;
	bool good = true;
	while (good && (option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		char *end = NULL;
		uint64_t v = optarg && option != 'w' ? strtoull(optarg, &end, 10) : 0;
		good = !end || *end == '\0';
		if (option == 's')
			t->seed = v;
		else if (option == 'n')
			t->ops = v;
		else if (option == 'l')
			t->limit = v & ~(uint64_t)(PAGE - 1);
		else
			good = option == 'w' && without(t, optarg);
	}
	if (!good || optind != argc - 1 || t->limit < 16 * PAGE) {
		fputs(usage_text, stderr);
		return false;
	}
	snprintf(t->path, sizeof(t->path), "%s/fsxtest-%d", argv[optind], (int)getpid());
	return true;
}

int main(int argc, char **argv)
{
	static struct test t = {.ops = 20000, .limit = 1u << 20, .fd = -1, .direct_fd = -1};
	if (getrandom(&t.seed, sizeof(t.seed), 0) < 0)
		return 2;
	t.seed %= 1000000000;
	if (!parse(&t, argc, argv))
		return 2;
	t.rng.state = mix64(t.seed + 1);
	t.good = calloc(1, t.limit + PAGE);
	t.bytes = aligned_alloc(PAGE, t.limit + PAGE);
	if (!t.good || !t.bytes || open_file(&t, O_CREAT | O_EXCL) < 0)
		return 2;
	printf("seed %" PRIu64 "\n", t.seed);
	fflush(stdout);
	int r = run(&t);
	close_file(&t);
	if (r == 0) {
		unlink(t.path);
		printf("fsxtest: %" PRIu64 " operations passed; not supported or left out:",
			t.done);
		for (unsigned i = 0; i < OP_KINDS; i++)
			if (t.off[i])
				printf(" %s", kinds[i].name);
		printf("\n");
	}
	free(t.good);
	free(t.bytes);
	return r < 0;
}
