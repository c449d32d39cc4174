// SPDX-License-Identifier: BSD-2-Clause
/*
 * metadata.c - the metadata group: one directory, every kind of change, each timed by itself.
 *
 * A round makes a directory, runs the operations on a batch of names in it, each on all names
 * before the next, and removes it. Both sides see the same names in the same order.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench.h"
#include "pair.h"
#include "report.h"

#define POOL_BYTES (256ull << 20)
#define NAMES_A_ROUND 2000u

static int do_create(int dir, unsigned i)
{
	char name[32];
	int fd;

	snprintf(name, sizeof(name), "file%u", i);
	fd = openat(dir, name, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644);
	return fd < 0 ? -1 : close(fd);
}

static int do_chmod(int dir, unsigned i)
{
	char name[32];

	snprintf(name, sizeof(name), "file%u", i);
	return fchmodat(dir, name, 0600, 0);
}

static int do_rename(int dir, unsigned i)
{
	char name[32], new_name[32];

	snprintf(name, sizeof(name), "file%u", i);
	snprintf(new_name, sizeof(new_name), "renamed%u", i);
	return renameat(dir, name, dir, new_name);
}

static int do_unlink(int dir, unsigned i)
{
	char name[32];

	snprintf(name, sizeof(name), "renamed%u", i);
	return unlinkat(dir, name, 0);
}

static int do_mkdir(int dir, unsigned i)
{
	char name[32];

	snprintf(name, sizeof(name), "dir%u", i);
	return mkdirat(dir, name, 0755);
}

static int do_rmdir(int dir, unsigned i)
{
	char name[32];

	snprintf(name, sizeof(name), "dir%u", i);
	return unlinkat(dir, name, AT_REMOVEDIR);
}

static const struct {
	const char *name;
	int (*run)(int dir, unsigned i);
	double target;
} operations[] = {
	{"create", do_create, 1.5},
	{"chmod", do_chmod, 1.5},
	{"rename", do_rename, 1.5},
	{"unlink", do_unlink, 1.5},
	{"mkdir", do_mkdir, 1.5},
	{"rmdir", do_rmdir, 1.5},
};
#define OPERATIONS (sizeof(operations) / sizeof(operations[0]))

static int run_round(int root, unsigned round, unsigned names, double us[OPERATIONS])
{
	char name[32];
	int dir, result = -1;

	snprintf(name, sizeof(name), "round%u", round);
	if (mkdirat(root, name, 0755) != 0) {
		perror("leasebench: mkdir");
		return -1;
	}
	dir = openat(root, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0) {
		perror("leasebench: open");
		return -1;
	}
	for (size_t k = 0; k < OPERATIONS; k++) {
		uint64_t begin = now_ns();

		for (unsigned i = 0; i < names; i++) {
			if (operations[k].run(dir, i) != 0) {
				fprintf(stderr, "leasebench: %s: %s\n", operations[k].name,
					strerror(errno));
				goto out;
			}
		}
		us[k] = (double)(now_ns() - begin) / 1e3 / names;
	}
	result = 0;
out:
	close(dir);
	if (result == 0 && unlinkat(root, name, AT_REMOVEDIR) != 0) {
		perror("leasebench: rmdir");
		result = -1;
	}
	return result;
}

int metadata_group(struct bench *b)
{
	unsigned rounds = b->quick ? 3 : 15, names = b->quick ? NAMES_A_ROUND / 4 : NAMES_A_ROUND;
	struct series series[OPERATIONS] = {0};
	double us[OPERATIONS];
	struct pair pair;
	int result = -1;

	if (pair_start(b, &pair, POOL_BYTES) != 0)
		goto stop;
	for (unsigned round = 0; round <= rounds; round++) {
		for (int side = 0; side < SIDES; side++) {
			if (run_round(pair.roots[side], round, names, us) != 0)
				goto stop;
			for (size_t k = 0; k < OPERATIONS && round > 0; k++) /* 0 warms up */
				series_add(&series[k], side, us[k]);
		}
	}
	for (size_t k = 0; k < OPERATIONS; k++)
		report_series(
			"metadata", operations[k].name, "us", &series[k], operations[k].target);
	result = 0;
stop:
	if (pair_stop(&pair) != 0)
		result = -1;
	return result;
}
