// SPDX-License-Identifier: BSD-2-Clause
/*
 * stress.c - many threads on one filesystem.
 *
 *   stress [--mount] [--threads N] [--ops N] [--seed N] [--rounds N] ...
 *
 * Each thread plays a random script in a directory of its own and compares it with a model of it,
 * exactly as treetest does: what the others do must not show there. Between its operations it does
 * others in a directory that all share, where nobody knows what comes out; only errors that no
 * race explains are failures there. In the end the checker must find nothing.
 *
 * Made to be built with -Db_sanitize=thread as well.
 */
#include <assert.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <libgen.h>
#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

#include "compare.h"
#include "model.h"

#define THREADS_MAX 64
#define SHARED "shared"

struct stress {
	const struct target_kind *kind;
	struct target_options options;
	struct target *target;
	unsigned threads;
	uint64_t ops, seed, rounds;
	bool small;
};

struct worker {
	struct stress *s;
	pthread_t thread;
	unsigned number;
	uint64_t seed;
	int failed;
	uint64_t shared_ops, shared_done;
};

/* ---- a target below a directory -------------------------------------------------------------- */

#define WHOLE_MAX 8192

/* compare.c works on a whole target: this one is a directory of another. */
struct below {
	const struct target_kind *kind;
	struct target *target;
	char prefix[32];
};

static const struct below *below_of(struct target *t)
{
	return (const struct below *)(void *)t;
}

static const char *join(const struct below *b, const char *path, char out[WHOLE_MAX])
{
	int n = snprintf(out, WHOLE_MAX, "%s%s%s", b->prefix, path[0] ? "/" : "", path);
	assert(n > 0 && n < WHOLE_MAX); /* the model's paths are shorter */
	return out;
}

static int below_stat(struct target *t, const char *path, struct stat *out)
{
	const struct below *b = below_of(t);
	char whole[WHOLE_MAX];
	return b->kind->stat(b->target, join(b, path, whole), out);
}

static int below_list(struct target *t, const char *path,
	int (*emit)(void *context, const char *name, uint64_t ino, uint8_t type), void *context)
{
	const struct below *b = below_of(t);
	char whole[WHOLE_MAX];
	return b->kind->list(b->target, join(b, path, whole), emit, context);
}

static ssize_t below_read(struct target *t, const char *path, void *out, size_t n, uint64_t offset)
{
	const struct below *b = below_of(t);
	char whole[WHOLE_MAX];
	return b->kind->read(b->target, join(b, path, whole), out, n, offset);
}

static int64_t below_seek(struct target *t, const char *path, uint64_t offset, int whence)
{
	const struct below *b = below_of(t);
	char whole[WHOLE_MAX];
	return b->kind->seek(b->target, join(b, path, whole), offset, whence);
}

static ssize_t below_readlink(struct target *t, const char *path, char *out, size_t n)
{
	const struct below *b = below_of(t);
	char whole[WHOLE_MAX];
	return b->kind->readlink(b->target, join(b, path, whole), out, n);
}

static ssize_t below_listxattr(struct target *t, const char *path, char *out, size_t n)
{
	const struct below *b = below_of(t);
	char whole[WHOLE_MAX];
	return b->kind->listxattr(b->target, join(b, path, whole), out, n);
}

static ssize_t below_getxattr(
	struct target *t, const char *path, const char *name, void *out, size_t n)
{
	const struct below *b = below_of(t);
	char whole[WHOLE_MAX];
	return b->kind->getxattr(b->target, join(b, path, whole), name, out, n);
}

static const struct target_kind target_below = {
	.name = "below",
	.stat = below_stat,
	.list = below_list,
	.read = below_read,
	.seek = below_seek,
	.readlink = below_readlink,
	.listxattr = below_listxattr,
	.getxattr = below_getxattr,
};

/* False: the operation is about the prefix itself, which is not the script's to change. */
static bool prefixed(const struct op *op, const char *prefix, struct op *out)
{
	bool names = op->kind <= OP_RENAME;
	bool two = op->kind == OP_LINK || op->kind == OP_RENAME || op->kind == OP_COPY;
	if (names && (op->path[0] == '\0' || (two && op->path2[0] == '\0')))
		return false;
	if (strlen(op->path) + 40 > PATH_BYTES || strlen(op->path2) + 40 > PATH_BYTES)
		return false;
	*out = *op;
	snprintf(out->path, PATH_BYTES, "%s%s%.*s", prefix, op->path[0] ? "/" : "", PATH_BYTES - 40,
		op->path);
	if (two)
		snprintf(out->path2, PATH_BYTES, "%s%s%.*s", prefix, op->path2[0] ? "/" : "",
			PATH_BYTES - 40, op->path2);
	return true;
}

/* ---- workers --------------------------------------------------------------------------------- */

static bool explained(int64_t result)
{
	static const int errors[] = {ENOENT, EEXIST, ENOTDIR, EISDIR, ENOTEMPTY, EINVAL, ENODATA,
		EPERM, ENOSPC, ENAMETOOLONG, EOPNOTSUPP, EMLINK};
	if (result >= 0)
		return true;
	for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++)
		if (result == -errors[i])
			return true;
	return false;
}

static int any_name(void *context, const char *name, uint64_t ino, uint8_t type)
{
	(void)name;
	(void)ino;
	(void)type;
	++*(uint64_t *)context;
	return 0;
}

static int complain(struct worker *w, const struct op *op, int64_t got, const char *should)
{
	fprintf(stderr, "thread %u: gave %" PRId64 "%s%s%s, should be %s: ", w->number, got,
		got < 0 ? " (" : "", got < 0 ? strerror((int)-got) : "", got < 0 ? ")" : "",
		should);
	op_print(op, stderr);
	return -1;
}

static int shared_step(struct worker *w, const struct op *op, void *bytes)
{
	struct stress *s = w->s;
	struct op there;
	uint64_t names = 0;
	if (op->kind >= OP_COMPARE) {
		int r = s->kind->list(s->target, SHARED, any_name, &names);
		return r == 0 ? 0 : complain(w, op, r, "a list of names");
	}
	if (!prefixed(op, SHARED, &there))
		return 0;
	int64_t got = target_run(s->kind, s->target, &there, bytes);
	w->shared_ops++;
	w->shared_done += got >= 0;
	return explained(got) ? 0 : complain(w, &there, got, "an error that a race explains");
}

static int own_step(
	struct worker *w, struct model *m, const struct op *op, const char *prefix, void *bytes)
{
	struct stress *s = w->s;
	struct below below = {.kind = s->kind, .target = s->target};
	struct op there;
	char should[32];
	snprintf(below.prefix, sizeof(below.prefix), "%s", prefix);
	if (op->kind == OP_COMPARE)
		return compare_tree(m, &target_below, (struct target *)(void *)&below);
	if (!prefixed(op, prefix, &there))
		return 0;
	int64_t got = target_run(s->kind, s->target, &there, bytes);
	if (got == -ENOSPC && s->small)
		return 0;
	bool counts = op->kind >= OP_WRITE && op->kind <= OP_COPY && op->kind != OP_READ;
	bool cut = s->small && got >= 0 && (counts || op->kind == OP_FILL);
	int64_t want = model_apply(m, op, cut ? (uint64_t)got : UINT64_MAX);
	/* Orders of errors that the kernel decides (run.c). */
	bool same = got == want || (op->kind == OP_RENAME && got < 0 && want < 0) ||
		    (op->kind == OP_COPY && got == -EINVAL && want == 0);
	snprintf(should, sizeof(should), "%" PRId64, want);
	return same ? 0 : complain(w, &there, got, should);
}

static void *work(void *argument)
{
	struct worker *w = argument;
	struct script_options options = {
		.seed = w->seed,
		.ops = w->s->ops,
		.batch = 200,
		.privileged = geteuid() == 0,
		.file_bytes = 1u << 20,
	};
	struct script own = {0}, shared = {0};
	struct model m;
	char prefix[32];
	uint8_t *bytes = malloc(8u << 20);
	assert(bytes != NULL);
	snprintf(prefix, sizeof(prefix), "t%u", w->number);
	script_generate(&options, &own);
	options.seed = w->s->seed; /* the same names for all, in another order */
	script_generate(&options, &shared);
	model_init(&m);
	size_t at = (size_t)(mix64(w->seed) % shared.count);
	for (size_t i = 0; i < own.count && w->failed == 0; i++) {
		w->failed = own_step(w, &m, &own.ops[i], prefix, bytes);
		if (w->failed == 0)
			w->failed = shared_step(w, &shared.ops[at++ % shared.count], bytes);
	}
	model_free(&m);
	script_free(&own);
	script_free(&shared);
	free(bytes);
	return NULL;
}

static int make_directory(struct stress *s, const char *name)
{
	struct op op = {.kind = OP_MKDIR, .mode = 0755};
	snprintf(op.path, sizeof(op.path), "%s", name);
	int64_t r = target_run(s->kind, s->target, &op, NULL);
	if (r < 0)
		fprintf(stderr, "mkdir %s: %s\n", name, strerror((int)-r));
	return r < 0 ? -1 : 0;
}

static int one_round(struct stress *s)
{
	static struct worker workers[THREADS_MAX];
	uint64_t ops = 0, done = 0;
	char name[32];
	int failed = 0;
	s->kind->clean_up(&s->options);
	s->target = s->kind->open(&s->options);
	if (!s->target)
		return 2;
	failed = make_directory(s, SHARED);
	for (unsigned i = 0; i < s->threads; i++) {
		snprintf(name, sizeof(name), "t%u", i);
		failed |= make_directory(s, name);
		workers[i] = (struct worker){.s = s, .number = i, .seed = s->seed * 1000 + i};
	}
	unsigned started = 0;
	while (failed == 0 && started < s->threads &&
		pthread_create(&workers[started].thread, NULL, work, &workers[started]) == 0)
		started++;
	for (unsigned i = 0; i < started; i++) {
		pthread_join(workers[i].thread, NULL);
		failed |= workers[i].failed;
		ops += workers[i].shared_ops;
		done += workers[i].shared_done;
	}
	if (failed == 0)
		failed = s->kind->verify(s->target);
	if (s->kind->close(s->target) < 0)
		failed = -1;
	printf("stress (%s): seed %" PRIu64 ", %u threads, %" PRIu64 " operations each, %" PRIu64
	       " of %" PRIu64 " shared ones done: %s\n",
		s->kind->name, s->seed, started, s->ops, done, ops, failed ? "FAILED" : "passed");
	fflush(stdout);
	return failed || started < s->threads ? 1 : 0;
}

/* ---- command line ---------------------------------------------------------------------------- */

static const char usage_text[] =
	"usage: stress [--mount] [--threads N] [--ops N] [--seed N] [--rounds N] [--small]\n"
	"              [--domains-uid] [--options LIST] [--programs DIR] [--directory DIR]\n";

static bool parse(struct stress *s, int argc, char **argv)
{
	static const struct option options[] = {
		{"mount", no_argument, NULL, 'm'},
		{"threads", required_argument, NULL, 't'},
		{"ops", required_argument, NULL, 'n'},
		{"seed", required_argument, NULL, 's'},
		{"rounds", required_argument, NULL, 'r'},
		{"small", no_argument, NULL, 'S'},
		{"domains-uid", no_argument, NULL, 'u'},
		{"options", required_argument, NULL, 'o'},
		{"programs", required_argument, NULL, 'p'},
		{"directory", required_argument, NULL, 'd'},
		{NULL, 0, NULL, 0},
	};
	int option;
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		uint64_t v = optarg ? strtoull(optarg, NULL, 10) : 0;
		switch (option) {
		case 'm':
			s->kind = &target_mount;
			break;
		case 't':
			s->threads = (unsigned)v;
			break;
		case 'n':
			s->ops = v;
			break;
		case 's':
			s->seed = v;
			break;
		case 'r':
			s->rounds = v;
			break;
		case 'S':
			s->small = true;
			s->options.pool_bytes = s->options.meta_bytes = 16u << 20;
			break;
		case 'u':
			s->options.domains = 1;
			break;
		case 'o':
			s->options.mount_options = optarg;
			break;
		case 'p':
			s->options.programs = optarg;
			break;
		case 'd':
			s->options.directory = optarg;
			break;
		default:
			return false;
		}
	}
	return optind == argc && s->threads >= 1 && s->threads <= THREADS_MAX && s->ops > 0;
}

static const char *default_programs(void)
{
	static char path[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);
	if (n < 0)
		return ".";
	path[n] = '\0';
	return dirname(dirname(dirname(path))); /* BUILD/tests/stress/stress */
}

int main(int argc, char **argv)
{
	static char directory[PATH_MAX];
	struct stress s = {.kind = &target_core, .threads = 4, .ops = 2000, .rounds = 1};
	int status = 0;
	if (getrandom(&s.seed, sizeof(s.seed), 0) < 0)
		return 2;
	s.seed %= 1000000000;
	if (!parse(&s, argc, argv)) {
		fputs(usage_text, stderr);
		return 2;
	}
	umask(0);
	if (s.kind == &target_mount && access("/dev/fuse", R_OK | W_OK) < 0) {
		puts("skipped: /dev/fuse is not there or not for us");
		return 77;
	}
	if (!s.options.programs)
		s.options.programs = default_programs();
	bool own = !s.options.directory;
	if (own) {
		snprintf(directory, sizeof(directory), "%s/stress-XXXXXX",
			access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
		if (!mkdtemp(directory))
			return 2;
		s.options.directory = directory;
	}
	for (uint64_t i = 0; status == 0 && i < s.rounds; i++, s.seed++)
		status = one_round(&s);
	s.kind->clean_up(&s.options);
	remove_pool(s.options.directory);
	if (own)
		rmdir(directory);
	return status;
}
