// SPDX-License-Identifier: BSD-2-Clause
/* timescale.c - see timescale.h. */
#include "timescale.h"

#include <errno.h>
#include <stdlib.h>

#define GAP_PX 34.0
#define PAUSE_NS_MIN 200000000ull /* shorter pauses are drawn as they are */
#define AIR 0.04                  /* of all, around each piece */

struct moments {
	uint64_t *list;
	size_t count;
};

static int compare_moments(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void add(struct moments *m, uint64_t time_ns)
{
	if (time_ns)
		m->list[m->count++] = time_ns;
}

static int find_moments(const struct story *s, struct moments *m)
{
	m->list = calloc(s->row_count * 4 + s->mark_count * 2 + 1, sizeof(m->list[0]));
	if (!m->list)
		return -ENOMEM;
	for (size_t i = 0; i < s->row_count; i++) {
		const struct story_row *r = &s->rows[i];

		add(m, r->begin_ns);
		add(m, r->is_operation && !r->end_ns ? s->now_ns : r->end_ns);
		add(m, r->kept_ns);
		add(m, r->freed_ns);
	}
	for (size_t i = 0; i < s->mark_count; i++) {
		add(m, s->marks[i].time_ns);
		add(m, s->marks[i].until_ns);
	}
	qsort(m->list, m->count, sizeof(m->list[0]), compare_moments);
	return 0;
}

/* As long as the longest operation: what happens in one is never interrupted by a gap. */
static uint64_t longest_pause(const struct story *s)
{
	uint64_t longest = PAUSE_NS_MIN;

	for (size_t i = 0; i < s->row_count; i++) {
		const struct story_row *r = &s->rows[i];
		uint64_t end = r->end_ns ? r->end_ns : s->now_ns;

		if (r->is_operation && end - r->begin_ns > longest)
			longest = end - r->begin_ns;
	}
	return longest;
}

static void cut_into_pieces(struct timescale *t, const struct moments *m, uint64_t pause_ns)
{
	for (size_t i = 0; i < m->count; i++) {
		struct timescale_piece *last = &t->pieces[t->count ? t->count - 1 : 0];

		if (t->count && m->list[i] - last->end_ns <= pause_ns) {
			last->end_ns = m->list[i];
			continue;
		}
		if (t->count == TIMESCALE_PIECES_MAX) {
			for (unsigned k = 1; k < t->count; k++)
				t->pieces[k - 1] = t->pieces[k];
			t->count--;
		}
		t->pieces[t->count++] =
			(struct timescale_piece){.begin_ns = m->list[i], .end_ns = m->list[i]};
	}
}

static void lay_out(struct timescale *t, double left, double right)
{
	double px = right - left - GAP_PX * (t->count - 1), x = left, all_ns = 0;
	uint64_t air_ns;

	for (unsigned i = 0; i < t->count; i++)
		all_ns += (double)(t->pieces[i].end_ns - t->pieces[i].begin_ns);
	air_ns = (uint64_t)(all_ns * AIR) + 1000000;
	for (unsigned i = 0; i < t->count; i++) {
		struct timescale_piece *p = &t->pieces[i];

		p->begin_ns = p->begin_ns > air_ns ? p->begin_ns - air_ns : 0;
		p->end_ns += air_ns;
	}
	all_ns += 2 * (double)air_ns * t->count;
	for (unsigned i = 0; i < t->count; i++) {
		struct timescale_piece *p = &t->pieces[i];

		p->x = x;
		p->w = px * (double)(p->end_ns - p->begin_ns) / all_ns;
		x += p->w + GAP_PX;
	}
}

int timescale_make(struct timescale *t, const struct story *s, double left, double right)
{
	struct moments m = {0};
	int error = find_moments(s, &m);

	if (error)
		return error;
	*t = (struct timescale){0};
	cut_into_pieces(t, &m, longest_pause(s) * 3);
	free(m.list);
	lay_out(t, left, right);
	return 0;
}

double timescale_x(const struct timescale *t, uint64_t time_ns)
{
	const struct timescale_piece *last = &t->pieces[t->count - 1];

	for (unsigned i = 0; i < t->count; i++) {
		const struct timescale_piece *p = &t->pieces[i];

		if (time_ns < p->begin_ns) /* in the gap before it, or before all */
			return i ? p->x - GAP_PX / 2 : p->x;
		if (time_ns <= p->end_ns)
			return p->x + p->w * (double)(time_ns - p->begin_ns) /
					      (double)(p->end_ns - p->begin_ns);
	}
	return last->x + last->w;
}

bool timescale_shows(const struct timescale *t, uint64_t begin_ns, uint64_t end_ns)
{
	return begin_ns <= t->pieces[t->count - 1].end_ns &&
	       (!end_ns || end_ns >= t->pieces[0].begin_ns);
}
