// SPDX-License-Identifier: BSD-2-Clause
/* sample.c - see sample.h. The daemon's process is looked at in /proc, the rest is asked of it. */
#include "sample.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <math.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <leasefs/control.h>

#define PROBE_BYTES (4u << 20)
#define WALK_DESCRIPTORS 16
#define LET_GO_MS_MAX 5000
#define LOOK_AGAIN_MS 50

const char *const figure_names[FIGURES] = {"anonymous memory, KiB", "resident, KiB", "descriptors",
	"threads", "mappings", "sessions", "leases", "revoked leases", "range pins",
	"quarantine, KiB", "free, KiB", "free extents", "largest free, KiB", "metadata used, KiB",
	"unaccounted, KiB", "lost inodes", "extents a file", "extents of 4 MiB"};

/* ---- the process ----------------------------------------------------------------------------- */

static int count_entries(const char *path, double *out)
{
	DIR *d = opendir(path);
	struct dirent *entry;
	double n = 0;

	if (!d)
		return -errno;
	while ((entry = readdir(d)))
		n += entry->d_name[0] != '.';
	closedir(d);
	*out = n;
	return 0;
}

static int count_lines(const char *path, double *out)
{
	FILE *f = fopen(path, "re");
	double n = 0;
	int c;

	if (!f)
		return -errno;
	while ((c = getc(f)) != EOF)
		n += c == '\n';
	fclose(f);
	*out = n;
	return 0;
}

static int read_memory(const char *path, struct sample *out)
{
	FILE *f = fopen(path, "re");
	char line[256];
	unsigned found = 0;
	double value;

	if (!f)
		return -errno;
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "RssAnon: %lf", &value) == 1)
			out->figure[FIGURE_ANONYMOUS] = value;
		else if (sscanf(line, "VmRSS: %lf", &value) == 1)
			out->figure[FIGURE_RESIDENT] = value;
		else
			continue;
		found++;
	}
	fclose(f);
	return found == 2 ? 0 : -ESRCH;
}

static int look_at_process(uint64_t pid, struct sample *out)
{
	static const struct {
		const char *name;
		int (*look)(const char *path, double *out);
		enum figure figure;
	} looks[] = {{"fd", count_entries, FIGURE_DESCRIPTORS},
		{"task", count_entries, FIGURE_THREADS}, {"maps", count_lines, FIGURE_MAPPINGS}};
	char path[64];
	int error;

	for (size_t i = 0; i < sizeof(looks) / sizeof(looks[0]); i++) {
		snprintf(path, sizeof(path), "/proc/%llu/%s", (unsigned long long)pid,
			looks[i].name);
		error = looks[i].look(path, &out->figure[looks[i].figure]);
		if (error)
			return error;
	}
	snprintf(path, sizeof(path), "/proc/%llu/status", (unsigned long long)pid);
	return read_memory(path, out);
}

/* ---- the daemon ------------------------------------------------------------------------------ */

static int look_at_space(int control, struct sample *out)
{
	struct leasefs_space page = {0};

	do {
		page = (struct leasefs_space){.cursor = page.cursor};
		if (ioctl(control, LEASEFS_IOC_SPACE, &page))
			return -errno;
		out->figure[FIGURE_FREE_EXTENTS] += (double)page.free_extents;
		if ((double)page.largest_bytes / 1024 > out->figure[FIGURE_FREE_LARGEST])
			out->figure[FIGURE_FREE_LARGEST] = (double)page.largest_bytes / 1024;
	} while (page.cursor);
	return 0;
}

int sample_take(int control, struct sample *out)
{
	struct leasefs_status s = {0};
	int error;

	memset(out->figure, 0, sizeof(out->figure));
	if (ioctl(control, LEASEFS_IOC_STATUS, &s))
		return -errno;
	out->figure[FIGURE_SESSIONS] = (double)s.sessions;
	out->figure[FIGURE_LEASES] = (double)s.leases;
	out->figure[FIGURE_REVOKED] = (double)s.revoked;
	out->figure[FIGURE_PINS] = (double)s.range_pins;
	out->figure[FIGURE_QUARANTINE] =
		(double)(s.quarantine_bytes + s.quarantine_leaked_bytes) / 1024;
	out->figure[FIGURE_FREE] = (double)s.free_bytes / 1024;
	out->figure[FIGURE_META_USED] = (double)(s.meta_bytes - s.meta_free_bytes) / 1024;
	error = look_at_process(s.daemon_pid, out);
	return error ? error : look_at_space(control, out);
}

/* ---- at rest --------------------------------------------------------------------------------- */

/* Of all files; links are counted by their share. */
static struct {
	double inodes, files, extents, bytes;
	int error;
} walk;

static double extents_of(const char *path)
{
	int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	struct leasefs_extents page = {0};
	double n = 0;

	if (fd < 0)
		return -1;
	for (;;) {
		if (ioctl(fd, LEASEFS_IOC_EXTENTS, &page)) {
			n = -1;
			break;
		}
		for (uint32_t i = 0; i < page.count; i++)
			n += page.extents[i].state != LEASEFS_EXTENT_HOLE;
		if (page.count == 0 || page.next >= page.end)
			break;
		page = (struct leasefs_extents){.offset = page.next};
	}
	close(fd);
	return n;
}

static int visit(const char *path, const struct stat *st, int kind, struct FTW *at)
{
	double share = S_ISDIR(st->st_mode) ? 1 : 1 / (double)st->st_nlink;

	(void)kind;
	(void)at;
	walk.inodes += share;
	if (!S_ISREG(st->st_mode))
		return 0;
	walk.bytes += (double)st->st_blocks * 512 * share;
	if (st->st_blocks == 0)
		return 0;
	double n = extents_of(path);

	if (n < 0) {
		walk.error = -errno;
		return 1;
	}
	walk.files += share;
	walk.extents += n * share;
	return 0;
}

static int write_probe(const char *path)
{
	static char bytes[65536];
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666), error = 0;

	if (fd < 0)
		return -errno;
	memset(bytes, 'p', sizeof(bytes));
	for (off_t at = 0; at < (off_t)PROBE_BYTES && !error; at += (off_t)sizeof(bytes))
		if (pwrite(fd, bytes, sizeof(bytes), at) != (ssize_t)sizeof(bytes))
			error = errno ? -errno : -EIO;
	close(fd);
	return error;
}

/* What has no name, and what no file has. */
static int look_for_lost(int control, const char *mount, struct sample *out)
{
	struct leasefs_status s = {0};

	memset(&walk, 0, sizeof(walk));
	if (nftw(mount, visit, WALK_DESCRIPTORS, FTW_PHYS | FTW_MOUNT) < 0)
		return -errno;
	if (walk.error)
		return walk.error;
	if (ioctl(control, LEASEFS_IOC_STATUS, &s))
		return -errno;
	out->figure[FIGURE_UNACCOUNTED] =
		((double)(s.pool_bytes - s.free_bytes) - walk.bytes) / 1024;
	out->figure[FIGURE_LOST_INODES] = (double)s.inodes_used - walk.inodes;
	return 0;
}

static bool is_lost(const struct sample *s)
{
	return fabs(s->figure[FIGURE_UNACCOUNTED]) > 0.001 ||
	       fabs(s->figure[FIGURE_LOST_INODES]) > 0.001;
}

int sample_rest(int control, const char *mount, struct sample *out)
{
	char path[4300];
	int error = sample_take(control, out);

	/* Nobody waits for the kernel's RELEASE and FORGET. */
	for (unsigned left = LET_GO_MS_MAX / LOOK_AGAIN_MS; left && !error; left--) {
		error = look_for_lost(control, mount, out);
		if (!is_lost(out))
			break;
		(void)poll(NULL, 0, LOOK_AGAIN_MS);
	}
	if (error)
		return error;
	out->figure[FIGURE_FILE_EXTENTS] = walk.files > 0 ? walk.extents / walk.files : 0;
	snprintf(path, sizeof(path), "%s/probe", mount);
	error = write_probe(path);
	out->figure[FIGURE_NEW_EXTENTS] = extents_of(path);
	if (unlink(path) && !error)
		error = -errno;
	return error;
}
