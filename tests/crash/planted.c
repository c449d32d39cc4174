// SPDX-License-Identifier: BSD-2-Clause
/*
 * planted.c - see planted.h.
 */
#include "planted.h"

#include <assert.h>
#include <string.h>

#include "plant.h"

#ifdef LEASEFS_PLANT
enum plant plant_now;

static const char *const names[PLANTS] = {
	[PLANT_NONE] = "none",
	[PLANT_OLD_NAME_FIRST] = "old-name-first",
	[PLANT_FIELD_NOT_LOGGED] = "field-not-logged",
	[PLANT_LINK_IN_PLACE] = "link-in-place",
	[PLANT_TAIL_NOT_FLUSHED] = "tail-not-flushed",
	[PLANT_DATA_NOT_FENCED] = "data-not-fenced",
	[PLANT_UNCHECKED_NOT_FLUSHED] = "unchecked-not-flushed",
	[PLANT_COMMIT_FIRST] = "commit-first",
	[PLANT_RECOVERY_BY_PROCESSOR] = "recovery-by-processor",
	[PLANT_ORPHANS_FIRST] = "orphans-first",
	[PLANT_FREED_TWICE] = "freed-twice",
	[PLANT_EXCHANGE_IN_TWO] = "exchange-in-two",
	[PLANT_NAME_ACROSS_LINES] = "name-across-lines",
	[PLANT_XATTR_APART] = "xattr-apart",
	[PLANT_TIMES_APART] = "times-apart",
};

bool plant_by_name(const char *name)
{
	for (int i = 0; i < PLANTS; i++)
		if (strcmp(name, names[i]) == 0) {
			plant_now = (enum plant)i;
			return true;
		}
	return false;
}
#else
bool plant_by_name(const char *name)
{
	return false;
}
#endif
