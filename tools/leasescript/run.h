// SPDX-License-Identifier: BSD-2-Clause
/* run.h - carries a script out. */
#ifndef LEASESCRIPT_RUN_H
#define LEASESCRIPT_RUN_H

#include <stdbool.h>

#include "script.h"

struct run_options {
	const char *mount;   /* a mount that stands already; NULL: a private pool */
	const char *pools;   /* where private pools are made; NULL: where pins are possible */
	const char *data;    /* their data region, whatever size a script asks for; NULL: in it */
	const char *options; /* of private mounts, beside those of a script; NULL: none */
	unsigned slow;       /* upper limits of times are so many times as long; 0: as they are */
	bool keep;
	bool trace;
};

enum run_outcome { RUN_OK, RUN_FAILED, RUN_SKIPPED };

struct run_report {
	enum run_outcome outcome;
	unsigned line;  /* where it failed; 0: outside of any statement */
	char text[800]; /* what was expected and what came, or why it was skipped */
};

void run_script(
	const struct script *script, const struct run_options *options, struct run_report *report);

#endif
