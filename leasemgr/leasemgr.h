// SPDX-License-Identifier: BSD-2-Clause
/*
 * leasemgr.h - who holds which byte ranges of which inode, and who must give way to whom.
 *
 * Pure logic: no lock, no clock, no thread, no I/O; memory only below the limits named here. The
 * owner serialises all calls on one struct lm, passes the time in, and gives effects through
 * struct lm_ops.
 *
 * The nouns
 *   session  a holder: one open file description of the control file, and an accountable process.
 *   lease    a session's right to touch a byte range of an inode directly; shared or exclusive.
 *   pin      "something may touch these bytes and I can't give them back yet". The whole lease's
 *            is a count in memory that the client shares (ops->slot_pinned), a range's is kept
 * here. change   an operation that wants a layout for itself. Leases delay it; pins can make it
 * fail. want     a lease that could not be granted: a change of a kind of its own, whose verdict is
 * the event `available`. ghost    a lease that was revoked, while somebody may still have the
 * mapping. It delays nobody, but what is freed under it is held in quarantine. hold     an extent
 * in quarantine, with a count of the leases and ghosts that may touch it. inherited  a lease of an
 * earlier life of the owner's, put back from what ops->persist wrote down, and not reclaimed yet.
 *
 * States of a lease (next state; "-" means that it is no more)
 *   event                          MAKING         HELD            RECALLED        GHOST
 *   grant_done(ok)                 HELD/RECALLED  .               .               .
 *   grant_done(failed)             -              .               .               .
 *   change parks on it             (noted)        RECALLED        RECALLED        .
 *   last such change ends          (noted)        .               HELD            .
 *   return, unpinned               EBUSY          - (or cut)      - (or cut)      ENOENT
 *   return, pinned                 EBUSY          EBUSY           EBUSY           ENOENT
 *   deadline, unpinned             change waits   .               GHOST (or cut)  .
 *   deadline, pinned               change waits   .               as the policy   .
 *   own process changes, unpinned  change waits   GHOST (or cut)  GHOST (or cut)  .
 *   ack                            ENOENT         ENOENT          ENOENT          - unless pinned
 *   session closed, process lives  .              GHOST           GHOST           GHOST
 *   session closed, process gone   .              - or GHOST      - or GHOST      - or GHOST
 *   drain time over, or release    .              .               .               -
 * RECALLED is HELD with `recalled` set; MAKING is any state with `in_use` above zero. A cut leaves
 * a lease on either side that did not overlap the change. On the last row but one, GHOST is for
 * what is pinned: it drains.
 *
 * A lease that is put back is INHERITED: HELD or RECALLED with `inherited` set, of a session that
 * nobody has open until it is adopted.
 *   reclaim                        HELD or RECALLED, whichever the flag hid
 *   change of others parks on it   no rung of its ladder begins while one is in its way
 *   own process changes, unpinned  GHOST (or cut), as any
 *   return, downgrade, commit, pin ENOENT
 *   grace over                     GHOST; changes that waited for it begin their ladders
 *   process gone, not adopted      GHOST, pinned or not: it drains, as its ghosts do
 *   adopted session closed         GHOST, or - (as HELD)
 *
 * States of a change
 *   PARKED   waiting; a timer for its rung, unless the rung has none, or it waits for the grace
 *            period's end
 *   ACTIVE   verdict 0 was given: the owner does it now and calls lm_change_end(); until then no
 *            grant is made that it would have had to recall
 *   READY    (a want) `available` waits to be read
 *   Decisions are made when it begins, when its rung's time is over, and whenever a lease or pin
 *   under it goes away: nobody left -> 0; time over and no pin -> the rest is revoked, 0; time over
 *   and a pin -> the next rung, at the end of the ladder EBUSY, wait or orphan.
 *
 * Invariants (lm_check() asserts them; numbers 1 to 8 of the design follow from them)
 *  L1. A ghost or lease of a session is in exactly one slot of it, and in one tree of its inode.
 *  L2. A lease is `recalled` exactly while a parked change that it is in the way of overlaps it.
 *  L3. No lease overlaps an active change that takes blocks away.
 *  L4. Exclusive leases of different sessions do not overlap, nor shared ones of others.
 *  L5. Every parked change has a lease (or, a want, a change) in its way, and a timer unless its
 *      rung is the last or its time is over and it only waits for somebody's `in_use`; but none
 *      while an inherited lease of others is in its way.
 *  L6. A pin lies inside its lease, whose count it is in.
 *  L7. A hold has as many links as its count says, and at least one.
 *  L8. A session with something to read is in the state `ready`, told once to the owner.
 *  L9. No bound named below is exceeded.
 *  L10. There are inherited leases only while the grace period's timer runs.
 *  L11. What is written down covers what is: a return, downgrade or revocation whose record is not
 *       taken does not happen. A session's end does, and leaves ghosts that are `unwritten`; no
 *       change that takes blocks away goes on over one before its record is there, and no lease is
 *       granted there, which the record might contradict.
 *
 * Events are state, not a queue: each lease, ghost and want has a few pending bits and one link in
 * its session's list, so there is always room. A recall that is over before it was read is never
 * seen; one that grows while unread is read once, at its latest.
 *
 * Ranges are bytes, half-open, in file offsets; leases are block aligned by the owner. Times are
 * nanoseconds of one monotonic clock. Everything is O(log n + k), k being what is in the way.
 * Functions return 0 or -errno; outputs are written on success only.
 */
#ifndef LEASEMGR_H
#define LEASEMGR_H

#include <stdbool.h>
#include <stdint.h>

#include "policy.h"

#define LM_SESSIONS_MAX                                                                            \
	4096u                              /* each costs the owner two descriptors; but for        \
					      those that nobody has adopted yet */
#define LM_SESSIONS_PER_USER_MAX 1024u     /* so that no user takes them all */
#define LM_LEASES_MAX (4u << 20)           /* leases and ghosts; 1 GiB at 256 bytes */
#define LM_LEASES_PER_SESSION_MAX 1000000u /* below 2^20 slots: what is left over is for cuts */
#define LM_PINS_MAX (1u << 20)
#define LM_PINS_PER_SESSION_MAX (1u << 18)
#define LM_PARKED_MAX 65536u /* operations; beyond, they fail with EBUSY at once */
#define LM_WANTS_PER_SESSION_MAX 256u
#define LM_HOLDS_MAX (1u << 20)      /* beyond, what is freed stays held until the next start */
#define LM_RENOTIFY_NS 1000000000ull /* `wait`: a person at a terminal notices a second */
#define LM_DRAIN_NS_DEFAULT                                                                        \
	2000000000ull /* DMA still in flight in the kernel when a process died */

struct lm;
struct lm_session;
struct lm_change;

enum lm_mode { LM_READ = 1, LM_WRITE = 2 };
#define LM_GRANT_EXCLUSIVE 1u
#define LM_PIN_UNBREAKABLE 1u

enum lm_kind {
	LM_FREE,      /* takes blocks away */
	LM_OVERWRITE, /* changes bytes: in the way of others' exclusive leases alone */
	LM_FILL,      /* as LM_OVERWRITE; adds extents: read leases are told when it ends */
	LM_MOVE,      /* takes all blocks away or elsewhere */
	LM_WANT,      /* leasemgr's own */
};

/* Who stood in the way: all that is needed to say so in one line. */
struct lm_conflict {
	uint64_t ino;
	uint64_t start, end; /* what was to change */
	const char *operation;
	uint32_t pid, uid; /* who asked */
	uint64_t session;
	uint32_t holder_pid, holder_uid;
	uint64_t lease;
	uint64_t lease_start, lease_end;
	uint64_t pin_start, pin_end; /* the whole lease for a slot's pin */
	uint64_t lease_age_ns;
	uint64_t waited_ns;
	uint64_t when_ns;
	bool unbreakable;
	bool own; /* the asker's own pin */
};

#define LM_SLOT_BITS 20u /* the low bits of a lease's or range pin's id are its slot */

/* What has to outlive the owner, of a lease or ghost. */
struct lm_lease_record {
	uint64_t lease;
	uint64_t origin, rest; /* a ghost's, as in its event */
	uint64_t ino;
	uint64_t start, end;
	uint32_t mode;
	uint32_t flags; /* LM_LEASE_EXCLUSIVE, LM_LEASE_REVOKED */
};

/*
 * What has happened, once for each transition that somebody who looks on would want to know of. The
 * owner puts the time to it. All that an operation did carries its number.
 */
enum lm_record_kind {
	LM_RECORD_SESSION_OPEN = 1,
	LM_RECORD_SESSION_CLOSE,
	LM_RECORD_SESSION_EXIT, /* its process has ended */
	LM_RECORD_SESSION_GONE,
	LM_RECORD_GRANT,
	LM_RECORD_RETURN,
	LM_RECORD_RECALL,   /* value: the deadline, 0: none */
	LM_RECORD_CANCEL,   /* of a recall */
	LM_RECORD_REVOKE,   /* value: the lease that it was cut from */
	LM_RECORD_SIGNAL,   /* value: its number */
	LM_RECORD_PARK,     /* value: the deadline, 0: none */
	LM_RECORD_COMPLETE, /* of an operation that was parked, or revoked; value: nanoseconds */
	LM_RECORD_BUSY,     /* value: nanoseconds; lease 0: too many are parked */
	LM_RECORD_INTERRUPT,
	LM_RECORD_QUARANTINE, /* value: bytes held for the ghost */
	LM_RECORD_RELEASE,    /* value: bytes that were */
	LM_RECORD_DRAIN,
	LM_RECORD_KINDS,
};
struct lm_record {
	enum lm_record_kind kind;
	uint32_t flags;   /* LM_LEASE_EXCLUSIVE; of a revocation LM_EVENT_OWN */
	uint64_t session; /* of the holder; 0: none */
	uint64_t lease;
	uint64_t ino;
	uint64_t start, end;
	uint64_t number; /* of the operation; 0: none */
	uint64_t value;
	uint32_t pid, uid; /* who asks */
	uint32_t holder_pid, holder_uid;
	uint32_t mode;         /* of the lease; 0: none */
	const char *operation; /* "": none */
};

/*
 * Effects. None may call leasemgr, block, or take a lock that is held while leasemgr is called:
 * they note down, and the owner acts afterwards. `owner` is the session's, as given at its opening.
 */
struct lm_ops {
	/* Is the count of that slot anything but a plain zero? Unreadable or nonsense: true. */
	bool (*slot_pinned)(void *context, void *owner, uint32_t slot);
	/* The slot's recall word, which makes new pins fail. A slot is `fresh` when a lease gets
	 * it. */
	void (*slot_recall)(void *context, void *owner, uint32_t slot, bool recalled);
	void (*slot_fresh)(void *context, void *owner, uint32_t slot, bool used_before);
	/* A part of the lease in `from` is to be a lease or ghost of its own, in `to`. -errno: that
	 * could not be written down. */
	int (*slot_split)(void *context, void *owner, uint32_t from, uint32_t to);
	void (*slot_free)(void *context, void *owner, uint32_t slot); /* its lease is no more */
	void (*ready)(void *context, void *owner); /* it has an event to read, and had none */
	/* 0: the change is ACTIVE; -EBUSY, -ENOMEM, or what slot_split or persist said: it is no
	 * more. Once for each parked change. */
	void (*verdict)(void *context, void *operation, struct lm_change *change, int verdict);
	void (*signal_holder)(void *context, void *owner, int signal_number);
	void (*conflict)(void *context, const struct lm_conflict *conflict);
	/* The blocks must not be reused, until released. -errno: that cannot be seen to. */
	int (*hold)(void *context, uint32_t region, uint64_t region_offset, uint64_t length);
	void (*release)(void *context, uint32_t region, uint64_t region_offset, uint64_t length);
	/* The inode has leases or ghosts now (only lm_grant() makes it so) / no more: what the
	 * first returns, the second gets. The owner keeps the inode meanwhile. */
	void *(*inode_used)(void *context, uint64_t ino);
	void (*inode_idle)(void *context, void *inode_owner);
	void (*session_gone)(void *context, void *owner); /* the session's memory goes now */
	/* NULL, or: this lease or ghost is to be so from now on, on media if it is to be found
	 * again. Not told of one that is being made: that is its owner's, before lm_grant_done().
	 * Of a cut the new parts come first (after slot_split), so that any prefix of it covers the
	 * whole. -errno: the record is as it was, and so is the lease; see L11. */
	int (*persist)(void *context, void *owner, const struct lm_lease_record *record);
	/* NULL, or: of that range pin. */
	void (*pin_moved)(void *context, void *owner, uint64_t pin, uint64_t lease);
	void (*pin_gone)(void *context, void *owner, uint64_t pin);
	/* For whoever looks on; NULL: nobody does. The record is valid during the call. */
	void (*happened)(void *context, const struct lm_record *record);
};

/* Fewer than what is named above, for tests that are to see all of them reached; 0: as above. */
struct lm_limits {
	uint32_t sessions, sessions_per_user;
	uint32_t leases, leases_per_session;
	uint32_t pins, pins_per_session;
	uint32_t parked;
	uint32_t wants_per_session;
	uint32_t holds;
};

struct lm_config {
	const struct lm_ops *ops;
	void *context;
	uint64_t seed;     /* of the table of inodes */
	uint64_t first_id; /* above every number of an earlier life; 0: there was none */
	uint64_t drain_ns; /* LM_DRAIN_NS_DEFAULT */
	struct lm_limits limits;
	bool check; /* lm_check() after every transition */
};

int lm_create(const struct lm_config *config, struct lm **out); /* -ENOMEM */
/* Everything goes without any effect being told, but memory. */
void lm_destroy(struct lm *lm);

/* ---- time ------------------------------------------------------------------------------------ */

uint64_t lm_next_deadline(const struct lm *lm); /* UINT64_MAX: none */
void lm_tick(struct lm *lm, uint64_t now_ns);   /* does all that is due; harmless when early */

/* ---- sessions -------------------------------------------------------------------------------- */

/* -EMFILE: too many of this user's, -ENFILE: too many. -ENOMEM. */
int lm_session_open(
	struct lm *lm, uint32_t pid, uint32_t uid, void *owner, struct lm_session **out);
uint64_t lm_session_id(const struct lm_session *s); /* never 0, never used twice */
/* Another process, which lives, is accountable from now on. */
void lm_session_set_process(struct lm_session *s, uint32_t pid, uint64_t now_ns);
/* The open file description has ended. The session may be gone when this returns. */
void lm_session_close(struct lm_session *s, uint64_t now_ns);
/* The accountable process has ended. The session may be gone when this returns. */
void lm_session_process_gone(struct lm_session *s, uint64_t now_ns);
/* An administrator says that nothing of a closed session touches the media any more. -EBUSY: open.
 */
int lm_session_release(struct lm_session *s, uint64_t now_ns);

/* ---- leases ---------------------------------------------------------------------------------- */

struct lm_grant_request {
	uint64_t ino;
	uint64_t start, end;
	enum lm_mode mode;
	unsigned flags;                 /* LM_GRANT_* */
	uint32_t pid;                   /* who asks, for messages to others */
	const struct lm_policy *policy; /* for what is in its way */
};
struct lm_grant {
	uint64_t lease;
	uint32_t slot;
};
/*
 * The lease exists from now on, so that no change can miss it, but is still being made: the owner
 * prepares the layout and calls lm_grant_done(). -EAGAIN: something is in the way; it was recalled,
 * and `available` will come. -ENOLCK: a limit. -ESHUTDOWN: draining. -ENOBUFS: too many unanswered
 * wants. -EINVAL, -ENOMEM; ops->persist's errors, of a ghost that is `unwritten`.
 */
int lm_grant(struct lm_session *s, const struct lm_grant_request *r, uint64_t now_ns,
	struct lm_grant *out);
void lm_grant_done(struct lm_session *s, uint64_t lease, bool ok, uint64_t now_ns);
/* Is nothing in its way? Then its policy does not matter. */
bool lm_grant_is_free(const struct lm_session *s, const struct lm_grant_request *r);
/*
 * Gives [start, end) of a lease back (0, 0: all). Returning the middle leaves two: the front keeps
 * the id, *rest is the id of the other (0: there is none). -ENOENT, -EINVAL (not inside), -EBUSY
 * (pinned, or in use by another call), -ENOMEM, -ENOLCK, and ops->persist's errors.
 */
int lm_return(struct lm_session *s, uint64_t lease, uint64_t start, uint64_t end, uint64_t now_ns,
	struct lm_grant *rest);
/*
 * To a read lease; `share`: not exclusive any more. -ENOENT, -EBUSY: pinned, or in use; and
 * ops->persist's errors.
 */
int lm_downgrade(struct lm_session *s, uint64_t lease, bool share, uint64_t now_ns);
/*
 * Around a commit, so that no change gets its verdict in between. -ENOENT, -EBADF: a read lease,
 * -EINVAL: not inside it.
 */
int lm_commit_begin(struct lm_session *s, uint64_t lease, uint64_t start, uint64_t end);
void lm_commit_end(struct lm_session *s, uint64_t lease, uint64_t now_ns);
/* The holder has no mapping of that revoked lease any more. -ENOENT, -EBUSY: still pinned. */
int lm_ack(struct lm_session *s, uint64_t lease, uint64_t now_ns);

#define LM_LEASE_EXCLUSIVE 1u
#define LM_LEASE_RECALLED 2u
#define LM_LEASE_REVOKED 4u
#define LM_LEASE_PINNED 8u
#define LM_LEASE_MAKING 16u
#define LM_LEASE_ORPHANED 32u /* its session has been closed */
#define LM_LEASE_INHERITED 64u
struct lm_lease_info {
	uint64_t lease;
	uint64_t origin; /* a ghost: the lease that it was, or was cut from */
	uint64_t session;
	void *owner; /* of the session */
	uint64_t ino;
	uint64_t start, end;
	uint64_t granted_ns;
	uint64_t recall_deadline_ns; /* 0: none */
	uint64_t quarantine_bytes;
	uint32_t slot;
	uint32_t pid, uid;
	uint32_t mode;
	uint32_t flags;
	uint32_t range_pins;
};
/* Without asking for the slot's pin. -ENOENT. */
int lm_lease_info(struct lm_session *s, uint64_t lease, struct lm_lease_info *out);

/* ---- another life ---------------------------------------------------------------------------- */

/*
 * What an earlier life has left, put back before anything else happens: sessions by rising number,
 * of each its leases, then its range pins and holds, then lm_session_restored(), and when all are
 * there lm_grace_begin(). -EUCLEAN: it contradicts itself, or what is there. -ENOMEM. After an
 * error nothing but lm_destroy() is to be called.
 *
 * The session is closed, but kept for whoever adopts it: its leases stay until the grace period
 * ends, its ghosts until the process is gone.
 */
int lm_session_restore(struct lm *lm, uint64_t number, uint32_t pid, uint32_t uid, void *owner,
	struct lm_session **out);
/* `ino` 0: of a file that is no more (a ghost then). `was_recalled`: the holder may know of it. */
int lm_lease_restore(
	struct lm_session *s, const struct lm_lease_record *r, bool was_recalled, uint64_t now_ns);
/* -ENOENT: neither that lease nor one that was cut from it has that range. */
int lm_pin_restore(struct lm_session *s, uint64_t pin, uint64_t lease, uint64_t start, uint64_t end,
	unsigned flags);
/* That lease's holder may touch blocks that its file does not have any more. ops->hold's errors. */
int lm_hold_restore(struct lm_session *s, uint64_t lease, uint32_t region, uint64_t region_offset,
	uint64_t length);
void lm_session_restored(struct lm_session *s);
/* Until that time. It ends early when nothing is inherited any more. -ENOMEM. */
int lm_grace_begin(struct lm *lm, uint64_t end_ns, uint64_t now_ns);

/* Nobody has adopted it. */
bool lm_session_is_inherited(const struct lm_session *s);
/* An open file of that process goes on with it. What it was not told yet, or again, it is told. */
void lm_session_adopt(struct lm_session *s, uint32_t pid, void *owner, uint64_t now_ns);
/* Another owner, from now on. */
void lm_session_set_owner(struct lm_session *s, void *owner);
bool lm_session_is_empty(const struct lm_session *s); /* no lease, ghost or want */
/*
 * The holder goes on with that lease, or (0) with any that is inherited: its id is the result.
 * -ENOENT: none such; -ESTALE: it was revoked. Again: 0.
 */
int lm_reclaim(struct lm_session *s, uint64_t *lease, uint64_t now_ns);
uint64_t lm_session_inherited(const struct lm_session *s); /* leases still to be reclaimed */
uint64_t lm_next_number(const struct lm *lm);              /* all that were used are below it */
uint64_t lm_grace_end(const struct lm *lm); /* 0: there is no grace period (any more) */

/* ---- pins ------------------------------------------------------------------------------------ */

/* -ENOENT, -EINVAL (not inside the lease), -EAGAIN (it is recalled), -ENOLCK. */
int lm_pin(struct lm_session *s, uint64_t lease, uint64_t start, uint64_t end, unsigned flags,
	uint64_t *pin);
int lm_unpin(struct lm_session *s, uint64_t pin, uint64_t now_ns); /* -ENOENT */
/* The slot's count has come to zero under a recall. -ENOENT. */
int lm_unpinned(struct lm_session *s, uint64_t lease, uint64_t now_ns);

/* ---- changes --------------------------------------------------------------------------------- */

struct lm_change_request {
	uint64_t ino;
	uint64_t start, end;
	enum lm_kind kind;
	uint32_t pid, uid;
	const char *operation; /* static */
	const struct lm_policy *policy;
};
#define LM_PARKED 1
/*
 * 0: go on, and lm_change_end(*out); LM_PARKED: ops->verdict comes; -EBUSY: a pin that will not
 * break, the asker's own pin, a policy that gives no time, or too many parked; -ENOMEM; what
 * ops->persist said of a lease that was to be revoked.
 */
int lm_change_begin(struct lm *lm, const struct lm_change_request *r, void *operation,
	uint64_t now_ns, struct lm_change **out);
void lm_change_end(struct lm_change *c, uint64_t now_ns); /* an ACTIVE one */
/* 0: it was parked, and is no more: no verdict comes. -EALREADY: it was decided. */
int lm_change_interrupt(struct lm_change *c, uint64_t now_ns);
/*
 * Where no lease is in the way at all: as lm_change_begin() with the result 0, which asks for no
 * policy and no time then, and however many are parked. -EAGAIN: something is, or an `unwritten`
 * ghost whose record is not taken; -ENOMEM.
 */
int lm_change_try(
	struct lm *lm, const struct lm_change_request *r, void *operation, struct lm_change **out);
/*
 * An ACTIVE one that frees: nobody has a lease or a stale mapping on its range, so until it ends
 * nobody gets one, and what it frees of its range need not be told with lm_freeing().
 */
bool lm_change_is_alone(const struct lm_change *c);
bool lm_is_write_leased(const struct lm *lm, uint64_t ino);

/*
 * Blocks of [start, end) are about to be freed; whatever a mapping may still touch is held. Then
 * lm_freed() for all that was told of the inode since: it was freed, or all of it was not. -errno:
 * something cannot be held; it must not be.
 */
int lm_freeing(struct lm *lm, uint64_t ino, uint64_t start, uint64_t end, uint32_t region,
	uint64_t region_offset);
void lm_freed(struct lm *lm, uint64_t ino, bool committed);
/* Holes of [start, end) have got blocks: read leases are told; not `by`'s (may be NULL). */
void lm_layout_changed(
	struct lm *lm, uint64_t ino, uint64_t start, uint64_t end, const struct lm_session *by);
/* No new leases; every session is told. What is held is recalled by changes of the owner's. */
void lm_drain(struct lm *lm);

/* ---- events ---------------------------------------------------------------------------------- */

enum lm_event_kind {
	LM_EVENT_RECALL = 1, /* return [start, end) of the lease by the deadline */
	LM_EVENT_RECALL_CANCELLED,
	LM_EVENT_LAYOUT_CHANGED,
	/* unmap [start, end), then ack it by this id. `origin`: the lease that it was a part of (or
	 * all, when equal); `rest`: the id of what is left behind the cut, 0 if nothing is */
	LM_EVENT_REVOKED,
	LM_EVENT_AVAILABLE, /* ask again for [start, end) */
	LM_EVENT_DRAIN,
};
#define LM_EVENT_ADVISORY                                                                          \
	1u                    /* recall: nobody waits; an unbreakable pin has failed an operation  \
			       */
#define LM_EVENT_OWN 2u       /* revoked: by an operation of the session's own process */
#define LM_EVENT_EXCLUSIVE 4u /* available: for the exclusive lease that was asked for */
struct lm_event {
	uint32_t kind;
	uint32_t flags;
	uint64_t lease;
	uint64_t origin;
	uint64_t rest;
	uint64_t ino;
	uint64_t start, end;
	uint64_t deadline_ns; /* recall; 0: none */
	uint32_t pid;         /* recall: who asks first */
	uint32_t mode;
};
bool lm_event_waiting(const struct lm_session *s);
/*
 * Some that were told may have been lost: recalls, revocations and layouts come again, and
 * `available` of what was not asked for since.
 */
void lm_session_tell_again(struct lm_session *s);
/* false: none. Taken is told: an owner that could not deliver one keeps it and gives it first. */
bool lm_event_next(struct lm_session *s, struct lm_event *out);

/* ---- looking --------------------------------------------------------------------------------- */

struct lm_status {
	uint64_t sessions, leases, ghosts, range_pins, parked, active, wants, holds;
	uint64_t quarantine_bytes;
	uint64_t leaked_bytes; /* held for want of memory or room: until the next start */
	uint64_t grants, returns, recalls, revocations, busy;
	uint64_t unwritten; /* ghosts whose records say that they are leases */
	uint64_t inherited; /* leases to be reclaimed; counted in `leases` too */
	uint64_t inherited_bytes;
	uint64_t reclaimed, grace_revoked;
	bool draining;
};
void lm_get_status(const struct lm *lm, struct lm_status *out);
/* Leases and ghosts one after the other: *session and *slot (0, 0 at first) say where. */
bool lm_next_lease(
	const struct lm *lm, uint64_t *session, uint32_t *slot, struct lm_lease_info *out);
/*
 * Of one inode: its leases, then its ghosts, each by rising start; and its range pins. Begin with a
 * cursor of zeroes; a step is O(log n), and things may come and go between two.
 */
struct lm_cursor {
	uint32_t part;
	uint64_t start;
	uint64_t id;
};
bool lm_next_lease_of(
	const struct lm *lm, uint64_t ino, struct lm_cursor *at, struct lm_lease_info *out);
struct lm_session_info {
	uint64_t session;
	void *owner;
	uint64_t leases, ghosts, range_pins, wants;
	uint32_t pid, uid;
	bool closed, process_gone;
};
/* The one with the highest id below that, and the one after it; NULL: none. */
const struct lm_session *lm_session_below(const struct lm *lm, uint64_t id);
const struct lm_session *lm_session_after(const struct lm_session *s);
void lm_session_info(const struct lm_session *s, struct lm_session_info *out);
struct lm_change_info {
	uint64_t number;
	uint64_t ino;
	uint64_t start, end;
	uint64_t began_ns;
	uint64_t deadline_ns;    /* of the policy's next step; 0: none */
	uint64_t session, lease; /* one that is in its way; 0: none */
	uint32_t pid, uid;
	uint32_t holder_pid, holder_uid;
	const char *operation;
};
void lm_change_info(struct lm_change *c, struct lm_change_info *out); /* of a parked one */
struct lm_pin_info {
	uint64_t pin;
	uint64_t lease;
	uint64_t session;
	uint64_t start, end;
	uint32_t pid, uid;
	uint32_t flags; /* LM_PIN_* */
};
bool lm_next_pin_of(
	const struct lm *lm, uint64_t ino, struct lm_cursor *at, struct lm_pin_info *out);

void lm_check(const struct lm *lm); /* asserts the invariants */

#endif
