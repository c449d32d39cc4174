// SPDX-License-Identifier: BSD-2-Clause
/* ring.c - see ring.h. The protocol with the kernel is that of io_uring_setup(2). */
#include "ring.h"

#include <assert.h>
#include <errno.h>
#include <linux/io_uring.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SQE_BYTES 128u /* IORING_SETUP_SQE128 */

static int map_queues(struct ring *r, const struct io_uring_params *p)
{
	size_t sq = p->sq_off.array + p->sq_entries * sizeof(uint32_t);
	size_t cq = p->cq_off.cqes + p->cq_entries * sizeof(struct io_uring_cqe);

	/* Both in one piece, since Linux 5.4; commands of 128 bytes are younger. */
	if (!(p->features & IORING_FEAT_SINGLE_MMAP))
		return -EINVAL;
	r->queues_bytes = sq > cq ? sq : cq;
	r->queues = mmap(NULL, r->queues_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE,
		r->fd, IORING_OFF_SQ_RING);
	if (r->queues == MAP_FAILED)
		return -errno;
	r->sqes = mmap(NULL, (size_t)p->sq_entries * SQE_BYTES, PROT_READ | PROT_WRITE,
		MAP_SHARED | MAP_POPULATE, r->fd, IORING_OFF_SQES);
	if (r->sqes == MAP_FAILED) {
		int error = errno;
		munmap(r->queues, r->queues_bytes);
		return -error;
	}
	/* A process that is forked off would keep the ring, and the mount with it. */
	(void)madvise(r->queues, r->queues_bytes, MADV_DONTFORK);
	(void)madvise(r->sqes, (size_t)p->sq_entries * SQE_BYTES, MADV_DONTFORK);
	return 0;
}

int ring_open(struct ring *r, unsigned cq_entries)
{
	struct io_uring_params p = {
		.flags = IORING_SETUP_SQE128 | IORING_SETUP_SUBMIT_ALL | IORING_SETUP_CQSIZE,
		.cq_entries = cq_entries};
	int result;

	r->fd = (int)syscall(SYS_io_uring_setup, RING_SQ_ENTRIES, &p);
	if (r->fd < 0)
		return -errno;
	result = map_queues(r, &p);
	if (result != 0) {
		close(r->fd);
		return result;
	}
	assert(p.sq_entries == RING_SQ_ENTRIES);
	r->sq_head = (uint32_t *)(void *)(r->queues + p.sq_off.head);
	r->sq_tail = (uint32_t *)(void *)(r->queues + p.sq_off.tail);
	r->sq_array = (uint32_t *)(void *)(r->queues + p.sq_off.array);
	r->sq_mask = *(uint32_t *)(void *)(r->queues + p.sq_off.ring_mask);
	r->cq_head = (uint32_t *)(void *)(r->queues + p.cq_off.head);
	r->cq_tail = (uint32_t *)(void *)(r->queues + p.cq_off.tail);
	r->cq_mask = *(uint32_t *)(void *)(r->queues + p.cq_off.ring_mask);
	r->cqes = (struct io_uring_cqe *)(void *)(r->queues + p.cq_off.cqes);
	pthread_mutex_init(&r->lock, NULL);
	return 0;
}

void ring_close(struct ring *r)
{
	munmap(r->sqes, (size_t)RING_SQ_ENTRIES * SQE_BYTES);
	munmap(r->queues, r->queues_bytes);
	close(r->fd);
	pthread_mutex_destroy(&r->lock);
}

int ring_enter(struct ring *r, bool wait)
{
	/* Another thread may submit them first: then the kernel has fewer, and does not wait. */
	uint32_t head = __atomic_load_n(r->sq_head, __ATOMIC_ACQUIRE);
	uint32_t count = __atomic_load_n(r->sq_tail, __ATOMIC_ACQUIRE) - head;
	long n = syscall(SYS_io_uring_enter, r->fd, count, wait ? 1u : 0u,
		wait ? IORING_ENTER_GETEVENTS : 0u, NULL, 0);

	return n < 0 ? -errno : 0;
}

void ring_prepare(
	struct ring *r, void (*fill)(struct io_uring_sqe *sqe, void *context), void *context)
{
	pthread_mutex_lock(&r->lock);
	uint32_t tail = *r->sq_tail, slot = tail & r->sq_mask;
	while (tail - __atomic_load_n(r->sq_head, __ATOMIC_ACQUIRE) == RING_SQ_ENTRIES)
		(void)ring_enter(r, false);
	struct io_uring_sqe *sqe = (struct io_uring_sqe *)(void *)(r->sqes + slot * SQE_BYTES);
	memset(sqe, 0, SQE_BYTES);
	fill(sqe, context);
	r->sq_array[slot] = slot;
	__atomic_store_n(r->sq_tail, tail + 1, __ATOMIC_RELEASE);
	pthread_mutex_unlock(&r->lock);
}

bool ring_take(struct ring *r, uint64_t *user_data, int *result)
{
	uint32_t head = *r->cq_head;

	if (head == __atomic_load_n(r->cq_tail, __ATOMIC_ACQUIRE))
		return false;
	*user_data = r->cqes[head & r->cq_mask].user_data;
	*result = r->cqes[head & r->cq_mask].res;
	__atomic_store_n(r->cq_head, head + 1, __ATOMIC_RELEASE);
	return true;
}
