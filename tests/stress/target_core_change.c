// SPDX-License-Identifier: BSD-2-Clause
/* target_core_change.c - a pool opened in this process: changes of names, attributes and data. */
#include "target_core_impl.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/sysmacros.h>

#include "model_data.h"

/* ---- names ----------------------------------------------------------------------------------- */

int64_t core_target_make(struct target *t, const struct op *op)
{
	struct inode *dir, *made;
	const char *name;
	char to[4096];
	int r = resolve_parent(t, op->path, &dir, &name);
	if (r < 0)
		return r;
	switch (op->kind) {
	case OP_CREATE:
		r = core_create(t->core, dir, name, S_IFREG | op->mode, 0, &own_cred, &made);
		break;
	case OP_MKDIR:
		r = core_create(t->core, dir, name, S_IFDIR | op->mode, 0, &own_cred, &made);
		break;
	case OP_MKNOD:
		r = core_create(t->core, dir, name, op->mode,
			S_ISCHR(op->mode) ? makedev(7, (unsigned)op->length) : 0, &own_cred, &made);
		break;
	default:
		link_target(op->seed, op->length, to);
		r = core_symlink(t->core, dir, name, to, &own_cred, &made);
	}
	core_put(t->core, dir, 1);
	if (r == 0)
		core_put(t->core, made, 1);
	return r;
}

int64_t core_target_make_link(struct target *t, const struct op *op)
{
	struct inode *ip, *dir, *there;
	struct stat st;
	const char *name;
	int r = resolve(t, op->path, &ip);
	if (r < 0)
		return r;
	r = resolve_parent(t, op->path2, &dir, &name);
	if (r < 0)
		goto put_ip;
	/* What the kernel's VFS decides before it asks a filesystem. */
	r = core_lookup(t->core, dir, name, &there);
	if (r == 0) {
		core_put(t->core, there, 1);
		r = -EEXIST;
		goto put_dir;
	}
	if (r != -ENOENT)
		goto put_dir;
	r = core_getattr(t->core, ip, &st, NULL);
	if (r < 0)
		goto put_dir;
	bool slot = op->path[0] == '@';
	if (S_ISDIR(st.st_mode))
		r = -EPERM;
	else if (st.st_nlink == 0 && slot && !t->linkable[op->path[1] - '0'])
		r = -ENOENT;
	else
		r = core_link(t->core, ip, dir, name);
	if (r == 0)
		for (int i = 0; i < SLOTS; i++)
			if (t->slots[i] == ip)
				t->linkable[i] = false;
put_dir:
	core_put(t->core, dir, 1);
put_ip:
	core_put(t->core, ip, 1);
	return r;
}

int64_t core_target_remove_name(struct target *t, const struct op *op)
{
	struct inode *dir, *gone = NULL;
	const char *name;
	int r = resolve_parent(t, op->path, &dir, &name);
	if (r < 0)
		return r;
	if (op->kind == OP_RMDIR)
		r = core_rmdir(t->core, dir, name);
	else
		r = core_unlink(t->core, dir, name, &gone);
	core_put(t->core, dir, 1);
	if (r == 0 && gone)
		core_put(t->core, gone, 1);
	return r;
}

int64_t core_target_rename_name(struct target *t, const struct op *op)
{
	struct inode *from, *to, *gone = NULL;
	const char *name, *to_name;
	int r = resolve_parent(t, op->path, &from, &name);
	if (r < 0)
		return r;
	r = resolve_parent(t, op->path2, &to, &to_name);
	if (r == 0) {
		r = core_rename(t->core, from, name, to, to_name, op->mode, &own_cred, &gone);
		core_put(t->core, to, 1);
	}
	core_put(t->core, from, 1);
	if (r == 0 && gone)
		core_put(t->core, gone, 1);
	return r;
}

int64_t core_target_crowd(struct target *t, const struct op *op)
{
	struct inode *dir, *ip;
	struct stat st;
	char name[64];
	int r = resolve(t, op->path, &dir);
	if (r < 0)
		return r;
	r = core_getattr(t->core, dir, &st, NULL);
	if (r == 0 && !S_ISDIR(st.st_mode))
		r = -ENOTDIR;
	uint32_t i = 0;
	while (r == 0 && i < op->count) {
		fill_name(op->seed, i, name);
		ip = NULL;
		if (op->kind == OP_FILL)
			r = core_create(t->core, dir, name, S_IFREG | 0644, 0, &own_cred, &ip);
		else
			r = core_unlink(t->core, dir, name, &ip);
		if (r == 0 && ip)
			core_put(t->core, ip, 1);
		if (r == (op->kind == OP_FILL ? -EEXIST : -ENOENT) ||
			(op->kind == OP_DRAIN && r == -EISDIR))
			r = 0;
		i += r == 0;
	}
	core_put(t->core, dir, 1);
	return i > 0 ? (int64_t)i : r;
}

/* ---- attributes ------------------------------------------------------------------------------ */

int64_t core_target_change_attributes(struct target *t, const struct op *op)
{
	struct inode *ip;
	struct stat st;
	char name[64];
	int r = resolve(t, op->path, &ip);
	if (r < 0)
		return r;
	struct core_setattr set = {.cred = &own_cred};
	void *value = NULL;
	r = core_getattr(t->core, ip, &st, NULL);
	if (r < 0)
		goto put;
	xattr_name(op->seed, name);
	switch (op->kind) {
	case OP_SETXATTR:
	case OP_DELXATTR:
		if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode)) {
			r = -EPERM;
		} else if (op->kind == OP_DELXATTR) {
			r = core_removexattr(t->core, ip, name);
		} else {
			value = malloc(op->length + 1);
			assert(value != NULL);
			fill_bytes(value, op->length, op->seed2);
			r = core_setxattr(
				t->core, ip, name, value, op->length, (int)op->mode, &own_cred);
		}
		goto put;
	case OP_CHMOD:
		if (S_ISLNK(st.st_mode)) {
			r = -EOPNOTSUPP;
			goto put;
		}
		set.valid = CORE_SET_MODE;
		set.mode = op->mode;
		break;
	case OP_CHOWN:
		set.valid = CORE_SET_UID | CORE_SET_GID;
		set.uid = op->mode;
		set.gid = op->count;
		break;
	default:
		set.valid = CORE_SET_ATIME | CORE_SET_MTIME;
		set.atime.tv_sec = set.mtime.tv_sec = (time_t)op->offset;
	}
	r = core_setattr(t->core, ip, &set);
put:
	free(value);
	core_put(t->core, ip, 1);
	return r;
}

/* ---- data ------------------------------------------------------------------------------------ */

static ssize_t write_all(
	struct target *t, struct inode *ip, const uint8_t *bytes, size_t count, uint64_t offset)
{
	size_t done = 0;
	while (done < count) {
		ssize_t r = core_write(
			t->core, ip, bytes + done, count - done, offset + done, &own_cred);
		if (r <= 0)
			return done > 0 ? (ssize_t)done : r;
		done += (size_t)r;
	}
	return (ssize_t)done;
}

static int64_t store(struct target *t, const struct op *op, struct inode *ip)
{
	struct stat st;
	uint64_t offset = op->offset;
	uint8_t *bytes = malloc(op->length + 1);
	assert(bytes != NULL);
	fill_bytes(bytes, op->length, op->seed);
	int64_t r = 0;
	if (op->kind == OP_APPEND) {
		r = core_getattr(t->core, ip, &st, NULL);
		offset = (uint64_t)st.st_size;
	}
	if (r == 0)
		r = write_all(t, ip, bytes, op->length, offset);
	free(bytes);
	return r;
}

static int64_t comb(struct target *t, const struct op *op, struct inode *ip)
{
	uint8_t bytes[COMB_BYTES];
	for (uint32_t i = 0; i < op->count; i++) {
		fill_bytes(bytes, sizeof(bytes), op->seed + i);
		ssize_t r = core_write(t->core, ip, bytes, sizeof(bytes),
			op->offset + (uint64_t)i * COMB_STRIDE, &own_cred);
		if (r < 0)
			return i > 0 ? (int64_t)i : r;
		if (r != (ssize_t)sizeof(bytes))
			return -EIO;
	}
	return op->count;
}

static int64_t copy(struct target *t, const struct op *op, struct inode *ip)
{
	struct inode *to;
	struct stat st;
	uint64_t done = 0, length = op->length;
	int r = core_getattr(t->core, ip, &st, NULL);
	if (r == 0)
		r = resolve_file(t, op->path2, &to);
	if (r < 0)
		return r;
	/* Of what is there now: a copy within one file makes it longer. */
	if (op->offset < (uint64_t)st.st_size && length > (uint64_t)st.st_size - op->offset)
		length = (uint64_t)st.st_size - op->offset;
	int64_t n = 0;
	while (done < length) {
		n = core_copy_range(t->core, ip, op->offset + done, to, op->offset2 + done,
			length - done, &own_cred);
		if (n <= 0)
			break;
		done += (uint64_t)n;
	}
	core_put(t->core, to, 1);
	return done > 0 ? (int64_t)done : n;
}

int64_t core_target_data(struct target *t, const struct op *op, void *read_bytes)
{
	struct inode *ip;
	int64_t r = resolve_file(t, op->path, &ip);
	if (r < 0)
		return r;
	switch (op->kind) {
	case OP_WRITE:
	case OP_APPEND:
		r = store(t, op, ip);
		break;
	case OP_READ:
		r = core_read(t->core, ip, read_bytes, op->length, op->offset);
		break;
	case OP_TRUNCATE:
		r = core_truncate(t->core, ip, op->offset, &own_cred);
		break;
	case OP_FALLOC:
		r = core_fallocate(t->core, ip, (int)op->mode, op->offset, op->length, &own_cred);
		break;
	case OP_COMB:
		r = comb(t, op, ip);
		break;
	default:
		r = copy(t, op, ip);
	}
	core_put(t->core, ip, 1);
	return r;
}
