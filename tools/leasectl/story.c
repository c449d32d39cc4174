// SPDX-License-Identifier: BSD-2-Clause
/*
 * story.c - see story.h.
 *
 * Two passes over the log: the first finds which operations and sessions the file or session had to
 * do with; the second follows the leases and operations that are wanted.
 */
#include "story.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct log {
	struct leasefs_record *records;
	size_t count, room;
};

static int read_log(const struct request *r, struct log *log, struct story *s)
{
	struct request all = {.control = r->control};
	const struct leasefs_record *record;
	struct history_reader h;
	uint64_t lost;
	int result = history_open(&h, &all, false);

	while (!result && (result = history_next(&h, &record, &lost)) == 1) {
		if (log->count == log->room) {
			size_t room = log->room ? log->room * 2 : 1024;
			void *grown = realloc(log->records, room * sizeof(*record));

			if (!grown)
				return -ENOMEM;
			log->records = grown;
			log->room = room;
		}
		log->records[log->count++] = *record;
		s->lost += lost;
		result = 0;
	}
	s->now_ns = h.page.now_ns;
	s->now_wall_ns = h.page.realtime_ns;
	return result;
}

/* ---- what is wanted -------------------------------------------------------------------------- */

struct wanted {
	uint64_t *numbers;
	size_t count;
};

static bool is_number_wanted(const struct wanted *w, uint64_t number)
{
	for (size_t i = 0; i < w->count; i++)
		if (w->numbers[i] == number)
			return true;
	return false;
}

static bool is_about(const struct request *r, const struct leasefs_record *record)
{
	return (!r->inode || record->inode == r->inode) &&
	       (!r->session || record->session == r->session);
}

/* The operations that any wanted record names. The latest are enough. */
static int find_numbers(const struct request *r, const struct log *log, struct wanted *w)
{
	w->numbers = calloc(STORY_ROWS_MAX, sizeof(*w->numbers));
	if (!w->numbers)
		return -ENOMEM;
	for (size_t i = log->count; i > 0 && w->count < STORY_ROWS_MAX; i--) {
		const struct leasefs_record *record = &log->records[i - 1];

		if (record->number && is_about(r, record) && !is_number_wanted(w, record->number))
			w->numbers[w->count++] = record->number;
	}
	return 0;
}

/* ---- rows ------------------------------------------------------------------------------------ */

struct story_row *story_find(const struct story *s, bool is_operation, uint64_t id)
{
	for (size_t i = s->row_count; i > 0; i--)
		if (s->rows[i - 1].is_operation == is_operation && s->rows[i - 1].id == id)
			return &s->rows[i - 1];
	return NULL;
}

/* NULL: no memory. */
static struct story_row *row_of(
	struct story *s, const struct leasefs_record *r, bool is_operation, uint64_t id)
{
	struct story_row *row = story_find(s, is_operation, id);

	if (row) {
		row->last_ns = r->time_ns;
		return row;
	}
	if (s->row_count == s->row_room) {
		size_t room = s->row_room ? s->row_room * 2 : 64;
		struct story_row *grown = realloc(s->rows, room * sizeof(*grown));

		if (!grown)
			return NULL;
		s->rows = grown;
		s->row_room = room;
	}
	row = &s->rows[s->row_count++];
	*row = (struct story_row){.is_operation = is_operation,
		.id = id,
		.inode = r->inode,
		.offset = r->offset,
		.length = r->length,
		.session = r->session,
		.pid = is_operation ? r->pid : r->holder_pid,
		.mode = r->mode,
		.begin_ns = r->time_ns,
		.last_ns = r->time_ns};
	memcpy(row->operation, r->operation, sizeof(row->operation));
	return row;
}

static void add_mark(struct story *s, enum mark_kind kind, const struct leasefs_record *r)
{
	if (s->mark_count == s->mark_room) {
		size_t room = s->mark_room ? s->mark_room * 2 : 64;
		struct story_mark *grown =
			room > STORY_MARKS_MAX ? NULL : realloc(s->marks, room * sizeof(*grown));

		if (!grown)
			return; /* the rows tell the most of it */
		s->marks = grown;
		s->mark_room = room;
	}
	s->marks[s->mark_count++] = (struct story_mark){.kind = kind,
		.time_ns = r->time_ns,
		.lease = r->lease,
		.number = r->number,
		.value = r->value};
}

/* The recall of that lease that is not over yet; NULL. */
static struct story_mark *open_recall(struct story *s, uint64_t lease)
{
	for (size_t i = s->mark_count; i > 0; i--) {
		struct story_mark *m = &s->marks[i - 1];

		if (m->kind == MARK_RECALL && m->lease == lease)
			return m->until_ns ? NULL : m;
	}
	return NULL;
}

static void end_row(struct story_row *row, enum story_end end, uint64_t time_ns)
{
	if (row->end_ns)
		return;
	row->end = end;
	row->end_ns = time_ns;
}

/* What is left of the lease's range; 0: nothing. */
static uint64_t cut(struct story_row *row, const struct leasefs_record *r)
{
	uint64_t end = row->offset + row->length;

	if (r->offset <= row->offset && r->offset + r->length >= end)
		return 0;
	if (r->offset > row->offset) {
		row->length = r->offset - row->offset;
	} else {
		row->length = end - (r->offset + r->length);
		row->offset = r->offset + r->length;
	}
	return row->length;
}

static void end_recall(struct story *s, const struct leasefs_record *r, uint64_t lease)
{
	struct story_mark *recall = open_recall(s, lease);

	if (recall)
		recall->until_ns = r->time_ns;
}

/* ---- records --------------------------------------------------------------------------------- */

static void follow_return(struct story *s, struct story_row *row, const struct leasefs_record *r)
{
	const struct story_mark *recall = open_recall(s, r->lease);
	struct leasefs_record answer = *r;

	answer.number = recall ? recall->number : 0;
	add_mark(s, MARK_RETURN, &answer);
	end_recall(s, r, r->lease);
	if (!cut(row, r))
		end_row(row, STORY_RETURNED, r->time_ns);
}

static int follow_revoke(struct story *s, struct story_row *row, const struct leasefs_record *r)
{
	struct story_row *origin;

	add_mark(s, MARK_REVOKE, r);
	end_recall(s, r, r->value);
	end_row(row, r->number ? STORY_REVOKED : STORY_SESSION_ENDED, r->time_ns);
	row->begun = true;
	if (r->value == r->lease)
		return 0;
	origin = story_find(s, false, r->value);
	if (origin)
		cut(origin, r);
	return 0;
}

static int follow_lease(struct story *s, const struct leasefs_record *r)
{
	struct story_row *row = row_of(s, r, false, r->lease);

	if (!row)
		return -ENOMEM;
	switch (r->kind) {
	case LEASEFS_RECORD_GRANT:
		row->begun = true;
		break;
	case LEASEFS_RECORD_RETURN:
		follow_return(s, row, r);
		break;
	case LEASEFS_RECORD_RECALL:
		add_mark(s, MARK_RECALL, r);
		break;
	case LEASEFS_RECORD_CANCEL:
		end_recall(s, r, r->lease);
		break;
	case LEASEFS_RECORD_SIGNAL:
		add_mark(s, MARK_SIGNAL, r);
		break;
	case LEASEFS_RECORD_REVOKE:
		return follow_revoke(s, row, r);
	case LEASEFS_RECORD_QUARANTINE:
		row->kept_ns = row->kept_ns ? row->kept_ns : r->time_ns;
		row->kept_bytes = r->value;
		break;
	case LEASEFS_RECORD_RELEASE:
		row->freed_ns = r->time_ns;
		break;
	default:
		break;
	}
	return 0;
}

static int follow_operation(struct story *s, const struct leasefs_record *r)
{
	struct story_row *row = row_of(s, r, true, r->number);

	if (!row)
		return -ENOMEM;
	switch (r->kind) {
	case LEASEFS_RECORD_PARK:
		row->begun = true;
		break;
	case LEASEFS_RECORD_COMPLETE:
		end_row(row, STORY_COMPLETE, r->time_ns);
		row->value_ns = r->value;
		break;
	case LEASEFS_RECORD_BUSY:
		end_row(row, STORY_BUSY, r->time_ns);
		row->value_ns = r->value;
		break;
	case LEASEFS_RECORD_INTERRUPT:
		end_row(row, STORY_INTERRUPTED, r->time_ns);
		break;
	default:
		break;
	}
	return 0;
}

static void end_session(struct story *s, const struct leasefs_record *r)
{
	for (size_t i = 0; i < s->row_count; i++)
		if (!s->rows[i].is_operation && s->rows[i].session == r->session)
			end_row(&s->rows[i], STORY_SESSION_ENDED, r->time_ns);
}

static int follow(struct story *s, const struct request *r, const struct wanted *w,
	const struct leasefs_record *record)
{
	bool about = is_about(r, record) || is_number_wanted(w, record->number);

	switch (record->kind) {
	case LEASEFS_RECORD_SESSION_GONE:
		end_session(s, record);
		return 0;
	case LEASEFS_RECORD_PARK:
	case LEASEFS_RECORD_COMPLETE:
	case LEASEFS_RECORD_BUSY:
	case LEASEFS_RECORD_INTERRUPT:
		return about && is_number_wanted(w, record->number) ? follow_operation(s, record)
								    : 0;
	default:
		return about && record->lease ? follow_lease(s, record) : 0;
	}
}

/* ---- the latest ------------------------------------------------------------------------------ */

static int compare_latest(const void *a, const void *b)
{
	const struct story_row *x = a, *y = b;
	uint64_t i = x->end_ns ? x->last_ns : UINT64_MAX, j = y->end_ns ? y->last_ns : UINT64_MAX;

	if (i != j)
		return i > j ? -1 : 1;
	return x->begin_ns > y->begin_ns ? -1 : x->begin_ns < y->begin_ns;
}

/* Sessions together, leases in the order in which they came, operations below them. */
static int compare_place(const void *a, const void *b)
{
	const struct story_row *x = a, *y = b;

	if (x->is_operation != y->is_operation)
		return x->is_operation ? 1 : -1;
	if (!x->is_operation && x->session != y->session)
		return x->session < y->session ? -1 : 1;
	if (x->begin_ns != y->begin_ns)
		return x->begin_ns < y->begin_ns ? -1 : 1;
	return x->id < y->id ? -1 : x->id > y->id;
}

static void keep_latest(struct story *s)
{
	if (!s->row_count)
		return;
	qsort(s->rows, s->row_count, sizeof(s->rows[0]), compare_latest);
	if (s->row_count > STORY_ROWS_MAX) {
		s->left_out = s->row_count - STORY_ROWS_MAX;
		s->row_count = STORY_ROWS_MAX;
	}
	qsort(s->rows, s->row_count, sizeof(s->rows[0]), compare_place);
}

int story_read(const struct request *r, struct story *out)
{
	struct story s = {0};
	struct wanted w = {0};
	struct log log = {0};
	int error = read_log(r, &log, &s);

	if (!error)
		error = find_numbers(r, &log, &w);
	for (size_t i = 0; i < log.count && !error; i++)
		error = follow(&s, r, &w, &log.records[i]);
	if (!error && !s.row_count)
		error = -ENOENT;
	free(w.numbers);
	free(log.records);
	if (error) {
		story_free(&s);
		return error;
	}
	keep_latest(&s);
	*out = s;
	return 0;
}

void story_free(struct story *s)
{
	free(s->rows);
	free(s->marks);
	*s = (struct story){0};
}
