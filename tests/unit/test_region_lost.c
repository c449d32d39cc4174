// SPDX-License-Identifier: BSD-2-Clause
/*
 * test_region_lost.c - SIGBUS in a region: cut short by a lease holder, or a page that the
 * machine's memory has lost. The region is lost, and nothing else; other SIGBUS go where they went
 * before.
 */
#include "region_bed.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "format.h"
#include "scratch.h"

/* cmocka takes SIGBUS for itself during a test, so this runs in a process without it. */
#define DEMAND(condition)                                                                          \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			fprintf(stderr, "line %d: %s\n", __LINE__, #condition);                    \
			return 1;                                                                  \
		}                                                                                  \
	} while (0)

static int cut_short(const char *path)
{
	signal(SIGBUS, SIG_DFL); /* a sanitizer has one of its own */
	int fd = dir_of(path);
	struct region *r = make(fd, "data", 8 * MIB), *other = make(fd, "other", 4 * MIB);
	uint8_t *bytes = region_data_at(r, 0, 8 * MIB);

	DEMAND(region_reserve(r, 0, 4 * MIB) == 0);
	memset(bytes, 1, 4 * MIB);
	/* As a lease holder may, who has the file open for writing. */
	int holder = openat(fd, "data", O_RDWR);
	DEMAND(ftruncate(holder, 4096) == 0);
	close(holder);
	DEMAND(!region_lost(r));
	memset(bytes + 1 * MIB, 2, 3 * MIB);
	DEMAND(bytes[2 * MIB] == 2 && bytes[0] == 1);
	DEMAND(region_lost(r));
	DEMAND(region_reserve(r, 6 * MIB, 1) == -EIO);
	DEMAND(region_flush(r, 0, 4096) == -EIO);
	DEMAND(region_sync(r, 0, 4096) == -EIO);
	DEMAND(region_sync_all(r) == -EIO);
	DEMAND(!region_lost(other) && region_sync_all(other) == 0);
	region_close(other);
	region_close(r);
	close(fd);
	/* A SIGBUS that is about nothing of ours goes where it went before. */
	raise(SIGBUS);
	return 1;
}

/* The signal as the kernel sends it for a page that the machine's memory has lost. */
static int poison(const void *page)
{
	siginfo_t info = {.si_signo = SIGBUS, .si_code = BUS_MCEERR_AR};

	info.si_addr = (void *)(uintptr_t)page;
	return (int)syscall(SYS_rt_tgsigqueueinfo, getpid(), gettid(), SIGBUS, &info);
}

static int poisoned(const char *path)
{
	signal(SIGBUS, SIG_DFL);
	int fd = dir_of(path);
	struct region *r = make(fd, "data", 8 * MIB), *other = make(fd, "other", 4 * MIB);
	uint8_t *bytes = region_data_at(r, 0, 8 * MIB);

	DEMAND(region_reserve(r, 0, 2 * MIB) == 0);
	memset(bytes, 1, 2 * MIB);
	DEMAND(poison(bytes + MIB) == 0);
	DEMAND(region_lost(r) && !region_lost(other));
	DEMAND(bytes[MIB] == 0 && bytes[MIB - 1] == 1 && bytes[MIB + BLOCK_SIZE] == 1);
	DEMAND(region_flush(r, 0, 4096) == -EIO);
	DEMAND(region_sync_all(r) == -EIO);
	DEMAND(region_sync_all(other) == 0);
	region_close(other);
	region_close(r);
	close(fd);
	DEMAND(poison(&fd) == 0); /* on the stack: nothing of ours */
	raise(SIGBUS);
	return 1;
}

static void run_to_sigbus(const char *what)
{
	const char *path = scratch_directory("/dev/shm");
	int status;
	pid_t child = fork();

	if (child == 0) {
		execl("/proc/self/exe", "test_region_lost", what, path, NULL);
		_exit(2);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGBUS);
}

static void region_cut_short_is_lost_and_the_daemon_lives(void **state)
{
	run_to_sigbus("--cut-short");
}

static void poisoned_page_makes_its_region_lost_and_the_daemon_lives(void **state)
{
	run_to_sigbus("--poisoned");
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(region_cut_short_is_lost_and_the_daemon_lives),
		cmocka_unit_test(poisoned_page_makes_its_region_lost_and_the_daemon_lives),
	};

	if (argc == 3 && strcmp(argv[1], "--cut-short") == 0)
		return cut_short(argv[2]);
	if (argc == 3 && strcmp(argv[1], "--poisoned") == 0)
		return poisoned(argv[2]);
	return cmocka_run_group_tests_name("region_lost", tests, NULL, NULL);
}
