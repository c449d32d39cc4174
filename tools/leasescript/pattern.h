// SPDX-License-Identifier: BSD-2-Clause
/* pattern.h - the bytes of a seed: each depends on the seed and its own offset in the file alone.
 */
#ifndef LEASESCRIPT_PATTERN_H
#define LEASESCRIPT_PATTERN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

void pattern_fill(void *out, uint64_t offset, uint64_t bytes, uint64_t seed);
/* -1 if all agree, else how many bytes before the first that does not. `zero`: the seed is not
 * looked at. */
int64_t pattern_differs(
	const void *found, uint64_t offset, uint64_t bytes, uint64_t seed, bool zero);

#endif
