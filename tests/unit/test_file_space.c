// SPDX-License-Identifier: BSD-2-Clause
/*
 * test_file_space.c - where files' blocks come from and go to: space to the last block, what
 * recovery has to end, many extents, many threads.
 */
#include "scratch_pool.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "extent.h"

#define MIB (1ull << 20)

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
		assert_int_equal(scratch_size(p.c, ip), end);
		assert_int_equal(scratch_free_blocks(p.c), 0);
		/* A block that is there can be written still, and nothing got lost. */
		assert_int_equal(core_write(p.c, ip, "end", 3, end - 3, NULL), 3);
		memset(chunk, (int)round + 1, sizeof(chunk));
		for (uint64_t at = 0; at + sizeof(chunk) < end; at += sizeof(chunk)) {
			assert_int_equal(core_read(p.c, ip, read, sizeof(read), at), sizeof(read));
			assert_memory_equal(read, chunk, sizeof(read));
		}
		assert_int_equal(core_fallocate(p.c, ip, 0, end, 1, NULL), -ENOSPC);
		assert_int_equal(scratch_size(p.c, ip), end);
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
	assert_int_equal(core_prepare_layout(p.c, ip, 0, 2 * bytes, NULL), -ENOSPC);
	assert_int_equal(core_fallocate(p.c, ip, 0, 0, 1ull << 40, NULL), -ENOSPC);
	assert_int_equal(core_getattr(p.c, ip, &after, NULL), 0);
	assert_memory_equal(&before, &after, sizeof(before));
	assert_int_equal(scratch_free_blocks(p.c), free_blocks - 100);
	assert_int_equal(core_fallocate(p.c, ip, 0, 0, bytes, NULL), 0);
	assert_int_equal(scratch_free_blocks(p.c), 0);
	assert_int_equal(scratch_size(p.c, ip), bytes);
	core_put(p.c, ip, 1);
	scratch_pool_remove(&p);
}

/* So that a mapping of the region can use huge pages wherever the file's own would. */
struct keeper {
	int answer; /* to the third question and those after it */
	unsigned asked, ended;
};

static int refuse_the_third(void *context, uint64_t ino, const struct core_extent *extent)
{
	struct keeper *k = context;

	return ++k->asked < 3 ? 1 : k->answer;
}

static void note_abort(void *context, uint64_t ino, bool committed)
{
	struct keeper *k = context;

	k->ended++;
	assert_int_equal(committed, k->answer >= 0);
}

/* Somebody may still have the blocks mapped, and they cannot be kept from reuse. */
static void what_cannot_be_kept_is_not_freed(void **state)
{
	struct keeper k = {.answer = -ENOMEM};
	struct stat before, after;
	struct scratch_pool p;
	uint64_t free_blocks;
	struct inode *ip;
	char byte = 0;

	scratch_pool_make(&p, 16 * MIB, 0);
	ip = scratch_inode(p.c, S_IFREG | 0644, 1);
	for (uint64_t i = 0; i < 8; i++)
		assert_int_equal(core_write(p.c, ip, "x", 1, i * 2 * BLOCK_SIZE, NULL), 1);
	free_blocks = scratch_free_blocks(p.c);
	assert_int_equal(core_getattr(p.c, ip, &before, NULL), 0);
	core_set_arbiter(
		p.c, &(struct core_arbiter){
			     .context = &k, .freeing = refuse_the_third, .freed = note_abort});
	assert_int_equal(core_fallocate(p.c, ip, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
				 8 * BLOCK_SIZE, NULL),
		-ENOMEM);
	assert_int_equal(k.asked, 3);
	assert_int_equal(k.ended, 1);
	assert_int_equal(scratch_free_blocks(p.c), free_blocks);
	assert_int_equal(core_getattr(p.c, ip, &after, NULL), 0);
	assert_int_equal(after.st_blocks, before.st_blocks);
	assert_int_equal(after.st_mtim.tv_nsec, before.st_mtim.tv_nsec);
	for (uint64_t i = 0; i < 8; i++) {
		assert_int_equal(core_read(p.c, ip, &byte, 1, i * 2 * BLOCK_SIZE), 1);
		assert_int_equal(byte, 'x');
	}
	scratch_check_map(p.c, ip);
	k = (struct keeper){.answer = 1};
	assert_int_equal(core_fallocate(p.c, ip, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
				 8 * BLOCK_SIZE, NULL),
		0);
	assert_int_equal(k.asked, 4);
	core_set_arbiter(p.c, &(struct core_arbiter){NULL, NULL});
	core_put(p.c, ip, 1);
	scratch_pool_remove(&p);
}

static void leased_and_large_files_stand_in_aligned_units(void **state)
{
	static uint8_t chunk[MIB];
	struct core_extent extents[64];
	struct scratch_pool p;
	struct inode *small, *large, *leased;
	unsigned count;
	uint64_t next;

	scratch_pool_make(&p, 64 * MIB, 0);
	small = scratch_inode(p.c, S_IFREG | 0644, 1);
	large = scratch_inode(p.c, S_IFREG | 0644, 1);
	leased = scratch_inode(p.c, S_IFREG | 0644, 1);
	assert_int_equal(core_write(p.c, small, "x", 1, 0, NULL), 1);
	for (uint64_t at = 0; at < 16 * MIB; at += MIB) {
		assert_int_equal(core_write(p.c, large, chunk, MIB, at, NULL), MIB);
		assert_int_equal(core_write(p.c, small, "x", 1, at * 3, NULL), 1);
	}
	assert_int_equal(core_prepare_layout(p.c, leased, 5 * MIB + 8192, 9 * MIB, NULL), 0);
	assert_int_equal(
		core_layout(p.c, leased, 5 * MIB, 10 * MIB, extents, 64, &count, &next), 0);
	for (unsigned i = 0; i < count; i++)
		if (extents[i].state != CORE_EXTENT_HOLE)
			assert_int_equal(extents[i].offset % HUGE_SIZE,
				extents[i].region_offset % HUGE_SIZE);
	assert_int_equal(core_layout(p.c, large, 2 * MIB, 14 * MIB, extents, 64, &count, &next), 0);
	for (unsigned i = 0; i < count; i++)
		assert_int_equal(
			extents[i].offset % HUGE_SIZE, extents[i].region_offset % HUGE_SIZE);
	core_put(p.c, small, 1);
	core_put(p.c, large, 1);
	core_put(p.c, leased, 1);
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
	assert_true(scratch_check_map(p.c, ip) >= 15000);
	begin_truncate(p.c, ip);
	assert_true(scratch_free_blocks(p.c) < free_blocks);
	/* What is left of it cannot be seen. */
	assert_int_equal(core_seek(p.c, ip, 0, SEEK_DATA), -ENXIO);
	scratch_pool_crash(&p);
	assert_int_equal(p.c->recovered_inodes, 1);
	assert_int_equal(scratch_free_blocks(p.c), free_blocks);
	assert_int_equal(core_get(p.c, ino, &ip), 0);
	assert_int_equal(scratch_size(p.c, ip), 0);
	assert_int_equal(scratch_blocks(p.c, ip), 0);

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
	assert_true(scratch_check_map(p.c, ip) >= extents);
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
		scratch_check_map(p.c, workers[i].ip);
		scratch_unlink(p.c, workers[i].ip);
		core_put(p.c, workers[i].ip, 1);
	}
	assert_int_equal(scratch_free_blocks(p.c), free_blocks);
	scratch_pool_remove(&p);
}

#define STRIPE 1000u
#define STRIPES 200u

struct sharer {
	struct core *c;
	struct inode *ip;
	struct inode *other;
	unsigned number;
};

/* Writes its stripes, punches holes beyond them, and copies from file to file meanwhile. */
static void *share(void *argument)
{
	struct sharer *s = argument;
	uint8_t bytes[STRIPE];
	struct iovec vector[16];

	memset(bytes, (int)(0x10 + s->number), sizeof(bytes));
	for (unsigned i = s->number; i < STRIPES; i += THREADS) {
		uint64_t past = 2 * MIB + i * 3000;
		int count;

		if (core_write(s->c, s->ip, bytes, STRIPE, (uint64_t)i * STRIPE, NULL) != STRIPE)
			return (void *)1;
		if (core_write(s->c, s->ip, bytes, STRIPE, past, NULL) != STRIPE ||
			core_fallocate(s->c, s->ip, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				2 * MIB, MIB, NULL))
			return (void *)2;
		if (core_copy_range(s->c, s->ip, 0, s->other, 0, 100000, NULL) < 0)
			return (void *)3;
		if (core_read_begin(s->c, s->other, 0, 200000, vector, 16, &count))
			return (void *)4;
		core_read_end(s->c, s->other);
	}
	return NULL;
}

/* Half of the threads go from the first to the second, half the other way. */
static void files_shared_by_threads_end_whole(void **state)
{
	struct scratch_pool p;
	struct sharer sharers[THREADS * 2];
	pthread_t threads[THREADS * 2];
	struct inode *ip[2];
	uint8_t read[STRIPE];

	scratch_pool_make(&p, 32 * MIB, 0);
	for (unsigned i = 0; i < 2; i++)
		ip[i] = scratch_inode(p.c, S_IFREG | 0644, 1);
	for (unsigned i = 0; i < THREADS * 2; i++) {
		sharers[i] =
			(struct sharer){p.c, ip[i / THREADS], ip[1 - i / THREADS], i % THREADS};
		assert_int_equal(pthread_create(&threads[i], NULL, share, &sharers[i]), 0);
	}
	for (unsigned i = 0; i < THREADS * 2; i++) {
		void *result;

		assert_int_equal(pthread_join(threads[i], &result), 0);
		assert_null(result);
	}
	/* Where no copy went, each stripe is its writer's. */
	for (unsigned f = 0; f < 2; f++) {
		for (unsigned i = 0; i < STRIPES; i++) {
			assert_int_equal(
				core_read(p.c, ip[f], read, STRIPE, (uint64_t)i * STRIPE), STRIPE);
			for (unsigned b = 0; i * STRIPE >= 100000 && b < STRIPE; b++)
				assert_int_equal(read[b], 0x10 + i % THREADS);
		}
		scratch_check_map(p.c, ip[f]);
		core_put(p.c, ip[f], 1);
	}
	scratch_pool_remove(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_pool_is_filled_to_the_last_block_again_and_again),
		cmocka_unit_test(an_allocation_without_space_changes_nothing),
		cmocka_unit_test(what_cannot_be_kept_is_not_freed),
		cmocka_unit_test(leased_and_large_files_stand_in_aligned_units),
		cmocka_unit_test(an_orphan_is_ended_by_recovery),
		cmocka_unit_test(numbers_out_of_use_are_stale),
		cmocka_unit_test(an_interrupted_truncate_is_finished),
		cmocka_unit_test(many_extents_take_linear_time),
		cmocka_unit_test(files_are_written_in_parallel),
		cmocka_unit_test(files_shared_by_threads_end_whole),
	};

	return cmocka_run_group_tests_name("file_space", tests, NULL, NULL);
}
