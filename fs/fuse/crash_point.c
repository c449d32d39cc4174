// SPDX-License-Identifier: BSD-2-Clause
/* crash_point.c - see crash_point.h. In the tests' daemon alone. */
#include "crash_point.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

static char chosen[64];

void crash_point_choose(const char *name)
{
	snprintf(chosen, sizeof(chosen), "%s", name);
}

void crash_point(const char *done)
{
	if (!strcmp(done, chosen))
		raise(SIGKILL);
}
