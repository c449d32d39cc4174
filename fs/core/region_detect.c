// SPDX-License-Identifier: BSD-2-Clause
/*
 * region_detect.c - what a region stands on: the backend, its mapping unit and its size.
 *
 * Decided by the open descriptor, never by a path. A character device is a DAX device if its
 * sysfs subsystem is "dax"; its size and mapping unit stand there too. Whether a regular file is on
 * fsdax only the mapping tells (libpmem, MAP_SYNC): region.c corrects the media kind then.
 */
#include "region_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

/* Reads a number from /sys/dev/char/MAJOR:MINOR/attribute. */
static int dax_attribute(dev_t device, const char *attribute, uint64_t *out)
{
	char path[128], text[64], *end;
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/sys/dev/char/%u:%u/%s", major(device), minor(device),
		attribute);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (n <= 0)
		return -EIO;
	text[n] = '\0';
	errno = 0;
	uint64_t value = strtoull(text, &end, 0);
	if (errno || end == text)
		return -EIO;
	*out = value;
	return 0;
}

static bool is_dax_device(dev_t device)
{
	char path[128], target[PATH_MAX];
	ssize_t n;

	snprintf(path, sizeof(path), "/sys/dev/char/%u:%u/subsystem", major(device), minor(device));
	n = readlink(path, target, sizeof(target) - 1);
	if (n <= 0)
		return false;
	target[n] = '\0';
	const char *last = strrchr(target, '/');
	return strcmp(last ? last + 1 : target, "dax") == 0;
}

static int detect_device(struct region *r, const char *name, dev_t device, struct diag *d)
{
	uint64_t bytes, alignment;

	if (!is_dax_device(device))
		return diag_set(d, -EINVAL, "%s is a character device, but not a DAX device", name);
	if (dax_attribute(device, "size", &bytes))
		return diag_set(d, -EINVAL, "the size of %s cannot be read from sysfs", name);
	if (dax_attribute(device, "align", &alignment) &&
		dax_attribute(device, "device/align", &alignment))
		alignment = HUGE_SIZE;
	if (alignment > HUGE_SIZE)
		return diag_set(d, -EINVAL,
			"%s has a mapping unit of %" PRIu64
			" bytes; 2 MiB is the largest supported: "
			"reconfigure it with `daxctl reconfigure-device` or `ndctl --align=2M`",
			name, alignment);
	r->backend = BACKEND_DEVDAX;
	r->media = REGION_PMEM;
	r->alignment = HUGE_SIZE;
	r->bytes = bytes & ~(uint64_t)(HUGE_SIZE - 1);
	return 0;
}

int region_detect(struct region *r, const char *name, const struct stat *st, struct diag *d)
{
	struct statfs fs;

	if (S_ISCHR(st->st_mode))
		return detect_device(r, name, st->st_rdev, d);
	if (!S_ISREG(st->st_mode))
		return diag_set(d, -EINVAL, "%s is not a regular file or a DAX device", name);
	if (fstatfs(r->fd, &fs))
		return diag_set(d, -errno, "%s: statfs: %s", name, strerror(errno));
	r->bytes = (uint64_t)st->st_size;
	r->alignment = BLOCK_SIZE;
	switch ((unsigned long)fs.f_type) {
	case HUGETLBFS_MAGIC:
		if (fs.f_bsize != (long)HUGE_SIZE)
			return diag_set(d, -EINVAL,
				"%s is on hugetlbfs with pages of %ld bytes: mount it with "
				"-o pagesize=2M",
				name, (long)fs.f_bsize);
		r->backend = BACKEND_HUGETLBFS;
		r->media = REGION_VOLATILE;
		r->alignment = HUGE_SIZE;
		return 0;
	case TMPFS_MAGIC:
	case RAMFS_MAGIC:
		r->backend = BACKEND_TMPFS;
		r->media = REGION_VOLATILE;
		return 0;
	default:
		r->backend = BACKEND_FILE;
		r->media = REGION_PAGE_CACHE;
		return 0;
	}
}

const char *region_media_name(enum region_media media)
{
	static const char *const names[] = {
		[REGION_PMEM] = "pmem",
		[REGION_VOLATILE] = "volatile",
		[REGION_PAGE_CACHE] = "page cache",
	};
	return names[media];
}

const char *region_backend_name(enum region_backend backend)
{
	static const char *const names[] = {
		[BACKEND_FILE] = "file",
		[BACKEND_TMPFS] = "tmpfs",
		[BACKEND_HUGETLBFS] = "hugetlbfs",
		[BACKEND_FSDAX] = "fsdax",
		[BACKEND_DEVDAX] = "devdax",
	};
	return names[backend];
}

const char *region_promise(enum region_media media, enum durability durability)
{
	switch (media) {
	case REGION_PMEM:
		return "a daemon crash loses nothing, a power loss nothing that was acknowledged";
	case REGION_VOLATILE:
		return "a daemon crash loses nothing, a power loss everything";
	case REGION_PAGE_CACHE:
		break;
	}
	if (durability == DURABILITY_STRICT)
		return "a daemon crash loses nothing, a power loss nothing that was acknowledged";
	return "a daemon crash loses nothing, a power loss goes back to the last sync (fsync, or "
	       "every 5 s)";
}
