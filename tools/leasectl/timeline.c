// SPDX-License-Identifier: BSD-2-Clause
/*
 * timeline.c - who asked, who was recalled, when it was returned, and what it ended in. Time goes
 * from left to right; leases stand above the operations, and arrows go from the one that asks to
 * the one that is recalled, and back with what is returned.
 */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>
#include <time.h>

#include "svg.h"
#include "timescale.h"

#define WIDTH 1200.0
#define LEFT 290.0 /* the names */
#define RIGHT 46.0
#define ROW 30.0
#define BAR 16.0
#define TOP 96.0

struct timeline {
	const struct story *story;
	struct timescale scale;
	double first_y;     /* of the rows */
	size_t lease_count; /* the rest are operations */
	FILE *out;
};

static double at(const struct timeline *t, uint64_t time_ns)
{
	return timescale_x(&t->scale, time_ns);
}

static double row_y(const struct timeline *t, const struct story_row *row)
{
	return t->first_y + (double)row->row * ROW + (row->is_operation ? ROW * 0.8 : 0);
}

/* ---- names ----------------------------------------------------------------------------------- */

static const char *name_process(uint32_t pid, char out[64])
{
	char name[32];

	if (process_name(pid, name)[0] == '-')
		snprintf(out, 64, "process %u", pid);
	else
		snprintf(out, 64, "%s (%u)", name, pid);
	return out;
}

static void name_lease(const struct story_row *r, char out[SVG_TEXT_MAX], char more[SVG_TEXT_MAX])
{
	char process[64], range[64];

	snprintf(out, SVG_TEXT_MAX, "%s lease %" PRIx64,
		r->mode == LEASEFS_MODE_WRITE ? "write" : "read", r->id);
	snprintf(more, SVG_TEXT_MAX, "session %" PRIu64 ", %s %s", r->session,
		name_process(r->pid, process), range_text(r->offset, r->length, range));
}

static void name_operation(
	const struct story_row *r, char out[SVG_TEXT_MAX], char more[SVG_TEXT_MAX])
{
	char process[64], range[64];

	snprintf(out, SVG_TEXT_MAX, "%s #%" PRIu64, r->operation[0] ? r->operation : "operation",
		r->id);
	snprintf(more, SVG_TEXT_MAX, "%s %s", name_process(r->pid, process),
		range_text(r->offset, r->length, range));
}

static void draw_name(const struct timeline *t, const struct story_row *r)
{
	char name[SVG_TEXT_MAX], more[SVG_TEXT_MAX], fitted[SVG_TEXT_MAX];
	double y = row_y(t, r);

	(r->is_operation ? name_operation : name_lease)(r, name, more);
	svg_text(t->out, LEFT - 12, y + 7, SVG_END, "plain", svg_fit(name, LEFT - 24, fitted));
	svg_text(t->out, LEFT - 12, y + 19, SVG_END, "small",
		svg_fit(more, (LEFT - 18) * 1.1, fitted));
}

/* ---- bars ------------------------------------------------------------------------------------ */

static const char *outcome(const struct story_row *r, char out[64])
{
	switch (r->end) {
	case STORY_COMPLETE:
		snprintf(out, 64, "done after %.3f s", (double)r->value_ns / 1e9);
		break;
	case STORY_BUSY:
		snprintf(out, 64, "EBUSY after %.3f s", (double)r->value_ns / 1e9);
		break;
	case STORY_INTERRUPTED:
		snprintf(out, 64, "interrupted");
		break;
	case STORY_RETURNED:
		snprintf(out, 64, "returned");
		break;
	case STORY_REVOKED:
		snprintf(out, 64, "revoked");
		break;
	case STORY_SESSION_ENDED:
		snprintf(out, 64, "session ended");
		break;
	default:
		snprintf(out, 64, r->is_operation ? "waits" : "held");
	}
	return out;
}

static const char *class_of(const struct story_row *r)
{
	switch (r->end) {
	case STORY_COMPLETE:
		return "complete";
	case STORY_BUSY:
		return "busy";
	case STORY_INTERRUPTED:
		return "interrupt";
	default:
		if (r->is_operation)
			return "waiting";
		return r->mode == LEASEFS_MODE_WRITE ? "write" : "read";
	}
}

static struct box bar(
	const struct timeline *t, const struct story_row *r, uint64_t from, uint64_t to)
{
	double x = at(t, from), end = to ? at(t, to) : WIDTH - RIGHT;

	return (struct box){x, row_y(t, r) + 3, end - x < 3 ? 3 : end - x, BAR};
}

/* Recalls lie on the bar of their lease, with a stroke at the deadline. */
static void draw_recalls(const struct timeline *t, const struct story_row *r)
{
	for (size_t i = 0; i < t->story->mark_count; i++) {
		const struct story_mark *m = &t->story->marks[i];
		struct box b;
		char tip[64];

		if (r->is_operation || m->lease != r->id || m->kind != MARK_RECALL)
			continue;
		b = bar(t, r, m->time_ns, m->until_ns);
		b.y += BAR / 2 + 2;
		b.h = BAR / 2 - 2;
		snprintf(tip, sizeof(tip), "recalled for operation #%" PRIu64, m->number);
		svg_box(t->out, b, "recall", tip);
		if (m->value && (m->until_ns ? m->until_ns : t->story->now_ns) >= m->value)
			svg_line(t->out, at(t, m->value), b.y - BAR / 2 - 4, at(t, m->value),
				b.y + b.h + 3, "deadline");
	}
}

static void draw_kept(const struct timeline *t, const struct story_row *r)
{
	char tip[64], size[32], fitted[SVG_TEXT_MAX];
	struct box b;

	if (!r->kept_ns)
		return;
	b = bar(t, r, r->kept_ns, r->freed_ns);
	snprintf(tip, sizeof(tip), "%s in quarantine", size_text(r->kept_bytes, size));
	svg_box(t->out, b, "revoked", tip);
	svg_text(t->out, b.x + 5, b.y + 12, SVG_START, "halo", svg_fit(tip, b.w - 8, fitted));
}

/* In the bar, or where there is room beside it. */
static void draw_outcome(const struct timeline *t, const struct story_row *r, struct box b)
{
	double end = r->kept_ns ? r->freed_ns ? at(t, r->freed_ns) : WIDTH - RIGHT : b.x + b.w;
	bool dark = !strcmp(class_of(r), "write") || !strcmp(class_of(r), "complete") ||
		    !strcmp(class_of(r), "busy");
	char text[64];
	double px;

	outcome(r, text);
	px = svg_text_px(text);
	if (px + 8 < b.w && r->is_operation)
		svg_text(t->out, b.x + 5, b.y + 12, SVG_START, dark ? "light" : "plain", text);
	else if (end + px + 6 < WIDTH - 4)
		svg_text(t->out, end + 5, b.y + 12, SVG_START, "plain", text);
	else if (px + 8 < b.w)
		svg_text(t->out, b.x + 5, b.y + 8.5, SVG_START, dark ? "light" : "plain", text);
	else if (b.x - LEFT > px + 6)
		svg_text(t->out, b.x - 5, b.y + 12, SVG_END, "plain", text);
}

static void draw_row(const struct timeline *t, const struct story_row *r)
{
	struct box b = bar(t, r, r->begin_ns, r->end_ns);
	char tip[SVG_TEXT_MAX], more[SVG_TEXT_MAX];

	(r->is_operation ? name_operation : name_lease)(r, tip, more);
	draw_name(t, r);
	if (!r->begun) /* it began before the log does */
		svg_line(t->out, b.x, b.y - 3, b.x, b.y + b.h + 3, "mark");
	svg_box(t->out, b, r->end == STORY_REVOKED && b.w <= 3 ? "revoked" : class_of(r), more);
	draw_recalls(t, r);
	draw_kept(t, r);
	draw_outcome(t, r, b);
}

/* ---- arrows ---------------------------------------------------------------------------------- */

static void draw_arrow(
	const struct timeline *t, double x, double from, double to, const char *class)
{
	double tip = to > from ? -7 : 7;
	double head[3][2] = {{x, to}, {x - 3.5, to + tip}, {x + 3.5, to + tip}};

	svg_line(t->out, x, from, x, to, class);
	svg_polygon(t->out, head, 3, class);
}

static void draw_mark(const struct timeline *t, const struct story_mark *m)
{
	const struct story_row *lease = story_find(t->story, false, m->lease);
	const struct story_row *operation =
		m->number ? story_find(t->story, true, m->number) : NULL;
	double x = at(t, m->time_ns);
	char text[32];

	if (lease && m->kind == MARK_SIGNAL) {
		const char *name = sigabbrev_np((int)m->value);

		snprintf(text, sizeof(text), "SIG%.20s", name ? name : "?");
		svg_line(t->out, x, row_y(t, lease), x, row_y(t, lease) + BAR + 6, "deadline");
		svg_text(t->out, x + 3, row_y(t, lease) + 1, SVG_START, "small", text);
	}
	if (!lease || !operation)
		return;
	if (m->kind == MARK_RECALL)
		draw_arrow(t, x, row_y(t, operation) + 3, row_y(t, lease) + BAR + 4, "asks");
	else if (m->kind == MARK_RETURN)
		draw_arrow(t, x, row_y(t, lease) + BAR + 3, row_y(t, operation) + 2, "answers");
}

/* ---- the picture ----------------------------------------------------------------------------- */

/* How long nothing happened, in the gap before a piece. */
static void draw_gap(const struct timeline *t, unsigned piece, double bottom)
{
	const struct timescale_piece *p = &t->scale.pieces[piece], *before = p - 1;
	double x = (before->x + before->w + p->x) / 2;
	double s = (double)(p->begin_ns - before->end_ns) / 1e9;
	char text[32];

	snprintf(text, sizeof(text),
		s < 100    ? "%.1f s"
		: s < 6000 ? "%.0f min"
			   : "%.1f h",
		s < 100    ? s
		: s < 6000 ? s / 60
			   : s / 3600);
	svg_box(t->out, (struct box){x - 3, TOP - 4, 6, bottom - TOP + 4}, "gap", NULL);
	svg_text(t->out, x, TOP - 28, SVG_MIDDLE, "small", text);
}

static void draw_axis(const struct timeline *t, double bottom)
{
	const struct timescale_piece *first = &t->scale.pieces[0];
	double ns_px = (double)(first->end_ns - first->begin_ns) / first->w;
	double step = svg_step(ns_px * (WIDTH - LEFT - RIGHT) / 1e9, 9);
	int digits = step >= 1 ? 0 : step >= 0.1 ? 1 : step >= 0.01 ? 2 : step >= 0.001 ? 3 : 6;
	char text[32];

	for (unsigned i = 0; i < t->scale.count; i++) {
		const struct timescale_piece *p = &t->scale.pieces[i];
		double from = (double)(p->begin_ns - first->begin_ns) / 1e9;
		double to = (double)(p->end_ns - first->begin_ns) / 1e9;
		double free_from = p->x - 20; /* where a label may begin */

		for (double s = ceil(from / step) * step; s <= to; s += step) {
			double x = at(t, first->begin_ns + (uint64_t)(s * 1e9)), half;

			svg_line(t->out, x, TOP - 8, x, bottom, "grid");
			snprintf(text, sizeof(text), "%.*f s", digits, s);
			half = svg_text_px(text) / 2;
			if (x - half < free_from)
				continue;
			svg_text(t->out, x, TOP - 14, SVG_MIDDLE, "small", text);
			free_from = x + half + 6;
		}
	}
}

static void draw_gaps(const struct timeline *t, double bottom)
{
	for (unsigned i = 1; i < t->scale.count; i++)
		draw_gap(t, i, bottom);
}

static void draw_legend(const struct timeline *t, double y)
{
	double x = 20;

	x = svg_legend(t->out, x, y, "write", "write lease");
	x = svg_legend(t->out, x, y, "read", "read lease");
	x = svg_legend(t->out, x, y, "recall", "recalled (stroke: deadline)");
	x = svg_legend(t->out, x, y, "revoked", "quarantine");
	x = svg_legend(t->out, x, y, "complete", "done");
	x = svg_legend(t->out, x, y, "busy", "EBUSY");
	x = svg_legend(t->out, x, y, "interrupt", "interrupted");
	svg_legend(t->out, x, y, "waiting", "waits");
	draw_arrow(t, 29, y + 26, y + 12, "asks");
	svg_text(t->out, 44, y + 22, SVG_START, "sub", "asks for it back");
	draw_arrow(t, 189, y + 12, y + 26, "answers");
	svg_text(t->out, 204, y + 22, SVG_START, "sub", "is given back");
	if (t->scale.count > 1)
		svg_legend(t->out, 320, y + 22, "gap", "nothing happens, for as long as it says");
}

static void draw_title(const struct timeline *t, const struct request *r)
{
	const struct story *s = t->story;
	uint64_t wall_ns = s->now_wall_ns - (s->now_ns - t->scale.pieces[0].begin_ns);
	time_t seconds = (time_t)(wall_ns / 1000000000u);
	char text[SVG_TEXT_MAX], from[32], older[64] = "", lost[64] = "", fitted[SVG_TEXT_MAX];
	struct tm tm;

	if (r->count)
		snprintf(text, sizeof(text), "%.200s", r->words[0]);
	else if (r->session)
		snprintf(text, sizeof(text), "Session %" PRIu64 " on %.200s", r->session, r->where);
	else
		snprintf(text, sizeof(text), "%.200s", r->where);
	svg_text(t->out, 20, 30, SVG_START, "title", svg_fit(text, WIDTH * 0.62, fitted));
	strftime(from, sizeof(from), "%Y-%m-%d %H:%M:%S", localtime_r(&seconds, &tm));
	size_t operations = s->row_count - t->lease_count;
	if (s->left_out)
		snprintf(older, sizeof(older), "; %zu older rows are left out", s->left_out);
	if (s->lost)
		snprintf(lost, sizeof(lost), "; %" PRIu64 " events are lost", s->lost);
	snprintf(text, sizeof(text), "%zu lease%s, %zu operation%s; 0 s is %s.%03u%s%s",
		t->lease_count, t->lease_count == 1 ? "" : "s", operations,
		operations == 1 ? "" : "s", from, (unsigned)(wall_ns % 1000000000u / 1000000),
		older, lost);
	svg_text(t->out, 20, 50, SVG_START, "sub", text);
}

static void draw_bands(const struct timeline *t)
{
	for (size_t i = 0; i < t->story->row_count; i += 2) {
		double y = row_y(t, &t->story->rows[i]);

		svg_box(t->out, (struct box){10, y - 4, WIDTH - 20, ROW}, "band", NULL);
	}
}

static void draw_timeline(struct timeline *t, const struct request *r)
{
	const struct story *s = t->story;
	double height = TOP + ROW * ((double)s->row_count + 0.8) + 80;
	double bottom = TOP + ROW * ((double)s->row_count + 0.8) + 10;

	t->first_y = TOP + 4;
	svg_begin(t->out, WIDTH, height, "leasefs timeline");
	draw_title(t, r);
	draw_bands(t);
	draw_axis(t, bottom);
	for (size_t i = 0; i < s->row_count; i++)
		draw_row(t, &s->rows[i]);
	draw_gaps(t, bottom);
	for (size_t i = 0; i < s->mark_count; i++)
		draw_mark(t, &s->marks[i]);
	draw_legend(t, bottom + 24);
	svg_end(t->out);
}

/* What ended before the first piece is left out. */
static void number_rows(struct timeline *t, struct story *s)
{
	size_t kept = 0;

	for (size_t i = 0; i < s->row_count; i++) {
		struct story_row *r = &s->rows[i];
		bool keeps = r->kept_ns && !r->freed_ns;
		uint64_t end_ns = keeps ? 0 : r->freed_ns > r->end_ns ? r->freed_ns : r->end_ns;

		if (!timescale_shows(&t->scale, r->begin_ns, end_ns)) {
			s->left_out++;
			continue;
		}
		s->rows[kept] = *r;
		s->rows[kept].row = (unsigned)kept;
		t->lease_count += !r->is_operation;
		kept++;
	}
	s->row_count = kept;
}

/* Without --svg: the records themselves. */
static int print_records(const struct request *r)
{
	const struct leasefs_record *record;
	struct history_reader h;
	uint64_t lost;
	int result = history_open(&h, r, false);

	while (!result && (result = history_next(&h, &record, &lost)) == 1) {
		record_print(record, history_wall_ns(&h, record->time_ns), stdout);
		result = 0;
	}
	errno = -result;
	return result ? failed("timeline") : LEASECTL_DONE;
}

int do_timeline(const struct request *r)
{
	struct timeline t = {0};
	struct story story;
	int error, result;

	if (!r->svg)
		return print_records(r);
	error = story_read(r, &story);
	if (error == -ENOENT) {
		fprintf(stderr,
			"leasectl: nothing has happened there that the daemon remembers; 'leasectl "
			"%s"
			" watch --once' shows all that it does\n",
			r->where);
		return LEASECTL_FAILED;
	}
	if (error) {
		errno = -error;
		return failed("timeline");
	}
	error = timescale_make(&t.scale, &story, LEFT, WIDTH - RIGHT);
	if (error) {
		story_free(&story);
		errno = -error;
		return failed("timeline");
	}
	number_rows(&t, &story);
	t.story = &story;
	t.out = open_output(r);
	if (t.out)
		draw_timeline(&t, r);
	result = t.out ? close_output(r, t.out) : LEASECTL_FAILED;
	story_free(&story);
	return result;
}
