// SPDX-License-Identifier: BSD-2-Clause
/*
 * arbiter.h - struct arbiter: leasemgr with a lock, a clock, and hands. For arbiter.c, arbitrate.c,
 * holder.c and control*.c alone.
 *
 * Lock order: an inode's lock (core calls freeing() with it held) -> arbiter.lock -> locks of
 * core's spaces, of the engine and of the workers (leaves). Nothing that calls libfuse, an
 * operation or core's inodes runs under arbiter.lock: what leasemgr decides is noted in the outbox,
 * and arbiter_unlock() does it after the lock is free: verdicts to the workers, events to parked
 * reads, wake-ups of poll to the notifier (a thread that serves no request).
 *
 * While no session exists, changes are only counted (in stripes, so that processors do not share
 * a line). The first session turns `leasing` on and waits until those counted before are over; so
 * every change that a lease could meet is known to leasemgr.
 */
#ifndef FUSE_ARBITER_H
#define FUSE_ARBITER_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/queue.h>

#include "arbitrate.h"
#include "core.h"
#include "daemon.h"
#include "engine.h"
#include "history.h"
#include "leasemgr.h"
#include "workers.h"

#define ARBITER_STRIPES 64u
#define ARBITER_WORKERS 4u    /* they run operations that waited: enough to keep two disks busy */
#define ARBITER_CONFLICTS 64u /* remembered */
#define ARBITER_COOKIES 1024u /* buckets */

struct holder;
TAILQ_HEAD(ticket_list, ticket);
STAILQ_HEAD(holder_list, holder);
SLIST_HEAD(kept_inode_list, kept_inode);

struct stripe {
	_Atomic uint64_t running; /* changes that leasemgr does not know */
	char pad[56];
};

enum ticket_state { TICKET_ENTERING, TICKET_PARKED, TICKET_DECIDED, TICKET_RUNNING };

/* Of one change that leasemgr knows: see arbitrate.c. */
struct ticket {
	TAILQ_ENTRY(ticket) link; /* parked: of arbiter.parked; decided: of the outbox */
	struct work work;
	struct arbiter *arbiter;
	struct lm_change *change;
	fuse_req_t req;
	void (*resume)(void *operation, int verdict, struct ticket *ticket);
	void *operation;
	enum ticket_state state;
	bool decided; /* while ENTERING */
	int verdict;
};

/* An inode that leases keep. */
struct kept_inode {
	SLIST_ENTRY(kept_inode) next;
	struct inode *inode;
};

struct arbiter {
	struct daemon *daemon;
	_Atomic bool leasing;
	struct stripe stripes[ARBITER_STRIPES];
	struct lm_policy policy; /* of the mount */
	uint64_t boot[2];        /* random: this daemon and no other */

	/* Started by the first session, and kept: a mount without leases needs no thread for them.
	 */
	pthread_mutex_t start_lock;
	struct engine *engine;
	struct workers *workers;
	struct workers *notifier;

	pthread_mutex_t lock; /* guards all that follows, and everything of holders */
	struct lm *lm;
	bool cancelled;       /* the daemon is ending: nothing is parked any more */
	unsigned opening;     /* calls between begin_leasing and end_opening: `leasing` stays on */
	uint64_t deadline_ns; /* as the engine knows it */
	uint64_t ids_end; /* numbers below it are reserved, in run/ids; UINT64_MAX: none need be */
	struct ticket_list parked;
	LIST_HEAD(, holder) holders; /* open ones, and those whose session is not gone */
	LIST_HEAD(, holder) cookies[ARBITER_COOKIES];
	struct kept_inode *spare_inode; /* for inode_used(), which cannot fail */
	struct inode *granting;         /* what inode_used() is about */
	struct lm_conflict conflicts[ARBITER_CONFLICTS];
	uint64_t conflict_count; /* the latest is at (count - 1) % ARBITER_CONFLICTS */
	struct history history;

	/* The outbox. */
	struct kept_inode_list idle;
	struct ticket_list decided;
	struct holder_list told; /* have an event to read, or their session is gone */
	uint64_t conflicts_logged;
};

uint64_t arbiter_now(void); /* CLOCK_MONOTONIC */
void arbiter_lock(struct arbiter *a);
void arbiter_unlock(struct arbiter *a); /* and does what the outbox says */
/* After a mere look: leasemgr was not asked to change anything, so the outbox is empty still. */
static inline void arbiter_unlock_unchanged(struct arbiter *a)
{
	pthread_mutex_unlock(&a->lock);
}
/*
 * Around the opening of a session, with start_lock held: threads for leases, and every running
 * change known to leasemgr. -errno: nothing to end. `leasing` goes off with the last session.
 */
int arbiter_start_threads(struct arbiter *a);
int arbiter_begin_leasing(struct arbiter *a);
void arbiter_end_opening(struct arbiter *a);
void arbiter_review_leasing(struct arbiter *a); /* under arbiter.lock */
/* The process (thread group) of a thread; itself if it cannot be found out. */
uint32_t arbiter_process_of(uint32_t tid);
/* file_policy.c: of a file, by its xattrs, else the mount's. */
void arbiter_policy_of(struct arbiter *a, uint64_t ino, struct lm_policy *out);
/*
 * arbitrate(), with the request as leasemgr has it. req may be NULL: then nothing interrupts it but
 * the daemon's end.
 */
void arbiter_begin(struct arbiter *a, fuse_req_t req, const struct lm_change_request *r,
	void (*resume)(void *operation, int verdict, struct ticket *ticket), void *operation);

/* Each operation that is parked, until see() says false. Under arbiter.lock. */
void arbiter_each_parked(
	struct arbiter *a, bool (*see)(void *context, struct lm_change *c), void *context);

/* arbitrate.c: leasemgr's verdict (under arbiter.lock), and what core asks and tells. */
void arbiter_verdict(void *context, void *operation, struct lm_change *change, int verdict);
int arbiter_freeing(void *context, uint64_t ino, const struct core_extent *extent);
void arbiter_freed(void *context, uint64_t ino, bool committed);

/* holder.c: leasemgr's effects on a session. Under arbiter.lock. */
bool holder_slot_pinned(void *context, void *owner, uint32_t slot);
void holder_slot_recall(void *context, void *owner, uint32_t slot, bool recalled);
void holder_slot_fresh(void *context, void *owner, uint32_t slot, bool used_before);
int holder_slot_split(void *context, void *owner, uint32_t from, uint32_t to);
void holder_slot_free(void *context, void *owner, uint32_t slot);
int holder_persist(void *context, void *owner, const struct lm_lease_record *record);
void holder_pin_moved(void *context, void *owner, uint64_t pin, uint64_t lease);
void holder_pin_gone(void *context, void *owner, uint64_t pin);
void holder_ready(void *context, void *owner);
void holder_signal(void *context, void *owner, int number);
void holder_session_gone(void *context, void *owner);
/* From arbiter_unlock(): takes the outbox's holders, and, without the lock, does what they need. */
void holder_take_told(struct arbiter *a, struct holder_list *out);
void holder_tell_all(struct holder_list *told);
void holder_cancel_reads(struct arbiter *a); /* under arbiter.lock: who reads gets ENOTCONN */

#endif
