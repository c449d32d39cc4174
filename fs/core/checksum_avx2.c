// SPDX-License-Identifier: BSD-2-Clause
/*
 * checksum_avx2.c - checksum_bytes() for processors with AVX2; the build compiles this file alone
 * for them.
 */
#include "checksum.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

uint64_t checksum_bytes_avx2(const void *bytes, size_t count, uint64_t seed)
{
	return XXH3_64bits_withSeed(bytes, count, seed);
}
