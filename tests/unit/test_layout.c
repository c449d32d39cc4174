// SPDX-License-Identifier: BSD-2-Clause
/*
 * test_layout.c - what one who is going to map a range is told of it, where the region is mapped in
 * units of 2 MiB: a unit with a written block is settled whole, wherever the listing begins or
 * ends.
 *
 * Each test begins on a region that is full of a deleted file's bytes, and looks into the region
 * itself, as a mapping does. The region is of huge pages, which root alone can have (exit 77).
 */
#include "scratch_pool.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "extent.h"
#include "huge.h"

#define MIB (1ull << 20)
#define UNITS 4u
#define FILE_BYTES (UNITS * HUGE_SIZE)
#define EXTENTS 16u
#define POOL_BYTES (16 * MIB)

static struct scratch_pool pool;
static struct inode *file; /* UNITS units, nothing written */

static const struct region *in_region(const struct core_extent *e)
{
	return tables_region(pool.c, e->region)->region;
}

static void leave_old_bytes(void)
{
	static uint8_t old[MIB];
	struct inode *ip = scratch_inode(pool.c, S_IFREG | 0644, 1);
	uint64_t at = 0;

	memset(old, 'o', sizeof(old));
	while (core_write(pool.c, ip, old, sizeof(old), at, NULL) == (ssize_t)sizeof(old))
		at += sizeof(old);
	assert_true(at >= FILE_BYTES);
	scratch_unlink(pool.c, ip);
	core_put(pool.c, ip, 1);
}

static int set_up(void **state)
{
	struct core_extent e;
	unsigned count;
	uint64_t next;

	scratch_pool_make_on(&pool, *state);
	leave_old_bytes();
	file = scratch_inode(pool.c, S_IFREG | 0644, 1);
	assert_int_equal(core_fallocate(pool.c, file, 0, 0, FILE_BYTES, NULL), 0);
	assert_int_equal(core_layout(pool.c, file, 0, FILE_BYTES, &e, 1, &count, &next), 0);
	assert_int_equal(e.length, FILE_BYTES);
	assert_int_equal(*(const char *)region_at(in_region(&e), e.region_offset, 1), 'o');
	return 0;
}

static int tear_down(void **state)
{
	scratch_check_map(pool.c, file);
	core_put(pool.c, file, 1);
	scratch_pool_remove(&pool);
	return 0;
}

static void write_block(uint64_t offset)
{
	uint8_t block[BLOCK_SIZE];

	memset(block, 'w', sizeof(block));
	assert_int_equal(
		core_write(pool.c, file, block, sizeof(block), offset, NULL), sizeof(block));
}

/* The pages of a listing, joined: extents that follow each other in the same state are one. */
static unsigned joined(
	struct core_extent *out, const struct core_extent *page, unsigned count, unsigned have)
{
	for (unsigned i = 0; i < count; i++) {
		struct core_extent *last = have > 0 ? &out[have - 1] : NULL;

		if (last && last->state == page[i].state &&
			last->region_offset + last->length == page[i].region_offset) {
			last->length += page[i].length;
			continue;
		}
		assert_true(have < EXTENTS);
		out[have++] = page[i];
	}
	return have;
}

static unsigned list_mappable(
	uint64_t offset, uint64_t length, unsigned per_page, struct core_extent *out)
{
	uint64_t next = offset, end = offset + length;
	struct core_extent page[EXTENTS];
	unsigned have = 0, count;

	while (next < end) {
		assert_int_equal(core_mappable_layout(pool.c, file, next, end - next, page,
					 per_page, &count, &next),
			0);
		assert_in_range(count, 1, per_page);
		have = joined(out, page, count, have);
	}
	assert_int_equal(next, end);
	return have;
}

/* The states of the file's units, one letter each: all 'w'ritten, all 'u'nwritten, or 'b'oth. */
static void expect_units(const char *states)
{
	for (unsigned u = 0; u < UNITS; u++) {
		struct core_extent e[EXTENTS];
		uint64_t next;
		unsigned count;
		char state;

		assert_int_equal(core_layout(pool.c, file, u * HUGE_SIZE, HUGE_SIZE, e, EXTENTS,
					 &count, &next),
			0);
		assert_true(count >= 1);
		state = count > 1                             ? 'b'
			: e[0].state == CORE_EXTENT_WRITTEN   ? 'w'
			: e[0].state == CORE_EXTENT_UNWRITTEN ? 'u'
							      : '?';
		assert_int_equal(state, states[u]);
	}
}

/* What a mapping of the unit shows: 'w' in the one written block, and zeroes. */
static void expect_no_old_bytes(unsigned u, uint64_t written)
{
	struct core_extent e;
	const uint8_t *bytes;
	unsigned count;
	uint64_t next;

	assert_int_equal(
		core_layout(pool.c, file, u * HUGE_SIZE, HUGE_SIZE, &e, 1, &count, &next), 0);
	assert_int_equal(e.region_offset % HUGE_SIZE, 0);
	bytes = region_at(in_region(&e), e.region_offset, HUGE_SIZE);
	for (uint64_t i = 0; i < HUGE_SIZE; i++) {
		uint64_t at = u * HUGE_SIZE + i;
		uint8_t expected = at >= written && at < written + BLOCK_SIZE ? 'w' : 0;

		if (bytes[i] != expected)
			fail_msg("byte %llu is %d", (unsigned long long)at, bytes[i]);
	}
}

/* ---- tests ----------------------------------------------------------------------------------- */

static void listing_that_begins_behind_the_written_block_settles_the_unit(void **state)
{
	const uint64_t written = HUGE_SIZE + 10 * BLOCK_SIZE;
	struct core_extent e[EXTENTS];

	write_block(written);
	expect_units("ubuu");
	assert_int_equal(
		list_mappable(HUGE_SIZE + 20 * BLOCK_SIZE, 30 * BLOCK_SIZE, EXTENTS, e), 1);
	assert_int_equal(e[0].state, CORE_EXTENT_WRITTEN);
	assert_int_equal(e[0].offset, HUGE_SIZE + 20 * BLOCK_SIZE);
	assert_int_equal(e[0].length, 30 * BLOCK_SIZE);
	assert_int_equal(e[0].region_offset % HUGE_SIZE, 20 * BLOCK_SIZE);
	expect_units("uwuu");
	expect_no_old_bytes(1, written);
}

static void listing_that_ends_before_the_written_block_settles_the_unit(void **state)
{
	const uint64_t written = HUGE_SIZE + 10 * BLOCK_SIZE;
	struct core_extent e[EXTENTS];

	write_block(written);
	assert_int_equal(list_mappable(0, HUGE_SIZE + BLOCK_SIZE, EXTENTS, e), 2);
	assert_int_equal(e[0].state, CORE_EXTENT_UNWRITTEN);
	assert_int_equal(e[0].length, HUGE_SIZE);
	assert_int_equal(e[1].state, CORE_EXTENT_WRITTEN);
	assert_int_equal(e[1].length, BLOCK_SIZE);
	expect_units("uwuu");
	expect_no_old_bytes(1, written);
}

/* Its bytes are not known: nobody maps it, and it costs nothing. */
static void unit_without_a_written_block_is_left_alone(void **state)
{
	struct core_extent e[EXTENTS];

	write_block(10 * BLOCK_SIZE);
	write_block(3 * HUGE_SIZE);
	assert_int_equal(list_mappable(HUGE_SIZE + BLOCK_SIZE, HUGE_SIZE, EXTENTS, e), 1);
	assert_int_equal(e[0].state, CORE_EXTENT_UNWRITTEN);
	expect_units("buub");
}

/* The unit before it has the written block, and its extent reaches into the listing. */
static void unit_before_the_listing_is_left_alone(void **state)
{
	struct core_extent e[EXTENTS];

	write_block(HUGE_SIZE - 2 * BLOCK_SIZE);
	assert_int_equal(list_mappable(HUGE_SIZE + BLOCK_SIZE, BLOCK_SIZE, EXTENTS, e), 1);
	assert_int_equal(e[0].state, CORE_EXTENT_UNWRITTEN);
	expect_units("buuu");
}

/* Blocks written in turns: as many extents as make pages end, and begin, amid units. */
static void pages_of_a_listing_are_of_settled_units(void **state)
{
	struct core_extent e[EXTENTS];

	for (unsigned i = 1; i < 64; i += 2)
		write_block(HUGE_SIZE - 32 * BLOCK_SIZE + i * BLOCK_SIZE);
	assert_int_equal(list_mappable(7 * BLOCK_SIZE, 3 * HUGE_SIZE, 1, e), 2);
	assert_int_equal(e[0].state, CORE_EXTENT_WRITTEN);
	assert_int_equal(e[0].length, 2 * HUGE_SIZE - 7 * BLOCK_SIZE);
	assert_int_equal(e[1].state, CORE_EXTENT_UNWRITTEN);
	expect_units("wwuu");
}

/* One who does not map is told how it is, and changes nothing. */
static void ordinary_listing_settles_nothing(void **state)
{
	struct core_extent e[EXTENTS];
	unsigned count;
	uint64_t next;

	write_block(HUGE_SIZE + 10 * BLOCK_SIZE);
	assert_int_equal(core_layout(pool.c, file, HUGE_SIZE + 20 * BLOCK_SIZE, BLOCK_SIZE, e,
				 EXTENTS, &count, &next),
		0);
	assert_int_equal(count, 1);
	assert_int_equal(e[0].state, CORE_EXTENT_UNWRITTEN);
	expect_units("ubuu");
}

static void settled_unit_survives_a_crash(void **state)
{
	const uint64_t written = HUGE_SIZE + 10 * BLOCK_SIZE;
	struct core_extent e[EXTENTS];
	uint64_t ino = core_ino(file);

	write_block(written);
	list_mappable(HUGE_SIZE + 20 * BLOCK_SIZE, BLOCK_SIZE, EXTENTS, e);
	scratch_pool_crash(&pool);
	assert_int_equal(core_get(pool.c, ino, &file), 0);
	expect_units("uwuu");
	expect_no_old_bytes(1, written);
}

static void on_term(int number)
{
	huge_return();
	_exit(128 + number);
}

#define on_units(name) cmocka_unit_test_prestate_setup_teardown(name, set_up, tear_down, data)

int main(void)
{
	const char *why;
	void *data = (void *)huge_borrow(POOL_BYTES, &why);
	const struct CMUnitTest tests[] = {
		on_units(listing_that_begins_behind_the_written_block_settles_the_unit),
		on_units(listing_that_ends_before_the_written_block_settles_the_unit),
		on_units(unit_without_a_written_block_is_left_alone),
		on_units(unit_before_the_listing_is_left_alone),
		on_units(pages_of_a_listing_are_of_settled_units),
		on_units(ordinary_listing_settles_nothing),
		on_units(settled_unit_survives_a_crash),
	};

	if (!data) {
		printf("1..0 # SKIP %s\n", why);
		return 77;
	}
	atexit(huge_return);
	signal(SIGTERM, on_term);
	return cmocka_run_group_tests_name("layout", tests, NULL, NULL);
}
