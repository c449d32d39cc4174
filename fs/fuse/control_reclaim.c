// SPDX-License-Identifier: BSD-2-Clause
/* control_reclaim.c - RECLAIM and GRACE: how clients go on after a restart. See inheritance.h. */
#include <errno.h>
#include <string.h>

#include "control_calls.h"
#include "crash_point.h"
#include "inheritance.h"

static void describe(
	const struct holder *h, const struct lm_lease_info *l, struct leasefs_reclaim *r)
{
	r->session = h->id;
	r->inode = l->ino;
	r->offset = l->start;
	r->length = l->end - l->start;
	r->mode = l->mode;
	r->flags = l->flags & LM_LEASE_EXCLUSIVE ? LEASEFS_GRANT_EXCLUSIVE : 0;
	r->slot = h->pin_fd >= 0 && l->slot < h->lines ? l->slot : LEASEFS_NO_SLOT;
	r->pin_file_bytes = h->pin_fd < 0 ? 0 : h->lines * sizeof(struct leasefs_pin_line);
	r->range_pins = l->range_pins;
	r->left = (uint32_t)lm_session_inherited(h->session);
}

int call_reclaim(const struct call *call, void *data)
{
	struct leasefs_reclaim *r = data;
	struct holder *h = call->holder;
	struct arbiter *a = h->arbiter;
	struct record_name name;
	struct lm_lease_info info;
	uint64_t lease = r->lease;
	int error;

	if (!all_zero(r->reserved, sizeof(r->reserved)) || r->pad)
		return -EINVAL;
	memcpy(name.boot, r->boot, sizeof(name.boot));
	memcpy(name.cookie, r->cookie, sizeof(name.cookie));
	if (fuse_req_ctx(call->req)->uid != h->uid)
		return -EPERM;
	error = inheritance_adopt(h, &name);
	crash_point("session_adopted");
	if (error)
		return error;
	arbiter_lock(a);
	error = h->session ? lm_reclaim(h->session, &lease, arbiter_now()) : -EBADF;
	if (!error)
		error = lm_lease_info(h->session, lease, &info);
	if (!error) {
		r->lease = lease;
		describe(h, &info, r);
	}
	arbiter_unlock(a);
	crash_point("lease_reclaimed");
	return error;
}

int call_grace(const struct call *call, void *data)
{
	struct arbiter *a = call->daemon->arbiter;
	struct leasefs_grace *g = data;
	uint64_t now_ns = arbiter_now(), end_ns;
	struct lm_status lm;

	if (!all_zero(g->reserved, sizeof(g->reserved)))
		return -EINVAL;
	arbiter_lock(a);
	lm_get_status(a->lm, &lm);
	end_ns = lm_grace_end(a->lm);
	arbiter_unlock(a);
	memcpy(g->boot, a->boot, sizeof(g->boot));
	g->left_ns = end_ns > now_ns ? end_ns - now_ns : end_ns ? 1 : 0;
	g->inherited = lm.inherited;
	g->reclaimed = lm.reclaimed;
	g->revoked = lm.grace_revoked;
	return 0;
}
