// SPDX-License-Identifier: BSD-2-Clause
/*
 * map.c - a file's extents, and who holds what on them.
 *
 *   leases, a lane each, with their pins      over the file's offsets
 *   the file: written, unwritten, hole        the same scale
 *   ribbons                                   from the file to
 *   the regions: the part that the file uses  a scale each
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "leasectl.h"
#include "svg.h"

#define EXTENTS_MAX 65536u /* a picture of more says no more */
#define LANES_MAX 48u
#define REGIONS_MAX 8u
#define WIDTH 1100.0
#define MARGIN 40.0
#define LANE 34.0
#define BAR 26.0
#define RIBBON 70.0

struct map {
	const char *file;
	struct snapshot now;
	struct leasefs_extent *extents;
	size_t extent_count;
	bool more_extents;
	uint64_t size, span; /* of the file; of what is drawn */
	struct {
		uint32_t region;
		uint64_t start, end, bytes;
	} regions[REGIONS_MAX];
	size_t region_count;
	FILE *out;
	double y;
};

static bool add_extents(struct map *m, const struct leasefs_extents *page)
{
	struct leasefs_extent *grown =
		realloc(m->extents, (m->extent_count + page->count) * sizeof(*grown));

	if (!grown)
		return false;
	memcpy(grown + m->extent_count, page->extents, page->count * sizeof(*grown));
	m->extents = grown;
	m->extent_count += page->count;
	return true;
}

static int read_extents(struct map *m)
{
	int fd = open(m->file, O_RDONLY | O_CLOEXEC), error = 0;
	struct leasefs_extents page = {0};
	struct stat st;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st))
		error = -errno;
	m->size = (uint64_t)st.st_size;
	do {
		page.offset = page.next;
		if (!error && ioctl(fd, LEASEFS_IOC_EXTENTS, &page))
			error = -errno;
		else if (!error && page.count && !add_extents(m, &page))
			error = -ENOMEM;
	} while (!error && page.next < page.end && m->extent_count < EXTENTS_MAX);
	m->more_extents = !error && page.next < page.end;
	close(fd);
	return error;
}

static void find_regions(struct map *m)
{
	for (size_t i = 0; i < m->extent_count; i++) {
		const struct leasefs_extent *e = &m->extents[i];
		uint64_t end = e->region_offset + e->length;
		size_t n = 0;

		if (e->state == LEASEFS_EXTENT_HOLE)
			continue;
		while (n < m->region_count && m->regions[n].region != e->region)
			n++;
		if (n == REGIONS_MAX)
			continue;
		if (n == m->region_count) {
			m->regions[n].region = e->region;
			m->regions[n].start = e->region_offset;
			m->regions[n].end = end;
			m->regions[n].bytes = 0;
			m->region_count++;
		}
		if (e->region_offset < m->regions[n].start)
			m->regions[n].start = e->region_offset;
		if (end > m->regions[n].end)
			m->regions[n].end = end;
		m->regions[n].bytes += e->length;
	}
}

/* ---- text ------------------------------------------------------------------------------------ */

static bool overlaps(const struct leasefs_extent *e, uint64_t offset, uint64_t length)
{
	return offset < e->offset + e->length && e->offset < offset + length;
}

static void describe_lease(const struct leasefs_lease_info *l, char out[SVG_TEXT_MAX])
{
	char name[32], flags[96];

	snprintf(out, SVG_TEXT_MAX,
		"%s lease %" PRIx64 ", session %" PRIu64 ", %s (process %u)%s%s",
		l->mode == LEASEFS_MODE_WRITE ? "write" : "read", l->lease, l->session,
		process_name(l->pid, name), l->pid, l->flags ? ", " : "",
		lease_flags_text(l->flags, flags));
}

static void print_extent(const struct map *m, const struct leasefs_extent *e)
{
	static const char *const states[] = {"written", "unwritten", "hole"};
	char range[64], text[SVG_TEXT_MAX];

	printf("%-32s %s", range_text(e->offset, e->length, range),
		states[e->state <= LEASEFS_EXTENT_HOLE ? e->state : 0]);
	if (e->state != LEASEFS_EXTENT_HOLE)
		printf(", region %u at %" PRIu64, e->region, e->region_offset);
	printf("\n");
	for (size_t i = 0; i < m->now.lease_count; i++) {
		const struct leasefs_lease_info *l = &m->now.leases[i];

		if (!overlaps(e, l->offset, l->length))
			continue;
		describe_lease(l, text);
		printf("    %s %s\n", range_text(l->offset, l->length, range), text);
	}
	for (size_t i = 0; i < m->now.pin_count; i++) {
		const struct leasefs_pin_info *p = &m->now.pins[i];

		if (overlaps(e, p->offset, p->length))
			printf("    %s pin of lease %" PRIx64 "%s\n",
				range_text(p->offset, p->length, range), p->lease,
				p->flags & LEASEFS_PIN_UNBREAKABLE ? ", unbreakable" : "");
	}
}

static int print_map(const struct map *m)
{
	for (size_t i = 0; i < m->extent_count; i++)
		print_extent(m, &m->extents[i]);
	if (m->more_extents)
		printf("... and more: 'layout' lists them all\n");
	return fflush(stdout) ? failed("standard output") : LEASECTL_DONE;
}

/* ---- drawing --------------------------------------------------------------------------------- */

static double at(const struct map *m, uint64_t offset)
{
	return MARGIN + (WIDTH - 2 * MARGIN) * (double)offset / (double)m->span;
}

/* At least two pixels, so that it is seen. */
static struct box over(const struct map *m, uint64_t offset, uint64_t length, double y, double h)
{
	double x = at(m, offset), end = at(m, offset + length);

	if (end > WIDTH - MARGIN)
		end = WIDTH - MARGIN;
	return (struct box){x, y, end - x < 2 ? 2 : end - x, h};
}

/* In the box if it has room there, else behind it or before it. */
static void label(FILE *out, struct box b, const char *class, const char *text)
{
	double px = svg_text_px(text), left = b.x - MARGIN, right = WIDTH - MARGIN - b.x - b.w;
	double y = b.y + b.h / 2 + 4;
	char fitted[SVG_TEXT_MAX];

	if (px + 8 <= b.w)
		svg_text(out, b.x + 5, y, SVG_START, class, text);
	else if (right >= px + 6 || (right >= left && right > b.w))
		svg_text(out, b.x + b.w + 5, y, SVG_START, "plain",
			svg_fit(text, right - 5, fitted));
	else if (left > b.w)
		svg_text(out, b.x - 5, y, SVG_END, "plain", svg_fit(text, left - 5, fitted));
	else
		svg_text(out, b.x + 5, y, SVG_START, class, svg_fit(text, b.w - 10, fitted));
}

static void draw_axis(struct map *m, double bottom)
{
	double step = svg_step_bytes((double)m->span, 10);
	char text[32];

	for (double offset = 0; offset <= (double)m->span; offset += step) {
		double x = at(m, (uint64_t)offset);

		svg_line(m->out, x, m->y + 6, x, bottom, "grid");
		svg_text(m->out, x, m->y, SVG_MIDDLE, "small", size_text((uint64_t)offset, text));
	}
	m->y += 14;
}

static void draw_pins(struct map *m, const struct leasefs_lease_info *l, double y)
{
	char tip[SVG_TEXT_MAX];

	if (l->slot_pins) {
		snprintf(tip, sizeof(tip), "the whole lease is pinned, %u times", l->slot_pins);
		svg_box(m->out, over(m, l->offset, l->length, y, 5), "pin", tip);
	}
	for (size_t i = 0; i < m->now.pin_count; i++) {
		const struct leasefs_pin_info *p = &m->now.pins[i];
		bool hard = p->flags & LEASEFS_PIN_UNBREAKABLE;
		char range[64];

		if (p->lease != l->lease)
			continue;
		snprintf(tip, sizeof(tip), "%spin %s", hard ? "unbreakable " : "",
			range_text(p->offset, p->length, range));
		svg_box(m->out, over(m, p->offset, p->length, y, 5), hard ? "hardpin" : "pin", tip);
	}
}

static void draw_lease(struct map *m, const struct leasefs_lease_info *l)
{
	struct box b = over(m, l->offset, l->length, m->y + 2, LANE - 14);
	bool revoked = l->flags & LEASEFS_LEASE_REVOKED, write = l->mode == LEASEFS_MODE_WRITE;
	char text[SVG_TEXT_MAX];
	size_t n;

	describe_lease(l, text);
	n = strlen(text);
	if (l->recall_left_ns)
		snprintf(text + n, sizeof(text) - n, ", %.1f s left",
			(double)l->recall_left_ns / 1e9);
	svg_box(m->out, b, revoked ? "revoked" : write ? "write" : "read", text);
	if (l->flags & LEASEFS_LEASE_RECALLED)
		svg_box(m->out, (struct box){b.x - 1, b.y - 1, b.w + 2, b.h + 2}, "recalled", NULL);
	draw_pins(m, l, b.y + b.h + 2);
	label(m->out, b, write && !revoked ? "light" : "plain", text);
	m->y += LANE;
}

static void draw_leases(struct map *m)
{
	char text[64];

	svg_text(m->out, MARGIN, m->y + 12, SVG_START, "head", "Leases and pins");
	m->y += 20;
	if (!m->now.lease_count) {
		svg_text(m->out, MARGIN, m->y + 12, SVG_START, "sub", "nobody holds any");
		m->y += 20;
	}
	for (size_t i = 0; i < m->now.lease_count && i < LANES_MAX; i++)
		draw_lease(m, &m->now.leases[i]);
	if (m->now.lease_count > LANES_MAX) {
		snprintf(text, sizeof(text), "and %zu more", m->now.lease_count - LANES_MAX);
		svg_text(m->out, MARGIN, m->y + 12, SVG_START, "sub", text);
		m->y += 20;
	}
}

static size_t region_index(const struct map *m, uint32_t region)
{
	size_t n = 0;

	while (n < m->region_count && m->regions[n].region != region)
		n++;
	return n;
}

static void region_class(size_t index, char out[16])
{
	snprintf(out, 16, "region%zu", index % 4);
}

/* Where in its region's bar. */
static double region_x(const struct map *m, size_t n, uint64_t region_offset)
{
	double span = (double)(m->regions[n].end - m->regions[n].start);

	return MARGIN + (WIDTH - 2 * MARGIN) * (double)(region_offset - m->regions[n].start) / span;
}

static double region_y(const struct map *m, size_t n)
{
	return m->y + BAR + RIBBON + (double)n * (BAR + 44);
}

static void draw_ribbon(struct map *m, const struct leasefs_extent *e, size_t n)
{
	double top = m->y + BAR, bottom = region_y(m, n);
	double points[4][2] = {{at(m, e->offset), top}, {at(m, e->offset + e->length), top},
		{region_x(m, n, e->region_offset + e->length), bottom},
		{region_x(m, n, e->region_offset), bottom}};

	svg_polygon(m->out, points, 4, "ribbon");
}

static void draw_extent(struct map *m, const struct leasefs_extent *e, size_t parts)
{
	struct box b = over(m, e->offset, e->length, m->y, BAR);
	char tip[SVG_TEXT_MAX], range[64], fitted[SVG_TEXT_MAX], class[16], size[32];
	size_t n = region_index(m, e->region);

	if (e->state == LEASEFS_EXTENT_HOLE) {
		svg_box(m->out, b, "hole", "hole");
		svg_text(m->out, b.x + b.w / 2, b.y + 17, SVG_MIDDLE, "small",
			svg_fit("hole", b.w - 6, fitted));
		return;
	}
	snprintf(tip, sizeof(tip), "%s region %u at %" PRIu64,
		range_text(e->offset, e->length, range), e->region, e->region_offset);
	if (parts > 1)
		snprintf(tip, sizeof(tip), "%zu extents of region %u in %s", parts, e->region,
			range_text(e->offset, e->length, range));
	region_class(n, class);
	svg_box(m->out, b, class, tip);
	if (e->state == LEASEFS_EXTENT_UNWRITTEN)
		svg_box(m->out, (struct box){b.x, b.y + b.h / 2, b.w, b.h / 2}, "unwritten", NULL);
	snprintf(tip, sizeof(tip), "%s%s", size_text(e->length, size),
		e->state == LEASEFS_EXTENT_UNWRITTEN && b.w > 120 ? " unwritten" : "");
	if (svg_text_px(tip) <= b.w)
		svg_text(m->out, b.x + b.w / 2,
			b.y + (e->state == LEASEFS_EXTENT_UNWRITTEN ? 11 : 17), SVG_MIDDLE, "small",
			tip);
	if (n < m->region_count)
		draw_ribbon(m, e, n);
}

/* Extents that begin in one pixel are drawn as one. */
static void draw_extents(struct map *m)
{
	for (size_t i = 0; i < m->extent_count;) {
		struct leasefs_extent e = m->extents[i];
		size_t parts = 1;

		while (i + parts < m->extent_count && m->extents[i + parts].region == e.region &&
			m->extents[i + parts].state == e.state &&
			at(m, m->extents[i + parts].offset + m->extents[i + parts].length) -
					at(m, e.offset) <
				1) {
			e.length += m->extents[i + parts].length;
			parts++;
		}
		draw_extent(m, &e, parts);
		i += parts;
	}
}

static void draw_region(struct map *m, size_t n)
{
	double y = region_y(m, n);
	char text[SVG_TEXT_MAX], size[32], class[16];
	size_t extents = 0;

	svg_box(m->out, (struct box){MARGIN, y, WIDTH - 2 * MARGIN, BAR}, "bar", NULL);
	region_class(n, class);
	for (size_t i = 0; i < m->extent_count; i++) {
		const struct leasefs_extent *e = &m->extents[i];
		double x = region_x(m, n, e->region_offset);
		double w = region_x(m, n, e->region_offset + e->length) - x;
		char range[64];

		if (e->state == LEASEFS_EXTENT_HOLE || e->region != m->regions[n].region)
			continue;
		extents++;
		if (m->extent_count > 4000 && w < 0.2)
			continue;
		snprintf(text, sizeof(text), "%s of the file, at %" PRIu64,
			range_text(e->offset, e->length, range), e->region_offset);
		svg_box(m->out, (struct box){x, y, w < 1 ? 1 : w, BAR}, class, text);
	}
	snprintf(text, sizeof(text),
		"Region %u: %s of the file in %zu extent%s, between %" PRIu64 " and %" PRIu64,
		m->regions[n].region, size_text(m->regions[n].bytes, size), extents,
		extents == 1 ? "" : "s", m->regions[n].start, m->regions[n].end);
	svg_text(m->out, MARGIN, y + BAR + 16, SVG_START, "plain", text);
}

static void draw_legend(struct map *m)
{
	double x = MARGIN, y = m->y;

	x = svg_legend(m->out, x, y, "write", "write lease");
	x = svg_legend(m->out, x, y, "read", "read lease");
	x = svg_legend(m->out, x, y, "recalled", "recalled");
	x = svg_legend(m->out, x, y, "revoked", "revoked, or unwritten");
	x = svg_legend(m->out, x, y, "pin", "pinned");
	x = svg_legend(m->out, x, y, "hardpin", "unbreakable pin");
	svg_legend(m->out, x, y, "hole", "hole");
}

static void draw_file(struct map *m, double bottom)
{
	double end = at(m, m->size);

	svg_text(m->out, MARGIN, m->y + 12, SVG_START, "head", "The file");
	m->y += 20;
	draw_extents(m);
	if (m->size < m->span) {
		svg_line(m->out, end, m->y - 12, end, m->y + BAR + 6, "mark");
		svg_text(m->out, end < MARGIN + 80 ? MARGIN + 84 : end + 4, m->y - 4,
			end > WIDTH - 120 ? SVG_END : SVG_START, "small", "end of file");
	}
	for (size_t n = 0; n < m->region_count; n++)
		draw_region(m, n);
	m->y = bottom;
}

static void draw_map(struct map *m, const struct request *r)
{
	size_t lanes = m->now.lease_count < LANES_MAX ? m->now.lease_count : LANES_MAX;
	double leases =
		(lanes ? LANE * (double)lanes : 20) + (m->now.lease_count > LANES_MAX ? 20 : 0);
	double height =
		92 + leases + 20 + 20 + BAR + RIBBON + (double)m->region_count * (BAR + 44) + 28;
	char text[SVG_TEXT_MAX], size[32], fitted[SVG_TEXT_MAX];

	svg_begin(m->out, WIDTH, height, m->file);
	svg_text(m->out, MARGIN, 30, SVG_START, "title",
		svg_fit(m->file, (WIDTH - 2 * MARGIN) * 0.6, fitted));
	snprintf(text, sizeof(text),
		"%s (%" PRIu64 " bytes), inode %" PRIu64
		", %zu extent%s%s, on %.60s, mounted with policy %.60s",
		size_text(m->size, size), m->size, r->inode, m->extent_count,
		m->extent_count == 1 ? "" : "s", m->more_extents ? " and more" : "", r->where,
		m->now.status.policy);
	svg_text(m->out, MARGIN, 48, SVG_START, "sub", svg_fit(text, WIDTH - 2 * MARGIN, fitted));
	m->y = 72;
	draw_axis(m, m->y + 14 + 20 + leases + 20 + BAR);
	draw_leases(m);
	draw_file(m, height - 22);
	draw_legend(m);
	svg_end(m->out);
}

static uint64_t span_of(const struct map *m)
{
	uint64_t span = m->size;

	for (size_t i = 0; i < m->now.lease_count; i++) {
		uint64_t end = m->now.leases[i].offset + m->now.leases[i].length;

		if (end > span)
			span = end;
	}
	return span ? span : 4096;
}

int do_map(const struct request *r)
{
	struct map m = {.file = r->words[0]};
	int result = LEASECTL_DONE, error = snapshot_take(r->control, r->inode, SIZE_MAX, &m.now);

	if (!error)
		error = read_extents(&m);
	if (!error && !r->svg) {
		result = print_map(&m);
	} else if (!error) {
		find_regions(&m);
		m.span = span_of(&m);
		m.out = open_output(r);
		if (m.out)
			draw_map(&m, r);
		result = m.out ? close_output(r, m.out) : LEASECTL_FAILED;
	}
	free(m.extents);
	snapshot_free(&m.now);
	errno = -error;
	return error ? failed(r->words[0]) : result;
}
