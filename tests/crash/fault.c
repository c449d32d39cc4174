// SPDX-License-Identifier: BSD-2-Clause
/*
 * fault.c - see fault.h.
 */
#include "fault.h"

#include <errno.h>
#include <stddef.h>
#include <stdint.h>

#include "region.h"

static _Thread_local unsigned left[FAULTS]; /* 0: never; 1: the next one */
static _Thread_local bool came;

void fault_plan(enum fault what, unsigned n)
{
	left[what] = n;
	came = false;
}

bool fault_came(void)
{
	return came;
}

static bool refused(enum fault what)
{
	if (left[what] == 0 || --left[what] > 0)
		return false;
	came = true;
	return true;
}

static bool no_memory(void)
{
	if (!refused(FAULT_MEMORY))
		return false;
	errno = ENOMEM;
	return true;
}

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count, size_t bytes);
void *__real_realloc(void *old, size_t bytes);
void *__real_aligned_alloc(size_t alignment, size_t bytes);
char *__real_strdup(const char *text);
int __real_region_reserve(struct region *r, uint64_t offset, uint64_t bytes);
int __real_region_reserve_blocks(struct region *r, uint64_t offset, uint64_t bytes);
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes);
void *__wrap_realloc(void *old, size_t bytes);
void *__wrap_aligned_alloc(size_t alignment, size_t bytes);
char *__wrap_strdup(const char *text);
int __wrap_region_reserve(struct region *r, uint64_t offset, uint64_t bytes);
int __wrap_region_reserve_blocks(struct region *r, uint64_t offset, uint64_t bytes);

void *__wrap_malloc(size_t bytes)
{
	return no_memory() ? NULL : __real_malloc(bytes);
}

void *__wrap_calloc(size_t count, size_t bytes)
{
	return no_memory() ? NULL : __real_calloc(count, bytes);
}

void *__wrap_realloc(void *old, size_t bytes)
{
	return no_memory() ? NULL : __real_realloc(old, bytes);
}

void *__wrap_aligned_alloc(size_t alignment, size_t bytes)
{
	return no_memory() ? NULL : __real_aligned_alloc(alignment, bytes);
}

char *__wrap_strdup(const char *text)
{
	return no_memory() ? NULL : __real_strdup(text);
}

int __wrap_region_reserve(struct region *r, uint64_t offset, uint64_t bytes)
{
	return refused(FAULT_SPACE) ? -ENOSPC : __real_region_reserve(r, offset, bytes);
}

int __wrap_region_reserve_blocks(struct region *r, uint64_t offset, uint64_t bytes)
{
	return refused(FAULT_SPACE) ? -ENOSPC : __real_region_reserve_blocks(r, offset, bytes);
}
