// SPDX-License-Identifier: BSD-2-Clause
/* player.c - see player.h. */
#include "player.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

static struct player player;

int player_path(const struct player *p, const char *name, char *out, size_t bytes)
{
	int n = snprintf(out, bytes, "%s/%s", p->mount, name);

	return n < 0 || (size_t)n >= bytes ? ENAMETOOLONG : 0;
}

struct open_file *player_find_file(struct player *p, const char *name)
{
	for (struct open_file *f = p->files; f; f = f->next)
		if (!strcmp(f->name, name))
			return f;
	return NULL;
}

static void send_reply(const struct reply *r)
{
	/* A runner that is gone has no use for it, and this process ends at its next receive. */
	(void)message_send(player.socket, r, sizeof(*r), -1);
}

static void unblock_interrupts(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

static void carry_out(const struct command *c, int descriptor, struct reply *r)
{
	uint64_t began = monotonic_ns();

	if (!leases_command(&player, c, r, descriptor) && !files_command(&player, c, r))
		r->error = ENOSYS;
	r->ended_ns = monotonic_ns();
	r->elapsed_ns = r->ended_ns - began;
	r->ticket = c->ticket;
	r->thread = (uint32_t)gettid();
}

static void *background_main(void *argument)
{
	struct command *c = argument;
	struct reply r = {.ticket = c->ticket, .begun = 1, .thread = (uint32_t)gettid()};

	unblock_interrupts();
	send_reply(&r);
	memset(&r, 0, sizeof(r));
	carry_out(c, -1, &r);
	send_reply(&r);
	free(c);
	return NULL;
}

static int begin_background(const struct command *c)
{
	struct command *copy = malloc(sizeof(*copy));
	pthread_attr_t attributes;
	pthread_t thread;
	int r;

	if (!copy)
		return ENOMEM;
	*copy = *c;
	r = pthread_attr_init(&attributes);
	if (!r) {
		pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
		r = pthread_create(&thread, &attributes, background_main, copy);
		pthread_attr_destroy(&attributes);
	}
	if (r)
		free(copy);
	return r;
}

/* The child goes on serving, on the socket that came with the command. */
static int fork_player(int descriptor, struct reply *r)
{
	pid_t pid;

	signal(SIGCHLD, SIG_IGN); /* it leaves nothing behind that had to be reaped here */
	leases_share(&player);
	pthread_mutex_lock(&player.lock);
	r->extra = player.session != NULL;
	pid = fork();
	if (!pid) {
		close(player.socket);
		player.socket = descriptor;
		prctl(PR_SET_PDEATHSIG, 0);
		leases_after_fork(&player);
	}
	pthread_mutex_unlock(&player.lock);
	if (pid < 0)
		return errno;
	r->id = (uint64_t)pid;
	return 0;
}

static void ignore_signal(int number)
{
	/* SIGINT is there to interrupt a system call, not to end the actor. */
}

static void prepare_signals(void)
{
	struct sigaction action = {.sa_handler = ignore_signal};
	sigset_t set;

	sigaction(SIGINT, &action, NULL);
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
}

void actor_serve(int socket, const char *mount)
{
	pthread_mutex_init(&player.lock, NULL);
	player.socket = socket;
	snprintf(player.mount, sizeof(player.mount), "%s", mount);
	prepare_signals();
	/* Nothing of the runner's may live on here: other actors' sockets would never close. */
	close_range(3, (unsigned)socket - 1, 0);
	close_range((unsigned)socket + 1, ~0u, 0);
	for (;;) {
		struct reply r = {0};
		struct command c;
		int descriptor;

		if (message_receive(player.socket, &c, sizeof(c), &descriptor))
			_exit(0);
		r.ticket = c.ticket;
		if (c.what == VERB_FORK) {
			r.error = fork_player(descriptor, &r);
			if (!r.id && !r.error)
				continue; /* the child: its parent answers */
			close(descriptor);
		} else if (c.what == VERB_EXIT) {
			leases_leave(&player, c.shared);
			send_reply(&r);
			_exit(0);
		} else if (c.background) {
			r.error = begin_background(&c);
			if (!r.error)
				continue;
		} else {
			carry_out(&c, descriptor, &r);
			if (c.what == VERB_PASS) {
				(void)message_send(player.socket, &r, sizeof(r),
					leases_session_descriptor(&player));
				continue;
			}
		}
		send_reply(&r);
	}
}
