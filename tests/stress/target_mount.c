// SPDX-License-Identifier: BSD-2-Clause
/*
 * target_mount.c - a mounted pool, through system calls.
 *
 * Parents are opened name by name without following symbolic links, so that a link in the middle
 * of a path is ENOTDIR here as it is in the model.
 */
#include "target_mount.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "model_data.h"

struct target {
	struct mount mount;
	int slots[SLOTS];
};

static struct target *mount_target_open(const struct target_options *options)
{
	struct target *t = calloc(1, sizeof(*t));
	assert(t != NULL);
	t->mount.options = *options;
	snprintf(t->mount.pool, sizeof(t->mount.pool), "%s/pool", options->directory);
	snprintf(t->mount.point, sizeof(t->mount.point), "%s/mnt", options->directory);
	for (int i = 0; i < SLOTS; i++)
		t->slots[i] = -1;
	if ((mkdir(t->mount.point, 0700) < 0 && errno != EEXIST) || mount_format(&t->mount) < 0 ||
		mount_start(&t->mount) < 0) {
		free(t);
		return NULL;
	}
	return t;
}

/* ---- paths ----------------------------------------------------------------------------------- */

/* An O_PATH descriptor of the parent, and the last name. */
static int open_parent(struct target *t, const char *path, const char **name)
{
	if (path[0] == '\0' || path[0] == '@')
		return -EINVAL;
	int at = open(t->mount.point, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (at < 0)
		return -errno;
	for (;;) {
		char part[PATH_BYTES * 4];
		const char *slash = strchr(path, '/');
		if (!slash)
			break;
		memcpy(part, path, (size_t)(slash - path));
		part[slash - path] = '\0';
		int next = openat(at, part, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		int error = -errno;
		close(at);
		if (next < 0)
			return error;
		at = next;
		path = slash + 1;
	}
	if (strlen(path) > 255) {
		close(at);
		return -ENAMETOOLONG;
	}
	*name = path;
	return at;
}

static int slot_fd(struct target *t, const char *path)
{
	unsigned slot = (unsigned)(path[1] - '0');
	return slot < SLOTS && t->slots[slot] >= 0 ? t->slots[slot] : -EBADF;
}

static int open_any(struct target *t, const char *path, int flags)
{
	const char *name;
	if (path[0] == '@') {
		int fd = slot_fd(t, path);
		if (fd < 0)
			return fd;
		int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
		return copy < 0 ? -errno : copy;
	}
	if (path[0] == '\0') {
		int fd = open(t->mount.point, flags | O_CLOEXEC);
		return fd < 0 ? -errno : fd;
	}
	int dir = open_parent(t, path, &name);
	if (dir < 0)
		return dir;
	int fd = openat(dir, name, flags | O_NOFOLLOW | O_CLOEXEC);
	int error = -errno;
	close(dir);
	return fd < 0 ? error : fd;
}

/* A descriptor for reading and writing a regular file; -EINVAL for anything else. */
static int open_file(struct target *t, const char *path, int flags)
{
	struct stat st;
	char link[64];
	int at = open_any(t, path, O_PATH);
	if (at < 0)
		return at;
	if (fstat(at, &st) < 0 || !S_ISREG(st.st_mode)) {
		close(at);
		return -EINVAL;
	}
	snprintf(link, sizeof(link), "/proc/self/fd/%d", at);
	int fd = open(link, O_RDWR | O_CLOEXEC | flags);
	int error = -errno;
	close(at);
	return fd < 0 ? error : fd;
}

static int result(int r)
{
	return r < 0 ? -errno : 0;
}

/* ---- names ----------------------------------------------------------------------------------- */

static int64_t make(struct target *t, const struct op *op)
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

static int64_t make_link(struct target *t, const struct op *op)
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

static int64_t remove_name(struct target *t, const struct op *op)
{
	const char *name;
	int dir = open_parent(t, op->path, &name);
	if (dir < 0)
		return dir;
	int r = result(unlinkat(dir, name, op->kind == OP_RMDIR ? AT_REMOVEDIR : 0));
	close(dir);
	return r;
}

static int64_t rename_name(struct target *t, const struct op *op)
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

static int64_t crowd(struct target *t, const struct op *op)
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

static int64_t change_attributes(struct target *t, const struct op *op)
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

static int64_t data(struct target *t, const struct op *op, void *read_bytes)
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

/* ---- slots, life ----------------------------------------------------------------------------- */

static int64_t hold(struct target *t, const struct op *op)
{
	int fd;
	if (t->slots[op->slot] >= 0)
		return -EBUSY;
	if (op->kind == OP_OPEN) {
		fd = open_file(t, op->path, 0);
	} else {
		int dir = open_any(t, op->path, O_RDONLY | O_DIRECTORY);
		if (dir < 0)
			return dir;
		fd = openat(dir, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, op->mode);
		fd = fd < 0 ? -errno : fd;
		close(dir);
	}
	if (fd < 0)
		return fd;
	t->slots[op->slot] = fd;
	return 0;
}

static void close_slots(struct target *t)
{
	for (int i = 0; i < SLOTS; i++) {
		if (t->slots[i] >= 0)
			close(t->slots[i]);
		t->slots[i] = -1;
	}
}

static int64_t restart(struct target *t, bool kill_it)
{
	int r;
	if (!kill_it)
		close_slots(t);
	r = kill_it ? mount_kill(&t->mount) : mount_stop(&t->mount);
	if (kill_it)
		close_slots(t);
	if (r == 0)
		r = mount_check(&t->mount);
	return r == 0 ? mount_start(&t->mount) : r;
}

static int64_t mount_target_run(struct target *t, const struct op *op, void *read_bytes)
{
	switch (op->kind) {
	case OP_CREATE:
	case OP_MKDIR:
	case OP_MKNOD:
	case OP_SYMLINK:
		return make(t, op);
	case OP_LINK:
		return make_link(t, op);
	case OP_UNLINK:
	case OP_RMDIR:
		return remove_name(t, op);
	case OP_RENAME:
		return rename_name(t, op);
	case OP_FILL:
	case OP_DRAIN:
		return crowd(t, op);
	case OP_SETXATTR:
	case OP_DELXATTR:
	case OP_CHMOD:
	case OP_CHOWN:
	case OP_UTIMENS:
		return change_attributes(t, op);
	case OP_OPEN:
	case OP_TMPFILE:
		return hold(t, op);
	case OP_CLOSE:
		if (t->slots[op->slot] < 0)
			return -EBADF;
		close(t->slots[op->slot]);
		t->slots[op->slot] = -1;
		return 0;
	case OP_CRASH:
		return restart(t, true);
	case OP_REMOUNT:
		return restart(t, false);
	case OP_COMPARE:
		return 0;
	default:
		return data(t, op, read_bytes);
	}
}

/* ---- looking --------------------------------------------------------------------------------- */

/* The path as a string: comparisons walk the model, which has no links on the way. */
static int whole_path(struct target *t, const char *path, char out[8192])
{
	if (path[0] == '@') {
		int fd = slot_fd(t, path);
		if (fd < 0)
			return fd;
		snprintf(out, 8192, "/proc/self/fd/%d", fd);
		return 1;
	}
	snprintf(out, 8192, "%s%s%s", t->mount.point, path[0] ? "/" : "", path);
	return 0;
}

static int mount_target_stat(struct target *t, const char *path, struct stat *out)
{
	char whole[8192];
	int r = whole_path(t, path, whole);
	if (r < 0)
		return r;
	return result(r ? stat(whole, out) : lstat(whole, out));
}

static int mount_target_list(struct target *t, const char *path,
	int (*emit)(void *context, const char *name, uint64_t ino, uint8_t type), void *context)
{
	char whole[8192];
	int r = whole_path(t, path, whole);
	if (r < 0)
		return r;
	DIR *dir = opendir(whole);
	if (!dir)
		return -errno;
	struct dirent *e;
	errno = 0;
	while ((e = readdir(dir)) != NULL && r == 0)
		r = emit(context, e->d_name, e->d_ino, e->d_type);
	r = e ? r : -errno;
	closedir(dir);
	return r;
}

static int open_whole(struct target *t, const char *path)
{
	char whole[8192];
	int r = whole_path(t, path, whole);
	if (r < 0)
		return r;
	int fd = open(whole, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static ssize_t mount_target_read(
	struct target *t, const char *path, void *out, size_t n, uint64_t offset)
{
	int fd = open_whole(t, path);
	if (fd < 0)
		return fd;
	ssize_t r = pread(fd, out, n, (off_t)offset);
	if (r < 0)
		r = -errno;
	close(fd);
	return r;
}

static int64_t mount_target_seek(struct target *t, const char *path, uint64_t offset, int whence)
{
	int fd = open_whole(t, path);
	if (fd < 0)
		return fd;
	int64_t r = lseek(fd, (off_t)offset, whence);
	if (r < 0)
		r = -errno;
	close(fd);
	return r;
}

static ssize_t mount_target_readlink(struct target *t, const char *path, char *out, size_t n)
{
	char whole[8192];
	ssize_t r = whole_path(t, path, whole);
	if (r < 0)
		return r;
	r = readlink(whole, out, n);
	return r < 0 ? -errno : r;
}

static ssize_t mount_target_listxattr(struct target *t, const char *path, char *out, size_t n)
{
	char whole[8192];
	ssize_t r = whole_path(t, path, whole);
	if (r < 0)
		return r;
	r = listxattr(whole, out, n);
	return r < 0 ? -errno : r;
}

static ssize_t mount_target_getxattr(
	struct target *t, const char *path, const char *name, void *out, size_t n)
{
	char whole[8192];
	ssize_t r = whole_path(t, path, whole);
	if (r < 0)
		return r;
	r = getxattr(whole, name, out, n);
	return r < 0 ? -errno : r;
}

static int mount_target_space(struct target *t, struct target_space *out)
{
	struct statvfs fs;
	if (statvfs(t->mount.point, &fs) < 0)
		return -errno;
	out->data_free = (uint64_t)fs.f_bfree * fs.f_frsize;
	/* Inodes are counted by what the heap could still hold. */
	out->meta_free = (uint64_t)fs.f_ffree * 256;
	return 0;
}

static int mount_target_verify(struct target *t)
{
	(void)t; /* the checker wants the pool for itself: at remounts and at the end */
	return 0;
}

static int mount_target_close(struct target *t)
{
	close_slots(t);
	int r = mount_stop(&t->mount);
	if (r == 0)
		r = mount_check(&t->mount);
	free(t);
	return r;
}

static void mount_target_clean_up(const struct target_options *options)
{
	char path[4200];
	snprintf(path, sizeof(path), "%s/mnt", options->directory);
	mount_detach(path);
}

const struct target_kind target_mount = {
	.name = "mount",
	.open = mount_target_open,
	.run = mount_target_run,
	.stat = mount_target_stat,
	.list = mount_target_list,
	.read = mount_target_read,
	.seek = mount_target_seek,
	.readlink = mount_target_readlink,
	.listxattr = mount_target_listxattr,
	.getxattr = mount_target_getxattr,
	.space = mount_target_space,
	.verify = mount_target_verify,
	.close = mount_target_close,
	.clean_up = mount_target_clean_up,
};
