// SPDX-License-Identifier: BSD-2-Clause
/*
 * fuzz_pool.c - pool images: a mount's recovery and reading, and the checker, on damaged metadata
 * and a damaged tag of the data region.
 *
 * An input is a list of changes to the metadata of a pool that has something of everything:
 *
 *     1 byte   bit 7: leave the checksum wrong; else the object's is made good again, so that what
 *              looks at the field is tried, and not only the checksum
 *              bit 6: the object is the tag, whichever is named
 *              bits 0 to 2: how many bytes follow as the new value, less one
 *     2 bytes  which object
 *     2 bytes  where in it
 *     value
 *
 * Then: opened as by a mount, everything read, some of it changed, checked with repair; after a
 * check that leaves nothing the pool must be clean for the next one. If its region is refused, the
 * checker must be able to take it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "format.h"
#include "tx.h"
#include "target.h"
#include "verify.h"
#include "verify_pool.h"

#define OBJECTS_MAX 8192u
#define CHANGES_MAX 8u
#define INODES_READ 400u

static struct scratch_pool pool;
static uint8_t *good; /* the metadata of the pool, closed in good order */
static uint64_t meta_bytes;
static int meta_fd, data_fd;
static uint64_t data_bytes; /* where the tag begins */
static struct media_tag good_tag;
static struct {
	uint64_t offset;
	size_t bytes;
} objects[OBJECTS_MAX];
static size_t object_count;

static void find_objects(void)
{
	for (uint64_t at = 0; at + INODE_SIZE <= meta_bytes && object_count < OBJECTS_MAX;
		at += INODE_SIZE) {
		const struct media_head *head = (const void *)(good + at);
		size_t size = object_bytes(head->magic);

		if (size == 0 || at % size || at + size > meta_bytes ||
			object_checksum(good + at, size, at) != head->checksum)
			continue;
		objects[object_count].offset = at;
		objects[object_count++].bytes = size;
	}
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	char path[600];

	verify_pool_make(&pool);
	meta_bytes = pool.c->super.meta_bytes;
	data_bytes = pool.c->super.pool_bytes;
	MUST(core_close(pool.c) == 0);
	snprintf(path, sizeof(path), "%s/meta", pool.path);
	meta_fd = open(path, O_RDWR | O_CLOEXEC);
	snprintf(path, sizeof(path), "%s/data.0", pool.path);
	data_fd = open(path, O_RDWR | O_CLOEXEC);
	MUST(data_fd >= 0);
	MUST(pread(data_fd, &good_tag, sizeof(good_tag), (off_t)data_bytes) == BLOCK_SIZE);
	good = malloc(meta_bytes);
	MUST(meta_fd >= 0 && good);
	MUST(pread(meta_fd, good, meta_bytes, 0) == (ssize_t)meta_bytes);
	find_objects();
	MUST(object_count > 400);
	return 0;
}

/* ---- the image ------------------------------------------------------------------------------- */

static void put(uint64_t offset, const void *bytes, size_t count)
{
	MUST(pwrite(meta_fd, bytes, count, (off_t)offset) == (ssize_t)count);
}

static void put_tag(const struct media_tag *tag)
{
	MUST(pwrite(data_fd, tag, sizeof(*tag), (off_t)data_bytes) == BLOCK_SIZE);
}

/* Writes back what an input has changed: blocks that differ; and the tag, that each opening stamps.
 */
static void restore(void)
{
	uint8_t *now = mmap(NULL, meta_bytes, PROT_READ, MAP_SHARED, meta_fd, 0);

	MUST(now != MAP_FAILED);
	for (uint64_t at = 0; at < meta_bytes; at += BLOCK_SIZE)
		if (memcmp(now + at, good + at, BLOCK_SIZE))
			put(at, good + at, BLOCK_SIZE);
	munmap(now, meta_bytes);
	put_tag(&good_tag);
}

static void change_tag(const uint8_t *data, size_t width)
{
	const size_t covered = offsetof(struct media_tag, stamp);
	size_t at = (data[3] | (size_t)data[4] << 8) % (covered + sizeof(uint64_t) - width);
	struct media_tag tag = good_tag;

	memcpy((uint8_t *)&tag + at, data + 5, width);
	if (!(data[0] & 0x80)) {
		tag.head.checksum = 0;
		tag.head.checksum = XXH3_64bits_withSeed(&tag, covered, data_bytes);
	}
	put_tag(&tag);
}

/* Applies the change that begins at `data`; returns how long it was, 0: no more. */
static size_t apply(const uint8_t *data, size_t size)
{
	size_t width, object, at;
	uint8_t copy[BLOCK_SIZE];
	struct media_head *head = (void *)copy;

	if (size < 5)
		return 0;
	width = (data[0] & 7u) + 1;
	if (size < 5 + width)
		return 0;
	if (data[0] & 0x40) {
		change_tag(data, width);
		return 5 + width;
	}
	object = (data[1] | (size_t)data[2] << 8) % object_count;
	at = (data[3] | (size_t)data[4] << 8) % (objects[object].bytes - width);
	memcpy(copy, good + objects[object].offset, objects[object].bytes);
	memcpy(copy + at, data + 5, width);
	if (!(data[0] & 0x80))
		head->checksum =
			object_checksum(copy, objects[object].bytes, objects[object].offset);
	put(objects[object].offset, copy, objects[object].bytes);
	return 5 + width;
}

/* ---- what a mount does ----------------------------------------------------------------------- */

static int skip_entry(void *context, const struct core_dirent *entry)
{
	return 0;
}

/* Errors are none of our business; that each call comes back is. */
static void read_inode(struct core *c, struct inode *ip)
{
	static uint8_t bytes[70000];
	struct core_extent extents[16];
	struct inode *found;
	struct stat st;

	if (core_getattr(c, ip, &st, NULL) == 0 && S_ISREG(st.st_mode)) {
		uint64_t next;
		unsigned count;

		(void)core_read(c, ip, bytes, sizeof(bytes), 0);
		(void)core_seek(c, ip, 0, SEEK_DATA);
		(void)core_layout(c, ip, 0, 1u << 30, extents, 16, &count, &next);
	}
	(void)core_readdir(c, ip, 0, skip_entry, NULL);
	if (core_lookup(c, ip, "small", &found) == 0)
		core_put(c, found, 1);
	(void)core_readlink(c, ip, (char *)bytes, 4096);
	(void)core_listxattr(c, ip, (char *)bytes, sizeof(bytes));
	(void)core_getxattr(c, ip, "user.attribute-3", bytes, sizeof(bytes));
}

static void change_inode(struct core *c, struct inode *ip)
{
	static const struct core_cred cred = {.fsetid = true};
	uint8_t bytes[3000] = {1};
	struct inode *made;

	(void)core_write(c, ip, bytes, sizeof(bytes), 9000, &cred);
	(void)core_truncate(c, ip, 5000, &cred);
	(void)core_setxattr(c, ip, "user.attribute-9", bytes, 2000, 0, &cred);
	(void)core_removexattr(c, ip, "user.attribute-3");
	if (core_create(c, ip, "new", S_IFREG | 0600, 0, &cred, &made) == 0)
		core_put(c, made, 1);
	(void)core_unlink(c, ip, "small", NULL);
	(void)core_unlink(c, ip, "a-name-of-some-length-7", NULL);
}

static void use(struct core *c, bool change)
{
	for (uint64_t ino = 1; ino < INODES_READ; ino++) {
		struct inode *ip;

		if (core_get(c, ino, &ip) != 0)
			continue;
		read_inode(c, ip);
		if (change && ino < 30)
			change_inode(c, ip);
		core_put(c, ip, 1);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct verify_options repair = {.repair = true};
	struct core_options options = {.pool = pool.path};
	struct verify_report report = {0};
	struct core *c;
	struct diag d;
	bool change = size % 3 == 0;
	size_t used;
	int error;

	for (unsigned i = 0; i < CHANGES_MAX && (used = apply(data, size)) > 0; i++) {
		data += used;
		size -= used;
	}
	error = core_open(&options, &c, &d);
	if (error == -EUCLEAN && verify_rescue(&options, &repair, &report, &d) == 0)
		error = core_open(&options, &c, &d);
	if (error == -EMEDIUMTYPE) {
		MUST(d.text[0] != '\0');
		options.accept_regions = true;
		error = core_open(&options, &c, &d);
	}
	if (error == 0) {
		use(c, change);
		MUST(verify_core(c, &repair, &report) == 0);
		if (report.left == 0) {
			MUST(verify_core(c, &(struct verify_options){0}, &report) == 0);
			MUST(report.found == 0);
		}
		MUST(core_close(c) == 0);
	} else {
		MUST(d.text[0] != '\0');
	}
	restore();
	return 0;
}
