// SPDX-License-Identifier: BSD-2-Clause
/* terminal.c - can standard output show a picture? A file of its own: term.h defines `lines`. */
#include <curses.h>
#include <term.h>
#include <unistd.h>

#include "terminal.h"

bool terminal_is_usable(void)
{
	const char *move;
	bool usable;
	int error;

	if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO) ||
		setupterm(NULL, STDOUT_FILENO, &error) != OK)
		return false;
	move = tigetstr("cup"); /* -1: not a string; NULL: it cannot */
	usable = move && move != (const char *)-1;
	del_curterm(cur_term);
	return usable;
}
