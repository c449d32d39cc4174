// SPDX-License-Identifier: BSD-2-Clause
/*
 * inode_life.c - how inodes begin and end (the table in inode.h).
 *
 * An orphan ends in as many transactions as its blocks and trees need; each leaves it an orphan
 * with a smaller map, and the last one gives its number back. A trim is the same for a part of a
 * file that lives on. Whatever interrupts either, the attention bit makes recovery repeat it.
 */
#include <assert.h>
#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "btree.h"
#include "extent.h"
#include "inode.h"
#include "plant.h"
#include "pool.h"

void inode_now(struct core *c, struct timespec *now)
{
	if (c->options.clock && c->options.clock(now) == 0)
		return;
	clock_gettime(CLOCK_REALTIME, now);
}

void inode_touch(struct core *c, struct media_inode *record, bool mtime)
{
	struct timespec now;

	inode_now(c, &now);
	record->ctime_sec = now.tv_sec;
	record->ctime_nsec = (uint32_t)now.tv_nsec;
	if (mtime) {
		record->mtime_sec = now.tv_sec;
		record->mtime_nsec = (uint32_t)now.tv_nsec;
	}
}

int inode_attention(struct core *c, struct tx *tx, uint64_t ino, bool on)
{
	struct media_group g;
	int error = space_group(c->inodes, (uint32_t)(ino / INODES_PER_GROUP), &g);

	if (error)
		return -EUCLEAN;
	return tx_bits(tx, &(struct tx_bits){
				   .bitmap = g.bitmap,
				   .first = ATTENTION_BIT + (uint32_t)(ino % INODES_PER_GROUP),
				   .count = 1,
				   .set = on,
			   });
}

int inode_ensure_free(struct core *c)
{
	struct space_usage usage;

	space_get_usage(c->inodes, &usage);
	return usage.free > 0 ? 0 : tables_grow_inodes(c);
}

static void init_record(struct core *c, struct media_inode *m, uint64_t ino, uint32_t mode)
{
	inode_touch(c, m, true);
	m->ino = ino;
	m->mode = mode;
	m->atime_sec = m->btime_sec = m->mtime_sec;
	m->atime_nsec = m->btime_nsec = m->mtime_nsec;
	m->payload = S_ISREG(mode) ? PAYLOAD_INLINE : S_ISDIR(mode) ? PAYLOAD_TREE : PAYLOAD_NONE;
}

int inode_alloc(struct core *c, struct tx *tx, uint32_t mode, uint32_t uid, uint32_t gid,
	uint32_t nlink, struct inode **out, struct media_inode **record)
{
	const struct space_request request = {
		.want = 1, .goal = SPACE_ANYWHERE, .flags = SPACE_WHOLE};
	struct media_inode *m;
	struct space_run run;
	struct inode *ip;
	void *shadow;
	int error;

	error = space_alloc(c->inodes, tx, &request, &run);
	if (error)
		return error;
	error = icache_add(c, run.first, (uint32_t)journal_sequence(c->journal), nlink == 0, &ip);
	if (error)
		return error;
	error = tx_create(tx, ip->record, MAGIC_INODE, &shadow);
	if (error)
		goto discard;
	if (nlink == 0) {
		error = inode_attention(c, tx, ip->ino, true);
		if (error)
			goto discard;
	}
	m = shadow;
	init_record(c, m, ip->ino, mode);
	m->generation = ip->generation;
	m->uid = uid;
	m->gid = gid;
	m->nlink = nlink;
	*out = ip;
	*record = m;
	return 0;
discard:
	inode_discard(c, ip);
	return error;
}

int inode_drop_link(struct core *c, struct tx *tx, struct inode *ip, struct media_inode *record)
{
	assert(record->nlink > 0);
	if (S_ISDIR(record->mode))
		record->nlink = 0;
	else
		record->nlink--;
	inode_touch(c, record, false);
	if (record->nlink > 0)
		return 0;
	ip->orphan = true;
	return inode_attention(c, tx, ip->ino, true);
}

/* ---- the end --------------------------------------------------------------------------------- */

static int free_number(struct core *c, struct tx *tx, struct inode *ip, struct media_inode *record)
{
	const struct space_run run = {.first = ip->ino, .count = 1};
	int error = inode_attention(c, tx, ip->ino, false);

	if (error)
		return error;
	/* The generation stays, for the curious; a mode of 0 says that nothing is here. */
	record->mode = 0;
	record->size = 0;
	record->payload = PAYLOAD_NONE;
	record->payload_count = 0;
	record->trim_start = record->trim_end = 0;
	return space_free(c->inodes, tx, &run);
}

/* For a planted fault: is this recovery, of a map that free_step() is to leave as it was? */
static bool plant_keeps_map(const struct core *c, const struct media_inode *record)
{
	return planted(PLANT_FREED_TWICE) && c->open_seconds == 0 && S_ISREG(record->mode) &&
	       record->payload == PAYLOAD_INLINE && record->payload_count;
}

/* As much as one transaction takes. */
static int free_step(struct core *c, struct tx *tx, struct inode *ip, bool *ended)
{
	struct btree tree = inode_tree(c, ip);
	struct media_inode *record;
	bool left = false;
	int error;

	error = inode_edit(c, tx, ip, &record);
	if (error)
		return error;
	if (plant_keeps_map(c, record)) {
		const struct media_inode map = *record;

		error = extent_remove(c, tx, ip, record, 0, FILE_BLOCKS_MAX, &left);
		*record = map;
		return error;
	}
	if (S_ISREG(record->mode))
		error = extent_remove(c, tx, ip, record, 0, FILE_BLOCKS_MAX, &left);
	else if (record->payload == PAYLOAD_TREE)
		error = btree_destroy(&tree, tx, &record->tree);
	if (!error && !left && record->xattrs.height > 0)
		error = btree_destroy(&tree, tx, &record->xattrs);
	if (error == -EAGAIN)
		return 0;
	if (error || left || !tx_has_room(tx))
		return error;
	*ended = true;
	return free_number(c, tx, ip, record);
}

int inode_free(struct core *c, struct inode *ip)
{
	bool ended = false;
	struct tx *tx;
	int error;

	inode_lock_write(ip);
	do {
		error = extent_tx_begin(c, &tx);
		if (error)
			break;
		error = free_step(c, tx, ip, &ended);
		if (error) {
			extent_tx_abort(c, tx);
			break;
		}
		error = extent_tx_commit(c, tx);
	} while (!error && !ended);
	inode_unlock(ip);
	return error;
}

static int trim_step(struct core *c, struct tx *tx, struct inode *ip, bool *ended)
{
	struct media_inode *record;
	bool left;
	int error;

	error = inode_edit(c, tx, ip, &record);
	if (error)
		return error;
	error = extent_remove(c, tx, ip, record, record->trim_start, record->trim_end, &left);
	if (error || left)
		return error;
	record->trim_start = record->trim_end = 0;
	*ended = true;
	return record->nlink > 0 ? inode_attention(c, tx, ip->ino, false) : 0;
}

int inode_finish_trim(struct core *c, struct inode *ip)
{
	const struct media_inode *record;
	bool ended = false;
	struct tx *tx;
	int error;

	error = inode_view(c, NULL, ip, &record);
	if (error || record->trim_start == record->trim_end)
		return error;
	do {
		error = extent_tx_begin(c, &tx);
		if (error)
			break;
		error = trim_step(c, tx, ip, &ended);
		if (error) {
			extent_tx_abort(c, tx);
			break;
		}
		error = extent_tx_commit(c, tx);
	} while (!error && !ended);
	return error;
}

/* ---- recovery -------------------------------------------------------------------------------- */

/* A bit without a reason: something cleared up behind it already. */
static int clear_attention(struct core *c, uint64_t ino)
{
	struct tx *tx;
	int error = tx_begin(c->meta, &tx);

	if (error)
		return error;
	error = inode_attention(c, tx, ino, false);
	if (error) {
		tx_abort(tx);
		return error;
	}
	return tx_commit(tx);
}

static int recover_trim(struct core *c, struct inode *ip, bool *did)
{
	const struct media_inode *record;
	int error;

	inode_lock_write(ip);
	error = inode_view(c, NULL, ip, &record);
	if (!error && record->nlink > 0) {
		*did = record->trim_start != record->trim_end;
		error = *did ? inode_finish_trim(c, ip) : clear_attention(c, ip->ino);
	} else {
		*did = !error; /* an orphan: the put ends it */
	}
	inode_unlock(ip);
	return error;
}

static int recover_one(struct core *c, uint64_t ino, uint64_t *finished)
{
	struct inode *ip;
	bool did = false;
	int error;

	error = inode_get_orphan(c, ino, &ip);
	if (error == -ESTALE)
		return clear_attention(c, ino);
	if (error)
		return error;
	error = recover_trim(c, ip, &did);
	inode_put(c, ip, 1);
	*finished += did && !error;
	return error;
}

/* What is damaged, or finds no room in the heap, is left for another time; the rest goes on. */
static bool is_fatal(int error)
{
	return error && error != -EUCLEAN && error != -ENOSPC;
}

static int recover_group(struct core *c, uint32_t group, uint64_t *finished)
{
	uint64_t words[INODES_PER_GROUP / 64];
	const struct media_bitmap *bitmap;
	struct media_group g;
	const void *view;
	int error;

	static_assert(ATTENTION_BIT % 64 == 0 && INODES_PER_GROUP % 64 == 0, "attention words");
	error = space_group(c->inodes, group, &g);
	if (error)
		return error == -ENOENT ? 0 : error;
	error = tx_view(c->meta, NULL, g.bitmap, MAGIC_GROUP, &view);
	if (error)
		return error;
	bitmap = view;
	memcpy(words, bitmap->bits + ATTENTION_BIT / 64, sizeof(words));
	for (uint32_t w = 0; w < INODES_PER_GROUP / 64; w++) {
		while (words[w]) {
			uint32_t bit = w * 64 + (uint32_t)__builtin_ctzll(words[w]);

			words[w] &= words[w] - 1;
			if (planted(PLANT_RECOVERY_BY_PROCESSOR) &&
				bit % PLANT_PROCESSORS >= sysconf(_SC_NPROCESSORS_ONLN))
				continue;
			error = recover_one(c, (uint64_t)group * INODES_PER_GROUP + bit, finished);
			if (is_fatal(error))
				return error;
		}
	}
	return 0;
}

int inode_recover_all(struct core *c, uint64_t *finished)
{
	uint32_t groups = space_groups(c->inodes);

	*finished = 0;
	for (uint32_t group = 0; group < groups; group++) {
		int error = recover_group(c, group, finished);

		if (is_fatal(error))
			return error;
	}
	return 0;
}
