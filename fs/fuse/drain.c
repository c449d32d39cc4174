// SPDX-License-Identifier: BSD-2-Clause
/*
 * drain.c - leases that are to be given back because an administrator says so.
 *
 * A recall is of one range of a file. A drain is of everything, and ends the granting of leases:
 * each inode with leases gets a change of its own over all of it, at once, with the policy
 * recall:T/busy, T being the mount's own time for recalls: so it ends within T, whatever
 * policies files have. What was not returned and is not pinned is revoked; what is pinned makes the
 * drain end with EBUSY, and is still held. The mount stays as it is, without leases to be had.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "arbiter.h"
#include "arbitrate.h"
#include "control.h"
#include "control_calls.h"
#include "format.h"

struct drain {
	struct daemon *daemon;
	fuse_req_t req;
	_Atomic unsigned left; /* changes without a verdict, and one for the call itself */
	_Atomic int result;
};

static void finish_one(struct drain *drain)
{
	if (atomic_fetch_sub(&drain->left, 1) != 1)
		return;
	if (drain->result)
		fuse_reply_err(drain->req, -drain->result);
	else
		fuse_reply_ioctl(drain->req, 0, NULL, 0);
	free(drain);
}

static void on_verdict(void *operation, int verdict, struct ticket *ticket)
{
	struct drain *drain = operation;

	if (verdict)
		atomic_store(&drain->result, verdict);
	arbitrate_end(drain->daemon, ticket);
	finish_one(drain);
}

static int compare_inodes(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* The inodes with leases, each once; the caller frees. The lock is held. */
static int list_inodes(struct arbiter *a, uint64_t **out, size_t *count)
{
	struct lm_status status;
	struct lm_lease_info l;
	uint64_t session = 0, *list;
	uint32_t slot = 0;
	size_t n = 0, unique = 0;

	lm_get_status(a->lm, &status);
	list = calloc(status.leases + 1, sizeof(*list));
	if (!list)
		return -ENOMEM;
	while (n < status.leases && lm_next_lease(a->lm, &session, &slot, &l))
		if (!(l.flags & LM_LEASE_REVOKED))
			list[n++] = l.ino;
	qsort(list, n, sizeof(*list), compare_inodes);
	for (size_t i = 0; i < n; i++)
		if (i == 0 || list[i] != list[unique - 1])
			list[unique++] = list[i];
	*out = list;
	*count = unique;
	return 0;
}

static struct lm_policy drain_policy(const struct arbiter *a)
{
	struct lm_policy p;
	int error = lm_policy_parse(LM_POLICY_DEFAULT, &p);

	if (!error && a->policy.rungs[0].kind == LM_RUNG_RECALL)
		p.rungs[0].time_ns = a->policy.rungs[0].time_ns;
	return p;
}

static bool may_administrate(fuse_req_t req)
{
	uint32_t uid = fuse_req_ctx(req)->uid;

	return uid == 0 || uid == geteuid();
}

static struct drain *new_drain(struct daemon *d, fuse_req_t req)
{
	struct drain *drain = calloc(1, sizeof(*drain));

	if (!drain)
		return NULL;
	drain->daemon = d;
	drain->req = req;
	drain->left = 1;
	return drain;
}

static void recall_range(
	struct drain *drain, uint64_t ino, uint64_t start, uint64_t end, const char *operation)
{
	struct arbiter *a = drain->daemon->arbiter;
	struct lm_policy policy = drain_policy(a);
	struct lm_change_request r = {.ino = ino,
		.start = start,
		.end = end,
		.kind = LM_MOVE,
		.pid = arbiter_process_of((uint32_t)fuse_req_ctx(drain->req)->pid),
		.uid = fuse_req_ctx(drain->req)->uid,
		.operation = operation,
		.policy = &policy};

	atomic_fetch_add(&drain->left, 1);
	arbiter_begin(a, NULL, &r, on_verdict, drain);
}

void control_drain(struct daemon *d, fuse_req_t req, const void *in, size_t in_bytes)
{
	const struct leasefs_drain *call = in;
	struct arbiter *a = d->arbiter;
	struct drain *drain = NULL;
	uint64_t *inodes;
	size_t count;
	int error = 0;

	if (in_bytes != sizeof(*call) || !all_zero(call, sizeof(*call)))
		error = -EINVAL;
	else if (!may_administrate(req))
		error = -EPERM;
	else if (!(drain = new_drain(d, req)))
		error = -ENOMEM;
	if (!error) {
		arbiter_lock(a);
		error = list_inodes(a, &inodes, &count);
		if (!error)
			lm_drain(a->lm);
		arbiter_unlock(a);
	}
	if (error) {
		free(drain);
		fuse_reply_err(req, -error);
		return;
	}
	for (size_t i = 0; i < count; i++)
		recall_range(drain, inodes[i], 0, FILE_BYTES_MAX, "drain");
	free(inodes);
	finish_one(drain);
}

void control_recall(struct daemon *d, fuse_req_t req, const void *in, size_t in_bytes)
{
	struct leasefs_recall call;
	struct drain *drain = NULL;
	int error = 0;

	if (in_bytes != sizeof(call)) {
		fuse_reply_err(req, EINVAL);
		return;
	}
	memcpy(&call, in, sizeof(call));
	if (!call.offset && !call.length)
		call.length = FILE_BYTES_MAX;
	if (!all_zero(call.reserved, sizeof(call.reserved)) || !call.inode || !call.length ||
		call.offset > FILE_BYTES_MAX || call.length > FILE_BYTES_MAX - call.offset)
		error = -EINVAL;
	else if (!may_administrate(req))
		error = -EPERM;
	else if (!(drain = new_drain(d, req)))
		error = -ENOMEM;
	if (error) {
		fuse_reply_err(req, -error);
		return;
	}
	recall_range(drain, call.inode, call.offset, call.offset + call.length, "recall");
	finish_one(drain);
}

int call_release(const struct call *call, void *data)
{
	struct arbiter *a = call->daemon->arbiter;
	const struct leasefs_release *release = data;
	struct holder *h;
	int error = -ENOENT;

	if (!all_zero(release->reserved, sizeof(release->reserved)))
		return -EINVAL;
	if (!may_administrate(call->req))
		return -EPERM;
	arbiter_lock(a);
	LIST_FOREACH(h, &a->holders, all)
		if (h->session && h->id == release->session)
			break;
	if (h)
		error = lm_session_release(h->session, arbiter_now());
	arbiter_unlock(a);
	return error;
}
