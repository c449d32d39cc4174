// SPDX-License-Identifier: BSD-2-Clause
/*
 * space_impl.h - struct space and its groups, for the files space*.c alone.
 *
 *   space.c         spaces, groups, and reading a bitmap from the media
 *   space_group.c   one group: its bits and counts, and finding runs in it
 *   space_alloc.c   which group, reserving the backing, the transaction
 *   space_free.c    freeing now, or when durable
 *   space_hold.c    the quarantine's holds
 *
 * Locks, outermost first: space.hold_lock; journal.lock; group.lock or space.pending_lock. A group
 * is read from the media, which takes journal.lock, before its own lock is taken.
 */
#ifndef CORE_SPACE_IMPL_H
#define CORE_SPACE_IMPL_H

#include <pthread.h>
#include <stdatomic.h>

#include "space.h"

#define GROUP_WORDS (GROUP_BITS / 64)
#define HUGE_WORDS (HUGE_BLOCKS / 64)
#define GROUP_HUGE (GROUP_BITS / HUGE_BLOCKS) /* 2 MiB units of a full group */
/* Groups stand in chunks that never move: chunk 0 has that many, chunk n + 1 as many as all before
 * it. 28 of them number every group that 32 bits can. */
#define CHUNK_FIRST_SHIFT 3u
#define CHUNKS_MAX 30u
#define SPACE_CURSORS 16u

enum group_state { GROUP_UNREAD, GROUP_READY, GROUP_DAMAGED };

struct group {
	struct space *space;
	uint32_t number;
	struct media_group media; /* constant */
	/* UNREAD until first used; written under lock. */
	_Atomic uint32_t state;

	pthread_mutex_t lock; /* guards what follows, and writing the two counts in the chunk */
	uint64_t *used;    /* on media, or being taken, or freed and waiting; NULL while UNREAD */
	uint64_t *held;    /* by the quarantine; NULL while nothing is */
	uint64_t unbacked; /* a bit a 2 MiB unit: its reservation failed, look there last */
	uint16_t huge_free[GROUP_HUGE]; /* free units in each 2 MiB unit */
};

struct chunk {
	uint32_t groups;
	struct group *group;
	/* Looked at without a lock to pass over groups; exact under the group's lock. */
	_Atomic uint32_t *free;
	_Atomic uint32_t *huge; /* 2 MiB units that are free as a whole */
};

/* Freed by a transaction that is not durable yet. */
struct pending {
	struct pending *next;
	struct group *group;
	uint32_t first;
	uint32_t count;
	uint64_t position;
};

struct hold { /* [first, end) is held `count` times */
	uint64_t first;
	uint64_t end;
	uint64_t count;
};

struct space {
	struct space_config config;
	uint32_t per_group;
	uint32_t words;      /* of a group's bits that belong to the space */
	uint32_t huge_count; /* 2 MiB units of a group, the last may be cut */
	bool deferred;

	pthread_mutex_t grow_lock; /* guards adding groups */
	_Atomic uint32_t groups;   /* published after the group */
	_Atomic(struct chunk *) chunks[CHUNKS_MAX];
	_Atomic uint64_t total;
	_Atomic bool damaged; /* a group is */

	_Atomic uint32_t cursors[SPACE_CURSORS]; /* group where those threads took last, plus 1 */

	pthread_mutex_t pending_lock;
	struct pending *pending_head; /* in the order of positions */
	struct pending *pending_tail;
	_Atomic uint64_t pending_first; /* position of the head, or UINT64_MAX */
	_Atomic uint64_t pending_units;

	pthread_mutex_t hold_lock; /* guards holds[] */
	struct hold *holds;        /* sorted, apart from each other or of different counts */
	struct hold *holds_next;   /* as large: the array is rebuilt from one to the other */
	size_t hold_count;
	size_t hold_capacity;
	_Atomic uint64_t held_free; /* units that only a hold keeps from being free */
};

/* space.c */
struct group *space_group_at(const struct space *s, uint32_t number); /* NULL: none */
void space_group_counts(const struct space *s, uint32_t number, uint32_t *free, uint32_t *huge);
void group_set_counts(struct group *g, uint32_t free, uint32_t huge);
int group_ready(struct group *g); /* reads it from the media first; -EUCLEAN, -ENOMEM */

/* space_free.c: free in memory again. Takes the group's lock. */
void group_give(struct group *g, uint32_t first, uint32_t count);

/* space_group.c; the caller holds the group's lock. */
struct bit_run {
	uint32_t first;
	uint32_t count;
};
enum bits_change { BITS_TAKE, BITS_GIVE, BITS_HOLD, BITS_RELEASE };
void group_change_locked(struct group *g, enum bits_change change, uint32_t first, uint32_t count);
bool group_all_used_locked(const struct group *g, uint32_t first, uint32_t count);
void group_recount_locked(struct group *g, uint32_t first, uint32_t count);

struct group_search {
	uint32_t want;
	uint32_t accept; /* shorter runs are not worth it */
	uint32_t goal;   /* bit, or UINT32_MAX */
	uint32_t phase;
	bool huge;         /* whole free 2 MiB units, at the phase */
	bool aligned;      /* 2 MiB units only, whole */
	bool unbacked_too; /* also where a reservation has failed */
};
bool group_search_locked(
	const struct group *g, const struct group_search *search, struct bit_run *out);

#endif
