// SPDX-License-Identifier: BSD-2-Clause
/*
 * test_hooks.c - what hardly ever happens, made to happen: the library's read(2) and ioctl(2) go
 * through functions of this program, which the linker finds before the C library's.
 *
 * A reader of events is held when it has read, and has applied nothing yet; or whoever takes a
 * lease, when the daemon has granted it; or the daemon's limit of leases is reached (a million of a
 * session, which would take long to have); or a managed mapping is held on its way back, before the
 * commit, when its fence is up.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sys/xattr.h>
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

struct taker {
	pthread_t thread;
	struct leasefs_session *session;
	int fd;
	sem_t is_granted; /* posted by the GRANT's answer */
	sem_t let_go;     /* awaited then */
	_Atomic pid_t tid;
	_Atomic bool goes_on; /* behind that */
	struct leasefs_lease *lease;
	int error;
};

static _Thread_local struct reader *self;
static _Thread_local struct taker *taking;
static _Atomic bool limit_is_reached;
static struct {
	_Atomic bool after_grant; /* hold the first COMMIT after the next GRANT */
	_Atomic bool hold;        /* the next */
	sem_t is_there;
	sem_t let_go;
} commit;

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
	if (number == LEASEFS_IOC_GRANT && atomic_exchange(&commit.after_grant, false))
		commit.hold = true;
	if (number == LEASEFS_IOC_COMMIT && atomic_exchange(&commit.hold, false)) {
		sem_post(&commit.is_there);
		sem_wait(&commit.let_go);
	}
	if (!next)
		next = next_of("ioctl");
	if (number == LEASEFS_IOC_GRANT && taking) {
		int result = next(fd, number, data);

		sem_post(&taking->is_granted);
		sem_wait(&taking->let_go);
		taking->goes_on = true;
		return result;
	}
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

static void await(sem_t *sem)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += BED_PATIENCE_MS / 1000;
	assert_int_equal(sem_timedwait(sem, &until), 0);
}

/* The number of the system call that a thread is in; -1: it runs. */
static long call_of(pid_t tid)
{
	char path[64];
	long number = -1;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/self/task/%d/syscall", (int)tid);
	file = tid ? fopen(path, "re") : NULL;
	if (file && fscanf(file, "%ld", &number) != 1)
		number = -1;
	if (file)
		fclose(file);
	return number;
}

/* It has come to its end, or waits for another thread: in a futex. */
static bool goes_no_further(void *context)
{
	struct reader *r = context;

	return __atomic_load_n(&r->ended, __ATOMIC_SEQ_CST) ||
	       call_of(__atomic_load_n(&r->tid, __ATOMIC_SEQ_CST)) == SYS_futex;
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
	await(&slow.has_read);
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

static void *take_lease(void *argument)
{
	struct taker *t = argument;

	taking = t;
	t->tid = (pid_t)syscall(SYS_gettid);
	t->error = leasefs_take_lease(t->session, t->fd, 0, 0, LEASEFS_TAKE_WRITE, &t->lease);
	taking = NULL;
	return NULL;
}

static bool has_news(void *context)
{
	struct pollfd control = {.fd = leasefs_get_event_fd(context), .events = POLLIN};

	return poll(&control, 1, 0) == 1;
}

static bool waits_for_the_reader(void *context)
{
	struct taker *t = context;

	return t->goes_on && call_of(t->tid) == SYS_futex;
}

static unsigned hear_all(struct leasefs_session *session)
{
	struct leasefs_event event;
	struct leasefs_lease *about;
	unsigned count = 0;

	while (leasefs_next_event(session, &event, &about) > 0)
		count++;
	return count;
}

/* A recall of the lease, by somebody who is killed then: it is over. */
static void recall_and_cancel(struct taker *t, void (*between)(struct leasefs_session *session))
{
	pid_t other = bed_other_start("punch", bed_path("f"), 0, BLOCK);
	int status;

	wait_until(has_news, t->session, "the recall");
	between(t->session);
	assert_int_equal(kill(other, SIGKILL), 0);
	assert_int_equal(waitpid(other, &status, 0), other);
	wait_until(has_news, t->session, "its end");
}

/* Of a lease that nobody knows yet, so it waits. */
static void hear_nothing(struct leasefs_session *session)
{
	assert_int_equal(hear_all(session), 0);
}

/*
 * The recall was read before the lease was known, its end afterwards, and both before whoever took
 * the lease had looked at what waits.
 */
static void what_was_read_early_does_not_come_after_what_was_read_later(void **state)
{
	static const char policy[] = "recall:30s/busy";
	int fd = bed_file("f", (uint64_t)BLOCKS * BLOCK);
	struct taker t = {.fd = fd};
	struct reader reader;

	assert_int_equal(fsetxattr(fd, "user.leasefs.policy", policy, strlen(policy), 0), 0);
	assert_int_equal(sem_init(&t.is_granted, 0, 0), 0);
	assert_int_equal(sem_init(&t.let_go, 0, 0), 0);
	assert_int_equal(leasefs_open_session_at(fd, LEASEFS_SESSION_NO_THREAD, &t.session), 0);
	assert_int_equal(pthread_create(&t.thread, NULL, take_lease, &t), 0);
	await(&t.is_granted);
	recall_and_cancel(&t, hear_nothing);
	start_reader(&reader, t.session, true);
	await(&reader.has_read);
	sem_post(&t.let_go);
	wait_until(waits_for_the_reader, &t, "the lease to be known");
	sem_post(&reader.let_go);
	end_reader(&reader);
	assert_int_equal(pthread_join(t.thread, NULL), 0);
	assert_int_equal(t.error, 0);
	assert_int_equal(reader.events + (int)hear_all(t.session), 0);
	assert_int_equal(leasefs_return_lease(t.lease), 0);
	assert_int_equal(leasefs_close_session(t.session), 0);
	sem_destroy(&t.is_granted);
	sem_destroy(&t.let_go);
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

struct leaver {
	pthread_t thread;
	struct leasefs_lease *lease;
	_Atomic pid_t tid;
	_Atomic bool has_left;
	int error;
};

static void *leave(void *argument)
{
	struct leaver *l = argument;

	l->tid = (pid_t)syscall(SYS_gettid);
	l->error = leasefs_leave_mapping(l->lease);
	l->has_left = true;
	return NULL;
}

/* It is through, or between two tries: in a poll(2) of nothing. */
static bool has_tried(void *context)
{
	struct leaver *l = context;
	long number = call_of(l->tid);

#ifdef SYS_poll
	if (number == SYS_poll)
		return true;
#endif
	return l->has_left || number == SYS_ppoll;
}

static bool has_given_way(void *context)
{
	struct leasefs_lease_state s;

	assert_int_equal(leasefs_get_lease(context, &s), 0);
	return s.gave_way > 0;
}

/* Memory that is left while it comes back is a mapping of the file, and not behind the fence. */
static void memory_left_on_its_way_back_is_the_file(void **state)
{
	int fd = bed_file("f", 4 * BLOCK);
	struct leasefs_session *session;
	struct leaver leaver = {0};
	unsigned char *bytes;
	void *memory;

	if (!can_come_back())
		skip();
	assert_int_equal(sem_init(&commit.is_there, 0, 0), 0);
	assert_int_equal(sem_init(&commit.let_go, 0, 0), 0);
	assert_int_equal(leasefs_open_session_at(fd, 0, &session), 0);
	assert_int_equal(leasefs_map_managed(session, fd, 0, 4 * BLOCK, LEASEFS_TAKE_WRITE,
				 &leaver.lease, &memory),
		0);
	commit.after_grant = true;
	assert_int_equal(bed_other("punch", bed_path("f"), BLOCK, BLOCK), 0);
	wait_until(has_given_way, leaver.lease, "the mapping to give way");
	await(&commit.is_there);
	assert_int_equal(pthread_create(&leaver.thread, NULL, leave, &leaver), 0);
	wait_until(has_tried, &leaver, "the other thread to leave");
	assert_false(leaver.has_left);
	sem_post(&commit.let_go);
	assert_int_equal(pthread_join(leaver.thread, NULL), 0);
	assert_int_equal(leaver.error, 0);
	bytes = memory;
	assert_int_equal(differs(bytes, 0, BLOCK), -1);
	assert_int_equal(bytes[BLOCK], 0);
	bytes[3 * BLOCK] = 'm';
	assert_int_equal(bed_other("fill", bed_path("f"), 2 * BLOCK, 'o'), 0);
	assert_int_equal(bytes[2 * BLOCK], 'o');
	assert_int_equal(munmap(memory, 4 * BLOCK), 0);
	assert_int_equal(leasefs_close_session(session), 0);
	sem_destroy(&commit.is_there);
	sem_destroy(&commit.let_go);
	close(fd);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(events_are_applied_in_the_order_in_which_they_were_sent),
		cmocka_unit_test(what_was_read_early_does_not_come_after_what_was_read_later),
		cmocka_unit_test(too_many_leases_are_enolck),
		cmocka_unit_test(memory_left_on_its_way_back_is_the_file),
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
