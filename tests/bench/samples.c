// SPDX-License-Identifier: BSD-2-Clause
/*
 * samples.c - see samples.h.
 */
#include "samples.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

void samples_add(struct samples *s, double value)
{
	if (s->count < SAMPLES_MAX)
		s->values[s->count++] = value;
}

double samples_quantile(const struct samples *s, unsigned first, double part)
{
	unsigned count, at;
	double *sorted, value;

	assert(first <= s->count && part >= 0 && part <= 1);
	count = s->count - first;
	sorted = count > 0 ? malloc(count * sizeof(*sorted)) : NULL;
	if (sorted == NULL)
		return NAN;
	memcpy(sorted, s->values + first, count * sizeof(*sorted));
	qsort(sorted, count, sizeof(*sorted), by_value);
	at = (unsigned)(part * count);
	value = sorted[at < count ? at : count - 1];
	free(sorted);
	return value;
}
