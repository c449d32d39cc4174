// SPDX-License-Identifier: BSD-2-Clause
/*
 * ops_data.c - read and write, between the kernel and the regions' memory with no copy between.
 *
 * A read is answered straight from the region: the file's lock is held for reading until the
 * kernel has taken the bytes. A write's bytes go from the request's buffer straight into the
 * region, under the file's lock for writing.
 *
 * A read is never short but at the end of the file: the kernel takes a short one for that.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "cached_pages.h"
#include "caller.h"
#include "control.h"
#include "invalidate.h"
#include "operation.h"
#include "ops.h"
#include "reply.h"

/* The most pieces a request has: 1 MiB in single blocks, unaligned at both ends. */
#define PIECES 260

/* ---- read ------------------------------------------------------------------------------------ */

void op_read(fuse_req_t req, fuse_ino_t ino, size_t bytes, off_t offset, struct fuse_file_info *fi)
{
	struct daemon *d = daemon_of(req);
	struct iovec pieces[PIECES];
	int count;

	if (ino == CONTROL_FILE_INO) {
		control_read(d, req, bytes, fi);
		return;
	}
	struct inode *ip = open_file_of(fi)->inode;
	if (bytes > 0)
		cached_note(core_inode_word(ip), (uint64_t)offset, (uint64_t)offset + bytes);
	int result = core_read_begin(d->core, ip, (uint64_t)offset, bytes, pieces, PIECES, &count);
	if (result != 0) {
		reply_error(req, result);
		return;
	}
	fuse_reply_iov(req, pieces, count);
	core_read_end(d->core, ip);
}

/* ---- write ----------------------------------------------------------------------------------- */

struct writing {
	struct operation base;
	uint64_t offset;
	uint64_t length;
	uint64_t written;
	const char *bytes;
	char *kept; /* a parked one's own copy of them */
	bool append;
};

static uint64_t fill(const char *bytes, const struct iovec *piece, int count)
{
	uint64_t done = 0;

	for (int i = 0; i < count; i++) {
		memcpy(piece[i].iov_base, bytes + done, piece[i].iov_len);
		done += piece[i].iov_len;
	}
	return done;
}

/* One stretch of it: as much as core takes at once. */
static int write_some(struct writing *w)
{
	struct core *c = w->base.daemon->core;
	struct iovec pieces[PIECES];
	struct core_write cw = {
		.inode = w->base.inode,
		.offset = w->offset + w->written,
		.length = w->length - w->written,
		.vector = pieces,
		.vectors = PIECES,
		.append = w->append,
		.cred = &w->base.caller.cred,
	};
	int result = core_write_begin(c, &cw);

	if (result != 0)
		return result;
	uint64_t filled = fill(w->bytes + w->written, pieces, cw.count);
	bool elsewhere = cw.offset != w->offset + w->written;
	result = core_write_end(c, &cw, filled);
	if (result != 0)
		return result;
	/* The kernel put an appended write's pages where it thought the end was. */
	if (elsewhere)
		(void)invalidate_pages(
			w->base.daemon, core_ino(w->base.inode), 0, UINT64_MAX, NULL, NULL);
	w->written += filled;
	return 0;
}

static int write_run(struct operation *op)
{
	struct writing *w = (struct writing *)op;
	int result = 0;

	while (result == 0 && w->written < w->length) {
		uint64_t before = w->written;
		result = write_some(w);
		if (result == 0 && w->written == before)
			result = -ENOSPC;
	}
	return w->written > 0 ? 0 : result;
}

static void write_reply(struct operation *op, int result)
{
	const struct writing *w = (const struct writing *)op;

	if (result != 0)
		reply_error(op->req, result);
	else
		fuse_reply_write(op->req, w->written);
}

static int write_keep(struct operation *op)
{
	struct writing *w = (struct writing *)op;

	w->kept = malloc(w->length);
	if (w->kept == NULL)
		return -ENOMEM;
	memcpy(w->kept, w->bytes, w->length);
	w->bytes = w->kept;
	return 0;
}

static void write_drop(struct operation *op)
{
	free(((struct writing *)op)->kept);
}

void op_write_buf(fuse_req_t req, fuse_ino_t ino, struct fuse_bufvec *buffer, off_t offset,
	struct fuse_file_info *fi)
{
	struct change change = {.kind = CHANGE_FILL, .operation = "write"};
	struct stat st;
	struct writing w = {
		.base = {.bytes = sizeof(w),
			.daemon = daemon_of(req),
			.req = req,
			.run = write_run,
			.reply = write_reply,
			.keep = write_keep,
			.drop = write_drop},
		.offset = (uint64_t)offset,
		.length = buffer->buf[0].size,
		.bytes = buffer->buf[0].mem,
	};

	assert(buffer->count == 1 && !(buffer->buf[0].flags & FUSE_BUF_IS_FD));
	if (control_owns(ino)) {
		control_write(w.base.daemon, req, w.bytes, w.length, fi);
		return;
	}
	w.base.inode = open_file_of(fi)->inode;
	if (w.length > 0 && ((fi->flags & O_DIRECT) == 0 || fi->writepage))
		cached_note(core_inode_word(w.base.inode), w.offset, w.offset + w.length);
	/* A page that was stored to through a mapping is written back to its own place. */
	w.append = (fi->flags & O_APPEND) != 0 && !fi->writepage;
	caller_init_noted(&w.base.caller, req);
	change.start = w.offset;
	/* It goes where the file ends, which may not be where the kernel thinks that is. */
	if (w.append && core_getattr(w.base.daemon->core, w.base.inode, &st, NULL) == 0)
		change.start = (uint64_t)st.st_size;
	change.end = change.start + w.length;
	operation_start(&w.base, &change);
}
