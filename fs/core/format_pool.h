// SPDX-License-Identifier: BSD-2-Clause
/*
 * format_pool.h - making a pool, for format_pool.c (the directory) and format_meta.c (the contents
 * of meta) alone.
 */
#ifndef CORE_FORMAT_POOL_H
#define CORE_FORMAT_POOL_H

#include "pool.h"

/*
 * Fills c->super from the sizes: geometry, identity, label. pool_bytes is what the data may hold,
 * meta_bytes 0 or as asked for. -EINVAL with a sentence.
 */
int format_plan(
	struct core *c, const struct core_format *format, uint64_t pool_bytes, struct diag *d);
/*
 * Writes meta, whose region is open and all zero: journal, heap, roots, inode group 0, the root
 * directory and region 0 (`data` NULL: none), which it takes over in any case. The superblocks
 * come last, when all the rest is durable.
 */
int format_meta(struct core *c, const struct media_region *media, const char *external,
	struct region *data, struct diag *d);

#endif
