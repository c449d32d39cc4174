// SPDX-License-Identifier: BSD-2-Clause
/*
 * arbitrate.c - file operations meet leases. See arbiter.h for the locks.
 *
 * A ticket is one change that leasemgr knows:
 *
 *   arbitrate() --nothing in the way--> RUNNING --arbitrate_end()--> freed
 *               \-> ENTERING --interrupt function set--> PARKED --verdict or interrupt--> DECIDED
 *                       \--decided meanwhile----------------------------------------------^
 *   DECIDED --resume(verdict)--> RUNNING if 0, else freed
 *
 * Between ENTERING and PARKED the interrupt function is set, without the lock, because libfuse
 * calls it with the request's lock held, and at once if the interrupt has come already. A verdict
 * of that moment is left in the ticket, and met by the thread that is parking it.
 */
#include "arbitrate.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "arbiter.h"
#include "crash_point.h"

/*
 * What the thread is changing right now, after arbitrate_try(), if nobody has a lease or a stale
 * mapping there: nobody gets one before arbitrate_end(), so leasemgr need not hear what is freed.
 */
static _Thread_local struct {
	uint64_t ino; /* 0: nothing */
	uint64_t start, end;
} alone;

void arbiter_verdict(void *context, void *operation, struct lm_change *change, int verdict)
{
	struct arbiter *a = context;
	struct ticket *t = operation;

	t->verdict = verdict;
	if (t->state == TICKET_ENTERING) {
		t->decided = true;
		return;
	}
	assert(t->state == TICKET_PARKED);
	t->state = TICKET_DECIDED;
	TAILQ_REMOVE(&a->parked, t, link);
	TAILQ_INSERT_TAIL(&a->decided, t, link);
}

static void resume_ticket(struct work *work)
{
	struct ticket *t = (struct ticket *)((char *)work - offsetof(struct ticket, work));
	struct ticket *running = t->verdict == 0 ? t : NULL;

	/* When this returns, no interrupt of it is being handled or will be. */
	if (t->req)
		fuse_req_interrupt_func(t->req, NULL, NULL);
	t->state = TICKET_RUNNING;
	crash_point(t->verdict ? "change_refused" : "change_approved");
	t->resume(t->operation, t->verdict, running);
	if (!running)
		free(t);
}

/* ---- changes --------------------------------------------------------------------------------- */

uint32_t arbiter_process_of(uint32_t tid)
{
	char path[64], line[256];
	unsigned tgid = tid;
	FILE *f;

	/* No signal, only the question whether it is the first thread of a process of its number:
	 * it nearly always is, and reading the file takes far longer. */
	if (tgkill((pid_t)tid, (pid_t)tid, 0) == 0 || errno == EPERM)
		return tid;
	snprintf(path, sizeof(path), "/proc/%u/status", tid);
	f = fopen(path, "re");
	if (!f)
		return tid;
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "Tgid: %u", &tgid) == 1)
			break;
	fclose(f);
	return tgid;
}

static struct stripe *stripe_of_thread(struct arbiter *a)
{
	static _Atomic unsigned next;
	static _Thread_local unsigned mine; /* 1 .. ARBITER_STRIPES */

	if (!mine)
		mine = atomic_fetch_add(&next, 1) % ARBITER_STRIPES + 1;
	return &a->stripes[mine - 1];
}

/* A ticket of a change that is only counted: the stripe's address. */
static struct stripe *stripe_of_ticket(struct arbiter *a, struct ticket *t)
{
	uintptr_t first = (uintptr_t)a->stripes, at = (uintptr_t)t;

	return at >= first && at < first + sizeof(a->stripes) ? (struct stripe *)t : NULL;
}

static struct lm_change_request request_of(const struct change *change)
{
	static const enum lm_kind kinds[] = {
		[CHANGE_FREE] = LM_FREE,
		[CHANGE_OVERWRITE] = LM_OVERWRITE,
		[CHANGE_FILL] = LM_FILL,
		[CHANGE_MOVE] = LM_MOVE,
	};

	return (struct lm_change_request){.ino = change->ino,
		.start = change->start,
		.end = change->end,
		.kind = kinds[change->kind],
		.pid = change->pid,
		.uid = change->uid,
		.operation = change->operation};
}

bool arbitrate_try(struct daemon *d, const struct change *change, struct ticket **ticket)
{
	struct arbiter *a = d->arbiter;
	struct stripe *s = stripe_of_thread(a);
	struct lm_change_request r;
	struct ticket *t;
	bool is_alone;
	int error;

	atomic_fetch_add(&s->running, 1);
	if (!atomic_load(&a->leasing)) {
		*ticket = (struct ticket *)s;
		return true;
	}
	atomic_fetch_sub(&s->running, 1);
	t = malloc(sizeof(*t));
	if (!t)
		return false;
	*t = (struct ticket){.arbiter = a, .state = TICKET_RUNNING};
	r = request_of(change);
	arbiter_lock(a);
	error = lm_change_try(a->lm, &r, t, &t->change);
	is_alone = !error && lm_change_is_alone(t->change);
	arbiter_unlock(a);
	if (error) {
		free(t);
		return false;
	}
	assert(!alone.ino);
	if (is_alone) {
		alone.ino = change->ino;
		alone.start = change->start;
		alone.end = change->end;
	}
	*ticket = t;
	return true;
}

static void on_interrupt(fuse_req_t req, void *context)
{
	struct ticket *t = context;
	struct arbiter *a = t->arbiter;

	arbiter_lock(a);
	if ((t->state == TICKET_PARKED || (t->state == TICKET_ENTERING && !t->decided)) &&
		lm_change_interrupt(t->change, arbiter_now()) == 0)
		arbiter_verdict(a, t, NULL, -EINTR);
	arbiter_unlock(a);
}

/*
 * It is known to leasemgr and must wait; from now on the request can be interrupted. If a prompt
 * holder has given way already, this thread goes on with it, and no other need be woken.
 */
static void park(struct ticket *t)
{
	struct arbiter *a = t->arbiter;
	bool cancelled, decided;

	if (t->req)
		fuse_req_interrupt_func(t->req, on_interrupt, t);
	arbiter_lock(a);
	cancelled =
		a->cancelled && !t->decided && lm_change_interrupt(t->change, arbiter_now()) == 0;
	if (cancelled)
		t->verdict = -EINTR;
	decided = cancelled || t->decided;
	t->state = decided ? TICKET_DECIDED : TICKET_PARKED;
	if (!decided)
		TAILQ_INSERT_TAIL(&a->parked, t, link);
	arbiter_unlock(a);
	if (decided)
		resume_ticket(&t->work);
}

void arbiter_begin(struct arbiter *a, fuse_req_t req, const struct lm_change_request *r,
	void (*resume)(void *operation, int verdict, struct ticket *ticket), void *operation)
{
	struct ticket *t = calloc(1, sizeof(*t));
	int result;

	if (!t) {
		resume(operation, -ENOMEM, NULL);
		return;
	}
	t->arbiter = a;
	t->req = req;
	t->resume = resume;
	t->operation = operation;
	t->work.run = resume_ticket;
	t->state = TICKET_ENTERING;
	arbiter_lock(a);
	result = lm_change_begin(a->lm, r, t, arbiter_now(), &t->change);
	if (result == 0)
		t->state = TICKET_RUNNING;
	arbiter_unlock(a);
	if (result == LM_PARKED) {
		crash_point("change_parked");
		park(t);
	} else if (result == 0) {
		resume(operation, 0, t);
	} else {
		free(t);
		resume(operation, result, NULL);
	}
}

void arbitrate(struct daemon *d, fuse_req_t req, const struct change *change,
	void (*resume)(void *operation, int verdict, struct ticket *ticket), void *operation)
{
	struct lm_change_request r = request_of(change);
	struct lm_policy policy;

	arbiter_policy_of(d->arbiter, change->ino, &policy);
	r.policy = &policy;
	r.pid = change->pid ? arbiter_process_of(change->pid) : 0;
	arbiter_begin(d->arbiter, req, &r, resume, operation);
}

void arbitrate_end(struct daemon *d, struct ticket *t)
{
	struct arbiter *a = d->arbiter;
	struct stripe *s;

	if (!t)
		return;
	s = stripe_of_ticket(a, t);
	if (s) {
		atomic_fetch_sub(&s->running, 1);
		return;
	}
	assert(t->state == TICKET_RUNNING);
	alone.ino = 0;
	crash_point("blocks_freed");
	arbiter_lock(a);
	lm_change_end(t->change, arbiter_now());
	arbiter_unlock(a);
	crash_point("change_ended");
	free(t);
}

void arbiter_each_parked(
	struct arbiter *a, bool (*see)(void *context, struct lm_change *c), void *context)
{
	struct ticket *t;

	TAILQ_FOREACH(t, &a->parked, link)
		if (!see(context, t->change))
			return;
}

/* Asked by core, with the inode's lock held, before it commits the freeing of blocks. */
int arbiter_freeing(void *context, uint64_t ino, const struct core_extent *extent)
{
	struct arbiter *a = context;
	uint64_t start = extent->offset, end = start + extent->length;
	int error;

	if (!atomic_load(&a->leasing))
		return 0;
	if (ino == alone.ino && alone.start <= start && end <= alone.end)
		return 0;
	pthread_mutex_lock(&a->lock);
	error = lm_freeing(a->lm, ino, start, end, extent->region, extent->region_offset);
	arbiter_unlock_unchanged(a); /* freeing decides nothing */
	crash_point("blocks_held");
	return error ? error : 1;
}

/* The same, when it has committed or has not. */
void arbiter_freed(void *context, uint64_t ino, bool committed)
{
	struct arbiter *a = context;

	pthread_mutex_lock(&a->lock);
	lm_freed(a->lm, ino, committed);
	arbiter_unlock_unchanged(a);
}

bool arbitrate_direct_io(struct daemon *d, uint64_t ino)
{
	struct arbiter *a = d->arbiter;
	bool leased;

	if (!atomic_load(&a->leasing))
		return false;
	arbiter_lock(a);
	leased = lm_is_write_leased(a->lm, ino);
	arbiter_unlock(a);
	return leased;
}

void arbitrate_cancel(struct daemon *d)
{
	struct arbiter *a = d->arbiter;
	struct ticket *t;

	arbiter_lock(a);
	a->cancelled = true;
	while ((t = TAILQ_FIRST(&a->parked))) {
		int error = lm_change_interrupt(t->change, arbiter_now());

		assert(!error); /* decided ones are not in the list */
		arbiter_verdict(a, t, NULL, -EINTR);
	}
	holder_cancel_reads(a);
	arbiter_unlock(a);
}
