// SPDX-License-Identifier: BSD-2-Clause
/*
 * mappers.c - see mappers.h.
 *
 * The blocks that a session's leases reach are compared with every mapping of every process. Beyond
 * SPANS_MAX the spans grow over what lies between: one that is too wide keeps blocks back for
 * longer, one that is too narrow cannot be.
 */
#include "mappers.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "format.h"
#include "records.h"

#define SPANS_MAX 1024u
#define REGIONS_MAX 64u /* of one session; of more, the rest is not looked for */

struct span {
	uint32_t region; /* index in `regions` */
	uint64_t start, end;
};

struct mapped_region {
	uint32_t number;
	bool known; /* what follows is */
	struct stat st;
	char name[256]; /* the last part of its path */
};

struct sought {
	unsigned region_count, span_count;
	struct mapped_region regions[REGIONS_MAX];
	struct span spans[SPANS_MAX];
};

static unsigned region_index(struct sought *s, uint32_t number)
{
	unsigned i = 0;

	while (i < s->region_count && s->regions[i].number != number)
		i++;
	if (i == s->region_count && i < REGIONS_MAX)
		s->regions[s->region_count++].number = number;
	return i;
}

static void add_span(struct sought *s, const struct record_extent *e)
{
	uint64_t start = e->region_offset, end = start + (uint64_t)e->blocks * BLOCK_SIZE;
	unsigned region = region_index(s, e->region), i = s->span_count;

	if (region == REGIONS_MAX)
		return;
	if (i < SPANS_MAX) {
		s->spans[s->span_count++] = (struct span){region, start, end};
		return;
	}
	while (i > 0 && s->spans[i - 1].region != region)
		i--;
	if (i == 0)
		return; /* a 65th region, as it were */
	if (start < s->spans[i - 1].start)
		s->spans[i - 1].start = start;
	if (end > s->spans[i - 1].end)
		s->spans[i - 1].end = end;
}

static void name_regions(struct sought *s, struct core *c)
{
	struct core_region_info *info = malloc(sizeof(*info));

	for (unsigned i = 0; info && i < s->region_count; i++) {
		struct mapped_region *r = &s->regions[i];
		const char *slash;

		if (core_get_region(c, r->number, info) || stat(info->path, &r->st))
			continue;
		slash = strrchr(info->path, '/');
		snprintf(r->name, sizeof(r->name), "%.255s", slash ? slash + 1 : info->path);
		r->known = true;
	}
	free(info);
}

/*
 * A line of /proc/PID/maps. Some filesystems show another device there than stat(2) does: then the
 * same number and name are enough.
 */
static bool line_maps(const struct sought *s, const char *line)
{
	uint64_t start, end, offset, inode;
	unsigned major, minor;
	const char *slash = strrchr(line, '/');
	int n = sscanf(line, "%" SCNx64 "-%" SCNx64 " %*s %" SCNx64 " %x:%x %" SCNu64, &start, &end,
		&offset, &major, &minor, &inode);

	if (n != 6 || !slash)
		return false;
	for (unsigned i = 0; i < s->span_count; i++) {
		const struct span *span = &s->spans[i];
		const struct mapped_region *r = &s->regions[span->region];

		if (r->known && inode == r->st.st_ino && offset < span->end &&
			offset + (end - start) > span->start &&
			(makedev(major, minor) == r->st.st_dev ||
				!strncmp(slash + 1, r->name, strlen(r->name))))
			return true;
	}
	return false;
}

/* Of that user, and not for this daemon to look into. Its own user's are as dumpable as it is. */
static bool is_hidden(uint32_t pid, uint32_t uid)
{
	struct stat st;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%u", pid);
	return uid != geteuid() && !stat(path, &st) && st.st_uid == uid;
}

static bool process_maps(const struct sought *s, uint32_t pid, uint32_t uid)
{
	char path[64], *line = NULL;
	size_t capacity = 0;
	bool found = false;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%u/maps", pid);
	f = fopen(path, "re");
	if (!f)
		return (errno == EACCES || errno == EPERM) && is_hidden(pid, uid);
	while (!found && getline(&line, &capacity, f) > 0)
		found = line_maps(s, line);
	free(line);
	fclose(f);
	return found;
}

/* This daemon, or its guardian, which was forked from it with all of its mappings. */
static bool is_own(uint32_t pid)
{
	char path[64], line[256];
	unsigned parent = 0;
	FILE *f;

	if (pid == (uint32_t)getpid())
		return true;
	snprintf(path, sizeof(path), "/proc/%u/status", pid);
	f = fopen(path, "re");
	if (!f)
		return false;
	while (fgets(line, sizeof(line), f) && sscanf(line, "PPid: %u", &parent) != 1)
		continue;
	fclose(f);
	return parent == (uint32_t)getpid();
}

static int read_spans(struct sought *s, int leases_fd)
{
	struct lease_record r;
	uint32_t slot = 0;
	int error;

	while ((error = lease_record_next(leases_fd, &slot, &r)) == 0)
		for (uint32_t i = 0; i < r.count; i++)
			add_span(s, &r.extents[i]);
	return error == -ENOENT ? 0 : error;
}

int mappers_find(struct core *c, int leases_fd, uint32_t uid, uint32_t *pid)
{
	struct sought *s = calloc(1, sizeof(*s));
	DIR *proc = opendir("/proc");
	struct dirent *e;
	int error = !s ? -ENOMEM : !proc ? -errno : read_spans(s, leases_fd);

	*pid = 0;
	if (!error && s->span_count) {
		name_regions(s, c);
		while (!*pid && (e = readdir(proc))) {
			uint32_t number = (uint32_t)strtoul(e->d_name, NULL, 10);

			if (number && process_maps(s, number, uid) && !is_own(number))
				*pid = number;
		}
	}
	if (proc)
		closedir(proc);
	free(s);
	return error;
}
