// SPDX-License-Identifier: BSD-2-Clause
/*
 * pieces.c - what is left of a lease, found by the daemon's ids.
 *
 * The table is the session's (session.lock), the lists are the leases' (lease.lock): both locks are
 * held to change either, so one of them is enough to look.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "lfs.h"

#define SPENT_MAX 64u

static struct lfs_bucket *bucket_of(struct leasefs_session *s, uint64_t id)
{
	/* Ids count slots from bit 20 on (and uses of a slot above): mix the halves. */
	return &s->pieces[(id ^ id >> 20 ^ id >> 32) % LFS_TABLE];
}

static struct lfs_piece *find_held(struct leasefs_session *s, uint64_t id)
{
	struct lfs_piece *p;

	LIST_FOREACH(p, bucket_of(s, id), by_id)
		if (p->id == id)
			return p;
	return NULL;
}

struct lfs_piece *lfs_add_piece(
	struct leasefs_lease *l, uint64_t id, uint64_t offset, uint64_t length, uint32_t slot)
{
	struct lfs_piece *p = calloc(1, sizeof(*p));
	struct leasefs_session *s = l->session;

	if (!p)
		return NULL;
	p->lease = l;
	p->id = id;
	p->offset = offset;
	p->length = length;
	p->line = lfs_line_of(s, slot);
	pthread_mutex_lock(&s->lock);
	LIST_INSERT_HEAD(bucket_of(s, id), p, by_id);
	LIST_INSERT_HEAD(&l->pieces, p, link);
	pthread_mutex_unlock(&s->lock);
	return p;
}

void lfs_remove_piece(struct lfs_piece *p)
{
	struct leasefs_session *s = p->lease->session;

	pthread_mutex_lock(&s->lock);
	LIST_REMOVE(p, by_id);
	LIST_REMOVE(p, link);
	pthread_mutex_unlock(&s->lock);
	free(p);
}

/*
 * An event that was sent before the return was heard may name the id, and what is meant may be in
 * the mapping still, behind what was returned: it is not to be taken for unknown. An event is read
 * within a few returns; so the latest are enough.
 */
void lfs_spend_piece(struct lfs_piece *p)
{
	struct leasefs_lease *l = p->lease;
	struct lfs_piece *oldest;
	unsigned count = 1;

	pthread_mutex_lock(&l->session->lock);
	LIST_REMOVE(p, link);
	LIST_INSERT_HEAD(&l->spent, p, link);
	p->spent = true;
	for (oldest = p; LIST_NEXT(oldest, link); oldest = LIST_NEXT(oldest, link))
		count++;
	pthread_mutex_unlock(&l->session->lock);
	if (count > SPENT_MAX)
		lfs_remove_piece(oldest);
}

void lfs_forget_spent(struct leasefs_lease *l)
{
	struct lfs_piece *p;

	while ((p = LIST_FIRST(&l->spent)))
		lfs_remove_piece(p);
}

struct leasefs_lease *lfs_find_lease(struct leasefs_session *s, uint64_t id)
{
	struct leasefs_lease *l = NULL;
	struct lfs_piece *p;

	pthread_mutex_lock(&s->lock);
	p = find_held(s, id);
	if (p) {
		l = p->lease;
		l->references++;
	}
	pthread_mutex_unlock(&s->lock);
	return l;
}

struct lfs_piece *lfs_find_piece_locked(struct leasefs_lease *l, uint64_t id)
{
	struct lfs_piece *p;

	pthread_mutex_lock(&l->session->lock);
	p = find_held(l->session, id);
	pthread_mutex_unlock(&l->session->lock);
	return p && p->lease == l && !p->spent ? p : NULL;
}

void lfs_cut_piece(
	struct lfs_piece *p, uint64_t start, uint64_t end, uint64_t rest, uint32_t rest_slot)
{
	uint64_t piece_end = p->offset + p->length;

	assert(start < end);
	/* What was recalled of it and is given back is no matter any more. */
	if (start <= p->recall_start && end >= p->recall_end)
		p->recalled = false;
	if (start <= p->offset && end >= piece_end) {
		lfs_spend_piece(p);
	} else if (start <= p->offset) {
		p->length = piece_end - end;
		p->offset = end;
	} else if (end >= piece_end) {
		p->length = start - p->offset;
	} else {
		/* Without memory for what is behind, it is given back unseen: see lease.c. */
		(void)lfs_add_piece(p->lease, rest, end, piece_end - end, rest_slot);
		p->length = start - p->offset;
	}
}

/* The piece is known by that id from now on. */
static void rename_piece(struct lfs_piece *p, uint64_t id)
{
	struct leasefs_session *s = p->lease->session;

	pthread_mutex_lock(&s->lock);
	LIST_REMOVE(p, by_id);
	p->id = id;
	LIST_INSERT_HEAD(bucket_of(s, id), p, by_id);
	pthread_mutex_unlock(&s->lock);
}

bool lfs_revoke_piece_locked(struct leasefs_lease *l, const struct leasefs_event *e)
{
	struct lfs_piece *p = lfs_find_piece_locked(l, e->origin), *ghost;
	uint64_t end = e->offset + e->length;

	if (!p || e->offset < p->offset || e->offset - p->offset >= p->length)
		p = lfs_piece_at_locked(l, e->offset);
	if (!p)
		return false;
	/* What is in front of it has been given back meanwhile: then this is the part behind. */
	if (e->rest && p->offset == e->offset && end < p->offset + p->length)
		rename_piece(p, e->rest);
	lfs_cut_piece(p, e->offset, end, e->rest, LEASEFS_NO_SLOT);
	ghost = lfs_add_piece(l, e->lease, e->offset, e->length, LEASEFS_NO_SLOT);
	if (ghost)
		ghost->ghost = true;
	return true;
}

struct lfs_piece *lfs_piece_at_locked(struct leasefs_lease *l, uint64_t offset)
{
	struct lfs_piece *p;

	LIST_FOREACH(p, &l->pieces, link)
		if (!p->ghost && offset >= p->offset && offset - p->offset < p->length)
			return p;
	return NULL;
}

struct lfs_piece *lfs_next_piece_locked(struct leasefs_lease *l, uint64_t offset)
{
	struct lfs_piece *p, *best = NULL;

	LIST_FOREACH(p, &l->pieces, link)
		if (!p->ghost && p->offset + p->length > offset &&
			(!best || p->offset < best->offset))
			best = p;
	return best;
}

int leasefs_get_lease(struct leasefs_lease *lease, struct leasefs_lease_state *out)
{
	struct lfs_piece *p;
	int error = lfs_check_session(lease->session);

	if (error)
		return error;
	memset(out, 0, sizeof(*out));
	pthread_mutex_lock(&lease->lock);
	out->offset = lease->offset;
	out->length = lease->length;
	out->inode = lease->inode;
	out->address = lease->address;
	out->mode = lease->flags & LEASEFS_TAKE_WRITE ? LEASEFS_MODE_WRITE : LEASEFS_MODE_READ;
	LIST_FOREACH(p, &lease->pieces, link)
		*(p->ghost ? &out->revoked_bytes : &out->held_bytes) += p->coming ? 0 : p->length;
	if (lease->managed)
		lfs_describe_managed_locked(lease, out);
	pthread_mutex_unlock(&lease->lock);
	return 0;
}
