// SPDX-License-Identifier: BSD-2-Clause
/*
 * fixture.c - see fixture.h.
 */
#include "fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char leftover[256]; /* removed at exit, also after a failed assertion */

static void remove_leftover(void)
{
	char path[300];

	if (!leftover[0])
		return;
	snprintf(path, sizeof(path), "%s/meta", leftover);
	unlink(path);
	rmdir(leftover);
	leftover[0] = '\0';
}

static int sync_data(void *context)
{
	struct fixture *f = context;

	f->data_syncs++;
	return f->data_sync_result;
}

static int open_region(struct fixture *f, unsigned flags)
{
	char path[300];

	snprintf(path, sizeof(path), "%s/meta", f->directory);
	struct region_options options = {
		.dir_fd = AT_FDCWD,
		.path = path,
		.bytes = flags & REGION_CREATE ? fixture_block(f, f->heap_blocks + 1) : 0,
		.mode = 0600,
		.flags = flags | REGION_PRIVATE_VIEW,
		.durability = f->deferred ? DURABILITY_RELAXED : DURABILITY_STRICT,
	};
	struct diag d = {{0}};
	int error = region_open(&options, &f->region, &d);

	if (error)
		print_message("%s\n", d.text);
	return error;
}

int fixture_open_region(struct fixture *f)
{
	return open_region(f, f->read_only ? REGION_READ_ONLY : 0);
}

int fixture_reopen(struct fixture *f)
{
	struct diag d = {{0}};
	int error;

	assert_int_equal(fixture_open_region(f), 0);
	f->config.meta = f->region;
	f->config.read_only = f->read_only;
	error = journal_open(&f->config, &f->journal, &f->recovery, &d);
	if (error) {
		assert_true(d.text[0] != '\0');
		region_close(f->region);
		f->region = NULL;
		f->journal = NULL;
		return error;
	}
	assert_int_equal(meta_open(f->region, f->journal, &f->meta), 0);
	return 0;
}

static void open_new(struct fixture *f)
{
	const char *tmp = getenv("TMPDIR");
	static bool registered;

	snprintf(f->directory, sizeof(f->directory), "%s/leasefs-unit.XXXXXX",
		!f->on_disk ? "/dev/shm"
		: tmp       ? tmp
			    : "/tmp");
	remove_leftover();
	assert_non_null(mkdtemp(f->directory));
	memcpy(leftover, f->directory, sizeof(leftover));
	if (!registered)
		atexit(remove_leftover);
	registered = true;

	assert_int_equal(open_region(f, REGION_CREATE), 0);
	assert_int_equal(region_reserve(f->region, 0, region_bytes(f->region)), 0);
	f->config = (struct journal_config){
		.meta = f->region,
		.header_offset = BLOCK_SIZE,
		.area_offset = 2 * BLOCK_SIZE,
		.area_bytes = f->journal_bytes,
		.defer_durable = f->deferred,
		.boot_id = {1},
		.sync_data = sync_data,
		.context = f,
	};
	assert_int_equal(journal_format(&f->config), 0);
	region_close(f->region);
	assert_int_equal(fixture_reopen(f), 0);
}

void fixture_open(struct fixture *f, uint64_t journal_bytes, uint64_t heap_blocks, bool deferred)
{
	*f = (struct fixture){
		.journal_bytes = journal_bytes,
		.heap_blocks = heap_blocks,
		.deferred = deferred,
		.on_disk = deferred,
	};
	open_new(f);
}

void fixture_open_on_disk(
	struct fixture *f, uint64_t journal_bytes, uint64_t heap_blocks, bool deferred)
{
	*f = (struct fixture){
		.journal_bytes = journal_bytes,
		.heap_blocks = heap_blocks,
		.deferred = deferred,
		.on_disk = true,
	};
	open_new(f);
}

void fixture_shut(struct fixture *f, bool in_order)
{
	meta_close(f->meta);
	f->meta = NULL;
	if (in_order)
		assert_int_equal(journal_close(f->journal), 0);
	else
		journal_abandon(f->journal);
	f->journal = NULL;
	region_close(f->region);
	f->region = NULL;
}

int fixture_crash(struct fixture *f)
{
	fixture_shut(f, false);
	return fixture_reopen(f);
}

void fixture_close(struct fixture *f)
{
	if (f->journal)
		fixture_shut(f, true);
	remove_leftover();
}

uint64_t fixture_block(const struct fixture *f, uint64_t block)
{
	return 2 * BLOCK_SIZE + f->journal_bytes + block * BLOCK_SIZE;
}

void fixture_make_bitmap(struct fixture *f, uint64_t block, uint32_t space, uint32_t group)
{
	struct media_bitmap *bitmap;
	struct tx *tx;

	assert_int_equal(tx_begin(f->meta, &tx), 0);
	assert_int_equal(tx_create(tx, fixture_block(f, block), MAGIC_GROUP, (void **)&bitmap), 0);
	bitmap->space = space;
	bitmap->group = group;
	assert_int_equal(tx_commit(tx), 0);
}
