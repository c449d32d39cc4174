// SPDX-License-Identifier: BSD-2-Clause
/*
 * tag.c - the tags of data regions: that a file or device is the region that its name says.
 *
 * Behind the content of each region stands a media_tag: of which pool, which region, and a stamp
 * that changes whenever a pool that was closed in good order is opened for writing. docs/format.md
 * has why it stands there.
 *
 * Invariants
 *  1. A region is in the region tree only after its tag is durable (tables_grow.c).
 *  2. The stamp in every tag is roots.stamp or roots.next_stamp, at every instant that a crash may
 *     choose: the roots' numbers are durable before a tag has them, and roots.stamp follows when
 *     all tags have it. While the two differ, no third number is begun.
 *     After a crash nothing is stamped: recovery must call nothing durable that is not known to be
 *     (journal_sync() would), and a daemon that comes back has holders waiting for it.
 *  3. A region without a sound tag is never stored into, but by tag_write() when fsck.leasefs was
 *     told to; and while there is one, no stamp changes: the right file, put back, is still right.
 *
 * What is in a tag was perhaps written by whoever may map the region: it is compared, and nothing
 * of it is used.
 */
#include "tag.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#define TAG_COVERED offsetof(struct media_tag, stamp)

uint64_t tag_room(const struct media_super *super, const struct media_region *media)
{
	return super->incompat & FEATURE_INCOMPAT_TAGS ? 1ull << media->alignment_shift : 0;
}

int tag_new_stamp(uint64_t old, uint64_t *out)
{
	uint64_t random, stamp;

	if (getentropy(&random, sizeof(random)))
		return -errno;
	/* Another one than the last whatever the random numbers are worth. */
	stamp = XXH3_64bits_withSeed(&random, sizeof(random), old);
	*out = stamp && stamp != old ? stamp : old + 1;
	return 0;
}

static uint64_t checksum(const struct media_tag *tag, uint64_t offset)
{
	struct media_tag copy = *tag;

	copy.head.checksum = 0;
	return XXH3_64bits_withSeed(&copy, TAG_COVERED, offset);
}

static void fill(const struct core *c, const struct data_region *r, struct media_tag *tag)
{
	*tag = (struct media_tag){
		.head.magic = MAGIC_TAG,
		.number = r->number,
		.bytes = r->media.bytes,
		.stamp = c->stamp,
	};
	memcpy(tag->pool, c->super.uuid, sizeof(tag->pool));
	memcpy(tag->region, r->media.uuid, sizeof(tag->region));
	tag->head.checksum = checksum(tag, r->media.bytes);
}

int tag_write(struct core *c, struct data_region *r)
{
	struct media_tag tag;
	int error;

	assert(tag_room(&c->super, &r->media) != 0);
	fill(c, r, &tag);
	error = region_reserve_blocks(r->region, r->media.bytes, sizeof(tag));
	if (error)
		return error;
	region_store(r->region, r->media.bytes, &tag, sizeof(tag));
	return region_sync(r->region, r->media.bytes, sizeof(tag));
}

/* ---- looking --------------------------------------------------------------------------------- */

enum tag_state { TAG_ZERO, TAG_NONE, TAG_DAMAGED, TAG_SOUND };

static enum tag_state read_tag(const struct region *region, uint64_t offset, struct media_tag *out)
{
	static const struct media_tag zero;

	memcpy(out, region_durable_at(region, offset, sizeof(*out)), sizeof(*out));
	if (memcmp(out, &zero, sizeof(zero)) == 0)
		return TAG_ZERO;
	if (out->head.magic != MAGIC_TAG)
		return TAG_NONE;
	return checksum(out, offset) == out->head.checksum ? TAG_SOUND : TAG_DAMAGED;
}

bool tag_found(const struct region *region, struct media_tag *out)
{
	uint64_t unit = region_alignment(region), bytes = region_bytes(region);

	return bytes > unit && read_tag(region, bytes - unit, out) == TAG_SOUND;
}

struct reason {
	char text[160];
};

static struct reason of_another(
	const struct core *c, const struct data_region *r, const struct media_tag *tag)
{
	struct reason why;
	char uuid[37];

	core_uuid_text(tag->pool, uuid);
	if (memcmp(tag->pool, c->super.uuid, sizeof(tag->pool)) != 0)
		snprintf(why.text, sizeof(why.text), "it is region %" PRIu32 " of pool %s",
			tag->number, uuid);
	else if (tag->number != r->number)
		snprintf(why.text, sizeof(why.text), "it is region %" PRIu32, tag->number);
	else
		snprintf(why.text, sizeof(why.text),
			"it is one of that number that the pool has "
			"no more");
	return why;
}

static struct reason find_reason(const struct core *c, const struct data_region *r)
{
	struct media_tag tag, right;
	enum tag_state state = read_tag(r->region, r->media.bytes, &tag);

	if (state == TAG_ZERO || region_lost(r->region))
		return (struct reason){
			"zeroes stand where its tag should, as in an empty device or "
			"a copy that lost its end"};
	if (state == TAG_NONE)
		return (struct reason){"something else stands where its tag should"};
	if (state == TAG_DAMAGED)
		return (struct reason){"its tag is damaged"};
	fill(c, r, &right);
	if (memcmp(&tag, &right, TAG_COVERED) != 0)
		return of_another(c, r, &tag);
	if (tag.stamp != c->stamp && tag.stamp != c->next_stamp)
		return (struct reason){"it is, but of another time than meta: one of the two is an "
				       "old copy"};
	return (struct reason){""};
}

int tag_check(struct core *c, const struct data_region *r, struct diag *d)
{
	struct reason why;
	char uuid[37];

	if (tag_room(&c->super, &r->media) == 0)
		return 0;
	why = find_reason(c, r);
	if (!why.text[0])
		return 0;
	core_uuid_text(c->super.uuid, uuid);
	return diag_set(d, -EMEDIUMTYPE,
		"%s should be data region %" PRIu32
		" of pool %s: %s. Put the right one there, or bring the whole pool back from one "
		"backup; if it is the right one, see --retag in fsck.leasefs(8)",
		r->path, r->number, uuid, why.text);
}

/* ---- stamps ---------------------------------------------------------------------------------- */

static int change_roots(struct core *c, uint64_t stamp, uint64_t next)
{
	struct media_roots *roots;
	void *shadow;
	struct tx *tx;
	int error;

	error = tx_begin(c->meta, &tx);
	if (error)
		return error;
	error = tx_edit(tx, c->roots, MAGIC_ROOTS, &shadow);
	if (error) {
		tx_abort(tx);
		return error;
	}
	roots = shadow;
	roots->stamp = stamp;
	roots->next_stamp = next;
	error = tx_commit(tx);
	if (!error) {
		c->stamp = stamp;
		c->next_stamp = next;
	}
	return error;
}

static int begin(struct core *c)
{
	uint64_t next;
	int error = tag_new_stamp(c->stamp, &next);

	if (!error)
		error = change_roots(c, c->stamp, next);
	return error ? error : core_sync_journal(c);
}

bool tags_all_sound(struct core *c)
{
	for (uint32_t i = 0; i < c->region_count; i++) {
		const struct data_region *r = tables_region(c, i);

		if (r && r->tag_fault)
			return false;
	}
	return true;
}

/* All are stored before the first is waited for: filesystems below then write many at once. */
static int stamp_all(struct core *c)
{
	const size_t field = offsetof(struct media_tag, stamp);

	for (uint32_t i = 0; i < c->region_count; i++) {
		struct data_region *r = tables_region(c, i);

		if (r)
			region_store64(r->region, r->media.bytes + field, c->next_stamp);
	}
	for (uint32_t i = 0; i < c->region_count; i++) {
		struct data_region *r = tables_region(c, i);
		int error =
			r ? region_sync(r->region, r->media.bytes + field, sizeof(uint64_t)) : 0;

		if (error)
			return error;
	}
	return change_roots(c, c->next_stamp, c->next_stamp);
}

int tags_renew(struct core *c, struct diag *d)
{
	int error = 0;

	if (!(c->super.incompat & FEATURE_INCOMPAT_TAGS) || !c->recovery.was_clean ||
		!tags_all_sound(c))
		return 0;
	assert(!c->options.read_only);
	if (c->next_stamp != c->stamp)
		error = stamp_all(c); /* a crash came in between: some may have it since then */
	if (!error)
		error = begin(c);
	if (!error)
		error = stamp_all(c);
	/* What an owner does to the file of their region must not keep others from theirs. */
	if (!error || c->super.domains == DOMAINS_UID)
		return 0;
	return diag_set(d, error, "the data regions cannot be stamped: %s", strerror(-error));
}
