/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * bed.h - a pool, a daemon and a mount for the library's tests, and other processes.
 *
 * The programs come from the environment: LEASEFS_MKFS, LEASEFS_DAEMON, LEASEFS_FSCK and
 * LEASEFS_OTHER, as tests/lib/meson.build sets them. Without /dev/fuse a test is skipped (exit 77).
 * Everything is below one temporary directory (the pool in /dev/shm, so that pins of the kernel are
 * possible), and is gone at the end, also when an assertion fails. On other media: pools are made
 * in the directory LEASEFS_TEST_POOLS, data regions are the device LEASEFS_TEST_DATA.
 *
 * Failures of the bed itself end the test at once: they are not what is being tried.
 */
#ifndef TEST_BED_H
#define TEST_BED_H

#include <leasefs/leasefs.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define BED_PATIENCE_MS 30000 /* whatever takes longer has failed */
#define BLOCK 4096u

/* Of a bed that is up: its mount point. */
extern char bed_mount[4096];

/* Before bed_start(): the data region is a file of huge pages, that long. Skips the test where
 * there can be none. */
void bed_use_huge_pages(uint64_t bytes);
/* A pool of that size, mounted with those options (NULL: none). */
void bed_start(const char *options, const char *pool_bytes);
/* What the data must be on, LEASEFS_MEDIA_*: volatile, or LEASEFS_TEST_MEDIA=pmem. */
uint32_t bed_media(void);
/* Unmounts; the daemon must end well, and fsck find nothing. */
void bed_stop(void);
void bed_kill(void);    /* the daemon, with SIGKILL; the mount stays, dead */
void bed_restart(void); /* after bed_kill(): unmounts and starts the next daemon */

/* "<mount>/name"; static, good until the eighth call from now. */
const char *bed_path(const char *name);
/* A file of that many bytes, byte x being pattern(x); a descriptor, open for both. */
int bed_file(const char *name, uint64_t bytes);
unsigned char pattern(uint64_t offset);
/* Are [offset, offset + length) of the memory the pattern of `from`? The first that is not, or -1.
 */
int64_t differs(const void *memory, uint64_t from, uint64_t length);

/* Another process (other.c): its errno. `start` and `wait` in two steps. */
int bed_other(const char *verb, const char *path, uint64_t a, uint64_t b);
pid_t bed_other_start(const char *verb, const char *path, uint64_t a, uint64_t b);
int bed_other_wait(pid_t pid);

/* The next event of that kind within the patience; others before it are dropped. Fails otherwise.
 */
struct leasefs_lease *expect_event(
	struct leasefs_session *s, uint32_t kind, struct leasefs_event *out);
/* None is left when all that was done has been heard of. */
void expect_no_event(struct leasefs_session *s);

uint64_t now_ns(void);
/* Calls `done` until it says true. Fails after the patience. */
void wait_until(bool (*done)(void *context), void *context, const char *what);

/* May this process fence stores (userfaultfd)? Then write mappings come back. */
bool can_come_back(void);
void bed_forbid_fences(void); /* for this process, from now on */
/* The test program ends with 77 and a reason. */
void skip_all(const char *reason) __attribute__((noreturn));

#endif
