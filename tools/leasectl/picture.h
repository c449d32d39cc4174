// SPDX-License-Identifier: BSD-2-Clause
/*
 * picture.h - what `top` shows, as lines of text. The terminal scrolls over them; without one they
 * are printed.
 */
#ifndef LEASECTL_PICTURE_H
#define LEASECTL_PICTURE_H

#include "leasectl.h"

enum look { LOOK_PLAIN, LOOK_TITLE, LOOK_HEAD, LOOK_ALARM, LOOK_DIM };

enum sort_key { SORT_LEFT, SORT_AGE, SORT_SESSION, SORT_PID, SORT_INODE, SORT_HELD, SORT_KEYS };
extern const char *const sort_names[SORT_KEYS];

#define SHOW_SESSIONS 1u
#define SHOW_LEASES 2u
#define SHOW_OPERATIONS 4u
#define SHOW_ALL 7u

struct view {
	const char *mount;
	unsigned show; /* SHOW_* */
	enum sort_key sort;
	bool backwards;
	bool paused;
	double interval_s;
};

struct picture {
	struct {
		enum look look;
		char *text;
	} * lines;
	size_t count, room;
	size_t fixed; /* of them: they do not scroll */
	bool failed;  /* no memory for all of it */
};

/* `before`: for rates; NULL: there are none. Sorts the lists of `now`. */
void picture_make(struct picture *p, struct snapshot *now, const struct snapshot *before,
	const struct view *view);
void picture_free(struct picture *p);

#endif
