// SPDX-License-Identifier: BSD-2-Clause
/*
 * refuse.h - what refuse.c, preloaded into a daemon, shares with those who test it: a small file
 * that both map, named by the environment variable REFUSE.
 */
#ifndef TESTS_POSIX_REFUSE_H
#define TESTS_POSIX_REFUSE_H

#include <stdint.h>

/* In each of the first two: 0 never, 1 the next one, and so on. They count down. */
struct refuse {
	_Atomic uint32_t memory; /* allocations by the daemon's own code */
	_Atomic uint32_t sync;   /* msync, fsync, fdatasync */
	_Atomic uint32_t came;   /* how many were refused */
};

#endif
