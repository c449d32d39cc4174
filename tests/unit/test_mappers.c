// SPDX-License-Identifier: BSD-2-Clause
/*
 * test_mappers.c - who has a dead session's blocks mapped, as far as the daemon's user may look:
 * fs/fuse/mappers.h. What it finds where it may look is the scenarios'
 * (child_keeps_its_mapping...).
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "mappers.h"
#include "records.h"
#include "scratch_pool.h"

/* Nobody has these. */
#define DAEMON_UID 2100000001u
#define CLIENT_UID 2100000002u
#define OTHER_UID 2100000003u

/* A session's record: a block of region 0. */
static int make_record(void)
{
	char path[] = "/tmp/leasefs-mappers.XXXXXX";
	struct lease_record r = {.lease = 1ull << LM_SLOT_BITS,
		.ino = 9,
		.end = 4096,
		.mode = 1,
		.count = 1,
		.extents = {{.region_offset = 1 << 20, .blocks = 1}}};
	int fd = mkostemp(path, O_CLOEXEC);

	assert_true(fd >= 0);
	unlink(path);
	assert_int_equal(lease_record_write(fd, 0, &r), 0);
	return fd;
}

/* A process of the client's user that maps nothing, and waits for the pipe's end. */
static pid_t start_client(int *wait)
{
	int end[2], ready[2];
	pid_t pid;
	char byte;

	assert_int_equal(pipe(end), 0);
	assert_int_equal(pipe(ready), 0);
	pid = fork();
	if (pid == 0) {
		close(end[1]);
		_exit(setresuid(CLIENT_UID, CLIENT_UID, CLIENT_UID) ||
			write(ready[1], "", 1) != 1 || read(end[0], &byte, 1) != 0);
	}
	close(end[0]);
	close(ready[1]);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	*wait = end[1];
	return pid;
}

/* In a process of that user: is it the client, is it nobody? 2: neither. */
static int find_as(uint32_t daemon_uid, struct core *c, int fd, uint32_t uid, pid_t client)
{
	pid_t daemon = fork();
	uint32_t pid;
	int status;

	if (daemon == 0) {
		if (daemon_uid && setresuid(daemon_uid, daemon_uid, daemon_uid))
			_exit(3);
		if (mappers_find(c, fd, uid, &pid))
			_exit(4);
		_exit(pid == (uint32_t)client ? 0 : pid == 0 ? 1 : 2);
	}
	assert_int_equal(waitpid(daemon, &status, 0), daemon);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void who_cannot_be_looked_into_may_have_the_mapping(void **state)
{
	struct scratch_pool p;
	int fd, wait, status;
	pid_t client;

	if (geteuid() != 0)
		skip();
	scratch_pool_make(&p, 16 << 20, 0);
	fd = make_record();
	client = start_client(&wait);
	assert_int_equal(find_as(DAEMON_UID, p.c, fd, CLIENT_UID, client), 0);
	assert_int_equal(find_as(DAEMON_UID, p.c, fd, OTHER_UID, client), 1);
	assert_int_equal(find_as(CLIENT_UID, p.c, fd, CLIENT_UID, client), 1);
	close(wait);
	assert_int_equal(waitpid(client, &status, 0), client);
	assert_int_equal(status, 0);
	assert_int_equal(find_as(DAEMON_UID, p.c, fd, CLIENT_UID, client), 1);
	close(fd);
	scratch_pool_remove(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_cannot_be_looked_into_may_have_the_mapping),
	};

	return cmocka_run_group_tests_name("mappers", tests, NULL, NULL);
}
