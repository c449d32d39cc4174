// SPDX-License-Identifier: BSD-2-Clause
/*
 * events.c - what comes from the daemon: applied to the leases, then kept for the application.
 *
 * An event may be about an id that no lease has yet, because the call that makes it (a grant, or
 * the return of a middle) has not come back: while any such call is under way, what is unknown
 * waits in `early`. When none is, an unknown id is a lease that was returned meanwhile. An id may
 * become known between two events; so before one is applied, what waits and is known by now is.
 *
 * The application's queue is bounded by the leases: of one piece there is at most one event of a
 * kind, and what is over before it was taken goes. `available` is kept for what the application
 * itself asked for, each once.
 *
 * event              unmanaged                         managed
 *   recall           queued                            noted; queued if pinned
 *   cancelled        queued if the recall was taken    forgotten; as left if that was pinned
 *   layout_changed   queued                            mapped anew
 *   revoked          the piece becomes a ghost, queued the same; queued if pinned
 *   available        for who waits or has asked        taken again
 *   drain            queued                            queued
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "lfs.h"

#define READ_AT_ONCE 46u /* as many as the daemon gives for one read(2) */

/* ---- the queue ------------------------------------------------------------------------------- */

/* Of several threads' changes the descriptor follows the last: under the lock. */
static void show_held(struct leasefs_session *s)
{
	uint64_t count = 1;
	bool some = !STAILQ_EMPTY(&s->queue);

	if (s->event_fd < 0)
		return;
	if (some && write(s->event_fd, &count, sizeof(count)) < 0)
		assert(errno == EAGAIN);
	if (!some && read(s->event_fd, &count, sizeof(count)) < 0)
		assert(errno == EAGAIN);
}

static void remove_held(struct leasefs_session *s, struct lfs_event *e)
{
	STAILQ_REMOVE(&s->queue, e, lfs_event, link);
	free(e);
}

/* True: the new event is not to be seen. */
static bool merge_held(struct leasefs_session *s, const struct leasefs_event *new, bool told)
{
	bool recall_there = false;
	struct lfs_event *e, *next;

	for (e = STAILQ_FIRST(&s->queue); e; e = next) {
		next = STAILQ_NEXT(e, link);
		if (e->event.lease != new->lease)
			continue;
		if (e->event.kind == new->kind &&new->kind != LEASEFS_EVENT_AVAILABLE &&new->kind !=
			LEASEFS_EVENT_LOST) {
			e->event = *new;
			return true;
		}
		if (e->event.kind == LEASEFS_EVENT_RECALL &&
			(new->kind == LEASEFS_EVENT_RECALL_CANCELLED ||
				new->kind == LEASEFS_EVENT_REVOKED)) {
			recall_there = true;
			remove_held(s, e);
		}
	}
	return new->kind == LEASEFS_EVENT_RECALL_CANCELLED &&recall_there && !told;
}

void lfs_queue_event(
	struct leasefs_session *s, const struct leasefs_event *event, struct leasefs_lease *lease)
{
	struct lfs_piece *p = lease ? lfs_find_piece_locked(lease, event->lease) : NULL;
	bool told = p && p->told;
	struct lfs_event *e = malloc(sizeof(*e));

	if (!e)
		return; /* the daemon's deadline goes on without the application */
	*e = (struct lfs_event){.event = *event, .lease = lease};
	if (p && event->kind == LEASEFS_EVENT_RECALL_CANCELLED)
		p->told = false;
	pthread_mutex_lock(&s->lock);
	if ((lease && lease->gone) || merge_held(s, event, told))
		free(e);
	else
		STAILQ_INSERT_TAIL(&s->queue, e, link);
	show_held(s);
	pthread_mutex_unlock(&s->lock);
}

void lfs_drop_events(struct leasefs_session *s, const struct leasefs_lease *lease)
{
	struct lfs_event *e, *next;

	pthread_mutex_lock(&s->lock);
	for (e = STAILQ_FIRST(&s->queue); e; e = next) {
		next = STAILQ_NEXT(e, link);
		if (e->lease == lease)
			remove_held(s, e);
	}
	show_held(s);
	pthread_mutex_unlock(&s->lock);
}

static bool take_event(struct leasefs_session *s, struct lfs_event *out)
{
	struct lfs_event *e;
	struct lfs_piece *p;

	pthread_mutex_lock(&s->lock);
	e = STAILQ_FIRST(&s->queue);
	if (e) {
		STAILQ_REMOVE_HEAD(&s->queue, link);
		show_held(s);
		if (e->lease)
			e->lease->references++;
	}
	pthread_mutex_unlock(&s->lock);
	if (!e)
		return false;
	*out = *e;
	free(e);
	if (!out->lease)
		return true;
	pthread_mutex_lock(&out->lease->lock);
	p = lfs_find_piece_locked(out->lease, out->event.lease);
	if (p && out->event.kind == LEASEFS_EVENT_RECALL)
		p->told = true;
	pthread_mutex_unlock(&out->lease->lock);
	return true;
}

/* ---- applying -------------------------------------------------------------------------------- */

/*
 * The piece becomes a ghost where it was revoked, and is cut there. False: it has been returned, or
 * given up with its daemon, while the event was on its way.
 */
static bool note_revocation_locked(struct leasefs_lease *l, const struct leasefs_event *e)
{
	struct lfs_piece *p = lfs_find_piece_locked(l, e->lease);

	if (p && p->ghost) /* told again, by a new daemon */
		return true;
	if (!e->origin || e->origin == e->lease) {
		if (p)
			p->ghost = true;
		return p != NULL;
	}
	/* From now on the line is not of the lease as it was. */
	__atomic_store_n(&l->head.slowly, 1, __ATOMIC_SEQ_CST);
	return lfs_revoke_piece_locked(l, e);
}

static void note_recall_locked(struct leasefs_lease *l, const struct leasefs_event *e)
{
	struct lfs_piece *p = lfs_find_piece_locked(l, e->lease);

	if (!p || (e->flags & LEASEFS_RECALL_ADVISORY))
		return;
	p->recalled = e->kind == LEASEFS_EVENT_RECALL;
	p->recall_start = e->offset;
	p->recall_end = e->offset + e->length;
}

/*
 * Of a lease that has been returned already: whatever was revoked of it is not mapped here. What
 * the daemon has left of it behind that was returned too, under an id that was none any more.
 */
static void answer_unknown(struct leasefs_session *s, const struct leasefs_event *e)
{
	struct leasefs_ack ack = {.lease = e->lease};
	struct leasefs_return rest = {.lease = e->rest};

	if (e->kind != LEASEFS_EVENT_REVOKED)
		return;
	(void)lfs_call(s, LEASEFS_IOC_ACK, &ack);
	if (e->rest)
		(void)lfs_call(s, LEASEFS_IOC_RETURN, &rest);
}

static void apply_to_lease(
	struct leasefs_session *s, struct leasefs_lease *l, const struct leasefs_event *e)
{
	bool tell, known = true;

	pthread_mutex_lock(&l->lock);
	tell = !l->managed || lfs_is_pinned_locked(l);
	switch (e->kind) {
	case LEASEFS_EVENT_REVOKED:
		known = note_revocation_locked(l, e);
		tell = tell && known;
		break;
	case LEASEFS_EVENT_RECALL:
	case LEASEFS_EVENT_RECALL_CANCELLED:
		note_recall_locked(l, e);
		break;
	case LEASEFS_EVENT_LAYOUT_CHANGED:
		if (l->managed) {
			struct lfs_piece *p = lfs_find_piece_locked(l, e->lease);

			if (p)
				(void)lfs_map_piece_locked(l, p);
			tell = false;
		}
		break;
	}
	if (tell)
		lfs_queue_event(s, e, l);
	pthread_mutex_unlock(&l->lock);
	if (!known)
		answer_unknown(s, e);
}

/* Who waits in leasefs_wait_lease() asks again; the application is told of what it asked for. */
static void note_available(struct leasefs_session *s, const struct leasefs_event *e)
{
	bool asked = false;

	pthread_mutex_lock(&s->lock);
	s->available++;
	pthread_cond_broadcast(&s->changed);
	for (unsigned i = 0; i < s->want_count && !asked; i++) {
		const struct lfs_want *w = &s->wants[i];

		asked = w->inode == e->inode && w->start < e->offset + e->length &&
			e->offset < w->end && w->mode == e->mode;
		if (asked)
			s->wants[i] = s->wants[--s->want_count];
	}
	pthread_mutex_unlock(&s->lock);
	if (asked)
		lfs_queue_event(s, e, NULL);
	lfs_ask_all(s, e->inode);
}

/* False: the id may become known. */
static bool keep_early(struct leasefs_session *s, const struct leasefs_event *e)
{
	struct lfs_event *kept = malloc(sizeof(*kept));
	bool taking;

	pthread_mutex_lock(&s->lock);
	taking = s->taking > 0;
	if (taking && kept) {
		*kept = (struct lfs_event){.event = *e};
		STAILQ_INSERT_TAIL(&s->early, kept, link);
		kept = NULL;
	}
	pthread_mutex_unlock(&s->lock);
	free(kept);
	return taking;
}

static struct leasefs_lease *find_lease_of(struct leasefs_session *s, const struct leasefs_event *e)
{
	return lfs_find_lease(
		s, e->kind == LEASEFS_EVENT_REVOKED && e->origin ? e->origin : e->lease);
}

static void apply_known(
	struct leasefs_session *s, struct leasefs_lease *l, const struct leasefs_event *e)
{
	apply_to_lease(s, l, e);
	if (l->managed)
		lfs_wake(s);
	lfs_put_lease(l);
}

static void take_early(struct leasefs_session *s, struct lfs_queue *out)
{
	pthread_mutex_lock(&s->lock);
	STAILQ_CONCAT(out, &s->early);
	pthread_mutex_unlock(&s->lock);
}

/* What waits and is known by now, in the order in which it came; nobody else adds to it. */
static void apply_early(struct leasefs_session *s)
{
	struct lfs_queue early = STAILQ_HEAD_INITIALIZER(early);
	struct lfs_queue still = STAILQ_HEAD_INITIALIZER(still);
	struct lfs_event *e;

	take_early(s, &early);
	while ((e = STAILQ_FIRST(&early))) {
		struct leasefs_lease *l = find_lease_of(s, &e->event);

		STAILQ_REMOVE_HEAD(&early, link);
		if (l) {
			apply_known(s, l, &e->event);
			free(e);
		} else {
			STAILQ_INSERT_TAIL(&still, e, link);
		}
	}
	if (STAILQ_EMPTY(&still))
		return;
	pthread_mutex_lock(&s->lock);
	STAILQ_CONCAT(&s->early, &still);
	pthread_mutex_unlock(&s->lock);
}

/* With `reading` held. */
static void apply_event(struct leasefs_session *s, const struct leasefs_event *e)
{
	struct leasefs_lease *l;

	if (e->kind == LEASEFS_EVENT_AVAILABLE) {
		note_available(s, e);
		return;
	}
	if (e->kind == LEASEFS_EVENT_DRAIN) {
		lfs_queue_event(s, e, NULL);
		return;
	}
	l = find_lease_of(s, e);
	if (!l && keep_early(s, e))
		return;
	if (!l)
		l = find_lease_of(s, e); /* it came while that was looked at */
	apply_early(s);                  /* after it was found: what was sent before it is, too */
	if (l)
		apply_known(s, l, e);
	else
		answer_unknown(s, e);
}

void lfs_begin_taking(struct leasefs_session *s)
{
	pthread_mutex_lock(&s->lock);
	s->taking++;
	pthread_mutex_unlock(&s->lock);
}

/* Without a lease's lock. What is still unknown after the last of them is returned already. */
void lfs_end_taking(struct leasefs_session *s)
{
	struct lfs_queue early = STAILQ_HEAD_INITIALIZER(early);
	struct lfs_event *e;

	pthread_mutex_lock(&s->reading);
	pthread_mutex_lock(&s->lock);
	s->taking--;
	pthread_mutex_unlock(&s->lock);
	take_early(s, &early);
	while ((e = STAILQ_FIRST(&early))) {
		STAILQ_REMOVE_HEAD(&early, link);
		apply_event(s, &e->event);
		free(e);
	}
	pthread_mutex_unlock(&s->reading);
}

static int read_events_locked(struct leasefs_session *s)
{
	struct leasefs_event events[READ_AT_ONCE];

	for (;;) {
		ssize_t n = read(s->control, events, sizeof(events));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return 0;
		if (n < 0)
			return lfs_note_errno(s, errno);
		for (size_t i = 0; i < (size_t)n / sizeof(events[0]); i++)
			apply_event(s, &events[i]);
		if ((size_t)n < sizeof(events))
			return 0;
	}
}

/* What another thread has read is applied when this returns, too. */
int lfs_read_events(struct leasefs_session *s)
{
	int error;

	pthread_mutex_lock(&s->reading);
	error = read_events_locked(s);
	pthread_mutex_unlock(&s->reading);
	return error;
}

/* ---- the application's side ------------------------------------------------------------------ */

int leasefs_next_event(
	struct leasefs_session *session, struct leasefs_event *event, struct leasefs_lease **lease)
{
	struct lfs_event taken;
	int error = lfs_check_session(session);

	if (!error && session->wake_fd < 0)
		error = lfs_read_events(session);
	if (!error && !take_event(session, &taken))
		return 0;
	if (error)
		return error;
	*event = taken.event;
	*lease = taken.lease;
	lfs_put_lease(taken.lease);
	return 1;
}

int leasefs_set_callback(struct leasefs_session *session, leasefs_callback *callback, void *context)
{
	int error = lfs_check_session(session);

	if (error)
		return error;
	if (session->wake_fd < 0)
		return -EOPNOTSUPP;
	pthread_mutex_lock(&session->lock);
	session->callback = callback;
	session->callback_context = context;
	/* The one of before has come back when this returns. */
	while (session->in_callback && !lfs_is_thread(session))
		(void)lfs_wait_held(session, UINT64_MAX);
	pthread_mutex_unlock(&session->lock);
	lfs_wake(session);
	return 0;
}

void lfs_run_callbacks(struct leasefs_session *s)
{
	for (;;) {
		leasefs_callback *callback;
		struct lfs_event taken;
		void *context;

		pthread_mutex_lock(&s->lock);
		callback = s->stopping ? NULL : s->callback;
		context = s->callback_context;
		s->in_callback = callback != NULL;
		pthread_mutex_unlock(&s->lock);
		if (!callback)
			return;
		if (take_event(s, &taken)) {
			pthread_mutex_lock(&s->lock);
			s->calling = taken.lease;
			pthread_mutex_unlock(&s->lock);
			callback(context, &taken.event, taken.lease);
		} else {
			callback = NULL;
		}
		pthread_mutex_lock(&s->lock);
		s->in_callback = false;
		s->calling = NULL;
		pthread_cond_broadcast(&s->changed);
		pthread_mutex_unlock(&s->lock);
		if (!callback)
			return;
		lfs_put_lease(taken.lease);
	}
}
