// SPDX-License-Identifier: BSD-2-Clause
/* svg.c - see svg.h. */
#include "svg.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

static const char style[] =
	"text{font:11px 'DejaVu Sans',Verdana,Helvetica,sans-serif;fill:#222}"
	"text.title{font-size:17px;font-weight:bold}"
	"text.sub{fill:#555}"
	"text.head{font-weight:bold;font-size:12px}"
	"text.small{font-size:10px;fill:#555}"
	"text.light{fill:#fff}"
	"text.halo{paint-order:stroke;stroke:#fff;stroke-width:3px;stroke-linejoin:round}"
	".paper{fill:#fff}"
	".axis{stroke:#888;stroke-width:1}"
	".grid{stroke:#e4e4e4;stroke-width:1}"
	".mark{stroke:#222;stroke-width:1;stroke-dasharray:4 3}"
	".band{fill:#f6f6f6}"
	".region0{fill:#9ad0bd;stroke:#00664b}"
	".region1{fill:#e3b8d0;stroke:#8a3c66}"
	".region2{fill:#f2d48b;stroke:#8a5f00}"
	".region3{fill:#f4ee9c;stroke:#807900}"
	".ribbon{fill:#777;fill-opacity:.16;stroke:none}"
	".bar{fill:#fafafa;stroke:#888}"
	".hole{fill:#fff;stroke:#888;stroke-dasharray:3 3}"
	".unwritten{fill:url(#hatch);stroke:#555}"
	".write{fill:#0072b2;stroke:#004a73}"
	".read{fill:#8ecaee;stroke:#2f7da8}"
	".revoked{fill:url(#hatch);stroke:#555}"
	".recalled{fill:none;stroke:#d55e00;stroke-width:3}"
	".recall{fill:#d55e00;fill-opacity:.85;stroke:#8a3d00}"
	".pin{fill:#222;stroke:none}"
	".hardpin{fill:#222;stroke:#f0e442;stroke-width:1.5}"
	".complete{fill:#009e73;stroke:#00543d}"
	".busy{fill:#d55e00;stroke:#8a3d00}"
	".interrupt{fill:#bbb;stroke:#555}"
	".waiting{fill:#f2d48b;stroke:#8a5f00;stroke-dasharray:4 2}"
	".asks{stroke:#d55e00;stroke-width:1.2;fill:#d55e00}"
	".answers{stroke:#0072b2;stroke-width:1.2;fill:#0072b2}"
	".gap{fill:#fff;stroke:#aaa;stroke-dasharray:2 2}"
	".deadline{stroke:#8a3d00;stroke-width:2}";

static const char patterns[] =
	"<defs><pattern id=\"hatch\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\" "
	"patternTransform=\"rotate(45)\"><rect width=\"6\" height=\"6\" fill=\"#f4f4f4\"/>"
	"<rect width=\"2\" height=\"6\" fill=\"#9a9a9a\"/></pattern></defs>\n";

/* What XML does not take becomes a question mark: file names are bytes. */
static void escape(FILE *out, const char *text)
{
	const unsigned char *c = (const unsigned char *)text;

	while (*c) {
		int more = *c >= 0xf0 && *c < 0xf5   ? 3
			   : *c >= 0xe1 && *c < 0xef ? 2
			   : *c >= 0xc2 && *c < 0xe0 ? 1
						     : 0;
		bool whole = more > 0;

		for (int i = 1; i <= more; i++)
			whole = whole && (c[i] & 0xc0) == 0x80;
		/* e0, ef, ed, f0 and f4 have forms that are none: those are left out altogether */
		if (*c == 0xed || *c == 0xf0 || *c == 0xf4)
			whole = false;
		if (*c == '&')
			fputs("&amp;", out);
		else if (*c == '<')
			fputs("&lt;", out);
		else if (*c == '>')
			fputs("&gt;", out);
		else if (*c == '"')
			fputs("&quot;", out);
		else if (whole)
			fprintf(out, "%.*s", more + 1, (const char *)c);
		else
			fputc(*c >= ' ' && *c < 127 ? *c : '?', out);
		if (whole)
			c += more;
		c++;
	}
}

void svg_begin(FILE *out, double width, double height, const char *title)
{
	fprintf(out,
		"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<svg "
		"xmlns=\"http://www.w3.org/2000/svg\" width=\"%.0f\" height=\"%.0f\" viewBox=\"0 "
		"0 %.0f %.0f\" role=\"img\">\n<title>",
		width, height, width, height);
	escape(out, title);
	fprintf(out, "</title>\n<style>%s</style>\n%s", style, patterns);
	svg_box(out, (struct box){0, 0, width, height}, "paper", NULL);
}

void svg_end(FILE *out)
{
	fputs("</svg>\n", out);
}

void svg_box(FILE *out, struct box b, const char *class, const char *tip)
{
	fprintf(out, "<rect class=\"%s\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"",
		class, b.x, b.y, b.w, b.h);
	if (!tip) {
		fputs("/>\n", out);
		return;
	}
	fputs("><title>", out);
	escape(out, tip);
	fputs("</title></rect>\n", out);
}

void svg_line(FILE *out, double x1, double y1, double x2, double y2, const char *class)
{
	fprintf(out, "<line class=\"%s\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"/>\n",
		class, x1, y1, x2, y2);
}

void svg_polygon(FILE *out, const double (*points)[2], int count, const char *class)
{
	fprintf(out, "<polygon class=\"%s\" points=\"", class);
	for (int i = 0; i < count; i++)
		fprintf(out, "%s%.1f,%.1f", i ? " " : "", points[i][0], points[i][1]);
	fputs("\"/>\n", out);
}

void svg_text(
	FILE *out, double x, double y, enum svg_anchor anchor, const char *class, const char *text)
{
	static const char *const anchors[] = {"start", "middle", "end"};

	if (!text[0])
		return;
	fprintf(out, "<text class=\"%s\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">", class, x, y,
		anchors[anchor]);
	escape(out, text);
	fputs("</text>\n", out);
}

double svg_text_px(const char *text)
{
	return SVG_CHAR_PX * (double)strlen(text);
}

const char *svg_fit(const char *text, double px, char out[SVG_TEXT_MAX])
{
	size_t room = px > 0 ? (size_t)(px / SVG_CHAR_PX) : 0, length = strlen(text);

	if (room >= SVG_TEXT_MAX)
		room = SVG_TEXT_MAX - 1;
	if (length <= room) {
		snprintf(out, SVG_TEXT_MAX, "%s", text);
	} else if (room < 4) {
		out[0] = '\0';
	} else {
		room -= 2;
		while (room > 0 && ((unsigned char)text[room] & 0xc0) == 0x80)
			room--; /* not in the middle of a character */
		snprintf(out, SVG_TEXT_MAX, "%.*s..", (int)room, text);
	}
	return out;
}

double svg_step(double span, int most)
{
	double power = pow(10, floor(log10(span / most)));

	for (;; power *= 10) {
		if (span / power <= most)
			return power;
		if (span / (2 * power) <= most)
			return 2 * power;
		if (span / (5 * power) <= most)
			return 5 * power;
	}
}

double svg_step_bytes(double span, int most)
{
	double step = 4096;

	while (span / step > most)
		step *= 2;
	return step;
}

double svg_legend(FILE *out, double x, double y, const char *class, const char *text)
{
	svg_box(out, (struct box){x, y - 9, 18, 11}, class, NULL);
	svg_text(out, x + 24, y, SVG_START, "sub", text);
	return x + 24 + svg_text_px(text) + 18;
}
