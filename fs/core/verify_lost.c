// SPDX-License-Identifier: BSD-2-Clause
/*
 * verify_lost.c - names for inodes that nothing names: "#NUMBER" in /lost+found.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "dir.h"
#include "verify_repair.h"

static int find_lost_found(struct verify *v, uint64_t *out)
{
	static const struct core_cred root_cred = {.fsetid = true};
	struct core *c = v->core;
	struct inode *root, *dir;
	const struct media_inode *m;
	int error = inode_get(c, ROOT_INO, &root);

	if (error)
		return error;
	error = core_lookup(c, root, "lost+found", &dir);
	if (error == -ENOENT)
		error = core_create(c, root, "lost+found", S_IFDIR | 0700, 0, &root_cred, &dir);
	inode_put(c, root, 1);
	if (error)
		return error;
	error = inode_view(c, NULL, dir, &m);
	if (error == 0 && !S_ISDIR(m->mode))
		error = -ENOTDIR;
	*out = dir->ino;
	inode_put(c, dir, 1);
	return error;
}

static int enter(struct verify *v, struct tx *tx, uint64_t lost_found, uint64_t ino)
{
	struct inode dir = verify_stub(v, lost_found);
	struct media_inode *parent, *m;
	void *shadow;
	char name[32];
	int error = tx_edit(tx, dir.record, MAGIC_INODE, &shadow);

	parent = shadow;
	if (error == 0)
		error = tx_edit(tx, verify_record_offset(v, ino), MAGIC_INODE, &shadow);
	if (error)
		return error;
	m = shadow;
	snprintf(name, sizeof(name), "#%" PRIu64, ino);
	error = dir_insert(
		v->core, tx, &dir, parent, name, ino, (uint8_t)((m->mode & S_IFMT) >> 12));
	if (error)
		return error;
	if (S_ISDIR(m->mode)) {
		m->parent = lost_found;
		parent->nlink++;
	} else {
		m->nlink = 1;
	}
	return 0;
}

int verify_name_lost(struct verify *v, uint64_t ino)
{
	uint64_t lost_found;
	struct tx *tx;
	int error = find_lost_found(v, &lost_found);

	if (error == 0)
		error = tx_begin(v->core->meta, &tx);
	if (error)
		return error;
	error = enter(v, tx, lost_found, ino);
	if (error) {
		tx_abort(tx);
		return error == -EEXIST ? 0 : error;
	}
	return tx_commit(tx);
}
