// SPDX-License-Identifier: BSD-2-Clause
/*
 * kv_reader.c - many readers on a shared table, while a writer replaces and truncates it.
 *
 *     kv_reader TABLE write ROUNDS SEED    an ordinary program: pwrite, ftruncate, fallocate
 *     kv_reader TABLE read THREADS         looks keys up until its standard input ends
 *
 * Readers in the background of a terminal go on until they are in the foreground, and it ends
 * there.
 *
 * The table is an array of slots, found by hashing the key. The readers have it mapped by a managed
 * mapping: direct pages for as long as nobody minds, a mapping of the file while somebody does.
 * They take no part in any of that: each lookup is a few loads, in a guard that makes an error of
 * what would be a SIGBUS, when the writer has just truncated that part away.
 *
 * A slot says its version before and after its value. The writer writes the first, the value, and
 * the last; the readers look the other way round, and read again if the two differ.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <leasefs/leasefs.h>

#define SLOTS 65536u
#define THREADS_MAX 64u
#define RETRIES_MAX 1000

struct slot {
	uint64_t before; /* version */
	uint64_t key;    /* 0: the slot is empty */
	uint64_t value[5];
	uint64_t after;
};
#define TABLE_BYTES (SLOTS * sizeof(struct slot))

static void check(int result, const char *what)
{
	if (result >= 0)
		return;
	fprintf(stderr, "kv_reader: %s: %s\n", what, strerror(-result));
	exit(1);
}

static uint64_t mix(uint64_t x)
{
	x = (x ^ (x >> 31)) * 0x9e3779b97f4a7c15ull;
	return x ^ (x >> 29);
}

static void fill_value(struct slot *s, uint64_t key, uint64_t version)
{
	*s = (struct slot){.before = version, .key = key, .after = version};
	for (unsigned i = 0; i < 5; i++)
		s->value[i] = mix(key + version + i);
}

/* ---- the writer: it has never heard of leases ------------------------------------------------ */

/* Of the slot `s`, the bytes [from, to), at `at`. */
static void write_part(int fd, const struct slot *s, size_t from, size_t to, uint64_t at)
{
	ssize_t n = pwrite(fd, (const char *)s + from, to - from, (off_t)(at + from));

	check(n == (ssize_t)(to - from) ? 0 : -EIO, "writing");
}

static void write_slot(int fd, uint64_t key, uint64_t version)
{
	uint64_t at = key % SLOTS * sizeof(struct slot);
	struct slot s;

	fill_value(&s, key, version);
	write_part(fd, &s, 0, offsetof(struct slot, key), at);
	write_part(fd, &s, offsetof(struct slot, key), offsetof(struct slot, after), at);
	write_part(fd, &s, offsetof(struct slot, after), sizeof(s), at);
}

static int write_table(const char *path, unsigned long rounds, uint64_t seed)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
	uint64_t version = 0;

	check(fd < 0 ? -errno : 0, path);
	for (unsigned long round = 0; round < rounds; round++) {
		off_t half = (off_t)(TABLE_BYTES / 2);

		check(ftruncate(fd, (off_t)TABLE_BYTES) ? -errno : 0, "growing the table");
		for (unsigned i = 0; i < 256; i++) {
			seed = mix(seed + 1);
			write_slot(fd, 1 + seed % SLOTS, ++version);
		}
		if (round % 3 == 1)
			check(ftruncate(fd, half) ? -errno : 0, "truncating the table");
		else if (round % 3 == 2)
			check(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, half / 2,
				      half / 2)
					? -errno
					: 0,
				"punching a hole");
	}
	close(fd);
	printf("%lu rounds written\n", rounds);
	return 0;
}

/* ---- the readers ----------------------------------------------------------------------------- */

static const struct slot *table;
static atomic_bool stop;
static atomic_ulong found, absent, beyond, wrong;

/* 1: there, 0: not there, -EFAULT: that part of the file is not there. */
static int look_up(uint64_t key, struct slot *out)
{
	const struct slot *s = &table[key % SLOTS];

	for (int i = 0; i < RETRIES_MAX; i++) {
		uint64_t after;
		int error = leasefs_copy_guarded(&after, &s->after, sizeof(after));

		if (!error)
			error = leasefs_copy_guarded(&out->key, &s->key,
				offsetof(struct slot, after) - offsetof(struct slot, key));
		if (!error)
			error = leasefs_copy_guarded(&out->before, &s->before, sizeof(s->before));
		if (error)
			return error;
		out->after = after;
		if (out->before == after)
			return out->key == key;
	}
	return 0;
}

static void *read_keys(void *argument)
{
	uint64_t seed = (uint64_t)(uintptr_t)argument;
	struct slot s, right;

	while (!atomic_load(&stop)) {
		int result;

		seed = mix(seed + 1);
		result = look_up(1 + seed % SLOTS, &s);
		if (result < 0) {
			atomic_fetch_add(&beyond, 1);
		} else if (result == 0) {
			atomic_fetch_add(&absent, 1);
		} else {
			fill_value(&right, s.key, s.before);
			atomic_fetch_add(memcmp(&s, &right, sizeof(s)) ? &wrong : &found, 1);
		}
	}
	return NULL;
}

/* In the background of a terminal the input is not ours: EIO, and SIGTTIN would stop us. */
static void wait_for_end_of_input(void)
{
	ssize_t got;
	char byte;

	signal(SIGTTIN, SIG_IGN);
	do {
		got = read(STDIN_FILENO, &byte, 1);
		if (got < 0 && errno == EIO)
			sleep(1);
	} while (got > 0 || (got < 0 && errno == EIO));
}

static int read_table(const char *path, unsigned threads)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct leasefs_session *session;
	struct leasefs_lease *lease;
	struct leasefs_lease_state state;
	pthread_t thread[THREADS_MAX];

	check(fd < 0 ? -errno : 0, path);
	check(leasefs_enable_guard(), "the guard");
	check(leasefs_open_session_at(fd, 0, &session), path);
	check(leasefs_map_managed(
		      session, fd, 0, TABLE_BYTES, LEASEFS_TAKE_READ, &lease, (void **)&table),
		path);
	for (unsigned i = 0; i < threads; i++)
		check(-pthread_create(&thread[i], NULL, read_keys, (void *)(uintptr_t)(i + 1)),
			"a thread");
	printf("%u readers\n", threads);
	fflush(stdout);
	wait_for_end_of_input();
	atomic_store(&stop, true);
	for (unsigned i = 0; i < threads; i++)
		pthread_join(thread[i], NULL);
	check(leasefs_get_lease(lease, &state), path);
	printf("%lu found, %lu absent, %lu beyond the end of file, %lu wrong; "
	       "gave way %llu times, came back %llu times\n",
		found, absent, beyond, wrong, (unsigned long long)state.gave_way,
		(unsigned long long)state.came_back);
	check(leasefs_return_lease(lease), path);
	check(leasefs_close_session(session), path);
	return wrong ? 1 : 0;
}

int main(int argc, char **argv)
{
	if (argc == 5 && !strcmp(argv[2], "write"))
		return write_table(
			argv[1], strtoul(argv[3], NULL, 10), strtoull(argv[4], NULL, 10));
	if (argc == 4 && !strcmp(argv[2], "read")) {
		unsigned long threads = strtoul(argv[3], NULL, 10);

		if (threads >= 1 && threads <= THREADS_MAX)
			return read_table(argv[1], (unsigned)threads);
	}
	fprintf(stderr, "usage: kv_reader TABLE write ROUNDS SEED | read THREADS (1 to %u)\n",
		THREADS_MAX);
	return 2;
}
