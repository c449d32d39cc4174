// SPDX-License-Identifier: BSD-2-Clause
/*
 * test_storms.c - holders and truncaters that do not let up, by the calls of control.h: both get
 * through. The holder is this process; whoever is in its way is a child.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "bed.h"
#include "client.h"

#define FILE_BYTES (64 * BLOCK)
#define STORM_NS 1500000000ull /* each of them is so long */
#define SLOW_NS 20000000000ull /* whatever is to be done within a ladder is, on a slow machine */

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
		result = shrink_it(name);
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
		struct leasefs_grant g = client_take(c, fd, 0, FILE_BYTES);

		assert_true(now_ns() - began < SLOW_NS);
		if (!g.lease) {
			(void)client_wait_event(c, LEASEFS_EVENT_AVAILABLE);
			continue;
		}
		grants++;
		if (s) {
			atomic_store(&s->lease, g.lease);
			atomic_store(&s->line, &c->lines[g.slot]);
		}
		(void)client_wait_event(c, LEASEFS_EVENT_RECALL);
		if (s) {
			wait_for_quiet(&c->lines[g.slot]);
			atomic_store(&s->line, NULL);
			while (atomic_load(&s->inside))
				;
		}
		assert_int_equal(client_give(c, g.lease), 0);
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

	set_file_policy("storm", "recall:10s/busy");
	client_open(&c);
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
	assert_int_equal(operation_end(changer), 0);
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

	set_file_policy("grantee", "recall:10s/busy");
	client_open(&c);
	for (int i = 0; i < 3; i++)
		scores[i] = start_changer("grantee", &c, 0, &changers[i]);
	grants = hold_again_and_again(&c, fd, NULL, 10);
	for (int i = 0; i < 3; i++)
		atomic_store(&scores[i]->over, true);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(operation_end(changers[i]), 0);
		assert_true(atomic_load(&scores[i]->done) > 0);
		assert_int_equal(atomic_load(&scores[i]->busy), 0);
	}
	print_message("%u grants\n", grants);
	close(c.control);
	close(fd);
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
		client_open(&own);
		client_pin(&own, client_take(&own, fd, 0, MANY * BLOCK).lease, 0, BLOCK);
		pause();
	}
	return pid;
}

static void wait_for_parked(int control, uint64_t count)
{
	for (uint64_t began = now_ns(); mount_status(control).parked < count;) {
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

	client_open(&c);
	free_before = mount_status(c.control).free_bytes;
	for (unsigned i = 0; i < MANY; i++)
		leases[i] = client_take(&c, fd, (uint64_t)i * BLOCK, BLOCK).lease;
	dead = start_dead_holder(fd, &c);
	while (mount_status(c.control).range_pins == 0)
		sleep_until(now_ns() + 1000000);
	changer = operation_start(open_truncating, "many", &c);
	wait_for_parked(c.control, 1);
	kill(dead, SIGKILL);
	assert_int_equal(waitpid(dead, &wait_status, 0), dead);
	drainer = operation_start(drain_it, "many", &c);
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
		assert_int_equal(client_give(&c, leases[i]), 0);
	assert_int_equal(operation_end(changer), 0);
	assert_int_equal(operation_end(drainer), 0);
	assert_int_equal(mount_status(c.control).leases, 0);
	for (uint64_t began = now_ns(); mount_status(c.control).quarantine_bytes;)
		assert_true(now_ns() - began < SLOW_NS);
	assert_int_equal(mount_status(c.control).free_bytes, free_before + MANY * BLOCK);
	close(c.control);
	close(fd);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pin_storm_and_truncater_both_get_through),
		cmocka_unit_test(truncate_storm_and_grantee_both_get_through),
		cmocka_unit_test(stalled_reader_with_thousands_of_recalls_hears_of_each_once),
	};
	int failed;

	client_main_process = getpid();
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	bed_start("policy=recall:100s/busy", "64M");
	failed = cmocka_run_group_tests_name("storms", tests, NULL, NULL);
	if (!failed)
		bed_stop();
	return failed;
}
