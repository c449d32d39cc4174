// SPDX-License-Identifier: BSD-2-Clause
/*
 * region_impl.h - struct region, for region.c, region_detect.c and region_reserve.c alone.
 */
#ifndef CORE_REGION_IMPL_H
#define CORE_REGION_IMPL_H

#include <sys/stat.h>

#include "format.h"
#include "region.h"

struct region {
	int fd;
	uint64_t bytes;
	uint8_t *durable;
	uint8_t *working;      /* == durable where the views are one */
	size_t durable_mapped; /* as libpmem said; may be more than bytes on hugetlbfs */
	enum region_media media;
	enum region_backend backend;
	enum durability durability;
	uint64_t alignment;
	bool read_only;
	_Atomic bool lost;   /* region_fault.c */
	_Atomic bool failed; /* a sync of it was refused; see region_flush() */
	/* One bit a 2 MiB unit: it was reserved since the region was opened. Only ever a cache: a
	 * clear bit costs one fallocate(2) too many. NULL where the whole region is reserved. */
	_Atomic uint64_t *reserved;
};

/* What the descriptor is: backend, media (pmem is corrected after mapping), alignment, bytes. */
int region_detect(struct region *r, const char *name, const struct stat *st, struct diag *d);

int region_reserve_open(struct region *r);
void region_reserve_close(struct region *r);
/* Sizes a file that was just made, and sees that its filesystem can reserve space. */
int region_reserve_new(struct region *r, const char *name, uint64_t bytes, struct diag *d);

/* From mapping to unmapping: SIGBUS inside its views makes the region lost, and no more. */
int region_fault_watch(struct region *r);
void region_fault_forget(struct region *r);

#endif
