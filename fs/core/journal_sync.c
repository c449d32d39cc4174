// SPDX-License-Identifier: BSD-2-Clause
/*
 * journal_sync.c - the log's other end: durability of homes, room for records, and fsync.
 *
 * Retiring records (a checkpoint) makes their homes durable and moves tail over them:
 *
 *   media                  homes                                    tail
 *   pmem                   flushed, operation by operation; fence   store, flush, fence
 *   volatile               nothing to do                            store
 *   page cache, strict     fdatasync of the region                  store, msync
 *   page cache, relaxed    records applied to the durable view,     store, msync
 *                          then fdatasync
 *
 * In the last row the working view may be ahead of what is retired, so it is not copied: the
 * records themselves bring the durable view from the state at tail to the state at the new tail.
 *
 * What waits for page cache is done without journal.lock, by one thread at a time (`syncing`,
 * `retiring`), while others go on committing.
 *
 * Invariant: tail is durable before the bytes that it let go of are written again.
 */
#include "journal_impl.h"
#include "plant.h"

#include <assert.h>
#include <errno.h>

/* Private copies of homes are dropped after so many bytes were applied: bounds their memory. */
#define FORGET_BYTES (64ull << 20)
/* A committer waits for room that often before it gives up; each wait is a whole sync. */
#define ROOM_TRIES 64u

int journal_set_position(struct journal *j, size_t at, uint64_t value)
{
	struct region *meta = j->config.meta;
	uint64_t offset = j->config.header_offset + at;

	region_store64(meta, offset, value);
	return region_sync(meta, offset, sizeof(value));
}

static void flush_home(struct journal *j, const struct media_operation *op, const void *payload)
{
	uint32_t from = op->first / 64, to = (op->first + op->bytes - 1) / 64;

	/* Only strict page cache has errors to tell, and does not come here. */
	if (op->kind == RECORD_WRITE) {
		uint64_t to_line_end = 64 - op->offset % 64;
		bool cut = planted(PLANT_NAME_ACROSS_LINES) && op->bytes > to_line_end;

		(void)region_flush(j->config.meta, op->offset, cut ? to_line_end : op->bytes);
		return;
	}
	(void)region_flush(j->config.meta, op->offset, sizeof(struct media_head));
	(void)region_flush(j->config.meta,
		op->offset + offsetof(struct media_bitmap, bits) + 8ull * from,
		8ull * (to - from + 1));
}

static int retire(struct journal *j, uint64_t from, uint64_t end)
{
	struct region *meta = j->config.meta;
	int error = 0;

	if (j->private_view)
		error = journal_walk(j, from, end, journal_apply_durable, NULL, NULL);
	else if (region_media(meta) == REGION_PMEM)
		error = journal_walk(j, from, end, flush_home, NULL, NULL);
	if (error)
		return error;
	if (region_media(meta) == REGION_PAGE_CACHE)
		error = region_sync_all(meta);
	else
		region_fence(meta);
	if (!error)
		error = journal_set_position(j, offsetof(struct media_journal, tail), end);
	return error;
}

int journal_retire_locked(struct journal *j, uint64_t end)
{
	bool slow = region_media(j->config.meta) == REGION_PAGE_CACHE;
	uint64_t from = j->tail;
	int error;

	assert(!j->retiring && from <= end && end <= j->commit);
	if (from == end)
		return 0;
	/* The records stay where they are while tail does; nobody else writes the durable view. */
	j->retiring = true;
	if (slow)
		pthread_mutex_unlock(&j->lock);
	error = retire(j, from, end);
	if (slow)
		pthread_mutex_lock(&j->lock);
	j->retiring = false;
	if (error)
		j->failed = true;
	else
		j->tail = end;
	pthread_cond_broadcast(&j->changed);
	if (!error && j->private_view && end == j->commit && j->applied_bytes > FORGET_BYTES) {
		region_forget_private(j->config.meta);
		j->applied_bytes = 0;
	}
	return error;
}

uint64_t journal_retirable_locked(const struct journal *j)
{
	return j->config.defer_durable ? j->synced : j->commit;
}

/* ---- sync ------------------------------------------------------------------------------------ */

int journal_sync_area(struct journal *j, uint64_t from, uint64_t to)
{
	uint64_t area = j->config.area_bytes, start = from % area, bytes = to - from;
	uint64_t first = bytes < area - start ? bytes : area - start;
	int error = 0;

	if (first)
		error = region_sync(j->config.meta, j->config.area_offset + start, first);
	if (!error && bytes > first)
		error = region_sync(j->config.meta, j->config.area_offset, bytes - first);
	return error;
}

/* The lock is dropped while the media works; `syncing` keeps others from doing the same. */
static int sync_once_locked(struct journal *j)
{
	uint64_t from = j->synced, to = j->commit;
	int error;

	j->syncing = true;
	j->syncs_begun++;
	pthread_mutex_unlock(&j->lock);
	error = j->config.sync_data ? j->config.sync_data(j->config.context) : 0;
	if (!error)
		error = journal_sync_area(j, from, to);
	if (!error && to != from)
		error = journal_set_position(j, offsetof(struct media_journal, synced), to);
	pthread_mutex_lock(&j->lock);
	j->syncing = false;
	j->syncs_ended = j->syncs_begun;
	if (error) {
		/* The kernel may have dropped what it could not write: nothing can be promised. */
		j->failed = true;
	} else {
		j->synced = to;
		atomic_store_explicit(&j->durable, to, memory_order_release);
	}
	pthread_cond_broadcast(&j->changed);
	return error;
}

static int sync_locked(struct journal *j)
{
	uint64_t wanted = j->syncs_begun + 1;

	/* At most two syncs: one that is under way and began too early, and the next. */
	while (j->syncs_ended < wanted) {
		if (j->failed)
			return -EROFS;
		if (j->syncing) {
			pthread_cond_wait(&j->changed, &j->lock);
			continue;
		}
		int error = sync_once_locked(j);
		if (error)
			return error;
	}
	return j->failed ? -EROFS : 0;
}

int journal_sync(struct journal *j)
{
	int error = 0;

	if (j->config.read_only)
		return 0;
	pthread_mutex_lock(&j->lock);
	if (j->config.defer_durable)
		error = sync_locked(j);
	else if (j->failed)
		error = -EROFS;
	pthread_mutex_unlock(&j->lock);
	return error;
}

int journal_checkpoint(struct journal *j)
{
	int error;

	if (j->config.read_only)
		return 0;
	pthread_mutex_lock(&j->lock);
	error = j->failed ? -EROFS : 0;
	if (!error && j->config.defer_durable)
		error = sync_locked(j);
	while (j->retiring)
		pthread_cond_wait(&j->changed, &j->lock);
	if (!error && j->failed)
		error = -EROFS;
	if (!error)
		error = journal_retire_locked(j, journal_retirable_locked(j));
	pthread_mutex_unlock(&j->lock);
	return error;
}

/* ---- room ------------------------------------------------------------------------------------ */

int journal_make_room_locked(struct journal *j, uint64_t need)
{
	uint64_t area = j->config.area_bytes;

	for (unsigned tries = 0; tries < ROOM_TRIES; tries++) {
		uint64_t used = j->stored - j->tail + need;
		bool busy = j->syncing || j->retiring;
		int error = 0;

		if (j->failed)
			return -EROFS;
		/* While another thread makes room, the second half is there to go on with. */
		if (used <= area / 2 || (busy && used <= area))
			return 0;
		if (busy) {
			pthread_cond_wait(&j->changed, &j->lock);
		} else if (journal_retirable_locked(j) != j->tail) {
			error = journal_retire_locked(j, journal_retirable_locked(j));
		} else if (j->stored != j->commit) {
			/* Those who wait for their commit see to it, without more room. */
			pthread_cond_wait(&j->changed, &j->lock);
		} else {
			assert(j->config.defer_durable);
			error = sync_once_locked(j);
		}
		if (error)
			return error;
	}
	/* Others filled what was made free, again and again: what fits now will do. */
	return j->stored - j->tail + need <= area ? 0 : -EIO;
}
