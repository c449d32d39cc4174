// SPDX-License-Identifier: BSD-2-Clause
/*
 * acl.h - POSIX access control lists, kept as the xattrs system.posix_acl_access and
 * system.posix_acl_default in the kernel's own format, so that getxattr is a copy.
 *
 * The kernel decides by them (default_permissions with POSIX_ACL); what is done here is to keep
 * them valid and in step with the mode, as Linux does (fs/posix_acl.c):
 *   set     checked as posix_acl_valid(); an access ACL updates the permission bits, and one that
 *           says no more than the mode is not kept; SGID goes when the caller is not in the group
 *           and lacks CAP_FSETID; a default ACL belongs to directories alone
 *   chmod   the owner's, the mask's (or the group's) and the others' entries follow the mode
 *   create  a default ACL of the directory becomes the new inode's access ACL, cut by the mode
 *           (the umask then plays no part), and a new directory's default ACL as well
 *
 * record.acl_flags tells which are there. The caller holds the inode's lock.
 */
#ifndef CORE_ACL_H
#define CORE_ACL_H

#include <stddef.h>
#include <stdint.h>

#include "core.h"
#include "format.h"
#include "inode.h"
#include "tx.h"

#define ACL_XATTR_ACCESS "system.posix_acl_access"
#define ACL_XATTR_DEFAULT "system.posix_acl_default"

/*
 * For chmod: puts the access ACL, if there is one, in step with the permission bits of `mode`. The
 * caller sets record->mode itself. -ENOSPC, -EUCLEAN, -E2BIG.
 */
int acl_chmod(
	struct core *c, struct tx *tx, struct inode *ip, struct media_inode *record, uint32_t mode);

/*
 * For creation in `dir`: the mode that the new inode begins with, from the one asked for, the umask
 * and the directory's default ACL; acl_inherit() then gives a new inode its ACLs. Symlinks take
 * no part.
 */
struct acl_inheritance {
	uint32_t mode;
	uint32_t access_bytes;  /* 0: none */
	uint32_t default_bytes; /* 0: none */
	uint8_t *access;        /* wire format, allocated */
	uint8_t *defaults;
};
int acl_plan(struct core *c, struct tx *tx, const struct inode *dir,
	const struct media_inode *dir_record, uint32_t mode, uint32_t umask,
	struct acl_inheritance *out);
int acl_inherit(struct core *c, struct tx *tx, struct inode *ip, struct media_inode *record,
	const struct acl_inheritance *plan);
void acl_plan_free(struct acl_inheritance *plan);

/* setxattr of one of the two: checks, changes mode and xattr. -EINVAL, -EACCES, -EOPNOTSUPP. */
int acl_set(struct core *c, struct tx *tx, struct inode *ip, struct media_inode *record,
	const char *name, const void *value, size_t bytes, const struct core_cred *cred);

#endif
