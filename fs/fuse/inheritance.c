// SPDX-License-Identifier: BSD-2-Clause
/* inheritance.c - see inheritance.h. */
#include "inheritance.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "log.h"

#define MAPPED_MAGIC 0x64657070616d666cull /* "lfmapped" */
#define MAPPED_VERSION 1u
#define RECORDS_AT_ONCE 64u

struct mapped_header {
	uint64_t magic;
	uint32_t version;
	uint32_t pid;
	uint64_t start_time; /* of the process, as /proc/PID/stat has it: numbers are used again */
	char boot[48];       /* /proc/sys/kernel/random/boot_id */
	uint64_t pad[23];
};
_Static_assert(sizeof(struct mapped_header) == 256, "as a record");

/* A process of an earlier daemon's session, and what it may touch. */
struct heir {
	LIST_ENTRY(heir) all;
	struct arbiter *arbiter;
	struct engine_watch *watch;
	int pidfd;
	uint32_t pid;
	uint64_t drain_ns; /* when its DMA is over; UINT64_MAX: it lives */
	uint64_t bytes;
	char name[64];
	size_t count, capacity;
	struct mapped_extent *extents;
};

/* ---- writing --------------------------------------------------------------------------------- */

static int read_boot(char out[48])
{
	FILE *f = fopen("/proc/sys/kernel/random/boot_id", "re");
	bool got;

	memset(out, 0, 48);
	if (!f)
		return -errno;
	got = fgets(out, 48, f) != NULL;
	fclose(f);
	return got ? 0 : -EIO;
}

/* Field 22, counted after the name, which may hold anything but ends with the last ')'. */
static int process_start_time(uint32_t pid, uint64_t *out)
{
	char path[64], line[1024], *at;
	unsigned long long value;
	FILE *f;
	bool got;

	snprintf(path, sizeof(path), "/proc/%u/stat", pid);
	f = fopen(path, "re");
	if (!f)
		return -ESRCH;
	got = fgets(line, sizeof(line), f) != NULL;
	fclose(f);
	at = got ? strrchr(line, ')') : NULL;
	for (int field = 2; at && field < 22; field++)
		at = strchr(at + 1, ' ');
	if (!at || sscanf(at, "%llu", &value) != 1)
		return -ESRCH;
	*out = value;
	return 0;
}

int mapped_create(struct arbiter *a, uint64_t session, uint32_t pid, char name[64], int *fd)
{
	struct mapped_header header = {
		.magic = MAPPED_MAGIC, .version = MAPPED_VERSION, .pid = pid};
	int run_fd = core_run_dir_fd(a->daemon->core);
	int error = process_start_time(pid, &header.start_time);
	int file;

	if (!error)
		error = read_boot(header.boot);
	if (error)
		return error;
	snprintf(name, 64, "mapped.%016llx.%llx", (unsigned long long)a->boot[0],
		(unsigned long long)session);
	file = openat(run_fd, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (file < 0)
		return -errno;
	if (pwrite(file, &header, sizeof(header), 0) != (ssize_t)sizeof(header)) {
		error = errno ? -errno : -ENOSPC;
		close(file);
		unlinkat(run_fd, name, 0);
		return error;
	}
	*fd = file;
	return 0;
}

static off_t record_at(uint32_t slot)
{
	return ((off_t)slot + 1) * (off_t)sizeof(struct mapped_record);
}

int mapped_write(int fd, uint32_t slot, const struct mapped_record *r)
{
	ssize_t n = pwrite(fd, r, sizeof(*r), record_at(slot));

	return n == (ssize_t)sizeof(*r) ? 0 : n < 0 ? -errno : -ENOSPC;
}

int mapped_copy(int fd, uint32_t from, uint32_t to)
{
	struct mapped_record r;

	if (pread(fd, &r, sizeof(r), record_at(from)) != (ssize_t)sizeof(r))
		return 0; /* nothing was mapped by it yet */
	return mapped_write(fd, to, &r);
}

void mapped_clear(int fd, uint32_t slot)
{
	uint32_t none = 0;

	/* What cannot be cleared holds too much back, after a restart that may never be. */
	(void)!pwrite(fd, &none, sizeof(none), record_at(slot));
}

static uint64_t gap_between(const struct mapped_extent *a, const struct mapped_extent *b)
{
	if (a->region != b->region)
		return UINT64_MAX;
	if (a->offset > b->offset)
		return gap_between(b, a);
	return b->offset <= a->offset + a->length ? 0 : b->offset - (a->offset + a->length);
}

static void join(struct mapped_extent *a, const struct mapped_extent *b)
{
	uint64_t start = a->offset < b->offset ? a->offset : b->offset;
	uint64_t a_end = a->offset + a->length, b_end = b->offset + b->length;

	a->offset = start;
	a->length = (a_end > b_end ? a_end : b_end) - start;
}

static int add_extent(struct mapped_record *r, const struct mapped_extent *e)
{
	struct mapped_extent all[MAPPED_EXTENTS + 1];
	uint32_t n = r->count, a = 0, b = 0;
	uint64_t best = UINT64_MAX;

	memcpy(all, r->extents, n * sizeof(all[0]));
	all[n++] = *e;
	for (uint32_t i = 0; i < n; i++) {
		for (uint32_t j = i + 1; j < n; j++) {
			uint64_t gap = gap_between(&all[i], &all[j]);

			if (gap < best) {
				best = gap;
				a = i;
				b = j;
			}
		}
	}
	if (best == 0 || n > MAPPED_EXTENTS) {
		if (best == UINT64_MAX)
			return -ENOLCK;
		join(&all[a], &all[b]);
		all[b] = all[--n];
	}
	memcpy(r->extents, all, n * sizeof(all[0]));
	r->count = n;
	return 0;
}

int mapped_add(struct mapped_record *r, const struct leasefs_extent *extents, uint32_t count)
{
	int error = 0;

	for (uint32_t i = 0; i < count && !error; i++) {
		struct mapped_extent e = {.offset = extents[i].region_offset,
			.length = extents[i].length,
			.region = extents[i].region};

		if (extents[i].state != LEASEFS_EXTENT_HOLE)
			error = add_extent(r, &e);
	}
	return error;
}

/* ---- inheriting ------------------------------------------------------------------------------ */

static void free_heir(struct heir *heir)
{
	if (heir->pidfd >= 0)
		close(heir->pidfd);
	free(heir->extents);
	free(heir);
}

static int take_extents(struct heir *heir, const struct mapped_record *r)
{
	if (heir->count + r->count > heir->capacity) {
		size_t capacity = heir->capacity * 2 + MAPPED_EXTENTS;
		struct mapped_extent *all = realloc(heir->extents, capacity * sizeof(*all));

		if (!all)
			return -ENOMEM;
		heir->extents = all;
		heir->capacity = capacity;
	}
	for (uint32_t i = 0; i < r->count; i++) {
		heir->extents[heir->count++] = r->extents[i];
		heir->bytes += r->extents[i].length;
	}
	return 0;
}

static int read_records(struct heir *heir, int fd)
{
	struct mapped_record page[RECORDS_AT_ONCE];
	uint32_t slot = 0;
	ssize_t n;

	while ((n = pread(fd, page, sizeof(page), record_at(slot))) > 0) {
		size_t whole = (size_t)n / sizeof(page[0]);

		for (size_t i = 0; i < whole; i++) {
			int error = page[i].count <= MAPPED_EXTENTS ? take_extents(heir, &page[i])
								    : -EUCLEAN;

			if (error)
				return error;
		}
		slot += RECORDS_AT_ONCE;
		if (whole < RECORDS_AT_ONCE)
			break;
	}
	return n < 0 ? -errno : 0;
}

/* Is it this boot's, and does the process live? Then *pidfd is open on it. */
static bool is_live(int fd, struct mapped_header *header, int *pidfd)
{
	char boot[48];
	uint64_t start_time;

	if (pread(fd, header, sizeof(*header), 0) != (ssize_t)sizeof(*header) ||
		header->magic != MAPPED_MAGIC || header->version != MAPPED_VERSION ||
		read_boot(boot) || memcmp(boot, header->boot, sizeof(boot)))
		return false;
	*pidfd = (int)syscall(SYS_pidfd_open, header->pid, 0);
	if (*pidfd < 0)
		return false;
	/* Asked after the opening: if the time is right, the descriptor is that process's. */
	if (process_start_time(header->pid, &start_time) || start_time != header->start_time) {
		close(*pidfd);
		return false;
	}
	return true;
}

static void hold_all(struct heir *heir, bool hold)
{
	struct core *c = heir->arbiter->daemon->core;

	for (size_t i = 0; i < heir->count; i++) {
		const struct mapped_extent *e = &heir->extents[i];
		int error = hold ? core_hold(c, e->region, e->offset, e->length)
				 : core_release(c, e->region, e->offset, e->length);

		if (error)
			log_error("process %u may still touch [%llu, +%llu) of region %u, which"
				  " cannot be %s: %s",
				heir->pid, (unsigned long long)e->offset,
				(unsigned long long)e->length, e->region,
				hold ? "held" : "released", strerror(-error));
	}
}

/* On the engine's thread. */
static void on_heir_gone(void *context)
{
	struct heir *heir = context;

	arbiter_lock(heir->arbiter);
	heir->drain_ns = arbiter_now() + LM_DRAIN_NS_DEFAULT;
	arbiter_unlock(heir->arbiter);
}

static int inherit(struct arbiter *a, const char *name)
{
	int run_fd = core_run_dir_fd(a->daemon->core);
	int fd = openat(run_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	struct mapped_header header;
	struct heir *heir = NULL;
	int pidfd, error = 0;

	if (fd < 0)
		return -errno;
	if (!is_live(fd, &header, &pidfd)) {
		unlinkat(run_fd, name, 0);
		goto out;
	}
	heir = calloc(1, sizeof(*heir));
	if (!heir) {
		close(pidfd);
		error = -ENOMEM;
		goto out;
	}
	heir->arbiter = a;
	heir->pidfd = pidfd;
	heir->pid = header.pid;
	heir->drain_ns = UINT64_MAX;
	snprintf(heir->name, sizeof(heir->name), "%s", name);
	error = read_records(heir, fd);
	if (!error && heir->count == 0) {
		unlinkat(run_fd, name, 0);
		free_heir(heir);
		goto out;
	}
	if (!error)
		error = arbiter_start_threads(a);
	if (!error)
		error = engine_watch_process(
			a->engine, heir->pidfd, on_heir_gone, heir, &heir->watch);
	if (error) {
		free_heir(heir);
		goto out;
	}
	hold_all(heir, true);
	arbiter_lock(a);
	LIST_INSERT_HEAD(&a->heirs, heir, all);
	arbiter_unlock(a);
	log_notice("process %u has mappings from an earlier daemon: %llu bytes wait for its end",
		heir->pid, (unsigned long long)heir->bytes);
out:
	close(fd);
	return error;
}

int inheritance_start(struct arbiter *a, struct diag *diag)
{
	int run_fd = core_run_dir_fd(a->daemon->core);
	int fd = run_fd < 0 ? -1 : openat(run_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;
	int error = 0;

	if (run_fd < 0)
		return 0;
	if (!dir) {
		error = -errno;
		if (fd >= 0)
			close(fd);
		return diag_set(diag, error, "cannot read the pool's run/: %s", strerror(-error));
	}
	while (!error && (e = readdir(dir))) {
		/* Pins need not be known: while the process lives all of its blocks are held. */
		if (!strncmp(e->d_name, "pins.", 5) && unlinkat(run_fd, e->d_name, 0))
			log_warning("cannot remove run/%s: %s", e->d_name, strerror(errno));
		if (strncmp(e->d_name, "mapped.", 7) || strlen(e->d_name) >= 64)
			continue;
		error = inherit(a, e->d_name);
		if (error)
			diag_set(diag, error, "cannot take over run/%s: %s", e->d_name,
				strerror(-error));
	}
	closedir(dir);
	return error;
}

/* The files stay: the next daemon goes on from them. */
void inheritance_stop(struct arbiter *a)
{
	struct heir *heir;

	while ((heir = LIST_FIRST(&a->heirs))) {
		engine_unwatch(a->engine, heir->watch);
		LIST_REMOVE(heir, all);
		free_heir(heir);
	}
}

uint64_t inheritance_deadline(const struct arbiter *a)
{
	const struct heir *heir;
	uint64_t deadline_ns = UINT64_MAX;

	LIST_FOREACH(heir, &a->heirs, all)
	if (heir->drain_ns < deadline_ns)
		deadline_ns = heir->drain_ns;
	return deadline_ns;
}

/* On the engine's thread. */
void inheritance_tick(struct arbiter *a, uint64_t now_ns)
{
	struct heir *heir, *next;

	for (heir = LIST_FIRST(&a->heirs); heir; heir = next) {
		next = LIST_NEXT(heir, all);
		if (heir->drain_ns > now_ns)
			continue;
		hold_all(heir, false);
		unlinkat(core_run_dir_fd(a->daemon->core), heir->name, 0);
		engine_unwatch(a->engine, heir->watch);
		LIST_REMOVE(heir, all);
		free_heir(heir);
	}
}

uint64_t inheritance_bytes(const struct arbiter *a)
{
	const struct heir *heir;
	uint64_t bytes = 0;

	LIST_FOREACH(heir, &a->heirs, all)
	bytes += heir->bytes;
	return bytes;
}
