// SPDX-License-Identifier: BSD-2-Clause
/*
 * cached_pages.h - which parts of a file the kernel may have in its page cache.
 *
 * A page gets there by a read, or by a write that goes through the cache; both are requests, and
 * the daemon notes them before it serves them. So a lease's call that makes pages stale asks here
 * first, and where there are none it need not wait until the kernel has forgotten them: that takes
 * longer than the rest of the call.
 *
 * One word a file, which is 0 when its inode comes to be in memory: the kernel knows it, or has
 * pages of it, no longer than that.
 *
 *   bits 63..48   forgettings under way: who comes meanwhile has to wait for them too
 *   bits 47..42   the size of a chunk: CACHED_CHUNK_BYTES << that
 *   bits 41..0    the chunks, from the file's start: something in it may be cached
 *
 * A chunk doubles when the file is read beyond the last one. Bits are only ever too many.
 *
 * Why a clear bit is the truth: a page is in the cache, and locked or about to be invalidated,
 * before its request is sent. If the request found its bit set, and a forgetting cleared it then,
 * that forgetting's notification comes after it and finds the page.
 */
#ifndef FUSE_CACHED_PAGES_H
#define FUSE_CACHED_PAGES_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define CACHED_CHUNKS 42u
#define CACHED_CHUNK_BYTES (64ull << 10)
/* A forgetting is widened to whole chunks up to this size: of larger ones, bits stay set. */
#define CACHED_WIDEN_BYTES (4ull << 20)

/* [start, end) may be cached from now on. start < end. */
void cached_note(_Atomic uint64_t *word, uint64_t start, uint64_t end);
/*
 * May there be pages of [*start, *end)? Then it is a forgetting, until cached_forgotten(): the
 * caller has the kernel forget [*start, *end), which may have become larger. start < end.
 */
bool cached_forget(_Atomic uint64_t *word, uint64_t *start, uint64_t *end);
void cached_forgotten(_Atomic uint64_t *word);
/* What the bits say. */
bool cached_any(const _Atomic uint64_t *word, uint64_t start, uint64_t end);

#endif
