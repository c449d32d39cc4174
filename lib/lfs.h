/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * lfs.h - libleasefs inside: a session, its leases, their pieces.
 *
 *   mount.c     which mount a file is on, and its control file
 *   session.c   opening, closing, calls on the control file, fork
 *   thread.c    the library's thread: what it waits for
 *   events.c    what comes from the daemon, applied, queued, and handed to the application
 *   lease.c     taking, returning, downgrading, committing
 *   pieces.c    what is left of a lease, found by the daemon's ids
 *   mapping.c   one contiguous address for a layout
 *   region.c    opened regions, and making stores durable
 *   pin.c       pins that are not inline
 *   managed*.c  mappings that give way by themselves
 *   fence.c     stopping the stores of other threads for a moment
 *   reclaim.c   going on with a new daemon
 *   guard.c     SIGBUS as an error
 *
 * A lease of the application's is cut by the return of its middle and by revocations. What is left
 * are *pieces*, each a lease of its own to the daemon; what was revoked and not acknowledged are
 * pieces too, *ghosts*.
 *
 * Locks, outermost first
 *   lease.lock    the lease's pieces, its mapping, and everything that is asked of the daemon about
 *                 it: held across those calls, which are never parked (control.h). At most one at
 *                 a time.
 *   session.lock  tables, queue, state: held for a moment, never across a system call that can
 * wait. Callbacks run under neither.
 *
 * Invariants
 *  1. A piece is in its lease's list and in the session's table, or in neither.
 *  2. A lease that the thread or a call works on has a reference; memory goes with the last one.
 *  3. Direct pages of a piece are mapped only while it is held, or a ghost that is not
 * acknowledged. They are replaced in one step, never unmapped first: no other memory can come to
 * stand there.
 *  4. A lease's `slowly` is set before any of its pieces is given back, and stays set when one was:
 *     so a count in its line was made while the line was the lease's only one.
 *
 * Functions return 0 or -errno. `_locked`: lease.lock is held; `_held`: session.lock is.
 */
#ifndef LFS_H
#define LFS_H

#include <leasefs/leasefs.h>
#include <pthread.h>
#include <stdbool.h>
#include <sys/queue.h>
#include <sys/types.h>

#define LFS_HUGE_BYTES (2ull << 20)
#define LFS_CHUNK_BYTES 65536u /* pin lines are mapped in such chunks: 1024 lines */
#define LFS_CHUNKS 1024u       /* 2^20 lines, as many as a session can have */
#define LFS_TABLE 4096u        /* buckets of the table of pieces */
#define LFS_WANTS_MAX 256u     /* as many as the daemon keeps for a session */

struct lfs_piece {
	LIST_ENTRY(lfs_piece) by_id; /* session.pieces */
	LIST_ENTRY(lfs_piece) link;  /* lease.pieces */
	struct leasefs_lease *lease;
	uint64_t id;
	uint64_t offset, length;
	struct leasefs_pin_line *line; /* NULL: none */
	uint64_t slow_pin; /* the daemon's pin that stands for slow_pins, without a line */
	bool ghost;
	bool spent;   /* given back; in the lease's `spent`, for events on their way that name it */
	bool coming;  /* managed: granted, and not mapped yet */
	bool unknown; /* a ghost that the daemon does not know: not to be acknowledged */
	bool told;    /* the application has taken a recall of it from the queue */
	/* Managed: recalled, and not given back yet. */
	bool recalled;
	uint64_t recall_start, recall_end;
};

struct leasefs_lease {
	struct leasefs_lease_head head; /* first */
	struct leasefs_session *session;
	LIST_ENTRY(leasefs_lease) link; /* session.leases */
	unsigned references;            /* session.lock, as the next */
	bool gone;                      /* returned: nothing is queued about it any more */
	pthread_mutex_t lock;           /* guards what follows */
	LIST_HEAD(, lfs_piece) pieces, spent;
	uint64_t inode;
	uint64_t offset, length;
	unsigned flags; /* LEASEFS_TAKE_* */
	unsigned slow_pins;
	unsigned range_pins;
	struct leasefs_extent first[LEASEFS_GRANT_EXTENTS]; /* of the grant of a write lease */
	unsigned first_count;                               /* 0: ask for the layout */

	char *address; /* NULL: not mapped */
	char *reserved;
	size_t reserved_bytes;
	unsigned map_flags;
	uint64_t alignment; /* the largest of the regions mapped */
	uint32_t media;

	struct lfs_managed *managed; /* NULL: not */
};

struct lfs_region {
	LIST_ENTRY(lfs_region) link;
	struct leasefs_region info;
	int read_fd, write_fd; /* -1: not opened yet */
};

struct lfs_old_chunk {
	LIST_ENTRY(lfs_old_chunk) link;
	char *lines;
};

struct lfs_event {
	STAILQ_ENTRY(lfs_event) link;
	struct leasefs_event event;
	struct leasefs_lease *lease; /* with a reference, or NULL */
};

struct lfs_want {
	uint64_t inode, start, end;
	uint32_t mode;
};

enum lfs_state {
	LFS_CONNECTED,
	LFS_LOST, /* the daemon has gone; the thread looks for the next one */
	LFS_OVER, /* and nobody does so */
};

struct leasefs_session {
	unsigned flags;
	unsigned generation; /* of forks, when it was made */
	int control;         /* the number stays; the file behind it changes with the daemon */
	int event_fd;        /* readable while the queue is not empty; threads only */
	int wake_fd;         /* the thread is to look; -1: no thread */
	pthread_t thread, taker;
	char *root; /* of the mount */

	pthread_mutex_t reading; /* outermost: events are applied in the order they were sent */
	pthread_mutex_t lock;    /* guards what follows */
	pthread_cond_t changed;  /* state, available, calling, references */
	enum lfs_state state;
	bool stopping;
	bool has_taker;
	bool suspect; /* a call has met ENOTCONN */
	dev_t device;
	struct leasefs_hello hello;
	uint64_t old_cookie[2], old_boot[2]; /* of the daemon that the leases are from */
	LIST_HEAD(, leasefs_lease) leases;
	LIST_HEAD(lfs_bucket, lfs_piece) pieces[LFS_TABLE];
	unsigned taking;                         /* calls that may be about to learn of a new id */
	STAILQ_HEAD(lfs_queue, lfs_event) queue; /* for the application */
	struct lfs_queue early;                  /* about ids that are not known yet */
	struct lfs_want wants[LFS_WANTS_MAX];    /* of the application's, that were -EAGAIN */
	unsigned want_count;
	uint64_t asks;      /* counts what the taker is asked for */
	uint64_t available; /* counts those events */
	leasefs_callback *callback;
	void *callback_context;
	struct leasefs_lease *calling; /* the callback that runs is about it */
	bool in_callback;
	LIST_HEAD(, lfs_region) regions;
	char *chunks[LFS_CHUNKS];              /* of the pin file */
	LIST_HEAD(, lfs_old_chunk) old_chunks; /* of a session that could not be reclaimed */
	uint64_t pin_file_bytes;
	struct lfs_fence *fence; /* NULL: not made yet */
};

/* ---- mount.c ---- */

/* The root of the leasefs mount that fd is on, and its control file, opened. -ENOTTY. */
int lfs_find_mount(int fd, char **root, int *control);
/* The control file of a mount. -errno; a mount whose daemon has gone is -ENOTCONN. */
int lfs_open_control(const char *root);

/* ---- session.c ---- */

int lfs_check_session(const struct leasefs_session *s); /* -ECHILD */
int lfs_hello(int control, struct leasefs_hello *hello);
/* One ioctl on the control file; ENOTCONN is noted for the thread. */
int lfs_call(struct leasefs_session *s, unsigned long number, void *data);
/* After -ENOTCONN, without locks: waits for the next daemon. 0: try again; -ENOTCONN. */
int lfs_await_daemon(struct leasefs_session *s);
int lfs_note_errno(struct leasefs_session *s, int error); /* -error */
void lfs_wake(const struct leasefs_session *s);
uint64_t lfs_now(void);
/* cond_wait with a deadline; -ETIMEDOUT. UINT64_MAX: none. */
int lfs_wait_held(struct leasefs_session *s, uint64_t deadline_ns);

/* ---- thread.c ---- */

int lfs_start_thread(struct leasefs_session *s);
void lfs_stop_thread(struct leasefs_session *s);
int lfs_start_taker(struct leasefs_session *s); /* harmless when there is one */
bool lfs_is_thread(const struct leasefs_session *s);

/* ---- events.c ---- */

/* Reads what is there and applies it. 0, or -errno (-ENOTCONN). */
int lfs_read_events(struct leasefs_session *s);
void lfs_queue_event(
	struct leasefs_session *s, const struct leasefs_event *e, struct leasefs_lease *lease);
void lfs_drop_events(struct leasefs_session *s, const struct leasefs_lease *lease);
void lfs_run_callbacks(struct leasefs_session *s);
/* Around a call that makes new ids: events about them wait meanwhile. */
void lfs_begin_taking(struct leasefs_session *s);
void lfs_end_taking(struct leasefs_session *s);

/* ---- lease.c ---- */

int lfs_new_lease(struct leasefs_session *s, struct leasefs_lease **out);
void lfs_put_lease(struct leasefs_lease *l); /* NULL is none */
struct leasefs_lease *lfs_get_next(struct leasefs_session *s, struct leasefs_lease *after);
/* GRANT for the session; the caller is between lfs_begin_taking() and lfs_end_taking(). */
int lfs_grant(struct leasefs_session *s, int fd, unsigned flags, struct leasefs_grant *grant);
/* st_ino, st_dev and type, without asking the daemon. -EOPNOTSUPP, -EXDEV, -ENOTTY. */
int lfs_identify(struct leasefs_session *s, int fd, uint64_t *inode);
/* RETURN of a part of a piece; the piece is cut, and gone if that was all. Not its mapping. */
int lfs_return_part_locked(
	struct leasefs_lease *l, struct lfs_piece *p, uint64_t start, uint64_t end);

/* ---- pieces.c ---- */

struct lfs_piece *lfs_add_piece(
	struct leasefs_lease *l, uint64_t id, uint64_t offset, uint64_t length, uint32_t slot);
void lfs_remove_piece(struct lfs_piece *p);
/* Given back: the lease is still found by its id. */
void lfs_spend_piece(struct lfs_piece *p);
void lfs_forget_spent(struct leasefs_lease *l);
/* The lease that an id belongs to, with a reference; NULL. */
struct leasefs_lease *lfs_find_lease(struct leasefs_session *s, uint64_t id);
struct lfs_piece *lfs_find_piece_locked(struct leasefs_lease *l, uint64_t id);
/* [start, end) is not the piece's any more; what is behind gets that id, or stays if it is 0. */
void lfs_cut_piece(
	struct lfs_piece *p, uint64_t start, uint64_t end, uint64_t rest, uint32_t rest_slot);
/*
 * The same of what the daemon has revoked, of `origin` or what that was when it did so: this side
 * may have given parts back since, so it is the place that counts. The range becomes a ghost.
 * False: nothing is left of it here.
 */
bool lfs_revoke_piece_locked(struct leasefs_lease *l, const struct leasefs_event *e);
struct lfs_piece *lfs_piece_at_locked(struct leasefs_lease *l, uint64_t offset);
/* The first that is held and ends behind the offset. */
struct lfs_piece *lfs_next_piece_locked(struct leasefs_lease *l, uint64_t offset);

/* ---- mapping.c ---- */

int lfs_reserve_locked(struct leasefs_lease *l, uint64_t congruent);
int lfs_map_piece_locked(struct leasefs_lease *l, const struct lfs_piece *p);
/* Maps [start, end) of a piece; with extents that are known already, or asks. */
int lfs_map_range_locked(
	struct leasefs_lease *l, const struct lfs_piece *p, uint64_t start, uint64_t end);
/* No access any more, in one step. */
int lfs_hide_locked(struct leasefs_lease *l, uint64_t start, uint64_t end);
void lfs_unmap_locked(struct leasefs_lease *l);
/* The memory is the application's from now on, but for what was reserved around it. */
void lfs_abandon_memory_locked(struct leasefs_lease *l);
/* Outward to what the mapped regions can be split at. */
void lfs_align_locked(const struct leasefs_lease *l, uint64_t *start, uint64_t *end);
/* The place in its region of the piece's first byte, and the region's alignment. */
int lfs_first_place_locked(struct leasefs_lease *l, const struct lfs_piece *p, uint64_t *place);

/* ---- region.c ---- */

int lfs_get_region(struct leasefs_session *s, uint32_t number, struct leasefs_region *out);
/* A descriptor to map it from: the session's, and the region's alignment and media. */
int lfs_open_region(struct leasefs_session *s, uint32_t number, bool write, int *fd,
	uint64_t *alignment, uint32_t *media);
void lfs_close_regions(struct leasefs_session *s);

/* ---- pin.c ---- */

struct leasefs_pin_line *lfs_line_of(struct leasefs_session *s, uint32_t slot);
void lfs_unmap_lines(struct leasefs_session *s);
/* The session begins anew, with HELLO's pin file. */
void lfs_forget_lines(struct leasefs_session *s, const struct leasefs_hello *hello);
bool lfs_is_pinned_locked(const struct leasefs_lease *l);
/* A piece that came to a lease with pins gets them too. */
void lfs_inherit_pins_locked(struct leasefs_lease *l, struct lfs_piece *p);

/* ---- managed.c ---- */

/* Answers what is recalled or revoked and can be answered now. 0, or it is to be tried again. */
int lfs_tend(struct leasefs_lease *l);
/* Takes what is not direct and could be. 0 or why not. */
int lfs_retake(struct leasefs_lease *l);
/* The taker is to, at that time, or now for all leases on the file (0: on any). */
void lfs_ask_at(struct leasefs_lease *l, uint64_t at_ns);
void lfs_ask_all(struct leasefs_session *s, uint64_t inode);
/* Those whose time has come. When the next one's does; UINT64_MAX: never. */
uint64_t lfs_retake_due(struct leasefs_session *s);
/* Takes nothing any more. `stays`: the memory outlives the lease, as a mapping of the file. */
void lfs_retire_locked(struct leasefs_lease *l, bool stays);
/* A part of a piece becomes a mapping of the file, and is returned. */
int lfs_leave_locked(struct leasefs_lease *l, struct lfs_piece *p, uint64_t start, uint64_t end);
int lfs_to_file_locked(struct leasefs_lease *l, uint64_t start, uint64_t end);
void lfs_free_managed(struct leasefs_lease *l);
/* fdatasync(2) of the file, without locks: an operation that waits for this lease may hold it up.
 */
int lfs_sync_file(struct leasefs_lease *l);
void lfs_describe_managed_locked(struct leasefs_lease *l, struct leasefs_lease_state *out);
/* With a new daemon: the file is opened again, and what is mapped of it mapped anew. */
void lfs_reopen_locked(struct leasefs_lease *l);

/* ---- fence.c ---- */

struct lfs_fence;
int lfs_make_fence(bool user_faults, struct lfs_fence **out);
/* Whoever touches [address, address + length) from now on waits, until lfs_lower_fence(). */
int lfs_raise_fence(struct lfs_fence *f, void *address, size_t length);
void lfs_lower_fence(struct lfs_fence *f, void *address, size_t length);
void lfs_free_fence(struct lfs_fence *f, bool reading);

/* ---- reclaim.c ---- */

/* Of the thread: the daemon has gone. Returns when there is another, or when it is to stop. */
void lfs_reclaim_session(struct leasefs_session *s);

#endif
