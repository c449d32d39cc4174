// SPDX-License-Identifier: BSD-2-Clause
/* test_policy.c - ladders, read and printed. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "policy.h"

static void printing_gives_what_parses_to_the_same(void **state)
{
	static const char *const valid[] = {"recall:2s/busy", "wait", "busy", "orphan",
		"recall:1s/signal=SIGBUS:500ms/kill:500ms/orphan", "recall:0s/wait",
		"recall:1500us/busy", "signal=SIGTERM:1s/busy", "recall:3600s/busy"};

	for (size_t i = 0; i < sizeof(valid) / sizeof(valid[0]); i++) {
		struct lm_policy p;
		char text[LM_POLICY_TEXT_MAX];

		assert_int_equal(lm_policy_parse(valid[i], &p), 0);
		lm_policy_print(&p, text, sizeof(text));
		assert_string_equal(text, valid[i]);
	}
}

static void nonsense_is_refused(void **state)
{
	static const char *const invalid[] = {"", "/", "busy/", "/busy", "recall:2s", "recall/busy",
		"recall:/busy", "recall:2/busy", "recall:2m/busy", "recall:-2s/busy", "busy:1s",
		"busy/wait", "kill:1s", "signal:1s/busy", "signal=SIGKILL:1s/busy",
		"signal=:1s/busy", "kill:1s/recall:1s/busy", "recall:3601s/busy",
		"recall:99999999999999999999s/busy", "recall:2s/busy ", " busy", "recall:2s//busy",
		"kill:1s/kill:1s/kill:1s/kill:1s/kill:1s/kill:1s/kill:1s/kill:1s/busy"};
	struct lm_policy p;

	for (size_t i = 0; i < sizeof(invalid) / sizeof(invalid[0]); i++)
		assert_int_equal(lm_policy_parse(invalid[i], &p), -EINVAL);
}

static void eight_rungs_are_the_longest(void **state)
{
	const char *text = "recall:1ms/kill:1ms/kill:1ms/kill:1ms/kill:1ms/kill:1ms/kill:1ms/busy";
	struct lm_policy p;

	assert_int_equal(lm_policy_parse(text, &p), 0);
	assert_int_equal(p.count, LM_RUNGS_MAX);
	assert_true(lm_policy_is_privileged(&p));
	assert_int_equal(lm_policy_parse(LM_POLICY_DEFAULT, &p), 0);
	assert_false(lm_policy_is_privileged(&p));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(printing_gives_what_parses_to_the_same),
		cmocka_unit_test(nonsense_is_refused),
		cmocka_unit_test(eight_rungs_are_the_longest),
	};

	return cmocka_run_group_tests_name("policy", tests, NULL, NULL);
}
