// SPDX-License-Identifier: BSD-2-Clause
/*
 * namei.c - names of inodes: looked up, linked, unlinked. See namei.h; creation is create.c,
 * renaming rename.c.
 *
 * Invariants
 *  1. An entry leads to an inode in use; a directory has one entry in all, and record.parent is
 *     where that is.
 *  2. nlink of a file counts its entries; of a directory it is 2 and one for each subdirectory.
 *  3. A directory that was removed has nlink 0 and takes no names.
 */
#include "namei.h"
#include "plant.h"

#include <errno.h>
#include <string.h>

#include "pool.h"

/* The kernel serialises operations in a directory; only other users of core can race at all. */
#define RACES_MAX 1000u

int name_check(const char *name)
{
	size_t bytes = strlen(name);

	if (bytes == 0)
		return -ENOENT;
	if (bytes > NAME_BYTES_MAX)
		return -ENAMETOOLONG;
	return memchr(name, '/', bytes) ? -EINVAL : 0;
}

bool name_is_dots(const char *name)
{
	return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

bool namei_again(struct core *c, int r, struct retry *retry)
{
	if (r == -EAGAIN)
		return ++retry->races < RACES_MAX;
	if (r != -ENOSPC)
		return false;
	if (retry->creates && !retry->grown) {
		retry->grown = true;
		if (inode_ensure_free(c) == 0)
			return true;
	}
	return core_reclaim(c, &retry->reclaimed);
}

static int find_locked(struct core *c, struct inode *dir, const char *name, struct inode **out)
{
	const struct media_inode *record;
	struct dir_entry entry;
	int r = inode_view(c, NULL, dir, &record);

	if (r)
		return r;
	if (!S_ISDIR(record->mode))
		return -ENOTDIR;
	if (strcmp(name, ".") == 0) {
		inode_hold(c, dir, 1);
		*out = dir;
		return 0;
	}
	if (strcmp(name, "..") == 0)
		return record->nlink ? inode_get(c, record->parent, out) : -ENOENT;
	r = dir_find(c, NULL, dir, record, name, &entry);
	if (r)
		return r;
	r = inode_get(c, entry.ino, out);
	/* While the directory is locked nobody can take the entry's link away. */
	return r == -ESTALE ? -EUCLEAN : r;
}

int namei_find(struct core *c, struct inode *dir, const char *name, struct inode **out)
{
	int r;

	inode_lock_read(dir);
	r = find_locked(c, dir, name, out);
	inode_unlock(dir);
	return r;
}

int namei_recheck(struct core *c, struct tx *tx, const struct inode *dir,
	const struct media_inode *record, const char *name, const struct inode *ip,
	struct dir_entry *out)
{
	int r = dir_find(c, tx, dir, record, name, out);

	return r ? r : out->ino == ip->ino ? 0 : -EAGAIN;
}

int namei_edit_dir(struct core *c, struct tx *tx, const struct inode *dir, struct media_inode **out)
{
	const struct media_inode *record;
	int r = inode_view(c, tx, dir, &record);

	if (r)
		return r;
	if (!S_ISDIR(record->mode))
		return -ENOTDIR;
	if (record->nlink == 0)
		return -ENOENT;
	return inode_edit(c, tx, dir, out);
}

int namei_add_subdirectory(struct media_inode *dir)
{
	if (dir->nlink >= LINKS_MAX)
		return -EMLINK;
	dir->nlink++;
	return 0;
}

int namei_drop_subdirectory(struct media_inode *dir)
{
	if (dir->nlink <= 2)
		return -EUCLEAN;
	dir->nlink--;
	return 0;
}

int core_lookup(struct core *c, struct inode *dir, const char *name, struct inode **out)
{
	int r = name_check(name);

	return r ? r : namei_find(c, dir, name, out);
}

/* ---- link ------------------------------------------------------------------------------------ */

/* For a planted fault. */
static void plant_count_at_home(struct core *c, const struct inode *ip, struct media_inode home)
{
	home.nlink++;
	home.head.checksum = object_checksum(&home, sizeof(home), ip->record);
	region_apply(c->meta_region, ip->record, &home, sizeof(home));
	(void)region_flush(c->meta_region, ip->record, sizeof(home));
	region_fence(c->meta_region);
}

static int link_in_tx(
	struct core *c, struct tx *tx, struct inode *ip, struct inode *dir, const char *name)
{
	struct media_inode *record, *dir_record;
	int r = namei_edit_dir(c, tx, dir, &dir_record);

	if (r)
		return r;
	r = inode_edit(c, tx, ip, &record);
	if (r)
		return r;
	if (S_ISDIR(record->mode))
		return -EPERM;
	if (record->nlink >= LINKS_MAX)
		return -EMLINK;
	if (record->nlink == 0) {
		if (!ip->linkable)
			return -ENOENT;
		r = inode_attention(c, tx, ip->ino, record->trim_start != record->trim_end);
		if (r)
			return r;
	}
	r = dir_insert(c, tx, dir, dir_record, name, ip->ino, namei_type(record->mode));
	if (r)
		return r;
	if (planted(PLANT_LINK_IN_PLACE))
		plant_count_at_home(c, ip, *record);
	record->nlink++;
	inode_touch(c, record, false);
	inode_touch(c, dir_record, true);
	return 0;
}

static int link_try(struct core *c, struct inode *ip, struct inode *dir, const char *name)
{
	struct inode *locked[] = {ip, dir};
	struct tx *tx;
	int r;

	inode_lock_many(locked, 2);
	r = tx_begin(c->meta, &tx);
	if (r == 0) {
		r = link_in_tx(c, tx, ip, dir, name);
		if (r)
			tx_abort(tx);
		else
			r = tx_commit(tx);
	}
	if (r == 0)
		ip->linkable = false;
	inode_unlock_many(locked, 2);
	return r;
}

int core_link(struct core *c, struct inode *ip, struct inode *dir, const char *name)
{
	struct retry retry = {0};
	int r = name_check(name);

	if (r)
		return r;
	if (name_is_dots(name))
		return -EEXIST;
	do {
		r = link_try(c, ip, dir, name);
	} while (namei_again(c, r, &retry));
	return r;
}

/* ---- unlink, rmdir --------------------------------------------------------------------------- */

static int unlink_in_tx(struct core *c, struct tx *tx, struct inode *dir, const char *name,
	struct inode *ip, bool directory)
{
	struct media_inode *record, *dir_record;
	struct dir_entry entry;
	int r = namei_edit_dir(c, tx, dir, &dir_record);

	if (r == 0)
		r = namei_recheck(c, tx, dir, dir_record, name, ip, &entry);
	if (r == 0)
		r = inode_edit(c, tx, ip, &record);
	if (r)
		return r;
	if (record->nlink == 0)
		return -EUCLEAN;
	if (directory && !S_ISDIR(record->mode))
		return -ENOTDIR;
	if (!directory && S_ISDIR(record->mode))
		return -EISDIR;
	if (directory) {
		if (record->size)
			return -ENOTEMPTY;
		r = namei_drop_subdirectory(dir_record);
		if (r)
			return r;
	}
	r = dir_delete(c, tx, dir, dir_record, entry.key);
	if (r)
		return r;
	inode_touch(c, dir_record, true);
	return inode_drop_link(c, tx, ip, record);
}

static int unlink_try(
	struct core *c, struct inode *dir, const char *name, bool directory, struct inode **gone)
{
	struct inode *ip;
	struct tx *tx;
	int r = namei_find(c, dir, name, &ip);

	if (r)
		return r;
	struct inode *locked[] = {dir, ip};

	inode_lock_many(locked, 2);
	r = tx_begin(c->meta, &tx);
	if (r == 0) {
		r = unlink_in_tx(c, tx, dir, name, ip, directory);
		if (r)
			tx_abort(tx);
		else
			r = tx_commit(tx);
	}
	inode_unlock_many(locked, 2);
	if (r == 0 && gone)
		*gone = ip;
	else
		inode_put(c, ip, 1);
	return r;
}

int core_unlink(struct core *c, struct inode *dir, const char *name, struct inode **gone)
{
	struct retry retry = {0};
	int r = name_check(name);

	if (r)
		return r;
	if (name_is_dots(name))
		return -EISDIR;
	do {
		r = unlink_try(c, dir, name, false, gone);
	} while (namei_again(c, r, &retry));
	return r;
}

int core_rmdir(struct core *c, struct inode *dir, const char *name)
{
	struct retry retry = {0};
	int r = name_check(name);

	if (r)
		return r;
	if (name_is_dots(name))
		return name[1] ? -ENOTEMPTY : -EINVAL;
	do {
		r = unlink_try(c, dir, name, true, NULL);
	} while (namei_again(c, r, &retry));
	return r;
}
