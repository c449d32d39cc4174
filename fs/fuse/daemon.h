// SPDX-License-Identifier: BSD-2-Clause
/*
 * daemon.h - one mounted pool: what every request finds through fuse_req_userdata().
 *
 * Nothing here is global, so that a process could serve two pools. The pointers are set before the
 * first request is read and cleared after the last one was answered; no lock guards them.
 */
#ifndef FUSE_DAEMON_H
#define FUSE_DAEMON_H

#include <fuse_lowlevel.h>
#include <stdbool.h>

#include "core.h"
#include "ender.h"

struct arbiter;
struct channel;
struct control;
struct invalidator;
struct options;

struct daemon {
	const struct options *options;
	struct core *core;
	struct fuse_session *session;
	struct channel *channel;
	struct invalidator *invalidator;
	struct arbiter *arbiter; /* arbitrate.c's own */
	struct control *control; /* control.c's own */
	struct ender ender;
	struct inode *root;
	bool owner_moves_data; /* --domains=uid: a new owner means other blocks */
};

static inline struct daemon *daemon_of(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

/* An open file: fi->fh of ordinary files. Holds a count of the inode. */
struct open_file {
	struct inode *inode;
	int flags; /* of open(2); SETATTR does not carry them */
};

static inline struct open_file *open_file_of(const struct fuse_file_info *fi)
{
	return fi == NULL ? NULL : (struct open_file *)(uintptr_t)fi->fh;
}

#endif
