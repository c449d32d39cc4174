/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * control.h - the binary interface between a leasefs mount and programs that lease from it.
 *
 * Changelog
 *  1  first version
 *     LEASEFS_FEATURE_WATCH: LEASEFS_IOC_HISTORY, _SESSIONS, _OPERATIONS, _HELD; _REGION needs no
 *     session
 *     LEASEFS_FEATURE_RECLAIM: LEASEFS_IOC_RECLAIM, LEASEFS_IOC_GRACE, LEASEFS_LEASE_INHERITED
 *     LEASEFS_IOC_SPACE
 *
 * A program opens the control file, `.leasefs/control` in the mount's root, and says
 * LEASEFS_IOC_HELLO: that open file description is then a *session*. fork(2) and SCM_RIGHTS share
 * it; the last close ends it. Leases are asked for on the file's own descriptor, with the session's
 * cookie: so the kernel has checked who may open the file, and the open mode is the permission.
 * Everything else is asked on the control file, because the kernel holds the inode lock of a file
 * whose truncate waits: nothing that a holder does to give way touches the leased file.
 *
 * Rules for all structures: fixed size, no pointers, little to learn: fields that are not described
 * as "out" are inputs; `reserved` and unknown flags must be zero (EINVAL); outputs are written on
 * success only. Ranges are bytes, offset and length; a length of 0 is "all" where it says so.
 * Errors of every call: EINVAL (as above, or a range past 2^63), ENOTTY (unknown to this daemon, or
 * on the wrong file), EBADF (no HELLO yet), ENOMEM.
 *
 * Events are read(2) from the control file: whole struct leasefs_event records, as many as fit and
 * are there; poll(2) and O_NONBLOCK (EAGAIN) work. An event may be about a lease whose grant has
 * not returned yet. Events are never lost: a recall that nobody has read stays until it is over.
 *
 * Pins of a whole lease are counted in memory that client and daemon share: see struct
 * leasefs_pin_line.
 */
#ifndef LEASEFS_CONTROL_H
#define LEASEFS_CONTROL_H

#include <linux/ioctl.h>
#include <stdint.h>

#ifdef __cplusplus
#define LEASEFS_STATIC_ASSERT(what, why) static_assert(what, why)
#else
#define LEASEFS_STATIC_ASSERT(what, why) _Static_assert(what, why)
#endif

#define LEASEFS_ABI 1u
#define LEASEFS_CONTROL_PATH ".leasefs/control" /* below the mount point */

/* Features: a client names those it would use, the daemon answers with those of them it has. */
#define LEASEFS_FEATURE_SLOT_PINS (1ull << 0)  /* pins_path can be mapped */
#define LEASEFS_FEATURE_RANGE_PINS (1ull << 1) /* LEASEFS_IOC_PIN */
#define LEASEFS_FEATURE_EXCLUSIVE (1ull << 2)  /* LEASEFS_GRANT_EXCLUSIVE */
#define LEASEFS_FEATURE_WATCH (1ull << 3)      /* LEASEFS_IOC_HISTORY, _SESSIONS, _OPERATIONS */
#define LEASEFS_FEATURE_RECLAIM (1ull << 4)    /* LEASEFS_IOC_RECLAIM, _GRACE */

/* ---- session --------------------------------------------------------------------------------- */

/*
 * Makes the session, or shows it again. The caller's process becomes accountable for it: it is the
 * one that policies signal, and whose end ends what the session left behind.
 * EMFILE, ENFILE: too many sessions; ESRCH: the caller's process is not visible to the daemon.
 */
struct leasefs_hello {
	uint32_t abi;      /* LEASEFS_ABI; out: the lower of both */
	uint32_t flags;    /* 0 */
	uint64_t features; /* wanted; out: agreed */
	uint64_t reserved[4];
	uint64_t session;   /* out: its number, as messages name it */
	uint64_t cookie[2]; /* out: for LEASEFS_IOC_GRANT; who has it may lease for this session */
	uint64_t boot[2];   /* out: the boot verifier: other values mean another daemon */
	uint32_t pid;       /* out: the accountable process */
	uint32_t pin_line_bytes; /* out: sizeof(struct leasefs_pin_line) */
	uint64_t pin_file_bytes; /* out: how much of the file may be mapped now */
	char pin_file[3072]; /* out: path of the pin lines; "" without LEASEFS_FEATURE_SLOT_PINS */
};

/* The calling process becomes accountable, after the session was passed on. */
struct leasefs_process {
	uint32_t flags; /* 0 */
	uint32_t pid;   /* out */
	uint64_t reserved[2];
};

/* ---- leases ---------------------------------------------------------------------------------- */

#define LEASEFS_MODE_READ 1u
#define LEASEFS_MODE_WRITE 2u

#define LEASEFS_EXTENT_WRITTEN 0u
#define LEASEFS_EXTENT_UNWRITTEN 1u /* reads as zeroes: do not map it, the region has old bytes */
#define LEASEFS_EXTENT_HOLE 2u      /* the region fields are 0 */

struct leasefs_extent {
	uint64_t offset; /* in the file */
	uint64_t length;
	uint64_t region_offset;
	uint32_t region;
	uint32_t state; /* LEASEFS_EXTENT_* */
};

#define LEASEFS_GRANT_EXCLUSIVE 1u
#define LEASEFS_NO_SLOT 0xffffffffu
#define LEASEFS_GRANT_EXTENTS 8u

/*
 * On the descriptor of the file itself. The range is rounded outward to blocks (or the region's
 * alignment). A write lease has no holes: they are allocated, past the end of file too.
 * EAGAIN: in the way of a recall or of an exclusive lease; the event `available` comes.
 * EACCES: the caller may not open the region. EBADF: the descriptor is not open for that mode.
 * EPERM: no such session. ENOLCK: too many leases. ENOBUFS: too many unanswered requests.
 * ENOSPC: for the holes. EFBIG: past the largest size of a file. ESHUTDOWN: the mount drains.
 * ENOTTY: a directory. EIO, ENOSPC too: the lease could not be written down.
 */
struct leasefs_grant {
	uint64_t cookie[2];
	uint64_t offset; /* out: rounded */
	uint64_t length; /* 0: to the end of file; out: rounded */
	uint32_t mode;   /* LEASEFS_MODE_* */
	uint32_t flags;  /* LEASEFS_GRANT_* */
	uint64_t reserved[2];
	uint64_t lease;          /* out */
	uint64_t pin_file_bytes; /* out: map again if it has grown */
	uint64_t next;  /* out: where LEASEFS_IOC_LAYOUT goes on; the range's end: complete */
	uint32_t slot;  /* out: pin line, or LEASEFS_NO_SLOT */
	uint32_t count; /* out: extents */
	struct leasefs_extent extents[LEASEFS_GRANT_EXTENTS]; /* out: in order, without gaps */
};

/* ENOENT: no such lease. ESTALE: revoked. */
#define LEASEFS_LAYOUT_EXTENTS 120u
struct leasefs_layout {
	uint64_t lease;
	uint64_t offset; /* begin here: the lease's start, or `next` of the last page */
	uint64_t reserved[2];
	uint64_t next;                                         /* out */
	uint32_t count;                                        /* out */
	uint32_t pad;                                          /* out: 0 */
	struct leasefs_extent extents[LEASEFS_LAYOUT_EXTENTS]; /* out */
};

#define LEASEFS_MEDIA_PMEM 0u
#define LEASEFS_MEDIA_VOLATILE 1u
#define LEASEFS_MEDIA_PAGE_CACHE 2u
#define LEASEFS_REGION_LONG_TERM_PINS 1u /* the kernel allows them: RDMA, registered buffers */

/* Where to map a region from; without a session, too. ENOENT. */
struct leasefs_region {
	uint32_t region;
	uint32_t flags; /* out: LEASEFS_REGION_* */
	uint64_t reserved[2];
	uint64_t bytes;     /* out */
	uint64_t alignment; /* out: of mappings */
	uint32_t media;     /* out: LEASEFS_MEDIA_* */
	uint32_t owner_uid; /* out */
	char path[3072];    /* out: open(2) it; the kernel decides who may */
};

/*
 * Gives a range back: unmap it first. Returning the middle leaves two leases; the front keeps id
 * and slot. ENOENT: not a lease of this session (any more). EBUSY: pinned, or another call on that
 * lease is under way. EINVAL: not inside the lease. ENOLCK. EIO: what is left of it could not be
 * written down.
 */
struct leasefs_return {
	uint64_t lease;
	uint64_t offset;
	uint64_t length; /* 0, with offset 0: the whole lease */
	uint64_t reserved[2];
	uint64_t rest;      /* out: the lease behind the range, or 0 */
	uint32_t rest_slot; /* out */
	uint32_t pad;       /* out: 0 */
};

/* To a read lease, whatever the flags. ENOENT, EBUSY: pinned. EIO: it could not be written down. */
#define LEASEFS_DOWNGRADE_SHARE 1u /* not exclusive any more */
struct leasefs_downgrade {
	uint64_t lease;
	uint32_t flags;
	uint32_t pad; /* 0 */
	uint64_t reserved[2];
};

/*
 * After direct stores: grows the file to `size` if that is more, sets its times, persists the range
 * as the media needs, and lets others' ordinary reads see it. ENOENT, EBADF: a read lease, EINVAL:
 * not inside the lease, or size past its end; EIO, ENOSPC, EFBIG.
 */
struct leasefs_commit {
	uint64_t lease;
	uint64_t offset;
	uint64_t length; /* 0, with offset 0: the whole lease */
	uint64_t size;   /* 0: leave it */
	uint64_t reserved[2];
};

/* There is no mapping of that revoked range any more. ENOENT; EBUSY: still pinned. */
struct leasefs_ack {
	uint64_t lease;
	uint64_t reserved[2];
};

/* ---- after another daemon's end -------------------------------------------------------------- */

/*
 * When a daemon ends, by whatever signal, its descriptors give ENOTCONN, and mappings and pin lines
 * stay. The next daemon of the same boot of the machine finds the sessions, leases and pins written
 * down, and waits for their holders: a *grace period* (mount option `grace`), in which nothing that
 * needs one of these leases out of its way goes on. To go on, a program opens the new mount's
 * control file, says HELLO as always, and before it asks for any lease there, RECLAIM:
 *
 *     cookie, boot   of its session, as the HELLO of the earlier daemon gave them
 *     lease          one of that session's leases; 0: any that is not reclaimed yet
 *
 * The first RECLAIM that finds the session makes the two one: the open file now is the session of
 * old, with its number, its pin file, its lines and range pins (their ids stay), and HELLO's new
 * cookie; the pin file that HELLO named is void. The lease keeps id, slot, range, mode and extents,
 * so mappings and pins need nothing done to them, and pinning goes on meanwhile; recalls and
 * revocations that the client has not answered come again as events, with new deadlines. What was
 * asked for and not answered (grants, returns) may have happened or not: so the range, mode and
 * flags are outputs, and `lease` 0 in a loop until ENOENT finds leases that the client never heard
 * of. Any process with the cookie and the session's user id may reclaim; it becomes accountable.
 *
 * When the grace period is over (early, if nothing is left to be reclaimed), what was not reclaimed
 * is revoked: it delays nobody, and its blocks are not reused until the processes that have it
 * mapped are gone, an administrator says so, or it is acknowledged: RECLAIM says ESTALE then, but
 * the session is one with this open file all the same, and LEASEFS_IOC_ACK works.
 *
 * ESTALE: `boot` is of no daemon whose sessions are known (another boot of the machine, or nothing
 * was left of them), or the lease has been revoked: unmap it, then ACK (ENOENT: there is no need).
 * EPERM: no session of that daemon has the cookie, or it is another user's. ENOENT: not a lease of
 * that session any more; with 0: that were all. EBUSY: this open file is another session of old
 * already, or has leases of its own; or another open file has reclaimed that session. The one whose
 * answer was lost in a further end of the daemon says the older cookie and boot again.
 */
struct leasefs_reclaim {
	uint64_t cookie[2];
	uint64_t boot[2];
	uint64_t lease; /* 0: any; out */
	uint64_t reserved[2];
	uint64_t session;        /* out: its number, of old */
	uint64_t inode;          /* out: st_ino */
	uint64_t offset, length; /* out */
	uint64_t pin_file_bytes; /* out */
	uint32_t mode;           /* out: LEASEFS_MODE_* */
	uint32_t flags;          /* out: LEASEFS_GRANT_* */
	uint32_t slot;           /* out: pin line, or LEASEFS_NO_SLOT */
	uint32_t range_pins;     /* out: how many pins of ranges it has */
	uint32_t left;           /* out: leases of the session that are not reclaimed yet */
	uint32_t pad;            /* 0 */
};

/* The grace period, for anybody, without a session. */
struct leasefs_grace {
	uint64_t reserved[2];
	uint64_t boot[2];   /* out: this daemon's */
	uint64_t left_ns;   /* out: until its end; 0: there is none */
	uint64_t inherited; /* out: leases that are not reclaimed yet */
	uint64_t reclaimed; /* out: since the daemon's start */
	uint64_t revoked;   /* out: by the grace period's end */
};

/* ---- pins ------------------------------------------------------------------------------------ */

/*
 * One a lease, at slot * sizeof. To pin: add one to `pins`, then read `recall`; if it is not zero,
 * unpin again: the pin has failed. To unpin: take one away; if that makes zero and `recall` is not
 * zero, say LEASEFS_IOC_UNPINNED. A failed pin does so too, since the daemon may have read its
 * count for a moment, and wait for its end. Both atomic and sequentially consistent. The daemon
 * alone writes `recall`, and takes anything but 0 in `pins` for pinned, an unreadable line too.
 */
struct leasefs_pin_line {
	uint32_t pins;
	uint32_t recall;
	uint32_t reserved[14];
};

#define LEASEFS_PIN_UNBREAKABLE 1u /* an operation that would free it fails at once */

/* A counted pin of a range. ENOENT, EINVAL: not inside the lease; EAGAIN: recalled; ENOLCK. */
struct leasefs_pin {
	uint64_t lease;
	uint64_t offset;
	uint64_t length; /* 0, with offset 0: the whole lease */
	uint32_t flags;
	uint32_t pad; /* 0 */
	uint64_t reserved[2];
	uint64_t pin; /* out */
};
struct leasefs_unpin {
	uint64_t pin;
	uint64_t reserved[2];
};
struct leasefs_unpinned {
	uint64_t lease;
	uint64_t reserved[2];
};

/* ---- events ---------------------------------------------------------------------------------- */

#define LEASEFS_EVENT_RECALL 1u           /* return the range of the lease until the deadline */
#define LEASEFS_EVENT_RECALL_CANCELLED 2u /* the lease is whole */
#define LEASEFS_EVENT_LAYOUT_CHANGED 3u   /* holes were filled: fetch the layout again */
#define LEASEFS_EVENT_REVOKED 4u          /* unmap the range, then LEASEFS_IOC_ACK this id */
#define LEASEFS_EVENT_AVAILABLE 5u        /* ask again for the range; there is no lease in it */
#define LEASEFS_EVENT_DRAIN 6u            /* no more leases here: give back what there is */

#define LEASEFS_RECALL_ADVISORY 1u /* nobody waits: an unbreakable pin has failed the operation */
#define LEASEFS_REVOKED_OWN 2u     /* by the session's own process */
#define LEASEFS_AVAILABLE_EXCLUSIVE 4u /* it was an exclusive lease that was asked for */

struct leasefs_event {
	uint32_t kind;
	uint32_t flags;
	uint64_t lease;
	uint64_t origin; /* revoked: the lease that this was a part of, or `lease` itself */
	uint64_t rest;   /* revoked: what is left of it behind the range, or 0 */
	uint64_t inode;  /* st_ino */
	uint64_t offset;
	uint64_t length;
	uint64_t deadline_ns; /* recall: CLOCK_MONOTONIC; 0: none */
	uint32_t pid;         /* recall: who asks */
	uint32_t mode;        /* of the lease, or as asked for */
	uint64_t reserved[2];
};

/* ---- looking --------------------------------------------------------------------------------- */

/* Of anybody, without a session. */
struct leasefs_status {
	uint64_t reserved[2];
	uint32_t abi; /* out, as all that follows */
	uint32_t format_major, format_minor;
	uint32_t regions;
	uint32_t media;      /* of the metadata region */
	uint32_t durability; /* 0: relaxed, 1: strict */
	uint32_t domains;    /* 0: single, 1: uid */
	uint32_t draining;
	uint64_t pool_bytes, free_bytes, pending_bytes;
	uint64_t meta_bytes, meta_free_bytes;
	uint64_t inodes_used, inodes_cached;
	uint64_t sessions, leases, revoked, range_pins, parked, wants;
	uint64_t quarantine_bytes, quarantine_leaked_bytes;
	uint64_t grants, returns, recalls, revocations, busy; /* since the daemon's start */
	uint64_t daemon_pid;
	uint64_t inherited_bytes; /* leased under an earlier daemon, and not reclaimed yet */
	char uuid[40];
	char label[32];
	char policy[256];
	char pool[2048];
};

/*
 * Of anybody, without a session: in how many pieces the free space is, page by page: add them up.
 * A piece does not cross an allocation group (128 MiB). ENOTTY: a daemon that does not know it.
 */
struct leasefs_space {
	uint64_t cursor; /* 0 at first; out: for the next page; 0: that was all */
	uint64_t reserved[2];
	uint64_t free_bytes; /* out, as all that follows: of this page */
	uint64_t free_extents;
	uint64_t largest_bytes; /* of the largest of them */
};

#define LEASEFS_LEASE_EXCLUSIVE 1u
#define LEASEFS_LEASE_RECALLED 2u
#define LEASEFS_LEASE_REVOKED 4u
#define LEASEFS_LEASE_PINNED 8u
#define LEASEFS_LEASE_ORPHANED 32u  /* its session was closed; waits for its process to end */
#define LEASEFS_LEASE_INHERITED 64u /* of an earlier daemon's, and not reclaimed yet */

struct leasefs_lease_info {
	uint64_t lease;
	uint64_t session;
	uint64_t inode;
	uint64_t offset, length;
	uint64_t age_ns;
	uint64_t recall_left_ns; /* until the deadline; 0: none */
	uint64_t quarantine_bytes;
	uint32_t pid, uid;
	uint32_t mode;
	uint32_t flags; /* LEASEFS_LEASE_* */
	uint32_t range_pins;
	uint32_t slot_pins; /* of the whole lease, as its line says */
};

/* All leases, page by page; an ordinary user sees those of their own user id. */
#define LEASEFS_LEASES 40u
struct leasefs_leases {
	uint64_t cursor[2]; /* 0, 0 at first; out: for the next page */
	uint64_t inode;     /* of this file alone; 0: all */
	uint64_t reserved[2];
	uint32_t count; /* out; 0: that was all */
	uint32_t tree;  /* 0 at first; out: belongs to the cursor */
	struct leasefs_lease_info leases[LEASEFS_LEASES]; /* out */
};

/* What failed with EBUSY lately, latest first: who was in the way. */
struct leasefs_conflict {
	uint64_t inode;
	uint64_t offset, length; /* what was to change; length 0: to the end */
	uint64_t session;
	uint64_t lease;
	uint64_t pin_offset, pin_length;
	uint64_t lease_age_ns;
	uint64_t waited_ns;
	uint64_t ago_ns;
	uint32_t pid, uid;               /* who asked */
	uint32_t holder_pid, holder_uid; /* who held */
	uint32_t unbreakable, own;
	char operation[32];
};
#define LEASEFS_CONFLICTS 20u
struct leasefs_conflicts {
	uint64_t skip;
	uint64_t inode; /* of this file alone; 0: all */
	uint64_t reserved[2];
	uint32_t count; /* out */
	uint32_t pad;
	struct leasefs_conflict conflicts[LEASEFS_CONFLICTS]; /* out */
};

/*
 * By the administrator (EPERM): recalls everything and refuses new leases from then on (ESHUTDOWN).
 * Returns when all has been given back or revoked; EBUSY: something is pinned, and still held.
 */
struct leasefs_drain {
	uint64_t reserved[4];
};

/*
 * By the administrator (EPERM): asks the holders of [offset, offset + length) of a file to give it
 * back, as an operation would that wants it. Returns when nobody holds it any more; EBUSY: pinned.
 */
struct leasefs_recall {
	uint64_t inode;
	uint64_t offset;
	uint64_t length; /* 0, with offset 0: all */
	uint64_t reserved[2];
};

/*
 * By the administrator (EPERM), of a session that has been closed: nothing of it touches the media
 * any more, so what waits for it in quarantine may go. ENOENT; EBUSY: it is open.
 */
struct leasefs_release {
	uint64_t session;
	uint64_t reserved[2];
};

/* The range pins of a file, page by page; an ordinary user sees those of their own user id. */
struct leasefs_pin_info {
	uint64_t pin;
	uint64_t lease;
	uint64_t session;
	uint64_t offset, length;
	uint32_t pid, uid;
	uint32_t flags; /* LEASEFS_PIN_* */
	uint32_t pad;
};
#define LEASEFS_PINS 60u
struct leasefs_pins {
	uint64_t inode;
	uint64_t cursor[2]; /* 0, 0 at first; out: for the next page */
	uint64_t reserved[2];
	uint32_t count; /* out; 0: that was all */
	uint32_t pad;
	struct leasefs_pin_info pins[LEASEFS_PINS]; /* out */
};

/* Of anybody, without a session; an ordinary user sees those of their own user id. */
#define LEASEFS_SESSION_CLOSED 1u    /* its file was closed: revoked leases are left */
#define LEASEFS_SESSION_DEAD 2u      /* its accountable process has ended */
#define LEASEFS_SESSION_SLOT_PINS 4u /* it has pin lines */
struct leasefs_session_info {
	uint64_t session;
	uint64_t age_ns;
	uint64_t leases; /* not revoked */
	uint64_t revoked;
	uint64_t range_pins;
	uint64_t wants; /* lease requests that wait */
	uint32_t pid, uid;
	uint32_t flags; /* LEASEFS_SESSION_* */
	uint32_t pad;
};
#define LEASEFS_SESSIONS 50u
struct leasefs_sessions {
	uint64_t cursor; /* 0 at first; out: for the next page */
	uint64_t reserved[2];
	uint32_t count;                                         /* out; 0: that was all */
	uint32_t pad;                                           /* 0 */
	struct leasefs_session_info sessions[LEASEFS_SESSIONS]; /* out */
};

/* By the administrator (EPERM): where a lease of anybody's stands. ENOENT; ESTALE: revoked. */
struct leasefs_held {
	uint64_t session;
	uint64_t lease;
	uint64_t offset; /* begin here: 0, or `next` of the last page */
	uint64_t reserved[2];
	uint64_t next;  /* out */
	uint64_t end;   /* out: of the lease; `next` == `end`: complete */
	uint32_t count; /* out */
	uint32_t pad;   /* 0 */
	struct leasefs_extent extents[LEASEFS_LAYOUT_EXTENTS]; /* out */
};

/* File operations that wait for leases, in the order in which they came. As sessions. */
struct leasefs_operation {
	uint64_t number; /* as in the history */
	uint64_t inode;
	uint64_t offset, length; /* what is to change; length 0: to the end */
	uint64_t waited_ns;
	uint64_t left_ns; /* until the policy's next step; 0: none */
	uint64_t lease;   /* one that is in its way, or 0 */
	uint64_t session; /* of that lease */
	uint32_t pid, uid;
	uint32_t holder_pid, holder_uid;
	char operation[32];
};
#define LEASEFS_OPERATIONS 32u
struct leasefs_operations {
	uint64_t skip;
	uint64_t reserved[2];
	uint32_t count;                                          /* out; 0: that was all */
	uint32_t pad;                                            /* 0 */
	struct leasefs_operation operations[LEASEFS_OPERATIONS]; /* out */
};

/*
 * What has happened, oldest first: a bounded log of the daemon's that anybody may read, without a
 * session; an ordinary user sees what was asked or held by their own user id. Records are numbered
 * without gaps from 1 on, as long as the daemon lives (`boot` tells): what a reader was too late
 * for is counted in `lost`, that of other users too. With LEASEFS_HISTORY_WATCH, poll(2) on this
 * open file says POLLIN when there are records behind the last page that was asked for on it;
 * EMFILE or ENFILE: so many files of this user, or of the mount, are told already.
 */
#define LEASEFS_RECORD_SESSION_OPEN 1u
#define LEASEFS_RECORD_SESSION_CLOSE 2u
#define LEASEFS_RECORD_SESSION_EXIT 3u /* its accountable process has ended */
#define LEASEFS_RECORD_SESSION_GONE 4u /* nothing is left of it */
#define LEASEFS_RECORD_GRANT 5u        /* or reclaimed, from an earlier daemon */
#define LEASEFS_RECORD_RETURN 6u
#define LEASEFS_RECORD_RECALL 7u    /* of the lease's part that `number` wants; value: deadline */
#define LEASEFS_RECORD_CANCEL 8u    /* that recall is over, and the lease whole */
#define LEASEFS_RECORD_REVOKE 9u    /* lease: of the revoked part; value: the one it was cut from */
#define LEASEFS_RECORD_SIGNAL 10u   /* the policy's; value: its number */
#define LEASEFS_RECORD_PARK 11u     /* an operation waits; value: until its deadline */
#define LEASEFS_RECORD_COMPLETE 12u /* it was let go on, and is done; value: how long it took */
#define LEASEFS_RECORD_BUSY 13u     /* it failed: EBUSY; value: as above. lease: who held, or 0 */
#define LEASEFS_RECORD_INTERRUPT 14u  /* it failed: EINTR, or was not wanted any more */
#define LEASEFS_RECORD_QUARANTINE 15u /* value: bytes kept for the revoked lease by now */
#define LEASEFS_RECORD_RELEASE 16u    /* value: bytes that are not kept for it any more */
#define LEASEFS_RECORD_DRAIN 17u
#define LEASEFS_RECORD_KINDS 18u

struct leasefs_record {
	uint64_t seq;
	uint64_t time_ns; /* CLOCK_MONOTONIC; deadlines are times of it too */
	uint32_t kind;    /* LEASEFS_RECORD_* */
	uint32_t flags;   /* LEASEFS_LEASE_EXCLUSIVE; revoke: LEASEFS_REVOKED_OWN */
	uint64_t session; /* the holder's, 0: none */
	uint64_t lease;
	uint64_t inode;
	uint64_t offset, length; /* length 0: to the end */
	uint64_t number;         /* of the operation, 0: none */
	uint64_t value;
	uint32_t pid, uid;               /* who asks, 0: nobody in particular */
	uint32_t holder_pid, holder_uid; /* of the session */
	uint32_t mode;                   /* of the lease, or 0 */
	char operation[28];              /* what is asked: "truncate", ... */
};

#define LEASEFS_HISTORY_WATCH 1u
#define LEASEFS_RECORDS 28u
struct leasefs_history {
	uint64_t next;    /* 0: the oldest there is; out: where to go on */
	uint64_t inode;   /* about this file alone; 0: all */
	uint64_t session; /* about this session alone; 0: all */
	uint32_t flags;   /* LEASEFS_HISTORY_* */
	uint32_t count;   /* 0; out */
	uint64_t reserved[2];
	uint64_t boot[2];     /* out: other values mean another daemon, and other numbers */
	uint64_t lost;        /* out: numbers from the `next` asked for that are no more */
	uint64_t end;         /* out: the number that comes next; `next` == `end`: that was all */
	uint64_t now_ns;      /* out: CLOCK_MONOTONIC */
	uint64_t realtime_ns; /* out: CLOCK_REALTIME, at the same moment */
	struct leasefs_record records[LEASEFS_RECORDS]; /* out */
};

/* On the descriptor of a file that is open for reading: its extents, without a lease on them. */
struct leasefs_extents {
	uint64_t offset;
	uint64_t end; /* 0: the end of file */
	uint64_t reserved[2];
	uint64_t next;  /* out: where to go on; `end`: complete */
	uint32_t count; /* out */
	uint32_t pad;   /* out: 0 */
	struct leasefs_extent extents[LEASEFS_LAYOUT_EXTENTS]; /* out */
};

/* ---- numbers --------------------------------------------------------------------------------- */

#define LEASEFS_IOC_MAGIC 0xf5
#define LEASEFS_IOC_HELLO _IOWR(LEASEFS_IOC_MAGIC, 1, struct leasefs_hello)
#define LEASEFS_IOC_GRANT _IOWR(LEASEFS_IOC_MAGIC, 2, struct leasefs_grant) /* on the file */
#define LEASEFS_IOC_LAYOUT _IOWR(LEASEFS_IOC_MAGIC, 3, struct leasefs_layout)
#define LEASEFS_IOC_REGION _IOWR(LEASEFS_IOC_MAGIC, 4, struct leasefs_region)
#define LEASEFS_IOC_RETURN _IOWR(LEASEFS_IOC_MAGIC, 5, struct leasefs_return)
#define LEASEFS_IOC_DOWNGRADE _IOW(LEASEFS_IOC_MAGIC, 6, struct leasefs_downgrade)
#define LEASEFS_IOC_COMMIT _IOW(LEASEFS_IOC_MAGIC, 7, struct leasefs_commit)
#define LEASEFS_IOC_ACK _IOW(LEASEFS_IOC_MAGIC, 8, struct leasefs_ack)
#define LEASEFS_IOC_PIN _IOWR(LEASEFS_IOC_MAGIC, 9, struct leasefs_pin)
#define LEASEFS_IOC_UNPIN _IOW(LEASEFS_IOC_MAGIC, 10, struct leasefs_unpin)
#define LEASEFS_IOC_UNPINNED _IOW(LEASEFS_IOC_MAGIC, 11, struct leasefs_unpinned)
#define LEASEFS_IOC_PROCESS _IOWR(LEASEFS_IOC_MAGIC, 12, struct leasefs_process)
#define LEASEFS_IOC_STATUS _IOWR(LEASEFS_IOC_MAGIC, 13, struct leasefs_status)
#define LEASEFS_IOC_LEASES _IOWR(LEASEFS_IOC_MAGIC, 14, struct leasefs_leases)
#define LEASEFS_IOC_CONFLICTS _IOWR(LEASEFS_IOC_MAGIC, 15, struct leasefs_conflicts)

#define LEASEFS_IOC_DRAIN _IOW(LEASEFS_IOC_MAGIC, 16, struct leasefs_drain)

#define LEASEFS_IOC_RECALL _IOW(LEASEFS_IOC_MAGIC, 20, struct leasefs_recall)
#define LEASEFS_IOC_RELEASE _IOW(LEASEFS_IOC_MAGIC, 21, struct leasefs_release)
#define LEASEFS_IOC_PINS _IOWR(LEASEFS_IOC_MAGIC, 22, struct leasefs_pins)
#define LEASEFS_IOC_EXTENTS _IOWR(LEASEFS_IOC_MAGIC, 23, struct leasefs_extents) /* on the file */

#define LEASEFS_IOC_SESSIONS _IOWR(LEASEFS_IOC_MAGIC, 24, struct leasefs_sessions)
#define LEASEFS_IOC_OPERATIONS _IOWR(LEASEFS_IOC_MAGIC, 25, struct leasefs_operations)
#define LEASEFS_IOC_HISTORY _IOWR(LEASEFS_IOC_MAGIC, 26, struct leasefs_history)
#define LEASEFS_IOC_RECLAIM _IOWR(LEASEFS_IOC_MAGIC, 27, struct leasefs_reclaim)
#define LEASEFS_IOC_GRACE _IOWR(LEASEFS_IOC_MAGIC, 28, struct leasefs_grace)
#define LEASEFS_IOC_HELD _IOWR(LEASEFS_IOC_MAGIC, 29, struct leasefs_held)
#define LEASEFS_IOC_SPACE _IOWR(LEASEFS_IOC_MAGIC, 30, struct leasefs_space)

/* FUSE passes at most about a page each way. Sizes are part of the numbers: they never change. */
LEASEFS_STATIC_ASSERT(sizeof(struct leasefs_hello) == 3176, "hello");
LEASEFS_STATIC_ASSERT(sizeof(struct leasefs_process) == 24, "process");
LEASEFS_STATIC_ASSERT(sizeof(struct leasefs_extent) == 32, "extent");
LEASEFS_STATIC_ASSERT(sizeof(struct leasefs_grant) == 344, "grant");
LEASEFS_STATIC_ASSERT(sizeof(struct leasefs_layout) == 3888, "layout");
LEASEFS_STATIC_ASSERT(sizeof(struct leasefs_region) == 3120, "region");
LEASEFS_STATIC_ASSERT(sizeof(struct leasefs_return) == 56, "return");
LEASEFS_STATIC_ASSERT(sizeof(struct leasefs_downgrade) == 32, "downgrade");
LEASEFS_STATIC_ASSERT(sizeof(struct leasefs_commit) == 48, "commit");
LEASEFS_STATIC_ASSERT(sizeof(struct leasefs_ack) == 24, "ack");
LEASEFS_STATIC_ASSERT(sizeof(struct leasefs_pin_line) == 64, "pin line");
LEASEFS_STATIC_ASSERT(sizeof(struct leasefs_pin) == 56, "pin");
LEASEFS_STATIC_ASSERT(sizeof(struct leasefs_unpin) == 24, "unpin");
LEASEFS_STATIC_ASSERT(sizeof(struct leasefs_unpinned) == 24, "unpinned");
LEASEFS_STATIC_ASSERT(sizeof(struct leasefs_event) == 88, "event");
LEASEFS_STATIC_ASSERT(sizeof(struct leasefs_status) == 2600, "status");
LEASEFS_STATIC_ASSERT(sizeof(struct leasefs_lease_info) == 88, "lease info");
LEASEFS_STATIC_ASSERT(sizeof(struct leasefs_leases) == 3568, "leases");
LEASEFS_STATIC_ASSERT(sizeof(struct leasefs_conflict) == 136, "conflict");
LEASEFS_STATIC_ASSERT(sizeof(struct leasefs_conflicts) == 2760, "conflicts");
LEASEFS_STATIC_ASSERT(sizeof(struct leasefs_drain) == 32, "drain");
LEASEFS_STATIC_ASSERT(sizeof(struct leasefs_recall) == 40, "recall");
LEASEFS_STATIC_ASSERT(sizeof(struct leasefs_release) == 24, "release");
LEASEFS_STATIC_ASSERT(sizeof(struct leasefs_pin_info) == 56, "pin info");
LEASEFS_STATIC_ASSERT(sizeof(struct leasefs_pins) == 3408, "pins");
LEASEFS_STATIC_ASSERT(sizeof(struct leasefs_extents) == 3888, "extents");
LEASEFS_STATIC_ASSERT(sizeof(struct leasefs_session_info) == 64, "session info");
LEASEFS_STATIC_ASSERT(sizeof(struct leasefs_sessions) == 3232, "sessions");
LEASEFS_STATIC_ASSERT(sizeof(struct leasefs_operation) == 112, "operation");
LEASEFS_STATIC_ASSERT(sizeof(struct leasefs_operations) == 3616, "operations");
LEASEFS_STATIC_ASSERT(sizeof(struct leasefs_held) == 3904, "held");
LEASEFS_STATIC_ASSERT(sizeof(struct leasefs_record) == 128, "record");
LEASEFS_STATIC_ASSERT(sizeof(struct leasefs_history) == 3680, "history");
LEASEFS_STATIC_ASSERT(sizeof(struct leasefs_reclaim) == 120, "reclaim");
LEASEFS_STATIC_ASSERT(sizeof(struct leasefs_grace) == 64, "grace");
LEASEFS_STATIC_ASSERT(sizeof(struct leasefs_space) == 48, "space");

#endif
