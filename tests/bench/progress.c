// SPDX-License-Identifier: BSD-2-Clause
/*
 * progress.c - see progress.h.
 */
#include "progress.h"

#include <stdbool.h>
#include <stdio.h>
#include <unistd.h>

#include "series.h"

#define BAR_CELLS 30u
#define REDRAW_NS 200000000ull /* more often nobody sees */

static struct {
	bool on;
	bool shown;
	unsigned rows;
	unsigned done;
	unsigned rounds; /* of the row that is being made */
	const char *group;
	uint64_t begin_ns;
	uint64_t drawn_ns;
} progress = {.group = ""};

void progress_begin(unsigned rows)
{
	progress.on = isatty(STDERR_FILENO) != 0;
	progress.rows = rows > 0 ? rows : 1;
	progress.begin_ns = now_ns();
}

static void draw(void)
{
	unsigned done = progress.done < progress.rows ? progress.done : progress.rows;
	unsigned cells = done * BAR_CELLS / progress.rows;
	unsigned seconds = (unsigned)((now_ns() - progress.begin_ns) / 1000000000u);
	char bar[BAR_CELLS + 1];

	if (!progress.on)
		return;
	for (unsigned i = 0; i < BAR_CELLS; i++)
		bar[i] = i < cells ? '#' : '.';
	bar[BAR_CELLS] = '\0';
	fprintf(stderr, "\r\033[K[%s] %u of %u rows  %u:%02u  %s, round %u ", bar, done,
		progress.rows, seconds / 60, seconds % 60, progress.group, progress.rounds + 1);
	fflush(stderr);
	progress.shown = true;
	progress.drawn_ns = now_ns();
}

void progress_group(const char *name)
{
	progress.group = name;
	progress.rounds = 0;
	draw();
}

void progress_round(void)
{
	progress.rounds++;
	if (progress.on && now_ns() - progress.drawn_ns > REDRAW_NS)
		draw();
}

void progress_row(void)
{
	progress.done++;
	progress.rounds = 0;
	draw();
}

void progress_hide(void)
{
	if (!progress.shown)
		return;
	fputs("\r\033[K", stderr);
	fflush(stderr);
	progress.shown = false;
}
