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
	return p && p->lease == l ? p : NULL;
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
		lfs_remove_piece(p);
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
	if (!p->ghost && p->offset + p->length > offset && (!best || p->offset < best->offset))
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
