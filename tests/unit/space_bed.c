// SPDX-License-Identifier: BSD-2-Clause
/* space_bed.c - see space_bed.h. */
#include "space_bed.h"

struct fixture fx;
struct space *space;

struct media_group group_of(uint32_t group)
{
	return (struct media_group){
		.bitmap = fixture_block(&fx, 1 + group),
		.units = group == GROUPS - 1 ? LAST_UNITS : GROUP_BITS,
	};
}

void open_space_with(uint32_t align, struct region *backing)
{
	const struct space_config config = {
		.meta = fx.meta,
		.id = SPACE_ID,
		.backing = backing,
		.unit_bytes = BLOCK_SIZE,
		.align_units = align,
	};

	assert_int_equal(space_open(&config, &space), 0);
}

static void add_groups(void)
{
	for (uint32_t i = 0; i < GROUPS; i++) {
		struct media_group g = group_of(i);

		assert_int_equal(space_add_group(space, i, &g), 0);
	}
	assert_int_equal(space_groups(space), GROUPS);
}

void open_space(void)
{
	open_space_with(1, NULL);
	add_groups();
}

static void prepare(bool deferred)
{
	fixture_open(&fx, 1u << 20, 16, deferred);
	for (uint32_t i = 0; i < GROUPS; i++)
		fixture_make_bitmap(&fx, 1 + i, SPACE_ID, i);
	open_space();
}

int setup(void **state)
{
	prepare(false);
	return 0;
}

int setup_deferred(void **state)
{
	prepare(true);
	return 0;
}

int teardown(void **state)
{
	space_close(space);
	space = NULL;
	fixture_close(&fx);
	return 0;
}

int alloc(struct tx *tx, uint64_t want, uint64_t goal, unsigned flags, struct space_run *out)
{
	return space_alloc(space, tx,
		&(struct space_request){.want = want, .goal = goal, .flags = flags}, out);
}

int alloc_now(uint64_t want, uint64_t goal, unsigned flags, struct space_run *out)
{
	struct tx *tx;
	int error;

	assert_int_equal(tx_begin(fx.meta, &tx), 0);
	error = alloc(tx, want, goal, flags, out);
	if (error)
		tx_abort(tx);
	else
		assert_int_equal(tx_commit(tx), 0);
	return error;
}

void free_now(uint64_t first, uint64_t count)
{
	struct tx *tx;

	assert_int_equal(tx_begin(fx.meta, &tx), 0);
	assert_int_equal(space_free(space, tx, &(struct space_run){first, count}), 0);
	assert_int_equal(tx_commit(tx), 0);
}

uint64_t free_units(void)
{
	struct space_usage usage;

	space_get_usage(space, &usage);
	return usage.free;
}
