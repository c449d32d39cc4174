// SPDX-License-Identifier: BSD-2-Clause
/*
 * xattr.h - extended attributes: a B+tree of pieces in each inode that has any.
 *
 * Key: hash << 16 | n << 8 | piece. `hash` is 47 bits of the name's seeded XXH3-64, n the lowest of
 * 0..255 that is free among names of that hash, and pieces count from 0. Piece 0 begins with a
 * media_xattr and the name; behind that, and in the other pieces, stands the value. All pieces but
 * the last have BTREE_VALUE_MAX bytes.
 *
 * Functions: the caller holds the inode's lock, for writing where `record` is a shadow. The name
 * has been checked by xattr_check_name(). record->acl_flags is kept in step.
 */
#ifndef CORE_XATTR_H
#define CORE_XATTR_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "btree.h"
#include "core.h"
#include "format.h"
#include "inode.h"
#include "tx.h"

#define XATTR_PIECES_MAX 65u
static_assert((sizeof(struct media_xattr) + XATTR_NAME_MAX_BYTES + XATTR_VALUE_MAX_BYTES +
		      BTREE_VALUE_MAX - 1) /
			      BTREE_VALUE_MAX ==
		      XATTR_PIECES_MAX,
	"pieces of the largest xattr");

/* -EOPNOTSUPP: a namespace that is not kept; -ERANGE: too long; -EINVAL: nothing after the prefix.
 */
int xattr_check_name(const char *name);
/* The value's length; copies it if there is room, value NULL or bytes 0 only asks. -ENODATA,
 * -ERANGE. */
ssize_t xattr_get(struct core *c, struct tx *tx, const struct inode *ip,
	const struct media_inode *record, const char *name, void *value, size_t bytes);
/* flags as setxattr(2). -EEXIST, -ENODATA, -ENOSPC. `bytes` <= XATTR_VALUE_MAX_BYTES (asserted). */
int xattr_put(struct core *c, struct tx *tx, const struct inode *ip, struct media_inode *record,
	const char *name, const void *value, size_t bytes, int flags);
int xattr_drop(struct core *c, struct tx *tx, const struct inode *ip, struct media_inode *record,
	const char *name); /* -ENODATA */

/* For xattr.c and the verifier: the key of a name's piece 0 before n. */
uint64_t xattr_hash(uint64_t seed, const char *name, size_t bytes);
/* Piece 0 decoded: header and name are inside the item, and the lengths can be. -EUCLEAN. */
int xattr_decode(const struct btree_item *item, const struct media_xattr **out);

#endif
