// SPDX-License-Identifier: BSD-2-Clause
/*
 * explore.c - see explore.h.
 *
 * The machines go through the trace of the run; those of `nested` begin at an image and go through
 * the trace of its recovery.
 */
#include "explore.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "cut.h"
#include "pool.h"
#include "run.h"
#include "verify.h"

/* Of the states, one in so many is checked again after it was used, and after a clean close. */
#define CHECK_USED_ONE_IN 8u
#define SEEN_FIRST (1u << 16)
#define NESTED_BUDGET 2u
/* That nothing is stored behind the recorder's back is looked at once in so many states. */
#define AUDIT_EVERY 2048u

static struct {
	struct machine *machines[MEDIA_REGIONS];
	struct machine *nested[MEDIA_REGIONS];
	unsigned base;
	struct run run;
	struct trace recovery;
	uint64_t *seen; /* images, with what was to be expected of them; open addressed, 0: free */
	uint64_t seen_mask, seen_count;
} ex;

/* A look at a trace: the one of the run, or of a recovery. */
struct walk {
	const struct trace *trace;
	struct machine **machines;
	struct expectation expect;
	bool died; /* began with the daemon's death: the machine went on */
	struct cut cut;
	unsigned *seed;
	const struct explore_limits *limits;
	struct explore_stats *stats;
	struct finding *finding;
	unsigned from; /* the first step whose crashes are looked at */
	size_t event;  /* where it is */
	bool nested;
	unsigned images; /* nested: still to be made */
};

/* ---- images that were seen ------------------------------------------------------------------- */

static uint64_t *seen_slot(uint64_t key)
{
	uint64_t at = key & ex.seen_mask;

	while (ex.seen[at] && ex.seen[at] != key)
		at = (at + 1) & ex.seen_mask;
	return &ex.seen[at];
}

static void seen_make(uint64_t slots)
{
	ex.seen = calloc(slots, sizeof(*ex.seen));
	assert(ex.seen);
	ex.seen_mask = slots - 1;
}

static void seen_grow(void)
{
	uint64_t *old = ex.seen, slots = ex.seen_mask + 1;

	seen_make(slots * 2);
	for (uint64_t i = 0; i < slots; i++)
		if (old[i])
			*seen_slot(old[i]) = old[i];
	free(old);
}

static bool seen_before(const struct walk *w, const struct cut_image *image, bool died)
{
	const struct expectation *e = &w->expect;
	uint64_t key = XXH3_64bits_withSeed(&image->hash, sizeof(image->hash), ex.base * 2 + died);
	uint64_t *slot;

	if (e->exact)
		key ^= e->digest;
	for (unsigned i = e->oldest; !e->exact && i <= e->newest; i++)
		key = XXH3_64bits_withSeed(
			&e->run->steps[i].digest, sizeof(e->run->steps[i].digest), key);
	key |= 1;
	slot = seen_slot(key);
	if (*slot == key)
		return true;
	*slot = key;
	if (++ex.seen_count > ex.seen_mask / 2)
		seen_grow();
	return false;
}

/* ---- one image ------------------------------------------------------------------------------- */

static void hear_finding(void *context, const struct verify_finding *found)
{
	struct finding *finding = context;
	size_t used = strlen(finding->text);

	snprintf(finding->text + used, sizeof(finding->text) - used, "%s\n", found->text);
}

static int verify(struct finding *finding, const char *when)
{
	const struct verify_options options = {.found = hear_finding, .context = finding};
	struct verify_report report = {0};
	int error;

	SAY(finding, "the checker, %s: ", when);
	error = verify_core(bed_core(), &options, &report);
	if (error)
		hear_finding(finding, &(struct verify_finding){.text = strerror(-error)});
	return error || report.found ? -1 : 0;
}

/* Makes use of the pool, which is open. */
static int use(struct walk *w)
{
	bool check = (unsigned)rand_r(w->seed) % CHECK_USED_ONE_IN == 0;
	const char *what;
	struct diag d = {{0}};
	int error = bed_use(&what);

	w->stats->uses++;
	if (error) {
		SAY(w->finding, "the pool cannot be used: %s: %s", what, strerror(-error));
		return -1;
	}
	if (!check)
		return 0;
	if (verify(w->finding, "after use"))
		return -1;
	error = bed_close();
	if (error) {
		SAY(w->finding, "the pool cannot be closed: %s", strerror(-error));
		return -1;
	}
	if (bed_open(&d)) {
		SAY(w->finding, "the pool cannot be opened again: %s", d.text);
		return -1;
	}
	return verify(w->finding, "after a clean close");
}

/* The power loss is told by another boot id, which the journal's header holds. */
static void other_boot(struct machine *const *machines, const struct cut_image *image)
{
	size_t line = (BLOCK_SIZE + offsetof(struct media_journal, boot_id)) / LINE_BYTES;
	uint64_t words[LINE_WORDS];

	memcpy(words, machine_line(machines[MEDIA_META], line, 0), LINE_BYTES);
	for (uint32_t i = 0; i < image->count; i++)
		if (image->puts[i].region == MEDIA_META && image->puts[i].line == line)
			memcpy(words, image->puts[i].content, LINE_BYTES);
	((uint8_t *)words)[offsetof(struct media_journal, boot_id) % LINE_BYTES] += 0x11;
	media_put(MEDIA_META, line, words);
}

static void put_image(struct walk *w, const struct cut_image *image, bool died)
{
	media_load(w->machines);
	for (uint32_t i = 0; i < image->count; i++)
		media_put(image->puts[i].region, image->puts[i].line, image->puts[i].content);
	if (media_kind() == MEDIA_RELAXED && !died)
		other_boot(w->machines, image);
}

/* The nested machines: what the files hold now. */
static void begin_nested(struct walk *w, const struct cut_image *image)
{
	for (uint32_t r = 0; r < MEDIA_REGIONS; r++) {
		const size_t *changed;
		size_t count = machine_changed(w->machines[r], &changed);

		machine_reset(ex.nested[r], media_base(r));
		for (size_t i = 0; i < count; i++)
			machine_set(ex.nested[r], changed[i],
				machine_line(w->machines[r], changed[i], 0));
	}
	for (uint32_t i = 0; i < image->count; i++)
		machine_set(ex.nested[image->puts[i].region], image->puts[i].line,
			image->puts[i].content);
}

static int walk_trace(struct walk *w);

static int crash_in_recovery(struct walk *w, uint64_t digest, bool died)
{
	struct walk nested = {
		.trace = &ex.recovery,
		.machines = ex.nested,
		.expect = {.run = w->expect.run, .exact = true, .digest = digest},
		.died = died,
		.seed = w->seed,
		.limits = w->limits,
		.stats = w->stats,
		.finding = w->finding,
		.nested = true,
		.images = w->limits->nested_images,
	};
	int result = walk_trace(&nested);

	cut_free(&nested.cut);
	return result;
}

/* Recovery has ended every orphan and every trim: none of them has its bit any more. */
static int check_attention(struct finding *finding)
{
	struct core *c = bed_core();

	for (uint32_t group = 0; group < space_groups(c->inodes); group++) {
		const struct media_bitmap *bitmap;
		struct media_group g;
		const void *view;

		if (space_group(c->inodes, group, &g) ||
			tx_view(c->meta, NULL, g.bitmap, MAGIC_GROUP, &view))
			continue;
		bitmap = view;
		for (uint32_t w = 0; w < INODES_PER_GROUP / 64; w++)
			if (bitmap->bits[ATTENTION_BIT / 64 + w]) {
				SAY(finding, "recovery has left an orphan, or a part of a file");
				return -1;
			}
	}
	return 0;
}

static int check_open_pool(struct walk *w, const struct expectation *e, uint64_t *digest)
{
	if (check_attention(w->finding) || verify(w->finding, "after recovery") ||
		run_compare(e, digest, w->finding))
		return -1;
	return use(w);
}

static int recover(struct walk *w, const struct cut_image *image)
{
	struct diag d = {{0}};
	int error;

	media_processors(1 + (unsigned)(image->hash % 3));
	bed_set_clock(ex.run.clock);
	media_watch_reads(image->all);
	error = bed_open(&d);
	media_watch_reads(false);
	media_record_end();
	if (error)
		SAY(w->finding, "the pool cannot be opened: %s (%s)", d.text, strerror(-error));
	return error;
}

static void audit(const struct walk *w)
{
	media_load(w->machines);
	if (!media_check(w->machines)) {
		fprintf(stderr, "something was stored behind the recorder's back\n");
		abort();
	}
}

static int check_image(void *context, const struct cut_image *image)
{
	struct walk *w = context;
	struct expectation e = w->expect;
	/* Of a daemon's death the first image is what is left; a second crash must be one as well.
	 */
	bool relaxed = media_kind() == MEDIA_RELAXED;
	bool died = relaxed && image->all && (!w->nested || w->died);
	bool second = !w->nested && w->limits->nested_one_in &&
		      (unsigned)rand_r(w->seed) % w->limits->nested_one_in == 0;
	uint64_t digest = 0;
	int result;

	if (w->nested && relaxed && w->died && !died)
		return 0;
	if (w->nested && w->images == 0)
		return 0;
	if (died && !e.exact)
		e.oldest = e.newest > 0 && e.blurred ? e.newest - 1 : e.newest;
	if (seen_before(w, image, died)) {
		w->stats->duplicates++;
		return 0;
	}
	w->images -= w->nested;
	w->stats->states++;
	w->stats->nested += w->nested;
	put_image(w, image, died);
	if (second) {
		begin_nested(w, image);
		media_record(&ex.recovery);
	}
	if (recover(w, image))
		return -1;
	if (image->all)
		cut_reads(&w->cut, media_reads());
	result = check_open_pool(w, &e, &digest);
	if (bed_core())
		bed_abandon();
	if (result == 0 && w->stats->states % AUDIT_EVERY == 0)
		audit(w);
	if (result == 0 && second)
		result = crash_in_recovery(w, digest, died);
	return result;
}

/* ---- walks ----------------------------------------------------------------------------------- */

static void step_mark(struct expectation *e, const struct trace_event *event)
{
	switch (event->offset) {
	case RUN_BEGUN:
		e->newest = e->blurred = (unsigned)event->count;
		break;
	case RUN_ENDED:
		e->blurred = 0;
		if (media_kind() != MEDIA_RELAXED)
			e->oldest = e->newest;
		break;
	case RUN_SYNCED:
		e->oldest = e->newest;
		break;
	}
}

/* Is this where something must hold that did not have to before? */
static bool is_point(const struct walk *w, const struct trace_event *e)
{
	if (e->kind == TRACE_MARK)
		return e->offset == RUN_ENDED || e->offset == RUN_OVER;
	/* Recoveries are alike: some of the fences of each. */
	return e->kind == TRACE_FENCE && (!w->nested || rand_r(w->seed) % 2);
}

static void say_where(const struct walk *w)
{
	size_t used = strlen(w->finding->text);

	snprintf(w->finding->text + used, sizeof(w->finding->text) - used,
		"\n(%s, operation %u, event %zu of %zu)",
		w->nested ? "a crash in recovery" : "a crash", w->expect.newest, w->event,
		w->trace->count);
}

static int walk_trace(struct walk *w)
{
	int result = 0;

	w->cut.machines = w->machines;
	w->cut.seed = w->seed;
	w->cut.budget = w->nested ? NESTED_BUDGET : w->limits->images;
	for (w->event = 0; w->event < w->trace->count && result == 0; w->event++) {
		const struct trace_event *e = &w->trace->events[w->event];
		bool point = is_point(w, e);

		if (e->kind == TRACE_MARK && !w->nested)
			step_mark(&w->expect, e);
		if (w->nested && w->images == 0)
			break;
		if (point && (w->nested || w->expect.newest >= w->from)) {
			w->stats->fences += !w->nested && e->kind == TRACE_FENCE;
			result = cut_each(&w->cut, check_image, w);
		}
		if (e->kind != TRACE_MARK)
			machine_step(w->machines[e->region], e);
	}
	if (result)
		say_where(w);
	return result;
}

static const uint64_t sizes[] = {MEDIA_META_BYTES, MEDIA_DATA_BYTES};

static void make_machines(void)
{
	for (unsigned r = 0; r < MEDIA_REGIONS; r++) {
		machine_free(ex.machines[r]);
		machine_free(ex.nested[r]);
		ex.machines[r] = machine_new(media_base(r), sizes[r], media_granule());
		ex.nested[r] = machine_new(media_base(r), sizes[r], media_granule());
	}
}

static void select_base(unsigned base)
{
	if (ex.base == base) {
		for (unsigned r = 0; r < MEDIA_REGIONS; r++)
			machine_reset(ex.machines[r], media_base(r));
		return;
	}
	bed_select(base);
	ex.base = base;
	make_machines();
}

int explore(const struct script *script, unsigned from, const struct explore_limits *limits,
	struct explore_stats *stats, struct finding *finding)
{
	unsigned seed = script->seed;
	struct walk w = {
		.trace = &ex.run.trace,
		.machines = ex.machines,
		.expect = {.run = &ex.run},
		.from = from,
		.seed = &seed,
		.limits = limits,
		.stats = stats,
		.finding = finding,
	};
	int result;

	assert(script->media == media_kind() && script->base < BED_BASES);
	finding->text[0] = '\0';
	select_base(script->base);
	result = run_record(&ex.run, script, finding);
	stats->refused += ex.run.refused;
	if (result == 0)
		result = walk_trace(&w);
	stats->scripts++;
	stats->operations += script->count;
	cut_free(&w.cut);
	run_clear(&ex.run);
	return result;
}

/* ---- the explorer ---------------------------------------------------------------------------- */

void explorer_make(enum media_kind kind)
{
	bed_make(kind);
	bed_select(0);
	make_machines();
	seen_make(SEEN_FIRST);
}

void explorer_remove(void)
{
	for (int r = 0; r < MEDIA_REGIONS; r++) {
		machine_free(ex.machines[r]);
		machine_free(ex.nested[r]);
	}
	trace_free(&ex.run.trace);
	trace_free(&ex.recovery);
	free(ex.seen);
	memset(&ex, 0, sizeof(ex));
	bed_remove();
}
