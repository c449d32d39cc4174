// SPDX-License-Identifier: BSD-2-Clause
/* client.c - see client.h. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "bed.h"
#include "client.h"

pid_t client_main_process;

void client_open(struct client *c)
{
	*c = (struct client){
		.hello = {.abi = LEASEFS_ABI,
			.features = LEASEFS_FEATURE_SLOT_PINS | LEASEFS_FEATURE_RANGE_PINS}};
	c->control = open(bed_path(LEASEFS_CONTROL_PATH), O_RDWR | O_NONBLOCK | O_CLOEXEC);
	check(c->control >= 0);
	check(ioctl(c->control, LEASEFS_IOC_HELLO, &c->hello) == 0);
}

struct leasefs_grant client_take(struct client *c, int fd, uint64_t offset, uint64_t length)
{
	struct leasefs_grant g = {.offset = offset, .length = length, .mode = LEASEFS_MODE_WRITE};

	memcpy(g.cookie, c->hello.cookie, sizeof(g.cookie));
	if (ioctl(fd, LEASEFS_IOC_GRANT, &g)) {
		check(errno == EAGAIN);
		g.lease = 0;
	}
	return g;
}

int client_give(struct client *c, uint64_t lease)
{
	struct leasefs_return r = {.lease = lease};

	return ioctl(c->control, LEASEFS_IOC_RETURN, &r) ? errno : 0;
}

uint64_t client_pin(struct client *c, uint64_t lease, uint64_t offset, uint64_t length)
{
	struct leasefs_pin p = {.lease = lease, .offset = offset, .length = length};

	check(ioctl(c->control, LEASEFS_IOC_PIN, &p) == 0);
	return p.pin;
}

void client_unpin(struct client *c, uint64_t pin)
{
	struct leasefs_unpin u = {.pin = pin};

	check(ioctl(c->control, LEASEFS_IOC_UNPIN, &u) == 0);
}

struct leasefs_event client_wait_event(struct client *c, uint32_t kind)
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

void client_acknowledge_all(struct client *c)
{
	struct leasefs_event e;

	while (read(c->control, &e, sizeof(e)) == sizeof(e)) {
		struct leasefs_ack ack = {.lease = e.lease};

		if (e.kind == LEASEFS_EVENT_REVOKED)
			check(ioctl(c->control, LEASEFS_IOC_ACK, &ack) == 0);
	}
}

struct leasefs_status mount_status(int control)
{
	struct leasefs_status s = {0};

	check(ioctl(control, LEASEFS_IOC_STATUS, &s) == 0);
	return s;
}

void set_file_policy(const char *name, const char *policy)
{
	assert_int_equal(
		setxattr(bed_path(name), "user.leasefs.policy", policy, strlen(policy), 0), 0);
}

pid_t operation_start(operation *op, const char *name, const struct client *c)
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (!pid) {
		close(c->control);
		_exit(op(name));
	}
	return pid;
}

int operation_end(pid_t pid)
{
	int wait_status;

	assert_int_equal(waitpid(pid, &wait_status, 0), pid);
	assert_true(WIFEXITED(wait_status));
	return WEXITSTATUS(wait_status);
}

int shrink_it(const char *name)
{
	return truncate(bed_path(name), BLOCK) ? errno : 0;
}

int open_truncating(const char *name)
{
	int fd = open(bed_path(name), O_WRONLY | O_TRUNC);

	return fd < 0 ? errno : 0;
}

void sleep_until(uint64_t at)
{
	struct timespec t = {(time_t)(at / 1000000000), (long)(at % 1000000000)};

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR)
		;
}
