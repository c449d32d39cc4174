// SPDX-License-Identifier: BSD-2-Clause
/*
 * shrink.c - see shrink.h.
 */
#include "shrink.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

/* What a cut leaves is a matter of luck: so often it is tried, with more images than before. */
#define ATTEMPTS 3u
#define IMAGES_FACTOR 3u

struct attempt {
	struct script script;
	struct finding finding;
	bool found;
};

static struct attempt *shared;

static void attempt_in_child(const struct explore_limits *limits)
{
	const struct explore_limits more = {
		.images = limits->images * IMAGES_FACTOR,
		.nested_one_in = limits->nested_one_in ? 2 : 0,
		.nested_images = limits->nested_images,
	};
	struct explore_stats stats = {0};

	explorer_make(shared->script.media);
	for (unsigned i = 0; i < ATTEMPTS && !shared->found; i++) {
		shared->script.seed += i;
		shared->found = explore(&shared->script, 0, &more, &stats, &shared->finding) != 0;
	}
	explorer_remove();
	exit(0);
}

static bool fails(const struct script *script, const struct explore_limits *limits)
{
	pid_t pid;
	int status;

	shared->script = *script;
	shared->found = false;
	fflush(NULL);
	pid = fork();
	if (pid < 0)
		return false;
	if (pid == 0)
		attempt_in_child(limits);
	if (waitpid(pid, &status, 0) != pid)
		return false;
	if (status == 0)
		return shared->found;
	snprintf(shared->finding.text, sizeof(shared->finding.text),
		"the process ended, status %#x", status);
	return true;
}

static void leave_out(struct script *s, unsigned at, unsigned count)
{
	memmove(&s->ops[at], &s->ops[at + count], (s->count - at - count) * sizeof(s->ops[0]));
	s->count -= count;
}

void shrink(struct script *script, const struct explore_limits *limits, struct finding *finding)
{
	struct script shorter = *script;

	shared = mmap(
		NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		return;
	shorter.base = 0;
	if (script->base && fails(&shorter, limits))
		*script = shared->script;
	for (unsigned count = script->count; count > 0; count /= 2)
		for (unsigned end = script->count; end >= count; end -= count) {
			shorter = *script;
			leave_out(&shorter, end - count, count);
			if (!fails(&shorter, limits))
				continue;
			*script = shared->script;
			*finding = shared->finding;
		}
	munmap(shared, sizeof(*shared));
}
