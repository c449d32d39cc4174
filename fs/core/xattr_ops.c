// SPDX-License-Identifier: BSD-2-Clause
/*
 * xattr_ops.c - the operations on extended attributes, each with its lock and its transaction.
 */
#include <errno.h>
#include <string.h>
#include <sys/xattr.h>

#include "acl.h"
#include "namei.h"
#include "plant.h"
#include "pool.h"
#include "xattr.h"

ssize_t core_getxattr(struct core *c, struct inode *ip, const char *name, void *value, size_t bytes)
{
	const struct media_inode *record;
	ssize_t r = xattr_check_name(name);

	if (r)
		return r;
	inode_lock_read(ip);
	r = inode_view(c, NULL, ip, &record);
	if (r == 0)
		r = record->xattrs.height ? xattr_get(c, NULL, ip, record, name, value, bytes)
					  : -ENODATA;
	inode_unlock(ip);
	return r;
}

bool core_has_xattrs(struct core *c, struct inode *ip)
{
	const struct media_inode *record;

	inode_lock_read(ip);
	/* What is damaged says so to those who ask for a name. */
	bool result = inode_view(c, NULL, ip, &record) != 0 || record->xattrs.height != 0;
	inode_unlock(ip);
	return result;
}

struct listing {
	char *list;
	size_t bytes; /* room */
	size_t done;
};

static int list_visit(void *context, const struct btree_item *item)
{
	struct listing *l = context;
	const struct media_xattr *x;
	int r;

	if (item->key & 0xff)
		return 0;
	r = xattr_decode(item, &x);
	if (r)
		return r;
	if (l->bytes) {
		if (l->bytes - l->done < x->name_bytes + 1u)
			return -ERANGE;
		memcpy(l->list + l->done, x->name, x->name_bytes);
		l->list[l->done + x->name_bytes] = '\0';
	}
	l->done += x->name_bytes + 1u;
	return 0;
}

ssize_t core_listxattr(struct core *c, struct inode *ip, char *list, size_t bytes)
{
	struct btree tree = inode_tree(c, ip);
	struct listing l = {.list = list, .bytes = list ? bytes : 0};
	const struct media_inode *record;
	int r;

	inode_lock_read(ip);
	r = inode_view(c, NULL, ip, &record);
	if (r == 0)
		r = btree_walk(&tree, NULL, &record->xattrs, 0, list_visit, &l);
	inode_unlock(ip);
	return r ? r : (ssize_t)l.done;
}

struct change {
	const char *name;
	const void *value;
	size_t bytes;
	int flags;
	const struct core_cred *cred;
	bool remove;
	bool acl;
};

static int change_in_tx(struct core *c, struct tx *tx, struct inode *ip, const struct change *n)
{
	struct media_inode *record;
	int r = inode_edit(c, tx, ip, &record);

	if (r)
		return r;
	if (n->remove)
		r = xattr_drop(c, tx, ip, record, n->name);
	else if (n->acl)
		r = acl_set(c, tx, ip, record, n->name, n->value, n->bytes, n->cred);
	else
		r = xattr_put(c, tx, ip, record, n->name, n->value, n->bytes, n->flags);
	/* Linux removes an ACL that is not there without a word. */
	if (r == -ENODATA && n->remove && n->acl)
		return 0;
	if (r == 0)
		inode_touch(c, record, false);
	return r;
}

/* For a planted fault. */
static void plant_remove_first(struct core *c, struct inode *ip, const struct change *n)
{
	struct media_inode *record;
	struct tx *tx;

	inode_lock_write(ip);
	if (tx_begin(c->meta, &tx) == 0) {
		if (inode_edit(c, tx, ip, &record) || xattr_drop(c, tx, ip, record, n->name))
			tx_abort(tx);
		else
			(void)tx_commit(tx);
	}
	inode_unlock(ip);
}

static int change(struct core *c, struct inode *ip, const struct change *n)
{
	struct retry retry = {0};
	struct tx *tx;
	int r;

	if (planted(PLANT_XATTR_APART) && !n->remove && !n->acl)
		plant_remove_first(c, ip, n);

	do {
		inode_lock_write(ip);
		r = tx_begin(c->meta, &tx);
		if (r == 0) {
			r = change_in_tx(c, tx, ip, n);
			if (r)
				tx_abort(tx);
			else
				r = tx_commit(tx);
		}
		inode_unlock(ip);
	} while (namei_again(c, r, &retry));
	return r;
}

int core_setxattr(struct core *c, struct inode *ip, const char *name, const void *value,
	size_t bytes, int flags, const struct core_cred *cred)
{
	struct change n = {.name = name,
		.value = value,
		.bytes = bytes,
		.flags = flags,
		.cred = cred,
		.acl = strncmp(name, "system.", 7) == 0};
	int r = xattr_check_name(name);

	if (r)
		return r;
	if (flags & ~(XATTR_CREATE | XATTR_REPLACE))
		return -EINVAL;
	if (bytes > XATTR_VALUE_MAX_BYTES)
		return -E2BIG;
	return change(c, ip, &n);
}

int core_removexattr(struct core *c, struct inode *ip, const char *name)
{
	struct change n = {.name = name, .remove = true, .acl = strncmp(name, "system.", 7) == 0};
	int r = xattr_check_name(name);

	return r ? r : change(c, ip, &n);
}
