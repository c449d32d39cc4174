/* SPDX-License-Identifier: BSD-2-Clause */
/* leftovers.h - whose is what should not be there any more? */
#ifndef TESTS_SOAK_LEFTOVERS_H
#define TESTS_SOAK_LEFTOVERS_H

#include <stdbool.h>

/*
 * Says what the daemon holds, and which processes use files there that have lost their names. If
 * inodes are lost, the kernel's caches are dropped as well, once a run: are those still in use
 * then? Nothing may go on in the mount meanwhile.
 */
void leftovers_say(int control, const char *mount, bool lost);

#endif
