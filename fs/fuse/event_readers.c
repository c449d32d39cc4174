// SPDX-License-Identifier: BSD-2-Clause
/* event_readers.c - see event_readers.h. */
#include "event_readers.h"

#include <stdlib.h>
#include <unistd.h>

#include "machine.h"

struct event_reader {
	LIST_ENTRY(event_reader) link;
	bool listed;
	struct holder *holder;
	struct engine_watch *watch;
	uint32_t pid;
	int pidfd;
};

static void free_reader(struct event_reader *r)
{
	engine_unwatch(r->holder->arbiter->engine, r->watch);
	close(r->pidfd);
	free(r);
}

/* On the engine's thread. */
static void on_reader_gone(void *context)
{
	struct event_reader *r = context;
	struct holder *h = r->holder;
	bool ours;

	arbiter_lock(h->arbiter);
	ours = r->listed;
	if (ours) {
		r->listed = false;
		LIST_REMOVE(r, link);
		h->event_reader_count--;
		if (h->session && !h->closed)
			lm_session_tell_again(h->session);
	}
	arbiter_unlock(h->arbiter);
	if (ours)
		free_reader(r);
}

/* Under the lock. */
static bool is_known(const struct holder *h, uint32_t pid)
{
	const struct event_reader *r;

	if (pid == h->pid || h->event_reader_count >= EVENT_READERS_MAX)
		return true;
	LIST_FOREACH(r, &h->event_readers, link)
		if (r->pid == pid)
			return true;
	return false;
}

static struct event_reader *new_reader(struct holder *h, uint32_t pid)
{
	struct event_reader *r = calloc(1, sizeof(*r));
	uint64_t start_time;

	if (!r)
		return NULL;
	r->holder = h;
	r->pid = pid;
	if (machine_process_start(pid, &start_time) ||
		machine_open_process(pid, start_time, &r->pidfd)) {
		free(r);
		return NULL;
	}
	if (engine_watch_process(h->arbiter->engine, r->pidfd, on_reader_gone, r, &r->watch)) {
		close(r->pidfd);
		free(r);
		return NULL;
	}
	return r;
}

void event_readers_note(struct holder *h, uint32_t tid)
{
	struct arbiter *a = h->arbiter;
	struct event_reader *r;
	bool known, listed = false;
	uint32_t pid;

	arbiter_lock(a);
	known = tid == h->last_reader || is_known(h, tid);
	arbiter_unlock(a);
	if (known)
		return;
	pid = arbiter_process_of(tid);
	arbiter_lock(a);
	h->last_reader = tid;
	known = is_known(h, pid);
	arbiter_unlock(a);
	r = known ? NULL : new_reader(h, pid);
	if (!r)
		return;
	arbiter_lock(a);
	if (!is_known(h, pid) && h->session && !h->closed) {
		LIST_INSERT_HEAD(&h->event_readers, r, link);
		h->event_reader_count++;
		r->listed = listed = true;
	}
	arbiter_unlock(a);
	if (!listed)
		free_reader(r);
}

void event_readers_end(struct holder *h)
{
	struct arbiter *a = h->arbiter;
	struct event_reader *r;

	do {
		arbiter_lock(a);
		r = LIST_FIRST(&h->event_readers);
		if (r) {
			r->listed = false;
			LIST_REMOVE(r, link);
			h->event_reader_count--;
		}
		arbiter_unlock(a);
		if (r)
			free_reader(r);
	} while (r);
}
