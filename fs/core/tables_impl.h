// SPDX-License-Identifier: BSD-2-Clause
/*
 * tables_impl.h - data regions as they are loaded and made, for tables.c and tables_grow.c alone.
 */
#ifndef CORE_TABLES_IMPL_H
#define CORE_TABLES_IMPL_H

#include "btree.h"
#include "pool.h"

uint32_t tables_groups(const struct media_region *media);
uint32_t tables_group_units(const struct media_region *media, uint32_t group);
/* A data_region around an open region, its space without groups; takes it over in any case. */
int tables_make_region(struct core *c, uint32_t number, const struct media_region *media,
	const char *external, struct region *region, struct data_region **out);
void tables_close_region(struct data_region *r); /* one that is not published */
void tables_publish(struct core *c, struct data_region *r);

#endif
