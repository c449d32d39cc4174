// SPDX-License-Identifier: BSD-2-Clause
/*
 * file_policy.h - the policies of files: xattrs, checked when they are set, inherited by what is
 * made in a directory.
 *
 *   user.leasefs.policy     of the file's owner; no rungs that signal or kill
 *   trusted.leasefs.policy  of the administrator (the kernel sees to that); goes before the other
 *
 * What is inherited is a copy, made once at the creation: changing the directory's policy later
 * changes nothing for files that are there. A creation that cannot make the copy (no space) stands
 * without it, and says so in the log.
 */
#ifndef FUSE_FILE_POLICY_H
#define FUSE_FILE_POLICY_H

#include <stddef.h>

#include "core.h"

struct daemon;

/* May that xattr be set to that? 0 (also if it is no policy), -EINVAL: not a ladder, -EPERM: one
 * that signals or kills, in the owner's name. */
int policy_check_xattr(const char *name, const void *value, size_t bytes);
void policy_inherit(struct daemon *d, struct inode *dir, struct inode *made);

#endif
