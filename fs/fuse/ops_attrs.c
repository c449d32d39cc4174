// SPDX-License-Identifier: BSD-2-Clause
/*
 * ops_attrs.c - attributes.
 *
 * setattr
 *   The kernel sends one for chmod, chown, utimensat and truncate, never mixed but for the times
 *   that go with each. A new size is arbitrated and set first, since it alone may fail once the
 *   rest has been looked at; then the rest, in one transaction.
 *
 *   With HANDLE_KILLPRIV_V2 the kernel leaves setuid clearing to us. Before a write or fallocate
 *   that has bits to clear it sends a setattr that sets nothing; the bits are cleared then, so that
 *   the kernel's copy of the mode, which the reply carries, is right from there on.
 *
 * statx arrives as a getattr with a note, and is answered in full: it has the time of birth.
 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "caller.h"
#include "channel.h"
#include "control.h"
#include "nodes.h"
#include "operation.h"
#include "ops.h"
#include "reply.h"

/* ---- getattr --------------------------------------------------------------------------------- */

/* linux/fuse.h since 6.6 */
struct sx_time {
	int64_t seconds;
	uint32_t nanoseconds;
	int32_t reserved;
};
struct sx {
	uint32_t mask, block_bytes;
	uint64_t attributes;
	uint32_t nlink, uid, gid;
	uint16_t mode, spare0[1];
	uint64_t ino, size, blocks, attributes_mask;
	struct sx_time atime, btime, ctime, mtime;
	uint32_t rdev_major, rdev_minor, dev_major, dev_minor;
	uint64_t spare2[14];
};
struct sx_out {
	uint64_t attr_valid; /* seconds */
	uint32_t attr_valid_ns;
	uint32_t flags;
	uint64_t spare[2];
	struct sx stat;
};
_Static_assert(sizeof(struct sx) == 256, "as struct statx");
_Static_assert(sizeof(struct sx_out) == 288, "as fuse_statx_out");

static struct sx_time sx_time(struct timespec t)
{
	return (struct sx_time){.seconds = t.tv_sec, .nanoseconds = (uint32_t)t.tv_nsec};
}

static void reply_statx(fuse_req_t req, const struct stat *st, const struct timespec *btime)
{
	struct sx_out out = {.attr_valid = (uint64_t)CACHE_SECONDS,
		.stat = {
			.mask = STATX_BASIC_STATS | STATX_BTIME,
			.block_bytes = (uint32_t)st->st_blksize,
			.nlink = (uint32_t)st->st_nlink,
			.uid = st->st_uid,
			.gid = st->st_gid,
			.mode = (uint16_t)st->st_mode,
			.ino = st->st_ino,
			.size = (uint64_t)st->st_size,
			.blocks = (uint64_t)st->st_blocks,
			.atime = sx_time(st->st_atim),
			.btime = sx_time(*btime),
			.ctime = sx_time(st->st_ctim),
			.mtime = sx_time(st->st_mtim),
			.rdev_major = major(st->st_rdev),
			.rdev_minor = minor(st->st_rdev),
		}};

	fuse_reply_buf(req, (const char *)&out, sizeof(out));
}

void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct core *c = daemon_of(req)->core;
	struct timespec btime = {0};
	struct stat st;
	struct inode *ip;
	int result;

	if (control_owns(ino)) {
		result = nodes_attributes(ino, &st);
	} else {
		result = core_get(c, ino, &ip);
		if (result == 0) {
			result = core_getattr(c, ip, &st, &btime);
			core_put(c, ip, 1);
		}
	}
	if (result != 0)
		reply_error(req, result);
	else if (channel_note()->statx)
		reply_statx(req, &st, &btime);
	else
		fuse_reply_attr(req, &st, CACHE_SECONDS);
}

/* ---- setattr --------------------------------------------------------------------------------- */

struct setattr {
	struct operation base;
	struct core_setattr set; /* set.cred is filled in where it is run: the copy's own */
	uint64_t size;
	bool resize;
};

static int setattr_run(struct operation *op)
{
	struct setattr *s = (struct setattr *)op;
	struct core *c = op->daemon->core;
	int result = 0;

	if (s->resize)
		result = core_truncate(c, op->inode, s->size, &op->caller.cred);
	if (result == 0 && s->set.valid != 0) {
		s->set.cred = &op->caller.cred;
		result = core_setattr(c, op->inode, &s->set);
	}
	return result;
}

static void setattr_reply(struct operation *op, int result)
{
	if (result != 0)
		reply_error(op->req, result);
	else
		reply_attributes(op->req, op->inode);
}

static void setattr_times(struct core_setattr *set, const struct stat *attr, int valid)
{
	if (valid & FUSE_SET_ATTR_ATIME_NOW)
		set->valid |= CORE_SET_ATIME_NOW;
	else if (valid & FUSE_SET_ATTR_ATIME)
		set->valid |= CORE_SET_ATIME;
	if (valid & FUSE_SET_ATTR_MTIME_NOW)
		set->valid |= CORE_SET_MTIME_NOW;
	else if (valid & FUSE_SET_ATTR_MTIME)
		set->valid |= CORE_SET_MTIME;
	if (valid & FUSE_SET_ATTR_CTIME)
		set->valid |= CORE_SET_CTIME;
	set->atime = attr->st_atim;
	set->mtime = attr->st_mtim;
	set->ctime = attr->st_ctim;
}

/* The setattr that sets nothing: see the top. */
static void setattr_kill(struct setattr *s)
{
	const struct core_cred *cred = &s->base.caller.cred;
	struct stat st;

	if (core_getattr(s->base.daemon->core, s->base.inode, &st, NULL) != 0 ||
		!S_ISREG(st.st_mode))
		return;
	mode_t mode = st.st_mode & ~(mode_t)S_ISUID;
	if ((mode & S_ISGID) && ((mode & S_IXGRP) || !cred->in_group(cred, st.st_gid)))
		mode &= ~(mode_t)S_ISGID;
	if (mode != st.st_mode) {
		s->set.valid |= CORE_SET_MODE;
		s->set.mode = mode & 07777;
	}
}

static void setattr_describe(struct setattr *s, const struct stat *attr, int valid)
{
	fuse_req_t req = s->base.req;

	if (valid & FUSE_SET_ATTR_SIZE)
		caller_init_noted(&s->base.caller, req);
	else if (valid & (FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID))
		caller_init_asked(&s->base.caller, req, s->base.inode);
	else
		caller_init(&s->base.caller, req, true);
	if (valid & FUSE_SET_ATTR_MODE) {
		s->set.valid |= CORE_SET_MODE;
		s->set.mode = attr->st_mode & 07777;
	}
	if (valid & FUSE_SET_ATTR_UID) {
		s->set.valid |= CORE_SET_UID;
		s->set.uid = attr->st_uid;
	}
	if (valid & FUSE_SET_ATTR_GID) {
		s->set.valid |= CORE_SET_GID;
		s->set.gid = attr->st_gid;
	}
	setattr_times(&s->set, attr, valid);
	if (valid & FUSE_SET_ATTR_SIZE) {
		s->resize = true;
		s->size = (uint64_t)attr->st_size;
	}
	if (!s->resize && s->set.valid == 0 && channel_kills_privileges(s->base.daemon))
		setattr_kill(s);
}

void op_setattr(
	fuse_req_t req, fuse_ino_t ino, struct stat *attr, int valid, struct fuse_file_info *fi)
{
	struct daemon *d = daemon_of(req);
	struct setattr s = {.base = {.bytes = sizeof(s),
				    .daemon = d,
				    .req = req,
				    .run = setattr_run,
				    .reply = setattr_reply}};
	struct change change = {.kind = CHANGE_FREE, .operation = "truncate"};

	if (control_owns(ino)) {
		reply_error(req, -EPERM);
		return;
	}
	int result = core_get(d->core, ino, &s.base.inode);
	if (result != 0) {
		reply_error(req, result);
		return;
	}
	setattr_describe(&s, attr, valid);
	if (s.resize) {
		core_truncate_frees(d->core, s.base.inode, s.size, &change.start, &change.end);
	} else if ((s.set.valid & CORE_SET_UID) && d->owner_moves_data) {
		change = (struct change){
			.kind = CHANGE_MOVE, .operation = "chown", .end = UINT64_MAX};
	}
	operation_start(&s.base, &change);
	core_put(d->core, s.base.inode, 1);
}

void op_statfs(fuse_req_t req, fuse_ino_t ino)
{
	struct statvfs st;
	int result = core_statfs(daemon_of(req)->core, &st);

	if (result != 0)
		reply_error(req, result);
	else
		fuse_reply_statfs(req, &st);
}
