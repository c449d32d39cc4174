// SPDX-License-Identifier: BSD-2-Clause
/*
 * fake_media.h - transactions and heap blocks in plain memory, for tests of what stands on them.
 *
 * It takes the place of tx.c and space.c at link time. Checksums are left out, so that a test can
 * damage a node and see what the code above makes of it; blocks that are not allocated cannot be
 * viewed; allocations can be made to fail; views are counted.
 */
#ifndef TESTS_FAKE_MEDIA_H
#define TESTS_FAKE_MEDIA_H

#include <stdbool.h>
#include <stdint.h>

#include "space.h"
#include "tx.h"

struct fake_media {
	struct meta *meta;
	struct space *heap;
};
void fake_media_open(struct fake_media *f, uint64_t blocks);
void fake_media_close(struct fake_media *f);
uint64_t fake_media_used(const struct fake_media *f); /* blocks in use */
uint64_t fake_media_views(const struct fake_media *f);
void *fake_media_block(struct fake_media *f, uint64_t offset); /* the home; NULL: not in use */
/* Let `n` more allocations pass, then fail with -ENOSPC. UINT64_MAX: never fail. */
void fake_media_fail_after(struct fake_media *f, uint64_t n);

#endif
