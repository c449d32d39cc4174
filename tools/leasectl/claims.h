// SPDX-License-Identifier: BSD-2-Clause
/* claims.h - which process may map which part of which region, as its leases say. */
#ifndef LEASECTL_CLAIMS_H
#define LEASECTL_CLAIMS_H

#include "leasectl.h"

struct claim {
	uint32_t region;
	uint32_t pid;
	uint64_t start, end; /* in the region, rounded outward to its mappings' alignment */
	uint64_t session, lease, inode;
};

struct region_file {
	dev_t device;
	ino_t inode;
	uint64_t alignment;
	char path[3072];
};

struct claims {
	struct claim *list; /* by region, then start */
	size_t count, room;
	struct region_file *regions;
	size_t region_count;
	struct snapshot now; /* the leases that they come from, and the revoked ones */
};

int claims_read(int control, struct claims *out); /* -errno */
void claims_free(struct claims *c);
/* Of [start, end) of a region, the first part that the process has no claim on. */
bool claims_gap(const struct claims *c, uint32_t region, uint32_t pid, uint64_t start, uint64_t end,
	uint64_t *gap_start, uint64_t *gap_end);
/* Somebody's claim there; NULL. */
const struct claim *claims_find(
	const struct claims *c, uint32_t region, uint64_t start, uint64_t end);

#endif
