// SPDX-License-Identifier: BSD-2-Clause
/*
 * cut.c - see cut.h.
 */
#include "cut.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct cut_cell {
	uint32_t region;
	uint32_t line;
	uint32_t versions;
	bool hot;
};

static unsigned below(struct cut *cut, unsigned n)
{
	return (unsigned)rand_r(cut->seed) % n;
}

static void gather(struct cut *cut)
{
	cut->count = 0;
	for (uint32_t r = 0; r < MEDIA_REGIONS; r++) {
		const size_t *lines;
		size_t n = machine_pending(cut->machines[r], &lines);

		if (cut->count + n > cut->capacity) {
			cut->capacity = (uint32_t)(cut->count + n) * 2;
			cut->cells = realloc(cut->cells, cut->capacity * sizeof(*cut->cells));
			assert(cut->cells);
		}
		for (size_t i = 0; i < n; i++)
			cut->cells[cut->count++] = (struct cut_cell){
				.region = r,
				.line = (uint32_t)lines[i],
				.versions = machine_versions(cut->machines[r], lines[i]),
				.hot = true,
			};
	}
}

static const uint64_t *content(const struct cut *cut, const struct cut_cell *c, uint32_t version)
{
	return machine_line(cut->machines[c->region], c->line, version);
}

void cut_reads(struct cut *cut, const struct media_reads *reads)
{
	for (uint32_t i = 0; i < cut->count; i++) {
		struct cut_cell *c = &cut->cells[i];
		uint8_t differ = 0;

		for (uint32_t v = 1; v <= c->versions; v++)
			for (unsigned w = 0; w < LINE_WORDS; w++)
				if (content(cut, c, v)[w] != content(cut, c, v - 1)[w])
					differ |= (uint8_t)(1u << w);
		/* All bytes of files are read by whoever compares them. */
		c->hot = c->region == MEDIA_DATA || (reads->read[c->region][c->line] & differ) != 0;
	}
}

/* ---- one image ------------------------------------------------------------------------------- */

static void begin(struct cut *cut)
{
	cut->image.count = 0;
	cut->image.all = false;
	/* Rotated, or equal changes in both regions would undo each other. */
	uint64_t data = machine_hash(cut->machines[MEDIA_DATA]);
	cut->image.hash = machine_hash(cut->machines[MEDIA_META]) ^ (data << 32 | data >> 32);
}

static struct cut_put *add(struct cut *cut, const struct cut_cell *c, const uint64_t *words)
{
	struct cut_image *image = &cut->image;

	if (image->count == image->capacity) {
		image->capacity = image->capacity ? image->capacity * 2 : 256;
		image->puts = realloc(image->puts, image->capacity * sizeof(*image->puts));
		assert(image->puts);
	}
	struct cut_put *put = &image->puts[image->count++];

	put->region = c->region;
	put->line = c->line;
	memcpy(put->content, words, LINE_BYTES);
	return put;
}

static void seal(struct cut *cut)
{
	for (uint32_t i = 0; i < cut->image.count; i++) {
		const struct cut_put *put = &cut->image.puts[i];
		uint64_t change = machine_hash_change(put->line,
			machine_line(cut->machines[put->region], put->line, 0), put->content);

		cut->image.hash ^= put->region == MEDIA_DATA ? change << 32 | change >> 32 : change;
	}
}

static void put_version(struct cut *cut, const struct cut_cell *c, uint32_t version)
{
	if (version)
		add(cut, c, content(cut, c, version));
}

static void put_torn(struct cut *cut, const struct cut_cell *c)
{
	const uint64_t *other = content(cut, c, below(cut, c->versions + 1));
	struct cut_put *put = add(cut, c, content(cut, c, below(cut, c->versions + 1)));

	for (unsigned w = 0; w < LINE_WORDS; w++)
		if (below(cut, 2))
			put->content[w] = other[w];
}

static void make_all(struct cut *cut)
{
	begin(cut);
	for (uint32_t i = 0; i < cut->count; i++)
		put_version(cut, &cut->cells[i], cut->cells[i].versions);
	cut->image.all = true;
	seal(cut);
}

/* Number `n` of the combinations of hot lines. */
static void make_combination(struct cut *cut, uint64_t n)
{
	begin(cut);
	for (uint32_t i = 0; i < cut->count; i++) {
		const struct cut_cell *c = &cut->cells[i];

		if (!c->hot)
			continue;
		put_version(cut, c, (uint32_t)(n % (c->versions + 1)));
		n /= c->versions + 1;
	}
	seal(cut);
}

static void make_chance(struct cut *cut, uint32_t hot)
{
	enum { ANY, ONE_LESS, ONE_ALONE, TORN, COLD_TOO, WAYS } way = below(cut, WAYS);
	uint32_t chosen = hot ? below(cut, hot) : 0, at = 0;

	begin(cut);
	for (uint32_t i = 0; i < cut->count; i++) {
		const struct cut_cell *c = &cut->cells[i];
		bool this = c->hot && at == chosen;

		at += c->hot;
		if (!c->hot && way != COLD_TOO)
			continue;
		if (way == ONE_LESS || way == ONE_ALONE)
			put_version(cut, c, this == (way == ONE_ALONE) ? c->versions : 0);
		else if (way == TORN && (this || below(cut, 4) == 0))
			put_torn(cut, c);
		else
			put_version(cut, c, below(cut, c->versions + 1));
	}
	seal(cut);
}

/* ---- all of them ----------------------------------------------------------------------------- */

/* How many combinations of hot lines there are, or more than the budget. */
static uint64_t combinations(const struct cut *cut, uint32_t *hot)
{
	uint64_t n = 1;

	*hot = 0;
	for (uint32_t i = 0; i < cut->count; i++)
		if (cut->cells[i].hot) {
			(*hot)++;
			if (n <= cut->budget)
				n *= cut->cells[i].versions + 1;
		}
	return n;
}

int cut_each(
	struct cut *cut, int (*visit)(void *context, const struct cut_image *image), void *context)
{
	uint32_t hot;
	uint64_t n;
	int result;

	gather(cut);
	make_all(cut);
	result = visit(context, &cut->image);
	if (result || cut->count == 0)
		return result;
	begin(cut); /* none */
	result = visit(context, &cut->image);
	n = combinations(cut, &hot);
	if (n <= cut->budget) {
		for (uint64_t i = 1; i < n && !result; i++) {
			make_combination(cut, i);
			result = visit(context, &cut->image);
		}
		n = n < cut->budget ? cut->budget / 4 : 0; /* torn ones besides */
	} else {
		n = cut->budget;
	}
	for (; n > 0 && !result; n--) {
		make_chance(cut, hot);
		result = visit(context, &cut->image);
	}
	return result;
}

void cut_free(struct cut *cut)
{
	free(cut->cells);
	free(cut->image.puts);
	cut->cells = NULL;
	cut->image.puts = NULL;
	cut->count = cut->capacity = cut->image.capacity = 0;
}
