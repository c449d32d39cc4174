// SPDX-License-Identifier: BSD-2-Clause
/*
 * btree_node.c - one node of a B+tree. See btree_node.h.
 */
#include "btree_node.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

static bool node_header_ok(const struct btree *t, const struct media_node *n, unsigned level)
{
	return n->owner == t->owner && n->level == level && n->count <= NODE_SLOTS_MAX &&
	       n->low <= BLOCK_SIZE && n->low % 8 == 0 &&
	       n->low >= NODE_HEADER + n->count * sizeof(struct media_slot) &&
	       n->garbage <= BLOCK_SIZE - n->low;
}

int node_get(const struct btree *t, struct tx *tx, uint64_t offset, unsigned level,
	const struct media_node **out)
{
	const void *view;
	int r = tx_view(t->meta, tx, offset, MAGIC_NODE, &view);

	if (r)
		return r == -ENXIO ? -EUCLEAN : r;
	if (!node_header_ok(t, view, level))
		return -EUCLEAN;
	*out = view;
	return 0;
}

int node_edit(const struct btree *t, struct tx *tx, uint64_t offset, unsigned level,
	struct media_node **out)
{
	void *shadow;
	int r = tx_edit(tx, offset, MAGIC_NODE, &shadow);

	if (r)
		return r == -ENXIO ? -EUCLEAN : r;
	if (!node_header_ok(t, shadow, level))
		return -EUCLEAN;
	*out = shadow;
	return 0;
}

int node_create(const struct btree *t, struct tx *tx, unsigned level, uint64_t near,
	uint64_t *offset, struct media_node **out)
{
	struct space_request request = {
		.want = 1,
		.goal = near ? space_offset_unit(t->heap, near) + 1 : SPACE_ANYWHERE,
	};
	struct space_run run;
	struct media_node *n;
	void *shadow;
	int r = space_alloc(t->heap, tx, &request, &run);

	if (r)
		return r;
	*offset = space_unit_offset(t->heap, run.first);
	r = tx_create(tx, *offset, MAGIC_NODE, &shadow);
	if (r)
		return r;
	n = shadow;
	n->owner = t->owner;
	n->level = (uint16_t)level;
	n->low = BLOCK_SIZE;
	*out = n;
	return 0;
}

int node_free(const struct btree *t, struct tx *tx, uint64_t offset)
{
	struct space_run run = {.first = space_offset_unit(t->heap, offset), .count = 1};

	return space_free(t->heap, tx, &run);
}

const char *node_check(const struct media_node *n)
{
	uint32_t live = 0;

	if (n->count > NODE_SLOTS_MAX)
		return "more slots than a node can have";
	if (n->low > BLOCK_SIZE || n->low % 8 ||
		n->low < NODE_HEADER + n->count * sizeof(struct media_slot))
		return "values and slots overlap";
	for (unsigned i = 0; i < n->count; i++) {
		const struct media_slot *s = &n->slots[i];

		if (s->bytes > BTREE_VALUE_MAX || (n->level && s->bytes != sizeof(uint64_t)))
			return "a value has an impossible length";
		if (s->offset < n->low || s->offset % 8 ||
			s->offset + node_value_room(s->bytes) > BLOCK_SIZE)
			return "a value lies outside of the values' area";
		if (i && s->key <= n->slots[i - 1].key)
			return "keys do not rise";
		live += node_value_room(s->bytes);
	}
	if (live + n->garbage != BLOCK_SIZE - n->low)
		return "values and garbage do not add up";
	return NULL;
}

unsigned node_search(const struct media_node *n, uint64_t key)
{
	unsigned low = 0, high = n->count;

	while (low < high) {
		unsigned middle = (low + high) / 2;

		if (n->slots[middle].key < key)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

unsigned node_route(const struct media_node *n, uint64_t key)
{
	unsigned slot = node_search(n, key);

	if (slot < n->count && n->slots[slot].key == key)
		return slot;
	return slot ? slot - 1 : 0;
}

int node_item(const struct media_node *n, unsigned slot, struct btree_item *out)
{
	const struct media_slot *s = &n->slots[slot];

	assert(slot < n->count);
	if (s->bytes > BTREE_VALUE_MAX || s->offset < n->low || s->offset % 8 ||
		s->offset + s->bytes > BLOCK_SIZE)
		return -EUCLEAN;
	out->key = s->key;
	out->value = (const uint8_t *)n + s->offset;
	out->bytes = s->bytes;
	return 0;
}

int node_child(const struct media_node *n, unsigned slot, uint64_t *out)
{
	struct btree_item item;

	assert(n->level);
	if (slot >= n->count || node_item(n, slot, &item) || item.bytes != sizeof(*out))
		return -EUCLEAN;
	memcpy(out, item.value, sizeof(*out));
	return 0;
}

/* Squeezes the garbage out: values move to the block's end in the order of their slots. */
static void node_compact(struct media_node *n)
{
	uint8_t values[BLOCK_SIZE];
	uint32_t low = BLOCK_SIZE;

	for (unsigned i = 0; i < n->count; i++) {
		struct media_slot *s = &n->slots[i];
		uint32_t room = node_value_room(s->bytes);

		if (room == 0)
			continue;
		assert(low >= NODE_HEADER + room);
		low -= room;
		memcpy(values + low, (uint8_t *)n + s->offset, room);
		s->offset = (uint16_t)low;
	}
	memcpy((uint8_t *)n + low, values + low, BLOCK_SIZE - low);
	n->low = (uint16_t)low;
	n->garbage = 0;
}

/* Puts a value below the others. An empty one has no place: its offset is the block's end. */
static uint16_t value_place(struct media_node *n, const void *value, uint16_t bytes)
{
	uint32_t room = node_value_room(bytes);

	if (bytes == 0)
		return BLOCK_SIZE;
	n->low = (uint16_t)(n->low - room);
	assert(n->low >= NODE_HEADER + n->count * sizeof(struct media_slot));
	memcpy((uint8_t *)n + n->low, value, bytes);
	memset((uint8_t *)n + n->low + bytes, 0, room - bytes);
	return n->low;
}

/* Room below the values for one more slot and this value, in one piece. */
static int make_room(struct media_node *n, uint16_t bytes)
{
	uint32_t end = (uint32_t)(NODE_HEADER + (n->count + 1u) * sizeof(struct media_slot));

	assert(node_fits(n, bytes));
	if (n->low >= end + node_value_room(bytes))
		return 0;
	if (node_check(n))
		return -EUCLEAN;
	node_compact(n);
	return 0;
}

static void put_item(
	struct media_node *n, unsigned slot, uint64_t key, const void *value, uint16_t bytes)
{
	struct media_slot *s = &n->slots[slot];

	memmove(s + 1, s, (n->count - slot) * sizeof(*s));
	n->count++;
	*s = (struct media_slot){.key = key, .bytes = bytes};
	s->offset = value_place(n, value, bytes);
}

int node_insert(
	struct media_node *n, unsigned slot, uint64_t key, const void *value, uint16_t bytes)
{
	int r;

	assert(slot <= n->count && bytes <= BTREE_VALUE_MAX);
	r = make_room(n, bytes);
	if (r == 0)
		put_item(n, slot, key, value, bytes);
	return r;
}

int node_remove(struct media_node *n, unsigned slot)
{
	struct media_slot *s = &n->slots[slot];
	struct btree_item item;
	uint32_t room;
	int r = node_item(n, slot, &item);

	if (r)
		return r;
	room = node_value_room(s->bytes);
	if (room && s->offset == n->low)
		n->low = (uint16_t)(n->low + room);
	else
		n->garbage = (uint16_t)(n->garbage + room);
	n->count--;
	memmove(s, s + 1, (n->count - slot) * sizeof(*s));
	if (n->count == 0) {
		n->low = BLOCK_SIZE;
		n->garbage = 0;
	}
	return n->garbage <= BLOCK_SIZE - n->low ? 0 : -EUCLEAN;
}

int node_replace(struct media_node *n, unsigned slot, const void *value, uint16_t bytes)
{
	struct media_slot *s = &n->slots[slot];
	struct btree_item item;
	int r = node_item(n, slot, &item);

	if (r)
		return r;
	if (s->bytes == bytes) {
		memcpy((uint8_t *)n + s->offset, value, bytes);
		return 0;
	}
	r = node_remove(n, slot);
	if (r)
		return r;
	return node_fits(n, bytes) ? node_insert(n, slot, item.key, value, bytes) : -ENOSPC;
}

/*
 * Where to cut the items, with the new one among them: past the last, when the new one goes there,
 * so that ascending insertions leave full nodes behind; else in the middle of the bytes.
 */
static unsigned split_point(const struct media_node *n, unsigned slot, uint16_t bytes)
{
	uint32_t half = (node_used(n) + node_item_room(bytes)) / 2, sum = 0;

	if (slot == n->count)
		return n->count;
	for (unsigned i = 0;; i++) {
		unsigned old = i > slot ? i - 1 : i;
		uint32_t room = node_item_room(i == slot ? bytes : n->slots[old].bytes);

		assert(i <= n->count);
		/* The item in the middle goes to the side where less is then too much. */
		if (sum + room / 2 >= half)
			return i ? i : 1;
		sum += room;
	}
}

int node_split(struct media_node *left, struct media_node *right, unsigned slot, uint64_t key,
	const void *value, uint16_t bytes)
{
	unsigned cut, first;

	if (node_check(left))
		return -EUCLEAN;
	cut = split_point(left, slot, bytes);
	first = cut > slot ? cut - 1 : cut; /* of the slots that move */
	assert(right->count == 0 && left->count > 0);
	for (unsigned i = first; i < left->count; i++) {
		const struct media_slot *s = &left->slots[i];

		put_item(right, right->count, s->key, (uint8_t *)left + s->offset, s->bytes);
	}
	while (left->count > first) {
		if (node_remove(left, left->count - 1u))
			return -EUCLEAN;
	}
	return slot >= cut ? node_insert(right, slot - cut, key, value, bytes)
			   : node_insert(left, slot, key, value, bytes);
}

int node_merge(struct media_node *left, const struct media_node *right, uint64_t separator)
{
	int r = node_check(left) || node_check(right) ? -EUCLEAN : 0;

	for (unsigned i = 0; r == 0 && i < right->count; i++) {
		const struct media_slot *s = &right->slots[i];
		uint64_t key = i == 0 && right->level ? separator : s->key;

		r = node_insert(
			left, left->count, key, (const uint8_t *)right + s->offset, s->bytes);
	}
	return r;
}
