// SPDX-License-Identifier: BSD-2-Clause
/*
 * fixture.h - a private directory, and a metadata region with a journal in it, for unit tests of
 * what stands on them.
 */
#ifndef TESTS_UNIT_FIXTURE_H
#define TESTS_UNIT_FIXTURE_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <setjmp.h>
#include <cmocka.h>

#include "journal.h"
#include "region.h"
#include "tx.h"

struct fixture {
	char directory[256];
	uint64_t journal_bytes;
	uint64_t heap_blocks;
	bool deferred;  /* page cache, relaxed */
	bool read_only; /* for the next opening */
	bool on_disk;   /* page cache, or what libpmem is told to take for pmem */
	struct region *region;
	struct journal_config config;
	struct journal_recovery recovery;
	struct journal *journal;
	struct meta *meta;
	unsigned data_syncs; /* calls of sync_data */
	int data_sync_result;
};

/* Makes a directory under /dev/shm, or, `deferred` or `on_disk`, under $TMPDIR (page cache), with
 * an empty journal, and opens it. */
void fixture_open_on_disk(
	struct fixture *f, uint64_t journal_bytes, uint64_t heap_blocks, bool deferred);
void fixture_open(struct fixture *f, uint64_t journal_bytes, uint64_t heap_blocks, bool deferred);
/* Drops everything as a crash of the daemon does, and opens again; the result of journal_open(). */
int fixture_crash(struct fixture *f);
/* Closes without reopening. */
void fixture_shut(struct fixture *f, bool in_order);
/* The region alone, to look at it or damage it; close it by region_close(). */
int fixture_open_region(struct fixture *f);
int fixture_reopen(struct fixture *f);
void fixture_close(struct fixture *f);
/* Offset of a block of the heap. */
uint64_t fixture_block(const struct fixture *f, uint64_t block);
/* Makes `group` of `space` at a heap block, all bits clear: in a transaction of its own. */
void fixture_make_bitmap(struct fixture *f, uint64_t block, uint32_t space, uint32_t group);

#endif
