// SPDX-License-Identifier: BSD-2-Clause
/* pattern.c - see pattern.h. */
#include "pattern.h"

#include <string.h>

/* The finalizer of splitmix64 over seed and word index: cheap, and no two words look alike. */
static uint64_t word_at(uint64_t seed, uint64_t index)
{
	uint64_t z = seed * 0x9e3779b97f4a7c15ull + index + 1;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

static uint8_t byte_at(uint64_t seed, uint64_t offset)
{
	return (uint8_t)(word_at(seed, offset / 8) >> (offset % 8 * 8));
}

void pattern_fill(void *out, uint64_t offset, uint64_t bytes, uint64_t seed)
{
	uint8_t *p = out;

	while (bytes && offset % 8) {
		*p++ = byte_at(seed, offset++);
		bytes--;
	}
	for (; bytes >= 8; bytes -= 8, offset += 8, p += 8) {
		uint64_t word = word_at(seed, offset / 8);

		memcpy(p, &word, 8);
	}
	while (bytes--)
		*p++ = byte_at(seed, offset++);
}

int64_t pattern_differs(
	const void *found, uint64_t offset, uint64_t bytes, uint64_t seed, bool zero)
{
	const uint8_t *p = found;

	for (uint64_t i = 0; i < bytes; i++)
		if (p[i] != (zero ? 0 : byte_at(seed, offset + i)))
			return (int64_t)i;
	return -1;
}
