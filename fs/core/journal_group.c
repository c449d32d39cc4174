// SPDX-License-Identifier: BSD-2-Clause
/*
 * journal_group.c - committing many transactions by one sync: strict page cache.
 *
 * There each commit waits for the media twice, records first and then the commit store, and the
 * media takes no longer for many records than for one. So a committer stores its record at the
 * log's end (`stored`), queues, and waits; one of those who wait leads: it takes the whole queue,
 * drops the lock, makes the records durable, then the commit store behind the last of them, takes
 * the lock again and ends them all, in the order of their positions. What was queued meanwhile is
 * the next group's.
 *
 *   queued, somebody leads      --> waits for `changed`
 *   queued, nobody leads        --> leads: the group is committed, applied, told
 *   the media failed            --> the group is told -EIO, everybody later -EROFS
 *
 * Invariants
 *  1. commit <= stored; between them stand the records of the queue and of the group under way,
 *     without a gap, and nothing else. Where nobody is queued the two are equal, or all is failed.
 *  2. Records are applied by the leader while their committers wait: these hold the locks of what
 * is changed, and the writes and the transaction stay where they are.
 */
#include "journal_impl.h"

#include <assert.h>
#include <errno.h>

bool journal_groups(const struct journal *j)
{
	return region_media(j->config.meta) == REGION_PAGE_CACHE && !j->config.defer_durable;
}

/* The records, then the commit: steps 1 and 2 of journal.h, for all of [from, end). No lock. */
static int make_durable(struct journal *j, uint64_t from, uint64_t end)
{
	struct region *meta = j->config.meta;
	uint64_t commit_at = j->config.header_offset + offsetof(struct media_journal, commit);
	int error = journal_sync_area(j, from, end);

	if (error)
		return error;
	region_fence(meta);
	region_store64(meta, commit_at, end);
	error = region_flush(meta, commit_at, sizeof(uint64_t));
	if (error) {
		/* It was not acknowledged, so the next opening should not find it. */
		region_store64(meta, commit_at, from);
		return error;
	}
	region_fence(meta);
	return 0;
}

static void end_group(struct journal *j, struct queued *group, int error)
{
	for (struct queued *q = group, *next; q; q = next) {
		next = q->next;
		if (!error)
			journal_committed_locked(
				j, q->writes, q->count, q->end, q->applied, q->context);
		q->error = error;
		q->ended = true; /* its committer may go on as soon as the lock is free */
	}
}

static void lead_locked(struct journal *j)
{
	struct queued *group = j->queue;
	uint64_t from = j->commit, end = j->stored;
	int error = j->failed ? -EROFS : 0;

	assert(group && !j->leading);
	j->queue = NULL;
	j->queue_tail = &j->queue;
	if (!error) {
		j->leading = true;
		pthread_mutex_unlock(&j->lock);
		error = make_durable(j, from, end);
		pthread_mutex_lock(&j->lock);
		j->leading = false;
		if (error)
			j->failed = true;
	}
	end_group(j, group, error);
	assert(error || j->commit == end);
	pthread_cond_broadcast(&j->changed);
}

int journal_commit_grouped_locked(struct journal *j, struct queued *q)
{
	q->next = NULL;
	*j->queue_tail = q;
	j->queue_tail = &q->next;
	while (!q->ended) {
		if (j->leading)
			pthread_cond_wait(&j->changed, &j->lock);
		else
			lead_locked(j);
	}
	return q->error;
}
