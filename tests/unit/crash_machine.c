// SPDX-License-Identifier: BSD-2-Clause
/*
 * crash_machine.c - see crash_machine.h.
 */
#include "crash_machine.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define LINE 64u
#define WORDS (LINE / 8)

/* Guards the trace that is being recorded: regions are used by many threads. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* ---- traces ---------------------------------------------------------------------------------- */

static struct trace_event *add_event(struct trace *t, enum trace_kind kind, unsigned region)
{
	if (t->count == t->capacity) {
		t->capacity = t->capacity ? t->capacity * 2 : 1024;
		t->events = realloc(t->events, t->capacity * sizeof(*t->events));
		assert(t->events);
	}
	t->events[t->count] = (struct trace_event){.kind = kind, .region = region};
	return &t->events[t->count++];
}

/* An event of that region, or NULL if it is not one of ours. */
static struct trace_event *event_of(struct trace *t, const struct region *r, enum trace_kind kind)
{
	for (unsigned i = 0; i < t->regions; i++)
		if (t->bytes[i] == region_bytes(r))
			return add_event(t, kind, i);
	return NULL;
}

static void saw_store(
	void *context, const struct region *r, uint64_t offset, const void *bytes, uint64_t count)
{
	pthread_mutex_lock(&lock);
	struct trace_event *e = event_of(context, r, TRACE_STORE);

	if (e) {
		e->offset = offset;
		e->count = count;
		e->bytes = calloc(1, count);
		assert(e->bytes);
		if (bytes)
			memcpy(e->bytes, bytes, count);
	}
	pthread_mutex_unlock(&lock);
}

static void saw_flush(void *context, const struct region *r, uint64_t offset, uint64_t count)
{
	pthread_mutex_lock(&lock);
	struct trace_event *e = event_of(context, r, TRACE_FLUSH);

	if (e) {
		e->offset = offset;
		e->count = count;
	}
	pthread_mutex_unlock(&lock);
}

static void saw_fence(void *context, const struct region *r)
{
	pthread_mutex_lock(&lock);
	event_of(context, r, TRACE_FENCE);
	pthread_mutex_unlock(&lock);
}

static struct region_recorder recorder = {
	.store = saw_store,
	.flush = saw_flush,
	.fence = saw_fence,
};

void trace_start(struct trace *t, const uint64_t *bytes, unsigned regions)
{
	assert(regions <= TRACE_REGIONS_MAX);
	*t = (struct trace){.regions = regions};
	memcpy(t->bytes, bytes, regions * sizeof(*bytes));
	recorder.context = t;
	region_set_recorder(&recorder);
}

void trace_stop(struct trace *t)
{
	region_set_recorder(NULL);
}

void trace_mark(struct trace *t, uint64_t what, uint64_t value)
{
	pthread_mutex_lock(&lock);
	struct trace_event *e = add_event(t, TRACE_MARK, 0);

	e->offset = what;
	e->count = value;
	pthread_mutex_unlock(&lock);
}

void trace_free(struct trace *t)
{
	for (size_t i = 0; i < t->count; i++)
		free(t->events[i].bytes);
	free(t->events);
	*t = (struct trace){0};
}

/* ---- the machine ----------------------------------------------------------------------------- */

struct line {
	uint64_t (*versions)[WORDS]; /* since it was durable, the newest last */
	uint32_t count;
	uint32_t capacity;
	uint32_t flushed; /* that many of them become durable at the next fence */
};

struct machine {
	uint64_t bytes;
	uint64_t granule;
	uint64_t (*durable)[WORDS];
	struct line *lines;
	size_t line_count;
	size_t *dirty; /* lines with versions */
	size_t dirty_count;
};

struct machine *machine_new(const void *durable, uint64_t bytes, uint64_t granule)
{
	struct machine *m = calloc(1, sizeof(*m));

	assert(m && bytes % granule == 0 && granule % LINE == 0);
	m->bytes = bytes;
	m->granule = granule;
	m->line_count = bytes / LINE;
	m->durable = malloc(bytes);
	m->lines = calloc(m->line_count, sizeof(*m->lines));
	m->dirty = malloc(m->line_count * sizeof(*m->dirty));
	assert(m->durable && m->lines && m->dirty);
	memcpy(m->durable, durable, bytes);
	return m;
}

void machine_free(struct machine *m)
{
	for (size_t i = 0; i < m->line_count; i++)
		free(m->lines[i].versions);
	free(m->dirty);
	free(m->lines);
	free(m->durable);
	free(m);
}

static void store(struct machine *m, uint64_t offset, const uint8_t *bytes, uint64_t count)
{
	for (uint64_t at = offset, end = offset + count, n; at < end; at += n) {
		struct line *l = &m->lines[at / LINE];

		if (l->count == 0)
			m->dirty[m->dirty_count++] = at / LINE;
		n = LINE - at % LINE < end - at ? LINE - at % LINE : end - at;
		if (l->count == l->capacity) {
			l->capacity = l->capacity ? l->capacity * 2 : 2;
			l->versions = realloc(l->versions, l->capacity * sizeof(l->versions[0]));
			assert(l->versions);
		}
		memcpy(l->versions[l->count],
			l->count ? l->versions[l->count - 1] : m->durable[at / LINE], LINE);
		memcpy((uint8_t *)l->versions[l->count] + at % LINE, bytes + (at - offset), n);
		l->count++;
	}
}

static void flush(struct machine *m, uint64_t offset, uint64_t count)
{
	uint64_t from = offset / m->granule * m->granule;
	uint64_t to = (offset + count + m->granule - 1) / m->granule * m->granule;

	for (size_t i = 0; i < m->dirty_count; i++) {
		uint64_t at = m->dirty[i] * LINE;

		if (at >= from && at < to)
			m->lines[m->dirty[i]].flushed = m->lines[m->dirty[i]].count;
	}
}

static void fence(struct machine *m)
{
	size_t kept = 0;

	for (size_t i = 0; i < m->dirty_count; i++) {
		size_t at = m->dirty[i];
		struct line *l = &m->lines[at];

		if (l->flushed) {
			memcpy(m->durable[at], l->versions[l->flushed - 1], LINE);
			l->count -= l->flushed;
			memmove(l->versions, l->versions + l->flushed,
				l->count * sizeof(l->versions[0]));
			l->flushed = 0;
		}
		if (l->count)
			m->dirty[kept++] = at;
	}
	m->dirty_count = kept;
}

void machine_step(struct machine *m, const struct trace_event *e)
{
	switch (e->kind) {
	case TRACE_STORE:
		store(m, e->offset, e->bytes, e->count);
		break;
	case TRACE_FLUSH:
		flush(m, e->offset, e->count);
		break;
	case TRACE_FENCE:
		fence(m);
		break;
	case TRACE_MARK:
		break;
	}
}

/* What the line was at time `version`; 0 is what is durable. */
static const uint64_t *line_at(const struct machine *m, size_t i, uint32_t version)
{
	return version ? m->lines[i].versions[version - 1] : m->durable[i];
}

void machine_crash(const struct machine *m, enum crash_luck luck, unsigned *seed, void *image)
{
	uint64_t(*out)[WORDS] = image;

	memcpy(image, m->durable, m->bytes);
	if (luck == LUCK_NONE)
		return;
	for (size_t n = 0; n < m->dirty_count; n++) {
		size_t i = m->dirty[n];
		uint32_t count = m->lines[i].count;

		if (luck == LUCK_ALL) {
			memcpy(out[i], line_at(m, i, count), LINE);
			continue;
		}
		const uint64_t *a = line_at(m, i, (uint32_t)rand_r(seed) % (count + 1));
		const uint64_t *b = line_at(m, i, (uint32_t)rand_r(seed) % (count + 1));
		for (unsigned w = 0; w < WORDS; w++)
			out[i][w] = luck == LUCK_TORN && rand_r(seed) % 2 ? b[w] : a[w];
	}
}
