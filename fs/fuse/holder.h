// SPDX-License-Identifier: BSD-2-Clause
/*
 * holder.h - an open control file, and the session that it becomes with HELLO.
 *
 * A session of an earlier daemon (inheritance.h) is a holder without an open file, which waits
 * until an open one takes its session over, or until nothing is left of it.
 *
 * Counts: one for the open file, one for the session until it is buried (with the engine's watch of
 * its process), and one for each use without the lock.
 *
 * Pin lines. The client maps run/pins.N and counts there, and so does the daemon. A client that may
 * write to the file may also truncate it: the words are read and written as mapped_file.h says, and
 * where that fails, with pread and pwrite. (Sealing against it needs a memfd, which could not be
 * found again by path, nor outlive the daemon.) A line that is cut off reads short, and counts as
 * pinned; if its page is still there, as zeroes, as if the client had counted down: who truncates
 * hurts nobody but themselves. A pread of an aligned line copies at least whole words in practice,
 * which is no promise; so "not pinned" needs two that agree, after a recall has made the count
 * unable to rise.
 */
#ifndef FUSE_HOLDER_H
#define FUSE_HOLDER_H

#include <fuse_lowlevel.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "arbiter.h"
#include "leasefs/control.h"
#include "mapped_file.h"
#include "records.h"

#define HOLDER_READERS_MAX 64u /* read(2) calls that wait at once on one session */
#define HOLDER_EVENTS_MAX 46u  /* of one read: about a page */
#define HOLDER_UNREAD_MAX (3 * HOLDER_EVENTS_MAX)
#define PIN_LINES_FIRST 64u /* a page of them */
#define PIN_LINES_MAX (1u << 20)

struct reader {
	TAILQ_ENTRY(reader) link; /* of holder.readers */
	struct work work;
	struct holder *holder;
	fuse_req_t req;
	unsigned events_max;
	bool entering; /* its interrupt function is being set: not to be answered yet */
	bool interrupted;
	int error;
};

struct holder {
	struct arbiter *arbiter;
	_Atomic unsigned references;
	/* Guarded by arbiter.lock, all of it, unless it says otherwise. */
	LIST_ENTRY(holder) all;
	LIST_ENTRY(holder) cookies; /* while there is a session, and the file is open */
	STAILQ_ENTRY(holder) told;
	bool is_told;
	bool closed;                /* the file was released */
	bool gone;                  /* its session is, and bury() is still to come */
	struct lm_session *session; /* NULL: before HELLO, and when gone */
	uint64_t id;
	uint64_t cookie[2];
	struct record_name names[2]; /* under which the next daemon's clients may ask for it */
	uint32_t uid, pid;
	uint64_t start_time; /* of the process; see machine.h */
	int pidfd;
	struct engine_watch *watch;
	int pin_fd;      /* -1: none */
	int leases_fd;   /* -1: none; see records.h */
	int ranges_fd;   /* -1: no range pin was ever taken */
	bool keep;       /* the daemon ends: its files are for the next one */
	bool lines_lost; /* of old, and its pin file is no more: all counts as pinned */
	bool seeking;    /* `seek` is given: another process with its blocks mapped */
	struct work seek;
	uint32_t lines;                  /* of the pin file, as clients know it */
	uint32_t lines_used;             /* slots below it have been used */
	struct mapped_file line_words;   /* of pin_fd */
	struct mapped_file record_words; /* of leases_fd; at least of as many slots as have lines */
	/* Bits of regions below 64 that this user may open: without the lock. */
	_Atomic uint64_t readable, writable;
	LIST_ENTRY(holder) watchers; /* while history_next is not 0 */
	uint32_t watcher_uid;
	uint64_t history_next; /* of the history, what its reader has not seen; 0: no reader */
	uint64_t opened_ns;    /* the file */
	struct fuse_pollhandle *poll;
	struct work notify;
	bool notifying; /* `notify` is given */
	TAILQ_HEAD(, reader) readers;
	unsigned reader_count;
	LIST_HEAD(, event_reader) event_readers; /* event_readers.c's own */
	unsigned event_reader_count;
	uint32_t last_reader; /* a thread whose process is known */
	/* Taken from leasemgr, but the reply did not arrive: given first. Those `in_flight` are in
	 * replies now, and have room here if they come back: in_flight + unread_count <= MAX. */
	struct leasefs_event unread[HOLDER_UNREAD_MAX];
	unsigned unread_count;
	unsigned in_flight;
};

/* What the client has counted up in that line; 1 if it cannot be read. */
uint32_t holder_slot_pins(const struct holder *h, uint32_t slot);

struct holder *holder_new(struct arbiter *a); /* NULL: no memory. In arbiter.holders */
void holder_tell(struct holder *h);           /* there is something to read: under the lock */
void holder_get(struct holder *h);
void holder_put(struct holder *h);
/* The file was released: without the lock. Takes the open file's count over. */
void holder_close(struct holder *h);
/* Makes it a session of that process, or finds that it is one. -errno as HELLO. Without the lock.
 */
int holder_begin_session(struct holder *h, uint32_t pid, uint32_t uid);
/* Another process becomes accountable. Without the lock. -ESRCH, -ENOMEM. */
int holder_set_process(struct holder *h, uint32_t pid);
/* With start_lock held: what is said of it in run/, by its process of now. */
void holder_describe(const struct holder *h, struct session_record *out);
/*
 * For inheritance.c. A session of old, in arbiter.holders, from its record and the descriptor of it
 * (which is the holder's now); NULL: no memory. Its process is watched by the second: -ESRCH if it
 * is gone. The third watches another process instead, with start_lock held.
 */
struct holder *holder_of_old(struct arbiter *a, const struct session_record *r, int leases_fd);
int holder_watch_of_old(struct holder *h);
int holder_watch(struct holder *h, uint32_t pid);
/* Before a range pin is answered. Under the lock, but for the first, which makes the file. */
int holder_make_ranges(struct holder *h);
int holder_note_pin(struct holder *h, const struct range_pin_record *pin);
struct holder *holder_by_cookie(struct arbiter *a, const uint64_t cookie[2]); /* under the lock */
/* Before the grant is answered: what is in the slot from now on. Under the lock. */
int holder_note_lease(struct holder *h, uint32_t slot, const struct lease_record *r);
/* Are there few lines left that clients know of? Under the lock. */
bool holder_short_of_lines(const struct holder *h);
/* Makes the pin file long enough for a few more leases. Without the lock; best effort. */
void holder_grow_pins(struct holder *h);
void holder_pin_path(const struct holder *h, char *out, size_t bytes); /* "" if there is none */

/* control_events.c: the readers and poll handle of a holder; without the lock. */
void holder_deliver(struct holder *h);
bool holder_has_events(const struct holder *h); /* under the lock */

#endif
