// SPDX-License-Identifier: BSD-2-Clause
/*
 * test_crash_core.c - random operations of a whole filesystem, cut off at any store, and recovered.
 *
 * As test_crash.c, one floor up, and over both regions: what a power cut could leave is opened and
 * checked by the verifier, and the tree must be as it was after the last acknowledged operation, or
 * after the one under way: names, attributes, contents. With relaxed durability: not older than
 * the last sync. An operation that failed must have changed nothing.
 *
 * Writes are of few blocks, and never over bytes that are there: those may be torn, as anywhere.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "machine.h"
#include "pool.h"
#include "scratch.h"
#include "tree_digest.h"
#include "verify.h"

#define OPERATIONS_MAX 2000u
#define META_BYTES (8ull << 20)
#define POOL_BYTES (4ull << 20)
#define DATA_BYTES (POOL_BYTES + 4096) /* with the tag */

enum { META, DATA, REGIONS };
enum mark { MARK_BEGIN = 1, MARK_ACKNOWLEDGED, MARK_SYNCED };

/* A crash is tried at one event in so many; the first argument sets it. */
static unsigned one_in = 60;
static unsigned operations = 400;
static unsigned first_seed = 1;

static const char *pool;
static bool relaxed;
static struct core *core;
static struct trace trace;
static uint8_t *initial[REGIONS];
static uint8_t *file[REGIONS]; /* the pool's files, mapped */
static const uint64_t sizes[REGIONS] = {META_BYTES, DATA_BYTES};
static uint64_t states[OPERATIONS_MAX + 1];
static char done[OPERATIONS_MAX + 1][256]; /* what the operations were, for messages */
static int64_t ticks;

static int tick(struct timespec *now)
{
	*now = (struct timespec){.tv_sec = 1000000 + ticks++, .tv_nsec = 5};
	return 0;
}

static int open_pool(void)
{
	const struct core_options options = {
		.pool = pool,
		.durability = relaxed ? DURABILITY_RELAXED : DURABILITY_STRICT,
		.clock = tick,
	};
	struct diag d = {{0}};
	int error = core_open(&options, &core, &d);

	if (error)
		print_message("open: %s\n", d.text);
	return error;
}

/* ---- operations ------------------------------------------------------------------------------ */

static const struct core_cred cred = {.uid = 0, .gid = 0, .umask = 022, .fsetid = true};

static struct inode *pick_directory(unsigned *seed, char *text)
{
	struct inode *dir, *sub;
	char name[8];

	assert_int_equal(core_get(core, ROOT_INO, &dir), 0);
	text[0] = '\0';
	for (int depth = 0; depth < 2 && rand_r(seed) % 3; depth++) {
		struct stat st;
		struct timespec btime;

		snprintf(name, sizeof(name), "d%d", rand_r(seed) % 3);
		if (core_lookup(core, dir, name, &sub))
			break;
		assert_int_equal(core_getattr(core, sub, &st, &btime), 0);
		core_put(core, S_ISDIR(st.st_mode) ? dir : sub, 1);
		if (!S_ISDIR(st.st_mode))
			break;
		dir = sub;
		strcat(text, name);
		strcat(text, "/");
	}
	return dir;
}

static void pick_name(unsigned *seed, char *name)
{
	if (rand_r(seed) % 4 == 0)
		sprintf(name, "d%d", rand_r(seed) % 3);
	else if (rand_r(seed) % 6 == 0)
		sprintf(name, "%0200d", rand_r(seed) % 40);
	else
		sprintf(name, "n%d", rand_r(seed) % 12);
}

static int write_new_bytes(struct inode *ip, unsigned *seed)
{
	static uint8_t bytes[24000];
	size_t count = 1 + (size_t)rand_r(seed) % (rand_r(seed) % 3 ? 3000 : sizeof(bytes));
	struct timespec btime;
	struct stat st;
	uint64_t at;
	ssize_t n;

	assert_int_equal(core_getattr(core, ip, &st, &btime), 0);
	at = (uint64_t)st.st_size;
	if (rand_r(seed) % 4 == 0)
		at += (uint64_t)rand_r(seed) % 50000; /* leaves a hole */
	for (size_t i = 0; i < count; i++)
		bytes[i] = (uint8_t)rand_r(seed);
	n = core_write(core, ip, bytes, count, at, &cred);
	return n < 0 ? (int)n : 0;
}

static int change_attributes(struct inode *ip, unsigned *seed)
{
	struct core_setattr set = {.cred = &cred};

	switch (rand_r(seed) % 3) {
	case 0:
		set.valid = CORE_SET_MODE;
		set.mode = (uint32_t)rand_r(seed) % 01000;
		break;
	case 1:
		set.valid = CORE_SET_UID | CORE_SET_GID;
		set.uid = (uint32_t)rand_r(seed) % 100;
		set.gid = (uint32_t)rand_r(seed) % 100;
		break;
	default:
		set.valid = CORE_SET_MTIME;
		set.mtime.tv_sec = rand_r(seed);
	}
	return core_setattr(core, ip, &set);
}

static int change_xattr(struct inode *ip, unsigned *seed)
{
	static const size_t most[] = {30, 500, 3000, 20000};
	static uint8_t value[20000];
	size_t bytes = (size_t)rand_r(seed) % most[rand_r(seed) % 4];
	char name[16];

	snprintf(name, sizeof(name), "user.x%d", rand_r(seed) % 4);
	if (rand_r(seed) % 3 == 0)
		return core_removexattr(core, ip, name);
	memset(value, rand_r(seed), bytes);
	return core_setxattr(core, ip, name, value, bytes, 0, &cred);
}

static int change_space(struct inode *ip, unsigned *seed)
{
	uint64_t at = (uint64_t)rand_r(seed) % 60000, length = 1 + (uint64_t)rand_r(seed) % 40000;

	switch (rand_r(seed) % 5) {
	case 0:
		return core_fallocate(core, ip, 0, at, length, &cred);
	case 1:
		return core_fallocate(core, ip, FALLOC_FL_KEEP_SIZE, at, length, &cred);
	case 2: /* whole blocks: bytes at the edges are zeroed in place, and may be torn */
		return core_fallocate(core, ip, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			at & ~4095ull, (length + 4095) & ~4095ull, &cred);
	default:
		/* The bytes between a new end and the block's end may be written again, in place,
		 * while an older size is the durable one. */
		return core_truncate(core, ip, relaxed ? at & ~4095ull : at, &cred);
	}
}

/* On what `name` is, if it is there. */
static int operate_inside(struct inode *dir, const char *name, unsigned *seed, const char **what)
{
	struct inode *ip;
	int error = core_lookup(core, dir, name, &ip);

	if (error)
		return error;
	switch (rand_r(seed) % 8) {
	case 0:
	case 1:
	case 2:
		*what = "write";
		error = write_new_bytes(ip, seed);
		break;
	case 3:
	case 4:
		*what = "space";
		error = change_space(ip, seed);
		break;
	case 5:
		*what = "setattr";
		error = change_attributes(ip, seed);
		break;
	default:
		*what = "xattr";
		error = change_xattr(ip, seed);
	}
	core_put(core, ip, 1);
	return error;
}

static int rename_something(struct inode *from, const char *name, unsigned *seed, char *text)
{
	static const unsigned flags[] = {
		0, 0, CORE_RENAME_NOREPLACE, CORE_RENAME_EXCHANGE, CORE_RENAME_WHITEOUT};
	char path[40], other[256];
	struct inode *to = pick_directory(seed, path), *gone = NULL;
	unsigned flag = flags[rand_r(seed) % 5];
	int error;

	pick_name(seed, other);
	error = core_rename(core, from, name, to, other, flag, &cred, &gone);
	sprintf(text, "rename flags %u to %s%.60s", flag, path, other);
	if (gone)
		core_put(core, gone, 1);
	core_put(core, to, 1);
	return error;
}

static int operate_on_names(struct inode *dir, const char *name, unsigned *seed, char *text)
{
	static char target[SYMLINK_BYTES_MAX + 1];
	struct inode *ip = NULL;
	char other[256];
	int error;

	switch (rand_r(seed) % 9) {
	case 0:
	case 1:
		strcpy(text, "create");
		error = core_create(core, dir, name, S_IFREG | 0644, 0, &cred, &ip);
		break;
	case 2:
		strcpy(text, "mkdir");
		error = core_create(core, dir, name, S_IFDIR | 0755, 0, &cred, &ip);
		break;
	case 3:
		strcpy(text, "symlink");
		memset(target, 't', sizeof(target) - 1);
		target[1 + rand_r(seed) % (rand_r(seed) % 2 ? 80 : 4000)] = '\0';
		error = core_symlink(core, dir, name, target, &cred, &ip);
		break;
	case 4:
		strcpy(text, "link");
		pick_name(seed, other);
		error = core_lookup(core, dir, other, &ip);
		if (!error)
			error = core_link(core, ip, dir, name);
		break;
	case 5:
		strcpy(text, "unlink");
		error = core_unlink(core, dir, name, &ip);
		break;
	case 6:
		strcpy(text, "rmdir");
		return core_rmdir(core, dir, name);
	default:
		return rename_something(dir, name, seed, text);
	}
	if (ip)
		core_put(core, ip, 1);
	return error;
}

static int operate(unsigned *seed, char *text)
{
	char path[40], name[256], what[128] = "";
	struct inode *dir = pick_directory(seed, path);
	const char *inside = "?";
	int error;

	pick_name(seed, name);
	if (rand_r(seed) % 2) {
		error = operate_inside(dir, name, seed, &inside);
		strcpy(what, inside);
	} else {
		error = operate_on_names(dir, name, seed, what);
	}
	snprintf(text, sizeof(done[0]), "%s%.60s %.70s: %d", path, name, what, error);
	core_put(core, dir, 1);
	return error;
}

/* ---- the run --------------------------------------------------------------------------------- */

static void map_files(void)
{
	static const char *const names[REGIONS] = {"meta", "data.0"};
	char path[300];

	for (int i = 0; i < REGIONS; i++) {
		snprintf(path, sizeof(path), "%s/%s", pool, names[i]);
		int fd = open(path, O_RDWR | O_CLOEXEC);

		assert_true(fd >= 0);
		file[i] = mmap(NULL, sizes[i], PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		assert_ptr_not_equal(file[i], MAP_FAILED);
		close(fd);
		initial[i] = malloc(sizes[i]);
		assert_non_null(initial[i]);
	}
}

static void record_run(unsigned seed)
{
	const struct core_format format = {
		.pool = pool,
		.pool_bytes = POOL_BYTES,
		.meta_bytes = META_BYTES,
		.lease_gid = ~0u,
		.force = true,
	};
	struct diag d = {{0}};

	ticks = 0;
	if (core_format_pool(&format, &d))
		fail_msg("%s", d.text);
	map_files();
	assert_int_equal(open_pool(), 0);
	assert_int_equal(core_sync(core), 0);
	for (int i = 0; i < REGIONS; i++)
		memcpy(initial[i], file[i], sizes[i]);
	assert_int_equal(tree_digest(core, NULL, NULL, &states[0]), 0);
	trace_start(&trace, sizes, REGIONS);
	trace_mark(&trace, MARK_SYNCED, 0);
	for (unsigned i = 1; i <= operations; i++) {
		int error;

		trace_mark(&trace, MARK_BEGIN, i);
		error = operate(&seed, done[i]);
		assert_int_equal(tree_digest(core, NULL, NULL, &states[i]), 0);
		if (error && states[i] != states[i - 1])
			fail_msg("operation %u failed and changed something: %s", i, done[i]);
		trace_mark(&trace, MARK_ACKNOWLEDGED, i);
		if (relaxed && rand_r(&seed) % 10 == 0) {
			assert_int_equal(core_sync(core), 0);
			trace_mark(&trace, MARK_SYNCED, i);
		}
	}
	trace_stop(&trace);
	core_abandon(core);
}

/* ---- crashes --------------------------------------------------------------------------------- */

struct progress {
	uint64_t begun;
	uint64_t acknowledged;
	uint64_t synced;
	uint64_t oldest;
};

static void print_finding(void *context, const struct verify_finding *finding)
{
	print_message("verify: %s\n", finding->text);
}

/* The power loss is told by another boot id, which the journal's header holds. */
static void other_boot(uint8_t *meta)
{
	meta[BLOCK_SIZE + offsetof(struct media_journal, boot_id)] += 0x11;
}

static int recover(uint8_t *const image[REGIONS], uint64_t *digest, struct trace *again)
{
	const struct verify_options options = {.found = print_finding};
	struct verify_report report = {0};
	int error;

	for (int i = 0; i < REGIONS; i++)
		memcpy(file[i], image[i], sizes[i]);
	if (again)
		trace_start(again, sizes, REGIONS);
	error = open_pool();
	if (again)
		trace_stop(again);
	if (error)
		return error;
	error = tree_digest(core, NULL, NULL, digest);
	if (error)
		print_message("the tree cannot be read: %d\n", error);
	if (!error)
		error = verify_core(core, &options, &report);
	if (!error && report.found)
		error = -EUCLEAN;
	core_abandon(core);
	return error;
}

static bool second_crash_holds(uint8_t *const image[REGIONS], const struct trace *again,
	uint64_t digest, bool died, unsigned *seed)
{
	size_t stop = again->count ? (size_t)rand_r(seed) % again->count : 0;
	enum crash_luck luck = died ? LUCK_ALL : LUCK_NONE + (enum crash_luck)(rand_r(seed) % 4);
	struct machine *m[REGIONS];
	uint8_t *second[REGIONS];
	uint64_t digest2 = 0;
	int error;

	for (int r = 0; r < REGIONS; r++) {
		m[r] = machine_new(image[r], sizes[r], relaxed ? BLOCK_SIZE : 64);
		second[r] = malloc(sizes[r]);
		assert_non_null(second[r]);
		for (size_t i = 0; i < stop; i++)
			if (again->events[i].region == (unsigned)r)
				machine_step(m[r], &again->events[i]);
		machine_crash(m[r], luck, seed, second[r]);
	}
	if (!died)
		other_boot(second[META]);
	error = recover(second, &digest2, NULL);
	for (int r = 0; r < REGIONS; r++) {
		free(second[r]);
		machine_free(m[r]);
	}
	if (!error && digest2 != digest)
		print_message("after a crash in recovery the tree is another\n");
	return !error && digest2 == digest;
}

static bool crash_holds(struct machine *const m[REGIONS], struct progress p, enum crash_luck luck,
	unsigned *seed, uint8_t *const image[REGIONS])
{
	struct trace again = {0};
	bool second = rand_r(seed) % 5 == 0, holds = false;
	uint64_t digest = 0;

	for (int r = 0; r < REGIONS; r++)
		machine_crash(m[r], luck, seed, image[r]);
	p.oldest = relaxed && luck != LUCK_ALL ? p.synced : p.acknowledged;
	if (luck != LUCK_ALL)
		other_boot(image[META]);
	int error = recover(image, &digest, second ? &again : NULL);
	if (!error)
		for (uint64_t i = p.oldest; i <= p.begun && !holds; i++)
			holds = states[i] == digest;
	if (!error && !holds)
		print_message("the tree is none that it was from operation %lu to %lu\n",
			(unsigned long)p.oldest, (unsigned long)p.begun);
	if (holds && second)
		holds = second_crash_holds(image, &again, digest, luck == LUCK_ALL, seed);
	if (!holds)
		print_message("luck %d, operation %lu under way: %s\n", luck,
			(unsigned long)p.begun, done[p.begun]);
	trace_free(&again);
	return holds;
}

static void step_progress(struct progress *p, const struct trace_event *e)
{
	if (e->offset == MARK_BEGIN)
		p->begun = e->count;
	else if (e->offset == MARK_ACKNOWLEDGED)
		p->acknowledged = e->count;
	else
		p->synced = e->count;
}

static unsigned count_violations(unsigned seed)
{
	struct progress p = {0};
	struct machine *m[REGIONS];
	uint8_t *image[REGIONS];
	unsigned violations = 0, crashes = 0;

	for (int r = 0; r < REGIONS; r++) {
		m[r] = machine_new(initial[r], sizes[r], relaxed ? BLOCK_SIZE : 64);
		image[r] = malloc(sizes[r]);
		assert_non_null(image[r]);
	}
	for (size_t i = 0; i < trace.count && violations < 5; i++) {
		const struct trace_event *e = &trace.events[i];

		if (e->kind == TRACE_MARK)
			step_progress(&p, e);
		if ((unsigned)rand_r(&seed) % one_in == 0) {
			enum crash_luck luck = LUCK_NONE + (enum crash_luck)(rand_r(&seed) % 4);

			crashes++;
			violations += !crash_holds(m, p, luck, &seed, image);
		}
		if (e->kind != TRACE_MARK)
			machine_step(m[e->region], e);
	}
	print_message("%u crashes, %zu events\n", crashes, trace.count);
	for (int r = 0; r < REGIONS; r++) {
		machine_free(m[r]);
		free(image[r]);
	}
	return violations;
}

static void crash_leaves_an_acknowledged_tree(void **state)
{
	unsigned violations;

	pool = scratch_directory(NULL);
	record_run(first_seed);
	violations = count_violations(first_seed + 100);
	trace_free(&trace);
	for (int r = 0; r < REGIONS; r++) {
		munmap(file[r], sizes[r]);
		free(initial[r]);
	}
	scratch_remove(pool);
	assert_int_equal(violations, 0);
}

static void pmem_crash_leaves_an_acknowledged_tree(void **state)
{
	relaxed = false;
	crash_leaves_an_acknowledged_tree(state);
}

static void relaxed_crash_leaves_the_last_sync_or_later(void **state)
{
	relaxed = true;
	crash_leaves_an_acknowledged_tree(state);
}

/* test_crash_core [ONE_IN [OPERATIONS [SEED]]] */
int main(int argc, char **argv)
{
	const struct CMUnitTest pmem[] = {cmocka_unit_test(pmem_crash_leaves_an_acknowledged_tree)};
	const struct CMUnitTest page_cache[] = {
		cmocka_unit_test(relaxed_crash_leaves_the_last_sync_or_later)};
	unsigned *const numbers[] = {&one_in, &operations, &first_seed};

	for (int i = 1; i < argc && i <= 3; i++)
		*numbers[i - 1] = (unsigned)atoi(argv[i]);
	if (one_in == 0 || operations > OPERATIONS_MAX) {
		fprintf(stderr, "usage: %s [ONE_IN [OPERATIONS [SEED]]]\n", argv[0]);
		return 2;
	}
	if (getenv("PMEM_IS_PMEM_FORCE"))
		return cmocka_run_group_tests(pmem, NULL, NULL);
	int failed = cmocka_run_group_tests(page_cache, NULL, NULL);
	if (failed)
		return failed;
	if (setenv("PMEM_IS_PMEM_FORCE", "1", 1))
		return 1;
	execv("/proc/self/exe", argv);
	perror("exec");
	return 1;
}
