// SPDX-License-Identifier: BSD-2-Clause
/* file_policy.c - see file_policy.h. */
#include "file_policy.h"

#include <errno.h>
#include <string.h>

#include "arbiter.h"
#include "log.h"

#define POLICY_XATTR "user.leasefs.policy"
#define POLICY_XATTR_ADMIN "trusted.leasefs.policy"

/* One xattr's policy. False: there is none, or not one that counts. */
static bool read_policy(struct core *c, struct inode *ip, const char *name, struct lm_policy *out)
{
	char text[LM_POLICY_TEXT_MAX];
	ssize_t n = core_getxattr(c, ip, name, text, sizeof(text) - 1);
	struct lm_policy p;

	if (n <= 0)
		return false;
	text[n] = '\0';
	/* It was checked when it was set; but a pool can come from anywhere. */
	if (lm_policy_parse(text, &p) ||
		(lm_policy_is_privileged(&p) && strcmp(name, POLICY_XATTR_ADMIN) != 0))
		return false;
	*out = p;
	return true;
}

void arbiter_policy_of(struct arbiter *a, uint64_t ino, struct lm_policy *out)
{
	struct core *c = a->daemon->core;
	struct inode *ip;

	*out = a->policy;
	if (core_get(c, ino, &ip))
		return;
	if (!read_policy(c, ip, POLICY_XATTR_ADMIN, out))
		(void)read_policy(c, ip, POLICY_XATTR, out);
	core_put(c, ip, 1);
}

int policy_check_xattr(const char *name, const void *value, size_t bytes)
{
	bool admin = strcmp(name, POLICY_XATTR_ADMIN) == 0;
	char text[LM_POLICY_TEXT_MAX];
	struct lm_policy p;

	if (!admin && strcmp(name, POLICY_XATTR) != 0)
		return 0;
	if (bytes >= sizeof(text) || memchr(value, '\0', bytes))
		return -EINVAL;
	memcpy(text, value, bytes);
	text[bytes] = '\0';
	if (lm_policy_parse(text, &p))
		return -EINVAL;
	return lm_policy_is_privileged(&p) && !admin ? -EPERM : 0;
}

static void inherit_xattr(struct core *c, struct inode *dir, struct inode *made, const char *name)
{
	static const struct core_cred daemon_cred = {.fsetid = true};
	char text[LM_POLICY_TEXT_MAX];
	ssize_t n = core_getxattr(c, dir, name, text, sizeof(text));
	int error;

	if (n <= 0)
		return;
	error = core_setxattr(c, made, name, text, (size_t)n, 0, &daemon_cred);
	if (error)
		log_warning("inode %llu does not inherit %s: %s",
			(unsigned long long)core_ino(made), name, strerror(-error));
}

void policy_inherit(struct daemon *d, struct inode *dir, struct inode *made)
{
	if (!core_has_xattrs(d->core, dir)) /* nearly always */
		return;
	inherit_xattr(d->core, dir, made, POLICY_XATTR_ADMIN);
	inherit_xattr(d->core, dir, made, POLICY_XATTR);
}
