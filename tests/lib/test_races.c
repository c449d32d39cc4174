// SPDX-License-Identifier: BSD-2-Clause
/*
 * test_races.c - leases and operations that meet at the wrong moment, by the calls of control.h.
 *
 * The holder is this process, or a child that dies of it; whoever is in its way is another child.
 * Each race is run again and again. What comes out may differ; that it is whole may not.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "bed.h"
#include "client.h"

#define FILE_BYTES (64 * BLOCK)
#define LADDER_NS 100000000ull /* of a policy that is to end in EBUSY */
#define SLOW_NS 20000000000ull /* whatever is to be done within a ladder is, on a slow machine */

/* ---- operations of others -------------------------------------------------------------------- */

static int keep_size(const char *name)
{
	return truncate(bed_path(name), FILE_BYTES) ? errno : 0;
}

static int grow(const char *name)
{
	return truncate(bed_path(name), 2 * FILE_BYTES) ? errno : 0;
}

static int change_space(const char *name, int mode)
{
	int fd = open(bed_path(name), O_RDWR);

	return fd < 0 || fallocate(fd, mode, BLOCK, 4 * BLOCK) ? errno : 0;
}

static int punch(const char *name)
{
	return change_space(name, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE);
}

static int zero(const char *name)
{
	return change_space(name, FALLOC_FL_ZERO_RANGE);
}

static int zero_keeping_size(const char *name)
{
	return change_space(name, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE);
}

static int allocate(const char *name)
{
	return change_space(name, 0);
}

static int allocate_keeping_size(const char *name)
{
	return change_space(name, FALLOC_FL_KEEP_SIZE);
}

static int collapse(const char *name)
{
	return change_space(name, FALLOC_FL_COLLAPSE_RANGE);
}

static int insert(const char *name)
{
	return change_space(name, FALLOC_FL_INSERT_RANGE);
}

static int overwrite(const char *name)
{
	int fd = open(bed_path(name), O_WRONLY);

	return fd < 0 || pwrite(fd, bed_mount, 16, BLOCK + 5) != 16 ? errno : 0;
}

static int copy_into(const char *name)
{
	int fd = open(bed_path(name), O_WRONLY), from = open(bed_path("source"), O_RDONLY);
	off_t in = 0, out = BLOCK;

	return fd < 0 || from < 0 || copy_file_range(from, &in, fd, &out, 4 * BLOCK, 0) < 0 ? errno
											    : 0;
}

static int rename_over(const char *name)
{
	char to[4096];

	snprintf(to, sizeof(to), "%s", bed_path(name));
	return rename(bed_path("source"), to) ? errno : 0;
}

static int unlink_it(const char *name)
{
	return unlink(bed_path(name)) ? errno : 0;
}

/* ---- what changes nothing, and what meets nobody --------------------------------------------- */

static void only_what_frees_blocks_meets_a_pin_and_busy_changes_nothing(void **state)
{
	static const struct {
		operation *op;
		int result;
	} tried[] = {
		{shrink_it, EBUSY},
		{open_truncating, EBUSY},
		{punch, EBUSY},
		{collapse, EOPNOTSUPP},
		{insert, EOPNOTSUPP},
		{keep_size, 0},
		{allocate, 0},
		{allocate_keeping_size, 0},
		{overwrite, 0},
		{copy_into, 0},
		{zero, 0},
		{zero_keeping_size, 0},
		{grow, 0},
		{rename_over, 0},
		{unlink_it, 0},
	};
	unsigned char *found = malloc(FILE_BYTES);
	int fd = bed_file("pinned", FILE_BYTES);
	struct stat before, after;
	struct leasefs_grant g;
	struct client c;
	uint64_t held;

	close(bed_file("source", 4 * BLOCK));
	set_file_policy("pinned", "recall:100ms/busy");
	client_open(&c);
	g = client_take(&c, fd, 0, FILE_BYTES);
	held = client_pin(&c, g.lease, 0, FILE_BYTES);
	for (size_t i = 0; i < sizeof(tried) / sizeof(tried[0]); i++) {
		uint64_t began = now_ns();

		assert_int_equal(fstat(fd, &before), 0);
		assert_int_equal(
			operation_end(operation_start(tried[i].op, "pinned", &c)), tried[i].result);
		if (tried[i].result != EBUSY)
			assert_true(now_ns() - began < SLOW_NS);
		else
			assert_true(now_ns() - began >= LADDER_NS);
		if (!tried[i].result)
			continue;
		assert_int_equal(fstat(fd, &after), 0);
		assert_int_equal(after.st_size, before.st_size);
		assert_int_equal(after.st_blocks, before.st_blocks);
		assert_memory_equal(&after.st_mtim, &before.st_mtim, sizeof(after.st_mtim));
		assert_memory_equal(&after.st_ctim, &before.st_ctim, sizeof(after.st_ctim));
		assert_int_equal(pread(fd, found, FILE_BYTES, 0), FILE_BYTES);
		assert_int_equal(differs(found, 0, FILE_BYTES), -1);
	}
	client_unpin(&c, held);
	assert_int_equal(client_give(&c, g.lease), 0);
	close(c.control);
	close(fd);
	free(found);
}

/* ---- the last moment ------------------------------------------------------------------------- */

#define LAST_MOMENTS 60
#define LAST_LADDER_MS 20u /* at first */

/* False: on a busy machine its time was over before the holder looked, who sees no recall then. */
static bool recall_is_seen(struct client *c, pid_t other, struct leasefs_event *e)
{
	struct pollfd p = {.fd = c->control, .events = POLLIN};
	siginfo_t ended = {0};

	for (;;) {
		while (read(c->control, e, sizeof(*e)) == sizeof(*e))
			if (e->kind == LEASEFS_EVENT_RECALL)
				return true;
		assert_int_equal(
			waitid(P_PID, (id_t)other, &ended, WEXITED | WNOHANG | WNOWAIT), 0);
		if (ended.si_pid == other)
			return false;
		(void)poll(&p, 1, 5);
	}
}

static void unpin_at_the_deadline_has_one_outcome(void **state)
{
	unsigned char *found = malloc(FILE_BYTES);
	unsigned busy = 0, ladder_ms = LAST_LADDER_MS;
	char policy[32];
	struct client c;
	bool seen;

	client_open(&c);
	for (int i = 0; i < LAST_MOMENTS; i += seen) {
		int fd = bed_file("moment", FILE_BYTES), result;
		struct leasefs_grant g = client_take(&c, fd, 0, FILE_BYTES);
		uint64_t held = client_pin(&c, g.lease, 0, FILE_BYTES), bytes;
		struct leasefs_event e;
		struct stat st;
		pid_t other;

		snprintf(policy, sizeof(policy), "recall:%ums/busy", ladder_ms);
		set_file_policy("moment", policy);
		other = operation_start(shrink_it, "moment", &c);
		seen = recall_is_seen(&c, other, &e);
		if (!seen) {
			ladder_ms *= 2;
			assert_true(ladder_ms < SLOW_NS / 1000000);
			e.deadline_ns = now_ns();
		}
		/* From half a millisecond before it to as much after it. */
		sleep_until(e.deadline_ns - 500000 + (uint64_t)i * 1000000 / LAST_MOMENTS);
		client_unpin(&c, held);
		(void)client_give(&c, g.lease);
		result = operation_end(other);
		assert_true(result == 0 || result == EBUSY);
		bytes = result ? FILE_BYTES : BLOCK;
		assert_int_equal(fstat(fd, &st), 0);
		assert_int_equal(st.st_size, bytes);
		assert_int_equal(st.st_blocks * 512, bytes);
		assert_int_equal(pread(fd, found, FILE_BYTES, 0), bytes);
		assert_int_equal(differs(found, 0, bytes), -1);
		busy += result == EBUSY;
		client_acknowledge_all(&c);
		(void)client_give(&c, g.lease); /* what is left of it */
		assert_int_equal(mount_status(c.control).leases, 0);
		close(fd);
		assert_int_equal(unlink(bed_path("moment")), 0);
	}
	print_message("busy: %u of %d\n", busy, LAST_MOMENTS);
	close(c.control);
	free(found);
}

/* ---- a holder's death ------------------------------------------------------------------------ */

enum step { CLOSE, UNMAP, UNPIN_SLOT, UNPIN_RANGE, STEPS };

struct victim {
	struct client client;
	uint64_t pin;
	uint32_t slot;
	int fd, region;
	void *memory;
};

/* In the child: all that a holder has. */
static void become_victim(struct victim *v)
{
	struct leasefs_region region = {0};
	struct leasefs_grant g;
	int lines;

	client_open(&v->client);
	v->fd = open(bed_path("victim"), O_RDWR);
	g = client_take(&v->client, v->fd, 0, FILE_BYTES);
	v->slot = g.slot;
	v->pin = client_pin(&v->client, g.lease, BLOCK, BLOCK);
	lines = open(v->client.hello.pin_file, O_RDWR | O_CLOEXEC);
	v->client.lines =
		mmap(NULL, g.pin_file_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, lines, 0);
	check(v->client.lines != MAP_FAILED);
	__atomic_add_fetch(&v->client.lines[v->slot].pins, 1, __ATOMIC_SEQ_CST);
	region.region = g.extents[0].region;
	check(ioctl(v->client.control, LEASEFS_IOC_REGION, &region) == 0);
	v->region = open(region.path, O_RDWR | O_CLOEXEC);
	v->memory = mmap(NULL, region.bytes, PROT_READ | PROT_WRITE, MAP_SHARED, v->region, 0);
	check(v->memory != MAP_FAILED);
	close(v->fd);
	close(v->region);
	v->region = (int)(region.bytes >> 20);
}

static void do_step(struct victim *v, enum step step)
{
	struct leasefs_unpin u = {.pin = v->pin};

	switch (step) {
	case CLOSE:
		close(v->client.control);
		return;
	case UNMAP:
		munmap(v->memory, (size_t)v->region << 20);
		return;
	case UNPIN_SLOT:
		__atomic_sub_fetch(&v->client.lines[v->slot].pins, 1, __ATOMIC_SEQ_CST);
		return;
	default:
		(void)ioctl(v->client.control, LEASEFS_IOC_UNPIN, &u); /* EBADF, if it is closed */
	}
}

/* `order` numbers a permutation of the steps; after `steps` of them it is killed. */
static void live_and_die(unsigned order, unsigned steps, int ready)
{
	enum step left[STEPS] = {CLOSE, UNMAP, UNPIN_SLOT, UNPIN_RANGE};
	struct victim v;

	become_victim(&v);
	check(write(ready, "", 1) == 1);
	(void)client_wait_event(&v.client, LEASEFS_EVENT_RECALL);
	for (unsigned n = STEPS; n > STEPS - steps; n--) {
		do_step(&v, left[order % n]);
		left[order % n] = left[n - 1];
		order /= n;
	}
	kill(getpid(), SIGKILL);
}

static void holder_dies_in_a_recall_whatever_goes_first(void **state)
{
	int control = open(bed_path(LEASEFS_CONTROL_PATH), O_RDWR | O_CLOEXEC);
	struct client none = {.control = control};
	int ready[2];
	char byte;

	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	for (unsigned i = 0; i < 24 * (STEPS + 1); i++) {
		int fd = bed_file("victim", FILE_BYTES), wait_status;
		uint64_t began = now_ns();
		struct stat st;
		pid_t holder, other;

		set_file_policy("victim", "recall:100s/busy");
		holder = fork();
		assert_true(holder >= 0);
		if (!holder) {
			close(control);
			close(fd);
			live_and_die(i % 24, i / 24, ready[1]);
			_exit(1);
		}
		assert_int_equal(read(ready[0], &byte, 1), 1);
		other = operation_start(shrink_it, "victim", &none);
		assert_int_equal(waitpid(holder, &wait_status, 0), holder);
		assert_true(WIFSIGNALED(wait_status) && WTERMSIG(wait_status) == SIGKILL);
		assert_int_equal(operation_end(other), 0);
		assert_true(now_ns() - began < SLOW_NS);
		assert_int_equal(fstat(fd, &st), 0);
		assert_int_equal(st.st_size, BLOCK);
		while (mount_status(control).leases)
			assert_true(now_ns() - began < SLOW_NS);
		close(fd);
	}
	/* What was pinned drains, and is all there again. */
	for (uint64_t began = now_ns(); mount_status(control).quarantine_bytes;) {
		assert_true(now_ns() - began < SLOW_NS);
		sleep_until(now_ns() + 10000000);
	}
	close(ready[0]);
	close(ready[1]);
	close(control);
}

/* ---- a commit that makes the file longer, and a truncate ------------------------------------- */

static int shrink_soon(const char *name)
{
	sleep_until(now_ns() + (uint64_t)(name[strlen(name) - 1] - '0') * 30000);
	return shrink_it(name);
}

/* Only what was written, or nothing: never what another file has left there. Who had the file open
 * before is not asked: while a truncate waits, the kernel keeps to the size that it knew. */
static void check_bytes(const char *name, uint64_t size)
{
	unsigned char *found = malloc(FILE_BYTES);
	int fd = open(bed_path(name), O_RDONLY);

	assert_true(fd >= 0);
	assert_int_equal(pread(fd, found, FILE_BYTES, 0), size);
	for (uint64_t i = 0; i < size; i++)
		assert_true(found[i] == pattern(i) || (found[i] == 0 && i >= BLOCK));
	close(fd);
	free(found);
}

static void commit_and_truncate_leave_one_size_and_no_old_bytes(void **state)
{
	unsigned char junk[BLOCK];
	unsigned longer = 0;
	struct client c;
	int full = open(bed_path("junk"), O_RDWR | O_CREAT, 0600);

	/* Whatever is allocated from now on has held other bytes. */
	memset(junk, 0xee, sizeof(junk));
	while (write(full, junk, sizeof(junk)) == sizeof(junk))
		;
	assert_int_equal(errno, ENOSPC);
	close(full);
	assert_int_equal(unlink(bed_path("junk")), 0);
	client_open(&c);
	for (int i = 0; i < 40; i++) {
		char name[] = "commit.0";
		struct leasefs_commit commit = {.size = FILE_BYTES};
		struct leasefs_grant g;
		struct stat st;
		pid_t other;
		int fd, committed;

		name[sizeof(name) - 2] = (char)('0' + i % 10);
		fd = bed_file(name, 2 * BLOCK);
		set_file_policy(name, "recall:10s/busy");
		g = client_take(&c, fd, 0, FILE_BYTES);
		commit.lease = g.lease;
		other = operation_start(shrink_soon, name, &c);
		committed = ioctl(c.control, LEASEFS_IOC_COMMIT, &commit) ? errno : 0;
		(void)client_wait_event(&c, LEASEFS_EVENT_RECALL);
		assert_int_equal(committed, 0);
		assert_int_equal(fstat(fd, &st), 0);
		assert_int_equal(st.st_size, FILE_BYTES);
		check_bytes(name, FILE_BYTES);
		/* Once more while it is recalled: it is still the holder's. */
		longer += ioctl(c.control, LEASEFS_IOC_COMMIT, &commit) == 0;
		assert_int_equal(client_give(&c, g.lease), 0);
		assert_int_equal(operation_end(other), 0);
		assert_int_equal(ioctl(c.control, LEASEFS_IOC_COMMIT, &commit), -1);
		assert_int_equal(errno, ENOENT);
		assert_int_equal(fstat(fd, &st), 0);
		assert_int_equal(st.st_size, BLOCK);
		assert_int_equal(ftruncate(fd, FILE_BYTES), 0);
		check_bytes(name, FILE_BYTES);
		close(fd);
		assert_int_equal(unlink(bed_path(name)), 0);
	}
	print_message("%u commits under a recall\n", longer);
	close(c.control);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_what_frees_blocks_meets_a_pin_and_busy_changes_nothing),
		cmocka_unit_test(unpin_at_the_deadline_has_one_outcome),
		cmocka_unit_test(holder_dies_in_a_recall_whatever_goes_first),
		cmocka_unit_test(commit_and_truncate_leave_one_size_and_no_old_bytes),
	};
	int failed;

	client_main_process = getpid();
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	bed_start("policy=recall:100s/busy", "64M");
	failed = cmocka_run_group_tests_name("races", tests, NULL, NULL);
	if (!failed)
		bed_stop();
	return failed;
}
