// SPDX-License-Identifier: BSD-2-Clause
/*
 * fuzz_policy.c - policy texts: what is understood prints to a text that means the same, and keeps
 * the rules of policy.h.
 */
#include <string.h>

#include "policy.h"
#include "target.h"

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	return 0;
}

static void check_rungs(const struct lm_policy *p)
{
	bool privileged = false;

	MUST(p->count >= 1 && p->count <= LM_RUNGS_MAX);
	for (unsigned i = 0; i < p->count; i++) {
		const struct lm_rung *r = &p->rungs[i];
		bool last = i + 1u == p->count;

		MUST((r->kind >= LM_RUNG_BUSY) == last);
		MUST(!last || r->time_ns == 0);
		MUST(r->time_ns <= LM_RUNG_NS_MAX);
		MUST(r->kind != LM_RUNG_RECALL || i == 0);
		privileged |= r->kind == LM_RUNG_SIGNAL || r->kind == LM_RUNG_KILL;
	}
	MUST(privileged == lm_policy_is_privileged(p));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char text[LM_POLICY_TEXT_MAX], *in = malloc(size + 1);
	struct lm_policy p, again;

	MUST(in);
	memcpy(in, data, size);
	in[size] = '\0';
	if (lm_policy_parse(in, &p) == 0) {
		check_rungs(&p);
		lm_policy_print(&p, text, sizeof(text));
		MUST(lm_policy_parse(text, &again) == 0);
		MUST(again.count == p.count);
		for (unsigned i = 0; i < p.count; i++) {
			MUST(again.rungs[i].kind == p.rungs[i].kind);
			MUST(again.rungs[i].time_ns == p.rungs[i].time_ns);
			MUST(p.rungs[i].kind != LM_RUNG_SIGNAL ||
				again.rungs[i].signal == p.rungs[i].signal);
		}
	}
	free(in);
	return 0;
}
