// SPDX-License-Identifier: BSD-2-Clause
/* test_process.c - a session and other processes: fork, and descriptors that are passed on. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "bed.h"

static struct leasefs_session *session;

static int wait_child(pid_t pid)
{
	int status;

	if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		return 255;
	return WEXITSTATUS(status);
}

/* mincore(2) says ENOMEM where nothing is mapped. */
static bool is_mapped(void *address)
{
	unsigned char resident;

	return mincore(address, BLOCK, &resident) == 0;
}

static int use_in_child(struct leasefs_lease *lease, void *memory, void *forked)
{
	struct leasefs_lease *other;
	struct leasefs_event event;
	struct leasefs_lease_state state;

	if (is_mapped(memory) || !is_mapped(forked) || *(char *)forked != 'f')
		return 1;
	if (leasefs_get_lease(lease, &state) != -ECHILD || leasefs_return_lease(lease) != -ECHILD ||
		leasefs_commit_range(lease, 0, 0, 0) != -ECHILD ||
		leasefs_next_event(session, &event, &other) != -ECHILD ||
		leasefs_set_callback(session, NULL, NULL) != -ECHILD)
		return 2;
	return leasefs_close_session(session) ? 3 : 0;
}

static void child_has_nothing_of_it_but_the_close(void **state)
{
	int fd = bed_file("fork", 4 * BLOCK), second = bed_file("forked", BLOCK);
	struct leasefs_lease *lease, *inherited;
	void *memory, *forked;
	pid_t pid;

	assert_int_equal(leasefs_take_lease(session, fd, 0, 0, LEASEFS_TAKE_WRITE, &lease), 0);
	assert_int_equal(leasefs_map_lease(lease, 0, &memory), 0);
	assert_int_equal(
		leasefs_take_lease(session, second, 0, 0, LEASEFS_TAKE_WRITE, &inherited), 0);
	assert_int_equal(leasefs_map_lease(inherited, LEASEFS_MAP_FORK, &forked), 0);
	*(char *)forked = 'f';
	pid = fork();
	if (pid == 0)
		_exit(use_in_child(lease, memory, forked));
	assert_int_equal(wait_child(pid), 0);
	/* The parent's is as it was. */
	assert_int_equal(differs(memory, 0, 4 * BLOCK), -1);
	assert_int_equal(leasefs_pin_lease(lease), 0);
	assert_int_equal(leasefs_unpin_lease(lease), 0);
	assert_int_equal(leasefs_commit_range(lease, 0, 0, 0), 0);
	assert_int_equal(leasefs_return_lease(inherited), 0);
	assert_int_equal(leasefs_return_lease(lease), 0);
	close(second);
	close(fd);
}

static int open_own_in_child(int fd)
{
	struct leasefs_session *own;
	struct leasefs_lease *lease;
	void *memory;

	if (leasefs_open_session_at(fd, 0, &own) ||
		leasefs_map_managed(own, fd, 0, BLOCK, LEASEFS_TAKE_READ, &lease, &memory))
		return 1;
	if (differs(memory, 0, BLOCK) >= 0)
		return 2;
	return leasefs_close_session(own) ? 3 : 0;
}

static void child_may_have_a_session_of_its_own(void **state)
{
	int fd = bed_file("own", BLOCK);
	pid_t pid;

#ifdef __SANITIZE_THREAD__
	close(fd);
	skip(); /* it allows no threads in a child of a process with threads */
#endif
	pid = fork();
	if (pid == 0)
		_exit(open_own_in_child(fd));
	assert_int_equal(wait_child(pid), 0);
	close(fd);
}

static void send_fd(int socket, int fd)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = {{0}};
	char x = 'x';
	struct iovec byte = {&x, 1};
	struct msghdr m = {.msg_iov = &byte,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes)};
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);

	*c = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof(int)),
		.cmsg_level = SOL_SOCKET,
		.cmsg_type = SCM_RIGHTS};
	memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	assert_int_equal(sendmsg(socket, &m, 0), 1);
}

static int receive_fd(int socket)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;
	char byte;
	struct iovec into = {&byte, 1};
	struct msghdr m = {.msg_iov = &into,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes)};
	int fd = -1;

	if (recvmsg(socket, &m, MSG_CMSG_CLOEXEC) == 1 && CMSG_FIRSTHDR(&m))
		memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof(fd));
	return fd;
}

/* Forked before there was a session: it has nothing but what it is sent. */
static int adopt(int socket)
{
	int control = receive_fd(socket), fd = receive_fd(socket);
	struct leasefs_session *adopted;
	struct leasefs_hello hello;
	struct leasefs_lease *lease;
	char byte = 'k';

	if (leasefs_adopt_session(control, LEASEFS_SESSION_NO_THREAD, &adopted))
		return 1;
	close(control);
	if (leasefs_get_session(adopted, &hello) || hello.pid != (uint32_t)getpid())
		return 2;
	if (leasefs_take_lease(adopted, fd, 0, 0, LEASEFS_TAKE_WRITE, &lease) ||
		leasefs_pin_lease(lease))
		return 3;
	if (write(socket, &byte, 1) != 1 || read(socket, &byte, 1) != 1)
		return 4;
	return leasefs_unpin_lease(lease) || leasefs_return_lease(lease) ||
			       leasefs_close_session(adopted)
		       ? 5
		       : 0;
}

static void passed_session_lives_on_in_the_other_process(void **state)
{
	struct leasefs_session *passed;
	int fd = bed_file("passed", 4 * BLOCK), ends[2];
	char byte;
	pid_t pid;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
	pid = fork();
	if (pid == 0)
		_exit(adopt(ends[1]));
	assert_int_equal(leasefs_open_session_at(fd, LEASEFS_SESSION_NO_THREAD, &passed), 0);
	send_fd(ends[0], leasefs_get_session_fd(passed));
	send_fd(ends[0], fd);
	assert_int_equal(read(ends[0], &byte, 1), 1);
	assert_int_equal(leasefs_close_session(passed), 0);
	/* Its pin is in the way, with this end of the session closed. */
	assert_int_equal(bed_other("truncate", bed_path("passed"), 0, 0), EBUSY);
	assert_int_equal(write(ends[0], &byte, 1), 1);
	assert_int_equal(wait_child(pid), 0);
	assert_int_equal(bed_other("truncate", bed_path("passed"), 0, 0), 0);
	close(ends[0]);
	close(ends[1]);
	close(fd);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(child_has_nothing_of_it_but_the_close),
		cmocka_unit_test(child_may_have_a_session_of_its_own),
		cmocka_unit_test(passed_session_lives_on_in_the_other_process),
	};
	int failed;

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	bed_start("policy=recall:200ms/busy", "128M");
	if (leasefs_open_session(bed_mount, 0, &session))
		return 1;
	failed = cmocka_run_group_tests_name("process", tests, NULL, NULL);
	leasefs_close_session(session);
	if (!failed)
		bed_stop();
	return failed;
}
