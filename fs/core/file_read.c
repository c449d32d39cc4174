// SPDX-License-Identifier: BSD-2-Clause
/*
 * file_read.c - reading: pieces of the regions' memory, handed out under the file's lock.
 *
 * A read leaves no trace: access times change by core_setattr() alone, for the kernel does not tell
 * a FUSE filesystem of reads that it answered from its cache.
 */
#include <errno.h>
#include <string.h>

#include "file.h"

struct reading {
	struct iovec *vector;
	int vectors;
	int count;
};

/* Pieces that follow each other in memory become one. 1: the vector is full. */
static int add_bytes(struct reading *r, void *base, uint64_t length)
{
	struct iovec *last = r->count > 0 ? &r->vector[r->count - 1] : NULL;

	if (last && (char *)last->iov_base + last->iov_len == (char *)base) {
		last->iov_len += length;
		return 0;
	}
	if (r->count == r->vectors)
		return 1;
	r->vector[r->count++] = (struct iovec){.iov_base = base, .iov_len = length};
	return 0;
}

static int add_zeroes(struct reading *r, uint64_t length)
{
	void *zeroes = file_zeroes();

	if (!zeroes)
		return -ENOMEM;
	while (length > 0) {
		uint64_t n = length < FILE_ZEROES_BYTES ? length : FILE_ZEROES_BYTES;

		if (r->count == r->vectors)
			return 1;
		r->vector[r->count++] = (struct iovec){.iov_base = zeroes, .iov_len = n};
		length -= n;
	}
	return 0;
}

static int read_piece(void *context, const struct piece *piece)
{
	struct reading *r = context;

	if (!piece->region || piece->unwritten)
		return add_zeroes(r, piece->length);
	if (region_lost(piece->region)) /* zeroes stand there that nobody wrote */
		return -EIO;
	return add_bytes(r, region_data_at(piece->region, piece->region_offset, piece->length),
		piece->length);
}

int core_read_begin(struct core *c, struct inode *ip, uint64_t offset, uint64_t length,
	struct iovec *vector, int vectors, int *count)
{
	struct reading r = {.vector = vector, .vectors = vectors};
	const struct media_inode *record;
	int error;

	inode_lock_read(ip);
	error = inode_view(c, NULL, ip, &record);
	if (!error && !S_ISREG(record->mode))
		error = S_ISDIR(record->mode) ? -EISDIR : -EINVAL;
	if (error)
		goto unlock;
	if (offset < record->size) {
		if (length > record->size - offset)
			length = record->size - offset;
		error = file_walk(c, ip, record, offset, offset + length, read_piece, &r);
		/* What was found before a damaged piece can be had. */
		if (error < 0 && r.count == 0)
			goto unlock;
	}
	*count = r.count;
	return 0;
unlock:
	inode_unlock(ip);
	return error;
}

void core_read_end(struct core *c, struct inode *ip)
{
	inode_unlock(ip);
}

#define READ_VECTORS 64

ssize_t core_read(struct core *c, struct inode *ip, void *out, size_t bytes, uint64_t offset)
{
	struct iovec vector[READ_VECTORS];
	size_t done = 0;

	while (done < bytes) {
		int count;
		int error = core_read_begin(
			c, ip, offset + done, bytes - done, vector, READ_VECTORS, &count);

		if (error)
			return done > 0 ? (ssize_t)done : error;
		for (int i = 0; i < count; i++) {
			memcpy((char *)out + done, vector[i].iov_base, vector[i].iov_len);
			done += vector[i].iov_len;
		}
		core_read_end(c, ip);
		if (count == 0)
			break;
	}
	return (ssize_t)done;
}
