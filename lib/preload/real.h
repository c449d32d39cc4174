/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * real.h - the calls that this library stands in for, as the kernel has them.
 *
 * They are made as system calls: not what dlsym(RTLD_NEXT) finds, because libleasefs, which is
 * linked in here, calls them too and must never come back to the stand-ins (renamed.h), and because
 * they may be needed before any constructor has run.
 */
#ifndef PRELOAD_REAL_H
#define PRELOAD_REAL_H

#include <errno.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

static inline void *real_mmap(void *address, size_t length, int prot, int flags, int fd, off_t at)
{
	return (void *)syscall(SYS_mmap, address, length, prot, flags, fd, at);
}

static inline int real_munmap(void *address, size_t length)
{
	return (int)syscall(SYS_munmap, address, length);
}

static inline int real_mprotect(void *address, size_t length, int prot)
{
	return (int)syscall(SYS_mprotect, address, length, prot);
}

static inline int real_msync(void *address, size_t length, int flags)
{
	return (int)syscall(SYS_msync, address, length, flags);
}

static inline void *real_mremap(void *old, size_t old_length, size_t length, int flags, void *to)
{
	return (void *)syscall(SYS_mremap, old, old_length, length, flags, to);
}

static inline int real_fcntl(int fd, int command, void *argument)
{
	return (int)syscall(SYS_fcntl, fd, command, argument);
}

#endif
