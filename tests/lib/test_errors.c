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
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "session.h"

#define FILE_BYTES_MAX (1ull << 55)

/* A process with a mount of its own, which is there until it is told to end. */
struct neighbour {
	pid_t pid;
	int told;
	char mount[4096];
};

static struct neighbour neighbour;

static void neighbour_main(int tell, int wait)
{
	char byte;

	bed_start(NULL, "64M");
	close(bed_file("f", BLOCK));
	if (write(tell, bed_mount, sizeof(neighbour.mount)) < 0)
		_exit(1);
	if (read(wait, &byte, 1) != 0)
		_exit(2);
	bed_stop();
	exit(0);
}

/* Before bed_start(): a bed is one process's. False: it could not mount. */
static bool start_neighbour(struct neighbour *n)
{
	int up[2], down[2];
	ssize_t got;

	if (pipe2(up, O_CLOEXEC) || pipe2(down, O_CLOEXEC))
		return false;
	n->pid = fork();
	if (n->pid == 0) {
		/* Both ends of a pipe would keep it from seeing the end. */
		close(up[0]);
		close(down[1]);
		neighbour_main(up[1], down[0]);
	}
	close(up[1]);
	close(down[0]);
	got = n->pid > 0 ? read(up[0], n->mount, sizeof(n->mount)) : -1;
	close(up[0]);
	n->told = down[1];
	return got == (ssize_t)sizeof(n->mount);
}

static void another_mount_is_exdev(void **state)
{
	char path[5000];
	struct leasefs_lease *lease = NULL;
	struct leasefs_session *second;
	void *memory = NULL;
	int fd;

	if (!neighbour.mount[0])
		skip();
	snprintf(path, sizeof(path), "%s/f", neighbour.mount);
	fd = open(path, O_RDWR | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(leasefs_take_lease(session, fd, 0, 0, LEASEFS_TAKE_READ, &lease), -EXDEV);
	assert_int_equal(
		leasefs_map_managed(session, fd, 0, BLOCK, LEASEFS_TAKE_READ, &lease, &memory),
		-EXDEV);
	assert_null(lease);
	assert_null(memory);
	/* Of the session of its own mount it can be had. */
	assert_int_equal(leasefs_open_session_at(fd, 0, &second), 0);
	assert_int_equal(leasefs_take_lease(second, fd, 0, 0, LEASEFS_TAKE_READ, &lease), 0);
	assert_int_equal(leasefs_return_lease(lease), 0);
	assert_int_equal(leasefs_close_session(second), 0);
	close(fd);
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
	assert_null(lease);
	lease = take(fd, 0, 0, LEASEFS_TAKE_WRITE);
	assert_int_equal(leasefs_return_lease(lease), 0);
	close(fd);
}

/* As write(2) says it. */
static void range_that_no_file_can_have_is_efbig(void **state)
{
	int fd = bed_file("long", BLOCK);
	struct leasefs_lease *lease = NULL;

	for (unsigned flags = LEASEFS_TAKE_READ; flags <= LEASEFS_TAKE_WRITE; flags++) {
		assert_int_equal(
			leasefs_take_lease(session, fd, FILE_BYTES_MAX, 1, flags, &lease), -EFBIG);
		assert_int_equal(
			leasefs_take_lease(session, fd, 0, FILE_BYTES_MAX + 1, flags, &lease),
			-EFBIG);
		assert_int_equal(
			leasefs_take_lease(session, fd, 1ull << 62, BLOCK, flags, &lease), -EFBIG);
		/* These are no ranges. */
		assert_int_equal(
			leasefs_take_lease(session, fd, 1ull << 63, BLOCK, flags, &lease), -EINVAL);
		assert_int_equal(
			leasefs_take_lease(session, fd, BLOCK, UINT64_MAX, flags, &lease), -EINVAL);
		assert_int_equal(
			leasefs_take_lease(session, fd, 1ull << 62, 0, flags, &lease), -EINVAL);
	}
	assert_null(lease);
	assert_int_equal(leasefs_take_lease(session, fd, FILE_BYTES_MAX - BLOCK, BLOCK,
				 LEASEFS_TAKE_READ, &lease),
		0);
	assert_int_equal(leasefs_return_lease(lease), 0);
	close(fd);
}

/* As many as the daemon remembers are EAGAIN. */
static void too_many_that_wait_are_enobufs(void **state)
{
	int fd = bed_file("wanted", 1000 * BLOCK), error = -EAGAIN;
	struct leasefs_lease *lease = take(fd, 0, 0, LEASEFS_TAKE_WRITE | LEASEFS_TAKE_EXCLUSIVE),
			     *other;
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
	struct leasefs_lease *lease = take(fd, 0, 0, LEASEFS_TAKE_WRITE);
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
	struct leasefs_lease *lease = take(fd, 0, 0, LEASEFS_TAKE_READ);
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
	struct leasefs_lease *plain = take(fd, 0, 0, LEASEFS_TAKE_READ), *lease;
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

	take(a.fd, 0, 0, LEASEFS_TAKE_READ);
	assert_int_equal(leasefs_set_callback(session, wait_in_callback, &a), 0);
	assert_int_equal(bed_other("truncate", bed_path("waiting"), 0, 0), 0);
	assert_int_equal(__atomic_load_n(&a.waited, __ATOMIC_SEQ_CST), -EDEADLK);
	assert_int_equal(leasefs_set_callback(session, NULL, NULL), 0);
	close(a.fd);
}

/* The last but one: its process is the first of a namespace that ours is not in, and cannot watch
 * us. */
static void process_that_the_daemon_cannot_see_is_esrch(void **state)
{
	int own = open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC);
	struct leasefs_session *unseen = NULL;
	char byte;
	int fd;

	bed_kill();
	if (unshare(CLONE_NEWPID)) {
		bed_restart();
		skip();
	}
	bed_restart();
	assert_int_equal(setns(own, CLONE_NEWPID), 0);
	close(own);
	assert_int_equal(leasefs_open_session(bed_mount, 0, &unseen), -ESRCH);
	assert_null(unseen);
	fd = bed_file("unseen", BLOCK);
	assert_int_equal(pread(fd, &byte, 1, 0), 1);
	close(fd);
	bed_kill();
	bed_restart();
	assert_int_equal(leasefs_open_session(bed_mount, 0, &unseen), 0);
	assert_int_equal(leasefs_close_session(unseen), 0);
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

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(guard_that_is_not_enabled_is_eperm),
		with_session(holes_that_do_not_fit_are_enospc),
		with_session(range_that_no_file_can_have_is_efbig),
		with_session(another_mount_is_exdev),
		with_session(too_many_that_wait_are_enobufs),
		with_session(revoked_lease_is_estale),
		with_session(pinned_lease_is_neither_unmapped_nor_acknowledged),
		with_session(managed_mapping_is_only_left_or_returned),
		with_session(region_that_is_not_there_is_enoent),
		with_session(descriptor_limit_is_emfile),
		with_session(waiting_in_the_callback_is_edeadlk),
		cmocka_unit_test(process_that_the_daemon_cannot_see_is_esrch),
		with_session(draining_mount_is_eshutdown),
	};
	int failed;

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	if (!start_neighbour(&neighbour))
		return bed_other_wait(neighbour.pid);
	bed_start("policy=recall:300ms/orphan", "64M");
	failed = cmocka_run_group_tests_name("errors", tests, NULL, NULL);
	if (!failed)
		bed_stop();
	close(neighbour.told);
	return failed ? failed : bed_other_wait(neighbour.pid);
}
