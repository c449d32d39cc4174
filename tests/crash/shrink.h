// SPDX-License-Identifier: BSD-2-Clause
/*
 * shrink.h - a script that fails, made short.
 */
#ifndef TESTS_CRASH_SHRINK_H
#define TESTS_CRASH_SHRINK_H

#include "explore.h"

/* Leaves out what can be left out while something is still found, and says what. Each attempt is a
 * process of its own, so that what ends the process can be shrunk as well. */
void shrink(struct script *script, const struct explore_limits *limits, struct finding *finding);

#endif
