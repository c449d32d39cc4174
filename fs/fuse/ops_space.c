// SPDX-License-Identifier: BSD-2-Clause
/*
 * ops_space.c - operations on a file's space: fallocate, seeking for data and holes, copying inside
 * the filesystem.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <unistd.h>

#include "caller.h"
#include "control.h"
#include "operation.h"
#include "ops.h"
#include "reply.h"

#define COPY_BYTES_MAX (64ull << 20) /* of one request: it holds both files' locks */

/* ---- fallocate ------------------------------------------------------------------------------- */

struct allocating {
	struct operation base;
	int mode;
	uint64_t offset, length;
};

static int fallocate_run(struct operation *op)
{
	const struct allocating *a = (const struct allocating *)op;

	return core_fallocate(
		op->daemon->core, op->inode, a->mode, a->offset, a->length, &op->caller.cred);
}

static void fallocate_reply(struct operation *op, int result)
{
	reply_error(op->req, result);
}

void op_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t offset, off_t length,
	struct fuse_file_info *fi)
{
	struct daemon *d = daemon_of(req);
	struct change change = {.kind = CHANGE_FILL, .operation = "fallocate"};
	struct allocating a = {
		.base = {.bytes = sizeof(a),
			.daemon = d,
			.req = req,
			.run = fallocate_run,
			.reply = fallocate_reply},
		.mode = mode,
		.offset = (uint64_t)offset,
		.length = (uint64_t)length,
	};

	if (control_owns(ino)) {
		reply_error(req, -EOPNOTSUPP);
		return;
	}
	a.base.inode = open_file_of(fi)->inode;
	caller_init_asked(&a.base.caller, req, a.base.inode);
	change.start = a.offset;
	change.end = a.offset + a.length;
	if (mode & FALLOC_FL_PUNCH_HOLE) {
		change.kind = CHANGE_FREE;
		change.operation = "punch hole";
		core_punch_frees(a.offset, a.length, &change.start, &change.end);
		if (change.start == change.end) { /* inside one block: bytes are zeroed in place */
			change.kind = CHANGE_OVERWRITE;
			change.start = a.offset;
			change.end = a.offset + a.length;
		}
	} else if (mode & FALLOC_FL_ZERO_RANGE) {
		change.operation = "zero range";
	}
	operation_start(&a.base, &change);
}

/* ---- copy_file_range ------------------------------------------------------------------------- */

struct copying {
	struct operation base; /* base.inode is the target */
	struct inode *source;
	uint64_t source_offset, offset, length;
	uint64_t copied;
};

static int copy_run(struct operation *op)
{
	struct copying *y = (struct copying *)op;
	ssize_t n = core_copy_range(op->daemon->core, y->source, y->source_offset, op->inode,
		y->offset, y->length, &op->caller.cred);

	if (n < 0)
		return (int)n;
	y->copied = (uint64_t)n;
	return 0;
}

static void copy_reply(struct operation *op, int result)
{
	const struct copying *y = (const struct copying *)op;

	if (result != 0)
		reply_error(op->req, result);
	else
		fuse_reply_write(op->req, y->copied);
}

static int copy_keep(struct operation *op)
{
	core_hold_inode(op->daemon->core, ((struct copying *)op)->source, 1);
	return 0;
}

static void copy_drop(struct operation *op)
{
	core_put(op->daemon->core, ((struct copying *)op)->source, 1);
}

void op_copy_file_range(fuse_req_t req, fuse_ino_t ino_in, off_t offset_in,
	struct fuse_file_info *fi_in, fuse_ino_t ino_out, off_t offset_out,
	struct fuse_file_info *fi_out, size_t length, int flags)
{
	struct daemon *d = daemon_of(req);
	struct change change = {.kind = CHANGE_FILL, .operation = "copy_file_range"};
	struct copying y = {
		.base = {.bytes = sizeof(y),
			.daemon = d,
			.req = req,
			.run = copy_run,
			.reply = copy_reply,
			.keep = copy_keep,
			.drop = copy_drop},
		.source_offset = (uint64_t)offset_in,
		.offset = (uint64_t)offset_out,
		.length = length < COPY_BYTES_MAX ? length : COPY_BYTES_MAX,
	};

	if (control_owns(ino_in) || control_owns(ino_out)) {
		reply_error(req, -EOPNOTSUPP); /* the kernel copies by itself */
		return;
	}
	y.source = open_file_of(fi_in)->inode;
	y.base.inode = open_file_of(fi_out)->inode;
	caller_init_asked(&y.base.caller, req, y.base.inode);
	change.start = y.offset;
	change.end = y.offset + y.length;
	operation_start(&y.base, &change);
}

/* ---- lseek ----------------------------------------------------------------------------------- */

void op_lseek(fuse_req_t req, fuse_ino_t ino, off_t offset, int whence, struct fuse_file_info *fi)
{
	if (control_owns(ino)) {
		reply_error(req, -ESPIPE);
		return;
	}
	if (offset < 0) {
		reply_error(req, -ENXIO);
		return;
	}
	int64_t found =
		core_seek(daemon_of(req)->core, open_file_of(fi)->inode, (uint64_t)offset, whence);
	if (found < 0)
		reply_error(req, (int)found);
	else
		fuse_reply_lseek(req, found);
}
