// SPDX-License-Identifier: BSD-2-Clause
/*
 * create.c - new inodes: files, directories, symlinks, nodes, whiteouts, and files without a name.
 *
 * The group, and the SGID bit, come from the directory as Linux has it (inode_init_owner(),
 * mode_strip_sgid()); permission bits from the mode asked for, and the umask or the directory's
 * default ACL (acl.h). One transaction makes the inode with all that belongs to it and names it.
 */
#include <errno.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "acl.h"
#include "namei.h"
#include "pool.h"

struct creation {
	const char *name;   /* NULL: none */
	const char *target; /* of a symlink */
	uint32_t mode;
	dev_t rdev;
	const struct core_cred *cred;
};

/* Group and mode of what is made in `dir`. */
static void inherit_owner(
	const struct media_inode *dir, const struct core_cred *cred, uint32_t *mode, uint32_t *gid)
{
	*gid = cred->gid;
	if (!(dir->mode & S_ISGID))
		return;
	*gid = dir->gid;
	if (S_ISDIR(*mode))
		*mode |= S_ISGID;
	else if ((*mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP) &&
		 !cred_in_group(cred, *gid) && !cred->fsetid)
		*mode &= ~(uint32_t)S_ISGID;
}

static int fill_record(struct core *c, struct tx *tx, const struct creation *n, struct inode *ip,
	struct media_inode *record, const struct inode *dir)
{
	if (S_ISDIR(record->mode)) {
		record->parent = dir->ino;
		record->payload = PAYLOAD_TREE;
	} else if (S_ISLNK(record->mode)) {
		return symlink_write(c, tx, ip, record, n->target);
	} else if (S_ISCHR(record->mode) || S_ISBLK(record->mode)) {
		record->rdev_major = major(n->rdev);
		record->rdev_minor = minor(n->rdev);
	}
	return 0;
}

static int name_it(
	struct core *c, struct tx *tx, const struct creation *n, struct inode *dir, uint64_t ino)
{
	struct media_inode *dir_record;
	int r = namei_edit_dir(c, tx, dir, &dir_record);

	if (r)
		return r;
	r = dir_insert(c, tx, dir, dir_record, n->name, ino, namei_type(n->mode));
	if (r == 0 && S_ISDIR(n->mode))
		r = namei_add_subdirectory(dir_record);
	inode_touch(c, dir_record, true);
	return r;
}

/*
 * No ACL is inherited, as on XFS: nobody is to open it, and it needs no more room than an inode.
 * Its number is 0:0, which is what a new record has.
 */
int whiteout_make(struct core *c, struct tx *tx, const struct media_inode *dir,
	const struct core_cred *cred, struct inode **out)
{
	uint32_t mode = S_IFCHR, gid;
	struct media_inode *record;

	inherit_owner(dir, cred, &mode, &gid);
	return inode_alloc(c, tx, mode, cred->uid, gid, 1, out, &record);
}

/* *out is set as soon as there is an inode, also if an error comes after that. */
static int create_in_tx(struct core *c, struct tx *tx, const struct creation *n, struct inode *dir,
	struct inode **out)
{
	const struct media_inode *dir_record;
	struct acl_inheritance acl;
	struct media_inode *record;
	struct dir_entry entry;
	uint32_t mode = n->mode, gid, nlink = !n->name ? 0 : S_ISDIR(n->mode) ? 2 : 1;
	int r = inode_view(c, tx, dir, &dir_record);

	if (r)
		return r;
	if (!S_ISDIR(dir_record->mode))
		return -ENOTDIR;
	if (dir_record->nlink == 0)
		return -ENOENT;
	inherit_owner(dir_record, n->cred, &mode, &gid);
	r = acl_plan(c, tx, dir, dir_record, mode, n->cred->umask, &acl);
	if (r)
		return r;
	r = inode_alloc(c, tx, acl.mode, n->cred->uid, gid, nlink, out, &record);
	if (r == 0) {
		(*out)->linkable = !n->name;
		r = fill_record(c, tx, n, *out, record, dir);
	}
	if (r == 0)
		r = acl_inherit(c, tx, *out, record, &acl);
	if (r == 0 && n->name)
		r = name_it(c, tx, n, dir, (*out)->ino);
	acl_plan_free(&acl);
	/* Without space, a name that is there already is still the first reason. (In the committed
	 * state: the transaction's may be half changed.) */
	if (r == -ENOSPC && n->name && dir_find(c, NULL, dir, dir_record, n->name, &entry) == 0)
		r = -EEXIST;
	return r;
}

static int create_try(
	struct core *c, const struct creation *n, struct inode *dir, struct inode **out)
{
	struct inode *ip = NULL;
	struct tx *tx;
	int r;

	inode_lock_write(dir);
	r = tx_begin(c->meta, &tx);
	if (r == 0) {
		r = create_in_tx(c, tx, n, dir, &ip);
		if (r)
			tx_abort(tx);
		else
			r = tx_commit(tx);
	}
	if (r && ip)
		inode_discard(c, ip);
	inode_unlock(dir);
	if (r)
		return r;
	*out = ip;
	return 0;
}

static int create(struct core *c, const struct creation *n, struct inode *dir, struct inode **out)
{
	struct retry retry = {.creates = true};
	int r = n->name ? name_check(n->name) : 0;

	if (r)
		return r;
	if (n->name && name_is_dots(n->name))
		return -EEXIST;
	do {
		r = create_try(c, n, dir, out);
	} while (namei_again(c, r, &retry));
	return r;
}

int core_create(struct core *c, struct inode *dir, const char *name, mode_t mode, dev_t rdev,
	const struct core_cred *cred, struct inode **out)
{
	struct creation n = {.name = name, .mode = mode, .rdev = rdev, .cred = cred};

	if ((n.mode & S_IFMT) == 0)
		n.mode |= S_IFREG;
	if (n.mode & ~(uint32_t)(S_IFMT | 07777))
		return -EINVAL;
	switch (n.mode & S_IFMT) {
	case S_IFREG:
	case S_IFDIR:
	case S_IFIFO:
	case S_IFSOCK:
	case S_IFCHR:
	case S_IFBLK:
		return create(c, &n, dir, out);
	default:
		return -EINVAL;
	}
}

int core_symlink(struct core *c, struct inode *dir, const char *name, const char *target,
	const struct core_cred *cred, struct inode **out)
{
	struct creation n = {.name = name, .target = target, .mode = S_IFLNK | 0777, .cred = cred};
	size_t bytes = strlen(target);

	if (bytes == 0)
		return -ENOENT;
	if (bytes > SYMLINK_BYTES_MAX)
		return -ENAMETOOLONG;
	return create(c, &n, dir, out);
}

int core_tmpfile(struct core *c, struct inode *dir, mode_t mode, const struct core_cred *cred,
	struct inode **out)
{
	struct creation n = {.mode = (mode & 07777) | S_IFREG, .cred = cred};

	if ((mode & S_IFMT) && !S_ISREG(mode))
		return -EINVAL;
	return create(c, &n, dir, out);
}
