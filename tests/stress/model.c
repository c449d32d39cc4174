// SPDX-License-Identifier: BSD-2-Clause
/*
 * model.c - the tree in memory: names, links, attributes. Data operations: model_data.c.
 *
 * The order in which errors are found is Linux's (fs/namei.c): both back ends are held to it.
 */
#include "model.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "model_data.h"

#define NAME_BYTES 256

static struct node *node_make(mode_t mode)
{
	struct node *n = calloc(1, sizeof(*n));
	assert(n != NULL);
	n->mode = mode;
	n->uid = geteuid();
	n->gid = getegid();
	n->mtime = -1;
	return n;
}

static bool is_dir(const struct node *n)
{
	return S_ISDIR(n->mode);
}

static void node_release(struct node *n)
{
	if (n->nlink > 0 || n->opens > 0)
		return;
	content_clear(&n->content);
	for (size_t i = 0; i < n->attribute_count; i++) {
		free(n->attributes[i].name);
		free(n->attributes[i].value);
	}
	free(n->attributes);
	free(n->target);
	free(n->entries);
	free(n);
}

void model_init(struct model *m)
{
	memset(m, 0, sizeof(*m));
	m->root = node_make(S_IFDIR | 0755);
	m->root->nlink = 2;
	m->root->parent = m->root;
}

static void tree_free(struct node *n)
{
	for (size_t i = 0; i < n->entry_count; i++) {
		struct node *child = n->entries[i].node;
		free(n->entries[i].name);
		if (is_dir(child)) {
			tree_free(child);
		} else {
			child->nlink--;
			node_release(child);
		}
	}
	n->nlink = 0;
	node_release(n);
}

void model_close_all(struct model *m)
{
	for (int i = 0; i < SLOTS; i++) {
		struct node *n = m->slots[i];
		m->slots[i] = NULL;
		if (n) {
			n->opens--;
			node_release(n);
		}
	}
}

void model_free(struct model *m)
{
	model_close_all(m);
	tree_free(m->root);
	m->root = NULL;
}

/* ---- names ----------------------------------------------------------------------------------- */

static size_t entry_at(const struct node *dir, const char *name, bool *found)
{
	size_t low = 0, high = dir->entry_count;
	*found = false;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = strcmp(dir->entries[middle].name, name);
		if (order == 0) {
			*found = true;
			return middle;
		}
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

struct node *model_child(const struct node *dir, const char *name)
{
	bool found;
	size_t at = entry_at(dir, name, &found);
	return found ? dir->entries[at].node : NULL;
}

static void entry_add(struct node *dir, const char *name, struct node *n)
{
	bool found;
	size_t at = entry_at(dir, name, &found);
	assert(!found);
	if (dir->entry_count == dir->entry_capacity) {
		dir->entry_capacity = dir->entry_capacity ? dir->entry_capacity * 2 : 8;
		dir->entries = realloc(dir->entries, dir->entry_capacity * sizeof(*dir->entries));
		assert(dir->entries != NULL);
	}
	memmove(&dir->entries[at + 1], &dir->entries[at],
		(dir->entry_count - at) * sizeof(*dir->entries));
	dir->entries[at].name = strdup(name);
	dir->entries[at].node = n;
	dir->entry_count++;
	dir->mtime = -1;
	if (is_dir(n)) {
		n->parent = dir;
		dir->nlink++;
	}
}

static struct node *entry_take(struct node *dir, const char *name)
{
	bool found;
	size_t at = entry_at(dir, name, &found);
	assert(found);
	struct node *n = dir->entries[at].node;
	free(dir->entries[at].name);
	memmove(&dir->entries[at], &dir->entries[at + 1],
		(dir->entry_count - at - 1) * sizeof(*dir->entries));
	dir->entry_count--;
	dir->mtime = -1;
	if (is_dir(n))
		dir->nlink--;
	return n;
}

/* The parent's node and the last name. */
static int resolve_parent(
	struct model *m, const char *path, struct node **dir, char name[NAME_BYTES])
{
	struct node *at = m->root;
	char part[PATH_BYTES];
	if (path[0] == '\0' || path[0] == '@')
		return -EINVAL;
	for (;;) {
		const char *slash = strchr(path, '/');
		size_t n = slash ? (size_t)(slash - path) : strlen(path);
		assert(n < sizeof(part));
		memcpy(part, path, n);
		part[n] = '\0';
		if (!is_dir(at))
			return -ENOTDIR;
		if (!slash) {
			if (n >= NAME_BYTES)
				return -ENAMETOOLONG;
			memcpy(name, part, n + 1);
			*dir = at;
			return 0;
		}
		if (n >= NAME_BYTES)
			return -ENAMETOOLONG;
		at = model_child(at, part);
		if (!at)
			return -ENOENT;
		path = slash + 1;
	}
}

int model_resolve(struct model *m, const char *path, struct node **out)
{
	struct node *dir;
	char name[NAME_BYTES];
	if (path[0] == '\0') {
		*out = m->root;
		return 0;
	}
	if (path[0] == '@') {
		unsigned slot = (unsigned)(path[1] - '0');
		if (slot >= SLOTS || !m->slots[slot])
			return -EBADF;
		*out = m->slots[slot];
		return 0;
	}
	int r = resolve_parent(m, path, &dir, name);
	if (r < 0)
		return r;
	struct node *n = model_child(dir, name);
	if (!n)
		return -ENOENT;
	*out = n;
	return 0;
}

static void inherit(struct node *n, const struct node *dir)
{
	if (dir->mode & S_ISGID) {
		n->gid = dir->gid;
		if (is_dir(n))
			n->mode |= S_ISGID;
	}
}

static int64_t make(struct model *m, const struct op *op)
{
	struct node *dir;
	char name[NAME_BYTES];
	int r = resolve_parent(m, op->path, &dir, name);
	if (r < 0)
		return r;
	if (model_child(dir, name))
		return -EEXIST;
	struct node *n = node_make(0);
	n->nlink = 1;
	switch (op->kind) {
	case OP_CREATE:
		n->mode = S_IFREG | op->mode;
		break;
	case OP_MKDIR:
		n->mode = S_IFDIR | op->mode;
		n->nlink = 2;
		break;
	case OP_MKNOD:
		n->mode = op->mode;
		n->minor = S_ISCHR(op->mode) ? op->length : 0;
		break;
	default:
		n->mode = S_IFLNK | 0777;
		n->target = malloc(op->length + 1);
		assert(n->target != NULL);
		link_target(op->seed, op->length, n->target);
		n->size = op->length;
	}
	inherit(n, dir);
	entry_add(dir, name, n);
	return 0;
}

static int64_t make_link(struct model *m, const struct op *op)
{
	struct node *n, *dir;
	char name[NAME_BYTES];
	int r = model_resolve(m, op->path, &n);
	if (r < 0)
		return r;
	r = resolve_parent(m, op->path2, &dir, name);
	if (r < 0)
		return r;
	if (model_child(dir, name))
		return -EEXIST;
	if (is_dir(n))
		return -EPERM;
	if (n->nlink == 0 && !n->linkable)
		return -ENOENT;
	n->linkable = false;
	n->nlink++;
	entry_add(dir, name, n);
	return 0;
}

/* Takes a name away, and what it named if that was the last link. */
static void drop(struct node *dir, const char *name)
{
	struct node *n = entry_take(dir, name);
	n->nlink = is_dir(n) ? 0 : n->nlink - 1;
	node_release(n);
}

static int64_t remove_name(struct model *m, const struct op *op)
{
	struct node *dir;
	char name[NAME_BYTES];
	int r = resolve_parent(m, op->path, &dir, name);
	if (r < 0)
		return r;
	struct node *n = model_child(dir, name);
	if (!n)
		return -ENOENT;
	if (op->kind == OP_UNLINK && is_dir(n))
		return -EISDIR;
	if (op->kind == OP_RMDIR && !is_dir(n))
		return -ENOTDIR;
	if (op->kind == OP_RMDIR && n->entry_count > 0)
		return -ENOTEMPTY;
	drop(dir, name);
	return 0;
}

static bool is_below(const struct node *dir, const struct node *ancestor)
{
	for (;; dir = dir->parent) {
		if (dir == ancestor)
			return true;
		if (dir->parent == dir)
			return false;
	}
}

static int rename_check(struct node *dir, struct node *n, struct node *to_dir,
	const struct node *over, unsigned flags)
{
	bool exchange = flags & 2u;
	if ((flags & 1u) && over)
		return -EEXIST;
	if (exchange && !over)
		return -ENOENT;
	if (is_dir(n) && is_below(to_dir, n))
		return -EINVAL;
	if (over && is_dir(over) && is_below(dir, over))
		return exchange ? -EINVAL : -ENOTEMPTY;
	if (over == n || !over || exchange)
		return 0;
	if (is_dir(n) && !is_dir(over))
		return -ENOTDIR;
	if (!is_dir(n) && is_dir(over))
		return -EISDIR;
	return is_dir(over) && over->entry_count > 0 ? -ENOTEMPTY : 0;
}

static int64_t rename_name(struct model *m, const struct op *op)
{
	struct node *dir, *to_dir;
	char name[NAME_BYTES], to_name[NAME_BYTES];
	int r = resolve_parent(m, op->path, &dir, name);
	if (r < 0)
		return r;
	r = resolve_parent(m, op->path2, &to_dir, to_name);
	if (r < 0)
		return r;
	struct node *n = model_child(dir, name);
	if (!n)
		return -ENOENT;
	struct node *over = model_child(to_dir, to_name);
	r = rename_check(dir, n, to_dir, over, op->mode);
	if (r < 0 || over == n)
		return r;
	entry_take(dir, name);
	if (op->mode & 2u) {
		entry_take(to_dir, to_name);
		entry_add(dir, name, over);
	} else if (over) {
		drop(to_dir, to_name);
	}
	entry_add(to_dir, to_name, n);
	if (op->mode & 4u) {
		n = node_make(S_IFCHR);
		n->nlink = 1;
		inherit(n, dir);
		entry_add(dir, name, n);
	}
	return 0;
}

static int64_t fill(struct model *m, const struct op *op, uint64_t done)
{
	struct node *dir;
	char name[64];
	int r = model_resolve(m, op->path, &dir);
	if (r < 0)
		return r;
	if (!is_dir(dir))
		return -ENOTDIR;
	uint32_t i = 0;
	for (; i < op->count && i < done; i++) {
		fill_name(op->seed, i, name);
		struct node *n = model_child(dir, name);
		if (op->kind == OP_DRAIN) {
			if (n && !is_dir(n))
				drop(dir, name);
		} else if (!n) {
			n = node_make(S_IFREG | 0644);
			n->nlink = 1;
			inherit(n, dir);
			entry_add(dir, name, n);
		}
	}
	return i;
}

/* ---- attributes ------------------------------------------------------------------------------ */

static int64_t set_attribute(struct model *m, const struct op *op)
{
	struct node *n;
	char name[64];
	int r = model_resolve(m, op->path, &n);
	if (r < 0)
		return r;
	if (!S_ISREG(n->mode) && !is_dir(n))
		return -EPERM;
	xattr_name(op->seed, name);
	size_t i = 0;
	while (i < n->attribute_count && strcmp(n->attributes[i].name, name) != 0)
		i++;
	bool there = i < n->attribute_count;
	if (op->kind == OP_DELXATTR) {
		if (!there)
			return -ENODATA;
		free(n->attributes[i].name);
		free(n->attributes[i].value);
		n->attributes[i] = n->attributes[--n->attribute_count];
		return 0;
	}
	if (there && op->mode == 1)
		return -EEXIST;
	if (!there && op->mode == 2)
		return -ENODATA;
	if (!there) {
		n->attributes =
			realloc(n->attributes, (n->attribute_count + 1) * sizeof(*n->attributes));
		assert(n->attributes != NULL);
		n->attributes[i] = (struct attribute){.name = strdup(name)};
		n->attribute_count++;
	}
	free(n->attributes[i].value);
	n->attributes[i].value = malloc(op->length + 1);
	assert(n->attributes[i].value != NULL);
	n->attributes[i].bytes = op->length;
	fill_bytes(n->attributes[i].value, op->length, op->seed2);
	return 0;
}

static int64_t change_attributes(struct model *m, const struct op *op)
{
	struct node *n;
	int r = model_resolve(m, op->path, &n);
	if (r < 0)
		return r;
	if (S_ISLNK(n->mode) && op->kind == OP_CHMOD)
		return -EOPNOTSUPP;
	if (op->kind == OP_CHMOD) {
		n->mode = (n->mode & S_IFMT) | op->mode;
	} else if (op->kind == OP_CHOWN) {
		n->uid = op->mode;
		n->gid = op->count;
	} else {
		n->mtime = (int64_t)op->offset;
	}
	return 0;
}

/* ---- held files ------------------------------------------------------------------------------ */

static int64_t hold(struct model *m, const struct op *op)
{
	struct node *n;
	if (m->slots[op->slot])
		return -EBUSY;
	int r = model_resolve(m, op->path, &n);
	if (r < 0)
		return r;
	if (op->kind == OP_TMPFILE) {
		struct node *dir = n;
		if (!is_dir(dir))
			return -ENOTDIR;
		n = node_make(S_IFREG | op->mode);
		n->linkable = true;
		inherit(n, dir);
	} else if (!S_ISREG(n->mode)) {
		return -EINVAL;
	}
	n->opens++;
	m->slots[op->slot] = n;
	return 0;
}

static int64_t let_go(struct model *m, const struct op *op)
{
	struct node *n = m->slots[op->slot];
	if (!n)
		return -EBADF;
	m->slots[op->slot] = NULL;
	n->opens--;
	node_release(n);
	return 0;
}

int64_t model_apply(struct model *m, const struct op *op, uint64_t done)
{
	switch (op->kind) {
	case OP_CREATE:
	case OP_MKDIR:
	case OP_MKNOD:
	case OP_SYMLINK:
		return make(m, op);
	case OP_LINK:
		return make_link(m, op);
	case OP_UNLINK:
	case OP_RMDIR:
		return remove_name(m, op);
	case OP_RENAME:
		return rename_name(m, op);
	case OP_FILL:
	case OP_DRAIN:
		return fill(m, op, done);
	case OP_SETXATTR:
	case OP_DELXATTR:
		return set_attribute(m, op);
	case OP_CHMOD:
	case OP_CHOWN:
	case OP_UTIMENS:
		return change_attributes(m, op);
	case OP_OPEN:
	case OP_TMPFILE:
		return hold(m, op);
	case OP_CLOSE:
		return let_go(m, op);
	case OP_CRASH:
	case OP_REMOUNT:
		model_close_all(m);
		return 0;
	case OP_COMPARE:
		return 0;
	default:
		return model_apply_data(m, op, done);
	}
}
