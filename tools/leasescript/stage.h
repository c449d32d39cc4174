// SPDX-License-Identifier: BSD-2-Clause
/*
 * stage.h - what the runner knows while a scenario is carried out: the actors, and the names that
 * the script gave to leases, pins and statements in the background.
 *
 * One thread. An actor's replies come in any order; those of the background are put down in their
 * struct background whenever they are met.
 */
#ifndef LEASESCRIPT_STAGE_H
#define LEASESCRIPT_STAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "actor.h"
#include "run.h"
#include "world.h"

/* Nothing that a script waits for takes this long: an actor that does not answer is a failure. */
#define PATIENCE_NS 60000000000ull

/* Actors have names of their own for what they hold; see stage_lease(). */
struct lease_name {
	struct lease_name *next;
	const struct actor *owner;
	char name[SCRIPT_NAME_MAX + 1];
	char file[ACTOR_PATH_MAX];
	uint64_t id, offset, length; /* id 0: it was refused, and may become available */
	uint32_t slot;
	bool write;
};

struct pin_name {
	struct pin_name *next;
	const struct actor *owner;
	char name[SCRIPT_NAME_MAX + 1];
	struct lease_name *lease;
	uint64_t id;
	bool slot;
};

struct background {
	struct background *next;
	char name[SCRIPT_NAME_MAX + 1];
	struct actor *actor;
	uint64_t ticket;
	uint64_t sent_ns;
	uint32_t thread; /* 0: not begun yet */
	bool done, waited_for;
	struct reply reply;
	const struct statement *statement;
};

struct user_name {
	struct user_name *next;
	char name[SCRIPT_NAME_MAX + 1];
	uid_t uid;
};

struct stage {
	const struct run_options *options;
	struct run_report *report;
	struct world world;
	struct actor *actors;
	struct lease_name *leases;
	struct pin_name *pins;
	struct background *backgrounds;
	struct user_name *users;
	unsigned groups;  /* so many have been given numbers */
	unsigned daemons; /* starts of the daemon after the first */
	bool by_hand;     /* the script says `reclaim`: actors do not do it by themselves */
	int came;         /* what a statement that no actor does has come to; a positive errno */
	uint64_t tickets;
	uint64_t began_ns;
};

/* Both note it in the report and return -1, which ends the scenario. */
int stage_fail(struct stage *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
int stage_skip(struct stage *s, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The actor of that name, started at its first use. NULL: stage_fail() was called. */
struct actor *stage_actor(struct stage *s, const char *name);
struct actor *stage_observer(struct stage *s); /* the runner's own, for checks */
/* How long something may take here that a scenario allows `ns` for. */
uint64_t stage_limit(const struct stage *s, uint64_t ns);
/* Makes the pool and mounts it, unless that is done. 0, or -1 after stage_fail(). */
int stage_make_world(struct stage *s);
/* What `a` has given that name to; else one that it shares the session with; else anybody.
 * NULL and stage_fail() if there is none of that name. */
struct lease_name *stage_lease(struct stage *s, const struct actor *a, const char *name);
struct pin_name *stage_pin(struct stage *s, const struct actor *a, const char *name);
struct background *stage_background(struct stage *s, const char *name);

/* Sends and waits for its own reply. 0, or -1 after stage_fail(). */
int stage_ask(struct stage *s, struct actor *a, struct command *c, struct reply *r);
int stage_ask_with(struct stage *s, struct actor *a, struct command *c, int descriptor,
	struct reply *r, int *got);
/* Waits until the background statement has ended, or the time is over: b->done tells. */
int stage_await(struct stage *s, struct background *b, uint64_t until_ns);
/* Both go on with one session from now on. */
void stage_share(struct stage *s, struct actor *a, struct actor *b);
/* It has left its session: one that is left alone with it is told. */
void stage_unshare(struct stage *s, struct actor *a);
bool stage_is_shared(const struct stage *s, const struct actor *a);
/* After a start of the daemon, or a stop of the actor: its session goes on there. */
void stage_revive(struct stage *s, struct actor *a);
/* The actor's process has ended or will not answer: what it did in the background is over. */
void stage_actor_gone(struct stage *s, struct actor *a);
uint64_t stage_count_parked(struct stage *s); /* operations that wait in the daemon */
/* Waits for it to be under way: to have ended, to wait in the daemon as one more than `parked`, or
 * to sleep in its system call. */
int stage_settle(struct stage *s, struct background *b, uint64_t parked);
bool stage_is_busy(const struct stage *s); /* something runs in the background */
void stage_clear(struct stage *s);

#endif
