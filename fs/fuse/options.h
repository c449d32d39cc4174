// SPDX-License-Identifier: BSD-2-Clause
/*
 * options.h - the command line: what is understood, and what of it the mount itself is told.
 */
#ifndef FUSE_OPTIONS_H
#define FUSE_OPTIONS_H

#include <fuse_opt.h>
#include <stdbool.h>
#include <stdio.h>

#include "core.h"
#include "policy.h"

#define OPTIONS_LOCK_WAIT_MS 10000 /* umount(8) returns before the last daemon is gone */
#define OPTIONS_THREADS_MAX 1024u
#define OPTIONS_GRACE_S                                                                            \
	5 /* a client sees ENOTCONN at once, and finds the new mount in a second                   \
	   */
#define OPTIONS_GRACE_S_MAX 3600ul
#define OPTIONS_THREADS_IDLE_MAX 2 /* one serves a forget while the other gets the next request */

/* What the kernel offers and is used if it does; each can be left out, to see what it is worth. */
#define OPTIONS_WITHOUT_LARGE_REQUESTS 1u  /* 1 MiB in one; without: 128 KiB */
#define OPTIONS_WITHOUT_PARALLEL_WRITES 2u /* direct writes of one file side by side */
#define OPTIONS_WITHOUT_DIRECT_MMAP 4u     /* MAP_SHARED of what is open for direct I/O */
#define OPTIONS_WITHOUT_HANDLES 8u         /* open_by_handle_at(): see channel_init.c */

struct options {
	char *pool;       /* as given: the source that /proc/mounts shows, but for */
	char *source;     /* fsname=; or NULL */
	char *pool_path;  /* absolute: the daemon leaves its directory */
	char *mountpoint; /* absolute */
	struct lm_policy policy;
	enum durability durability;
	bool read_only;
	bool nonempty;
	bool allow_other;
	bool foreground;
	bool debug;
	bool hardening;
	bool io_uring;    /* requests come that way, not through /dev/fuse */
	bool plain_type;  /* shown as "fuse" */
	unsigned without; /* OPTIONS_WITHOUT_* */
	bool help;
	bool version;
	unsigned threads_max; /* workers */
	unsigned threads_idle_max;
	unsigned lock_wait_ms;
	uint64_t grace_ns; /* for clients of an earlier daemon to reclaim their leases */
	struct fuse_args session_args; /* what libfuse is to know */
};

/* 0, or -EINVAL, -ENOMEM with its sentence. With help or version nothing else is looked at. */
int options_parse(struct options *options, int argc, char **argv, struct diag *d);
void options_free(struct options *options);
void options_print_help(FILE *out, const char *program);

#endif
