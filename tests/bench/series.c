// SPDX-License-Identifier: BSD-2-Clause
/*
 * series.c - medians and spreads; see series.h.
 */
#include "series.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "progress.h"

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* The value below which `part` of them lie. */
static double quantile(const double *values, unsigned count, double part)
{
	double sorted[SERIES_ROUNDS_MAX], position;
	unsigned below;

	if (count == 0)
		return NAN;
	memcpy(sorted, values, count * sizeof(*values));
	qsort(sorted, count, sizeof(*sorted), by_value);
	position = part * (count - 1);
	below = (unsigned)position;
	if (below + 1 >= count)
		return sorted[count - 1];
	return sorted[below] + (position - below) * (sorted[below + 1] - sorted[below]);
}

void series_add(struct series *s, enum side side, double value)
{
	assert(s->count[side] < SERIES_ROUNDS_MAX);
	s->values[side][s->count[side]++] = value;
	if (side == SIDE_OURS)
		progress_round();
}

double series_median(const struct series *s, enum side side)
{
	return quantile(s->values[side], s->count[side], 0.5);
}

double series_ratio(const struct series *s)
{
	return series_median(s, SIDE_OURS) / series_median(s, SIDE_BASELINE);
}

double series_spread(const struct series *s)
{
	unsigned rounds = s->count[SIDE_OURS];
	double ratios[SERIES_ROUNDS_MAX];

	if (s->count[SIDE_BASELINE] < rounds)
		rounds = s->count[SIDE_BASELINE];
	if (rounds < 3)
		return NAN;
	for (unsigned i = 0; i < rounds; i++)
		ratios[i] = s->values[SIDE_OURS][i] / s->values[SIDE_BASELINE][i];
	return (quantile(ratios, rounds, 0.75) - quantile(ratios, rounds, 0.25)) /
	       quantile(ratios, rounds, 0.5);
}
