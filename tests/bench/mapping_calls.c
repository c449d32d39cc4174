// SPDX-License-Identifier: BSD-2-Clause
/*
 * mapping_calls.c - see mapping_calls.h. The linker's --wrap=NAME sends calls of NAME to
 * __wrap_NAME here, and __real_NAME to libc.
 */
#include "mapping_calls.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/types.h>

int __real_ioctl(int fd, unsigned long command, void *argument);
int __wrap_ioctl(int fd, unsigned long command, ...);
void *__real_mmap64(void *at, size_t bytes, int protection, int flags, int fd, off_t offset);
void *__wrap_mmap64(void *at, size_t bytes, int protection, int flags, int fd, off_t offset);

static atomic_uint ioctls, maps;

int __wrap_ioctl(int fd, unsigned long command, ...)
{
	va_list arguments;
	void *argument;

	va_start(arguments, command);
	argument = va_arg(arguments, void *);
	va_end(arguments);
	atomic_fetch_add(&ioctls, 1);
	return __real_ioctl(fd, command, argument);
}

void *__wrap_mmap64(void *at, size_t bytes, int protection, int flags, int fd, off_t offset)
{
	if (fd >= 0 && (flags & MAP_FIXED) != 0)
		atomic_fetch_add(&maps, 1);
	return __real_mmap64(at, bytes, protection, flags, fd, offset);
}

struct mapping_calls mapping_calls_now(void)
{
	return (struct mapping_calls){.ioctls = atomic_load(&ioctls), .maps = atomic_load(&maps)};
}
