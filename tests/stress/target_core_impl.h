// SPDX-License-Identifier: BSD-2-Clause
/*
 * target_core_impl.h - what the parts of the target in this process share: target_core.c opens the
 * pool, finds paths and looks, target_core_change.c changes.
 */
#ifndef STRESS_TARGET_CORE_IMPL_H
#define STRESS_TARGET_CORE_IMPL_H

#include "core.h"
#include "target.h"

struct target {
	struct core *core;
	struct core_options options;
	char pool[4096];
	struct inode *slots[SLOTS];
	bool linkable[SLOTS]; /* made by tmpfile, not linked yet */
};

/* This process's: set when a target is opened. */
extern struct core_cred own_cred;

/* The parent, counted, and the last name (inside `path`). */
int resolve_parent(struct target *t, const char *path, struct inode **out, const char **name);
/* Counted. */
int resolve(struct target *t, const char *path, struct inode **out);
/* -EINVAL, and nothing counted, if it is not a regular file. */
int resolve_file(struct target *t, const char *path, struct inode **out);

int64_t core_target_make(struct target *t, const struct op *op);
int64_t core_target_make_link(struct target *t, const struct op *op);
int64_t core_target_remove_name(struct target *t, const struct op *op);
int64_t core_target_rename_name(struct target *t, const struct op *op);
int64_t core_target_crowd(struct target *t, const struct op *op);
int64_t core_target_change_attributes(struct target *t, const struct op *op);
int64_t core_target_data(struct target *t, const struct op *op, void *read_bytes);

#endif
