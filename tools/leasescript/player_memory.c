// SPDX-License-Identifier: BSD-2-Clause
/*
 * player_memory.c - a lease's layout at one address, and the stores and loads through it.
 *
 * A fault during a store or load (the range was given back, or its region was cut) is EFAULT for
 * the statement. A SIGBUS at any other time is what a policy's `signal` rung sends: it ends the
 * actor.
 */
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "pattern.h"
#include "session.h"

#define HUGE_BYTES (2ull << 20)
#define EXTENTS_MAX 10000000u /* a layout that does not end is the daemon's fault */

static __thread sigjmp_buf *guard;

static void take_fault(int number, siginfo_t *info, void *context)
{
	if (guard && info->si_code > 0)
		siglongjmp(*guard, 1);
	signal(number, SIG_DFL);
	raise(number);
}

void memory_prepare(void)
{
	struct sigaction action = {.sa_sigaction = take_fault, .sa_flags = SA_SIGINFO};

	sigaction(SIGBUS, &action, NULL);
	sigaction(SIGSEGV, &action, NULL);
}

/* Address space for the lease, congruent to its offset modulo 2 MiB: a region may want that. */
static char *reserve(const struct held *h)
{
	uint64_t bytes = h->length + 2 * HUGE_BYTES;
	char *all =
		mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	uintptr_t start;

	if (all == MAP_FAILED)
		return NULL;
	start = ((uintptr_t)all + HUGE_BYTES - 1) & ~(uintptr_t)(HUGE_BYTES - 1);
	start += h->offset % HUGE_BYTES;
	if (start > (uintptr_t)all)
		munmap(all, start - (uintptr_t)all);
	munmap((char *)start + h->length, (uintptr_t)all + bytes - start - h->length);
	return (char *)start;
}

struct opened {
	int fd;
	uint32_t region;
	uint64_t unit; /* of mappings */
};

static int open_region(struct session *s, uint32_t number, bool write, struct opened *out)
{
	struct leasefs_region region = {.region = number};
	int r = session_call(s, LEASEFS_IOC_REGION, &region);

	if (r)
		return r;
	out->fd = open(region.path, (write ? O_RDWR : O_RDONLY) | O_CLOEXEC);
	out->region = number;
	out->unit = region.alignment;
	return out->fd < 0 ? errno : 0;
}

static int map_extent(struct session *s, struct held *h, char *memory,
	const struct leasefs_extent *e, struct opened *last)
{
	int protection = PROT_READ | (h->write ? PROT_WRITE : 0);
	char *at = memory + (e->offset - h->offset);
	uint64_t skip, bytes;
	int r;

	/* Where nobody has written yet, the region has what another file has left. */
	if (e->state != LEASEFS_EXTENT_WRITTEN)
		return mprotect(at, e->length, PROT_READ) ? errno : 0;
	if (last->fd < 0 || last->region != e->region) {
		if (last->fd >= 0)
			close(last->fd);
		r = open_region(s, e->region, h->write, last);
		if (r)
			return r;
	}
	/* Extents that share a unit map it twice, to the same place; leases are of whole units. */
	skip = e->region_offset % last->unit;
	bytes = (skip + e->length + last->unit - 1) / last->unit * last->unit;
	return mmap(at - skip, bytes, protection, MAP_SHARED | MAP_FIXED, last->fd,
		       (off_t)(e->region_offset - skip)) == MAP_FAILED
		       ? errno
		       : 0;
}

static int map_piece(struct session *s, struct held *h, char *memory, const struct piece *piece)
{
	struct leasefs_layout page = {.lease = piece->id, .offset = piece->offset};
	struct opened last = {.fd = -1};
	int r = 0;

	while (!r && page.offset < piece->offset + piece->length) {
		r = session_call(s, LEASEFS_IOC_LAYOUT, &page);
		for (uint32_t i = 0; !r && i < page.count; i++)
			r = map_extent(s, h, memory, &page.extents[i], &last);
		if (!r && (page.next <= page.offset || !page.count))
			r = EPROTO;
		page.offset = page.next;
	}
	if (last.fd >= 0)
		close(last.fd);
	return r;
}

int memory_map(struct session *s, struct held *h)
{
	char *memory = reserve(h);
	int r = 0;

	if (!memory)
		return ENOMEM;
	if (!h->pieces)
		r = ENOENT;
	for (struct piece *p = h->pieces; p && !r; p = p->next)
		r = map_piece(s, h, memory, p);
	if (r) {
		munmap(memory, h->length);
		return r;
	}
	if (h->memory)
		munmap(h->memory, h->length);
	h->memory = memory;
	return 0;
}

void memory_hide(struct held *h, uint64_t offset, uint64_t length)
{
	if (!h->memory || offset < h->offset || offset + length > h->offset + h->length)
		return;
	/* In one step: no moment in which other memory could come to stand there. */
	if (mmap(h->memory + (offset - h->offset), length, PROT_NONE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) == MAP_FAILED)
		abort();
}

static int check_range(const struct held *h, uint64_t offset, uint64_t length)
{
	if (!h->memory)
		return ENXIO; /* `map` was forgotten */
	if (offset < h->offset || length > h->length || offset - h->offset > h->length - length)
		return EINVAL;
	return 0;
}

int memory_store(struct held *h, uint64_t offset, uint64_t length, uint64_t seed)
{
	int r = check_range(h, offset, length);
	sigjmp_buf here;

	if (r)
		return r;
	if (sigsetjmp(here, 1)) {
		guard = NULL;
		return EFAULT;
	}
	guard = &here;
	pattern_fill(h->memory + (offset - h->offset), offset, length, seed);
	guard = NULL;
	return 0;
}

int memory_load(struct held *h, const struct command *c, struct reply *r)
{
	int error = check_range(h, c->offset, c->length);
	sigjmp_buf here;
	int64_t at;

	if (error)
		return error;
	if (sigsetjmp(here, 1)) {
		guard = NULL;
		return EFAULT;
	}
	guard = &here;
	at = pattern_differs(
		h->memory + (c->offset - h->offset), c->offset, c->length, c->seed, c->flag_zero);
	if (at >= 0) {
		r->wrong = 1;
		snprintf(r->text, sizeof(r->text), "byte %llu is 0x%02x",
			(unsigned long long)c->offset + (uint64_t)at,
			(unsigned char)h->memory[c->offset - h->offset + (uint64_t)at]);
	}
	guard = NULL;
	return 0;
}

/* ---- registered buffers: pins of the kernel's -------------------------------------------------
 */

struct buffer {
	struct io_uring ring;
};

int buffer_register(struct held *h, uint64_t offset, uint64_t length, struct buffer **out)
{
	struct iovec vector;
	struct buffer *b;
	int r = check_range(h, offset, length);

	if (r)
		return r;
	b = calloc(1, sizeof(*b));
	if (!b)
		return ENOMEM;
	r = -io_uring_queue_init(2, &b->ring, 0);
	if (r)
		goto free_buffer;
	vector.iov_base = h->memory + (offset - h->offset);
	vector.iov_len = length;
	r = -io_uring_register_buffers(&b->ring, &vector, 1);
	if (r)
		goto exit_ring;
	*out = b;
	return 0;
exit_ring:
	io_uring_queue_exit(&b->ring);
free_buffer:
	free(b);
	return r;
}

void buffer_unregister(struct buffer *b)
{
	io_uring_unregister_buffers(&b->ring);
	io_uring_queue_exit(&b->ring);
	free(b);
}
