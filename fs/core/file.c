// SPDX-License-Identifier: BSD-2-Clause
/*
 * file.c - what file.h promises to the operations on a file's bytes.
 */
#include "file.h"

#include <assert.h>
#include <errno.h>
#include <sys/mman.h>

int file_lock(struct core *c, struct inode *ip, const struct media_inode **record)
{
	int error;

	inode_lock_write(ip);
	error = inode_view(c, NULL, ip, record);
	if (!error && !S_ISREG((*record)->mode))
		error = S_ISDIR((*record)->mode) ? -EISDIR : -EINVAL;
	if (!error && (*record)->trim_start != (*record)->trim_end)
		error = inode_finish_trim(c, ip);
	if (error)
		inode_unlock(ip);
	return error;
}

int file_tx_begin(struct core *c, struct inode *ip, struct tx **tx, struct media_inode **record)
{
	int error;

	if (c->super.domains == DOMAINS_UID) {
		const struct media_inode *view;
		struct data_region *dr;

		/* It may have to be made, which is a transaction. */
		error = inode_view(c, NULL, ip, &view);
		if (!error)
			error = tables_region_for(c, view->uid, &dr);
		if (error)
			return error;
	}
	error = extent_tx_begin(c, tx);
	if (error)
		return error;
	error = inode_edit(c, *tx, ip, record);
	if (error)
		extent_tx_abort(c, *tx);
	return error;
}

/* ---- pieces ---------------------------------------------------------------------------------- */

struct walk {
	struct core *c;
	const struct media_inode *record;
	uint64_t at; /* up to here everything was handed out */
	uint64_t end;
	int (*visit)(void *context, const struct piece *piece);
	void *context;
};

static int emit_hole(struct walk *w, uint64_t end)
{
	const struct piece hole = {.offset = w->at, .length = end - w->at};

	if (w->at >= end)
		return 0;
	w->at = end;
	return w->visit(w->context, &hole);
}

static int emit_extent(struct walk *w, const struct extent *e, uint64_t end)
{
	struct data_region *dr = tables_region(w->c, e->region);
	const struct piece piece = {
		.offset = w->at,
		.length = end - w->at,
		.region = dr->region,
		.region_offset =
			(e->region_block << BLOCK_SHIFT) + (w->at - (e->file_block << BLOCK_SHIFT)),
		.region_number = e->region,
		.unwritten = e->unwritten,
	};

	if (w->at >= end)
		return 0;
	w->at = end;
	return w->visit(w->context, &piece);
}

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static int walk_extent(void *context, const struct extent *e)
{
	struct walk *w = context;
	uint64_t start = e->file_block << BLOCK_SHIFT;
	uint64_t end = least(start + (e->blocks << BLOCK_SHIFT), w->end);
	uint64_t trim_start = w->record->trim_start << BLOCK_SHIFT;
	uint64_t trim_end = w->record->trim_end << BLOCK_SHIFT;
	int result = emit_hole(w, least(start, w->end));

	if (!result && trim_start != trim_end && w->at < end) {
		if (trim_start > w->at)
			result = emit_extent(w, e, least(trim_start, end));
		if (!result && w->at >= trim_start)
			result = emit_hole(w, least(trim_end, end));
	}
	if (!result)
		result = emit_extent(w, e, end);
	if (!result && w->at >= w->end)
		result = 1; /* done */
	return result;
}

int file_walk(struct core *c, const struct inode *ip, const struct media_inode *record,
	uint64_t offset, uint64_t end, int (*visit)(void *context, const struct piece *piece),
	void *context)
{
	struct walk w = {.c = c,
		.record = record,
		.at = offset,
		.end = end,
		.visit = visit,
		.context = context};
	int result;

	assert(end <= FILE_BYTES_MAX);
	if (offset >= end)
		return 0;
	result = extent_walk(c, ip, record, offset >> BLOCK_SHIFT, walk_extent, &w);
	if (result == 0)
		result = emit_hole(&w, end);
	else if (result == 1 && w.at >= end)
		result = 0;
	return result;
}

static int zero_piece(void *context, const struct piece *piece)
{
	int error;

	if (!piece->region || piece->unwritten)
		return 0;
	region_store_zero(piece->region, piece->region_offset, piece->length);
	error = region_flush(piece->region, piece->region_offset, piece->length);
	region_fence(piece->region);
	return error;
}

int file_zero(struct core *c, const struct inode *ip, const struct media_inode *record,
	uint64_t start, uint64_t end)
{
	return file_walk(c, ip, record, start, end, zero_piece, NULL);
}

int file_grow(struct core *c, const struct inode *ip, const struct media_inode *record,
	uint64_t size, uint64_t skip)
{
	if (size <= record->size || record->size % BLOCK_SIZE == 0)
		return 0;
	return file_zero(c, ip, record, record->size, least(block_up(record->size), skip));
}

void file_drop_privileges(struct media_inode *record, const struct core_cred *cred)
{
	if (!cred || cred->fsetid || !S_ISREG(record->mode))
		return;
	record->mode &= ~(uint32_t)S_ISUID;
	if (record->mode & S_IXGRP)
		record->mode &= ~(uint32_t)S_ISGID;
}

/* ---- zeroes ---------------------------------------------------------------------------------- */

static pthread_once_t zeroes_once = PTHREAD_ONCE_INIT;
static void *zeroes;

static void map_zeroes(void)
{
	void *at = mmap(NULL, FILE_ZEROES_BYTES, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	zeroes = at == MAP_FAILED ? NULL : at;
}

void *file_zeroes(void)
{
	pthread_once(&zeroes_once, map_zeroes);
	return zeroes;
}
