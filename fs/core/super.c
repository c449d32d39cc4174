// SPDX-License-Identifier: BSD-2-Clause
/*
 * super.c - the pair of superblocks: read with suspicion, written in an order.
 *
 * Reading takes the valid copy with the higher generation. A copy is valid if its magic, checksum,
 * version, features and geometry all hold; nothing of it is used before. A foreign version is told
 * apart from damage: a copy whose checksum holds says what it is; one whose checksum fails but
 * whose version is not ours counts as foreign only if no copy is valid (another version may well
 * compute its checksum differently).
 *
 * Writing does the second copy first and makes it durable, then the first: at any instant one of
 * the two is whole.
 */
#include "pool.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define HEAP_BLOCKS_MIN 64u
#define POOL_BYTES_MAX (1ull << 62)
#define META_BYTES_MAX (1ull << 44) /* what can be mapped, and group numbers stay below 2^32 */

enum copy_state { COPY_NO_MAGIC, COPY_DAMAGED, COPY_FOREIGN, COPY_VALID };

static uint64_t copy_offset(const struct region *meta, unsigned which)
{
	return which == 0 ? 0 : region_bytes(meta) - BLOCK_SIZE;
}

static int refuse_version(const struct media_super *super, struct diag *d)
{
	return diag_set(d, -EPROTONOSUPPORT,
		"the pool has format %u.%u; this program knows %u.x: use the leasefs that made it",
		super->major, super->minor, FORMAT_MAJOR);
}

static int check_geometry(const struct media_super *s, struct diag *d)
{
	const char *what = NULL;

	/* In this order no sum can overflow: every term before it is bounded by meta_bytes. */
	if (s->block_size != BLOCK_SIZE)
		what = "block size";
	else if (s->meta_bytes % BLOCK_SIZE || s->meta_bytes > META_BYTES_MAX)
		what = "metadata size";
	else if (s->journal_offset < 2 * BLOCK_SIZE || s->journal_offset % BLOCK_SIZE ||
		 s->journal_offset > s->meta_bytes)
		what = "journal offset";
	else if (s->journal_bytes < JOURNAL_BYTES_MIN || s->journal_bytes % BLOCK_SIZE ||
		 s->journal_bytes > s->meta_bytes - s->journal_offset)
		what = "journal size";
	else if (s->heap_offset < s->journal_offset + s->journal_bytes ||
		 s->heap_offset % BLOCK_SIZE || s->heap_offset > s->meta_bytes - BLOCK_SIZE)
		what = "heap offset";
	else if (s->heap_blocks < HEAP_BLOCKS_MIN ||
		 s->heap_blocks > (s->meta_bytes - BLOCK_SIZE - s->heap_offset) / BLOCK_SIZE)
		what = "heap size";
	else if (s->pool_bytes < CORE_POOL_BYTES_MIN || s->pool_bytes % BLOCK_SIZE ||
		 s->pool_bytes > POOL_BYTES_MAX)
		what = "pool size";
	else if (s->domains != DOMAINS_SINGLE && s->domains != DOMAINS_UID)
		what = "kind of domains";
	else if (!memchr(s->label, '\0', sizeof(s->label)))
		what = "label";
	if (what)
		return diag_set(d, -EUCLEAN,
			"the superblock's checksum holds, but its %s makes no sense", what);
	return 0;
}

static enum copy_state classify(struct region *meta, unsigned which, struct media_super *out)
{
	uint64_t offset = copy_offset(meta, which);

	memcpy(out, region_at(meta, offset, BLOCK_SIZE), BLOCK_SIZE);
	if (out->head.magic != MAGIC_SUPER)
		return COPY_NO_MAGIC;
	if (object_checksum(out, BLOCK_SIZE, offset) == out->head.checksum)
		return COPY_VALID;
	return out->major != FORMAT_MAJOR ? COPY_FOREIGN : COPY_DAMAGED;
}

static int check_copy(struct region *meta, const struct media_super *s, struct diag *d)
{
	uint64_t unknown = s->incompat & ~FEATURE_INCOMPAT_KNOWN;

	if (s->major != FORMAT_MAJOR)
		return refuse_version(s, d);
	if (unknown)
		return diag_set(d, -EPROTONOSUPPORT,
			"the pool uses features (incompat %#" PRIx64
			") that this program does not know: use a newer leasefs",
			unknown);
	if (s->meta_bytes != region_bytes(meta))
		return diag_set(d, -EUCLEAN,
			"meta is %" PRIu64 " bytes, the superblock says %" PRIu64,
			region_bytes(meta), s->meta_bytes);
	return check_geometry(s, d);
}

int super_read_copy(struct region *meta, unsigned which, struct media_super *out, struct diag *d)
{
	struct media_super copy;
	int error;

	if (region_bytes(meta) < 4 * BLOCK_SIZE)
		return diag_set(d, -EUCLEAN, "meta is %" PRIu64 " bytes: too short for a pool",
			region_bytes(meta));
	switch (classify(meta, which, &copy)) {
	case COPY_NO_MAGIC:
		return diag_set(d, -EUCLEAN, "superblock %u is not there (no magic)", which);
	case COPY_DAMAGED:
		return diag_set(d, -EUCLEAN, "superblock %u is damaged (checksum)", which);
	case COPY_FOREIGN:
		return refuse_version(&copy, d);
	case COPY_VALID:
		break;
	}
	error = check_copy(meta, &copy, d);
	if (error)
		return error;
	*out = copy;
	return 0;
}

int super_read(struct region *meta, struct media_super *out, struct diag *d)
{
	struct media_super copies[2], scratch;
	struct diag why[2] = {0};
	int errors[2];

	for (unsigned i = 0; i < 2; i++)
		errors[i] = super_read_copy(meta, i, &copies[i], &why[i]);
	if (errors[0] && errors[1]) {
		bool no_magic = region_bytes(meta) >= 4 * BLOCK_SIZE;

		for (unsigned i = 0; i < 2 && no_magic; i++)
			no_magic = classify(meta, i, &scratch) == COPY_NO_MAGIC;
		if (no_magic)
			return diag_set(d, -EUCLEAN,
				"not a leasefs pool, or one that was never finished: no superblock "
				"in "
				"meta");
		/* The more telling of the two: a foreign version before damage, the first before
		 * the copy (which a truncation takes away). */
		unsigned i = errors[1] == -EPROTONOSUPPORT && errors[0] != -EPROTONOSUPPORT;
		return diag_set(d, errors[i], "%s", why[i].text);
	}
	unsigned best = errors[0] ? 1 : 0;
	if (!errors[0] && !errors[1] && copies[1].generation > copies[0].generation)
		best = 1;
	/* A valid copy beside one that is validly foreign: do not touch what a newer program made.
	 */
	if (errors[1 - best] == -EPROTONOSUPPORT &&
		classify(meta, 1 - best, &scratch) == COPY_VALID)
		return diag_set(d, -EPROTONOSUPPORT, "%s", why[1 - best].text);
	*out = copies[best];
	return 0;
}

int super_write(struct region *meta, struct media_super *super)
{
	for (unsigned i = 2; i-- > 0;) {
		uint64_t offset = copy_offset(meta, i);
		int error;

		super->head.magic = MAGIC_SUPER;
		super->head.reserved = 0;
		super->head.checksum = object_checksum(super, BLOCK_SIZE, offset);
		region_apply(meta, offset, super, BLOCK_SIZE);
		error = region_publish(meta, offset, BLOCK_SIZE);
		if (error)
			return error;
	}
	return 0;
}
