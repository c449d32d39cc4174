// SPDX-License-Identifier: BSD-2-Clause
/*
 * nodes.h - the two virtual nodes, `.leasefs` in the root and `control` in it: names, attributes,
 * listing. They have no lookup counts; nothing about them changes.
 */
#ifndef FUSE_NODES_H
#define FUSE_NODES_H

#include <fuse_lowlevel.h>
#include <stdbool.h>

/* Is that name in that directory one of theirs? No operation on the pool's names may see it. */
bool nodes_own_name(fuse_ino_t parent, const char *name);
void nodes_lookup(fuse_req_t req, fuse_ino_t parent, const char *name);
int nodes_attributes(fuse_ino_t ino, struct stat *st); /* 0 or -ESTALE */
/* plus: in readdirplus's form, without lookups. */
void nodes_readdir(fuse_req_t req, fuse_ino_t ino, size_t bytes, off_t cookie, bool plus);

#endif
