// SPDX-License-Identifier: BSD-2-Clause
/*
 * test_super.c - superblocks, and whatever else the media may say when a pool is opened.
 */
#include "pool_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- superblocks ----------------------------------------------------------------------------- */

static off_t meta_size(void)
{
	struct stat st;

	assert_int_equal(stat(in_pool("meta"), &st), 0);
	return st.st_size;
}

static void read_super(unsigned which, struct media_super *s)
{
	int fd = open(in_pool("meta"), O_RDONLY);

	assert_int_equal(
		pread(fd, s, sizeof(*s), which ? meta_size() - BLOCK_SIZE : 0), sizeof(*s));
	close(fd);
}

static void write_super(unsigned which, struct media_super *s, bool sign)
{
	off_t at = which ? meta_size() - BLOCK_SIZE : 0;
	int fd = open(in_pool("meta"), O_WRONLY);

	if (sign)
		s->head.checksum = object_checksum(s, sizeof(*s), (uint64_t)at);
	assert_int_equal(pwrite(fd, s, sizeof(*s), at), sizeof(*s));
	close(fd);
}

static void damaged_superblock_falls_back_to_the_other(void **state)
{
	struct media_super saved[2], s;

	make_pool(64 * MIB);
	for (unsigned i = 0; i < 2; i++)
		read_super(i, &saved[i]);
	for (unsigned i = 0; i < 2; i++) {
		s = saved[i];
		s.label[3] ^= 1;
		write_super(i, &s, false);
		expect_open(false, 0, NULL);
		memset(&s, 0, sizeof(s));
		write_super(i, &s, false);
		expect_open(false, 0, NULL);
		write_super(i, &saved[i], false);
	}
	/* The higher generation is in force. */
	for (unsigned i = 0; i < 2; i++) {
		s = saved[i];
		s.generation = 2 + i;
		snprintf(s.label, sizeof(s.label), "copy %u", i);
		write_super(i, &s, true);
	}
	struct core *c = open_pool(true);
	assert_string_equal(c->super.label, "copy 1");
	assert_int_equal(core_close(c), 0);

	for (unsigned i = 0; i < 2; i++) {
		s = saved[i];
		s.hash_seed++;
		write_super(i, &s, false);
	}
	expect_open(false, -EUCLEAN, "superblock 0 is damaged");
	for (unsigned i = 0; i < 2; i++) {
		s = saved[i];
		s.head.magic = 0;
		write_super(i, &s, true);
	}
	expect_open(false, -EUCLEAN, "not a leasefs pool");
	/* A stale or misplaced copy is not valid: its place is in its checksum. */
	write_super(0, &saved[1], false);
	write_super(1, &saved[0], false);
	expect_open(false, -EUCLEAN, "damaged");
}

static void foreign_versions_and_features_are_told(void **state)
{
	struct media_super saved[2], s;

	make_pool(64 * MIB);
	for (unsigned i = 0; i < 2; i++)
		read_super(i, &saved[i]);
	for (unsigned sign = 0; sign < 2; sign++) {
		for (unsigned i = 0; i < 2; i++) {
			s = saved[i];
			s.major = 9;
			write_super(i, &s, sign);
		}
		expect_open(false, -EPROTONOSUPPORT, "format 9.1");
	}
	for (unsigned i = 0; i < 2; i++) {
		s = saved[i];
		s.incompat = 1ull << 40;
		write_super(i, &s, true);
	}
	expect_open(true, -EPROTONOSUPPORT, "incompat 0x10000000000");
	for (unsigned i = 0; i < 2; i++) {
		s = saved[i];
		s.ro_compat = 4;
		write_super(i, &s, true);
	}
	expect_open(false, -EROFS, "ro_compat 0x4");
	expect_open(true, 0, NULL);
	for (unsigned i = 0; i < 2; i++) {
		s = saved[i];
		s.compat = UINT64_MAX;
		s.minor = 77;
		write_super(i, &s, true);
	}
	expect_open(false, 0, NULL);
	/* One flipped bit in the version of one copy is damage, not a foreign pool. */
	s = saved[0];
	s.major ^= 4;
	write_super(0, &s, false);
	expect_open(false, 0, NULL);
}

/* Every field of a superblock whose checksum holds, at values of all sorts: no crash, no pool. */
static void nonsense_in_superblocks_is_refused(void **state)
{
	static const size_t fields[] = {
		offsetof(struct media_super, block_size),
		offsetof(struct media_super, meta_bytes),
		offsetof(struct media_super, journal_offset),
		offsetof(struct media_super, journal_bytes),
		offsetof(struct media_super, heap_offset),
		offsetof(struct media_super, heap_blocks),
		offsetof(struct media_super, pool_bytes),
	};
	static const uint64_t values[] = {0, 1, 4095, 4096, 8191, 1ull << 20, 1ull << 32,
		1ull << 40, (1ull << 44) + 4096, 1ull << 62, INT64_MAX, 1ull << 63,
		UINT64_MAX - 4095, UINT64_MAX};
	struct media_super saved[2], s;

	make_pool(64 * MIB);
	for (unsigned i = 0; i < 2; i++)
		read_super(i, &saved[i]);
	for (unsigned f = 0; f < sizeof(fields) / sizeof(fields[0]); f++) {
		for (unsigned v = 0; v < sizeof(values) / sizeof(values[0]); v++) {
			const struct core_options options = {.pool = pool, .read_only = true};
			struct diag d = {{0}};
			struct core *c;

			for (unsigned i = 0; i < 2; i++) {
				s = saved[i];
				memcpy((uint8_t *)&s + fields[f], &values[v],
					fields[f] == offsetof(struct media_super, block_size) ? 4
											      : 8);
				write_super(i, &s, true);
			}
			if (memcmp((uint8_t *)&s + 16, (uint8_t *)&saved[1] + 16, 4080) == 0)
				continue; /* that is what was there */
			int error = core_open(&options, &c, &d);
			if (!error) { /* a smaller heap that holds all there is, say: odd, but whole
				       */
				core_abandon(c);
				continue;
			}
			assert_int_equal(error, -EUCLEAN);
			assert_true(d.text[0] != '\0');
		}
	}
	for (unsigned i = 0; i < 2; i++) {
		s = saved[i];
		memset(s.label, 'x', sizeof(s.label));
		write_super(i, &s, true);
	}
	expect_open(false, -EUCLEAN, "label");
	for (unsigned i = 0; i < 2; i++) {
		s = saved[i];
		s.domains = 5;
		write_super(i, &s, true);
	}
	expect_open(false, -EUCLEAN, "domains");
}

static void truncated_files_are_told(void **state)
{
	uint8_t tag[BLOCK_SIZE];
	off_t size;

	make_pool(64 * MIB);
	get_block("data.0", 64 * MIB, tag);
	size = meta_size();
	assert_int_equal(truncate(in_pool("data.0"), 32 * MIB), 0);
	expect_open(false, -EUCLEAN, "data.0 is 33554432 bytes, the pool says 67112960");
	assert_int_equal(truncate(in_pool("data.0"), 64 * MIB + BLOCK_SIZE), 0);
	expect_open(false, -EMEDIUMTYPE, "zeroes stand where its tag should");
	put_block("data.0", 64 * MIB, tag);
	expect_open(false, 0, NULL);

	assert_int_equal(truncate(in_pool("meta"), size - (off_t)(2 * MIB)), 0);
	expect_open(false, -EUCLEAN, "the superblock says");
	assert_int_equal(truncate(in_pool("meta"), size), 0); /* the copy is gone, not the first */
	expect_open(false, 0, NULL);
	assert_int_equal(truncate(in_pool("meta"), 100), 0);
	expect_open(false, -EUCLEAN, NULL);
	assert_int_equal(truncate(in_pool("meta"), 4096), 0);
	expect_open(true, -EUCLEAN, "too short");
	assert_int_equal(truncate(in_pool("meta"), 0), 0);
	expect_open(true, -EUCLEAN, NULL);
	assert_int_equal(unlink(in_pool("meta")), 0);
	expect_open(true, -ENOENT, "not a leasefs pool");
}

/* Where something stands in a small pool that was just made; the rest of meta is zero. */
static uint64_t place_of_interest(const struct media_super *s, uint64_t random)
{
	const uint64_t starts[] = {0, BLOCK_SIZE, s->journal_offset, s->heap_offset,
		s->heap_offset + BLOCK_SIZE, s->meta_bytes - BLOCK_SIZE};
	uint64_t at = starts[random % 6] + (random >> 8) % BLOCK_SIZE;

	/* Nodes and bitmaps stand after the first inode table. */
	if (random % 3 == 0)
		at = s->heap_offset + ((random >> 8) % ((INODE_TABLE_BLOCKS + 8) * BLOCK_SIZE));
	return at;
}

static uint64_t next_random(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

static void flipped_bits_never_end_the_opener(void **state)
{
	struct media_super super;
	uint64_t seed = 88172645463325252ull;
	unsigned refused = 0;

	make_pool(64 * MIB);
	read_super(0, &super);
	struct core *c = open_pool(false); /* a log with something in it */
	assert_int_equal(tables_grow_inodes(c), 0);
	core_abandon(c);
	int fd = open(in_pool("meta"), O_RDWR);
	uint8_t *whole = malloc(super.meta_bytes), byte;
	assert_non_null(whole);
	assert_int_equal(pread(fd, whole, super.meta_bytes, 0), super.meta_bytes);

	for (unsigned round = 0; round < 120; round++) {
		const struct core_options options = {.pool = pool, .read_only = round % 4 != 0};
		struct diag d = {{0}};

		for (unsigned i = 0; i < 1 + round % 3; i++) {
			uint64_t random = next_random(&seed),
				 at = place_of_interest(&super, random);

			byte = whole[at] ^ (uint8_t)(1u << (random >> 60 & 7));
			assert_int_equal(pwrite(fd, &byte, 1, (off_t)at), 1);
		}
		int error = core_open(&options, &c, &d);
		if (error) {
			refused++;
			assert_true(d.text[0] != '\0');
		} else {
			struct core_info info;

			core_get_info(c, &info);
			core_abandon(c);
		}
		/* Whatever was written by a round is undone; pages that are the same stay. */
		for (uint64_t at = 0; at < super.meta_bytes; at += BLOCK_SIZE) {
			uint8_t page[BLOCK_SIZE];

			if (round % 4 != 0 && at >= super.heap_offset + 512 * BLOCK_SIZE &&
				at < super.meta_bytes - BLOCK_SIZE)
				continue;
			assert_int_equal(pread(fd, page, BLOCK_SIZE, (off_t)at), BLOCK_SIZE);
			if (memcmp(page, whole + at, BLOCK_SIZE))
				assert_int_equal(
					pwrite(fd, whole + at, BLOCK_SIZE, (off_t)at), BLOCK_SIZE);
		}
	}
	assert_true(refused > 8);
	free(whole);
	close(fd);
	expect_open(false, 0, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		MEMORY(damaged_superblock_falls_back_to_the_other),
		MEMORY(foreign_versions_and_features_are_told),
		MEMORY(nonsense_in_superblocks_is_refused),
		MEMORY(truncated_files_are_told),
		MEMORY(flipped_bits_never_end_the_opener),
	};

	return cmocka_run_group_tests_name("super", tests, NULL, NULL);
}
