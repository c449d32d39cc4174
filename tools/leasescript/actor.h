// SPDX-License-Identifier: BSD-2-Clause
/*
 * actor.h - the runner's side of an actor, and the messages between the two.
 *
 * An actor is a process of its own, at the other end of a SOCK_SEQPACKET pair. A command is carried
 * out on the actor's main thread, or, for `start`, on a thread of its own; each is answered once,
 * by its ticket. The runner knows leases and pins by name and sends what an actor needs to act on
 * one, so that a session that was forked or passed on can be used by its new process at once.
 */
#ifndef LEASESCRIPT_ACTOR_H
#define LEASESCRIPT_ACTOR_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "script.h"

#define ACTOR_PATH_MAX 256 /* file names are relative to the mount */

/* Beyond the verbs: what the runner asks of an actor by itself. */
#define COMMAND_READ_DATA (VERB_COUNT + 0)     /* ordinary read and compare */
#define COMMAND_STAT (VERB_COUNT + 1)          /* id: size, extra: bytes allocated */
#define COMMAND_TAKE (VERB_COUNT + 2)          /* pass: the session's descriptor comes with it */
#define COMMAND_FIND_CONFLICT (VERB_COUNT + 3) /* id: the process that the last conflict names */
#define COMMAND_STATUS                                                                             \
	(VERB_COUNT + 4) /* id, extra: leases, pins; third: quarantine; fourth: parked */
#define COMMAND_REVIVE (VERB_COUNT + 5) /* go on with a new daemon; id: 1 if there is a session */
#define COMMAND_RENEW (VERB_COUNT + 6)  /* the same, on the descriptor that comes with it */
#define COMMAND_READ (VERB_COUNT + 7)   /* nobody shares the session any more */

struct command {
	uint64_t ticket;
	uint32_t what; /* enum verb, or COMMAND_* */
	uint32_t background;
	uint32_t flag_write; /* open rw; lease write */
	uint32_t flag_exclusive;
	uint32_t flag_unbreakable;
	uint32_t flag_zero;  /* load, data: compare with zeroes */
	uint32_t flag_range; /* pin, return: a range was given */
	uint32_t answer;     /* ANSWER_* */
	uint32_t event;      /* EVENT_* to expect; 0: nothing */
	uint32_t slot_pin;   /* unpin: it was one of the whole lease */
	uint32_t patient;    /* expect: something that runs may still cause the event */
	uint32_t queued;     /* expect: only what has been read already, and no waiting */
	uint32_t shared;     /* exit: others go on with the session */
	uint64_t lease;      /* id (0: was refused), and what was granted or asked for: */
	uint64_t lease_offset, lease_length;
	uint32_t slot, pad;
	uint64_t pin;
	uint64_t offset, length; /* length: size, mode, uid as the verb has it */
	uint64_t seed;
	uint64_t time_ns;
	char file[ACTOR_PATH_MAX];  /* of the lease, too */
	char other[ACTOR_PATH_MAX]; /* rename's target; setpolicy's policy */
};

struct reply {
	uint64_t ticket;
	int32_t error;   /* 0 or a positive errno: what the statement came to */
	int32_t wrong;   /* load, data, expect: it was carried out, but `text` is what came */
	uint32_t thread; /* COMMAND was begun in the background: the thread that does it */
	uint32_t begun;  /* 1: this only says that it has begun */
	uint64_t elapsed_ns, ended_ns;
	uint64_t id, extra, third, fourth;
	char text[200];
};

enum { ANSWER_NEVER, ANSWER_AUTO, ANSWER_AFTER };

struct actor {
	char name[SCRIPT_NAME_MAX + 1];
	pid_t pid;
	int socket;
	bool child_of_actor; /* forked by another: not ours to wait for until that one has ended */
	bool stopped;
	bool gone;
	unsigned group;  /* of those that share a session; 0: nobody else has it */
	unsigned daemon; /* the start of the daemon that its session is known to */
	struct actor *next;
};

/* Starts the process. `mount` is where files are, uid (uid_t)-1 keeps ours. 0 or -errno. */
int actor_start(const char *name, const char *mount, uid_t uid, struct actor **out);
/* Makes `parent` fork itself; the child answers on a socket of its own. */
/* *shared: there is a session, which both have. */
int actor_fork(struct actor *parent, const char *name, struct actor **out, bool *shared);
/* Ends it whatever it does, and waits. */
void actor_destroy(struct actor *a);

/* Sends; a descriptor >= 0 goes with it. 0 or -errno (-EPIPE: the process is gone). */
int actor_send(struct actor *a, const struct command *command, int descriptor);
/* The next reply, waiting at most until `deadline_ns` (CLOCK_MONOTONIC). -ETIMEDOUT, -EPIPE. A
 * descriptor that came with it goes to *descriptor (-1: none). */
int actor_receive(struct actor *a, struct reply *reply, int *descriptor, uint64_t deadline_ns);

/* The process's side: serves commands until the socket closes. Does not return. */
void actor_serve(int socket, const char *mount) __attribute__((noreturn));

/* Both sides' way to send a message, with a descriptor if that is >= 0. 0 or -errno. */
int message_send(int socket, const void *bytes, size_t count, int descriptor);
int message_receive(int socket, void *bytes, size_t count, int *descriptor);
uint64_t monotonic_ns(void);

#endif
