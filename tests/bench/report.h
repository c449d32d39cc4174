// SPDX-License-Identifier: BSD-2-Clause
/*
 * report.h - the rows of a run, as a table for people or as one JSON object a line.
 *
 * A row holds a figure of ours beside a baseline of the same run, their ratio, and the target that
 * the ratio is held against: at most, or at least, or none. A limit that is no measurement (0.2
 * seconds, 512 bytes) is the baseline "limit" with the target 1. NAN stands for "none" and becomes
 * null in JSON. So does `ok` where the machine could not show what the target is about; the reason
 * is said on standard error.
 */
#ifndef BENCH_REPORT_H
#define BENCH_REPORT_H

#include <stdbool.h>

#include "series.h"

enum target_sense { TARGET_NONE, TARGET_AT_MOST, TARGET_AT_LEAST };

struct row {
	const char *group;
	const char *name;
	const char *unit;
	double ours;
	const char *baseline_name;
	double baseline;
	double ratio; /* 0: ours / baseline */
	double spread;
	double target;
	enum target_sense sense;
	const char *unjudged; /* why the target can't be held against it here; NULL: it is */
};

/* `plot`: keep the rows for plot_write(). */
void report_begin(bool json, bool plot);
/* From now on report_series() is about that peer, without targets; NULL: the null server again. */
void report_peer(const char *name);
void report_row(const struct row *row);
/* The usual row: a series of ours against the null server. */
void report_series(const char *group, const char *name, const char *unit, const struct series *s,
	double target);
/* A series of ours against another baseline; at most `target`, or NAN for none. */
void report_against(const char *group, const char *name, const char *unit, const struct series *s,
	const char *baseline_name, double target);
/* A figure that must stay under a limit. */
void report_limit(const char *group, const char *name, const char *unit, double ours, double limit);
unsigned report_missed(void); /* rows whose target was missed */

#endif
