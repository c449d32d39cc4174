// SPDX-License-Identifier: BSD-2-Clause
/* channel_impl.h - what channel.c and channel_init.c share. */
#ifndef FUSE_CHANNEL_IMPL_H
#define FUSE_CHANNEL_IMPL_H

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "channel.h"
#include "seats.h"

struct uring;
struct worker;

#define CHANNEL_WRITE_MAX (1u << 20) /* what the kernel carries in one request */

struct desk {
	struct seats seats; /* of workers that wait for a request, or are about to */
	unsigned workers;   /* guarded by channel.lock */
	unsigned empty;     /* by the foreman: how often it was found so in a row */
};

struct channel {
	int fd;
	int event_fd;
	_Atomic(enum channel_state) state;
	atomic_bool stopping;
	atomic_bool negotiated; /* INIT came as far as channel_negotiate() */
	atomic_bool was_ready;
	atomic_bool init_answered; /* the first reply; others may come before state says so */
	struct uring *uring;       /* NULL: /dev/fuse alone */
	atomic_bool over_uring;    /* agreed on with the kernel */
	sem_t uring_agreed;        /* for the first worker of each queue; over_uring says how */
	struct desk *desks;        /* the first is /dev/fuse's */
	unsigned desks_count;
	atomic_uint desks_open;    /* whom the foreman looks after: the first, or all */
	atomic_bool foreman_awake; /* or about to be: the semaphore was posted */
	sem_t foreman_wanted;
	pthread_t foreman;
	uint32_t offered, offered2; /* by the kernel's INIT */
	bool direct_mmap;           /* is to be used, if offered */
	bool no_handles;            /* the same */
	bool kills_privileges;
	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t gone;
	unsigned workers; /* of all desks */
	struct worker *first;
};

/* channel_init.c */
/* What has ended stays so. */
void channel_set_state(struct channel *ch, enum channel_state state);
/* libfuse writes its replies through this module where it needs to see them. */
int channel_hook_replies(struct daemon *d);
/* After INIT was processed: its reply has been sent, and libfuse says so if that went wrong. */
void channel_init_done(struct daemon *d);
/* Fills the note, and gives a request that libfuse does not know the shape of one that it does. */
void channel_note_request(struct channel *ch, char *buffer, size_t bytes);

#endif
