// SPDX-License-Identifier: BSD-2-Clause
/*
 * fence.c - a range of memory that nobody gets into for a moment.
 *
 * Why: when a mapping of a file is to become direct again, what other threads have stored through
 * the kernel's page cache must be in the file's blocks before they store there directly, and
 * nothing may be stored in between. mprotect(2) would make them fault; here they wait.
 *
 * How: anonymous memory without pages is registered with userfaultfd(2) and moved over the range
 * with mremap(2), in one step. Who touches it waits for a page that never comes. The owner of the
 * fence then maps over it what is to stand there, and wakes the waiters, whose accesses begin anew.
 * A registration survives mremap only if the move is told as an event, and the mover waits until
 * somebody has read that: hence the thread, which reads and drops everything.
 *
 * Under a raised fence nothing may wait for the file's inode lock: a thread in write(2) to the file
 * may hold it, while it waits at the fence for the bytes that it is to write.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lfs.h"

#ifndef UFFD_USER_MODE_ONLY
#define UFFD_USER_MODE_ONLY 1
#endif
#ifndef USERFAULTFD_IOC_NEW
#define USERFAULTFD_IOC_NEW _IO(0xAA, 0x00)
#endif

struct lfs_fence {
	int fd;
	int stop_fd;
	pthread_t reader;
};

static void *read_events(void *argument)
{
	struct lfs_fence *f = argument;
	struct pollfd wait[2] = {
		{.fd = f->fd, .events = POLLIN}, {.fd = f->stop_fd, .events = POLLIN}};
	struct uffd_msg messages[8];

	for (;;) {
		if (poll(wait, 2, -1) < 0 && errno != EINTR)
			return NULL;
		if (wait[1].revents)
			return NULL;
		while (read(f->fd, messages, sizeof(messages)) > 0)
			;
	}
}

static int open_userfaultfd(bool user_faults)
{
	int device, fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);

	if (fd >= 0)
		return fd;
	device = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
	if (device >= 0) {
		fd = ioctl(device, USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK);
		close(device);
	}
	if (fd < 0 && user_faults)
		fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY);
	return fd < 0 ? (errno == ENOENT || errno == EACCES ? -EPERM : -errno) : fd;
}

static int start_reader(struct lfs_fence *f)
{
	sigset_t all, before;
	int error;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	error = pthread_create(&f->reader, NULL, read_events, f);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return -error;
}

int lfs_make_fence(bool user_faults, struct lfs_fence **out)
{
	struct uffdio_api api = {.api = UFFD_API, .features = UFFD_FEATURE_EVENT_REMAP};
	struct lfs_fence *f = calloc(1, sizeof(*f));
	int error;

	if (!f)
		return -ENOMEM;
	f->fd = open_userfaultfd(user_faults);
	error = f->fd < 0 ? f->fd : 0;
	if (error)
		goto free_fence;
	if (ioctl(f->fd, UFFDIO_API, &api)) {
		error = -errno;
		goto close_fd;
	}
	f->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (f->stop_fd < 0) {
		error = -errno;
		goto close_fd;
	}
	error = start_reader(f);
	if (error)
		goto close_stop;
	*out = f;
	return 0;
close_stop:
	close(f->stop_fd);
close_fd:
	close(f->fd);
free_fence:
	free(f);
	return error;
}

int lfs_raise_fence(struct lfs_fence *f, void *address, size_t length)
{
	struct uffdio_register r = {.mode = UFFDIO_REGISTER_MODE_MISSING};
	void *empty = mmap(NULL, length, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	int error = 0;

	if (empty == MAP_FAILED)
		return -ENOMEM;
	r.range.start = (uintptr_t)empty;
	r.range.len = length;
	if (madvise(empty, length, MADV_DONTFORK) || ioctl(f->fd, UFFDIO_REGISTER, &r) ||
		mremap(empty, length, length, MREMAP_MAYMOVE | MREMAP_FIXED, address) == MAP_FAILED)
		error = -errno;
	if (error)
		munmap(empty, length);
	return error;
}

void lfs_lower_fence(struct lfs_fence *f, void *address, size_t length)
{
	struct uffdio_range range = {.start = (uintptr_t)address, .len = length};

	(void)ioctl(f->fd, UFFDIO_WAKE, &range);
}

/* In a child of fork, too, which has no reader. */
void lfs_free_fence(struct lfs_fence *f, bool reading)
{
	uint64_t one = 1;

	if (reading && write(f->stop_fd, &one, sizeof(one)) == sizeof(one))
		pthread_join(f->reader, NULL);
	close(f->stop_fd);
	close(f->fd);
	free(f);
}
