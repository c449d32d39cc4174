// SPDX-License-Identifier: BSD-2-Clause
/*
 * checksum.c - see checksum.h.
 */
#include "checksum.h"

#include <assert.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

/* Below this the choice costs more than it gains. */
#define VECTOR_MIN 512u

uint64_t checksum_bytes(const void *bytes, size_t count, uint64_t seed)
{
#if defined(__x86_64__)
	if (count >= VECTOR_MIN && __builtin_cpu_supports("avx2"))
		return checksum_bytes_avx2(bytes, count, seed);
#endif
	return XXH3_64bits_withSeed(bytes, count, seed);
}

uint64_t checksum_with_head(
	const void *head, size_t head_bytes, const void *object, size_t count, uint64_t seed)
{
	XXH3_state_t state = {0};

	assert(head_bytes <= count);
	XXH3_64bits_reset_withSeed(&state, seed);
	XXH3_64bits_update(&state, head, head_bytes);
	XXH3_64bits_update(&state, (const uint8_t *)object + head_bytes, count - head_bytes);
	return XXH3_64bits_digest(&state);
}
