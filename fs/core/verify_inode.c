// SPDX-License-Identifier: BSD-2-Clause
/*
 * verify_inode.c - phase 3: every inode in use: its record, what its map claims, its trees.
 *
 * A number counts as in use by the bitmap of its group; where that bitmap is damaged, by a record
 * that can be read and says so.
 */
#include <errno.h>
#include <string.h>

#include "verify_impl.h"

struct file { /* the inode that is looked at */
	struct verify *v;
	const struct media_inode *record;
	uint64_t ino;
	uint64_t blocks; /* claimed */
	uint64_t next;   /* file block after the last extent */
	uint64_t bytes;  /* of a symlink's pieces */
	bool bad_extents;
};

uint64_t verify_record_offset(struct verify *v, uint64_t ino)
{
	struct media_group g;

	if (ino == 0 || ino >= v->inode_numbers ||
		space_group(v->core->inodes, (uint32_t)(ino / INODES_PER_GROUP), &g) < 0)
		return 0;
	return g.table + ino % INODES_PER_GROUP * INODE_SIZE;
}

const struct media_inode *verify_record(struct verify *v, uint64_t ino)
{
	const void *view;
	uint64_t offset = verify_record_offset(v, ino);

	if (!bitset_test(&v->sound, ino) || offset == 0 ||
		tx_view(v->core->meta, NULL, offset, MAGIC_INODE, &view) < 0)
		return NULL;
	return view;
}

/* ---- the record by itself -------------------------------------------------------------------- */

static const char *payload_fault(const struct media_inode *m)
{
	bool good;

	switch (m->mode & S_IFMT) {
	case S_IFREG:
		good = m->payload == PAYLOAD_TREE ||
		       (m->payload == PAYLOAD_INLINE && m->payload_count <= INODE_EXTENTS);
		break;
	case S_IFDIR:
		good = m->payload == PAYLOAD_TREE;
		break;
	case S_IFLNK:
		good = m->size <= SYMLINK_BYTES_MAX &&
		       (m->payload == PAYLOAD_TREE ||
			       (m->payload == PAYLOAD_SYMLINK &&
				       m->payload_count <= SYMLINK_INLINE_MAX &&
				       m->payload_count == m->size));
		break;
	case S_IFIFO:
	case S_IFSOCK:
	case S_IFCHR:
	case S_IFBLK:
		good = m->payload == PAYLOAD_NONE;
		break;
	default:
		return "is of a type that does not exist";
	}
	return good ? NULL : "holds what its type cannot hold";
}

static const char *record_fault(const struct media_inode *m, uint64_t ino)
{
	if (m->ino != ino)
		return "carries another number";
	if (m->mode == 0)
		return "says that the number is free";
	if (S_ISREG(m->mode) && m->size > FILE_BYTES_MAX)
		return "has an impossible size";
	return payload_fault(m);
}

/* ---- regular files --------------------------------------------------------------------------- */

const char *verify_extent_fault(struct verify *v, const struct media_extent *e)
{
	uint64_t blocks = extent_blocks(e);

	if (blocks == 0)
		return "is empty";
	if (e->file_block > FILE_BLOCKS_LIMIT || blocks > FILE_BLOCKS_LIMIT - e->file_block)
		return "lies past the largest size of a file";
	if (e->region >= v->region_count || !tables_region(v->core, e->region))
		return "names a region that is not there";
	uint64_t units = tables_region(v->core, e->region)->media.bytes / BLOCK_SIZE;
	if (e->region_block > units || blocks > units - e->region_block)
		return "lies past the end of its region";
	return NULL;
}

static int on_extent(struct file *f, const struct media_extent *e)
{
	struct verify *v = f->v;
	uint64_t blocks = extent_blocks(e);
	const char *why = verify_extent_fault(v, e);

	if (!why && e->file_block < f->next)
		why = "overlaps the one before it";
	if (!why && bitset_take(&v->regions[e->region], e->region_block, blocks) > 0)
		why = "stands on blocks that another extent claims too";
	if (!why) {
		f->blocks += blocks;
		f->next = e->file_block + blocks;
		v->report->data_blocks += blocks;
		return 0;
	}
	f->bad_extents = true;
	if (verify_found(v, f->ino, "taken out: the file reads as zeroes there",
		    "inode %llu%s: the extent of %llu blocks at byte %llu, in region %u at byte "
		    "%llu, %s",
		    (unsigned long long)f->ino, verify_path(v, f->ino).text,
		    (unsigned long long)blocks, (unsigned long long)e->file_block * BLOCK_SIZE,
		    e->region, (unsigned long long)e->region_block * BLOCK_SIZE, why))
		return verify_queue(v,
			&(struct repair){.kind = REPAIR_EXTENT, .ino = f->ino, .a = e->file_block});
	return 0;
}

static int on_run(void *context, const struct btree_item *item)
{
	struct file *f = context;
	struct media_extent e = {.file_block = item->key};
	struct media_run run;

	if (item->bytes == sizeof(run)) {
		memcpy(&run, item->value, sizeof(run));
		e.region_block = run.region_block;
		e.region = run.region;
		e.blocks_state = run.blocks_state;
	}
	return on_extent(f, &e);
}

static int check_map(struct file *f)
{
	const struct media_inode *m = f->record;
	struct verify *v = f->v;
	bool damaged = false, repair = false;
	int r = 0;

	if (m->payload == PAYLOAD_INLINE) {
		for (unsigned i = 0; r == 0 && i < m->payload_count; i++)
			r = on_extent(f, &m->extents[i]);
	} else {
		r = verify_tree(v, f->ino, &m->tree, "extent map",
			"cut out: the file reads as zeroes where it was described there", on_run, f,
			&damaged, &repair);
		if (r == 0 && repair)
			r = verify_queue(
				v, &(struct repair){.kind = REPAIR_PAYLOAD, .ino = f->ino});
	}
	if (r < 0 || damaged || f->bad_extents || f->blocks == m->blocks)
		return r;
	if (verify_found(v, f->ino, "corrected",
		    "inode %llu%s: counts %llu blocks, its extents have %llu",
		    (unsigned long long)f->ino, verify_path(v, f->ino).text,
		    (unsigned long long)m->blocks, (unsigned long long)f->blocks))
		r = verify_queue(
			v, &(struct repair){.kind = REPAIR_BLOCKS, .ino = f->ino, .a = f->blocks});
	return r;
}

/* ---- symlinks and directories ---------------------------------------------------------------- */

static int on_piece(void *context, const struct btree_item *item)
{
	struct file *f = context;
	uint64_t left = f->record->size - f->bytes;
	uint64_t piece = left < BTREE_VALUE_MAX ? left : BTREE_VALUE_MAX;

	/* A piece that is missing, or of another length, leaves the sum wrong. */
	if (piece > 0 && item->key == f->bytes / BTREE_VALUE_MAX && item->bytes == piece)
		f->bytes += piece;
	return 0;
}

static int check_target(struct file *f)
{
	bool damaged, repair;
	int r;

	if (f->record->payload != PAYLOAD_TREE)
		return 0;
	r = verify_tree(f->v, f->ino, &f->record->tree, "target", "removed with its link", on_piece,
		f, &damaged, &repair);
	if (r < 0 || (damaged && !repair))
		return r;
	if (!damaged && f->bytes == f->record->size)
		return 0;
	if (!damaged)
		repair = verify_found(f->v, f->ino, "removed",
			"inode %llu%s: a symbolic link without its whole target",
			(unsigned long long)f->ino, verify_path(f->v, f->ino).text);
	return repair ? verify_queue(
				f->v, &(struct repair){.kind = REPAIR_CLEAR_INODE, .ino = f->ino})
		      : 0;
}

/* Its entries are phase 4's. */
static int check_directory(struct file *f)
{
	bool damaged, repair;
	int r = verify_tree(f->v, f->ino, &f->record->tree, "directory",
		"cut out: what was named there goes to /lost+found", NULL, NULL, &damaged, &repair);

	if (r == 0 && repair)
		r = verify_queue(f->v, &(struct repair){.kind = REPAIR_PAYLOAD, .ino = f->ino});
	return r;
}

/* ---- all of them ----------------------------------------------------------------------------- */

static int bad_record(struct verify *v, uint64_t ino, const char *why)
{
	struct repair repair = {.kind = REPAIR_CLEAR_INODE, .ino = ino};
	const char *remedy = "given up, its names removed";

	if (ino == ROOT_INO) {
		repair.kind = REPAIR_ROOT;
		remedy = "made anew: what was in it goes to /lost+found";
	}
	v->tree_damage = true;
	if (verify_found(v, ino, remedy, "inode %llu%s: its record %s", (unsigned long long)ino,
		    verify_path(v, ino).text, why))
		return verify_queue(v, &repair);
	return 0;
}

static int check_one(struct verify *v, uint64_t ino)
{
	uint64_t offset = verify_record_offset(v, ino);
	struct file f = {.v = v, .ino = ino};
	const char *why = "fails its checksum";
	const void *view;
	int r = meta_verify(v->core->meta, offset, MAGIC_INODE);

	if (r == 0)
		r = tx_view(v->core->meta, NULL, offset, MAGIC_INODE, &view);
	if (r == 0) {
		f.record = view;
		why = record_fault(f.record, ino);
		if (!why && ino == ROOT_INO && !S_ISDIR(f.record->mode))
			why = "is not a directory's";
	}
	if (r == -EUCLEAN || (r == 0 && why))
		return bad_record(v, ino, why);
	if (r < 0)
		return r;
	v->report->inodes++;
	bitset_set(&v->sound, ino);
	if (f.record->trim_start != f.record->trim_end && !verify_trims(f.record) &&
		verify_found(v, ino, "dropped",
			"inode %llu%s: has a trim range that it cannot have",
			(unsigned long long)ino, verify_path(v, ino).text)) {
		r = verify_queue(v, &(struct repair){.kind = REPAIR_TRIM, .ino = ino});
		if (r < 0)
			return r;
	}
	switch (f.record->mode & S_IFMT) {
	case S_IFREG:
		r = check_map(&f);
		break;
	case S_IFDIR:
		bitset_set(&v->is_dir, ino);
		v->report->directories++;
		r = check_directory(&f);
		break;
	case S_IFLNK:
		r = check_target(&f);
		break;
	default:
		break;
	}
	return r < 0 ? r : verify_attributes(v, ino, f.record);
}

/* In a group without a bitmap: is there a record at that number that says it is in use? */
static bool record_in_use(struct verify *v, uint64_t ino)
{
	uint64_t offset = verify_record_offset(v, ino);
	const struct media_inode *m;
	const void *view;

	/* Most numbers were never used, or are free: their records are not summed. */
	if (offset == 0 || tx_view(v->core->meta, NULL, offset, MAGIC_INODE, &view) < 0)
		return false;
	m = view;
	return m->ino == ino && m->mode != 0 &&
	       meta_verify(v->core->meta, offset, MAGIC_INODE) == 0;
}

static int mark_in_use(struct verify *v, uint64_t ino)
{
	bitset_set(&v->in_use, ino);
	if (verify_found(v, ino, "marked as in use",
		    ino ? "inode %llu%s: its number is marked as free"
			: "inode number %llu%s, which is never given, is marked as free",
		    (unsigned long long)ino, ino ? verify_path(v, ino).text : ""))
		return verify_queue(v,
			&(struct repair){
				.kind = REPAIR_MISSING, .space = SPACE_INODES, .a = ino, .b = 1});
	return 0;
}

static int load_in_use(struct verify *v, uint32_t group)
{
	const struct media_bitmap *bitmap;
	struct media_group g;
	const void *view;
	int r = space_group(v->core->inodes, group, &g);

	if (r < 0)
		return r;
	uint64_t first = (uint64_t)group * INODES_PER_GROUP;
	r = meta_verify(v->core->meta, g.bitmap, MAGIC_GROUP);
	if (r == 0)
		r = tx_view(v->core->meta, NULL, g.bitmap, MAGIC_GROUP, &view);
	if (r == -EUCLEAN) {
		for (uint64_t i = 0; i < g.units; i++)
			if (record_in_use(v, first + i))
				bitset_set(&v->in_use, first + i);
		return 0; /* phase 5 reports it */
	}
	if (r < 0)
		return r;
	bitmap = view;
	static_assert(INODES_PER_GROUP % 64 == 0, "whole words");
	memcpy(&v->in_use.words[first / 64], bitmap->bits, INODES_PER_GROUP / 8);
	/* A record that was freed has no mode: one that has belongs to somebody, whatever its bit.
	 */
	for (uint64_t i = 0; r == 0 && i < g.units; i++)
		if (!bitset_test(&v->in_use, first + i) &&
			(first + i == 0 || record_in_use(v, first + i)))
			r = mark_in_use(v, first + i);
	return r;
}

int verify_inodes(struct verify *v)
{
	int r = 0;

	for (uint32_t group = 0; r == 0 && group < v->inode_numbers / INODES_PER_GROUP; group++)
		r = load_in_use(v, group);
	/* Without a record that can be read the root would be nobody's. */
	if (r == 0 && !bitset_test(&v->in_use, ROOT_INO))
		r = mark_in_use(v, ROOT_INO);
	for (uint64_t ino = ROOT_INO; r == 0 && ino < v->inode_numbers; ino++) {
		if (ino % 64 == 0 && v->in_use.words[ino / 64] == 0) {
			ino += 63;
			continue;
		}
		if (ino % 4096 == 0)
			verify_progress(v, ino, v->inode_numbers);
		if (bitset_test(&v->in_use, ino))
			r = check_one(v, ino);
	}
	return r;
}
