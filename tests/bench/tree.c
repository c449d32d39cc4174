// SPDX-License-Identifier: BSD-2-Clause
/*
 * tree.c - the tree group: what unpacking an archive and removing it again costs.
 *
 * The calls are tar's and rm's: mkdir; open, write, close; then for every directory its listing,
 * unlinks, rmdir. Sizes come from a fixed formula, so that every run makes the same 20,000 files.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench.h"
#include "pair.h"
#include "report.h"

#define POOL_BYTES (512ull << 20)
#define FILES_A_DIRECTORY 100u
#define FILES 20000u
#define FILE_BYTES_MAX 8192u
#define LISTED_MAX 4096u

static char content[FILE_BYTES_MAX];

static int make_file(int dir, unsigned i)
{
	size_t bytes = 256 + (i * 2654435761u >> 8) % (FILE_BYTES_MAX - 256);
	char name[32];
	int fd;

	snprintf(name, sizeof(name), "file%u.h", i);
	fd = openat(dir, name, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644);
	if (fd < 0)
		return -1;
	if (write(fd, content, bytes) != (ssize_t)bytes) {
		close(fd);
		return -1;
	}
	return close(fd);
}

static int make_tree(int top, unsigned files)
{
	int dir = -1, result = -1;
	char name[32];

	for (unsigned i = 0; i < files; i++) {
		if (i % FILES_A_DIRECTORY == 0) {
			snprintf(name, sizeof(name), "dir%u", i / FILES_A_DIRECTORY);
			if (dir >= 0)
				close(dir);
			dir = -1;
			if (mkdirat(top, name, 0755) != 0)
				goto out;
			dir = openat(top, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
			if (dir < 0)
				goto out;
		}
		if (make_file(dir, i) != 0)
			goto out;
	}
	result = 0;
out:
	if (dir >= 0)
		close(dir);
	return result;
}

static int remove_directory(int top, const char *name);

/* Removes what stands in the directory `fd`, which it takes over. */
static int remove_entries(int fd)
{
	char *names[LISTED_MAX];
	unsigned char types[LISTED_MAX];
	unsigned count = 0;
	struct dirent *entry;
	int result = 0;
	DIR *listing = fdopendir(fd);

	if (listing == NULL) {
		close(fd);
		return -1;
	}
	while (count < LISTED_MAX && (entry = readdir(listing)) != NULL) {
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		names[count] = strdup(entry->d_name);
		types[count] = entry->d_type;
		if (names[count] != NULL)
			count++;
	}
	for (unsigned i = 0; i < count; i++) {
		if (result == 0 && types[i] == DT_DIR)
			result = remove_directory(dirfd(listing), names[i]);
		else if (result == 0)
			result = unlinkat(dirfd(listing), names[i], 0);
		/* Some peers do not say what they list. */
		if (result != 0 && types[i] == DT_UNKNOWN && errno == EISDIR)
			result = remove_directory(dirfd(listing), names[i]);
		free(names[i]);
	}
	closedir(listing);
	return result;
}

static int remove_directory(int top, const char *name)
{
	int fd = openat(top, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0 || remove_entries(fd) != 0)
		return -1;
	return unlinkat(top, name, AT_REMOVEDIR);
}

static int run_round(int root, unsigned files, double *make_s, double *remove_s)
{
	uint64_t begin = now_ns();
	int top;

	if (mkdirat(root, "tree", 0755) != 0)
		return -1;
	top = openat(root, "tree", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (top < 0)
		return -1;
	if (make_tree(top, files) != 0) {
		close(top);
		return -1;
	}
	close(top);
	*make_s = (double)(now_ns() - begin) / 1e9;
	begin = now_ns();
	if (remove_directory(root, "tree") != 0)
		return -1;
	*remove_s = (double)(now_ns() - begin) / 1e9;
	return 0;
}

int tree_group(struct bench *b)
{
	unsigned rounds = b->quick ? 3 : 7, files = b->quick ? FILES / 10 : FILES;
	struct series make = {0}, removal = {0};
	double make_s, remove_s;
	struct pair pair;
	int result = -1;

	memset(content, 'x', sizeof(content));
	if (pair_start(b, &pair, POOL_BYTES) != 0)
		goto stop;
	for (unsigned round = 0; round < rounds; round++) {
		for (int side = 0; side < SIDES; side++) {
			if (run_round(pair.roots[side], files, &make_s, &remove_s) != 0) {
				fprintf(stderr, "leasebench: tree on %s: %s\n",
					pair.servers[side].mount, strerror(errno));
				goto stop;
			}
			series_add(&make, side, make_s);
			series_add(&removal, side, remove_s);
		}
	}
	report_series("metadata", "tree_make", "s", &make, 1.5);
	report_series("metadata", "tree_remove", "s", &removal, 1.5);
	result = 0;
stop:
	if (pair_stop(&pair) != 0)
		result = -1;
	return result;
}
