// SPDX-License-Identifier: BSD-2-Clause
/*
 * plants.c - faults put into leasemgr from outside, to prove that the simulator finds each.
 *
 * The linker's --wrap gives the calls of one function from other files to the wrapper here, so the
 * product has no hooks for it. PLANT says which; meson builds one simulator for each.
 */
#include <errno.h>

#include "manager.h"

/* Now and then, as what the world has come to says: so a schedule repeats its faults too. */
__attribute__((unused)) static bool due(const struct lm *lm, unsigned every)
{
	return lm->next_id % every == 0;
}

#if defined(PLANT_RECALL_LOST)
void __real_source_mark(struct lm_session *s, struct source *source, uint8_t pending);
void __wrap_source_mark(struct lm_session *s, struct source *source, uint8_t pending);
void __wrap_source_mark(struct lm_session *s, struct source *source, uint8_t pending)
{
	if (!(pending & PENDING_RECALL) || !due(s->lm, 20))
		__real_source_mark(s, source, pending);
}
#elif defined(PLANT_DOUBLE_FREE)
void __real_holds_drop(struct lease *l);
void __wrap_holds_drop(struct lease *l);
void __wrap_holds_drop(struct lease *l)
{
	struct lm *lm = l->session->lm;
	struct hold_link *link = SLIST_FIRST(&l->holds);

	if (link && link->hold->count == 1 && due(lm, 5))
		lm->ops->release(lm->config.context, link->hold->region, link->hold->region_offset,
			link->hold->length);
	__real_holds_drop(l);
}
#elif defined(PLANT_EARLY_REUSE)
/* Blocks under a revoked lease are let go when the first of its holders is done with them. */
void __real_holds_drop(struct lease *l);
void __wrap_holds_drop(struct lease *l);
void __wrap_holds_drop(struct lease *l)
{
	struct hold_link *link;

	__real_holds_drop(l);
	if (!due(l->session->lm, 3))
		return;
	for (struct range_node *n = range_tree_first(&l->inode->leases[TREE_GHOSTS], 0, UINT64_MAX);
		n; n = range_tree_next(&l->inode->leases[TREE_GHOSTS], n, 0, UINT64_MAX)) {
		struct lease *other = container_of(n, struct lease, node);

		link = SLIST_FIRST(&other->holds);
		if (other != l && link && link->hold->count == 1) {
			__real_holds_drop(other);
			return;
		}
	}
}
#elif defined(PLANT_WAKE_UP_LOST)
void __real_leased_inode_dirty(
	struct lm *lm, struct inode_leases *in, uint64_t start, uint64_t end);
void __wrap_leased_inode_dirty(
	struct lm *lm, struct inode_leases *in, uint64_t start, uint64_t end);
void __wrap_leased_inode_dirty(struct lm *lm, struct inode_leases *in, uint64_t start, uint64_t end)
{
	if (!due(lm, 10))
		__real_leased_inode_dirty(lm, in, start, end);
}
#elif defined(PLANT_RANGE_OFF_BY_ONE)
/* A pin's first block is not looked at. */
bool __real_lease_pinned(const struct lease *l, uint64_t start, uint64_t end);
bool __wrap_lease_pinned(const struct lease *l, uint64_t start, uint64_t end);
bool __wrap_lease_pinned(const struct lease *l, uint64_t start, uint64_t end)
{
	return __real_lease_pinned(l, start + 4096 < end ? start + 4096 : start, end);
}
#elif defined(PLANT_NO_QUARANTINE)
int __real_lm_freeing(struct lm *lm, uint64_t ino, uint64_t start, uint64_t end, uint32_t region,
	uint64_t region_offset);
int __wrap_lm_freeing(struct lm *lm, uint64_t ino, uint64_t start, uint64_t end, uint32_t region,
	uint64_t region_offset);
int __wrap_lm_freeing(struct lm *lm, uint64_t ino, uint64_t start, uint64_t end, uint32_t region,
	uint64_t region_offset)
{
	return due(lm, 10) ? 0 : __real_lm_freeing(lm, ino, start, end, region, region_offset);
}
#elif defined(PLANT_ALONE_BESIDE_GHOSTS)
/* Stale mappings are forgotten where no lease is in the way. */
bool __real_lm_change_is_alone(const struct lm_change *c);
bool __wrap_lm_change_is_alone(const struct lm_change *c);
bool __wrap_lm_change_is_alone(const struct lm_change *c)
{
	return due(c->lm, 10) || __real_lm_change_is_alone(c);
}
#elif defined(PLANT_GRANT_OVER_RECALL)
bool __real_change_blocks_grant(
	const struct lm_change *c, const struct lm_session *s, bool exclusive);
bool __wrap_change_blocks_grant(
	const struct lm_change *c, const struct lm_session *s, bool exclusive);
bool __wrap_change_blocks_grant(
	const struct lm_change *c, const struct lm_session *s, bool exclusive)
{
	return !due(s->lm, 10) && __real_change_blocks_grant(c, s, exclusive);
}
#elif defined(PLANT_LADDER_SKIPPED)
/* The time of a rung is not waited for. */
void __real_timer_set(struct lm *lm, struct timer *t, uint64_t deadline_ns);
void __wrap_timer_set(struct lm *lm, struct timer *t, uint64_t deadline_ns);
void __wrap_timer_set(struct lm *lm, struct timer *t, uint64_t deadline_ns)
{
	__real_timer_set(lm, t, due(lm, 5) ? deadline_ns / 2 : deadline_ns);
}
#elif defined(PLANT_RESTART_FORGETS_BLOCKS)
/* What a lease's holder had mapped and its file has let go is not held by the next daemon. */
int __wrap_lm_hold_restore(struct lm_session *s, uint64_t lease, uint32_t region,
	uint64_t region_offset, uint64_t length);
int __wrap_lm_hold_restore(struct lm_session *s, uint64_t lease, uint32_t region,
	uint64_t region_offset, uint64_t length)
{
	return 0;
}
#elif defined(PLANT_CUT_IS_NOT_WRITTEN)
/* Now and then a part that is cut off is not written down. */
int __real_lease_persist(const struct lease *l, uint64_t start, uint64_t end, enum tree_kind tree);
int __wrap_lease_persist(const struct lease *l, uint64_t start, uint64_t end, enum tree_kind tree);
int __wrap_lease_persist(const struct lease *l, uint64_t start, uint64_t end, enum tree_kind tree)
{
	return due(l->session->lm, 10) ? 0 : __real_lease_persist(l, start, end, tree);
}
#elif defined(PLANT_REFUSAL_IGNORED)
/* A revocation that could not be written down is made all the same. */
int __real_lease_persist(const struct lease *l, uint64_t start, uint64_t end, enum tree_kind tree);
int __wrap_lease_persist(const struct lease *l, uint64_t start, uint64_t end, enum tree_kind tree);
int __wrap_lease_persist(const struct lease *l, uint64_t start, uint64_t end, enum tree_kind tree)
{
	int error = __real_lease_persist(l, start, end, tree);

	return tree < TREE_GHOSTS ? error : 0;
}
#elif defined(PLANT_GRACE_CUT_SHORT)
int __real_lm_grace_begin(struct lm *lm, uint64_t end_ns, uint64_t now_ns);
int __wrap_lm_grace_begin(struct lm *lm, uint64_t end_ns, uint64_t now_ns);
int __wrap_lm_grace_begin(struct lm *lm, uint64_t end_ns, uint64_t now_ns)
{
	return __real_lm_grace_begin(lm, now_ns + (end_ns - now_ns) / 2, now_ns);
}
#elif defined(PLANT_STALE_RECLAIM)
/* A lease that was revoked is reclaimed as if it were there. */
int __real_lm_reclaim(struct lm_session *s, uint64_t *lease, uint64_t now_ns);
int __wrap_lm_reclaim(struct lm_session *s, uint64_t *lease, uint64_t now_ns);
int __wrap_lm_reclaim(struct lm_session *s, uint64_t *lease, uint64_t now_ns)
{
	int error = __real_lm_reclaim(s, lease, now_ns);

	return error == -ESTALE ? 0 : error;
}
#elif defined(PLANT_RECLAIM_WITHOUT_NEWS)
/* Who adopts a session is not told of the recalls that it missed. */
void __real_lm_session_adopt(struct lm_session *s, uint32_t pid, void *owner, uint64_t now_ns);
void __wrap_lm_session_adopt(struct lm_session *s, uint32_t pid, void *owner, uint64_t now_ns);
void __wrap_lm_session_adopt(struct lm_session *s, uint32_t pid, void *owner, uint64_t now_ns)
{
	struct lm_event e;

	__real_lm_session_adopt(s, pid, owner, now_ns);
	while (lm_event_next(s, &e))
		;
}
#elif defined(PLANT_NO_DRAIN_AFTER_RESTART)
/* The end of a process that held on to a session of old lets everything go at once. */
void __real_lm_session_process_gone(struct lm_session *s, uint64_t now_ns);
void __wrap_lm_session_process_gone(struct lm_session *s, uint64_t now_ns);
void __wrap_lm_session_process_gone(struct lm_session *s, uint64_t now_ns)
{
	if (lm_session_is_inherited(s))
		s->inherited = false; /* as one of this life: what is unpinned does not drain */
	__real_lm_session_process_gone(s, now_ns);
}
#else
#error "which?"
#endif
