// SPDX-License-Identifier: BSD-2-Clause
/*
 * media.c - see media.h.
 */
#include "media.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <libpmem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "core.h"
#include "scratch.h"

#define DISK_MAGIC 0xef53 /* ext4: any filesystem that is no tmpfs */

const char *const media_names[MEDIA_KINDS] = {
	[MEDIA_PMEM] = "pmem",
	[MEDIA_STRICT] = "strict",
	[MEDIA_RELAXED] = "relaxed",
};

static const char *const names[MEDIA_REGIONS] = {"meta", "data.0"};
static const uint64_t sizes[MEDIA_REGIONS] = {MEDIA_META_BYTES, MEDIA_DATA_BYTES};

/* The lines of a region that may differ from the base. */
struct touched {
	uint8_t *flag;
	uint32_t *lines;
	uint32_t count;
};

static struct {
	enum media_kind kind;
	const char *pool;
	dev_t device;
	ino_t file[MEDIA_REGIONS];
	uint64_t (*bytes[MEDIA_REGIONS])[LINE_WORDS]; /* the files, mapped */
	uint64_t (*base[MEDIA_REGIONS])[LINE_WORDS];
	struct touched touched[MEDIA_REGIONS];
	struct media_reads reads;
	bool watching;
	struct trace *trace;
	unsigned processors;
	unsigned fail_in; /* 0: never; 1: the next one */
	bool failed;
} media;

/* ---- what is known of stores ----------------------------------------------------------------- */

static int region_number(const struct region *r)
{
	for (int i = 0; i < MEDIA_REGIONS; i++)
		if (sizes[i] == region_bytes(r))
			return i;
	return -1;
}

static void touch(unsigned region, size_t line)
{
	struct touched *t = &media.touched[region];

	if (t->flag[line])
		return;
	t->flag[line] = 1;
	t->lines[t->count++] = (uint32_t)line;
}

/* Calls `mark` with each line of the range and the bits of its words that the range covers whole
 * (`all`), or touches. */
static void each_line(unsigned region, uint64_t offset, uint64_t count, bool all,
	void (*mark)(unsigned region, size_t line, uint8_t words))
{
	uint64_t first = all ? (offset + 7) / 8 : offset / 8;
	uint64_t end = all ? (offset + count) / 8 : (offset + count + 7) / 8;

	while (first < end) {
		uint64_t line = first / LINE_WORDS, from = first % LINE_WORDS;
		uint64_t to = end - line * LINE_WORDS;

		if (to > LINE_WORDS)
			to = LINE_WORDS;
		mark(region, line, (uint8_t)(((1u << to) - 1) & ~((1u << from) - 1)));
		first = (line + 1) * LINE_WORDS;
	}
}

static void mark_written(unsigned region, size_t line, uint8_t words)
{
	media.reads.written[region][line] |= words;
}

static void mark_read(unsigned region, size_t line, uint8_t words)
{
	media.reads.read[region][line] |= (uint8_t)(words & ~media.reads.written[region][line]);
}

static void saw_store(
	void *context, const struct region *r, uint64_t offset, const void *bytes, uint64_t count)
{
	int region = region_number(r);

	(void)context;
	if (region < 0 || count == 0)
		return;
	for (uint64_t l = offset / LINE_BYTES; l <= (offset + count - 1) / LINE_BYTES; l++)
		touch((unsigned)region, l);
	if (media.watching)
		each_line((unsigned)region, offset, count, true, mark_written);
	if (media.trace)
		trace_store(media.trace, r, offset, bytes, count);
}

static void saw_flush(void *context, const struct region *r, uint64_t offset, uint64_t count)
{
	(void)context;
	if (media.trace)
		trace_flush(media.trace, r, offset, count);
}

static void saw_fence(void *context, const struct region *r)
{
	(void)context;
	if (media.trace)
		trace_fence(media.trace, r);
}

static const struct region_recorder recorder = {
	.store = saw_store,
	.flush = saw_flush,
	.fence = saw_fence,
};

void media_record(struct trace *trace)
{
	trace_clear(trace);
	trace->regions = MEDIA_REGIONS;
	memcpy(trace->bytes, sizes, sizeof(sizes));
	media.trace = trace;
}

void media_record_end(void)
{
	media.trace = NULL;
}

void media_watch_reads(bool on)
{
	for (int i = 0; on && i < MEDIA_REGIONS; i++) {
		memset(media.reads.read[i], 0, sizes[i] / LINE_BYTES);
		memset(media.reads.written[i], 0, sizes[i] / LINE_BYTES);
	}
	media.watching = on;
}

const struct media_reads *media_reads(void)
{
	return &media.reads;
}

/* ---- the files ------------------------------------------------------------------------------- */

static void give_up(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	exit(2);
}

static void *zeroed(size_t count, size_t bytes)
{
	void *at = calloc(count, bytes);

	if (!at)
		give_up("memory");
	return at;
}

static void open_file(unsigned i)
{
	char path[300];
	struct stat st;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", media.pool, names[i]);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) || posix_fallocate(fd, 0, (off_t)sizes[i]))
		give_up(path);
	media.bytes[i] =
		mmap(NULL, sizes[i], PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
	if (media.bytes[i] == MAP_FAILED)
		give_up(path);
	close(fd);
	media.device = st.st_dev;
	media.file[i] = st.st_ino;
	media.base[i] = zeroed(1, sizes[i]);
	media.touched[i].flag = zeroed(sizes[i] / LINE_BYTES, 1);
	media.touched[i].lines = zeroed(sizes[i] / LINE_BYTES, sizeof(uint32_t));
	media.reads.read[i] = zeroed(sizes[i] / LINE_BYTES, 1);
	media.reads.written[i] = zeroed(sizes[i] / LINE_BYTES, 1);
}

static const char *place;

void media_place(const char *directory)
{
	place = directory;
}

void media_make(enum media_kind kind)
{
	struct core_format format = {
		.pool_bytes = MEDIA_POOL_BYTES,
		.meta_bytes = MEDIA_META_BYTES,
		.lease_gid = ~0u,
	};
	struct diag d = {{0}};

	assert(!media.pool);
	media.kind = kind;
	if (!place && access("/dev/shm", W_OK) == 0)
		place = "/dev/shm";
	media.pool = format.pool = scratch_directory(place);
	if (core_format_pool(&format, &d)) {
		fprintf(stderr, "%s\n", d.text);
		exit(2);
	}
	for (unsigned i = 0; i < MEDIA_REGIONS; i++)
		open_file(i);
	region_set_recorder(&recorder);
	media_set_base();
}

void media_remove(void)
{
	region_set_recorder(NULL);
	for (int i = 0; i < MEDIA_REGIONS; i++) {
		munmap(media.bytes[i], sizes[i]);
		free(media.base[i]);
		free(media.touched[i].flag);
		free(media.touched[i].lines);
		free(media.reads.read[i]);
		free(media.reads.written[i]);
	}
	scratch_remove(media.pool);
	memset(&media, 0, sizeof(media));
}

const char *media_pool(void)
{
	return media.pool;
}

enum media_kind media_kind(void)
{
	return media.kind;
}

uint64_t media_granule(void)
{
	return media.kind == MEDIA_PMEM ? LINE_BYTES : 4096;
}

void media_fail_sync(unsigned n)
{
	media.fail_in = n;
	media.failed = false;
}

bool media_sync_failed(void)
{
	return media.failed;
}

void media_processors(unsigned count)
{
	media.processors = count;
}

/* ---- states ---------------------------------------------------------------------------------- */

void media_set_base(void)
{
	for (int i = 0; i < MEDIA_REGIONS; i++) {
		struct touched *t = &media.touched[i];

		memcpy(media.base[i], media.bytes[i], sizes[i]);
		memset(t->flag, 0, sizes[i] / LINE_BYTES);
		t->count = 0;
	}
}

const uint8_t *media_base(unsigned region)
{
	return (const uint8_t *)media.base[region];
}

void media_replace(const uint8_t *const *bytes)
{
	for (int i = 0; i < MEDIA_REGIONS; i++)
		memcpy(media.bytes[i], bytes[i], sizes[i]);
	media_set_base();
}

void media_rewind(void)
{
	for (int i = 0; i < MEDIA_REGIONS; i++) {
		struct touched *t = &media.touched[i];

		for (uint32_t n = 0; n < t->count; n++) {
			memcpy(media.bytes[i][t->lines[n]], media.base[i][t->lines[n]], LINE_BYTES);
			t->flag[t->lines[n]] = 0;
		}
		t->count = 0;
	}
}

void media_load(struct machine *const *machines)
{
	for (unsigned i = 0; i < MEDIA_REGIONS; i++) {
		struct touched *t = &media.touched[i];
		const size_t *changed;
		size_t count = machine_changed(machines[i], &changed);

		for (size_t n = 0; n < count; n++)
			touch(i, changed[n]);
		for (uint32_t n = 0; n < t->count; n++)
			memcpy(media.bytes[i][t->lines[n]],
				machine_line(machines[i], t->lines[n], 0), LINE_BYTES);
	}
}

void media_put(unsigned region, size_t line, const uint64_t *content)
{
	touch(region, line);
	memcpy(media.bytes[region][line], content, LINE_BYTES);
}

bool media_check(struct machine *const *machines)
{
	for (unsigned i = 0; i < MEDIA_REGIONS; i++)
		for (size_t l = 0; l < sizes[i] / LINE_BYTES; l++)
			if (!media.touched[i].flag[l] &&
				memcmp(media.bytes[i][l], machine_line(machines[i], l, 0),
					LINE_BYTES) != 0)
				return false;
	return true;
}

/* ---- what the linker puts in the place of others --------------------------------------------- */

void *__real_pmem_map_file(
	const char *path, size_t bytes, int flags, mode_t mode, size_t *mapped, int *is_pmem);
void *__wrap_pmem_map_file(
	const char *path, size_t bytes, int flags, mode_t mode, size_t *mapped, int *is_pmem);
int __real_pmem_unmap(void *at, size_t bytes);
int __wrap_pmem_unmap(void *at, size_t bytes);
void __wrap_pmem_flush(const void *at, size_t bytes);
void __wrap_pmem_drain(void);
void *__wrap_pmem_memcpy_nodrain(void *to, const void *from, size_t bytes);
void *__wrap_pmem_memset_nodrain(void *to, int byte, size_t bytes);
int __real_fstatfs64(int fd, struct statfs *out);
int __wrap_fstatfs64(int fd, struct statfs *out);
int __wrap_msync(void *at, size_t bytes, int flags);
int __wrap_fdatasync(int fd);
void __wrap_sync(void);
int __real_fallocate64(int fd, int mode, off_t offset, off_t bytes);
int __wrap_fallocate64(int fd, int mode, off_t offset, off_t bytes);
int __wrap_getentropy(void *out, size_t bytes);
long __real_sysconf(int name);
long __wrap_sysconf(int name);
const void *__real_region_durable_at(const struct region *r, uint64_t offset, uint64_t bytes);
const void *__wrap_region_durable_at(const struct region *r, uint64_t offset, uint64_t bytes);
const void *__real_region_at(const struct region *r, uint64_t offset, uint64_t bytes);
const void *__wrap_region_at(const struct region *r, uint64_t offset, uint64_t bytes);

void *__wrap_pmem_map_file(
	const char *path, size_t bytes, int flags, mode_t mode, size_t *mapped, int *is_pmem)
{
	struct stat st;

	if (media.bytes[MEDIA_DATA] && stat(path, &st) == 0 && st.st_dev == media.device)
		for (int i = 0; i < MEDIA_REGIONS; i++)
			if (media.file[i] == st.st_ino) {
				*mapped = sizes[i];
				*is_pmem = media.kind == MEDIA_PMEM;
				return media.bytes[i];
			}
	return __real_pmem_map_file(path, bytes, flags, mode, mapped, is_pmem);
}

int __wrap_pmem_unmap(void *at, size_t bytes)
{
	for (int i = 0; i < MEDIA_REGIONS; i++)
		if (at == media.bytes[i])
			return 0;
	return __real_pmem_unmap(at, bytes);
}

void __wrap_pmem_flush(const void *at, size_t bytes)
{
}

void __wrap_pmem_drain(void)
{
}

void *__wrap_pmem_memcpy_nodrain(void *to, const void *from, size_t bytes)
{
	return memcpy(to, from, bytes);
}

void *__wrap_pmem_memset_nodrain(void *to, int byte, size_t bytes)
{
	return memset(to, byte, bytes);
}

int __wrap_fstatfs64(int fd, struct statfs *out)
{
	int result = __real_fstatfs64(fd, out);

	if (result == 0)
		out->f_type = DISK_MAGIC;
	return result;
}

static bool fails(void)
{
	if (media.fail_in == 0 || --media.fail_in > 0)
		return false;
	media.failed = true;
	errno = EIO;
	return true;
}

int __wrap_msync(void *at, size_t bytes, int flags)
{
	if (!fails())
		return 0;
	for (unsigned i = 0; i < MEDIA_REGIONS && media.trace; i++) {
		uint64_t offset = (uint64_t)((uint8_t *)at - (uint8_t *)media.bytes[i]);

		if (offset < sizes[i])
			trace_refused(media.trace, i, offset, bytes);
	}
	return -1;
}

int __wrap_fdatasync(int fd)
{
	struct stat st;

	if (!fails())
		return 0;
	for (unsigned i = 0; i < MEDIA_REGIONS && media.trace; i++)
		if (fstat(fd, &st) == 0 && st.st_ino == media.file[i])
			trace_refused(media.trace, i, 0, sizes[i]);
	return -1;
}

void __wrap_sync(void)
{
}

/* The files have all their blocks already. */
int __wrap_fallocate64(int fd, int mode, off_t offset, off_t bytes)
{
	return media.bytes[MEDIA_DATA] ? 0 : __real_fallocate64(fd, mode, offset, bytes);
}

/* A pool's UUID and the seed of its hashes: the same each time, or no run could be repeated. */
int __wrap_getentropy(void *out, size_t bytes)
{
	memset(out, 0x5a, bytes);
	return 0;
}

long __wrap_sysconf(int name)
{
	if (media.processors && (name == _SC_NPROCESSORS_ONLN || name == _SC_NPROCESSORS_CONF))
		return media.processors;
	return __real_sysconf(name);
}

static void saw_read(const struct region *r, uint64_t offset, uint64_t bytes)
{
	int region = media.watching ? region_number(r) : -1;

	if (region >= 0)
		each_line((unsigned)region, offset, bytes, false, mark_read);
}

const void *__wrap_region_at(const struct region *r, uint64_t offset, uint64_t bytes)
{
	saw_read(r, offset, bytes);
	return __real_region_at(r, offset, bytes);
}

const void *__wrap_region_durable_at(const struct region *r, uint64_t offset, uint64_t bytes)
{
	saw_read(r, offset, bytes);
	return __real_region_durable_at(r, offset, bytes);
}
