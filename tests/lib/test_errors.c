// SPDX-License-Identifier: BSD-2-Clause
/*
 * test_errors.c - errors of the manual pages of section 3 that no other test here meets: a refusal
 * changes nothing, and what was asked for goes when its reason has gone.
 *
 * The policy orphans what is pinned, at once. The pool is small.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "bed.h"

static struct leasefs_session *session;

static int setup(void **state)
{
	return leasefs_open_session(bed_mount, 0, &session);
}

static int teardown(void **state)
{
	return leasefs_close_session(session);
}

static struct leasefs_lease *take(int fd, unsigned flags)
{
	struct leasefs_lease *lease = NULL;

	assert_int_equal(leasefs_take_lease(session, fd, 0, 0, flags, &lease), 0);
	return lease;
}

/* The first here: nobody has enabled it yet. */
static void guard_that_is_not_enabled_is_eperm(void **state)
{
	char from = 'g', to = 0;

	assert_int_equal(leasefs_copy_guarded(&to, &from, 1), -EPERM);
	assert_int_equal(to, 0);
	assert_int_equal(leasefs_enable_guard(), 0);
	assert_int_equal(leasefs_copy_guarded(&to, &from, 1), 0);
	assert_int_equal(to, 'g');
}

static void holes_that_do_not_fit_are_enospc(void **state)
{
	int fd = bed_file("large", BLOCK);
	struct leasefs_lease *lease = NULL;

	assert_int_equal(leasefs_take_lease(session, fd, 0, 1ull << 34, LEASEFS_TAKE_WRITE, &lease),
		-ENOSPC);
	/* No file can be that long. */
	assert_int_equal(
		leasefs_take_lease(session, fd, 1ull << 62, BLOCK, LEASEFS_TAKE_WRITE, &lease),
		-EINVAL);
	assert_null(lease);
	lease = take(fd, LEASEFS_TAKE_WRITE);
	assert_int_equal(leasefs_return_lease(lease), 0);
	close(fd);
}

/* As many as the daemon remembers are EAGAIN. */
static void too_many_that_wait_are_enobufs(void **state)
{
	int fd = bed_file("wanted", 1000 * BLOCK), error = -EAGAIN;
	struct leasefs_lease *lease = take(fd, LEASEFS_TAKE_WRITE | LEASEFS_TAKE_EXCLUSIVE), *other;
	struct leasefs_session *second;

	assert_int_equal(leasefs_pin_lease(lease), 0);
	assert_int_equal(leasefs_open_session(bed_mount, 0, &second), 0);
	for (uint64_t i = 0; error == -EAGAIN && i < 500; i++)
		error = leasefs_take_lease(
			second, fd, 2 * i * BLOCK, BLOCK, LEASEFS_TAKE_READ, &other);
	assert_int_equal(error, -ENOBUFS);
	assert_int_equal(leasefs_unpin_lease(lease), 0);
	assert_int_equal(leasefs_return_lease(lease), 0);
	assert_int_equal(leasefs_wait_lease(second, fd, 0, 0, LEASEFS_TAKE_READ,
				 BED_PATIENCE_MS * 1000000ull, &other),
		0);
	assert_int_equal(leasefs_return_lease(other), 0);
	assert_int_equal(leasefs_close_session(second), 0);
	close(fd);
}

static void revoked_lease_is_estale(void **state)
{
	int fd = bed_file("stale", 4 * BLOCK);
	struct leasefs_lease *lease = take(fd, LEASEFS_TAKE_WRITE);
	struct leasefs_extent extent;
	struct leasefs_event event;
	uint64_t next;
	void *memory;

	assert_int_equal(ftruncate(fd, 0), 0);
	assert_ptr_equal(expect_event(session, LEASEFS_EVENT_REVOKED, &event), lease);
	assert_int_equal(leasefs_map_lease(lease, 0, &memory), -ESTALE);
	assert_int_equal(leasefs_get_layout(lease, 0, &extent, 1, &next), -ESTALE);
	assert_int_equal(leasefs_commit_range(lease, 0, 0, 0), -ESTALE);
	assert_int_equal(leasefs_return_lease(lease), 0);
	close(fd);
}

static void pinned_lease_is_neither_unmapped_nor_acknowledged(void **state)
{
	int fd = bed_file("pinned", 4 * BLOCK);
	struct leasefs_lease *lease = take(fd, LEASEFS_TAKE_READ);
	struct leasefs_lease_state s;
	struct leasefs_event event;
	void *memory;

	assert_int_equal(leasefs_map_lease(lease, 0, &memory), 0);
	assert_int_equal(leasefs_pin_lease(lease), 0);
	assert_int_equal(leasefs_unmap_lease(lease), -EBUSY);
	assert_int_equal(bed_other("truncate", bed_path("pinned"), 0, 0), 0);
	assert_ptr_equal(expect_event(session, LEASEFS_EVENT_REVOKED, &event), lease);
	assert_int_equal(leasefs_acknowledge_lease(lease), -EBUSY);
	assert_int_equal(leasefs_get_lease(lease, &s), 0);
	assert_int_equal(s.revoked_bytes, 4 * BLOCK);
	assert_int_equal(differs(memory, 0, 4 * BLOCK), -1);
	assert_int_equal(leasefs_unpin_lease(lease), 0);
	assert_int_equal(leasefs_acknowledge_lease(lease), 0);
	assert_int_equal(leasefs_return_lease(lease), 0);
	close(fd);
}

static void managed_mapping_is_only_left_or_returned(void **state)
{
	int fd = bed_file("managed", 4 * BLOCK);
	struct leasefs_lease *plain = take(fd, LEASEFS_TAKE_READ), *lease;
	void *memory;

	assert_int_equal(leasefs_leave_mapping(plain), -EOPNOTSUPP);
	assert_int_equal(leasefs_return_lease(plain), 0);
	assert_int_equal(
		leasefs_map_managed(session, fd, 0, 4 * BLOCK, LEASEFS_TAKE_WRITE, &lease, &memory),
		0);
	assert_int_equal(leasefs_unmap_lease(lease), -EOPNOTSUPP);
	assert_int_equal(leasefs_downgrade_lease(lease, 0), -EOPNOTSUPP);
	assert_int_equal(leasefs_pin_lease(lease), 0);
	assert_int_equal(leasefs_leave_mapping(lease), -EBUSY);
	assert_int_equal(differs(memory, 0, 4 * BLOCK), -1);
	assert_int_equal(leasefs_unpin_lease(lease), 0);
	assert_int_equal(leasefs_return_lease(lease), 0);
	close(fd);
}

static void region_that_is_not_there_is_enoent(void **state)
{
	struct leasefs_region region;

	assert_int_equal(leasefs_get_region(session, 123456, &region), -ENOENT);
}

static int open_without_descriptors(void)
{
	struct leasefs_session *own;
	struct rlimit limit;
	int next = dup(0);

	if (next < 0 || getrlimit(RLIMIT_NOFILE, &limit))
		return 1;
	close(next);
	limit.rlim_cur = (rlim_t)next + 1;
	if (setrlimit(RLIMIT_NOFILE, &limit))
		return 2;
	return leasefs_open_session(bed_mount, LEASEFS_SESSION_NO_THREAD, &own) == -EMFILE ? 0 : 3;
}

static void descriptor_limit_is_emfile(void **state)
{
	int status;
	pid_t pid = fork();

	if (pid == 0)
		_exit(open_without_descriptors());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

struct answer {
	int fd;
	int waited; /* 1: not called yet */
};

static void wait_in_callback(
	void *context, const struct leasefs_event *event, struct leasefs_lease *lease)
{
	struct answer *a = context;
	struct leasefs_lease *other;
	int error;

	if (event->kind != LEASEFS_EVENT_RECALL)
		return;
	error = leasefs_wait_lease(session, a->fd, 0, 0, LEASEFS_TAKE_READ, UINT64_MAX, &other);
	__atomic_store_n(&a->waited, error, __ATOMIC_SEQ_CST);
	(void)leasefs_return_lease(lease);
}

static void waiting_in_the_callback_is_edeadlk(void **state)
{
	struct answer a = {bed_file("waiting", 4 * BLOCK), 1};

	take(a.fd, LEASEFS_TAKE_READ);
	assert_int_equal(leasefs_set_callback(session, wait_in_callback, &a), 0);
	assert_int_equal(bed_other("truncate", bed_path("waiting"), 0, 0), 0);
	assert_int_equal(__atomic_load_n(&a.waited, __ATOMIC_SEQ_CST), -EDEADLK);
	assert_int_equal(leasefs_set_callback(session, NULL, NULL), 0);
	close(a.fd);
}

/* The last here: there are no leases any more. */
static void draining_mount_is_eshutdown(void **state)
{
	int fd = bed_file("drained", 4 * BLOCK), control;
	struct leasefs_drain drain = {{0}};
	struct leasefs_lease *lease;
	struct leasefs_event event;
	char byte;

	control = open(bed_path(LEASEFS_CONTROL_PATH), O_RDWR | O_CLOEXEC);
	assert_true(control >= 0);
	assert_int_equal(ioctl(control, LEASEFS_IOC_DRAIN, &drain), 0);
	assert_int_equal(
		leasefs_take_lease(session, fd, 0, 0, LEASEFS_TAKE_READ, &lease), -ESHUTDOWN);
	assert_null(expect_event(session, LEASEFS_EVENT_DRAIN, &event));
	assert_int_equal(pread(fd, &byte, 1, 0), 1);
	close(control);
	close(fd);
}

#define with_session(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(guard_that_is_not_enabled_is_eperm),
		with_session(holes_that_do_not_fit_are_enospc),
		with_session(too_many_that_wait_are_enobufs),
		with_session(revoked_lease_is_estale),
		with_session(pinned_lease_is_neither_unmapped_nor_acknowledged),
		with_session(managed_mapping_is_only_left_or_returned),
		with_session(region_that_is_not_there_is_enoent),
		with_session(descriptor_limit_is_emfile),
		with_session(waiting_in_the_callback_is_edeadlk),
		with_session(draining_mount_is_eshutdown),
	};
	int failed;

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	bed_start("policy=recall:300ms/orphan", "64M");
	failed = cmocka_run_group_tests_name("errors", tests, NULL, NULL);
	if (!failed)
		bed_stop();
	return failed;
}
