// SPDX-License-Identifier: BSD-2-Clause
/*
 * target_core.c - a pool opened in this process. A crash is core_abandon() and core_open().
 */
#include "target.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "btree.h"
#include "model_data.h"
#include "pool.h"
#include "verify.h"

struct target {
	struct core *core;
	struct core_options options;
	char pool[4096];
	struct inode *slots[SLOTS];
	bool linkable[SLOTS]; /* made by tmpfile, not linked yet */
};

static bool in_any_group(const struct core_cred *cred, uint32_t gid)
{
	return true;
}

/* This process's: set when a target is opened. */
static struct core_cred own_cred = {.fsetid = true, .in_group = in_any_group};

static int open_pool(struct target *t)
{
	struct diag d = {0};
	int r = core_open(&t->options, &t->core, &d);
	if (r < 0)
		fprintf(stderr, "core_open: %s: %s\n", strerror(-r), d.text);
	return r;
}

/* As if region 0 stood on hugetlbfs or /dev/dax. It is empty still. */
static int use_units(struct target *t)
{
	struct core *c = t->core;
	struct btree tree = tables_tree(c);
	struct media_region media;
	struct btree_item item;
	struct tx *tx;
	void *object;
	int r = tx_begin(c->meta, &tx);
	if (r < 0)
		return r;
	r = tx_edit(tx, c->roots, MAGIC_ROOTS, &object);
	struct media_roots *roots = object;
	if (r == 0)
		r = btree_find(&tree, tx, &roots->regions, 0, &item);
	if (r == 0) {
		memcpy(&media, item.value, sizeof(media));
		media.alignment_shift = HUGE_SHIFT;
		r = btree_replace(&tree, tx, &roots->regions, 0, &media, sizeof(media));
	}
	if (r < 0) {
		tx_abort(tx);
		return r;
	}
	r = tx_commit(tx);
	if (r == 0)
		r = core_close(c);
	return r == 0 ? open_pool(t) : r;
}

static struct target *core_target_open(const struct target_options *options)
{
	struct target *t = calloc(1, sizeof(*t));
	struct diag d = {0};
	assert(t != NULL);
	own_cred.uid = geteuid();
	own_cred.gid = getegid();
	snprintf(t->pool, sizeof(t->pool), "%s/pool", options->directory);
	struct core_format format = {
		.pool = t->pool,
		.pool_bytes = options->pool_bytes,
		.meta_bytes = options->meta_bytes,
		.domains = options->domains,
		.lease_gid = ~0u,
		.force = true,
	};
	int r = core_format_pool(&format, &d);
	if (r < 0) {
		fprintf(stderr, "core_format_pool: %s: %s\n", strerror(-r), d.text);
		free(t);
		return NULL;
	}
	t->options = (struct core_options){.pool = t->pool};
	if (open_pool(t) < 0 || (options->units && use_units(t) < 0)) {
		free(t);
		return NULL;
	}
	return t;
}

/* ---- paths ----------------------------------------------------------------------------------- */

static int slot_of(struct target *t, const char *path, unsigned *slot)
{
	*slot = (unsigned)(path[1] - '0');
	return *slot < SLOTS && t->slots[*slot] ? 0 : -EBADF;
}

/* The parent, counted, and the last name (inside `path`). */
static int resolve_parent(struct target *t, const char *path, struct inode **out, const char **name)
{
	struct inode *at, *next;
	if (path[0] == '\0' || path[0] == '@')
		return -EINVAL;
	int r = core_get(t->core, ROOT_INO, &at);
	if (r < 0)
		return r;
	for (;;) {
		char part[PATH_BYTES * 4];
		const char *slash = strchr(path, '/');
		if (!slash)
			break;
		memcpy(part, path, (size_t)(slash - path));
		part[slash - path] = '\0';
		r = core_lookup(t->core, at, part, &next);
		core_put(t->core, at, 1);
		if (r < 0)
			return r;
		at = next;
		path = slash + 1;
	}
	struct stat st;
	r = core_getattr(t->core, at, &st, NULL);
	if (r == 0 && !S_ISDIR(st.st_mode))
		r = -ENOTDIR;
	if (r == 0 && strlen(path) > NAME_BYTES_MAX)
		r = -ENAMETOOLONG;
	if (r < 0) {
		core_put(t->core, at, 1);
		return r;
	}
	*out = at;
	*name = path;
	return 0;
}

static int resolve(struct target *t, const char *path, struct inode **out)
{
	struct inode *dir;
	const char *name;
	unsigned slot;
	if (path[0] == '\0')
		return core_get(t->core, ROOT_INO, out);
	if (path[0] == '@') {
		int r = slot_of(t, path, &slot);
		if (r < 0)
			return r;
		core_hold_inode(t->core, t->slots[slot], 1);
		*out = t->slots[slot];
		return 0;
	}
	int r = resolve_parent(t, path, &dir, &name);
	if (r < 0)
		return r;
	r = core_lookup(t->core, dir, name, out);
	core_put(t->core, dir, 1);
	return r;
}

/* -EINVAL, and nothing counted, if it is not a regular file. */
static int resolve_file(struct target *t, const char *path, struct inode **out)
{
	struct stat st;
	int r = resolve(t, path, out);
	if (r < 0)
		return r;
	r = core_getattr(t->core, *out, &st, NULL);
	if (r == 0 && !S_ISREG(st.st_mode))
		r = -EINVAL;
	if (r < 0)
		core_put(t->core, *out, 1);
	return r;
}

/* ---- names ----------------------------------------------------------------------------------- */

static int64_t make(struct target *t, const struct op *op)
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

static int64_t make_link(struct target *t, const struct op *op)
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

static int64_t remove_name(struct target *t, const struct op *op)
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

static int64_t rename_name(struct target *t, const struct op *op)
{
	struct inode *from, *to, *gone = NULL;
	const char *name, *to_name;
	int r = resolve_parent(t, op->path, &from, &name);
	if (r < 0)
		return r;
	r = resolve_parent(t, op->path2, &to, &to_name);
	if (r == 0) {
		r = core_rename(t->core, from, name, to, to_name, op->mode, &gone);
		core_put(t->core, to, 1);
	}
	core_put(t->core, from, 1);
	if (r == 0 && gone)
		core_put(t->core, gone, 1);
	return r;
}

static int64_t crowd(struct target *t, const struct op *op)
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

static int64_t change_attributes(struct target *t, const struct op *op)
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

static int64_t data(struct target *t, const struct op *op, void *read_bytes)
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

/* ---- slots, life ----------------------------------------------------------------------------- */

static int64_t hold(struct target *t, const struct op *op)
{
	struct inode *ip, *file;
	if (t->slots[op->slot])
		return -EBUSY;
	if (op->kind == OP_OPEN) {
		int r = resolve_file(t, op->path, &file);
		if (r < 0)
			return r;
	} else {
		struct stat st;
		int r = resolve(t, op->path, &ip);
		if (r < 0)
			return r;
		r = core_getattr(t->core, ip, &st, NULL);
		if (r == 0 && !S_ISDIR(st.st_mode))
			r = -ENOTDIR;
		if (r == 0)
			r = core_tmpfile(t->core, ip, S_IFREG | op->mode, &own_cred, &file);
		core_put(t->core, ip, 1);
		if (r < 0)
			return r;
	}
	t->slots[op->slot] = file;
	t->linkable[op->slot] = op->kind == OP_TMPFILE;
	return 0;
}

static void close_slots(struct target *t)
{
	for (int i = 0; i < SLOTS; i++) {
		if (t->slots[i])
			core_put(t->core, t->slots[i], 1);
		t->slots[i] = NULL;
	}
}

static int64_t core_target_run(struct target *t, const struct op *op, void *read_bytes)
{
	switch (op->kind) {
	case OP_CREATE:
	case OP_MKDIR:
	case OP_MKNOD:
	case OP_SYMLINK:
		return make(t, op);
	case OP_LINK:
		return make_link(t, op);
	case OP_UNLINK:
	case OP_RMDIR:
		return remove_name(t, op);
	case OP_RENAME:
		return rename_name(t, op);
	case OP_FILL:
	case OP_DRAIN:
		return crowd(t, op);
	case OP_SETXATTR:
	case OP_DELXATTR:
	case OP_CHMOD:
	case OP_CHOWN:
	case OP_UTIMENS:
		return change_attributes(t, op);
	case OP_OPEN:
	case OP_TMPFILE:
		return hold(t, op);
	case OP_CLOSE:
		if (!t->slots[op->slot])
			return -EBADF;
		core_put(t->core, t->slots[op->slot], 1);
		t->slots[op->slot] = NULL;
		return 0;
	case OP_CRASH:
		memset(t->slots, 0, sizeof(t->slots));
		core_abandon(t->core);
		return open_pool(t);
	case OP_REMOUNT: {
		close_slots(t);
		int r = core_close(t->core);
		return r < 0 ? r : open_pool(t);
	}
	case OP_COMPARE:
		return 0;
	default:
		return data(t, op, read_bytes);
	}
}

/* ---- looking --------------------------------------------------------------------------------- */

static int core_target_stat(struct target *t, const char *path, struct stat *out)
{
	struct inode *ip;
	int r = resolve(t, path, &ip);
	if (r < 0)
		return r;
	r = core_getattr(t->core, ip, out, NULL);
	core_put(t->core, ip, 1);
	return r;
}

struct emission {
	int (*emit)(void *context, const char *name, uint64_t ino, uint8_t type);
	void *context;
};

static int pass_on(void *context, const struct core_dirent *entry)
{
	struct emission *e = context;
	return e->emit(e->context, entry->name, entry->ino, entry->type);
}

static int core_target_list(struct target *t, const char *path,
	int (*emit)(void *context, const char *name, uint64_t ino, uint8_t type), void *context)
{
	struct emission e = {emit, context};
	struct inode *ip;
	int r = resolve(t, path, &ip);
	if (r < 0)
		return r;
	r = core_readdir(t->core, ip, 0, pass_on, &e);
	core_put(t->core, ip, 1);
	return r;
}

static ssize_t core_target_read(
	struct target *t, const char *path, void *out, size_t n, uint64_t offset)
{
	struct inode *ip;
	size_t done = 0;
	ssize_t r = resolve(t, path, &ip);
	if (r < 0)
		return r;
	do {
		r = core_read(t->core, ip, (char *)out + done, n - done, offset + done);
		if (r > 0)
			done += (size_t)r;
	} while (r > 0 && done < n);
	core_put(t->core, ip, 1);
	return r < 0 ? r : (ssize_t)done;
}

static int64_t core_target_seek(struct target *t, const char *path, uint64_t offset, int whence)
{
	struct inode *ip;
	int64_t r = resolve(t, path, &ip);
	if (r < 0)
		return r;
	r = core_seek(t->core, ip, offset, whence);
	core_put(t->core, ip, 1);
	return r;
}

static ssize_t core_target_readlink(struct target *t, const char *path, char *out, size_t n)
{
	struct inode *ip;
	ssize_t r = resolve(t, path, &ip);
	if (r < 0)
		return r;
	r = core_readlink(t->core, ip, out, n);
	core_put(t->core, ip, 1);
	return r;
}

static ssize_t core_target_listxattr(struct target *t, const char *path, char *out, size_t n)
{
	struct inode *ip;
	ssize_t r = resolve(t, path, &ip);
	if (r < 0)
		return r;
	r = core_listxattr(t->core, ip, out, n);
	core_put(t->core, ip, 1);
	return r;
}

static ssize_t core_target_getxattr(
	struct target *t, const char *path, const char *name, void *out, size_t n)
{
	struct inode *ip;
	ssize_t r = resolve(t, path, &ip);
	if (r < 0)
		return r;
	r = core_getxattr(t->core, ip, name, out, n);
	core_put(t->core, ip, 1);
	return r;
}

static int core_target_space(struct target *t, struct target_space *out)
{
	struct core_info info;
	core_get_info(t->core, &info);
	out->data_free = info.free_bytes;
	out->meta_free = info.meta_free_bytes;
	return 0;
}

static void print_finding(void *context, const struct verify_finding *finding)
{
	fprintf(stderr, "verify: %s\n", finding->text);
}

static int core_target_verify(struct target *t)
{
	struct verify_options options = {.found = print_finding};
	struct verify_report report;
	int r = verify_core(t->core, &options, &report);
	if (r < 0)
		fprintf(stderr, "verify_core: %s\n", strerror(-r));
	return r < 0 || report.found > 0 ? -1 : 0;
}

static int core_target_close(struct target *t)
{
	close_slots(t);
	int r = core_close(t->core);
	free(t);
	return r;
}

static void core_target_clean_up(const struct target_options *options)
{
	(void)options; /* nothing outlives the process but files */
}

const struct target_kind target_core = {
	.name = "core",
	.open = core_target_open,
	.run = core_target_run,
	.stat = core_target_stat,
	.list = core_target_list,
	.read = core_target_read,
	.seek = core_target_seek,
	.readlink = core_target_readlink,
	.listxattr = core_target_listxattr,
	.getxattr = core_target_getxattr,
	.space = core_target_space,
	.verify = core_target_verify,
	.close = core_target_close,
	.clean_up = core_target_clean_up,
};
