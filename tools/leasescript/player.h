// SPDX-License-Identifier: BSD-2-Clause
/*
 * player.h - inside an actor's process.
 *
 *   player.c          serves commands, on the main thread or a thread each; forks
 *   player_files.c    ordinary operations through the mount
 *   player_session.c  the session, and the reader of its events
 *   player_events.c   what a script expects of them
 *   player_leases.c   leases and pins
 *   player_reclaim.c  going on with a new daemon
 *   player_memory.c   direct mappings
 *   player_look.c     status, conflicts, drain
 *
 * Lock order: player.lock guards the tables of open files and leases; the session's reader thread
 * takes it to answer a recall. It is never held over a system call on the mount that can be parked.
 */
#ifndef LEASESCRIPT_PLAYER_H
#define LEASESCRIPT_PLAYER_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "actor.h"

struct open_file {
	struct open_file *next;
	char name[ACTOR_PATH_MAX];
	int fd;
	bool writable;
};

struct session; /* player_leases.c */

struct player {
	int socket;
	char mount[4096];
	pthread_mutex_t lock;
	struct open_file *files;
	struct session *session; /* NULL: none */
};

/* One command; fills the reply's error, id, text. The player_* functions return a positive errno.
 */
int player_path(const struct player *p, const char *name, char *out, size_t bytes);
struct open_file *player_find_file(struct player *p, const char *name); /* lock held */

bool files_command(
	struct player *p, const struct command *c, struct reply *r); /* false: not ours */
bool leases_command(struct player *p, const struct command *c, struct reply *r, int descriptor);

/* Opens the session if there is none yet. */
int leases_open_session(struct player *p);
int leases_take_session(struct player *p, int descriptor); /* from another actor; becomes ours */
int leases_session_descriptor(struct player *p);           /* borrowed; -1: none */
/* In the child of a fork: threads are gone, locks are as they were. */
void leases_after_fork(struct player *p);
/* Another process is to have the session too: from now on the one that is asked reads its events.
 */
void leases_share(struct player *p);
/* Closes everything; unpins and returns it before that, unless others go on with the session. */
void leases_leave(struct player *p, bool shared);

#endif
