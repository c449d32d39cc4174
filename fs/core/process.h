// SPDX-License-Identifier: BSD-2-Clause
/*
 * process.h - what a program does before it opens a pool.
 *
 * Descriptors 0 to 2 that the caller closed are opened on /dev/null: a region or the control file
 * must never stand where messages are written. And what goes past the limit on sizes of files
 * (ulimit -f) fails with EFBIG, which is told like any other error, instead of ending the program
 * with SIGXFSZ in the middle.
 */
#ifndef FS_CORE_PROCESS_H
#define FS_CORE_PROCESS_H

/* Once, first of all in main(). 0 or -errno: the program must not go on then. */
int process_begin(void);

#endif
