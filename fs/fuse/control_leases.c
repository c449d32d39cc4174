// SPDX-License-Identifier: BSD-2-Clause
/*
 * control_leases.c - granting, returning, committing.
 *
 * A grant is known to leasemgr before its layout is made, so that no change of the layout can slip
 * in between; see lm_grant(). Permission is threefold: the descriptor's mode (EBADF), the region
 * file's owner, group and mode as open(2) would judge them (EACCES), and, in the end, the kernel
 * itself, when the client opens the region.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cached_pages.h"
#include "control_calls.h"
#include "crash_point.h"
#include "format.h"
#include "invalidate.h"

#define GROUPS_MAX 1024

/* ---- permission ------------------------------------------------------------------------------ */

static bool in_group(fuse_req_t req, gid_t gid)
{
	gid_t groups[GROUPS_MAX];
	int n;

	if (fuse_req_ctx(req)->gid == gid)
		return true;
	n = fuse_req_getgroups(req, GROUPS_MAX, groups);
	for (int i = 0; i < n && i < GROUPS_MAX; i++)
		if (groups[i] == gid)
			return true;
	return false;
}

static bool may_open(fuse_req_t req, const char *path, bool write)
{
	const struct fuse_ctx *caller = fuse_req_ctx(req);
	mode_t wanted = write ? 06 : 04;
	struct stat st;

	if (caller->uid == 0)
		return true;
	if (stat(path, &st))
		return false;
	if (st.st_uid == caller->uid)
		return ((st.st_mode >> 6) & wanted) == wanted;
	if (in_group(req, st.st_gid))
		return ((st.st_mode >> 3) & wanted) == wanted;
	return (st.st_mode & wanted) == wanted;
}

/* Remembered for the session's own user: a region's owner never changes. */
static int check_region(const struct call *call, struct holder *h, uint32_t region, bool write)
{
	bool same_user = fuse_req_ctx(call->req)->uid == h->uid && region < 64;
	_Atomic uint64_t *known = write ? &h->writable : &h->readable;
	uint64_t bit = 1ull << (region % 64);
	struct core_region_info *info;
	int error;

	if (same_user && (atomic_load(known) & bit))
		return 0;
	info = malloc(sizeof(*info));
	if (!info)
		return -ENOMEM;
	error = core_get_region(call->daemon->core, region, info);
	if (!error && !may_open(call->req, info->path, write))
		error = -EACCES;
	free(info);
	if (!error && same_user)
		atomic_fetch_or(known, bit);
	return error;
}

/* ---- what the kernel has to forget ----------------------------------------------------------- */

/*
 * What the holder stores goes past the kernel's pages, and blocks that came are not in the
 * attributes it knows.
 */
static void forget(
	const struct call *call, struct inode *ip, uint64_t start, uint64_t end, bool attributes)
{
	bool pages = cached_forget(core_inode_word(ip), &start, &end);

	if (!pages && !attributes)
		return;
	core_hold_inode(call->daemon->core, ip, 1);
	*call->forget = (struct forgetting){ip, pages ? start : 0, pages ? end : 0};
}

/* After the holder's last stores under a lease. */
static void forget_pages(
	const struct call *call, const struct lm_lease_info *info, uint64_t start, uint64_t end)
{
	struct inode *ip;

	if (info->mode != LM_WRITE || core_get(call->daemon->core, info->ino, &ip))
		return;
	forget(call, ip, start, end, false);
	core_put(call->daemon->core, ip, 1);
}

/* ---- grants ---------------------------------------------------------------------------------- */

/* Rounds outward to blocks. -EINVAL: empty, or no range; -EFBIG: past what a file can be. */
static int grant_range(
	struct core *c, struct inode *ip, struct leasefs_grant *g, uint64_t *start, uint64_t *end)
{
	struct timespec btime;
	uint64_t unit = core_layout_unit(c);
	struct stat st;
	int error = core_getattr(c, ip, &st, &btime);

	if (error)
		return error;
	if (!S_ISREG(st.st_mode))
		return -EOPNOTSUPP;
	if (g->offset > INT64_MAX || g->length > INT64_MAX - g->offset)
		return -EINVAL;
	*start = g->offset & ~(unit - 1);
	*end = g->length ? g->offset + g->length : (uint64_t)st.st_size;
	*end = (*end + unit - 1) & ~(unit - 1);
	if (*start >= *end)
		return -EINVAL;
	return *end <= FILE_BYTES_MAX ? 0 : -EFBIG;
}

struct granting {
	const struct call *call;
	struct holder *holder;
	struct inode *inode;
	struct leasefs_grant *g;
	uint64_t start, end;
	bool write;
	bool changed; /* the layout, for it */
	struct lm_grant lease;
	struct lease_record *record; /* to be written down */
};

/*
 * Under the lock, which it may let go and take again: the file's policy is read, from its extended
 * attributes, only if something is in the way.
 */
static int ask(struct granting *w, struct kept_inode **spare)
{
	struct arbiter *a = w->holder->arbiter;
	struct lm_policy policy;
	struct lm_grant_request r = {.ino = core_ino(w->inode),
		.start = w->start,
		.end = w->end,
		.mode = w->write ? LM_WRITE : LM_READ,
		.flags = w->g->flags & LEASEFS_GRANT_EXCLUSIVE ? LM_GRANT_EXCLUSIVE : 0,
		.pid = (uint32_t)fuse_req_ctx(w->call->req)->pid,
		.policy = &a->policy};
	int error;

	if (w->holder->closed || !w->holder->session)
		return -EPERM;
	if (!lm_grant_is_free(w->holder->session, &r)) {
		arbiter_unlock(a);
		arbiter_policy_of(a, r.ino, &policy);
		r.policy = &policy;
		arbiter_lock(a);
		if (w->holder->closed || !w->holder->session)
			return -EPERM;
	}
	if (!a->spare_inode) {
		a->spare_inode = *spare;
		*spare = NULL;
	}
	a->granting = w->inode;
	error = lm_grant(w->holder->session, &r, arbiter_now(), &w->lease);
	a->granting = NULL;
	return error;
}

/* The layout, while the lease is being made. */
static int make_layout(struct granting *w)
{
	struct core *c = w->call->daemon->core;
	struct leasefs_grant *g = w->g;
	int error = 0;

	if (w->write)
		error = core_prepare_layout(c, w->inode, w->start, w->end - w->start, &w->changed);
	if (!error)
		error = control_read_layout(c, w->inode, w->start, w->end, g->extents,
			LEASEFS_GRANT_EXTENTS, &g->count, &g->next);
	for (uint32_t i = 0; i < g->count && !error; i++)
		if (g->extents[i].state != LEASEFS_EXTENT_HOLE)
			error = check_region(w->call, w->holder, g->extents[i].region, w->write);
	crash_point("layout_made");
	if (!error && w->holder->leases_fd >= 0) {
		struct lm_lease_info info = {.lease = w->lease.lease,
			.ino = core_ino(w->inode),
			.start = w->start,
			.end = w->end,
			.mode = g->mode,
			.flags = g->flags & LEASEFS_GRANT_EXCLUSIVE ? LM_LEASE_EXCLUSIVE : 0};

		error = control_describe_lease(
			c, w->inode, &info, g->extents, g->count, g->next, w->record);
	}
	return error;
}

static int grant(struct granting *w)
{
	struct daemon *d = w->call->daemon;
	struct arbiter *a = d->arbiter;
	struct holder *h = w->holder;
	struct kept_inode *spare = malloc(sizeof(*spare));
	struct lease_record record;
	struct lm_session *session;
	int error;

	if (!spare)
		return -ENOMEM;
	record.lease = 0;
	w->record = &record;
	arbiter_lock(a);
	error = ask(w, &spare);
	session = h->session; /* not before: one may be adopted while the lock is let go */
	arbiter_unlock(a);
	free(spare);
	if (error)
		return error;
	crash_point("grant_entered");
	error = make_layout(w);
	arbiter_lock(a);
	if (!error && record.lease)
		error = holder_note_lease(h, w->lease.slot, &record);
	crash_point("grant_written");
	w->g->slot = h->pin_fd >= 0 && w->lease.slot < h->lines ? w->lease.slot : LEASEFS_NO_SLOT;
	w->g->pin_file_bytes = h->pin_fd < 0 ? 0 : h->lines * sizeof(struct leasefs_pin_line);
	if (!error && w->changed)
		lm_layout_changed(a->lm, core_ino(w->inode), w->start, w->end, session);
	lm_grant_done(session, w->lease.lease, !error, arbiter_now());
	arbiter_unlock(a);
	crash_point("grant_done");
	if (!error && w->write)
		forget(w->call, w->inode, w->start, w->end, w->changed);
	return error;
}

int call_grant(const struct call *call, struct inode *ip, int open_flags, void *data)
{
	struct leasefs_grant *g = data;
	struct granting w = {
		.call = call, .inode = ip, .g = g, .write = g->mode == LEASEFS_MODE_WRITE};
	struct arbiter *a = call->daemon->arbiter;
	bool short_of_lines = false;
	int error;

	if ((g->mode != LEASEFS_MODE_READ && g->mode != LEASEFS_MODE_WRITE) ||
		(g->flags & ~LEASEFS_GRANT_EXCLUSIVE) ||
		!all_zero(g->reserved, sizeof(g->reserved)))
		return -EINVAL;
	if ((open_flags & O_ACCMODE) == (w.write ? O_RDONLY : O_WRONLY))
		return -EBADF;
	error = grant_range(call->daemon->core, ip, g, &w.start, &w.end);
	if (error)
		return error;
	arbiter_lock(a);
	w.holder = holder_by_cookie(a, g->cookie);
	if (w.holder) {
		holder_get(w.holder);
		short_of_lines = holder_short_of_lines(w.holder);
	}
	arbiter_unlock_unchanged(a);
	if (!w.holder)
		return -EPERM;
	if (short_of_lines)
		holder_grow_pins(w.holder);
	g->count = 0;
	error = grant(&w);
	holder_put(w.holder);
	if (error)
		return error;
	g->lease = w.lease.lease;
	g->offset = w.start;
	g->length = w.end - w.start;
	return 0;
}

/* ---- giving back ----------------------------------------------------------------------------- */

int call_range(uint64_t offset, uint64_t length, const struct lm_lease_info *info, uint64_t *start,
	uint64_t *end)
{
	if (offset == 0 && length == 0) {
		*start = info->start;
		*end = info->end;
		return 0;
	}
	if (length == 0 || offset > FILE_BYTES_MAX || length > FILE_BYTES_MAX - offset)
		return -EINVAL;
	*start = offset;
	*end = offset + length;
	return 0;
}

int call_return(const struct call *call, void *data)
{
	struct leasefs_return *r = data;
	struct arbiter *a = call->daemon->arbiter;
	struct holder *h = call->holder;
	struct lm_lease_info info;
	struct lm_grant rest = {0};
	uint64_t start = 0, end = 0;
	int error;

	if (!all_zero(r->reserved, sizeof(r->reserved)))
		return -EINVAL;
	arbiter_lock(a);
	error = lm_lease_info(h->session, r->lease, &info);
	if (!error)
		error = call_range(r->offset, r->length, &info, &start, &end);
	if (!error && (start % BLOCK_SIZE || end % BLOCK_SIZE))
		error = -EINVAL;
	crash_point("return_asked");
	if (!error)
		error = lm_return(h->session, r->lease, start, end, arbiter_now(), &rest);
	if (!error) {
		r->rest = rest.lease;
		r->rest_slot = rest.lease && h->pin_fd >= 0 && rest.slot < h->lines
				       ? rest.slot
				       : LEASEFS_NO_SLOT;
		r->pad = 0;
	}
	arbiter_unlock(a);
	crash_point("return_done");
	if (!error)
		forget_pages(call, &info, start, end);
	return error;
}

int call_downgrade(const struct call *call, void *data)
{
	const struct leasefs_downgrade *g = data;
	struct arbiter *a = call->daemon->arbiter;
	struct holder *h = call->holder;
	struct lm_lease_info info;
	int error;

	if ((g->flags & ~LEASEFS_DOWNGRADE_SHARE) || g->pad ||
		!all_zero(g->reserved, sizeof(g->reserved)))
		return -EINVAL;
	arbiter_lock(a);
	error = lm_lease_info(h->session, g->lease, &info);
	if (!error)
		error = lm_downgrade(
			h->session, g->lease, g->flags & LEASEFS_DOWNGRADE_SHARE, arbiter_now());
	arbiter_unlock(a);
	if (!error)
		forget_pages(call, &info, info.start, info.end);
	return error;
}

int call_commit(const struct call *call, void *data)
{
	const struct leasefs_commit *m = data;
	struct arbiter *a = call->daemon->arbiter;
	struct holder *h = call->holder;
	struct core *c = call->daemon->core;
	struct lm_lease_info info;
	uint64_t start = 0, end = 0;
	struct inode *ip;
	int error;

	if (!all_zero(m->reserved, sizeof(m->reserved)))
		return -EINVAL;
	arbiter_lock(a);
	error = lm_lease_info(h->session, m->lease, &info);
	if (!error)
		error = call_range(m->offset, m->length, &info, &start, &end);
	if (!error && m->size > info.end)
		error = -EINVAL;
	if (!error)
		error = lm_commit_begin(h->session, m->lease, start, end);
	arbiter_unlock(a);
	if (error)
		return error;
	/* No change of this range gets its verdict before lm_commit_end(). */
	crash_point("commit_begun");
	error = core_get(c, info.ino, &ip);
	if (!error) {
		error = core_commit_layout(c, ip, start, end - start, m->size);
		if (!error)
			forget(call, ip, start, end, true);
		core_put(c, ip, 1);
	}
	crash_point("commit_made");
	arbiter_lock(a);
	lm_commit_end(h->session, m->lease, arbiter_now());
	arbiter_unlock(a);
	crash_point("commit_done");
	return error;
}

int call_ack(const struct call *call, void *data)
{
	const struct leasefs_ack *ack = data;
	struct arbiter *a = call->daemon->arbiter;
	int error;

	if (!all_zero(ack->reserved, sizeof(ack->reserved)))
		return -EINVAL;
	arbiter_lock(a);
	error = lm_ack(call->holder->session, ack->lease, arbiter_now());
	arbiter_unlock(a);
	crash_point("ack_done");
	return error;
}
