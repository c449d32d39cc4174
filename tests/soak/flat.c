// SPDX-License-Identifier: BSD-2-Clause
/* flat.c - see flat.h. */
#include "flat.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define WINDOWS 6u

static int compare(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static double median(const double *values, size_t count)
{
	double *sorted = malloc(count * sizeof(*sorted)), result;

	if (!sorted)
		abort();
	memcpy(sorted, values, count * sizeof(*sorted));
	qsort(sorted, count, sizeof(*sorted), compare);
	result = count % 2 ? sorted[count / 2] : (sorted[count / 2 - 1] + sorted[count / 2]) / 2;
	free(sorted);
	return result;
}

static double spread(const double *values, size_t count)
{
	double least = values[0], most = values[0];

	for (size_t i = 1; i < count; i++) {
		least = values[i] < least ? values[i] : least;
		most = values[i] > most ? values[i] : most;
	}
	return most - least;
}

static double larger(double a, double b)
{
	return a > b ? a : b;
}

void flat_judge(const double *values, size_t count, const struct bound *bound, struct flatness *out)
{
	size_t first = count / 4, left = count - first;
	double window[WINDOWS], before, after;

	assert(count >= FLAT_COUNT_MIN);
	for (size_t i = 0; i < WINDOWS; i++) {
		size_t from = first + left * i / WINDOWS, to = first + left * (i + 1) / WINDOWS;

		window[i] = median(values + from, to - from);
	}
	before = median(window, WINDOWS / 2);
	after = median(window + WINDOWS / 2, WINDOWS / 2);
	*out = (struct flatness){.start = window[0],
		.middle = (window[2] + window[3]) / 2,
		.end = window[5],
		.growth = bound->downward ? before - after : after - before,
		.limit = larger(
			larger(bound->amount, bound->share * before), spread(window, WINDOWS / 2))};
	out->flat = out->growth <= out->limit;
}
