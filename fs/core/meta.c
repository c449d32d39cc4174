// SPDX-License-Identifier: BSD-2-Clause
/*
 * meta.c - the decoder of metadata objects: what kinds there are, and whether one is intact.
 *
 * A block's checksum is verified when it is first looked at; `verified` remembers that by one bit
 * a block, for as long as the pool is open. Inodes are smaller than a block and are verified by
 * meta_verify() whenever they enter the inode cache; here only their magic is looked at.
 *
 * Bitmaps change under the journal's lock alone, so they are verified under it: elsewhere the
 * caller's lock keeps an object still.
 */
#include "meta_impl.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "checksum.h"

#define WORD_BITS 64u

size_t object_bytes(uint32_t magic)
{
	switch (magic) {
	case MAGIC_INODE:
		return INODE_SIZE;
	case MAGIC_SUPER:
	case MAGIC_JOURNAL:
	case MAGIC_ROOTS:
	case MAGIC_GROUP:
	case MAGIC_NODE:
		return BLOCK_SIZE;
	default:
		return 0;
	}
}

uint64_t object_checksum_unset(const void *object, size_t bytes, uint64_t seed)
{
	assert(bytes >= sizeof(struct media_head));
	assert(((const struct media_head *)object)->checksum == 0);
	return checksum_bytes(object, bytes, seed);
}

uint64_t object_checksum(const void *object, size_t bytes, uint64_t seed)
{
	uint8_t copy[BLOCK_SIZE] __attribute__((aligned(64)));
	struct media_head head;

	assert(bytes >= sizeof(head));
	memcpy(&head, object, sizeof(head));
	head.checksum = 0;
	if (bytes > sizeof(copy)) /* records only */
		return checksum_with_head(&head, sizeof(head), object, bytes, seed);
	memcpy(copy, &head, sizeof(head));
	memcpy(copy + sizeof(head), (const uint8_t *)object + sizeof(head), bytes - sizeof(head));
	return checksum_bytes(copy, bytes, seed);
}

int meta_open(struct region *region, struct journal *journal, struct meta **out)
{
	struct meta *m = calloc(1, sizeof(*m));
	uint64_t blocks = region_bytes(region) / BLOCK_SIZE;

	if (!m)
		return -ENOMEM;
	m->region = region;
	m->journal = journal;
	journal_heap(journal, &m->start, &m->end);
	m->verified = calloc((blocks + WORD_BITS - 1) / WORD_BITS, sizeof(*m->verified));
	if (!m->verified) {
		free(m);
		return -ENOMEM;
	}
	*out = m;
	return 0;
}

void meta_close(struct meta *m)
{
	if (!m)
		return;
	free(m->verified);
	free(m);
}

struct journal *meta_journal(struct meta *m)
{
	return m->journal;
}

struct region *meta_region(struct meta *m)
{
	return m->region;
}

static bool is_verified(struct meta *m, uint64_t offset)
{
	uint64_t block = offset >> BLOCK_SHIFT;
	uint64_t word = atomic_load_explicit(&m->verified[block / WORD_BITS], memory_order_relaxed);

	return word >> (block % WORD_BITS) & 1;
}

void meta_set_verified(struct meta *m, uint64_t offset)
{
	uint64_t block = offset >> BLOCK_SHIFT;

	if (!is_verified(m, offset))
		atomic_fetch_or_explicit(&m->verified[block / WORD_BITS],
			1ull << (block % WORD_BITS), memory_order_relaxed);
}

int meta_home(struct meta *m, uint64_t offset, uint32_t magic, const void **out)
{
	size_t bytes = object_bytes(magic);

	assert(bytes);
	if (offset % bytes || offset < m->start || offset > m->end || bytes > m->end - offset)
		return -ENXIO;
	*out = region_at(m->region, offset, bytes);
	return 0;
}

static bool intact(const void *home, uint64_t offset, uint32_t magic)
{
	const struct media_head *head = home;

	return head->magic == magic &&
	       head->checksum == object_checksum(home, object_bytes(magic), offset);
}

struct look {
	const void *home;
	uint64_t offset;
	uint32_t magic;
};

static int look_intact(void *context)
{
	const struct look *look = context;

	return intact(look->home, look->offset, look->magic) ? 0 : -EUCLEAN;
}

int meta_verify(struct meta *m, uint64_t offset, uint32_t magic)
{
	struct look look = {.offset = offset, .magic = magic};
	int error = meta_home(m, offset, magic, &look.home);

	if (error)
		return error;
	if (magic == MAGIC_GROUP)
		error = journal_quiesced(m->journal, look_intact, &look);
	else
		error = look_intact(&look);
	if (!error && magic != MAGIC_INODE)
		meta_set_verified(m, offset);
	return error;
}

int meta_view(struct meta *m, uint64_t offset, uint32_t magic, const void **out)
{
	const struct media_head *head;
	const void *home;
	int error = meta_home(m, offset, magic, &home);

	if (error)
		return error;
	if (magic != MAGIC_INODE && !is_verified(m, offset)) {
		error = meta_verify(m, offset, magic);
		if (error)
			return error;
	}
	head = home;
	if (head->magic != magic)
		return -EUCLEAN;
	*out = home;
	return 0;
}
