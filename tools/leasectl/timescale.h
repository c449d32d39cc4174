// SPDX-License-Identifier: BSD-2-Clause
/*
 * timescale.h - where a moment stands on a timeline. Times in which something happens are drawn to
 * one scale; a pause between them that is longer than anything lasts is drawn as a gap, however
 * long it is: a truncate of two seconds is seen though the lease was held for an hour.
 */
#ifndef LEASECTL_TIMESCALE_H
#define LEASECTL_TIMESCALE_H

#include "story.h"

#define TIMESCALE_PIECES_MAX 12u /* older ones are left out */

struct timescale_piece {
	uint64_t begin_ns, end_ns;
	double x, w;
};

struct timescale {
	struct timescale_piece pieces[TIMESCALE_PIECES_MAX]; /* gaps lie between them */
	unsigned count;
};

/* Of the story's moments, into [left, right). -ENOMEM. */
int timescale_make(struct timescale *t, const struct story *s, double left, double right);
double timescale_x(const struct timescale *t, uint64_t time_ns); /* at an end, if it is outside */
bool timescale_shows(const struct timescale *t, uint64_t begin_ns, uint64_t end_ns); /* 0: open */

#endif
