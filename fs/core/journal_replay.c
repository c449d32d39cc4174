// SPDX-License-Identifier: BSD-2-Clause
/*
 * journal_replay.c - the record's decoder, the way from a record to its home, and recovery.
 *
 * Recovery
 *   1. The header's checksum is verified, and the end chosen: commit; or synced, when a relaxed
 *      page cache lost power.
 *   2. The positions are looked at: tail <= synced <= end, all multiples of RECORD_ALIGN, and no
 *      more than the area between tail and the end.
 *   3. Every record of [tail, end) is verified. Until here nothing was written: a damaged log is
 *      refused as it was found.
 *   4. commit is set back to the end, where that is earlier.
 *   5. Relaxed page cache: the records are applied to the working view, and the log goes on as it
 *      was found: a daemon that died may have left data that only the next sync makes durable.
 *      Else they are applied to the durable view, which is the same, their homes made durable, and
 *      tail moved to the end. (A pool that was relaxed when its daemon died, and is not now, has
 *      everything synced first; its data regions are not open yet, so by sync(2).)
 *   6. synced, boot_id and clean are set for this opening.
 * A crash in 4 to 6 leaves a log from which the same steps lead to the same state.
 *
 * Applying a bit operation makes the bitmap's checksum anew without looking at the old one: after
 * a power loss the block may be half of one state and half of another, which the operations that
 * follow, all of them in the log, put right.
 */
#include "journal_impl.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "tx.h"

/* ---- decoding -------------------------------------------------------------------------------- */

uint64_t journal_record_checksum(const struct media_record *record)
{
	/* A pad has no content: what stands behind its header is of no account. */
	size_t bytes = record->operations ? record->bytes : sizeof(*record);

	return object_checksum(record, bytes, record->position);
}

uint64_t journal_header_checksum(const struct media_journal *header, uint64_t offset)
{
	/* The positions change by single stores; only what mkfs wrote before them is covered. */
	return object_checksum(header, offsetof(struct media_journal, commit), offset);
}

bool journal_operation_valid(const struct journal *j, const struct media_operation *op)
{
	uint64_t bytes;

	switch (op->kind) {
	case RECORD_WRITE:
		if (op->first || op->bytes == 0 || op->offset % 8)
			return false;
		bytes = op->bytes;
		break;
	case RECORD_SET:
	case RECORD_CLEAR:
		if (op->offset % BLOCK_SIZE || op->bytes == 0 || op->bytes > GROUP_BITS ||
			op->first > GROUP_BITS - op->bytes)
			return false;
		bytes = BLOCK_SIZE;
		break;
	default:
		return false;
	}
	return op->offset >= j->heap_start && op->offset <= j->heap_end &&
	       bytes <= j->heap_end - op->offset;
}

static bool header_plausible(
	const struct media_record *record, uint64_t position, uint64_t to_end, uint64_t left)
{
	if (record->head.magic != MAGIC_RECORD || record->head.reserved ||
		record->position != position || record->bytes % RECORD_ALIGN)
		return false;
	if (record->bytes < RECORD_ALIGN || record->bytes > to_end || record->bytes > left)
		return false;
	return record->operations || record->bytes == to_end;
}

static int walk_record(struct journal *j, const struct media_record *record, journal_visit visit)
{
	const uint8_t *at = (const uint8_t *)record;
	uint64_t offset = sizeof(*record);

	for (uint32_t i = 0; i < record->operations; i++) {
		const struct media_operation *op = (const void *)(at + offset);

		if (record->bytes - offset < sizeof(*op) || !journal_operation_valid(j, op) ||
			record->bytes - offset < journal_operation_bytes(op))
			return -EUCLEAN;
		if (visit)
			visit(j, op, op + 1);
		offset += journal_operation_bytes(op);
	}
	return 0;
}

int journal_walk(struct journal *j, uint64_t from, uint64_t to, journal_visit visit,
	uint64_t *records, struct diag *d)
{
	uint64_t area = j->config.area_bytes, n = 0;

	for (uint64_t position = from; position < to;) {
		uint64_t to_end = area - position % area;
		const struct media_record *record =
			region_at(j->config.meta, j->config.area_offset + position % area,
				to_end < to - position ? to_end : to - position);

		if (!header_plausible(record, position, to_end, to - position) ||
			record->head.checksum != journal_record_checksum(record) ||
			walk_record(j, record, visit))
			return diag_set(d, -EUCLEAN,
				"the journal is damaged: no valid record at position %" PRIu64
				" (committed up to %" PRIu64 "); run fsck.leasefs",
				position, to);
		if (record->operations)
			n++;
		position += record->bytes;
	}
	if (records)
		*records = n;
	return 0;
}

/* ---- applying -------------------------------------------------------------------------------- */

typedef void (*store_fn)(struct region *r, uint64_t offset, const void *bytes, size_t count);

static void change_bits(uint64_t *bits, uint32_t first, uint32_t count, bool set)
{
	uint32_t end = first + count;

	for (uint32_t at = first; at < end;) {
		uint32_t word = at / 64, n = 64 - at % 64;

		if (n > end - at)
			n = end - at;
		uint64_t mask = (n == 64 ? ~0ull : (1ull << n) - 1) << (at % 64);
		bits[word] = set ? bits[word] | mask : bits[word] & ~mask;
		at += n;
	}
}

/* Operations on one bitmap, in order: its checksum is made once. */
static void apply_bits(struct journal *j, const struct journal_write *writes, uint32_t count,
	const void *old, store_fn store)
{
	struct media_bitmap bitmap __attribute__((aligned(64)));
	uint32_t from = UINT32_MAX, to = 0;
	uint64_t at = writes[0].operation.offset;

	memcpy(&bitmap, old, sizeof(bitmap));
	for (uint32_t i = 0; i < count; i++) {
		const struct media_operation *op = &writes[i].operation;
		uint32_t first = op->first / 64, last = (op->first + op->bytes - 1) / 64;

		change_bits(bitmap.bits, op->first, op->bytes, op->kind == RECORD_SET);
		from = first < from ? first : from;
		to = last > to ? last : to;
	}
	bitmap.head.checksum = 0;
	bitmap.head.checksum = object_checksum_unset(&bitmap, sizeof(bitmap), at);
	store(j->config.meta, at + offsetof(struct media_bitmap, bits) + 8ull * from,
		&bitmap.bits[from], 8ull * (to - from + 1));
	store(j->config.meta, at + offsetof(struct media_head, checksum), &bitmap.head.checksum,
		sizeof(bitmap.head.checksum));
}

void journal_apply_bits(struct journal *j, const struct journal_write *writes, uint32_t count)
{
	uint64_t at = writes[0].operation.offset;

	apply_bits(j, writes, count, region_at(j->config.meta, at, BLOCK_SIZE), region_apply);
}

void journal_apply_working(struct journal *j, const struct media_operation *op, const void *payload)
{
	const struct journal_write one = {.operation = *op};

	if (op->kind == RECORD_WRITE)
		region_apply(j->config.meta, op->offset, payload, op->bytes);
	else
		journal_apply_bits(j, &one, 1);
}

void journal_apply_durable(struct journal *j, const struct media_operation *op, const void *payload)
{
	const struct journal_write one = {.operation = *op};

	if (op->kind == RECORD_WRITE)
		region_store(j->config.meta, op->offset, payload, op->bytes);
	else
		apply_bits(j, &one, 1, region_durable_at(j->config.meta, op->offset, BLOCK_SIZE),
			region_store);
}

/* ---- recovery -------------------------------------------------------------------------------- */

static int check_positions(const struct journal *j, const struct media_journal *header,
	uint64_t synced, bool power_lost, struct diag *d)
{
	const char *what = NULL;
	/* What a power loss left of commit is of no account: it may be older than synced, too. */
	uint64_t end = power_lost ? synced : header->commit;

	if ((header->tail | synced | end) % RECORD_ALIGN)
		what = "a position is not a multiple of 64";
	else if (end > UINT64_MAX / 2)
		what = "its end is beyond any bound";
	else if (header->tail > synced || synced > end)
		what = "its positions are out of order";
	else if (end - header->tail > j->config.area_bytes)
		what = "it claims more records than it can hold";
	if (!what)
		return 0;
	return diag_set(d, -EUCLEAN,
		"the journal is damaged: %s (tail %" PRIu64 ", synced %" PRIu64 ", commit %" PRIu64
		"); run fsck.leasefs",
		what, header->tail, synced, header->commit);
}

/* Steps 4 to 6. `synced` is SYNCED_ALWAYS where no data can be waiting. */
static int settle(struct journal *j, uint64_t end, uint64_t commit, uint64_t synced, struct diag *d)
{
	struct region *meta = j->config.meta;
	uint64_t at = j->config.header_offset;
	const uint32_t clean = 0;
	int error = 0;

	if (end != commit)
		error = journal_set_position(j, offsetof(struct media_journal, commit), end);
	if (error)
		return error;
	if (j->private_view) {
		error = journal_walk(j, j->tail, end, journal_apply_working, NULL, d);
	} else {
		if (synced < end)
			sync();
		error = journal_walk(j, j->tail, end, journal_apply_durable, NULL, d);
		pthread_mutex_lock(&j->lock);
		if (!error)
			error = journal_retire_locked(j, end);
		pthread_mutex_unlock(&j->lock);
	}
	if (!error && !j->config.defer_durable)
		error = journal_set_position(
			j, offsetof(struct media_journal, synced), SYNCED_ALWAYS);
	else if (!error && (!j->private_view || synced == SYNCED_ALWAYS))
		error = journal_set_position(j, offsetof(struct media_journal, synced), end);
	else if (!error)
		j->synced = synced;
	if (error)
		return error;
	atomic_store(&j->durable, j->synced);
	region_store(meta, at + offsetof(struct media_journal, boot_id), j->config.boot_id,
		sizeof(j->config.boot_id));
	region_store(meta, at + offsetof(struct media_journal, clean), &clean, sizeof(clean));
	return region_sync(meta, at, sizeof(struct media_journal));
}

int journal_recover(struct journal *j, struct journal_recovery *recovery, struct diag *d)
{
	const struct journal_config *c = &j->config;
	struct media_journal header;
	uint64_t synced, end;
	int error;

	memcpy(&header, region_at(c->meta, c->header_offset, sizeof(header)), sizeof(header));
	if (header.head.magic != MAGIC_JOURNAL ||
		header.head.checksum != journal_header_checksum(&header, c->header_offset))
		return diag_set(d, -EUCLEAN, "the journal's header is damaged; run fsck.leasefs");
	synced = header.synced == SYNCED_ALWAYS ? header.commit : header.synced;
	bool same_boot = memcmp(header.boot_id, c->boot_id, sizeof(c->boot_id)) == 0;
	recovery->was_clean = header.clean == 1;
	recovery->power_lost = header.synced != SYNCED_ALWAYS && !same_boot && !recovery->was_clean;
	error = check_positions(j, &header, synced, recovery->power_lost, d);
	if (error)
		return error;

	end = recovery->power_lost ? synced : header.commit;
	recovery->bytes_undone = header.commit > end ? header.commit - end : 0;
	recovery->bytes = end - header.tail;
	error = journal_walk(j, header.tail, end, NULL, &recovery->records, d);
	if (error)
		return error;

	j->tail = header.tail;
	j->commit = j->stored = end;
	j->synced = end;
	atomic_store_explicit(&j->durable, end, memory_order_relaxed);
	if (!c->read_only)
		return settle(j, end, header.commit, header.synced, d);
	if (end != header.tail && !region_has_private_view(c->meta))
		return diag_set(d, -EROFS,
			"the journal holds %" PRIu64
			" records to replay, and the region was opened "
			"without a private view",
			recovery->records);
	return journal_walk(j, header.tail, end, journal_apply_working, NULL, d);
}
