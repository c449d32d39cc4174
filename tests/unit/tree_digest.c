// SPDX-License-Identifier: BSD-2-Clause
/*
 * tree_digest.c - see tree_digest.h.
 */
#include "tree_digest.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "format.h"

#define ENTRIES_MAX 1024u
#define DEPTH_MAX 32u

struct entries {
	struct core_dirent entry[ENTRIES_MAX];
	unsigned count;
};

static int digest_inode(
	struct core *c, struct inode *ip, unsigned depth, bool log, uint64_t *digest);

static void mix(uint64_t *digest, const void *bytes, size_t count)
{
	*digest = XXH3_64bits_withSeed(bytes, count, *digest);
}

static int collect(void *context, const struct core_dirent *entry)
{
	struct entries *list = context;

	if (list->count == ENTRIES_MAX)
		return 1;
	list->entry[list->count++] = *entry;
	return 0;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct core_dirent *)a)->name, ((const struct core_dirent *)b)->name);
}

static int digest_entries(
	struct core *c, struct inode *dir, unsigned depth, bool log, uint64_t *digest)
{
	struct entries *list = calloc(1, sizeof(*list));
	int error;

	if (!list)
		return -ENOMEM;
	error = core_readdir(c, dir, 0, collect, list);
	qsort(list->entry, list->count, sizeof(list->entry[0]), by_name);
	for (unsigned i = 0; i < list->count && !error; i++) {
		struct core_dirent *e = &list->entry[i];
		struct inode *ip;

		mix(digest, e->name, strlen(e->name));
		mix(digest, &e->ino, sizeof(e->ino));
		mix(digest, &e->type, sizeof(e->type));
		if (strcmp(e->name, ".") == 0 || strcmp(e->name, "..") == 0)
			continue;
		error = core_lookup(c, dir, e->name, &ip);
		if (error)
			break;
		if (log)
			printf("%*s%s", (int)depth * 2, "", e->name);
		error = core_ino(ip) == e->ino ? digest_inode(c, ip, depth + 1, log, digest)
					       : -EUCLEAN;
		core_put(c, ip, 1);
	}
	free(list);
	return error;
}

static int digest_bytes(struct core *c, struct inode *ip, uint64_t *digest)
{
	static uint8_t buffer[65536];
	uint64_t offset = 0;
	ssize_t n;

	while ((n = core_read(c, ip, buffer, sizeof(buffer), offset)) > 0) {
		mix(digest, buffer, (size_t)n);
		offset += (uint64_t)n;
	}
	return (int)n;
}

static int digest_xattrs(struct core *c, struct inode *ip, uint64_t *digest)
{
	static char list[65536], value[65536];
	uint64_t sum = 0;
	ssize_t bytes = core_listxattr(c, ip, list, sizeof(list));

	if (bytes < 0)
		return (int)bytes;
	for (char *name = list; name < list + bytes; name += strlen(name) + 1) {
		ssize_t n = core_getxattr(c, ip, name, value, sizeof(value));
		uint64_t one = 0;

		if (n < 0)
			return (int)n;
		mix(&one, name, strlen(name));
		mix(&one, value, (size_t)n);
		sum += one; /* in whatever order they come */
	}
	mix(digest, &sum, sizeof(sum));
	return 0;
}

static int digest_inode(
	struct core *c, struct inode *ip, unsigned depth, bool log, uint64_t *digest)
{
	char target[SYMLINK_BYTES_MAX];
	struct timespec btime;
	struct stat st;
	int error;

	if (depth > DEPTH_MAX)
		return -ELOOP;
	error = core_getattr(c, ip, &st, &btime);
	if (error)
		return error;
	const uint64_t fields[] = {st.st_ino, st.st_mode, st.st_nlink, st.st_uid, st.st_gid,
		(uint64_t)st.st_size, (uint64_t)st.st_blocks, st.st_rdev,
		(uint64_t)st.st_mtim.tv_sec, (uint64_t)st.st_mtim.tv_nsec,
		(uint64_t)st.st_ctim.tv_sec, (uint64_t)st.st_ctim.tv_nsec, (uint64_t)btime.tv_sec,
		core_generation(ip)};
	mix(digest, fields, sizeof(fields));
	error = digest_xattrs(c, ip, digest);
	if (error)
		return error;
	if (S_ISREG(st.st_mode))
		error = digest_bytes(c, ip, digest);
	if (S_ISLNK(st.st_mode)) {
		ssize_t n = core_readlink(c, ip, target, sizeof(target));

		if (n < 0)
			return (int)n;
		mix(digest, target, (size_t)n);
	}
	if (log)
		printf(" ino %lu mode %o nlink %lu size %ld blocks %ld ctime %ld.%ld: %016lx\n",
			(unsigned long)st.st_ino, st.st_mode, (unsigned long)st.st_nlink,
			(long)st.st_size, (long)st.st_blocks, (long)st.st_ctim.tv_sec,
			st.st_ctim.tv_nsec, (unsigned long)*digest);
	if (!error && S_ISDIR(st.st_mode))
		error = digest_entries(c, ip, depth, log, digest);
	return error;
}

int tree_digest(struct core *c, bool log, uint64_t *out)
{
	uint64_t digest = 0;
	struct inode *root;
	int error = core_get(c, ROOT_INO, &root);

	if (error)
		return error;
	error = digest_inode(c, root, 0, log, &digest);
	core_put(c, root, 1);
	if (!error)
		*out = digest;
	return error;
}
