// SPDX-License-Identifier: BSD-2-Clause
/*
 * test_crash_names.c - operations on names and xattrs, cut off at any store, and recovered.
 *
 * A run of random operations is recorded, with a description of the whole tree after each: paths,
 * types, modes, link counts, targets, xattrs. Then a power cut is tried at points of the record, as
 * machine.h has it. The pool must open, the checker must find nothing, and the tree must be
 * the one before or after the operation under way, or exactly the last one where none was.
 *
 * With the flushes left out of the record the same must be found out to fail.
 */
#include "pool_bed.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "acl.h"
#include "machine.h"
#include "verify.h"

#define OPERATIONS 250u
#define NAMES 4u
#define TREE_MAX (64u << 10)
#define MARK_BEGIN 1u
#define MARK_END 2u

/* About so many crashes are tried, of some thousands that could be; the second argument. */
static unsigned crashes = 40;
static unsigned seed = 11; /* the first */

static unsigned below(unsigned n)
{
	return (unsigned)rand_r(&seed) % n;
}

/* ---- the tree, in words ---------------------------------------------------------------------- */

struct tree {
	struct bed *bed;
	struct inode *dir;
	const char *path;
	char *text; /* TREE_MAX */
	size_t bytes;
};

static void describe(struct tree *t, struct inode *ip, const char *path)
{
	static char target[4096], list[4096], value[8192];
	struct media_inode r = bed_record(t->bed, ip);
	struct core *c = t->bed->core;
	uint64_t xattrs = 0;
	ssize_t n = 0;

	if (S_ISLNK(r.mode))
		n = core_readlink(c, ip, target, sizeof(target));
	assert_true(n >= 0);
	ssize_t names = core_listxattr(c, ip, list, sizeof(list));
	assert_true(names >= 0);
	for (char *name = list; name < list + names; name += strlen(name) + 1) {
		ssize_t bytes = core_getxattr(c, ip, name, value, sizeof(value));

		assert_true(bytes >= 0);
		xattrs +=
			XXH3_64bits_withSeed(value, (size_t)bytes, XXH3_64bits(name, strlen(name)));
	}
	t->bytes += (size_t)snprintf(t->text + t->bytes, TREE_MAX - t->bytes,
		"%s %llu %o %u %llu %lld %llx %llx\n", path, (unsigned long long)r.ino, r.mode,
		r.nlink, (unsigned long long)r.size, (long long)r.ctime_sec,
		(unsigned long long)XXH3_64bits(target, (size_t)n), (unsigned long long)xattrs);
	assert_true(t->bytes < TREE_MAX);
}

static int describe_entry(void *context, const struct core_dirent *e)
{
	struct tree *t = context;
	struct tree below_it = *t;
	char path[512];
	struct inode *ip;

	if (e->cookie < 3)
		return 0;
	assert_int_equal(core_lookup(t->bed->core, t->dir, e->name, &ip), 0);
	assert_true(snprintf(path, sizeof(path), "%s/%s", t->path, e->name) < 512);
	describe(t, ip, path);
	if (e->type == S_IFDIR >> 12) {
		below_it = *t;
		below_it.dir = ip;
		below_it.path = path;
		assert_int_equal(core_readdir(t->bed->core, ip, 0, describe_entry, &below_it), 0);
		t->bytes = below_it.bytes;
	}
	bed_put(t->bed, ip);
	return 0;
}

static char *tree_text(struct bed *b)
{
	struct tree t = {.bed = b, .dir = b->root, .path = "", .text = malloc(TREE_MAX)};

	assert_non_null(t.text);
	describe(&t, b->root, "/");
	assert_int_equal(core_readdir(b->core, b->root, 0, describe_entry, &t), 0);
	return t.text;
}

/* ---- the run --------------------------------------------------------------------------------- */

struct world {
	struct bed *bed;
	struct trace trace;
	char *trees[OPERATIONS + 1]; /* after each operation */
	uint64_t meta_bytes;
};

/* A directory some random steps down; counted. */
static struct inode *some_dir(struct bed *b)
{
	struct inode *dir = b->root, *next;
	char name[8];

	core_hold_inode(b->core, dir, 1);
	for (unsigned depth = below(3); depth; depth--) {
		snprintf(name, sizeof(name), "n%u", below(NAMES));
		if (core_lookup(b->core, dir, name, &next))
			break;
		if (!S_ISDIR(bed_record(b, next).mode)) {
			bed_put(b, next);
			break;
		}
		bed_put(b, dir);
		dir = next;
	}
	return dir;
}

static void change_xattr(struct bed *b, struct inode *ip)
{
	static const char *const names[] = {"user.a", "user.b", ACL_XATTR_ACCESS};
	static uint8_t value[5000];
	static const uint8_t acl[] = {2, 0, 0, 0, 1, 0, 7, 0, 255, 255, 255, 255, 2, 0, 5, 0, 9, 0,
		0, 0, 4, 0, 5, 0, 255, 255, 255, 255, 16, 0, 7, 0, 255, 255, 255, 255, 32, 0, 1, 0,
		255, 255, 255, 255};
	unsigned which = below(3);

	if (below(3) == 0) {
		core_removexattr(b->core, ip, names[which]);
	} else if (which == 2) {
		core_setxattr(b->core, ip, names[which], acl, sizeof(acl), 0, &b->cred);
	} else {
		memset(value, (int)below(256), sizeof(value));
		core_setxattr(b->core, ip, names[which], value, below(2) ? below(5000) : below(50),
			0, &b->cred);
	}
}

/* Most of them succeed; those that fail must change nothing, which the trees show. */
static void operate(struct bed *b)
{
	struct inode *a = some_dir(b), *z = some_dir(b), *ip = NULL, *gone = NULL;
	struct core *c = b->core;
	char from[8], to[8], target[3000];

	snprintf(from, sizeof(from), "n%u", below(NAMES));
	snprintf(to, sizeof(to), "n%u", below(NAMES));
	switch (below(13)) {
	case 0:
	case 1:
		if (core_create(c, a, from, S_IFDIR | 0755, 0, &b->cred, &ip) == 0)
			bed_put(b, ip);
		break;
	case 2:
	case 3:
		if (core_create(c, a, from, S_IFREG | 0644, 0, &b->cred, &ip) == 0)
			bed_put(b, ip);
		break;
	case 4:
		memset(target, 'a' + (int)below(26), sizeof(target));
		target[below(2) ? 20 : 2900] = '\0';
		target[sizeof(target) - 1] = '\0';
		if (core_symlink(c, a, from, target, &b->cred, &ip) == 0)
			bed_put(b, ip);
		break;
	case 5:
		core_unlink(c, a, from, NULL);
		break;
	case 6:
		core_rmdir(c, a, from);
		break;
	case 7:
		if (core_lookup(c, a, from, &ip) == 0) {
			core_link(c, ip, z, to);
			bed_put(b, ip);
		}
		break;
	case 8:
		core_rename(c, a, from, z, to, CORE_RENAME_EXCHANGE, NULL, NULL);
		break;
	case 12:
		core_rename(c, a, from, z, to, CORE_RENAME_WHITEOUT, &b->cred, NULL);
		break;
	case 9:
		if (core_lookup(c, a, from, &ip) == 0) {
			change_xattr(b, ip);
			bed_put(b, ip);
		}
		break;
	default:
		if (core_rename(c, a, from, z, to, 0, NULL, &gone) == 0 && gone)
			bed_put(b, gone);
		break;
	}
	bed_put(b, a);
	bed_put(b, z);
}

static struct machine *run(struct world *w)
{
	struct core *c = w->bed->core;
	struct region *meta = c->meta_region;
	struct machine *m;

	assert_int_equal(core_sync(c), 0);
	assert_int_equal(journal_checkpoint(c->journal), 0);
	w->meta_bytes = region_bytes(meta);
	m = machine_new(region_durable_at(meta, 0, w->meta_bytes), w->meta_bytes, 64);
	w->trees[0] = tree_text(w->bed);
	trace_start(&w->trace, &(uint64_t){region_bytes(meta)}, 1);
	for (unsigned i = 1; i <= OPERATIONS; i++) {
		trace_mark(&w->trace, MARK_BEGIN, i);
		operate(w->bed);
		trace_mark(&w->trace, MARK_END, i);
		w->trees[i] = tree_text(w->bed);
	}
	trace_stop(&w->trace);
	core_abandon(c);
	w->bed->core = NULL;
	return m;
}

/* ---- crashes --------------------------------------------------------------------------------- */

static void say_finding(void *context, const struct verify_finding *finding)
{
	(void)context;
	print_message("%s\n", finding->text);
}

static bool crash_holds(struct world *w, unsigned begun, unsigned ended, bool quiet)
{
	const struct core_options options = {.pool = w->bed->directory};
	const struct verify_options verify = {.found = quiet ? NULL : say_finding};
	struct verify_report report;
	struct diag d = {0};
	bool holds = false;
	char *text;

	if (core_open(&options, &w->bed->core, &d)) {
		if (!quiet)
			print_message("%s\n", d.text);
		return false;
	}
	assert_int_equal(verify_core(w->bed->core, &verify, &report), 0);
	if (report.found == 0) {
		assert_int_equal(core_get(w->bed->core, ROOT_INO, &w->bed->root), 0);
		text = tree_text(w->bed);
		holds = strcmp(text, w->trees[ended]) == 0 || strcmp(text, w->trees[begun]) == 0;
		if (!holds && !quiet)
			print_message("operation %u:\n%s\nnot\n%s\n", begun, text, w->trees[ended]);
		free(text);
	}
	core_abandon(w->bed->core);
	w->bed->core = NULL;
	return holds;
}

static void put_image(struct world *w, const struct machine *m, uint8_t *image)
{
	char path[300];
	int fd;

	machine_crash(m, (enum crash_luck)below(LUCK_TORN + 1), &seed, image);
	snprintf(path, sizeof(path), "%s/meta", w->bed->directory);
	fd = open(path, O_WRONLY);
	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, image, w->meta_bytes, 0), w->meta_bytes);
	assert_int_equal(close(fd), 0);
}

static unsigned crash_everywhere(struct world *w, struct machine *m, bool forget_flushes)
{
	unsigned begun = 0, ended = 0, bad = 0;
	uint8_t *image = malloc(w->meta_bytes);

	assert_non_null(image);
	for (size_t i = 0; i < w->trace.count; i++) {
		const struct trace_event *e = &w->trace.events[i];

		if (e->kind == TRACE_MARK && e->offset == MARK_BEGIN)
			begun = (unsigned)e->count;
		else if (e->kind == TRACE_MARK)
			ended = (unsigned)e->count;
		else if (e->kind != TRACE_FLUSH || !forget_flushes)
			machine_step(m, e);
		if (below((unsigned)w->trace.count) >= crashes || (bad && forget_flushes))
			continue;
		put_image(w, m, image);
		bad += !crash_holds(w, begun, ended, forget_flushes);
	}
	free(image);
	return bad;
}

static unsigned try(struct bed *b, bool forget_flushes)
{
	struct world *w = calloc(1, sizeof(*w));
	struct machine *m;
	unsigned bad;

	assert_non_null(w);
	w->bed = b;
	m = run(w);
	bad = crash_everywhere(w, m, forget_flushes);
	machine_free(m);
	trace_free(&w->trace);
	for (unsigned i = 0; i <= OPERATIONS; i++)
		free(w->trees[i]);
	free(w);
	return bad;
}

static void no_crash_leaves_half_an_operation(void **state)
{
	assert_int_equal(try(*state, false), 0);
}

static void flushes_left_out_are_found_out(void **state)
{
	assert_int_not_equal(try(*state, true), 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			no_crash_leaves_half_an_operation, bed_setup_small, bed_teardown),
		cmocka_unit_test_setup_teardown(
			flushes_left_out_are_found_out, bed_setup_small, bed_teardown),
	};

	if (argc > 1)
		seed = (unsigned)strtoul(argv[1], NULL, 10);
	if (argc > 2)
		crashes = (unsigned)strtoul(argv[2], NULL, 10);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
