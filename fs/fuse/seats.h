// SPDX-License-Identifier: BSD-2-Clause
/*
 * seats.h - how many of the channel's workers wait for a request, and how many stand by.
 *
 * The kernel wakes those who wait in read(2) one after the other, so that a stream of requests
 * passes through all of them: on cold caches, and on processors that have to be woken. So few sit
 * there, and the rest stands by.
 *
 *   sitting  --seats_leave()--> serving --seats_sit()--> sitting, or standing by: all seats taken
 *   standing by --seats_call(): nobody sits--> sitting
 *
 * Nobody is called by the one who leaves the last seat: most requests end before another thread
 * would have woken up. Somebody has to look now and then (channel.c's foreman).
 *
 * Invariant: no more than `max` sit, until the end.
 *
 * Any thread may call anything; there are no locks.
 */
#ifndef FUSE_SEATS_H
#define FUSE_SEATS_H

#include <semaphore.h>
#include <stdbool.h>
#include <stdint.h>

struct seats {
	uint32_t max;
	_Atomic uint64_t state; /* how many sit and stand by, and whether it has ended */
	sem_t standby;
};

int seats_init(struct seats *s, uint32_t max); /* max: at least 1. -ENOMEM */
void seats_destroy(struct seats *s);           /* nobody may be left */

/* Waits for a seat. False: it has ended, there is none. */
bool seats_sit(struct seats *s);
/* The caller gives up its seat. False: it was the last one. */
bool seats_leave(struct seats *s);
bool seats_taken(struct seats *s); /* somebody sits */
/* If nobody sits: gives a seat to one who stands by. False: nobody sits or stands by. */
bool seats_call(struct seats *s);
/* Sends home those who stand by, and everybody who wants to sit from now on. */
void seats_end(struct seats *s);

#endif
