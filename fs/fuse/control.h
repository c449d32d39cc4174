// SPDX-License-Identifier: BSD-2-Clause
/*
 * control.h - the control file, as the rest of the daemon sees it.
 *
 * The root shows a virtual directory `.leasefs` that answers to its name and is not listed; in it
 * is one file, `control`. nodes.c gives both their names and attributes; everything that happens on
 * the opened control file comes here, and so does every ioctl on an ordinary file.
 *
 * Node numbers lie outside of the pool's inode numbers (below 2^62), so that one comparison
 * tells them apart: control_owns().
 *
 * Each function gets a request and replies to it exactly once, now or later from another thread
 * (never while holding a lock that a request needs). fi is valid during the call only; fi->fh
 * belongs to control_open(), which sets it and replies with fuse_reply_open().
 */
#ifndef FUSE_CONTROL_H
#define FUSE_CONTROL_H

#include <fuse_lowlevel.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct daemon;
struct diag;
struct inode;

#define CONTROL_DIR_NAME ".leasefs"
#define CONTROL_FILE_NAME "control"
#define CONTROL_DIR_INO (1ull << 62)
#define CONTROL_FILE_INO ((1ull << 62) + 1)
/* Who may hold which lease is decided by the file's own descriptor. */
#define CONTROL_FILE_MODE 0666

static inline bool control_owns(fuse_ino_t ino)
{
	return ino >= CONTROL_DIR_INO;
}

/* After arbitrate_start() and before the first request; stop before arbitrate_stop(). */
int control_start(struct daemon *d, struct diag *diag);
void control_stop(struct daemon *d);

/* On the control file. fi->flags has O_NONBLOCK. Should set fi->direct_io and fi->nonseekable. */
void control_open(struct daemon *d, fuse_req_t req, struct fuse_file_info *fi);
void control_release(struct daemon *d, fuse_req_t req, struct fuse_file_info *fi);
void control_read(struct daemon *d, fuse_req_t req, size_t size, struct fuse_file_info *fi);
void control_write(struct daemon *d, fuse_req_t req, const void *bytes, size_t count,
	struct fuse_file_info *fi);
/* ph may be NULL; if not, it belongs to control.c (fuse_pollhandle_destroy). */
void control_poll(
	struct daemon *d, fuse_req_t req, struct fuse_file_info *fi, struct fuse_pollhandle *ph);
void control_ioctl(struct daemon *d, fuse_req_t req, unsigned cmd, struct fuse_file_info *fi,
	unsigned flags, const void *in, size_t in_bytes, size_t out_bytes);

/*
 * Every ioctl on an ordinary file. fi->flags says nothing here: `open_flags` are those of the
 * open(2), so that O_ACCMODE is the permission. Not one of ours: replies ENOTTY.
 */
void control_file_ioctl(struct daemon *d, fuse_req_t req, struct inode *ip, int open_flags,
	unsigned cmd, unsigned flags, const void *in, size_t in_bytes, size_t out_bytes);

#endif
