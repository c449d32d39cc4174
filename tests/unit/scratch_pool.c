// SPDX-License-Identifier: BSD-2-Clause
/*
 * scratch_pool.c - see scratch_pool.h.
 */
#include "scratch_pool.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "btree.h"
#include "extent.h"
#include "scratch.h"

void scratch_pool_open(struct scratch_pool *p)
{
	const struct core_options options = {.pool = p->path};
	struct diag d = {{0}};
	int error = core_open(&options, &p->c, &d);

	if (error)
		print_message("%s\n", d.text);
	assert_int_equal(error, 0);
}

static void make(struct scratch_pool *p, struct core_format *format)
{
	struct diag d = {{0}};
	int error;

	memset(p, 0, sizeof(*p));
	p->directory = scratch_directory(getenv("LEASEFS_TEST_PAGE_CACHE") ? NULL : "/dev/shm");
	snprintf(p->path, sizeof(p->path), "%s/pool", p->directory);
	format->pool = p->path;
	format->lease_gid = ~0u;
	error = core_format_pool(format, &d);
	if (error)
		print_message("%s\n", d.text);
	assert_int_equal(error, 0);
	scratch_pool_open(p);
}

void scratch_pool_make(struct scratch_pool *p, uint64_t pool_bytes, uint64_t meta_bytes)
{
	make(p, &(struct core_format){.pool_bytes = pool_bytes, .meta_bytes = meta_bytes});
}

void scratch_pool_make_domains(struct scratch_pool *p, uint64_t pool_bytes)
{
	make(p, &(struct core_format){.pool_bytes = pool_bytes, .domains = DOMAINS_UID});
}

void scratch_pool_make_on(struct scratch_pool *p, const char *data)
{
	make(p, &(struct core_format){.data = data, .force = true});
}

void scratch_pool_use_units(struct scratch_pool *p)
{
	struct btree tree = tables_tree(p->c);
	struct media_region media;
	struct btree_item item;
	char path[600];
	struct tx *tx;
	void *object;

	assert_int_equal(tx_begin(p->c->meta, &tx), 0);
	assert_int_equal(tx_edit(tx, p->c->roots, MAGIC_ROOTS, &object), 0);
	struct media_roots *roots = object;
	assert_int_equal(btree_find(&tree, tx, &roots->regions, 0, &item), 0);
	memcpy(&media, item.value, sizeof(media));
	media.alignment_shift = HUGE_SHIFT;
	assert_int_equal(btree_replace(&tree, tx, &roots->regions, 0, &media, sizeof(media)), 0);
	assert_int_equal(tx_commit(tx), 0);
	assert_int_equal(core_close(p->c), 0);
	/* Its tag has a unit as well. */
	snprintf(path, sizeof(path), "%s/data.0", p->path);
	assert_int_equal(truncate(path, (off_t)(media.bytes + HUGE_SIZE)), 0);
	scratch_pool_open(p);
}

void scratch_pool_reopen(struct scratch_pool *p)
{
	assert_int_equal(core_close(p->c), 0);
	scratch_pool_open(p);
}

void scratch_pool_crash(struct scratch_pool *p)
{
	core_abandon(p->c);
	scratch_pool_open(p);
}

void scratch_pool_remove(struct scratch_pool *p)
{
	assert_int_equal(core_close(p->c), 0);
	scratch_remove(p->directory);
}

struct inode *scratch_inode(struct core *c, uint32_t mode, uint32_t nlink)
{
	struct media_inode *record;
	struct inode *ip;
	struct tx *tx;

	assert_int_equal(tx_begin(c->meta, &tx), 0);
	int error = inode_alloc(c, tx, mode, 0, 0, nlink, &ip, &record);
	if (error == -ENOSPC) {
		tx_abort(tx);
		assert_int_equal(inode_ensure_free(c), 0);
		assert_int_equal(tx_begin(c->meta, &tx), 0);
		error = inode_alloc(c, tx, mode, 0, 0, nlink, &ip, &record);
	}
	assert_int_equal(error, 0);
	assert_int_equal(tx_commit(tx), 0);
	return ip;
}

void scratch_unlink(struct core *c, struct inode *ip)
{
	struct media_inode *record;
	struct tx *tx;

	inode_lock_write(ip);
	assert_int_equal(tx_begin(c->meta, &tx), 0);
	assert_int_equal(inode_edit(c, tx, ip, &record), 0);
	assert_int_equal(inode_drop_link(c, tx, ip, record), 0);
	assert_int_equal(tx_commit(tx), 0);
	inode_unlock(ip);
}

uint64_t scratch_region_free_blocks(struct core *c, uint32_t region)
{
	struct space_usage usage;

	space_get_usage(tables_region(c, region)->space, &usage);
	return usage.free + usage.pending;
}

uint64_t scratch_free_blocks(struct core *c)
{
	return scratch_region_free_blocks(c, 0);
}

uint64_t scratch_size(struct core *c, struct inode *ip)
{
	struct stat st;

	assert_int_equal(core_getattr(c, ip, &st, NULL), 0);
	return (uint64_t)st.st_size;
}

uint64_t scratch_blocks(struct core *c, struct inode *ip)
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

uint64_t scratch_check_map(struct core *c, struct inode *ip)
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
