// SPDX-License-Identifier: BSD-2-Clause
/*
 * control_events.c - events from leasemgr to read(2) and poll(2) on the control file.
 *
 * A read that finds nothing is parked as a struct reader of its holder: no thread waits. It is
 * answered by whoever unlocks the arbiter after an event was marked, or by the notifier when it was
 * interrupted (libfuse calls the interrupt function with the request's lock held, where no reply
 * may be made). As with tickets, while the interrupt function is being set the reader is
 * `entering`.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "control.h"
#include "crash_point.h"
#include "event_readers.h"
#include "holder.h"

bool holder_has_events(const struct holder *h)
{
	return h->unread_count || (h->history_next && h->history_next < h->arbiter->history.end) ||
	       (h->session && !h->closed && lm_event_waiting(h->session));
}

static struct leasefs_event event_of(const struct lm_event *e)
{
	_Static_assert(LEASEFS_EVENT_RECALL == LM_EVENT_RECALL &&
			       LEASEFS_EVENT_RECALL_CANCELLED == LM_EVENT_RECALL_CANCELLED &&
			       LEASEFS_EVENT_LAYOUT_CHANGED == LM_EVENT_LAYOUT_CHANGED &&
			       LEASEFS_EVENT_REVOKED == LM_EVENT_REVOKED &&
			       LEASEFS_EVENT_AVAILABLE == LM_EVENT_AVAILABLE &&
			       LEASEFS_EVENT_DRAIN == LM_EVENT_DRAIN &&
			       LEASEFS_RECALL_ADVISORY == LM_EVENT_ADVISORY &&
			       LEASEFS_REVOKED_OWN == LM_EVENT_OWN &&
			       LEASEFS_AVAILABLE_EXCLUSIVE == LM_EVENT_EXCLUSIVE,
		"one set of numbers");
	return (struct leasefs_event){.kind = e->kind,
		.flags = e->flags,
		.lease = e->lease,
		.origin = e->origin,
		.rest = e->rest,
		.inode = e->ino,
		.offset = e->start,
		.length = e->end - e->start,
		.deadline_ns = e->deadline_ns,
		.pid = e->pid,
		.mode = e->mode};
}

/* Under the lock. They are in flight until reply_events() knows more. */
static unsigned take_events(struct holder *h, struct leasefs_event *out, unsigned max)
{
	unsigned n = h->unread_count < max ? h->unread_count : max;
	struct lm_event e;

	memcpy(out, h->unread, n * sizeof(*out));
	h->unread_count -= n;
	memmove(h->unread, h->unread + n, h->unread_count * sizeof(*out));
	while (n < max && h->in_flight + h->unread_count + n < HOLDER_UNREAD_MAX && h->session &&
		!h->closed && lm_event_next(h->session, &e))
		out[n++] = event_of(&e);
	h->in_flight += n;
	return n;
}

/* If the reader has gone away, another one gets them. */
static void reply_events(
	struct holder *h, fuse_req_t req, const struct leasefs_event *events, unsigned n)
{
	struct arbiter *a = h->arbiter;
	int error;

	event_readers_note(h, (uint32_t)fuse_req_ctx(req)->pid);
	error = fuse_reply_buf(req, (const char *)events, n * sizeof(*events));

	crash_point("events_told");
	arbiter_lock(a);
	h->in_flight -= n;
	if (error) {
		assert(n + h->unread_count <= HOLDER_UNREAD_MAX);
		memmove(h->unread + n, h->unread, h->unread_count * sizeof(*events));
		memcpy(h->unread, events, n * sizeof(*events));
		h->unread_count += n;
	}
	arbiter_unlock(a);
}

static void remove_reader(struct reader *r)
{
	TAILQ_REMOVE(&r->holder->readers, r, link);
	r->holder->reader_count--;
}

/* ---- poll ------------------------------------------------------------------------------------ */

static void notify_poll(struct work *work)
{
	struct holder *h = (struct holder *)((char *)work - offsetof(struct holder, notify));
	struct arbiter *a = h->arbiter;
	struct fuse_pollhandle *ph;

	arbiter_lock(a);
	h->notifying = false;
	ph = h->poll;
	h->poll = NULL;
	arbiter_unlock(a);
	if (ph) {
		fuse_lowlevel_notify_poll(ph);
		fuse_pollhandle_destroy(ph);
	}
	holder_put(h);
}

void control_poll(
	struct daemon *d, fuse_req_t req, struct fuse_file_info *fi, struct fuse_pollhandle *ph)
{
	struct holder *h = (struct holder *)(uintptr_t)fi->fh;
	struct arbiter *a = h->arbiter;
	struct fuse_pollhandle *old = NULL;
	bool events;

	arbiter_lock(a);
	events = holder_has_events(h);
	if (ph) {
		old = h->poll;
		h->poll = ph;
	}
	arbiter_unlock(a);
	if (old)
		fuse_pollhandle_destroy(old);
	fuse_reply_poll(req, events ? POLLIN | POLLRDNORM : 0);
}

/* ---- read ------------------------------------------------------------------------------------ */

void holder_deliver(struct holder *h)
{
	struct leasefs_event events[HOLDER_EVENTS_MAX];
	struct arbiter *a = h->arbiter;

	for (;;) {
		struct reader *r;
		unsigned n = 0;

		arbiter_lock(a);
		TAILQ_FOREACH(r, &h->readers, link)
			if (!r->entering)
				break;
		if (r && holder_has_events(h)) {
			remove_reader(r);
			n = take_events(h, events, r->events_max);
		}
		if (n == 0) {
			bool notify = h->poll && !h->notifying && holder_has_events(h);

			if (notify) {
				h->notifying = true;
				holder_get(h);
				h->notify.run = notify_poll;
			}
			arbiter_unlock(a);
			if (notify)
				workers_give(a->notifier, &h->notify);
			return;
		}
		arbiter_unlock(a);
		fuse_req_interrupt_func(r->req, NULL, NULL);
		reply_events(h, r->req, events, n);
		free(r);
	}
}

static void fail_read(struct work *work)
{
	struct reader *r = (struct reader *)((char *)work - offsetof(struct reader, work));
	struct holder *h = r->holder;

	fuse_req_interrupt_func(r->req, NULL, NULL);
	fuse_reply_err(r->req, r->error);
	free(r);
	holder_put(h);
}

/* Under the lock. */
static void end_reader(struct reader *r, int error)
{
	remove_reader(r);
	r->error = error;
	r->work.run = fail_read;
	holder_get(r->holder);
	workers_give(r->holder->arbiter->notifier, &r->work);
}

static void on_read_interrupt(fuse_req_t req, void *context)
{
	struct reader *r = context, *listed;
	struct holder *h = r->holder;

	arbiter_lock(h->arbiter);
	TAILQ_FOREACH(listed, &h->readers, link)
		if (listed == r)
			break;
	if (listed && r->entering)
		r->interrupted = true;
	else if (listed)
		end_reader(r, EINTR);
	arbiter_unlock(h->arbiter);
}

void holder_cancel_reads(struct arbiter *a)
{
	struct holder *h;
	struct reader *r, *next;

	LIST_FOREACH(h, &a->holders, all) {
		for (r = TAILQ_FIRST(&h->readers); r; r = next) {
			next = TAILQ_NEXT(r, link);
			if (!r->entering)
				end_reader(r, ENOTCONN);
		}
	}
}

static void park_reader(struct reader *r)
{
	struct holder *h = r->holder;
	struct arbiter *a = h->arbiter;

	holder_get(h);
	fuse_req_interrupt_func(r->req, on_read_interrupt, r);
	arbiter_lock(a);
	r->entering = false;
	if (r->interrupted)
		end_reader(r, EINTR);
	else if (a->cancelled)
		end_reader(r, ENOTCONN);
	arbiter_unlock(a);
	holder_deliver(h); /* what came meanwhile */
	holder_put(h);
}

void control_read(struct daemon *d, fuse_req_t req, size_t size, struct fuse_file_info *fi)
{
	struct holder *h = (struct holder *)(uintptr_t)fi->fh;
	struct arbiter *a = h->arbiter;
	struct leasefs_event events[HOLDER_EVENTS_MAX];
	size_t max = size / sizeof(events[0]);
	struct reader *r;
	unsigned n;
	int error = 0;

	if (max == 0) {
		fuse_reply_err(req, EINVAL);
		return;
	}
	if (max > HOLDER_EVENTS_MAX)
		max = HOLDER_EVENTS_MAX;
	r = calloc(1, sizeof(*r));
	arbiter_lock(a);
	n = take_events(h, events, (unsigned)max);
	if (n == 0) {
		if (!h->session)
			error = EBADF;
		else if (fi->flags & O_NONBLOCK)
			error = EAGAIN;
		else if (!r)
			error = ENOMEM;
		else if (h->reader_count >= HOLDER_READERS_MAX)
			error = EBUSY;
	}
	if (n == 0 && !error) {
		*r = (struct reader){
			.holder = h, .req = req, .events_max = (unsigned)max, .entering = true};
		TAILQ_INSERT_TAIL(&h->readers, r, link);
		h->reader_count++;
	}
	arbiter_unlock(a);
	if (n == 0 && !error) {
		park_reader(r);
		return;
	}
	free(r);
	if (error) {
		fuse_reply_err(req, error);
	} else {
		holder_get(h);
		reply_events(h, req, events, n);
		holder_put(h);
	}
}
