// SPDX-License-Identifier: BSD-2-Clause
/*
 * crash_machine.h - what a power cut can leave of a region, from the record of its persist
 * interface.
 *
 * A trace is the sequence of stores, flushes and fences that the recorder of region.h saw. The
 * machine goes through a trace and knows, for each line of 64 bytes, what is durable and every
 * content that the line has had since: a line may reach the media at any time, whole, or torn at
 * 8 bytes when the power fails just then. Flush and fence together make what was flushed durable.
 */
#ifndef TESTS_UNIT_CRASH_MACHINE_H
#define TESTS_UNIT_CRASH_MACHINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "region.h"

enum trace_kind { TRACE_STORE, TRACE_FLUSH, TRACE_FENCE, TRACE_MARK };

struct trace_event {
	enum trace_kind kind;
	unsigned region; /* which of trace.bytes */
	uint64_t offset; /* TRACE_MARK: the caller's own */
	uint64_t count;
	uint8_t *bytes; /* TRACE_STORE */
};

/* Regions are told apart by their sizes, so that those that are opened later are known too. */
#define TRACE_REGIONS_MAX 2u
struct trace {
	uint64_t bytes[TRACE_REGIONS_MAX]; /* others are not recorded */
	unsigned regions;
	struct trace_event *events;
	size_t count;
	size_t capacity;
};

void trace_start(struct trace *t, const uint64_t *bytes, unsigned regions);
void trace_stop(struct trace *t);
void trace_mark(struct trace *t, uint64_t what, uint64_t value);
void trace_free(struct trace *t);

/* One region's. The caller gives it the events of that region. `granule`: what a flush is widened
 * to, 64 or a page. */
struct machine;
struct machine *machine_new(const void *durable, uint64_t bytes, uint64_t granule);
void machine_free(struct machine *m);
void machine_step(struct machine *m, const struct trace_event *event);

enum crash_luck {
	LUCK_NONE,  /* nothing that was not fenced is there */
	LUCK_ALL,   /* everything is there, as after the death of a process */
	LUCK_LINES, /* each line as it was at some time */
	LUCK_TORN,  /* the same, and words of two times in one line */
};
void machine_crash(const struct machine *m, enum crash_luck luck, unsigned *seed, void *image);

#endif
