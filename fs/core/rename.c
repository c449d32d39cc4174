// SPDX-License-Identifier: BSD-2-Clause
/*
 * rename.c - moving, replacing and exchanging names.
 *
 * A whiteout (RENAME_WHITEOUT) is left at the old name where a union filesystem, overlayfs for
 * one, asks for it: a character device 0:0 without permissions, made and named in the transaction
 * of the rename itself. The entry of the old name is pointed at it, so that the directory needs
 * no room for it.
 *
 * Who is whose ancestor changes only by a rename between two directories. Those hold rename_lock
 * from before they look until they have committed, so that the answer to "would this put a
 * directory below itself?", found by following record.parent upwards, holds until then.
 * (Directories made or removed meanwhile change nothing for those that are there.) Renames within
 * one directory need no more than its lock.
 *
 * Lock order: rename_lock, then inodes in rising number. The ancestors are looked at before, one
 * lock at a time.
 */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "namei.h"
#include "plant.h"
#include "pool.h"

/* Deeper than any path; a damaged pool may have a circle of parents. */
#define DEPTH_MAX (1u << 20)

struct renaming {
	struct inode *from, *to; /* directories; may be one */
	const char *name, *new_name;
	bool noreplace, exchange, whiteout;
	const struct core_cred *cred;  /* of a whiteout's owner */
	struct inode *source, *target; /* counted; target may be NULL */
	struct inode *left;            /* the whiteout, counted, as soon as there is one */
	/* In the transaction. */
	struct media_inode *from_record, *to_record, *source_record, *target_record;
	uint64_t source_key, target_key;
};

/* The parent of a directory, counted. -ENOENT: the directory was removed. */
static int parent_get(struct core *c, struct inode *ip, struct inode **out)
{
	const struct media_inode *record;
	int r;

	/* Under the lock, because a directory's parent lives as long as it does, and no longer. */
	inode_lock_read(ip);
	r = inode_view(c, NULL, ip, &record);
	if (r == 0 && !S_ISDIR(record->mode))
		r = -EUCLEAN;
	if (r == 0 && record->nlink == 0)
		r = -ENOENT;
	if (r == 0)
		r = inode_get(c, record->parent, out);
	inode_unlock(ip);
	return r == -ESTALE ? -EUCLEAN : r;
}

/* Is `above` the directory `below`, or an ancestor of it? 1, 0 or -errno. */
static int is_ancestor(struct core *c, const struct inode *above, struct inode *below)
{
	struct inode *ip = below;
	int r = 0;

	inode_hold(c, ip, 1);
	for (unsigned depth = 0; ip != above && ip->ino != ROOT_INO; depth++) {
		struct inode *parent;

		r = depth < DEPTH_MAX ? parent_get(c, ip, &parent) : -EUCLEAN;
		if (r)
			break;
		inode_put(c, ip, 1);
		ip = parent;
	}
	if (r == 0)
		r = ip == above;
	inode_put(c, ip, 1);
	return r;
}

static int is_directory(struct core *c, struct inode *ip)
{
	const struct media_inode *record;
	int r;

	inode_lock_read(ip);
	r = inode_view(c, NULL, ip, &record);
	if (r == 0)
		r = S_ISDIR(record->mode) ? 1 : 0;
	inode_unlock(ip);
	return r;
}

/* Would moving `ip` into `into` put it below itself? rename_lock is held. */
static int loop_check(struct core *c, struct inode *ip, struct inode *into)
{
	int r = is_directory(c, ip);

	if (r > 0)
		r = is_ancestor(c, ip, into);
	return r > 0 ? -EINVAL : r;
}

/* Finds source and target. */
static int rename_find(struct core *c, struct renaming *n)
{
	int r = namei_find(c, n->from, n->name, &n->source);

	if (r)
		return r;
	r = namei_find(c, n->to, n->new_name, &n->target);
	if (r == -ENOENT)
		return n->exchange ? -ENOENT : 0;
	return r ? r : n->noreplace ? -EEXIST : 0;
}

/* ---- under the locks ------------------------------------------------------------------------- */

static int rename_shadows(struct core *c, struct tx *tx, struct renaming *n)
{
	struct dir_entry entry;
	int r = namei_edit_dir(c, tx, n->from, &n->from_record);

	if (r == 0)
		r = namei_edit_dir(c, tx, n->to, &n->to_record);
	if (r == 0)
		r = namei_recheck(c, tx, n->from, n->from_record, n->name, n->source, &entry);
	if (r)
		return r;
	n->source_key = entry.key;
	if (n->target) {
		r = namei_recheck(c, tx, n->to, n->to_record, n->new_name, n->target, &entry);
		if (r) /* gone: then it is to be a plain move */
			return r == -ENOENT ? -EAGAIN : r;
		n->target_key = entry.key;
	} else {
		r = dir_find(c, tx, n->to, n->to_record, n->new_name, &entry);
		if (r != -ENOENT)
			return r ? r : -EAGAIN;
	}
	r = inode_edit(c, tx, n->source, &n->source_record);
	if (r == 0 && n->target)
		r = inode_edit(c, tx, n->target, &n->target_record);
	if (r)
		return r;
	return n->source_record->nlink && (!n->target || n->target_record->nlink) ? 0 : -EUCLEAN;
}

/* May source take target's place? */
static int replace_check(const struct renaming *n)
{
	bool source_dir = S_ISDIR(n->source_record->mode);
	bool target_dir = S_ISDIR(n->target_record->mode);

	if (source_dir && !target_dir)
		return -ENOTDIR;
	if (!source_dir && target_dir)
		return -EISDIR;
	return target_dir && n->target_record->size ? -ENOTEMPTY : 0;
}

/* A directory has moved from one parent to another: counts and its own "..". */
static int move_directory(struct media_inode *moved, struct media_inode *from,
	struct media_inode *to, uint64_t to_ino)
{
	int r = namei_drop_subdirectory(from);

	if (r == 0)
		r = namei_add_subdirectory(to);
	if (r == 0)
		moved->parent = to_ino;
	return r;
}

/* For planted faults: what was done so far becomes a transaction of its own. */
static int plant_commit_half(struct core *c, struct tx *tx, struct renaming *n)
{
	int r = tx_commit(tx);

	if (r == 0)
		r = tx_begin(c->meta, &tx); /* the same: it is the thread's */
	if (r == 0)
		r = inode_edit(c, tx, n->from, &n->from_record);
	if (r == 0)
		r = inode_edit(c, tx, n->to, &n->to_record);
	if (r == 0)
		r = inode_edit(c, tx, n->source, &n->source_record);
	if (r == 0 && n->target)
		r = inode_edit(c, tx, n->target, &n->target_record);
	return r;
}

/* The old name goes, or leads to a whiteout. */
static int leave_old_name(struct core *c, struct tx *tx, struct renaming *n)
{
	int r;

	if (!n->whiteout)
		return dir_delete(c, tx, n->from, n->from_record, n->source_key);
	r = whiteout_make(c, tx, n->from_record, n->cred, &n->left);
	if (r)
		return r;
	return dir_replace(c, tx, n->from, n->from_record, n->source_key, n->name, n->left->ino,
		namei_type(S_IFCHR));
}

static int rename_plain(struct core *c, struct tx *tx, struct renaming *n)
{
	uint8_t type = namei_type(n->source_record->mode);
	int r = 0;

	if (planted(PLANT_OLD_NAME_FIRST)) {
		r = leave_old_name(c, tx, n);
		if (r == 0)
			r = plant_commit_half(c, tx, n);
		if (r)
			return r;
	}
	if (n->target) {
		r = replace_check(n);
		if (r == 0 && S_ISDIR(n->target_record->mode))
			r = namei_drop_subdirectory(n->to_record);
		if (r == 0)
			r = dir_replace(c, tx, n->to, n->to_record, n->target_key, n->new_name,
				n->source->ino, type);
		if (r == 0)
			r = inode_drop_link(c, tx, n->target, n->target_record);
	} else {
		r = dir_insert(c, tx, n->to, n->to_record, n->new_name, n->source->ino, type);
	}
	if (r == 0 && !planted(PLANT_OLD_NAME_FIRST))
		r = leave_old_name(c, tx, n);
	if (r == 0 && n->from != n->to && S_ISDIR(n->source_record->mode))
		r = move_directory(n->source_record, n->from_record, n->to_record, n->to->ino);
	return r;
}

static int rename_exchange(struct core *c, struct tx *tx, struct renaming *n)
{
	bool source_dir = S_ISDIR(n->source_record->mode);
	bool target_dir = S_ISDIR(n->target_record->mode);
	int r = dir_replace(c, tx, n->to, n->to_record, n->target_key, n->new_name, n->source->ino,
		namei_type(n->source_record->mode));

	if (r == 0 && planted(PLANT_EXCHANGE_IN_TWO))
		r = plant_commit_half(c, tx, n);
	if (r == 0)
		r = dir_replace(c, tx, n->from, n->from_record, n->source_key, n->name,
			n->target->ino, namei_type(n->target_record->mode));
	if (r)
		return r;
	inode_touch(c, n->target_record, false);
	if (n->from == n->to)
		return 0;
	if (source_dir && target_dir) { /* counts stay, also at LINKS_MAX */
		n->source_record->parent = n->to->ino;
		n->target_record->parent = n->from->ino;
		return 0;
	}
	if (source_dir)
		return move_directory(n->source_record, n->from_record, n->to_record, n->to->ino);
	if (target_dir)
		return move_directory(n->target_record, n->to_record, n->from_record, n->from->ino);
	return 0;
}

static int rename_in_tx(struct core *c, struct tx *tx, struct renaming *n)
{
	int r = rename_shadows(c, tx, n);

	if (r)
		return r;
	r = n->exchange ? rename_exchange(c, tx, n) : rename_plain(c, tx, n);
	if (r)
		return r;
	inode_touch(c, n->from_record, true);
	inode_touch(c, n->to_record, true);
	inode_touch(c, n->source_record, false);
	return 0;
}

static int rename_commit(struct core *c, struct renaming *n)
{
	struct inode *locked[] = {n->from, n->to, n->source, n->target};
	struct tx *tx;
	int r;

	inode_lock_many(locked, 4);
	r = tx_begin(c->meta, &tx);
	if (r == 0) {
		r = rename_in_tx(c, tx, n);
		if (r)
			tx_abort(tx);
		else
			r = tx_commit(tx);
	}
	if (r && n->left)
		inode_discard(c, n->left);
	inode_unlock_many(locked, 4);
	if (r == 0 && n->left)
		inode_put(c, n->left, 1);
	return r;
}

/* ---- the operation --------------------------------------------------------------------------- */

static int rename_try(struct core *c, struct renaming *n, struct inode **gone)
{
	bool replaced = false;
	int r;

	n->source = n->target = n->left = NULL;
	r = rename_find(c, n);
	/* Two links of one file: POSIX wants nothing to happen. */
	if (r || n->source == n->target)
		goto out;
	if (n->from != n->to) {
		r = loop_check(c, n->source, n->to);
		if (r == 0 && n->exchange)
			r = loop_check(c, n->target, n->from);
		if (r)
			goto out;
	} else if (n->source == n->from || n->target == n->from) {
		r = -EUCLEAN;
		goto out;
	}
	r = rename_commit(c, n);
	replaced = r == 0 && n->target && !n->exchange;
out:
	if (n->source)
		inode_put(c, n->source, 1);
	if (replaced && gone)
		*gone = n->target;
	else if (n->target)
		inode_put(c, n->target, 1);
	return r;
}

int core_rename(struct core *c, struct inode *from, const char *name, struct inode *to,
	const char *new_name, unsigned flags, const struct core_cred *cred, struct inode **gone)
{
	struct renaming n = {
		.from = from,
		.to = to,
		.name = name,
		.new_name = new_name,
		.noreplace = flags & CORE_RENAME_NOREPLACE,
		.exchange = flags & CORE_RENAME_EXCHANGE,
		.whiteout = flags & CORE_RENAME_WHITEOUT,
		.cred = cred,
	};
	struct retry retry = {.creates = n.whiteout};
	bool between = from != to;
	int r = name_check(name);

	assert(cred || !n.whiteout);
	if (flags & ~(CORE_RENAME_NOREPLACE | CORE_RENAME_EXCHANGE | CORE_RENAME_WHITEOUT) ||
		(n.exchange && (n.noreplace || n.whiteout)))
		return -EINVAL;
	if (r == 0)
		r = name_check(new_name);
	if (r)
		return r;
	if (name_is_dots(name) || name_is_dots(new_name))
		return -EBUSY;
	if (gone)
		*gone = NULL;
	do {
		if (between && pthread_mutex_lock(&c->rename_lock))
			assert(!"rename_lock");
		r = rename_try(c, &n, gone);
		if (between && pthread_mutex_unlock(&c->rename_lock))
			assert(!"rename_lock");
	} while (namei_again(c, r, &retry));
	return r;
}
