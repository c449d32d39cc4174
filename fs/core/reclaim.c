// SPDX-License-Identifier: BSD-2-Clause
/*
 * reclaim.c - the second chance of an operation that found no space. See pool.h.
 *
 * Blocks freed by a transaction that is not durable yet are not handed out (space.h). On page cache
 * with relaxed durability that can be many, so that a pool may look full that is not.
 */
#include <stdatomic.h>

#include "pool.h"

static struct space *space_at(struct core *c, uint32_t i)
{
	struct data_region *region;

	if (i == 0)
		return c->heap;
	if (i == 1)
		return c->inodes;
	region = atomic_load_explicit(&c->regions[i - 2], memory_order_acquire);
	return region ? region->space : NULL;
}

bool core_reclaim(struct core *c, bool *asked)
{
	uint32_t spaces = 2 + atomic_load(&c->region_count);
	uint64_t durable;
	bool waiting = false;

	if (*asked)
		return false;
	*asked = true;
	for (uint32_t i = 0; i < spaces && !waiting; i++) {
		struct space *s = space_at(c, i);

		waiting = s && space_has_pending(s);
	}
	if (!waiting || journal_sync(c->journal))
		return false;
	durable = journal_durable_position(c->journal);
	for (uint32_t i = 0; i < spaces; i++) {
		struct space *s = space_at(c, i);

		if (s)
			space_reap(s, durable);
	}
	return true;
}
