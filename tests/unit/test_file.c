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
#include <time.h>
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

static uint64_t size_of(struct core *c, struct inode *ip)
{
	struct stat st;

	assert_int_equal(core_getattr(c, ip, &st, NULL), 0);
	return (uint64_t)st.st_size;
}

static uint64_t blocks_of(struct core *c, struct inode *ip)
{
	struct stat st;

	assert_int_equal(core_getattr(c, ip, &st, NULL), 0);
	return (uint64_t)st.st_blocks / 8;
}

struct check {
	uint64_t blocks;
	uint64_t end;
	uint64_t extents;
};

static int check_extent(void *context, const struct extent *e)
{
	struct check *k = context;

	assert_true(e->file_block >= k->end);
	k->end = e->file_block + e->blocks;
	k->blocks += e->blocks;
	k->extents++;
	return 0;
}

/* The map is sorted, its sum is right. How many extents? */
static uint64_t check_map(struct core *c, struct inode *ip)
{
	const struct media_inode *record;
	struct check k = {0};

	inode_lock_read(ip);
	assert_int_equal(inode_view(c, NULL, ip, &record), 0);
	assert_int_equal(extent_walk(c, ip, record, 0, check_extent, &k), 0);
	assert_int_equal(k.blocks, record->blocks);
	assert_int_equal(record->trim_start, record->trim_end);
	inode_unlock(ip);
	return k.extents;
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
		assert_int_equal(core_prepare_layout(m->pool.c, m->ip, offset, length), 0);
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

	assert_int_equal(size_of(c, m->ip), m->size);
	compare(m, 0, MODEL_BYTES);
	check_map(c, m->ip);
	assert_int_equal(scratch_free_blocks(c) + blocks_of(c, m->ip), m->free_blocks);
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
	assert_int_equal(blocks_of(p.c, ip), 0);
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
	print_message("[ note     ] 8 MiB by blocks, alone: %lu extents\n", check_map(p.c, a));
	assert_true(check_map(p.c, a) <= 4);
	assert_int_equal(core_truncate(p.c, a, 0, NULL), 0);
	for (unsigned i = 0; i < 2048; i++) {
		uint64_t offset = (uint64_t)i * BLOCK_SIZE;

		assert_int_equal(core_write(p.c, a, block, sizeof(block), offset, NULL), 4096);
		assert_int_equal(core_write(p.c, b, block, sizeof(block), offset, NULL), 4096);
	}
	print_message("[ note     ] two side by side: %lu and %lu extents\n", check_map(p.c, a),
		check_map(p.c, b));
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
	assert_int_equal(core_prepare_layout(p.c, ip, 0, 100000), 0);
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

/* ---- space ----------------------------------------------------------------------------------- */

static uint64_t fill(struct core *c, struct inode *ip, uint8_t byte)
{
	static uint8_t chunk[37 * 1024];
	uint64_t at = 0;
	ssize_t n;

	memset(chunk, byte, sizeof(chunk));
	while ((n = core_write(c, ip, chunk, sizeof(chunk), at, NULL)) > 0)
		at += (uint64_t)n;
	assert_int_equal(n, -ENOSPC);
	return at;
}

static void a_pool_is_filled_to_the_last_block_again_and_again(void **state)
{
	struct scratch_pool p;
	uint64_t free_blocks;
	static uint8_t chunk[37 * 1024], read[37 * 1024];

	scratch_pool_make(&p, 4 * MIB, 0);
	free_blocks = scratch_free_blocks(p.c);
	for (unsigned round = 0; round < 20; round++) {
		struct inode *ip = scratch_inode(p.c, S_IFREG | 0644, 1);
		uint64_t end = fill(p.c, ip, (uint8_t)(round + 1));

		assert_int_equal(end, free_blocks * BLOCK_SIZE);
		assert_int_equal(size_of(p.c, ip), end);
		assert_int_equal(scratch_free_blocks(p.c), 0);
		/* A block that is there can be written still, and nothing got lost. */
		assert_int_equal(core_write(p.c, ip, "end", 3, end - 3, NULL), 3);
		memset(chunk, (int)round + 1, sizeof(chunk));
		for (uint64_t at = 0; at + sizeof(chunk) < end; at += sizeof(chunk)) {
			assert_int_equal(core_read(p.c, ip, read, sizeof(read), at), sizeof(read));
			assert_memory_equal(read, chunk, sizeof(read));
		}
		assert_int_equal(core_fallocate(p.c, ip, 0, end, 1, NULL), -ENOSPC);
		assert_int_equal(size_of(p.c, ip), end);
		if (round % 3 == 0)
			assert_int_equal(core_truncate(p.c, ip, 1, NULL), 0);
		scratch_unlink(p.c, ip);
		core_put(p.c, ip, 1);
		assert_int_equal(scratch_free_blocks(p.c), free_blocks);
		if (round % 5 == 4)
			scratch_pool_reopen(&p);
		assert_int_equal(scratch_free_blocks(p.c), free_blocks);
	}
	scratch_pool_remove(&p);
}

static void an_allocation_without_space_changes_nothing(void **state)
{
	struct scratch_pool p;
	uint64_t free_blocks, bytes;
	struct inode *ip;
	struct stat before, after;

	scratch_pool_make(&p, 8 * MIB, 0);
	free_blocks = scratch_free_blocks(p.c);
	bytes = free_blocks * BLOCK_SIZE;
	ip = scratch_inode(p.c, S_IFREG | 0644, 1);
	for (unsigned i = 0; i < 100; i++)
		assert_int_equal(core_write(p.c, ip, "x", 1, i * 3ull * BLOCK_SIZE, NULL), 1);
	assert_int_equal(core_getattr(p.c, ip, &before, NULL), 0);
	assert_int_equal(core_fallocate(p.c, ip, 0, 0, bytes + 1, NULL), -ENOSPC);
	assert_int_equal(
		core_fallocate(p.c, ip, FALLOC_FL_ZERO_RANGE, 0, 2 * bytes, NULL), -ENOSPC);
	assert_int_equal(core_prepare_layout(p.c, ip, 0, 2 * bytes), -ENOSPC);
	assert_int_equal(core_fallocate(p.c, ip, 0, 0, 1ull << 40, NULL), -ENOSPC);
	assert_int_equal(core_getattr(p.c, ip, &after, NULL), 0);
	assert_memory_equal(&before, &after, sizeof(before));
	assert_int_equal(scratch_free_blocks(p.c), free_blocks - 100);
	assert_int_equal(core_fallocate(p.c, ip, 0, 0, bytes, NULL), 0);
	assert_int_equal(scratch_free_blocks(p.c), 0);
	assert_int_equal(size_of(p.c, ip), bytes);
	core_put(p.c, ip, 1);
	scratch_pool_remove(&p);
}

/* ---- the end of inodes ----------------------------------------------------------------------- */

static void an_orphan_is_ended_by_recovery(void **state)
{
	struct scratch_pool p;
	struct inode *ip, *temporary;
	uint64_t free_blocks, ino;

	scratch_pool_make(&p, 8 * MIB, 0);
	free_blocks = scratch_free_blocks(p.c);
	ip = scratch_inode(p.c, S_IFREG | 0644, 1);
	ino = core_ino(ip);
	temporary = scratch_inode(p.c, S_IFREG | 0600, 0);
	assert_int_equal(core_write(p.c, temporary, "t", 1, 0, NULL), 1);
	assert_int_equal(core_write(p.c, ip, "x", 1, MIB, NULL), 1);
	scratch_unlink(p.c, ip);
	assert_int_equal(core_write(p.c, ip, "y", 1, 0, NULL), 1); /* still open */
	assert_int_equal(scratch_free_blocks(p.c), free_blocks - 3);
	scratch_pool_crash(&p);
	assert_int_equal(p.c->recovered_inodes, 2);
	assert_int_equal(scratch_free_blocks(p.c), free_blocks);
	assert_int_equal(core_get(p.c, ino, &ip), -ESTALE);
	scratch_pool_crash(&p);
	assert_int_equal(p.c->recovered_inodes, 0);
	scratch_pool_remove(&p);
}

static void numbers_out_of_use_are_stale(void **state)
{
	struct scratch_pool p;
	struct inode *ip, *again;
	uint32_t generation;
	uint64_t ino;

	scratch_pool_make(&p, 4 * MIB, 0);
	ip = scratch_inode(p.c, S_IFREG | 0644, 1);
	ino = core_ino(ip);
	generation = core_generation(ip);
	assert_int_equal(core_get(p.c, ino, &again), 0);
	assert_ptr_equal(again, ip);
	core_put(p.c, again, 1);
	assert_int_equal(core_get(p.c, 0, &again), -ESTALE);
	assert_int_equal(core_get(p.c, ino + 1000, &again), -ESTALE);
	assert_int_equal(core_get(p.c, UINT64_MAX, &again), -ESTALE);
	scratch_unlink(p.c, ip);
	core_put(p.c, ip, 1);
	assert_int_equal(core_get(p.c, ino, &again), -ESTALE);
	for (unsigned i = 0; i < 10; i++) {
		ip = scratch_inode(p.c, S_IFIFO | 0644, 1);
		if (core_ino(ip) == ino)
			assert_int_not_equal(core_generation(ip), generation);
		core_put(p.c, ip, 1);
	}
	scratch_pool_remove(&p);
}

/* A file of `extents` extents: every second block, from the end so that none are neighbours. */
static struct inode *make_fragmented(struct core *c, uint64_t extents)
{
	static char block[BLOCK_SIZE] = "fragment";
	struct inode *ip = scratch_inode(c, S_IFREG | 0644, 1);

	for (uint64_t i = 0; i < extents; i++)
		assert_int_equal(core_write(c, ip, block, sizeof(block), i * 2 * BLOCK_SIZE, NULL),
			BLOCK_SIZE);
	return ip;
}

/* Does what core_truncate() does in its first transaction, and no more. */
static void begin_truncate(struct core *c, struct inode *ip)
{
	struct media_inode *record;
	struct tx *tx;
	bool left;

	inode_lock_write(ip);
	assert_int_equal(extent_tx_begin(c, &tx), 0);
	assert_int_equal(inode_edit(c, tx, ip, &record), 0);
	record->size = 0;
	assert_int_equal(extent_remove(c, tx, ip, record, 0, FILE_BLOCKS_MAX, &left), 0);
	assert_true(left);
	record->trim_end = FILE_BLOCKS_MAX;
	assert_int_equal(inode_attention(c, tx, ip->ino, true), 0);
	assert_int_equal(extent_tx_commit(c, tx), 0);
	inode_unlock(ip);
}

static void an_interrupted_truncate_is_finished(void **state)
{
	struct scratch_pool p;
	struct inode *ip;
	uint64_t free_blocks, ino;

	scratch_pool_make(&p, 96 * MIB, 0);
	free_blocks = scratch_free_blocks(p.c);
	ip = make_fragmented(p.c, 15000);
	ino = core_ino(ip);
	assert_true(check_map(p.c, ip) >= 15000);
	begin_truncate(p.c, ip);
	assert_true(scratch_free_blocks(p.c) < free_blocks);
	/* What is left of it cannot be seen. */
	assert_int_equal(core_seek(p.c, ip, 0, SEEK_DATA), -ENXIO);
	scratch_pool_crash(&p);
	assert_int_equal(p.c->recovered_inodes, 1);
	assert_int_equal(scratch_free_blocks(p.c), free_blocks);
	assert_int_equal(core_get(p.c, ino, &ip), 0);
	assert_int_equal(size_of(p.c, ip), 0);
	assert_int_equal(blocks_of(p.c, ip), 0);

	/* Without a crash the next change finishes it. */
	core_put(p.c, ip, 1);
	ip = make_fragmented(p.c, 15000);
	begin_truncate(p.c, ip);
	assert_int_equal(core_truncate(p.c, ip, 100000, NULL), 0);
	assert_int_equal(scratch_free_blocks(p.c), free_blocks);
	core_put(p.c, ip, 1);
	scratch_pool_crash(&p);
	assert_int_equal(p.c->recovered_inodes, 0);
	scratch_pool_remove(&p);
}

/* ---- many extents ---------------------------------------------------------------------------- */

static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static void read_all(struct core *c, struct inode *ip, uint64_t bytes)
{
	uint8_t *buffer = malloc(MIB);

	assert_non_null(buffer);
	for (uint64_t at = 0; at < bytes; at += MIB)
		assert_true(core_read(c, ip, buffer, MIB, at) > 0);
	free(buffer);
}

static void many_extents_take_linear_time(void **state)
{
	const char *set = getenv("LEASEFS_TEST_EXTENTS");
	uint64_t extents = set ? strtoull(set, NULL, 10) : 50000;
	uint64_t bytes = extents * 2 * BLOCK_SIZE;
	struct scratch_pool p;
	struct inode *ip;
	double t[6];

	scratch_pool_make(&p, extents * BLOCK_SIZE * 5 / 4 + 16 * MIB, 0);
	t[0] = seconds();
	ip = make_fragmented(p.c, extents);
	t[1] = seconds();
	assert_true(check_map(p.c, ip) >= extents);
	read_all(p.c, ip, bytes);
	t[2] = seconds();
	assert_int_equal(core_fallocate(p.c, ip, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				 bytes / 4, bytes / 4, NULL),
		0);
	t[3] = seconds();
	assert_int_equal(core_truncate(p.c, ip, bytes / 2, NULL), 0);
	t[4] = seconds();
	scratch_unlink(p.c, ip);
	core_put(p.c, ip, 1);
	t[5] = seconds();
	print_message("[ note     ] %lu extents: built %.2f s, read %.2f s, a quarter punched "
		      "%.2f s, half truncated %.2f s, rest freed %.2f s\n",
		extents, t[1] - t[0], t[2] - t[1], t[3] - t[2], t[4] - t[3], t[5] - t[4]);
	scratch_pool_remove(&p);
}

/* ---- threads --------------------------------------------------------------------------------- */

#define THREADS 4

struct worker {
	struct core *c;
	struct inode *ip;
	unsigned number;
};

static void *write_and_check(void *argument)
{
	struct worker *w = argument;
	uint8_t bytes[5000], read[5000];

	for (unsigned i = 0; i < 400; i++) {
		uint64_t at = (i * 7919ull) % 300000;

		memset(bytes, (int)(i + w->number), sizeof(bytes));
		if (core_write(w->c, w->ip, bytes, sizeof(bytes), at, NULL) != sizeof(bytes) ||
			core_read(w->c, w->ip, read, sizeof(read), at) != sizeof(read) ||
			memcmp(bytes, read, sizeof(read)) != 0)
			return (void *)1;
		if (i % 40 == 39 && core_truncate(w->c, w->ip, i * 100, NULL))
			return (void *)2;
		if (i % 60 == 59 &&
			core_fallocate(w->c, w->ip, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at,
				20000, NULL))
			return (void *)3;
	}
	return NULL;
}

static void *make_and_drop(void *argument)
{
	struct worker *w = argument;

	for (unsigned i = 0; i < 200; i++) {
		struct inode *again = NULL;
		uint64_t ino = core_ino(w->ip) + i % 8;

		if (core_get(w->c, ino, &again) == 0)
			core_put(w->c, again, 1);
	}
	return NULL;
}

static void files_are_written_in_parallel(void **state)
{
	struct scratch_pool p;
	struct worker workers[THREADS * 2];
	pthread_t threads[THREADS * 2];
	uint64_t free_blocks;

	scratch_pool_make(&p, 16 * MIB, 0);
	free_blocks = scratch_free_blocks(p.c);
	for (unsigned i = 0; i < THREADS * 2; i++) {
		workers[i] = (struct worker){.c = p.c, .number = i};
		workers[i].ip = i < THREADS ? scratch_inode(p.c, S_IFREG | 0644, 1) : workers[0].ip;
		assert_int_equal(
			pthread_create(&threads[i], NULL,
				i < THREADS ? write_and_check : make_and_drop, &workers[i]),
			0);
	}
	for (unsigned i = 0; i < THREADS * 2; i++) {
		void *result;

		assert_int_equal(pthread_join(threads[i], &result), 0);
		assert_null(result);
	}
	for (unsigned i = 0; i < THREADS; i++) {
		check_map(p.c, workers[i].ip);
		scratch_unlink(p.c, workers[i].ip);
		core_put(p.c, workers[i].ip, 1);
	}
	assert_int_equal(scratch_free_blocks(p.c), free_blocks);
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
		cmocka_unit_test(zero_range_leaves_a_written_layout_as_it_is),
		cmocka_unit_test(a_pool_is_filled_to_the_last_block_again_and_again),
		cmocka_unit_test(an_allocation_without_space_changes_nothing),
		cmocka_unit_test(an_orphan_is_ended_by_recovery),
		cmocka_unit_test(numbers_out_of_use_are_stale),
		cmocka_unit_test(an_interrupted_truncate_is_finished),
		cmocka_unit_test(many_extents_take_linear_time),
		cmocka_unit_test(files_are_written_in_parallel),
	};

	if (argc > 1)
		random_state = strtoull(argv[1], NULL, 10) * 2 + 1;
	return cmocka_run_group_tests_name("file", tests, NULL, NULL);
}
