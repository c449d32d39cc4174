// SPDX-License-Identifier: BSD-2-Clause
/*
 * model_data.c - see model_data.h. Every data operation is for regular files: -EINVAL else.
 */
#include "model_data.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdlib.h>

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static void grow(struct node *n, uint64_t size)
{
	if (size > n->size)
		n->size = size;
}

static int64_t store(struct node *n, const struct op *op, uint64_t offset, uint64_t done)
{
	uint64_t length = least(op->length, done);
	if (length == 0)
		return 0;
	uint8_t *bytes = malloc(op->length);
	assert(bytes != NULL);
	fill_bytes(bytes, op->length, op->seed);
	content_write(&n->content, offset, bytes, length);
	free(bytes);
	grow(n, offset + length);
	n->mtime = -1;
	return (int64_t)length;
}

static int64_t comb(struct node *n, const struct op *op, uint64_t done)
{
	uint8_t bytes[COMB_BYTES];
	uint32_t i = 0;
	for (; i < op->count && i < done; i++) {
		uint64_t at = op->offset + (uint64_t)i * COMB_STRIDE;
		fill_bytes(bytes, sizeof(bytes), op->seed + i);
		content_write(&n->content, at, bytes, sizeof(bytes));
		grow(n, at + sizeof(bytes));
		n->mtime = -1;
	}
	return i;
}

static int64_t truncate_to(struct node *n, uint64_t size)
{
	if (size < n->size)
		content_zero(&n->content, size, n->size - size);
	n->size = size;
	n->mtime = -1;
	return 0;
}

static int64_t allocate(struct node *n, const struct op *op)
{
	uint64_t end = op->offset + op->length;
	if (op->length == 0)
		return -EINVAL;
	if (op->mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)) {
		uint64_t stop = least(end, n->size);
		if (op->offset < stop)
			content_zero(&n->content, op->offset, stop - op->offset);
	}
	if (!(op->mode & FALLOC_FL_KEEP_SIZE))
		grow(n, end);
	n->mtime = -1;
	return 0;
}

static int64_t copy(struct model *m, struct node *from, const struct op *op, uint64_t done)
{
	struct node *to;
	int r = model_resolve(m, op->path2, &to);
	if (r < 0)
		return r;
	if (!S_ISREG(to->mode))
		return -EINVAL;
	if (op->offset >= from->size)
		return 0;
	uint64_t length = least(op->length, from->size - op->offset);
	if (from == to && op->offset < op->offset2 + length && op->offset2 < op->offset + length)
		return -EINVAL;
	length = least(length, done);
	if (length == 0)
		return 0;
	uint8_t *bytes = malloc(length);
	assert(bytes != NULL);
	content_read(&from->content, op->offset, bytes, length);
	content_write(&to->content, op->offset2, bytes, length);
	free(bytes);
	grow(to, op->offset2 + length);
	to->mtime = -1;
	return (int64_t)length;
}

int64_t model_apply_data(struct model *m, const struct op *op, uint64_t done)
{
	struct node *n;
	int r = model_resolve(m, op->path, &n);
	if (r < 0)
		return r;
	if (!S_ISREG(n->mode))
		return -EINVAL;
	switch (op->kind) {
	case OP_WRITE:
		return store(n, op, op->offset, done);
	case OP_APPEND:
		return store(n, op, n->size, done);
	case OP_READ:
		return op->offset >= n->size ? 0 : (int64_t)least(op->length, n->size - op->offset);
	case OP_TRUNCATE:
		return truncate_to(n, op->offset);
	case OP_FALLOC:
		return allocate(n, op);
	case OP_COMB:
		return comb(n, op, done);
	case OP_COPY:
		return copy(m, n, op, done);
	default:
		assert(0);
		return -EINVAL;
	}
}
