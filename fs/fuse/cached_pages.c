// SPDX-License-Identifier: BSD-2-Clause
/* cached_pages.c - see cached_pages.h. */
#include "cached_pages.h"

#include <assert.h>

#define SIZE_SHIFT CACHED_CHUNKS
#define SIZE_MASK 0x3full
#define COUNT_SHIFT 48u
#define COUNT_ONE (1ull << COUNT_SHIFT)
#define COUNT_MAX 0xffffull /* reached: it stays, and every call waits. Slower, not wrong */
#define CHUNK_BITS ((1ull << CACHED_CHUNKS) - 1)
#define CHUNK_SHIFT 16u

_Static_assert(CACHED_CHUNK_BYTES == 1ull << CHUNK_SHIFT, "one size");
_Static_assert(SIZE_SHIFT + 6 == COUNT_SHIFT, "side by side");

static unsigned shift_of(uint64_t word)
{
	return CHUNK_SHIFT + (unsigned)(word >> SIZE_SHIFT & SIZE_MASK);
}

static uint64_t count_of(uint64_t word)
{
	return word >> COUNT_SHIFT;
}

/* The chunks that [start, end) touches, as bits. */
static uint64_t bits_of(uint64_t word, uint64_t start, uint64_t end)
{
	unsigned shift = shift_of(word);
	uint64_t first = start >> shift, last = (end - 1) >> shift;

	if (first >= CACHED_CHUNKS)
		return 0;
	if (last >= CACHED_CHUNKS)
		last = CACHED_CHUNKS - 1;
	return CHUNK_BITS >> (CACHED_CHUNKS - 1 - (last - first)) << first;
}

/* With chunks of twice the size. */
static uint64_t fold(uint64_t word)
{
	uint64_t folded = (word & ~CHUNK_BITS) + (1ull << SIZE_SHIFT);

	for (unsigned i = 0; i < CACHED_CHUNKS; i++)
		if (word >> i & 1)
			folded |= 1ull << i / 2;
	return folded;
}

void cached_note(_Atomic uint64_t *word, uint64_t start, uint64_t end)
{
	uint64_t old = atomic_load(word), next;

	assert(start < end);
	do {
		next = old;
		while ((end - 1) >> shift_of(next) >= CACHED_CHUNKS)
			next = fold(next);
		next |= bits_of(next, start, end);
		if (next == old)
			return;
	} while (!atomic_compare_exchange_weak(word, &old, next));
}

/* The chunks that a forgetting of [*start, *end) clears; it is widened to them. */
static uint64_t clear_of(uint64_t word, uint64_t *start, uint64_t *end)
{
	unsigned shift = shift_of(word);
	uint64_t bytes = 1ull << shift, past = (uint64_t)CACHED_CHUNKS << shift;
	uint64_t first = *start, last = *end < past ? *end : past;

	if (bytes <= CACHED_WIDEN_BYTES) {
		first &= ~(bytes - 1);
		last = (last + bytes - 1) & ~(bytes - 1);
		*start = first;
		if (*end < last)
			*end = last;
	} else {
		first = (first + bytes - 1) & ~(bytes - 1);
		last &= ~(bytes - 1);
	}
	return first < last ? bits_of(word, first, last) : 0;
}

bool cached_forget(_Atomic uint64_t *word, uint64_t *start, uint64_t *end)
{
	uint64_t old = atomic_load(word), next, from, to;

	assert(*start < *end);
	do {
		from = *start;
		to = *end;
		if (count_of(old) == 0 && (old & bits_of(old, from, to)) == 0)
			return false;
		next = old & ~clear_of(old, &from, &to);
		if (count_of(old) < COUNT_MAX)
			next += COUNT_ONE;
	} while (!atomic_compare_exchange_weak(word, &old, next));
	*start = from;
	*end = to;
	return true;
}

void cached_forgotten(_Atomic uint64_t *word)
{
	uint64_t old = atomic_load(word);

	do {
		assert(count_of(old) > 0);
		if (count_of(old) == COUNT_MAX)
			return;
	} while (!atomic_compare_exchange_weak(word, &old, old - COUNT_ONE));
}

bool cached_any(const _Atomic uint64_t *word, uint64_t start, uint64_t end)
{
	uint64_t now = atomic_load(word);

	return start < end && (now & bits_of(now, start, end)) != 0;
}
