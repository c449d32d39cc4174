// SPDX-License-Identifier: BSD-2-Clause
/*
 * trees.c - files as any program uses them: names, sizes, bytes, holes, xattrs, links, mmap.
 *
 * The names are few, so what there is comes to a steady size; what fails because a name is there,
 * or is not, is as good as what succeeds.
 */
#include <errno.h>
#include <fcntl.h>
#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "soak.h"

#define DIRECTORIES 4u
#define FILES 24u
#define FILE_BYTES_MAX 393216u
#define PIECE_BYTES_MAX 65536u

struct place {
	char path[4300];
};

static struct place any_place(struct worker *w)
{
	struct place p;

	snprintf(p.path, sizeof(p.path), "%s/tree.%u/d.%u/f.%u", w->mount, w->number,
		(unsigned)(roll(w) % DIRECTORIES), (unsigned)(roll(w) % FILES));
	return p;
}

/* The tree's directories go and come like the rest. */
static int make_directories(struct worker *w)
{
	char path[4300];
	int result = 0;

	snprintf(path, sizeof(path), "%s/tree.%u", w->mount, w->number);
	(void)mkdir(path, 0777);
	for (unsigned i = 0; i < DIRECTORIES; i++) {
		snprintf(path, sizeof(path), "%s/tree.%u/d.%u", w->mount, w->number, i);
		result |= mkdir(path, 0777);
	}
	return result;
}

static int write_some(struct worker *w, const char *path)
{
	static char bytes[PIECE_BYTES_MAX];
	off_t at = (off_t)(roll(w) % FILE_BYTES_MAX);
	size_t n = (size_t)(1 + roll(w) % PIECE_BYTES_MAX);
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | (roll(w) % 8 ? 0 : O_TRUNC), 0666);
	int result = 0;

	if (fd < 0)
		return -1;
	memset(bytes, (int)roll(w), n);
	if (pwrite(fd, bytes, n, at) != (ssize_t)n)
		result = -1;
	else if (roll(w) % 8 == 0)
		result = roll(w) % 2 ? fsync(fd) : fdatasync(fd);
	close(fd);
	return result;
}

static int resize(struct worker *w, const char *path)
{
	off_t at = (off_t)(roll(w) % FILE_BYTES_MAX);
	int fd, result;

	if (roll(w) % 2)
		return truncate(path, at);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return -1;
	result = fallocate(fd, roll(w) % 2 ? 0 : FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at,
		(off_t)(1 + roll(w) % PIECE_BYTES_MAX));
	close(fd);
	return result;
}

/* Nobody else truncates this file: no store finds its page gone. */
static int map_some(struct worker *w, const char *path)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);
	struct stat st;
	char *memory;

	if (fd < 0)
		return -1;
	if (fstat(fd, &st) || st.st_size == 0) {
		close(fd);
		return 0;
	}
	memory = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (memory == MAP_FAILED)
		return -1;
	for (off_t at = (off_t)(roll(w) % 4096); at < st.st_size; at += 16384)
		memory[at]++;
	if (roll(w) % 2)
		(void)msync(memory, (size_t)st.st_size, MS_SYNC);
	return munmap(memory, (size_t)st.st_size);
}

static int name_some(struct worker *w, const char *path)
{
	struct place other = any_place(w);

	switch (roll(w) % 5) {
	case 0:
		return link(path, other.path);
	case 1:
		return symlink("nowhere", other.path);
	case 2:
		return unlink(path);
	default:
		return rename(path, other.path);
	}
}

static int mark_some(struct worker *w, const char *path)
{
	static char value[3000];
	char name[32];

	snprintf(name, sizeof(name), "user.%u", (unsigned)(roll(w) % 6));
	if (roll(w) % 3 == 0)
		return lremovexattr(path, name);
	return lsetxattr(path, name, value, (size_t)(roll(w) % sizeof(value)), 0);
}

static int list_some(struct worker *w)
{
	char path[4300];
	struct dirent *entry;
	struct stat st;
	DIR *d;

	snprintf(path, sizeof(path), "%s/tree.%u/d.%u", w->mount, w->number,
		(unsigned)(roll(w) % DIRECTORIES));
	if (roll(w) % 8 == 0)
		return rmdir(path);
	d = opendir(path);
	if (!d)
		return -1;
	while ((entry = readdir(d)))
		(void)fstatat(dirfd(d), entry->d_name, &st, AT_SYMLINK_NOFOLLOW);
	return closedir(d);
}

static int operate(struct worker *w, const char *path)
{
	switch (roll(w) % 12) {
	case 0:
		return resize(w, path);
	case 1:
		return map_some(w, path);
	case 2:
	case 3:
		return name_some(w, path);
	case 4:
		return mark_some(w, path);
	case 5:
		return list_some(w);
	case 6:
		return unlink(path);
	default:
		return write_some(w, path);
	}
}

void round_tree(struct worker *w)
{
	for (unsigned n = 0; n < 8; n++) {
		struct place p = any_place(w);

		note(w, COUNT_OPERATIONS, 1);
		if (operate(w, p.path) == 0)
			continue;
		switch (errno) {
		case ENOENT:
			(void)make_directories(w);
			break;
		case EEXIST:
		case ENOTEMPTY:
		case ENODATA:
		case ENOSPC: /* the xattrs of one inode have a limit */
		case EPERM:  /* user xattrs of a symlink */
		case ELOOP:
			break;
		default:
			wrong(w, "%s: %s", p.path, strerror(errno));
		}
	}
}
