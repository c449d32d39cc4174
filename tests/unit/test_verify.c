// SPDX-License-Identifier: BSD-2-Clause
/*
 * test_verify.c - each kind of damage is planted, found, told in words, and mended.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "dir.h"
#include "verify_pool.h"
#include "xattr.h"

static struct scratch_pool pool;

static int make(void **state)
{
	verify_pool_make(&pool);
	return 0;
}

static int drop(void **state)
{
	scratch_pool_remove(&pool);
	return 0;
}

/* ---- records --------------------------------------------------------------------------------- */

static void set_nlink(struct media_inode *m, uint64_t n)
{
	m->nlink = (uint32_t)n;
}

static void set_blocks(struct media_inode *m, uint64_t n)
{
	m->blocks = n;
}

static void set_size(struct media_inode *m, uint64_t n)
{
	m->size = n;
}

static void set_parent(struct media_inode *m, uint64_t n)
{
	m->parent = n;
}

static void set_mode(struct media_inode *m, uint64_t n)
{
	m->mode = (uint32_t)n;
}

static void set_region_block(struct media_inode *m, uint64_t n)
{
	m->extents[0].region_block = n;
}

static void a_wrong_link_count_of_a_file_is_corrected(void **state)
{
	verify_pool_edit(&pool, "/small", set_nlink, 7);
	verify_pool_mend(&pool, "(/small): counts 7 links, there are 2");
}

static void a_wrong_link_count_of_a_directory_is_corrected(void **state)
{
	verify_pool_edit(&pool, "/sub", set_nlink, 2);
	verify_pool_mend(&pool, "(/sub): counts 2 links, there are 3");
}

static void a_wrong_count_of_blocks_is_corrected(void **state)
{
	verify_pool_edit(&pool, "/comb", set_blocks, 5);
	verify_pool_mend(&pool, "(/comb): counts 5 blocks, its extents have 600");
}

static void a_wrong_count_of_names_is_corrected(void **state)
{
	verify_pool_edit(&pool, "/big", set_size, 399);
	verify_pool_mend(&pool, "(/big): counts 399 names, it has 400");
}

static void a_wrong_parent_is_corrected(void **state)
{
	verify_pool_edit(&pool, "/sub/deep", set_parent, verify_pool_ino(pool.c, "/big"));
	verify_pool_mend(&pool, "but another one as its \"..\"");
}

static void set_trim(struct media_inode *m, uint64_t n)
{
	m->trim_start = 0;
	m->trim_end = n;
}

static void a_trim_range_of_a_directory_is_dropped(void **state)
{
	verify_pool_edit(&pool, "/sub", set_trim, 5);
	verify_pool_mend(&pool, "(/sub): has a trim range that it cannot have");
	assert_true(verify_pool_holds(pool.c, "/sub/deep/file", 5000, 9000, 3));
}

static void an_impossible_type_gives_the_inode_up(void **state)
{
	verify_pool_edit(&pool, "/other", set_mode, 0030644);
	verify_pool_mend(&pool, "is of a type that does not exist");
	assert_null(verify_pool_get(pool.c, "/other"));
	assert_true(verify_pool_holds(pool.c, "/small", 0, 20000, 1));
}

/* ---- extents --------------------------------------------------------------------------------- */

static void an_extent_past_its_region_is_taken_out(void **state)
{
	verify_pool_edit(&pool, "/other", set_region_block, 1ull << 40);
	verify_pool_mend(&pool, "lies past the end of its region");
	assert_true(verify_pool_holds(pool.c, "/small", 0, 20000, 1));
}

static void a_block_claimed_twice_stays_with_one_file(void **state)
{
	verify_pool_edit(
		&pool, "/other", set_region_block, verify_pool_first_block(&pool, "/small"));
	verify_pool_mend(&pool, "stands on blocks that another extent claims too");
	assert_true(verify_pool_holds(pool.c, "/small", 0, 20000, 1));
	assert_false(verify_pool_holds(pool.c, "/other", 0, 20000, 1));
}

/* ---- bits ------------------------------------------------------------------------------------ */

static void a_leaked_data_block_is_freed(void **state)
{
	uint64_t unit = verify_pool_free_unit(&pool, SPACE_REGION(0));

	verify_pool_set_bits(&pool, SPACE_REGION(0), unit, true);
	uint64_t before = scratch_free_blocks(pool.c);
	verify_pool_mend(&pool, "marked as in use, but nothing uses them");
	assert_int_equal(scratch_free_blocks(pool.c), before + 1);
}

static void a_leaked_metadata_block_is_freed(void **state)
{
	uint64_t unit = verify_pool_free_unit(&pool, SPACE_HEAP);

	verify_pool_set_bits(&pool, SPACE_HEAP, unit, true);
	verify_pool_mend(&pool, "marked as in use, but nothing uses them");
}

static void a_block_in_use_that_is_marked_free_is_marked(void **state)
{
	bool used;

	verify_pool_set_bits(
		&pool, SPACE_REGION(0), verify_pool_first_block(&pool, "/small"), false);
	verify_pool_mend(&pool, "are in use, but marked as free");
	assert_int_equal(space_test(tables_region(pool.c, 0)->space,
				 verify_pool_first_block(&pool, "/small"), &used),
		0);
	assert_true(used);
}

static void a_number_in_use_without_a_record_is_freed(void **state)
{
	uint64_t ino = verify_pool_free_unit(&pool, SPACE_INODES);

	verify_pool_set_bits(&pool, SPACE_INODES, ino, true);
	verify_pool_mend(&pool, "its record");
}

static void an_inode_marked_free_is_marked(void **state)
{
	uint64_t ino = verify_pool_ino(pool.c, "/other");

	verify_pool_set_bits(&pool, SPACE_INODES, ino, false);
	verify_pool_mend(&pool, "(/other): its number is marked as free");
	assert_int_equal(verify_pool_ino(pool.c, "/other"), ino);
	assert_true(verify_pool_holds(pool.c, "/other", 0, 20000, 2));
}

static void the_number_that_is_never_given_stays_taken(void **state)
{
	verify_pool_set_bits(&pool, SPACE_INODES, 0, false);
	verify_pool_mend(&pool, "which is never given, is marked as free");
}

static void attention(uint64_t ino, bool on)
{
	struct tx *tx;

	assert_int_equal(tx_begin(pool.c->meta, &tx), 0);
	assert_int_equal(inode_attention(pool.c, tx, ino, on), 0);
	assert_int_equal(tx_commit(tx), 0);
}

static void an_orphan_without_attention_gets_it(void **state)
{
	struct inode *ip = scratch_inode(pool.c, S_IFREG | 0600, 0);
	uint64_t ino = core_ino(ip);

	attention(ino, false);
	verify_pool_mend(&pool, "is to be finished by recovery, but not marked");
	/* The restart has let it go. */
	assert_int_equal(core_get(pool.c, ino, &ip), -ESTALE);
}

static void attention_without_a_reason_goes(void **state)
{
	attention(verify_pool_ino(pool.c, "/small"), true);
	verify_pool_mend(&pool, "is marked for recovery, which has nothing to do there");
}

/* ---- names ----------------------------------------------------------------------------------- */

static void a_dangling_entry_is_removed(void **state)
{
	verify_pool_enter(&pool, "/sub", "nowhere", 0, 3333, DT_REG);
	verify_pool_mend(&pool, "\"nowhere\"");
	assert_null(verify_pool_get(pool.c, "/sub/nowhere"));
}

static void an_entry_of_another_type_is_corrected(void **state)
{
	uint64_t ino = verify_pool_ino(pool.c, "/other");

	verify_pool_forget(&pool, "/", "other");
	verify_pool_enter(&pool, "/", "other", 0, ino, DT_DIR);
	verify_pool_mend(&pool, "says type 4");
	assert_int_equal(verify_pool_ino(pool.c, "/other"), ino);
}

static void an_entry_under_a_wrong_key_is_entered_again(void **state)
{
	uint64_t ino = verify_pool_ino(pool.c, "/other");

	verify_pool_forget(&pool, "/", "other");
	verify_pool_enter(&pool, "/", "other", 0x123456789000ull, ino, DT_REG);
	assert_null(verify_pool_get(pool.c, "/other"));
	verify_pool_mend(&pool, "stands under a key that is not its name's");
	assert_int_equal(verify_pool_ino(pool.c, "/other"), ino);
}

static void a_name_that_is_there_twice_is_removed_once(void **state)
{
	uint64_t ino = verify_pool_ino(pool.c, "/other");
	uint64_t key = dir_hash(pool.c->super.hash_seed, "other", 5);

	verify_pool_enter(&pool, "/", "other", key + 9, ino, DT_REG);
	verify_pool_mend(&pool, "has the name of another entry");
	assert_int_equal(verify_pool_ino(pool.c, "/other"), ino);
}

static void a_name_with_a_slash_is_removed(void **state)
{
	verify_pool_enter(&pool, "/", "a/b", 0, verify_pool_ino(pool.c, "/other"), DT_REG);
	verify_pool_mend(&pool, "has a name that no file can have");
}

static void a_file_without_a_name_gets_one(void **state)
{
	uint64_t ino = verify_pool_ino(pool.c, "/other");
	char name[64];

	verify_pool_forget(&pool, "/", "other");
	verify_pool_mend(&pool, "has no name left, but links");
	snprintf(name, sizeof(name), "/lost+found/#%llu", (unsigned long long)ino);
	assert_int_equal(verify_pool_ino(pool.c, name), ino);
	assert_true(verify_pool_holds(pool.c, name, 0, 20000, 2));
}

static void a_directory_without_a_name_keeps_what_is_in_it(void **state)
{
	uint64_t ino = verify_pool_ino(pool.c, "/sub");
	char name[64];

	verify_pool_forget(&pool, "/", "sub");
	verify_pool_mend(&pool, "has no name");
	snprintf(name, sizeof(name), "/lost+found/#%llu/deep/file", (unsigned long long)ino);
	assert_true(verify_pool_holds(pool.c, name, 5000, 9000, 3));
}

static void a_directory_below_itself_is_brought_back(void **state)
{
	uint64_t sub = verify_pool_ino(pool.c, "/sub"), deep = verify_pool_ino(pool.c, "/sub/deep");
	char name[64];

	verify_pool_edit(&pool, "/sub", set_parent, deep);
	verify_pool_enter(&pool, "/sub/deep", "up", 0, sub, DT_DIR);
	verify_pool_forget(&pool, "/", "sub");
	verify_pool_mend(&pool, "is below itself");
	snprintf(name, sizeof(name), "/lost+found/#%llu/deep/file", (unsigned long long)sub);
	if (!verify_pool_holds(pool.c, name, 5000, 9000, 3)) {
		snprintf(name, sizeof(name), "/lost+found/#%llu/file", (unsigned long long)deep);
		assert_true(verify_pool_holds(pool.c, name, 5000, 9000, 3));
	}
}

static void a_second_name_of_a_directory_is_removed(void **state)
{
	verify_pool_enter(&pool, "/big", "again", 0, verify_pool_ino(pool.c, "/sub"), DT_DIR);
	verify_pool_mend(&pool, "has a second name");
	assert_null(verify_pool_get(pool.c, "/big/again"));
	assert_true(verify_pool_holds(pool.c, "/sub/deep/file", 5000, 9000, 3));
}

/* ---- flipped bits ---------------------------------------------------------------------------- */

static void flip(uint64_t offset)
{
	assert_int_equal(core_close(pool.c), 0);
	verify_pool_flip(&pool, offset + 200, 3);
	scratch_pool_open(&pool);
}

static void a_damaged_record_is_given_up(void **state)
{
	struct inode *ip = verify_pool_get(pool.c, "/other");
	uint64_t record = ip->record;

	core_put(pool.c, ip, 1);
	flip(record);
	verify_pool_mend(&pool, "(/other): its record fails its checksum");
	assert_null(verify_pool_get(pool.c, "/other"));
	assert_true(verify_pool_holds(pool.c, "/small", 0, 20000, 1));
}

static void a_damaged_root_directory_is_made_anew(void **state)
{
	uint64_t ino = verify_pool_ino(pool.c, "/sub");
	char name[64];
	struct inode *ip = verify_pool_get(pool.c, "/");
	uint64_t record = ip->record;

	core_put(pool.c, ip, 1);
	flip(record);
	verify_pool_mend(&pool, "inode 1 (/): its record fails its checksum");
	snprintf(name, sizeof(name), "/lost+found/#%llu/deep/file", (unsigned long long)ino);
	assert_true(verify_pool_holds(pool.c, name, 5000, 9000, 3));
}

static void a_damaged_leaf_of_a_directory_costs_its_names_alone(void **state)
{
	char name[64];
	unsigned named = 0, lost = 0;

	flip(verify_pool_leaf(&pool, verify_pool_root(&pool, "/big", false)));
	verify_pool_mend(&pool, "of its directory: fails its checksum");
	for (unsigned i = 0; i < BIG_NAMES; i++) {
		snprintf(name, sizeof(name), "/big/a-name-of-some-length-%u", i);
		struct inode *ip = verify_pool_get(pool.c, name);

		named += ip != NULL;
		if (ip)
			core_put(pool.c, ip, 1);
	}
	assert_in_range(named, 1, BIG_NAMES - 1);
	struct inode *dir = verify_pool_get(pool.c, "/lost+found");
	struct stat st;
	assert_non_null(dir);
	assert_int_equal(core_getattr(pool.c, dir, &st, NULL), 0);
	core_put(pool.c, dir, 1);
	for (uint64_t ino = 2; ino < 1000; ino++) {
		snprintf(name, sizeof(name), "/lost+found/#%llu", (unsigned long long)ino);
		struct inode *ip = verify_pool_get(pool.c, name);

		lost += ip != NULL;
		if (ip)
			core_put(pool.c, ip, 1);
	}
	assert_int_equal(named + lost, BIG_NAMES);
}

static void a_damaged_root_of_a_directory_loses_no_file(void **state)
{
	flip(verify_pool_root(&pool, "/big", false));
	verify_pool_mend(&pool, "of its directory: fails its checksum");
	assert_non_null(verify_pool_get(pool.c, "/lost+found"));
	core_put(pool.c, verify_pool_get(pool.c, "/lost+found"), 2);
}

static void a_damaged_leaf_of_a_map_leaves_a_hole(void **state)
{
	unsigned kept = 0;

	flip(verify_pool_leaf(&pool, verify_pool_root(&pool, "/comb", false)));
	verify_pool_mend(&pool, "of its extent map: fails its checksum");
	for (unsigned i = 0; i < COMB_BLOCKS; i++)
		kept += verify_pool_holds(
			pool.c, "/comb", (uint64_t)i * 2 * BLOCK_SIZE, 100, (int)i);
	assert_in_range(kept, 1, COMB_BLOCKS - 1);
}

static void damaged_attributes_leave_the_others(void **state)
{
	struct inode *ip;
	char list[1000];

	flip(verify_pool_leaf(&pool, verify_pool_root(&pool, "/small", true)));
	verify_pool_mend(&pool, "of its extended attributes: fails its checksum");
	assert_true(verify_pool_holds(pool.c, "/small", 0, 20000, 1));
	ip = verify_pool_get(pool.c, "/small");
	ssize_t n = core_listxattr(pool.c, ip, list, sizeof(list));
	assert_true(n >= 0);
	for (ssize_t at = 0; at < n; at += (ssize_t)strlen(list + at) + 1) {
		uint8_t value[9000];
		assert_true(core_getxattr(pool.c, ip, list + at, value, sizeof(value)) > 0);
	}
	core_put(pool.c, ip, 1);
}

static void an_attribute_that_lacks_a_piece_is_removed(void **state)
{
	struct inode *ip = verify_pool_get(pool.c, "/small");
	struct btree tree = inode_tree(pool.c, ip);
	uint64_t key = xattr_hash(pool.c->super.hash_seed, "user.attribute-5", 16);
	struct media_inode *m;
	uint8_t value[9000];
	struct tx *tx;

	assert_int_equal(tx_begin(pool.c->meta, &tx), 0);
	assert_int_equal(inode_edit(pool.c, tx, ip, &m), 0);
	assert_int_equal(btree_delete(&tree, tx, &m->xattrs, key + 2), 0);
	assert_int_equal(tx_commit(tx), 0);
	core_put(pool.c, ip, 1);
	verify_pool_mend(&pool, "(/small): extended attributes that are not whole");
	ip = verify_pool_get(pool.c, "/small");
	assert_int_equal(core_getxattr(pool.c, ip, "user.attribute-5", value, 9000), -ENODATA);
	assert_int_equal(core_getxattr(pool.c, ip, "user.attribute-4", value, 9000), 7500);
	core_put(pool.c, ip, 1);
}

static void set_acl_flags(struct media_inode *m, uint64_t n)
{
	m->acl_flags = (uint32_t)n;
}

static void wrong_acl_flags_are_corrected(void **state)
{
	verify_pool_edit(&pool, "/small", set_acl_flags, 3);
	verify_pool_mend(&pool, "does not say which ACLs it has");
}

static void a_link_without_its_target_is_removed(void **state)
{
	flip(verify_pool_leaf(&pool, verify_pool_root(&pool, "/long-link", false)));
	verify_pool_mend(&pool, "of its target: fails its checksum");
	assert_null(verify_pool_get(pool.c, "/long-link"));
}

static void a_damaged_bitmap_is_made_anew(void **state)
{
	static const uint32_t spaces[] = {SPACE_HEAP, SPACE_INODES, SPACE_REGION(0)};

	for (unsigned i = 0; i < 3; i++) {
		struct space *s = spaces[i] == SPACE_HEAP     ? pool.c->heap
				  : spaces[i] == SPACE_INODES ? pool.c->inodes
							      : tables_region(pool.c, 0)->space;
		struct media_group g;
		struct verify_report report;

		assert_int_equal(space_group(s, 0, &g), 0);
		assert_int_equal(core_close(pool.c), 0);
		verify_pool_flip(&pool, g.bitmap + 300, 1);
		scratch_pool_open(&pool);
		assert_int_equal(verify_core(pool.c, &(struct verify_options){0}, &report), 0);
		assert_int_equal(report.found, 1);
		verify_pool_mend(&pool, "the bitmap of group 0 fails its checksum");
	}
	assert_true(verify_pool_holds(pool.c, "/small", 0, 20000, 1));
}

static void a_damaged_superblock_is_written_again(void **state)
{
	for (unsigned i = 0; i < 2; i++) {
		uint64_t last = pool.c->super.meta_bytes - BLOCK_SIZE;

		assert_int_equal(core_close(pool.c), 0);
		verify_pool_flip(&pool, (i ? last : 0) + 70, 2);
		scratch_pool_open(&pool);
		verify_pool_mend(&pool, i ? "superblock 1 is damaged" : "superblock 0 is damaged");
	}
}

static void a_log_that_cannot_be_replayed_is_cleared(void **state)
{
	const struct core_options open_options = {.pool = pool.path};
	uint64_t area = pool.c->super.journal_offset, bytes = pool.c->super.journal_bytes;
	struct verify_report report = {0};
	struct verify_options options = {0};
	struct diag d = {{0}};
	uint64_t tail;

	memcpy(&tail,
		region_at(pool.c->meta_region, BLOCK_SIZE + offsetof(struct media_journal, tail),
			sizeof(tail)),
		sizeof(tail));
	verify_pool_write(pool.c, "/other", 30000, 5000, 9);
	core_abandon(pool.c);
	verify_pool_flip(&pool, area + tail % bytes + 30, 4);
	assert_int_equal(core_open(&open_options, &pool.c, &d), -EUCLEAN);
	assert_int_equal(verify_rescue(&open_options, &options, &report, &d), -EUCLEAN);
	assert_int_equal(report.found, 1);
	assert_int_equal(report.left, 1);
	options.repair = true;
	assert_int_equal(verify_rescue(&open_options, &options, &report, &d), 0);
	assert_int_equal(report.left, 0);
	scratch_pool_open(&pool);
	assert_int_equal(verify_core(pool.c, &options, &report), 0);
	assert_int_equal(report.left, 0);
	verify_pool_expect_clean(&pool);
}

#define DAMAGE(test) cmocka_unit_test_setup_teardown(test, make, drop)

int main(void)
{
	const struct CMUnitTest tests[] = {
		DAMAGE(a_wrong_link_count_of_a_file_is_corrected),
		DAMAGE(a_wrong_link_count_of_a_directory_is_corrected),
		DAMAGE(a_wrong_count_of_blocks_is_corrected),
		DAMAGE(a_wrong_count_of_names_is_corrected),
		DAMAGE(a_wrong_parent_is_corrected),
		DAMAGE(a_trim_range_of_a_directory_is_dropped),
		DAMAGE(an_impossible_type_gives_the_inode_up),
		DAMAGE(an_extent_past_its_region_is_taken_out),
		DAMAGE(a_block_claimed_twice_stays_with_one_file),
		DAMAGE(a_leaked_data_block_is_freed),
		DAMAGE(a_leaked_metadata_block_is_freed),
		DAMAGE(a_block_in_use_that_is_marked_free_is_marked),
		DAMAGE(a_number_in_use_without_a_record_is_freed),
		DAMAGE(an_inode_marked_free_is_marked),
		DAMAGE(the_number_that_is_never_given_stays_taken),
		DAMAGE(an_orphan_without_attention_gets_it),
		DAMAGE(attention_without_a_reason_goes),
		DAMAGE(a_dangling_entry_is_removed),
		DAMAGE(an_entry_of_another_type_is_corrected),
		DAMAGE(an_entry_under_a_wrong_key_is_entered_again),
		DAMAGE(a_name_that_is_there_twice_is_removed_once),
		DAMAGE(a_name_with_a_slash_is_removed),
		DAMAGE(a_file_without_a_name_gets_one),
		DAMAGE(a_directory_without_a_name_keeps_what_is_in_it),
		DAMAGE(a_directory_below_itself_is_brought_back),
		DAMAGE(a_second_name_of_a_directory_is_removed),
		DAMAGE(a_damaged_record_is_given_up),
		DAMAGE(a_damaged_root_directory_is_made_anew),
		DAMAGE(a_damaged_leaf_of_a_directory_costs_its_names_alone),
		DAMAGE(a_damaged_root_of_a_directory_loses_no_file),
		DAMAGE(a_damaged_leaf_of_a_map_leaves_a_hole),
		DAMAGE(damaged_attributes_leave_the_others),
		DAMAGE(an_attribute_that_lacks_a_piece_is_removed),
		DAMAGE(wrong_acl_flags_are_corrected),
		DAMAGE(a_link_without_its_target_is_removed),
		DAMAGE(a_damaged_bitmap_is_made_anew),
		DAMAGE(a_damaged_superblock_is_written_again),
		DAMAGE(a_log_that_cannot_be_replayed_is_cleared),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
