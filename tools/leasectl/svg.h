// SPDX-License-Identifier: BSD-2-Clause
/*
 * svg.h - writes a drawing, element by element. Looks are classes of one style sheet, whose colours
 * are those of Okabe and Ito: people who do not see red and green apart tell them apart, and every
 * colour comes with a word or a pattern as well.
 */
#ifndef LEASECTL_SVG_H
#define LEASECTL_SVG_H

#include <stdio.h>

#define SVG_CHAR_PX 6.3 /* of an average character at 11 px, on the wide side */
#define SVG_TEXT_MAX 256

struct box {
	double x, y, w, h;
};

void svg_begin(FILE *out, double width, double height, const char *title);
void svg_end(FILE *out);
/* `tip` is shown when pointed at; may be NULL. */
void svg_box(FILE *out, struct box b, const char *class, const char *tip);
void svg_line(FILE *out, double x1, double y1, double x2, double y2, const char *class);
void svg_polygon(FILE *out, const double (*points)[2], int count, const char *class);
enum svg_anchor { SVG_START, SVG_MIDDLE, SVG_END };
void svg_text(
	FILE *out, double x, double y, enum svg_anchor anchor, const char *class, const char *text);
double svg_text_px(const char *text);
/* As much of it as has room, with an ellipsis; "" if that is next to nothing. */
const char *svg_fit(const char *text, double px, char out[SVG_TEXT_MAX]);

/* A step for an axis: 1, 2 or 5 times a power of ten (bytes: a power of two), at most `most` of
 * them. */
double svg_step(double span, int most);
double svg_step_bytes(double span, int most);

/* One entry of a legend at (x, y); where the next one starts. */
double svg_legend(FILE *out, double x, double y, const char *class, const char *text);

#endif
