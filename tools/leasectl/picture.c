// SPDX-License-Identifier: BSD-2-Clause
/* picture.c - see picture.h. Rows fit into 80 columns; what stands behind may be cut off. */
#include "picture.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

const char *const sort_names[SORT_KEYS] = {
	[SORT_LEFT] = "left",
	[SORT_AGE] = "age",
	[SORT_SESSION] = "session",
	[SORT_PID] = "pid",
	[SORT_INODE] = "inode",
	[SORT_HELD] = "held",
};

static __attribute__((format(printf, 3, 4))) void add(
	struct picture *p, enum look look, const char *format, ...)
{
	va_list arguments;
	char *text;
	int n;

	if (p->count == p->room) {
		size_t room = p->room ? p->room * 2 : 64;
		void *grown = realloc(p->lines, room * sizeof(p->lines[0]));

		if (!grown) {
			p->failed = true;
			return;
		}
		p->lines = grown;
		p->room = room;
	}
	va_start(arguments, format);
	n = vasprintf(&text, format, arguments);
	va_end(arguments);
	if (n < 0) {
		p->failed = true;
		return;
	}
	while (n > 0 && text[n - 1] == ' ')
		text[--n] = '\0';
	p->lines[p->count].look = look;
	p->lines[p->count++].text = text;
}

void picture_free(struct picture *p)
{
	for (size_t i = 0; i < p->count; i++)
		free(p->lines[i].text);
	free(p->lines);
	*p = (struct picture){0};
}

/* "1.8s", "12m", "3h", "5d"; "-": none. */
static const char *time_text(uint64_t ns, char out[16])
{
	double s = (double)ns / 1e9;

	if (s < 100)
		snprintf(out, 16, "%.1fs", s);
	else if (s < 6000)
		snprintf(out, 16, "%.0fm", s / 60);
	else if (s < 360000)
		snprintf(out, 16, "%.0fh", s / 3600);
	else
		snprintf(out, 16, "%.0fd", s / 86400);
	return out;
}

static const char *left_text(uint64_t ns, char out[16])
{
	if (ns)
		return time_text(ns, out);
	return "-";
}

/* ---- order ----------------------------------------------------------------------------------- */

static int compare_numbers(uint64_t a, uint64_t b)
{
	return a < b ? -1 : a > b;
}

/* What has no time left to run out comes last. */
static int compare_left(uint64_t a, uint64_t b)
{
	return compare_numbers(a - 1, b - 1);
}

static int in_order(int result, uint64_t a, uint64_t b, const struct view *view)
{
	if (view->backwards)
		result = -result;
	return result ? result : compare_numbers(a, b);
}

static int compare_leases(const void *a, const void *b, void *context)
{
	const struct leasefs_lease_info *x = a, *y = b;
	const struct view *view = context;
	int result = 0;

	switch (view->sort) {
	case SORT_LEFT:
		result = compare_left(x->recall_left_ns, y->recall_left_ns);
		break;
	case SORT_AGE:
		result = compare_numbers(y->age_ns, x->age_ns);
		break;
	case SORT_SESSION:
		result = compare_numbers(x->session, y->session);
		break;
	case SORT_PID:
		result = compare_numbers(x->pid, y->pid);
		break;
	case SORT_INODE:
		result = compare_numbers(x->inode, y->inode);
		if (!result)
			result = compare_numbers(x->offset, y->offset);
		break;
	default:
		result = compare_numbers(y->length, x->length);
	}
	return in_order(result, x->lease, y->lease, view);
}

static int compare_sessions(const void *a, const void *b, void *context)
{
	const struct leasefs_session_info *x = a, *y = b;
	const struct view *view = context;
	int result = 0;

	if (view->sort == SORT_PID)
		result = compare_numbers(x->pid, y->pid);
	else if (view->sort == SORT_HELD)
		result = compare_numbers(y->leases, x->leases);
	else if (view->sort == SORT_AGE)
		result = compare_numbers(y->age_ns, x->age_ns);
	else
		result = compare_numbers(x->session, y->session);
	return in_order(result, x->session, y->session, view);
}

static int compare_operations(const void *a, const void *b, void *context)
{
	const struct leasefs_operation *x = a, *y = b;
	const struct view *view = context;
	int result = 0;

	if (view->sort == SORT_PID)
		result = compare_numbers(x->pid, y->pid);
	else if (view->sort == SORT_INODE)
		result = compare_numbers(x->inode, y->inode);
	else if (view->sort == SORT_SESSION)
		result = compare_numbers(x->session, y->session);
	else if (view->sort == SORT_LEFT)
		result = compare_left(x->left_ns, y->left_ns);
	else
		result = compare_numbers(y->waited_ns, x->waited_ns);
	return in_order(result, x->number, y->number, view);
}

/* ---- the head -------------------------------------------------------------------------------- */

static void add_counts(struct picture *p, const struct snapshot *now, const struct snapshot *before)
{
	const struct leasefs_status *s = &now->status;
	double span_s;

	if (!before) {
		add(p, LOOK_PLAIN,
			"since start  %" PRIu64 " grants  %" PRIu64 " returns  %" PRIu64
			" recalls  %" PRIu64 " revoked  %" PRIu64 " busy",
			s->grants, s->returns, s->recalls, s->revocations, s->busy);
		return;
	}
	span_s = (double)(now->taken_ns - before->taken_ns) / 1e9;
	add(p, LOOK_PLAIN,
		"per second   %.1f grants  %.1f returns  %.1f recalls  %.1f revoked  %.1f busy",
		(double)(s->grants - before->status.grants) / span_s,
		(double)(s->returns - before->status.returns) / span_s,
		(double)(s->recalls - before->status.recalls) / span_s,
		(double)(s->revocations - before->status.revocations) / span_s,
		(double)(s->busy - before->status.busy) / span_s);
}

static void add_head(struct picture *p, const struct snapshot *now, const struct snapshot *before,
	const struct view *view)
{
	const struct leasefs_status *s = &now->status;
	char quarantine[32], free_text[32], size[32], clock[16];
	uint64_t recalled = 0, pinned = 0;
	time_t seconds = time(NULL);
	struct tm tm;

	for (size_t i = 0; i < now->lease_count; i++) {
		recalled += !!(now->leases[i].flags & LEASEFS_LEASE_RECALLED);
		pinned += !!(now->leases[i].flags & LEASEFS_LEASE_PINNED);
	}
	strftime(clock, sizeof(clock), "%H:%M:%S", localtime_r(&seconds, &tm));
	add(p, LOOK_TITLE, "leasefs %s  %s%s%s", view->mount, clock,
		s->draining ? "  DRAINING" : "", view->paused ? "  paused" : "");
	add(p, LOOK_PLAIN, "policy %s, sorted by %s%s, every %.1f s", s->policy,
		sort_names[view->sort], view->backwards ? " backwards" : "", view->interval_s);
	add(p, LOOK_PLAIN,
		"%" PRIu64 " session%s  %" PRIu64 " lease%s: %" PRIu64 " pinned, %" PRIu64
		" recalled  %" PRIu64 " revoked",
		s->sessions, s->sessions == 1 ? "" : "s", s->leases, s->leases == 1 ? "" : "s",
		pinned, recalled, s->revoked);
	add(p, s->parked ? LOOK_ALARM : LOOK_PLAIN,
		"waiting: %" PRIu64 " operation%s, %" PRIu64
		" lease request%s  quarantine %s  free %s of %s",
		s->parked, s->parked == 1 ? "" : "s", s->wants, s->wants == 1 ? "" : "s",
		size_text(s->quarantine_bytes + s->quarantine_leaked_bytes, quarantine),
		size_text(s->free_bytes, free_text), size_text(s->pool_bytes, size));
	add_counts(p, now, before);
	p->fixed = p->count;
}

/* ---- the lists ------------------------------------------------------------------------------- */

static void add_more(struct picture *p, uint64_t all, size_t shown)
{
	if (all > shown)
		add(p, LOOK_DIM, "  ... and %" PRIu64 " more", all - shown);
}

static void add_operations(struct picture *p, const struct snapshot *s)
{
	char name[32], holder[32], waited[16], left[16], range[64];

	add(p, LOOK_PLAIN, "%s", "");
	add(p, LOOK_HEAD, "%-10s %6s %7s %-10s %7s %7s  %s", "operation", "inode", "pid", "command",
		"waited", "left", "waits for");
	for (size_t i = 0; i < s->operation_count; i++) {
		const struct leasefs_operation *o = &s->operations[i];

		add(p, LOOK_ALARM, "%-10.10s %6" PRIu64 " %7u %-10.10s %7s %7s  %u %s %s",
			o->operation, o->inode, o->pid, process_name(o->pid, name),
			time_text(o->waited_ns, waited), left_text(o->left_ns, left), o->holder_pid,
			process_name(o->holder_pid, holder),
			range_text(o->offset, o->length, range));
	}
	if (!s->operation_count)
		add(p, LOOK_DIM, "none waits");
	add_more(p, s->status.parked, s->operation_count);
}

static uint64_t slot_pins_of(const struct snapshot *s, uint64_t session)
{
	uint64_t pins = 0;

	for (size_t i = 0; i < s->lease_count; i++)
		if (s->leases[i].session == session)
			pins += s->leases[i].slot_pins;
	return pins;
}

static void add_sessions(struct picture *p, const struct snapshot *s)
{
	char name[32], age[16];

	add(p, LOOK_PLAIN, "%s", "");
	add(p, LOOK_HEAD, "%-7s %7s %-12s %6s %7s %7s %6s %5s %6s %s", "session", "pid", "command",
		"uid", "leases", "revoked", "pins", "waits", "age", "state");
	for (size_t i = 0; i < s->session_count; i++) {
		const struct leasefs_session_info *n = &s->sessions[i];

		add(p, LOOK_PLAIN,
			"%-7" PRIu64 " %7u %-12.12s %6u %7" PRIu64 " %7" PRIu64 " %6" PRIu64
			" %5" PRIu64 " %6s %s",
			n->session, n->pid, process_name(n->pid, name), n->uid, n->leases,
			n->revoked, n->range_pins + slot_pins_of(s, n->session), n->wants,
			time_text(n->age_ns, age),
			n->flags & LEASEFS_SESSION_CLOSED ? "closed"
			: n->flags & LEASEFS_SESSION_DEAD ? "no pid"
							  : "open");
	}
	if (!s->session_count)
		add(p, LOOK_DIM, "none");
	add_more(p, s->status.sessions, s->session_count);
}

static const char *state_text(const struct leasefs_lease_info *l)
{
	bool pinned = l->flags & LEASEFS_LEASE_PINNED;

	if (l->flags & LEASEFS_LEASE_REVOKED)
		return pinned ? "revoked+pin" : "revoked";
	if (l->flags & LEASEFS_LEASE_RECALLED)
		return pinned ? "recall+pin" : "recalled";
	if (l->flags & LEASEFS_LEASE_INHERITED) /* of an earlier daemon's, not reclaimed yet */
		return pinned ? "inherit+pin" : "inherited";
	return pinned ? "pinned" : "held";
}

static void add_leases(struct picture *p, const struct snapshot *s)
{
	char name[32], size[32], age[16], left[16], range[64];

	add(p, LOOK_PLAIN, "%s", "");
	add(p, LOOK_HEAD, "%-10s %5s %7s %-10s %6s %-2s %8s %6s %6s %-11s %s", "lease", "sess",
		"pid", "command", "inode", "m", "size", "age", "left", "state", "range");
	for (size_t i = 0; i < s->lease_count; i++) {
		const struct leasefs_lease_info *l = &s->leases[i];
		bool alarm = l->flags & (LEASEFS_LEASE_RECALLED | LEASEFS_LEASE_REVOKED);

		add(p, alarm ? LOOK_ALARM : LOOK_PLAIN,
			"%-10" PRIx64 " %5" PRIu64 " %7u %-10.10s %6" PRIu64
			" %c%c %8s %6s %6s %-11s %s",
			l->lease, l->session, l->pid, process_name(l->pid, name), l->inode,
			l->mode == LEASEFS_MODE_WRITE ? 'w' : 'r',
			l->flags & LEASEFS_LEASE_EXCLUSIVE ? 'x' : ' ', size_text(l->length, size),
			time_text(l->age_ns, age), left_text(l->recall_left_ns, left),
			state_text(l), range_text(l->offset, l->length, range));
	}
	if (!s->lease_count)
		add(p, LOOK_DIM, "none");
	add_more(p, s->status.leases + s->status.revoked, s->lease_count);
}

void picture_make(struct picture *p, struct snapshot *now, const struct snapshot *before,
	const struct view *view)
{
	void *order = (void *)view;

	*p = (struct picture){0};
	if (now->session_count)
		qsort_r(now->sessions, now->session_count, sizeof(now->sessions[0]),
			compare_sessions, order);
	if (now->lease_count)
		qsort_r(now->leases, now->lease_count, sizeof(now->leases[0]), compare_leases,
			order);
	if (now->operation_count)
		qsort_r(now->operations, now->operation_count, sizeof(now->operations[0]),
			compare_operations, order);
	add_head(p, now, before, view);
	if (view->show & SHOW_OPERATIONS)
		add_operations(p, now);
	if (view->show & SHOW_SESSIONS)
		add_sessions(p, now);
	if (view->show & SHOW_LEASES)
		add_leases(p, now);
}
