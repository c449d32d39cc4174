// SPDX-License-Identifier: BSD-2-Clause
/* actor.c - see actor.h. */
#include "actor.h"

#include <assert.h>
#include <errno.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

uint64_t monotonic_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

int message_send(int socket, const void *bytes, size_t count, int descriptor)
{
	struct iovec vector = {.iov_base = (void *)bytes, .iov_len = count};
	struct msghdr header = {.msg_iov = &vector, .msg_iovlen = 1};
	union {
		struct cmsghdr align;
		char room[CMSG_SPACE(sizeof(int))];
	} control;

	if (descriptor >= 0) {
		struct cmsghdr *c;

		memset(&control, 0, sizeof(control));
		header.msg_control = control.room;
		header.msg_controllen = sizeof(control.room);
		c = CMSG_FIRSTHDR(&header);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &descriptor, sizeof(int));
	}
	for (;;) {
		ssize_t n = sendmsg(socket, &header, MSG_NOSIGNAL);

		if (n == (ssize_t)count)
			return 0;
		if (n >= 0)
			return -EIO;
		if (errno != EINTR)
			return -errno;
	}
}

int message_receive(int socket, void *bytes, size_t count, int *descriptor)
{
	struct iovec vector = {.iov_base = bytes, .iov_len = count};
	union {
		struct cmsghdr align;
		char room[CMSG_SPACE(sizeof(int))];
	} control;
	struct msghdr header = {
		.msg_iov = &vector,
		.msg_iovlen = 1,
		.msg_control = control.room,
		.msg_controllen = sizeof(control.room),
	};
	struct cmsghdr *c;
	ssize_t n;

	*descriptor = -1;
	do
		n = recvmsg(socket, &header, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == ECONNRESET ? -EPIPE : -errno;
	if (n == 0)
		return -EPIPE;
	c = CMSG_FIRSTHDR(&header);
	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
		memcpy(descriptor, CMSG_DATA(c), sizeof(int));
	return n == (ssize_t)count ? 0 : -EPROTO;
}

static struct actor *new_actor(const char *name)
{
	struct actor *a = calloc(1, sizeof(*a));

	if (!a)
		return NULL;
	assert(strlen(name) < sizeof(a->name));
	strcpy(a->name, name);
	a->socket = -1;
	return a;
}

static int become_user(uid_t uid)
{
	if (setgroups(0, NULL) || setresgid(uid, uid, uid) || setresuid(uid, uid, uid))
		return -errno;
	/* Still the runner's to see and to end. */
	return prctl(PR_SET_DUMPABLE, 1) ? -errno : 0;
}

int actor_start(const char *name, const char *mount, uid_t uid, struct actor **out)
{
	struct actor *a = new_actor(name);
	int ends[2];

	if (!a)
		return -ENOMEM;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends)) {
		int error = errno;

		free(a);
		return -error;
	}
	a->pid = fork();
	if (a->pid < 0) {
		int error = errno;

		close(ends[0]);
		close(ends[1]);
		free(a);
		return -error;
	}
	if (!a->pid) {
		close(ends[0]);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (uid != (uid_t)-1 && become_user(uid))
			_exit(1);
		actor_serve(ends[1], mount);
	}
	close(ends[1]);
	a->socket = ends[0];
	*out = a;
	return 0;
}

int actor_fork(struct actor *parent, const char *name, struct actor **out, bool *shared)
{
	struct command command = {.what = VERB_FORK};
	struct actor *a = new_actor(name);
	struct reply reply;
	int ends[2], none, r;

	if (!a)
		return -ENOMEM;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends)) {
		r = -errno;
		goto free_actor;
	}
	r = actor_send(parent, &command, ends[1]);
	if (!r)
		r = actor_receive(parent, &reply, &none, monotonic_ns() + 10000000000ull);
	if (!r && reply.error)
		r = -reply.error;
	close(ends[1]);
	if (r) {
		close(ends[0]);
		goto free_actor;
	}
	a->pid = (pid_t)reply.id;
	*shared = reply.extra;
	a->socket = ends[0];
	a->child_of_actor = true;
	*out = a;
	return 0;
free_actor:
	free(a);
	return r;
}

void actor_destroy(struct actor *a)
{
	if (!a->gone)
		kill(a->pid, SIGKILL);
	if (a->socket >= 0)
		close(a->socket);
	/* A child of an actor comes to the runner, its subreaper, when the parent has ended. */
	for (int i = 0; i < 10000; i++) {
		pid_t got = waitpid(a->pid, NULL, WNOHANG);

		if (got == a->pid || (got < 0 && (!a->child_of_actor || kill(a->pid, 0))))
			break;
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	}
	free(a);
}

int actor_send(struct actor *a, const struct command *command, int descriptor)
{
	if (a->gone)
		return -EPIPE;
	return message_send(a->socket, command, sizeof(*command), descriptor);
}

int actor_receive(struct actor *a, struct reply *reply, int *descriptor, uint64_t deadline_ns)
{
	for (;;) {
		struct pollfd p = {.fd = a->socket, .events = POLLIN};
		uint64_t now = monotonic_ns();
		int left = now >= deadline_ns ? 0 : (int)((deadline_ns - now + 999999) / 1000000);
		int n = poll(&p, 1, left);

		if (n > 0)
			return message_receive(a->socket, reply, sizeof(*reply), descriptor);
		if (n == 0)
			return -ETIMEDOUT;
		if (errno != EINTR)
			return -errno;
	}
}
