// SPDX-License-Identifier: BSD-2-Clause
/*
 * reply.c - replies that more than one operation gives.
 */
#include "reply.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <time.h>

#include "daemon.h"
#include "log.h"

/* Damage is met again and again, request by request: one line a minute is enough. */
static void log_damage(void)
{
	static _Atomic(time_t) said;
	struct timespec now;
	time_t before = atomic_load(&said);

	clock_gettime(CLOCK_MONOTONIC, &now);
	if ((before == 0 || now.tv_sec - before >= 60) &&
		atomic_compare_exchange_strong(&said, &before, now.tv_sec))
		log_error("damaged metadata was met; unmount and run fsck.leasefs");
}

void reply_error(fuse_req_t req, int error)
{
	assert(error <= 0);
	if (error == -EUCLEAN)
		log_damage();
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
