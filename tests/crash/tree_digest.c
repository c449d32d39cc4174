// SPDX-License-Identifier: BSD-2-Clause
/*
 * tree_digest.c - see tree_digest.h. The digest of a directory is the sum of its entries': their
 * order is of no account.
 */
#include "tree_digest.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "format.h"

#define DEPTH_MAX 32u
#define READ_BYTES 65536u

struct digesting {
	struct core *core;
	const struct digest_blur *blur;
	FILE *log;
};

struct directory {
	const struct digesting *all;
	struct inode *ip;
	unsigned depth;
	uint64_t sum;
	int error;
};

static int digest_inode(
	const struct digesting *all, struct inode *ip, unsigned depth, uint64_t *digest);

static void mix(uint64_t *digest, const void *bytes, size_t count)
{
	*digest = XXH3_64bits_withSeed(bytes, count, *digest);
}

static int digest_entry(void *context, const struct core_dirent *e)
{
	struct directory *dir = context;
	struct core *c = dir->all->core;
	uint64_t digest = 0;
	struct inode *ip;

	mix(&digest, e->name, strlen(e->name));
	mix(&digest, &e->ino, sizeof(e->ino));
	mix(&digest, &e->type, sizeof(e->type));
	if (strcmp(e->name, ".") && strcmp(e->name, "..")) {
		dir->error = core_lookup(c, dir->ip, e->name, &ip);
		if (dir->error)
			return 1;
		if (dir->all->log)
			fprintf(dir->all->log, "%*s%s", (int)dir->depth * 2, "", e->name);
		dir->error = core_ino(ip) == e->ino
				     ? digest_inode(dir->all, ip, dir->depth + 1, &digest)
				     : -EUCLEAN;
		core_put(c, ip, 1);
	}
	dir->sum += digest;
	return dir->error ? 1 : 0;
}

static int digest_entries(
	const struct digesting *all, struct inode *ip, unsigned depth, uint64_t *digest)
{
	struct directory dir = {.all = all, .ip = ip, .depth = depth};
	int error = core_readdir(all->core, ip, 0, digest_entry, &dir);

	mix(digest, &dir.sum, sizeof(dir.sum));
	return error ? error : dir.error;
}

/* Zeroes where [start, end) meets the `count` bytes of the file that stand in `buffer`. */
static void blur_bytes(
	const struct digest_blur *blur, uint8_t *buffer, uint64_t offset, uint64_t count)
{
	uint64_t from = blur->start > offset ? blur->start : offset;
	uint64_t to = blur->end < offset + count ? blur->end : offset + count;

	if (from < to)
		memset(buffer + (from - offset), 0, to - from);
}

static int digest_bytes(const struct digesting *all, struct inode *ip, uint64_t *digest)
{
	static _Thread_local uint8_t buffer[READ_BYTES];
	uint64_t offset = 0;
	ssize_t n;

	while ((n = core_read(all->core, ip, buffer, sizeof(buffer), offset)) > 0) {
		if (all->blur && all->blur->ino == core_ino(ip))
			blur_bytes(all->blur, buffer, offset, (uint64_t)n);
		mix(digest, buffer, (size_t)n);
		offset += (uint64_t)n;
	}
	return (int)n;
}

static int digest_xattrs(struct core *c, struct inode *ip, uint64_t *digest)
{
	static _Thread_local char list[READ_BYTES], value[READ_BYTES];
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
	const struct digesting *all, struct inode *ip, unsigned depth, uint64_t *digest)
{
	char target[SYMLINK_BYTES_MAX];
	struct timespec btime;
	struct stat st;
	int error;

	if (depth > DEPTH_MAX)
		return -ELOOP;
	error = core_getattr(all->core, ip, &st, &btime);
	if (error)
		return error;
	const uint64_t fields[] = {st.st_ino, st.st_mode, st.st_nlink, st.st_uid, st.st_gid,
		(uint64_t)st.st_size, (uint64_t)st.st_blocks, st.st_rdev,
		(uint64_t)st.st_mtim.tv_sec, (uint64_t)st.st_mtim.tv_nsec,
		(uint64_t)st.st_ctim.tv_sec, (uint64_t)st.st_ctim.tv_nsec, (uint64_t)btime.tv_sec,
		core_generation(ip)};
	mix(digest, fields, sizeof(fields));
	error = digest_xattrs(all->core, ip, digest);
	if (error)
		return error;
	if (S_ISREG(st.st_mode))
		error = digest_bytes(all, ip, digest);
	if (S_ISLNK(st.st_mode)) {
		ssize_t n = core_readlink(all->core, ip, target, sizeof(target));

		if (n < 0)
			return (int)n;
		mix(digest, target, (size_t)n);
	}
	if (all->log)
		fprintf(all->log,
			" ino %lu mode %o nlink %lu size %ld blocks %ld mtime %ld.%ld ctime "
			"%ld.%ld: %016lx\n",
			(unsigned long)st.st_ino, st.st_mode, (unsigned long)st.st_nlink,
			(long)st.st_size, (long)st.st_blocks, (long)st.st_mtim.tv_sec,
			st.st_mtim.tv_nsec, (long)st.st_ctim.tv_sec, st.st_ctim.tv_nsec,
			(unsigned long)*digest);
	if (!error && S_ISDIR(st.st_mode))
		error = digest_entries(all, ip, depth, digest);
	return error;
}

int tree_digest(struct core *c, const struct digest_blur *blur, FILE *log, uint64_t *out)
{
	const struct digesting all = {.core = c, .blur = blur, .log = log};
	uint64_t digest = 0;
	struct inode *root;
	int error = core_get(c, ROOT_INO, &root);

	if (error)
		return error;
	error = digest_inode(&all, root, 0, &digest);
	core_put(c, root, 1);
	if (!error)
		*out = digest;
	return error;
}
