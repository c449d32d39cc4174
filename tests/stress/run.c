// SPDX-License-Identifier: BSD-2-Clause
/*
 * run.c - see run.h.
 *
 * The child tells the parent how far it is through a shared counter, so that a script that ends in
 * a signal can be cut off behind the operation that did it.
 */
#include "run.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "compare.h"
#include "model.h"

/* Shared with the parent. */
struct progress {
	uint64_t at;
	uint64_t out_of_space;
};

#define READ_BYTES_MAX (8u << 20)
#define SPACE_SLACK (3u << 20) /* reservation goes by 2 MiB; trees need a few blocks */

static bool may_run_out(enum op_kind kind)
{
	switch (kind) {
	case OP_UNLINK:
	case OP_RMDIR:
	case OP_DRAIN:
	case OP_READ:
	case OP_CHMOD:
	case OP_UTIMENS:
	case OP_OPEN:
	case OP_CLOSE:
	case OP_COMPARE:
	case OP_CRASH:
	case OP_REMOUNT:
	case OP_DELXATTR:
		return false;
	default:
		return true;
	}
}

static bool is_count(enum op_kind kind)
{
	return kind == OP_WRITE || kind == OP_APPEND || kind == OP_COPY || kind == OP_COMB ||
	       kind == OP_FILL;
}

/* ENOSPC is believed only while the target itself reports little space. */
static bool plausible_enospc(const struct run_options *o, struct target *t, const struct op *op)
{
	struct target_space space;
	uint64_t wants = op->length;
	if (!o->small || !may_run_out(op->kind) || o->kind->space(t, &space) < 0)
		return false;
	return space.data_free < wants + SPACE_SLACK || space.meta_free < wants + (1u << 20);
}

/*
 * A rename may be wrong in several ways at once. The kernel looks at them in an order of its own
 * before it asks a filesystem, so that the order is no matter below it. Nor does it ask for a copy
 * from behind the end of file, overlapping or not.
 */
static bool as_good(const struct run_options *o, enum op_kind kind, int64_t got, int64_t should)
{
	static const int errors[] = {EEXIST, EINVAL, EISDIR, ENOTDIR, ENOTEMPTY};
	int hits = 0;
	if (got == should)
		return true;
	if (o->kind != &target_core)
		return false;
	if (kind == OP_COPY)
		return got == -EINVAL && should == 0;
	if (kind != OP_RENAME)
		return false;
	for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++)
		hits += (got == -errors[i]) + (should == -errors[i]);
	return hits == 2;
}

static int complain(const struct op *op, size_t at, const char *what, int64_t got, int64_t should)
{
	fprintf(stderr, "operation %zu: ", at);
	op_print(op, stderr);
	fprintf(stderr, "  %s: gave %" PRId64 "%s%s%s, should be %" PRId64 "%s%s%s\n", what, got,
		got < 0 ? " (" : "", got < 0 ? strerror((int)-got) : "", got < 0 ? ")" : "", should,
		should < 0 ? " (" : "", should < 0 ? strerror((int)-should) : "",
		should < 0 ? ")" : "");
	return -1;
}

static int check_read(struct model *m, const struct op *op, size_t at, const uint8_t *got, size_t n)
{
	struct node *file;
	if (model_resolve(m, op->path, &file) < 0 || n == 0)
		return 0;
	uint8_t *should = malloc(n);
	assert(should != NULL);
	content_read(&file->content, op->offset, should, n);
	size_t i = 0;
	while (i < n && got[i] == should[i])
		i++;
	free(should);
	return i == n ? 0 : complain(op, at, "byte read", (int64_t)(op->offset + i), -1);
}

/* The file that an operation on data touched is compared now and then, not only with the tree. */
static int check_touched(
	struct model *m, const struct run_options *o, struct target *t, const struct op *op)
{
	struct node *n;
	if (op->kind < OP_WRITE || op->kind > OP_COPY || op->kind == OP_READ)
		return 0;
	const char *path = op->kind == OP_COPY ? op->path2 : op->path;
	if (model_resolve(m, path, &n) < 0 || n->size > (4u << 20))
		return 0;
	return compare_file(n, path, o->kind, t);
}

static int check_all(struct model *m, const struct run_options *o, struct target *t)
{
	int r = compare_tree(m, o->kind, t);
	if (r == 0 && o->verify)
		r = o->kind->verify(t);
	return r;
}

#define RAN_OUT 1 /* of space, plausibly */
static int step(struct model *m, const struct run_options *o, struct target *t, const struct op *op,
	size_t at, uint8_t *bytes)
{
	if (op->kind == OP_READ && op->length > READ_BYTES_MAX)
		return 0;
	int64_t got = target_run(o->kind, t, op, bytes);
	if (got == -ENOSPC && plausible_enospc(o, t, op))
		return check_touched(m, o, t, op) < 0 ? -1 : RAN_OUT;
	uint64_t done = UINT64_MAX;
	if (got >= 0 && is_count(op->kind) && plausible_enospc(o, t, op))
		done = (uint64_t)got;
	int64_t should = model_apply(m, op, done);
	if (!as_good(o, op->kind, got, should))
		return complain(op, at, "result", got, should);
	if (op->kind == OP_READ && got > 0)
		return check_read(m, op, at, bytes, (size_t)got);
	if (op->kind == OP_COMPARE || op->kind == OP_CRASH || op->kind == OP_REMOUNT)
		return check_all(m, o, t);
	return at % 4 == 0 ? check_touched(m, o, t, op) : 0;
}

static int play(
	const struct run_options *o, const struct script *s, volatile struct progress *progress)
{
	struct model m;
	struct target *t = o->kind->open(&o->target);
	if (!t)
		return 2;
	uint8_t *bytes = malloc(READ_BYTES_MAX);
	assert(bytes != NULL);
	model_init(&m);
	int r = 0;
	for (size_t i = 0; i < s->count && r == 0; i++) {
		progress->at = i;
		r = step(&m, o, t, &s->ops[i], i, bytes);
		if (r == RAN_OUT) {
			progress->out_of_space++;
			r = 0;
		}
		if (r < 0 && s->ops[i].kind >= OP_COMPARE)
			fprintf(stderr, "found by operation %zu (%s)\n", i,
				op_name(s->ops[i].kind));
	}
	if (r == 0) {
		progress->at = s->count;
		r = check_all(&m, o, t);
	}
	int closed = o->kind->close(t);
	if (closed < 0) {
		fprintf(stderr, "closing: %s\n", strerror(-closed));
		r = -1;
	}
	model_free(&m);
	free(bytes);
	return r < 0;
}

static void child(
	const struct run_options *o, const struct script *s, volatile struct progress *progress)
{
	if (o->quiet) {
		int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
		if (null >= 0) {
			dup2(null, STDERR_FILENO);
			dup2(null, STDOUT_FILENO);
		}
	}
	alarm(o->timeout_s);
	exit(play(o, s, progress));
}

void run_script(const struct run_options *o, const struct script *s, struct run_result *out)
{
	volatile struct progress *progress = mmap(
		NULL, sizeof(*progress), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int status = 0;
	assert(progress != MAP_FAILED);
	memset(out, 0, sizeof(*out));
	o->kind->clean_up(&o->target);
	fflush(NULL);
	pid_t pid = fork();
	assert(pid >= 0);
	if (pid == 0)
		child(o, s, progress);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	o->kind->clean_up(&o->target);
	out->failed_at = progress->at;
	out->out_of_space = progress->out_of_space;
	out->failed = status != 0;
	if (WIFSIGNALED(status))
		snprintf(out->how, sizeof(out->how), "%s",
			WTERMSIG(status) == SIGALRM ? "it took too long"
						    : strsignal(WTERMSIG(status)));
	else if (status != 0)
		snprintf(out->how, sizeof(out->how), "exit status %d", WEXITSTATUS(status));
	munmap((void *)progress, sizeof(*progress));
}
