// SPDX-License-Identifier: BSD-2-Clause
/*
 * ring.h - one io_uring, as FUSE over io_uring needs it: commands of 128 bytes, prepared by any
 * thread, submitted by whoever enters the kernel next, and completions taken by one thread at a
 * time. liburing's calls cannot wait for completions in one thread while others submit.
 */
#ifndef FUSE_RING_H
#define FUSE_RING_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct io_uring_sqe;

#define RING_SQ_ENTRIES 128u /* of those prepared and not submitted; when full, they are */

struct ring {
	int fd;
	char *queues; /* both heads and tails, shared with the kernel */
	char *sqes;
	size_t queues_bytes;
	uint32_t *sq_head, *sq_tail, *sq_array, *cq_head, *cq_tail;
	uint32_t sq_mask, cq_mask;
	struct io_uring_cqe *cqes;
	pthread_mutex_t lock; /* guards what is prepared: sq_tail and the commands */
};

/* -ENOSYS, -EPERM (forbidden here), -ENOMEM, -EMFILE; -EINVAL: a kernel that lacks what it needs.
 */
int ring_open(struct ring *r, unsigned cq_entries);
void ring_close(struct ring *r);

/* fill() is given a command of zeroes. Nothing happens before ring_enter(). */
void ring_prepare(
	struct ring *r, void (*fill)(struct io_uring_sqe *sqe, void *context), void *context);
/* Submits what is prepared; may wait for a completion, if asked to. -EINTR and others of errno. */
int ring_enter(struct ring *r, bool wait);
/* The next completion; false: there is none. One thread at a time. */
bool ring_take(struct ring *r, uint64_t *user_data, int *result);

#endif
