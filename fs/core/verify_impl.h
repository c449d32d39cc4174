// SPDX-License-Identifier: BSD-2-Clause
/*
 * verify_impl.h - what the phases of the checker share. Private to verify*.c.
 *
 * A check is a series of passes. A pass looks at everything and changes nothing; it queues a repair
 * for each finding that can be mended. Then the repairs are made, and the next pass looks whether
 * the pool is whole now, until one queues nothing. So no phase has to reckon with half a repair.
 *
 * Order of the repairs of one pass: bits of blocks in use that are marked free come first, so that
 * nothing that a repair allocates can destroy them; what was marked in use without an owner is
 * freed, and damaged bitmaps are made anew, only in a pass that had nothing else to repair, when it
 * is sure who owns what.
 *
 * Memory: a bit for each heap block, each data block and (four) for each inode number, and four
 * bytes for each inode number; beside it only what is proportional to the damage.
 */
#ifndef CORE_VERIFY_IMPL_H
#define CORE_VERIFY_IMPL_H

#include "btree.h"
#include "pool.h"
#include "verify.h"

struct bitset {
	uint64_t *words;
	uint64_t bits;
};
int bitset_make(struct bitset *b, uint64_t bits);
void bitset_free(struct bitset *b);
bool bitset_test(const struct bitset *b, uint64_t bit);
void bitset_set(struct bitset *b, uint64_t bit);
void bitset_clear(struct bitset *b, uint64_t bit);
/* Sets [first, first + count); how many were set before. */
uint64_t bitset_take(struct bitset *b, uint64_t first, uint64_t count);

enum repair_kind {
	REPAIR_SUPERS,
	REPAIR_TAG,         /* a: number of the region */
	REPAIR_MISSING,     /* space, a: unit, b: count: set the bits */
	REPAIR_ROOT,        /* a new root directory */
	REPAIR_CLEAR_INODE, /* ino: give the number back */
	REPAIR_PAYLOAD,     /* ino: a new tree of what can be read */
	REPAIR_XATTRS,      /* ino: the same for its extended attributes */
	REPAIR_EXTENT,      /* ino, a: file block: take the extent out */
	REPAIR_ENTRY,       /* ino: directory, a: key: take the entry out */
	REPAIR_REHASH,      /* ino: directory, a: key: enter the name again, under its own key */
	REPAIR_TYPE,        /* ino: directory, a: key, b: type */
	REPAIR_BLOCKS,      /* ino, a: value; and so on for single fields */
	REPAIR_SIZE,
	REPAIR_NLINK,
	REPAIR_PARENT,
	REPAIR_ACL_FLAGS,
	REPAIR_TRIM,
	REPAIR_LOST,      /* ino: a name in /lost+found */
	REPAIR_ATTENTION, /* ino, a: 1 or 0 */
	REPAIR_LEAK,      /* space, a: unit, b: count: free */
	REPAIR_BITMAP,    /* space, a: group: a new bitmap */
};
#define REPAIR_LAST_STAGE                                                                          \
	REPAIR_LEAK /* this and what follows: only when nothing else was found                     \
		     */

struct repair {
	enum repair_kind kind;
	uint32_t space;
	uint64_t ino, a, b;
};

struct stray { /* an entry that leads to a directory which calls another one its parent */
	uint64_t dir, key, ino;
};

struct answer { /* what was said of a finding, so that the next pass does not say it again */
	uint64_t hash;
	bool yes;
};

struct verify {
	struct core *core;
	const struct verify_options *options;
	struct verify_report *report;
	enum verify_phase phase;
	uint64_t pass_findings; /* of this pass: those without a repair */
	bool tree_damage;       /* this pass: what is not claimed may still belong to somebody */
	bool repaired_before;   /* an earlier pass made repairs: leaks are their remains */
	unsigned path_searches; /* left: finding a file's name reads all directories */

	struct bitset heap;
	struct bitset regions[CORE_REGIONS_MAX];
	uint32_t region_count;
	uint64_t inode_numbers;
	struct bitset in_use; /* by the bitmaps, or by the record where a bitmap is damaged */
	struct bitset sound;  /* record can be read */
	struct bitset is_dir;
	struct bitset
		linked; /* directories: has a name in the directory that it calls its parent */
	uint32_t *references; /* names of a file; subdirectories of a directory */

	struct repair *repairs;
	size_t repair_count, repair_capacity;
	struct stray *strays;
	size_t stray_count, stray_capacity;
	struct answer *answers; /* open addressing, a power of two */
	size_t answer_count, answer_capacity;
};

/*
 * Reports a finding: the sentence, then what will be (or would be) done, `remedy`, NULL if nothing
 * can be. True: queue the repair. `ino` 0: none.
 */
bool verify_found(struct verify *v, uint64_t ino, const char *remedy, const char *format, ...)
	__attribute__((format(printf, 4, 5)));
/* The same for a region that is not the pool's: nothing can be done here, and the sentence says
 * what can. */
void verify_found_foreign(struct verify *v, const char *sentence);
int verify_queue(struct verify *v, const struct repair *repair); /* -ENOMEM */
void verify_progress(struct verify *v, uint64_t done, uint64_t total);

/* The record's offset; 0 if there is no such number. */
uint64_t verify_record_offset(struct verify *v, uint64_t ino);
/* A record that phase 3 found sound. */
const struct media_inode *verify_record(struct verify *v, uint64_t ino);
/* " (/its/path)" or "": for sentences. */
struct path_text {
	char text[600];
};
struct path_text verify_path(struct verify *v, uint64_t ino);

/*
 * Claims the nodes of a tree and checks its structure. Damage is reported under `ino` (0: a table
 * of the pool) and told to the caller; `item` hears of what can be read.
 */
int verify_tree(struct verify *v, uint64_t ino, const struct media_root *root, const char *what,
	const char *remedy, int (*item)(void *context, const struct btree_item *item),
	void *context, bool *damaged, bool *repair);

/* The phases. 0 or what ends the check: -ENOMEM, -EIO. */
int verify_supers(struct verify *v);
int verify_spaces(struct verify *v);
int verify_inodes(struct verify *v);
int verify_attributes(struct verify *v, uint64_t ino, const struct media_inode *record);
int verify_names(struct verify *v);
int verify_bitmaps(struct verify *v);

int verify_repair(struct verify *v, const struct repair *repair);

/*
 * The pieces of extended attributes, in the order of their tree (xattr.h). verify_piece() takes the
 * next one; it says whether what stood before it was cut off, and whether this one is whole now.
 */
struct xattr_pieces {
	uint64_t key;  /* of piece 0 */
	unsigned next; /* number of the piece that should follow; 0: none should */
	uint64_t bytes, wanted;
	uint32_t acl_flags; /* of those that were whole */
	uint32_t acl_flag;
};
enum piece_state { PIECE_MORE, PIECE_WHOLE, PIECE_BAD };
enum piece_state verify_piece(
	struct verify *v, struct xattr_pieces *p, const struct btree_item *item, bool *cut_off);

/* Is the extent one that the file's map may hold? NULL, or what is wrong. */
const char *verify_extent_fault(struct verify *v, const struct media_extent *e);
#define FILE_BLOCKS_LIMIT (FILE_BYTES_MAX / BLOCK_SIZE)
/* Has recovery a range of it to free? Ranges that make no sense are repaired apart. */
static inline bool verify_trims(const struct media_inode *m)
{
	return S_ISREG(m->mode) && m->trim_start < m->trim_end && m->trim_end <= FILE_BLOCKS_LIMIT;
}
static inline uint64_t extent_blocks(const struct media_extent *e)
{
	return e->blocks_state & ~EXTENT_UNWRITTEN;
}

#endif
