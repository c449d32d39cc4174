// SPDX-License-Identifier: BSD-2-Clause
/*
 * core.h - the filesystem as its users see it: the daemon, the tools and the testers.
 *
 * Knows nothing of FUSE and nothing of leases. Operations name inodes by struct inode handles and
 * return 0 or -errno; an operation that returned an error changed nothing. Every change of the
 * namespace or of a layout is one transaction (huge frees: one that decides, and several that
 * finish, which recovery repeats).
 *
 * Who may do what is decided above (the kernel's default_permissions); what is decided here are
 * the rules that go with a change: setuid clearing, SGID and ACL inheritance, ENOSPC, link limits.
 *
 * Threads: every function may be called from any thread at any time after core_open() and before
 * core_close(). Lock order: rename lock, inode locks in rising inode number, region table lock,
 * space group locks, journal lock. Operations on different inodes run in parallel; readers of one
 * file too.
 *
 * Blocks are BLOCK_SIZE; offsets and sizes are bytes unless a name says blocks.
 */
#ifndef CORE_CORE_H
#define CORE_CORE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <time.h>

#include "diag.h"
#include "region.h"

struct core;
struct inode;

/* ---- pool ------------------------------------------------------------------------------------ */

struct core_extent { /* of a file, as a lease shows it; all bytes, block aligned */
	uint64_t offset;
	uint64_t length;
	uint64_t region_offset;
	uint32_t region;
	uint32_t state; /* CORE_EXTENT_* */
};
#define CORE_EXTENT_WRITTEN 0u
#define CORE_EXTENT_UNWRITTEN 1u
#define CORE_EXTENT_HOLE 2u /* region fields are 0 */

/*
 * The one question that core asks upwards, before it commits the freeing of data blocks: may they
 * be reused? The arbiter takes what it wants to keep by core_hold(); it must not block, nor call
 * anything else here but core_release(). It says 0; or 1, and then how the transaction ended is
 * told by freed(), for all that it was asked of the inode meanwhile: not committed, the blocks are
 * the file's as before; or -errno, so that it is not committed, which is told in the same way.
 * Called with the inode's lock held. Both may be NULL.
 */
struct core_arbiter {
	void *context;
	int (*freeing)(void *context, uint64_t ino, const struct core_extent *extent);
	void (*freed)(void *context, uint64_t ino, bool committed);
};

struct core_options {
	const char *pool;                   /* directory */
	enum durability durability;         /* of page-cache regions */
	bool read_only;                     /* replays the journal in memory only */
	unsigned lock_wait_ms;              /* how long to wait for a daemon that is just ending */
	int (*clock)(struct timespec *now); /* NULL: CLOCK_REALTIME */
	bool accept_regions; /* data regions are used whatever their tags say: fsck.leasefs */
};
/*
 * Opens and recovers. Sentences come with: -ENOENT, -ENOTDIR, -EACCES, -ELOOP (a planted symlink),
 * -EBUSY (another daemon has it: names its pid), -EUCLEAN (damaged: run fsck.leasefs),
 * -EPROTONOSUPPORT (a foreign version or unknown incompat feature), -EMEDIUMTYPE (a data region is
 * not this pool's, or is an old copy), -EROFS, -ENOMEM, -EIO.
 *
 * With a region for each owner, such a region is refused by itself (core_region_info.refused): its
 * files have EIO.
 */
int core_open(const struct core_options *options, struct core **out, struct diag *d);
/* All handles must have been put. Finishes, checkpoints, unlocks. 0 or -EIO. */
int core_close(struct core *c);
/* For crash tests: lets go of the mappings and the lock without writing anything. */
void core_abandon(struct core *c);
/* After fork() in a daemon: the lock, which goes with the descriptor, names this process. */
void core_note_pid(struct core *c);
void core_set_arbiter(struct core *c, const struct core_arbiter *arbiter);

/* Hears every so often of what takes long. */
struct core_progress {
	void (*step)(void *context, const char *what, uint64_t done, uint64_t total);
	void *context;
};

struct core_format {           /* mkfs */
	const char *pool;      /* made if it is not there */
	uint64_t pool_bytes;   /* data; 0: CORE_POOL_BYTES_DEFAULT, or the size of `data` */
	uint64_t meta_bytes;   /* 0: chosen from pool_bytes */
	uint32_t domains;      /* DOMAINS_* of format.h */
	uint32_t lease_gid;    /* ~0: none */
	const char *data;      /* NULL, or a device or file that becomes region 0 */
	const char *label;     /* up to 31 bytes, or NULL */
	bool force;            /* destroy a pool that is there */
	unsigned lock_wait_ms; /* as in core_options */
	const struct core_progress *progress; /* may be NULL */
};
#define CORE_POOL_BYTES_DEFAULT (1ull << 30)
#define CORE_POOL_BYTES_MIN (1ull << 20)
/* -EEXIST without force, -EBUSY in use, -EINVAL sizes, -ENOSPC, -ENOTEMPTY (not a pool's). */
int core_format_pool(const struct core_format *format, struct diag *d);

struct core_region_info {
	uint32_t region;
	uint32_t owner_uid;
	uint64_t bytes;
	uint64_t free_bytes;
	uint64_t alignment;
	enum region_media media;
	enum region_backend backend;
	char path[4096];   /* what a lease holder opens */
	char refused[512]; /* why nothing of it is used, a sentence; "" as a rule */
};
struct core_info {
	char uuid[37];
	char label[32];
	uint16_t format_major, format_minor;
	uint64_t pool_bytes, free_bytes, pending_bytes;
	uint64_t meta_bytes, meta_free_bytes;
	uint64_t inodes_used, inodes_cached;
	uint32_t domains, lease_gid, regions;
	enum region_media meta_media;
	enum durability durability;
	uint64_t journal_bytes;
	uint64_t recovered_records; /* at open */
	uint64_t recovered_inodes;  /* orphans and trims finished at open */
	bool was_clean, power_lost;
	double open_seconds;
};
void core_get_info(struct core *c, struct core_info *out);
int core_get_region(struct core *c, uint32_t region, struct core_region_info *out); /* -ENOENT */
/* Region numbers in use, from `from` on: the next one, or -ENOENT. */
int core_next_region(struct core *c, uint32_t from, uint32_t *out);
/* What files here are allocated and mapped in, bytes: 4 KiB, or 2 MiB on /dev/dax and hugetlbfs. */
uint64_t core_layout_unit(struct core *c);
int core_run_dir_fd(struct core *c); /* the pool's run/, borrowed */

/*
 * In how many pieces the free data space is, looked at piece by piece: from {0, 0} on, until
 * `region` is CORE_RUNS_END. A run does not cross the 128 MiB of an allocation group. -ENOMEM.
 */
struct core_free_runs {
	uint64_t bytes;
	uint64_t runs;
	uint64_t largest_bytes;
};
struct core_runs_place {
	uint32_t region;
	uint32_t group;
};
#define CORE_RUNS_END UINT32_MAX
int core_count_free_runs(struct core *c, struct core_runs_place *place, struct core_free_runs *out);

int core_statfs(struct core *c, struct statvfs *out);
int core_sync(struct core *c); /* everything acknowledged is durable. 0 or -EIO */

/* Keeps freed blocks from being handed out again until core_release() (the quarantine). */
int core_hold(struct core *c, uint32_t region, uint64_t region_offset, uint64_t length);
int core_release(struct core *c, uint32_t region, uint64_t region_offset, uint64_t length);

/* ---- inode handles --------------------------------------------------------------------------- */

/*
 * A handle is counted: what hands one out adds one, core_put() takes n away. An inode without links
 * is freed when its last count goes (or at the next open of the pool).
 */
/* -ESTALE if not in use, -EUCLEAN. */
int core_get(struct core *c, uint64_t ino, struct inode **out);
void core_hold_inode(struct core *c, struct inode *ip, uint64_t n);
void core_put(struct core *c, struct inode *ip, uint64_t n);
uint64_t core_ino(const struct inode *ip);
/* A word that is the caller's own, for as long as the inode is in memory; 0 at first. */
_Atomic uint64_t *core_inode_word(struct inode *ip);
uint32_t core_generation(const struct inode *ip);

/* Who asks, for ownership and the rules of setuid and SGID. */
struct core_cred {
	uint32_t uid;
	uint32_t gid;
	uint32_t umask; /* creation: applied here, unless a default ACL rules (POSIX_ACL) */
	bool fsetid;    /* CAP_FSETID: setuid and setgid bits survive */
	/* Is the caller in that group (supplementary ones too)? Asked only where it matters. */
	bool (*in_group)(const struct core_cred *cred, uint32_t gid);
	void *context;
};

/* ---- names ----------------------------------------------------------------------------------- */

/* "." and ".." are understood. -ENOENT, -ENOTDIR, -ENAMETOOLONG, -EUCLEAN. */
int core_lookup(struct core *c, struct inode *dir, const char *name, struct inode **out);
/*
 * Any type but symlinks; mode holds type and permission bits. -EEXIST, -ENOSPC, -ENAMETOOLONG,
 * -EMLINK, -ENOENT (dir was removed), -EINVAL.
 */
int core_create(struct core *c, struct inode *dir, const char *name, mode_t mode, dev_t rdev,
	const struct core_cred *cred, struct inode **out);
int core_symlink(struct core *c, struct inode *dir, const char *name, const char *target,
	const struct core_cred *cred, struct inode **out);
/* A file without a name, for O_TMPFILE; core_link() can name it. */
int core_tmpfile(struct core *c, struct inode *dir, mode_t mode, const struct core_cred *cred,
	struct inode **out);
int core_link(struct core *c, struct inode *ip, struct inode *dir, const char *name);
/* `gone` (may be NULL) gets the inode that lost a link, counted. */
int core_unlink(struct core *c, struct inode *dir, const char *name, struct inode **gone);
int core_rmdir(struct core *c, struct inode *dir, const char *name);
#define CORE_RENAME_NOREPLACE 1u
#define CORE_RENAME_EXCHANGE 2u
/* Leaves a character device 0:0 without permissions at the old name: its owner is of `cred`, which
 * is needed then. -ENOSPC. Not with EXCHANGE. */
#define CORE_RENAME_WHITEOUT 4u
/* -EINVAL (a directory into itself; unknown flags), -EEXIST, -ENOTEMPTY, -EISDIR, -ENOTDIR, ... */
int core_rename(struct core *c, struct inode *from, const char *name, struct inode *to,
	const char *new_name, unsigned flags, const struct core_cred *cred, struct inode **gone);
/* Writes at most `bytes`, without a NUL; returns the target's length or -errno. */
ssize_t core_readlink(struct core *c, struct inode *ip, char *out, size_t bytes);

struct core_dirent {
	uint64_t ino;
	uint64_t cookie; /* continue from here: stable while others come and go; below 2^63 */
	uint8_t type;    /* DT_* */
	uint8_t name_bytes;
	char name[256]; /* with a NUL */
};
/*
 * Calls `emit` for "." and "..", then each entry after `cookie` (0: the beginning), until it
 * returns non-zero (not an error: that entry was not taken). Entries are handed out in batches,
 * with no lock held during `emit`, so it may look inodes up. -ENOTDIR, -EUCLEAN.
 */
int core_readdir(struct core *c, struct inode *dir, uint64_t cookie,
	int (*emit)(void *context, const struct core_dirent *entry), void *context);

/* ---- attributes ------------------------------------------------------------------------------ */

int core_getattr(struct core *c, struct inode *ip, struct stat *out, struct timespec *btime);

#define CORE_SET_MODE 1u
#define CORE_SET_UID 2u
#define CORE_SET_GID 4u
#define CORE_SET_ATIME 8u
#define CORE_SET_MTIME 16u
#define CORE_SET_CTIME 32u
#define CORE_SET_ATIME_NOW 64u
#define CORE_SET_MTIME_NOW 128u
struct core_setattr {
	unsigned valid;
	uint32_t mode;
	uint32_t uid;
	uint32_t gid;
	struct timespec atime, mtime, ctime;
	const struct core_cred *cred;
};
/* Size is core_truncate()'s. With --domains=uid a change of owner moves the data: -ENOSPC. */
int core_setattr(struct core *c, struct inode *ip, const struct core_setattr *set);

/* value NULL or bytes 0 asks for the length. -ENODATA, -ERANGE. */
ssize_t core_getxattr(
	struct core *c, struct inode *ip, const char *name, void *value, size_t bytes);
/* False: core_getxattr() would find none, whatever the name. */
bool core_has_xattrs(struct core *c, struct inode *ip);
ssize_t core_listxattr(struct core *c, struct inode *ip, char *list, size_t bytes);
/* flags as setxattr(2). ACL xattrs are checked and keep mode and ACL in step. -E2BIG, -ENOSPC. */
int core_setxattr(struct core *c, struct inode *ip, const char *name, const void *value,
	size_t bytes, int flags, const struct core_cred *cred);
int core_removexattr(struct core *c, struct inode *ip, const char *name);

/* ---- data ------------------------------------------------------------------------------------ */

/*
 * Reading: core_read_begin() takes the file's lock for reading and describes the bytes as pieces of
 * the regions' memory (holes: pieces of a shared page of zeroes); the caller sends them from there
 * and calls core_read_end(). Stops at end of file and at `vectors`. *count 0: end of file. After an
 * error nothing is locked. No access time is kept: it changes by core_setattr() alone.
 */
int core_read_begin(struct core *c, struct inode *ip, uint64_t offset, uint64_t length,
	struct iovec *vector, int vectors, int *count);
void core_read_end(struct core *c, struct inode *ip);

/*
 * Writing: core_write_begin() takes the file's lock for writing, finds or allocates the blocks and
 * describes them; the caller copies its bytes there (in order), and core_write_end() commits what
 * was `copied`: extents, size, times and setuid clearing as one transaction. It returns 0 or the
 * error that made nothing of it happen (bytes written over existing blocks stay). `length` may be
 * cut short for want of space or of `vectors`: w.length says to what. append: at the end of file,
 * atomically; w.offset says where that was.
 *
 * Between the two the same thread may call nothing else here that changes anything (a transaction
 * may be open, and a thread has one); `copied` 0 gives up. After an error of begin nothing is held.
 * -ENOSPC, -EFBIG, -EISDIR, -EINVAL (not a regular file).
 */
struct core_write {
	struct inode *inode;
	uint64_t offset;
	uint64_t length;
	struct iovec *vector; /* the caller's, `vectors` long; filled by begin */
	int vectors;
	int count;
	bool append;
	const struct core_cred *cred;
	void *state; /* core's own */
};
int core_write_begin(struct core *c, struct core_write *w);
int core_write_end(struct core *c, struct core_write *w, uint64_t copied);

/* Both at once, for tools and testers. Bytes done, or -errno. */
ssize_t core_read(struct core *c, struct inode *ip, void *out, size_t bytes, uint64_t offset);
ssize_t core_write(struct core *c, struct inode *ip, const void *bytes, size_t count,
	uint64_t offset, const struct core_cred *cred);

/* Sets the size. Blocks past it are freed; growing is sparse. -EFBIG, -EISDIR, -EINVAL. */
int core_truncate(struct core *c, struct inode *ip, uint64_t size, const struct core_cred *cred);

/* mode as fallocate(2): 0, KEEP_SIZE, PUNCH_HOLE|KEEP_SIZE, ZERO_RANGE with or without KEEP_SIZE
 * (which zeroes written blocks where they stand: the layout of a leased range does not change).
 * -EOPNOTSUPP for the others, -ENOSPC with nothing changed, -EFBIG, -EINVAL. */
int core_fallocate(struct core *c, struct inode *ip, int mode, uint64_t offset, uint64_t length,
	const struct core_cred *cred);
/* Which whole blocks would that operation free? For arbitration. Empty: *start == *end. */
void core_truncate_frees(
	struct core *c, struct inode *ip, uint64_t size, uint64_t *start, uint64_t *end);
void core_punch_frees(uint64_t offset, uint64_t length, uint64_t *start, uint64_t *end);

/* whence SEEK_DATA or SEEK_HOLE. Offset, or -ENXIO. */
int64_t core_seek(struct core *c, struct inode *ip, uint64_t offset, int whence);
/* Bytes copied (0 at the source's end) or -errno. Overlap in one file is -EINVAL. */
ssize_t core_copy_range(struct core *c, struct inode *in, uint64_t in_offset, struct inode *out,
	uint64_t out_offset, uint64_t length, const struct core_cred *cred);

/* Durable when it returns: data of the file, and its metadata (always all). 0, -EIO. */
int core_fsync(struct core *c, struct inode *ip, bool data_only);

/* ---- layouts --------------------------------------------------------------------------------- */

/*
 * The extents of [offset, offset+length) in order and without gaps (holes are extents), at most
 * `max` of them; *count says how many, and *next where to go on (offset+length when complete).
 */
int core_layout(struct core *c, struct inode *ip, uint64_t offset, uint64_t length,
	struct core_extent *out, unsigned max, unsigned *count, uint64_t *next);
/*
 * The same for one who is going to map it. Where a region is mapped in units larger than a block,
 * no unit is written in part: its other blocks are zeroed and written first, so that no mapping
 * shows what was there before. -ENOSPC, -EIO; -EROFS on a pool that is open for reading only.
 */
int core_mappable_layout(struct core *c, struct inode *ip, uint64_t offset, uint64_t length,
	struct core_extent *out, unsigned max, unsigned *count, uint64_t *next);
/*
 * Makes the range ready for direct stores: holes allocated, unwritten blocks zeroed and written.
 * May reach past the end of file; the size stays. -ENOSPC and -EFBIG with nothing changed that a
 * reader could see. *changed (may be NULL): there was something to allocate or zero.
 */
int core_prepare_layout(
	struct core *c, struct inode *ip, uint64_t offset, uint64_t length, bool *changed);
/* After direct stores: grows the size to `size` if that is more, sets mtime and ctime, persists the
 * range as the media kind needs. */
int core_commit_layout(
	struct core *c, struct inode *ip, uint64_t offset, uint64_t length, uint64_t size);

#endif
