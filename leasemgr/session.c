// SPDX-License-Identifier: BSD-2-Clause
/*
 * session.c - holders and how they end.
 *
 *   open, process lives   may hold; the only state in which calls are made for it
 *   open, process gone    somebody else has the descriptor (fork, SCM_RIGHTS): as before, but its
 *                         process cannot be signalled, and nobody is "the holder itself"
 *   closed, process lives ghosts only: a mapping may have stayed behind; until the process is gone
 *   closed, process gone  ghosts of what was pinned, until the drain time is over
 *   inherited             closed, and an earlier life's: its leases stay, until it is adopted (and
 *                         open) or the grace period is over (ghosts); its process gone: all drains
 *   no more               at once when closed and empty
 */
#include "manager.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

/* Those that wait to be adopted take nobody's place: who adopts them has to open one first. */
static int may_open(const struct lm *lm, uint32_t uid)
{
	const struct lm_limits *most = &lm->config.limits;
	unsigned all = 0, same_user = 0;
	const struct lm_session *s;

	LIST_FOREACH(s, &lm->sessions, all) {
		all += !s->inherited;
		same_user += !s->inherited && s->uid == uid;
	}
	return all >= most->sessions ? -ENFILE : same_user >= most->sessions_per_user ? -EMFILE : 0;
}

int session_new(struct lm *lm, uint32_t pid, uint32_t uid, void *owner, struct lm_session **out)
{
	struct lm_session *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	if (timer_reserve(lm)) {
		free(s);
		return -ENOMEM;
	}
	s->lm = lm;
	s->owner = owner;
	s->id = lm->next_id++;
	s->pid = pid;
	s->uid = uid;
	s->timer.kind = TIMER_SESSION;
	TAILQ_INIT(&s->ready);
	LIST_INIT(&s->wants);
	LIST_INIT(&s->told);
	SLIST_INIT(&s->spares);
	LIST_INSERT_HEAD(&lm->sessions, s, all);
	lm->status.sessions++;
	record_session(s, LM_RECORD_SESSION_OPEN);
	*out = s;
	return 0;
}

int lm_session_open(struct lm *lm, uint32_t pid, uint32_t uid, void *owner, struct lm_session **out)
{
	int error = may_open(lm, uid);

	return error ? error : session_new(lm, pid, uid, owner, out);
}

uint64_t lm_session_id(const struct lm_session *s)
{
	return s->id;
}

static void session_try_end(struct lm_session *s)
{
	struct lm *lm = s->lm;

	if (!s->closed || s->lease_count)
		return;
	assert(!s->pin_count && !s->want_count && !s->spare_count && TAILQ_EMPTY(&s->ready));
	timer_clear(lm, &s->timer);
	timer_unreserve(lm);
	record_session(s, LM_RECORD_SESSION_GONE);
	LIST_REMOVE(s, all);
	lm->status.sessions--;
	handles_free(&s->leases);
	handles_free(&s->pins);
	lm->ops->session_gone(lm->config.context, s->owner);
	free(s);
}

/*
 * Everything of a closed session becomes what it has to be: ghosts while the process lives, and
 * when it is gone nothing, but for what is pinned. Leases in use are done when their call ends.
 */
static void wind_up(struct lm_session *s, bool keep_pinned, uint64_t now_ns)
{
	bool drain = false;

	for (uint32_t i = 0; i < s->leases.used_slots; i++) {
		struct lease *l = s->leases.items[i];
		bool live;

		if (!l || l->in_use)
			continue;
		live = l->tree < TREE_GHOSTS;
		if (!s->process_gone && keep_pinned) {
			if (live && !(l->inherited && s->inherited))
				lease_revoke_left(l);
		} else if (keep_pinned &&
			   (s->inherited || lease_pinned(l, l->node.start, l->node.end))) {
			drain = true;
			if (live)
				lease_revoke_left(l);
		} else {
			lease_end(l);
		}
	}
	if (drain && !s->timer.at)
		timer_set(s->lm, &s->timer, now_ns + s->lm->config.drain_ns);
}

/* settle() must be done before the session goes: a verdict may still name it. */
static void wind_up_and_end(struct lm_session *s, bool keep_pinned, uint64_t now_ns)
{
	struct lm *lm = s->lm;

	wind_up(s, keep_pinned, now_ns);
	settle(lm, now_ns);
	session_try_end(s);
}

void lm_session_close(struct lm_session *s, uint64_t now_ns)
{
	assert(!s->closed);
	record_session(s, LM_RECORD_SESSION_CLOSE);
	wants_end(s);
	for (uint32_t i = 0; i < s->leases.used_slots; i++) {
		struct lease *l = s->leases.items[i];

		if (l) /* one that is being made has bits, and is not in the list */
			source_clear(s, &l->source, 0xff);
	}
	assert(TAILQ_EMPTY(&s->ready));
	s->drain_pending = false;
	s->closed = true;
	wind_up_and_end(s, true, now_ns);
}

/* Who "the holder itself" is has changed: changes in its leases' way are looked at again. */
static void review_all(struct lm_session *s)
{
	for (uint32_t i = 0; i < s->leases.used_slots; i++) {
		struct lease *l = s->leases.items[i];

		if (!l || l->tree >= TREE_GHOSTS)
			continue;
		lease_review_recall(l);
		if (l->recalled) /* perhaps by more than before: what was its own process's */
			source_mark(s, &l->source, PENDING_RECALL);
		leased_inode_dirty(s->lm, l->inode, l->node.start, l->node.end);
	}
}

void lm_session_set_process(struct lm_session *s, uint32_t pid, uint64_t now_ns)
{
	assert(!s->closed || s->inherited);
	s->pid = pid;
	s->process_gone = false;
	review_all(s);
	settle(s->lm, now_ns);
}

void session_use_ended(struct lm_session *s, uint64_t now_ns)
{
	if (s->closed)
		wind_up_and_end(s, true, now_ns);
	else
		settle(s->lm, now_ns);
}

void lm_session_process_gone(struct lm_session *s, uint64_t now_ns)
{
	if (s->process_gone)
		return;
	s->process_gone = true;
	record_session(s, LM_RECORD_SESSION_EXIT);
	review_all(s); /* a closed one may have leases in use */
	if (s->closed)
		wind_up_and_end(s, true, now_ns);
	else
		settle(s->lm, now_ns);
}

int lm_session_release(struct lm_session *s, uint64_t now_ns)
{
	if (!s->closed)
		return -EBUSY;
	wind_up_and_end(s, false, now_ns);
	return 0;
}

/* The drain time is over. */
void session_timer(struct lm_session *s, uint64_t now_ns)
{
	assert(s->closed && s->process_gone);
	wind_up_and_end(s, false, now_ns);
}
