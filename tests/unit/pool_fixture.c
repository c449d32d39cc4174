// SPDX-License-Identifier: BSD-2-Clause
/*
 * pool_fixture.c - see pool_fixture.h.
 */
#include "pool_fixture.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "scratch.h"

char pool[4096];
const char *directory;

/* A directory of its own for each test; the pool is not made yet. */
int set_up(void **state)
{
	directory = scratch_directory(*state ? NULL : "/dev/shm");
	snprintf(pool, sizeof(pool), "%s/pool", directory);
	return 0;
}

int tear_down(void **state)
{
	scratch_remove(directory);
	return 0;
}

const char *in_pool(const char *name)
{
	static char path[4200];

	snprintf(path, sizeof(path), "%s/%s", pool, name);
	return path;
}

struct core_format format_of(uint64_t bytes)
{
	return (struct core_format){.pool = pool, .pool_bytes = bytes, .lease_gid = UINT32_MAX};
}

void expect(int error, int expected, const struct diag *d, const char *part)
{
	if (error != expected || (part && !strstr(d->text, part)))
		print_message("got %d \"%s\", expected %d \"%s\"\n", error, d->text, expected,
			part ? part : "");
	assert_int_equal(error, expected);
	if (part)
		assert_non_null(strstr(d->text, part));
}

void expect_format(const struct core_format *f, int expected, const char *part)
{
	struct diag d = {{0}};

	expect(core_format_pool(f, &d), expected, &d, part);
}

struct core *open_pool(bool read_only)
{
	const struct core_options options = {.pool = pool, .read_only = read_only};
	struct core *c = NULL;
	struct diag d = {{0}};

	expect(core_open(&options, &c, &d), 0, &d, NULL);
	return c;
}

void expect_open(bool read_only, int expected, const char *part)
{
	const struct core_options options = {.pool = pool, .read_only = read_only};
	struct core *c = NULL;
	struct diag d = {{0}};
	int error = core_open(&options, &c, &d);

	if (!error)
		core_abandon(c);
	expect(error, expected, &d, part);
}

void get_block(const char *name, uint64_t offset, void *block)
{
	int fd = open(in_pool(name), O_RDONLY);

	assert_int_equal(pread(fd, block, BLOCK_SIZE, (off_t)offset), BLOCK_SIZE);
	assert_int_equal(close(fd), 0);
}

void put_block(const char *name, uint64_t offset, const void *block)
{
	int fd = open(in_pool(name), O_WRONLY);

	assert_int_equal(pwrite(fd, block, BLOCK_SIZE, (off_t)offset), BLOCK_SIZE);
	assert_int_equal(close(fd), 0);
}

void make_pool(uint64_t bytes)
{
	struct core_format f = format_of(bytes);

	expect_format(&f, 0, NULL);
}

void die_at_store(
	void *context, const struct region *r, uint64_t offset, const void *bytes, uint64_t count)
{
	unsigned *left = context;

	if ((*left)-- == 0)
		_exit(42);
}
