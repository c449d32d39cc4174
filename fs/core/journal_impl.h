// SPDX-License-Identifier: BSD-2-Clause
/*
 * journal_impl.h - struct journal, for the files journal*.c alone.
 */
#ifndef CORE_JOURNAL_IMPL_H
#define CORE_JOURNAL_IMPL_H

#include <pthread.h>
#include <stdatomic.h>

#include "journal.h"

#define RECORD_ALIGN 64u
/* media_journal.synced outside relaxed page cache: every commit is durable by itself. */
#define SYNCED_ALWAYS UINT64_MAX

/* A commit that waits for its group; on its committer's stack. See journal_group.c. */
struct queued {
	struct queued *next;
	const struct journal_write *writes;
	uint32_t count;
	uint64_t end; /* of its record */
	void (*applied)(void *context, uint64_t position);
	void *context;
	int error;
	bool ended;
};

struct journal {
	struct journal_config config;
	uint64_t heap_start; /* homes stand in [heap_start, heap_end) of the metadata region */
	uint64_t heap_end;
	bool private_view; /* the working view is apart from the durable one */

	/* Innermost but for the locks that completions take. Guards what follows, the log's end,
	 * and the working view of every home. */
	pthread_mutex_t lock;
	uint64_t commit;
	uint64_t stored; /* end of what stands in the log; beyond commit only while a group waits */
	uint64_t tail;
	uint64_t synced;        /* relaxed page cache; else it follows commit */
	bool failed;            /* the media failed, or read_only: nothing more is committed */
	uint8_t *staging;       /* JOURNAL_RECORD_MAX bytes: the record that is being committed */
	uint64_t applied_bytes; /* into private copies, since they were dropped last */

	struct queued *queue; /* in the order of positions */
	struct queued **queue_tail;

	/* What one thread does for all, with the lock dropped; `changed` tells that it is done.
	 * journal_sync(): each call waits for a sync that began after it. */
	pthread_cond_t changed;
	bool leading; /* a group of commits is on its way to the media */
	bool retiring;
	bool syncing;
	uint64_t syncs_begun;
	uint64_t syncs_ended;

	_Atomic uint64_t durable; /* what journal_durable_position() says */
};

/* journal.c: a record is committed: applies it, and tells. The caller holds the lock. */
void journal_committed_locked(struct journal *j, const struct journal_write *writes, uint32_t count,
	uint64_t end, void (*applied)(void *context, uint64_t position), void *context);

/* journal_group.c: are commits of this media gathered? */
bool journal_groups(const struct journal *j);
/* `q` describes a record that stands behind all others in the log. May drop the lock meanwhile. */
int journal_commit_grouped_locked(struct journal *j, struct queued *q);

/* journal_sync.c: makes [from, to) of the log durable. No lock. */
int journal_sync_area(struct journal *j, uint64_t from, uint64_t to);

/* journal_sync.c; the caller holds the lock. */

/* One 8-byte store into the header, durable when it returns. `at` is an offset in media_journal. */
int journal_set_position(struct journal *j, size_t at, uint64_t value);
/* Sees that `need` more bytes fit. May drop the lock and take it again: look at everything anew. */
int journal_make_room_locked(struct journal *j, uint64_t need);
/*
 * Makes the homes of the records in [tail, end) durable, and moves tail to `end`. Nobody else may
 * be `retiring`. May drop the lock and take it again. On an error the journal has failed.
 */
int journal_retire_locked(struct journal *j, uint64_t end);
/* How far the homes may be made durable now. */
uint64_t journal_retirable_locked(const struct journal *j);

/* journal_replay.c */

typedef void (*journal_visit)(
	struct journal *j, const struct media_operation *operation, const void *payload);
/*
 * Calls `visit` (may be NULL) for each operation of the records in [from, to). -EUCLEAN with the
 * position of the first record that is not what its checksum says, or that names a place which no
 * home can have; operations before it have been visited. *records counts them, pads apart.
 */
int journal_walk(struct journal *j, uint64_t from, uint64_t to, journal_visit visit,
	uint64_t *records, struct diag *d);
/* Writes an operation to its home. Both do the same where the views are one. */
void journal_apply_working(
	struct journal *j, const struct media_operation *op, const void *payload);
void journal_apply_durable(
	struct journal *j, const struct media_operation *op, const void *payload);
/* Operations on one bitmap, to the working view. */
void journal_apply_bits(struct journal *j, const struct journal_write *writes, uint32_t count);
/* A home that an operation may name. */
bool journal_operation_valid(const struct journal *j, const struct media_operation *operation);
uint64_t journal_record_checksum(const struct media_record *record);
/* Brings a journal that was just opened to the state that it promises. */
int journal_recover(struct journal *j, struct journal_recovery *recovery, struct diag *d);
uint64_t journal_header_checksum(const struct media_journal *header, uint64_t offset);

/* The bytes that one operation takes in a record. */
static inline uint64_t journal_operation_bytes(const struct media_operation *operation)
{
	uint64_t payload = operation->kind == RECORD_WRITE ? operation->bytes : 0;

	return sizeof(*operation) + ((payload + 7) & ~7ull);
}

#endif
