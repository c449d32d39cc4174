// SPDX-License-Identifier: BSD-2-Clause
/*
 * tag.h - which data region a file or device holds, and as of when. See tag.c.
 */
#ifndef CORE_TAG_H
#define CORE_TAG_H

#include "pool.h"

/* Bytes of a region's file behind its content: one mapping unit, or 0 in a pool without tags. */
uint64_t tag_room(const struct media_super *super, const struct media_region *media);

/* A stamp that was never used. -errno: no random numbers. */
int tag_new_stamp(uint64_t old, uint64_t *out);

/* A whole tag with c->stamp, durable when this returns. 0, -ENOSPC, -EIO. */
int tag_write(struct core *c, struct data_region *r);

/* Is it the region that it should be? Else -EMEDIUMTYPE and a sentence. */
int tag_check(struct core *c, const struct data_region *r, struct diag *d);

/* Is every region what it should be, as far as tags tell? */
bool tags_all_sound(struct core *c);

/* Is there a sound tag at the end of a region, whosesoever? */
bool tag_found(const struct region *region, struct media_tag *out);

/*
 * Stamps all regions anew, when the pool has been opened for writing, before anything else is
 * written. Nothing after a crash, while a region is not what it should be, or in a pool without
 * tags. 0, -EIO, -ENOMEM.
 */
int tags_renew(struct core *c, struct diag *d);

#endif
