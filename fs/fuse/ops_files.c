// SPDX-License-Identifier: BSD-2-Clause
/*
 * ops_files.c - open files: create, open, release, fsync, ioctl, poll.
 *
 * The kernel keeps a file's pages over close and open (keep_cache), since nobody else writes; and
 * sends no flush on close (there is no flush operation: it has nothing to do here). A file that is
 * write-leased is opened past the page cache.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "caller.h"
#include "channel.h"
#include "control.h"
#include "nodes.h"
#include "operation.h"
#include "ops.h"
#include "options.h"
#include "file_policy.h"
#include "reply.h"

/* Takes a count of its own. `file` is the memory for it, which is there before anything is done. */
static void file_open(
	struct open_file *file, struct daemon *d, struct inode *ip, struct fuse_file_info *fi)
{
	core_hold_inode(d->core, ip, 1);
	*file = (struct open_file){.inode = ip, .flags = fi->flags};
	fi->fh = (uint64_t)(uintptr_t)file;
	fi->noflush = 1;
	fi->keep_cache = 1;
	fi->direct_io = arbitrate_direct_io(d, core_ino(ip));
#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 15)
	fi->parallel_direct_writes = !(d->options->without & OPTIONS_WITHOUT_PARALLEL_WRITES);
#endif
}

static void file_close(struct daemon *d, struct open_file *file)
{
	core_put(d->core, file->inode, 1);
	free(file);
}

/* ---- create ---------------------------------------------------------------------------------- */

/* Takes over the count of ip, and the memory. */
static void reply_create(
	fuse_req_t req, struct inode *ip, struct open_file *file, struct fuse_file_info *fi)
{
	struct daemon *d = daemon_of(req);
	struct fuse_entry_param entry;
	int result = entry_describe(d->core, ip, &entry);

	if (result != 0) {
		free(file);
		core_put(d->core, ip, 1);
		reply_error(req, result);
		return;
	}
	file_open(file, d, ip, fi);
	if (fuse_reply_create(req, &entry, fi) != 0) {
		file_close(d, file);
		core_put(d->core, ip, 1);
	}
}

void op_create(
	fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, struct fuse_file_info *fi)
{
	struct core *c = daemon_of(req)->core;
	bool tmpfile = channel_note()->tmpfile;
	struct inode *dir, *ip;
	struct caller caller;

	if (!tmpfile && nodes_own_name(parent, name)) {
		reply_error(req, -EPERM);
		return;
	}
	struct open_file *file = malloc(sizeof(*file));
	int result = control_owns(parent) ? -EPERM
		     : file == NULL       ? -ENOMEM
					  : core_get(c, parent, &dir);
	if (result == 0) {
		mode = (mode & ~(mode_t)S_IFMT) | S_IFREG;
		caller_init(&caller, req, true);
		if (tmpfile)
			result = core_tmpfile(c, dir, mode, &caller.cred, &ip);
		else
			result = core_create(c, dir, name, mode, 0, &caller.cred, &ip);
		if (result == 0)
			policy_inherit(daemon_of(req), dir, ip);
		core_put(c, dir, 1);
	}
	if (result == 0) {
		reply_create(req, ip, file, fi);
	} else {
		free(file);
		reply_error(req, result);
	}
}

/* ---- open ------------------------------------------------------------------------------------ */

struct opening {
	struct operation base;
	struct fuse_file_info fi;
	bool truncate;
};

static int open_run(struct operation *op)
{
	struct opening *o = (struct opening *)op;
	struct daemon *d = op->daemon;
	struct open_file *file = malloc(sizeof(*file));
	int result = 0;

	if (file == NULL)
		return -ENOMEM;
	file_open(file, d, op->inode, &o->fi);
	if (o->truncate)
		result = core_truncate(d->core, op->inode, 0, &op->caller.cred);
	if (result != 0)
		file_close(d, file);
	return result;
}

/*
 * As fuse_reply_open(), with a flag that libfuse has a name for since 3.15 only (files that are
 * created do without it before that, until they are opened again). It lets direct
 * writes that do not extend the file go on side by side: our own lock is held for each of them
 * while its bytes are copied, not for the whole round trip.
 */
static int reply_open(fuse_req_t req, const struct daemon *d, const struct fuse_file_info *fi)
{
	struct fuse_open_out out = {.fh = fi->fh, .open_flags = FOPEN_KEEP_CACHE | FOPEN_NOFLUSH};

	if (fi->direct_io)
		out.open_flags |= FOPEN_DIRECT_IO;
	if (!(d->options->without & OPTIONS_WITHOUT_PARALLEL_WRITES))
		out.open_flags |= FOPEN_PARALLEL_DIRECT_WRITES;
	return fuse_reply_buf(req, (const char *)&out, sizeof(out));
}

static void open_reply(struct operation *op, int result)
{
	struct opening *o = (struct opening *)op;

	if (result != 0)
		reply_error(op->req, result);
	else if (reply_open(op->req, op->daemon, &o->fi) != 0)
		file_close(op->daemon, open_file_of(&o->fi));
}

void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct daemon *d = daemon_of(req);
	struct change change = {.kind = CHANGE_FREE, .operation = "open(O_TRUNC)"};
	struct opening o = {
		.base = {.bytes = sizeof(o),
			.daemon = d,
			.req = req,
			.run = open_run,
			.reply = open_reply},
		.fi = *fi,
		.truncate = (fi->flags & O_TRUNC) != 0,
	};

	if (ino == CONTROL_FILE_INO) {
		control_open(d, req, fi);
		return;
	}
	int result = control_owns(ino) ? -ESTALE : core_get(d->core, ino, &o.base.inode);
	if (result != 0) {
		reply_error(req, result);
		return;
	}
	if (o.truncate) {
		caller_init_noted(&o.base.caller, req);
		core_truncate_frees(d->core, o.base.inode, 0, &change.start, &change.end);
	}
	operation_start(&o.base, &change);
	core_put(d->core, o.base.inode, 1);
}

void op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct daemon *d = daemon_of(req);

	if (control_owns(ino)) {
		control_release(d, req, fi);
		return;
	}
	file_close(d, open_file_of(fi));
	fuse_reply_err(req, 0);
}

/* ---- fsync, ioctl, poll ---------------------------------------------------------------------- */

static void sync_inode(fuse_req_t req, fuse_ino_t ino, bool data_only)
{
	struct core *c = daemon_of(req)->core;
	struct inode *ip;
	int result = 0;

	if (!control_owns(ino)) {
		result = core_get(c, ino, &ip);
		if (result == 0) {
			result = core_fsync(c, ip, data_only);
			core_put(c, ip, 1);
		}
	}
	reply_error(req, result);
}

void op_fsync(fuse_req_t req, fuse_ino_t ino, int data_only, struct fuse_file_info *fi)
{
	sync_inode(req, ino, data_only != 0);
}

void op_fsyncdir(fuse_req_t req, fuse_ino_t ino, int data_only, struct fuse_file_info *fi)
{
	sync_inode(req, ino, data_only != 0);
}

void op_ioctl(fuse_req_t req, fuse_ino_t ino, unsigned int cmd, void *arg,
	struct fuse_file_info *fi, unsigned flags, const void *in, size_t in_bytes,
	size_t out_bytes)
{
	struct daemon *d = daemon_of(req);
	struct open_file *file = open_file_of(fi);

	if (ino == CONTROL_FILE_INO)
		control_ioctl(d, req, cmd, fi, flags, in, in_bytes, out_bytes);
	else if ((flags & FUSE_IOCTL_DIR) || control_owns(ino) || file == NULL)
		reply_error(req, -ENOTTY); /* directories have no open_file */
	else
		control_file_ioctl(
			d, req, file->inode, file->flags, cmd, flags, in, in_bytes, out_bytes);
}

void op_poll(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, struct fuse_pollhandle *ph)
{
	if (ino == CONTROL_FILE_INO) {
		control_poll(daemon_of(req), req, fi, ph);
		return;
	}
	if (ph != NULL)
		fuse_pollhandle_destroy(ph);
	fuse_reply_poll(req, fi->poll_events & (POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM));
}
