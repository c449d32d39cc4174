// SPDX-License-Identifier: BSD-2-Clause
/* terminal.h - what has to be known of the terminal before ncurses takes it over. */
#ifndef LEASECTL_TERMINAL_H
#define LEASECTL_TERMINAL_H

#include <stdbool.h>

bool terminal_is_usable(void); /* standard input and output are one that has a movable cursor */

#endif
