// SPDX-License-Identifier: BSD-2-Clause
/*
 * reply.c - replies that more than one operation gives.
 */
#include "reply.h"

#include <assert.h>

#include "daemon.h"

void reply_error(fuse_req_t req, int error)
{
	assert(error <= 0);
	fuse_reply_err(req, -error);
}

int entry_describe(struct core *c, struct inode *ip, struct fuse_entry_param *entry)
{
	*entry = (struct fuse_entry_param){
		.ino = core_ino(ip),
		.generation = core_generation(ip),
		.attr_timeout = CACHE_SECONDS,
		.entry_timeout = CACHE_SECONDS,
	};
	return core_getattr(c, ip, &entry->attr, NULL);
}

void reply_entry(fuse_req_t req, struct inode *ip)
{
	struct core *c = daemon_of(req)->core;
	struct fuse_entry_param entry;
	int result = entry_describe(c, ip, &entry);

	if (result != 0) {
		core_put(c, ip, 1);
		reply_error(req, result);
	} else if (fuse_reply_entry(req, &entry) != 0) {
		core_put(c, ip, 1); /* it never arrived, so it will not be forgotten */
	}
}

void reply_no_entry(fuse_req_t req)
{
	struct fuse_entry_param none = {.entry_timeout = CACHE_SECONDS};

	fuse_reply_entry(req, &none);
}

void reply_attributes(fuse_req_t req, struct inode *ip)
{
	struct stat st;
	int result = core_getattr(daemon_of(req)->core, ip, &st, NULL);

	if (result != 0)
		reply_error(req, result);
	else
		fuse_reply_attr(req, &st, CACHE_SECONDS);
}
