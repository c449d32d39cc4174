/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * renamed.h - read by the compiler before each file of libleasefs, where that is linked into this
 * library: its own mappings never come to the stand-ins.
 *
 * By the preprocessor and not by the linker: where modules are joined before they are linked
 * (-flto), a linker finds nothing left to rename, and mapping a file would not come to an end.
 */
#ifndef PRELOAD_RENAMED_H
#define PRELOAD_RENAMED_H

#include "real.h"

#define mmap(address, length, prot, flags, fd, at) real_mmap(address, length, prot, flags, fd, at)
#define munmap(address, length) real_munmap(address, length)
#define mprotect(address, length, prot) real_mprotect(address, length, prot)
#define msync(address, length, flags) real_msync(address, length, flags)
/* libleasefs moves to an address of its own choice alone: MREMAP_FIXED. */
#define mremap(old, old_length, length, flags, to) real_mremap(old, old_length, length, flags, to)

#endif
