// SPDX-License-Identifier: BSD-2-Clause
/*
 * refuse.c - preloaded into a daemon: refuses it memory, or a sync, when refuse.h says so.
 *
 * Memory is refused to the program itself alone, by the address of the call: libfuse is not under
 * test here.
 */
#include "refuse.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* The C library's own, under names that need no looking up. */
void *__libc_malloc(size_t bytes);
void *__libc_calloc(size_t count, size_t bytes);
void *__libc_realloc(void *old, size_t bytes);

static struct refuse *shared;
static uintptr_t code_start, code_end; /* of the program */

static int find_program(struct dl_phdr_info *info, size_t size, void *context)
{
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *p = &info->dlpi_phdr[i];

		if (p->p_type != PT_LOAD || !(p->p_flags & PF_X))
			continue;
		code_start = info->dlpi_addr + p->p_vaddr;
		code_end = code_start + p->p_memsz;
	}
	return 1; /* the program is the first one */
}

__attribute__((constructor)) static void begin(void)
{
	const char *path = getenv("REFUSE");
	int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
	void *at;

	if (fd < 0)
		return;
	at = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (at == MAP_FAILED)
		return;
	dl_iterate_phdr(find_program, NULL);
	shared = at;
}

static bool refused(_Atomic uint32_t *countdown)
{
	uint32_t left = atomic_load(countdown);

	while (left > 0 && !atomic_compare_exchange_weak(countdown, &left, left - 1))
		;
	if (left != 1)
		return false;
	atomic_fetch_add(&shared->came, 1);
	return true;
}

static bool no_memory(void *caller)
{
	uintptr_t at = (uintptr_t)caller;

	if (!shared || at < code_start || at >= code_end || !refused(&shared->memory))
		return false;
	errno = ENOMEM;
	return true;
}

void *malloc(size_t bytes)
{
	return no_memory(__builtin_return_address(0)) ? NULL : __libc_malloc(bytes);
}

void *calloc(size_t count, size_t bytes)
{
	return no_memory(__builtin_return_address(0)) ? NULL : __libc_calloc(count, bytes);
}

void *realloc(void *old, size_t bytes)
{
	return no_memory(__builtin_return_address(0)) ? NULL : __libc_realloc(old, bytes);
}

static bool no_sync(void)
{
	if (!shared || !refused(&shared->sync))
		return false;
	errno = EIO;
	return true;
}

int msync(void *at, size_t bytes, int flags)
{
	int (*real)(void *, size_t, int) = (int (*)(void *, size_t, int))dlsym(RTLD_NEXT, "msync");

	return no_sync() ? -1 : real(at, bytes, flags);
}

int fsync(int fd)
{
	int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fsync");

	return no_sync() ? -1 : real(fd);
}

int fdatasync(int fd)
{
	int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");

	return no_sync() ? -1 : real(fd);
}
