// SPDX-License-Identifier: BSD-2-Clause
/*
 * meta_impl.h - struct meta, for meta.c and tx.c alone.
 */
#ifndef CORE_META_IMPL_H
#define CORE_META_IMPL_H

#include <stdatomic.h>

#include "tx.h"

struct meta {
	struct region *region;
	struct journal *journal;
	uint64_t start; /* objects stand in [start, end) */
	uint64_t end;
	_Atomic uint64_t *verified; /* a bit for each block of the region */
};

/* The home of an object; nothing of it is verified. -ENXIO. */
int meta_home(struct meta *m, uint64_t offset, uint32_t magic, const void **out);
/* The same, verified. -ENXIO, -EUCLEAN. */
int meta_view(struct meta *m, uint64_t offset, uint32_t magic, const void **out);
void meta_set_verified(struct meta *m, uint64_t offset);

#endif
