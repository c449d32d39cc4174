// SPDX-License-Identifier: BSD-2-Clause
/* record.c - an event of the daemon's log as a sentence, and as JSON. */
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "leasectl.h"

static const char *const names[LEASEFS_RECORD_KINDS] = {
	[LEASEFS_RECORD_SESSION_OPEN] = "session-open",
	[LEASEFS_RECORD_SESSION_CLOSE] = "session-close",
	[LEASEFS_RECORD_SESSION_EXIT] = "session-exit",
	[LEASEFS_RECORD_SESSION_GONE] = "session-gone",
	[LEASEFS_RECORD_GRANT] = "grant",
	[LEASEFS_RECORD_RETURN] = "return",
	[LEASEFS_RECORD_RECALL] = "recall",
	[LEASEFS_RECORD_CANCEL] = "cancel",
	[LEASEFS_RECORD_REVOKE] = "revoke",
	[LEASEFS_RECORD_SIGNAL] = "signal",
	[LEASEFS_RECORD_PARK] = "park",
	[LEASEFS_RECORD_COMPLETE] = "complete",
	[LEASEFS_RECORD_BUSY] = "busy",
	[LEASEFS_RECORD_INTERRUPT] = "interrupt",
	[LEASEFS_RECORD_QUARANTINE] = "quarantine",
	[LEASEFS_RECORD_RELEASE] = "release",
	[LEASEFS_RECORD_DRAIN] = "drain",
};

const char *record_name(uint32_t kind)
{
	const char *name = kind < LEASEFS_RECORD_KINDS ? names[kind] : NULL;

	return name ? name : "unknown";
}

static double left_s(const struct leasefs_record *r)
{
	return r->value > r->time_ns ? (double)(r->value - r->time_ns) / 1e9 : 0;
}

static void print_holder(const struct leasefs_record *r, FILE *out)
{
	if (r->session)
		fprintf(out, "session %" PRIu64 ", process %u (uid %u)", r->session, r->holder_pid,
			r->holder_uid);
}

static void print_lease(const struct leasefs_record *r, FILE *out)
{
	char range[64];

	fprintf(out, ": %slease %" PRIx64 " of inode %" PRIu64 " %s",
		r->mode == LEASEFS_MODE_WRITE  ? "write "
		: r->mode == LEASEFS_MODE_READ ? "read "
					       : "",
		r->lease, r->inode, range_text(r->offset, r->length, range));
}

static void print_operation(const struct leasefs_record *r, FILE *out)
{
	char range[64];

	fprintf(out, "%s #%" PRIu64 " of inode %" PRIu64 " %s by process %u (uid %u)", r->operation,
		r->number, r->inode, range_text(r->offset, r->length, range), r->pid, r->uid);
}

static void print_asker(const struct leasefs_record *r, FILE *out)
{
	if (r->number)
		fprintf(out, ", for %s #%" PRIu64 " by process %u", r->operation, r->number,
			r->pid);
}

/* What is said of an operation. */
static void print_step(const struct leasefs_record *r, FILE *out)
{
	print_operation(r, out);
	switch (r->kind) {
	case LEASEFS_RECORD_PARK:
		if (r->value)
			fprintf(out, ", for %.3f s at first", left_s(r));
		break;
	case LEASEFS_RECORD_INTERRUPT:
		break;
	default:
		fprintf(out, ", after %.3f s", (double)r->value / 1e9);
		if (r->kind == LEASEFS_RECORD_BUSY)
			fprintf(out, r->session ? ": pinned by " : ": too much waits already");
	}
	if (r->kind == LEASEFS_RECORD_BUSY)
		print_holder(r, out);
}

/* What is said of a lease. */
static void print_change(const struct leasefs_record *r, FILE *out)
{
	char size[32];

	print_holder(r, out);
	if (r->lease)
		print_lease(r, out);
	switch (r->kind) {
	case LEASEFS_RECORD_RECALL:
		if (r->value)
			fprintf(out, ", within %.3f s", left_s(r));
		break;
	case LEASEFS_RECORD_SIGNAL:
		fprintf(out, ", signal %" PRIu64 " (SIG%s)", r->value,
			sigabbrev_np((int)r->value) ? sigabbrev_np((int)r->value) : "?");
		break;
	case LEASEFS_RECORD_REVOKE:
		if (r->value && r->value != r->lease)
			fprintf(out, ", of lease %" PRIx64, r->value);
		break;
	case LEASEFS_RECORD_QUARANTINE:
	case LEASEFS_RECORD_RELEASE:
		fprintf(out, ", %s", size_text(r->value, size));
		break;
	default:
		break;
	}
	print_asker(r, out);
}

void record_print(const struct leasefs_record *r, uint64_t wall_ns, FILE *out)
{
	time_t seconds = (time_t)(wall_ns / 1000000000u);
	char clock[16];
	struct tm tm;

	localtime_r(&seconds, &tm);
	strftime(clock, sizeof(clock), "%H:%M:%S", &tm);
	fprintf(out, "%s.%06u %-13s ", clock, (unsigned)(wall_ns % 1000000000u / 1000),
		record_name(r->kind));
	switch (r->kind) {
	case LEASEFS_RECORD_PARK:
	case LEASEFS_RECORD_COMPLETE:
	case LEASEFS_RECORD_BUSY:
	case LEASEFS_RECORD_INTERRUPT:
		print_step(r, out);
		break;
	case LEASEFS_RECORD_DRAIN:
		fprintf(out, "no more leases are granted");
		break;
	default:
		print_change(r, out);
	}
	fprintf(out, "\n");
}

/* What `value` is, by kind; "": nothing. */
static const char *value_name(uint32_t kind)
{
	switch (kind) {
	case LEASEFS_RECORD_RECALL:
	case LEASEFS_RECORD_PARK:
		return "deadline_ns";
	case LEASEFS_RECORD_REVOKE:
		return "origin";
	case LEASEFS_RECORD_SIGNAL:
		return "signal";
	case LEASEFS_RECORD_COMPLETE:
	case LEASEFS_RECORD_BUSY:
		return "took_ns";
	case LEASEFS_RECORD_QUARANTINE:
	case LEASEFS_RECORD_RELEASE:
		return "bytes";
	default:
		return "";
	}
}

json_object *record_json(const struct leasefs_record *r, uint64_t wall_ns)
{
	json_object *o = json_object_new_object();

	add_number(o, "seq", r->seq);
	add_text(o, "event", record_name(r->kind));
	add_number(o, "time_ns", r->time_ns);
	add_number(o, "wall_ns", wall_ns);
	if (r->session) {
		add_number(o, "session", r->session);
		add_number(o, "holder_pid", r->holder_pid);
		add_number(o, "holder_uid", r->holder_uid);
	}
	if (r->lease)
		add_number(o, "lease", r->lease);
	if (r->mode)
		add_text(o, "mode", r->mode == LEASEFS_MODE_WRITE ? "write" : "read");
	if (r->inode) {
		add_number(o, "inode", r->inode);
		add_number(o, "offset", r->offset);
		add_number(o, "length", r->length);
	}
	if (r->number) {
		add_number(o, "number", r->number);
		add_text(o, "operation", r->operation);
		add_number(o, "pid", r->pid);
		add_number(o, "uid", r->uid);
	}
	if (value_name(r->kind)[0])
		add_number(o, value_name(r->kind), r->value);
	return o;
}
