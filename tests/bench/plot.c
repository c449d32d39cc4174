// SPDX-License-Identifier: BSD-2-Clause
/*
 * plot.c - draws the picture; see plot.h.
 *
 * A bar runs from ratio 1 to the row's own: to the left we are faster (or take less), to the right
 * slower. Throughputs are turned round for that, so that left is better in all rows. A target is a
 * short upright line; a bar that stays to its left is green, one that crosses it red; rows without
 * a target are grey. A ratio outside of the scale ends at its edge with an arrow.
 */
#include "plot.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define ROWS_MAX 512u
#define NAME_BYTES 48u
#define WIDTH 1080.0
#define LABEL_X 220.0 /* names end here */
#define SCALE_X 235.0
#define SCALE_WIDTH 440.0
#define FIGURES_X 690.0
#define ROW_HEIGHT 20.0
#define GROUP_HEIGHT 34.0
#define HEAD_HEIGHT 92.0
#define FOOT_HEIGHT 16.0
#define SCALE_LOW 0.1
#define SCALE_HIGH 20.0

#define INK "#24292f"
#define FAINT "#6e7781"
#define GRID "#e3e6ea"
#define MET "#2da44e"
#define MISSED "#cf222e"
#define NEUTRAL "#8c959f"

struct drawn {
	char group[NAME_BYTES];
	char name[NAME_BYTES];
	char unit[NAME_BYTES];
	char baseline_name[NAME_BYTES];
	double ours, baseline, ratio, target;
	enum target_sense sense;
	bool ok;
};

static struct drawn rows[ROWS_MAX];
static unsigned row_count;

static void copy(char out[NAME_BYTES], const char *text)
{
	snprintf(out, NAME_BYTES, "%s", text);
}

void plot_add(const struct row *row, double ratio, bool ok)
{
	struct drawn *d = &rows[row_count];

	if (row_count == ROWS_MAX)
		return;
	row_count++;
	copy(d->group, row->group);
	copy(d->name, row->name);
	copy(d->unit, row->unit);
	copy(d->baseline_name, row->baseline_name);
	d->ours = row->ours;
	d->baseline = row->baseline;
	d->ratio = ratio;
	d->target = row->target;
	d->sense = row->unjudged != NULL ? TARGET_NONE : row->sense;
	d->ok = ok;
}

static void put_text(FILE *f, const char *text)
{
	for (; *text != '\0'; text++) {
		if (*text == '<')
			fputs("&lt;", f);
		else if (*text == '>')
			fputs("&gt;", f);
		else if (*text == '&')
			fputs("&amp;", f);
		else
			fputc(*text, f);
	}
}

static void label(FILE *f, double x, double y, const char *style, const char *text)
{
	fprintf(f, "<text x='%.1f' y='%.1f' %s>", x, y, style);
	put_text(f, text);
	fputs("</text>\n", f);
}

static double scale(double ratio)
{
	double part = (log(ratio) - log(SCALE_LOW)) / (log(SCALE_HIGH) - log(SCALE_LOW));

	return SCALE_X + SCALE_WIDTH * (part < 0 ? 0 : part > 1 ? 1 : part);
}

static bool is_throughput(const struct drawn *d)
{
	return strchr(d->unit, '/') != NULL && strstr(d->unit, "/s") != NULL;
}

static void draw_scale(FILE *f, double top, double bottom)
{
	static const double marks[] = {0.1, 0.2, 0.5, 1, 2, 5, 10, 20};
	char text[16];

	for (size_t i = 0; i < sizeof(marks) / sizeof(marks[0]); i++) {
		double x = scale(marks[i]);

		fprintf(f,
			"<line x1='%.1f' y1='%.1f' x2='%.1f' y2='%.1f' stroke='%s' "
			"stroke-width='%s'/>\n",
			x, top, x, bottom, marks[i] == 1 ? FAINT : GRID,
			marks[i] == 1 ? "1.5" : "1");
		snprintf(text, sizeof(text), "%g", marks[i]);
		label(f, x, top - 6, "text-anchor='middle' font-size='11' fill='" FAINT "'", text);
	}
}

static void draw_bar(FILE *f, const struct drawn *d, double y)
{
	bool turned = is_throughput(d);
	double ratio = turned ? 1 / d->ratio : d->ratio,
	       target = turned ? 1 / d->target : d->target;
	double from = scale(1), to = scale(ratio);
	const char *colour = d->sense == TARGET_NONE ? NEUTRAL : d->ok ? MET : MISSED;
	bool over = ratio > SCALE_HIGH, under = ratio < SCALE_LOW;

	if (isnan(ratio))
		return;
	fprintf(f, "<rect x='%.1f' y='%.1f' width='%.1f' height='9' rx='1.5' fill='%s'/>\n",
		from < to ? from : to, y - 9, fabs(to - from) < 2 ? 2 : fabs(to - from), colour);
	if (over || under)
		label(f, over ? to + 3 : to - 9, y, "font-size='11' fill='" INK "'",
			over ? "\xe2\x96\xb6" : "\xe2\x97\x80");
	if (d->sense != TARGET_NONE)
		fprintf(f,
			"<line x1='%.1f' y1='%.1f' x2='%.1f' y2='%.1f' stroke='" INK
			"' stroke-width='2'/>\n",
			scale(target), y - 13, scale(target), y + 4);
}

static void draw_row(FILE *f, const struct drawn *d, double y)
{
	char text[160];

	label(f, LABEL_X, y, "text-anchor='end' font-size='12' fill='" INK "'", d->name);
	draw_bar(f, d, y);
	if (isnan(d->baseline))
		snprintf(text, sizeof(text), "%.4g %s", d->ours, d->unit);
	else
		snprintf(text, sizeof(text), "%.4g %s, %s %.4g", d->ours, d->unit, d->baseline_name,
			d->baseline);
	label(f, FIGURES_X, y, "font-size='11' fill='" FAINT "'", text);
	if (isnan(d->ratio))
		return;
	if (d->sense == TARGET_NONE)
		snprintf(text, sizeof(text), "%.2f", d->ratio);
	else
		snprintf(text, sizeof(text), "%.2f (%s %.4g)", d->ratio,
			d->sense == TARGET_AT_MOST ? "\xe2\x89\xa4" : "\xe2\x89\xa5", d->target);
	label(f, WIDTH - 12, y,
		d->sense != TARGET_NONE && !d->ok
			? "text-anchor='end' font-size='11' fill='" MISSED "' font-weight='bold'"
			: "text-anchor='end' font-size='11' fill='" INK "'",
		text);
}

static double height_of_rows(void)
{
	double height = HEAD_HEIGHT + FOOT_HEIGHT;

	for (unsigned i = 0; i < row_count; i++) {
		if (i == 0 || strcmp(rows[i].group, rows[i - 1].group) != 0)
			height += GROUP_HEIGHT;
		height += ROW_HEIGHT;
	}
	return height;
}

static void draw(FILE *f)
{
	double height = height_of_rows(), y = HEAD_HEIGHT;

	fprintf(f,
		"<svg xmlns='http://www.w3.org/2000/svg' width='%.0f' height='%.0f' "
		"viewBox='0 0 %.0f %.0f' font-family='DejaVu Sans, Helvetica, Arial, "
		"sans-serif'>\n<rect width='100%%' height='100%%' fill='white'/>\n",
		WIDTH, height, WIDTH, height);
	label(f, 16, 28, "font-size='18' font-weight='bold' fill='" INK "'",
		"leasefs beside its baselines");
	label(f, 16, 48, "font-size='12' fill='" FAINT "'",
		"Ratio of ours to the baseline, left is better (throughputs are turned round). "
		"The upright line is the target: green stays left of it, red does not.");
	draw_scale(f, HEAD_HEIGHT - 8, height - FOOT_HEIGHT);
	for (unsigned i = 0; i < row_count; i++) {
		if (i == 0 || strcmp(rows[i].group, rows[i - 1].group) != 0) {
			y += GROUP_HEIGHT;
			label(f, 16, y - 10, "font-size='14' font-weight='bold' fill='" INK "'",
				rows[i].group);
		}
		y += ROW_HEIGHT;
		draw_row(f, &rows[i], y - 6);
	}
	fputs("</svg>\n", f);
}

int plot_write(const char *path)
{
	FILE *f = fopen(path, "we");
	bool failed;

	if (f == NULL) {
		perror(path);
		return -1;
	}
	draw(f);
	failed = ferror(f) != 0;
	if (fclose(f) != 0 || failed) {
		fprintf(stderr, "leasebench: %s: %s\n", path, strerror(errno));
		return -1;
	}
	return 0;
}
