// SPDX-License-Identifier: BSD-2-Clause
/*
 * test_harden.c - what a hardened process still can, and what it can't: each in a child of its own.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harden.h"
#include "log.h"

#define HARDENING_FAILED 99

/* Exit status of what runs hardened; 128 and the signal that ended it. */
static int hardened(int (*run)(void))
{
	int status;
	pid_t child;

	fflush(NULL);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		struct diag d = {.text = ""};

		_exit(harden(&d) ? HARDENING_FAILED : run());
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* The filter is there: not without libseccomp, and not under a sanitizer. */
static int has_filter(void)
{
	return prctl(PR_GET_SECCOMP) == 2;
}

static void need_filter(void)
{
	if (hardened(has_filter) != 1)
		skip();
}

static void *end_thread(void *context)
{
	return context;
}

static int works(void)
{
	pthread_t thread;
	void *got = NULL;
	int ends[2];
	char byte = 'x';

	if (pthread_create(&thread, NULL, end_thread, &byte) || pthread_join(thread, &got) ||
		got != &byte)
		return 1;
	if (pipe(ends) || write(ends[1], &byte, 1) != 1 || read(ends[0], &byte, 1) != 1)
		return 2;
	void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (page == MAP_FAILED || munmap(page, 4096))
		return 3;
	FILE *status = fopen("/proc/self/status", "re");
	if (!status || fclose(status))
		return 4;
	if (socket(AF_UNIX, SOCK_DGRAM, 0) < 0) /* syslog */
		return 5;
	/* A descriptor is opened again through /proc, though nobody else may look there. */
	char link[64];
	snprintf(link, sizeof(link), "/proc/self/fd/%d", open("/dev/null", O_PATH | O_CLOEXEC));
	if (open(link, O_RDWR | O_CLOEXEC) < 0)
		return 6;
	return 0;
}

static void what_a_daemon_needs_works(void **state)
{
	assert_int_equal(hardened(works), 0);
}

static int privileges(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2];
	const uint32_t given_up = 1u << CAP_SYS_ADMIN | 1u << CAP_SETUID | 1u << CAP_SETGID |
				  1u << CAP_NET_ADMIN | 1u << CAP_SYS_RAWIO | 1u << CAP_SYS_MODULE |
				  1u << CAP_MKNOD | 1u << CAP_SYS_CHROOT;
	struct rlimit core;

	if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1)
		return 1;
	if (syscall(SYS_capget, &header, data) || data[0].effective & given_up ||
		data[0].permitted & given_up || data[1].permitted || data[0].inheritable)
		return 2;
	if (prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) != 0)
		return 3;
	if (getrlimit(RLIMIT_CORE, &core) || core.rlim_max != 0)
		return 4;
	return 0;
}

static void privileges_are_gone(void **state)
{
	assert_int_equal(hardened(privileges), 0);
}

static int run_program(void)
{
	execl("/bin/true", "true", NULL);
	return 1;
}

static int trace(void)
{
	ptrace(PTRACE_TRACEME, 0, NULL, NULL);
	return 1;
}

static int change_user(void)
{
	syscall(SYS_setuid, 65534);
	return 1;
}

static int mount_something(void)
{
	syscall(SYS_mount, "none", "/", "tmpfs", 0, NULL);
	return 1;
}

static void what_only_an_intruder_does_ends_it(void **state)
{
	need_filter();
	assert_int_equal(hardened(run_program), 128 + SIGSYS);
	assert_int_equal(hardened(trace), 128 + SIGSYS);
	assert_int_equal(hardened(change_user), 128 + SIGSYS);
	assert_int_equal(hardened(mount_something), 128 + SIGSYS);
}

static int unknown_calls(void)
{
	if (socket(AF_INET, SOCK_STREAM, 0) >= 0 || errno != ENOSYS)
		return 1;
	if (syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL) >= 0 || errno != ENOSYS)
		return 2;
	if (syscall(SYS_acct, NULL) >= 0 || errno != ENOSYS)
		return 3;
	return 0;
}

static void other_calls_are_as_on_a_kernel_without_them(void **state)
{
	need_filter();
	assert_int_equal(hardened(unknown_calls), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_a_daemon_needs_works),
		cmocka_unit_test(privileges_are_gone),
		cmocka_unit_test(what_only_an_intruder_does_ends_it),
		cmocka_unit_test(other_calls_are_as_on_a_kernel_without_them),
	};

	log_start("test_harden", false, true);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
