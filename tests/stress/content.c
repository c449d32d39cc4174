// SPDX-License-Identifier: BSD-2-Clause
/*
 * content.c - see content.h. Memory runs out only when the tester itself is wrong: it stops.
 */
#include "content.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static size_t smaller(size_t a, uint64_t b)
{
	return b < a ? (size_t)b : a;
}

void content_clear(struct content *c)
{
	for (size_t i = 0; i < c->count; i++)
		free(c->chunks[i].bytes);
	free(c->chunks);
	memset(c, 0, sizeof(*c));
}

size_t content_from(const struct content *c, uint64_t number)
{
	size_t low = 0, high = c->count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (c->chunks[middle].number < number)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static uint8_t *chunk_for_write(struct content *c, uint64_t number)
{
	size_t at = content_from(c, number);
	if (at < c->count && c->chunks[at].number == number)
		return c->chunks[at].bytes;
	if (c->count == c->capacity) {
		c->capacity = c->capacity ? c->capacity * 2 : 8;
		c->chunks = realloc(c->chunks, c->capacity * sizeof(*c->chunks));
		assert(c->chunks != NULL);
	}
	memmove(&c->chunks[at + 1], &c->chunks[at], (c->count - at) * sizeof(*c->chunks));
	c->count++;
	c->chunks[at].number = number;
	c->chunks[at].bytes = calloc(1, CHUNK_BYTES);
	assert(c->chunks[at].bytes != NULL);
	return c->chunks[at].bytes;
}

void content_write(struct content *c, uint64_t offset, const void *bytes, size_t count)
{
	const uint8_t *from = bytes;
	while (count > 0) {
		size_t inside = offset % CHUNK_BYTES;
		size_t n = smaller(CHUNK_BYTES - inside, count);
		memcpy(chunk_for_write(c, offset / CHUNK_BYTES) + inside, from, n);
		from += n;
		offset += n;
		count -= n;
	}
}

void content_read(const struct content *c, uint64_t offset, void *out, size_t count)
{
	uint8_t *to = out;
	while (count > 0) {
		size_t inside = offset % CHUNK_BYTES;
		size_t n = smaller(CHUNK_BYTES - inside, count);
		size_t at = content_from(c, offset / CHUNK_BYTES);
		if (at < c->count && c->chunks[at].number == offset / CHUNK_BYTES)
			memcpy(to, c->chunks[at].bytes + inside, n);
		else
			memset(to, 0, n);
		to += n;
		offset += n;
		count -= n;
	}
}

void content_zero(struct content *c, uint64_t offset, uint64_t count)
{
	uint64_t end = offset + count;
	if (count == 0)
		return;
	if (end < offset)
		end = UINT64_MAX;
	size_t first = content_from(c, offset / CHUNK_BYTES), keep = first;
	size_t i = first;
	for (; i < c->count; i++) {
		uint64_t start = c->chunks[i].number * CHUNK_BYTES;
		if (start >= end)
			break;
		if (offset <= start && end >= start + CHUNK_BYTES) {
			free(c->chunks[i].bytes);
			continue;
		}
		size_t low = offset > start ? (size_t)(offset - start) : 0;
		size_t high = smaller(CHUNK_BYTES, end - start);
		memset(c->chunks[i].bytes + low, 0, high - low);
		c->chunks[keep++] = c->chunks[i];
	}
	if (i > keep)
		memmove(&c->chunks[keep], &c->chunks[i], (c->count - i) * sizeof(*c->chunks));
	c->count -= i - keep;
}
