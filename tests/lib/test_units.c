// SPDX-License-Identifier: BSD-2-Clause
/*
 * test_units.c - mappings of regions that are mapped in units larger than a block: huge pages, or a
 * DAX device (LEASEFS_TEST_DATA).
 *
 * Everything is said in units, whatever their size is.
 */
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "session.h"
#include "storm.h"

#define POOL_BYTES (128ull << 20) /* all the files below, and some more */

static uint64_t unit;

/* mincore(2) says ENOMEM where nothing is mapped. */
static bool is_mapped(void *address)
{
	unsigned char resident;

	return mincore(address, BLOCK, &resident) == 0;
}

/* ---- leases ---------------------------------------------------------------------------------- */

static void lease_is_rounded_to_units_and_stores_are_read(void **state)
{
	int fd = bed_file("rounded", 3 * unit);
	struct leasefs_lease *lease = take(fd, unit + BLOCK, BLOCK, LEASEFS_TAKE_WRITE);
	struct leasefs_lease_state s = state_of(lease);
	unsigned char *memory = map(lease, LEASEFS_MAP_POPULATE);

	assert_int_equal(s.offset, unit);
	assert_int_equal(s.length, unit);
	assert_int_equal((uintptr_t)memory % unit, 0);
	assert_int_equal(differs(memory, unit, unit), -1);
	memset(memory + BLOCK, 'u', BLOCK);
	assert_int_equal(leasefs_persist_range(lease, memory + BLOCK, BLOCK), 0);
	assert_int_equal(leasefs_commit_range(lease, unit + BLOCK, BLOCK, 0), 0);
	assert_int_equal(bed_other("check", bed_path("rounded"), unit + BLOCK, 'u'), 0);
	assert_int_equal(leasefs_return_lease(lease), 0);
	close(fd);
}

static void file_in_pieces_is_one_address(void **state)
{
	int fd = bed_file("pieces", 0), between = bed_file("between", 0);
	struct leasefs_extent extents[8];
	struct leasefs_lease *lease;
	unsigned char *memory, block[BLOCK];
	uint64_t next;

	/* Two files that grow in turns, so that their units alternate. */
	for (uint64_t i = 0; i < 4; i++) {
		memset(block, 'a' + (int)i, BLOCK);
		assert_int_equal(pwrite(fd, block, BLOCK, (off_t)(i * unit)), BLOCK);
		assert_int_equal(pwrite(between, block, BLOCK, (off_t)(i * unit)), BLOCK);
	}
	assert_int_equal(ftruncate(fd, (off_t)(4 * unit)), 0);
	lease = take(fd, 0, 0, LEASEFS_TAKE_WRITE);
	memory = map(lease, 0);
	assert_int_equal(leasefs_get_layout(lease, 0, extents, 8, &next), 4);
	for (uint64_t i = 0; i < 4; i++) {
		assert_int_equal(extents[i].region_offset % unit, 0);
		assert_int_equal(memory[i * unit], 'a' + (int)i);
		assert_int_equal(memory[i * unit + BLOCK - 1], 'a' + (int)i);
		assert_int_equal(memory[i * unit + BLOCK], 0);
		assert_int_equal(memory[(i + 1) * unit - 1], 0);
	}
	assert_int_equal(leasefs_return_lease(lease), 0);
	close(between);
	close(fd);
}

static void returned_unit_is_inaccessible_and_both_ends_stay(void **state)
{
	int fd = bed_file("middle", 3 * unit), zero = open("/dev/zero", O_RDONLY | O_CLOEXEC);
	struct leasefs_lease *lease = take(fd, 0, 0, LEASEFS_TAKE_WRITE);
	unsigned char *memory = map(lease, 0);

	assert_int_equal(leasefs_return_range(lease, unit, BLOCK), -EINVAL);
	assert_int_equal(leasefs_return_range(lease, unit + BLOCK, unit - BLOCK), -EINVAL);
	assert_int_equal(state_of(lease).held_bytes, 3 * unit);
	assert_int_equal(differs(memory, 0, 3 * unit), -1);
	assert_int_equal(leasefs_return_range(lease, unit, unit), 0);
	assert_int_equal(state_of(lease).held_bytes, 2 * unit);
	/* The kernel tells what can be stored to without a signal. */
	assert_int_equal(read(zero, memory + unit, 1), -1);
	assert_int_equal(errno, EFAULT);
	assert_int_equal(read(zero, memory + 2 * unit - 1, 1), -1);
	assert_int_equal(read(zero, memory + unit - 1, 1), 1);
	assert_int_equal(read(zero, memory + 2 * unit, 1), 1);
	/* What was returned is free, and the rest is pinned as one. */
	assert_int_equal(leasefs_pin_lease(lease), 0);
	assert_int_equal(bed_other("punch", bed_path("middle"), unit, unit), 0);
	assert_int_equal(bed_other("truncate", bed_path("middle"), unit, 0), EBUSY);
	assert_int_equal(leasefs_unpin_lease(lease), 0);
	assert_int_equal(differs(memory + 2 * unit + 1, 2 * unit + 1, unit - 1), -1);
	assert_int_equal(leasefs_return_lease(lease), 0);
	close(zero);
	close(fd);
}

static void downgraded_lease_is_read_only(void **state)
{
	int fd = bed_file("downgrade", unit), zero = open("/dev/zero", O_RDONLY | O_CLOEXEC);
	struct leasefs_lease *lease = take(fd, 0, 0, LEASEFS_TAKE_WRITE);
	unsigned char *memory = map(lease, 0);

	assert_int_equal(leasefs_downgrade_lease(lease, 0), 0);
	assert_int_equal(read(zero, memory, 1), -1);
	assert_int_equal(errno, EFAULT);
	assert_int_equal(differs(memory, 0, unit), -1);
	assert_int_equal(leasefs_return_lease(lease), 0);
	close(zero);
	close(fd);
}

static void filled_hole_shows_after_refresh(void **state)
{
	int fd = bed_file("hole", 0);
	struct leasefs_lease *lease;
	struct leasefs_event event;
	unsigned char *memory;

	assert_int_equal(ftruncate(fd, (off_t)(3 * unit)), 0);
	lease = take(fd, 0, 0, LEASEFS_TAKE_READ);
	memory = map(lease, 0);
	assert_int_equal(memory[unit + BLOCK], 0);
	assert_int_equal(bed_other("fill", bed_path("hole"), unit + BLOCK, 'f'), 0);
	assert_ptr_equal(expect_event(session, LEASEFS_EVENT_LAYOUT_CHANGED, &event), lease);
	assert_int_equal(leasefs_refresh_lease(lease), 0);
	assert_int_equal(memory[unit + BLOCK], 'f');
	assert_int_equal(memory[unit], 0);
	assert_int_equal(memory[2 * unit], 0);
	assert_int_equal(leasefs_return_lease(lease), 0);
	close(fd);
}

/* Most of the pool has been another file's. */
static void leave_old_bytes(void)
{
	char *old = malloc(unit);
	struct statvfs st;
	uint64_t units;
	int fd = bed_file("old", 0);

	assert_non_null(old);
	memset(old, 'o', unit);
	assert_int_equal(fstatvfs(fd, &st), 0);
	units = st.f_bavail * st.f_frsize / unit;
	assert_true(units > 12);
	for (uint64_t i = 0; i < units - 4; i++)
		assert_int_equal(pwrite(fd, old, unit, (off_t)(i * unit)), unit);
	close(fd);
	free(old);
	assert_int_equal(unlink(bed_path("old")), 0);
}

/* `units` of a file are in use; nobody has written but at `written`. */
static void expect_no_old_bytes(int fd, uint64_t units, const uint64_t *written, unsigned count)
{
	struct leasefs_lease *lease = take(fd, 0, units * unit, LEASEFS_TAKE_READ);
	unsigned char *memory = map(lease, 0);

	for (uint64_t at = 0; at < units * unit; at++) {
		unsigned char expected = 0;

		for (unsigned i = 0; i < count; i++)
			if (at == written[i])
				expected = 'w';
		if (memory[at] != expected)
			fail_msg("byte %llu is %d", (unsigned long long)at, memory[at]);
	}
	assert_int_equal(leasefs_return_lease(lease), 0);
}

static void bytes_of_a_deleted_file_are_never_mapped(void **state)
{
	/* In the first unit, in one whose end is punched, and across two; the last is whole. */
	const uint64_t written[] = {5 * BLOCK + 7, 2 * unit - 1, 2 * unit, 5 * unit + 3 * BLOCK};
	int fd;

	leave_old_bytes();
	fd = open(bed_path("new"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(posix_fallocate(fd, 0, (off_t)(8 * unit)), 0);
	expect_no_old_bytes(fd, 8, written, 0);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(pwrite(fd, "w", 1, (off_t)written[i]), 1);
	expect_no_old_bytes(fd, 8, written, 4);
	assert_int_equal(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				 (off_t)(5 * unit + 3 * BLOCK), (off_t)(2 * unit)),
		0);
	expect_no_old_bytes(fd, 8, written, 3);
	close(fd);
	/* A hole, of which one block is written. */
	leave_old_bytes();
	fd = open(bed_path("sparse"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)(8 * unit)), 0);
	assert_int_equal(pwrite(fd, "w", 1, (off_t)written[3]), 1);
	expect_no_old_bytes(fd, 8, written + 3, 1);
	close(fd);
	assert_int_equal(unlink(bed_path("new")), 0);
	assert_int_equal(unlink(bed_path("sparse")), 0);
}

/* The rest of a unit that is written under a lease is zeroes, when the lease is told of it. */
static void unit_written_under_a_lease_has_no_old_bytes(void **state)
{
	struct leasefs_lease *lease;
	struct leasefs_event event;
	unsigned char *memory;
	int fd;

	leave_old_bytes();
	fd = open(bed_path("under"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(posix_fallocate(fd, 0, (off_t)(2 * unit)), 0);
	lease = take(fd, 0, 0, LEASEFS_TAKE_READ);
	memory = map(lease, 0);
	assert_int_equal(bed_other("fill", bed_path("under"), unit + BLOCK, 'f'), 0);
	assert_ptr_equal(expect_event(session, LEASEFS_EVENT_LAYOUT_CHANGED, &event), lease);
	assert_int_equal(leasefs_refresh_lease(lease), 0);
	assert_int_equal(memory[unit + BLOCK], 'f');
	for (uint64_t at = 0; at < 2 * unit; at++)
		if (at < unit + BLOCK || at >= unit + 2 * BLOCK)
			assert_int_equal(memory[at], 0);
	assert_int_equal(leasefs_return_lease(lease), 0);
	close(fd);
	assert_int_equal(unlink(bed_path("under")), 0);
}

/* One who programs hardware asks from the middle of a unit on, and maps the region by itself. */
static void layout_from_amid_a_unit_promises_the_whole_unit(void **state)
{
	struct leasefs_extent extent;
	struct leasefs_region region;
	struct leasefs_lease *lease;
	unsigned char *memory;
	uint64_t next;
	int fd, region_fd;

	leave_old_bytes();
	fd = open(bed_path("amid"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(posix_fallocate(fd, 0, (off_t)(2 * unit)), 0);
	lease = take(fd, 0, 0, LEASEFS_TAKE_READ);
	assert_int_equal(bed_other("fill", bed_path("amid"), unit + 3 * BLOCK, 'f'), 0);
	assert_int_equal(leasefs_get_layout(lease, unit + 5 * BLOCK, &extent, 1, &next), 1);
	assert_int_equal(next, 2 * unit);
	assert_int_equal(extent.offset, unit + 5 * BLOCK);
	assert_int_equal(extent.length, unit - 5 * BLOCK);
	assert_int_equal(extent.state, LEASEFS_EXTENT_WRITTEN);
	assert_int_equal(extent.region_offset % unit, 5 * BLOCK);
	assert_int_equal(leasefs_get_region(session, extent.region, &region), 0);
	region_fd = open(region.path, O_RDONLY | O_CLOEXEC);
	assert_true(region_fd >= 0);
	memory = mmap(NULL, unit, PROT_READ, MAP_SHARED, region_fd,
		(off_t)(extent.region_offset - 5 * BLOCK));
	assert_ptr_not_equal(memory, MAP_FAILED);
	for (uint64_t at = 0; at < unit; at++)
		assert_int_equal(memory[at], at / BLOCK == 3 ? 'f' : 0);
	assert_int_equal(munmap(memory, unit), 0);
	close(region_fd);
	assert_int_equal(leasefs_return_lease(lease), 0);
	close(fd);
	assert_int_equal(unlink(bed_path("amid")), 0);
}

static void revoked_unit_stays_mapped_until_acknowledged(void **state)
{
	int fd = bed_file("revoked", 3 * unit), zero = open("/dev/zero", O_RDONLY | O_CLOEXEC);
	struct leasefs_lease *lease = take(fd, 0, 0, LEASEFS_TAKE_READ);
	unsigned char *memory = map(lease, 0);
	struct leasefs_event event;

	assert_int_equal(ftruncate(fd, (off_t)unit), 0); /* our own: at once */
	assert_ptr_equal(expect_event(session, LEASEFS_EVENT_REVOKED, &event), lease);
	assert_int_equal(state_of(lease).revoked_bytes, 2 * unit);
	assert_int_equal(differs(memory, 0, 3 * unit), -1);
	assert_int_equal(leasefs_acknowledge_lease(lease), 0);
	assert_int_equal(state_of(lease).revoked_bytes, 0);
	assert_false(read(zero, memory + unit, 1) == 1);
	assert_int_equal(differs(memory, 0, unit), -1);
	assert_int_equal(leasefs_return_lease(lease), 0);
	close(zero);
	close(fd);
}

static int look_in_child(void *left, void *forked)
{
	if (is_mapped(left))
		return 1;
	return *(char *)forked == 'f' ? 0 : 2;
}

static void child_has_what_it_was_given(void **state)
{
	int fd = bed_file("fork", 2 * unit), status;
	struct leasefs_lease *left = take(fd, 0, unit, LEASEFS_TAKE_WRITE);
	struct leasefs_lease *given = take(fd, unit, unit, LEASEFS_TAKE_WRITE);
	unsigned char *memory = map(left, 0), *forked = map(given, LEASEFS_MAP_FORK);
	pid_t pid;

	memory[0] = forked[0] = 'f';
	pid = fork();
	if (pid == 0)
		_exit(look_in_child(memory, forked));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(memory[0], 'f');
	assert_int_equal(leasefs_return_lease(given), 0);
	assert_int_equal(leasefs_return_lease(left), 0);
	close(fd);
}

/* A true pin of the kernel's, as RDMA has it. */
static void kernel_pins_what_is_mapped(void **state)
{
	int fd = bed_file("registered", 2 * unit), into = memfd_create("into", MFD_CLOEXEC);
	struct leasefs_lease *lease = take(fd, 0, 0, LEASEFS_TAKE_WRITE);
	unsigned char *memory = map(lease, 0), block[BLOCK];
	struct iovec buffer = {memory + unit, unit};
	struct io_uring_cqe *cqe;
	struct io_uring ring;
	int error;

	assert_int_equal(io_uring_queue_init(2, &ring, 0), 0);
	assert_int_equal(leasefs_pin_lease(lease), 0);
	error = io_uring_register_buffers(&ring, &buffer, 1);
	if (error) {
		/* /dev/dax before Linux 6.12. */
		print_message("the kernel pins no such memory: %s\n", strerror(-error));
		assert_int_equal(bed_media(), LEASEFS_MEDIA_PMEM);
		goto end;
	}
	assert_int_equal(bed_other("truncate", bed_path("registered"), unit, 0), EBUSY);
	io_uring_prep_write_fixed(io_uring_get_sqe(&ring), into, memory + unit, BLOCK, 0, 0);
	assert_int_equal(io_uring_submit(&ring), 1);
	assert_int_equal(io_uring_wait_cqe(&ring, &cqe), 0);
	assert_int_equal(cqe->res, BLOCK);
	assert_int_equal(pread(into, block, BLOCK, 0), BLOCK);
	assert_int_equal(differs(block, unit, BLOCK), -1);
	assert_int_equal(io_uring_unregister_buffers(&ring), 0);
end:
	io_uring_queue_exit(&ring);
	assert_int_equal(leasefs_unpin_lease(lease), 0);
	assert_int_equal(leasefs_return_lease(lease), 0);
	assert_int_equal(bed_other("truncate", bed_path("registered"), unit, 0), 0);
	close(into);
	close(fd);
}

/* ---- managed mappings ------------------------------------------------------------------------ */

static void truncate_is_not_noticed_but_past_the_end(void **state)
{
	int fd = bed_file("truncated", 4 * unit);
	unsigned char *memory, byte = 0;
	struct leasefs_lease *lease = manage(fd, 0, 4 * unit, LEASEFS_TAKE_WRITE, &memory);

	assert_int_equal(leasefs_enable_guard(), 0);
	assert_int_equal(state_of(lease).held_bytes, 4 * unit);
	assert_int_equal((uintptr_t)memory % unit, 0);
	memory[0] = 'x';
	memory[2 * unit - 1] = 'y';
	memory[3 * unit] = 'z';
	assert_int_equal(bed_other("truncate", bed_path("truncated"), 2 * unit, 0), 0);
	assert_int_equal(memory[0], 'x');
	assert_int_equal(memory[2 * unit - 1], 'y');
	assert_int_equal(leasefs_copy_guarded(&byte, memory + 2 * unit, 1), -EFAULT);
	assert_int_equal(leasefs_copy_guarded(memory + 3 * unit, &byte, 1), -EFAULT);
	assert_int_equal(state_of(lease).held_bytes, 2 * unit);
	assert_int_equal(state_of(lease).gave_way, 1);
	/* It grows again: zeros, and direct when asked for. */
	assert_int_equal(ftruncate(fd, (off_t)(4 * unit)), 0);
	assert_int_equal(leasefs_copy_guarded(&byte, memory + 3 * unit, 1), 0);
	assert_int_equal(byte, 0);
	memory[2 * unit + BLOCK] = 'w';
	if (can_come_back()) {
		assert_int_equal(leasefs_refresh_lease(lease), 0);
		assert_int_equal(state_of(lease).held_bytes, 4 * unit);
	}
	assert_int_equal(memory[2 * unit + BLOCK], 'w');
	assert_int_equal(leasefs_return_lease(lease), 0);
	assert_int_equal(pread(fd, &byte, 1, (off_t)(2 * unit + BLOCK)), 1);
	assert_int_equal(byte, 'w');
	close(fd);
}

static void punch_gives_back_whole_units(void **state)
{
	int fd = bed_file("punched", 4 * unit);
	unsigned char *memory;
	struct leasefs_lease *lease = manage(fd, 0, 4 * unit, LEASEFS_TAKE_WRITE, &memory);

	memory[unit - 1] = 'a';
	memory[unit] = 'b';
	assert_int_equal(bed_other("punch", bed_path("punched"), unit, unit), 0);
	assert_int_equal(memory[unit - 1], 'a');
	assert_int_equal(memory[unit], 0);
	assert_int_equal(memory[2 * unit], pattern(2 * unit));
	memory[unit + BLOCK] = 'c';
	if (can_come_back())
		wait_for_bytes(lease, 4 * unit);
	assert_int_equal(memory[unit + BLOCK], 'c');
	assert_int_equal(state_of(lease).gave_way, 1);
	assert_int_equal(leasefs_return_lease(lease), 0);
	close(fd);
}

/* It ends, and begins, in the middle of a unit. */
static void file_of_any_length_is_mapped(void **state)
{
	uint64_t bytes = 2 * unit + 3 * BLOCK + 5;
	int fd = bed_file("uneven", bytes);
	unsigned char *all, *part, byte = 0;
	struct leasefs_lease *one = manage(fd, 0, bytes, LEASEFS_TAKE_WRITE, &all);
	struct leasefs_lease *two = manage(fd, unit - BLOCK, 2 * BLOCK, LEASEFS_TAKE_READ, &part);

	assert_int_equal(differs(all, 0, bytes), -1);
	assert_int_equal(differs(part, unit - BLOCK, 2 * BLOCK), -1);
	all[0] = 'a';
	all[bytes - 1] = 'z';
	assert_int_equal(bed_other("truncate", bed_path("uneven"), unit + BLOCK, 0), 0);
	assert_int_equal(all[0], 'a');
	assert_int_equal(differs(all + 1, 1, unit + BLOCK - 1), -1);
	assert_int_equal(differs(part, unit - BLOCK, 2 * BLOCK), -1);
	all[unit] = 'u';
	assert_int_equal(leasefs_return_lease(two), 0);
	assert_int_equal(leasefs_return_lease(one), 0);
	assert_int_equal(pread(fd, &byte, 1, (off_t)unit), 1);
	assert_int_equal(byte, 'u');
	close(fd);
}

/* More is mapped than the file has, and it ends in the middle of a unit: no smaller part of one can
 * be mapped, and so none raises SIGBUS. */
static void mapping_may_be_longer_than_the_file(void **state)
{
	int fd = bed_file("short", unit + BLOCK + 5);
	unsigned char *memory, byte;
	struct leasefs_lease *lease = manage(fd, 0, 4 * unit, LEASEFS_TAKE_WRITE, &memory);

	assert_int_equal(leasefs_enable_guard(), 0);
	assert_true(state_of(lease).held_bytes >= unit);
	assert_int_equal(differs(memory, 0, unit + BLOCK + 5), -1);
	memory[1] = 'm';
	assert_int_equal(leasefs_copy_guarded(&byte, memory + unit + 2 * BLOCK, 1), 0);
	assert_int_equal(byte, 0);
	assert_int_equal(leasefs_copy_guarded(&byte, memory + 2 * unit, 1), -EFAULT);
	assert_int_equal(leasefs_return_lease(lease), 0);
	assert_int_equal(pread(fd, &byte, 1, 1), 1);
	assert_int_equal(byte, 'm');
	close(fd);
}

#define STORM_UNITS 4u
#define STORM_THREADS 2u
#define STORM_ROUNDS 12

/* The range is taken away and comes back, while threads store as fast as they can. */
static void no_store_is_lost(void **state)
{
	struct storm storm = {.stride = unit, .places = STORM_UNITS, .threads = STORM_THREADS};
	struct leasefs_session *second;
	struct leasefs_lease *lease;
	int fd = bed_file("storm", 0);

	assert_int_equal(ftruncate(fd, (off_t)(STORM_UNITS * unit)), 0);
	lease = manage(fd, 0, STORM_UNITS * unit, LEASEFS_TAKE_WRITE, &storm.memory);
	assert_int_equal(leasefs_open_session(bed_mount, 0, &second), 0);
	storm_begin(&storm, storm_count);
	for (unsigned i = 0; i < STORM_ROUNDS; i++) {
		take_away(second, fd, i % 3 * unit, (1 + i % 2) * unit);
		if (can_come_back())
			wait_for_bytes(lease, STORM_UNITS * unit);
	}
	assert_true(storm_end(&storm) > 0);
	if (can_come_back())
		assert_true(state_of(lease).came_back >= STORM_ROUNDS / 2);
	assert_int_equal(leasefs_return_lease(lease), 0);
	assert_int_equal(leasefs_close_session(second), 0);
	close(fd);
}

static void managed_mapping_goes_on_with_another_daemon(void **state)
{
	int fd = bed_file("restarted", 2 * unit);
	unsigned char *memory;
	struct leasefs_lease *lease = manage(fd, 0, 2 * unit, LEASEFS_TAKE_WRITE, &memory);
	struct leasefs_event event;

	close(fd);
	bed_kill();
	memory[0] = 'k';
	bed_restart();
	assert_null(expect_event(session, LEASEFS_EVENT_RECONNECTED, &event));
	memory[unit] = 'l';
	assert_int_equal(bed_other("truncate", bed_path("restarted"), unit, 0), 0);
	assert_int_equal(memory[0], 'k');
	assert_int_equal(state_of(lease).held_bytes, unit);
	assert_int_equal(differs(memory + 1, 1, unit - 1), -1);
	assert_int_equal(leasefs_return_lease(lease), 0);
}

/* Of the region where a file's first block is. */
static void learn_unit(void)
{
	int fd = bed_file("first", BLOCK);
	struct leasefs_extent extent;
	struct leasefs_region region;
	struct leasefs_lease *lease;
	uint64_t next;

	if (leasefs_open_session(bed_mount, 0, &session) ||
		leasefs_take_lease(session, fd, 0, 0, LEASEFS_TAKE_READ, &lease) ||
		leasefs_get_layout(lease, 0, &extent, 1, &next) != 1 ||
		leasefs_get_region(session, extent.region, &region) ||
		leasefs_close_session(session))
		exit(1);
	close(fd);
	unit = region.alignment;
	if (region.media != bed_media()) {
		fprintf(stderr, "the data are on another medium than they should be\n");
		exit(1);
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		with_session(lease_is_rounded_to_units_and_stores_are_read),
		with_session(file_in_pieces_is_one_address),
		with_session(returned_unit_is_inaccessible_and_both_ends_stay),
		with_session(downgraded_lease_is_read_only),
		with_session(filled_hole_shows_after_refresh),
		with_session(bytes_of_a_deleted_file_are_never_mapped),
		with_session(unit_written_under_a_lease_has_no_old_bytes),
		with_session(layout_from_amid_a_unit_promises_the_whole_unit),
		with_session(revoked_unit_stays_mapped_until_acknowledged),
		with_session(child_has_what_it_was_given),
		with_session(kernel_pins_what_is_mapped),
		with_session(truncate_is_not_noticed_but_past_the_end),
		with_session(punch_gives_back_whole_units),
		with_session(file_of_any_length_is_mapped),
		with_session(mapping_may_be_longer_than_the_file),
		with_session(no_store_is_lost),
		with_session(managed_mapping_goes_on_with_another_daemon),
	};
	int failed;

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	if (!getenv("LEASEFS_TEST_DATA"))
		bed_use_huge_pages(POOL_BYTES);
	bed_start("policy=recall:1s/busy,grace=10s,lock_wait_ms=10000", "128M");
	learn_unit();
	if (unit <= BLOCK) {
		fprintf(stderr, "the data are not on a medium with units\n");
		return 1;
	}
	failed = cmocka_run_group_tests_name("units", tests, NULL, NULL);
	if (!failed)
		bed_stop();
	return failed;
}
