// SPDX-License-Identifier: BSD-2-Clause
/*
 * fuzz_script.c - scenario files: whatever is in one, it is understood or refused with a line and a
 * reason, and what is understood is within the language's limits.
 */
#include <errno.h>
#include <string.h>

#include "script.h"
#include "target.h"

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	return 0;
}

static void check_statement(const struct script *script, unsigned i)
{
	const struct statement *s = &script->statements[i];

	MUST(s->verb < VERB_COUNT);
	MUST(s->count <= SCRIPT_ARGUMENTS_MAX);
	MUST(!s->has_range || s->low_ns <= s->high_ns);
	for (unsigned a = 0; a < s->count; a++)
		MUST(s->arguments[a].kind > ARGUMENT_WORD || s->arguments[a].text);
	if (s->verb == VERB_REPEAT) {
		MUST(s->partner > i && s->partner < script->count);
		MUST(script->statements[s->partner].verb == VERB_END);
		MUST(script->statements[s->partner].partner == i);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct script script;
	char why[256] = "";
	unsigned line = 0;
	FILE *in;

	if (size == 0)
		return 0;
	in = fmemopen((void *)(uintptr_t)data, size, "r");
	MUST(in);
	int error = script_parse(in, &script, &line, why, sizeof(why));
	if (error == 0) {
		MUST(script.count <= SCRIPT_STATEMENTS_MAX);
		for (unsigned i = 0; i < script.count; i++)
			check_statement(&script, i);
		script_free(&script);
	} else {
		MUST(error == -EINVAL || error == -ENOMEM);
		MUST(error != -EINVAL || (line > 0 && strlen(why) > 0));
	}
	fclose(in);
	return 0;
}
