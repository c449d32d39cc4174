// SPDX-License-Identifier: BSD-2-Clause
/*
 * verify_repair.h - what the files that repair share. Private to verify_re*.c and verify_lost.c.
 */
#ifndef CORE_VERIFY_REPAIR_H
#define CORE_VERIFY_REPAIR_H

#include "inode.h"
#include "verify_impl.h"

struct space *verify_space(struct verify *v, uint32_t id);
/* Enough of a handle for the functions that want only number and record (dir.h, inode_tree). */
struct inode verify_stub(struct verify *v, uint64_t ino);

/* Makes a new tree of what can be read of an inode's tree, and puts it in its place. */
int verify_rebuild(struct verify *v, uint64_t ino, bool xattrs);
/* Enters an inode in /lost+found, which is made if it is not there. */
int verify_name_lost(struct verify *v, uint64_t ino);

#endif
