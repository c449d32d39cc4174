// SPDX-License-Identifier: BSD-2-Clause
/*
 * test_extent.c - extent maps against an array that knows each block.
 */
#include "scratch_pool.h"

#include <errno.h>
#include <string.h>

#include "extent.h"

#define MIB (1ull << 20)
#define BLOCKS 3000u
#define ROUNDS 30000u
#define NOTHING UINT64_MAX

static uint64_t random_state = 99;

static uint64_t below(uint64_t n)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state % n;
}

struct model {
	uint64_t region_block[BLOCKS]; /* NOTHING: a hole */
	bool unwritten[BLOCKS];
};

struct world {
	struct scratch_pool pool;
	struct inode *ip;
	uint64_t free_blocks;
	struct model now;
	struct model committed;
	uint64_t told; /* blocks that the arbiter heard of, in this transaction */
	bool asked;    /* it wanted to hear what came of it, and has not yet */
	bool commits;
};

/* Wants to hear of most. */
static int count_freed(void *context, uint64_t ino, const struct core_extent *extent)
{
	struct world *w = context;
	bool cares = below(8) != 0;

	assert_int_equal(ino, core_ino(w->ip));
	assert_int_equal(extent->offset % BLOCK_SIZE, 0);
	for (uint64_t i = 0; i < extent->length / BLOCK_SIZE; i++)
		assert_int_equal(w->now.region_block[extent->offset / BLOCK_SIZE + i],
			extent->region_offset / BLOCK_SIZE + i);
	w->told += extent->length / BLOCK_SIZE;
	w->asked |= cares;
	return cares;
}

static void note_end(void *context, uint64_t ino, bool committed)
{
	struct world *w = context;

	assert_int_equal(ino, core_ino(w->ip));
	assert_true(w->asked);
	assert_int_equal(committed, w->commits);
	w->asked = false;
}

/* One extent of the longest possible kind for each run of the array. */
struct compare {
	const struct model *model;
	uint64_t at;
	uint64_t blocks;
};

static int compare_extent(void *context, const struct extent *e)
{
	struct compare *k = context;
	uint64_t end = e->file_block + e->blocks;

	for (; k->at < e->file_block; k->at++)
		assert_true(k->model->region_block[k->at] == NOTHING);
	for (; k->at < end; k->at++) {
		assert_int_equal(
			k->model->region_block[k->at], e->region_block + (k->at - e->file_block));
		assert_int_equal(k->model->unwritten[k->at], e->unwritten);
	}
	/* Neighbours that continue each other are one. */
	if (end < BLOCKS && k->model->region_block[end] == e->region_block + e->blocks)
		assert_int_not_equal(k->model->unwritten[end], e->unwritten);
	k->blocks += e->blocks;
	return 0;
}

static void compare_committed(struct world *w)
{
	const struct media_inode *record;
	struct compare k = {.model = &w->committed};

	assert_int_equal(inode_view(w->pool.c, NULL, w->ip, &record), 0);
	assert_int_equal(extent_walk(w->pool.c, w->ip, record, 0, compare_extent, &k), 0);
	for (; k.at < BLOCKS; k.at++)
		assert_true(w->committed.region_block[k.at] == NOTHING);
	assert_int_equal(record->blocks, k.blocks);
	assert_int_equal(scratch_free_blocks(w->pool.c) + k.blocks, w->free_blocks);
}

static void check_find(struct world *w, struct tx *tx, struct media_inode *record)
{
	uint64_t block = below(BLOCKS), at = block;
	struct extent e;
	int error = extent_find(w->pool.c, tx, w->ip, record, block, &e);

	while (at < BLOCKS && w->now.region_block[at] == NOTHING)
		at++;
	if (at == BLOCKS) {
		assert_int_equal(error, -ENOENT);
		return;
	}
	assert_int_equal(error, 0);
	assert_true(e.file_block <= at && at < e.file_block + e.blocks);
	assert_int_equal(w->now.region_block[at], e.region_block + (at - e.file_block));
}

static void do_allocate(
	struct world *w, struct tx *tx, struct media_inode *record, uint64_t block, uint64_t blocks)
{
	bool unwritten = below(2);
	struct extent e;

	while (block < BLOCKS && w->now.region_block[block] != NOTHING)
		block++;
	if (block == BLOCKS)
		return;
	if (blocks > BLOCKS - block)
		blocks = BLOCKS - block;
	assert_int_equal(
		extent_allocate(w->pool.c, tx, w->ip, record, block, blocks,
			(unwritten ? EXTENT_NEW_UNWRITTEN : 0) | (below(4) == 0 ? EXTENT_HUGE : 0),
			&e),
		0);
	assert_int_equal(e.file_block, block);
	assert_true(e.blocks <= blocks);
	for (uint64_t i = 0; i < e.blocks; i++) {
		assert_true(w->now.region_block[block + i] == NOTHING);
		w->now.region_block[block + i] = e.region_block + i;
		w->now.unwritten[block + i] = unwritten;
	}
}

static void do_mark(
	struct world *w, struct tx *tx, struct media_inode *record, uint64_t block, uint64_t blocks)
{
	bool unwritten = below(2);
	uint64_t n = 0;

	while (n < blocks && block + n < BLOCKS && w->now.region_block[block + n] != NOTHING)
		n++;
	if (n == 0)
		return;
	assert_int_equal(extent_mark(w->pool.c, tx, w->ip, record, block, n, unwritten), 0);
	for (uint64_t i = 0; i < n; i++)
		w->now.unwritten[block + i] = unwritten;
}

static void do_remove(
	struct world *w, struct tx *tx, struct media_inode *record, uint64_t block, uint64_t blocks)
{
	uint64_t end = block + blocks < BLOCKS ? block + blocks : BLOCKS, freed = 0;
	bool left;

	for (uint64_t i = block; i < end; i++)
		freed += w->now.region_block[i] != NOTHING;
	w->told = 0;
	assert_int_equal(extent_remove(w->pool.c, tx, w->ip, record, block, end, &left), 0);
	assert_false(left);
	assert_int_equal(w->told, freed);
	for (uint64_t i = block; i < end; i++)
		w->now.region_block[i] = NOTHING;
}

/* What was freed comes back before it is missed: on page cache that takes a sync. */
static void keep_space(struct core *c)
{
	struct space_usage usage;
	bool asked = false;

	space_get_usage(tables_region(c, 0)->space, &usage);
	if (usage.free < 2 * BLOCKS)
		core_reclaim(c, &asked);
}

static void do_transaction(struct world *w)
{
	struct core *c = w->pool.c;
	struct media_inode *record;
	struct tx *tx;

	keep_space(c);
	inode_lock_write(w->ip);
	assert_int_equal(extent_tx_begin(c, &tx), 0);
	assert_int_equal(inode_edit(c, tx, w->ip, &record), 0);
	for (uint64_t i = 1 + below(4); i > 0; i--) {
		uint64_t block = below(BLOCKS), blocks = 1 + below(below(4) ? 8 : 700);

		switch (below(4)) {
		case 0:
		case 1:
			do_allocate(w, tx, record, block, blocks);
			break;
		case 2:
			do_mark(w, tx, record, block, blocks);
			break;
		default:
			do_remove(w, tx, record, block, blocks);
			break;
		}
		check_find(w, tx, record);
	}
	w->commits = below(4) != 0;
	if (!w->commits) {
		extent_tx_abort(c, tx);
		w->now = w->committed;
	} else {
		assert_int_equal(extent_tx_commit(c, tx), 0);
		w->committed = w->now;
	}
	assert_false(w->asked);
	inode_unlock(w->ip);
}

static void use_pool(struct world *w)
{
	core_set_arbiter(w->pool.c,
		&(struct core_arbiter){.context = w, .freeing = count_freed, .freed = note_end});
}

static void random_changes_leave_the_map_as_the_model_says(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	uint64_t ino;

	assert_non_null(w);
	scratch_pool_make(&w->pool, 64 * MIB, 0);
	use_pool(w);
	for (unsigned i = 0; i < BLOCKS; i++)
		w->now.region_block[i] = NOTHING;
	w->committed = w->now;
	w->free_blocks = scratch_free_blocks(w->pool.c);
	w->ip = scratch_inode(w->pool.c, S_IFREG | 0644, 1);
	ino = core_ino(w->ip);
	for (unsigned round = 0; round < ROUNDS; round++) {
		do_transaction(w);
		if (round % 16 == 0)
			compare_committed(w);
		if (round % 3000 != 2999)
			continue;
		core_put(w->pool.c, w->ip, 1);
		if (below(2))
			scratch_pool_reopen(&w->pool);
		else
			scratch_pool_crash(&w->pool);
		use_pool(w);
		assert_int_equal(core_get(w->pool.c, ino, &w->ip), 0);
		compare_committed(w);
	}
	compare_committed(w);
	core_put(w->pool.c, w->ip, 1);
	scratch_pool_remove(&w->pool);
	free(w);
}

static void a_map_that_overlaps_itself_is_found(void **state)
{
	struct scratch_pool p;
	struct media_inode *record;
	struct inode *ip;
	struct extent e;
	struct tx *tx;

	scratch_pool_make(&p, 4 * MIB, 0);
	ip = scratch_inode(p.c, S_IFREG | 0644, 1);
	assert_int_equal(extent_tx_begin(p.c, &tx), 0);
	assert_int_equal(inode_edit(p.c, tx, ip, &record), 0);
	assert_int_equal(extent_allocate(p.c, tx, ip, record, 10, 10, 0, &e), 0);
	e.file_block = 19;
	assert_int_equal(extent_insert(p.c, tx, ip, record, &e), -EUCLEAN);
	assert_int_equal(extent_mark(p.c, tx, ip, record, 5, 10, true), -EUCLEAN);
	/* Blocks that no region has. */
	record->extents[0].region_block = 1ull << 40;
	assert_int_equal(extent_find(p.c, tx, ip, record, 0, &e), -EUCLEAN);
	record->extents[0].region_block = 0;
	record->extents[0].region = 7;
	assert_int_equal(extent_find(p.c, tx, ip, record, 0, &e), -EUCLEAN);
	extent_tx_abort(p.c, tx);
	core_put(p.c, ip, 1);
	scratch_pool_remove(&p);
}

/* The first argument is another seed. */
int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_changes_leave_the_map_as_the_model_says),
		cmocka_unit_test(a_map_that_overlaps_itself_is_found),
	};

	if (argc > 1)
		random_state = strtoull(argv[1], NULL, 10) * 2 + 1;
	return cmocka_run_group_tests_name("extent", tests, NULL, NULL);
}
