// SPDX-License-Identifier: BSD-2-Clause
/*
 * media.h - the pool that crashes are explored on: two small files on tmpfs that pass for the media
 * of the kind that is asked for, and that can be put into any state by writing only what differs.
 *
 * The linker puts the functions of media.c in the place of libpmem's and the C library's (see
 * meson.build): files of the pool are mapped once, by whoever asks and for as long as the process
 * lives; flushes and syncs cost nothing, since the recorder has them; statfs(2) says that tmpfs is
 * a disk. What the code under test does itself is the same as ever.
 *
 * One in a process. Between media_load() and the next one, all stores go through the recorder, or
 * through media_put(): that is how it is known what to put back.
 */
#ifndef TESTS_CRASH_MEDIA_H
#define TESTS_CRASH_MEDIA_H

#include <stdbool.h>
#include <stdint.h>

#include "machine.h"
#include "trace.h"

enum { MEDIA_META, MEDIA_DATA, MEDIA_REGIONS };
#define MEDIA_META_BYTES (8ull << 20)
#define MEDIA_POOL_BYTES (4ull << 20)
#define MEDIA_DATA_BYTES (MEDIA_POOL_BYTES + 4096) /* with the region's tag */

enum media_kind { MEDIA_PMEM, MEDIA_STRICT, MEDIA_RELAXED, MEDIA_KINDS };
extern const char *const media_names[MEDIA_KINDS];

/* What it costs to know what recovery reads: off, but for the runs that ask. */
struct media_reads {
	uint8_t *read[MEDIA_REGIONS];    /* a bit a word of each line: read ... */
	uint8_t *written[MEDIA_REGIONS]; /* ... and not written before */
};

/* Where pools are to be made; if nothing is said, under /dev/shm, or $TMPDIR without that. The text
 * is borrowed. */
void media_place(const char *directory);
/* Formats a pool in a new directory there, which media_remove() takes away. Exits with a sentence
 * when that cannot be. */
void media_make(enum media_kind kind);
void media_remove(void);
const char *media_pool(void);
enum media_kind media_kind(void);
uint64_t media_granule(void);

/* Takes what stands in the files now for the base. media_base() is borrowed until media_remove().
 */
void media_set_base(void);
const uint8_t *media_base(unsigned region);
/* Another base. */
void media_replace(const uint8_t *const *bytes);
/* The base again, whatever was stored since. */
void media_rewind(void);

/* What is durable in the machines (of MEDIA_REGIONS), as they were made from the base. */
void media_load(struct machine *const *machines);
/* One line of the files; the next load puts it back. */
void media_put(unsigned region, size_t line, const uint64_t *content);
/* Does the pool hold anything that the last load and puts, and the recorder, do not know of? */
bool media_check(struct machine *const *machines);

/* The recorder hands on to `trace`, which is emptied first, until media_record_end(). */
void media_record(struct trace *trace);
void media_record_end(void);
void media_watch_reads(bool on);
const struct media_reads *media_reads(void);

/* The n-th msync(2) or fdatasync(2) from now on is refused with EIO, once; 0: none. */
void media_fail_sync(unsigned n);
bool media_sync_failed(void); /* since then */

/* As many processors as sysconf(3) tells of from now on; 0: what there is. */
void media_processors(unsigned count);

#endif
