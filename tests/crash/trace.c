// SPDX-License-Identifier: BSD-2-Clause
/*
 * trace.c - see trace.h.
 */
#include "trace.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* Guards the trace that is being recorded: regions are used by many threads. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

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

void trace_store(
	struct trace *t, const struct region *r, uint64_t offset, const void *bytes, uint64_t count)
{
	pthread_mutex_lock(&lock);
	struct trace_event *e = event_of(t, r, TRACE_STORE);

	if (e) {
		e->offset = offset;
		e->count = count;
		e->bytes = bytes ? malloc(count) : calloc(1, count);
		assert(e->bytes);
		if (bytes)
			memcpy(e->bytes, bytes, count);
	}
	pthread_mutex_unlock(&lock);
}

void trace_flush(struct trace *t, const struct region *r, uint64_t offset, uint64_t count)
{
	pthread_mutex_lock(&lock);
	struct trace_event *e = event_of(t, r, TRACE_FLUSH);

	if (e) {
		e->offset = offset;
		e->count = count;
	}
	pthread_mutex_unlock(&lock);
}

void trace_fence(struct trace *t, const struct region *r)
{
	pthread_mutex_lock(&lock);
	event_of(t, r, TRACE_FENCE);
	pthread_mutex_unlock(&lock);
}

void trace_refused(struct trace *t, unsigned region, uint64_t offset, uint64_t count)
{
	pthread_mutex_lock(&lock);
	struct trace_event *e = add_event(t, TRACE_REFUSED, region);

	e->offset = offset;
	e->count = count;
	pthread_mutex_unlock(&lock);
}

static void saw_store(
	void *context, const struct region *r, uint64_t offset, const void *bytes, uint64_t count)
{
	trace_store(context, r, offset, bytes, count);
}

static void saw_flush(void *context, const struct region *r, uint64_t offset, uint64_t count)
{
	trace_flush(context, r, offset, count);
}

static void saw_fence(void *context, const struct region *r)
{
	trace_fence(context, r);
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

void trace_clear(struct trace *t)
{
	for (size_t i = 0; i < t->count; i++)
		free(t->events[i].bytes);
	t->count = 0;
}

void trace_free(struct trace *t)
{
	trace_clear(t);
	free(t->events);
	*t = (struct trace){0};
}
