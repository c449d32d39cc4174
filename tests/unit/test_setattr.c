// SPDX-License-Identifier: BSD-2-Clause
/*
 * test_setattr.c - mode, owner and times, and what goes with them; blocks that follow their owner.
 */
#include "scratch_pool.h"

#include <errno.h>
#include <string.h>

#include "extent.h"

#define MIB (1ull << 20)

static struct stat stat_of(struct core *c, struct inode *ip)
{
	struct stat st;

	assert_int_equal(core_getattr(c, ip, &st, NULL), 0);
	return st;
}

static int set_mode(struct core *c, struct inode *ip, uint32_t mode, const struct core_cred *cred)
{
	return core_setattr(
		c, ip, &(struct core_setattr){.valid = CORE_SET_MODE, .mode = mode, .cred = cred});
}

static int set_owner(struct core *c, struct inode *ip, uint32_t uid, uint32_t gid)
{
	return core_setattr(c, ip,
		&(struct core_setattr){
			.valid = CORE_SET_UID | CORE_SET_GID, .uid = uid, .gid = gid});
}

static bool in_group_7(const struct core_cred *cred, uint32_t gid)
{
	return gid == 7;
}

static void setgid_takes_membership_or_fsetid(void **state)
{
	const struct core_cred stranger = {.uid = 5, .gid = 5};
	const struct core_cred member = {.uid = 5, .gid = 5, .in_group = in_group_7};
	const struct core_cred root = {.fsetid = true};
	struct scratch_pool p;
	struct inode *ip;

	scratch_pool_make(&p, 4 * MIB, 0);
	ip = scratch_inode(p.c, S_IFREG | 0644, 1);
	assert_int_equal(set_owner(p.c, ip, 5, 7), 0);
	assert_int_equal(set_mode(p.c, ip, 02755, &stranger), 0);
	assert_int_equal(stat_of(p.c, ip).st_mode, S_IFREG | 0755);
	assert_int_equal(set_mode(p.c, ip, 06755, &member), 0);
	assert_int_equal(stat_of(p.c, ip).st_mode, S_IFREG | 06755);
	assert_int_equal(set_mode(p.c, ip, S_IFDIR | 02700, &root), 0);
	assert_int_equal(stat_of(p.c, ip).st_mode, S_IFREG | 02700);
	core_put(p.c, ip, 1);
	scratch_pool_remove(&p);
}

static void a_change_of_owner_ends_setuid(void **state)
{
	struct scratch_pool p;
	struct inode *file, *dir;

	scratch_pool_make(&p, 4 * MIB, 0);
	file = scratch_inode(p.c, S_IFREG | 06755, 1);
	dir = scratch_inode(p.c, S_IFDIR | 06755, 2);
	assert_int_equal(set_owner(p.c, file, 1, 2), 0);
	assert_int_equal(set_owner(p.c, dir, 1, 2), 0);
	assert_int_equal(stat_of(p.c, file).st_mode, S_IFREG | 0755);
	assert_int_equal(stat_of(p.c, file).st_uid, 1);
	assert_int_equal(stat_of(p.c, file).st_gid, 2);
	assert_int_equal(stat_of(p.c, dir).st_mode, S_IFDIR | 06755);
	assert_int_equal(set_mode(p.c, file, 06745, NULL), 0);
	assert_int_equal(set_owner(p.c, file, 3, 3), 0);
	assert_int_equal(stat_of(p.c, file).st_mode, S_IFREG | 02745); /* mandatory locks */
	core_put(p.c, file, 1);
	core_put(p.c, dir, 1);
	scratch_pool_remove(&p);
}

/* What overlayfs does when it copies a file: nameless, chmod, chown, link. */
static void a_nameless_file_of_ones_own_keeps_setuid(void **state)
{
	struct core_setattr owner = {
		.valid = CORE_SET_UID | CORE_SET_GID, .uid = 1000, .gid = 1000};
	const struct core_cred maker = {.uid = 7, .gid = 7, .fsetid = true};
	const struct core_cred other = {.uid = 8, .gid = 7, .fsetid = true};
	struct scratch_pool p;
	struct inode *root, *ip;

	scratch_pool_make(&p, 4 * MIB, 0);
	assert_int_equal(core_get(p.c, ROOT_INO, &root), 0);
	for (unsigned i = 0; i < 4; i++) {
		bool keeps = i == 0;
		char name[] = {(char)('a' + i), 0};

		assert_int_equal(core_tmpfile(p.c, root, 0600, &maker, &ip), 0);
		assert_int_equal(set_mode(p.c, ip, 06755, &maker), 0);
		if (i == 1) /* it has a name */
			assert_int_equal(core_link(p.c, ip, root, name), 0);
		owner.cred = i == 2 ? &other : i == 3 ? NULL : &maker;
		assert_int_equal(core_setattr(p.c, ip, &owner), 0);
		assert_int_equal(stat_of(p.c, ip).st_uid, 1000);
		assert_int_equal(stat_of(p.c, ip).st_mode, S_IFREG | (keeps ? 06755 : 0755));
		if (keeps) { /* once it has a name it is a file as any */
			assert_int_equal(core_link(p.c, ip, root, name), 0);
			assert_int_equal(stat_of(p.c, ip).st_mode, S_IFREG | 06755);
			owner.uid = 7;
			assert_int_equal(core_setattr(p.c, ip, &owner), 0);
			assert_int_equal(stat_of(p.c, ip).st_mode, S_IFREG | 0755);
			owner.uid = 1000;
		}
		core_put(p.c, ip, 1);
	}
	core_put(p.c, root, 1);
	scratch_pool_remove(&p);
}

static void times_are_kept_to_the_nanosecond(void **state)
{
	struct core_setattr set = {
		.valid = CORE_SET_ATIME | CORE_SET_MTIME,
		.atime = {.tv_sec = -5, .tv_nsec = 999999999},
		.mtime = {.tv_sec = 1ll << 40, .tv_nsec = 1},
	};
	struct scratch_pool p;
	struct inode *ip;
	struct stat st, before;

	scratch_pool_make(&p, 4 * MIB, 0);
	ip = scratch_inode(p.c, S_IFREG | 0644, 1);
	assert_int_equal(core_setattr(p.c, ip, &set), 0);
	before = stat_of(p.c, ip);
	set.mtime.tv_nsec = 1000000000;
	assert_int_equal(core_setattr(p.c, ip, &set), -EINVAL);
	st = stat_of(p.c, ip);
	assert_memory_equal(&st, &before, sizeof(st));
	assert_int_equal(st.st_atim.tv_sec, -5);
	assert_int_equal(st.st_atim.tv_nsec, 999999999);
	assert_int_equal(st.st_mtim.tv_sec, 1ll << 40);
	assert_int_equal(st.st_mtim.tv_nsec, 1);
	set.valid = CORE_SET_MTIME_NOW;
	assert_int_equal(core_setattr(p.c, ip, &set), 0);
	st = stat_of(p.c, ip);
	assert_int_equal(st.st_mtim.tv_sec, st.st_ctim.tv_sec);
	assert_int_equal(st.st_atim.tv_sec, -5);
	core_put(p.c, ip, 1);
	scratch_pool_remove(&p);
}

/* ---- one region an owner --------------------------------------------------------------------- */

#define TAIL_BYTES 50000u
#define TAIL_BLOCKS ((TAIL_BYTES + BLOCK_SIZE - 1) / BLOCK_SIZE)

static uint8_t pattern(uint64_t block)
{
	return (uint8_t)(block * 31 + 1);
}

/* Every second block, `blocks` of them; then an unwritten tail. */
static struct inode *make_file(struct core *c, uint32_t uid, uint64_t blocks)
{
	struct inode *ip = scratch_inode(c, S_IFREG | 0644, 1);
	uint8_t block[BLOCK_SIZE];

	assert_int_equal(set_owner(c, ip, uid, 0), 0);
	for (uint64_t i = 0; i < blocks; i++) {
		memset(block, pattern(i), sizeof(block));
		assert_int_equal(core_write(c, ip, block, sizeof(block), i * 2 * BLOCK_SIZE, NULL),
			BLOCK_SIZE);
	}
	assert_int_equal(core_fallocate(c, ip, 0, blocks * 2 * BLOCK_SIZE, TAIL_BYTES, NULL), 0);
	return ip;
}

static void check_file(struct core *c, struct inode *ip, uint64_t blocks)
{
	uint8_t read[2 * BLOCK_SIZE], want[2 * BLOCK_SIZE] = {0};

	for (uint64_t i = 0; i < blocks; i++) {
		memset(want, pattern(i), BLOCK_SIZE);
		assert_int_equal(
			core_read(c, ip, read, sizeof(read), i * sizeof(read)), sizeof(read));
		assert_memory_equal(read, want, sizeof(read));
	}
}

static int count_region(void *context, const struct extent *e)
{
	uint64_t *blocks = context;

	assert_true(e->region < 2);
	blocks[e->region] += e->blocks;
	return 0;
}

static void count_regions(struct core *c, struct inode *ip, uint64_t blocks[2])
{
	const struct media_inode *record;

	blocks[0] = blocks[1] = 0;
	assert_int_equal(inode_view(c, NULL, ip, &record), 0);
	assert_int_equal(extent_walk(c, ip, record, 0, count_region, blocks), 0);
	assert_int_equal(blocks[0] + blocks[1], record->blocks);
}

static void move_and_back(uint64_t blocks)
{
	struct scratch_pool p;
	uint64_t free_first, budget, ino, in[2];
	struct inode *first, *ip;

	scratch_pool_make_domains(&p, 256 * MIB);
	first = make_file(p.c, 1000, 1); /* so that there is a region */
	core_put(p.c, first, 1);
	free_first = scratch_region_free_blocks(p.c, 0);
	budget = p.c->data_blocks_free;
	ip = make_file(p.c, 1000, blocks);
	ino = core_ino(ip);
	assert_int_equal(set_owner(p.c, ip, 2000, 0), 0);
	check_file(p.c, ip, blocks);
	assert_int_equal(stat_of(p.c, ip).st_uid, 2000);
	assert_int_equal(scratch_region_free_blocks(p.c, 0), free_first);
	count_regions(p.c, ip, in);
	assert_int_equal(in[0], 0);
	assert_int_equal(in[1], blocks + TAIL_BLOCKS);
	assert_int_equal(p.c->data_blocks_free, budget - in[1]);

	scratch_pool_crash(&p);
	assert_int_equal(core_get(p.c, ino, &ip), 0);
	assert_int_equal(p.c->data_blocks_free, budget - in[1]);
	check_file(p.c, ip, blocks);
	assert_int_equal(set_owner(p.c, ip, 1000, 0), 0);
	count_regions(p.c, ip, in);
	assert_int_equal(in[1], 0);
	check_file(p.c, ip, blocks);
	scratch_unlink(p.c, ip);
	core_put(p.c, ip, 1);
	assert_int_equal(scratch_region_free_blocks(p.c, 0), free_first);
	assert_int_equal(p.c->data_blocks_free, budget);
	scratch_pool_remove(&p);
}

static void blocks_follow_their_owner(void **state)
{
	move_and_back(20);
}

static void blocks_of_many_extents_follow_too(void **state)
{
	move_and_back(20000);
}

static void without_space_for_both_the_owner_stays(void **state)
{
	struct scratch_pool p;
	struct inode *ip;
	struct stat before, after;
	uint64_t budget;

	scratch_pool_make_domains(&p, 4 * MIB);
	ip = scratch_inode(p.c, S_IFREG | 0644, 1);
	assert_int_equal(core_fallocate(p.c, ip, 0, 0, 3 * MIB, NULL), 0);
	assert_int_equal(core_write(p.c, ip, "mine", 4, 0, NULL), 4);
	before = stat_of(p.c, ip);
	budget = p.c->data_blocks_free;
	assert_int_equal(set_owner(p.c, ip, 77, 77), -ENOSPC);
	after = stat_of(p.c, ip);
	assert_memory_equal(&before, &after, sizeof(before));
	assert_int_equal(p.c->data_blocks_free, budget);
	assert_int_equal(core_truncate(p.c, ip, MIB, NULL), 0);
	assert_int_equal(set_owner(p.c, ip, 77, 77), 0);
	core_put(p.c, ip, 1);
	scratch_pool_remove(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(setgid_takes_membership_or_fsetid),
		cmocka_unit_test(a_change_of_owner_ends_setuid),
		cmocka_unit_test(a_nameless_file_of_ones_own_keeps_setuid),
		cmocka_unit_test(times_are_kept_to_the_nanosecond),
		cmocka_unit_test(blocks_follow_their_owner),
		cmocka_unit_test(blocks_of_many_extents_follow_too),
		cmocka_unit_test(without_space_for_both_the_owner_stays),
	};

	return cmocka_run_group_tests_name("setattr", tests, NULL, NULL);
}
