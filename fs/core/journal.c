// SPDX-License-Identifier: BSD-2-Clause
/*
 * journal.c - opening, committing, closing. The protocol and its invariants stand in journal.h,
 * recovery in journal_replay.c, checkpoints and fsync in journal_sync.c, commits that share a sync
 * in journal_group.c.
 *
 * A record is built in `staging` and stored by one copy. It never wraps: where it does not fit
 * before the area's end, a pad record (no operations) takes the rest, and both are committed by
 * the same store. Records and pads are multiples of RECORD_ALIGN, so a pad's header always fits.
 */
#include "journal_impl.h"
#include "plant.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "tx.h"

static_assert(sizeof(struct media_record) <= RECORD_ALIGN, "a pad's header fits");

int journal_format(const struct journal_config *c)
{
	struct media_journal header;

	memset(&header, 0, sizeof(header));
	header.head.magic = MAGIC_JOURNAL;
	header.head.checksum = journal_header_checksum(&header, c->header_offset);
	header.synced = c->defer_durable ? 0 : SYNCED_ALWAYS;
	header.clean = 1;
	memcpy(header.boot_id, c->boot_id, sizeof(header.boot_id));
	region_store(c->meta, c->header_offset, &header, sizeof(header));
	return region_sync(c->meta, c->header_offset, sizeof(header));
}

static int check_config(const struct journal_config *c, struct diag *d)
{
	uint64_t bytes = region_bytes(c->meta);

	if (c->header_offset % BLOCK_SIZE || c->area_offset % BLOCK_SIZE ||
		c->area_bytes % BLOCK_SIZE || c->area_bytes < JOURNAL_BYTES_MIN ||
		c->area_offset < c->header_offset + BLOCK_SIZE || c->area_offset > bytes ||
		c->area_bytes > bytes - c->area_offset ||
		bytes - c->area_offset - c->area_bytes < BLOCK_SIZE)
		return diag_set(d, -EUCLEAN,
			"the journal does not fit its region: %" PRIu64 " bytes at %" PRIu64
			" of %" PRIu64,
			c->area_bytes, c->area_offset, bytes);
	return 0;
}

int journal_open(const struct journal_config *config, struct journal **out,
	struct journal_recovery *recovery, struct diag *d)
{
	struct journal_recovery found = {0};
	struct journal *j;
	int error;

	error = check_config(config, d);
	if (error)
		return error;
	j = calloc(1, sizeof(*j));
	if (!j)
		return diag_set(d, -ENOMEM, "out of memory");
	j->config = *config;
	j->heap_start = config->area_offset + config->area_bytes;
	j->heap_end = region_bytes(config->meta) - BLOCK_SIZE; /* the superblock's copy */
	j->private_view = region_has_private_view(config->meta);
	j->failed = config->read_only;
	j->queue_tail = &j->queue;
	/* Kept apart from its homes, a relaxed log needs a view that the kernel does not write. */
	assert(config->read_only ||
		j->private_view ==
			(config->defer_durable && region_media(config->meta) == REGION_PAGE_CACHE));
	error = -pthread_mutex_init(&j->lock, NULL);
	if (error)
		goto free_journal;
	error = -pthread_cond_init(&j->changed, NULL);
	if (error)
		goto destroy_lock;
	j->staging = malloc(JOURNAL_RECORD_MAX(config->area_bytes));
	if (!j->staging) {
		error = diag_set(d, -ENOMEM, "out of memory");
		goto destroy_cond;
	}
	error = journal_recover(j, &found, d);
	if (error)
		goto free_staging;
	*recovery = found;
	*out = j;
	return 0;
free_staging:
	free(j->staging);
destroy_cond:
	pthread_cond_destroy(&j->changed);
destroy_lock:
	pthread_mutex_destroy(&j->lock);
free_journal:
	free(j);
	return error;
}

void journal_abandon(struct journal *j)
{
	if (!j)
		return;
	assert(!j->syncing && !j->retiring && !j->leading && !j->queue);
	pthread_cond_destroy(&j->changed);
	pthread_mutex_destroy(&j->lock);
	free(j->staging);
	free(j);
}

int journal_close(struct journal *j)
{
	const uint32_t clean = 1;
	int error = 0;

	if (!j)
		return 0;
	if (!j->config.read_only) {
		uint64_t at = j->config.header_offset + offsetof(struct media_journal, clean);

		error = journal_checkpoint(j);
		if (!error) {
			assert(j->tail == j->commit);
			region_store(j->config.meta, at, &clean, sizeof(clean));
			error = region_sync(j->config.meta, at, sizeof(clean));
		}
	}
	journal_abandon(j);
	return error ? -EIO : 0;
}

/* ---- committing ------------------------------------------------------------------------------ */

static uint64_t record_bytes(const struct journal_write *writes, uint32_t count)
{
	uint64_t bytes = sizeof(struct media_record);

	for (uint32_t i = 0; i < count; i++)
		bytes += journal_operation_bytes(&writes[i].operation);
	return (bytes + RECORD_ALIGN - 1) & ~(uint64_t)(RECORD_ALIGN - 1);
}

static void build_record(struct journal *j, uint64_t position, const struct journal_write *writes,
	uint32_t count, uint64_t bytes)
{
	struct media_record *record = (void *)j->staging;
	uint8_t *at = j->staging + sizeof(*record);

	*record = (struct media_record){
		.head.magic = MAGIC_RECORD,
		.position = position,
		.sequence = position / RECORD_ALIGN,
		.bytes = (uint32_t)bytes,
		.operations = count,
	};
	for (uint32_t i = 0; i < count; i++) {
		const struct media_operation *op = &writes[i].operation;

		memcpy(at, op, sizeof(*op));
		at += sizeof(*op);
		if (op->kind != RECORD_WRITE)
			continue;
		memcpy(at, writes[i].bytes, op->bytes);
		memset(at + op->bytes, 0, -op->bytes & 7);
		at += (op->bytes + 7) & ~7ull;
	}
	memset(at, 0, bytes - (uint64_t)(at - j->staging));
	record->head.checksum = object_checksum_unset(record, bytes, position);
}

static void store_pad(struct journal *j, uint64_t position, uint64_t bytes)
{
	uint64_t offset = j->config.area_offset + position % j->config.area_bytes;
	struct media_record pad = {
		.head.magic = MAGIC_RECORD,
		.position = position,
		.sequence = position / RECORD_ALIGN,
		.bytes = (uint32_t)bytes,
	};

	pad.head.checksum = journal_record_checksum(&pad);
	region_store(j->config.meta, offset, &pad, sizeof(pad));
}

/* At the log's end, not flushed. */
static void store_record(struct journal *j, uint64_t pad, uint64_t bytes)
{
	struct region *meta = j->config.meta;
	uint64_t position = j->stored + pad, area = j->config.area_bytes;

	assert(position % area + bytes <= area);
	assert(position + bytes - j->tail <= area);
	if (pad)
		store_pad(j, j->stored, pad);
	if (planted(PLANT_COMMIT_FIRST)) {
		uint64_t at = j->config.header_offset + offsetof(struct media_journal, commit);

		region_store64(meta, at, position + bytes);
		(void)region_flush(meta, at, sizeof(uint64_t));
		region_fence(meta);
	}
	region_store(meta, j->config.area_offset + position % area, j->staging, bytes);
	j->stored = position + bytes;
}

/* Steps 1 and 2 of journal.h, but for the store of the one record [commit + pad, stored). */
static int commit_stored(struct journal *j, uint64_t pad)
{
	struct region *meta = j->config.meta;
	uint64_t area = j->config.area_bytes, position = j->commit + pad;
	uint64_t area_at = j->config.area_offset;
	uint64_t commit_at = j->config.header_offset + offsetof(struct media_journal, commit);
	int error = 0;

	if (pad)
		error = region_flush(meta, area_at + j->commit % area, sizeof(struct media_record));
	if (!error)
		error = region_flush(meta, area_at + position % area, j->stored - position);
	if (error)
		return error;
	region_fence(meta);

	region_store64(meta, commit_at, j->stored);
	error = region_flush(meta, commit_at, sizeof(uint64_t));
	if (error) {
		/* It was not acknowledged, so the next opening should not find it. */
		region_store64(meta, commit_at, j->commit);
		return error;
	}
	region_fence(meta);
	return 0;
}

static void apply_record(struct journal *j, const struct journal_write *writes, uint32_t count)
{
	for (uint32_t i = 0, next; i < count; i = next) {
		const struct media_operation *op = &writes[i].operation;

		next = i + 1;
		if (op->kind == RECORD_WRITE) {
			journal_apply_working(j, op, writes[i].bytes);
			j->applied_bytes += op->bytes;
			continue;
		}
		/* A truncate frees hundreds of runs in one bitmap. */
		while (next < count && writes[next].operation.kind != RECORD_WRITE &&
			writes[next].operation.offset == op->offset)
			next++;
		journal_apply_bits(j, &writes[i], next - i);
		j->applied_bytes += BLOCK_SIZE;
	}
}

static uint64_t pad_bytes(const struct journal *j, uint64_t bytes)
{
	uint64_t to_end = j->config.area_bytes - j->stored % j->config.area_bytes;

	return bytes <= to_end ? 0 : to_end;
}

void journal_committed_locked(struct journal *j, const struct journal_write *writes, uint32_t count,
	uint64_t end, void (*applied)(void *context, uint64_t position), void *context)
{
	j->commit = end;
	if (!j->config.defer_durable)
		atomic_store_explicit(&j->durable, j->commit, memory_order_release);
	apply_record(j, writes, count);
	if (applied)
		applied(context, j->commit);
}

int journal_commit(struct journal *j, const struct journal_write *writes, uint32_t count,
	void (*applied)(void *context, uint64_t position), void *context)
{
	uint64_t bytes = record_bytes(writes, count), pad;
	int error;

	assert(count > 0);
	for (uint32_t i = 0; i < count; i++)
		assert(journal_operation_valid(j, &writes[i].operation));
	if (bytes > JOURNAL_RECORD_MAX(j->config.area_bytes))
		return -E2BIG;

	pthread_mutex_lock(&j->lock);
	/* A record with its pad is below half of the area, whatever the position is by then. */
	error = journal_make_room_locked(j, 2 * bytes);
	if (error)
		goto unlock;
	pad = pad_bytes(j, bytes);
	assert(pad < bytes);
	build_record(j, j->stored + pad, writes, count, bytes);
	store_record(j, pad, bytes);
	if (journal_groups(j)) {
		struct queued q = {.writes = writes,
			.count = count,
			.end = j->stored,
			.applied = applied,
			.context = context};

		error = journal_commit_grouped_locked(j, &q);
		goto unlock;
	}
	error = commit_stored(j, pad);
	if (error)
		j->failed = true;
	else
		journal_committed_locked(j, writes, count, j->stored, applied, context);
unlock:
	pthread_mutex_unlock(&j->lock);
	return error;
}

/* ---- what it knows --------------------------------------------------------------------------- */

uint64_t journal_sequence(struct journal *j)
{
	/* Positions only grow: their count of lines is unique without being kept anywhere. */
	pthread_mutex_lock(&j->lock);
	uint64_t sequence = j->commit / RECORD_ALIGN + 1;
	pthread_mutex_unlock(&j->lock);
	return sequence;
}

uint64_t journal_durable_position(struct journal *j)
{
	return atomic_load_explicit(&j->durable, memory_order_acquire);
}

bool journal_defers(const struct journal *j)
{
	return j->config.defer_durable;
}

void journal_heap(const struct journal *j, uint64_t *start, uint64_t *end)
{
	*start = j->heap_start;
	*end = j->heap_end;
}

int journal_quiesced(struct journal *j, int (*look)(void *context), void *context)
{
	pthread_mutex_lock(&j->lock);
	int result = look(context);
	pthread_mutex_unlock(&j->lock);
	return result;
}
