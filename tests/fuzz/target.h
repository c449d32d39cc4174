/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * target.h - what a fuzz target is: libFuzzer's interface, which driver.c speaks too.
 *
 * A target says with abort() that something is wrong; inputs that it can do nothing with are fine.
 * It keeps nothing between inputs but what it needs to be quick, so that an input that was saved
 * fails by itself.
 */
#ifndef TESTS_FUZZ_TARGET_H
#define TESTS_FUZZ_TARGET_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* For what must hold, whatever the input. */
#define MUST(condition)                                                                            \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			fprintf(stderr, "%s:%d: must hold: %s\n", __FILE__, __LINE__, #condition); \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

#endif
