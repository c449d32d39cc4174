// SPDX-License-Identifier: BSD-2-Clause
/*
 * fault.c - see fault.h.
 */
#include "fault.h"

#include <errno.h>
#include <stddef.h>

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

bool fault_refuses(enum fault what)
{
	if (left[what] == 0 || --left[what] > 0)
		return false;
	came = true;
	return true;
}

static bool no_memory(void)
{
	if (!fault_refuses(FAULT_MEMORY))
		return false;
	errno = ENOMEM;
	return true;
}

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count, size_t bytes);
void *__real_realloc(void *old, size_t bytes);
void *__real_aligned_alloc(size_t alignment, size_t bytes);
char *__real_strdup(const char *text);
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes);
void *__wrap_realloc(void *old, size_t bytes);
void *__wrap_aligned_alloc(size_t alignment, size_t bytes);
char *__wrap_strdup(const char *text);

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
