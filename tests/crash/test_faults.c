// SPDX-License-Identifier: BSD-2-Clause
/*
 * test_faults.c - every operation with each allocation of memory, and each reservation of backing
 * space, refused once.
 *
 * An operation that is refused something either does without, or says so (-ENOMEM, -ENOSPC) and has
 * changed nothing: the tree is the same. Then it is tried again, and comes out as without the
 * fault; the checker finds nothing, and nothing wants recovery.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "bed.h"
#include "fault.h"
#include "pool.h"
#include "verify.h"

#define FAULTS_MAX 1000u /* of one operation */
#define CLOCK_FIRST 3000000

static const struct {
	const char *name;
	int error;
} faults[FAULTS] = {
	[FAULT_MEMORY] = {"allocations", -ENOMEM},
	[FAULT_SPACE] = {"reservations", -ENOSPC},
};

/* Each verb, where the vocabulary of the explorer has not got it. */
static const char *const scripts[] = {
	"create d/n\n",
	"mkdir n\n",
	"symlink n 30\n",
	"symlink n 3500\n",
	"mknod n\n",
	"unlink g\n",
	"rmdir e\n",
	"link f n\n",
	"rename f g\n",
	"rename d e\n",
	"exchange f d/y\n",
	"whiteout d/x g\n",
	"whiteout f L\n",
	"write f 100000 9001\n",
	"write g 4096 40000\n",
	"append f 3000\n",
	"truncate g 5\n",
	"truncate f 70000\n",
	"allocate f 20000 50000\n",
	"reserve g 0 65000\n",
	"punch g 5000 30000\n",
	"zero g 100 50000\n",
	"copy f g\n",
	"chmod d 511\n",
	"chown f 7\n",
	"utimes f 9\n",
	"setxattr f 2 3000\n",
	"setxattr g 3 9000\n",
	"removexattr f 2\n",
	"setacl d 1\n",
	"setacl f 0\n",
	"tmpfile 0\n",
	"prepare g 0 60000\n",
	"prepare f 0 60000\ncommit f 0 50000\n",
	"hold g 0 40000\n",
	"hold g 0 40000\ntruncate g 0\n",
	"tmpfile 0\nname n\n",
	"open g\nunlink g\nclose\n",
	"sync\n",
	"append f 3000\nfsync f\n",
	"append f 3000\ncheckpoint\n",
};

static unsigned seed = 1;

struct outcome {
	uint64_t before; /* digest */
	int error;       /* without any fault */
};

static void parse(const char *text, struct script *out)
{
	FILE *from = fmemopen((void *)(uintptr_t)text, strlen(text), "r");

	assert_non_null(from);
	assert_int_equal(script_parse(from, out), 0);
	fclose(from);
}

/* All operations but the last one. */
static void prepare(const struct script *s)
{
	struct diag d = {{0}};

	media_rewind();
	bed_set_clock(CLOCK_FIRST);
	if (bed_open(&d))
		fail_msg("%s", d.text);
	for (unsigned i = 0; i + 1 < s->count; i++)
		assert_int_equal(bed_operate(&s->ops[i]), 0);
}

static uint64_t digest(void)
{
	uint64_t out = 0;

	assert_int_equal(tree_digest(bed_core(), NULL, NULL, &out), 0);
	return out;
}

static void say_finding(void *context, const struct verify_finding *finding)
{
	print_message("%s\n", finding->text);
}

static void check(const struct script *s)
{
	const struct verify_options options = {.found = say_finding};
	struct verify_report report = {0};
	int error = verify_core(bed_core(), &options, &report);

	if (error || report.found) {
		script_print(s, stderr);
		fail_msg("the checker found something (%d)", error);
	}
}

/* In place, bytes may have been written before the refusal. */
static bool in_place(const struct op *op)
{
	return op->verb == VERB_WRITE || op->verb == VERB_ZERO || op->verb == VERB_PUNCH ||
	       op->verb == VERB_COMMIT;
}

/* False: the operation asks for less than n of it. */
static bool refuse(const struct script *s, enum fault what, unsigned n, const struct outcome *good)
{
	const struct op *op = &s->ops[s->count - 1];
	int64_t clock;
	bool came;
	int error;

	prepare(s);
	clock = bed_clock();
	fault_plan(what, n);
	error = bed_operate(op);
	came = fault_came();
	fault_plan(what, 0);
	if (error && error != good->error) {
		if (error != faults[what].error || !came)
			fail_msg("number %u of the %s refused: %s", n, faults[what].name,
				strerror(-error));
		if (!in_place(op) && op->verb != VERB_TMPFILE && digest() != good->before)
			fail_msg("number %u of the %s refused: something has changed", n,
				faults[what].name);
		bed_set_clock(clock);
		error = bed_operate(op);
	}
	assert_int_equal(error, good->error);
	check(s);
	assert_int_equal(bed_close(), 0);
	return came;
}

static unsigned refuse_each(const struct script *s, enum fault what)
{
	struct outcome good;
	unsigned n = 1;

	prepare(s);
	good.before = digest();
	good.error = bed_operate(&s->ops[s->count - 1]);
	assert_int_equal(bed_close(), 0);
	while (refuse(s, what, n, &good))
		assert_true(++n < FAULTS_MAX);
	return n - 1;
}

static void refuse_all(enum fault what)
{
	unsigned operations = 0, refusals = 0;
	static struct script s;

	for (size_t i = 0; i < sizeof(scripts) / sizeof(scripts[0]); i++, operations++) {
		parse(scripts[i], &s);
		refusals += refuse_each(&s, what);
	}
	/* And in other states than the base's. */
	for (unsigned i = 0; i < script_vocabulary_count; i++) {
		s.count = 2;
		s.ops[0] = script_vocabulary[(unsigned)rand_r(&seed) % script_vocabulary_count];
		s.ops[1] = script_vocabulary[i];
		prepare(&s);
		int error = bed_operate(&s.ops[1]);
		bed_abandon();
		if (error || s.ops[1].verb == VERB_REMOUNT)
			continue;
		refusals += refuse_each(&s, what);
		operations++;
	}
	print_message("%s: %u operations, %u %s refused\n", media_names[media_kind()], operations,
		refusals, faults[what].name);
	assert_true(refusals > 20);
}

static void memory_refused_changes_nothing(void **state)
{
	refuse_all(FAULT_MEMORY);
}

static void space_refused_changes_nothing(void **state)
{
	refuse_all(FAULT_SPACE);
}

static int setup(void **state)
{
	bed_make(*(const enum media_kind *)*state);
	bed_select(0);
	return 0;
}

static int teardown(void **state)
{
	bed_remove();
	return 0;
}

#define TEST(name, kind) cmocka_unit_test_prestate_setup_teardown(name, setup, teardown, kind)

int main(void)
{
	static enum media_kind pmem = MEDIA_PMEM, relaxed = MEDIA_RELAXED;
	const struct CMUnitTest tests[] = {
		TEST(memory_refused_changes_nothing, &pmem),
		TEST(memory_refused_changes_nothing, &relaxed),
		TEST(space_refused_changes_nothing, &pmem),
		TEST(space_refused_changes_nothing, &relaxed),
	};

	return cmocka_run_group_tests_name("faults", tests, NULL, NULL);
}
