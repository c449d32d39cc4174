// SPDX-License-Identifier: BSD-2-Clause
/*
 * history.h - what has happened to sessions, leases and operations: the latest records of
 * leasemgr's, numbered from 1 on, in a ring. Guarded by arbiter.lock, all of it.
 *
 * A record is a tenth of a microsecond under a lock that is held anyway; who reads takes at most a
 * page, and looks at no more than HISTORY_LOOKED_AT_MAX records, before the lock is free again.
 * Files that want to be told of new records by poll(2) are in `watchers`: each record is told to
 * each of them, with everybody waiting, so they are few.
 */
#ifndef FUSE_HISTORY_H
#define FUSE_HISTORY_H

#include <stdint.h>
#include <sys/queue.h>

#include "leasefs/control.h"

#define HISTORY_RECORDS 16384u /* 2 MiB; minutes of a busy mount, days of a quiet one */
#define HISTORY_LOOKED_AT_MAX 2048u
#define HISTORY_WATCHERS_MAX 256u
#define HISTORY_WATCHERS_PER_USER_MAX 64u

struct arbiter;
struct holder;
struct lm_record;

struct history {
	struct leasefs_record *records; /* number n is at n % HISTORY_RECORDS */
	uint64_t end;                   /* the number that comes next */
	LIST_HEAD(, holder) watchers;
};

int history_start(struct history *h); /* -ENOMEM */
void history_stop(struct history *h);
/* leasemgr's effect: the context is the arbiter. */
void history_add(void *context, const struct lm_record *record);
/*
 * That open file, of that user, is told of records from `next` on; 0: not any more. Under
 * arbiter.lock. -ENFILE, -EMFILE: as many are told already, or of that user.
 */
int history_watch(struct arbiter *a, struct holder *h, uint32_t uid, uint64_t next);

#endif
