// SPDX-License-Identifier: BSD-2-Clause
/* test_bad_input.c - what is wrong is an error that the header names, and never more than that. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "bed.h"

static struct leasefs_session *session;

/* A daemon of another time: what HELLO answers is changed on its way to the library. */
static struct {
	uint32_t abi, pin_line_bytes; /* 0: as they are */
	int error;                    /* it fails with that */
} foreign;

int ioctl(int fd, unsigned long request, ...)
{
	va_list arguments;
	struct leasefs_hello *hello;
	int result;

	va_start(arguments, request);
	hello = va_arg(arguments, void *);
	va_end(arguments);
	if (request == LEASEFS_IOC_HELLO && foreign.error) {
		errno = foreign.error;
		return -1;
	}
	result = (int)syscall(SYS_ioctl, fd, request, hello);
	if (request == LEASEFS_IOC_HELLO && result == 0 && foreign.abi)
		hello->abi = foreign.abi;
	if (request == LEASEFS_IOC_HELLO && result == 0 && foreign.pin_line_bytes)
		hello->pin_line_bytes = foreign.pin_line_bytes;
	return result;
}

static void foreign_version_is_eproto(void **state)
{
	struct leasefs_session *other = NULL;

	foreign.abi = LEASEFS_ABI + 1;
	assert_int_equal(leasefs_open_session(bed_mount, 0, &other), -EPROTO);
	foreign.abi = 0;
	foreign.pin_line_bytes = 128;
	assert_int_equal(leasefs_open_session(bed_mount, 0, &other), -EPROTO);
	foreign.pin_line_bytes = 0;
	foreign.error = EINVAL; /* an ioctl of another size */
	assert_int_equal(leasefs_open_session(bed_mount, 0, &other), -EPROTO);
	foreign.error = 0;
	assert_null(other);
	assert_int_equal(leasefs_open_session(bed_mount, 0, &other), 0);
	assert_int_equal(leasefs_close_session(other), 0);
}

static void what_is_not_leasefs_is_enotty(void **state)
{
	struct leasefs_session *other = NULL;
	struct leasefs_lease *lease;
	void *memory;
	int null = open("/dev/null", O_RDWR | O_CLOEXEC), shm, pipes[2];

	shm = memfd_create("not-leasefs", MFD_CLOEXEC);
	assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
	assert_int_equal(leasefs_open_session("/proc/self", 0, &other), -ENOTTY);
	assert_int_equal(leasefs_open_session("/dev/shm", 0, &other), -ENOTTY);
	assert_int_equal(leasefs_open_session("/no/such/file", 0, &other), -ENOENT);
	assert_int_equal(leasefs_open_session_at(-1, 0, &other), -EBADF);
	assert_int_equal(leasefs_open_session_at(pipes[0], 0, &other), -ENOTTY);
	assert_int_equal(leasefs_adopt_session(null, 0, &other), -ENOTTY);
	assert_int_equal(leasefs_open_session(bed_mount, 0x80, &other), -EINVAL);
	assert_null(other);
	assert_int_equal(
		leasefs_take_lease(session, shm, 0, BLOCK, LEASEFS_TAKE_READ, &lease), -ENOTTY);
	assert_int_equal(
		leasefs_map_managed(session, shm, 0, BLOCK, LEASEFS_TAKE_READ, &lease, &memory),
		-ENOTTY);
	close(pipes[0]);
	close(pipes[1]);
	close(shm);
	close(null);
}

static void ordinary_file_is_no_session_to_adopt(void **state)
{
	int fd = bed_file("ordinary", BLOCK);
	struct leasefs_session *other;

	assert_int_equal(leasefs_adopt_session(fd, 0, &other), -ENOTTY);
	close(fd);
}

static void open_mode_is_the_permission(void **state)
{
	int both = bed_file("modes", 4 * BLOCK), fd;
	struct leasefs_lease *lease;
	void *memory;

	fd = open(bed_path("modes"), O_RDONLY | O_CLOEXEC);
	assert_int_equal(leasefs_take_lease(session, fd, 0, 0, LEASEFS_TAKE_WRITE, &lease), -EBADF);
	assert_int_equal(
		leasefs_map_managed(session, fd, 0, BLOCK, LEASEFS_TAKE_WRITE, &lease, &memory),
		-EBADF);
	close(fd);
	fd = open(bed_path("modes"), O_WRONLY | O_CLOEXEC);
	assert_int_equal(leasefs_take_lease(session, fd, 0, 0, LEASEFS_TAKE_READ, &lease), -EBADF);
	assert_int_equal(
		leasefs_map_managed(session, fd, 0, BLOCK, LEASEFS_TAKE_READ, &lease, &memory),
		-EBADF);
	close(fd);
	fd = open(bed_mount, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(
		leasefs_take_lease(session, fd, 0, BLOCK, LEASEFS_TAKE_READ, &lease), -EOPNOTSUPP);
	close(fd);
	close(both);
}

static void ranges_and_flags_are_checked(void **state)
{
	int fd = bed_file("ranges", 4 * BLOCK), empty = bed_file("empty", 0);
	struct leasefs_lease *lease;
	struct leasefs_extent e;
	uint64_t next;
	void *memory;

	assert_int_equal(leasefs_take_lease(session, fd, 0, 0, 0, &lease), -EINVAL);
	assert_int_equal(leasefs_take_lease(session, fd, 0, 0, 3, &lease), -EINVAL);
	assert_int_equal(leasefs_take_lease(session, fd, 0, 0, 0x81, &lease), -EINVAL);
	assert_int_equal(
		leasefs_take_lease(session, fd, UINT64_MAX, 2, LEASEFS_TAKE_READ, &lease), -EINVAL);
	assert_int_equal(
		leasefs_take_lease(session, empty, 0, 0, LEASEFS_TAKE_READ, &lease), -EINVAL);
	assert_int_equal(
		leasefs_map_managed(session, fd, 1, BLOCK, LEASEFS_TAKE_READ, &lease, &memory),
		-EINVAL);
	assert_int_equal(leasefs_map_managed(session, fd, 0, 0, LEASEFS_TAKE_READ, &lease, &memory),
		-EINVAL);
	assert_int_equal(leasefs_map_managed(session, fd, 0, UINT64_MAX - BLOCK, LEASEFS_TAKE_READ,
				 &lease, &memory),
		-EINVAL);
	assert_int_equal(leasefs_take_lease(session, fd, 0, 0, LEASEFS_TAKE_READ, &lease), 0);
	assert_int_equal(leasefs_map_lease(lease, 1, &memory), -EINVAL);
	assert_int_equal(leasefs_get_layout(lease, 4 * BLOCK, &e, 1, &next), -EINVAL);
	assert_int_equal(leasefs_get_layout(lease, 0, &e, 0, &next), -EINVAL);
	assert_int_equal(leasefs_commit_range(lease, 0, 5 * BLOCK, 0), -EINVAL);
	assert_int_equal(leasefs_downgrade_lease(lease, 0x80), -EINVAL);
	assert_int_equal(leasefs_return_lease(lease), 0);
	close(empty);
	close(fd);
}

/* In a child: its limits and its user are its own. The session is its own, too. */
static int in_child(int (*run)(int fd), int fd)
{
	int status;
	pid_t pid = fork();

	if (pid == 0)
		_exit(run(fd));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static int map_with_little_room(int fd)
{
	struct rlimit limit = {256u << 20, 256u << 20};
	struct leasefs_session *own;
	struct leasefs_lease *lease;
	void *memory;

	if (leasefs_open_session_at(fd, LEASEFS_SESSION_NO_THREAD, &own) ||
		leasefs_take_lease(own, fd, 0, 1ull << 30, LEASEFS_TAKE_READ, &lease))
		return 1;
	if (setrlimit(RLIMIT_AS, &limit))
		return 2;
	if (leasefs_map_lease(lease, 0, &memory) != -ENOMEM)
		return 3;
	return leasefs_return_lease(lease) || leasefs_close_session(own) ? 4 : 0;
}

static void address_space_limit_is_enomem(void **state)
{
	int fd = bed_file("large", 0);

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
	close(fd);
	skip(); /* their shadow does not fit into any limit */
#endif
	assert_int_equal(ftruncate(fd, 1 << 30), 0);
	assert_int_equal(in_child(map_with_little_room, fd), 0);
	close(fd);
}

static int lease_as_nobody(int fd)
{
	struct leasefs_session *own;
	struct leasefs_lease *lease;
	char byte;

	if (setgid(65534) || setuid(65534))
		return 77;
	if (leasefs_open_session_at(fd, LEASEFS_SESSION_NO_THREAD, &own))
		return 1;
	if (leasefs_take_lease(own, fd, 0, 0, LEASEFS_TAKE_READ, &lease) != -EACCES)
		return 2;
	if (pread(fd, &byte, 1, 0) != 1)
		return 3;
	return leasefs_close_session(own) ? 4 : 0;
}

static void no_right_to_the_region_is_eacces_and_files_work_on(void **state)
{
	int fd = bed_file("foreign", 4 * BLOCK), status;

	if (getuid() != 0)
		skip();
	assert_int_equal(chmod(bed_mount, 0755), 0);
	status = in_child(lease_as_nobody, fd);
	close(fd);
	if (status == 77)
		skip();
	assert_int_equal(status, 0);
}

static void daemon_that_is_gone_is_enotconn(void **state)
{
	int fd = bed_file("gone", 4 * BLOCK);
	struct leasefs_session *own;
	struct leasefs_lease *lease, *about;
	struct leasefs_event event;
	void *memory;
	uint64_t pin;

	assert_int_equal(leasefs_open_session_at(fd, LEASEFS_SESSION_NO_RECLAIM, &own), 0);
	assert_int_equal(leasefs_take_lease(own, fd, 0, 0, LEASEFS_TAKE_WRITE, &lease), 0);
	assert_int_equal(leasefs_map_lease(lease, 0, &memory), 0);
	bed_kill();
	assert_null(expect_event(own, LEASEFS_EVENT_DISCONNECTED, &event));
	assert_int_equal(differs(memory, 0, 4 * BLOCK), -1);
	assert_int_equal(leasefs_pin_lease(lease), 0);
	assert_int_equal(leasefs_unpin_lease(lease), 0);
	assert_int_equal(leasefs_commit_range(lease, 0, 0, 0), -ENOTCONN);
	assert_int_equal(leasefs_pin_range(lease, 0, 0, 0, &pin), -ENOTCONN);
	assert_int_equal(leasefs_return_range(lease, 0, BLOCK), -ENOTCONN);
	assert_int_equal(leasefs_take_lease(own, fd, 0, 0, LEASEFS_TAKE_READ, &about), -ENOTCONN);
	assert_int_equal(leasefs_return_lease(lease), 0);
	assert_int_equal(leasefs_close_session(own), 0);
	assert_int_equal(leasefs_close_session(session), 0);
	close(fd);
	bed_restart();
	assert_int_equal(leasefs_open_session(bed_mount, 0, &session), 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_not_leasefs_is_enotty),
		cmocka_unit_test(ordinary_file_is_no_session_to_adopt),
		cmocka_unit_test(foreign_version_is_eproto),
		cmocka_unit_test(open_mode_is_the_permission),
		cmocka_unit_test(ranges_and_flags_are_checked),
		cmocka_unit_test(address_space_limit_is_enomem),
		cmocka_unit_test(no_right_to_the_region_is_eacces_and_files_work_on),
		cmocka_unit_test(daemon_that_is_gone_is_enotconn),
	};
	int failed;

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	bed_start(getuid() == 0 ? "allow_other" : NULL, "128M");
	if (leasefs_open_session(bed_mount, 0, &session))
		return 1;
	failed = cmocka_run_group_tests_name("bad input", tests, NULL, NULL);
	leasefs_close_session(session);
	if (!failed)
		bed_stop();
	return failed;
}
