// SPDX-License-Identifier: BSD-2-Clause
/*
 * series.h - samples of the two sides of a comparison, taken in turns.
 *
 * Rounds go A B A B, so that whatever else the machine does falls on both sides. A side's figure is
 * the median of its rounds; the ratio is that of the medians; the spread is the distance between
 * the quartiles of the rounds' own ratios, relative to their median.
 */
#ifndef BENCH_SERIES_H
#define BENCH_SERIES_H

#include <stdint.h>
#include <time.h>

#define SERIES_ROUNDS_MAX 64

enum side { SIDE_OURS, SIDE_BASELINE };
#define SIDES 2

struct series {
	unsigned count[SIDES];
	double values[SIDES][SERIES_ROUNDS_MAX];
};

void series_add(struct series *s, enum side side, double value);
double series_median(const struct series *s, enum side side); /* NAN if empty */
double series_ratio(const struct series *s);                  /* NAN without a baseline */
double series_spread(const struct series *s);                 /* NAN with fewer than 3 rounds */

static inline uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

#endif
