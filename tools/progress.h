// SPDX-License-Identifier: BSD-2-Clause
/*
 * progress.h - one line on the terminal that says how far something long has come. Standard error,
 * and only if that is a terminal; at most once a second, and not in the first: what is quick says
 * nothing.
 */
#ifndef TOOLS_PROGRESS_H
#define TOOLS_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

struct progress {
	bool terminal;
	bool shown;
	struct timespec last;
};

void progress_begin(struct progress *p);
/* total 0: not known yet, nothing is shown. */
void progress_step(struct progress *p, const char *what, uint64_t done, uint64_t total);
/* Takes the line away, before anything else is printed. Any number of times. */
void progress_clear(struct progress *p);

#endif
