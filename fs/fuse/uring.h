// SPDX-License-Identifier: BSD-2-Clause
/*
 * uring.h - the kernel's transport of requests over io_uring (Linux 6.14), beside /dev/fuse.
 *
 * There is a queue for each processor. A request waits in its caller's queue, and is taken and
 * answered there with one system call instead of two, by a thread on the same processor.
 * libfuse's own such transport is not used: it does not interrupt a request that came that way, so
 * that Ctrl-C would not end a parked one; its queues have a fixed number of entries, so that as
 * many parked requests stop a processor's others; and it serves a queue by one thread.
 *
 * /dev/fuse carries INIT, and forgets, interrupts and notifications for ever.
 */
#ifndef FUSE_URING_H
#define FUSE_URING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "diag.h"

struct uring;

#define URING_INIT_FLAGS2 (1u << 9) /* FUSE_OVER_IO_URING: bit 41 of INIT's flags */

/* 0; or -EOPNOTSUPP, and a sentence on what is missing here. */
int uring_check(struct diag *d);

/* fd: of /dev/fuse. Asks the kernel for nothing yet. -errno, as of ring_open(). */
int uring_open(struct uring **out, int fd);
/* No thread may use it any more. Requests that were not answered end when the connection does. */
void uring_close(struct uring *u);
unsigned uring_queues(const struct uring *u);

/*
 * For a thread that is to serve the queue, from now to its end: it may not end before the mount,
 * or what the kernel gives it is lost. The first one of a queue says so, after INIT's reply: until
 * all queues have had theirs, the kernel holds requests back.
 */
void uring_join(struct uring *u, unsigned queue, bool first);
/*
 * Waits for the calling thread's queue's next request; of a queue's threads one at a time. It lies
 * at *request as read(2) from /dev/fuse would have brought it, until it is answered.
 * -EINTR; -ENODEV: unmounted; -EOPNOTSUPP: the kernel refuses, and goes on by /dev/fuse.
 */
int uring_receive(struct uring *u, char **request, size_t *bytes);
/*
 * A reply as it would be written to /dev/fuse. False: it is to no request of these queues. Any
 * thread; one that does not serve the request's queue hands it over to those that do.
 */
bool uring_reply(struct uring *u, const struct iovec *vector, int count, int *bytes);

#endif
