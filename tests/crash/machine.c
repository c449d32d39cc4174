// SPDX-License-Identifier: BSD-2-Clause
/*
 * machine.c - see machine.h.
 */
#include "machine.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

struct line {
	uint64_t (*versions)[LINE_WORDS]; /* since it was durable, the newest last */
	uint32_t count;
	uint32_t capacity;
	uint32_t flushed; /* that many of them become durable at the next fence */
	uint32_t refused; /* that many of them the kernel takes for durable, and they are not */
	bool changed;     /* in machine.changed */
};

struct machine {
	uint64_t bytes;
	uint64_t granule;
	uint64_t (*durable)[LINE_WORDS];
	struct line *lines;
	size_t line_count;
	size_t *dirty; /* lines with versions */
	size_t dirty_count;
	size_t *changed;
	size_t changed_count;
	uint64_t hash;
};

struct machine *machine_new(const void *durable, uint64_t bytes, uint64_t granule)
{
	struct machine *m = calloc(1, sizeof(*m));

	assert(m && bytes % granule == 0 && granule % LINE_BYTES == 0);
	m->bytes = bytes;
	m->granule = granule;
	m->line_count = bytes / LINE_BYTES;
	m->durable = malloc(bytes);
	m->lines = calloc(m->line_count, sizeof(*m->lines));
	m->dirty = malloc(m->line_count * sizeof(*m->dirty));
	m->changed = malloc(m->line_count * sizeof(*m->changed));
	assert(m->durable && m->lines && m->dirty && m->changed);
	memcpy(m->durable, durable, bytes);
	return m;
}

void machine_free(struct machine *m)
{
	if (!m)
		return;
	for (size_t i = 0; i < m->line_count; i++)
		free(m->lines[i].versions);
	free(m->changed);
	free(m->dirty);
	free(m->lines);
	free(m->durable);
	free(m);
}

void machine_reset(struct machine *m, const void *durable)
{
	const uint64_t(*from)[LINE_WORDS] = durable;

	for (size_t i = 0; i < m->dirty_count; i++)
		m->lines[m->dirty[i]].count = m->lines[m->dirty[i]].flushed =
			m->lines[m->dirty[i]].refused = 0;
	m->dirty_count = 0;
	for (size_t i = 0; i < m->changed_count; i++) {
		memcpy(m->durable[m->changed[i]], from[m->changed[i]], LINE_BYTES);
		m->lines[m->changed[i]].changed = false;
	}
	m->changed_count = 0;
	m->hash = 0;
}

static void store(struct machine *m, uint64_t offset, const uint8_t *bytes, uint64_t count)
{
	for (uint64_t at = offset, end = offset + count, n; at < end; at += n) {
		struct line *l = &m->lines[at / LINE_BYTES];

		if (l->count == 0)
			m->dirty[m->dirty_count++] = at / LINE_BYTES;
		n = LINE_BYTES - at % LINE_BYTES;
		if (n > end - at)
			n = end - at;
		if (l->count == l->capacity) {
			l->capacity = l->capacity ? l->capacity * 2 : 2;
			l->versions = realloc(l->versions, l->capacity * sizeof(l->versions[0]));
			assert(l->versions);
		}
		memcpy(l->versions[l->count],
			l->count ? l->versions[l->count - 1] : m->durable[at / LINE_BYTES],
			LINE_BYTES);
		memcpy((uint8_t *)l->versions[l->count] + at % LINE_BYTES, bytes + (at - offset),
			n);
		l->count++;
	}
}

/* A range of a flush, or of one that was refused. */
static void flush(struct machine *m, uint64_t offset, uint64_t count, bool refused)
{
	uint64_t from = offset / m->granule * m->granule;
	uint64_t to = (offset + count + m->granule - 1) / m->granule * m->granule;

	for (size_t i = 0; i < m->dirty_count; i++) {
		struct line *l = &m->lines[m->dirty[i]];
		uint64_t at = m->dirty[i] * LINE_BYTES;

		if (at < from || at >= to)
			continue;
		if (refused)
			l->refused = l->count;
		else if (l->count > l->refused)
			l->flushed = l->count;
	}
}

void machine_set(struct machine *m, size_t at, const uint64_t *content)
{
	if (!m->lines[at].changed) {
		m->lines[at].changed = true;
		m->changed[m->changed_count++] = at;
	}
	m->hash ^= machine_hash_change(at, m->durable[at], content);
	memcpy(m->durable[at], content, LINE_BYTES);
}

static void fence(struct machine *m)
{
	size_t kept = 0;

	for (size_t i = 0; i < m->dirty_count; i++) {
		size_t at = m->dirty[i];
		struct line *l = &m->lines[at];

		if (l->flushed) {
			machine_set(m, at, l->versions[l->flushed - 1]);
			l->count -= l->flushed;
			memmove(l->versions, l->versions + l->flushed,
				l->count * sizeof(l->versions[0]));
			l->flushed = l->refused = 0;
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
	case TRACE_REFUSED:
		flush(m, e->offset, e->count, e->kind == TRACE_REFUSED);
		break;
	case TRACE_FENCE:
		fence(m);
		break;
	case TRACE_MARK:
		break;
	}
}

void machine_crash(const struct machine *m, enum crash_luck luck, unsigned *seed, void *image)
{
	uint64_t(*out)[LINE_WORDS] = image;

	memcpy(image, m->durable, m->bytes);
	if (luck == LUCK_NONE)
		return;
	for (size_t n = 0; n < m->dirty_count; n++) {
		size_t i = m->dirty[n];
		uint32_t count = m->lines[i].count;

		if (luck == LUCK_ALL) {
			memcpy(out[i], machine_line(m, i, count), LINE_BYTES);
			continue;
		}
		const uint64_t *a = machine_line(m, i, (uint32_t)rand_r(seed) % (count + 1));
		const uint64_t *b = machine_line(m, i, (uint32_t)rand_r(seed) % (count + 1));
		for (unsigned w = 0; w < LINE_WORDS; w++)
			out[i][w] = luck == LUCK_TORN && rand_r(seed) % 2 ? b[w] : a[w];
	}
}

/* ---- line by line ---------------------------------------------------------------------------- */

size_t machine_pending(const struct machine *m, const size_t **lines)
{
	*lines = m->dirty;
	return m->dirty_count;
}

uint32_t machine_versions(const struct machine *m, size_t line)
{
	return m->lines[line].count;
}

const uint64_t *machine_line(const struct machine *m, size_t line, uint32_t version)
{
	return version ? m->lines[line].versions[version - 1] : m->durable[line];
}

size_t machine_changed(const struct machine *m, const size_t **lines)
{
	*lines = m->changed;
	return m->changed_count;
}

uint64_t machine_hash(const struct machine *m)
{
	return m->hash;
}

uint64_t machine_hash_change(size_t line, const uint64_t *from, const uint64_t *to)
{
	return XXH3_64bits_withSeed(from, LINE_BYTES, line) ^
	       XXH3_64bits_withSeed(to, LINE_BYTES, line);
}
