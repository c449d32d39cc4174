// SPDX-License-Identifier: BSD-2-Clause
/*
 * preload.c - libleasefs-preload.so: shared mappings of files on leasefs become managed ones, in
 * programs that have never heard of it.
 *
 *     LD_PRELOAD=libleasefs-preload.so PROGRAM ARGUMENTS...
 *
 * Stands in for mmap(2) and for the calls that change, sync or depend on a mapping. What it can't
 * manage stays the kernel's: a program's results are the same with it as without.
 */
/* Both names of a call are to be had here: mmap and mmap64. */
#undef _FILE_OFFSET_BITS

#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>

#include "managed_list.h"
#include "real.h"

#define EXPORT __attribute__((visibility("default")))

/* ---- the program's --------------------------------------------------------------------------- */

/* No address of its own choice, and nothing asked for that a managed mapping does not have. */
static bool is_plain_shared(int prot, int flags, int fd)
{
	int type = flags & MAP_TYPE;

	return fd >= 0 && (type == MAP_SHARED || type == MAP_SHARED_VALIDATE) &&
	       !(flags & ~(MAP_TYPE | MAP_POPULATE | MAP_NORESERVE)) &&
	       (prot == PROT_READ || prot == (PROT_READ | PROT_WRITE));
}

static void *map(void *address, size_t length, int prot, int flags, int fd, off_t offset)
{
	void *memory = NULL;

	if (flags & MAP_FIXED)
		managed_give_up(address, length, true);
	else if (length && offset >= 0 && is_plain_shared(prot, flags, fd))
		memory = managed_make(length, prot, fd, offset);
	return memory ? memory : real_mmap(address, length, prot, flags, fd, offset);
}

EXPORT void *mmap(void *address, size_t length, int prot, int flags, int fd, off_t offset)
{
	return map(address, length, prot, flags, fd, offset);
}

EXPORT void *mmap64(void *address, size_t length, int prot, int flags, int fd, off64_t offset)
{
	return map(address, length, prot, flags, fd, offset);
}

EXPORT int munmap(void *address, size_t length)
{
	managed_give_up(address, length, true);
	return real_munmap(address, length);
}

EXPORT int mprotect(void *address, size_t length, int prot)
{
	managed_give_up(address, length, false);
	return real_mprotect(address, length, prot);
}

EXPORT void *mremap(void *old, size_t old_length, size_t length, int flags, ...)
{
	void *to = NULL;
	va_list arguments;

	va_start(arguments, flags);
	if (flags & MREMAP_FIXED)
		to = va_arg(arguments, void *);
	va_end(arguments);
	managed_give_up(old, old_length, false);
	if (to)
		managed_give_up(to, length, true);
	return real_mremap(old, old_length, length, flags, to);
}

static int fail(int error)
{
	errno = -error;
	return -1;
}

EXPORT int msync(void *address, size_t length, int flags)
{
	int error = flags & MS_ASYNC ? 0 : managed_commit_range(address, length);

	return error ? fail(error) : real_msync(address, length, flags);
}

EXPORT int fsync(int fd)
{
	int error = managed_commit_file(fd);

	return error ? fail(error) : (int)syscall(SYS_fsync, fd);
}

EXPORT int fdatasync(int fd)
{
	int error = managed_commit_file(fd);

	return error ? fail(error) : (int)syscall(SYS_fdatasync, fd);
}

/* ---- record locks ---------------------------------------------------------------------------- */

static int control(int fd, int command, void *argument)
{
	if (command == F_SETLK || command == F_SETLKW)
		managed_note_locks(fd);
	return real_fcntl(fd, command, argument);
}

EXPORT int fcntl(int fd, int command, ...)
{
	va_list arguments;
	void *argument;

	va_start(arguments, command);
	argument = va_arg(arguments, void *);
	va_end(arguments);
	return control(fd, command, argument);
}

EXPORT int fcntl64(int fd, int command, ...)
{
	va_list arguments;
	void *argument;

	va_start(arguments, command);
	argument = va_arg(arguments, void *);
	va_end(arguments);
	return control(fd, command, argument);
}

EXPORT int lockf(int fd, int command, off_t length)
{
	static int (*next)(int, int, off_t);

	if (!next)
		next = (int (*)(int, int, off_t))(uintptr_t)dlsym(RTLD_NEXT, "lockf");
	if (!next)
		return fail(-ENOSYS);
	managed_note_locks(fd);
	return next(fd, command, length);
}
