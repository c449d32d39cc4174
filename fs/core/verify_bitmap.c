// SPDX-License-Identifier: BSD-2-Clause
/*
 * verify_bitmap.c - phase 5: what the bitmaps say against what the phases before have claimed.
 *
 * Marked in use, but nobody's: a leak. Claimed, but marked free: the dangerous one, it would be
 * handed out a second time. While trees are damaged leaks are not told: what is unclaimed may stand
 * below the damage.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "verify_impl.h"

struct space_check {
	struct verify *v;
	struct space *space;
	const struct bitset *claimed;
	uint32_t id;
	char name[32]; /* "the metadata heap", "region 0" */
	struct {       /* the run that is being collected */
		uint64_t first, count;
		bool leak;
	} run;
};

static int tell_missing(struct space_check *s, uint64_t first, uint64_t count)
{
	if (verify_found(s->v, 0, "marked as in use",
		    "%s: %llu blocks from block %llu are in use, but marked as free", s->name,
		    (unsigned long long)count, (unsigned long long)first))
		return verify_queue(s->v,
			&(struct repair){
				.kind = REPAIR_MISSING, .space = s->id, .a = first, .b = count});
	return 0;
}

static int tell_leak(struct space_check *s, uint64_t first, uint64_t count)
{
	struct verify *v = s->v;

	if (v->tree_damage)
		return 0;
	/* What earlier repairs left over is no finding: it is their last step. */
	if (v->repaired_before ||
		verify_found(v, 0, "freed",
			"%s: %llu blocks from block %llu are marked as in use, but nothing uses "
			"them",
			s->name, (unsigned long long)count, (unsigned long long)first))
		return verify_queue(
			v, &(struct repair){
				   .kind = REPAIR_LEAK, .space = s->id, .a = first, .b = count});
	return 0;
}

static int end_run(struct space_check *s)
{
	uint64_t count = s->run.count;

	s->run.count = 0;
	if (count == 0)
		return 0;
	return s->run.leak ? tell_leak(s, s->run.first, count)
			   : tell_missing(s, s->run.first, count);
}

static int differ(struct space_check *s, uint64_t unit, bool leak)
{
	int r = 0;

	if (s->run.count > 0 && (s->run.first + s->run.count != unit || s->run.leak != leak))
		r = end_run(s);
	if (s->run.count == 0) {
		s->run.first = unit;
		s->run.leak = leak;
	}
	s->run.count++;
	return r;
}

static int view_bitmap(
	struct verify *v, const struct media_group *g, const struct media_bitmap **out)
{
	const void *view;
	int r = meta_verify(v->core->meta, g->bitmap, MAGIC_GROUP);

	if (r == 0)
		r = tx_view(v->core->meta, NULL, g->bitmap, MAGIC_GROUP, &view);
	if (r == 0)
		*out = view;
	return r;
}

static int bad_bitmap(struct verify *v, uint32_t id, uint32_t group, const char *name)
{
	if (verify_found(v, 0, "made anew from what is in use",
		    "%s: the bitmap of group %u fails its checksum", name, group))
		return verify_queue(
			v, &(struct repair){.kind = REPAIR_BITMAP, .space = id, .a = group});
	return 0;
}

static int check_group(struct space_check *s, uint32_t group)
{
	const struct media_bitmap *bitmap;
	struct media_group g;
	int r = space_group(s->space, group, &g);

	if (r == 0)
		r = view_bitmap(s->v, &g, &bitmap);
	if (r == -EUCLEAN)
		return bad_bitmap(s->v, s->id, group, s->name);
	if (r)
		return r;
	if (bitmap->space != s->id || bitmap->group != group)
		return bad_bitmap(s->v, s->id, group, s->name);
	uint64_t first = (uint64_t)group * GROUP_BITS;
	static_assert(GROUP_BITS % 64 == 0, "whole words");
	for (uint32_t w = 0; r == 0 && w * 64 < g.units; w++) {
		uint64_t have = bitmap->bits[w], want = s->claimed->words[first / 64 + w];
		uint64_t wrong = have ^ want;

		if (g.units - w * 64 < 64)
			wrong &= (1ull << (g.units - w * 64)) - 1;
		for (; r == 0 && wrong; wrong &= wrong - 1) {
			unsigned bit = (unsigned)__builtin_ctzll(wrong);
			r = differ(s, first + w * 64 + bit, have >> bit & 1);
		}
	}
	return r;
}

static int check_space(struct verify *v, uint32_t id, struct space *space,
	const struct bitset *claimed, const char *name)
{
	struct space_check s = {.v = v, .space = space, .claimed = claimed, .id = id};
	int r = 0;

	snprintf(s.name, sizeof(s.name), "%s", name);
	for (uint32_t g = 0; r == 0 && g < space_groups(space); g++) {
		verify_progress(v, g, space_groups(space));
		r = check_group(&s, g);
	}
	return r == 0 ? end_run(&s) : r;
}

/* ---- inode groups ---------------------------------------------------------------------------- */

static int check_attention(struct verify *v, uint64_t ino, bool marked)
{
	const struct media_inode *m = verify_record(v, ino);
	bool should = m && (m->nlink == 0 || verify_trims(m));

	if (marked == should || (!m && bitset_test(&v->in_use, ino)))
		return 0;
	if (verify_found(v, ino, "corrected",
		    should ? "inode %llu is to be finished by recovery, but not marked for it"
			   : "inode %llu is marked for recovery, which has nothing to do there",
		    (unsigned long long)ino))
		return verify_queue(
			v, &(struct repair){.kind = REPAIR_ATTENTION, .ino = ino, .a = should});
	return 0;
}

static int check_inode_group(struct verify *v, uint32_t group)
{
	const struct media_bitmap *bitmap;
	struct media_group g;
	int r = space_group(v->core->inodes, group, &g);

	if (r == 0)
		r = view_bitmap(v, &g, &bitmap);
	if (r == -EUCLEAN || (r == 0 && (bitmap->space != SPACE_INODES || bitmap->group != group)))
		return bad_bitmap(v, SPACE_INODES, group, "the inode numbers");
	for (uint32_t w = 0; r == 0 && w < INODES_PER_GROUP / 64; w++) {
		uint64_t marked = bitmap->bits[ATTENTION_BIT / 64 + w];
		uint64_t used = v->in_use.words[(uint64_t)group * (INODES_PER_GROUP / 64) + w];

		for (uint64_t look = marked | used; r == 0 && look; look &= look - 1) {
			unsigned bit = (unsigned)__builtin_ctzll(look);
			uint64_t ino = (uint64_t)group * INODES_PER_GROUP + w * 64 + bit;

			if (ino >= ROOT_INO)
				r = check_attention(v, ino, marked >> bit & 1);
		}
	}
	return r;
}

int verify_bitmaps(struct verify *v)
{
	struct core *c = v->core;
	int r = check_space(v, SPACE_HEAP, c->heap, &v->heap, "the metadata heap");

	for (uint32_t i = 0; r == 0 && i < v->region_count; i++) {
		struct data_region *region = tables_region(c, i);
		char name[32];

		snprintf(name, sizeof(name), "region %u", i);
		if (region)
			r = check_space(v, SPACE_REGION(i), region->space, &v->regions[i], name);
	}
	for (uint32_t g = 0; r == 0 && g < v->inode_numbers / INODES_PER_GROUP; g++)
		r = check_inode_group(v, g);
	return r;
}
