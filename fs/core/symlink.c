// SPDX-License-Identifier: BSD-2-Clause
/*
 * symlink.c - the target of a symlink: in the inode while it fits there, else pieces in a tree,
 * each of SYMLINK_PIECE bytes but the last, keyed by their number from 0.
 */
#include <errno.h>
#include <string.h>

#include "namei.h"
#include "pool.h"

#define SYMLINK_PIECE BTREE_VALUE_MAX

int symlink_write(struct core *c, struct tx *tx, const struct inode *ip, struct media_inode *record,
	const char *target)
{
	struct btree tree = inode_tree(c, ip);
	size_t bytes = strlen(target);

	record->size = bytes;
	if (bytes <= SYMLINK_INLINE_MAX) {
		record->payload = PAYLOAD_SYMLINK;
		record->payload_count = (uint16_t)bytes;
		memcpy(record->bytes, target, bytes);
		return 0;
	}
	record->payload = PAYLOAD_TREE;
	record->payload_count = 0;
	for (size_t done = 0; done < bytes; done += SYMLINK_PIECE) {
		size_t piece = bytes - done < SYMLINK_PIECE ? bytes - done : SYMLINK_PIECE;
		int r = btree_insert(&tree, tx, &record->tree, done / SYMLINK_PIECE, target + done,
			(uint16_t)piece);

		if (r)
			return r;
	}
	return 0;
}

struct reader {
	char *out;
	size_t bytes; /* room */
	size_t done;
	size_t target; /* bytes that the target should have */
};

static int read_piece(void *context, const struct btree_item *item)
{
	struct reader *s = context;
	size_t piece = s->target - s->done < SYMLINK_PIECE ? s->target - s->done : SYMLINK_PIECE;
	size_t room = s->bytes > s->done ? s->bytes - s->done : 0;

	if (piece == 0 || item->key != s->done / SYMLINK_PIECE || item->bytes != piece)
		return -EUCLEAN;
	memcpy(s->out + s->done, item->value, piece < room ? piece : room);
	s->done += piece;
	return 0;
}

static ssize_t readlink_locked(struct core *c, struct inode *ip, char *out, size_t bytes)
{
	struct btree tree = inode_tree(c, ip);
	const struct media_inode *record;
	struct reader reader = {.out = out, .bytes = bytes};
	int r = inode_view(c, NULL, ip, &record);

	if (r)
		return r;
	if (!S_ISLNK(record->mode))
		return -EINVAL;
	if (record->size > SYMLINK_BYTES_MAX)
		return -EUCLEAN;
	reader.target = record->size;
	if (record->payload == PAYLOAD_SYMLINK) {
		if (record->payload_count > SYMLINK_INLINE_MAX ||
			record->payload_count != record->size)
			return -EUCLEAN;
		memcpy(out, record->bytes, record->size < bytes ? record->size : bytes);
		return (ssize_t)record->size;
	}
	if (record->payload != PAYLOAD_TREE)
		return -EUCLEAN;
	r = btree_walk(&tree, NULL, &record->tree, 0, read_piece, &reader);
	if (r)
		return r;
	return reader.done == reader.target ? (ssize_t)reader.target : -EUCLEAN;
}

ssize_t core_readlink(struct core *c, struct inode *ip, char *out, size_t bytes)
{
	ssize_t r;

	inode_lock_read(ip);
	r = readlink_locked(c, ip, out, bytes);
	inode_unlock(ip);
	return r;
}
