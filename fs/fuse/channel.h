// SPDX-License-Identifier: BSD-2-Clause
/*
 * channel.h - the worker threads that read requests, and what libfuse does not say.
 *
 * libfuse decodes requests and encodes replies; this module reads them. It does so by itself
 * because some of a request's bits that libfuse 3.14 drops are needed: they are in the request's
 * note; and because its workers must end on a signal with requests parked.
 */
#ifndef FUSE_CHANNEL_H
#define FUSE_CHANNEL_H

#include <stdbool.h>
#include <stddef.h>

struct channel;
struct daemon;
struct fuse_conn_info;

/* What is known of the request that this thread is serving, and libfuse does not tell. */
struct channel_note {
	bool kill_privileges; /* WRITE, SETATTR, OPEN, CREATE: the caller has no CAP_FSETID */
	bool tmpfile;         /* CREATE is O_TMPFILE: the name says nothing */
	bool statx;           /* GETATTR is STATX */
};
const struct channel_note *channel_note(void);

/* Between fuse_session_mount() and the first request. */
int channel_open(struct daemon *d);
/* From the init operation: what this module wants of the connection. */
void channel_negotiate(struct daemon *d, struct fuse_conn_info *conn);
/* Did the kernel leave setuid clearing to us, with the notes' kill_privileges? */
bool channel_kills_privileges(const struct daemon *d);

int channel_start(struct daemon *d); /* the first worker */
/*
 * A descriptor for poll(2), readable when the state has changed; channel_state() clears it.
 * READY: the kernel's INIT was answered, the mount is usable. ENDED: unmounted, or broken.
 */
enum channel_state { CHANNEL_STARTING, CHANNEL_READY, CHANNEL_ENDED };
int channel_event_fd(const struct daemon *d);
enum channel_state channel_state(const struct daemon *d);
/* READY has been reached, also if it has ENDED since. */
bool channel_was_ready(const struct daemon *d);
/* Waits until no worker is left. */
void channel_stop(struct daemon *d);
void channel_close(struct daemon *d);

#endif
