// SPDX-License-Identifier: BSD-2-Clause
/*
 * trace.h - the record of a persist interface: the sequence of stores, flushes and fences that the
 * recorder of region.h saw, and the marks that the test set among them.
 *
 * Regions are told apart by their sizes, so that those that are opened later are known too.
 */
#ifndef TESTS_CRASH_TRACE_H
#define TESTS_CRASH_TRACE_H

#include <stddef.h>
#include <stdint.h>

#include "region.h"

enum trace_kind {
	TRACE_STORE,
	TRACE_FLUSH,
	TRACE_FENCE,
	TRACE_MARK,
	TRACE_REFUSED, /* a sync that failed: the kernel takes the pages for clean from now on */
};

struct trace_event {
	enum trace_kind kind;
	unsigned region; /* which of trace.bytes */
	uint64_t offset; /* TRACE_MARK: the caller's own */
	uint64_t count;
	uint8_t *bytes; /* TRACE_STORE */
};

#define TRACE_REGIONS_MAX 2u
struct trace {
	uint64_t bytes[TRACE_REGIONS_MAX]; /* others are not recorded */
	unsigned regions;
	struct trace_event *events;
	size_t count;
	size_t capacity;
};

/* Becomes the process's recorder, and ends that. */
void trace_start(struct trace *t, const uint64_t *bytes, unsigned regions);
void trace_stop(struct trace *t);
void trace_mark(struct trace *t, uint64_t what, uint64_t value);
/* Forgets the events, and keeps what memory they were in. */
void trace_clear(struct trace *t);
void trace_free(struct trace *t);

/* For a recorder of somebody else's that hands on what it sees. */
void trace_store(struct trace *t, const struct region *r, uint64_t offset, const void *bytes,
	uint64_t count);
void trace_flush(struct trace *t, const struct region *r, uint64_t offset, uint64_t count);
void trace_fence(struct trace *t, const struct region *r);
void trace_refused(struct trace *t, unsigned region, uint64_t offset, uint64_t count);

#endif
