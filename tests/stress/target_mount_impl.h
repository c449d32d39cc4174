// SPDX-License-Identifier: BSD-2-Clause
/*
 * target_mount_impl.h - what the parts of the mounted target share: target_mount.c mounts, opens
 * paths and looks, target_mount_change.c changes.
 */
#ifndef STRESS_TARGET_MOUNT_IMPL_H
#define STRESS_TARGET_MOUNT_IMPL_H

#include <errno.h>

#include "target_mount.h"

struct target {
	struct mount mount;
	int slots[SLOTS]; /* descriptors, or -1 */
};

/* An O_PATH descriptor of the parent, and the last name (inside `path`). */
int open_parent(struct target *t, const char *path, const char **name);
/* A descriptor of anything, a slot's copied. */
int open_any(struct target *t, const char *path, int flags);
/* A descriptor for reading and writing a regular file; -EINVAL for anything else. */
int open_file(struct target *t, const char *path, int flags);

/* A system call's result as 0 or -errno. */
static inline int result(int r)
{
	return r < 0 ? -errno : 0;
}

int64_t mount_target_make(struct target *t, const struct op *op);
int64_t mount_target_make_link(struct target *t, const struct op *op);
int64_t mount_target_remove_name(struct target *t, const struct op *op);
int64_t mount_target_rename_name(struct target *t, const struct op *op);
int64_t mount_target_crowd(struct target *t, const struct op *op);
int64_t mount_target_change_attributes(struct target *t, const struct op *op);
int64_t mount_target_data(struct target *t, const struct op *op, void *read_bytes);

#endif
