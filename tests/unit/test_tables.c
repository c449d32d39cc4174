// SPDX-License-Identifier: BSD-2-Clause
/*
 * test_tables.c - the tables of regions and groups: growing, crashing, and hostile.
 */
#include "pool_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "btree.h"
#include "scratch.h"
#include "verify.h"

/* ---- the tables ------------------------------------------------------------------------------ */

static void region_for_each_owner_with_one_budget(void **state)
{
	struct core_format f = format_of(160 * MIB); /* two groups each */
	struct data_region *a, *b, *again;
	struct core *c;
	struct stat st;

	if (geteuid() != 0)
		skip();
	f.domains = DOMAINS_UID;
	expect_format(&f, 0, NULL);
	assert_int_equal(access(in_pool("data.0"), F_OK), -1);
	/* What a crash in the middle of making a region may leave. */
	close(open(in_pool("data.1"), O_CREAT | O_WRONLY, 0666));
	c = open_pool(false);
	assert_int_equal(tables_region_for(c, 1000, &a), 0);
	assert_int_equal(tables_region_for(c, 1001, &b), 0);
	assert_int_equal(tables_region_for(c, 1000, &again), 0);
	assert_ptr_equal(a, again);
	assert_int_equal(b->number, 1);
	assert_int_equal(space_groups(b->space), 2);
	assert_int_equal(stat(in_pool("data.1"), &st), 0);
	assert_int_equal(st.st_uid, 1001);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(st.st_size, 160 * MIB + 4096);

	assert_int_equal(core_budget_take(c, 160 * MIB / 4096 + 1), -ENOSPC);
	assert_int_equal(core_budget_take(c, 160 * MIB / 4096), 0);
	assert_int_equal(core_budget_take(c, 1), -ENOSPC);
	core_budget_give(c, 1);
	assert_int_equal(core_budget_take(c, 1), 0);
	core_abandon(c); /* as a crash */

	c = open_pool(false);
	assert_int_equal(c->region_count, 2);
	assert_int_equal(tables_region_for(c, 1001, &b), 0);
	assert_int_equal(b->number, 1);
	assert_int_equal(atomic_load(&c->data_blocks_free), 160 * MIB / 4096);
	assert_int_equal(core_close(c), 0);

	/* What an owner does to the file of their region harms nobody else. */
	assert_int_equal(truncate(in_pool("data.1"), 0), 0);
	expect_open(true, -EUCLEAN, "data.1 is 0 bytes");
	expect_open(false, 0, NULL);
	assert_int_equal(stat(in_pool("data.1"), &st), 0);
	assert_int_equal(st.st_size, 160 * MIB + 4096);
	assert_int_equal(chown(in_pool("data.1"), 0, 0), 0); /* not theirs: damage */
	assert_int_equal(truncate(in_pool("data.1"), 0), 0);
	expect_open(false, -EUCLEAN, "data.1 is 0 bytes");
	assert_int_equal(truncate(in_pool("data.1"), 160 * MIB + 4096), 0);
	expect_open(true, 0, NULL);
}

static void report_finding(void *context, const struct verify_finding *finding)
{
	print_message("%s\n", finding->text);
}

/* A crash at any store while a region with its many groups is made: the next attempt succeeds, and
 * nothing is lost on the way. */
static void region_half_made_is_made_again(void **state)
{
	const struct verify_options verify = {.found = report_finding};
	struct core_format f = format_of(12ull << 30); /* 98 groups: several transactions */
	unsigned died = 0;

	f.domains = DOMAINS_UID;
	for (unsigned n = 0;; n += 1 + n / 6) {
		struct verify_report report = {0};
		struct data_region *r;
		struct core *c;
		int status;

		expect_format(&f, 0, NULL);
		f.force = true;
		pid_t child = fork();
		if (child == 0) {
			const struct region_recorder recorder = {&n, die_at_store, NULL, NULL};

			c = open_pool(false);
			region_set_recorder(&recorder);
			_exit(tables_region_for(c, 1000, &r) ? 1 : 0);
		}
		assert_int_equal(waitpid(child, &status, 0), child);
		assert_true(WIFEXITED(status));
		assert_true(WEXITSTATUS(status) == 42 || WEXITSTATUS(status) == 0);

		c = open_pool(false);
		for (unsigned i = 0; i < 2; i++) {
			assert_int_equal(verify_core(c, &verify, &report), 0);
			assert_int_equal(report.found, 0);
			assert_int_equal(tables_region_for(c, 1000, &r), 0);
			assert_int_equal(r->number, 0);
			assert_int_equal(space_groups(r->space), 98);
		}
		assert_int_equal(core_close(c), 0);
		if (WEXITSTATUS(status) == 0)
			break;
		died++;
	}
	assert_true(died > 10);
}

static void inode_groups_grow_until_the_heap_is_full(void **state)
{
	struct core_format f = format_of(16 * MIB);
	struct core *c;
	struct statvfs fs;
	uint32_t groups;
	int error;

	f.meta_bytes = 12 * MIB;
	expect_format(&f, 0, NULL);
	c = open_pool(false);
	assert_int_equal(core_statfs(c, &fs), 0);
	while ((error = tables_grow_inodes(c)) == 0)
		continue;
	assert_int_equal(error, -ENOSPC);
	groups = space_groups(c->inodes);
	/* statfs had promised as many, but for what the trees take. */
	assert_true(groups > 2 && fs.f_files <= (uint64_t)(groups + 1) * INODES_PER_GROUP);
	assert_int_equal(core_close(c), 0);
	c = open_pool(false);
	assert_int_equal(space_groups(c->inodes), groups);
	assert_int_equal(core_close(c), 0);
}

/* Puts a value into a tree of media_roots as a hostile pool would have it. */
static void plant(bool region_tree, uint64_t key, const void *value, uint16_t bytes)
{
	struct core *c = open_pool(false);
	struct btree tree = tables_tree(c);
	struct media_roots *roots;
	struct tx *tx;

	assert_int_equal(tx_begin(c->meta, &tx), 0);
	assert_int_equal(tx_edit(tx, c->roots, MAGIC_ROOTS, (void **)&roots), 0);
	struct media_root *root = region_tree ? &roots->regions : &roots->spaces;
	int error = btree_replace(&tree, tx, root, key, value, bytes);
	if (error == -ENOENT)
		error = btree_insert(&tree, tx, root, key, value, bytes);
	assert_int_equal(error, 0);
	assert_int_equal(tx_commit(tx), 0);
	assert_int_equal(core_close(c), 0);
}

static void nonsense_in_tables_is_refused(void **state)
{
	const struct media_region good = {
		.bytes = 64 * MIB, .kind = REGION_KIND_POOL, .alignment_shift = BLOCK_SHIFT};
	struct {
		struct media_region media;
		char path[64];
	} value;
	struct media_group group;

	for (unsigned i = 0; i < 10; i++) {
		uint64_t key = i == 8 ? CORE_REGIONS_MAX : 0;
		uint16_t bytes = sizeof(value.media);

		make_pool(64 * MIB);
		memset(&value, 0, sizeof(value));
		value.media = good;
		if (i == 0)
			value.media.bytes = 0;
		if (i == 1)
			value.media.bytes = UINT64_MAX;
		if (i == 2)
			value.media.bytes = 64 * MIB - 1;
		if (i == 3)
			value.media.alignment_shift = 63;
		if (i == 4)
			value.media.kind = 77;
		if (i == 5)
			value.media.path_bytes = UINT32_MAX;
		if (i == 6)
			bytes--;
		if (i == 7) { /* a NUL inside a path */
			value.media.kind = REGION_KIND_EXTERNAL;
			value.media.path_bytes = 8;
			memcpy(value.path, "/dev\0ab", 8);
			bytes += 8;
		}
		if (i == 9) { /* not absolute */
			value.media.kind = REGION_KIND_EXTERNAL;
			value.media.path_bytes = 6;
			memcpy(value.path, "data.0", 6);
			bytes += 6;
		}
		plant(true, key, &value, bytes);
		expect_open(false, -EUCLEAN, "region table");
		scratch_remove(directory);
		set_up(state);
	}
	for (unsigned i = 0; i < 7; i++) {
		uint64_t key = (uint64_t)SPACE_INODES << 32;
		struct core *c;

		make_pool(64 * MIB);
		c = open_pool(true);
		assert_int_equal(space_group(c->inodes, 0, &group), 0);
		if (i == 0)
			group.bitmap = 0;
		if (i == 1)
			group.bitmap = UINT64_MAX - 4095;
		if (i == 2)
			group.table = c->super.meta_bytes - 8192;
		if (i == 3)
			group.units = GROUP_BITS;
		if (i == 4)
			group.bitmap = c->super.heap_offset; /* a heap bitmap's place */
		if (i == 5)
			key = (uint64_t)SPACE_REGION(0) << 32 | 7; /* a group that cannot be */
		if (i == 6)
			key += 5; /* a gap before it */
		core_close(c);
		plant(false, key, &group, sizeof(group));
		expect_open(false, -EUCLEAN, "space table");
		scratch_remove(directory);
		set_up(state);
	}
}

struct asking {
	struct core *c;
	pthread_barrier_t *barrier;
	unsigned number;
	struct data_region *regions[8];
};

static void *ask_for_everything(void *argument)
{
	struct asking *a = argument;

	pthread_barrier_wait(a->barrier);
	for (uint32_t i = 0; i < 8; i++) {
		struct statvfs fs;

		if (tables_region_for(
			    a->c, 1000 + (i + a->number) % 8, &a->regions[(i + a->number) % 8]) ||
			tables_grow_inodes(a->c) || core_statfs(a->c, &fs) || core_sync(a->c))
			return argument;
	}
	return NULL;
}

static void threads_make_one_region_for_each_owner(void **state)
{
	struct core_format f = format_of(16 * MIB);
	struct asking asking[4];
	pthread_barrier_t barrier;
	pthread_t threads[4];
	void *result;
	struct core *c;

	f.domains = DOMAINS_UID;
	expect_format(&f, 0, NULL);
	c = open_pool(false);
	assert_int_equal(pthread_barrier_init(&barrier, NULL, 4), 0);
	for (unsigned i = 0; i < 4; i++) {
		asking[i] = (struct asking){.c = c, .barrier = &barrier, .number = 2 * i};
		assert_int_equal(
			pthread_create(&threads[i], NULL, ask_for_everything, &asking[i]), 0);
	}
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(pthread_join(threads[i], &result), 0);
		assert_null(result);
	}
	assert_int_equal(c->region_count, 8);
	for (unsigned i = 1; i < 4; i++)
		assert_memory_equal(
			asking[0].regions, asking[i].regions, sizeof(asking[0].regions));
	pthread_barrier_destroy(&barrier);
	assert_int_equal(core_close(c), 0);
	expect_open(true, 0, NULL);
}

static void held_blocks_are_those_of_a_region(void **state)
{
	struct core *c;

	make_pool(64 * MIB);
	c = open_pool(false);
	assert_int_equal(core_hold(c, 1, 0, 4096), -ENOENT);
	assert_int_equal(core_hold(c, 0, 64 * MIB, 4096), -EINVAL);
	assert_int_equal(core_hold(c, 0, 4096, UINT64_MAX), -EINVAL);
	assert_int_equal(core_hold(c, 0, 4096, 0), -EINVAL);
	assert_int_equal(core_hold(c, 0, 1 * MIB, 2 * MIB), 0);
	assert_int_equal(core_release(c, 0, 1 * MIB, 2 * MIB), 0);
	assert_int_equal(core_release(c, 3, 1 * MIB, 2 * MIB), -ENOENT);
	assert_int_equal(core_close(c), 0);
}

/* cmocka takes SIGBUS for itself during a test, so this runs in a process without it. */
#define DEMAND(condition)                                                                          \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			fprintf(stderr, "line %d: %s\n", __LINE__, #condition);                    \
			return 1;                                                                  \
		}                                                                                  \
	} while (0)

static int write_as(struct core *c, uint32_t uid, const char *name, struct inode **out)
{
	const struct core_cred cred = {.uid = uid, .gid = uid};
	struct inode *root;
	ssize_t n;

	DEMAND(core_get(c, ROOT_INO, &root) == 0);
	DEMAND(core_create(c, root, name, S_IFREG | 0600, 0, &cred, out) == 0);
	core_put(c, root, 1);
	n = core_write(c, *out, "something", 9, 0, &cred);
	DEMAND(n == 9 || n == -EIO);
	return n == 9 ? 0 : -EIO;
}

static int lose_one_region(enum durability durability)
{
	const struct core_options options = {.pool = pool, .durability = durability};
	struct core_format f = format_of(32 * MIB);
	struct inode *theirs, *mine, *new;
	struct core_extent extents[2];
	unsigned count;
	uint64_t next;
	struct core *c;
	char text[16];

	f.domains = DOMAINS_UID;
	f.force = true;
	DEMAND(core_format_pool(&f, NULL) == 0);
	DEMAND(core_open(&options, &c, NULL) == 0);
	DEMAND(write_as(c, 1000, "theirs", &theirs) == 0);
	DEMAND(write_as(c, 1001, "mine", &mine) == 0);
	DEMAND(core_sync(c) == 0);
	DEMAND(truncate(in_pool("data.0"), 0) == 0);

	DEMAND(core_write(c, theirs, "more", 4, 4096, NULL) == -EIO);
	DEMAND(region_lost(tables_region(c, 0)->region));
	DEMAND(core_read(c, theirs, text, sizeof(text), 0) == -EIO);
	DEMAND(core_fsync(c, theirs, false) == -EIO);
	DEMAND(core_mappable_layout(c, theirs, 0, 4096, extents, 2, &count, &next) == -EIO);
	DEMAND(core_copy_range(c, theirs, 0, mine, 100, 4, NULL) == -EIO);
	DEMAND(write_as(c, 1000, "theirs too", &new) == -EIO);
	core_put(c, new, 1);

	DEMAND(core_read(c, mine, text, sizeof(text), 0) == 9);
	DEMAND(core_write(c, mine, "more", 4, 4096, NULL) == 4);
	DEMAND(core_fsync(c, mine, false) == 0);
	DEMAND(write_as(c, 1001, "mine too", &new) == 0);
	DEMAND(core_fsync(c, new, false) == 0);
	core_put(c, new, 1);
	DEMAND(core_sync(c) == -EIO); /* not everything is durable, and that is said */
	DEMAND(write_as(c, 1001, "mine still", &new) == 0);
	core_put(c, new, 1);
	core_put(c, theirs, 1);
	core_put(c, mine, 1);
	DEMAND(core_close(c) == -EIO);

	DEMAND(core_open(&options, &c, NULL) == 0);
	DEMAND(c->recovery.was_clean);
	DEMAND(core_get(c, ROOT_INO, &theirs) == 0);
	DEMAND(core_lookup(c, theirs, "mine still", &mine) == 0);
	DEMAND(core_read(c, mine, text, sizeof(text), 0) == 9);
	core_put(c, mine, 1);
	core_put(c, theirs, 1);
	DEMAND(core_close(c) == 0);
	return 0;
}

static void lost_region_costs_nobody_else_anything(void **state)
{
	int status;
	pid_t child;

	if (geteuid() != 0)
		skip();
	child = fork();
	if (child == 0) {
		execl("/proc/self/exe", "test_tables", "--lose", pool, NULL);
		_exit(2);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

int main(int argc, char **argv)
{
	if (argc == 3 && strcmp(argv[1], "--lose") == 0) {
		snprintf(pool, sizeof(pool), "%s", argv[2]);
		return lose_one_region(DURABILITY_RELAXED) || lose_one_region(DURABILITY_STRICT);
	}

	const struct CMUnitTest tests[] = {
		MEMORY(region_for_each_owner_with_one_budget),
		MEMORY(region_half_made_is_made_again),
		MEMORY(inode_groups_grow_until_the_heap_is_full),
		MEMORY(nonsense_in_tables_is_refused),
		MEMORY(threads_make_one_region_for_each_owner),
		FILES(threads_make_one_region_for_each_owner),
		MEMORY(held_blocks_are_those_of_a_region),
		MEMORY(lost_region_costs_nobody_else_anything),
		FILES(lost_region_costs_nobody_else_anything),
	};

	return cmocka_run_group_tests_name("tables", tests, NULL, NULL);
}
