// SPDX-License-Identifier: BSD-2-Clause
/*
 * mapped_file.c - see mapped_file.h.
 *
 * The handler knows what is being touched from a variable of the thread, which is set around each
 * access. It puts a page of zeroes of our own under the address, so that the access can end, and
 * says that the mapping is lost; the access looks at that afterwards.
 *
 * Invariants
 *  1. `touched` is not NULL only between begin() and end(), which no call and no signal of ours
 *     comes in between: a SIGBUS then is from the one access.
 *  2. What is not about `touched` goes to whoever had the signal before us.
 */
#include "mapped_file.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static _Thread_local struct mapped_file *volatile touched;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static struct sigaction before;
static uintptr_t page_bytes;

static bool put_page(struct mapped_file *f, uintptr_t address)
{
	uintptr_t page = address & ~(page_bytes - 1), start = (uintptr_t)f->at;

	if (address < start || address - start >= f->bytes)
		return false;
	f->lost = true;
	return mmap((void *)page, page_bytes, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != MAP_FAILED;
}

static void on_sigbus(int signal_number, siginfo_t *info, void *context)
{
	struct mapped_file *f = touched;
	int saved = errno;

	if (f && info->si_code > 0 && put_page(f, (uintptr_t)info->si_addr)) {
		errno = saved;
		return;
	}
	errno = saved;
	if (before.sa_flags & SA_SIGINFO) {
		before.sa_sigaction(signal_number, info, context);
		return;
	}
	/* The access is repeated on return, and this time theirs to handle. */
	sigaction(SIGBUS, &before, NULL);
	if (info->si_code <= 0)
		raise(signal_number);
	errno = saved;
}

static void install(void)
{
	struct sigaction action = {.sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO | SA_RESTART};
	int failed;

	page_bytes = (uintptr_t)sysconf(_SC_PAGESIZE);
	sigemptyset(&action.sa_mask);
	failed = sigaction(SIGBUS, &action, &before);
	assert(!failed);
	(void)failed;
}

void mapped_file_map(struct mapped_file *f, int fd, size_t bytes)
{
	void *at;

	assert(bytes >= f->bytes);
	pthread_once(&once, install);
	if (f->lost)
		return;
	at = f->at ? mremap(f->at, f->bytes, bytes, MREMAP_MAYMOVE)
		   : mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (at == MAP_FAILED)
		return;
	f->at = at;
	f->bytes = bytes;
}

void mapped_file_unmap(struct mapped_file *f)
{
	if (f->at) {
		int failed = munmap(f->at, f->bytes);

		assert(!failed);
		(void)failed;
	}
	*f = (struct mapped_file){0};
}

static void *begin(struct mapped_file *f, size_t offset, size_t bytes)
{
	if (!f->at || f->lost || offset > f->bytes || bytes > f->bytes - offset)
		return NULL;
	touched = f;
	atomic_signal_fence(memory_order_seq_cst);
	return f->at + offset;
}

static bool end(const struct mapped_file *f)
{
	atomic_signal_fence(memory_order_seq_cst);
	touched = NULL;
	return !f->lost;
}

bool mapped_file_load32(struct mapped_file *f, size_t offset, uint32_t *out)
{
	_Atomic uint32_t *at = begin(f, offset, sizeof(*at));
	uint32_t word;

	if (!at)
		return false;
	word = atomic_load(at);
	if (!end(f))
		return false;
	*out = word;
	return true;
}

bool mapped_file_store32(struct mapped_file *f, size_t offset, uint32_t word)
{
	_Atomic uint32_t *at = begin(f, offset, sizeof(*at));

	if (!at)
		return false;
	atomic_store(at, word);
	return end(f);
}

bool mapped_file_store64(struct mapped_file *f, size_t offset, uint64_t word)
{
	_Atomic uint64_t *at = begin(f, offset, sizeof(*at));

	if (!at)
		return false;
	atomic_store_explicit(at, word, memory_order_release);
	return end(f);
}

bool mapped_file_copy(struct mapped_file *f, size_t offset, const void *bytes, size_t count)
{
	void *at = begin(f, offset, count);

	if (!at)
		return false;
	memcpy(at, bytes, count);
	return end(f);
}
