// SPDX-License-Identifier: BSD-2-Clause
/*
 * test_pool.c - pools: made, opened, locked, refused; superblocks, tables, and hostile media.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "btree.h"
#include "core.h"
#include "pool.h"
#include "scratch.h"
#include "verify.h"

#define MIB (1ull << 20)

static char pool[4096];
static const char *directory;

/* A directory of its own for each test; the pool is not made yet. */
static int set_up(void **state)
{
	directory = scratch_directory(*state ? NULL : "/dev/shm");
	snprintf(pool, sizeof(pool), "%s/pool", directory);
	return 0;
}

static int tear_down(void **state)
{
	scratch_remove(directory);
	return 0;
}

static const char *in_pool(const char *name)
{
	static char path[4200];

	snprintf(path, sizeof(path), "%s/%s", pool, name);
	return path;
}

static struct core_format format_of(uint64_t bytes)
{
	return (struct core_format){.pool = pool, .pool_bytes = bytes, .lease_gid = UINT32_MAX};
}

static void expect(int error, int expected, const struct diag *d, const char *part)
{
	if (error != expected || (part && !strstr(d->text, part)))
		print_message("got %d \"%s\", expected %d \"%s\"\n", error, d->text, expected,
			part ? part : "");
	assert_int_equal(error, expected);
	if (part)
		assert_non_null(strstr(d->text, part));
}

static void expect_format(const struct core_format *f, int expected, const char *part)
{
	struct diag d = {{0}};

	expect(core_format_pool(f, &d), expected, &d, part);
}

static struct core *open_pool(bool read_only)
{
	const struct core_options options = {.pool = pool, .read_only = read_only};
	struct core *c = NULL;
	struct diag d = {{0}};

	expect(core_open(&options, &c, &d), 0, &d, NULL);
	return c;
}

static void expect_open(bool read_only, int expected, const char *part)
{
	const struct core_options options = {.pool = pool, .read_only = read_only};
	struct core *c = NULL;
	struct diag d = {{0}};
	int error = core_open(&options, &c, &d);

	if (!error)
		core_abandon(c);
	expect(error, expected, &d, part);
}

static void make_pool(uint64_t bytes)
{
	struct core_format f = format_of(bytes);

	expect_format(&f, 0, NULL);
}

/* ---- making and opening ---------------------------------------------------------------------- */

static void made_pool_opens_and_tells_the_truth(void **state)
{
	struct core_format f = format_of(300 * MIB);
	struct core_region_info region;
	struct core_info info;
	struct statvfs fs;
	struct stat st;
	uint32_t next;

	f.label = "a label of thirty-one bytes end";
	expect_format(&f, 0, NULL);
	for (unsigned round = 0; round < 2; round++) {
		struct core *c = open_pool(false);

		core_get_info(c, &info);
		assert_string_equal(info.label, f.label);
		assert_int_equal(strlen(info.uuid), 36);
		assert_int_equal(info.pool_bytes, 300 * MIB);
		assert_int_equal(info.free_bytes, 300 * MIB);
		assert_int_equal(info.regions, 1);
		assert_int_equal(info.inodes_used, 1);
		assert_true(info.was_clean);
		assert_false(info.power_lost);
		assert_int_equal(core_next_region(c, 0, &next), 0);
		assert_int_equal(next, 0);
		assert_int_equal(core_next_region(c, 1, &next), -ENOENT);
		assert_int_equal(core_get_region(c, 1, &region), -ENOENT);
		assert_int_equal(core_get_region(c, 0, &region), 0);
		assert_string_equal(region.path, in_pool("data.0"));
		assert_int_equal(region.bytes, 300 * MIB);
		assert_int_equal(core_statfs(c, &fs), 0);
		assert_int_equal(fs.f_blocks, 300 * MIB / 4096);
		assert_int_equal(fs.f_bfree, 300 * MIB / 4096);
		assert_true(fs.f_bavail > 0 && fs.f_bavail <= fs.f_bfree);
		assert_true(fs.f_ffree > 4000 && fs.f_files > fs.f_ffree);
		assert_int_equal(fs.f_namemax, 255);
		assert_int_equal(core_sync(c), 0);
		assert_int_equal(core_close(c), 0);
	}
	assert_int_equal(stat(pool, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0711);
	assert_int_equal(stat(in_pool("meta"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(stat(in_pool("data.0"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(st.st_size, 300 * MIB);
	assert_true(st.st_blocks * 512 < 8 * (blkcnt_t)MIB);
	assert_int_equal(stat(in_pool("run"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0711);
}

static void pool_on_page_cache_opens_relaxed_and_strict(void **state)
{
	make_pool(64 * MIB);
	for (unsigned i = 0; i < 4; i++) {
		const struct core_options options = {
			.pool = pool, .durability = i % 2 ? DURABILITY_STRICT : DURABILITY_RELAXED};
		struct core *c = NULL;
		struct diag d = {{0}};

		expect(core_open(&options, &c, &d), 0, &d, NULL);
		assert_int_equal(tables_grow_inodes(c), 0);
		if (i < 2)
			assert_int_equal(core_close(c), 0);
		else
			core_abandon(c);
	}
	struct core *c = open_pool(true);
	assert_int_equal(space_groups(c->inodes), 5);
	assert_int_equal(core_close(c), 0);
}

static void read_only_open_replays_and_changes_nothing(void **state)
{
	make_pool(64 * MIB);
	struct core *c = open_pool(false);
	assert_int_equal(tables_grow_inodes(c), 0);
	core_abandon(c);

	for (unsigned i = 0; i < 2; i++) {
		struct core_info info;

		c = open_pool(true);
		core_get_info(c, &info);
		assert_false(info.was_clean);
		assert_int_equal(space_groups(c->inodes), 2);
		assert_int_not_equal(tables_grow_inodes(c), 0);
		assert_int_equal(core_sync(c), 0);
		assert_int_equal(core_close(c), 0);
	}
	c = open_pool(false);
	assert_false(c->recovery.was_clean);
	assert_int_equal(space_groups(c->inodes), 2);
	assert_int_equal(core_close(c), 0);
}

static void sizes_and_names_out_of_bounds_are_refused(void **state)
{
	struct core_format f = format_of(1000);

	expect_format(&f, -EINVAL, "out of bounds");
	f = format_of(1ull << 60);
	expect_format(&f, -EINVAL, "out of bounds");
	f = format_of(64 * MIB);
	f.meta_bytes = 4096;
	expect_format(&f, -EINVAL, "metadata size");
	f = format_of(64 * MIB);
	f.label = "this label is longer than 31 byt";
	expect_format(&f, -EINVAL, "label");
	f = format_of(64 * MIB);
	f.domains = 7;
	expect_format(&f, -EINVAL, "domains");
	f.domains = DOMAINS_UID;
	f.data = "somewhere";
	expect_format(&f, -EINVAL, "domains=uid");
	assert_int_equal(access(pool, F_OK), -1); /* nothing was left behind */

	f = format_of(CORE_POOL_BYTES_MIN);
	f.meta_bytes = 8 * MIB;
	expect_format(&f, 0, NULL);
	core_close(open_pool(false));
	f = format_of(64 * MIB + 5); /* rounded down */
	f.force = true;
	expect_format(&f, 0, NULL);
	struct core *c = open_pool(false);
	assert_int_equal(c->super.pool_bytes, 64 * MIB);
	assert_int_equal(core_close(c), 0);
}

static void existing_pool_needs_force(void **state)
{
	struct core_format f = format_of(64 * MIB);
	char uuid[37];
	struct core_info info;
	struct core *c;
	int fd;

	expect_format(&f, 0, NULL);
	expect_format(&f, -EEXIST, "-f destroys it");
	c = open_pool(false);
	core_get_info(c, &info);
	memcpy(uuid, info.uuid, sizeof(uuid));

	f.force = true;
	expect_format(&f, -EBUSY, "in use by process");
	assert_int_equal(core_close(c), 0);
	/* What is refused for another reason destroys nothing. */
	f.meta_bytes = 4096;
	expect_format(&f, -EINVAL, "metadata size");
	f.meta_bytes = 0;
	f.data = "/dev/null";
	expect_format(&f, -EINVAL, "not a DAX device");
	f.data = NULL;
	expect_open(false, 0, NULL);

	/* Live state of the old pool goes with it. */
	fd = open(in_pool("run/session"), O_CREAT | O_WRONLY, 0600);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(mkdir(in_pool("run/pins"), 0700), 0);
	close(open(in_pool("run/pins/1"), O_CREAT | O_WRONLY, 0600));
	fd = open(in_pool("data.7"), O_CREAT | O_WRONLY, 0600);
	close(fd);
	f.pool_bytes = 32 * MIB;
	expect_format(&f, 0, NULL);
	assert_int_equal(access(in_pool("run/session"), F_OK), -1);
	assert_int_equal(access(in_pool("run/pins"), F_OK), -1);
	assert_int_equal(access(in_pool("data.7"), F_OK), -1);
	c = open_pool(false);
	core_get_info(c, &info);
	assert_string_not_equal(info.uuid, uuid);
	assert_int_equal(info.pool_bytes, 32 * MIB);
	assert_int_equal(core_close(c), 0);
}

static void directory_of_other_things_stays_as_it_is(void **state)
{
	struct core_format f = format_of(64 * MIB);

	assert_int_equal(mkdir(pool, 0755), 0);
	expect_open(false, -ENOENT, "not a leasefs pool");
	expect_open(true, -ENOENT, "not a leasefs pool");
	close(open(in_pool("letter"), O_CREAT | O_WRONLY, 0600));
	expect_format(&f, -ENOTEMPTY, "letter");
	f.force = true;
	expect_format(&f, -ENOTEMPTY, "letter");
	assert_int_equal(access(in_pool("run"), F_OK), -1);
	unlink(in_pool("letter"));
	assert_int_equal(mkdir(in_pool("meta"), 0755), 0);
	expect_format(&f, -ENOTEMPTY, "not a regular file");
	expect_open(false, -EUCLEAN, "not a regular file");
	rmdir(in_pool("meta"));
	f.force = false;
	f.pool = in_pool("deeper/still");
	expect_format(&f, -ENOENT, "cannot make");
	close(open(in_pool("file"), O_CREAT | O_WRONLY, 0600));
	f.pool = in_pool("file");
	expect_format(&f, -ENOTDIR, NULL);
}

static void planted_symlinks_are_refused(void **state)
{
	static const char *const names[] = {"meta", "data.0", "run"};
	struct core_format f = format_of(64 * MIB);
	char target[4200];

	snprintf(target, sizeof(target), "%s/target", directory);
	for (unsigned i = 0; i < 3; i++) {
		make_pool(64 * MIB);
		assert_int_equal(rename(in_pool(names[i]), target), 0);
		assert_int_equal(symlink(target, in_pool(names[i])), 0);
		expect_open(false, -ELOOP, "symbolic link");
		expect_open(true, -ELOOP, "symbolic link");
		f.force = false;
		expect_format(&f, i == 2 ? -EEXIST : -ELOOP, NULL);
		f.force = true;
		expect_format(&f, -ELOOP, "symbolic link");
		assert_int_equal(access(target, F_OK), 0);
		assert_int_equal(unlink(in_pool(names[i])), 0);
		assert_int_equal(rename(target, in_pool(names[i])), 0);
		expect_open(false, 0, NULL);
		scratch_remove(directory);
		set_up(state);
		snprintf(target, sizeof(target), "%s/target", directory);
	}
	make_pool(64 * MIB);
	unlink(in_pool("run/lock"));
	assert_int_equal(symlink(target, in_pool("run/lock")), 0);
	expect_open(false, -ELOOP, "run/lock");
	assert_int_equal(access(target, F_OK), -1);
}

/* A recorder that ends the process at the n-th store. */
static void die_at_store(
	void *context, const struct region *r, uint64_t offset, const void *bytes, uint64_t count)
{
	unsigned *left = context;

	if ((*left)-- == 0)
		_exit(42);
}

static void interrupted_mkfs_is_not_a_pool(void **state)
{
	struct core_format f = format_of(200 * MIB);
	unsigned died = 0;

	for (unsigned n = 0;; n += 1 + n / 8) {
		const struct core_options options = {.pool = pool};
		struct diag d = {{0}};
		struct core *c;
		int status;
		pid_t child = fork();

		if (child == 0) {
			const struct region_recorder recorder = {&n, die_at_store, NULL, NULL};

			region_set_recorder(&recorder);
			_exit(core_format_pool(&f, &d) ? 1 : 0);
		}
		assert_int_equal(waitpid(child, &status, 0), child);
		assert_true(WIFEXITED(status));
		f.force = true; /* there is something now */
		if (WEXITSTATUS(status) == 0)
			break;
		assert_int_equal(WEXITSTATUS(status), 42);
		died++;
		int error = core_open(&options, &c, &d);
		if (!error) { /* the first superblock was all that was missing */
			assert_int_equal(core_close(c), 0);
			continue;
		}
		expect(error, -EUCLEAN, &d, "not a leasefs pool");
	}
	assert_true(died > 10);
	expect_open(false, 0, NULL);
}

static void no_space_for_a_pool_leaves_nothing(void **state)
{
	struct core_format f = format_of(64 * MIB);

	if (scratch_mount(directory, "small", "tmpfs", "size=4m"))
		skip();
	snprintf(pool, sizeof(pool), "%s/small/pool", directory);
	expect_format(&f, -ENOSPC, NULL);
	assert_int_equal(access(pool, F_OK), -1);
}

/* ---- the lock -------------------------------------------------------------------------------- */

/* What another process gets that opens the pool: the error, and the sentence in *d. */
static int open_in_child(bool read_only, unsigned lock_wait_ms, struct diag *d)
{
	int ends[2], error = 0;

	assert_int_equal(pipe(ends), 0);
	pid_t child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		const struct core_options options = {
			.pool = pool, .read_only = read_only, .lock_wait_ms = lock_wait_ms};
		struct diag mine = {{0}};
		struct core *c;

		error = core_open(&options, &c, &mine);
		if (!error)
			core_abandon(c);
		if (write(ends[1], &error, sizeof(error)) != sizeof(error) ||
			write(ends[1], &mine, sizeof(mine)) != sizeof(mine))
			_exit(1);
		_exit(0);
	}
	assert_int_equal(read(ends[0], &error, sizeof(error)), sizeof(error));
	assert_int_equal(read(ends[0], d, sizeof(*d)), sizeof(*d));
	close(ends[0]);
	close(ends[1]);
	assert_int_equal(waitpid(child, NULL, 0), child);
	return error;
}

static void second_opener_is_refused_and_told_who(void **state)
{
	char expected[64];
	struct diag d = {{0}};
	struct core *c;

	make_pool(64 * MIB);
	c = open_pool(false);
	snprintf(expected, sizeof(expected), "is in use by process %d", (int)getpid());
	expect(open_in_child(false, 0, &d), -EBUSY, &d, expected);
	expect(open_in_child(true, 0, &d), -EBUSY, &d, expected);
	expect(open_in_child(false, 60, &d), -EBUSY, &d, expected);
	assert_int_equal(core_close(c), 0);
	expect(open_in_child(false, 0, &d), 0, &d, NULL);

	c = open_pool(true); /* readers do not mind each other */
	expect(open_in_child(true, 0, &d), 0, &d, NULL);
	expect(open_in_child(false, 0, &d), -EBUSY, &d, "in use by another process");
	assert_int_equal(core_close(c), 0);
}

static void opener_waits_for_a_daemon_that_is_ending(void **state)
{
	const struct core_options options = {.pool = pool, .lock_wait_ms = 5000};
	struct diag d = {{0}};
	struct core *c;
	char byte;
	int ends[2];

	make_pool(64 * MIB);
	assert_int_equal(pipe(ends), 0);
	pid_t child = fork();
	if (child == 0) {
		c = open_pool(false);
		if (write(ends[1], "x", 1) != 1)
			_exit(1);
		usleep(200000);
		_exit(core_close(c) ? 1 : 0);
	}
	assert_int_equal(read(ends[0], &byte, 1), 1);
	expect(core_open(&options, &c, &d), 0, &d, NULL);
	assert_int_equal(core_close(c), 0);
	assert_int_equal(waitpid(child, NULL, 0), child);
	close(ends[0]);
	close(ends[1]);
}

/* ---- superblocks ----------------------------------------------------------------------------- */

static off_t meta_size(void)
{
	struct stat st;

	assert_int_equal(stat(in_pool("meta"), &st), 0);
	return st.st_size;
}

static void read_super(unsigned which, struct media_super *s)
{
	int fd = open(in_pool("meta"), O_RDONLY);

	assert_int_equal(
		pread(fd, s, sizeof(*s), which ? meta_size() - BLOCK_SIZE : 0), sizeof(*s));
	close(fd);
}

static void write_super(unsigned which, struct media_super *s, bool sign)
{
	off_t at = which ? meta_size() - BLOCK_SIZE : 0;
	int fd = open(in_pool("meta"), O_WRONLY);

	if (sign)
		s->head.checksum = object_checksum(s, sizeof(*s), (uint64_t)at);
	assert_int_equal(pwrite(fd, s, sizeof(*s), at), sizeof(*s));
	close(fd);
}

static void damaged_superblock_falls_back_to_the_other(void **state)
{
	struct media_super saved[2], s;

	make_pool(64 * MIB);
	for (unsigned i = 0; i < 2; i++)
		read_super(i, &saved[i]);
	for (unsigned i = 0; i < 2; i++) {
		s = saved[i];
		s.label[3] ^= 1;
		write_super(i, &s, false);
		expect_open(false, 0, NULL);
		memset(&s, 0, sizeof(s));
		write_super(i, &s, false);
		expect_open(false, 0, NULL);
		write_super(i, &saved[i], false);
	}
	/* The higher generation is in force. */
	for (unsigned i = 0; i < 2; i++) {
		s = saved[i];
		s.generation = 2 + i;
		snprintf(s.label, sizeof(s.label), "copy %u", i);
		write_super(i, &s, true);
	}
	struct core *c = open_pool(true);
	assert_string_equal(c->super.label, "copy 1");
	assert_int_equal(core_close(c), 0);

	for (unsigned i = 0; i < 2; i++) {
		s = saved[i];
		s.hash_seed++;
		write_super(i, &s, false);
	}
	expect_open(false, -EUCLEAN, "superblock 0 is damaged");
	for (unsigned i = 0; i < 2; i++) {
		s = saved[i];
		s.head.magic = 0;
		write_super(i, &s, true);
	}
	expect_open(false, -EUCLEAN, "not a leasefs pool");
	/* A stale or misplaced copy is not valid: its place is in its checksum. */
	write_super(0, &saved[1], false);
	write_super(1, &saved[0], false);
	expect_open(false, -EUCLEAN, "damaged");
}

static void foreign_versions_and_features_are_told(void **state)
{
	struct media_super saved[2], s;

	make_pool(64 * MIB);
	for (unsigned i = 0; i < 2; i++)
		read_super(i, &saved[i]);
	for (unsigned sign = 0; sign < 2; sign++) {
		for (unsigned i = 0; i < 2; i++) {
			s = saved[i];
			s.major = 9;
			write_super(i, &s, sign);
		}
		expect_open(false, -EPROTONOSUPPORT, "format 9.0");
	}
	for (unsigned i = 0; i < 2; i++) {
		s = saved[i];
		s.incompat = 1ull << 40;
		write_super(i, &s, true);
	}
	expect_open(true, -EPROTONOSUPPORT, "incompat 0x10000000000");
	for (unsigned i = 0; i < 2; i++) {
		s = saved[i];
		s.ro_compat = 4;
		write_super(i, &s, true);
	}
	expect_open(false, -EROFS, "ro_compat 0x4");
	expect_open(true, 0, NULL);
	for (unsigned i = 0; i < 2; i++) {
		s = saved[i];
		s.compat = UINT64_MAX;
		s.minor = 77;
		write_super(i, &s, true);
	}
	expect_open(false, 0, NULL);
	/* One flipped bit in the version of one copy is damage, not a foreign pool. */
	s = saved[0];
	s.major ^= 4;
	write_super(0, &s, false);
	expect_open(false, 0, NULL);
}

/* Every field of a superblock whose checksum holds, at values of all sorts: no crash, no pool. */
static void nonsense_in_superblocks_is_refused(void **state)
{
	static const size_t fields[] = {
		offsetof(struct media_super, block_size),
		offsetof(struct media_super, meta_bytes),
		offsetof(struct media_super, journal_offset),
		offsetof(struct media_super, journal_bytes),
		offsetof(struct media_super, heap_offset),
		offsetof(struct media_super, heap_blocks),
		offsetof(struct media_super, pool_bytes),
	};
	static const uint64_t values[] = {0, 1, 4095, 4096, 8191, 1ull << 20, 1ull << 32,
		1ull << 40, (1ull << 44) + 4096, 1ull << 62, INT64_MAX, 1ull << 63,
		UINT64_MAX - 4095, UINT64_MAX};
	struct media_super saved[2], s;

	make_pool(64 * MIB);
	for (unsigned i = 0; i < 2; i++)
		read_super(i, &saved[i]);
	for (unsigned f = 0; f < sizeof(fields) / sizeof(fields[0]); f++) {
		for (unsigned v = 0; v < sizeof(values) / sizeof(values[0]); v++) {
			const struct core_options options = {.pool = pool, .read_only = true};
			struct diag d = {{0}};
			struct core *c;

			for (unsigned i = 0; i < 2; i++) {
				s = saved[i];
				memcpy((uint8_t *)&s + fields[f], &values[v],
					fields[f] == offsetof(struct media_super, block_size) ? 4
											      : 8);
				write_super(i, &s, true);
			}
			if (memcmp((uint8_t *)&s + 16, (uint8_t *)&saved[1] + 16, 4080) == 0)
				continue; /* that is what was there */
			int error = core_open(&options, &c, &d);
			if (!error) { /* a smaller heap that holds all there is, say: odd, but whole
				       */
				core_abandon(c);
				continue;
			}
			assert_int_equal(error, -EUCLEAN);
			assert_true(d.text[0] != '\0');
		}
	}
	for (unsigned i = 0; i < 2; i++) {
		s = saved[i];
		memset(s.label, 'x', sizeof(s.label));
		write_super(i, &s, true);
	}
	expect_open(false, -EUCLEAN, "label");
	for (unsigned i = 0; i < 2; i++) {
		s = saved[i];
		s.domains = 5;
		write_super(i, &s, true);
	}
	expect_open(false, -EUCLEAN, "domains");
}

static void truncated_files_are_told(void **state)
{
	off_t size;

	make_pool(64 * MIB);
	size = meta_size();
	assert_int_equal(truncate(in_pool("data.0"), 32 * MIB), 0);
	expect_open(false, -EUCLEAN, "data.0 is 33554432 bytes, the pool says 67108864");
	assert_int_equal(truncate(in_pool("data.0"), 64 * MIB), 0);
	expect_open(false, 0, NULL);

	assert_int_equal(truncate(in_pool("meta"), size - (off_t)(2 * MIB)), 0);
	expect_open(false, -EUCLEAN, "the superblock says");
	assert_int_equal(truncate(in_pool("meta"), size), 0); /* the copy is gone, not the first */
	expect_open(false, 0, NULL);
	assert_int_equal(truncate(in_pool("meta"), 100), 0);
	expect_open(false, -EUCLEAN, NULL);
	assert_int_equal(truncate(in_pool("meta"), 4096), 0);
	expect_open(true, -EUCLEAN, "too short");
	assert_int_equal(truncate(in_pool("meta"), 0), 0);
	expect_open(true, -EUCLEAN, NULL);
	assert_int_equal(unlink(in_pool("meta")), 0);
	expect_open(true, -ENOENT, "not a leasefs pool");
}

/* ---- the tables ------------------------------------------------------------------------------ */

static void region_for_each_owner_with_one_budget(void **state)
{
	struct core_format f = format_of(160 * MIB); /* two groups each */
	struct data_region *a, *b, *again;
	struct core *c;
	struct stat st;

	if (geteuid() != 0)
		skip();
	f.domains = DOMAINS_UID;
	expect_format(&f, 0, NULL);
	assert_int_equal(access(in_pool("data.0"), F_OK), -1);
	/* What a crash in the middle of making a region may leave. */
	close(open(in_pool("data.1"), O_CREAT | O_WRONLY, 0666));
	c = open_pool(false);
	assert_int_equal(tables_region_for(c, 1000, &a), 0);
	assert_int_equal(tables_region_for(c, 1001, &b), 0);
	assert_int_equal(tables_region_for(c, 1000, &again), 0);
	assert_ptr_equal(a, again);
	assert_int_equal(b->number, 1);
	assert_int_equal(space_groups(b->space), 2);
	assert_int_equal(stat(in_pool("data.1"), &st), 0);
	assert_int_equal(st.st_uid, 1001);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(st.st_size, 160 * MIB);

	assert_int_equal(core_budget_take(c, 160 * MIB / 4096 + 1), -ENOSPC);
	assert_int_equal(core_budget_take(c, 160 * MIB / 4096), 0);
	assert_int_equal(core_budget_take(c, 1), -ENOSPC);
	core_budget_give(c, 1);
	assert_int_equal(core_budget_take(c, 1), 0);
	core_abandon(c); /* as a crash */

	c = open_pool(false);
	assert_int_equal(c->region_count, 2);
	assert_int_equal(tables_region_for(c, 1001, &b), 0);
	assert_int_equal(b->number, 1);
	assert_int_equal(atomic_load(&c->data_blocks_free), 160 * MIB / 4096);
	assert_int_equal(core_close(c), 0);

	/* What an owner does to the file of their region harms nobody else. */
	assert_int_equal(truncate(in_pool("data.1"), 0), 0);
	expect_open(true, -EUCLEAN, "data.1 is 0 bytes");
	expect_open(false, 0, NULL);
	assert_int_equal(stat(in_pool("data.1"), &st), 0);
	assert_int_equal(st.st_size, 160 * MIB);
	assert_int_equal(chown(in_pool("data.1"), 0, 0), 0); /* not theirs: damage */
	assert_int_equal(truncate(in_pool("data.1"), 0), 0);
	expect_open(false, -EUCLEAN, "data.1 is 0 bytes");
	assert_int_equal(truncate(in_pool("data.1"), 160 * MIB), 0);
	expect_open(true, 0, NULL);
}

static void report_finding(void *context, const struct verify_finding *finding)
{
	print_message("%s\n", finding->text);
}

/* A crash at any store while a region with its many groups is made: the next attempt succeeds, and
 * nothing is lost on the way. */
static void region_half_made_is_made_again(void **state)
{
	const struct verify_options verify = {.found = report_finding};
	struct core_format f = format_of(12ull << 30); /* 98 groups: several transactions */
	unsigned died = 0;

	f.domains = DOMAINS_UID;
	for (unsigned n = 0;; n += 1 + n / 6) {
		struct verify_report report = {0};
		struct data_region *r;
		struct core *c;
		int status;

		expect_format(&f, 0, NULL);
		f.force = true;
		pid_t child = fork();
		if (child == 0) {
			const struct region_recorder recorder = {&n, die_at_store, NULL, NULL};

			c = open_pool(false);
			region_set_recorder(&recorder);
			_exit(tables_region_for(c, 1000, &r) ? 1 : 0);
		}
		assert_int_equal(waitpid(child, &status, 0), child);
		assert_true(WIFEXITED(status));
		assert_true(WEXITSTATUS(status) == 42 || WEXITSTATUS(status) == 0);

		c = open_pool(false);
		for (unsigned i = 0; i < 2; i++) {
			assert_int_equal(verify_core(c, &verify, &report), 0);
			assert_int_equal(report.found, 0);
			assert_int_equal(tables_region_for(c, 1000, &r), 0);
			assert_int_equal(r->number, 0);
			assert_int_equal(space_groups(r->space), 98);
		}
		assert_int_equal(core_close(c), 0);
		if (WEXITSTATUS(status) == 0)
			break;
		died++;
	}
	assert_true(died > 10);
}

static void inode_groups_grow_until_the_heap_is_full(void **state)
{
	struct core_format f = format_of(16 * MIB);
	struct core *c;
	struct statvfs fs;
	uint32_t groups;
	int error;

	f.meta_bytes = 12 * MIB;
	expect_format(&f, 0, NULL);
	c = open_pool(false);
	assert_int_equal(core_statfs(c, &fs), 0);
	while ((error = tables_grow_inodes(c)) == 0)
		continue;
	assert_int_equal(error, -ENOSPC);
	groups = space_groups(c->inodes);
	/* statfs had promised as many, but for what the trees take. */
	assert_true(groups > 2 && fs.f_files <= (uint64_t)(groups + 1) * INODES_PER_GROUP);
	assert_int_equal(core_close(c), 0);
	c = open_pool(false);
	assert_int_equal(space_groups(c->inodes), groups);
	assert_int_equal(core_close(c), 0);
}

/* Puts a value into a tree of media_roots as a hostile pool would have it. */
static void plant(bool region_tree, uint64_t key, const void *value, uint16_t bytes)
{
	struct core *c = open_pool(false);
	struct btree tree = tables_tree(c);
	struct media_roots *roots;
	struct tx *tx;

	assert_int_equal(tx_begin(c->meta, &tx), 0);
	assert_int_equal(tx_edit(tx, c->roots, MAGIC_ROOTS, (void **)&roots), 0);
	struct media_root *root = region_tree ? &roots->regions : &roots->spaces;
	int error = btree_replace(&tree, tx, root, key, value, bytes);
	if (error == -ENOENT)
		error = btree_insert(&tree, tx, root, key, value, bytes);
	assert_int_equal(error, 0);
	assert_int_equal(tx_commit(tx), 0);
	assert_int_equal(core_close(c), 0);
}

static void nonsense_in_tables_is_refused(void **state)
{
	const struct media_region good = {
		.bytes = 64 * MIB, .kind = REGION_KIND_POOL, .alignment_shift = BLOCK_SHIFT};
	struct {
		struct media_region media;
		char path[64];
	} value;
	struct media_group group;

	for (unsigned i = 0; i < 10; i++) {
		uint64_t key = i == 8 ? CORE_REGIONS_MAX : 0;
		uint16_t bytes = sizeof(value.media);

		make_pool(64 * MIB);
		memset(&value, 0, sizeof(value));
		value.media = good;
		if (i == 0)
			value.media.bytes = 0;
		if (i == 1)
			value.media.bytes = UINT64_MAX;
		if (i == 2)
			value.media.bytes = 64 * MIB - 1;
		if (i == 3)
			value.media.alignment_shift = 63;
		if (i == 4)
			value.media.kind = 77;
		if (i == 5)
			value.media.path_bytes = UINT32_MAX;
		if (i == 6)
			bytes--;
		if (i == 7) { /* a NUL inside a path */
			value.media.kind = REGION_KIND_EXTERNAL;
			value.media.path_bytes = 8;
			memcpy(value.path, "/dev\0ab", 8);
			bytes += 8;
		}
		if (i == 9) { /* not absolute */
			value.media.kind = REGION_KIND_EXTERNAL;
			value.media.path_bytes = 6;
			memcpy(value.path, "data.0", 6);
			bytes += 6;
		}
		plant(true, key, &value, bytes);
		expect_open(false, -EUCLEAN, "region table");
		scratch_remove(directory);
		set_up(state);
	}
	for (unsigned i = 0; i < 7; i++) {
		uint64_t key = (uint64_t)SPACE_INODES << 32;
		struct core *c;

		make_pool(64 * MIB);
		c = open_pool(true);
		assert_int_equal(space_group(c->inodes, 0, &group), 0);
		if (i == 0)
			group.bitmap = 0;
		if (i == 1)
			group.bitmap = UINT64_MAX - 4095;
		if (i == 2)
			group.table = c->super.meta_bytes - 8192;
		if (i == 3)
			group.units = GROUP_BITS;
		if (i == 4)
			group.bitmap = c->super.heap_offset; /* a heap bitmap's place */
		if (i == 5)
			key = (uint64_t)SPACE_REGION(0) << 32 | 7; /* a group that cannot be */
		if (i == 6)
			key += 5; /* a gap before it */
		core_close(c);
		plant(false, key, &group, sizeof(group));
		expect_open(false, -EUCLEAN, "space table");
		scratch_remove(directory);
		set_up(state);
	}
}

/* Where something stands in a small pool that was just made; the rest of meta is zero. */
static uint64_t place_of_interest(const struct media_super *s, uint64_t random)
{
	const uint64_t starts[] = {0, BLOCK_SIZE, s->journal_offset, s->heap_offset,
		s->heap_offset + BLOCK_SIZE, s->meta_bytes - BLOCK_SIZE};
	uint64_t at = starts[random % 6] + (random >> 8) % BLOCK_SIZE;

	/* Nodes and bitmaps stand after the first inode table. */
	if (random % 3 == 0)
		at = s->heap_offset + ((random >> 8) % ((INODE_TABLE_BLOCKS + 8) * BLOCK_SIZE));
	return at;
}

static uint64_t next_random(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

static void flipped_bits_never_end_the_opener(void **state)
{
	struct media_super super;
	uint64_t seed = 88172645463325252ull;
	unsigned refused = 0;

	make_pool(64 * MIB);
	read_super(0, &super);
	struct core *c = open_pool(false); /* a log with something in it */
	assert_int_equal(tables_grow_inodes(c), 0);
	core_abandon(c);
	int fd = open(in_pool("meta"), O_RDWR);
	uint8_t *whole = malloc(super.meta_bytes), byte;
	assert_non_null(whole);
	assert_int_equal(pread(fd, whole, super.meta_bytes, 0), super.meta_bytes);

	for (unsigned round = 0; round < 120; round++) {
		const struct core_options options = {.pool = pool, .read_only = round % 4 != 0};
		struct diag d = {{0}};

		for (unsigned i = 0; i < 1 + round % 3; i++) {
			uint64_t random = next_random(&seed),
				 at = place_of_interest(&super, random);

			byte = whole[at] ^ (uint8_t)(1u << (random >> 60 & 7));
			assert_int_equal(pwrite(fd, &byte, 1, (off_t)at), 1);
		}
		int error = core_open(&options, &c, &d);
		if (error) {
			refused++;
			assert_true(d.text[0] != '\0');
		} else {
			struct core_info info;

			core_get_info(c, &info);
			core_abandon(c);
		}
		/* Whatever was written by a round is undone; pages that are the same stay. */
		for (uint64_t at = 0; at < super.meta_bytes; at += BLOCK_SIZE) {
			uint8_t page[BLOCK_SIZE];

			if (round % 4 != 0 && at >= super.heap_offset + 512 * BLOCK_SIZE &&
				at < super.meta_bytes - BLOCK_SIZE)
				continue;
			assert_int_equal(pread(fd, page, BLOCK_SIZE, (off_t)at), BLOCK_SIZE);
			if (memcmp(page, whole + at, BLOCK_SIZE))
				assert_int_equal(
					pwrite(fd, whole + at, BLOCK_SIZE, (off_t)at), BLOCK_SIZE);
		}
	}
	assert_true(refused > 8);
	free(whole);
	close(fd);
	expect_open(false, 0, NULL);
}

struct asking {
	struct core *c;
	pthread_barrier_t *barrier;
	unsigned number;
	struct data_region *regions[8];
};

static void *ask_for_everything(void *argument)
{
	struct asking *a = argument;

	pthread_barrier_wait(a->barrier);
	for (uint32_t i = 0; i < 8; i++) {
		struct statvfs fs;

		if (tables_region_for(
			    a->c, 1000 + (i + a->number) % 8, &a->regions[(i + a->number) % 8]) ||
			tables_grow_inodes(a->c) || core_statfs(a->c, &fs) || core_sync(a->c))
			return argument;
	}
	return NULL;
}

static void threads_make_one_region_for_each_owner(void **state)
{
	struct core_format f = format_of(16 * MIB);
	struct asking asking[4];
	pthread_barrier_t barrier;
	pthread_t threads[4];
	void *result;
	struct core *c;

	f.domains = DOMAINS_UID;
	expect_format(&f, 0, NULL);
	c = open_pool(false);
	assert_int_equal(pthread_barrier_init(&barrier, NULL, 4), 0);
	for (unsigned i = 0; i < 4; i++) {
		asking[i] = (struct asking){.c = c, .barrier = &barrier, .number = 2 * i};
		assert_int_equal(
			pthread_create(&threads[i], NULL, ask_for_everything, &asking[i]), 0);
	}
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(pthread_join(threads[i], &result), 0);
		assert_null(result);
	}
	assert_int_equal(c->region_count, 8);
	for (unsigned i = 1; i < 4; i++)
		assert_memory_equal(
			asking[0].regions, asking[i].regions, sizeof(asking[0].regions));
	pthread_barrier_destroy(&barrier);
	assert_int_equal(core_close(c), 0);
	expect_open(true, 0, NULL);
}

static void data_may_stand_elsewhere(void **state)
{
	struct core_format f = format_of(0);
	struct core_region_info region;
	char data[4200];
	struct core *c;
	int fd;

	snprintf(data, sizeof(data), "%s/elsewhere", directory);
	f.data = data;
	f.pool_bytes = 32 * MIB;
	expect_format(&f, 0, NULL); /* made, since it was not there */
	c = open_pool(false);
	assert_int_equal(core_get_region(c, 0, &region), 0);
	assert_string_equal(region.path, data);
	assert_int_equal(region.bytes, 32 * MIB);
	assert_int_equal(core_close(c), 0);

	f.force = true;
	f.pool_bytes = 64 * MIB;
	expect_format(&f, -EINVAL, "leave -s out");
	f.pool_bytes = 0;
	expect_format(&f, 0, NULL);
	c = open_pool(false);
	assert_int_equal(c->super.pool_bytes, 32 * MIB);
	assert_int_equal(core_close(c), 0);

	f.force = false;
	snprintf(pool, sizeof(pool), "%s/pool2", directory);
	expect_format(&f, -EEXIST, "-f destroys them");
	f.data = in_pool("inside");
	expect_format(&f, -EINVAL, "inside the pool");
	f.data = "/dev/null";
	expect_format(&f, -EINVAL, "not a DAX device");
	snprintf(data, sizeof(data), "%s/nowhere/data", directory);
	f.data = data;
	expect_format(&f, -ENOENT, NULL);
	snprintf(data, sizeof(data), "%s/odd", directory);
	fd = open(data, O_CREAT | O_RDWR, 0600);
	assert_int_equal(ftruncate(fd, 3 * (off_t)MIB + 5), 0);
	close(fd);
	expect_format(&f, -EINVAL, "multiple");
	assert_int_equal(access(data, F_OK), 0);
	assert_int_equal(access(pool, F_OK), -1);
}

static void held_blocks_are_those_of_a_region(void **state)
{
	struct core *c;

	make_pool(64 * MIB);
	c = open_pool(false);
	assert_int_equal(core_hold(c, 1, 0, 4096), -ENOENT);
	assert_int_equal(core_hold(c, 0, 64 * MIB, 4096), -EINVAL);
	assert_int_equal(core_hold(c, 0, 4096, UINT64_MAX), -EINVAL);
	assert_int_equal(core_hold(c, 0, 4096, 0), -EINVAL);
	assert_int_equal(core_hold(c, 0, 1 * MIB, 2 * MIB), 0);
	assert_int_equal(core_release(c, 0, 1 * MIB, 2 * MIB), 0);
	assert_int_equal(core_release(c, 3, 1 * MIB, 2 * MIB), -ENOENT);
	assert_int_equal(core_close(c), 0);
}

#define MEMORY(test) cmocka_unit_test_prestate_setup_teardown(test, set_up, tear_down, NULL)
#define FILES(test) cmocka_unit_test_prestate_setup_teardown(test, set_up, tear_down, pool)

int main(void)
{
	const struct CMUnitTest tests[] = {
		MEMORY(made_pool_opens_and_tells_the_truth),
		FILES(made_pool_opens_and_tells_the_truth),
		FILES(pool_on_page_cache_opens_relaxed_and_strict),
		MEMORY(read_only_open_replays_and_changes_nothing),
		FILES(read_only_open_replays_and_changes_nothing),
		MEMORY(sizes_and_names_out_of_bounds_are_refused),
		MEMORY(existing_pool_needs_force),
		MEMORY(directory_of_other_things_stays_as_it_is),
		MEMORY(planted_symlinks_are_refused),
		MEMORY(interrupted_mkfs_is_not_a_pool),
		FILES(interrupted_mkfs_is_not_a_pool),
		MEMORY(no_space_for_a_pool_leaves_nothing),
		MEMORY(second_opener_is_refused_and_told_who),
		MEMORY(opener_waits_for_a_daemon_that_is_ending),
		MEMORY(damaged_superblock_falls_back_to_the_other),
		MEMORY(foreign_versions_and_features_are_told),
		MEMORY(nonsense_in_superblocks_is_refused),
		MEMORY(truncated_files_are_told),
		MEMORY(region_for_each_owner_with_one_budget),
		MEMORY(region_half_made_is_made_again),
		MEMORY(inode_groups_grow_until_the_heap_is_full),
		MEMORY(nonsense_in_tables_is_refused),
		MEMORY(flipped_bits_never_end_the_opener),
		MEMORY(threads_make_one_region_for_each_owner),
		FILES(threads_make_one_region_for_each_owner),
		MEMORY(data_may_stand_elsewhere),
		MEMORY(held_blocks_are_those_of_a_region),
	};

	return cmocka_run_group_tests_name("pool", tests, NULL, NULL);
}
