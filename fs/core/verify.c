// SPDX-License-Identifier: BSD-2-Clause
/*
 * verify.c - the passes of the checker, and how it speaks. See verify_impl.h.
 */
#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "verify_impl.h"

#define PASSES_MAX 8u /* each pass mends a layer of the damage: bits, trees, names, leaks */
#define PATH_SEARCHES_MAX 32u
#define ANSWERS_MAX (1u << 20)

const char *verify_phase_name(enum verify_phase phase)
{
	static const char *const names[VERIFY_PHASES] = {
		[VERIFY_SUPERS] = "superblocks and journal",
		[VERIFY_SPACES] = "space and region tables",
		[VERIFY_INODES] = "inodes",
		[VERIFY_NAMES] = "names",
		[VERIFY_BITMAPS] = "bitmaps",
	};
	assert(phase < VERIFY_PHASES);
	return names[phase];
}

/* ---- sets of bits ---------------------------------------------------------------------------- */

int bitset_make(struct bitset *b, uint64_t bits)
{
	b->words = calloc(bits / 64 + 1, sizeof(*b->words));
	b->bits = bits;
	return b->words ? 0 : -ENOMEM;
}

void bitset_free(struct bitset *b)
{
	free(b->words);
	memset(b, 0, sizeof(*b));
}

bool bitset_test(const struct bitset *b, uint64_t bit)
{
	return bit < b->bits && b->words[bit / 64] >> (bit % 64) & 1;
}

void bitset_set(struct bitset *b, uint64_t bit)
{
	assert(bit < b->bits);
	b->words[bit / 64] |= 1ull << (bit % 64);
}

void bitset_clear(struct bitset *b, uint64_t bit)
{
	assert(bit < b->bits);
	b->words[bit / 64] &= ~(1ull << (bit % 64));
}

uint64_t bitset_take(struct bitset *b, uint64_t first, uint64_t count)
{
	uint64_t before = 0;

	assert(first <= b->bits && count <= b->bits - first);
	while (count > 0) {
		uint64_t shift = first % 64;
		uint64_t n = 64 - shift < count ? 64 - shift : count;
		uint64_t mask = (n == 64 ? ~0ull : (1ull << n) - 1) << shift;

		before += (uint64_t)__builtin_popcountll(b->words[first / 64] & mask);
		b->words[first / 64] |= mask;
		first += n;
		count -= n;
	}
	return before;
}

/* ---- findings -------------------------------------------------------------------------------- */

static struct answer *answer_slot(struct verify *v, uint64_t hash)
{
	size_t at = hash & (v->answer_capacity - 1);

	while (v->answers[at].hash && v->answers[at].hash != hash)
		at = (at + 1) & (v->answer_capacity - 1);
	return &v->answers[at];
}

/* False: there is no memory for it. Then a finding may be told twice, which is no harm. */
static bool answers_grow(struct verify *v)
{
	size_t old = v->answer_capacity;
	struct answer *from = v->answers;

	if (v->answer_count * 2 < old)
		return true;
	if (old >= ANSWERS_MAX)
		return false;
	v->answers = calloc(old ? old * 2 : 256, sizeof(*v->answers));
	if (!v->answers) {
		v->answers = from;
		return false;
	}
	v->answer_capacity = old ? old * 2 : 256;
	for (size_t i = 0; i < old; i++)
		if (from[i].hash)
			*answer_slot(v, from[i].hash) = from[i];
	free(from);
	return true;
}

static bool ask(struct verify *v, const struct verify_finding *finding)
{
	const struct verify_options *o = v->options;

	v->report->found++;
	if (o->found)
		o->found(o->context, finding);
	if (!finding->repairing)
		return false;
	return !o->confirm || o->confirm(o->context, finding);
}

/* `known_bytes` of the text tell one finding from another. True: queue the repair. */
static bool tell(struct verify *v, const struct verify_finding *finding, size_t known_bytes)
{
	uint64_t hash = XXH3_64bits(finding->text, known_bytes) | 1;
	bool room = answers_grow(v), yes;
	struct answer *known = room ? answer_slot(v, hash) : NULL;

	if (known && known->hash) {
		yes = known->yes;
	} else {
		yes = ask(v, finding);
		if (known) {
			*known = (struct answer){.hash = hash, .yes = yes};
			v->answer_count++;
		}
	}
	if (!yes)
		v->pass_findings++;
	return yes;
}

bool verify_found(struct verify *v, uint64_t ino, const char *remedy, const char *format, ...)
{
	char text[1600];
	va_list arguments;
	const struct verify_finding finding = {
		.phase = v->phase,
		.ino = ino,
		.repairing = v->options->repair && remedy,
		.text = text,
	};

	va_start(arguments, format);
	int n = vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	if (n < 0 || (size_t)n >= sizeof(text))
		n = (int)sizeof(text) - 1;
	snprintf(text + n, sizeof(text) - (size_t)n, "; %s%s",
		remedy ? (v->options->repair ? "will be " : "would be ") : "",
		remedy ? remedy : "this cannot be repaired");
	/* Known by what was found, not by what is done about it. */
	return tell(v, &finding, (size_t)n);
}

void verify_found_foreign(struct verify *v, const char *sentence)
{
	const struct verify_finding finding = {.phase = v->phase, .text = sentence};

	(void)tell(v, &finding, strlen(sentence));
}

int verify_queue(struct verify *v, const struct repair *repair)
{
	if (v->repair_count == v->repair_capacity) {
		size_t capacity = v->repair_capacity ? v->repair_capacity * 2 : 64;
		struct repair *more = realloc(v->repairs, capacity * sizeof(*more));

		if (!more)
			return -ENOMEM;
		v->repairs = more;
		v->repair_capacity = capacity;
	}
	v->repairs[v->repair_count++] = *repair;
	return 0;
}

void verify_progress(struct verify *v, uint64_t done, uint64_t total)
{
	if (v->options->progress)
		v->options->progress(v->options->context, v->phase, done, total);
}

/* ---- passes ---------------------------------------------------------------------------------- */

static int state_make(struct verify *v)
{
	struct core *c = v->core;
	int r;

	v->inode_numbers = (uint64_t)space_groups(c->inodes) * INODES_PER_GROUP;
	v->region_count = atomic_load(&c->region_count);
	r = bitset_make(&v->heap, c->super.heap_blocks);
	for (uint32_t i = 0; r == 0 && i < v->region_count; i++) {
		struct data_region *region = tables_region(c, i);

		if (region)
			r = bitset_make(&v->regions[i], region->media.bytes / BLOCK_SIZE);
	}
	struct bitset *sets[] = {&v->in_use, &v->sound, &v->is_dir, &v->linked};
	for (unsigned i = 0; r == 0 && i < sizeof(sets) / sizeof(sets[0]); i++)
		r = bitset_make(sets[i], v->inode_numbers);
	v->references = calloc(v->inode_numbers + 1, sizeof(*v->references));
	return v->references ? r : -ENOMEM;
}

static void state_free(struct verify *v)
{
	bitset_free(&v->heap);
	for (uint32_t i = 0; i < v->region_count; i++)
		bitset_free(&v->regions[i]);
	bitset_free(&v->in_use);
	bitset_free(&v->sound);
	bitset_free(&v->is_dir);
	bitset_free(&v->linked);
	free(v->references);
	v->references = NULL;
	v->stray_count = 0;
}

static int look(struct verify *v)
{
	static int (*const phases[VERIFY_PHASES])(struct verify *) = {
		[VERIFY_SUPERS] = verify_supers,
		[VERIFY_SPACES] = verify_spaces,
		[VERIFY_INODES] = verify_inodes,
		[VERIFY_NAMES] = verify_names,
		[VERIFY_BITMAPS] = verify_bitmaps,
	};
	int r = state_make(v);

	v->phase = VERIFY_SUPERS;
	v->pass_findings = 0;
	v->repair_count = 0;
	v->tree_damage = false;
	v->path_searches = PATH_SEARCHES_MAX;
	v->report->inodes = v->report->directories = v->report->names = 0;
	v->report->data_blocks = v->report->meta_blocks = 0;
	for (unsigned i = 0; r == 0 && i < VERIFY_PHASES; i++) {
		v->phase = (enum verify_phase)i;
		verify_progress(v, 0, 0);
		r = phases[i](v);
	}
	return r;
}

static int by_kind(const void *a, const void *b)
{
	const struct repair *x = a, *y = b;

	return (int)x->kind - (int)y->kind;
}

/* Makes the queued repairs; what fails is a finding that stays. */
static int mend(struct verify *v)
{
	bool first_stage = false;

	/* Sorted by kind, and stable enough: repairs of one kind do not depend on each other. */
	qsort(v->repairs, v->repair_count, sizeof(*v->repairs), by_kind);
	if (v->repair_count > 0)
		first_stage = v->repairs[0].kind < REPAIR_LAST_STAGE;
	for (size_t i = 0; i < v->repair_count; i++) {
		const struct repair *repair = &v->repairs[i];

		if (repair->kind >= REPAIR_LAST_STAGE && (first_stage || v->tree_damage)) {
			/* Not now; with damage that is not to be repaired, not at all. */
			v->pass_findings += !first_stage;
			continue;
		}
		int r = verify_repair(v, repair);
		if (r == -ENOMEM || r == -EIO || r == -EROFS)
			return r;
		if (r < 0)
			verify_found(v, repair->ino, NULL, "a repair failed: %s%s", strerror(-r),
				r == -ENOSPC ? " (free some space and run this again)" : "");
		else
			v->report->repaired++;
	}
	v->repaired_before = first_stage || v->repaired_before;
	return 0;
}

int verify_core(struct core *c, const struct verify_options *options, struct verify_report *report)
{
	struct verify *v = calloc(1, sizeof(*v));
	uint64_t made;
	int r = 0;

	if (!v)
		return -ENOMEM;
	memset(report, 0, sizeof(*report));
	v->core = c;
	v->options = options;
	v->report = report;
	do {
		report->passes++;
		r = look(v);
		made = report->repaired;
		if (r == 0 && v->repair_count > 0 && report->passes < PASSES_MAX)
			r = mend(v);
		made = report->repaired - made;
		report->left = v->pass_findings;
		if (report->passes == PASSES_MAX)
			report->left += v->repair_count;
		state_free(v);
	} while (r == 0 && made > 0);
	free(v->repairs);
	free(v->strays);
	free(v->answers);
	free(v);
	return r;
}
