// SPDX-License-Identifier: BSD-2-Clause
/*
 * handles.c - ids that are found in one step: the low SLOT_BITS of an id are its slot in a table,
 * the rest makes it unique for ever. Slots are handed out from the lowest on, and the last one
 * given back first, so that pin pages stay dense.
 */
#include "manager.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

static int grow(struct handles *h, uint32_t capacity)
{
	void **items = realloc(h->items, (size_t)capacity * sizeof(*items));
	uint32_t *free_slots;

	if (!items)
		return -ENOMEM;
	h->items = items;
	free_slots = realloc(h->free, (size_t)capacity * sizeof(*free_slots));
	if (!free_slots)
		return -ENOMEM;
	h->free = free_slots;
	/* New ones go to the bottom of the stack: used slots first. */
	for (uint32_t i = h->free_count; i-- > 0;)
		free_slots[i + (capacity - h->capacity)] = free_slots[i];
	for (uint32_t i = 0; i < capacity - h->capacity; i++)
		free_slots[i] = capacity - 1 - i;
	h->free_count += capacity - h->capacity;
	for (uint32_t i = h->capacity; i < capacity; i++)
		items[i] = NULL;
	h->capacity = capacity;
	return 0;
}

int handles_reserve(struct handles *h, uint32_t free_slots, uint32_t limit)
{
	while (h->free_count < free_slots) {
		uint32_t capacity = h->capacity ? h->capacity * 2 : 8;
		int error;

		if (h->capacity == limit)
			return -ENOLCK;
		error = grow(h, capacity < limit ? capacity : limit);
		if (error)
			return error;
	}
	return 0;
}

uint32_t handles_take(struct handles *h, void *object, bool *used_before)
{
	uint32_t slot;

	assert(h->free_count > 0);
	slot = h->free[--h->free_count];
	assert(!h->items[slot]);
	h->items[slot] = object;
	*used_before = slot < h->used_slots;
	if (!*used_before)
		h->used_slots = slot + 1;
	return slot;
}

void handles_put(struct handles *h, uint32_t slot)
{
	assert(slot < h->capacity && h->items[slot]);
	h->items[slot] = NULL;
	h->free[h->free_count++] = slot;
}

int handles_place(struct handles *h, uint32_t slot, void *object)
{
	while (slot >= h->capacity) {
		int error = grow(h, h->capacity ? h->capacity * 2 : 8);

		if (error)
			return error;
	}
	if (h->items[slot])
		return -EUCLEAN;
	h->items[slot] = object;
	if (slot >= h->used_slots)
		h->used_slots = slot + 1;
	return 0;
}

void handles_order(struct handles *h)
{
	h->free_count = 0;
	for (uint32_t slot = h->capacity; slot-- > 0;)
		if (!h->items[slot])
			h->free[h->free_count++] = slot;
}

void *handles_find(const struct handles *h, uint64_t id)
{
	uint32_t slot = (uint32_t)id & SLOT_MASK;

	return slot < h->capacity ? h->items[slot] : NULL;
}

void handles_free(struct handles *h)
{
	free(h->items);
	free(h->free);
	*h = (struct handles){0};
}
