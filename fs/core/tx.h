// SPDX-License-Identifier: BSD-2-Clause
/*
 * tx.h - transactions over metadata objects: the only way to change one, and the one decoder.
 *
 * An operation begins a transaction, takes *shadows* of the objects that it changes, and commits.
 * Until then nobody sees the changes but itself (tx_view() finds its shadows first); if anything
 * fails it aborts, and nothing has happened: an operation that returned an error changed nothing.
 * At commit each shadow's checksum is made, shadow and home are compared, and what differs goes
 * into one journal record.
 *
 * Objects are blocks (BLOCK_SIZE), or inodes (INODE_SIZE), by their magic. Bitmaps are never
 * shadowed: tx_bits() records what to set or clear, so that transactions of different files that
 * touch the same bitmap need no common lock.
 *
 * Isolation is the caller's: it holds the locks of everything that it views and edits, from before
 * the first look until after tx_commit() or tx_abort().
 *
 * Invariants
 *  1. A home is read only after its checksum was verified once since the pool was opened
 *     (inodes: each time they enter the inode cache); a bad one is -EUCLEAN, for its readers only.
 *  2. Everything that can fail is done before the journal's commit store.
 *  3. A completion runs exactly once, after commit (under journal.lock) or at abort.
 *
 * A transaction belongs to one thread. Limits: TX_OBJECTS_MAX shadows, TX_BITS_MAX bit ranges;
 * beyond them -E2BIG: operations without a bound (truncate, punch) split their work by trim ranges.
 */
#ifndef CORE_TX_H
#define CORE_TX_H

#include <stdbool.h>
#include <stdint.h>

#include "format.h"
#include "journal.h"

#define TX_OBJECTS_MAX 192u
#define TX_BITS_MAX 1024u

struct meta; /* the metadata region with its journal; one per pool */
struct tx;

int meta_open(struct region *region, struct journal *journal, struct meta **out);
void meta_close(struct meta *m);
struct journal *meta_journal(struct meta *m);
struct region *meta_region(struct meta *m);

/* -ENOMEM. Reuses the thread's arena: cheap. A thread has one transaction at a time (asserted). */
int tx_begin(struct meta *m, struct tx **out);

/*
 * The object as this transaction sees it; tx may be NULL for the committed state. Valid until the
 * transaction ends (tx NULL: while the caller's lock on the object lasts). -EUCLEAN, and -ENXIO for
 * an offset that no object of that kind can have.
 */
int tx_view(struct meta *m, struct tx *tx, uint64_t offset, uint32_t magic, const void **out);
/*
 * Verifies the checksum of the committed object, every time; -EUCLEAN, -ENXIO. tx_view() and
 * tx_edit() do so for blocks, once; of an inode they look at the magic alone, so the inode cache
 * calls this with MAGIC_INODE when an inode enters it.
 */
int meta_verify(struct meta *m, uint64_t offset, uint32_t magic);
/* Its shadow, a copy of what tx_view() shows. The same pointer each time. -EUCLEAN, -E2BIG. */
int tx_edit(struct tx *tx, uint64_t offset, uint32_t magic, void **out);
/* A shadow of a new object: zero but for its head. The home's bytes are not looked at. -E2BIG. */
int tx_create(struct tx *tx, uint64_t offset, uint32_t magic, void **out);

/*
 * Sets or clears `count` bits from `first` in the bitmap block at `bitmap` when the transaction
 * commits. `done` (may be NULL) is told how it ended: committed, with the record's end position
 * (see journal_durable_position), or not. -E2BIG (done is not called then).
 */
struct tx_bits {
	uint64_t bitmap;
	uint32_t first;
	uint32_t count;
	bool set;
	void (*done)(void *context, const struct tx_bits *bits, bool committed, uint64_t position);
	void *context;
};
int tx_bits(struct tx *tx, const struct tx_bits *bits);

/* How full it is, for loops that split their work: true while at least half the limits are free. */
bool tx_has_room(const struct tx *tx);

/* Ends it in any case. On an error nothing happened: -EIO, -EROFS, -E2BIG. */
int tx_commit(struct tx *tx);
void tx_abort(struct tx *tx);

/* For fsck and mkfs: the checksum an object with this content should carry. */
uint64_t object_checksum(const void *object, size_t bytes, uint64_t seed);
/* The same of an object whose checksum field is zero as it is: no copy is made. */
uint64_t object_checksum_unset(const void *object, size_t bytes, uint64_t seed);
size_t object_bytes(uint32_t magic);

#endif
