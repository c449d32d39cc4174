/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * client.h - a holder without the library, by the calls of control.h, and others in its way.
 *
 * What fails, fails the test; in a child of the test it ends the child with status 100. Not for
 * threads, but for what is said.
 */
#ifndef TEST_CLIENT_H
#define TEST_CLIENT_H

#include <stdint.h>
#include <sys/types.h>

#include <leasefs/control.h>

struct client {
	int control;
	struct leasefs_hello hello;
	struct leasefs_pin_line *lines;
};

extern pid_t client_main_process; /* to be set by main() */

/* For what children do, too: an assertion there would go on with the tests. */
#define check(what)                                                                                \
	do {                                                                                       \
		if (what)                                                                          \
			break;                                                                     \
		if (getpid() != client_main_process)                                               \
			_exit(100);                                                                \
		fail_msg("%s", #what);                                                             \
	} while (0)

void client_open(struct client *c);
/* A write lease; its number is 0 if something is in the way. */
struct leasefs_grant client_take(struct client *c, int fd, uint64_t offset, uint64_t length);
int client_give(struct client *c, uint64_t lease); /* 0 or the errno */
uint64_t client_pin(struct client *c, uint64_t lease, uint64_t offset, uint64_t length);
void client_unpin(struct client *c, uint64_t pin);
/* The next event of that kind; others before it are dropped. */
struct leasefs_event client_wait_event(struct client *c, uint32_t kind);
/* What was revoked has no mapping here. */
void client_acknowledge_all(struct client *c);
struct leasefs_status mount_status(int control);
void set_file_policy(const char *name, const char *policy);

/* On a file of the bed; 0 or the errno. */
typedef int operation(const char *name);
/* As another process, which has nothing of the holder's; its result. */
pid_t operation_start(operation *op, const char *name, const struct client *c);
int operation_end(pid_t pid);
int shrink_it(const char *name); /* to a block */
int open_truncating(const char *name);

void sleep_until(uint64_t at); /* CLOCK_MONOTONIC, ns. Any thread's */

#endif
