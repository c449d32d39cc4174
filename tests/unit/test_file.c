// SPDX-License-Identifier: BSD-2-Clause
/*
 * test_file.c - files' bytes against a model in memory; space to the last block; what recovery
 * ends.
 */
#include "scratch_pool.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "extent.h"

#define MIB (1ull << 20)
#define MODEL_BYTES (3u << 20)
#define OPERATIONS 4000

static uint64_t random_state = 0x1234567;

static uint64_t random64(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

static uint64_t below(uint64_t n)
{
	return random64() % n;
}

/* ---- one file against a model ---------------------------------------------------------------- */

struct model {
	struct scratch_pool pool;
	struct inode *ip;
	uint64_t free_blocks;
	uint64_t size;
	uint8_t bytes[MODEL_BYTES]; /* past size: zeroes */
	uint8_t buffer[MODEL_BYTES];
};

static void pick_range(uint64_t *offset, uint64_t *length)
{
	uint64_t most = below(8) == 0 ? MODEL_BYTES : below(2) ? 20000 : 5000;

	*offset = below(MODEL_BYTES);
	if (below(3) == 0)
		*offset &= ~(uint64_t)(BLOCK_SIZE - 1);
	*length = 1 + below(most);
	if (*length > MODEL_BYTES - *offset)
		*length = MODEL_BYTES - *offset;
	if (below(3) == 0 && *length > BLOCK_SIZE)
		*length &= ~(uint64_t)(BLOCK_SIZE - 1);
}

static void model_grow(struct model *m, uint64_t end)
{
	if (end > m->size)
		m->size = end;
}

static void do_write(struct model *m, uint64_t offset, uint64_t length)
{
	for (uint64_t i = 0; i < length; i++)
		m->buffer[i] = (uint8_t)(random_state + i * 7 + (i >> 8)) | 1;
	random64();
	memcpy(m->bytes + offset, m->buffer, length);
	model_grow(m, offset + length);
	assert_int_equal(core_write(m->pool.c, m->ip, m->buffer, length, offset, NULL), length);
}

/* Less than what was planned, or nothing, is copied. */
static void do_short_write(struct model *m, uint64_t offset, uint64_t length)
{
	struct iovec vector[512];
	struct core_write w = {
		.inode = m->ip,
		.offset = offset,
		.length = length,
		.vector = vector,
		.vectors = 512,
	};
	uint64_t copied, left;

	assert_int_equal(core_write_begin(m->pool.c, &w), 0);
	left = copied = below(w.length + 1);
	for (int i = 0; i < w.count && left > 0; i++) {
		uint64_t n = left < vector[i].iov_len ? left : vector[i].iov_len;

		memset(vector[i].iov_base, 0xa5, n);
		left -= n;
	}
	assert_int_equal(left, 0);
	assert_int_equal(core_write_end(m->pool.c, &w, copied), 0);
	memset(m->bytes + offset, 0xa5, copied);
	if (copied > 0)
		model_grow(m, offset + copied);
}

static void do_truncate(struct model *m, uint64_t size)
{
	assert_int_equal(core_truncate(m->pool.c, m->ip, size, NULL), 0);
	if (size < m->size)
		memset(m->bytes + size, 0, m->size - size);
	m->size = size;
}

static void do_fallocate(struct model *m, uint64_t offset, uint64_t length)
{
	static const int modes[] = {0, FALLOC_FL_KEEP_SIZE,
		FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, FALLOC_FL_ZERO_RANGE,
		FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE};
	int mode = modes[below(5)];

	assert_int_equal(core_fallocate(m->pool.c, m->ip, mode, offset, length, NULL), 0);
	if (mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE))
		memset(m->bytes + offset, 0, length);
	if (!(mode & FALLOC_FL_KEEP_SIZE))
		model_grow(m, offset + length);
}

static void do_copy(struct model *m, uint64_t offset, uint64_t length)
{
	uint64_t to = below(MODEL_BYTES), n = length;

	if (offset >= m->size)
		n = 0;
	else if (n > m->size - offset)
		n = m->size - offset;
	if (length > MODEL_BYTES - to)
		return;
	if (offset < to + length && to < offset + length) {
		assert_int_equal(core_copy_range(m->pool.c, m->ip, offset, m->ip, to, length, NULL),
			-EINVAL);
		return;
	}
	assert_int_equal(core_copy_range(m->pool.c, m->ip, offset, m->ip, to, length, NULL), n);
	memmove(m->bytes + to, m->bytes + offset, n);
	if (n > 0)
		model_grow(m, to + n);
}

static void do_layout(struct model *m, uint64_t offset, uint64_t length)
{
	struct core_extent extents[64];
	uint64_t next = offset, at = offset & ~(uint64_t)(BLOCK_SIZE - 1);
	bool prepare = below(2);

	if (prepare)
		assert_int_equal(core_prepare_layout(m->pool.c, m->ip, offset, length, NULL), 0);
	while (next < offset + length) {
		unsigned count;

		assert_int_equal(core_layout(m->pool.c, m->ip, next, offset + length - next,
					 extents, 64, &count, &next),
			0);
		assert_true(count > 0);
		for (unsigned i = 0; i < count; i++) {
			assert_int_equal(extents[i].offset, at);
			at += extents[i].length;
			if (prepare)
				assert_int_equal(extents[i].state, CORE_EXTENT_WRITTEN);
		}
	}
	assert_true(at >= offset + length);
	if (prepare && below(2)) {
		uint64_t size = offset + length;

		assert_int_equal(core_commit_layout(m->pool.c, m->ip, offset, length, size), 0);
		model_grow(m, size);
	}
}

static void check_seek(struct model *m, uint64_t offset)
{
	int64_t data = core_seek(m->pool.c, m->ip, offset, SEEK_DATA);
	int64_t hole = core_seek(m->pool.c, m->ip, offset, SEEK_HOLE);
	uint64_t end = m->size;

	if (offset >= m->size) {
		assert_int_equal(data, -ENXIO);
		assert_int_equal(hole, -ENXIO);
		return;
	}
	if (data >= 0)
		end = (uint64_t)data;
	else
		assert_int_equal(data, -ENXIO);
	for (uint64_t i = offset; i < end; i++)
		assert_int_equal(m->bytes[i], 0);
	assert_true(hole >= (int64_t)offset && hole <= (int64_t)m->size);
	assert_true((data == (int64_t)offset) != (hole == (int64_t)offset));
}

static void compare(struct model *m, uint64_t offset, uint64_t length)
{
	uint64_t want = offset >= m->size ? 0 : m->size - offset;

	if (want > length)
		want = length;
	memset(m->buffer, 0x5a, length);
	assert_int_equal(core_read(m->pool.c, m->ip, m->buffer, length, offset), want);
	assert_memory_equal(m->buffer, m->bytes + offset, want);
}

static void compare_all(struct model *m)
{
	struct core *c = m->pool.c;

	assert_int_equal(scratch_size(c, m->ip), m->size);
	compare(m, 0, MODEL_BYTES);
	scratch_check_map(c, m->ip);
	assert_int_equal(scratch_free_blocks(c) + scratch_blocks(c, m->ip), m->free_blocks);
}

static void reopen(struct model *m)
{
	uint64_t ino = core_ino(m->ip);

	if (below(2)) {
		core_put(m->pool.c, m->ip, 1);
		scratch_pool_reopen(&m->pool);
	} else {
		scratch_pool_crash(&m->pool);
	}
	assert_int_equal(core_get(m->pool.c, ino, &m->ip), 0);
}

/* Space that is handed out by units of 2 MiB stays so. */
static void check_units(struct model *m)
{
	const struct media_inode *record;
	struct extent e;
	uint64_t block = 0;

	assert_int_equal(scratch_free_blocks(m->pool.c) % HUGE_BLOCKS, 0);
	assert_int_equal(inode_view(m->pool.c, NULL, m->ip, &record), 0);
	assert_int_equal(record->blocks % HUGE_BLOCKS, 0);
	while (extent_find(m->pool.c, NULL, m->ip, record, block, &e) == 0) {
		assert_int_equal(e.region_block % HUGE_BLOCKS, e.file_block % HUGE_BLOCKS);
		block = e.file_block + e.blocks;
	}
}

static void run_operations(bool units)
{
	struct model *m = calloc(1, sizeof(*m));

	assert_non_null(m);
	scratch_pool_make(&m->pool, 16 * MIB, 0);
	if (units)
		scratch_pool_use_units(&m->pool);
	m->free_blocks = scratch_free_blocks(m->pool.c);
	m->ip = scratch_inode(m->pool.c, S_IFREG | 0644, 1);
	for (unsigned i = 0; i < OPERATIONS; i++) {
		uint64_t offset, length;

		pick_range(&offset, &length);
		switch (below(9)) {
		case 0:
		case 1:
			do_write(m, offset, length);
			break;
		case 2:
			do_short_write(m, offset, length);
			break;
		case 3:
			do_truncate(m, below(4) ? offset : below(2) ? m->size : 0);
			break;
		case 4:
		case 5:
			do_fallocate(m, offset, length);
			break;
		case 6:
			do_copy(m, offset, length);
			break;
		case 7:
			do_layout(m, offset, length);
			break;
		default:
			check_seek(m, offset);
			break;
		}
		compare(m, offset, length);
		if (i % 50 == 0)
			compare_all(m);
		if (units)
			check_units(m);
		if (i % 400 == 399)
			reopen(m);
	}
	compare_all(m);
	scratch_unlink(m->pool.c, m->ip);
	core_put(m->pool.c, m->ip, 1);
	assert_int_equal(scratch_free_blocks(m->pool.c), m->free_blocks);
	scratch_pool_remove(&m->pool);
	free(m);
}

static void any_operations_leave_a_file_as_the_model_says(void **state)
{
	run_operations(false);
}

static void units_of_2_mib_stay_whole(void **state)
{
	run_operations(true);
}

/* ---- the rules ------------------------------------------------------------------------------- */

static void sizes_past_the_limit_are_refused(void **state)
{
	struct scratch_pool p;
	struct inode *ip;

	scratch_pool_make(&p, 4 * MIB, 0);
	ip = scratch_inode(p.c, S_IFREG | 0644, 1);
	assert_int_equal(core_truncate(p.c, ip, FILE_BYTES_MAX + 1, NULL), -EFBIG);
	assert_int_equal(core_truncate(p.c, ip, FILE_BYTES_MAX, NULL), 0);
	assert_int_equal(core_write(p.c, ip, "x", 1, FILE_BYTES_MAX, NULL), -EFBIG);
	assert_int_equal(core_write(p.c, ip, "xy", 2, FILE_BYTES_MAX - 1, NULL), 1);
	assert_int_equal(core_fallocate(p.c, ip, 0, FILE_BYTES_MAX, 1, NULL), -EFBIG);
	assert_int_equal(core_fallocate(p.c, ip, 0, UINT64_MAX, 2, NULL), -EFBIG);
	assert_int_equal(core_fallocate(p.c, ip, 0, 0, 0, NULL), -EINVAL);
	assert_int_equal(core_fallocate(p.c, ip, FALLOC_FL_PUNCH_HOLE, 0, 1, NULL), -EOPNOTSUPP);
	assert_int_equal(core_truncate(p.c, ip, 0, NULL), 0);
	assert_int_equal(scratch_blocks(p.c, ip), 0);
	core_put(p.c, ip, 1);
	scratch_pool_remove(&p);
}

static void directories_have_no_bytes(void **state)
{
	struct scratch_pool p;
	struct inode *ip;
	char byte;

	scratch_pool_make(&p, 4 * MIB, 0);
	ip = scratch_inode(p.c, S_IFDIR | 0755, 2);
	assert_int_equal(core_write(p.c, ip, "x", 1, 0, NULL), -EISDIR);
	assert_int_equal(core_read(p.c, ip, &byte, 1, 0), -EISDIR);
	assert_int_equal(core_truncate(p.c, ip, 0, NULL), -EISDIR);
	assert_int_equal(core_fallocate(p.c, ip, 0, 0, 1, NULL), -EISDIR);
	core_put(p.c, ip, 1);
	scratch_pool_remove(&p);
}

static uint32_t mode_of(struct core *c, struct inode *ip)
{
	struct stat st;

	assert_int_equal(core_getattr(c, ip, &st, NULL), 0);
	return st.st_mode;
}

static void a_write_without_fsetid_ends_setuid(void **state)
{
	const struct core_cred plain = {.uid = 1000, .gid = 1000};
	const struct core_cred root = {.fsetid = true};
	struct scratch_pool p;
	struct inode *ip;

	scratch_pool_make(&p, 4 * MIB, 0);
	ip = scratch_inode(p.c, S_IFREG | 06755, 1);
	assert_int_equal(core_write(p.c, ip, "x", 1, 0, &root), 1);
	assert_int_equal(mode_of(p.c, ip), S_IFREG | 06755);
	assert_int_equal(core_write(p.c, ip, "x", 1, 0, &plain), 1);
	assert_int_equal(mode_of(p.c, ip), S_IFREG | 0755);
	core_put(p.c, ip, 1);

	ip = scratch_inode(p.c, S_IFREG | 06745, 1);
	assert_int_equal(core_truncate(p.c, ip, 10, &plain), 0);
	assert_int_equal(mode_of(p.c, ip), S_IFREG | 02745);
	core_put(p.c, ip, 1);
	scratch_pool_remove(&p);
}

static void appends_end_in_one_extent(void **state)
{
	static char block[BLOCK_SIZE];
	struct scratch_pool p;
	struct inode *a, *b;

	scratch_pool_make(&p, 32 * MIB, 0);
	a = scratch_inode(p.c, S_IFREG | 0644, 1);
	b = scratch_inode(p.c, S_IFREG | 0644, 1);
	for (unsigned i = 0; i < 2048; i++)
		assert_int_equal(
			core_write(p.c, a, block, sizeof(block), (uint64_t)i * BLOCK_SIZE, NULL),
			BLOCK_SIZE);
	print_message(
		"[ note     ] 8 MiB by blocks, alone: %lu extents\n", scratch_check_map(p.c, a));
	assert_true(scratch_check_map(p.c, a) <= 4);
	assert_int_equal(core_truncate(p.c, a, 0, NULL), 0);
	for (unsigned i = 0; i < 2048; i++) {
		uint64_t offset = (uint64_t)i * BLOCK_SIZE;

		assert_int_equal(core_write(p.c, a, block, sizeof(block), offset, NULL), 4096);
		assert_int_equal(core_write(p.c, b, block, sizeof(block), offset, NULL), 4096);
	}
	print_message("[ note     ] two side by side: %lu and %lu extents\n",
		scratch_check_map(p.c, a), scratch_check_map(p.c, b));
	core_put(p.c, a, 1);
	core_put(p.c, b, 1);
	scratch_pool_remove(&p);
}

static void zero_range_leaves_a_written_layout_as_it_is(void **state)
{
	struct core_extent before[8], after[8];
	unsigned count_before, count_after;
	struct scratch_pool p;
	struct inode *ip;
	uint64_t next;
	uint8_t read[4];

	scratch_pool_make(&p, 4 * MIB, 0);
	ip = scratch_inode(p.c, S_IFREG | 0644, 1);
	assert_int_equal(core_write(p.c, ip, "abcd", 4, 50000, NULL), 4);
	assert_int_equal(core_prepare_layout(p.c, ip, 0, 100000, NULL), 0);
	assert_int_equal(core_layout(p.c, ip, 0, 100000, before, 8, &count_before, &next), 0);
	assert_int_equal(core_fallocate(p.c, ip, FALLOC_FL_ZERO_RANGE, 10, 90000, NULL), 0);
	assert_int_equal(core_layout(p.c, ip, 0, 100000, after, 8, &count_after, &next), 0);
	assert_int_equal(count_before, count_after);
	assert_memory_equal(before, after, count_before * sizeof(before[0]));
	assert_int_equal(core_read(p.c, ip, read, 4, 50000), 4);
	assert_memory_equal(read, "\0\0\0", 4);
	core_put(p.c, ip, 1);
	scratch_pool_remove(&p);
}

static struct {
	const struct region *region;
	uint64_t start;
	uint64_t end;
	bool flushed;
} watched;

static void saw_flush(void *context, const struct region *r, uint64_t offset, uint64_t count)
{
	if (r == watched.region && offset <= watched.start && watched.end <= offset + count)
		watched.flushed = true;
}

static void fsync_flushes_what_a_lease_holder_may_have_stored(void **state)
{
	static const struct region_recorder recorder = {.flush = saw_flush};
	struct scratch_pool p;
	struct core_extent e;
	struct inode *ip;
	unsigned count;
	uint64_t next;

	scratch_pool_make(&p, 4 * MIB, 0);
	watched.region = tables_region(p.c, 0)->region;
	if (region_media(watched.region) == REGION_VOLATILE) {
		scratch_pool_remove(&p);
		skip(); /* nothing has to be flushed there */
	}
	ip = scratch_inode(p.c, S_IFREG | 0644, 1);
	assert_int_equal(core_prepare_layout(p.c, ip, 8192, 4096, NULL), 0);
	assert_int_equal(core_layout(p.c, ip, 8192, 4096, &e, 1, &count, &next), 0);
	watched.start = e.region_offset;
	watched.end = e.region_offset + e.length;
	watched.flushed = false;
	region_set_recorder(&recorder);
	assert_int_equal(core_fsync(p.c, ip, true), 0);
	region_set_recorder(NULL);
	assert_true(watched.flushed);
	core_put(p.c, ip, 1);
	scratch_pool_remove(&p);
}

/* The first argument is another seed. */
int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(any_operations_leave_a_file_as_the_model_says),
		cmocka_unit_test(units_of_2_mib_stay_whole),
		cmocka_unit_test(sizes_past_the_limit_are_refused),
		cmocka_unit_test(directories_have_no_bytes),
		cmocka_unit_test(a_write_without_fsetid_ends_setuid),
		cmocka_unit_test(appends_end_in_one_extent),
		cmocka_unit_test(fsync_flushes_what_a_lease_holder_may_have_stored),
		cmocka_unit_test(zero_range_leaves_a_written_layout_as_it_is),
	};

	if (argc > 1)
		random_state = strtoull(argv[1], NULL, 10) * 2 + 1;
	return cmocka_run_group_tests_name("file", tests, NULL, NULL);
}
