// SPDX-License-Identifier: BSD-2-Clause
/*
 * fault_space.c - see fault.h.
 */
#include <errno.h>

#include "fault.h"
#include "region.h"

int __real_region_reserve(struct region *r, uint64_t offset, uint64_t bytes);
int __real_region_reserve_blocks(struct region *r, uint64_t offset, uint64_t bytes);
int __wrap_region_reserve(struct region *r, uint64_t offset, uint64_t bytes);
int __wrap_region_reserve_blocks(struct region *r, uint64_t offset, uint64_t bytes);

int __wrap_region_reserve(struct region *r, uint64_t offset, uint64_t bytes)
{
	return fault_refuses(FAULT_SPACE) ? -ENOSPC : __real_region_reserve(r, offset, bytes);
}

int __wrap_region_reserve_blocks(struct region *r, uint64_t offset, uint64_t bytes)
{
	return fault_refuses(FAULT_SPACE) ? -ENOSPC
					  : __real_region_reserve_blocks(r, offset, bytes);
}
