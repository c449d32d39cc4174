// SPDX-License-Identifier: BSD-2-Clause
/*
 * space.h - what is free: heap blocks, inode numbers, the blocks of each data region.
 *
 * On media a space is groups of bitmaps (format.h). In memory each group has a bitmap of its own,
 * copied from the media when the group is first used, in which a bit is also set while
 *   - a transaction that takes the unit has not committed,
 *   - a transaction that freed it is not durable yet,
 *   - the quarantine holds it (space_hold): freed, but somebody may still write there.
 * So "free in memory" means: may be handed out now. The media bitmap changes only by tx_bits().
 *
 * Allocation: a caller gives a goal. Runs of at least HUGE_BLOCKS, and those asked for with
 * SPACE_HUGE (files that have grown large), are placed so that (unit % HUGE_BLOCKS) == `phase`, in
 * whole free 2 MiB units where there are any, so that a mapping can use huge pages. Small
 * requests fill units that are broken already. Each thread starts in a group of its own, so that
 * writers do not queue on a lock. A group whose lock is taken is passed over at first.
 *
 * Before a unit is handed out its backing is reserved (region_reserve); if that fails with ENOSPC
 * the allocator looks in units reserved already before it gives up.
 *
 * Lock order: one group lock at a time, innermost. Never held over region_reserve(). No function
 * here may be called from a completion or an arbiter but space_hold(), space_release().
 */
#ifndef CORE_SPACE_H
#define CORE_SPACE_H

#include <stdbool.h>
#include <stdint.h>

#include "diag.h"
#include "format.h"
#include "region.h"
#include "tx.h"

struct space;

struct space_config {
	struct meta *meta;
	uint32_t id;             /* SPACE_* */
	struct region *backing;  /* reserved before use; NULL: inodes */
	uint64_t backing_offset; /* of unit 0, in backing */
	uint64_t unit_bytes;     /* BLOCK_SIZE, or INODE_SIZE for inodes */
	uint32_t align_units;    /* every run starts and ends at a multiple: 1, or HUGE_BLOCKS */
};
int space_open(const struct space_config *config, struct space **out);
void space_close(struct space *s);

/* Adds the next group: known from the media (mount), or just made in a transaction that has
 * committed. Units [group * per_group, + g->units); per_group is GROUP_BITS or INODES_PER_GROUP.
 * -ENOMEM, -EUCLEAN (no bitmap can stand there). */
int space_add_group(struct space *s, uint32_t group, const struct media_group *g);
uint32_t space_groups(const struct space *s);
int space_group(const struct space *s, uint32_t group, struct media_group *out); /* -ENOENT */

/* Where a unit stands in the backing region, and the unit that stands there. */
uint64_t space_unit_offset(const struct space *s, uint64_t unit);
uint64_t space_offset_unit(const struct space *s, uint64_t offset);

#define SPACE_WHOLE 1u /* all of `want` in one run, or -ENOSPC */
#define SPACE_HUGE 2u  /* prefer aligned 2 MiB units */
struct space_request {
	uint64_t want;  /* units, at least 1 */
	uint64_t goal;  /* first unit that would be best; SPACE_ANYWHERE */
	uint64_t phase; /* SPACE_HUGE: wanted remainder of the first unit modulo HUGE_BLOCKS */
	unsigned flags;
};
#define SPACE_ANYWHERE UINT64_MAX
struct space_run {
	uint64_t first;
	uint64_t count;
};
/*
 * Takes one run of at most `want` units within one group; set on media when tx commits, given back
 * if it aborts. -ENOSPC: nothing free that may be used now. -EUCLEAN: only damaged groups are left.
 */
int space_alloc(
	struct space *s, struct tx *tx, const struct space_request *request, struct space_run *out);
/* Frees a run (it may span groups) when tx commits. -EUCLEAN, -E2BIG. */
int space_free(struct space *s, struct tx *tx, const struct space_run *run);

/*
 * The quarantine's hold, counted per call: a held unit is not handed out although it is free on
 * media. Hold before the commit that frees. Survives nothing: its owner repeats it after a restart.
 */
int space_hold(struct space *s, const struct space_run *run);
void space_release(struct space *s, const struct space_run *run);

/* Are units waiting for durability? Then journal_sync() and space_reap() make some free. */
bool space_has_pending(struct space *s);
/* After journal_sync(): what was freed at or before the durable position becomes free. */
void space_reap(struct space *s, uint64_t durable_position);

/* free: may be handed out now. pending: freed, but waiting for durability or held. */
struct space_usage {
	uint64_t total;
	uint64_t free;
	uint64_t pending;
};
void space_get_usage(struct space *s, struct space_usage *out);
/*
 * The free units of a group in runs, added to `sum`: as an allocation would find them, so runs do
 * not cross groups. A damaged group has none. -ENOENT: there is no such group; -ENOMEM.
 */
struct space_free_runs {
	uint64_t units;
	uint64_t runs;
	uint64_t largest;
};
int space_add_free_runs(struct space *s, uint32_t group, struct space_free_runs *sum);
/* Is it set on media? For attention bits and checks. -EUCLEAN, -ENOENT. */
int space_test(struct space *s, uint64_t unit, bool *out);

#endif
