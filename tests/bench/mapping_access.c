// SPDX-License-Identifier: BSD-2-Clause
/*
 * mapping_access.c - loads, stores and copies through a leased mapping, beside a bare mapping of
 * the same bytes of the region's file, on tmpfs and hugetlbfs; and the page faults of both.
 *
 * hugetlbfs needs root and huge pages: as many as are missing are asked of the kernel, and given
 * back. Where there are none to be had the rows are left out, with the reason.
 */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mapped.h"
#include "report.h"

#define MIB (1ul << 20)
#define FILE_MIB 256ul
#define FILE_MIB_QUICK 32ul
#define HUGE_MIB 2ul
#define PAGE 4096ul
#define PAGES_A_ROUND 16384ul
#define TARGET 0.98

enum access { LOAD_RANDOM, LOAD_SEQUENTIAL, STORE_RANDOM, STORE_SEQUENTIAL, COPY, ACCESSES };

static uint64_t sum_page(const char *page)
{
	const uint64_t *words = (const uint64_t *)(const void *)page;
	uint64_t sum = 0;

	for (unsigned i = 0; i < PAGE / sizeof(*words); i++)
		sum += words[i];
	return sum;
}

static uint64_t next_page(uint64_t *seed, uint64_t i, uint64_t pages, bool random)
{
	*seed = *seed * 6364136223846793005ull + 1442695040888963407ull;
	return (random ? *seed >> 33 : i) % pages;
}

/* One round: GiB/s. */
static double run(char *memory, size_t bytes, enum access access, uint64_t seed)
{
	bool random = access == LOAD_RANDOM || access == STORE_RANDOM;
	uint64_t pages = bytes / PAGE, begin = now_ns();
	volatile uint64_t sink;
	uint64_t sum = 0;

	if (access == COPY) {
		memcpy(memory + bytes / 2, memory, bytes / 2);
		return (double)(bytes / 2) / (double)(MIB << 10) /
		       ((double)(now_ns() - begin) / 1e9);
	}
	for (uint64_t i = 0; i < PAGES_A_ROUND; i++) {
		char *page = memory + next_page(&seed, i, pages, random) * PAGE;

		if (access == LOAD_RANDOM || access == LOAD_SEQUENTIAL)
			sum += sum_page(page);
		else
			memset(page, (int)i, PAGE);
	}
	sink = sum;
	(void)sink;
	return (double)(PAGES_A_ROUND * PAGE) / (double)(MIB << 10) /
	       ((double)(now_ns() - begin) / 1e9);
}

static long touch(const char *memory, size_t bytes)
{
	struct rusage before, after;
	volatile char sink = 0;

	getrusage(RUSAGE_SELF, &before);
	for (size_t at = 0; at < bytes; at += PAGE)
		sink = sink ^ *(volatile const char *)(memory + at);
	getrusage(RUSAGE_SELF, &after);
	return after.ru_minflt - before.ru_minflt + after.ru_majflt - before.ru_majflt;
}

static int measure_faults(struct mapped *m, const char *media)
{
	long leased, bare;
	char name[64];
	struct row row;

	if (mapped_map_leased(m) != 0 || mapped_map_bare(m) != 0)
		return -1;
	leased = touch(m->leased, m->bytes);
	bare = touch(m->bare, m->bytes);
	snprintf(name, sizeof(name), "faults_%s", media);
	row = (struct row){.group = "mapping",
		.name = name,
		.unit = "faults",
		.ours = (double)leased,
		.baseline_name = "bare mmap",
		.baseline = (double)bare,
		.spread = NAN,
		.target = 1.0,
		.sense = TARGET_AT_MOST};
	report_row(&row);
	return 0;
}

static int measure_accesses(struct bench *b, struct mapped *m, const char *media)
{
	static const char *const names[ACCESSES] = {
		"load_4k_random", "load_4k", "store_4k_random", "store_4k", "copy"};
	unsigned rounds = b->quick ? 3 : 31;
	char name[64];

	for (int access = 0; access < ACCESSES; access++) {
		struct series series = {0};
		struct row row;

		for (unsigned round = 0; round <= rounds; round++) {
			double rates[SIDES];

			/* They see the same memory: who comes second finds more of it in the
			 * caches, so they take turns, and go to other places. */
			for (unsigned k = 0; k < SIDES; k++) {
				enum side side = (round + k) % SIDES;

				rates[side] = run(side == SIDE_OURS ? m->leased : m->bare, m->bytes,
					access, b->seed + SIDES * round + k);
			}
			for (int side = 0; side < SIDES && round > 0; side++) /* 0 warms up */
				series_add(&series, side, rates[side]);
		}
		snprintf(name, sizeof(name), "%s_%s", names[access], media);
		row = (struct row){.group = "mapping",
			.name = name,
			.unit = "GiB/s",
			.ours = series_median(&series, SIDE_OURS),
			.baseline_name = "bare mmap",
			.baseline = series_median(&series, SIDE_BASELINE),
			.spread = series_spread(&series),
			.target = TARGET,
			.sense = TARGET_AT_LEAST};
		report_row(&row);
	}
	return 0;
}

/* `data`: where the data region is to be; NULL: in the pool. */
static int measure_media(
	struct bench *b, const char *media, const char *data, size_t region_bytes, size_t bytes)
{
	struct mapped m = {0};
	struct server server;
	int result = -1;

	if (server_start_with(b, &server, media, region_bytes, NULL, data) != 0)
		goto stop;
	if (mapped_open(&m, &server, "file") != 0)
		goto stop;
	if (ftruncate(m.file, (off_t)bytes) != 0) {
		perror("leasebench: ftruncate");
		goto stop;
	}
	if (mapped_lease(&m, bytes, LEASEFS_TAKE_WRITE) != 0 || measure_faults(&m, media) != 0 ||
		measure_accesses(b, &m, media) != 0)
		goto stop;
	result = 0;
stop:
	mapped_close(&m);
	if (server_end(&server) != 0)
		result = -1;
	return result;
}

/* ---- huge pages ------------------------------------------------------------------------------ */

static long huge_pages(long set)
{
	FILE *f = fopen("/proc/sys/vm/nr_hugepages", set >= 0 ? "r+" : "r");
	long now = -1;

	if (f == NULL)
		return -1;
	if (set >= 0 && (fprintf(f, "%ld\n", set) < 0 || fflush(f) != 0)) {
		fclose(f);
		return -1;
	}
	rewind(f);
	if (fscanf(f, "%ld", &now) != 1)
		now = -1;
	fclose(f);
	return now;
}

/* What was borrowed, to be given back at any exit. */
static struct {
	bool borrowed;
	long before; /* pages */
	char dir[4200];
} huge;

static void return_huge(void)
{
	char path[4300];

	if (!huge.borrowed)
		return;
	huge.borrowed = false;
	snprintf(path, sizeof(path), "%s/data", huge.dir);
	unlink(path);
	umount2(huge.dir, MNT_DETACH); /* at a sudden exit the daemon has it still */
	rmdir(huge.dir);
	huge_pages(huge.before);
}

/* A file of huge pages in huge.dir/data; NULL or the reason why there is none. */
static const char *borrow_huge(const char *path, size_t bytes)
{
	static bool registered;
	long wanted;
	int fd;

	huge.before = huge_pages(-1);
	if (huge.before < 0)
		return "this kernel has no huge pages";
	if (!registered)
		registered = atexit(return_huge) == 0;
	huge.borrowed = true;
	wanted = huge.before + (long)(bytes / (HUGE_MIB * MIB));
	if (huge_pages(wanted) < wanted)
		return "there are not enough huge pages (vm.nr_hugepages)";
	if (mount("none", huge.dir, "hugetlbfs", 0, "pagesize=2M") != 0)
		return "hugetlbfs cannot be mounted";
	fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
	if (fd < 0)
		return "no file can be made on hugetlbfs";
	return ftruncate(fd, (off_t)bytes) != 0 || close(fd) != 0
		       ? "the file on hugetlbfs cannot be made long enough"
		       : NULL;
}

static int measure_huge(struct bench *b)
{
	size_t bytes = (b->quick ? FILE_MIB_QUICK : FILE_MIB) * MIB,
	       region_bytes = bytes + 32 * MIB;
	const char *reason;
	char path[4300];
	int result = 0;

	snprintf(huge.dir, sizeof(huge.dir), "%s/huge", b->work);
	snprintf(path, sizeof(path), "%s/data", huge.dir);
	if (mkdir(huge.dir, 0700) != 0) {
		perror(huge.dir);
		return -1;
	}
	reason = borrow_huge(path, region_bytes);
	if (reason != NULL)
		fprintf(stderr, "leasebench: mapping on hugetlbfs: %s: left out\n", reason);
	else
		result = measure_media(b, "hugetlbfs", path, region_bytes, bytes);
	return_huge();
	rmdir(huge.dir); /* where nothing was borrowed */
	return result;
}

int mapping_access(struct bench *b)
{
	size_t bytes = (b->quick ? FILE_MIB_QUICK : FILE_MIB) * MIB;
	int result = measure_media(b, "tmpfs", NULL, bytes + 64 * MIB, bytes);

	return measure_huge(b) != 0 ? -1 : result;
}
