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
#include <pthread.h>
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
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include <leasefs/control.h>

#include "bed.h"

#define FILE_BYTES (64 * BLOCK)
#define LADDER_NS 100000000ull /* of a policy that is to end in EBUSY */
#define STORM_NS 1500000000ull /* each of them is so long */
#define SLOW_NS 20000000000ull /* whatever is to be done within a ladder is, on a slow machine */

struct client {
	int control;
	struct leasefs_hello hello;
	struct leasefs_pin_line *lines;
};

static pid_t main_process;

/* For what children do, too: an assertion there would go on with the tests. */
#define check(what)                                                                                \
	do {                                                                                       \
		if (what)                                                                          \
			break;                                                                     \
		if (getpid() != main_process)                                                      \
			_exit(100);                                                                \
		fail_msg("%s", #what);                                                             \
	} while (0)

static void open_client(struct client *c)
{
	*c = (struct client){
		.hello = {.abi = LEASEFS_ABI,
			.features = LEASEFS_FEATURE_SLOT_PINS | LEASEFS_FEATURE_RANGE_PINS}};
	c->control = open(bed_path(LEASEFS_CONTROL_PATH), O_RDWR | O_NONBLOCK | O_CLOEXEC);
	check(c->control >= 0);
	check(ioctl(c->control, LEASEFS_IOC_HELLO, &c->hello) == 0);
}

static struct leasefs_grant take(struct client *c, int fd, uint64_t offset, uint64_t length)
{
	struct leasefs_grant g = {.offset = offset, .length = length, .mode = LEASEFS_MODE_WRITE};

	memcpy(g.cookie, c->hello.cookie, sizeof(g.cookie));
	if (ioctl(fd, LEASEFS_IOC_GRANT, &g)) {
		check(errno == EAGAIN);
		g.lease = 0;
	}
	return g;
}

static int give(struct client *c, uint64_t lease)
{
	struct leasefs_return r = {.lease = lease};

	return ioctl(c->control, LEASEFS_IOC_RETURN, &r) ? errno : 0;
}

static uint64_t pin(struct client *c, uint64_t lease, uint64_t offset, uint64_t length)
{
	struct leasefs_pin p = {.lease = lease, .offset = offset, .length = length};

	check(ioctl(c->control, LEASEFS_IOC_PIN, &p) == 0);
	return p.pin;
}

static void unpin(struct client *c, uint64_t pin)
{
	struct leasefs_unpin u = {.pin = pin};

	check(ioctl(c->control, LEASEFS_IOC_UNPIN, &u) == 0);
}

/* The next event of that kind; others before it are dropped. */
static struct leasefs_event wait_event(struct client *c, uint32_t kind)
{
	struct pollfd p = {.fd = c->control, .events = POLLIN};
	struct leasefs_event e;

	for (;;) {
		while (read(c->control, &e, sizeof(e)) == sizeof(e))
			if (e.kind == kind)
				return e;
		check(poll(&p, 1, BED_PATIENCE_MS) == 1);
	}
}

/* What was revoked has no mapping here. */
static void acknowledge_all(struct client *c)
{
	struct leasefs_event e;

	while (read(c->control, &e, sizeof(e)) == sizeof(e)) {
		struct leasefs_ack ack = {.lease = e.lease};

		if (e.kind == LEASEFS_EVENT_REVOKED)
			check(ioctl(c->control, LEASEFS_IOC_ACK, &ack) == 0);
	}
}

static struct leasefs_status status(int control)
{
	struct leasefs_status s = {0};

	check(ioctl(control, LEASEFS_IOC_STATUS, &s) == 0);
	return s;
}

static void set_policy(const char *name, const char *policy)
{
	assert_int_equal(
		setxattr(bed_path(name), "user.leasefs.policy", policy, strlen(policy), 0), 0);
}

/* ---- operations of others -------------------------------------------------------------------- */

typedef int operation(const char *name);

/* As another process, which has nothing of the holder's; 0 or the errno. */
static pid_t start(operation *op, const char *name, const struct client *c)
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (!pid) {
		close(c->control);
		_exit(op(name));
	}
	return pid;
}

static int end(pid_t pid)
{
	int wait_status;

	assert_int_equal(waitpid(pid, &wait_status, 0), pid);
	assert_true(WIFEXITED(wait_status));
	return WEXITSTATUS(wait_status);
}

static int shrink(const char *name)
{
	return truncate(bed_path(name), BLOCK) ? errno : 0;
}

static int open_truncating(const char *name)
{
	int fd = open(bed_path(name), O_WRONLY | O_TRUNC);

	return fd < 0 ? errno : 0;
}

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
		{shrink, EBUSY},
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
	set_policy("pinned", "recall:100ms/busy");
	open_client(&c);
	g = take(&c, fd, 0, FILE_BYTES);
	held = pin(&c, g.lease, 0, FILE_BYTES);
	for (size_t i = 0; i < sizeof(tried) / sizeof(tried[0]); i++) {
		uint64_t began = now_ns();

		assert_int_equal(fstat(fd, &before), 0);
		assert_int_equal(end(start(tried[i].op, "pinned", &c)), tried[i].result);
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
	unpin(&c, held);
	assert_int_equal(give(&c, g.lease), 0);
	close(c.control);
	close(fd);
	free(found);
}

/* ---- the last moment ------------------------------------------------------------------------- */

#define LAST_MOMENTS 60

static void sleep_until(uint64_t at)
{
	struct timespec t = {(time_t)(at / 1000000000), (long)(at % 1000000000)};

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR)
		;
}

static void unpin_at_the_deadline_has_one_outcome(void **state)
{
	unsigned char *found = malloc(FILE_BYTES);
	unsigned busy = 0;
	struct client c;

	open_client(&c);
	for (int i = 0; i < LAST_MOMENTS; i++) {
		int fd = bed_file("moment", FILE_BYTES), result;
		struct leasefs_grant g = take(&c, fd, 0, FILE_BYTES);
		uint64_t held = pin(&c, g.lease, 0, FILE_BYTES), bytes;
		struct leasefs_event e;
		struct stat st;
		pid_t other;

		set_policy("moment", "recall:20ms/busy");
		other = start(shrink, "moment", &c);
		e = wait_event(&c, LEASEFS_EVENT_RECALL);
		/* From half a millisecond before it to as much after it. */
		sleep_until(e.deadline_ns - 500000 + (uint64_t)i * 1000000 / LAST_MOMENTS);
		unpin(&c, held);
		(void)give(&c, g.lease);
		result = end(other);
		assert_true(result == 0 || result == EBUSY);
		bytes = result ? FILE_BYTES : BLOCK;
		assert_int_equal(fstat(fd, &st), 0);
		assert_int_equal(st.st_size, bytes);
		assert_int_equal(st.st_blocks * 512, bytes);
		assert_int_equal(pread(fd, found, FILE_BYTES, 0), bytes);
		assert_int_equal(differs(found, 0, bytes), -1);
		busy += result == EBUSY;
		acknowledge_all(&c);
		(void)give(&c, g.lease); /* what is left of it */
		assert_int_equal(status(c.control).leases, 0);
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

	open_client(&v->client);
	v->fd = open(bed_path("victim"), O_RDWR);
	g = take(&v->client, v->fd, 0, FILE_BYTES);
	v->slot = g.slot;
	v->pin = pin(&v->client, g.lease, BLOCK, BLOCK);
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
	(void)wait_event(&v.client, LEASEFS_EVENT_RECALL);
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

		set_policy("victim", "recall:100s/busy");
		holder = fork();
		assert_true(holder >= 0);
		if (!holder) {
			close(control);
			close(fd);
			live_and_die(i % 24, i / 24, ready[1]);
			_exit(1);
		}
		assert_int_equal(read(ready[0], &byte, 1), 1);
		other = start(shrink, "victim", &none);
		assert_int_equal(waitpid(holder, &wait_status, 0), holder);
		assert_true(WIFSIGNALED(wait_status) && WTERMSIG(wait_status) == SIGKILL);
		assert_int_equal(end(other), 0);
		assert_true(now_ns() - began < SLOW_NS);
		assert_int_equal(fstat(fd, &st), 0);
		assert_int_equal(st.st_size, BLOCK);
		while (status(control).leases)
			assert_true(now_ns() - began < SLOW_NS);
		close(fd);
	}
	/* What was pinned drains, and is all there again. */
	for (uint64_t began = now_ns(); status(control).quarantine_bytes;) {
		assert_true(now_ns() - began < SLOW_NS);
		sleep_until(now_ns() + 10000000);
	}
	close(ready[0]);
	close(ready[1]);
	close(control);
}

/* ---- storms ---------------------------------------------------------------------------------- */

#define PIN_NS 200000     /* two threads that pin for so long leave no moment without a pin */
#define QUIET_NS 50000000 /* ... unless they heed the recall */

struct storm {
	struct client *client;
	_Atomic uint64_t lease;
	_Atomic(struct leasefs_pin_line *) line; /* NULL: no lease now */
	atomic_ulong pins;
	atomic_bool over;
	atomic_uint inside;
};

static void unpin_line(struct storm *s, struct leasefs_pin_line *line)
{
	struct leasefs_unpinned u = {.lease = atomic_load(&s->lease)};

	if (!__atomic_sub_fetch(&line->pins, 1, __ATOMIC_SEQ_CST) &&
		__atomic_load_n(&line->recall, __ATOMIC_SEQ_CST))
		(void)ioctl(s->client->control, LEASEFS_IOC_UNPINNED, &u);
}

/* One pin, if the line is there and not recalled. It is not given up while somebody is at it. */
static bool pin_once(struct storm *s)
{
	struct leasefs_pin_line *line;
	bool pinned = false;

	atomic_fetch_add(&s->inside, 1);
	line = atomic_load(&s->line);
	if (line && !__atomic_load_n(&line->recall, __ATOMIC_SEQ_CST)) {
		__atomic_add_fetch(&line->pins, 1, __ATOMIC_SEQ_CST);
		pinned = !__atomic_load_n(&line->recall, __ATOMIC_SEQ_CST);
		if (pinned)
			sleep_until(now_ns() + PIN_NS);
		unpin_line(s, line);
	}
	atomic_fetch_sub(&s->inside, 1);
	return pinned;
}

static void *pin_and_unpin(void *argument)
{
	struct storm *s = argument;

	while (!atomic_load(&s->over)) {
		if (pin_once(s))
			atomic_fetch_add(&s->pins, 1);
		else
			sleep_until(now_ns() + PIN_NS);
	}
	return NULL;
}

/* The pins end although their threads go on: the recall's word keeps them from new ones. */
static void wait_for_quiet(const struct leasefs_pin_line *line)
{
	uint64_t began = now_ns(), since = began;

	while (now_ns() - since < QUIET_NS) {
		if (__atomic_load_n(&line->pins, __ATOMIC_SEQ_CST))
			since = now_ns();
		assert_true(now_ns() - began < SLOW_NS);
	}
}

/* In memory that both sides share: how often each got through. */
struct score {
	atomic_ulong done, busy;
	atomic_bool over;
	uint64_t pause_ns; /* between two changes */
};

static void change_again_and_again(struct score *score, const char *name)
{
	while (!atomic_load(&score->over)) {
		uint64_t began;
		int result;

		sleep_until(now_ns() + score->pause_ns);
		began = now_ns();
		result = shrink(name);
		if (result && result != EBUSY)
			_exit(result);
		if (now_ns() - began > SLOW_NS)
			_exit(ETIME);
		atomic_fetch_add(result ? &score->busy : &score->done, 1);
		if (!result && truncate(bed_path(name), FILE_BYTES))
			_exit(errno);
	}
	_exit(0);
}

static struct score *start_changer(
	const char *name, const struct client *c, uint64_t pause_ns, pid_t *pid)
{
	struct score *score = mmap(
		NULL, sizeof(*score), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	assert_true(score != MAP_FAILED);
	score->pause_ns = pause_ns;
	*pid = fork();
	assert_true(*pid >= 0);
	if (!*pid) {
		close(c->control);
		change_again_and_again(score, name);
	}
	return score;
}

/* A holder that answers, and takes the lease again as soon as it may. */
static unsigned hold_again_and_again(struct client *c, int fd, struct storm *s, unsigned wanted)
{
	uint64_t began = now_ns();
	unsigned grants = 0;

	while (now_ns() - began < STORM_NS || grants < wanted) {
		struct leasefs_grant g = take(c, fd, 0, FILE_BYTES);

		assert_true(now_ns() - began < SLOW_NS);
		if (!g.lease) {
			(void)wait_event(c, LEASEFS_EVENT_AVAILABLE);
			continue;
		}
		grants++;
		if (s) {
			atomic_store(&s->lease, g.lease);
			atomic_store(&s->line, &c->lines[g.slot]);
		}
		(void)wait_event(c, LEASEFS_EVENT_RECALL);
		if (s) {
			wait_for_quiet(&c->lines[g.slot]);
			atomic_store(&s->line, NULL);
			while (atomic_load(&s->inside))
				;
		}
		assert_int_equal(give(c, g.lease), 0);
	}
	return grants;
}

static void map_lines(struct client *c)
{
	int fd = open(c->hello.pin_file, O_RDWR | O_CLOEXEC);

	c->lines = mmap(NULL, c->hello.pin_file_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_true(c->lines != MAP_FAILED);
	close(fd);
}

static void pin_storm_and_truncater_both_get_through(void **state)
{
	int fd = bed_file("storm", FILE_BYTES);
	static struct storm storm; /* also when a failure leaves the threads behind */
	static struct client c;
	struct score *score;
	pthread_t threads[2];
	unsigned grants;
	pid_t changer;

	set_policy("storm", "recall:10s/busy");
	open_client(&c);
	map_lines(&c);
	storm.client = &c;
	for (int i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, pin_and_unpin, &storm), 0);
	score = start_changer("storm", &c, 20 * PIN_NS, &changer);
	grants = hold_again_and_again(&c, fd, &storm, 10);
	atomic_store(&storm.over, true);
	atomic_store(&score->over, true);
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(end(changer), 0);
	print_message("%u grants, %lu pins, %lu truncates, %lu busy\n", grants,
		atomic_load(&storm.pins), atomic_load(&score->done), atomic_load(&score->busy));
	assert_true(atomic_load(&storm.pins) > grants);
	assert_true(atomic_load(&score->done) >= grants - 1);
	assert_int_equal(atomic_load(&score->busy), 0);
	close(c.control);
	close(fd);
}

static void truncate_storm_and_grantee_both_get_through(void **state)
{
	int fd = bed_file("grantee", FILE_BYTES);
	struct score *scores[3];
	pid_t changers[3];
	struct client c;
	unsigned grants;

	set_policy("grantee", "recall:10s/busy");
	open_client(&c);
	for (int i = 0; i < 3; i++)
		scores[i] = start_changer("grantee", &c, 0, &changers[i]);
	grants = hold_again_and_again(&c, fd, NULL, 10);
	for (int i = 0; i < 3; i++)
		atomic_store(&scores[i]->over, true);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(end(changers[i]), 0);
		assert_true(atomic_load(&scores[i]->done) > 0);
		assert_int_equal(atomic_load(&scores[i]->busy), 0);
	}
	print_message("%u grants\n", grants);
	close(c.control);
	close(fd);
}

/* ---- a commit that makes the file longer, and a truncate ------------------------------------- */

static int shrink_soon(const char *name)
{
	sleep_until(now_ns() + (uint64_t)(name[strlen(name) - 1] - '0') * 30000);
	return shrink(name);
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
	open_client(&c);
	for (int i = 0; i < 40; i++) {
		char name[] = "commit.0";
		struct leasefs_commit commit = {.size = FILE_BYTES};
		struct leasefs_grant g;
		struct stat st;
		pid_t other;
		int fd, committed;

		name[sizeof(name) - 2] = (char)('0' + i % 10);
		fd = bed_file(name, 2 * BLOCK);
		set_policy(name, "recall:10s/busy");
		g = take(&c, fd, 0, FILE_BYTES);
		commit.lease = g.lease;
		other = start(shrink_soon, name, &c);
		committed = ioctl(c.control, LEASEFS_IOC_COMMIT, &commit) ? errno : 0;
		(void)wait_event(&c, LEASEFS_EVENT_RECALL);
		assert_int_equal(committed, 0);
		assert_int_equal(fstat(fd, &st), 0);
		assert_int_equal(st.st_size, FILE_BYTES);
		check_bytes(name, FILE_BYTES);
		/* Once more while it is recalled: it is still the holder's. */
		longer += ioctl(c.control, LEASEFS_IOC_COMMIT, &commit) == 0;
		assert_int_equal(give(&c, g.lease), 0);
		assert_int_equal(end(other), 0);
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

/* ---- everything at once; the mount drains then, so this is the last -------------------------- */

#define MANY 3000u

static int drain_it(const char *name)
{
	struct leasefs_drain d = {0};
	int control = open(bed_path(LEASEFS_CONTROL_PATH), O_RDWR);

	return control < 0 || ioctl(control, LEASEFS_IOC_DRAIN, &d) ? errno : 0;
}

static pid_t start_dead_holder(int fd, const struct client *c)
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (!pid) {
		struct client own;

		close(c->control);
		open_client(&own);
		pin(&own, take(&own, fd, 0, MANY * BLOCK).lease, 0, BLOCK);
		pause();
	}
	return pid;
}

static void wait_for_parked(int control, uint64_t count)
{
	for (uint64_t began = now_ns(); status(control).parked < count;) {
		assert_true(now_ns() - began < SLOW_NS);
		sleep_until(now_ns() + 1000000);
	}
}

static void stalled_reader_with_thousands_of_recalls_hears_of_each_once(void **state)
{
	static uint8_t told[MANY];
	static uint64_t leases[MANY];
	int fd = bed_file("many", MANY * BLOCK), wait_status;
	unsigned recalls = 0, drains = 0;
	struct leasefs_event events[32];
	pid_t dead, changer, drainer;
	uint64_t free_before;
	struct client c;
	ssize_t n;

	open_client(&c);
	free_before = status(c.control).free_bytes;
	for (unsigned i = 0; i < MANY; i++)
		leases[i] = take(&c, fd, (uint64_t)i * BLOCK, BLOCK).lease;
	dead = start_dead_holder(fd, &c);
	while (status(c.control).range_pins == 0)
		sleep_until(now_ns() + 1000000);
	changer = start(open_truncating, "many", &c);
	wait_for_parked(c.control, 1);
	kill(dead, SIGKILL);
	assert_int_equal(waitpid(dead, &wait_status, 0), dead);
	drainer = start(drain_it, "many", &c);
	wait_for_parked(c.control, 2);
	/* Only now does it read. */
	while ((n = read(c.control, events, sizeof(events))) > 0) {
		for (size_t i = 0; i < (size_t)n / sizeof(events[0]); i++) {
			const struct leasefs_event *e = &events[i];

			drains += e->kind == LEASEFS_EVENT_DRAIN;
			if (e->kind != LEASEFS_EVENT_RECALL)
				continue;
			assert_true(e->offset % BLOCK == 0 && e->offset < MANY * BLOCK);
			assert_int_equal(e->lease, leases[e->offset / BLOCK]);
			assert_int_equal(told[e->offset / BLOCK]++, 0);
			recalls++;
		}
	}
	assert_int_equal(recalls, MANY);
	assert_int_equal(drains, 1);
	for (unsigned i = 0; i < MANY; i++)
		assert_int_equal(give(&c, leases[i]), 0);
	assert_int_equal(end(changer), 0);
	assert_int_equal(end(drainer), 0);
	assert_int_equal(status(c.control).leases, 0);
	for (uint64_t began = now_ns(); status(c.control).quarantine_bytes;)
		assert_true(now_ns() - began < SLOW_NS);
	assert_int_equal(status(c.control).free_bytes, free_before + MANY * BLOCK);
	close(c.control);
	close(fd);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_what_frees_blocks_meets_a_pin_and_busy_changes_nothing),
		cmocka_unit_test(unpin_at_the_deadline_has_one_outcome),
		cmocka_unit_test(holder_dies_in_a_recall_whatever_goes_first),
		cmocka_unit_test(pin_storm_and_truncater_both_get_through),
		cmocka_unit_test(truncate_storm_and_grantee_both_get_through),
		cmocka_unit_test(commit_and_truncate_leave_one_size_and_no_old_bytes),
		cmocka_unit_test(stalled_reader_with_thousands_of_recalls_hears_of_each_once),
	};
	int failed;

	main_process = getpid();
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	bed_start("policy=recall:100s/busy", "64M");
	failed = cmocka_run_group_tests_name("races", tests, NULL, NULL);
	if (!failed)
		bed_stop();
	return failed;
}
