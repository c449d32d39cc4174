// SPDX-License-Identifier: BSD-2-Clause
/*
 * progress.h - one line on standard error that says how far a run is, if that is a terminal.
 *
 * It is drawn between measurements only, and not by a thread or a timer: those would be measured.
 */
#ifndef BENCH_PROGRESS_H
#define BENCH_PROGRESS_H

void progress_begin(unsigned rows); /* that are to be expected */
void progress_group(const char *name);
void progress_round(void); /* a round is over */
void progress_row(void);   /* a row was reported */
void progress_hide(void);  /* before something else is printed */

#endif
