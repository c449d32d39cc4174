// SPDX-License-Identifier: BSD-2-Clause
/*
 * file_resize.c - truncate and fallocate: what adds and takes away blocks without writing any.
 *
 * What takes away decides in one transaction: size, times, and as many blocks as fit. If there are
 * more, that transaction also leaves a trim range, which reads as a hole from then on, and more
 * transactions free it; if they cannot, the next one to take the lock, or recovery, does.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>

#include "file.h"

/* Frees [first, end) of the map, or leaves it to inode_finish_trim(). */
static int remove_or_trim(struct core *c, struct tx *tx, struct inode *ip,
	struct media_inode *record, uint64_t first, uint64_t end)
{
	bool left = false;
	int error = 0;

	if (first < end)
		error = extent_remove(c, tx, ip, record, first, end, &left);
	if (error || !left)
		return error;
	record->trim_start = first;
	record->trim_end = end;
	return inode_attention(c, tx, ip->ino, true);
}

/* ---- truncate -------------------------------------------------------------------------------- */

static int change_size(struct core *c, struct inode *ip, const struct media_inode *view,
	uint64_t size, const struct core_cred *cred)
{
	bool shrinks = size < view->size;
	struct media_inode *record;
	struct tx *tx;
	int error;

	error = file_grow(c, ip, view, size, FILE_BYTES_MAX);
	if (!error)
		error = file_tx_begin(c, ip, &tx, &record);
	if (error)
		return error;
	record->size = size;
	inode_touch(c, record, true);
	file_drop_privileges(record, cred);
	if (shrinks)
		error = remove_or_trim(
			c, tx, ip, record, block_up(size) >> BLOCK_SHIFT, FILE_BLOCKS_MAX);
	if (error) {
		extent_tx_abort(c, tx);
		return error;
	}
	return extent_tx_commit(c, tx);
}

static int truncate_once(
	struct core *c, struct inode *ip, uint64_t size, const struct core_cred *cred)
{
	const struct media_inode *view;
	bool shrinks;
	int error;

	error = file_lock(c, ip, &view);
	if (error)
		return error;
	shrinks = size < view->size;
	error = change_size(c, ip, view, size, cred);
	if (!error && shrinks) {
		/* It has happened; what follows can be finished later. */
		(void)inode_finish_trim(c, ip);
		/* For a lease on the last block: whoever grows the file by file_grow() does so too.
		 */
		(void)file_zero(c, ip, view, size, block_up(size));
	}
	inode_unlock(ip);
	return error;
}

int core_truncate(struct core *c, struct inode *ip, uint64_t size, const struct core_cred *cred)
{
	bool asked = false;
	int error;

	if (size > FILE_BYTES_MAX)
		return -EFBIG;
	do {
		error = truncate_once(c, ip, size, cred);
	} while (error == -ENOSPC && core_reclaim(c, &asked));
	return error;
}

void core_truncate_frees(
	struct core *c, struct inode *ip, uint64_t size, uint64_t *start, uint64_t *end)
{
	const struct media_inode *view;

	*start = *end = 0;
	inode_lock_read(ip);
	if (inode_view(c, NULL, ip, &view) == 0 && S_ISREG(view->mode) && size < view->size) {
		*start = block_up(size);
		*end = FILE_BYTES_MAX;
	}
	inode_unlock(ip);
}

/* ---- fallocate ------------------------------------------------------------------------------- */

struct change {
	struct core *c;
	struct inode *ip;
	uint64_t offset;
	uint64_t end;
	bool keep_size;
	const struct core_cred *cred;
};

/* Zeroes what of [offset, end) lies in blocks that are not wholly in it. */
static int zero_edges(const struct change *ch, const struct media_inode *view)
{
	uint64_t whole = block_up(ch->offset), rest = block_down(ch->end);
	int error;

	if (rest < whole) /* all in one block */
		return file_zero(ch->c, ch->ip, view, ch->offset, ch->end);
	error = file_zero(ch->c, ch->ip, view, ch->offset, whole);
	if (!error)
		error = file_zero(ch->c, ch->ip, view, rest, ch->end);
	return error;
}

static int punch(const struct change *ch, const struct media_inode *view)
{
	uint64_t first, end;
	struct media_inode *record;
	struct tx *tx;
	int error;

	core_punch_frees(ch->offset, ch->end - ch->offset, &first, &end);
	error = file_tx_begin(ch->c, ch->ip, &tx, &record);
	if (error)
		return error;
	inode_touch(ch->c, record, true);
	file_drop_privileges(record, ch->cred);
	error = remove_or_trim(ch->c, tx, ch->ip, record, first >> BLOCK_SHIFT, end >> BLOCK_SHIFT);
	if (!error)
		error = zero_edges(ch, view);
	if (error) {
		extent_tx_abort(ch->c, tx);
		return error;
	}
	error = extent_tx_commit(ch->c, tx);
	if (!error)
		(void)inode_finish_trim(ch->c, ch->ip);
	return error;
}

void core_punch_frees(uint64_t offset, uint64_t length, uint64_t *start, uint64_t *end)
{
	if (offset > FILE_BYTES_MAX)
		offset = FILE_BYTES_MAX;
	if (length > FILE_BYTES_MAX - offset)
		length = FILE_BYTES_MAX - offset;
	*start = block_up(offset);
	*end = block_down(offset + length);
	if (*end <= *start)
		*start = *end = 0;
}

/* The last step of an allocation: size, times. */
static int finish_fill(void *context, struct tx *tx, struct media_inode *record)
{
	const struct change *ch = context;

	if (!ch->keep_size && ch->end > record->size) {
		const struct media_inode *view;
		int error = inode_view(ch->c, NULL, ch->ip, &view);

		if (!error)
			error = file_grow(ch->c, ch->ip, view, ch->end, FILE_BYTES_MAX);
		if (error)
			return error;
		record->size = ch->end;
	}
	inode_touch(ch->c, record, true);
	file_drop_privileges(record, ch->cred);
	return 0;
}

/*
 * Zero range: the holes have become unwritten blocks by now, and what is written is zeroed where it
 * stands. It does not become unwritten, for the layout of a leased range stays as it is: a holder
 * of a write lease goes on storing into these blocks.
 */
static int finish_zero(void *context, struct tx *tx, struct media_inode *record)
{
	const struct change *ch = context;
	const struct media_inode *view;
	int error = inode_view(ch->c, NULL, ch->ip, &view);

	if (!error)
		error = file_zero(ch->c, ch->ip, view, ch->offset, ch->end);
	return error ? error : finish_fill(context, tx, record);
}

static int fallocate_once(struct change *ch, int mode)
{
	uint64_t first = ch->offset >> BLOCK_SHIFT, end = block_up(ch->end) >> BLOCK_SHIFT;
	const struct media_inode *view;
	int error;

	error = file_lock(ch->c, ch->ip, &view);
	if (error)
		return error;
	if (mode & FALLOC_FL_PUNCH_HOLE) {
		error = punch(ch, view);
	} else if (mode & FALLOC_FL_ZERO_RANGE) {
		error = file_fill(ch->c, ch->ip, first, end, 0, finish_zero, ch);
	} else {
		error = file_fill(ch->c, ch->ip, first, end, 0, finish_fill, ch);
	}
	inode_unlock(ch->ip);
	return error;
}

int core_fallocate(struct core *c, struct inode *ip, int mode, uint64_t offset, uint64_t length,
	const struct core_cred *cred)
{
	struct change ch = {
		.c = c,
		.ip = ip,
		.offset = offset,
		.end = offset + length,
		.keep_size = mode & FALLOC_FL_KEEP_SIZE,
		.cred = cred,
	};
	bool asked = false;
	int error;

	switch (mode) {
	case 0:
	case FALLOC_FL_KEEP_SIZE:
	case FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE:
	case FALLOC_FL_ZERO_RANGE:
	case FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE:
		break;
	default:
		return -EOPNOTSUPP;
	}
	if (length == 0)
		return -EINVAL;
	if (offset > FILE_BYTES_MAX || length > FILE_BYTES_MAX - offset)
		return -EFBIG;
	do {
		error = fallocate_once(&ch, mode);
	} while (error == -ENOSPC && core_reclaim(c, &asked));
	return error;
}
