// SPDX-License-Identifier: BSD-2-Clause
/*
 * test_tag.c - another file in a data region's place: of another pool, of another owner, of another
 * time, or empty. It is noticed, nothing of it is shown, and nothing is written to it.
 */
#include "pool_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <xxhash.h>

#include "scratch.h"
#include "tag.h"
#include "verify.h"

#define BYTES (16 * MIB)

static const struct core_cred root_cred = {.fsetid = true};
static const struct core_cred owner_cred = {.uid = 1000, .gid = 1000};
static const struct core_cred other_cred = {.uid = 1001, .gid = 1001};

/* ---- files ----------------------------------------------------------------------------------- */

/* Sparse, as an honest backup would be. */
static void copy(const char *from, const char *to)
{
	char command[9000];

	snprintf(command, sizeof(command), "cp -a --sparse=always '%s' '%s'", from, to);
	assert_int_equal(system(command), 0);
}

static const char *beside(const char *name)
{
	static char paths[4][4200];
	static unsigned next;
	char *path = paths[next++ % 4];

	snprintf(path, sizeof(paths[0]), "%s/%s", directory, name);
	return path;
}

static void swap(const char *a, const char *b)
{
	assert_int_equal(renameat2(AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE), 0);
}

static void swap_in_pool(const char *a, const char *b)
{
	char path[4200];

	snprintf(path, sizeof(path), "%s", in_pool(a));
	swap(path, in_pool(b));
}

static uint64_t digest_of(const char *path)
{
	static uint8_t bytes[BYTES + 4096];
	int fd = open(path, O_RDONLY);
	ssize_t n = pread(fd, bytes, sizeof(bytes), 0);

	assert_int_equal(n, sizeof(bytes));
	close(fd);
	return XXH3_64bits(bytes, (size_t)n);
}

static void write_file(
	struct core *c, const char *name, const char *text, const struct core_cred *cred)
{
	struct inode *root, *ip;

	assert_int_equal(core_get(c, ROOT_INO, &root), 0);
	assert_int_equal(core_create(c, root, name, S_IFREG | 0600, 0, cred, &ip), 0);
	assert_int_equal(core_write(c, ip, text, strlen(text), 0, cred), strlen(text));
	core_put(c, ip, 1);
	core_put(c, root, 1);
}

static struct inode *find(struct core *c, const char *name)
{
	struct inode *root, *ip;

	assert_int_equal(core_get(c, ROOT_INO, &root), 0);
	assert_int_equal(core_lookup(c, root, name, &ip), 0);
	core_put(c, root, 1);
	return ip;
}

static void expect_file(struct core *c, const char *name, const char *text)
{
	struct inode *ip = find(c, name);
	char found[100] = "";

	assert_int_equal(core_read(c, ip, found, sizeof(found), 0), strlen(text));
	assert_string_equal(found, text);
	core_put(c, ip, 1);
}

static struct core_format owners_format(void)
{
	struct core_format f = format_of(BYTES);

	f.domains = DOMAINS_UID;
	return f;
}

/* Opened for writing and closed in good order: stamped anew. */
static void use_pool(void)
{
	assert_int_equal(core_close(open_pool(false)), 0);
}

static struct media_tag get_tag(const char *name)
{
	struct media_tag tag;

	get_block(name, BYTES, &tag);
	return tag;
}

/* ---- one region ------------------------------------------------------------------------------ */

static void regions_of_two_pools_swapped_are_told_by_both(void **state)
{
	char first[4096], uuid[2][37], of_first[4200];
	struct core_info info;

	for (unsigned i = 0; i < 2; i++) {
		if (i == 1)
			snprintf(pool, sizeof(pool), "%s/pool2", directory);
		else
			snprintf(first, sizeof(first), "%s", pool);
		make_pool(BYTES);
		struct core *c = open_pool(false);
		core_get_info(c, &info);
		memcpy(uuid[i], info.uuid, sizeof(info.uuid));
		write_file(c, "f", i ? "second" : "first", &root_cred);
		assert_int_equal(core_close(c), 0);
	}
	snprintf(of_first, sizeof(of_first), "%s/data.0", first);
	swap(of_first, in_pool("data.0"));
	uint64_t before = digest_of(in_pool("data.0"));
	for (unsigned i = 0; i < 4; i++) { /* expected, found, where, and what to do */
		const char *const parts[] = {
			uuid[1], uuid[0], "/pool2/data.0 should be", "Put the right one there"};

		expect_open(i % 2, -EMEDIUMTYPE, parts[i]);
	}
	assert_true(digest_of(in_pool("data.0")) == before);
	/* To be refused costs no stamp: the next opening is one after a good close. */
	swap(of_first, in_pool("data.0"));
	uint64_t stamp = get_tag("data.0").stamp;
	struct core *c = open_pool(false);
	expect_file(c, "f", "second");
	assert_int_equal(core_close(c), 0);
	assert_true(get_tag("data.0").stamp != stamp);
}

static void one_half_of_an_old_copy_is_refused_and_the_whole_taken(void **state)
{
	struct core *c;

	make_pool(BYTES);
	c = open_pool(false);
	write_file(c, "old", "old", &root_cred);
	assert_int_equal(core_close(c), 0);
	copy(pool, beside("backup"));
	c = open_pool(false);
	write_file(c, "new", "new", &root_cred);
	assert_int_equal(core_close(c), 0);
	copy(pool, beside("newest"));

	copy(beside("backup/data.0"), in_pool("data.0"));
	expect_open(false, -EMEDIUMTYPE, "one of the two is an old copy");
	expect_open(true, -EMEDIUMTYPE, "one of the two is an old copy");
	copy(beside("backup/meta"), in_pool("meta"));
	c = open_pool(false);
	expect_file(c, "old", "old");
	assert_int_equal(core_close(c), 0);

	copy(beside("newest/data.0"), in_pool("data.0"));
	copy(beside("backup/meta"), in_pool("meta"));
	expect_open(false, -EMEDIUMTYPE, "one of the two is an old copy");
	copy(beside("newest/meta"), in_pool("meta"));
	c = open_pool(false);
	expect_file(c, "new", "new");
	assert_int_equal(core_close(c), 0);
}

static void empty_region_is_refused(void **state)
{
	make_pool(BYTES);
	assert_int_equal(truncate(in_pool("data.0"), 0), 0);
	assert_int_equal(truncate(in_pool("data.0"), BYTES + 4096), 0);
	expect_open(true, -EMEDIUMTYPE, "zeroes stand where its tag should");
	expect_open(false, -EMEDIUMTYPE, "zeroes stand where its tag should");
}

static void any_damage_to_a_tag_is_refused(void **state)
{
	struct media_tag good, bad;

	make_pool(BYTES);
	use_pool();
	good = get_tag("data.0");
	assert_int_equal(good.number, 0);
	assert_int_equal(good.bytes, BYTES);
	for (unsigned at = 0; at < sizeof(good.reserved) + 72; at += at < 80 ? 1 : 997) {
		bad = good;
		((uint8_t *)&bad)[at] ^= (uint8_t)(1u << at % 8);
		put_block("data.0", BYTES, &bad);
		if (at < 72)
			expect_open(true, -EMEDIUMTYPE,
				at < 4    ? "something else stands"
				: at < 64 ? "its tag is damaged"
					  : "old copy");
		else
			expect_open(true, 0, NULL); /* reserved */
	}
	put_block("data.0", BYTES, &good);
	expect_open(false, 0, NULL);
}

static void pool_that_is_full_leaves_the_tag_alone(void **state)
{
	struct core_extent extents[16];
	uint64_t at = 0, blocks = 0;
	struct inode *ip;
	struct core *c;

	make_pool(BYTES);
	c = open_pool(false);
	write_file(c, "f", "all", &root_cred);
	ip = find(c, "f");
	assert_int_equal(core_prepare_layout(c, ip, 0, BYTES, NULL), 0);
	assert_int_equal(core_prepare_layout(c, ip, BYTES, 4096, NULL), -ENOSPC);
	while (at < BYTES) {
		unsigned count;

		assert_int_equal(
			core_mappable_layout(c, ip, at, BYTES - at, extents, 16, &count, &at), 0);
		for (unsigned i = 0; i < count; i++) {
			struct region *r = tables_region(c, 0)->region;

			assert_true(extents[i].region_offset + extents[i].length <= BYTES);
			memset(region_data_at(r, extents[i].region_offset, extents[i].length), 0xff,
				extents[i].length);
			blocks += extents[i].length / 4096;
		}
	}
	assert_int_equal(blocks, BYTES / 4096);
	core_put(c, ip, 1);
	assert_int_equal(core_close(c), 0);
	use_pool();
}

static void each_opening_after_a_good_close_stamps(void **state)
{
	uint64_t stamps[4];

	make_pool(BYTES);
	for (unsigned i = 0; i < 3; i++) {
		stamps[i] = get_tag("data.0").stamp;
		expect_open(true, 0, NULL);
		assert_true(get_tag("data.0").stamp == stamps[i]);
		use_pool();
		for (unsigned n = 0; n <= i; n++)
			assert_true(get_tag("data.0").stamp != stamps[n]);
	}
	struct core *c = open_pool(false);
	stamps[3] = get_tag("data.0").stamp;
	core_abandon(c); /* as a crash */
	use_pool();
	assert_true(get_tag("data.0").stamp == stamps[3]);
	use_pool();
	assert_true(get_tag("data.0").stamp != stamps[3]);
}

/* ---- told to take it ------------------------------------------------------------------------- */

static void check_pool(bool repair, uint64_t found, uint64_t left)
{
	const struct core_options options = {
		.pool = pool, .accept_regions = true, .read_only = !repair};
	struct verify_report report;
	struct diag d = {{0}};
	struct core *c;

	expect(core_open(&options, &c, &d), 0, &d, NULL);
	assert_int_equal(verify_core(c, &(struct verify_options){.repair = repair}, &report), 0);
	assert_int_equal(report.found, found);
	assert_int_equal(report.left, left);
	assert_int_equal(core_close(c), 0);
}

static void checker_writes_a_tag_anew_when_told_to(void **state)
{
	const struct media_tag none = {0};
	struct core *c;

	make_pool(BYTES);
	c = open_pool(false);
	write_file(c, "f", "kept", &root_cred);
	assert_int_equal(core_close(c), 0);
	put_block("data.0", BYTES, &none);
	check_pool(false, 1, 1);
	expect_open(false, -EMEDIUMTYPE, "zeroes");
	check_pool(true, 1, 0);
	check_pool(false, 0, 0);
	c = open_pool(false);
	expect_file(c, "f", "kept");
	assert_int_equal(core_close(c), 0);
	use_pool();
}

/* ---- crashes --------------------------------------------------------------------------------- */

/* At any store of an opening, with a region for each of three owners. */
static void stamping_that_is_cut_off_loses_nothing(void **state)
{
	struct core_format f = owners_format();
	unsigned died = 0;

	expect_format(&f, 0, NULL);
	struct core *c = open_pool(false);
	for (uint32_t uid = 1000; uid < 1003; uid++) {
		struct data_region *r;

		assert_int_equal(tables_region_for(c, uid, &r), 0);
	}
	assert_int_equal(core_close(c), 0);
	for (unsigned n = 0;; n++) {
		int status;

		use_pool();
		pid_t child = fork();
		if (child == 0) {
			const struct core_options options = {.pool = pool};
			const struct region_recorder recorder = {&n, die_at_store, NULL, NULL};

			region_set_recorder(&recorder);
			_exit(core_open(&options, &c, NULL) ? 1 : 0);
		}
		assert_int_equal(waitpid(child, &status, 0), child);
		assert_true(WIFEXITED(status));
		assert_true(WEXITSTATUS(status) == 42 || WEXITSTATUS(status) == 0);
		for (unsigned i = 0; i < 3; i++) {
			struct core_region_info region;

			c = open_pool(i == 0);
			for (uint32_t number = 0; number < 3; number++) {
				assert_int_equal(core_get_region(c, number, &region), 0);
				assert_string_equal(region.refused, "");
			}
			assert_int_equal(core_close(c), 0);
		}
		for (uint32_t number = 0; number < 3; number++) {
			char name[16];

			snprintf(name, sizeof(name), "data.%u", number);
			assert_true(get_tag(name).stamp == get_tag("data.0").stamp);
		}
		if (WEXITSTATUS(status) == 0)
			break;
		died++;
	}
	assert_true(died > 5);
}

/* ---- a region for each owner ----------------------------------------------------------------- */

static void expect_io_error(struct core *c, const char *name, const struct core_cred *cred)
{
	struct core_extent extents[4];
	struct inode *ip = find(c, name), *mine = find(c, "third");
	char text[16];
	unsigned count;
	uint64_t next;

	assert_int_equal(core_read(c, ip, text, sizeof(text), 0), -EIO);
	assert_int_equal(core_write(c, ip, "x", 1, 0, cred), -EIO);
	assert_int_equal(core_write(c, ip, "x", 1, 1 << 20, cred), -EIO);
	assert_int_equal(core_fsync(c, ip, false), -EIO);
	assert_int_equal(core_mappable_layout(c, ip, 0, 4096, extents, 4, &count, &next), -EIO);
	assert_int_equal(core_copy_range(c, ip, 0, mine, 100, 4, cred), -EIO);
	core_put(c, mine, 1);
	core_put(c, ip, 1);
}

static void one_owners_foreign_region_costs_others_nothing(void **state)
{
	const struct core_cred third_cred = {.uid = 1002, .gid = 1002};
	struct core_format f = owners_format();
	struct core_region_info region;
	struct verify_report report;
	struct core *c;

	if (geteuid() != 0)
		skip();
	expect_format(&f, 0, NULL);
	c = open_pool(false);
	write_file(c, "one", "of the first", &owner_cred);
	write_file(c, "two", "of the second", &other_cred);
	write_file(c, "gone", "of the first", &owner_cred);
	write_file(c, "third", "of the third", &third_cred);
	assert_int_equal(core_close(c), 0);
	uint64_t stamp = get_tag("data.2").stamp;

	swap_in_pool("data.0", "data.1");
	uint64_t before[] = {digest_of(in_pool("data.0")), digest_of(in_pool("data.1"))};
	for (unsigned i = 0; i < 2; i++) {
		struct inode *root;

		c = open_pool(false);
		assert_int_equal(core_get_region(c, 0, &region), 0);
		assert_non_null(strstr(region.refused, "it is region 1"));
		assert_int_equal(core_get_region(c, 2, &region), 0);
		assert_string_equal(region.refused, "");
		expect_io_error(c, "one", &owner_cred);
		expect_io_error(c, "two", &other_cred);
		assert_int_equal(core_get(c, ROOT_INO, &root), 0);
		if (i == 0)
			assert_int_equal(core_unlink(c, root, "gone", NULL), 0);
		core_put(c, root, 1);
		expect_file(c, "third", "of the third");
		write_file(c, i ? "fifth" : "fourth", "of the third too", &third_cred);
		assert_int_equal(core_sync(c), 0);
		/* Without being told to, the checker mends nothing of that. */
		assert_int_equal(
			verify_core(c, &(struct verify_options){.repair = true}, &report), 0);
		assert_int_equal(report.left, 2);
		assert_int_equal(core_close(c), 0);
	}
	assert_true(digest_of(in_pool("data.0")) == before[0]);
	assert_true(digest_of(in_pool("data.1")) == before[1]);
	assert_true(get_tag("data.2").stamp == stamp);

	swap_in_pool("data.0", "data.1");
	c = open_pool(false);
	expect_file(c, "one", "of the first");
	expect_file(c, "two", "of the second");
	expect_file(c, "third", "of the third");
	assert_int_equal(core_close(c), 0);
	assert_true(get_tag("data.2").stamp != stamp);
}

static void old_meta_does_not_cost_a_region_that_it_does_not_know(void **state)
{
	struct core_format f = owners_format();
	struct data_region *r;
	struct core *c;

	if (geteuid() != 0)
		skip();
	expect_format(&f, 0, NULL);
	c = open_pool(false);
	write_file(c, "one", "of the first", &owner_cred);
	assert_int_equal(core_close(c), 0);
	copy(in_pool("meta"), beside("old"));
	c = open_pool(false);
	write_file(c, "two", "of the second", &other_cred);
	assert_int_equal(core_close(c), 0);
	copy(in_pool("meta"), beside("right"));

	copy(beside("old"), in_pool("meta"));
	uint64_t before = digest_of(in_pool("data.1"));
	c = open_pool(false);
	assert_int_equal(tables_region_for(c, 1001, &r), -EIO);
	assert_int_equal(core_close(c), 0);
	assert_true(digest_of(in_pool("data.1")) == before);

	copy(beside("right"), in_pool("meta"));
	c = open_pool(false);
	expect_file(c, "one", "of the first");
	expect_file(c, "two", "of the second");
	assert_int_equal(core_close(c), 0);
}

/* ---- pools without tags ---------------------------------------------------------------------- */

static void sign(struct media_head *head, uint64_t offset)
{
	head->checksum = object_checksum(head, BLOCK_SIZE, offset);
}

/* What mkfs.leasefs made until 1.0: no feature, no stamps, and files as long as their content. */
static void make_it_1_0(unsigned regions)
{
	struct media_super super;
	struct media_roots roots;

	get_block("meta", 0, &super);
	uint64_t places[] = {0, super.meta_bytes - BLOCK_SIZE};
	uint64_t at = super.heap_offset + BLOCK_SIZE;
	super.minor = 0;
	super.incompat = 0;
	for (unsigned i = 0; i < 2; i++) {
		sign(&super.head, places[i]);
		put_block("meta", places[i], &super);
	}
	get_block("meta", at, &roots);
	roots.stamp = roots.next_stamp = 0;
	sign(&roots.head, at);
	put_block("meta", at, &roots);
	for (unsigned i = 0; i < regions; i++) {
		char name[16];

		snprintf(name, sizeof(name), "data.%u", i);
		assert_int_equal(truncate(in_pool(name), BYTES), 0);
	}
}

static uint64_t size_of(const char *name)
{
	struct stat st;

	assert_int_equal(stat(in_pool(name), &st), 0);
	return (uint64_t)st.st_size;
}

static void pool_without_tags_goes_on_without(void **state)
{
	struct verify_report report;
	struct core_info info;
	struct core *c;

	make_pool(BYTES);
	c = open_pool(false);
	write_file(c, "f", "of 1.0", &root_cred);
	assert_int_equal(core_close(c), 0);
	make_it_1_0(1);
	copy(in_pool("data.0"), beside("old"));
	for (unsigned i = 0; i < 3; i++) {
		char name[] = {(char)('a' + i), '\0'};

		c = open_pool(false);
		core_get_info(c, &info);
		assert_int_equal(info.format_minor, 0);
		expect_file(c, "f", "of 1.0");
		write_file(c, name, "more", &root_cred);
		assert_int_equal(verify_core(c, &(struct verify_options){0}, &report), 0);
		assert_int_equal(report.found, 0);
		assert_int_equal(core_close(c), 0);
		assert_int_equal(size_of("data.0"), BYTES);
	}
	/* As it always was. */
	copy(beside("old"), in_pool("data.0"));
	c = open_pool(false);
	expect_file(c, "f", "of 1.0");
	assert_int_equal(core_close(c), 0);
}

static void new_region_of_a_pool_without_tags_has_none(void **state)
{
	struct core_format f = owners_format();
	struct core *c;

	if (geteuid() != 0)
		skip();
	expect_format(&f, 0, NULL);
	c = open_pool(false);
	write_file(c, "one", "of the first", &owner_cred);
	assert_int_equal(core_close(c), 0);
	make_it_1_0(1);
	c = open_pool(false);
	write_file(c, "two", "of the second", &other_cred);
	assert_int_equal(core_close(c), 0);
	assert_int_equal(size_of("data.1"), BYTES);
	assert_int_equal(truncate(in_pool("data.1"), 0), 0); /* is stretched again */
	c = open_pool(false);
	expect_file(c, "one", "of the first");
	assert_int_equal(core_close(c), 0);
	assert_int_equal(size_of("data.1"), BYTES);
}

/* ---- mkfs ------------------------------------------------------------------------------------ */

static void region_elsewhere_has_its_tag_inside(void **state)
{
	struct core_format f = format_of(0);
	char data[4200];
	struct region_options options = {.dir_fd = AT_FDCWD, .path = data};
	struct core_region_info info;
	struct region *region;
	struct media_tag tag;
	struct core *c;
	int fd;

	snprintf(data, sizeof(data), "%s/elsewhere", directory);
	fd = open(data, O_CREAT | O_RDWR, 0600);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)MIB), 0);
	f.data = data;
	expect_format(&f, -EINVAL, "behind it that a region takes for its tag");
	assert_int_equal(ftruncate(fd, (off_t)(8 * MIB)), 0);
	assert_int_equal(close(fd), 0);

	f.pool_bytes = 8 * MIB; /* as long as it is: meant well */
	expect_format(&f, 0, NULL);
	c = open_pool(false);
	assert_int_equal(core_get_region(c, 0, &info), 0);
	assert_int_equal(info.bytes, 8 * MIB - 4096);
	assert_int_equal(core_close(c), 0);
	assert_int_equal(region_open(&options, &region, NULL), 0);
	assert_true(tag_found(region, &tag));
	region_close(region);

	copy(pool, beside("pool2"));
	f.force = true;
	f.pool_bytes = 0;
	expect_format(&f, 0, NULL);
	use_pool();
	snprintf(pool, sizeof(pool), "%s", beside("pool2"));
	expect_open(false, -EMEDIUMTYPE, "elsewhere should be data region 0");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		MEMORY(regions_of_two_pools_swapped_are_told_by_both),
		FILES(regions_of_two_pools_swapped_are_told_by_both),
		MEMORY(one_half_of_an_old_copy_is_refused_and_the_whole_taken),
		FILES(one_half_of_an_old_copy_is_refused_and_the_whole_taken),
		MEMORY(empty_region_is_refused),
		MEMORY(any_damage_to_a_tag_is_refused),
		MEMORY(pool_that_is_full_leaves_the_tag_alone),
		MEMORY(each_opening_after_a_good_close_stamps),
		MEMORY(checker_writes_a_tag_anew_when_told_to),
		MEMORY(stamping_that_is_cut_off_loses_nothing),
		FILES(stamping_that_is_cut_off_loses_nothing),
		MEMORY(one_owners_foreign_region_costs_others_nothing),
		FILES(one_owners_foreign_region_costs_others_nothing),
		MEMORY(old_meta_does_not_cost_a_region_that_it_does_not_know),
		MEMORY(pool_without_tags_goes_on_without),
		MEMORY(new_region_of_a_pool_without_tags_has_none),
		MEMORY(region_elsewhere_has_its_tag_inside),
	};

	return cmocka_run_group_tests_name("tag", tests, NULL, NULL);
}
