// SPDX-License-Identifier: BSD-2-Clause
/*
 * test_hooks.c - what hardly ever happens, made to happen: the library's read(2) and ioctl(2) go
 * through functions of this program, which the linker finds before the C library's.
 *
 * A reader of events is held when it has read, and has applied nothing yet; or the daemon's limit
 * of leases is reached (a million of a session, which would take long to have).
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "bed.h"

#define BLOCKS 64u

struct reader {
	pthread_t thread;
	struct leasefs_session *session;
	bool hold;      /* between its read and what it does with it */
	sem_t has_read; /* posted once, then */
	sem_t let_go;   /* awaited there */
	pid_t tid;      /* 0: not running yet; atomic, as the next */
	bool ended;
	int events;
	int error;
};

static _Thread_local struct reader *self;
static _Atomic bool limit_is_reached;

static void *next_of(const char *name)
{
	void *function = dlsym(RTLD_NEXT, name);

	if (!function)
		abort();
	return function;
}

ssize_t read(int fd, void *buffer, size_t bytes)
{
	static ssize_t (*next)(int, void *, size_t);
	ssize_t n;

	if (!next)
		next = next_of("read");
	n = next(fd, buffer, bytes);
	if (n > 0 && self && self->hold) {
		self->hold = false;
		sem_post(&self->has_read);
		sem_wait(&self->let_go);
	}
	return n;
}

int ioctl(int fd, unsigned long number, ...)
{
	static int (*next)(int, unsigned long, ...);
	va_list list;
	void *data;

	va_start(list, number);
	data = va_arg(list, void *);
	va_end(list);
	if (number == LEASEFS_IOC_GRANT && limit_is_reached) {
		errno = ENOLCK;
		return -1;
	}
	if (!next)
		next = next_of("ioctl");
	return next(fd, number, data);
}

static void *read_events(void *argument)
{
	struct reader *r = argument;
	struct leasefs_event event;
	struct leasefs_lease *about;

	self = r;
	__atomic_store_n(&r->tid, (pid_t)syscall(SYS_gettid), __ATOMIC_SEQ_CST);
	while ((r->error = leasefs_next_event(r->session, &event, &about)) > 0)
		r->events++;
	self = NULL;
	__atomic_store_n(&r->ended, true, __ATOMIC_SEQ_CST);
	return NULL;
}

static void start_reader(struct reader *r, struct leasefs_session *session, bool hold)
{
	*r = (struct reader){.session = session, .hold = hold};
	assert_int_equal(sem_init(&r->has_read, 0, 0), 0);
	assert_int_equal(sem_init(&r->let_go, 0, 0), 0);
	assert_int_equal(pthread_create(&r->thread, NULL, read_events, r), 0);
}

static void end_reader(struct reader *r)
{
	assert_int_equal(pthread_join(r->thread, NULL), 0);
	assert_int_equal(r->error, 0);
	sem_destroy(&r->has_read);
	sem_destroy(&r->let_go);
}

static void await_read(struct reader *r)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += BED_PATIENCE_MS / 1000;
	assert_int_equal(sem_timedwait(&r->has_read, &until), 0);
}

/* It has come to its end, or waits for another thread: in a futex. */
static bool goes_no_further(void *context)
{
	struct reader *r = context;
	pid_t tid = __atomic_load_n(&r->tid, __ATOMIC_SEQ_CST);
	char path[64];
	long number = -1;
	FILE *file;

	if (__atomic_load_n(&r->ended, __ATOMIC_SEQ_CST))
		return true;
	snprintf(path, sizeof(path), "/proc/self/task/%d/syscall", (int)tid);
	file = tid ? fopen(path, "re") : NULL;
	if (file && fscanf(file, "%ld", &number) != 1)
		number = -1; /* it runs */
	if (file)
		fclose(file);
	return number == SYS_futex;
}

static void take_away(unsigned first, unsigned end)
{
	assert_int_equal(bed_other("punch", bed_path("f"), (uint64_t)first * BLOCK,
				 (uint64_t)(end - first) * BLOCK),
		0);
}

/*
 * The second revocation names what the first one has left of the lease. Whoever reads it first
 * must not act on it before what was sent before it is known.
 */
static void events_are_applied_in_the_order_in_which_they_were_sent(void **state)
{
	int fd = bed_file("f", (uint64_t)BLOCKS * BLOCK);
	struct leasefs_lease_state s;
	struct leasefs_session *session;
	struct leasefs_lease *lease;
	struct reader slow, quick;

	assert_int_equal(leasefs_open_session_at(fd, LEASEFS_SESSION_NO_THREAD, &session), 0);
	assert_int_equal(leasefs_take_lease(session, fd, 0, 0, LEASEFS_TAKE_WRITE, &lease), 0);
	take_away(16, 24);
	start_reader(&slow, session, true);
	await_read(&slow);
	take_away(40, 48);
	start_reader(&quick, session, false);
	wait_until(goes_no_further, &quick, "the other reader");
	sem_post(&slow.let_go);
	end_reader(&slow);
	end_reader(&quick);
	assert_int_equal(leasefs_get_lease(lease, &s), 0);
	assert_int_equal(s.held_bytes, 48 * BLOCK);
	assert_int_equal(s.revoked_bytes, 16 * BLOCK);
	assert_true(slow.events + quick.events >= 2);
	assert_int_equal(leasefs_acknowledge_lease(lease), 0);
	assert_int_equal(leasefs_return_range(lease, 24 * BLOCK, 16 * BLOCK), 0);
	assert_int_equal(leasefs_return_range(lease, 48 * BLOCK, 16 * BLOCK), 0);
	assert_int_equal(leasefs_return_lease(lease), 0);
	assert_int_equal(leasefs_close_session(session), 0);
	close(fd);
}

static void too_many_leases_are_enolck(void **state)
{
	int fd = bed_file("f", 4 * BLOCK);
	struct leasefs_lease *lease = NULL, *managed;
	struct leasefs_session *session;
	struct leasefs_lease_state s;
	void *memory;

	assert_int_equal(leasefs_open_session_at(fd, 0, &session), 0);
	limit_is_reached = true;
	assert_int_equal(
		leasefs_take_lease(session, fd, 0, 0, LEASEFS_TAKE_WRITE, &lease), -ENOLCK);
	assert_int_equal(leasefs_wait_lease(session, fd, 0, 0, LEASEFS_TAKE_WRITE,
				 BED_PATIENCE_MS * 1000000ull, &lease),
		-ENOLCK);
	assert_null(lease);
	/* A managed one is of the file then. */
	assert_int_equal(leasefs_map_managed(
				 session, fd, 0, 4 * BLOCK, LEASEFS_TAKE_READ, &managed, &memory),
		0);
	assert_int_equal(leasefs_get_lease(managed, &s), 0);
	assert_int_equal(s.held_bytes, 0);
	assert_int_equal(s.error, -ENOLCK);
	assert_int_equal(differs(memory, 0, 4 * BLOCK), -1);
	assert_int_equal(leasefs_return_lease(managed), 0);
	limit_is_reached = false;
	assert_int_equal(leasefs_take_lease(session, fd, 0, 0, LEASEFS_TAKE_WRITE, &lease), 0);
	assert_int_equal(leasefs_return_lease(lease), 0);
	assert_int_equal(leasefs_close_session(session), 0);
	close(fd);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(events_are_applied_in_the_order_in_which_they_were_sent),
		cmocka_unit_test(too_many_leases_are_enolck),
	};
	int failed;

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	bed_start("policy=recall:20ms/busy", "64M");
	failed = cmocka_run_group_tests_name("hooks", tests, NULL, NULL);
	if (!failed)
		bed_stop();
	return failed;
}
