// SPDX-License-Identifier: BSD-2-Clause
/*
 * report.c - prints rows as they come; see report.h.
 */
#include "report.h"

#include <json-c/json.h>
#include <math.h>
#include <stdio.h>

#include "plot.h"
#include "progress.h"

static struct {
	bool json;
	bool plot;
	const char *peer;
	bool headed;
	unsigned missed;
} report;

void report_begin(bool json, bool plot)
{
	report.json = json;
	report.plot = plot;
}

void report_peer(const char *name)
{
	report.peer = name;
}

static struct json_object *number(double value)
{
	char text[32];

	if (isnan(value) || isinf(value))
		return NULL;
	snprintf(text, sizeof(text), "%.6g", value);
	return json_object_new_double_s(value, text);
}

static void print_json(const struct row *row, double ratio, bool ok)
{
	struct json_object *o = json_object_new_object();

	json_object_object_add(o, "group", json_object_new_string(row->group));
	json_object_object_add(o, "name", json_object_new_string(row->name));
	json_object_object_add(o, "unit", json_object_new_string(row->unit));
	json_object_object_add(o, "ours", number(row->ours));
	json_object_object_add(o, "baseline_name", json_object_new_string(row->baseline_name));
	json_object_object_add(o, "baseline", number(row->baseline));
	json_object_object_add(o, "ratio", number(ratio));
	json_object_object_add(o, "spread", number(row->spread));
	json_object_object_add(o, "target", number(row->target));
	json_object_object_add(o, "ok", row->unjudged != NULL ? NULL : json_object_new_boolean(ok));
	puts(json_object_to_json_string_ext(o, JSON_C_TO_STRING_SPACED));
	json_object_put(o);
}

static const char *figure(char *out, size_t bytes, const char *format, double value)
{
	if (isnan(value) || isinf(value))
		return "-";
	snprintf(out, bytes, format, value);
	return out;
}

static void print_text(const struct row *row, double ratio, bool ok)
{
	char ours[32], baseline[32], ratio_text[32], spread[32], target[32];

	if (!report.headed)
		printf("%-11s %-26s %-9s %10s %10s %-11s %7s %7s %7s  %s\n", "group", "name",
			"unit", "ours", "baseline", "of", "ratio", "spread", "target", "ok");
	report.headed = true;
	printf("%-11s %-26s %-9s %10s %10s %-11s %7s %7s %2s%5s  %s\n", row->group, row->name,
		row->unit, figure(ours, sizeof(ours), "%.4g", row->ours),
		figure(baseline, sizeof(baseline), "%.4g", row->baseline), row->baseline_name,
		figure(ratio_text, sizeof(ratio_text), "%.3f", ratio),
		figure(spread, sizeof(spread), "%.3f", row->spread),
		row->sense == TARGET_AT_MOST    ? "<="
		: row->sense == TARGET_AT_LEAST ? ">="
						: "",
		figure(target, sizeof(target), "%.2f", row->target),
		row->unjudged != NULL ? "-"
		: ok                  ? "yes"
				      : "NO");
}

void report_row(const struct row *row)
{
	double ratio = row->ratio != 0 ? row->ratio : row->ours / row->baseline;
	bool ok = row->sense == TARGET_NONE ||
		  (row->sense == TARGET_AT_MOST ? ratio <= row->target : ratio >= row->target);
	struct row shown = *row;

	if (ok)
		shown.unjudged = NULL;
	if (!ok && shown.unjudged == NULL)
		report.missed++;
	if (report.plot)
		plot_add(&shown, ratio, ok);
	progress_hide();
	if (shown.unjudged != NULL)
		fprintf(stderr, "leasebench: %s is not judged: %s\n", row->name, row->unjudged);
	if (report.json)
		print_json(&shown, ratio, ok);
	else
		print_text(&shown, ratio, ok);
	fflush(stdout);
	progress_row();
}

void report_against(const char *group, const char *name, const char *unit, const struct series *s,
	const char *baseline_name, double target)
{
	struct row row = {
		.group = group,
		.name = name,
		.unit = unit,
		.ours = series_median(s, SIDE_OURS),
		.baseline_name = baseline_name,
		.baseline = series_median(s, SIDE_BASELINE),
		.spread = series_spread(s),
		.target = target,
		.sense = isnan(target) ? TARGET_NONE : TARGET_AT_MOST,
	};

	report_row(&row);
}

void report_series(const char *group, const char *name, const char *unit, const struct series *s,
	double target)
{
	if (report.peer != NULL)
		report_against(group, name, unit, s, report.peer, NAN);
	else
		report_against(group, name, unit, s, "null", target);
}

void report_limit(const char *group, const char *name, const char *unit, double ours, double limit)
{
	struct row row = {
		.group = group,
		.name = name,
		.unit = unit,
		.ours = ours,
		.baseline_name = "limit",
		.baseline = limit,
		.spread = NAN,
		.target = 1.0,
		.sense = TARGET_AT_MOST,
	};

	report_row(&row);
}

unsigned report_missed(void)
{
	return report.missed;
}
