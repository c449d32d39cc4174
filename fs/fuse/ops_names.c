// SPDX-License-Identifier: BSD-2-Clause
/*
 * ops_names.c - operations on names: lookup and forget, making, linking, removing, renaming.
 *
 * Each entry replied adds one to the kernel's lookup count and is one count of the inode; forget
 * takes them away.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "caller.h"
#include "control.h"
#include "nodes.h"
#include "ops.h"
#include "file_policy.h"
#include "reply.h"

void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct core *c = daemon_of(req)->core;
	struct inode *dir, *ip;

	if (nodes_own_name(parent, name)) {
		nodes_lookup(req, parent, name);
		return;
	}
	int result = core_get(c, parent, &dir);
	if (result != 0) {
		reply_error(req, result);
		return;
	}
	if (strcmp(name, ".") == 0) { /* of a file too: that is how an exported handle is opened */
		reply_entry(req, dir);
		return;
	}
	result = core_lookup(c, dir, name, &ip);
	core_put(c, dir, 1);
	if (result == 0)
		reply_entry(req, ip);
	else if (result == -ENOENT)
		reply_no_entry(req);
	else
		reply_error(req, result);
}

static void forget(struct core *c, fuse_ino_t ino, uint64_t count)
{
	struct inode *ip;

	if (!control_owns(ino) && core_get(c, ino, &ip) == 0)
		core_put(c, ip, count + 1);
}

void op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t count)
{
	forget(daemon_of(req)->core, ino, count);
	fuse_reply_none(req);
}

void op_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
	for (size_t i = 0; i < count; i++)
		forget(daemon_of(req)->core, forgets[i].ino, forgets[i].nlookup);
	fuse_reply_none(req);
}

/* The directory of a change of names; replies if it cannot be had. */
static struct inode *directory(fuse_req_t req, fuse_ino_t parent, const char *name, int own_name)
{
	struct inode *dir;
	int result = nodes_own_name(parent, name) ? own_name
						  : core_get(daemon_of(req)->core, parent, &dir);

	if (result != 0) {
		reply_error(req, result);
		return NULL;
	}
	return dir;
}

static void make_node(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
	struct core *c = daemon_of(req)->core;
	struct inode *ip, *dir = directory(req, parent, name, -EPERM);
	struct caller caller;

	if (dir == NULL)
		return;
	caller_init(&caller, req, true);
	int result = core_create(c, dir, name, mode, rdev, &caller.cred, &ip);
	if (result == 0 && (S_ISREG(mode) || S_ISDIR(mode)))
		policy_inherit(daemon_of(req), dir, ip);
	core_put(c, dir, 1);
	if (result == 0)
		reply_entry(req, ip);
	else
		reply_error(req, result);
}

void op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
	make_node(req, parent, name, (mode & S_IFMT) == 0 ? mode | S_IFREG : mode, rdev);
}

void op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	make_node(req, parent, name, (mode & ~(mode_t)S_IFMT) | S_IFDIR, 0);
}

void op_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name)
{
	struct core *c = daemon_of(req)->core;
	struct inode *ip, *dir = directory(req, parent, name, -EPERM);
	struct caller caller;

	if (dir == NULL)
		return;
	caller_init(&caller, req, true);
	int result = core_symlink(c, dir, name, target, &caller.cred, &ip);
	core_put(c, dir, 1);
	if (result == 0)
		reply_entry(req, ip);
	else
		reply_error(req, result);
}

void op_readlink(fuse_req_t req, fuse_ino_t ino)
{
	struct core *c = daemon_of(req)->core;
	char target[PATH_MAX + 1];
	struct inode *ip;

	if (control_owns(ino)) {
		reply_error(req, -EINVAL);
		return;
	}
	ssize_t bytes = core_get(c, ino, &ip);
	if (bytes == 0) {
		bytes = core_readlink(c, ip, target, sizeof(target) - 1);
		core_put(c, ip, 1);
	}
	if (bytes < 0) {
		reply_error(req, (int)bytes);
		return;
	}
	target[bytes] = '\0';
	fuse_reply_readlink(req, target);
}

void op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name)
{
	struct core *c = daemon_of(req)->core;
	struct inode *ip, *dir = directory(req, parent, name, -EPERM);

	if (dir == NULL)
		return;
	int result = control_owns(ino) ? -EPERM : core_get(c, ino, &ip);
	if (result == 0) {
		result = core_link(c, ip, dir, name);
		if (result == 0)
			reply_entry(req, ip);
		else
			core_put(c, ip, 1);
	}
	core_put(c, dir, 1);
	if (result != 0)
		reply_error(req, result);
}

void op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct core *c = daemon_of(req)->core;
	struct inode *dir = directory(req, parent, name, -EPERM);

	if (dir == NULL)
		return;
	int result = core_unlink(c, dir, name, NULL);
	core_put(c, dir, 1);
	reply_error(req, result);
}

void op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct core *c = daemon_of(req)->core;
	struct inode *dir = directory(req, parent, name, -EBUSY);

	if (dir == NULL)
		return;
	int result = core_rmdir(c, dir, name);
	core_put(c, dir, 1);
	reply_error(req, result);
}

void op_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t new_parent,
	const char *new_name, unsigned flags)
{
	_Static_assert(CORE_RENAME_NOREPLACE == RENAME_NOREPLACE, "core's flags are renameat2's");
	_Static_assert(CORE_RENAME_EXCHANGE == RENAME_EXCHANGE, "core's flags are renameat2's");
	_Static_assert(CORE_RENAME_WHITEOUT == RENAME_WHITEOUT, "core's flags are renameat2's");
	struct core *c = daemon_of(req)->core;
	struct inode *from, *to;
	struct caller caller;

	if (nodes_own_name(parent, name) || nodes_own_name(new_parent, new_name)) {
		reply_error(req, -EBUSY);
		return;
	}
	caller_init(&caller, req, true);
	int result = core_get(c, parent, &from);
	if (result == 0) {
		result = core_get(c, new_parent, &to);
		if (result == 0) {
			result =
				core_rename(c, from, name, to, new_name, flags, &caller.cred, NULL);
			core_put(c, to, 1);
		}
		core_put(c, from, 1);
	}
	reply_error(req, result);
}
