// SPDX-License-Identifier: BSD-2-Clause
/*
 * verify_repair.c - one repair, one transaction (a tree made anew: several, of which the last one
 * puts it in its place). Trees: verify_rebuild.c; /lost+found: verify_lost.c.
 *
 * What a repair wants to change may have been changed by one before it: what is not there any more
 * need not be repaired.
 */
#include "verify_repair.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "dir.h"
#include "tag.h"

struct space *verify_space(struct verify *v, uint32_t id)
{
	struct data_region *region;

	if (id == SPACE_HEAP)
		return v->core->heap;
	if (id == SPACE_INODES)
		return v->core->inodes;
	region = tables_region(v->core, id - SPACE_REGION(0));
	return region ? region->space : NULL;
}

struct inode verify_stub(struct verify *v, uint64_t ino)
{
	return (struct inode){.ino = ino, .record = verify_record_offset(v, ino)};
}

/* ---- bits ------------------------------------------------------------------------------------ */

static uint32_t per_group(uint32_t space)
{
	return space == SPACE_INODES ? INODES_PER_GROUP : GROUP_BITS;
}

static int change_bits(struct verify *v, struct tx *tx, const struct repair *r, bool set)
{
	struct space *space = verify_space(v, r->space);
	uint64_t at = r->a, end = r->a + r->b;
	uint32_t per = per_group(r->space);
	int error = 0;

	while (error == 0 && at < end) {
		struct media_group g;
		uint32_t first = (uint32_t)(at % per);
		uint64_t count = per - first < end - at ? per - first : end - at;

		error = space_group(space, (uint32_t)(at / per), &g);
		if (error == 0)
			error = tx_bits(tx, &(struct tx_bits){.bitmap = g.bitmap,
						    .first = first,
						    .count = (uint32_t)count,
						    .set = set});
		at += count;
	}
	return error;
}

/* In memory they are kept from being handed out by a hold, which lasts as long as the core. */
static int set_missing(struct verify *v, struct tx *tx, const struct repair *r)
{
	const struct space_run run = {.first = r->a, .count = r->b};
	int error = space_hold(verify_space(v, r->space), &run);

	return error ? error : change_bits(v, tx, r, true);
}

static int free_leak(struct verify *v, struct tx *tx, const struct repair *r)
{
	const struct space_run run = {.first = r->a, .count = r->b};
	uint64_t unit = 1;

	if (r->space >= SPACE_REGION(0))
		unit = 1ull << (tables_region(v->core, r->space - SPACE_REGION(0))
					->media.alignment_shift -
				BLOCK_SHIFT);
	/* A part of an allocation unit: on media alone. */
	if (r->a % unit || r->b % unit)
		return change_bits(v, tx, r, false);
	return space_free(verify_space(v, r->space), tx, &run);
}

static void fill_inode_bitmap(struct verify *v, uint32_t group, struct media_bitmap *bitmap)
{
	uint64_t first = (uint64_t)group * INODES_PER_GROUP;

	memcpy(bitmap->bits, &v->in_use.words[first / 64], INODES_PER_GROUP / 8);
	if (group == 0)
		bitmap->bits[0] |= 1; /* number 0 is never given */
	for (uint64_t i = 0; i < INODES_PER_GROUP; i++) {
		const struct media_inode *m = verify_record(v, first + i);
		uint64_t bit = ATTENTION_BIT + i;

		if (m && (m->nlink == 0 || verify_trims(m)))
			bitmap->bits[bit / 64] |= 1ull << (bit % 64);
	}
}

static int make_bitmap(struct verify *v, struct tx *tx, const struct repair *r)
{
	uint32_t group = (uint32_t)r->a;
	const struct bitset *claimed = &v->heap;
	struct media_bitmap *bitmap;
	struct media_group g;
	void *shadow;
	int error = space_group(verify_space(v, r->space), group, &g);

	if (error == 0)
		error = tx_create(tx, g.bitmap, MAGIC_GROUP, &shadow);
	if (error)
		return error;
	bitmap = shadow;
	bitmap->space = r->space;
	bitmap->group = group;
	if (r->space == SPACE_INODES) {
		fill_inode_bitmap(v, group, bitmap);
		return 0;
	}
	if (r->space >= SPACE_REGION(0))
		claimed = &v->regions[r->space - SPACE_REGION(0)];
	uint64_t first = (uint64_t)group * GROUP_BITS;
	memcpy(bitmap->bits, &claimed->words[first / 64], (g.units + 63) / 64 * 8);
	return 0;
}

/* ---- inodes ---------------------------------------------------------------------------------- */

static int edit_record(struct verify *v, struct tx *tx, uint64_t ino, struct media_inode **out)
{
	void *shadow;
	int error = tx_edit(tx, verify_record_offset(v, ino), MAGIC_INODE, &shadow);

	if (error == 0)
		*out = shadow;
	return error;
}

static int make_root(struct verify *v, struct tx *tx)
{
	struct media_inode *root;
	struct timespec now;
	void *shadow;
	int error = tx_create(tx, verify_record_offset(v, ROOT_INO), MAGIC_INODE, &shadow);

	if (error)
		return error;
	inode_now(v->core, &now);
	root = shadow;
	root->ino = ROOT_INO;
	root->generation = (uint32_t)journal_sequence(v->core->journal);
	root->mode = 0040755;
	root->uid = v->core->super.creator_uid;
	root->nlink = 2;
	root->parent = ROOT_INO;
	root->payload = PAYLOAD_TREE;
	root->atime_sec = root->mtime_sec = root->ctime_sec = root->btime_sec = now.tv_sec;
	return 0;
}

/* The number is free again; the blocks become leaks, which the next pass frees. */
static int clear_inode(struct verify *v, struct tx *tx, uint64_t ino)
{
	const struct space_run run = {.first = ino, .count = 1};
	struct media_group g;
	void *shadow;
	int error = tx_create(tx, verify_record_offset(v, ino), MAGIC_INODE, &shadow);

	if (error == 0)
		error = space_group(v->core->inodes, (uint32_t)(ino / INODES_PER_GROUP), &g);
	if (error)
		return error;
	/* Without a bitmap the record alone says what is in use. */
	error = meta_verify(v->core->meta, g.bitmap, MAGIC_GROUP);
	if (error == -EUCLEAN)
		return 0;
	if (error == 0)
		error = inode_attention(v->core, tx, ino, false);
	return error ? error : space_free(v->core->inodes, tx, &run);
}

static int set_field(struct verify *v, struct tx *tx, const struct repair *r)
{
	struct media_inode *m;
	int error = edit_record(v, tx, r->ino, &m);

	if (error)
		return error;
	switch (r->kind) {
	case REPAIR_BLOCKS:
		m->blocks = r->a;
		return 0;
	case REPAIR_SIZE:
		m->size = r->a;
		return 0;
	case REPAIR_PARENT:
		m->parent = r->a;
		return 0;
	case REPAIR_TRIM:
		m->trim_start = m->trim_end = 0;
		return 0;
	case REPAIR_ACL_FLAGS:
		m->acl_flags = (uint32_t)r->a;
		return 0;
	default:
		/* A link that was not counted: no orphan any more. */
		if (m->nlink == 0 && r->a > 0 && !verify_trims(m))
			error = inode_attention(v->core, tx, r->ino, false);
		m->nlink = (uint32_t)r->a;
		return error;
	}
}

static int drop_extent(struct verify *v, struct tx *tx, const struct repair *r)
{
	const struct btree tree = {.meta = v->core->meta, .heap = v->core->heap, .owner = r->ino};
	struct media_inode *m;
	struct btree_item item;
	uint64_t blocks = 0;
	int error = edit_record(v, tx, r->ino, &m);

	if (error)
		return error;
	if (m->payload == PAYLOAD_TREE) {
		error = btree_find(&tree, tx, &m->tree, r->a, &item);
		if (error == 0 && item.bytes == sizeof(struct media_run))
			blocks = ((const struct media_run *)item.value)->blocks_state &
				 ~EXTENT_UNWRITTEN;
		if (error == 0)
			error = btree_delete(&tree, tx, &m->tree, r->a);
		if (error == -ENOENT)
			error = 0;
	} else {
		/* Of two at one place the second was found to be wrong. */
		unsigned i = m->payload_count;
		while (i > 0 && m->extents[i - 1].file_block != r->a)
			i--;
		if (i == 0)
			return 0;
		blocks = extent_blocks(&m->extents[i - 1]);
		memmove(&m->extents[i - 1], &m->extents[i],
			(m->payload_count - i) * sizeof(m->extents[0]));
		memset(&m->extents[--m->payload_count], 0, sizeof(m->extents[0]));
	}
	m->blocks -= blocks < m->blocks ? blocks : m->blocks;
	return error;
}

/* ---- entries --------------------------------------------------------------------------------- */

static int change_entry(struct verify *v, struct tx *tx, const struct repair *r)
{
	struct inode stub = verify_stub(v, r->ino);
	const struct btree tree = inode_tree(v->core, &stub);
	const struct media_dirent *d;
	struct media_inode *m;
	struct btree_item item;
	char name[NAME_BYTES_MAX + 1];
	int error = edit_record(v, tx, r->ino, &m);

	if (error == 0)
		error = btree_find(&tree, tx, &m->tree, r->a, &item);
	if (error)
		return error == -ENOENT ? 0 : error;
	if (r->kind == REPAIR_ENTRY) {
		m->size -= m->size > 0;
		return btree_delete(&tree, tx, &m->tree, r->a);
	}
	error = dirent_decode(&item, &d);
	if (error)
		return error;
	uint64_t ino = d->ino;
	uint8_t type = d->type;
	memcpy(name, d->name, d->name_bytes);
	name[d->name_bytes] = '\0';
	if (r->kind == REPAIR_TYPE)
		return dir_replace(v->core, tx, &stub, m, r->a, name, ino, (uint8_t)r->b);
	m->size -= m->size > 0;
	error = btree_delete(&tree, tx, &m->tree, r->a);
	if (error == 0)
		error = dir_insert(v->core, tx, &stub, m, name, ino, type);
	return error == -EEXIST ? 0 : error;
}

/* ---- all ------------------------------------------------------------------------------------- */

static int in_tx(struct verify *v, struct tx *tx, const struct repair *r)
{
	switch (r->kind) {
	case REPAIR_MISSING:
		return set_missing(v, tx, r);
	case REPAIR_ROOT:
		return make_root(v, tx);
	case REPAIR_CLEAR_INODE:
		return clear_inode(v, tx, r->ino);
	case REPAIR_EXTENT:
		return drop_extent(v, tx, r);
	case REPAIR_ENTRY:
	case REPAIR_REHASH:
	case REPAIR_TYPE:
		return change_entry(v, tx, r);
	case REPAIR_ATTENTION:
		return inode_attention(v->core, tx, r->ino, r->a);
	case REPAIR_LEAK:
		return free_leak(v, tx, r);
	case REPAIR_BITMAP:
		return make_bitmap(v, tx, r);
	default:
		return set_field(v, tx, r);
	}
}

static int write_supers(struct verify *v)
{
	struct media_super super = v->core->super;

	return super_write(v->core->meta_region, &super);
}

static int write_tag(struct verify *v, uint32_t number)
{
	struct data_region *region = tables_region(v->core, number);
	int error = tag_write(v->core, region);

	if (error == 0) {
		free(region->tag_fault);
		region->tag_fault = NULL;
	}
	return error;
}

int verify_repair(struct verify *v, const struct repair *r)
{
	struct tx *tx;
	int error;

	switch (r->kind) {
	case REPAIR_SUPERS:
		return write_supers(v);
	case REPAIR_TAG:
		return write_tag(v, (uint32_t)r->a);
	case REPAIR_PAYLOAD:
	case REPAIR_XATTRS:
		return verify_rebuild(v, r->ino, r->kind == REPAIR_XATTRS);
	case REPAIR_LOST:
		return verify_name_lost(v, r->ino);
	default:
		break;
	}
	error = tx_begin(v->core->meta, &tx);
	if (error)
		return error;
	error = in_tx(v, tx, r);
	if (error) {
		tx_abort(tx);
		return error;
	}
	return tx_commit(tx);
}
