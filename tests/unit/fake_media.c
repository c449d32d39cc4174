// SPDX-License-Identifier: BSD-2-Clause
/*
 * fake_media.c - see fake_media.h.
 *
 * Block 0 is never handed out. A block has a state: free, taken by the transaction under way, in
 * use, or freed by the transaction under way.
 */
#include "fake_media.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum state { FREE, TAKEN, USED, FREED };

struct tx {
	struct meta *meta;
	unsigned objects;
	unsigned changes; /* blocks taken and freed */
	uint64_t offsets[TX_OBJECTS_MAX];
	void *shadows[TX_OBJECTS_MAX];
	uint64_t changed[TX_BITS_MAX];
};

struct meta {
	uint64_t blocks;
	uint64_t used;
	uint64_t views;
	uint64_t fail_after;
	uint64_t hint;
	uint8_t *memory;
	uint8_t *states;
	struct tx tx;
	bool busy;
};

struct space {
	struct meta *meta;
};

void fake_media_open(struct fake_media *f, uint64_t blocks)
{
	f->meta = calloc(1, sizeof(*f->meta));
	f->heap = calloc(1, sizeof(*f->heap));
	assert(f->meta && f->heap);
	f->heap->meta = f->meta;
	f->meta->blocks = blocks;
	f->meta->fail_after = UINT64_MAX;
	f->meta->hint = 1;
	f->meta->memory = calloc(blocks, BLOCK_SIZE);
	f->meta->states = calloc(blocks, 1);
	assert(f->meta->memory && f->meta->states);
}

void fake_media_close(struct fake_media *f)
{
	assert(!f->meta->busy);
	free(f->meta->memory);
	free(f->meta->states);
	free(f->meta);
	free(f->heap);
}

uint64_t fake_media_used(const struct fake_media *f)
{
	return f->meta->used;
}

uint64_t fake_media_views(const struct fake_media *f)
{
	return f->meta->views;
}

void *fake_media_block(struct fake_media *f, uint64_t offset)
{
	if (offset / BLOCK_SIZE >= f->meta->blocks || f->meta->states[offset / BLOCK_SIZE] != USED)
		return NULL;
	return f->meta->memory + offset;
}

void fake_media_fail_after(struct fake_media *f, uint64_t n)
{
	f->meta->fail_after = n;
}

int tx_begin(struct meta *m, struct tx **out)
{
	assert(!m->busy);
	m->busy = true;
	m->tx.meta = m;
	m->tx.objects = 0;
	m->tx.changes = 0;
	*out = &m->tx;
	return 0;
}

static void *shadow_find(struct tx *tx, uint64_t offset)
{
	for (unsigned i = 0; i < tx->objects; i++) {
		if (tx->offsets[i] == offset)
			return tx->shadows[i];
	}
	return NULL;
}

static void *shadow_new(struct tx *tx, uint64_t offset)
{
	void *shadow;

	if (tx->objects == TX_OBJECTS_MAX)
		return NULL;
	shadow = malloc(BLOCK_SIZE);
	assert(shadow);
	tx->offsets[tx->objects] = offset;
	tx->shadows[tx->objects++] = shadow;
	return shadow;
}

int tx_view(struct meta *m, struct tx *tx, uint64_t offset, uint32_t magic, const void **out)
{
	const struct media_head *head;
	uint64_t block = offset / BLOCK_SIZE;

	m->views++;
	if (offset % BLOCK_SIZE || block == 0 || block >= m->blocks)
		return -ENXIO;
	head = tx ? shadow_find(tx, offset) : NULL;
	if (!head) {
		if (m->states[block] != USED && m->states[block] != FREED)
			return -EUCLEAN;
		head = (const void *)(m->memory + offset);
	}
	if (head->magic != magic)
		return -EUCLEAN;
	*out = head;
	return 0;
}

int tx_edit(struct tx *tx, uint64_t offset, uint32_t magic, void **out)
{
	const void *view;
	void *shadow = shadow_find(tx, offset);
	int r;

	if (!shadow) {
		r = tx_view(tx->meta, tx, offset, magic, &view);
		if (r)
			return r;
		shadow = shadow_new(tx, offset);
		if (!shadow)
			return -E2BIG;
		memcpy(shadow, view, BLOCK_SIZE);
	}
	*out = shadow;
	return 0;
}

int tx_create(struct tx *tx, uint64_t offset, uint32_t magic, void **out)
{
	struct media_head *shadow = shadow_find(tx, offset);

	if (!shadow)
		shadow = shadow_new(tx, offset);
	if (!shadow)
		return -E2BIG;
	memset(shadow, 0, BLOCK_SIZE);
	shadow->magic = magic;
	*out = shadow;
	return 0;
}

bool tx_has_room(const struct tx *tx)
{
	return tx->objects <= TX_OBJECTS_MAX / 2 && tx->changes <= TX_BITS_MAX / 2;
}

static void tx_end(struct tx *tx, bool committed)
{
	struct meta *m = tx->meta;

	for (unsigned i = 0; i < tx->objects; i++) {
		if (committed && m->states[tx->offsets[i] / BLOCK_SIZE] != FREED)
			memcpy(m->memory + tx->offsets[i], tx->shadows[i], BLOCK_SIZE);
		free(tx->shadows[i]);
	}
	for (unsigned i = 0; i < tx->changes; i++) {
		uint8_t *state = &m->states[tx->changed[i]];

		if (*state == TAKEN) {
			*state = committed ? USED : FREE;
			m->used += committed;
		} else {
			assert(*state == FREED);
			*state = committed ? FREE : USED;
			m->used -= committed;
		}
	}
	m->busy = false;
}

int tx_commit(struct tx *tx)
{
	tx_end(tx, true);
	return 0;
}

void tx_abort(struct tx *tx)
{
	tx_end(tx, false);
}

uint64_t space_unit_offset(const struct space *s, uint64_t unit)
{
	(void)s;
	return unit * BLOCK_SIZE;
}

uint64_t space_offset_unit(const struct space *s, uint64_t offset)
{
	(void)s;
	return offset / BLOCK_SIZE;
}

int space_alloc(
	struct space *s, struct tx *tx, const struct space_request *request, struct space_run *out)
{
	struct meta *m = s->meta;

	assert(request->want == 1);
	if (m->fail_after != UINT64_MAX && m->fail_after-- == 0) {
		m->fail_after = 0;
		return -ENOSPC;
	}
	if (tx->changes == TX_BITS_MAX)
		return -E2BIG;
	for (uint64_t i = 0; i < m->blocks; i++) {
		uint64_t block = (m->hint + i) % m->blocks;

		if (block == 0 || m->states[block] != FREE)
			continue;
		m->states[block] = TAKEN;
		m->hint = block + 1;
		tx->changed[tx->changes++] = block;
		*out = (struct space_run){.first = block, .count = 1};
		return 0;
	}
	return -ENOSPC;
}

int space_free(struct space *s, struct tx *tx, const struct space_run *run)
{
	struct meta *m = s->meta;

	assert(run->count == 1);
	if (run->first == 0 || run->first >= m->blocks)
		return -EUCLEAN;
	if (m->states[run->first] == TAKEN) { /* never to be seen again: back to free */
		for (unsigned i = 0; i < tx->changes; i++) {
			if (tx->changed[i] == run->first)
				tx->changed[i] = tx->changed[--tx->changes];
		}
		m->states[run->first] = FREE;
		return 0;
	}
	if (m->states[run->first] != USED)
		return -EUCLEAN;
	if (tx->changes == TX_BITS_MAX)
		return -E2BIG;
	m->states[run->first] = FREED;
	tx->changed[tx->changes++] = run->first;
	return 0;
}
