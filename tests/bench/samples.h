// SPDX-License-Identifier: BSD-2-Clause
/*
 * samples.h - single calls, each timed by itself: for the tail that a round's average hides.
 */
#ifndef BENCH_SAMPLES_H
#define BENCH_SAMPLES_H

#define SAMPLES_MAX 16384u

struct samples {
	unsigned count;
	double values[SAMPLES_MAX];
};

void samples_add(struct samples *s, double value); /* beyond the maximum: dropped */
/* The value below which `part` (0 to 1) of them lie, of those from `first` on. NAN: none. */
double samples_quantile(const struct samples *s, unsigned first, double part);

#endif
