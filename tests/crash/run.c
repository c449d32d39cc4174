// SPDX-License-Identifier: BSD-2-Clause
/*
 * run.c - see run.h.
 */
#include "run.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define CLOCK_FIRST 2000000
#define PROCESSORS 4u /* of the run */
#define BLUR_MAX 262144u

static int read_blur(const struct digest_blur *blur, uint8_t **out)
{
	uint64_t length = blur->end - blur->start;
	struct inode *ip;
	ssize_t n;
	int error;

	*out = calloc(1, length);
	assert(*out && length <= BLUR_MAX);
	error = core_get(bed_core(), blur->ino, &ip);
	if (error)
		return error;
	n = core_read(bed_core(), ip, *out, length, blur->start);
	core_put(bed_core(), ip, 1);
	return n < 0 ? (int)n : 0;
}

/* The tree without the bytes that `op` is about to write over. */
static int before_op(struct run_step *step, const struct op *op)
{
	bed_blur(op, &step->blur);
	if (step->blur.start == step->blur.end)
		return 0;
	int error = tree_digest(bed_core(), &step->blur, NULL, &step->blurred_before);

	return error ? error : read_blur(&step->blur, &step->old);
}

static int after_op(struct run_step *step)
{
	int error = tree_digest(bed_core(), NULL, NULL, &step->digest);

	if (error || step->blur.start == step->blur.end)
		return error;
	error = tree_digest(bed_core(), &step->blur, NULL, &step->blurred_after);
	return error ? error : read_blur(&step->blur, &step->new);
}

static int run_op(struct run *run, unsigned i, struct finding *finding)
{
	const struct op *op = &run->script->ops[i - 1];
	struct run_step *step = &run->steps[i];
	int failed, error = before_op(step, op);

	trace_mark(&run->trace, RUN_BEGUN, i);
	failed = bed_operate(op);
	if (!bed_core()) {
		SAY(finding, "operation %u: the pool cannot be opened again: %s", i,
			strerror(-failed));
		return -1;
	}
	trace_mark(&run->trace, RUN_ENDED, i);
	if (!failed && bed_syncs(op))
		trace_mark(&run->trace, RUN_SYNCED, i);
	if (!error)
		error = after_op(step);
	if (error)
		SAY(finding, "after operation %u the tree cannot be read: %s", i, strerror(-error));
	else if (failed && op->verb != VERB_TMPFILE && op->verb != VERB_REMOUNT &&
		 step->digest != run->steps[i - 1].digest)
		SAY(finding, "operation %u failed (%s) and changed something", i,
			strerror(-failed));
	else
		return 0;
	return -1;
}

static int begin(struct run *run, struct finding *finding)
{
	struct diag d = {{0}};

	media_rewind();
	media_processors(PROCESSORS);
	bed_set_clock(CLOCK_FIRST);
	media_record(&run->trace);
	if (bed_open(&d) == 0)
		return 0;
	media_record_end();
	if (media_sync_failed())
		return 1;
	SAY(finding, "the base cannot be opened: %s", d.text);
	return -1;
}

static void end(struct run *run)
{
	trace_mark(&run->trace, RUN_OVER, 0);
	media_record_end();
	media_fail_sync(0);
	if (bed_core())
		bed_abandon();
	run->clock = bed_clock();
}

static int record(struct run *run, struct finding *finding)
{
	int result = begin(run, finding);

	if (result)
		return result;
	trace_mark(&run->trace, RUN_ENDED, 0);
	run->steps[0] = (struct run_step){0};
	if (after_op(&run->steps[0])) {
		SAY(finding, "the base cannot be read");
		result = -1;
	}
	for (unsigned i = 1; i <= run->script->count && result == 0; i++) {
		run->steps[i] = (struct run_step){0};
		result = run_op(run, i, finding);
	}
	end(run);
	return result;
}

/* After a sync was refused: nobody may be told that anything is durable. */
static int ask_again(struct finding *finding)
{
	static const struct op syncs[] = {{VERB_FSYNC, {0}}, {VERB_SYNC}, {VERB_FSYNC, {0}}};

	for (unsigned i = 0; i < sizeof(syncs) / sizeof(syncs[0]); i++) {
		int error = bed_operate(&syncs[i]);

		if (error == 0 || error == -EROFS) {
			SAY(finding, "after a sync that was refused, %s",
				error ? "fsync says EROFS, not EIO"
				      : "fsync says that all is well");
			return -1;
		}
	}
	return 0;
}

/* Operation `i`, a sync of which was refused, has said `failed`. Is the tree as it must be? */
static int check_refused(struct run *run, unsigned i, int failed, struct finding *finding)
{
	const struct run_step *before = &run->steps[i - 1], *step = &run->steps[i];
	enum verb verb = run->script->ops[i - 1].verb;
	uint64_t digest;
	bool good;

	if (tree_digest(bed_core(), NULL, NULL, &digest))
		good = false;
	else if (!failed)
		good = digest == step->digest;
	else if (step->blur.start != step->blur.end)
		good = true; /* bytes that were written over in place stay */
	else /* what prepares for stores may leave blocks, in which nobody has read anything yet */
		good = digest == before->digest || (verb == VERB_PREPARE && digest == step->digest);
	if (!good) {
		SAY(finding, "operation %u, a sync of which was refused, %s", i,
			failed ? "failed and changed something" : "is not whole");
		return -1;
	}
	/* A pool that was opened anew has no memory of it. */
	return failed && verb != VERB_REMOUNT ? ask_again(finding) : 0;
}

/* The second time, to the operation that fails. */
static int record_refused(struct run *run, struct finding *finding)
{
	int result, failed = 0;

	media_fail_sync(run->script->refuse);
	result = begin(run, finding);
	if (result == 0)
		trace_mark(&run->trace, RUN_ENDED, 0);
	for (unsigned i = 1; i <= run->script->count && result == 0 && !failed; i++) {
		trace_mark(&run->trace, RUN_BEGUN, i);
		failed = bed_operate(&run->script->ops[i - 1]);
		if (!bed_core())
			break;
		if (!failed || !media_sync_failed())
			trace_mark(&run->trace, RUN_ENDED, i);
		if (!failed && bed_syncs(&run->script->ops[i - 1]))
			trace_mark(&run->trace, RUN_SYNCED, i);
		if (!media_sync_failed()) {
			failed = 0; /* of its own */
			continue;
		}
		result = check_refused(run, i, failed, finding);
	}
	bool fired = media_sync_failed();
	end(run);
	run->refused = fired;
	return result < 0 ? -1 : 0;
}

int run_record(struct run *run, const struct script *script, struct finding *finding)
{
	int result;

	run->script = script;
	media_fail_sync(0);
	result = record(run, finding);
	run->refused = false;
	if (result == 0 && script->refuse)
		result = record_refused(run, finding);
	return result;
}

void run_clear(struct run *run)
{
	for (unsigned i = 0; run->script && i <= run->script->count; i++) {
		free(run->steps[i].old);
		free(run->steps[i].new);
		run->steps[i].old = run->steps[i].new = NULL;
	}
}

/* ---- comparing ------------------------------------------------------------------------------- */

static bool digest_allowed(const struct expectation *e, uint64_t digest)
{
	if (e->exact)
		return digest == e->digest;
	for (unsigned i = e->oldest; i <= e->newest; i++)
		if (digest == e->run->steps[i].digest)
			return true;
	return false;
}

/* Is each byte that was being written over the old one or the new one, and all else as expected? */
static bool blur_allowed(const struct expectation *e)
{
	const struct run_step *step = &e->run->steps[e->blurred];
	uint64_t digest;
	uint8_t *now;
	bool good = true;

	if (e->exact || e->blurred == 0 || step->blur.start == step->blur.end ||
		tree_digest(bed_core(), &step->blur, NULL, &digest))
		return false;
	if (digest != step->blurred_before && digest != step->blurred_after)
		return false;
	if (read_blur(&step->blur, &now))
		good = false;
	for (uint64_t i = 0; good && i < step->blur.end - step->blur.start; i++)
		good = now[i] == step->old[i] || now[i] == step->new[i];
	free(now);
	return good;
}

static void say_tree(struct finding *finding, const char *title)
{
	size_t used = strlen(finding->text);
	uint64_t digest;
	FILE *to = fmemopen(finding->text + used, sizeof(finding->text) - used, "w");

	if (!to)
		return;
	fputs(title, to);
	(void)tree_digest(bed_core(), NULL, to, &digest);
	fclose(to);
	finding->text[sizeof(finding->text) - 1] = '\0';
}

int run_compare(const struct expectation *e, uint64_t *digest, struct finding *finding)
{
	int error = tree_digest(bed_core(), NULL, NULL, digest);

	if (error) {
		SAY(finding, "the tree cannot be read: %s", strerror(-error));
		return -1;
	}
	if (digest_allowed(e, *digest) || blur_allowed(e))
		return 0;
	if (e->exact)
		SAY(finding, "a crash in recovery makes it another tree:\n");
	else if (e->oldest == e->newest)
		SAY(finding, "the tree is not as operation %u left it, which was acknowledged:\n",
			e->newest);
	else
		SAY(finding, "the tree is none that it was between operations %u and %u:\n",
			e->oldest, e->newest);
	say_tree(finding, "/");
	return -1;
}
