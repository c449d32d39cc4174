// SPDX-License-Identifier: BSD-2-Clause
/* control_session.c - HELLO, and what is told to anybody: status, leases, conflicts. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "control_calls.h"
#include "format.h"
#include "options.h"

#define PASSED_OVER_MAX 256u /* leases that are not for the caller, before the lock is let go */
#define FEATURES                                                                                   \
	(LEASEFS_FEATURE_SLOT_PINS | LEASEFS_FEATURE_RANGE_PINS | LEASEFS_FEATURE_EXCLUSIVE |      \
		LEASEFS_FEATURE_RECLAIM | LEASEFS_FEATURE_WATCH)

int call_hello(const struct call *call, void *data)
{
	const struct fuse_ctx *caller = fuse_req_ctx(call->req);
	struct leasefs_hello *hello = data;
	struct holder *h = call->holder;
	struct arbiter *a = call->daemon->arbiter;
	int error;

	if (hello->abi == 0 || hello->flags || !all_zero(hello->reserved, sizeof(hello->reserved)))
		return -EINVAL;
	if (caller->pid <= 0)
		return -ESRCH; /* in a pid namespace that the daemon cannot see into */
	error = holder_begin_session(h, arbiter_process_of((uint32_t)caller->pid), caller->uid);
	if (error)
		return error;
	hello->abi = hello->abi < LEASEFS_ABI ? hello->abi : LEASEFS_ABI;
	holder_pin_path(h, hello->pin_file, sizeof(hello->pin_file));
	hello->features &= FEATURES;
	if (!hello->pin_file[0])
		hello->features &= ~LEASEFS_FEATURE_SLOT_PINS;
	arbiter_lock(a);
	hello->session = h->id;
	memcpy(hello->cookie, h->cookie, sizeof(hello->cookie));
	memcpy(hello->boot, a->boot, sizeof(hello->boot));
	hello->pid = h->pid;
	hello->pin_line_bytes = sizeof(struct leasefs_pin_line);
	hello->pin_file_bytes = h->pin_fd < 0 ? 0 : h->lines * sizeof(struct leasefs_pin_line);
	arbiter_unlock(a);
	return 0;
}

int call_process(const struct call *call, void *data)
{
	const struct fuse_ctx *caller = fuse_req_ctx(call->req);
	struct leasefs_process *process = data;
	uint32_t pid;
	int error;

	if (process->flags || !all_zero(process->reserved, sizeof(process->reserved)))
		return -EINVAL;
	if (caller->pid <= 0)
		return -ESRCH;
	pid = arbiter_process_of((uint32_t)caller->pid);
	error = holder_set_process(call->holder, pid);
	if (!error)
		process->pid = pid;
	return error;
}

static void copy_text(char *out, size_t bytes, const char *text)
{
	snprintf(out, bytes, "%s", text);
}

int call_status(const struct call *call, void *data)
{
	struct arbiter *a = call->daemon->arbiter;
	struct leasefs_status *s = data;
	struct core_info info;
	struct lm_status lm;

	if (!all_zero(s->reserved, sizeof(s->reserved)))
		return -EINVAL;
	core_get_info(call->daemon->core, &info);
	arbiter_lock(a);
	lm_get_status(a->lm, &lm);
	arbiter_unlock(a);
	memset(s, 0, sizeof(*s));
	s->abi = LEASEFS_ABI;
	s->format_major = info.format_major;
	s->format_minor = info.format_minor;
	s->regions = info.regions;
	s->media = (uint32_t)info.meta_media;
	s->durability = (uint32_t)info.durability;
	s->domains = info.domains;
	s->draining = lm.draining;
	s->pool_bytes = info.pool_bytes;
	s->free_bytes = info.free_bytes;
	s->pending_bytes = info.pending_bytes;
	s->meta_bytes = info.meta_bytes;
	s->meta_free_bytes = info.meta_free_bytes;
	s->inodes_used = info.inodes_used;
	s->inodes_cached = info.inodes_cached;
	s->sessions = lm.sessions;
	s->leases = lm.leases;
	s->revoked = lm.ghosts;
	s->range_pins = lm.range_pins;
	s->parked = lm.parked;
	s->wants = lm.wants;
	s->quarantine_bytes = lm.quarantine_bytes;
	s->quarantine_leaked_bytes = lm.leaked_bytes;
	s->grants = lm.grants;
	s->returns = lm.returns;
	s->recalls = lm.recalls;
	s->revocations = lm.revocations;
	s->busy = lm.busy;
	s->daemon_pid = (uint64_t)getpid();
	s->inherited_bytes = lm.inherited_bytes;
	copy_text(s->uuid, sizeof(s->uuid), info.uuid);
	copy_text(s->label, sizeof(s->label), info.label);
	lm_policy_print(&a->policy, s->policy, sizeof(s->policy));
	copy_text(s->pool, sizeof(s->pool), call->daemon->options->pool_path);
	return 0;
}

int call_space(const struct call *call, void *data)
{
	struct leasefs_space *s = data;
	struct core_runs_place place = {
		.region = (uint32_t)(s->cursor >> 32), .group = (uint32_t)s->cursor};
	struct core_free_runs runs;
	int error;

	if (!all_zero(s->reserved, sizeof(s->reserved)))
		return -EINVAL;
	error = core_count_free_runs(call->daemon->core, &place, &runs);
	if (error)
		return error;
	*s = (struct leasefs_space){.free_bytes = runs.bytes,
		.free_extents = runs.runs,
		.largest_bytes = runs.largest_bytes};
	if (place.region != CORE_RUNS_END)
		s->cursor = (uint64_t)place.region << 32 | place.group;
	return 0;
}

static bool next_lease(struct arbiter *a, uint64_t inode, uint64_t *session, uint32_t *slot,
	struct lm_cursor *at, struct lm_lease_info *out)
{
	return inode ? lm_next_lease_of(a->lm, inode, at, out)
		     : lm_next_lease(a->lm, session, slot, out);
}

/* Nobody keeps the lock for as long as it takes to pass over a million leases of others. */
static void let_others_in(struct arbiter *a, unsigned *passed_over)
{
	if (++*passed_over % PASSED_OVER_MAX)
		return;
	arbiter_unlock(a);
	arbiter_lock(a);
}

int call_leases(const struct call *call, void *data)
{
	struct arbiter *a = call->daemon->arbiter;
	struct leasefs_leases *page = data;
	uint64_t session = page->cursor[0], now_ns;
	uint32_t slot = (uint32_t)page->cursor[1], count = 0;
	struct lm_cursor at = {.part = page->tree, .start = session, .id = page->cursor[1]};
	struct lm_lease_info l;
	unsigned passed_over = 0;

	_Static_assert(LEASEFS_LEASE_EXCLUSIVE == LM_LEASE_EXCLUSIVE &&
			       LEASEFS_LEASE_RECALLED == LM_LEASE_RECALLED &&
			       LEASEFS_LEASE_REVOKED == LM_LEASE_REVOKED &&
			       LEASEFS_LEASE_PINNED == LM_LEASE_PINNED &&
			       LEASEFS_LEASE_ORPHANED == LM_LEASE_ORPHANED &&
			       LEASEFS_LEASE_INHERITED == LM_LEASE_INHERITED,
		"one set of numbers");
	if (!all_zero(page->reserved, sizeof(page->reserved)) ||
		(!page->inode && (page->cursor[1] > UINT32_MAX || page->tree)))
		return -EINVAL;
	arbiter_lock(a);
	now_ns = arbiter_now();
	while (count < LEASEFS_LEASES && next_lease(a, page->inode, &session, &slot, &at, &l)) {
		struct leasefs_lease_info *out = &page->leases[count];

		if (!call_may_see(call, l.uid)) {
			/* All of a session are of one user. Cursors hold without the lock. */
			if (!page->inode && session == l.session) {
				session++;
				slot = 0;
			}
			let_others_in(a, &passed_over);
			continue;
		}
		*out = (struct leasefs_lease_info){.lease = l.lease,
			.session = l.session,
			.inode = l.ino,
			.offset = l.start,
			.length = l.end - l.start,
			.age_ns = now_ns - l.granted_ns,
			.quarantine_bytes = l.quarantine_bytes,
			.pid = l.pid,
			.uid = l.uid,
			.mode = l.mode,
			.flags = l.flags & ~LM_LEASE_MAKING,
			.range_pins = l.range_pins,
			.slot_pins = holder_slot_pins(l.owner, l.slot)};
		if (l.recall_deadline_ns > now_ns)
			out->recall_left_ns = l.recall_deadline_ns - now_ns;
		count++;
	}
	arbiter_unlock(a);
	page->cursor[0] = page->inode ? at.start : session;
	page->cursor[1] = page->inode ? at.id : slot;
	page->tree = page->inode ? at.part : 0;
	page->count = count;
	return 0;
}

int call_conflicts(const struct call *call, void *data)
{
	struct arbiter *a = call->daemon->arbiter;
	struct leasefs_conflicts *page = data;
	uint64_t now_ns, skip = page->skip;
	uint32_t count = 0;

	if (!all_zero(page->reserved, sizeof(page->reserved)) || page->pad)
		return -EINVAL;
	arbiter_lock(a);
	now_ns = arbiter_now();
	for (uint64_t i = 0; i < ARBITER_CONFLICTS && i < a->conflict_count; i++) {
		const struct lm_conflict *c =
			&a->conflicts[(a->conflict_count - 1 - i) % ARBITER_CONFLICTS];
		struct leasefs_conflict *out = &page->conflicts[count];

		if ((!call_may_see(call, c->uid) && !call_may_see(call, c->holder_uid)) ||
			(page->inode && page->inode != c->ino))
			continue;
		if (skip > 0) {
			skip--;
			continue;
		}
		*out = (struct leasefs_conflict){.inode = c->ino,
			.offset = c->start,
			.length = c->end >= FILE_BYTES_MAX ? 0 : c->end - c->start,
			.session = c->session,
			.lease = c->lease,
			.pin_offset = c->pin_start,
			.pin_length = c->pin_end - c->pin_start,
			.lease_age_ns = c->lease_age_ns,
			.waited_ns = c->waited_ns,
			.ago_ns = now_ns - c->when_ns,
			.pid = c->pid,
			.uid = c->uid,
			.holder_pid = c->holder_pid,
			.holder_uid = c->holder_uid,
			.unbreakable = c->unbreakable,
			.own = c->own};
		copy_text(out->operation, sizeof(out->operation), c->operation);
		if (++count == LEASEFS_CONFLICTS)
			break;
	}
	arbiter_unlock(a);
	page->count = count;
	return 0;
}

int call_pins(const struct call *call, void *data)
{
	struct arbiter *a = call->daemon->arbiter;
	struct leasefs_pins *page = data;
	struct lm_cursor at = {.start = page->cursor[0], .id = page->cursor[1]};
	struct lm_pin_info p;
	unsigned passed_over = 0;
	uint32_t count = 0;

	_Static_assert(LEASEFS_PIN_UNBREAKABLE == LM_PIN_UNBREAKABLE, "one set of numbers");
	if (!all_zero(page->reserved, sizeof(page->reserved)) || page->pad || !page->inode)
		return -EINVAL;
	arbiter_lock(a);
	while (count < LEASEFS_PINS && lm_next_pin_of(a->lm, page->inode, &at, &p)) {
		if (!call_may_see(call, p.uid)) {
			let_others_in(a, &passed_over);
			continue;
		}
		page->pins[count++] = (struct leasefs_pin_info){.pin = p.pin,
			.lease = p.lease,
			.session = p.session,
			.offset = p.start,
			.length = p.end - p.start,
			.pid = p.pid,
			.uid = p.uid,
			.flags = p.flags};
	}
	arbiter_unlock(a);
	page->cursor[0] = at.start;
	page->cursor[1] = at.id;
	page->count = count;
	return 0;
}

int call_sessions(const struct call *call, void *data)
{
	struct arbiter *a = call->daemon->arbiter;
	struct leasefs_sessions *page = data;
	const struct lm_session *s;
	uint64_t now_ns;
	uint32_t count = 0;

	if (!all_zero(page->reserved, sizeof(page->reserved)) || page->pad)
		return -EINVAL;
	arbiter_lock(a);
	now_ns = arbiter_now();
	s = lm_session_below(a->lm, page->cursor ? page->cursor : UINT64_MAX);
	for (; s && count < LEASEFS_SESSIONS; s = lm_session_after(s)) {
		struct lm_session_info i;
		const struct holder *h;

		lm_session_info(s, &i);
		page->cursor = i.session;
		if (!call_may_see(call, i.uid))
			continue;
		h = i.owner;
		page->sessions[count++] = (struct leasefs_session_info){.session = i.session,
			.age_ns = now_ns - h->opened_ns,
			.leases = i.leases,
			.revoked = i.ghosts,
			.range_pins = i.range_pins,
			.wants = i.wants,
			.pid = i.pid,
			.uid = i.uid,
			.flags = (i.closed ? LEASEFS_SESSION_CLOSED : 0) |
				 (i.process_gone ? LEASEFS_SESSION_DEAD : 0) |
				 (h->pin_fd >= 0 ? LEASEFS_SESSION_SLOT_PINS : 0)};
	}
	arbiter_unlock(a);
	page->count = count;
	return 0;
}

struct looking {
	const struct call *call;
	struct leasefs_operations *page;
	uint64_t skip, now_ns;
};

static bool see_operation(void *context, struct lm_change *c)
{
	struct looking *l = context;
	struct leasefs_operations *page = l->page;
	struct leasefs_operation *out = &page->operations[page->count];
	struct lm_change_info i;

	if (l->skip > 0) { /* of everybody's: so that what is skipped does not depend on who asks */
		l->skip--;
		return true;
	}
	page->skip++;
	lm_change_info(c, &i);
	if (!call_may_see(l->call, i.uid) && !call_may_see(l->call, i.holder_uid))
		return true;
	*out = (struct leasefs_operation){.number = i.number,
		.inode = i.ino,
		.offset = i.start,
		.length = i.end >= FILE_BYTES_MAX ? 0 : i.end - i.start,
		.waited_ns = l->now_ns - i.began_ns,
		.left_ns = i.deadline_ns > l->now_ns ? i.deadline_ns - l->now_ns : 0,
		.lease = i.lease,
		.session = i.session,
		.pid = i.pid,
		.uid = i.uid,
		.holder_pid = i.holder_pid,
		.holder_uid = i.holder_uid};
	copy_text(out->operation, sizeof(out->operation), i.operation);
	return ++page->count < LEASEFS_OPERATIONS;
}

int call_operations(const struct call *call, void *data)
{
	struct arbiter *a = call->daemon->arbiter;
	struct leasefs_operations *page = data;
	struct looking l = {.call = call, .page = page, .skip = page->skip};

	if (!all_zero(page->reserved, sizeof(page->reserved)) || page->pad)
		return -EINVAL;
	page->count = 0;
	arbiter_lock(a);
	l.now_ns = arbiter_now();
	arbiter_each_parked(a, see_operation, &l);
	arbiter_unlock(a);
	return 0;
}

int call_held(const struct call *call, void *data)
{
	struct arbiter *a = call->daemon->arbiter;
	struct core *c = call->daemon->core;
	struct leasefs_held *held = data;
	struct lm_lease_info info;
	const struct holder *h;
	struct inode *ip;
	int error = -ENOENT;
	unsigned count;

	if (!all_zero(held->reserved, sizeof(held->reserved)) || held->pad)
		return -EINVAL;
	if (!call_may_see_all(call))
		return -EPERM;
	arbiter_lock(a);
	LIST_FOREACH(h, &a->holders, all)
		if (h->session && h->id == held->session)
			break;
	if (h)
		error = lm_lease_info(h->session, held->lease, &info);
	arbiter_unlock(a);
	if (!error && (info.flags & LM_LEASE_REVOKED))
		error = -ESTALE;
	if (!error && held->offset >= info.end)
		error = -EINVAL;
	if (error)
		return error;
	if (held->offset < info.start)
		held->offset = info.start;
	error = core_get(c, info.ino, &ip);
	if (error)
		return error;
	error = core_layout(c, ip, held->offset, info.end - held->offset,
		(struct core_extent *)held->extents, LEASEFS_LAYOUT_EXTENTS, &count, &held->next);
	core_put(c, ip, 1);
	held->end = info.end;
	held->count = error ? 0 : count;
	return error;
}
