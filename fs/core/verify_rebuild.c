// SPDX-License-Identifier: BSD-2-Clause
/*
 * verify_rebuild.c - a damaged tree is made anew: what can be read of it is copied into a new tree,
 * in as many transactions as that takes, and the last one puts the new root in its place. A crash
 * before that leaves blocks without an owner; so does the end, with the old tree's: the next pass
 * frees them.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dir.h"
#include "verify_repair.h"
#include "xattr.h"

struct rebuild {
	struct verify *v;
	struct btree tree;
	struct tx *tx;
	struct media_root root; /* of the new tree */
	const struct media_inode *record;
	bool xattrs;
	uint64_t items;
	uint64_t blocks, next; /* of extents */
	/* Pieces of the attribute that is being read: it is copied when it is whole. */
	struct xattr_pieces state;
	struct {
		uint16_t bytes;
		uint8_t value[BTREE_VALUE_MAX];
	} pieces[XATTR_PIECES_MAX];
};

static int add(struct rebuild *b, uint64_t key, const void *value, uint16_t bytes)
{
	int error = 0;

	if (!tx_has_room(b->tx)) {
		error = tx_commit(b->tx);
		b->tx = NULL;
		if (error == 0)
			error = tx_begin(b->v->core->meta, &b->tx);
		if (error)
			return error;
	}
	error = btree_insert(&b->tree, b->tx, &b->root, key, value, bytes);
	if (error == 0)
		b->items++;
	return error == -EEXIST ? 0 : error;
}

static int copy_extent(struct rebuild *b, const struct btree_item *item)
{
	struct media_extent e = {.file_block = item->key};
	struct media_run run;

	if (item->bytes != sizeof(run))
		return 0;
	memcpy(&run, item->value, sizeof(run));
	e.region_block = run.region_block;
	e.region = run.region;
	e.blocks_state = run.blocks_state;
	if (verify_extent_fault(b->v, &e) || e.file_block < b->next)
		return 0;
	b->next = e.file_block + extent_blocks(&e);
	b->blocks += extent_blocks(&e);
	return add(b, item->key, &run, sizeof(run));
}

static int copy_attribute(struct rebuild *b, const struct btree_item *item)
{
	unsigned piece = item->key & 0xff;
	bool cut_off;
	int error = 0;
	enum piece_state state = verify_piece(b->v, &b->state, item, &cut_off);

	if (state == PIECE_BAD)
		return 0;
	b->pieces[piece].bytes = item->bytes;
	memcpy(b->pieces[piece].value, item->value, item->bytes);
	for (unsigned i = 0; error == 0 && state == PIECE_WHOLE && i <= piece; i++)
		error = add(b, b->state.key + i, b->pieces[i].value, b->pieces[i].bytes);
	return error;
}

static int copy_item(void *context, const struct btree_item *item)
{
	struct rebuild *b = context;
	const struct media_dirent *d;

	if (b->xattrs)
		return copy_attribute(b, item);
	if (S_ISREG(b->record->mode))
		return copy_extent(b, item);
	if (S_ISDIR(b->record->mode) && dirent_decode(item, &d) < 0)
		return 0;
	return add(b, item->key, item->value, item->bytes);
}

static int put_in_place(struct rebuild *b, uint64_t offset)
{
	struct media_inode *m;
	void *shadow;
	int error = tx_edit(b->tx, offset, MAGIC_INODE, &shadow);

	if (error)
		return error;
	m = shadow;
	if (b->xattrs) {
		m->xattrs = b->root;
		m->acl_flags = b->state.acl_flags;
		return 0;
	}
	m->tree = b->root;
	if (S_ISDIR(m->mode))
		m->size = b->items;
	if (S_ISREG(m->mode)) {
		m->blocks = b->blocks;
		if (b->items == 0)
			m->payload = PAYLOAD_INLINE; /* a tree is never empty there */
	}
	return 0;
}

int verify_rebuild(struct verify *v, uint64_t ino, bool xattrs)
{
	struct core *c = v->core;
	struct rebuild *b;
	const void *view;
	uint64_t offset = verify_record_offset(v, ino);
	int error = tx_view(c->meta, NULL, offset, MAGIC_INODE, &view);

	if (error)
		return error;
	b = calloc(1, sizeof(*b));
	if (!b)
		return -ENOMEM;
	b->v = v;
	b->tree = (struct btree){.meta = c->meta, .heap = c->heap, .owner = ino};
	b->record = view;
	b->xattrs = xattrs;
	const struct media_root old = xattrs ? b->record->xattrs : b->record->tree;
	const struct btree_visitor visitor = {.context = b, .item = copy_item};
	error = tx_begin(c->meta, &b->tx);
	if (error == 0)
		error = btree_check(&b->tree, &old, &visitor);
	if (error == 0 || error == -EUCLEAN)
		error = b->tx ? put_in_place(b, offset) : -EIO;
	if (error == 0)
		error = tx_commit(b->tx);
	else if (b->tx)
		tx_abort(b->tx);
	free(b);
	return error;
}
