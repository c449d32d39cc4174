// SPDX-License-Identifier: BSD-2-Clause
/*
 * inheritance.h - the blocks that clients of an earlier daemon may still touch.
 *
 * A client's mapping outlives the daemon. So before a grant is answered, the daemon writes down in
 * run/mapped.* which bytes of which regions the lease's holder may map from now on; the record goes
 * when the lease does (a ghost keeps it). The next daemon of the same boot reads these files before
 * it serves anything, and holds all of those blocks back from reuse until the process is gone and
 * its DMA has had time to end; whatever the files have become meanwhile, through recovery or new
 * operations. Leases themselves end with the daemon: their ids are refused, and clients ask again.
 *
 * A record has room for MAPPED_EXTENTS extents; of more, those with the smallest gaps between them
 * are taken as one. That holds too much back, never too little.
 *
 *   file   header (256 bytes), then a record (256 bytes) for each slot of the session
 *   void   another boot's, or of a process that is gone (or its number another's): removed at start
 *
 * The files are the daemon's alone (0600), unlike the pin lines beside them.
 *
 * Threads: mapped_*() for one session are called under arbiter.lock, or by the one call that makes
 * the lease in that slot. The heirs are guarded by arbiter.lock.
 */
#ifndef FUSE_INHERITANCE_H
#define FUSE_INHERITANCE_H

#include <stdint.h>

#include "arbiter.h"
#include "leasefs/control.h"

#define MAPPED_EXTENTS 10u

struct mapped_extent {
	uint64_t offset; /* in the region */
	uint64_t length;
	uint32_t region;
	uint32_t pad;
};

struct mapped_record {
	uint32_t count; /* 0: no lease in this slot */
	uint32_t pad;
	struct mapped_extent extents[MAPPED_EXTENTS];
	uint64_t pad2;
};
_Static_assert(sizeof(struct mapped_record) == 256, "of a slot");

/* Of that process; -errno: the session cannot be. The name of the file comes out too. */
int mapped_create(struct arbiter *a, uint64_t session, uint32_t pid, char name[64], int *fd);
/* Adds the extents that are no holes. -ENOLCK: too many regions at once. */
int mapped_add(struct mapped_record *r, const struct leasefs_extent *extents, uint32_t count);
int mapped_write(int fd, uint32_t slot, const struct mapped_record *r);
int mapped_copy(int fd, uint32_t from, uint32_t to);
void mapped_clear(int fd, uint32_t slot);

/* Before the first request. */
int inheritance_start(struct arbiter *a, struct diag *diag);
void inheritance_stop(struct arbiter *a);
/* Under arbiter.lock: when the next heir's time is over (UINT64_MAX: none), and what is due. */
uint64_t inheritance_deadline(const struct arbiter *a);
void inheritance_tick(struct arbiter *a, uint64_t now_ns);
uint64_t inheritance_bytes(const struct arbiter *a);

#endif
