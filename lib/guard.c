// SPDX-License-Identifier: BSD-2-Clause
/*
 * guard.c - SIGBUS as an error.
 *
 * A thread's innermost guard is in a thread-local variable, which the handler reads: it runs on the
 * thread that faulted. Only faults that the kernel reports (si_code > 0) are taken; a SIGBUS that
 * somebody sends, as a policy's `signal` rung does, is the earlier handler's. Guards nest as
 * functions do, so the list is a stack.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>

#include "lfs.h"

static __thread struct leasefs_guard *innermost;

static pthread_mutex_t installing = PTHREAD_MUTEX_INITIALIZER;
static struct sigaction before; /* whom to pass on to */
static atomic_bool enabled;

static void pass_on(int number, siginfo_t *info, void *context)
{
	if (before.sa_flags & SA_SIGINFO) {
		before.sa_sigaction(number, info, context);
	} else if (before.sa_handler == SIG_DFL) {
		/* Once more, without us: as if we had never been there. */
		sigaction(SIGBUS, &before, NULL);
		if (info->si_code <= 0)
			raise(SIGBUS);
	} else if (before.sa_handler != SIG_IGN || info->si_code > 0) {
		if (before.sa_handler == SIG_IGN)
			signal(SIGBUS, SIG_DFL); /* a fault that is ignored faults for ever */
		else
			before.sa_handler(number);
	}
}

static void on_sigbus(int number, siginfo_t *info, void *context)
{
	struct leasefs_guard *guard = innermost;

	if (!guard || info->si_code <= 0) {
		pass_on(number, info, context);
		return;
	}
	siglongjmp(guard->back, -EFAULT);
}

int leasefs_enable_guard(void)
{
	struct sigaction action = {.sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO}, now;
	int error = 0;

	sigemptyset(&action.sa_mask);
	pthread_mutex_lock(&installing);
	if (sigaction(SIGBUS, NULL, &now)) {
		error = -errno;
	} else if (!(now.sa_flags & SA_SIGINFO) || now.sa_sigaction != on_sigbus) {
		before = now; /* known before our handler can run */
		if (sigaction(SIGBUS, &action, NULL))
			error = -errno;
	}
	if (!error)
		atomic_store(&enabled, true);
	pthread_mutex_unlock(&installing);
	return error;
}

void leasefs_push_guard(struct leasefs_guard *guard)
{
	guard->outer = innermost;
	innermost = guard;
}

void leasefs_end_guard(struct leasefs_guard *guard)
{
	innermost = guard->outer;
}

int leasefs_copy_guarded(void *to, const void *from, size_t length)
{
	struct leasefs_guard guard;
	volatile int result = 0;

	if (!atomic_load(&enabled))
		return -EPERM;
	if (leasefs_begin_guard(&guard))
		result = -EFAULT;
	else
		memcpy(to, from, length);
	leasefs_end_guard(&guard);
	return result;
}
