// SPDX-License-Identifier: BSD-2-Clause
/*
 * setattr.c - stat(2)'s view of an inode, and chmod, chown and utimes.
 *
 * setuid and setgid: a change of owner or group ends them on everything but directories, as the
 * kernel's own filesystems do (setgid without group execution is not setgid, and stays); chmod by a
 * caller outside of the group and without CAP_FSETID cannot set setgid.
 *
 * The exception is a file that never had a name (O_TMPFILE), and belongs to the caller until then.
 * overlayfs makes the copies of files for its upper layer like that: the mode first, then the
 * owner, by a call that is to end nothing, and that FUSE does not tell from chown(2). Nobody gains
 * by it what they cannot have: they set the bits themselves, on a file of their own, and may give
 * it away.
 */
#include <errno.h>
#include <sys/sysmacros.h>

#include "acl.h"
#include "file.h"

/* What one entry of a directory counts for in st_size: any number that grows with them. */
#define ENTRY_BYTES 32u

static struct timespec to_timespec(int64_t sec, uint32_t nsec)
{
	return (struct timespec){.tv_sec = sec, .tv_nsec = nsec};
}

int core_getattr(struct core *c, struct inode *ip, struct stat *out, struct timespec *btime)
{
	const struct media_inode *m;
	int error;

	inode_lock_read(ip);
	error = inode_view(c, NULL, ip, &m);
	if (error)
		goto unlock;
	*out = (struct stat){
		.st_ino = m->ino,
		.st_mode = m->mode,
		.st_nlink = m->nlink,
		.st_uid = m->uid,
		.st_gid = m->gid,
		.st_rdev = makedev(m->rdev_major, m->rdev_minor),
		.st_size = (off_t)(S_ISDIR(m->mode) ? (m->size + 2) * ENTRY_BYTES : m->size),
		.st_blksize = BLOCK_SIZE,
		.st_blocks = (blkcnt_t)(m->blocks * (BLOCK_SIZE / 512)),
		.st_atim = to_timespec(m->atime_sec, m->atime_nsec),
		.st_mtim = to_timespec(m->mtime_sec, m->mtime_nsec),
		.st_ctim = to_timespec(m->ctime_sec, m->ctime_nsec),
	};
	if (btime)
		*btime = to_timespec(m->btime_sec, m->btime_nsec);
unlock:
	inode_unlock(ip);
	return error;
}

static bool in_group(const struct core_cred *cred, uint32_t gid)
{
	if (!cred || cred->gid == gid)
		return true;
	return cred->in_group && cred->in_group(cred, gid);
}

static int set_mode(struct core *c, struct tx *tx, struct inode *ip, struct media_inode *record,
	const struct core_setattr *set)
{
	uint32_t mode = (record->mode & S_IFMT) | (set->mode & 07777);
	int error = acl_chmod(c, tx, ip, record, mode);

	if (error)
		return error;
	if ((mode & S_ISGID) && set->cred && !set->cred->fsetid &&
		!in_group(set->cred, record->gid))
		mode &= ~(uint32_t)S_ISGID;
	record->mode = mode;
	return 0;
}

static int set_owner(struct core *c, struct tx *tx, struct inode *ip, struct media_inode *record,
	const struct core_setattr *set)
{
	bool keeps = ip->linkable && set->cred && set->cred->uid == record->uid;
	bool moves = c->super.domains == DOMAINS_UID && (set->valid & CORE_SET_UID) &&
		     set->uid != record->uid && S_ISREG(record->mode) && record->blocks > 0;

	if (set->valid & CORE_SET_UID)
		record->uid = set->uid;
	if (set->valid & CORE_SET_GID)
		record->gid = set->gid;
	if (!S_ISDIR(record->mode) && !keeps) {
		record->mode &= ~(uint32_t)S_ISUID;
		if (record->mode & S_IXGRP)
			record->mode &= ~(uint32_t)S_ISGID;
	}
	return moves ? file_move(c, tx, ip, record) : 0;
}

static void set_times(struct core *c, struct media_inode *record, const struct core_setattr *set)
{
	struct timespec now, atime = set->atime, mtime = set->mtime, ctime;

	inode_now(c, &now);
	ctime = set->valid & CORE_SET_CTIME ? set->ctime : now;
	if (set->valid & CORE_SET_ATIME_NOW)
		atime = now;
	if (set->valid & CORE_SET_MTIME_NOW)
		mtime = now;
	if (set->valid & (CORE_SET_ATIME | CORE_SET_ATIME_NOW)) {
		record->atime_sec = atime.tv_sec;
		record->atime_nsec = (uint32_t)atime.tv_nsec;
	}
	if (set->valid & (CORE_SET_MTIME | CORE_SET_MTIME_NOW)) {
		record->mtime_sec = mtime.tv_sec;
		record->mtime_nsec = (uint32_t)mtime.tv_nsec;
	}
	record->ctime_sec = ctime.tv_sec;
	record->ctime_nsec = (uint32_t)ctime.tv_nsec;
}

static int change(struct core *c, struct inode *ip, const struct core_setattr *set)
{
	struct media_inode *record;
	struct tx *tx;
	int error = extent_tx_begin(c, &tx);

	if (error)
		return error;
	error = inode_edit(c, tx, ip, &record);
	if (!error && (set->valid & (CORE_SET_UID | CORE_SET_GID)))
		error = set_owner(c, tx, ip, record, set);
	if (!error && (set->valid & CORE_SET_MODE))
		error = set_mode(c, tx, ip, record, set);
	if (error) {
		extent_tx_abort(c, tx);
		return error;
	}
	set_times(c, record, set);
	return extent_tx_commit(c, tx);
}

static int setattr_once(struct core *c, struct inode *ip, const struct core_setattr *set)
{
	struct data_region *dr;
	int error = 0;

	/* Made here if it has to be: that is a transaction of its own. */
	if (c->super.domains == DOMAINS_UID && (set->valid & CORE_SET_UID))
		error = tables_region_for(c, set->uid, &dr);
	if (error)
		return error;
	inode_lock_write(ip);
	error = inode_finish_trim(c, ip);
	if (!error)
		error = change(c, ip, set);
	if (error == -E2BIG && (set->valid & CORE_SET_UID)) {
		error = file_move_many(c, ip, set->uid);
		if (!error)
			error = change(c, ip, set);
	}
	inode_unlock(ip);
	return error;
}

static bool valid_time(const struct timespec *t)
{
	return t->tv_nsec >= 0 && t->tv_nsec < 1000000000;
}

int core_setattr(struct core *c, struct inode *ip, const struct core_setattr *set)
{
	bool asked = false;
	int error;

	if (((set->valid & CORE_SET_ATIME) && !valid_time(&set->atime)) ||
		((set->valid & CORE_SET_MTIME) && !valid_time(&set->mtime)) ||
		((set->valid & CORE_SET_CTIME) && !valid_time(&set->ctime)))
		return -EINVAL;
	do {
		error = setattr_once(c, ip, set);
	} while (error == -ENOSPC && core_reclaim(c, &asked));
	return error;
}
