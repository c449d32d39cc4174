// SPDX-License-Identifier: BSD-2-Clause
/*
 * target_mount.c - a mounted pool, through system calls.
 *
 * Parents are opened name by name without following symbolic links, so that a link in the middle
 * of a path is ENOTDIR here as it is in the model.
 */
#include "target_mount_impl.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

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

int open_parent(struct target *t, const char *path, const char **name)
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

int open_any(struct target *t, const char *path, int flags)
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

int open_file(struct target *t, const char *path, int flags)
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

static int64_t check_and_start(struct target *t)
{
	int r = mount_check(&t->mount);
	return r == 0 ? mount_start(&t->mount) : r;
}

/* With files held open, which close behind it. */
static int64_t crash(struct target *t)
{
	int r = mount_kill(&t->mount);
	close_slots(t);
	return r == 0 ? check_and_start(t) : r;
}

static int64_t remount(struct target *t)
{
	close_slots(t);
	int r = mount_stop(&t->mount);
	return r == 0 ? check_and_start(t) : r;
}

static int64_t close_slot(struct target *t, const struct op *op)
{
	if (t->slots[op->slot] < 0)
		return -EBADF;
	close(t->slots[op->slot]);
	t->slots[op->slot] = -1;
	return 0;
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
	.make = mount_target_make,
	.make_link = mount_target_make_link,
	.remove_name = mount_target_remove_name,
	.rename_name = mount_target_rename_name,
	.crowd = mount_target_crowd,
	.change_attributes = mount_target_change_attributes,
	.data = mount_target_data,
	.hold = hold,
	.close_slot = close_slot,
	.crash = crash,
	.remount = remount,
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
