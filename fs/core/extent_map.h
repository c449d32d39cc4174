// SPDX-License-Identifier: BSD-2-Clause
/*
 * extent_map.h - single entries of an extent map, wherever it stands: for extent*.c alone.
 *
 * Primitives over the two forms of a map (inline in the record, or a tree). They know nothing of
 * neighbours: sorting, merging and record->blocks are extent.c's. An entry read from media is
 * checked before it is believed: -EUCLEAN.
 */
#ifndef CORE_EXTENT_MAP_H
#define CORE_EXTENT_MAP_H

#include "extent.h"

/* The last extent that begins at or before `block`; the first at or after it. -ENOENT. */
int extent_map_le(struct core *c, struct tx *tx, const struct inode *ip,
	const struct media_inode *record, uint64_t block, struct extent *out);
int extent_map_ge(struct core *c, struct tx *tx, const struct inode *ip,
	const struct media_inode *record, uint64_t block, struct extent *out);
/* One more, where none begins yet. The fourth moves an inline map to a tree. */
int extent_map_add(struct core *c, struct tx *tx, const struct inode *ip,
	struct media_inode *record, const struct extent *extent);
/* Puts `extent` in the place of the one that begins at `old`; their order among others is the same.
 */
int extent_map_set(struct core *c, struct tx *tx, const struct inode *ip,
	struct media_inode *record, uint64_t old, const struct extent *extent);
/* A tree that becomes empty is an inline map again. */
int extent_map_delete(struct core *c, struct tx *tx, const struct inode *ip,
	struct media_inode *record, uint64_t block);

/* Takes [start, end), which lies in `e`, out of the map and record->blocks; frees nothing. */
int extent_map_cut(struct core *c, struct tx *tx, const struct inode *ip,
	struct media_inode *record, const struct extent *e, uint64_t start, uint64_t end);

/* Each extent that begins at or after `from`, in order, of the committed map. */
int extent_map_walk(struct core *c, const struct inode *ip, const struct media_inode *record,
	uint64_t from, int (*visit)(void *context, const struct extent *extent), void *context);

#endif
