// SPDX-License-Identifier: BSD-2-Clause
/*
 * compare.h - holds a target against the model: every name, attribute and byte.
 */
#ifndef STRESS_COMPARE_H
#define STRESS_COMPARE_H

#include "model.h"
#include "target.h"

/* 0, or -1 with a sentence on stderr for each difference (at most a few). */
int compare_tree(struct model *m, const struct target_kind *kind, struct target *t);
int compare_file(
	struct node *n, const char *path, const struct target_kind *kind, struct target *t);

#endif
