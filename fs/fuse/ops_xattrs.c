// SPDX-License-Identifier: BSD-2-Clause
/*
 * ops_xattrs.c - extended attributes. Who may touch which namespace the kernel has decided, but for
 * listing: trusted names are shown to root alone.
 */
#include <errno.h>
#include <linux/limits.h>
#include <stdlib.h>
#include <string.h>

#include "caller.h"
#include "control.h"
#include "ops.h"
#include "file_policy.h"
#include "reply.h"
#include "virtual_xattrs.h"

static bool is_acl(const char *name)
{
	return strcmp(name, "system.posix_acl_access") == 0 ||
	       strcmp(name, "system.posix_acl_default") == 0;
}

static bool starts(const char *name, const char *prefix)
{
	return strncmp(name, prefix, strlen(prefix)) == 0;
}

/* The inode if there can be such an attribute; else replies. */
static struct inode *attribute_inode(fuse_req_t req, fuse_ino_t ino, const char *name, int none)
{
	struct inode *ip;
	int result = none;

	if (control_owns(ino))
		result = none;
	else if (name != NULL && !starts(name, "user.") && !starts(name, "trusted.") &&
		 !starts(name, "security.") && !is_acl(name))
		result = -EOPNOTSUPP;
	else
		result = core_get(daemon_of(req)->core, ino, &ip);
	if (result != 0) {
		reply_error(req, result);
		return NULL;
	}
	return ip;
}

void op_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t bytes,
	int flags)
{
	struct core *c = daemon_of(req)->core;
	struct inode *ip = attribute_inode(req, ino, name, -EPERM);
	struct caller caller;

	if (ip == NULL)
		return;
	if (is_acl(name))
		caller_init_asked(&caller, req, ip);
	else
		caller_init(&caller, req, true);
	int result = virtual_xattr_is(name) ? -EPERM : policy_check_xattr(name, value, bytes);
	if (result == 0)
		result = core_setxattr(c, ip, name, value, bytes, flags, &caller.cred);
	core_put(c, ip, 1);
	reply_error(req, result);
}

void op_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
	struct core *c = daemon_of(req)->core;
	struct inode *ip = attribute_inode(req, ino, name, -ENODATA);

	if (ip == NULL)
		return;
	int result = core_removexattr(c, ip, name);
	core_put(c, ip, 1);
	reply_error(req, result);
}

/* bytes 0: the length was asked for. */
static void reply_value(fuse_req_t req, const char *value, ssize_t result, size_t bytes)
{
	if (result < 0)
		reply_error(req, (int)result);
	else if (bytes == 0)
		fuse_reply_xattr(req, (size_t)result);
	else
		fuse_reply_buf(req, value, (size_t)result);
}

static void reply_virtual(fuse_req_t req, fuse_ino_t ino, const char *name, size_t bytes)
{
	char *value = NULL;
	ssize_t result = virtual_xattr_get(daemon_of(req), ino, name, &value);

	if (result > 0 && bytes > 0 && (size_t)result > bytes)
		result = -ERANGE;
	reply_value(req, value, result, bytes);
	free(value);
}

void op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t bytes)
{
	struct core *c = daemon_of(req)->core;
	struct inode *ip = attribute_inode(req, ino, name, -ENODATA);
	char small[256], *value = small;

	if (ip == NULL)
		return;
	if (virtual_xattr_is(name)) {
		core_put(c, ip, 1);
		reply_virtual(req, ino, name, bytes);
		return;
	}
	if (bytes > XATTR_SIZE_MAX)
		bytes = XATTR_SIZE_MAX;
	if (bytes > sizeof(small))
		value = malloc(bytes);
	ssize_t result = value == NULL ? -ENOMEM : core_getxattr(c, ip, name, value, bytes);
	core_put(c, ip, 1);
	reply_value(req, value, result, bytes);
	if (value != small)
		free(value);
}

/* In place; the new length. */
static ssize_t drop_trusted(char *list, ssize_t bytes)
{
	ssize_t kept = 0;

	for (ssize_t at = 0; at < bytes;) {
		ssize_t n = (ssize_t)strlen(list + at) + 1;
		if (!starts(list + at, "trusted.")) {
			memmove(list + kept, list + at, (size_t)n);
			kept += n;
		}
		at += n;
	}
	return kept;
}

void op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t bytes)
{
	struct core *c = daemon_of(req)->core;
	bool all = fuse_req_ctx(req)->uid == 0;
	char *list = NULL;

	if (control_owns(ino)) {
		reply_value(req, "", 0, bytes);
		return;
	}
	struct inode *ip = attribute_inode(req, ino, NULL, 0);
	if (ip == NULL)
		return;
	ssize_t result = core_listxattr(c, ip, NULL, 0);
	if (result > 0 && (bytes > 0 || !all)) {
		size_t room = (size_t)result;
		list = malloc(room);
		result = list == NULL ? -ENOMEM : core_listxattr(c, ip, list, room);
		if (result > 0 && !all)
			result = drop_trusted(list, result);
	}
	core_put(c, ip, 1);
	if (result > 0 && bytes > 0 && (size_t)result > bytes)
		result = -ERANGE;
	reply_value(req, list, result, bytes);
	free(list);
}
