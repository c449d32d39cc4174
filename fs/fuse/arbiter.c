// SPDX-License-Identifier: BSD-2-Clause
/*
 * arbiter.c - leasemgr's clock, lock and hands; its life. See arbiter.h for the locks.
 *
 * What leasemgr decides in a call is noted in the outbox while the lock is held, and done by
 * arbiter_unlock(). Tickets, which operations wait with, are arbitrate.c's; sessions are
 * holder.c's.
 */
#include "arbiter.h"

#include <assert.h>
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "crash_point.h"
#include "format.h"
#include "log.h"
#include "options.h"
#include "records.h"

/* ---- the clock and the lock ------------------------------------------------------------------ */

uint64_t arbiter_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void arbiter_lock(struct arbiter *a)
{
	pthread_mutex_lock(&a->lock);
}

static void log_conflict(const struct lm_conflict *c)
{
	char range[48];

	if (c->end >= FILE_BYTES_MAX)
		snprintf(range, sizeof(range), "[%llu, end)", (unsigned long long)c->start);
	else
		snprintf(range, sizeof(range), "[%llu, %llu)", (unsigned long long)c->start,
			(unsigned long long)c->end);
	log_notice("EBUSY: %s of inode %llu %s by process %u (uid %u) after %.3f s: %s"
		   " [%llu, %llu) by session %llu, process %u (uid %u), lease %llx, %.3f s old",
		c->operation, (unsigned long long)c->ino, range, c->pid, c->uid,
		(double)c->waited_ns / 1e9,
		c->own           ? "its own pin"
		: c->unbreakable ? "pinned unbreakably"
				 : "pinned",
		(unsigned long long)c->pin_start, (unsigned long long)c->pin_end,
		(unsigned long long)c->session, c->holder_pid, c->holder_uid,
		(unsigned long long)c->lease, (double)c->lease_age_ns / 1e9);
}

/* Under the lock: before as many as one call may use are left. */
static void reserve_ids(struct arbiter *a)
{
	uint64_t next = lm_next_number(a->lm);
	int error;

	if (a->ids_end == UINT64_MAX || next + IDS_AT_ONCE / 2 < a->ids_end)
		return;
	error = ids_reserve(core_run_dir_fd(a->daemon->core), next + IDS_AT_ONCE);
	if (error)
		log_error("run/ids: %s: after a restart, numbers may be used again",
			strerror(-error));
	a->ids_end = next + IDS_AT_ONCE;
}

void arbiter_unlock(struct arbiter *a)
{
	struct ticket_list decided = TAILQ_HEAD_INITIALIZER(decided);
	struct holder_list told = STAILQ_HEAD_INITIALIZER(told);
	struct kept_inode_list idle = a->idle;
	struct lm_conflict conflicts[4];
	unsigned conflict_count = 0;
	uint64_t deadline_ns = lm_next_deadline(a->lm);

	reserve_ids(a);
	/* One that has moved away is met early, and set anew then: nearly all recalls end long
	 * before theirs, and to wake the engine twice for each would take longer than the rest. */
	if (deadline_ns < a->deadline_ns && a->engine) {
		a->deadline_ns = deadline_ns;
		engine_set_deadline(a->engine, deadline_ns);
	}
	while (a->conflicts_logged < a->conflict_count && conflict_count < 4)
		conflicts[conflict_count++] =
			a->conflicts[a->conflicts_logged++ % ARBITER_CONFLICTS];
	a->conflicts_logged = a->conflict_count; /* of a flood, a few lines say enough */
	TAILQ_CONCAT(&decided, &a->decided, link);
	SLIST_INIT(&a->idle);
	holder_take_told(a, &told);
	pthread_mutex_unlock(&a->lock);

	for (unsigned i = 0; i < conflict_count; i++)
		log_conflict(&conflicts[i]);
	holder_tell_all(&told);
	while (!TAILQ_EMPTY(&decided)) {
		struct ticket *t = TAILQ_FIRST(&decided);

		TAILQ_REMOVE(&decided, t, link);
		workers_give(a->workers, &t->work);
	}
	while (!SLIST_EMPTY(&idle)) {
		struct kept_inode *k = SLIST_FIRST(&idle);

		SLIST_REMOVE_HEAD(&idle, next);
		core_put(a->daemon->core, k->inode, 1);
		free(k);
	}
}

/* ---- effects of leasemgr, under the lock ----------------------------------------------------- */

static void on_conflict(void *context, const struct lm_conflict *conflict)
{
	struct arbiter *a = context;

	a->conflicts[a->conflict_count++ % ARBITER_CONFLICTS] = *conflict;
}

static int on_hold(void *context, uint32_t region, uint64_t region_offset, uint64_t length)
{
	struct arbiter *a = context;
	int error = core_hold(a->daemon->core, region, region_offset, length);

	if (error)
		log_error("cannot keep [%llu, +%llu) of region %u in quarantine: %s",
			(unsigned long long)region_offset, (unsigned long long)length, region,
			strerror(-error));
	/* What is in no region (a record of old may say so) nobody is given. */
	return error == -ENOENT || error == -EINVAL ? 0 : error;
}

static void on_release(void *context, uint32_t region, uint64_t region_offset, uint64_t length)
{
	struct arbiter *a = context;

	if (core_release(a->daemon->core, region, region_offset, length))
		log_error("cannot release [%llu, +%llu) of region %u from quarantine",
			(unsigned long long)region_offset, (unsigned long long)length, region);
}

static void *on_inode_used(void *context, uint64_t ino)
{
	struct arbiter *a = context;
	struct kept_inode *k = a->spare_inode;

	if (!ino)
		return NULL; /* ghosts of an earlier daemon's, whose file is no more */
	assert(k && a->granting && core_ino(a->granting) == ino);
	a->spare_inode = NULL;
	k->inode = a->granting;
	core_hold_inode(a->daemon->core, k->inode, 1);
	return k;
}

static void on_inode_idle(void *context, void *inode_owner)
{
	struct arbiter *a = context;
	struct kept_inode *k = inode_owner;

	if (k)
		SLIST_INSERT_HEAD(&a->idle, k, next);
}

static const struct lm_ops effects = {
	.slot_pinned = holder_slot_pinned,
	.slot_recall = holder_slot_recall,
	.slot_fresh = holder_slot_fresh,
	.slot_split = holder_slot_split,
	.slot_free = holder_slot_free,
	.ready = holder_ready,
	.verdict = arbiter_verdict,
	.signal_holder = holder_signal,
	.conflict = on_conflict,
	.hold = on_hold,
	.release = on_release,
	.inode_used = on_inode_used,
	.inode_idle = on_inode_idle,
	.session_gone = holder_session_gone,
	.persist = holder_persist,
	.pin_moved = holder_pin_moved,
	.pin_gone = holder_pin_gone,
	.happened = history_add,
};

static void on_deadline(void *context)
{
	struct arbiter *a = context;

	arbiter_lock(a);
	a->deadline_ns = UINT64_MAX; /* the engine has forgotten it */
	crash_point("deadline_come");
	lm_tick(a->lm, arbiter_now());
	arbiter_unlock(a);
}

/* ---- life ------------------------------------------------------------------------------------ */

/* With start_lock held, or before the first request. */
int arbiter_start_threads(struct arbiter *a)
{
	int error = 0;

	if (!a->workers)
		error = workers_create(ARBITER_WORKERS, "leasefs-resume", &a->workers);
	if (!error && !a->notifier)
		error = workers_create(1, "leasefs-notify", &a->notifier);
	if (!error && !a->engine)
		error = engine_create(on_deadline, a, &a->engine);
	return error;
}

/* With start_lock held. */
int arbiter_begin_leasing(struct arbiter *a)
{
	int error = arbiter_start_threads(a);

	if (error) /* of a thread that cannot be: EAGAIN, which means something else to a client */
		return error == -EAGAIN ? -ENOMEM : error;
	arbiter_lock(a);
	a->opening++;
	atomic_store(&a->leasing, true);
	arbiter_unlock(a);
	/* Changes that were begun before end by themselves: none of them waits for anything. */
	for (unsigned i = 0; i < ARBITER_STRIPES; i++)
		while (atomic_load(&a->stripes[i].running))
			sched_yield();
	return 0;
}

void arbiter_review_leasing(struct arbiter *a)
{
	struct lm_status status;

	lm_get_status(a->lm, &status);
	if (status.sessions == 0 && a->opening == 0)
		atomic_store(&a->leasing, false);
}

void arbiter_end_opening(struct arbiter *a)
{
	arbiter_lock(a);
	a->opening--;
	arbiter_review_leasing(a);
	arbiter_unlock(a);
}

static int first_ids(struct arbiter *a, uint64_t *first)
{
	int run_fd = core_run_dir_fd(a->daemon->core);
	int error;

	a->ids_end = UINT64_MAX;
	if (run_fd < 0 || a->daemon->options->read_only)
		return 0;
	error = ids_read(run_fd, first);
	if (!error)
		error = ids_reserve(run_fd, *first + IDS_AT_ONCE);
	if (!error)
		a->ids_end = *first + IDS_AT_ONCE;
	return error;
}

int arbitrate_start(struct daemon *d, struct diag *diag)
{
	struct arbiter *a = calloc(1, sizeof(*a));
	struct lm_config config = {.ops = &effects, .context = a, .drain_ns = LM_DRAIN_NS_DEFAULT};
	struct core_arbiter asked = {
		.context = a, .freeing = arbiter_freeing, .freed = arbiter_freed};
	int error;

	if (!a)
		return diag_set(diag, -ENOMEM, "no memory");
	a->policy = d->options->policy;
	if (getrandom(&config.seed, sizeof(config.seed), 0) != sizeof(config.seed) ||
		getrandom(a->boot, sizeof(a->boot), 0) != sizeof(a->boot)) {
		free(a);
		return diag_set(diag, -EIO, "no random bytes");
	}
	a->daemon = d;
	error = first_ids(a, &config.first_id);
	if (error) {
		free(a);
		return error == -EUCLEAN
			       ? diag_set(diag, -EBADMSG,
					 "run/ids is damaged. Once no process has blocks of the "
					 "pool"
					 " mapped, remove what is in run/")
			       : diag_set(diag, error, "the pool's run/ids: %s", strerror(-error));
	}
	error = history_start(&a->history);
	if (!error)
		error = lm_create(&config, &a->lm);
	if (error) {
		history_stop(&a->history);
		free(a);
		return diag_set(diag, error, "no memory");
	}
	a->deadline_ns = UINT64_MAX;
	pthread_mutex_init(&a->start_lock, NULL);
	pthread_mutex_init(&a->lock, NULL);
	TAILQ_INIT(&a->parked);
	TAILQ_INIT(&a->decided);
	STAILQ_INIT(&a->told);
	d->arbiter = a;
	core_set_arbiter(d->core, &asked);
	return 0;
}

/* After the last request and after control_stop(), which has ended every session. */
void arbitrate_stop(struct daemon *d)
{
	struct arbiter *a = d->arbiter;

	arbitrate_cancel(d);
	engine_destroy(a->engine);
	workers_destroy(a->workers);
	workers_destroy(a->notifier);
	core_set_arbiter(d->core, &(struct core_arbiter){NULL, NULL});
	lm_destroy(a->lm);
	history_stop(&a->history);
	free(a->spare_inode);
	pthread_mutex_destroy(&a->lock);
	pthread_mutex_destroy(&a->start_lock);
	free(a);
	d->arbiter = NULL;
}
