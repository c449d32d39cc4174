// SPDX-License-Identifier: BSD-2-Clause
/*
 * file_seek.c - SEEK_DATA and SEEK_HOLE. Data is what is written: unwritten blocks are holes.
 */
#include <errno.h>
#include <unistd.h>

#include "file.h"

struct seeking {
	bool data;
	uint64_t found;
};

static int seek_piece(void *context, const struct piece *piece)
{
	struct seeking *s = context;

	if ((piece->region && !piece->unwritten) != s->data)
		return 0;
	s->found = piece->offset;
	return 1;
}

int64_t core_seek(struct core *c, struct inode *ip, uint64_t offset, int whence)
{
	struct seeking s = {.data = whence == SEEK_DATA, .found = UINT64_MAX};
	const struct media_inode *record;
	int64_t result;

	if (whence != SEEK_DATA && whence != SEEK_HOLE)
		return -EINVAL;
	inode_lock_read(ip);
	result = inode_view(c, NULL, ip, &record);
	if (!result && !S_ISREG(record->mode))
		result = S_ISDIR(record->mode) ? -EISDIR : -EINVAL;
	if (!result && offset >= record->size)
		result = -ENXIO;
	if (!result)
		result = file_walk(c, ip, record, offset, record->size, seek_piece, &s);
	if (result >= 0) {
		if (s.found != UINT64_MAX)
			result = (int64_t)s.found;
		else
			result = s.data ? -ENXIO : (int64_t)record->size;
	}
	inode_unlock(ip);
	return result;
}
