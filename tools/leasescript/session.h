// SPDX-License-Identifier: BSD-2-Clause
/*
 * session.h - an actor's session, shared by the player's files but player_files.c.
 *
 * A lease that a script names may be cut: by the return of its middle, or by a revocation. What is
 * left of it are *pieces*, leases of their own to the daemon; what was revoked are *ghosts*, to be
 * acknowledged. All belong to one struct held, found by the id of the first grant.
 *
 * Everything here is guarded by player.lock. Calls on the control file are made under it: they are
 * never parked (include/leasefs/control.h).
 */
#ifndef LEASESCRIPT_SESSION_H
#define LEASESCRIPT_SESSION_H

#include <leasefs/control.h>
#include <pthread.h>

#include "player.h"

#define SESSION_FEATURES                                                                           \
	(LEASEFS_FEATURE_SLOT_PINS | LEASEFS_FEATURE_RANGE_PINS | LEASEFS_FEATURE_EXCLUSIVE |      \
		LEASEFS_FEATURE_RECLAIM)

struct piece {
	struct piece *next;
	uint64_t id, offset, length;
};

struct held {
	struct held *next;
	uint64_t id; /* of the grant */
	uint64_t offset, length;
	uint32_t slot;
	bool write;
	struct piece *pieces, *ghosts;
	char *memory; /* all of it at one address; NULL: not mapped */
};

struct pin {
	struct pin *next;
	struct held *held;
	uint64_t id;           /* 0: of the slot */
	struct buffer *buffer; /* registered, too; or NULL */
};

struct event {
	struct event *next;
	struct leasefs_event record;
	bool answered; /* by the actor itself: does not count for `expect nothing` */
	/* It is over: cancelled, answered, or what came later says it all. One that had not been
	 * read till then would never have come, so `expect nothing` does not count it; but it did
	 * reach the actor, and a script that looks afterwards finds it. */
	bool settled;
};

struct session {
	int control;
	struct leasefs_hello hello;
	struct leasefs_pin_line *lines;
	size_t lines_bytes;

	struct held *held;
	struct pin *pins;
	struct event *events, **events_end;
	pthread_cond_t arrived;

	pthread_t reader;
	bool reading;
	int wake; /* eventfd: the reader is to end */
	uint32_t answer;
	uint64_t answer_after_ns;
	bool dead; /* the daemon has gone */
	/* What the daemon of now knows the session by, or has to be asked with after a restart. */
	uint64_t cookie[2], boot[2];
	bool reclaimed; /* with these: the next restart is asked with hello's */
};

/* Positive errno, as everywhere in the player. The lock is held. */
int session_call(struct session *s, unsigned long number, void *argument);
int session_map_lines(struct session *s, uint64_t bytes);
struct held *session_find(struct session *s, const struct command *c); /* made if not known yet */
int session_start_reader(struct player *p); /* unless it runs, or there is no session */
/* Waits for an event to come, or the daemon's end, without the lock; not longer than that. */
void session_wait(struct player *p, uint64_t ns);
void session_pump(struct player *p); /* takes what events there are, without waiting */
/* The mount's control file, whether or not there is a session. A descriptor, or -errno. */
int session_open_control(const struct player *p);
bool session_is_dead(const struct session *s); /* its daemon has gone */
/* After a daemon's end: the session goes on, on the new mount's control file. Without the lock. */
int session_reclaim(struct player *p, const struct command *c);
/* The session and all that is left of it go on with a new daemon; on `control`, which stays the
 * caller's, if another process has done so already. Without the lock. */
int session_revive(struct player *p, int control);
int session_expect(struct player *p, const struct command *c, struct reply *r);
int session_set_answer(struct player *p, const struct command *c);
void events_add(struct session *s, const struct leasefs_event *record, bool answered);
void events_settle_returned(struct session *s, uint64_t lease, uint64_t offset, uint64_t end);
void events_settle_available(struct session *s, int file, uint64_t offset, uint64_t length);
int player_look(struct player *p, const struct command *c, struct reply *r);
void session_stop_reader(struct player *p); /* releases the lock while it ends */
void session_close(struct player *p);       /* releases the lock while the reader ends */

int lease_return(struct session *s, struct held *h, uint64_t offset, uint64_t length);
int lease_unpin_all(struct session *s, struct held *h);
void lease_forget(struct session *s, struct held *h);
bool held_owns(const struct held *h, uint64_t id); /* as a piece, a ghost or itself */

int memory_map(struct session *s, struct held *h);
void memory_hide(struct held *h, uint64_t offset, uint64_t length); /* no access any more */
int memory_store(struct held *h, uint64_t offset, uint64_t length, uint64_t seed);
int memory_load(struct held *h, const struct command *c, struct reply *r);
int buffer_register(struct held *h, uint64_t offset, uint64_t length, struct buffer **out);
void buffer_unregister(struct buffer *b);
void memory_prepare(void); /* the handler for faults; once */

#endif
