// SPDX-License-Identifier: BSD-2-Clause
/*
 * space.c - spaces and their groups; reading a group's bitmap.
 *
 * Groups are only ever added, by whoever mounts or grows, and found without a lock: they stand in
 * chunks that never move. When a group is added its free units are counted on the media, which is
 * a matter of nanoseconds; its bitmap is verified and copied when it is first used. The count of a
 * bitmap that turns out to be damaged goes to zero then, and the group is passed over for good.
 *
 * A group's bits on media change only through this module, which reads it first, so the copy is
 * never behind.
 */
#include "space_impl.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- chunks ---------------------------------------------------------------------------------- */

static uint32_t chunk_of(uint32_t group, uint32_t *index)
{
	if (group < 1u << CHUNK_FIRST_SHIFT) {
		*index = group;
		return 0;
	}
	uint32_t top = 31 - (uint32_t)__builtin_clz(group);
	*index = group - (1u << top);
	return top - CHUNK_FIRST_SHIFT + 1;
}

static struct chunk *chunk_at(const struct space *s, uint32_t group, uint32_t *index)
{
	return atomic_load_explicit(&s->chunks[chunk_of(group, index)], memory_order_acquire);
}

struct group *space_group_at(const struct space *s, uint32_t number)
{
	uint32_t index;

	if (number >= space_groups(s))
		return NULL;
	return &chunk_at(s, number, &index)->group[index];
}

void space_group_counts(const struct space *s, uint32_t number, uint32_t *free, uint32_t *huge)
{
	uint32_t index;
	struct chunk *c = chunk_at(s, number, &index);

	*free = atomic_load_explicit(&c->free[index], memory_order_relaxed);
	*huge = atomic_load_explicit(&c->huge[index], memory_order_relaxed);
}

void group_set_counts(struct group *g, uint32_t free, uint32_t huge)
{
	uint32_t index;
	struct chunk *c = chunk_at(g->space, g->number, &index);

	atomic_store_explicit(&c->free[index], free, memory_order_relaxed);
	atomic_store_explicit(&c->huge[index], huge, memory_order_relaxed);
}

static void chunk_free(struct chunk *c)
{
	if (!c)
		return;
	free(c->group);
	free((void *)c->free);
	free((void *)c->huge);
	free(c);
}

static int chunk_make(struct space *s, uint32_t group)
{
	uint32_t index, at = chunk_of(group, &index);
	struct chunk *c;

	if (atomic_load_explicit(&s->chunks[at], memory_order_relaxed))
		return 0;
	c = calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	c->groups = at ? 1u << (at + CHUNK_FIRST_SHIFT - 1) : 1u << CHUNK_FIRST_SHIFT;
	c->group = calloc(c->groups, sizeof(*c->group));
	c->free = calloc(c->groups, sizeof(*c->free));
	c->huge = calloc(c->groups, sizeof(*c->huge));
	if (!c->group || !c->free || !c->huge) {
		chunk_free(c);
		return -ENOMEM;
	}
	atomic_store_explicit(&s->chunks[at], c, memory_order_release);
	return 0;
}

/* ---- spaces ---------------------------------------------------------------------------------- */

int space_open(const struct space_config *config, struct space **out)
{
	struct space *s = calloc(1, sizeof(*s));
	int error;

	assert(config->align_units == 1 || config->align_units == HUGE_BLOCKS);
	if (!s)
		return -ENOMEM;
	s->config = *config;
	s->per_group = config->id == SPACE_INODES ? INODES_PER_GROUP : GROUP_BITS;
	s->words = s->per_group / 64;
	s->huge_count = (s->per_group + HUGE_BLOCKS - 1) / HUGE_BLOCKS;
	s->deferred = journal_defers(meta_journal(config->meta));
	atomic_init(&s->pending_first, UINT64_MAX);
	error = -pthread_mutex_init(&s->grow_lock, NULL);
	if (error)
		goto free_space;
	error = -pthread_mutex_init(&s->pending_lock, NULL);
	if (error)
		goto destroy_grow;
	error = -pthread_mutex_init(&s->hold_lock, NULL);
	if (error)
		goto destroy_pending;
	*out = s;
	return 0;
destroy_pending:
	pthread_mutex_destroy(&s->pending_lock);
destroy_grow:
	pthread_mutex_destroy(&s->grow_lock);
free_space:
	free(s);
	return error;
}

void space_close(struct space *s)
{
	if (!s)
		return;
	for (uint32_t i = 0; i < space_groups(s); i++) {
		struct group *g = space_group_at(s, i);

		pthread_mutex_destroy(&g->lock);
		free(g->used);
		free(g->held);
	}
	for (uint32_t i = 0; i < CHUNKS_MAX; i++)
		chunk_free(atomic_load(&s->chunks[i]));
	while (s->pending_head) {
		struct pending *next = s->pending_head->next;

		free(s->pending_head);
		s->pending_head = next;
	}
	free(s->holds);
	free(s->holds_next);
	pthread_mutex_destroy(&s->hold_lock);
	pthread_mutex_destroy(&s->pending_lock);
	pthread_mutex_destroy(&s->grow_lock);
	free(s);
}

/* ---- groups ---------------------------------------------------------------------------------- */

/* Clear bits of one word that belong to units which exist. */
static uint64_t free_mask(const uint64_t *bits, uint32_t word, uint32_t units)
{
	uint64_t free = ~bits[word];

	if (word * 64 >= units)
		return 0;
	if (units - word * 64 < 64)
		free &= (1ull << (units - word * 64)) - 1;
	return free;
}

static inline __attribute__((always_inline)) void count_bits(
	struct group *g, const uint64_t *bits, uint32_t *free, uint32_t *huge)
{
	*free = 0;
	*huge = 0;
	for (uint32_t h = 0; h < g->space->huge_count; h++) {
		uint32_t n = 0, end = (h + 1) * HUGE_WORDS;

		if (end > g->space->words)
			end = g->space->words;
		for (uint32_t w = h * HUGE_WORDS; w < end; w++)
			n += (uint32_t)__builtin_popcountll(free_mask(bits, w, g->media.units));
		g->huge_free[h] = (uint16_t)n;
		*free += n;
		*huge += n == HUGE_BLOCKS;
	}
}

#if defined(__x86_64__)
__attribute__((target("popcnt"))) static void count_bits_popcnt(
	struct group *g, const uint64_t *bits, uint32_t *free, uint32_t *huge)
{
	count_bits(g, bits, free, huge);
}
#endif

/* A pool of 1 TiB has 8,300 groups to count while it is opened. */
static void count_media(struct group *g, const uint64_t *bits, uint32_t *free, uint32_t *huge)
{
#if defined(__x86_64__)
	if (__builtin_cpu_supports("popcnt")) {
		count_bits_popcnt(g, bits, free, huge);
		return;
	}
#endif
	count_bits(g, bits, free, huge);
}

int space_add_group(struct space *s, uint32_t group, const struct media_group *media)
{
	const struct media_bitmap *bitmap;
	uint32_t index, free, huge;
	uint64_t start, end;
	struct group *g;
	int error;

	journal_heap(meta_journal(s->config.meta), &start, &end);
	if (media->units == 0 || media->units > s->per_group || media->bitmap % BLOCK_SIZE ||
		media->bitmap < start || media->bitmap > end - BLOCK_SIZE)
		return -EUCLEAN;
	pthread_mutex_lock(&s->grow_lock);
	assert(group == space_groups(s));
	error = chunk_make(s, group);
	if (error)
		goto unlock;
	g = &chunk_at(s, group, &index)->group[index];
	g->space = s;
	g->number = group;
	g->media = *media;
	error = -pthread_mutex_init(&g->lock, NULL);
	if (error)
		goto unlock;
	bitmap = region_at(meta_region(s->config.meta), media->bitmap, sizeof(*bitmap));
	count_media(g, bitmap->bits, &free, &huge);
	group_set_counts(g, free, huge);
	atomic_fetch_add(&s->total, media->units);
	atomic_store_explicit(&s->groups, group + 1, memory_order_release);
unlock:
	pthread_mutex_unlock(&s->grow_lock);
	return error;
}

uint32_t space_groups(const struct space *s)
{
	return atomic_load_explicit(&s->groups, memory_order_acquire);
}

int space_group(const struct space *s, uint32_t group, struct media_group *out)
{
	struct group *g = space_group_at(s, group);

	if (!g)
		return -ENOENT;
	*out = g->media;
	return 0;
}

uint64_t space_unit_offset(const struct space *s, uint64_t unit)
{
	return s->config.backing_offset + unit * s->config.unit_bytes;
}

uint64_t space_offset_unit(const struct space *s, uint64_t offset)
{
	assert(offset >= s->config.backing_offset);
	return (offset - s->config.backing_offset) / s->config.unit_bytes;
}

/* ---- reading a bitmap ------------------------------------------------------------------------ */

static void set_damaged(struct group *g)
{
	pthread_mutex_lock(&g->lock);
	if (atomic_load_explicit(&g->state, memory_order_relaxed) == GROUP_UNREAD) {
		atomic_store_explicit(&g->state, GROUP_DAMAGED, memory_order_release);
		group_set_counts(g, 0, 0);
		atomic_store(&g->space->damaged, true);
	}
	pthread_mutex_unlock(&g->lock);
}

static int read_group(struct group *g)
{
	struct space *s = g->space;
	const struct media_bitmap *bitmap;
	uint64_t *used;
	int error;

	/* Not while a record is applied; and the first time in any case. */
	error = meta_verify(s->config.meta, g->media.bitmap, MAGIC_GROUP);
	if (!error)
		error = tx_view(
			s->config.meta, NULL, g->media.bitmap, MAGIC_GROUP, (const void **)&bitmap);
	if (!error && (bitmap->space != s->config.id || bitmap->group != g->number))
		error = -EUCLEAN;
	if (error) {
		set_damaged(g);
		return -EUCLEAN;
	}
	used = malloc(s->words * sizeof(*used));
	if (!used)
		return -ENOMEM;
	pthread_mutex_lock(&g->lock);
	if (atomic_load_explicit(&g->state, memory_order_relaxed) == GROUP_UNREAD) {
		for (uint32_t w = 0; w < s->words; w++)
			used[w] = ~free_mask(bitmap->bits, w, g->media.units);
		g->used = used;
		used = NULL;
		group_recount_locked(g, 0, s->per_group);
		atomic_store_explicit(&g->state, GROUP_READY, memory_order_release);
	}
	pthread_mutex_unlock(&g->lock);
	free(used);
	return 0;
}

int group_ready(struct group *g)
{
	uint32_t state = atomic_load_explicit(&g->state, memory_order_acquire);

	if (state == GROUP_READY)
		return 0;
	return state == GROUP_DAMAGED ? -EUCLEAN : read_group(g);
}

/* ---- what it knows --------------------------------------------------------------------------- */

void space_get_usage(struct space *s, struct space_usage *out)
{
	uint32_t groups = space_groups(s);
	uint64_t free = 0;

	for (uint32_t i = 0; i < groups; i++) {
		uint32_t here, huge;

		space_group_counts(s, i, &here, &huge);
		free += here;
	}
	out->total = atomic_load(&s->total);
	out->free = free;
	out->pending = atomic_load(&s->pending_units) + atomic_load(&s->held_free);
}

struct bit_look {
	const struct media_bitmap *bitmap;
	uint32_t bit;
};

static int look_bit(void *context)
{
	const struct bit_look *look = context;

	return look->bitmap->bits[look->bit / 64] >> (look->bit % 64) & 1;
}

int space_test(struct space *s, uint64_t unit, bool *out)
{
	struct bit_look look = {.bit = (uint32_t)(unit % s->per_group)};
	struct group *g = NULL;
	int error;

	if (unit / s->per_group < space_groups(s))
		g = space_group_at(s, (uint32_t)(unit / s->per_group));
	if (!g || look.bit >= g->media.units)
		return -ENOENT;
	error = tx_view(
		s->config.meta, NULL, g->media.bitmap, MAGIC_GROUP, (const void **)&look.bitmap);
	if (error)
		return error;
	*out = journal_quiesced(meta_journal(s->config.meta), look_bit, &look);
	return 0;
}
