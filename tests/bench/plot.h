// SPDX-License-Identifier: BSD-2-Clause
/*
 * plot.h - the rows of a run as a picture (SVG): a line for each row, its ratio on a logarithmic
 * scale, its target beside it.
 */
#ifndef BENCH_PLOT_H
#define BENCH_PLOT_H

#include <stdbool.h>

#include "report.h"

void plot_add(const struct row *row, double ratio, bool ok); /* copied */
int plot_write(const char *path);                            /* 0, or -1 after a message */

#endif
