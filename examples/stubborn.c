// SPDX-License-Identifier: BSD-2-Clause
/*
 * stubborn.c - a holder that ignores recalls, to try policies against.
 *
 *     stubborn [--unbreakable] FILE
 *
 * Leases all of FILE for writing, pins it, and says what it is told; it gives nothing back before
 * its standard input ends, or, in the background of a terminal, before it is killed. Meanwhile:
 *
 *     truncate -s 0 FILE                  # busy, after the recall's two seconds
 *     leasectl policy FILE recall:500ms/orphan
 *     truncate -s 0 FILE                  # done: the blocks wait in the quarantine
 *     leasectl policy FILE recall:500ms/kill:500ms/busy
 *     truncate -s 0 FILE                  # done: there is no stubborn any more
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <leasefs/leasefs.h>

static void check(int result, const char *what)
{
	if (result >= 0)
		return;
	fprintf(stderr, "stubborn: %s: %s\n", what, strerror(-result));
	exit(1);
}

static const char *name_of(uint32_t kind)
{
	switch (kind) {
	case LEASEFS_EVENT_RECALL:
		return "asked to give way: no";
	case LEASEFS_EVENT_RECALL_CANCELLED:
		return "they gave up: the lease is whole";
	case LEASEFS_EVENT_REVOKED:
		return "the lease was taken away; the bytes are still mapped here";
	case LEASEFS_EVENT_DRAIN:
		return "the mount wants everything back: no";
	case LEASEFS_EVENT_DISCONNECTED:
		return "the daemon has gone; the mapping is still here";
	case LEASEFS_EVENT_RECONNECTED:
		return "there is a daemon again, and the lease";
	default:
		return "told something else";
	}
}

static void say_events(struct leasefs_session *session)
{
	struct leasefs_event event;
	struct leasefs_lease *lease;

	while (leasefs_next_event(session, &event, &lease) > 0)
		printf("%s [%llu, %llu)\n", name_of(event.kind), (unsigned long long)event.offset,
			(unsigned long long)(event.offset + event.length));
	fflush(stdout);
}

int main(int argc, char **argv)
{
	int unbreakable = argc == 3 && !strcmp(argv[1], "--unbreakable");
	struct leasefs_session *session;
	struct leasefs_lease *lease;
	struct pollfd wait[2];
	void *memory;
	uint64_t pin;
	ssize_t got;
	char byte;
	int fd;

	if (argc != 2 + unbreakable || argv[argc - 1][0] == '-') {
		fprintf(stderr, "usage: stubborn [--unbreakable] FILE\n");
		return 2;
	}
	fd = open(argv[argc - 1], O_RDWR | O_CLOEXEC);
	check(fd < 0 ? -errno : 0, argv[argc - 1]);
	check(leasefs_open_session_at(fd, 0, &session), "a session");
	check(leasefs_take_lease(session, fd, 0, 0, LEASEFS_TAKE_WRITE, &lease), "a lease");
	check(leasefs_map_lease(lease, 0, &memory), "a mapping");
	check(leasefs_pin_range(lease, 0, 0, unbreakable ? LEASEFS_PIN_UNBREAKABLE : 0, &pin),
		"a pin");
	printf("process %d holds %s, and will not let go\n", getpid(), argv[argc - 1]);
	fflush(stdout);

	/* In the background read(2) then says EIO, instead of stopping us. */
	signal(SIGTTIN, SIG_IGN);
	wait[0] = (struct pollfd){.fd = STDIN_FILENO, .events = POLLIN};
	wait[1] = (struct pollfd){.fd = leasefs_get_event_fd(session), .events = POLLIN};
	for (;;) {
		check(poll(wait, 2, -1) < 0 ? -errno : 0, "poll");
		if (wait[1].revents)
			say_events(session);
		if (!wait[0].revents)
			continue;
		got = read(STDIN_FILENO, &byte, 1);
		if (got < 0 && errno == EIO)
			wait[0].fd = -1;
		else if (got <= 0)
			break;
	}
	check(leasefs_unpin_range(lease, pin), "unpin");
	check(leasefs_close_session(session), "closing the session");
	printf("let go\n");
	return 0;
}
