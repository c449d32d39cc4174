// SPDX-License-Identifier: BSD-2-Clause
/*
 * reply.h - replies that more than one operation gives, and how long the kernel may believe them.
 *
 * The daemon is the pool's only writer and every change goes through the kernel, which keeps its
 * caches true by itself: so names, attributes and absent names are given out for good. Where the
 * daemon changes something the kernel cannot know, invalidate.h says so.
 */
#ifndef FUSE_REPLY_H
#define FUSE_REPLY_H

#include <fuse_lowlevel.h>

#include "core.h"

#define CACHE_SECONDS 31536000.0

void reply_error(fuse_req_t req, int error); /* 0 or -errno */
/* Takes over the one count of ip: it becomes the kernel's, or is put if the reply fails. */
void reply_entry(fuse_req_t req, struct inode *ip);
void reply_no_entry(fuse_req_t req); /* the kernel remembers that there is none */
/* ip stays the caller's. */
void reply_attributes(fuse_req_t req, struct inode *ip);
/* 0 or -errno; does not touch counts. */
int entry_describe(struct core *c, struct inode *ip, struct fuse_entry_param *entry);

#endif
