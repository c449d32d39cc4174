// SPDX-License-Identifier: BSD-2-Clause
/* target_mount_change.c - a mounted pool: changes of names, attributes, data, by system calls. */
#include "target_mount_impl.h"

#include <assert.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sysmacros.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "model_data.h"

/* ---- names ----------------------------------------------------------------------------------- */

int64_t mount_target_make(struct target *t, const struct op *op)
{
	const char *name;
	char to[4096];
	int fd, r;
	int dir = open_parent(t, op->path, &name);
	if (dir < 0)
		return dir;
	switch (op->kind) {
	case OP_CREATE:
		fd = openat(dir, name, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, op->mode);
		r = fd < 0 ? -errno : result(close(fd));
		break;
	case OP_MKDIR:
		r = result(mkdirat(dir, name, op->mode));
		break;
	case OP_MKNOD:
		r = result(mknodat(dir, name, op->mode,
			S_ISCHR(op->mode) ? makedev(7, (unsigned)op->length) : 0));
		break;
	default:
		link_target(op->seed, op->length, to);
		r = result(symlinkat(to, dir, name));
	}
	close(dir);
	return r;
}

int64_t mount_target_make_link(struct target *t, const struct op *op)
{
	const char *name;
	char path[64];
	int fd = open_any(t, op->path, O_PATH);
	if (fd < 0)
		return fd;
	int dir = open_parent(t, op->path2, &name);
	if (dir < 0) {
		close(fd);
		return dir;
	}
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	int r = result(linkat(AT_FDCWD, path, dir, name, AT_SYMLINK_FOLLOW));
	close(dir);
	close(fd);
	return r;
}

int64_t mount_target_remove_name(struct target *t, const struct op *op)
{
	const char *name;
	int dir = open_parent(t, op->path, &name);
	if (dir < 0)
		return dir;
	int r = result(unlinkat(dir, name, op->kind == OP_RMDIR ? AT_REMOVEDIR : 0));
	close(dir);
	return r;
}

int64_t mount_target_rename_name(struct target *t, const struct op *op)
{
	const char *name, *to_name;
	int from = open_parent(t, op->path, &name);
	if (from < 0)
		return from;
	int to = open_parent(t, op->path2, &to_name);
	int r = to;
	if (to >= 0) {
		r = result((int)syscall(SYS_renameat2, from, name, to, to_name, op->mode));
		close(to);
	}
	close(from);
	return r;
}

int64_t mount_target_crowd(struct target *t, const struct op *op)
{
	char name[64];
	int dir = open_any(t, op->path, O_PATH);
	struct stat st;
	if (dir < 0)
		return dir;
	int r = result(fstat(dir, &st));
	if (r == 0 && !S_ISDIR(st.st_mode))
		r = -ENOTDIR;
	uint32_t i = 0;
	while (r == 0 && i < op->count) {
		fill_name(op->seed, i, name);
		if (op->kind == OP_FILL) {
			int fd = openat(dir, name, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644);
			r = fd < 0 ? -errno : result(close(fd));
		} else {
			r = result(unlinkat(dir, name, 0));
		}
		if (r == (op->kind == OP_FILL ? -EEXIST : -ENOENT) ||
			(op->kind == OP_DRAIN && r == -EISDIR))
			r = 0;
		i += r == 0;
	}
	close(dir);
	return i > 0 ? (int64_t)i : r;
}

/* ---- attributes ------------------------------------------------------------------------------ */

static int change_attribute(const char *path, const struct op *op, const struct stat *st)
{
	char name[64];
	if (!S_ISREG(st->st_mode) && !S_ISDIR(st->st_mode))
		return -EPERM;
	xattr_name(op->seed, name);
	if (op->kind == OP_DELXATTR)
		return result(removexattr(path, name));
	void *value = malloc(op->length + 1);
	assert(value != NULL);
	fill_bytes(value, op->length, op->seed2);
	int r = result(setxattr(path, name, value, op->length, (int)op->mode));
	free(value);
	return r;
}

int64_t mount_target_change_attributes(struct target *t, const struct op *op)
{
	struct stat st;
	char path[64];
	int fd = open_any(t, op->path, O_PATH);
	if (fd < 0)
		return fd;
	int r = result(fstat(fd, &st));
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (r == 0) {
		struct timespec times[2] = {
			{.tv_sec = (time_t)op->offset}, {.tv_sec = (time_t)op->offset}};
		switch (op->kind) {
		case OP_CHMOD:
			r = S_ISLNK(st.st_mode) ? -EOPNOTSUPP : result(chmod(path, op->mode));
			break;
		case OP_CHOWN:
			r = result(fchownat(fd, "", op->mode, op->count, AT_EMPTY_PATH));
			break;
		case OP_UTIMENS:
			r = result(utimensat(fd, "", times, AT_EMPTY_PATH));
			break;
		default:
			r = change_attribute(path, op, &st);
		}
	}
	close(fd);
	return r;
}

/* ---- data ------------------------------------------------------------------------------------ */

/* Through a shared mapping, as far as the file reaches: for a part of the writes. */
static bool store_mapped(int fd, const uint8_t *bytes, size_t count, uint64_t offset)
{
	struct stat st;
	if (count == 0 || fstat(fd, &st) < 0 || offset + count > (uint64_t)st.st_size)
		return false;
	uint64_t start = offset & ~4095ull;
	size_t length = (size_t)(offset + count - start);
	char *at = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)start);
	if (at == MAP_FAILED)
		return false;
	memcpy(at + (offset - start), bytes, count);
	int r = msync(at, length, MS_SYNC);
	munmap(at, length);
	return r == 0;
}

static int64_t store(const struct op *op, int fd)
{
	uint8_t *bytes = malloc(op->length + 1);
	size_t done = 0;
	int64_t r = 0;
	assert(bytes != NULL);
	fill_bytes(bytes, op->length, op->seed);
	while (done < op->length) {
		if (op->kind == OP_APPEND)
			r = write(fd, bytes + done, op->length - done);
		else
			r = pwrite(fd, bytes + done, op->length - done, (off_t)(op->offset + done));
		if (r <= 0) {
			r = r < 0 ? -errno : -EIO;
			break;
		}
		done += (size_t)r;
	}
	/* Once more through a mapping: what the kernel has cached must be what is there. */
	if (done == op->length && op->kind == OP_WRITE && op->seed % 4 == 0)
		store_mapped(fd, bytes, op->length, op->offset);
	free(bytes);
	return done > 0 ? (int64_t)done : r;
}

static int64_t comb(const struct op *op, int fd)
{
	uint8_t bytes[COMB_BYTES];
	for (uint32_t i = 0; i < op->count; i++) {
		fill_bytes(bytes, sizeof(bytes), op->seed + i);
		ssize_t r = pwrite(
			fd, bytes, sizeof(bytes), (off_t)(op->offset + (uint64_t)i * COMB_STRIDE));
		if (r < 0)
			return i > 0 ? (int64_t)i : -errno;
		if (r != (ssize_t)sizeof(bytes))
			return -EIO;
	}
	return op->count;
}

static int64_t copy(struct target *t, const struct op *op, int fd)
{
	off_t in = (off_t)op->offset, out = (off_t)op->offset2;
	uint64_t done = 0, length = op->length;
	struct stat st;
	if (fstat(fd, &st) < 0)
		return -errno;
	/* Of what is there now: a copy within one file makes it longer. */
	if (op->offset < (uint64_t)st.st_size && length > (uint64_t)st.st_size - op->offset)
		length = (uint64_t)st.st_size - op->offset;
	int to = open_file(t, op->path2, 0);
	if (to < 0)
		return to;
	int64_t n = 0;
	while (done < length) {
		n = copy_file_range(fd, &in, to, &out, length - done, 0);
		if (n < 0)
			n = -errno;
		if (n <= 0)
			break;
		done += (uint64_t)n;
	}
	close(to);
	return done > 0 ? (int64_t)done : n;
}

int64_t mount_target_data(struct target *t, const struct op *op, void *read_bytes)
{
	int64_t r;
	int fd = open_file(t, op->path, op->kind == OP_APPEND ? O_APPEND : 0);
	if (fd < 0)
		return fd;
	switch (op->kind) {
	case OP_WRITE:
	case OP_APPEND:
		r = store(op, fd);
		break;
	case OP_READ:
		r = pread(fd, read_bytes, op->length, (off_t)op->offset);
		if (r < 0)
			r = -errno;
		break;
	case OP_TRUNCATE:
		r = result(ftruncate(fd, (off_t)op->offset));
		break;
	case OP_FALLOC:
		r = result(fallocate(fd, (int)op->mode, (off_t)op->offset, (off_t)op->length));
		break;
	case OP_COMB:
		r = comb(op, fd);
		break;
	default:
		r = copy(t, op, fd);
	}
	close(fd);
	return r;
}
