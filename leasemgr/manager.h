// SPDX-License-Identifier: BSD-2-Clause
/* manager.h - the structures of leasemgr, for its own files. Start with leasemgr.h. */
#ifndef LEASEMGR_MANAGER_H
#define LEASEMGR_MANAGER_H

#include <stddef.h>
#include <sys/queue.h>

#include "leasemgr.h"
#include "range_tree.h"

#define SLOT_BITS LM_SLOT_BITS
#define SLOT_MASK ((1u << SLOT_BITS) - 1)
#define NO_TIME UINT64_MAX

#define container_of(p, type, member) ((type *)(void *)((char *)(p)-offsetof(type, member)))

/* ---- timers: a binary heap, so that ten thousand deadlines cost nothing ---------------------- */

enum timer_kind { TIMER_CHANGE, TIMER_SESSION, TIMER_GRACE };
struct timer {
	uint64_t deadline_ns;
	uint32_t at; /* index in the heap + 1; 0: not set */
	uint32_t kind;
};
struct timer_heap {
	struct timer **items;
	uint32_t count;
	uint32_t capacity; /* at least as many as there are changes and sessions: setting cannot
			      fail */
};

/* ---- handles: ids with a slot in their low bits, looked up in one step ------------------------
 */

struct handles {
	void **items;   /* NULL or the object; capacity long */
	uint32_t *free; /* free slots, a stack */
	uint32_t free_count;
	uint32_t capacity;
	uint32_t used_slots; /* slots that were ever taken: [0, used_slots) */
};

/* ---- holds ----------------------------------------------------------------------------------- */

struct hold {
	uint32_t region;
	uint32_t count;
	uint64_t region_offset;
	uint64_t length;
	uint64_t ino; /* while it is in lm.open: whose blocks are being freed */
	LIST_ENTRY(hold) open;
	LIST_HEAD(, hold_link) links;
};
struct hold_link {
	SLIST_ENTRY(hold_link) next; /* of the lease */
	LIST_ENTRY(hold_link) of_hold;
	struct hold *hold;
	struct lease *lease;
};

/* ---- things with events ---------------------------------------------------------------------- */

#define PENDING_RECALL 1u
#define PENDING_CANCELLED 2u
#define PENDING_LAYOUT 4u
#define PENDING_REVOKED 8u
#define PENDING_AVAILABLE 16u
#define PENDING_ADVISORY 32u

enum source_kind { SOURCE_LEASE, SOURCE_WANT };
struct source {
	TAILQ_ENTRY(source) ready; /* while pending != 0 */
	uint8_t pending;
	uint8_t kind;
};

enum tree_kind { TREE_SHARED, TREE_EXCLUSIVE, TREE_GHOSTS, LEASE_TREES };
#define TREE_NONE LEASE_TREES /* a ghost under which everything has been freed */

struct lease {
	struct range_node node; /* in inode.leases[tree]; node.id is the id */
	struct source source;
	uint8_t tree;
	uint8_t mode;
	bool recalled;
	bool told;         /* the recall was read */
	bool own;          /* ghost: cut by its own process */
	bool making;       /* granted, not done: its events wait */
	bool inherited;    /* not reclaimed yet */
	bool was_recalled; /* inherited: its holder may know of a recall that is over */
	bool held;         /* ghost: it has got holds that no record told of yet */
	bool unwritten;    /* ghost: its record says that it is a lease */
	uint32_t slot;
	uint32_t in_use; /* calls between begin and end: no verdict over it meanwhile */
	uint32_t range_pins;
	LIST_HEAD(, pin) pins; /* as many */
	struct inode_leases *inode;
	struct lm_session *session;
	uint64_t granted_ns;
	uint64_t origin; /* ghost: the lease that it was cut from */
	uint64_t rest;   /* ghost: what was left behind the cut */
	SLIST_HEAD(, hold_link) holds;
};
_Static_assert(sizeof(struct lease) <= 192, "with its slot and its share of the heap below 256");

struct pin {
	struct range_node node; /* in inode.pins */
	struct lease *lease;
	LIST_ENTRY(pin) of_lease;
	uint32_t slot;
	uint32_t flags;
};

enum change_state { CHANGE_PARKED, CHANGE_ACTIVE, CHANGE_READY };
struct lm_change {
	struct range_node node; /* in inode.changes; READY: in no tree */
	struct source source;   /* a want's */
	struct timer timer;
	struct lm *lm;
	struct inode_leases *inode;
	uint64_t ino;
	void *operation;
	const char *name;
	struct lm_session *session;  /* a want's */
	LIST_ENTRY(lm_change) wants; /* of the session; or its `told` */
	uint64_t began_ns;
	uint32_t pid, uid;
	uint8_t kind;
	uint8_t state;
	uint8_t mode;   /* a want's */
	bool exclusive; /* a want's */
	uint8_t rung;
	bool time_over;   /* the recall's time: only pins are in the way now */
	bool told;        /* a want: `available` was read */
	bool passive;     /* a want whose recall failed: it waits, and is in nobody's way */
	bool grace;       /* its ladder has not begun: it waits for inherited leases */
	bool last_chance; /* busy was due, but somebody's `in_use` has to end first */
	bool freed;       /* blocks were freed while it was active */
	bool failed;      /* ... and were not after all, or not all: lm_freed() said so */
	bool noted;       /* a record told of it: its end is told too */
	bool beginning;   /* still in lm_change_begin(): the verdict is its result */
	int result;
	struct lm_policy policy;
};

/* One inode with leases, ghosts, pins or changes. */
struct inode_leases {
	LIST_ENTRY(inode_leases) bucket;
	TAILQ_ENTRY(inode_leases) dirty; /* while dirty_start < dirty_end */
	uint64_t ino;
	struct range_tree leases[LEASE_TREES];
	struct range_tree pins;
	struct range_tree changes;
	uint64_t dirty_start, dirty_end; /* where changes are to be looked at again */
	uint64_t count;                  /* leases and ghosts, in a tree or not */
	uint64_t writers;                /* write leases, no ghosts */
	bool used;                       /* the owner was told so */
	void *owner;
};

struct lm_session {
	LIST_ENTRY(lm_session) all; /* by falling id */
	struct lm *lm;
	void *owner;
	uint64_t id;
	uint32_t pid, uid;
	bool closed;
	bool process_gone;
	bool drain_pending;
	bool inherited;           /* nobody has adopted it; closed, then */
	uint32_t reclaim_slot;    /* no inherited lease is in a slot below it */
	uint64_t inherited_count; /* leases */
	struct timer timer;       /* drain */
	struct handles leases;
	struct handles pins;
	uint64_t lease_count, pin_count; /* leases: ghosts too */
	uint64_t ghost_count;
	TAILQ_HEAD(, source) ready;
	LIST_HEAD(, lm_change) wants;
	/* Wants whose `available` was read, the latest first: until the lease is asked for again.
	 */
	LIST_HEAD(, lm_change) told;
	uint32_t want_count, told_count; /* together no more than LM_WANTS_PER_SESSION_MAX */
	/* For cuts that must not fail half way: see lease_reserve(). */
	SLIST_HEAD(, spare) spares;
	uint32_t spare_count, spare_wanted;
	uint64_t mark;
};
struct spare {
	SLIST_ENTRY(spare) next;
};

struct lm {
	struct lm_config config;
	const struct lm_ops *ops;
	uint64_t next_id; /* of sessions, leases, pins, changes: never used twice */
	LIST_HEAD(, lm_session) sessions;
	LIST_HEAD(buckets, inode_leases) * buckets;
	uint64_t bucket_count, inode_count;
	TAILQ_HEAD(, inode_leases) dirty;
	LIST_HEAD(, hold) open; /* of blocks that are being freed */
	struct timer_heap timers;
	uint64_t timer_owners;
	struct timer grace; /* has an owner while it is set */
	struct lm_status status;
};

/* manager.c */
int leased_inode_get(struct lm *lm, uint64_t ino, struct inode_leases **out); /* made if need be */
struct inode_leases *leased_inode_find(const struct lm *lm, uint64_t ino);
void leased_inode_drop(
	struct lm *lm, struct inode_leases *in); /* frees it if nothing is left in it */
void leased_inode_dirty(struct lm *lm, struct inode_leases *in, uint64_t start, uint64_t end);
void settle(struct lm *lm, uint64_t now_ns); /* at the end of every call that changes something */
int timer_reserve(struct lm *lm);            /* room for one more owner of a timer */
void timer_unreserve(struct lm *lm);
void timer_set(struct lm *lm, struct timer *t, uint64_t deadline_ns);
void timer_clear(struct lm *lm, struct timer *t);

/* handles.c */
int handles_reserve(struct handles *h, uint32_t free_slots, uint32_t limit);
uint32_t handles_take(struct handles *h, void *object, bool *used_before); /* after a reserve */
void handles_put(struct handles *h, uint32_t slot);
/* Into that very slot: -EUCLEAN if it is taken. Then handles_order(), before anything else. */
int handles_place(struct handles *h, uint32_t slot, void *object);
void handles_order(struct handles *h);
void *handles_find(const struct handles *h, uint64_t id);
void handles_free(struct handles *h);

/* lease.c */
struct lease_cursor {
	struct inode_leases *inode;
	uint64_t start, end;
	uint64_t after_start, after_id;
	uint8_t tree, last_tree;
};
struct lease *lease_first(struct lease_cursor *at, struct inode_leases *in, uint64_t start,
	uint64_t end, bool exclusive_only);
struct lease *lease_next(struct lease_cursor *at);
struct lease *lease_find(const struct lm_session *s, uint64_t id); /* ghosts too */
/* Memory and slots for one more cut of one of the session's leases, until lease_unreserve(). */
int lease_reserve(struct lm_session *s);
void lease_unreserve(struct lm_session *s);
/*
 * [start, end) of it becomes the ghost *out; whole: all of it does. -errno: that could not be
 * written down, and it is as it was.
 */
int lease_revoke(
	struct lease *l, uint64_t start, uint64_t end, bool whole, bool own, struct lease **out);
void lease_revoke_left(struct lease *l); /* by a session that ends without returning it */
void lease_end(struct lease *l);         /* out of everything, its holds let go, and freed */
/* One that is put back, with its slot, into session, inode and tree; counted. */
void lease_enter(
	struct lease *l, struct lm_session *s, struct inode_leases *in, enum tree_kind tree);

/* inherit.c */
/* As its range and its tree would be these. */
int lease_persist(const struct lease *l, uint64_t start, uint64_t end, enum tree_kind tree);
/* Ghosts of [start, end) that are `unwritten` are written down now. -errno: one still is not. */
int lease_write_ghosts(struct lm *lm, struct inode_leases *in, uint64_t start, uint64_t end);

/* pin.c */
/* One of the lease's that overlaps; NULL: none does. */
struct pin *pin_first(const struct lease *l, uint64_t start, uint64_t end);
bool lease_slot_pinned(const struct lease *l);
/* Anything of the lease pinned in [start, end)? A slot's pin is everywhere in it. */
bool lease_pinned(const struct lease *l, uint64_t start, uint64_t end);
void pins_move(
	struct lease *from, uint64_t start, struct lease *to); /* from there on; one session */
void pin_end(struct pin *p);
void pins_end(struct lease *l);

/* conflict.c */
bool change_is_own(const struct lm_change *c, const struct lease *l); /* of who asks for it */
/* The lease and the change cannot both be; `l` overlaps, and comes from the trees it looks at. */
bool change_conflicts(const struct lm_change *c, const struct lease *l);
/* The leases that it cannot be together with. */
struct lease *change_first_conflict(struct lm_change *c, struct lease_cursor *at);
struct lease *change_next_conflict(struct lm_change *c, struct lease_cursor *at);
bool change_in_way_of(const struct lm_change *c, const struct lease *l); /* the lease delays it */
bool change_blocks_grant(const struct lm_change *c, const struct lm_session *s, bool exclusive);
/* A want, by a change that goes first. */
bool change_is_blocked(const struct lm_change *want);
struct lm_change *change_first(const struct inode_leases *in, uint64_t start, uint64_t end);
struct lm_change *change_next(
	const struct inode_leases *in, const struct lm_change *c, uint64_t start, uint64_t end);

/* change.c */
void change_decide(struct lm_change *c, uint64_t now_ns);
void change_timer(struct lm_change *c, uint64_t now_ns);
void change_free(struct lm_change *c);

/* recall.c */
uint64_t change_deadline(const struct lm_change *c); /* of its rung; 0: none */
/* Until when holders may give way to it; 0: for ever, or that is over. */
uint64_t change_recall_end(const struct lm_change *c);
void change_recall(struct lm_change *c); /* all that is in its way */
/* What it has recalled, and nobody else wants, is whole again. It is not PARKED any more. */
void change_let_go(struct lm_change *c);
/* Recalls again or cancels, as parked changes over the lease ask for. */
void lease_review_recall(struct lease *l);

/* want.c */
int want_begin(struct lm_session *s, const struct lm_grant_request *r, uint64_t now_ns);
void wants_fulfilled(struct lm_session *s, const struct lm_grant_request *r);
void wants_end(struct lm_session *s);
void want_told(struct lm_change *c);         /* its event was read; it stays, to be told again */
void wants_tell_again(struct lm_session *s); /* those that were told */
/* change.c, for want.c: recalls what is in the way and sets the first timer. */
int change_park(struct lm_change *c, uint64_t now_ns);

/* session.c */
/* lm_session_open(), whatever number there is already. */
int session_new(struct lm *lm, uint32_t pid, uint32_t uid, void *owner, struct lm_session **out);
void session_timer(struct lm_session *s, uint64_t now_ns);
void session_use_ended(struct lm_session *s, uint64_t now_ns); /* of a lease; settles */

/* inherit.c */
void lease_not_inherited(struct lease *l); /* no effect on others; the caller marks the range */
void grace_timer(struct lm *lm, uint64_t now_ns);

/* quarantine.c */
void holds_drop(struct lease *l);
uint64_t holds_bytes(const struct lease *l);
void holds_record(const struct lm_change *c); /* what it freed under ghosts */

/* record.c: tell who looks on. `l` or `c` may be NULL where there is none. */
void record_drain(const struct lm *lm);
void record_session(const struct lm_session *s, enum lm_record_kind kind);
/* About [start, end) of the lease; `c`: who asks. */
void record_lease(const struct lease *l, enum lm_record_kind kind, uint64_t start, uint64_t end,
	const struct lm_change *c, uint64_t value);
/* About the operation; `l`: who is in its way. */
void record_change(
	struct lm_change *c, enum lm_record_kind kind, const struct lease *l, uint64_t value);

/* event.c */
void source_mark(struct lm_session *s, struct source *source, uint8_t pending);
void source_clear(struct lm_session *s, struct source *source, uint8_t pending);
void session_tell_drain(struct lm_session *s);
void source_release(struct lm_session *s, struct source *source); /* a lease: made, events may go */

#endif
