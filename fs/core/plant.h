// SPDX-License-Identifier: BSD-2-Clause
/*
 * plant.h - faults that are planted to prove that tests find them.
 *
 * The product has none of this: planted() is a constant there. The library that is built with
 * LEASEFS_PLANT, for the crash explorer (tests/crash) alone, has one fault at a time, by name.
 * Each is of a class that has been found in other filesystems for persistent memory; where the
 * class has no counterpart in this design, it is the nearest thing to it, and says so.
 */
#ifndef CORE_PLANT_H
#define CORE_PLANT_H

#include <stdbool.h>

enum plant {
	PLANT_NONE,
	/* The old name is removed in a transaction of its own, before the one with the new name. */
	PLANT_OLD_NAME_FIRST,
	/* The size of an inode goes home without having been in the record. */
	PLANT_FIELD_NOT_LOGGED,
	/* link(2) counts in the home, and only then begins its transaction. */
	PLANT_LINK_IN_PLACE,
	/* The last partial cache line of a write is not flushed. */
	PLANT_TAIL_NOT_FLUSHED,
	/* Data are flushed, and not fenced, before the size that shows them is committed. */
	PLANT_DATA_NOT_FENCED,
	/* "Checksums off": ours cannot be turned off. What has none here is data: not flushed. */
	PLANT_UNCHECKED_NOT_FLUSHED,
	/* The commit store goes before the record that it commits. */
	PLANT_COMMIT_FIRST,
	/* There is no log a processor here. The attention bits are dealt out to processors, and
	 * recovery looks at those of the processors that it has. */
	PLANT_RECOVERY_BY_PROCESSOR,
	/* Orphans are looked for before the tables that say where inodes are have been loaded. */
	PLANT_ORPHANS_FIRST,
	/* Recovery frees the blocks of an orphan, and leaves them in its map. */
	PLANT_FREED_TWICE,
	/* An exchange is two transactions. */
	PLANT_EXCHANGE_IN_TWO,
	/* Homes are flushed to the end of their first cache line: a long name has more of them. */
	PLANT_NAME_ACROSS_LINES,
	/* Setting an xattr that is there removes it in a transaction of its own. */
	PLANT_XATTR_APART,
	/* A write commits its times after its size. */
	PLANT_TIMES_APART,
	PLANTS
};
#define PLANT_PROCESSORS 4u

#ifdef LEASEFS_PLANT
extern enum plant plant_now;

static inline bool planted(enum plant plant)
{
	return plant_now == plant;
}
#else
static inline bool planted(enum plant plant)
{
	return false;
}
#endif

#endif
