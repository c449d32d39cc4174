// SPDX-License-Identifier: BSD-2-Clause
/*
 * run.h - plays a script against a target and a model, in a child process of its own, so that a
 * crash of the code under test is a result like another.
 */
#ifndef STRESS_RUN_H
#define STRESS_RUN_H

#include "script.h"
#include "target.h"

struct run_options {
	const struct target_kind *kind;
	struct target_options target;
	bool small;         /* ENOSPC may come, where it is plausible */
	bool verify;        /* the checker after each comparison */
	unsigned timeout_s; /* for one run */
	bool quiet;         /* no output of the child, for shrinking */
};

struct run_result {
	int failed;            /* 0: passed; else the child's exit status or signal is in `how` */
	size_t failed_at;      /* the operation at which it was found; script.count: at the end */
	uint64_t out_of_space; /* operations that ended in ENOSPC, plausibly */
	char how[64];
};

void run_script(const struct run_options *options, const struct script *s, struct run_result *out);

/* Shortens a failing script in place, for at most `seconds`. */
void shrink_script(const struct run_options *options, struct script *s, unsigned seconds);

#endif
