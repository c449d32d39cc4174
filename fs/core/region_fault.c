// SPDX-License-Identifier: BSD-2-Clause
/*
 * region_fault.c - what happens when a region's file is cut short, or its media fail, under the
 * mapping.
 *
 * Whoever may map a data region may also truncate its file: a right that the kernel gives together
 * with writing. An access of ours past the new end is then SIGBUS, as is one to a page that cannot
 * be read. Neither may end the daemon, which serves others. So the page is replaced by a private
 * page of zeroes, and the region is *lost* from then on: region_lost() tells, and reserving,
 * flushing and syncing it fail with -EIO, so that nothing more of it is acknowledged. It stays so
 * until it is opened again.
 *
 * (When the kernel itself reads or writes the pages for us, the system call fails with EFAULT
 * instead: its caller treats that as an error of the media.)
 *
 * Invariants
 *  1. A region is in slots[] exactly while it is mapped; slots are only written under lock.
 *  2. The handler touches nothing but slots[], mmap(2) and the region's `lost`.
 *  3. A SIGBUS that is not about a region goes to whoever had the signal before us.
 */
#include "region_impl.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>

/* All data regions of a pool, its metadata, and a few of other pools (testers open several). */
#define SLOTS_MAX 8192u

static struct region *_Atomic slots[SLOTS_MAX];
static _Atomic uint32_t slots_used; /* all that are set are below */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static struct sigaction before;

/* Puts zeroes under the address if it is inside the view. */
static bool replace_page(struct region *r, uint8_t *view, size_t mapped, uintptr_t address)
{
	uintptr_t start = (uintptr_t)view, unit = (uintptr_t)r->alignment;

	if (!view || address < start || address - start >= mapped)
		return false;
	uintptr_t page = start + (address - start) / unit * unit;
	void *at = mmap((void *)page, unit, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0);
	if (at == MAP_FAILED)
		return false;
	atomic_store_explicit(&r->lost, true, memory_order_release);
	return true;
}

static void on_sigbus(int signal_number, siginfo_t *info, void *context)
{
	uint32_t used = atomic_load_explicit(&slots_used, memory_order_acquire);
	uintptr_t address = (uintptr_t)info->si_addr;
	int saved = errno;

	(void)context;
	for (uint32_t i = 0; i < used && info->si_code > 0; i++) {
		struct region *r = atomic_load_explicit(&slots[i], memory_order_acquire);

		if (r && (replace_page(r, r->durable, r->durable_mapped, address) ||
				 replace_page(r, r->working, r->bytes, address))) {
			errno = saved;
			return;
		}
	}
	/* Not ours: the access is repeated on return, and this time theirs to handle. */
	sigaction(SIGBUS, &before, NULL);
	if (info->si_code <= 0)
		raise(signal_number);
	errno = saved;
}

static void install(void)
{
	struct sigaction action = {.sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO | SA_RESTART};

	sigemptyset(&action.sa_mask);
	int failed = sigaction(SIGBUS, &action, &before);
	assert(!failed);
}

int region_fault_watch(struct region *r)
{
	uint32_t i, used;

	pthread_once(&once, install);
	pthread_mutex_lock(&lock);
	used = atomic_load_explicit(&slots_used, memory_order_relaxed);
	for (i = 0; i < SLOTS_MAX; i++)
		if (!atomic_load_explicit(&slots[i], memory_order_relaxed))
			break;
	if (i < SLOTS_MAX)
		atomic_store_explicit(&slots[i], r, memory_order_release);
	if (i == used && i < SLOTS_MAX)
		atomic_store_explicit(&slots_used, i + 1, memory_order_release);
	pthread_mutex_unlock(&lock);
	return i < SLOTS_MAX ? 0 : -ENOMEM;
}

void region_fault_forget(struct region *r)
{
	uint32_t used;

	pthread_mutex_lock(&lock);
	used = atomic_load_explicit(&slots_used, memory_order_relaxed);
	for (uint32_t i = 0; i < used; i++)
		if (atomic_load_explicit(&slots[i], memory_order_relaxed) == r)
			atomic_store_explicit(&slots[i], NULL, memory_order_release);
	pthread_mutex_unlock(&lock);
}

int region_refuse(struct region *r)
{
	void *at = mmap(r->durable, r->durable_mapped, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0);

	assert(r->working == r->durable);
	if (at == MAP_FAILED)
		return -errno;
	atomic_store_explicit(&r->lost, true, memory_order_release);
	return 0;
}

bool region_lost(const struct region *r)
{
	return atomic_load_explicit(&r->lost, memory_order_acquire);
}
