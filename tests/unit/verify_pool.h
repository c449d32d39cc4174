// SPDX-License-Identifier: BSD-2-Clause
/*
 * verify_pool.h - a pool with something of everything in it, and the ways to damage it, for the
 * tests of the checker.
 */
#ifndef TESTS_UNIT_VERIFY_POOL_H
#define TESTS_UNIT_VERIFY_POOL_H

#include "scratch_pool.h"
#include "verify.h"

#define BIG_NAMES 400u   /* in /big, so that its tree has inner nodes */
#define COMB_BLOCKS 600u /* of /comb, every other one, so that its map is a tree of two levels */

void verify_pool_make(struct scratch_pool *p);
struct inode *verify_pool_get(struct core *c, const char *path); /* counted */
uint64_t verify_pool_ino(struct core *c, const char *path);
void verify_pool_write(struct core *c, const char *path, uint64_t offset, size_t bytes, int seed);
/* Are these bytes there? */
bool verify_pool_holds(struct core *c, const char *path, uint64_t offset, size_t bytes, int seed);

/* Changes a record behind everybody's back, with a good checksum. */
void verify_pool_edit(struct scratch_pool *p, const char *path,
	void (*change)(struct media_inode *record, uint64_t argument), uint64_t argument);
void verify_pool_set_bits(struct scratch_pool *p, uint32_t space, uint64_t unit, bool set);
uint64_t verify_pool_free_unit(struct scratch_pool *p, uint32_t space);
/* An entry as no operation would make it. key 0: where the name belongs. */
void verify_pool_enter(struct scratch_pool *p, const char *dir_path, const char *name, uint64_t key,
	uint64_t ino, int type);
/* Takes an entry out, and nothing else. */
void verify_pool_forget(struct scratch_pool *p, const char *dir_path, const char *name);
uint64_t verify_pool_first_block(struct scratch_pool *p, const char *path); /* of region 0 */
/* The root node of the inode's tree, and a leaf below it. */
uint64_t verify_pool_root(struct scratch_pool *p, const char *path, bool xattrs);
uint64_t verify_pool_leaf(struct scratch_pool *p, uint64_t root);
/* Flips a bit of meta while the pool is closed. */
void verify_pool_flip(struct scratch_pool *p, uint64_t offset, unsigned bit);

/*
 * Checks without repair: something is found, and one finding contains `text`; then with repair:
 * nothing is left; then once more, after a restart: clean.
 */
void verify_pool_mend(struct scratch_pool *p, const char *text);
void verify_pool_expect_clean(struct scratch_pool *p);

#endif
