// SPDX-License-Identifier: BSD-2-Clause
/*
 * restore.c - one session of an earlier daemon, from its files in run/ back into leasemgr.
 *
 * Of each lease the extents that its holder may have mapped are compared with what its file has
 * there now. What the file does not have any more is held at once, for that lease; and if any of it
 * was certainly the lease's, recovery has taken it away, and the lease comes back as a ghost.
 *
 * A loose extent (records.h) covers what lay between a lease's own as well. Nothing is freed under
 * a lease before its ghost is written down, so of one that is whole the file has everything, and
 * what it does not have is others': none of that is held. Of a ghost it may be the lease's, and is.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "format.h"
#include "inheritance.h"
#include "log.h"

/* ---- what is lost to a lease's file ---------------------------------------------------------- */

#define PIECES_MAX 64u /* of one lease; when there would be more, too much is kept */
#define LAYOUT_PAGE 64u

struct piece {
	uint32_t region;
	bool exact; /* no loose extent's, which covers what the lease never had */
	uint64_t start, end;
};

struct pieces {
	uint32_t count;
	struct piece all[PIECES_MAX];
};

/* What of its record's extents a lease of [start, end) can have mapped. */
static void clip(const struct lease_record *r, struct pieces *out)
{
	out->count = 0;
	for (uint32_t i = 0; i < r->count; i++) {
		const struct record_extent *e = &r->extents[i];
		struct piece p = {.region = e->region,
			.exact = e->offset != RECORD_LOOSE,
			.start = e->region_offset,
			.end = e->region_offset + (uint64_t)e->blocks * BLOCK_SIZE};

		if (p.exact) {
			uint64_t end = e->offset + (p.end - p.start);

			if (e->offset >= r->end || end <= r->start)
				continue;
			if (e->offset < r->start)
				p.start += r->start - e->offset;
			if (end > r->end)
				p.end -= end - r->end;
		}
		if (p.start < p.end)
			out->all[out->count++] = p;
	}
}

/* [start, end) of the region is in the file. */
static void subtract(struct pieces *all, uint32_t region, uint64_t start, uint64_t end)
{
	for (uint32_t i = 0; i < all->count; i++) {
		struct piece *p = &all->all[i];

		if (p->region != region || end <= p->start || start >= p->end)
			continue;
		if (start > p->start && end < p->end) {
			if (all->count == PIECES_MAX)
				continue;
			all->all[all->count] = *p;
			all->all[all->count++].start = end;
			p->end = start;
		} else if (start > p->start) {
			p->end = start;
		} else if (end < p->end) {
			p->start = end;
		} else {
			*p = all->all[--all->count];
			i--;
		}
	}
}

static int subtract_layout(
	struct core *c, struct inode *ip, const struct lease_record *r, struct pieces *p)
{
	struct core_extent page[LAYOUT_PAGE];
	uint64_t at = r->start;

	while (at < r->end && p->count) {
		unsigned count;
		int error = core_layout(c, ip, at, r->end - at, page, LAYOUT_PAGE, &count, &at);

		if (error)
			return error;
		for (unsigned i = 0; i < count; i++)
			if (page[i].state != CORE_EXTENT_HOLE)
				subtract(p, page[i].region, page[i].region_offset,
					page[i].region_offset + page[i].length);
	}
	return 0;
}

static bool any_exact(const struct pieces *p)
{
	for (uint32_t i = 0; i < p->count; i++)
		if (p->all[i].exact)
			return true;
	return false;
}

/* ---- putting back ---------------------------------------------------------------------------- */

/* The file, if it is still the one that was leased; NULL: it is no more. */
static int find_inode(struct core *c, const struct lease_record *r, struct inode **out)
{
	struct inode *ip;
	int error;

	*out = NULL;
	if (!r->ino)
		return 0;
	error = core_get(c, r->ino, &ip);
	if (error == -ESTALE)
		return 0;
	if (error)
		return error;
	if (core_generation(ip) == r->generation)
		*out = ip;
	else
		core_put(c, ip, 1);
	return 0;
}

static bool was_recalled(const struct holder *h, uint32_t slot)
{
	struct leasefs_pin_line line;

	return h->pin_fd >= 0 &&
	       pread(h->pin_fd, &line, sizeof(line), (off_t)slot * (off_t)sizeof(line)) ==
		       (ssize_t)sizeof(line) &&
	       line.recall;
}

static int restore_lease(struct holder *h, struct lease_record *r)
{
	struct arbiter *a = h->arbiter;
	struct core *c = a->daemon->core;
	struct lm_lease_record lm = {.lease = r->lease,
		.origin = r->origin,
		.rest = r->rest,
		.ino = r->ino,
		.start = r->start,
		.end = r->end,
		.mode = r->mode,
		.flags = r->flags};
	struct pieces lost;
	struct inode *ip;
	int error = find_inode(c, r, &ip);

	if (error)
		return error;
	clip(r, &lost);
	if (ip)
		error = subtract_layout(c, ip, r, &lost);
	else
		lm.ino = 0;
	if (error)
		goto put;
	if (ip && !(r->flags & LM_LEASE_REVOKED) && !any_exact(&lost))
		lost.count = 0;
	/* Recovery has taken something away: nobody can go on with that. */
	if (!ip || any_exact(&lost))
		lm.flags = (lm.flags & LM_LEASE_EXCLUSIVE) | LM_LEASE_REVOKED;
	if (!a->spare_inode)
		a->spare_inode = malloc(sizeof(*a->spare_inode));
	if (!a->spare_inode) {
		error = -ENOMEM;
		goto put;
	}
	arbiter_lock(a);
	a->granting = ip;
	error = lm_lease_restore(
		h->session, &lm, was_recalled(h, record_slot(r->lease)), arbiter_now());
	a->granting = NULL;
	if (h->lines_used <= record_slot(r->lease))
		h->lines_used = record_slot(r->lease) + 1;
	for (uint32_t i = 0; i < lost.count && !error; i++)
		error = lm_hold_restore(h->session, r->lease, lost.all[i].region, lost.all[i].start,
			lost.all[i].end - lost.all[i].start);
	arbiter_unlock(a);
put:
	if (ip)
		core_put(c, ip, 1);
	return error;
}

static int restore_pins(struct holder *h)
{
	int run_fd = core_run_dir_fd(h->arbiter->daemon->core);
	struct range_pin_record r;
	uint32_t slot = 0;
	int error = record_file_open(run_fd, RECORD_RANGES, h->id, &h->ranges_fd);

	if (error)
		return error == -ENOENT ? 0 : error;
	while (!(error = range_pin_record_next(h->ranges_fd, &slot, &r))) {
		arbiter_lock(h->arbiter);
		error = lm_pin_restore(h->session, r.pin, r.lease, r.start, r.end, r.flags);
		arbiter_unlock(h->arbiter);
		if (error == -ENOENT) /* its lease ended as the daemon did */
			range_pin_record_clear(h->ranges_fd, r.pin);
		else if (error)
			return error;
	}
	return error == -ENOENT ? 0 : error;
}

static int restore_leases(struct holder *h)
{
	struct lease_record r;
	uint32_t slot = 0;
	int error;

	while (!(error = lease_record_next(h->leases_fd, &slot, &r))) {
		error = restore_lease(h, &r);
		if (error)
			return error;
	}
	return error == -ENOENT ? restore_pins(h) : error;
}

/* Lines of slots without a lease may hold anything: whoever gets them begins at zero. */
static void clean_lines(struct holder *h)
{
	static const struct leasefs_pin_line zero;
	struct leasefs_pin_line page[PIN_LINES_FIRST];
	struct lease_record r;

	for (uint32_t at = 0; at < h->lines; at += PIN_LINES_FIRST) {
		ssize_t n = pread(h->pin_fd, page, sizeof(page), (off_t)at * (off_t)sizeof(zero));

		for (uint32_t i = 0; i < PIN_LINES_FIRST && (ssize_t)(i * sizeof(zero)) < n; i++) {
			uint32_t slot = at + i;

			if (memcmp(&page[i], &zero, sizeof(zero)) &&
				(lease_record_next(h->leases_fd, &slot, &r) || slot != at + i + 1))
				(void)!pwrite(h->pin_fd, &zero, sizeof(zero),
					(off_t)(at + i) * (off_t)sizeof(zero));
		}
	}
}

static void open_lines(struct holder *h, const struct session_record *r)
{
	if (!r->lines)
		return;
	if (record_file_open(
		    core_run_dir_fd(h->arbiter->daemon->core), RECORD_LINES, h->id, &h->pin_fd)) {
		h->lines_lost = true;
		log_warning("run/ has no pin lines of session %llu any more: all of it counts as"
			    " pinned",
			(unsigned long long)h->id);
		return;
	}
	clean_lines(h); /* one that was cut off reads short, and counts as pinned */
}

static bool has_records(int fd)
{
	struct lease_record r;
	uint32_t slot = 0;

	return lease_record_next(fd, &slot, &r) != -ENOENT;
}

/* Puts the session of that number back, or finds that nothing is left of it: then *kept is false.
 */
int restore_session(struct arbiter *a, uint64_t number, bool *kept)
{
	int run_fd = core_run_dir_fd(a->daemon->core);
	struct session_record r;
	struct holder *h;
	int fd, error = record_file_open(run_fd, RECORD_LEASES, number, &fd);

	*kept = false;
	if (error)
		return error;
	if (session_record_read(fd, &r) || r.number != number || !has_records(fd)) {
		close(fd);
		return 0;
	}
	*kept = true;
	h = holder_of_old(a, &r, fd);
	if (!h)
		return -ENOMEM;
	open_lines(h, &r);
	arbiter_lock(a);
	error = lm_session_restore(a->lm, number, r.pid, r.uid, h, &h->session);
	if (!error)
		holder_get(h); /* the session's */
	else
		LIST_REMOVE(h, all); /* else with the session */
	arbiter_unlock(a);
	if (!error) {
		error = restore_leases(h);
		/* As far as it came: the session may have to end, for the daemon does not begin. */
		arbiter_lock(a);
		lm_session_restored(h->session);
		arbiter_unlock(a);
	}
	if (!error)
		log_notice("session %llu of process %u (uid %u) is of an earlier daemon: %llu"
			   " leases wait to be reclaimed",
			(unsigned long long)number, r.pid, r.uid,
			(unsigned long long)lm_session_inherited(h->session));
	holder_put(h);
	return error;
}
