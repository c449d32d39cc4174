// SPDX-License-Identifier: BSD-2-Clause
/*
 * control_calls.h - the ioctls, one function each. `data` is a copy of the caller's structure, in
 * and out; 0 or -errno. Without the lock. h->session was there when the call began; a call takes
 * the lock and looks again.
 */
#ifndef FUSE_CONTROL_CALLS_H
#define FUSE_CONTROL_CALLS_H

#include <unistd.h>

#include "holder.h"

/* What the kernel has to forget of a file before the caller hears that the call is done. */
struct forgetting {
	struct inode *inode; /* counted; NULL: nothing */
	uint64_t start, end; /* pages, noted with cached_forget(); both 0: attributes alone */
};

struct call {
	struct daemon *daemon;
	fuse_req_t req;
	struct holder *holder;     /* NULL: on an ordinary file */
	struct forgetting *forget; /* what the call leaves to be forgotten, if it succeeds */
};

int call_hello(const struct call *call, void *data);
int call_process(const struct call *call, void *data);
int call_layout(const struct call *call, void *data);
int call_region(const struct call *call, void *data);
int call_return(const struct call *call, void *data);
int call_downgrade(const struct call *call, void *data);
int call_commit(const struct call *call, void *data);
int call_ack(const struct call *call, void *data);
int call_pin(const struct call *call, void *data);
int call_unpin(const struct call *call, void *data);
int call_unpinned(const struct call *call, void *data);
int call_status(const struct call *call, void *data);
int call_leases(const struct call *call, void *data);
int call_conflicts(const struct call *call, void *data);
int call_reclaim(const struct call *call, void *data);
int call_grace(const struct call *call, void *data);
int call_pins(const struct call *call, void *data);
int call_sessions(const struct call *call, void *data);
int call_operations(const struct call *call, void *data);
int call_history(const struct call *call, void *data); /* history.c */
int call_space(const struct call *call, void *data);
int call_held(const struct call *call, void *data);
/* drain.c. Those two reply by themselves, perhaps from another thread. */
void control_drain(struct daemon *d, fuse_req_t req, const void *in, size_t in_bytes);
void control_recall(struct daemon *d, fuse_req_t req, const void *in, size_t in_bytes);
int call_release(const struct call *call, void *data);
/* On an ordinary file, open as `open_flags` say. */
int call_grant(const struct call *call, struct inode *ip, int open_flags, void *data);
int call_extents(const struct call *call, struct inode *ip, int open_flags, void *data);

/* control_layouts.c. The extents from `offset` on, which the holder of a lease may map. */
int control_read_layout(struct core *c, struct inode *ip, uint64_t offset, uint64_t end,
	struct leasefs_extent *out, unsigned max, uint32_t *count, uint64_t *next);
/*
 * The lease, and all extents that its holder may map, for a daemon that comes after this one.
 * `first`: the first of them, `count`, up to `at`.
 */
int control_describe_lease(struct core *c, struct inode *ip, const struct lm_lease_info *info,
	const struct leasefs_extent *first, uint32_t count, uint64_t at, struct lease_record *out);

/* [offset, offset + length) of a lease, or (0, 0) all of it; -EINVAL where it wraps. */
int call_range(uint64_t offset, uint64_t length, const struct lm_lease_info *info, uint64_t *start,
	uint64_t *end);

/* Root and the daemon's own user see everybody's; others see their own. */
static inline bool call_may_see_all(const struct call *call)
{
	uint32_t caller = fuse_req_ctx(call->req)->uid;

	return caller == 0 || caller == geteuid();
}

static inline bool call_may_see(const struct call *call, uint32_t uid)
{
	return call_may_see_all(call) || fuse_req_ctx(call->req)->uid == uid;
}

/* reserved fields and padding must be zero */
static inline bool all_zero(const void *bytes, size_t count)
{
	const unsigned char *b = bytes;

	while (count > 0)
		if (b[--count])
			return false;
	return true;
}

#endif
