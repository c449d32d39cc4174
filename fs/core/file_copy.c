// SPDX-License-Identifier: BSD-2-Clause
/*
 * file_copy.c - copy_file_range: from region memory to region memory.
 *
 * Both files are locked for the whole of a step, in rising number, so that a step sees one state of
 * the source. Where the source has a hole and the target nothing written, nothing is stored: sparse
 * files stay sparse. Bytes of the source below an open transaction of the target are the committed
 * ones, which the transaction does not touch.
 */
#include <errno.h>
#include <limits.h>
#include <string.h>

#include "file.h"

#define STEP_BYTES (4ull << 20)
#define COPY_VECTORS 64

struct copying {
	struct core *c;
	struct inode *in;
	struct inode *out;
	uint64_t in_offset;
	uint64_t out_offset;
	uint64_t length;
	const struct core_cred *cred;
};

static int first_piece(void *context, const struct piece *piece)
{
	*(struct piece *)context = *piece;
	return 1;
}

/* The piece at `offset`, at most to `end`. */
static int piece_at(
	struct core *c, const struct inode *ip, uint64_t offset, uint64_t end, struct piece *out)
{
	const struct media_inode *record;
	int error = inode_view(c, NULL, ip, &record);

	if (!error)
		error = file_walk(c, ip, record, offset, end, first_piece, out);
	return error < 0 ? error : 0;
}

static bool is_data(const struct piece *p)
{
	return p->region && !p->unwritten;
}

static void store(const struct piece *from, const struct core_write *w)
{
	uint64_t at = 0;

	for (int i = 0; i < w->count; i++) {
		if (is_data(from))
			memcpy(w->vector[i].iov_base,
				region_at(from->region, from->region_offset + at,
					w->vector[i].iov_len),
				w->vector[i].iov_len);
		else
			memset(w->vector[i].iov_base, 0, w->vector[i].iov_len);
		at += w->vector[i].iov_len;
	}
}

static int write_piece(const struct copying *cp, const struct piece *from, uint64_t to,
	uint64_t length, bool last, uint64_t *done)
{
	struct iovec vector[COPY_VECTORS];
	struct core_write w = {
		.inode = cp->out,
		.offset = to,
		.length = length,
		.vector = vector,
		.vectors = COPY_VECTORS,
		.cred = cp->cred,
	};
	int error = file_write_begin(cp->c, &w, last);

	if (error)
		return error;
	store(from, &w);
	if (is_data(from) && region_lost(from->region)) { /* what was copied is nobody's zeroes */
		(void)file_write_end(cp->c, &w, 0);
		return -EIO;
	}
	error = file_write_end(cp->c, &w, w.length);
	if (!error)
		*done = w.length;
	return error;
}

/* A hole over a hole: at most the size changes, at the end. */
static int grow_to(const struct copying *cp, uint64_t size)
{
	const struct media_inode *view;
	struct media_inode *record;
	struct tx *tx;
	int error = inode_view(cp->c, NULL, cp->out, &view);

	if (!error)
		error = file_grow(cp->c, cp->out, view, size, FILE_BYTES_MAX);
	if (!error)
		error = file_tx_begin(cp->c, cp->out, &tx, &record);
	if (error)
		return error;
	if (size > record->size)
		record->size = size;
	inode_touch(cp->c, record, true);
	file_drop_privileges(record, cp->cred);
	return extent_tx_commit(cp->c, tx);
}

/* One piece of the source from `at` on; *done: bytes of it. */
static int copy_piece(
	const struct copying *cp, uint64_t at, uint64_t end, bool last, uint64_t *done)
{
	uint64_t to = cp->out_offset + (at - cp->in_offset), length;
	struct piece from, over;
	int error = piece_at(cp->c, cp->in, at, end, &from);

	if (error)
		return error;
	length = from.length;
	if (!is_data(&from)) {
		error = piece_at(cp->c, cp->out, to, to + length, &over);
		if (error)
			return error;
		length = over.length;
		if (!is_data(&over)) {
			error = grow_to(cp, to + length);
			if (!error)
				*done = length;
			return error;
		}
	}
	return write_piece(cp, &from, to, length < STEP_BYTES ? length : STEP_BYTES, last, done);
}

static int lock_both(const struct copying *cp)
{
	const struct media_inode *in, *out;
	struct inode *both[2] = {cp->in, cp->out};
	int error;

	inode_lock_many(both, 2);
	error = inode_view(cp->c, NULL, cp->in, &in);
	if (!error)
		error = inode_view(cp->c, NULL, cp->out, &out);
	if (!error && (!S_ISREG(in->mode) || !S_ISREG(out->mode)))
		error = S_ISDIR(in->mode) || S_ISDIR(out->mode) ? -EISDIR : -EINVAL;
	if (!error)
		error = inode_finish_trim(cp->c, cp->out);
	if (error)
		inode_unlock_many(both, 2);
	return error;
}

static void unlock_both(const struct copying *cp)
{
	struct inode *both[2] = {cp->in, cp->out};

	if (cp->in != cp->out && cp->in->ino > cp->out->ino) {
		both[0] = cp->out;
		both[1] = cp->in;
	}
	inode_unlock_many(both, 2);
}

/* Under one hold of the locks: about STEP_BYTES, so that others get a turn. */
static int copy_step(struct copying *cp, uint64_t at, bool last, uint64_t *done)
{
	uint64_t end = cp->in_offset + cp->length, start = at, stored = 0;
	const struct media_inode *record;
	int error = lock_both(cp);

	if (error)
		return error;
	error = inode_view(cp->c, NULL, cp->in, &record);
	/* For good: what the copy itself adds to the file is not copied. */
	if (!error && end > record->size) {
		end = record->size > at ? record->size : at;
		cp->length = end - cp->in_offset;
	}
	while (!error && at < end && stored < STEP_BYTES) {
		uint64_t n = 0;

		error = copy_piece(cp, at, end, last, &n);
		at += n;
		stored += n;
	}
	unlock_both(cp);
	*done = at - start;
	return error;
}

ssize_t core_copy_range(struct core *c, struct inode *in, uint64_t in_offset, struct inode *out,
	uint64_t out_offset, uint64_t length, const struct core_cred *cred)
{
	struct copying cp = {c, in, out, in_offset, out_offset, length, cred};
	bool asked = false, last = false;
	uint64_t total = 0, n;
	int error = 0;

	if (length > SSIZE_MAX)
		length = cp.length = SSIZE_MAX;
	if (in_offset > FILE_BYTES_MAX || out_offset >= FILE_BYTES_MAX)
		return length == 0 ? 0 : in_offset > FILE_BYTES_MAX ? 0 : -EFBIG;
	if (length > FILE_BYTES_MAX - in_offset)
		length = cp.length = FILE_BYTES_MAX - in_offset;
	if (length > FILE_BYTES_MAX - out_offset)
		length = cp.length = FILE_BYTES_MAX - out_offset;
	if (in == out && in_offset < out_offset + length && out_offset < in_offset + length)
		return -EINVAL;
	while (total < cp.length) {
		n = 0;
		error = copy_step(&cp, in_offset + total, last, &n);
		total += n;
		if (error == -ENOSPC && !last) {
			(void)core_reclaim(c, &asked);
			last = true;
			continue;
		}
		if (error || n == 0)
			break;
	}
	return total > 0 ? (ssize_t)total : error;
}
