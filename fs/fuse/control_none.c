// SPDX-License-Identifier: BSD-2-Clause
/*
 * control_none.c - a control file that offers nothing yet: it opens, reads as empty, and refuses
 * every ioctl.
 */
#include "control.h"

#include <errno.h>
#include <poll.h>

int control_start(struct daemon *d, struct diag *diag)
{
	return 0;
}

void control_stop(struct daemon *d)
{
}

void control_open(struct daemon *d, fuse_req_t req, struct fuse_file_info *fi)
{
	fi->direct_io = 1;
	fi->nonseekable = 1;
	fuse_reply_open(req, fi);
}

void control_release(struct daemon *d, fuse_req_t req, struct fuse_file_info *fi)
{
	fuse_reply_err(req, 0);
}

void control_read(struct daemon *d, fuse_req_t req, size_t size, struct fuse_file_info *fi)
{
	fuse_reply_buf(req, NULL, 0);
}

void control_write(struct daemon *d, fuse_req_t req, const void *bytes, size_t count,
	struct fuse_file_info *fi)
{
	fuse_reply_err(req, EINVAL);
}

void control_poll(
	struct daemon *d, fuse_req_t req, struct fuse_file_info *fi, struct fuse_pollhandle *ph)
{
	if (ph != NULL)
		fuse_pollhandle_destroy(ph);
	fuse_reply_poll(req, 0);
}

void control_ioctl(struct daemon *d, fuse_req_t req, unsigned cmd, struct fuse_file_info *fi,
	unsigned flags, const void *in, size_t in_bytes, size_t out_bytes)
{
	fuse_reply_err(req, ENOTTY);
}

void control_file_ioctl(struct daemon *d, fuse_req_t req, struct inode *ip, int open_flags,
	unsigned cmd, unsigned flags, const void *in, size_t in_bytes, size_t out_bytes)
{
	fuse_reply_err(req, ENOTTY);
}
