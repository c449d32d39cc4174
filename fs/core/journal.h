// SPDX-License-Identifier: BSD-2-Clause
/*
 * journal.h - the redo log of the metadata region.
 *
 * A record holds what one transaction writes. Commit:
 *   1. the record is stored at the log's end, flushed, fenced;
 *   2. media_journal.commit is stored (8 bytes), flushed, fenced: this instant is the commit;
 *   3. the record is applied to its home (working view), unflushed;
 *   4. a checkpoint later makes the homes of all records from tail on durable, and advances tail
 *      (journal_sync.c).
 * Recovery (journal_replay.c) applies [tail, commit) in order. A record is physical (bytes to an
 * offset, bits to a bitmap), so that applying it twice, or half and again, changes nothing.
 *
 * Page cache, strict: the records of several threads are made durable and committed together
 * (journal_group.c); they are applied one after the other all the same.
 *
 * Page cache, relaxed: `synced` follows `commit` only in journal_sync(), after all data regions
 * were synced, and a checkpoint never passes it. After a daemon's death (same boot id) recovery
 * goes to `commit`, and leaves `synced` where it was, because data may still be dirty; after a
 * power loss it goes to `synced`: the state at the last sync, whole. Space
 * freed by a transaction is not reused before the transaction is synced, or going back would show
 * other files' bytes.
 *
 * Invariants
 *  1. tail <= synced <= commit (synced == commit outside relaxed page cache);
 *     commit - tail <= journal_bytes.
 *  2. A home changes only in step 3, and in the order of positions.
 *  3. An error before step 2 leaves the log as it was. An error of the media in step 1 or 2 makes
 *     the journal read-only for good: -EROFS from then on, and nothing is acknowledged.
 *
 * Lock: journal.lock guards the log's end, apply and checkpoint. Innermost of all locks but
 * space.c's group locks, which the completion callbacks of tx.h may take under it.
 */
#ifndef CORE_JOURNAL_H
#define CORE_JOURNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "diag.h"
#include "format.h"
#include "region.h"

struct journal;

struct journal_config {
	struct region *meta;
	uint64_t header_offset; /* of the media_journal block */
	uint64_t area_offset;
	uint64_t area_bytes; /* a multiple of 4096, at least JOURNAL_BYTES_MIN */
	bool defer_durable;  /* page cache, relaxed */
	bool read_only;      /* `meta` was opened so, with a private view: nothing is written */
	uint8_t boot_id[16];
	/*
	 * journal_sync() calls it first, no lock of its own held: make all data regions durable.
	 * 0 or -EIO. Any commit may call it to make room, so the caller of tx_commit() may hold any
	 * lock: it takes none. Never called unless defer_durable.
	 */
	int (*sync_data)(void *context);
	void *context;
};
#define JOURNAL_BYTES_MIN (1u << 20)
/* The largest record; tx_commit() refuses a larger one with -E2BIG. Always fits four times. */
#define JOURNAL_RECORD_MAX(area_bytes) ((area_bytes) / 4)

struct journal_recovery { /* what opening found, for the log and for status */
	uint64_t records;
	uint64_t bytes;
	bool was_clean;
	bool power_lost;       /* relaxed page cache: went back to the last sync */
	uint64_t bytes_undone; /* of log, after `synced`, that the power loss took back */
};

/* mkfs: writes an empty journal. */
int journal_format(const struct journal_config *config);
/*
 * Opens and recovers. -EUCLEAN with a sentence if the log is damaged: a position out of bounds, or
 * a record before `commit` that fails its checksum. Read-only: replays into the private view.
 */
int journal_open(const struct journal_config *config, struct journal **out,
	struct journal_recovery *recovery, struct diag *d);
/* Checkpoints and marks clean. 0 or -EIO. */
int journal_close(struct journal *j);
/* For tests: forgets everything without writing, as a crash does. */
void journal_abandon(struct journal *j);

struct journal_write { /* one operation; bytes for RECORD_WRITE */
	struct media_operation operation;
	const void *bytes;
};
/*
 * Commits and applies. `applied` (may be NULL) is called under the lock, after the apply, with the
 * record's end position. -EROFS, -EIO, -E2BIG.
 */
int journal_commit(struct journal *j, const struct journal_write *writes, uint32_t count,
	void (*applied)(void *context, uint64_t position), void *context);

uint64_t journal_sequence(struct journal *j); /* of the next record: unique for ever in a pool */
/*
 * Everything committed so far is durable when it returns. Calls are merged: each waits for a sync
 * that began after it. Unless defer_durable there is nothing to do. 0 or -EIO, -EROFS.
 */
int journal_sync(struct journal *j);
int journal_checkpoint(struct journal *j);
/* Position up to which commits are durable: space freed at or before it may be reused. */
uint64_t journal_durable_position(struct journal *j);
bool journal_defers(const struct journal *j); /* durable only after journal_sync() */
/* Where homes may stand: [*start, *end) of the metadata region. */
void journal_heap(const struct journal *j, uint64_t *start, uint64_t *end);
/* Calls `look` while no record is applied, and returns what it returned. For bitmaps, which have
 * no lock of their own. */
int journal_quiesced(struct journal *j, int (*look)(void *context), void *context);

#endif
