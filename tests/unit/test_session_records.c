// SPDX-License-Identifier: BSD-2-Clause
/* test_session_records.c - the files in run/ that the next daemon reads: fs/fuse/records.h. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "records.h"

#define BLOCK 4096ull
#define ID(n, slot) (((uint64_t)(n) << LM_SLOT_BITS) | (slot))

struct bed {
	char dir[64];
	int run_fd;
};

static int setup(void **state)
{
	struct bed *b = calloc(1, sizeof(*b));

	snprintf(b->dir, sizeof(b->dir), "/tmp/leasefs-records.XXXXXX");
	assert_non_null(mkdtemp(b->dir));
	b->run_fd = open(b->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(b->run_fd >= 0);
	*state = b;
	return 0;
}

static int teardown(void **state)
{
	struct bed *b = *state;

	for (unsigned k = 0; k < RECORD_KINDS; k++)
		record_file_remove(b->run_fd, (enum record_kind)k, 5);
	unlinkat(b->run_fd, "ids", 0);
	close(b->run_fd);
	assert_int_equal(rmdir(b->dir), 0);
	free(b);
	return 0;
}

static int create(struct bed *b, enum record_kind kind)
{
	int fd;

	assert_int_equal(record_file_create(b->run_fd, kind, 5, &fd), 0);
	return fd;
}

static void names_are_told_apart(void **state)
{
	enum record_kind kind;
	uint64_t number;

	assert_true(record_file_parse("leases.1f", &kind, &number));
	assert_int_equal(kind, RECORD_LEASES);
	assert_int_equal(number, 0x1f);
	assert_true(record_file_parse("pins.5", &kind, &number));
	assert_int_equal(kind, RECORD_LINES);
	assert_false(record_file_parse("pins.05", &kind, &number));
	assert_false(record_file_parse("pins.", &kind, &number));
	assert_false(record_file_parse("pins.5x", &kind, &number));
	assert_false(record_file_parse("ids", &kind, &number));
}

static void a_session_is_of_this_boot_or_none(void **state)
{
	struct bed *b = *state;
	struct session_record r = {.number = 5, .pid = 7, .uid = 1000}, read;
	int fd = create(b, RECORD_LEASES);

	assert_int_equal(session_record_read(fd, &read), -EUCLEAN); /* empty */
	assert_int_equal(session_record_write(fd, &r), 0);
	assert_int_equal(session_record_read(fd, &read), 0);
	assert_int_equal(read.pid, 7);
	assert_int_equal(
		pwrite(fd, "another", 7, (off_t)offsetof(struct session_record, machine)), 7);
	assert_int_equal(session_record_read(fd, &read), -EUCLEAN);
	close(fd);
}

static void leases_are_found_by_slot(void **state)
{
	struct bed *b = *state;
	struct lease_record r = {.lease = ID(3, 200), .ino = 9, .end = BLOCK, .mode = 1}, read;
	struct lm_lease_record lm = {.lease = ID(4, 201), .ino = 9, .start = BLOCK, .mode = 2};
	int fd = create(b, RECORD_LEASES);
	uint32_t slot = 0;

	r.count = 1;
	assert_int_equal(lease_record_next(fd, &slot, &read), -ENOENT);
	assert_int_equal(lease_record_write(fd, 200, &r), 0);
	assert_int_equal(lease_record_copy(fd, 200, 201), 0);
	slot = 0;
	assert_int_equal(lease_record_next(fd, &slot, &read), 0);
	assert_int_equal(read.lease, ID(3, 200));
	assert_int_equal(slot, 201);
	/* A copy is nothing before it is updated. */
	assert_int_equal(lease_record_next(fd, &slot, &read), -ENOENT);
	assert_int_equal(lease_record_update(fd, 201, &lm), 0);
	slot = 201;
	assert_int_equal(lease_record_next(fd, &slot, &read), 0);
	assert_int_equal(read.start, BLOCK);
	assert_int_equal(read.count, 1);
	lease_record_clear(fd, 200);
	slot = 0;
	assert_int_equal(lease_record_next(fd, &slot, &read), 0);
	assert_int_equal(read.lease, ID(4, 201));
	close(fd);
}

static void through_a_mapping_they_are_the_same(void **state)
{
	struct bed *b = *state;
	struct lease_record r = {.lease = ID(3, 5), .ino = 9, .end = BLOCK, .count = 1}, read;
	struct mapped_file f = {0};
	int fd = create(b, RECORD_LEASES);
	uint32_t slot = 0;

	r.extents[0] = (struct record_extent){.region_offset = 7 * BLOCK, .blocks = 1};
	assert_int_equal(ftruncate(fd, (off_t)lease_records_bytes(6)), 0);
	mapped_file_map(&f, fd, lease_records_bytes(6));
	assert_true(lease_record_store(&f, 5, &r));
	assert_int_equal(lease_record_next(fd, &slot, &read), 0);
	assert_memory_equal(&read, &r, sizeof(r));
	assert_true(lease_record_wipe(&f, 5));
	slot = 0;
	assert_int_equal(lease_record_next(fd, &slot, &read), -ENOENT);
	assert_false(lease_record_store(&f, 6, &r)); /* beyond */
	mapped_file_unmap(&f);
	close(fd);
}

static void damaged_records_are_refused(void **state)
{
	struct bed *b = *state;
	struct lease_record r = {.lease = ID(3, 2), .count = RECORD_EXTENTS + 1}, read;
	int fd = create(b, RECORD_LEASES);
	uint32_t slot = 0;

	assert_int_equal(lease_record_write(fd, 2, &r), 0);
	assert_int_equal(lease_record_next(fd, &slot, &read), -EUCLEAN);
	r.count = 0;
	assert_int_equal(lease_record_write(fd, 2, &r), 0);
	assert_int_equal(lease_record_write(fd, 1, &r), 0); /* in another's slot */
	slot = 0;
	assert_int_equal(lease_record_next(fd, &slot, &read), -EUCLEAN);
	close(fd);
}

static struct leasefs_extent extent(uint64_t offset, uint64_t at, uint64_t blocks)
{
	return (struct leasefs_extent){
		.offset = offset * BLOCK, .region_offset = at * BLOCK, .length = blocks * BLOCK};
}

static void extents_side_by_side_are_one(void **state)
{
	struct leasefs_extent e[] = {extent(0, 100, 2), extent(2, 102, 3), extent(5, 50, 1),
		{.state = LEASEFS_EXTENT_HOLE, .offset = 6 * BLOCK, .length = BLOCK},
		extent(7, 51, 1)};
	struct lease_record r = {0};

	e[1].state = LEASEFS_EXTENT_UNWRITTEN;
	assert_int_equal(lease_record_add(&r, e, 5), 0);
	assert_int_equal(r.count, 3);
	assert_int_equal(r.extents[0].blocks, 5);
	assert_int_equal(r.extents[0].offset, 0);
	assert_int_equal(r.extents[2].offset, 7 * BLOCK); /* beside it in the region alone */
}

static bool is_covered(const struct lease_record *r, uint64_t block)
{
	for (uint32_t i = 0; i < r->count; i++)
		if (r->extents[i].region_offset <= block * BLOCK &&
			block * BLOCK < r->extents[i].region_offset + r->extents[i].blocks * BLOCK)
			return true;
	return false;
}

static void too_many_extents_keep_too_much_never_too_little(void **state)
{
	struct lease_record r = {0};

	for (uint64_t i = 0; i < 40; i++) {
		struct leasefs_extent e = extent(i, (i * 37) % 400, 1);

		assert_int_equal(lease_record_add(&r, &e, 1), 0);
		for (uint64_t k = 0; k <= i; k++)
			assert_true(is_covered(&r, (k * 37) % 400));
	}
	assert_int_equal(r.count, RECORD_EXTENTS);
}

/* What a holder is told of later, on page after page, comes to what it has. */
static void pages_of_a_layout_are_noted(void **state)
{
	struct bed *b = *state;
	struct lease_record r = {.lease = ID(3, 2), .ino = 9, .end = 64 * BLOCK, .mode = 1}, read;
	struct leasefs_extent first = extent(0, 100, 2), e[] = {extent(0, 100, 4),
								 {.state = LEASEFS_EXTENT_HOLE,
									 .offset = 4 * BLOCK,
									 .length = BLOCK},
								 extent(5, 50, 1)};
	int fd = create(b, RECORD_LEASES);
	uint32_t slot = 2;

	assert_int_equal(lease_record_add(&r, &first, 1), 0);
	assert_int_equal(lease_record_write(fd, 2, &r), 0);
	assert_int_equal(lease_record_note(fd, 2, e, 3), 0);
	assert_int_equal(lease_record_note(fd, 2, e, 3), 0); /* again: nothing */
	assert_int_equal(lease_record_next(fd, &slot, &read), 0);
	assert_int_equal(read.lease, r.lease);
	assert_int_equal(read.count, 2);
	assert_int_equal(read.extents[0].offset, 0); /* what goes on is one */
	assert_int_equal(read.extents[0].blocks, 4);
	assert_true(is_covered(&read, 50));
	for (uint64_t i = 0; i < 40; i++) {
		e[2] = extent(8 + i, 1000 + i * 7 % 40 * 3, 1);
		assert_int_equal(lease_record_note(fd, 2, e, 3), 0);
	}
	slot = 2;
	assert_int_equal(lease_record_next(fd, &slot, &read), 0);
	for (uint64_t i = 0; i < 40; i++)
		assert_true(is_covered(&read, 1000 + i * 7 % 40 * 3));
	assert_true(is_covered(&read, 50) && is_covered(&read, 103));
	assert_int_equal(lease_record_note(fd, 77, e, 3), -EUCLEAN);
	close(fd);
}

static void too_many_regions_are_too_many(void **state)
{
	struct lease_record r = {0};
	struct leasefs_extent e = extent(0, 0, 1);

	for (uint32_t i = 0; i < RECORD_EXTENTS; i++) {
		e.region = i;
		assert_int_equal(lease_record_add(&r, &e, 1), 0);
	}
	e.region = RECORD_EXTENTS;
	assert_int_equal(lease_record_add(&r, &e, 1), -ENOLCK);
	assert_int_equal(r.count, RECORD_EXTENTS);
}

static void range_pins_move_and_go(void **state)
{
	struct bed *b = *state;
	struct range_pin_record p = {.pin = ID(8, 3), .lease = 1, .end = BLOCK}, read;
	int fd = create(b, RECORD_RANGES);
	uint32_t slot = 0;

	assert_int_equal(range_pin_record_write(fd, &p), 0);
	assert_int_equal(range_pin_record_move(fd, p.pin, 77), 0);
	assert_int_equal(range_pin_record_next(fd, &slot, &read), 0);
	assert_int_equal(read.lease, 77);
	assert_int_equal(read.end, BLOCK);
	range_pin_record_clear(fd, p.pin);
	slot = 0;
	assert_int_equal(range_pin_record_next(fd, &slot, &read), -ENOENT);
	close(fd);
}

static void numbers_are_given_once_in_a_boot(void **state)
{
	struct bed *b = *state;
	uint64_t first;

	assert_int_equal(ids_read(b->run_fd, &first), 0);
	assert_int_equal(first, 1);
	assert_int_equal(ids_reserve(b->run_fd, 12345), 0);
	assert_int_equal(ids_read(b->run_fd, &first), 0);
	assert_int_equal(first, 12345);
}

/* What is planted there is refused, at once: a pipe that nobody writes, a device without an end. */
static void what_is_no_file_is_refused(void **state)
{
	struct bed *b = *state;
	uint64_t first;
	int fd = -1;

	assert_int_equal(mkfifoat(b->run_fd, "leases.7", 0600), 0);
	assert_int_equal(record_file_open(b->run_fd, RECORD_LEASES, 7, &fd), -EUCLEAN);
	assert_int_equal(mkdirat(b->run_fd, "ranges.7", 0700), 0);
	assert_int_equal(record_file_open(b->run_fd, RECORD_RANGES, 7, &fd), -EUCLEAN);
	assert_int_equal(symlinkat("/dev/zero", b->run_fd, "pins.7"), 0);
	assert_int_equal(record_file_open(b->run_fd, RECORD_LINES, 7, &fd), -EUCLEAN);
	assert_int_equal(fd, -1);
	assert_int_equal(mkfifoat(b->run_fd, "ids", 0600), 0);
	assert_int_equal(ids_read(b->run_fd, &first), -EUCLEAN);
	assert_int_equal(ids_reserve(b->run_fd, 5), -EUCLEAN);
	assert_int_equal(unlinkat(b->run_fd, "leases.7", 0), 0);
	assert_int_equal(unlinkat(b->run_fd, "ranges.7", AT_REMOVEDIR), 0);
	assert_int_equal(unlinkat(b->run_fd, "pins.7", 0), 0);
	assert_int_equal(unlinkat(b->run_fd, "ids", 0), 0);
}

/* A file of eight tebibytes of nothing has no more records than there are slots. */
static void records_have_an_end(void **state)
{
	struct bed *b = *state;
	struct range_pin_record pin;
	uint32_t slot = 0;
	int fd;

	assert_int_equal(record_file_create(b->run_fd, RECORD_RANGES, 8, &fd), 0);
	assert_int_equal(ftruncate(fd, 1ll << 43), 0);
	assert_int_equal(range_pin_record_next(fd, &slot, &pin), -ENOENT);
	close(fd);
	record_file_remove(b->run_fd, RECORD_RANGES, 8);
}

static void numbers_that_cannot_be_are_refused(void **state)
{
	struct bed *b = *state;
	uint64_t first;

	assert_int_equal(ids_reserve(b->run_fd, UINT64_MAX), 0);
	assert_int_equal(ids_read(b->run_fd, &first), -EUCLEAN);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(names_are_told_apart),
		T(a_session_is_of_this_boot_or_none),
		T(leases_are_found_by_slot),
		T(through_a_mapping_they_are_the_same),
		T(damaged_records_are_refused),
		T(extents_side_by_side_are_one),
		T(too_many_extents_keep_too_much_never_too_little),
		T(pages_of_a_layout_are_noted),
		T(too_many_regions_are_too_many),
		T(range_pins_move_and_go),
		T(numbers_are_given_once_in_a_boot),
		T(what_is_no_file_is_refused),
		T(records_have_an_end),
		T(numbers_that_cannot_be_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
