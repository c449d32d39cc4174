// SPDX-License-Identifier: BSD-2-Clause
/*
 * checksum.h - XXH3-64 of metadata, with the vectors that the processor has.
 *
 * A transaction hashes each block that it changes, so this is a third of its time. xxHash's own
 * dispatch goes up to AVX-512, whose upper halves then slow down the code around it.
 */
#ifndef CORE_CHECKSUM_H
#define CORE_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

uint64_t checksum_bytes(const void *bytes, size_t count, uint64_t seed);
/* With the head's bytes taken from elsewhere: for objects whose checksum field counts as zero. */
uint64_t checksum_with_head(
	const void *head, size_t head_bytes, const void *object, size_t count, uint64_t seed);

/* checksum_avx2.c, compiled for that; only to be called where the processor has it. */
uint64_t checksum_bytes_avx2(const void *bytes, size_t count, uint64_t seed);

#endif
