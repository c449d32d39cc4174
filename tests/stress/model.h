// SPDX-License-Identifier: BSD-2-Clause
/*
 * model.h - what a filesystem should hold: a tree in memory, plain and obviously right.
 */
#ifndef STRESS_MODEL_H
#define STRESS_MODEL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "content.h"
#include "script.h"

struct node;

struct entry {
	char *name;
	struct node *node;
};

struct attribute {
	char *name;
	uint8_t *value;
	size_t bytes;
};

struct node {
	mode_t mode;
	uint32_t uid, gid, nlink, opens;
	uint64_t size, minor;
	uint64_t ino; /* as the target gave it first; 0: not seen */
	struct content content;
	char *target;
	struct attribute *attributes;
	size_t attribute_count;
	struct entry *entries; /* sorted by name */
	size_t entry_count, entry_capacity;
	struct node *parent; /* of directories */
	int64_t mtime;       /* -1: not known */
	bool linkable;       /* made by tmpfile, not linked yet */
};

struct model {
	struct node *root;
	struct node *slots[SLOTS];
};

void model_init(struct model *m);
void model_free(struct model *m);
/*
 * What op should return: 0 or a count, or -errno with nothing changed. `done` limits a write or a
 * copy that was cut short (UINT64_MAX: not).
 */
int64_t model_apply(struct model *m, const struct op *op, uint64_t done);
/* Closes all slots, as a crash or an unmount does. */
void model_close_all(struct model *m);
/* Follows a path from the root ("" is the root, "@N" a slot). 0, -ENOENT, -ENOTDIR, -EBADF. */
int model_resolve(struct model *m, const char *path, struct node **out);
struct node *model_child(const struct node *dir, const char *name);

#endif
