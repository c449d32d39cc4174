// SPDX-License-Identifier: BSD-2-Clause
/*
 * format.h - what a leasefs pool looks like on its media.
 *
 * Everything is fixed width, little endian and offset based. A field never changes its meaning:
 * a new meaning takes a feature bit and a line in the changelog below.
 *
 * Changelog
 *   1.0  first format
 *   1.1  media_tag behind each data region, media_roots.stamp and .next_stamp:
 *        FEATURE_INCOMPAT_TAGS, without which there are none
 *
 * The metadata region ("meta"), in 4 KiB blocks:
 *
 *   block 0            superblock
 *   block 1            journal header
 *   blocks 2..         journal area (super.journal_bytes)
 *   heap               groups of GROUP_BLOCKS blocks; block 0 of each is its bitmap
 *   last block         copy of the superblock
 *
 * The heap holds everything that is allocated: tree nodes, inode tables, bitmaps of other spaces.
 *
 * A *space* is a numbered set of units handed out by bitmaps: heap blocks, inodes, the blocks of
 * one data region. It is cut into groups; each group has one bitmap block. The heap's groups stand
 * at fixed places; all others are found through the space tree (super.space_root), whose key is
 * space << 32 | group and whose value is a media_group.
 *
 * Every metadata object begins with a media_head: its magic, and a checksum of the whole object
 * (without the checksum itself) seeded with the object's own offset in the region, so that a
 * flipped bit, a stale block and a misplaced one are all found. One decoder (tx.h) verifies it.
 *
 * Invariants
 *  1. An object outside the journal changes only by the application of a committed journal record.
 *  2. A bit that is set in a bitmap belongs to exactly one owner; fsck.leasefs makes sure.
 *  3. An inode with nlink 0, or with a trim range, has its bit set in its group's attention map,
 *     so that recovery finds it without a scan.
 *  4. Reserved fields are zero.
 */
#ifndef CORE_FORMAT_H
#define CORE_FORMAT_H

#include <assert.h>
#include <endian.h>
#include <stddef.h>
#include <stdint.h>

#if __BYTE_ORDER != __LITTLE_ENDIAN
#error "leasefs maps its little-endian metadata directly: big-endian hosts are not supported"
#endif

#define BLOCK_SHIFT 12
#define BLOCK_SIZE (1u << BLOCK_SHIFT)
#define HUGE_SHIFT 21
#define HUGE_SIZE (1u << HUGE_SHIFT)
#define HUGE_BLOCKS (HUGE_SIZE / BLOCK_SIZE)

#define FORMAT_MAJOR 1
#define FORMAT_MINOR 1

/* Four readable bytes each, so that a hex dump tells what it shows. */
#define MAGIC_SUPER 0x5053464cu   /* "LFSP" */
#define MAGIC_JOURNAL 0x4a53464cu /* "LFSJ" */
#define MAGIC_RECORD 0x5253464cu  /* "LFSR" */
#define MAGIC_GROUP 0x4753464cu   /* "LFSG" */
#define MAGIC_INODE 0x4953464cu   /* "LFSI" */
#define MAGIC_NODE 0x4e53464cu    /* "LFSN" */
#define MAGIC_TAG 0x4453464cu     /* "LFSD", in data regions */

struct media_head {
	uint32_t magic;
	uint32_t reserved;
	uint64_t checksum; /* XXH3-64 of the object with this field as zero, seed: its offset */
};
static_assert(sizeof(struct media_head) == 16, "media_head");

/* ---- superblock ------------------------------------------------------------------------------ */

/* Unknown bits: compat may be mounted, ro_compat read-only, incompat not at all. */
#define FEATURE_COMPAT_KNOWN 0ull
#define FEATURE_RO_COMPAT_KNOWN 0ull
#define FEATURE_INCOMPAT_TAGS 1ull /* data regions: one mapping unit longer, with a media_tag */
#define FEATURE_INCOMPAT_KNOWN FEATURE_INCOMPAT_TAGS

#define DOMAINS_SINGLE 0u
#define DOMAINS_UID 1u

struct media_root { /* a B+tree: root block in the heap, 0 while it is empty */
	uint64_t root;
	uint32_t height; /* 0: empty, 1: the root is a leaf */
	uint32_t reserved;
};
static_assert(sizeof(struct media_root) == 16, "media_root");

/* The first four fields after the head never move, in any version. */
struct media_super {
	struct media_head head;
	uint16_t major;
	uint16_t minor;
	uint32_t block_size;
	uint64_t compat;
	uint64_t ro_compat;
	uint64_t incompat;
	uint8_t uuid[16];
	uint64_t generation; /* of the superblock pair: the higher valid one is in force */
	uint64_t meta_bytes;
	uint64_t journal_offset; /* of the area, after the journal header block */
	uint64_t journal_bytes;
	uint64_t heap_offset;
	uint64_t heap_blocks;
	uint64_t pool_bytes; /* data the pool may hold, over all regions */
	uint32_t domains;
	uint32_t lease_gid; /* group that may map the single region; ~0: none */
	uint32_t creator_uid;
	uint32_t reserved0;
	uint64_t hash_seed; /* of names, so that nobody can plan collisions */
	int64_t created_sec;
	char label[32];
	uint8_t reserved[4096 - 184];
};
static_assert(sizeof(struct media_super) == BLOCK_SIZE, "media_super");
static_assert(offsetof(struct media_super, uuid) == 48, "media_super.uuid");
static_assert(offsetof(struct media_super, label) == 152, "media_super.label");

/*
 * The mutable roots live in an object of their own, the first block of heap group 0 after its
 * bitmap, so that the superblock is written by mkfs and fsck alone.
 */
#define MAGIC_ROOTS 0x5453464cu /* "LFST" */
struct media_roots {
	struct media_head head;
	struct media_root spaces;  /* space << 32 | group -> media_group */
	struct media_root regions; /* region number -> media_region */
	uint64_t stamp;            /* in the tags of all data regions ... */
	uint64_t next_stamp;       /* ... or this one, while they are being stamped (tag.c) */
	uint64_t reserved[504];
};
static_assert(sizeof(struct media_roots) == BLOCK_SIZE, "media_roots");
static_assert(offsetof(struct media_roots, stamp) == 48, "media_roots.stamp");

/* ---- journal (journal.h) --------------------------------------------------------------------- */

/*
 * head, tail and synced are positions in an endless log; position p stands at area offset
 * p % journal_bytes. Each is stored by one 8-byte store in a cache line of its own, and so is not
 * covered by a checksum: recovery bounds them by each other and by the records' own checksums.
 */
struct media_journal {
	struct media_head head; /* covers nothing that changes after mkfs: see journal.c */
	uint8_t reserved0[48];
	uint64_t commit; /* end of the newest committed record: the commit is this store */
	uint8_t reserved1[56];
	uint64_t tail; /* everything before it stands durably in its home */
	uint8_t reserved2[56];
	/* Page cache, relaxed: everything before it is durable, data included. ~0 elsewhere: every
	 * commit is durable by itself. */
	uint64_t synced;
	uint8_t reserved3[56];
	uint8_t boot_id[16]; /* of the boot that wrote commit, to tell a crash from a power loss */
	uint32_t clean;      /* 1: closed in good order */
	uint8_t reserved4[4096 - 276];
};
static_assert(sizeof(struct media_journal) == BLOCK_SIZE, "media_journal");
static_assert(offsetof(struct media_journal, commit) == 64, "media_journal.commit");
static_assert(offsetof(struct media_journal, tail) == 128, "media_journal.tail");
static_assert(offsetof(struct media_journal, synced) == 192, "media_journal.synced");

struct media_record {
	struct media_head head; /* covers the record with its operations; seed: its position */
	uint64_t position;
	uint64_t sequence;
	uint32_t bytes; /* with this header, a multiple of 64; 0 operations: up to the area's end */
	uint32_t operations;
};
static_assert(sizeof(struct media_record) == 40, "media_record");

#define RECORD_WRITE 1u /* `bytes` bytes follow, padded to 8: they go to `offset` */
#define RECORD_SET 2u   /* set `bytes` bits from bit `first` in the bitmap block at `offset` */
#define RECORD_CLEAR 3u
struct media_operation {
	uint64_t offset; /* in the metadata region */
	uint16_t kind;
	uint16_t first;
	uint32_t bytes; /* RECORD_WRITE: bytes; else bits */
};
static_assert(sizeof(struct media_operation) == 16, "media_operation");

/* ---- spaces (space.h) ------------------------------------------------------------------------ */

#define GROUP_BITS 32256u /* 63 units of 2 MiB, in blocks */
struct media_bitmap {     /* one group's bitmap block */
	struct media_head head;
	uint32_t space;
	uint32_t group;
	uint64_t reserved[5];
	uint64_t bits[GROUP_BITS / 64]; /* 1: in use */
};
static_assert(sizeof(struct media_bitmap) == BLOCK_SIZE, "media_bitmap");

#define SPACE_HEAP 0u
#define SPACE_INODES 1u
#define SPACE_REGION(region) (2u + (region))

/* Inode groups use bits [0, INODES_PER_GROUP) for "in use" and, from ATTENTION_BIT, as many for
 * "recovery must look at it" (nlink 0, or a trim range). */
#define INODES_PER_GROUP 4032u
#define ATTENTION_BIT 4032u
#define INODE_SIZE 256u
#define INODE_TABLE_BLOCKS (INODES_PER_GROUP * INODE_SIZE / BLOCK_SIZE)

struct media_group {     /* a value in the space tree */
	uint64_t bitmap; /* offset of the bitmap block in the metadata region */
	uint64_t table;  /* inode groups: offset of INODE_TABLE_BLOCKS blocks; else 0 */
	uint32_t units;  /* bits of this group that exist */
	uint32_t reserved;
};
static_assert(sizeof(struct media_group) == 24, "media_group");

#define REGION_KIND_POOL 0u     /* data.N in the pool directory */
#define REGION_KIND_EXTERNAL 1u /* a file or device elsewhere, by absolute path */
struct media_region {           /* a value in the region tree */
	uint8_t uuid[16];
	uint64_t bytes;
	uint32_t kind;
	uint32_t owner_uid;       /* DOMAINS_UID: whose files it holds; else the creator */
	uint32_t alignment_shift; /* of mappings and of allocation: 12 or 21 */
	uint32_t path_bytes;      /* REGION_KIND_EXTERNAL: that many bytes of path follow */
};
static_assert(sizeof(struct media_region) == 40, "media_region");

struct media_tag {              /* in the data region, at the offset that is its `bytes`: tag.c */
	struct media_head head; /* covers what is before `stamp`; seed: the offset in the region */
	uint8_t pool[16];       /* media_super.uuid */
	uint8_t region[16];     /* media_region.uuid */
	uint32_t number;
	uint32_t reserved0;
	uint64_t bytes; /* media_region.bytes */
	uint64_t stamp; /* media_roots.stamp or .next_stamp; in a cache line of its own */
	uint8_t reserved[4096 - 72];
};
static_assert(sizeof(struct media_tag) == BLOCK_SIZE, "media_tag");
static_assert(offsetof(struct media_tag, stamp) == 64, "media_tag.stamp");

/* ---- B+trees (btree.h) ----------------------------------------------------------------------- */

/*
 * Key: 64 bits, unique in the tree. Value: up to BTREE_VALUE_MAX bytes. Slots grow up from the
 * header, values down from the block's end, each at a multiple of 8 and rounded up to one. Inner
 * nodes: value = uint64_t child offset; the key of a child is a lower bound of the keys below it,
 * and the first is treated as minus infinity.
 */
#define BTREE_VALUE_MAX 1024u
#define BTREE_HEIGHT_MAX 12u
struct media_slot {
	uint64_t key;
	uint16_t offset; /* of the value, in the block */
	uint16_t bytes;
	uint32_t reserved;
};
static_assert(sizeof(struct media_slot) == 16, "media_slot");
struct media_node {
	struct media_head head;
	uint64_t owner; /* inode number, or 0 for the trees of media_roots */
	uint16_t level; /* 0: leaf */
	uint16_t count;
	uint16_t low;     /* lowest offset in use by values */
	uint16_t garbage; /* bytes of dead values above `low` */
	struct media_slot slots[254];
};
static_assert(sizeof(struct media_node) == BLOCK_SIZE, "media_node");

/* ---- inodes (inode.h) ------------------------------------------------------------------------ */

#define ROOT_INO 1ull
#define INODE_EXTENTS 3u
#define SYMLINK_INLINE_MAX 88u
#define NAME_BYTES_MAX 255u
#define SYMLINK_BYTES_MAX 4095u
#define XATTR_NAME_MAX_BYTES 255u
#define XATTR_VALUE_MAX_BYTES 65536u
#define LINKS_MAX 0x7fffffffu
#define FILE_BYTES_MAX (1ull << 55)

#define PAYLOAD_NONE 0u    /* fifo, socket, device */
#define PAYLOAD_INLINE 1u  /* extents[payload_count] */
#define PAYLOAD_TREE 2u    /* tree: extents, directory entries, or pieces of a long symlink */
#define PAYLOAD_SYMLINK 3u /* bytes, payload_count of them */

struct media_extent { /* inline; in trees the key is file_block and the value a media_run */
	uint64_t file_block;
	uint64_t region_block;
	uint32_t region;
	uint32_t blocks_state; /* length in blocks; top bit: unwritten */
};
static_assert(sizeof(struct media_extent) == 24, "media_extent");
#define EXTENT_UNWRITTEN 0x80000000u
#define EXTENT_BLOCKS_MAX 0x7fffffffu

struct media_run {
	uint64_t region_block;
	uint32_t region;
	uint32_t blocks_state;
};
static_assert(sizeof(struct media_run) == 16, "media_run");

struct media_dirent { /* value in a directory's tree; key: dir.h */
	uint64_t ino;
	uint8_t type; /* DT_* */
	uint8_t name_bytes;
	uint8_t name[];
};

/* Value in an xattr tree; key: xattr.h. Piece 0 carries this header and the name. */
struct media_xattr {
	uint32_t value_bytes;
	uint16_t name_bytes;
	uint16_t reserved;
	uint8_t name[]; /* then the value's first bytes */
};

struct media_inode {
	struct media_head head;
	uint64_t ino;
	uint32_t generation;
	uint32_t mode; /* as in stat(2) */
	uint32_t uid;
	uint32_t gid;
	uint32_t nlink;
	uint32_t reserved;
	uint64_t size;   /* bytes; directories: number of entries */
	uint64_t blocks; /* data blocks allocated, 4 KiB each */
	int64_t atime_sec;
	int64_t mtime_sec;
	int64_t ctime_sec;
	int64_t btime_sec;
	uint32_t atime_nsec;
	uint32_t mtime_nsec;
	uint32_t ctime_nsec;
	uint32_t btime_nsec;
	uint64_t parent; /* directories: the parent directory */
	struct media_root xattrs;
	uint64_t trim_start; /* file blocks still to be freed by an operation that has succeeded: */
	uint64_t trim_end;   /* [start, end), none while they are equal */
	uint32_t rdev_major;
	uint32_t rdev_minor;
	uint16_t payload;
	uint16_t payload_count;
	uint32_t acl_flags; /* INODE_ACL_*: which ACL xattrs are there, to save a look-up */
	union {
		struct media_extent extents[INODE_EXTENTS];
		struct media_root tree;
		uint8_t bytes[SYMLINK_INLINE_MAX];
	};
};
static_assert(sizeof(struct media_inode) == INODE_SIZE, "media_inode");
static_assert(offsetof(struct media_inode, size) == 48, "media_inode.size");
static_assert(offsetof(struct media_inode, extents) == 168, "media_inode.payload");

#define INODE_ACL_ACCESS 1u
#define INODE_ACL_DEFAULT 2u

#endif
