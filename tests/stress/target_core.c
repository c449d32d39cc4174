// SPDX-License-Identifier: BSD-2-Clause
/*
 * target_core.c - a pool opened in this process. A crash is core_abandon() and core_open().
 */
#include "target_core_impl.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "btree.h"
#include "pool.h"
#include "verify.h"

static bool in_any_group(const struct core_cred *cred, uint32_t gid)
{
	return true;
}

struct core_cred own_cred = {.fsetid = true, .in_group = in_any_group};

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
	char path[sizeof(t->pool) + 8];
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
	/* Its tag has a unit as well. */
	snprintf(path, sizeof(path), "%s/data.0", t->pool);
	if (r == 0 && truncate(path, (off_t)(media.bytes + HUGE_SIZE)) < 0)
		r = -errno;
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

int resolve_parent(struct target *t, const char *path, struct inode **out, const char **name)
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

int resolve(struct target *t, const char *path, struct inode **out)
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

int resolve_file(struct target *t, const char *path, struct inode **out)
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

static int64_t close_slot(struct target *t, const struct op *op)
{
	if (!t->slots[op->slot])
		return -EBADF;
	core_put(t->core, t->slots[op->slot], 1);
	t->slots[op->slot] = NULL;
	return 0;
}

static int64_t crash(struct target *t)
{
	memset(t->slots, 0, sizeof(t->slots));
	core_abandon(t->core);
	return open_pool(t);
}

static int64_t remount(struct target *t)
{
	close_slots(t);
	int r = core_close(t->core);
	return r < 0 ? r : open_pool(t);
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
	.make = core_target_make,
	.make_link = core_target_make_link,
	.remove_name = core_target_remove_name,
	.rename_name = core_target_rename_name,
	.crowd = core_target_crowd,
	.change_attributes = core_target_change_attributes,
	.data = core_target_data,
	.hold = hold,
	.close_slot = close_slot,
	.crash = crash,
	.remount = remount,
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
