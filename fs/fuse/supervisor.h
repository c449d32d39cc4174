// SPDX-License-Identifier: BSD-2-Clause
/*
 * supervisor.h - word to the service manager that started the daemon, as sd_notify(3) defines it:
 * a datagram to the socket that NOTIFY_SOCKET names. Nothing happens where none is named.
 */
#ifndef FUSE_SUPERVISOR_H
#define FUSE_SUPERVISOR_H

struct supervisor {
	int fd; /* -1: nobody listens */
};

/* Before anything is given up that opening the socket could need. */
void supervisor_find(struct supervisor *s);
void supervisor_ready(const struct supervisor *s, const char *pool, const char *mountpoint);
void supervisor_stopping(const struct supervisor *s);
void supervisor_close(struct supervisor *s);

#endif
