// SPDX-License-Identifier: BSD-2-Clause
/*
 * progress.c - see progress.h.
 */
#include "progress.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

void progress_begin(struct progress *p)
{
	*p = (struct progress){.terminal = isatty(STDERR_FILENO) == 1};
	clock_gettime(CLOCK_MONOTONIC, &p->last);
}

void progress_step(struct progress *p, const char *what, uint64_t done, uint64_t total)
{
	struct timespec now;

	if (!p->terminal || total == 0)
		return;
	clock_gettime(CLOCK_MONOTONIC, &now);
	if (now.tv_sec == p->last.tv_sec)
		return;
	p->last = now;
	p->shown = true;
	fprintf(stderr, "\r\033[K%s: %" PRIu64 "%%", what, done * 100 / total);
}

void progress_clear(struct progress *p)
{
	if (p->shown)
		fputs("\r\033[K", stderr);
	p->shown = false;
}
