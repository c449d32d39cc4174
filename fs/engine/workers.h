// SPDX-License-Identifier: BSD-2-Clause
/*
 * workers.h - a few threads that take work in the order it was given.
 *
 * For what must not be done where it was decided: on the engine's thread, or under a lock. Giving
 * work needs no memory: its place is in the giver's own structure.
 *
 * Threads: any. The queue's lock is a leaf: nothing is called with it held.
 */
#ifndef ENGINE_WORKERS_H
#define ENGINE_WORKERS_H

#include <stdbool.h>

struct work {
	struct work *next;
	void (*run)(struct work *work); /* may free it, or give it again */
};

struct workers;

#define WORKERS_MAX 16u
int workers_create(unsigned threads, const char *name, struct workers **out); /* -ENOMEM, -EAGAIN */
void workers_give(struct workers *w, struct work *work);
/* All that was given is done first. */
void workers_destroy(struct workers *w);

#endif
