// SPDX-License-Identifier: BSD-2-Clause
/* history.c - see history.h. */
#include "history.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "control_calls.h"
#include "format.h"
#include "probes.h"

_Static_assert(LEASEFS_RECORD_SESSION_OPEN == LM_RECORD_SESSION_OPEN &&
		       LEASEFS_RECORD_SESSION_CLOSE == LM_RECORD_SESSION_CLOSE &&
		       LEASEFS_RECORD_SESSION_EXIT == LM_RECORD_SESSION_EXIT &&
		       LEASEFS_RECORD_SESSION_GONE == LM_RECORD_SESSION_GONE &&
		       LEASEFS_RECORD_GRANT == LM_RECORD_GRANT &&
		       LEASEFS_RECORD_RETURN == LM_RECORD_RETURN &&
		       LEASEFS_RECORD_RECALL == LM_RECORD_RECALL &&
		       LEASEFS_RECORD_CANCEL == LM_RECORD_CANCEL &&
		       LEASEFS_RECORD_REVOKE == LM_RECORD_REVOKE &&
		       LEASEFS_RECORD_SIGNAL == LM_RECORD_SIGNAL &&
		       LEASEFS_RECORD_PARK == LM_RECORD_PARK &&
		       LEASEFS_RECORD_COMPLETE == LM_RECORD_COMPLETE &&
		       LEASEFS_RECORD_BUSY == LM_RECORD_BUSY &&
		       LEASEFS_RECORD_INTERRUPT == LM_RECORD_INTERRUPT &&
		       LEASEFS_RECORD_QUARANTINE == LM_RECORD_QUARANTINE &&
		       LEASEFS_RECORD_RELEASE == LM_RECORD_RELEASE &&
		       LEASEFS_RECORD_DRAIN == LM_RECORD_DRAIN &&
		       LEASEFS_RECORD_KINDS == LM_RECORD_KINDS,
	"one set of numbers");

int history_start(struct history *h)
{
	h->records = calloc(HISTORY_RECORDS, sizeof(*h->records));
	h->end = 1;
	LIST_INIT(&h->watchers);
	return h->records ? 0 : -ENOMEM;
}

void history_stop(struct history *h)
{
	free(h->records);
}

static void probe(const struct lm_record *r)
{
	switch (r->kind) {
	case LM_RECORD_GRANT:
		PROBE_LEASE(grant, r);
		break;
	case LM_RECORD_RECALL:
		PROBE_STEP(recall, r);
		break;
	case LM_RECORD_RETURN:
		PROBE_LEASE(return, r);
		break;
	case LM_RECORD_REVOKE:
		PROBE_STEP(revoke, r);
		break;
	case LM_RECORD_PARK:
		PROBE_STEP(park, r);
		break;
	case LM_RECORD_COMPLETE:
		PROBE_STEP(complete, r);
		break;
	case LM_RECORD_BUSY:
		PROBE_STEP(busy, r);
		break;
	case LM_RECORD_QUARANTINE:
		PROBE_STEP(quarantine, r);
		break;
	case LM_RECORD_RELEASE:
		PROBE_STEP(release, r);
		break;
	default:
		break;
	}
}

void history_add(void *context, const struct lm_record *r)
{
	struct arbiter *a = context;
	struct history *h = &a->history;
	struct leasefs_record *out = &h->records[h->end % HISTORY_RECORDS];
	struct holder *watcher;

	probe(r);
	out->seq = h->end++;
	out->time_ns = arbiter_now();
	out->kind = r->kind;
	out->flags = r->flags;
	out->session = r->session;
	out->lease = r->lease;
	out->inode = r->ino;
	out->offset = r->start;
	out->length = r->end >= FILE_BYTES_MAX ? 0 : r->end - r->start;
	out->number = r->number;
	out->value = r->value;
	out->pid = r->pid;
	out->uid = r->uid;
	out->holder_pid = r->holder_pid;
	out->holder_uid = r->holder_uid;
	out->mode = r->mode;
	strncpy(out->operation, r->operation, sizeof(out->operation) - 1);
	out->operation[sizeof(out->operation) - 1] = '\0';
	LIST_FOREACH(watcher, &h->watchers, watchers)
		if (watcher->poll)
			holder_tell(watcher);
}

int history_watch(struct arbiter *a, struct holder *h, uint32_t uid, uint64_t next)
{
	unsigned all = 0, users = 0;
	const struct holder *w;

	if (next && !h->history_next) {
		LIST_FOREACH(w, &a->history.watchers, watchers) {
			all++;
			users += w->watcher_uid == uid;
		}
		if (all >= HISTORY_WATCHERS_MAX)
			return -ENFILE;
		if (users >= HISTORY_WATCHERS_PER_USER_MAX)
			return -EMFILE;
	}
	if (h->history_next)
		LIST_REMOVE(h, watchers);
	h->history_next = next;
	h->watcher_uid = uid;
	if (next)
		LIST_INSERT_HEAD(&a->history.watchers, h, watchers);
	return 0;
}

/* ---- reading --------------------------------------------------------------------------------- */

static bool is_wanted(
	const struct call *call, const struct leasefs_history *page, const struct leasefs_record *r)
{
	if ((page->inode && page->inode != r->inode) ||
		(page->session && page->session != r->session))
		return false;
	return (r->pid && call_may_see(call, r->uid)) ||
	       (r->session && call_may_see(call, r->holder_uid)) || call_may_see_all(call);
}

/* Under the lock. */
static void read_records(const struct call *call, struct leasefs_history *page)
{
	const struct history *h = &call->daemon->arbiter->history;
	uint64_t oldest = h->end > HISTORY_RECORDS ? h->end - HISTORY_RECORDS : 1;
	uint64_t at = page->next ? page->next : oldest, limit;

	page->lost = at < oldest ? oldest - at : 0;
	at = at < oldest ? oldest : at;
	at = at > h->end ? h->end : at;
	limit = h->end - at < HISTORY_LOOKED_AT_MAX ? h->end : at + HISTORY_LOOKED_AT_MAX;
	for (; at < limit && page->count < LEASEFS_RECORDS; at++) {
		const struct leasefs_record *r = &h->records[at % HISTORY_RECORDS];

		if (is_wanted(call, page, r))
			page->records[page->count++] = *r;
	}
	page->next = at;
	page->end = h->end;
}

int call_history(const struct call *call, void *data)
{
	struct arbiter *a = call->daemon->arbiter;
	struct leasefs_history *page = data;
	struct timespec t;
	int error = 0;

	if ((page->flags & ~LEASEFS_HISTORY_WATCH) || page->count ||
		!all_zero(page->reserved, sizeof(page->reserved)))
		return -EINVAL;
	memset(page->records, 0, sizeof(page->records));
	arbiter_lock(a);
	read_records(call, page);
	if (page->flags & LEASEFS_HISTORY_WATCH)
		error = history_watch(a, call->holder, fuse_req_ctx(call->req)->uid, page->next);
	memcpy(page->boot, a->boot, sizeof(page->boot));
	page->now_ns = arbiter_now();
	clock_gettime(CLOCK_REALTIME, &t);
	arbiter_unlock(a);
	page->realtime_ns = (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
	return error;
}
