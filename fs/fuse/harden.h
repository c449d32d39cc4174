// SPDX-License-Identifier: BSD-2-Clause
/*
 * harden.h - what a serving daemon gives up, so that whoever took it over would have less.
 */
#ifndef FUSE_HARDEN_H
#define FUSE_HARDEN_H

#include "diag.h"

/*
 * Once mounted, and while the process has one thread: the threads made later inherit all of it.
 * What can't be had here (no libseccomp, an old kernel) is said in the log and left out; an error
 * is what failed although it is there.
 */
int harden(struct diag *d);

#endif
