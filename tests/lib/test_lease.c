// SPDX-License-Identifier: BSD-2-Clause
/* test_lease.c - sessions, leases, mappings, pins and events, as an application uses them. */
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "session.h"

#define MIB (1ull << 20)

/* ---- mappings -------------------------------------------------------------------------------- */

static void stores_through_the_mapping_are_read_after_commit(void **state)
{
	int fd = bed_file("stores", 0);
	struct leasefs_lease *lease = take(fd, 0, 64 * BLOCK, LEASEFS_TAKE_WRITE);
	unsigned char *memory = map(lease, 0);
	struct stat st;

	memset(memory, 'a', 64 * BLOCK);
	assert_int_equal(leasefs_persist_range(lease, memory, 64 * BLOCK), 0);
	assert_int_equal(leasefs_commit_range(lease, 0, 0, 63 * BLOCK + 1), 0);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_size, 63 * BLOCK + 1);
	assert_int_equal(bed_other("check", bed_path("stores"), 62 * BLOCK, 'a'), 0);
	/* Never shrinks. */
	assert_int_equal(leasefs_commit_range(lease, 0, 0, BLOCK), 0);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_size, 63 * BLOCK + 1);
	assert_int_equal(leasefs_return_lease(lease), 0);
	close(fd);
}

static void fragmented_file_is_one_address(void **state)
{
	int fd = bed_file("fragments", 0), between = bed_file("between", 0);
	struct leasefs_extent extents[50];
	struct leasefs_lease *lease;
	unsigned count = 0;
	unsigned char *memory, block[BLOCK];
	uint64_t next = 0;

	/* Two files that grow in turns, so that their blocks alternate. */
	for (uint64_t i = 0; i < 400; i++) {
		for (unsigned b = 0; b < BLOCK; b++)
			block[b] = pattern(i * BLOCK + b);
		assert_int_equal(pwrite(fd, block, BLOCK, (off_t)(i * 2 * BLOCK)), BLOCK);
		assert_int_equal(pwrite(between, block, BLOCK, (off_t)(i * BLOCK)), BLOCK);
	}
	lease = take(fd, 0, 0, LEASEFS_TAKE_READ);
	memory = map(lease, 0);
	for (uint64_t i = 0; i < 399; i++) {
		assert_int_equal(differs(memory + i * 2 * BLOCK, i * BLOCK, BLOCK), -1);
		assert_int_equal(memory[(i * 2 + 1) * BLOCK], 0);
	}
	while (next < 799 * BLOCK) {
		int n = leasefs_get_layout(lease, next, extents, 50, &next);

		assert_in_range(n, 1, 50);
		count += (unsigned)n;
	}
	assert_in_range(count, 700, 800);
	assert_int_equal(leasefs_return_lease(lease), 0);
	close(between);
	close(fd);
}

static void contiguous_file_can_have_huge_pages(void **state)
{
	int fd = bed_file("huge", 8 * MIB);
	struct leasefs_lease *lease = take(fd, 0, 0, LEASEFS_TAKE_WRITE);
	unsigned char *memory = map(lease, 0);
	struct leasefs_region region;
	struct leasefs_extent e;
	uint64_t next;

	assert_int_equal(leasefs_get_layout(lease, 0, &e, 1, &next), 1);
	assert_int_equal((uintptr_t)memory % (2 * MIB), e.region_offset % (2 * MIB));
	assert_int_equal(leasefs_get_region(session, e.region, &region), 0);
	assert_int_equal(region.media, bed_media());
	assert_true(region.path[0] == '/');
	assert_int_equal(differs(memory, 0, 8 * MIB), -1);
	assert_int_equal(leasefs_return_lease(lease), 0);
	close(fd);
}

static void returned_middle_is_inaccessible_and_both_ends_stay(void **state)
{
	int fd = bed_file("middle", 30 * BLOCK);
	struct leasefs_lease *lease = take(fd, 0, 0, LEASEFS_TAKE_WRITE);
	unsigned char *memory = map(lease, 0);
	struct leasefs_lease_state s;
	unsigned char byte;
	int zero = open("/dev/zero", O_RDONLY | O_CLOEXEC);

	assert_int_equal(leasefs_return_range(lease, 10 * BLOCK, 10 * BLOCK), 0);
	assert_int_equal(leasefs_return_range(lease, 10 * BLOCK, 10 * BLOCK), -ENOENT);
	assert_int_equal(leasefs_return_range(lease, 100, BLOCK), -EINVAL);
	assert_int_equal(leasefs_return_range(lease, 0, 31 * BLOCK), -EINVAL);
	/* The kernel tells what can be stored to without a signal. */
	assert_int_equal(read(zero, memory + 15 * BLOCK, 1), -1);
	assert_int_equal(errno, EFAULT);
	assert_int_equal(read(zero, memory + 9 * BLOCK, 1), 1);
	assert_int_equal(read(zero, memory + 20 * BLOCK, 1), 1);
	assert_int_equal(leasefs_commit_range(lease, 0, 0, 0), 0);
	assert_int_equal(pread(fd, &byte, 1, 20 * BLOCK), 1);
	assert_int_equal(byte, 0);
	assert_int_equal(leasefs_get_lease(lease, &s), 0);
	assert_int_equal(s.held_bytes, 20 * BLOCK);
	assert_int_equal(s.length, 30 * BLOCK);
	/* The returned range is free, the others are pinned as one. */
	assert_int_equal(leasefs_pin_lease(lease), 0);
	assert_int_equal(bed_other("punch", bed_path("middle"), 10 * BLOCK, 10 * BLOCK), 0);
	assert_int_equal(leasefs_return_lease(lease), -EBUSY);
	assert_int_equal(leasefs_unpin_lease(lease), 0);
	assert_int_equal(leasefs_unpin_lease(lease), -EINVAL);
	assert_int_equal(leasefs_return_lease(lease), 0);
	close(zero);
	close(fd);
}

static void downgraded_lease_is_read_only(void **state)
{
	int fd = bed_file("downgrade", 4 * BLOCK), zero = open("/dev/zero", O_RDONLY | O_CLOEXEC);
	struct leasefs_lease *lease = take(fd, 0, 0, LEASEFS_TAKE_WRITE | LEASEFS_TAKE_EXCLUSIVE);
	unsigned char *memory = map(lease, 0);

	assert_int_equal(leasefs_pin_lease(lease), 0);
	assert_int_equal(leasefs_downgrade_lease(lease, 0), -EBUSY);
	assert_int_equal(leasefs_unpin_lease(lease), 0);
	assert_int_equal(leasefs_downgrade_lease(lease, LEASEFS_DOWNGRADE_SHARE), 0);
	assert_int_equal(read(zero, memory, 1), -1);
	assert_int_equal(errno, EFAULT);
	assert_int_equal(differs(memory, 0, 4 * BLOCK), -1);
	assert_int_equal(leasefs_commit_range(lease, 0, 0, 0), -EBADF);
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

	assert_int_equal(ftruncate(fd, 8 * BLOCK), 0);
	lease = take(fd, 0, 0, LEASEFS_TAKE_READ);
	memory = map(lease, 0);
	assert_int_equal(memory[4 * BLOCK], 0);
	assert_int_equal(bed_other("fill", bed_path("hole"), 4 * BLOCK, 'f'), 0);
	assert_ptr_equal(expect_event(session, LEASEFS_EVENT_LAYOUT_CHANGED, &event), lease);
	assert_int_equal(leasefs_refresh_lease(lease), 0);
	assert_int_equal(memory[4 * BLOCK], 'f');
	assert_int_equal(memory[3 * BLOCK], 0);
	assert_int_equal(leasefs_return_lease(lease), 0);
	close(fd);
}

/* More is preallocated than was free before: so some of it has another file's bytes. */
static void preallocated_blocks_have_no_bytes_of_others(void **state)
{
	static unsigned char bytes[MIB];
	int fd = bed_file("deleted", 0);
	struct leasefs_lease *lease;
	const unsigned char *memory;

	memset(bytes, 'x', sizeof(bytes));
	for (uint64_t at = 0; at < 128 * MIB; at += MIB)
		assert_int_equal(pwrite(fd, bytes, MIB, (off_t)at), MIB);
	close(fd);
	assert_int_equal(unlink(bed_path("deleted")), 0);
	fd = bed_file("preallocated", 0);
	assert_int_equal(fallocate(fd, 0, 0, 192 * MIB), 0);
	lease = take(fd, 0, 192 * MIB, LEASEFS_TAKE_READ);
	memory = map(lease, 0);
	for (uint64_t at = 0; at < 192 * MIB; at += BLOCK)
		assert_int_equal(memory[at], 0);
	/* What is written then shows, as with holes. */
	assert_int_equal(pwrite(fd, bytes, BLOCK, 3 * BLOCK), BLOCK);
	expect_event(session, LEASEFS_EVENT_LAYOUT_CHANGED, &(struct leasefs_event){0});
	assert_int_equal(leasefs_refresh_lease(lease), 0);
	assert_int_equal(memory[3 * BLOCK], 'x');
	assert_int_equal(memory[4 * BLOCK], 0);
	assert_int_equal(leasefs_return_lease(lease), 0);
	close(fd);
	assert_int_equal(unlink(bed_path("preallocated")), 0);
}

static void mapping_comes_and_goes_with_the_lease_kept(void **state)
{
	int fd = bed_file("unmap", 4 * BLOCK);
	struct leasefs_lease *lease = take(fd, BLOCK, 2 * BLOCK, LEASEFS_TAKE_WRITE);
	struct leasefs_lease_state s;
	unsigned char *memory = map(lease, 0);

	assert_ptr_equal(map(lease, 0), memory);
	assert_int_equal(differs(memory, BLOCK, 2 * BLOCK), -1);
	assert_int_equal(leasefs_unmap_lease(lease), 0);
	assert_int_equal(leasefs_get_lease(lease, &s), 0);
	assert_null(s.address);
	assert_int_equal(s.held_bytes, 2 * BLOCK);
	memory = map(lease, 0);
	assert_int_equal(differs(memory, BLOCK, 2 * BLOCK), -1);
	assert_int_equal(leasefs_persist_range(lease, memory - 1, 2), -EINVAL);
	assert_int_equal(leasefs_persist_range(lease, memory, 2 * BLOCK + 1), -EINVAL);
	assert_int_equal(leasefs_return_lease(lease), 0);
	close(fd);
}

/* ---- pins and recalls ------------------------------------------------------------------------ */

static void pinned_lease_fails_the_truncate_and_unpinned_gives_way(void **state)
{
	int fd = bed_file("pinned", 16 * BLOCK);
	struct leasefs_lease *lease = take(fd, 0, 0, LEASEFS_TAKE_READ), *about;
	struct leasefs_event event;
	pid_t other;

	assert_int_equal(leasefs_pin_lease(lease), 0);
	assert_int_equal(leasefs_pin_lease(lease), 0);
	assert_int_equal(bed_other("truncate", bed_path("pinned"), 8 * BLOCK, 0), EBUSY);
	assert_int_equal(leasefs_unpin_lease(lease), 0);
	assert_int_equal(leasefs_unpin_lease(lease), 0);
	/* The recall was cancelled before anybody read it: nothing of it is seen. */
	expect_no_event(session);
	other = bed_other_start("truncate", bed_path("pinned"), 8 * BLOCK, 0);
	about = expect_event(session, LEASEFS_EVENT_RECALL, &event);
	assert_ptr_equal(about, lease);
	assert_int_equal(event.offset, 8 * BLOCK);
	assert_int_equal(event.length, 8 * BLOCK);
	assert_int_equal(leasefs_pin_lease(lease), -EAGAIN);
	assert_int_equal(leasefs_return_range(lease, event.offset, event.length), 0);
	assert_int_equal(bed_other_wait(other), 0);
	assert_int_equal(leasefs_pin_lease(lease), 0);
	assert_int_equal(leasefs_unpin_lease(lease), 0);
	assert_int_equal(leasefs_return_lease(lease), 0);
	close(fd);
}

static void last_unpin_lets_a_waiting_truncate_go_on(void **state)
{
	int fd = bed_file("unpin", 16 * BLOCK);
	struct leasefs_lease *lease = take(fd, 0, 0, LEASEFS_TAKE_READ);
	struct leasefs_event event;
	pid_t other;

	assert_int_equal(leasefs_pin_lease(lease), 0);
	other = bed_other_start("truncate", bed_path("unpin"), 0, 0);
	expect_event(session, LEASEFS_EVENT_RECALL, &event);
	assert_int_equal(leasefs_unpin_lease(lease), 0);
	assert_int_equal(leasefs_return_lease(lease), 0);
	assert_int_equal(bed_other_wait(other), 0);
	close(fd);
}

static void range_pins_are_of_their_range_alone(void **state)
{
	int fd = bed_file("ranges", 16 * BLOCK);
	struct leasefs_lease *lease = take(fd, 0, 0, LEASEFS_TAKE_WRITE);
	uint64_t pin, began;

	assert_int_equal(
		leasefs_pin_range(lease, 12 * BLOCK, BLOCK, LEASEFS_PIN_UNBREAKABLE, &pin), 0);
	began = now_ns();
	assert_int_equal(bed_other("truncate", bed_path("ranges"), 8 * BLOCK, 0), EBUSY);
	assert_in_range(now_ns() - began, 0, 900000000); /* at once: the policy gives 1 s */
	assert_int_equal(leasefs_return_range(lease, 0, 8 * BLOCK), -EBUSY);
	assert_int_equal(leasefs_unpin_range(lease, pin), 0);
	assert_int_equal(leasefs_unpin_range(lease, pin), -ENOENT);
	assert_int_equal(leasefs_pin_range(lease, 0, 17 * BLOCK, 0, &pin), -EINVAL);
	assert_int_equal(leasefs_return_range(lease, 0, 8 * BLOCK), 0);
	assert_int_equal(leasefs_pin_range(lease, 0, BLOCK, 0, &pin), -ENOENT);
	assert_int_equal(leasefs_return_lease(lease), 0);
	close(fd);
}

static void revoked_lease_stays_mapped_until_acknowledged(void **state)
{
	int fd = bed_file("revoked", 16 * BLOCK);
	struct leasefs_lease *lease = take(fd, 0, 0, LEASEFS_TAKE_READ);
	unsigned char *memory = map(lease, 0);
	struct leasefs_lease_state s;
	struct leasefs_event event;

	assert_int_equal(bed_other("truncate", bed_path("revoked"), 4 * BLOCK, 0), 0);
	assert_ptr_equal(expect_event(session, LEASEFS_EVENT_REVOKED, &event), lease);
	assert_int_equal(event.offset, 4 * BLOCK);
	assert_int_equal(leasefs_get_lease(lease, &s), 0);
	assert_int_equal(s.held_bytes, 4 * BLOCK);
	assert_int_equal(s.revoked_bytes, 12 * BLOCK);
	assert_int_equal(differs(memory, 0, 16 * BLOCK), -1);
	assert_int_equal(leasefs_acknowledge_lease(lease), 0);
	assert_int_equal(leasefs_get_lease(lease, &s), 0);
	assert_int_equal(s.revoked_bytes, 0);
	assert_int_equal(differs(memory, 0, 4 * BLOCK), -1);
	assert_int_equal(leasefs_return_lease(lease), 0);
	close(fd);
}

static void own_truncate_trims_at_once(void **state)
{
	int fd = bed_file("own", 16 * BLOCK);
	struct leasefs_lease *lease = take(fd, 0, 0, LEASEFS_TAKE_READ);
	struct leasefs_event event;

	assert_int_equal(ftruncate(fd, 0), 0);
	assert_ptr_equal(expect_event(session, LEASEFS_EVENT_REVOKED, &event), lease);
	assert_int_equal(event.flags, LEASEFS_REVOKED_OWN);
	assert_int_equal(leasefs_pin_lease(lease), -EAGAIN);
	assert_int_equal(leasefs_return_lease(lease), 0);
	close(fd);
}

static void exclusive_lease_is_waited_for(void **state)
{
	int fd = bed_file("exclusive", 4 * BLOCK);
	struct leasefs_session *second;
	struct leasefs_lease *lease, *other = NULL;
	struct leasefs_event event;
	uint64_t began = now_ns();

	assert_int_equal(leasefs_open_session_at(fd, 0, &second), 0);
	lease = take(fd, 0, 0, LEASEFS_TAKE_WRITE | LEASEFS_TAKE_EXCLUSIVE);
	assert_int_equal(leasefs_pin_lease(lease), 0);
	assert_int_equal(leasefs_take_lease(second, fd, 0, 0, LEASEFS_TAKE_READ, &other), -EAGAIN);
	assert_int_equal(leasefs_wait_lease(second, fd, 0, 0, LEASEFS_TAKE_READ, 20000000, &other),
		-ETIMEDOUT);
	assert_in_range(now_ns() - began, 20000000, BED_PATIENCE_MS * 1000000ull);
	assert_int_equal(leasefs_unpin_lease(lease), 0);
	assert_int_equal(leasefs_return_lease(lease), 0);
	assert_null(expect_event(second, LEASEFS_EVENT_AVAILABLE, &event));
	assert_int_equal(
		leasefs_wait_lease(second, fd, 0, 0, LEASEFS_TAKE_READ, UINT64_MAX, &other), 0);
	assert_int_equal(leasefs_return_lease(other), 0);
	assert_int_equal(leasefs_close_session(second), 0);
	close(fd);
}

/* ---- events ---------------------------------------------------------------------------------- */

struct heard {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	unsigned recalls;
	int result;
};

static void on_event(void *context, const struct leasefs_event *event, struct leasefs_lease *lease)
{
	struct heard *h = context;
	int result;

	if (event->kind != LEASEFS_EVENT_RECALL)
		return;
	result = leasefs_return_lease(lease);
	if (leasefs_close_session(session) != -EDEADLK)
		result = -EDEADLK;
	pthread_mutex_lock(&h->lock);
	h->recalls++;
	h->result = result;
	pthread_cond_broadcast(&h->changed);
	pthread_mutex_unlock(&h->lock);
}

static void callback_answers_the_recall(void **state)
{
	struct heard h = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, 1};
	int fd = bed_file("callback", 4 * BLOCK);
	struct leasefs_lease *lease = take(fd, 0, 0, LEASEFS_TAKE_READ);

	leasefs_set_lease_data(lease, &h);
	assert_ptr_equal(leasefs_get_lease_data(lease), &h);
	assert_int_equal(leasefs_set_callback(session, on_event, &h), 0);
	assert_int_equal(bed_other("truncate", bed_path("callback"), 0, 0), 0);
	/* The truncate goes on as soon as the lease is back, before the callback has said so. */
	pthread_mutex_lock(&h.lock);
	while (!h.recalls)
		pthread_cond_wait(&h.changed, &h.lock);
	pthread_mutex_unlock(&h.lock);
	assert_int_equal(leasefs_set_callback(session, NULL, NULL), 0);
	assert_int_equal(h.recalls, 1);
	assert_int_equal(h.result, 0);
	close(fd);
}

static void event_descriptor_works_with_epoll_and_io_uring(void **state)
{
	int fd = bed_file("descriptor", 4 * BLOCK), efd = leasefs_get_event_fd(session), epoll;
	struct epoll_event want = {.events = EPOLLIN}, got;
	struct leasefs_lease *lease = take(fd, 0, 0, LEASEFS_TAKE_READ), *about;
	struct io_uring_cqe *cqe;
	struct leasefs_event event;
	struct io_uring ring;
	pid_t other;

	epoll = epoll_create1(EPOLL_CLOEXEC);
	assert_int_equal(epoll_ctl(epoll, EPOLL_CTL_ADD, efd, &want), 0);
	assert_int_equal(epoll_wait(epoll, &got, 1, 0), 0);
	assert_int_equal(io_uring_queue_init(2, &ring, 0), 0);
	io_uring_prep_poll_add(io_uring_get_sqe(&ring), efd, POLLIN);
	assert_int_equal(io_uring_submit(&ring), 1);
	other = bed_other_start("truncate", bed_path("descriptor"), 0, 0);
	assert_int_equal(io_uring_wait_cqe(&ring, &cqe), 0);
	assert_true(cqe->res & POLLIN);
	assert_int_equal(epoll_wait(epoll, &got, 1, BED_PATIENCE_MS), 1);
	assert_int_equal(leasefs_next_event(session, &event, &about), 1);
	assert_int_equal(event.kind, LEASEFS_EVENT_RECALL);
	assert_int_equal(leasefs_return_lease(about), 0);
	assert_ptr_equal(about, lease);
	assert_int_equal(bed_other_wait(other), 0);
	assert_int_equal(epoll_wait(epoll, &got, 1, 0), 0);
	io_uring_queue_exit(&ring);
	close(epoll);
	close(fd);
}

static void session_without_thread_reads_by_itself(void **state)
{
	int fd = bed_file("threadless", 4 * BLOCK);
	struct leasefs_session *alone;
	struct leasefs_lease *lease;
	struct leasefs_event event;
	void *memory;
	pid_t other;

	assert_int_equal(leasefs_open_session_at(fd, LEASEFS_SESSION_NO_THREAD, &alone), 0);
	assert_int_equal(leasefs_set_callback(alone, on_event, NULL), -EOPNOTSUPP);
	assert_int_equal(
		leasefs_map_managed(alone, fd, 0, BLOCK, LEASEFS_TAKE_READ, &lease, &memory),
		-EOPNOTSUPP);
	assert_int_equal(leasefs_take_lease(alone, fd, 0, 0, LEASEFS_TAKE_READ, &lease), 0);
	other = bed_other_start("truncate", bed_path("threadless"), 0, 0);
	assert_ptr_equal(expect_event(alone, LEASEFS_EVENT_RECALL, &event), lease);
	assert_int_equal(leasefs_return_lease(lease), 0);
	assert_int_equal(bed_other_wait(other), 0);
	assert_int_equal(leasefs_close_session(alone), 0);
	close(fd);
}

/* The tail was revoked, and nobody has read of it: the rest is returned all the same. */
static void return_of_a_lease_that_was_cut_meanwhile(void **state)
{
	int fd = bed_file("cut", 16 * BLOCK);
	struct leasefs_session *alone;
	struct leasefs_lease *lease, *part;
	void *memory;

	assert_int_equal(leasefs_open_session_at(fd, LEASEFS_SESSION_NO_THREAD, &alone), 0);
	assert_int_equal(leasefs_take_lease(alone, fd, 0, 0, LEASEFS_TAKE_READ, &lease), 0);
	assert_int_equal(leasefs_map_lease(lease, 0, &memory), 0);
	assert_int_equal(leasefs_take_lease(alone, fd, 0, 0, LEASEFS_TAKE_READ, &part), 0);
	assert_int_equal(bed_other("truncate", bed_path("cut"), 4 * BLOCK, 0), 0);
	assert_int_equal(leasefs_return_range(part, 2 * BLOCK, 4 * BLOCK), 0);
	assert_int_equal(leasefs_return_lease(part), 0);
	assert_int_equal(leasefs_return_lease(lease), 0);
	assert_int_equal(leasefs_close_session(alone), 0);
	close(fd);
}

static void closing_gives_everything_back(void **state)
{
	int fd = bed_file("closing", 4 * BLOCK);
	struct leasefs_session *second;
	struct leasefs_lease *lease;
	struct leasefs_hello hello;
	void *memory;

	assert_int_equal(leasefs_open_session(bed_path("closing"), 0, &second), 0);
	assert_int_equal(leasefs_get_session(second, &hello), 0);
	assert_int_equal(hello.pid, getpid());
	assert_int_equal(leasefs_take_lease(second, fd, 0, 0, LEASEFS_TAKE_WRITE, &lease), 0);
	assert_int_equal(leasefs_map_lease(lease, LEASEFS_MAP_POPULATE, &memory), 0);
	assert_int_equal(leasefs_close_session(second), 0);
	assert_int_equal(bed_other("truncate", bed_path("closing"), 0, 0), 0);
	close(fd);
}

/* What two threads do to one session at once, for ThreadSanitizer. */
static void *take_pin_return(void *argument)
{
	int fd = *(int *)argument;

	for (int i = 0; i < 200; i++) {
		struct leasefs_lease *lease;
		void *memory;

		if (leasefs_take_lease(session, fd, 0, 0, LEASEFS_TAKE_READ, &lease))
			return (void *)1;
		if (leasefs_map_lease(lease, 0, &memory) || leasefs_pin_lease(lease) ||
			*(unsigned char *)memory != pattern(0) || leasefs_unpin_lease(lease) ||
			leasefs_return_lease(lease))
			return (void *)2;
	}
	return NULL;
}

static void threads_share_a_session(void **state)
{
	int fd = bed_file("threads", 4 * BLOCK);
	pthread_t threads[4];
	void *result;

	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, take_pin_return, &fd), 0);
	for (int i = 0; i < 4; i++) {
		assert_int_equal(pthread_join(threads[i], &result), 0);
		assert_null(result);
	}
	close(fd);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		with_session(stores_through_the_mapping_are_read_after_commit),
		with_session(fragmented_file_is_one_address),
		with_session(contiguous_file_can_have_huge_pages),
		with_session(returned_middle_is_inaccessible_and_both_ends_stay),
		with_session(downgraded_lease_is_read_only),
		with_session(filled_hole_shows_after_refresh),
		with_session(preallocated_blocks_have_no_bytes_of_others),
		with_session(mapping_comes_and_goes_with_the_lease_kept),
		with_session(pinned_lease_fails_the_truncate_and_unpinned_gives_way),
		with_session(last_unpin_lets_a_waiting_truncate_go_on),
		with_session(range_pins_are_of_their_range_alone),
		with_session(revoked_lease_stays_mapped_until_acknowledged),
		with_session(own_truncate_trims_at_once),
		with_session(exclusive_lease_is_waited_for),
		with_session(callback_answers_the_recall),
		with_session(event_descriptor_works_with_epoll_and_io_uring),
		with_session(session_without_thread_reads_by_itself),
		with_session(return_of_a_lease_that_was_cut_meanwhile),
		with_session(closing_gives_everything_back),
		with_session(threads_share_a_session),
	};
	int failed;

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	bed_start("policy=recall:1s/busy", "256M");
	failed = cmocka_run_group_tests_name("lease", tests, NULL, NULL);
	if (!failed)
		bed_stop();
	return failed;
}
