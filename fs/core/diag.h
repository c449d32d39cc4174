// SPDX-License-Identifier: BSD-2-Clause
/*
 * diag.h - the sentence that goes with an error.
 *
 * Libraries never print. A function that can fail in a way that -errno does not explain takes a
 * struct diag and leaves there what was wrong and what to do; its caller prints it.
 */
#ifndef CORE_DIAG_H
#define CORE_DIAG_H

struct diag {
	char text[512]; /* no newline; "" while nothing was said */
};

/* Sets the text (d may be NULL) and returns `error`, so that a failure is one statement. */
int diag_set(struct diag *d, int error, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

#endif
