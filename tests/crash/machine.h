// SPDX-License-Identifier: BSD-2-Clause
/*
 * machine.h - what a power cut can leave of a region, from the trace of its persist interface.
 *
 * The machine goes through a trace and knows, for each line of 64 bytes, what is durable and every
 * content that the line has had since: a line may reach the media at any time, whole, or torn at
 * 8 bytes when the power fails just then. Flush and fence together make what was flushed durable.
 */
#ifndef TESTS_CRASH_MACHINE_H
#define TESTS_CRASH_MACHINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "trace.h"

#define LINE_BYTES 64u
#define LINE_WORDS (LINE_BYTES / 8)

/* One region's. The caller gives it the events of that region. `granule`: what a flush is widened
 * to, 64 or a page. */
struct machine;
struct machine *machine_new(const void *durable, uint64_t bytes, uint64_t granule);
void machine_free(struct machine *m);
void machine_step(struct machine *m, const struct trace_event *event);
/* As it was made, if the bytes that it was made from are still `durable`. */
void machine_reset(struct machine *m, const void *durable);
/* Another content of a line, durable at once. */
void machine_set(struct machine *m, size_t line, const uint64_t *content);

enum crash_luck {
	LUCK_NONE,  /* nothing that was not fenced is there */
	LUCK_ALL,   /* everything is there, as after the death of a process */
	LUCK_LINES, /* each line as it was at some time */
	LUCK_TORN,  /* the same, and words of two times in one line */
};
void machine_crash(const struct machine *m, enum crash_luck luck, unsigned *seed, void *image);

/* ---- line by line ---------------------------------------------------------------------------- */

/* The lines that have contents which are not durable, in no order; valid until the next step. */
size_t machine_pending(const struct machine *m, const size_t **lines);
/* How many those are; machine_line() has them as 1 to that many, the newest last. */
uint32_t machine_versions(const struct machine *m, size_t line);
/* What the line was at time `version`; 0 is what is durable. LINE_WORDS of them. */
const uint64_t *machine_line(const struct machine *m, size_t line, uint32_t version);
/* The lines whose durable content was ever changed; valid until the next step. */
size_t machine_changed(const struct machine *m, const size_t **lines);
/* One number for all that is durable: equal contents of equal machines have equal ones. */
uint64_t machine_hash(const struct machine *m);
/* What it changes by (xor) when a line gets another content. */
uint64_t machine_hash_change(size_t line, const uint64_t *from, const uint64_t *to);

#endif
