// SPDX-License-Identifier: BSD-2-Clause
/*
 * metrics.c - the status in Prometheus' text format, version 0.0.4: base units, and names of
 * counters that end in _total. Counters begin again with the daemon.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "leasectl.h"

enum metric_kind { GAUGE, COUNTER };

static void describe(FILE *out, const char *name, enum metric_kind kind, const char *help)
{
	fprintf(out, "# HELP leasefs_%s %s\n# TYPE leasefs_%s %s\n", name, help, name,
		kind == COUNTER ? "counter" : "gauge");
}

/* A label's value: backslash, quote and newline are escaped. */
static void print_label(FILE *out, const char *name, const char *value)
{
	fprintf(out, "%s=\"", name);
	for (; *value; value++) {
		if (*value == '\n')
			fputs("\\n", out);
		else if (*value == '\\' || *value == '"')
			fprintf(out, "\\%c", *value);
		else
			fputc(*value, out);
	}
	fputc('"', out);
}

struct metric {
	const char *name, *help;
	enum metric_kind kind;
	uint64_t value;
};

static void print_values(const struct leasefs_status *s, const char *mount, FILE *out)
{
	const struct metric metrics[] = {
		{"pool_size_bytes", "Size of the data regions.", GAUGE, s->pool_bytes},
		{"pool_free_bytes", "Data space that is free.", GAUGE, s->free_bytes},
		{"pool_pending_bytes", "Freed data space that waits for the next sync.", GAUGE,
			s->pending_bytes},
		{"metadata_size_bytes", "Size of the metadata region.", GAUGE, s->meta_bytes},
		{"metadata_free_bytes", "Metadata space that is free.", GAUGE, s->meta_free_bytes},
		{"inodes", "Inodes in use.", GAUGE, s->inodes_used},
		{"inodes_cached", "Inodes in the daemon's memory.", GAUGE, s->inodes_cached},
		{"sessions", "Open sessions, and closed ones that still hold something.", GAUGE,
			s->sessions},
		{"leases", "Leases that are held.", GAUGE, s->leases},
		{"leases_revoked", "Revoked leases that were not acknowledged yet.", GAUGE,
			s->revoked},
		{"range_pins", "Counted pins of ranges.", GAUGE, s->range_pins},
		{"operations_parked", "File operations that wait for leases.", GAUGE, s->parked},
		{"lease_requests_waiting", "Lease requests that wait.", GAUGE, s->wants},
		{"quarantine_bytes", "Freed space that a mapping may still touch.", GAUGE,
			s->quarantine_bytes},
		{"quarantine_leaked_bytes", "Space in quarantine until the next mount.", GAUGE,
			s->quarantine_leaked_bytes},
		{"inherited_bytes", "Space that clients of an earlier daemon still map.", GAUGE,
			s->inherited_bytes},
		{"draining", "1: no more leases are granted.", GAUGE, s->draining},
		{"grants_total", "Leases granted.", COUNTER, s->grants},
		{"returns_total", "Leases, or parts of them, given back.", COUNTER, s->returns},
		{"recalls_total", "Leases recalled.", COUNTER, s->recalls},
		{"revocations_total", "Leases, or parts of them, revoked.", COUNTER,
			s->revocations},
		{"busy_total", "Operations that failed with EBUSY.", COUNTER, s->busy},
	};

	for (size_t i = 0; i < sizeof(metrics) / sizeof(metrics[0]); i++) {
		describe(out, metrics[i].name, metrics[i].kind, metrics[i].help);
		fprintf(out, "leasefs_%s{", metrics[i].name);
		print_label(out, "mount", mount);
		fprintf(out, "} %" PRIu64 "\n", metrics[i].value);
	}
}

static void print_info(const struct leasefs_status *s, const char *mount, FILE *out)
{
	describe(out, "mount_info", GAUGE, "What is mounted; always 1.");
	fprintf(out, "leasefs_mount_info{");
	print_label(out, "mount", mount);
	fprintf(out, ",");
	print_label(out, "pool", s->pool);
	fprintf(out, ",");
	print_label(out, "uuid", s->uuid);
	fprintf(out, ",");
	print_label(out, "policy", s->policy);
	fprintf(out, ",");
	print_label(out, "durability", s->durability ? "strict" : "relaxed");
	fprintf(out, ",");
	print_label(out, "domains", s->domains ? "uid" : "single");
	fprintf(out, "} 1\n");
}

/* The longest that anything waits: what an alarm would look at. */
static void print_waits(const struct snapshot *s, const char *mount, FILE *out)
{
	uint64_t longest_ns = 0;

	for (size_t i = 0; i < s->operation_count; i++)
		if (s->operations[i].waited_ns > longest_ns)
			longest_ns = s->operations[i].waited_ns;
	describe(out, "operation_parked_longest_seconds", GAUGE,
		"How long the operation that waits longest has waited.");
	fprintf(out, "leasefs_operation_parked_longest_seconds{");
	print_label(out, "mount", mount);
	fprintf(out, "} %.9f\n", (double)longest_ns / 1e9);
}

/*
 * Into a file: beside it first, so that a collector never reads half of it.
 */
int do_metrics(const struct request *r)
{
	struct request temporary = *r;
	char name[4096 + 32];
	struct snapshot s;
	FILE *out;
	int result, error = snapshot_take(r->control, 0, 1, &s);

	if (error) {
		errno = -error;
		return failed("metrics");
	}
	if (r->out) {
		snprintf(name, sizeof(name), "%.4000s.%d", r->out, (int)getpid());
		temporary.out = name;
	}
	out = open_output(&temporary);
	if (!out) {
		snapshot_free(&s);
		return LEASECTL_FAILED;
	}
	print_info(&s.status, r->where, out);
	print_values(&s.status, r->where, out);
	print_waits(&s, r->where, out);
	snapshot_free(&s);
	result = close_output(&temporary, out);
	if (!result && r->out && rename(name, r->out))
		result = failed(r->out);
	if (result && r->out)
		unlink(name);
	return result;
}
