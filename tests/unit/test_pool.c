// SPDX-License-Identifier: BSD-2-Clause
/*
 * test_pool.c - pools: made, opened, locked, and refused.
 */
#include "pool_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "scratch.h"

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
	assert_int_equal(st.st_size, 300 * MIB + 4096); /* with its tag */
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

	c = open_pool(false); /* two pools must not share it */
	snprintf(pool, sizeof(pool), "%s/pool2", directory);
	expect_format(&f, -EBUSY, "another pool has it");
	assert_int_equal(core_close(c), 0);
	f.force = false;
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
		MEMORY(data_may_stand_elsewhere),
	};

	return cmocka_run_group_tests_name("pool", tests, NULL, NULL);
}
