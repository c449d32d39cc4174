// SPDX-License-Identifier: BSD-2-Clause
/*
 * acl.c - POSIX access control lists. See acl.h.
 *
 * An ACL is held in the kernel's wire format (linux/posix_acl_xattr.h) all along: a header, then
 * entries in a fixed order of tags.
 */
#include "acl.h"

#include <assert.h>
#include <errno.h>
#include <linux/posix_acl.h>
#include <linux/posix_acl_xattr.h>
#include <stdlib.h>
#include <string.h>

#include "namei.h"
#include "xattr.h"

#define ACL_UNDEFINED UINT32_MAX
#define ACL_RWX 7u

static_assert(sizeof(struct posix_acl_xattr_header) == 4, "posix_acl_xattr_header");
static_assert(sizeof(struct posix_acl_xattr_entry) == 8, "posix_acl_xattr_entry");

static size_t acl_count(size_t bytes)
{
	return (bytes - sizeof(struct posix_acl_xattr_header)) /
	       sizeof(struct posix_acl_xattr_entry);
}

static struct posix_acl_xattr_entry *acl_entries(void *acl)
{
	return (void *)((uint8_t *)acl + sizeof(struct posix_acl_xattr_header));
}

/* The order of posix_acl_valid(): owner, users, group, groups, mask, others. */
static int acl_check(void *acl, size_t bytes)
{
	struct posix_acl_xattr_entry *e = acl_entries(acl);
	unsigned state = ACL_USER_OBJ;
	bool needs_mask = false;

	for (size_t i = 0; i < acl_count(bytes); i++) {
		unsigned tag = e[i].e_tag;

		if (e[i].e_perm & ~ACL_RWX)
			return -EINVAL;
		switch (tag) {
		case ACL_USER_OBJ:
			if (state != ACL_USER_OBJ)
				return -EINVAL;
			state = ACL_USER;
			break;
		case ACL_USER:
			if (state != ACL_USER || e[i].e_id == ACL_UNDEFINED)
				return -EINVAL;
			needs_mask = true;
			break;
		case ACL_GROUP_OBJ:
			if (state != ACL_USER)
				return -EINVAL;
			state = ACL_GROUP;
			break;
		case ACL_GROUP:
			if (state != ACL_GROUP || e[i].e_id == ACL_UNDEFINED)
				return -EINVAL;
			needs_mask = true;
			break;
		case ACL_MASK:
			if (state != ACL_GROUP)
				return -EINVAL;
			state = ACL_OTHER;
			break;
		case ACL_OTHER:
			if (state != ACL_OTHER && (state != ACL_GROUP || needs_mask))
				return -EINVAL;
			state = 0;
			break;
		default:
			return -EINVAL;
		}
		if (tag != ACL_USER && tag != ACL_GROUP)
			e[i].e_id = ACL_UNDEFINED;
	}
	return state == 0 ? 0 : -EINVAL;
}

/* Checks a value that came from outside, into a buffer of its own. *out NULL: an ACL of no entries.
 */
static int acl_accept(const void *value, size_t bytes, void **out)
{
	struct posix_acl_xattr_header header;
	void *acl;
	int r;

	if (bytes < sizeof(header))
		return -EINVAL;
	memcpy(&header, value, sizeof(header));
	if (header.a_version != POSIX_ACL_XATTR_VERSION)
		return -EOPNOTSUPP;
	if ((bytes - sizeof(header)) % sizeof(struct posix_acl_xattr_entry))
		return -EINVAL;
	*out = NULL;
	if (bytes == sizeof(header))
		return 0;
	acl = malloc(bytes);
	if (!acl)
		return -ENOMEM;
	memcpy(acl, value, bytes);
	r = acl_check(acl, bytes);
	if (r) {
		free(acl);
		return r;
	}
	*out = acl;
	return 0;
}

/* An ACL that is kept; allocated. -ENODATA. What is on the media may be damaged: -EUCLEAN. */
static int acl_load(struct core *c, struct tx *tx, const struct inode *ip,
	const struct media_inode *record, const char *name, uint8_t **out, size_t *out_bytes)
{
	ssize_t bytes = xattr_get(c, tx, ip, record, name, NULL, 0);
	struct posix_acl_xattr_header header = {0};
	uint8_t *acl;

	if (bytes < 0)
		return (int)bytes;
	if ((size_t)bytes <= sizeof(header))
		return -EUCLEAN;
	acl = malloc((size_t)bytes);
	if (!acl)
		return -ENOMEM;
	bytes = xattr_get(c, tx, ip, record, name, acl, (size_t)bytes);
	if (bytes > 0)
		memcpy(&header, acl, sizeof(header));
	if (bytes < 0 || header.a_version != POSIX_ACL_XATTR_VERSION ||
		(size_t)bytes != sizeof(header) + acl_count((size_t)bytes) *
							  sizeof(struct posix_acl_xattr_entry) ||
		acl_check(acl, (size_t)bytes)) {
		free(acl);
		return bytes < 0 ? (int)bytes : -EUCLEAN;
	}
	*out = acl;
	*out_bytes = (size_t)bytes;
	return 0;
}

/* posix_acl_equiv_mode(): puts the ACL's view into the mode; true if that says all that it says. */
static bool acl_to_mode(void *acl, size_t bytes, uint32_t *mode)
{
	struct posix_acl_xattr_entry *e = acl_entries(acl);
	uint32_t bits = 0;
	bool equal = true, masked = false;

	for (size_t i = 0; i < acl_count(bytes); i++) {
		uint32_t perm = e[i].e_perm;

		switch (e[i].e_tag) {
		case ACL_USER_OBJ:
			bits |= perm << 6;
			break;
		case ACL_GROUP_OBJ:
			if (!masked)
				bits |= perm << 3;
			break;
		case ACL_MASK: /* stands in the group's place in the mode */
			bits = (bits & ~(ACL_RWX << 3)) | perm << 3;
			masked = true;
			equal = false;
			break;
		case ACL_OTHER:
			bits |= perm;
			break;
		default:
			equal = false;
			break;
		}
	}
	*mode = (*mode & ~0777u) | bits;
	return equal;
}

/* The entry that shows as the group's bits of the mode: the mask, or the group's without one. */
static struct posix_acl_xattr_entry *acl_group_class(void *acl, size_t bytes)
{
	struct posix_acl_xattr_entry *e = acl_entries(acl), *found = NULL;

	for (size_t i = 0; i < acl_count(bytes); i++) {
		if (e[i].e_tag == ACL_MASK || (e[i].e_tag == ACL_GROUP_OBJ && !found))
			found = &e[i];
	}
	assert(found); /* acl_check() */
	return found;
}

static struct posix_acl_xattr_entry *acl_entry(void *acl, size_t bytes, unsigned tag)
{
	struct posix_acl_xattr_entry *e = acl_entries(acl);

	for (size_t i = 0; i < acl_count(bytes); i++) {
		if (e[i].e_tag == tag)
			return &e[i];
	}
	assert(!"an ACL that was checked has owner and others");
	return NULL;
}

int acl_chmod(
	struct core *c, struct tx *tx, struct inode *ip, struct media_inode *record, uint32_t mode)
{
	uint8_t *acl;
	size_t bytes;
	int r;

	if (!(record->acl_flags & INODE_ACL_ACCESS) || S_ISLNK(record->mode))
		return 0;
	r = acl_load(c, tx, ip, record, ACL_XATTR_ACCESS, &acl, &bytes);
	if (r)
		return r == -ENODATA ? -EUCLEAN : r;
	acl_entry(acl, bytes, ACL_USER_OBJ)->e_perm = (mode >> 6) & ACL_RWX;
	acl_group_class(acl, bytes)->e_perm = (mode >> 3) & ACL_RWX;
	acl_entry(acl, bytes, ACL_OTHER)->e_perm = mode & ACL_RWX;
	r = xattr_put(c, tx, ip, record, ACL_XATTR_ACCESS, acl, bytes, 0);
	free(acl);
	return r;
}

static int acl_set_access(struct core *c, struct tx *tx, struct inode *ip,
	struct media_inode *record, void *acl, size_t bytes, const struct core_cred *cred)
{
	uint32_t mode = record->mode;
	bool equal = acl_to_mode(acl, bytes, &mode);
	int r;

	if (!cred_in_group(cred, record->gid) && !cred->fsetid)
		mode &= ~(uint32_t)S_ISGID;
	if (!equal)
		r = xattr_put(c, tx, ip, record, ACL_XATTR_ACCESS, acl, bytes, 0);
	else
		r = xattr_drop(c, tx, ip, record, ACL_XATTR_ACCESS);
	if (r && !(equal && r == -ENODATA))
		return r;
	record->mode = mode;
	return 0;
}

int acl_set(struct core *c, struct tx *tx, struct inode *ip, struct media_inode *record,
	const char *name, const void *value, size_t bytes, const struct core_cred *cred)
{
	bool access = strcmp(name, ACL_XATTR_ACCESS) == 0;
	void *acl;
	int r;

	if (S_ISLNK(record->mode))
		return -EOPNOTSUPP;
	r = acl_accept(value, bytes, &acl);
	if (r)
		return r;
	if (!acl) {
		r = xattr_drop(c, tx, ip, record, name);
		return r == -ENODATA ? 0 : r;
	}
	if (access)
		r = acl_set_access(c, tx, ip, record, acl, bytes, cred);
	else if (S_ISDIR(record->mode))
		r = xattr_put(c, tx, ip, record, name, acl, bytes, 0);
	else
		r = -EACCES;
	free(acl);
	return r;
}

/* ---- creation -------------------------------------------------------------------------------- */

/* posix_acl_create_masq(): a default ACL and the mode asked for cut each other. */
static bool acl_cut(void *acl, size_t bytes, uint32_t *mode)
{
	struct posix_acl_xattr_entry *owner = acl_entry(acl, bytes, ACL_USER_OBJ);
	struct posix_acl_xattr_entry *group = acl_group_class(acl, bytes);
	struct posix_acl_xattr_entry *others = acl_entry(acl, bytes, ACL_OTHER);

	owner->e_perm &= (*mode >> 6) & ACL_RWX;
	group->e_perm &= (*mode >> 3) & ACL_RWX;
	others->e_perm &= *mode & ACL_RWX;
	return acl_to_mode(acl, bytes, mode);
}

int acl_plan(struct core *c, struct tx *tx, const struct inode *dir,
	const struct media_inode *dir_record, uint32_t mode, uint32_t umask,
	struct acl_inheritance *out)
{
	size_t bytes;
	uint8_t *acl;
	int r;

	*out = (struct acl_inheritance){.mode = mode};
	if (S_ISLNK(mode))
		return 0;
	if (!(dir_record->acl_flags & INODE_ACL_DEFAULT)) {
		out->mode &= ~(umask & 0777u);
		return 0;
	}
	r = acl_load(c, tx, dir, dir_record, ACL_XATTR_DEFAULT, &acl, &bytes);
	if (r)
		return r == -ENODATA ? -EUCLEAN : r;
	if (S_ISDIR(mode)) {
		out->defaults = malloc(bytes);
		if (!out->defaults) {
			free(acl);
			return -ENOMEM;
		}
		memcpy(out->defaults, acl, bytes);
		out->default_bytes = (uint32_t)bytes;
	}
	if (acl_cut(acl, bytes, &out->mode)) {
		free(acl);
	} else {
		out->access = acl;
		out->access_bytes = (uint32_t)bytes;
	}
	return 0;
}

int acl_inherit(struct core *c, struct tx *tx, struct inode *ip, struct media_inode *record,
	const struct acl_inheritance *plan)
{
	int r = 0;

	if (plan->access)
		r = xattr_put(
			c, tx, ip, record, ACL_XATTR_ACCESS, plan->access, plan->access_bytes, 0);
	if (r == 0 && plan->defaults)
		r = xattr_put(c, tx, ip, record, ACL_XATTR_DEFAULT, plan->defaults,
			plan->default_bytes, 0);
	return r;
}

void acl_plan_free(struct acl_inheritance *plan)
{
	free(plan->access);
	free(plan->defaults);
	plan->access = plan->defaults = NULL;
}
