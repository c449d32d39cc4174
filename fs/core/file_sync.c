// SPDX-License-Identifier: BSD-2-Clause
/*
 * file_sync.c - fsync: the file's bytes, then everything that was committed.
 *
 * On pmem every write was flushed when it was made; on volatile media there is nothing to do. On
 * page cache the file's own extents are synced whatever the journal knows, because a lease holder
 * stores into them without telling anybody; for the same reason, what was ever prepared for one is
 * flushed on pmem.
 */
#include <errno.h>

#include "file.h"

/* Beyond this many extents one fdatasync of the regions is cheaper. */
#define SYNC_EXTENTS_MAX 64

struct syncing {
	struct piece pieces[SYNC_EXTENTS_MAX];
	int count;
	bool more;
};

static int collect_piece(void *context, const struct piece *piece)
{
	struct syncing *s = context;

	if (piece->region && region_lost(piece->region))
		return -EIO;
	if (!piece->region || piece->unwritten || region_media(piece->region) != REGION_PAGE_CACHE)
		return 0;
	if (s->count == SYNC_EXTENTS_MAX) {
		s->more = true;
		return 1;
	}
	s->pieces[s->count++] = *piece;
	return 0;
}

static int flush_piece(void *context, const struct piece *piece)
{
	int error;

	if (!piece->region || piece->unwritten || region_media(piece->region) != REGION_PMEM)
		return 0;
	error = region_flush(piece->region, piece->region_offset, piece->length);
	region_fence(piece->region);
	return error;
}

/* Without the file's lock: blocks that leave the file meanwhile are synced for nothing. */
static int sync_collected(struct core *c, const struct syncing *s)
{
	bool lost; /* another file's: collect_piece() looked at this one's */

	if (s->more)
		return core_sync_regions(c, &lost);
	for (int i = 0; i < s->count; i++) {
		const struct piece *p = &s->pieces[i];
		int error = region_sync(p->region, p->region_offset, p->length);

		if (error)
			return error;
	}
	return 0;
}

int core_fsync(struct core *c, struct inode *ip, bool data_only)
{
	struct syncing s = {.count = 0};
	const struct media_inode *record;
	int error;

	if (c->options.read_only)
		return 0;
	inode_lock_read(ip);
	error = inode_view(c, NULL, ip, &record);
	if (!error && S_ISREG(record->mode))
		error = file_walk(c, ip, record, 0, FILE_BYTES_MAX, collect_piece, &s);
	if (error >= 0 && ip->stores_start != ip->stores_end)
		error = file_walk(
			c, ip, record, ip->stores_start, ip->stores_end, flush_piece, NULL);
	inode_unlock(ip);
	if (error >= 0)
		error = sync_collected(c, &s);
	return error ? error : core_sync_journal(c);
}
