/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * flat.h - is a series of measurements flat?
 *
 * The first quarter is warm-up and left out. What remains is cut into six windows, and each
 * is taken for its median, so that moments count for nothing. The growth is the median of the last
 * three less the median of the first three; it may be as much as the bound: an absolute
 * amount or a share of the first, whichever is more, or as the medians of the first three lie apart
 * from each other, if that is more.
 */
#ifndef TESTS_SOAK_FLAT_H
#define TESTS_SOAK_FLAT_H

#include <stdbool.h>
#include <stddef.h>

struct bound {
	double amount;
	double share;  /* of the first half's median */
	bool downward; /* falling is what is bad */
};

struct flatness {
	double start, middle, end; /* medians of the first, the middle two and the last window */
	double growth, limit;
	bool flat;
};

/* At least FLAT_COUNT_MIN values. */
#define FLAT_COUNT_MIN 8u
void flat_judge(
	const double *values, size_t count, const struct bound *bound, struct flatness *out);

#endif
