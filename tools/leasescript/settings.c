// SPDX-License-Identifier: BSD-2-Clause
/* settings.c - statements that set the scene: pools, files, actors' lives, time. */
#include "statements.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define TEXT(n) (st->arguments[n].text)
#define VALUE(n) (st->arguments[n].value)

static void sleep_ns(uint64_t ns)
{
	struct timespec t = {(time_t)(ns / 1000000000), (long)(ns % 1000000000)};

	while (nanosleep(&t, &t) && errno == EINTR)
		;
}

static int set_pool(struct stage *s, const struct statement *st)
{
	struct world *w = &s->world;

	if (w->standing) {
		fprintf(stderr, "line %u: %s is skipped: the mount stands already\n", st->line,
			verb_name(st->verb));
		return 0;
	}
	if (w->made)
		return stage_fail(s, "%s comes after the pool was made", verb_name(st->verb));
	if (st->verb == VERB_MOUNT) {
		if (strlen(st->rest) >= sizeof(w->options))
			return stage_fail(s, "too many mount options");
		strcpy(w->options, st->rest);
		w->mount_line = st->line;
	} else {
		if (strlen(st->rest) >= sizeof(w->mkfs_options))
			return stage_fail(s, "too many mkfs options");
		strcpy(w->mkfs_options, st->rest);
		if (st->count)
			w->pool_bytes = VALUE(0);
		w->pool_line = st->line;
	}
	return 0;
}

static int set_daemon(struct stage *s, const struct statement *st)
{
	struct world *w = &s->world;
	bool fresh = !w->made;
	int r;

	if (w->standing) {
		fprintf(stderr, "line %u: daemon is skipped: the mount stands already\n", st->line);
		return 0;
	}
	if (stage_make_world(s))
		return -1;
	if (!strcmp(TEXT(0), "kill"))
		r = world_kill_daemon(w);
	else if (fresh)
		return 0; /* it has just been started */
	else
		r = world_start_daemon(w);
	if (r)
		return stage_fail(s, "%s", w->why);
	if (strcmp(TEXT(0), "start"))
		return 0;
	s->daemons++;
	/* Like programs with libleasefs. */
	for (struct actor *a = s->actors; a; a = a->next)
		stage_revive(s, a);
	return 0;
}

/* What a statement came to whose result may be an error. 0, or -1 after stage_fail(). */
static int settle_error(struct stage *s, const struct statement *st, int error)
{
	if (st->has_result)
		s->came = error;
	else if (error)
		return stage_fail(s, "%s %s: %s", verb_name(st->verb), TEXT(0), strerror(error));
	return 0;
}

static int make_file(struct stage *s, const struct statement *st)
{
	struct command c = {.what = st->verb};
	struct actor *a = stage_observer(s);
	struct reply r;

	if (!a)
		return -1;
	snprintf(c.file, sizeof(c.file), "%s", TEXT(0));
	if (st->verb != VERB_DIR)
		c.length = VALUE(1);
	if (st->verb == VERB_FILE)
		c.seed = VALUE(3);
	if (stage_ask(s, a, &c, &r))
		return -1;
	return settle_error(s, st, r.error);
}

static int set_user(struct stage *s, const struct statement *st)
{
	struct user_name *u;

	for (const struct actor *a = s->actors; a; a = a->next)
		if (!strcmp(a->name, TEXT(0)) && !a->gone)
			return stage_fail(s, "user comes before the actor's first use");
	u = calloc(1, sizeof(*u));
	if (!u)
		return stage_fail(s, "out of memory");
	snprintf(u->name, sizeof(u->name), "%s", TEXT(0));
	u->uid = (uid_t)VALUE(1);
	u->next = s->users;
	s->users = u;
	return 0;
}

static int set_answer(struct stage *s, const struct statement *st)
{
	struct command c = {.what = VERB_ANSWER};
	struct actor *a = stage_actor(s, TEXT(0));
	struct reply r;

	if (!a)
		return -1;
	c.answer = !strcmp(TEXT(1), "never")  ? ANSWER_NEVER
		   : !strcmp(TEXT(1), "auto") ? ANSWER_AUTO
					      : ANSWER_AFTER;
	if (c.answer == ANSWER_AFTER)
		c.time_ns = VALUE(2);
	if (stage_ask(s, a, &c, &r))
		return -1;
	return settle_error(s, st, r.error);
}

static int fork_actor(struct stage *s, const struct statement *st)
{
	struct actor *parent = stage_actor(s, TEXT(0)), *child;
	bool shared = false;
	int r;

	if (!parent)
		return -1;
	r = actor_fork(parent, TEXT(1), &child, &shared);
	if (r)
		return stage_fail(s, "fork: %s", strerror(-r));
	child->next = s->actors;
	s->actors = child;
	child->daemon = parent->daemon;
	if (shared)
		stage_share(s, parent, child);
	return 0;
}

static int pass_session(struct stage *s, const struct statement *st)
{
	struct command c = {.what = VERB_PASS};
	struct actor *from = stage_actor(s, TEXT(0));
	struct actor *to = from ? stage_actor(s, TEXT(1)) : NULL;
	struct reply r;
	int descriptor, none;

	if (!to || stage_ask_with(s, from, &c, -1, &r, &descriptor))
		return -1;
	if (descriptor < 0)
		return stage_fail(s, "%s has no session to pass on", TEXT(0));
	c.what = COMMAND_TAKE;
	if (stage_ask_with(s, to, &c, descriptor, &r, &none)) {
		close(descriptor);
		return -1;
	}
	close(descriptor);
	if (!r.error) {
		stage_unshare(s, to);
		stage_share(s, from, to);
	}
	return settle_error(s, st, r.error);
}

/* Reaps it; one that a signal cannot end (state D) is a failure, and is left behind. */
static int reap(struct stage *s, struct actor *a)
{
	uint64_t until = monotonic_ns() + PATIENCE_NS / 2;

	for (;;) {
		pid_t got = waitpid(a->pid, NULL, WNOHANG);

		if (got == a->pid || (got < 0 && kill(a->pid, 0)))
			break;
		if (monotonic_ns() > until)
			return stage_fail(
				s, "the process of %s (%d) does not end", a->name, (int)a->pid);
		sleep_ns(500000);
	}
	stage_actor_gone(s, a);
	return 0;
}

static int signal_actor(struct stage *s, const struct statement *st)
{
	struct actor *a = stage_actor(s, TEXT(0));
	struct command c = {.what = VERB_EXIT};
	struct reply r;

	if (!a)
		return -1;
	if (st->verb == VERB_EXIT) {
		c.shared = stage_is_shared(s, a);
		if (stage_ask(s, a, &c, &r))
			return -1;
		return reap(s, a);
	}
	if (kill(a->pid, st->verb == VERB_STOP   ? SIGSTOP
			 : st->verb == VERB_CONT ? SIGCONT
						 : SIGKILL))
		return stage_fail(s, "kill: %s", strerror(errno));
	if (st->verb == VERB_KILL)
		return reap(s, a);
	a->stopped = st->verb == VERB_STOP;
	stage_revive(s, a);
	return 0;
}

/* A signal that comes before the system call has begun is lost: it is sent again for a while. */
#define INTERRUPT_NS 300000000ull
#define INTERRUPT_AGAIN_NS 20000000ull

static int interrupt_background(struct stage *s, const struct statement *st)
{
	struct background *b = stage_background(s, TEXT(0));
	uint64_t until = monotonic_ns() + PATIENCE_NS;

	if (!b)
		return -1;
	/* Its thread is known once it has begun. */
	while (!b->done && !b->thread && monotonic_ns() < until)
		stage_await(s, b, monotonic_ns() + 1000000);
	until = monotonic_ns() + INTERRUPT_NS;
	/* What has ended is nobody's to interrupt any more: `wait` tells how it ended. */
	while (!b->done && monotonic_ns() < until) {
		if (syscall(SYS_tgkill, b->actor->pid, b->thread, SIGINT) && errno != ESRCH)
			return stage_fail(s, "tgkill: %s", strerror(errno));
		if (b->actor->stopped)
			break;
		stage_await(s, b, monotonic_ns() + INTERRUPT_AGAIN_NS);
	}
	return 0;
}

int do_setting(struct stage *s, const struct statement *st)
{
	switch (st->verb) {
	case VERB_POOL:
	case VERB_MOUNT:
		return set_pool(s, st);
	case VERB_DAEMON:
		return set_daemon(s, st);
	case VERB_FILE:
	case VERB_SPARSE:
	case VERB_DIR:
		return make_file(s, st);
	case VERB_USER:
		return set_user(s, st);
	case VERB_ANSWER:
		return set_answer(s, st);
	case VERB_FORK:
		return fork_actor(s, st);
	case VERB_PASS:
		return pass_session(s, st);
	case VERB_STOP:
	case VERB_CONT:
	case VERB_KILL:
	case VERB_EXIT:
		return signal_actor(s, st);
	case VERB_INTERRUPT:
		return interrupt_background(s, st);
	case VERB_SLEEP:
		sleep_ns(VALUE(0));
		return 0;
	default:
		return stage_fail(s, "%s: nobody knows how", verb_name(st->verb));
	}
}
