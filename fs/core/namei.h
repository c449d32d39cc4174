// SPDX-License-Identifier: BSD-2-Clause
/*
 * namei.h - what the operations on names share. Private to fs/core.
 *
 * An operation looks its names up, takes a count of each inode that it found, locks all of them in
 * rising number, and looks again: -EAGAIN from the second look means that somebody was faster, and
 * namei_again() lets it start over, a bounded number of times. It does the same after -ENOSPC, once
 * for each thing that may make room.
 */
#ifndef CORE_NAMEI_H
#define CORE_NAMEI_H

#include <stdbool.h>
#include <stdint.h>

#include "core.h"
#include "dir.h"
#include "format.h"
#include "inode.h"
#include "tx.h"

/* -ENOENT: empty; -ENAMETOOLONG; -EINVAL: with a slash. */
int name_check(const char *name);
bool name_is_dots(const char *name); /* "." or ".." */

struct retry {
	unsigned races;
	bool creates; /* takes an inode number */
	bool grown;
	bool reclaimed;
};
/* Is `r` a reason to start over? No lock may be held. */
bool namei_again(struct core *c, int r, struct retry *retry);

/* The inode of an entry, counted. Takes and leaves the directory's lock. */
int namei_find(struct core *c, struct inode *dir, const char *name, struct inode **out);
/* Under the lock: is the entry there still, and leads to `ip`? -EAGAIN, -ENOENT. */
int namei_recheck(struct core *c, struct tx *tx, const struct inode *dir,
	const struct media_inode *record, const char *name, const struct inode *ip,
	struct dir_entry *out);
/* The record's shadow, of a directory that can take names: -ENOTDIR, -ENOENT if it was removed. */
int namei_edit_dir(
	struct core *c, struct tx *tx, const struct inode *dir, struct media_inode **out);

/* A subdirectory came or went. -EMLINK, -EUCLEAN. */
int namei_add_subdirectory(struct media_inode *dir);
int namei_drop_subdirectory(struct media_inode *dir);

static inline uint8_t namei_type(uint32_t mode)
{
	return (uint8_t)((mode & S_IFMT) >> 12); /* DT_* */
}

static inline bool cred_in_group(const struct core_cred *cred, uint32_t gid)
{
	return cred->gid == gid || (cred->in_group && cred->in_group(cred, gid));
}

/*
 * create.c: the inode of a whiteout in `dir`, with one link that the caller makes in the same
 * transaction. As inode_alloc(): counted, -ENOSPC, and the caller's to discard.
 */
int whiteout_make(struct core *c, struct tx *tx, const struct media_inode *dir,
	const struct core_cred *cred, struct inode **out);
/* symlink.c: gives a new symlink its target. */
int symlink_write(struct core *c, struct tx *tx, const struct inode *ip, struct media_inode *record,
	const char *target);

#endif
