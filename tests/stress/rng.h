// SPDX-License-Identifier: BSD-2-Clause
/*
 * rng.h - seeded random numbers (splitmix64), and bytes that are a function of a seed.
 *
 * What a tester writes is never stored in a script: fill_bytes(seed) makes it again.
 */
#ifndef STRESS_RNG_H
#define STRESS_RNG_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct rng {
	uint64_t state;
};

static inline uint64_t mix64(uint64_t z)
{
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

static inline uint64_t rng_next(struct rng *r)
{
	r->state += 0x9e3779b97f4a7c15ull;
	return mix64(r->state);
}

/* 0 .. n-1; n at least 1 */
static inline uint64_t rng_below(struct rng *r, uint64_t n)
{
	return rng_next(r) % n;
}

static inline int rng_percent(struct rng *r, unsigned percent)
{
	return rng_below(r, 100) < percent;
}

static inline void fill_bytes(void *out, size_t bytes, uint64_t seed)
{
	uint8_t *p = out;
	for (uint64_t word = 0; bytes > 0; word++) {
		uint64_t v = mix64(seed * 0x9e3779b97f4a7c15ull + word + 1);
		size_t n = bytes < sizeof(v) ? bytes : sizeof(v);
		memcpy(p, &v, n);
		p += n;
		bytes -= n;
	}
}

#endif
