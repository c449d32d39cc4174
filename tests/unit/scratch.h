// SPDX-License-Identifier: BSD-2-Clause
/*
 * scratch.h - private directories for unit tests, removed with all that is in them at exit, also
 * after a failed assertion. Mounts that a test made below one are taken away first.
 */
#ifndef TESTS_UNIT_SCRATCH_H
#define TESTS_UNIT_SCRATCH_H

/* A new directory under `parent`, or, NULL, under $TMPDIR or /tmp. The text lives until the exit.
 */
const char *scratch_directory(const char *parent);
/* A filesystem on DIRECTORY/name, made there. 0, or -errno when this user or machine cannot. */
int scratch_mount(const char *directory, const char *name, const char *type, const char *options);
void scratch_remove(const char *directory); /* before the exit */

#endif
