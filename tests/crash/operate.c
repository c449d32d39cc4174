// SPDX-License-Identifier: BSD-2-Clause
/*
 * operate.c - the operations of a script, on the bed.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <string.h>

#include "acl.h"
#include "bed_impl.h"
#include "format.h"
#include "pool.h"

#define BYTES_MAX 65536u
#define BUFFER_BYTES (BYTES_MAX + 3 * BLOCK_SIZE)
#define COPY_BYTES 1000u

/* ---- names ----------------------------------------------------------------------------------- */

struct place {
	struct inode *dir; /* counted */
	const char *name;
};

static int find_place(const char *path, struct place *out)
{
	const char *slash = strchr(path, '/');
	struct inode *root;
	char first[8];
	int error = core_get(bed.core, ROOT_INO, &root);

	if (error)
		return error;
	*out = (struct place){.dir = root, .name = path};
	if (!slash)
		return 0;
	assert((size_t)(slash - path) < sizeof(first));
	memcpy(first, path, (size_t)(slash - path));
	first[slash - path] = '\0';
	error = core_lookup(bed.core, root, first, &out->dir);
	core_put(bed.core, root, 1);
	out->name = slash + 1;
	return error;
}

static int find(unsigned path, struct inode **out)
{
	struct place place;
	int error = find_place(script_real_path(path), &place);

	if (error)
		return error;
	error = core_lookup(bed.core, place.dir, place.name, out);
	core_put(bed.core, place.dir, 1);
	return error;
}

static void put(struct inode *ip)
{
	if (ip)
		core_put(bed.core, ip, 1);
}

static int hold_inode(struct inode *ip)
{
	if (bed.held_count == HELD_MAX) {
		put(ip);
		return -EMFILE;
	}
	bed.held[bed.held_count++] = ip;
	return 0;
}

static int make(const struct op *op, const struct place *place)
{
	static char target[SYMLINK_BYTES_MAX];
	struct inode *ip = NULL;
	int error;

	if (op->verb == VERB_SYMLINK) {
		uint32_t bytes = op->number[0] % (sizeof(target) - 1) + 1;

		memset(target, 't', bytes);
		target[bytes] = '\0';
		error = core_symlink(bed.core, place->dir, place->name, target, &bed_cred, &ip);
	} else {
		mode_t mode = op->verb == VERB_MKDIR   ? S_IFDIR | 0755
			      : op->verb == VERB_MKNOD ? S_IFCHR | 0600
						       : S_IFREG | 0644;

		error = core_create(bed.core, place->dir, place->name, mode,
			op->verb == VERB_MKNOD ? 0x103 : 0, &bed_cred, &ip);
	}
	if (!error)
		put(ip);
	return error;
}

static int link_names(const struct op *op, const struct place *to)
{
	struct inode *ip;
	int error = 0;

	if (op->verb == VERB_NAME) {
		if (!bed.unnamed)
			return -ENOENT;
		error = core_link(bed.core, bed.unnamed, to->dir, to->name);
		if (!error)
			bed.unnamed = NULL;
		return error;
	}
	error = find(op->path[0], &ip);
	if (error)
		return error;
	error = core_link(bed.core, ip, to->dir, to->name);
	put(ip);
	return error;
}

static int move(const struct op *op, const struct place *from, const struct place *to)
{
	unsigned flags = op->verb == VERB_EXCHANGE   ? CORE_RENAME_EXCHANGE
			 : op->verb == VERB_WHITEOUT ? CORE_RENAME_WHITEOUT
						     : 0;
	struct inode *gone = NULL;
	int error = core_rename(
		bed.core, from->dir, from->name, to->dir, to->name, flags, &bed_cred, &gone);

	if (!error)
		put(gone);
	return error;
}

static int operate_on_names(const struct op *op)
{
	bool two = op->verb == VERB_LINK || op->verb == VERB_RENAME || op->verb == VERB_EXCHANGE ||
		   op->verb == VERB_WHITEOUT;
	struct place a, b = {0};
	int error = find_place(script_real_path(op->path[0]), &a);

	if (error)
		return error;
	if (two)
		error = find_place(script_real_path(op->path[1]), &b);
	if (error)
		goto put_a;
	switch (op->verb) {
	case VERB_UNLINK:
		error = core_unlink(bed.core, a.dir, a.name, NULL);
		break;
	case VERB_RMDIR:
		error = core_rmdir(bed.core, a.dir, a.name);
		break;
	case VERB_LINK:
		error = link_names(op, &b);
		break;
	case VERB_NAME:
		error = link_names(op, &a);
		break;
	case VERB_RENAME:
	case VERB_EXCHANGE:
	case VERB_WHITEOUT:
		error = move(op, &a, &b);
		break;
	default:
		error = make(op, &a);
	}
	put(b.dir);
put_a:
	put(a.dir);
	return error;
}

/* ---- bytes ----------------------------------------------------------------------------------- */

/* Bytes that no other operation writes. */
static const uint8_t *some_bytes(uint32_t count)
{
	static uint8_t bytes[BUFFER_BYTES];

	assert(count <= BUFFER_BYTES);
	for (uint32_t i = 0; i < count; i++)
		bytes[i] = (uint8_t)((uint64_t)bed.ticks * 131 + i * 7 + 1);
	return bytes;
}

static uint32_t length_of(const struct op *op, unsigned which)
{
	return op->number[which] % BYTES_MAX;
}

static uint64_t size_of(struct inode *ip)
{
	struct stat st;

	return core_getattr(bed.core, ip, &st, NULL) ? 0 : (uint64_t)st.st_size;
}

static int write_bytes(struct inode *ip, uint64_t offset, uint32_t count)
{
	ssize_t n = core_write(bed.core, ip, some_bytes(count), count, offset, &bed_cred);

	return n < 0 ? (int)n : (size_t)n == count ? 0 : -ENOSPC;
}

static int copy_to(const struct op *op, struct inode *in)
{
	struct inode *out;
	int error = find(op->path[1], &out);
	ssize_t n;

	if (error)
		return error;
	/* Of one piece of the source, to one of the target: copies are whole piece by piece. */
	uint64_t at = (size_of(out) + BLOCK_SIZE - 1) & ~(uint64_t)(BLOCK_SIZE - 1);
	n = core_copy_range(bed.core, in, 0, out, at, COPY_BYTES, &bed_cred);
	put(out);
	return n < 0 ? (int)n : 0;
}

/* Calls `visit` for the extents with blocks in the range. */
static int each_extent(struct inode *ip, uint64_t offset, uint64_t length,
	int (*visit)(const struct core_extent *e))
{
	struct core_extent extents[64];
	unsigned count;
	uint64_t next;
	int error = core_layout(bed.core, ip, offset, length, extents, 64, &count, &next);

	for (unsigned i = 0; !error && i < count; i++)
		if (extents[i].state != CORE_EXTENT_HOLE)
			error = visit(&extents[i]);
	return error;
}

static int hold_extent(const struct core_extent *e)
{
	int error;

	if (bed.hold_count == HOLDS_MAX)
		return -EMFILE;
	error = core_hold(bed.core, e->region, e->region_offset, e->length);
	if (!error)
		bed.holds[bed.hold_count++] = *e;
	return error;
}

static int release_all(void)
{
	int error = 0;

	while (!error && bed.hold_count > 0) {
		const struct core_extent *e = &bed.holds[--bed.hold_count];

		error = core_release(bed.core, e->region, e->region_offset, e->length);
	}
	return error;
}

/* What a lease holder does: stores of its own, that nobody is told of. */
static int store_extent(const struct core_extent *e)
{
	struct region *r = tables_region(bed.core, e->region)->region;

	if (e->state != CORE_EXTENT_WRITTEN)
		return 0;
	memcpy(region_data_at(r, e->region_offset, e->length), some_bytes((uint32_t)e->length),
		e->length);
	region_touched(r, e->region_offset, e->length);
	return 0;
}

static int commit_stores(struct inode *ip, const struct op *op)
{
	uint32_t length = length_of(op, 1) + 1;
	uint64_t offset = op->number[0] & ~(BLOCK_SIZE - 1), size = size_of(ip);
	int error = each_extent(ip, offset, length, store_extent);

	if (!error)
		error = core_commit_layout(bed.core, ip, offset, length,
			offset + length > size ? offset + length : size);
	return error;
}

static int change_space(struct inode *ip, const struct op *op)
{
	uint64_t offset = op->number[0], length = length_of(op, 1);

	switch (op->verb) {
	case VERB_ALLOCATE:
		return core_fallocate(bed.core, ip, 0, offset, length, &bed_cred);
	case VERB_RESERVE:
		return core_fallocate(bed.core, ip, FALLOC_FL_KEEP_SIZE, offset, length, &bed_cred);
	case VERB_PUNCH:
		return core_fallocate(bed.core, ip, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			offset, length, &bed_cred);
	case VERB_ZERO:
		return core_fallocate(
			bed.core, ip, FALLOC_FL_ZERO_RANGE, offset, length, &bed_cred);
	case VERB_PREPARE:
		return core_prepare_layout(bed.core, ip, offset, length, NULL);
	case VERB_HOLD:
		return each_extent(ip, offset & ~(BLOCK_SIZE - 1), length + 1, hold_extent);
	case VERB_COMMIT:
		return commit_stores(ip, op);
	default:
		return core_truncate(bed.core, ip, offset, &bed_cred);
	}
}

/* ---- attributes ------------------------------------------------------------------------------ */

static int set_acl(struct inode *ip, const struct op *op)
{
	/* Owner, one user, group, mask, others. */
	uint8_t acl[] = {2, 0, 0, 0, 1, 0, 7, 0, 255, 255, 255, 255, 2, 0, 5, 0, 9, 0, 0, 0, 4, 0,
		5, 0, 255, 255, 255, 255, 16, 0, 7, 0, 255, 255, 255, 255, 32, 0, 1, 0, 255, 255,
		255, 255};
	bool directory = op->number[0] % 2;

	acl[14] = op->number[0] % 8;
	return core_setxattr(bed.core, ip, directory ? ACL_XATTR_DEFAULT : ACL_XATTR_ACCESS, acl,
		sizeof(acl), 0, &bed_cred);
}

static int change_attributes(struct inode *ip, const struct op *op)
{
	struct core_setattr set = {.cred = &bed_cred};
	char name[16];

	switch (op->verb) {
	case VERB_CHMOD:
		set.valid = CORE_SET_MODE;
		set.mode = op->number[0] % 01000;
		return core_setattr(bed.core, ip, &set);
	case VERB_CHOWN:
		set.valid = CORE_SET_UID | CORE_SET_GID;
		set.uid = set.gid = op->number[0] % 100;
		return core_setattr(bed.core, ip, &set);
	case VERB_UTIMES:
		set.valid = CORE_SET_ATIME | CORE_SET_MTIME;
		set.atime.tv_sec = set.mtime.tv_sec = op->number[0];
		return core_setattr(bed.core, ip, &set);
	case VERB_SETACL:
		return set_acl(ip, op);
	default:
		break;
	}
	snprintf(name, sizeof(name), "user.x%u", op->number[0] % 4);
	if (op->verb == VERB_REMOVEXATTR)
		return core_removexattr(bed.core, ip, name);
	return core_setxattr(
		bed.core, ip, name, some_bytes(length_of(op, 1)), length_of(op, 1), 0, &bed_cred);
}

static int operate_on_file(const struct op *op)
{
	struct inode *ip;
	int error = find(op->path[0], &ip);

	if (error)
		return error;
	switch (op->verb) {
	case VERB_OPEN:
		return hold_inode(ip);
	case VERB_WRITE:
		error = write_bytes(ip, op->number[0], length_of(op, 1) + 1);
		break;
	case VERB_APPEND:
		error = write_bytes(ip, size_of(ip), length_of(op, 0) + 1);
		break;
	case VERB_COPY:
		error = copy_to(op, ip);
		break;
	case VERB_FSYNC:
		error = core_fsync(bed.core, ip, false);
		break;
	case VERB_CHMOD:
	case VERB_CHOWN:
	case VERB_UTIMES:
	case VERB_SETXATTR:
	case VERB_REMOVEXATTR:
	case VERB_SETACL:
		error = change_attributes(ip, op);
		break;
	default:
		error = change_space(ip, op);
	}
	put(ip);
	return error;
}

/* ---- the pool -------------------------------------------------------------------------------- */

static int close_held(void)
{
	while (bed.held_count > 0)
		put(bed.held[--bed.held_count]);
	bed.unnamed = NULL;
	return 0;
}

static int remount(void)
{
	int error, opened;

	close_held();
	error = bed_close();
	opened = bed_open(NULL);
	return error ? error : opened;
}

static int make_unnamed(void)
{
	struct inode *root, *ip;
	int error = core_get(bed.core, ROOT_INO, &root);

	if (error)
		return error;
	error = core_tmpfile(bed.core, root, S_IFREG | 0600, &bed_cred, &ip);
	put(root);
	if (error)
		return error;
	error = hold_inode(ip);
	if (error)
		return error;
	bed.unnamed = ip;
	return write_bytes(ip, 0, 5000);
}

int bed_operate(const struct op *op)
{
	switch (op->verb) {
	case VERB_CREATE:
	case VERB_MKDIR:
	case VERB_SYMLINK:
	case VERB_MKNOD:
	case VERB_UNLINK:
	case VERB_RMDIR:
	case VERB_LINK:
	case VERB_RENAME:
	case VERB_EXCHANGE:
	case VERB_WHITEOUT:
	case VERB_NAME:
		return operate_on_names(op);
	case VERB_TMPFILE:
		return make_unnamed();
	case VERB_CLOSE:
		return close_held();
	case VERB_RELEASE:
		return release_all();
	case VERB_SYNC:
		return core_sync(bed.core);
	case VERB_CHECKPOINT:
		return journal_checkpoint(bed.core->journal);
	case VERB_REMOUNT:
		return remount();
	default:
		return operate_on_file(op);
	}
}

bool bed_syncs(const struct op *op)
{
	return op->verb == VERB_FSYNC || op->verb == VERB_SYNC || op->verb == VERB_CHECKPOINT ||
	       op->verb == VERB_REMOUNT;
}

void bed_blur(const struct op *op, struct digest_blur *out)
{
	uint64_t start = op->number[0], size;
	struct inode *ip;

	*out = (struct digest_blur){0};
	if (op->verb != VERB_WRITE && op->verb != VERB_PUNCH && op->verb != VERB_ZERO &&
		op->verb != VERB_COMMIT)
		return;
	if (find(op->path[0], &ip))
		return;
	struct stat st = {0};
	(void)core_getattr(bed.core, ip, &st, NULL);
	size = S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0;
	uint64_t end = start + length_of(op, 1) + 1;
	if (op->verb == VERB_COMMIT) { /* the stores are of whole extents' parts */
		start &= ~(uint64_t)(BLOCK_SIZE - 1);
		end = (end + BLOCK_SIZE) & ~(uint64_t)(BLOCK_SIZE - 1);
	}
	if (end > size)
		end = size;
	if (start < end)
		*out = (struct digest_blur){.ino = core_ino(ip), .start = start, .end = end};
	put(ip);
}
