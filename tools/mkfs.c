// SPDX-License-Identifier: BSD-2-Clause
/*
 * mkfs.c - mkfs.leasefs: makes a pool and says what it made.
 *
 * Exit: 0 made, 1 not made (with the reason), 2 wrong usage.
 */
#include <errno.h>
#include <getopt.h>
#include <grp.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core.h"
#include "format.h"
#include "process.h"
#include "progress.h"

#define LOCK_WAIT_MS 5000u /* a daemon may still be ending after its umount has returned */

static const char usage[] =
	"Usage: mkfs.leasefs [OPTION]... POOL\n"
	"Makes a leasefs pool in the directory POOL, which is made if it is not there.\n"
	"\n"
	"  -s, --size=SIZE        data that the pool may hold (default 1G, or the size of "
	"--data);\n"
	"                         files in the pool are sparse, so this is a limit, not a cost\n"
	"  -f, --force            destroy a pool that is there\n"
	"  -d, --domains=KIND     single: one data region, for the daemon's user (default)\n"
	"                         uid: each owner of files gets a region that only they can map\n"
	"  -g, --group=GROUP      members may map the single data region, and so take leases\n"
	"  -D, --data=PATH        a DAX device or a file that becomes the data region\n"
	"  -m, --meta-size=SIZE   metadata (default: by the size; sparse as well)\n"
	"  -L, --label=LABEL      a name, up to 31 bytes\n"
	"  -q, --quiet            say nothing of what was made\n"
	"  -h, --help             this text\n"
	"  -V, --version          the version\n"
	"\n"
	"A SIZE is a number of bytes, or has a suffix: K, M, G, T (powers of 1024).\n"
	"\n"
	"  mkfs.leasefs -s 8G /dev/shm/pool       fast, takes long-term pins, gone at reboot\n"
	"  mkfs.leasefs -s 8G /var/tmp/pool       on any filesystem; no long-term pins\n"
	"  mkfs.leasefs -D /dev/dax0.0 /var/lib/leasefs/pool    data on persistent memory\n"
	"\n"
	"Then: leasefs POOL MOUNTPOINT\n";

struct request {
	struct core_format format;
	bool quiet;
};

static int parse_size(const char *text, uint64_t *out)
{
	static const char suffixes[] = "KMGT";
	char *end;

	if (*text < '0' || *text > '9')
		return -EINVAL;
	errno = 0;
	unsigned long long value = strtoull(text, &end, 10);
	if (errno)
		return -errno;
	if (*end) {
		char upper = *end >= 'a' ? (char)(*end - 'a' + 'A') : *end;
		const char *at = strchr(suffixes, upper);
		unsigned shift;

		if (!at)
			return -EINVAL;
		shift = 10 * (unsigned)(at - suffixes + 1);
		if (value > UINT64_MAX >> shift)
			return -ERANGE;
		value <<= shift;
		end++;
		if (*end == 'i')
			end++;
		if (*end == 'B' || *end == 'b')
			end++;
		if (*end)
			return -EINVAL;
	}
	if (value == 0)
		return -EINVAL;
	*out = value;
	return 0;
}

static int parse_group(const char *text, uint32_t *out)
{
	const struct group *group = getgrnam(text);
	char *end;

	if (group) {
		*out = group->gr_gid;
		return 0;
	}
	if (*text < '0' || *text > '9')
		return -ENOENT;
	errno = 0;
	unsigned long value = strtoul(text, &end, 10);
	if (errno || *end || value >= UINT32_MAX)
		return -ENOENT;
	*out = (uint32_t)value;
	return 0;
}

static int refuse_size(const char *value)
{
	fprintf(stderr,
		"mkfs.leasefs: '%s' is no size: a whole number of bytes, or with K, M, G or T\n",
		value);
	return 2;
}

static int refuse(const char *what, const char *value)
{
	fprintf(stderr, "mkfs.leasefs: %s: %s\n", what, value);
	return 2;
}

static int set_option(struct request *r, int option, const char *value)
{
	struct core_format *f = &r->format;

	switch (option) {
	case 's':
		return parse_size(value, &f->pool_bytes) ? refuse_size(value) : 0;
	case 'm':
		return parse_size(value, &f->meta_bytes) ? refuse_size(value) : 0;
	case 'f':
		f->force = true;
		return 0;
	case 'd':
		if (strcmp(value, "single") == 0)
			f->domains = DOMAINS_SINGLE;
		else if (strcmp(value, "uid") == 0)
			f->domains = DOMAINS_UID;
		else
			return refuse("domains are single or uid, not", value);
		return 0;
	case 'g':
		return parse_group(value, &f->lease_gid) ? refuse("no such group", value) : 0;
	case 'D':
		if (value[0] == '\0')
			return refuse("--data names a DAX device or a file, not", "''");
		f->data = value;
		return 0;
	case 'L':
		f->label = value;
		return 0;
	case 'q':
		r->quiet = true;
		return 0;
	default:
		fputs("Try 'mkfs.leasefs --help'.\n", stderr);
		return 2;
	}
}

/* 0, or the exit status to end with, negative for 0. */
static int parse(struct request *r, int argc, char **argv)
{
	static const struct option options[] = {
		{"size", required_argument, NULL, 's'},
		{"force", no_argument, NULL, 'f'},
		{"domains", required_argument, NULL, 'd'},
		{"group", required_argument, NULL, 'g'},
		{"data", required_argument, NULL, 'D'},
		{"meta-size", required_argument, NULL, 'm'},
		{"label", required_argument, NULL, 'L'},
		{"quiet", no_argument, NULL, 'q'},
		{"help", no_argument, NULL, 'h'},
		{"version", no_argument, NULL, 'V'},
		{NULL, 0, NULL, 0},
	};
	int option;

	while ((option = getopt_long(argc, argv, "s:fd:g:D:m:L:qhV", options, NULL)) != -1) {
		int status;

		if (option == 'h' || option == 'V') {
			fputs(option == 'h' ? usage : "mkfs.leasefs " LEASEFS_VERSION "\n", stdout);
			return -1;
		}
		status = set_option(r, option, optarg);
		if (status)
			return status;
	}
	if (optind != argc - 1) {
		fputs(optind == argc ? "mkfs.leasefs: no POOL was named\n"
				     : "mkfs.leasefs: more than one POOL was named\n",
			stderr);
		fputs("Try 'mkfs.leasefs --help'.\n", stderr);
		return 2;
	}
	if (argv[optind][0] == '\0')
		return refuse("POOL is the name of a directory, not", "''");
	r->format.pool = argv[optind];
	return 0;
}

static void print_size(const char *what, uint64_t bytes)
{
	static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
	unsigned unit = 0;
	double value = (double)bytes;

	for (; value >= 1024 && unit + 1 < sizeof(units) / sizeof(units[0]); unit++)
		value /= 1024;
	printf("  %-12s%.4g %s\n", what, value, units[unit]);
}

static void print_region(const struct core_region_info *r)
{
	printf("  %-12s%" PRIu32 ": %s\n", "region", r->region, r->path);
	printf("  %-12s%s, on %s; mapped in units of %" PRIu64 " KiB\n", "",
		region_media_name(r->media), region_backend_name(r->backend), r->alignment >> 10);
	printf("  %-12s%s\n", "",
		r->media == REGION_PAGE_CACHE
			? "long-term pins (RDMA, io_uring buffers): refused by the kernel here"
		: r->backend == BACKEND_FSDAX
			? "long-term pins (RDMA, io_uring buffers): refused by the kernel on fsdax"
			: "long-term pins (RDMA, io_uring buffers): yes");
}

static int print_pool(const char *pool)
{
	const struct core_options options = {.pool = pool, .read_only = true};
	struct core_region_info region;
	struct core_info info;
	struct statvfs fs;
	struct diag d = {0};
	struct core *c;
	int error = core_open(&options, &c, &d);

	if (error) {
		fprintf(stderr, "mkfs.leasefs: made, but cannot be read back: %s\n", d.text);
		return 1;
	}
	core_get_info(c, &info);
	core_statfs(c, &fs);
	printf("Made a leasefs pool in %s\n", pool);
	printf("  %-12s%s\n", "uuid", info.uuid);
	if (info.label[0])
		printf("  %-12s%s\n", "label", info.label);
	print_size("data", info.pool_bytes);
	if (fs.f_bavail < fs.f_bfree) {
		print_size("room now", (uint64_t)fs.f_bavail * fs.f_frsize);
		printf("  %-12s(the filesystem below has no more: writes beyond it are ENOSPC)\n",
			"");
	}
	print_size("metadata", info.meta_bytes);
	print_size("journal", info.journal_bytes);
	printf("  %-12s%s\n", "domains",
		info.domains == DOMAINS_UID
			? "uid: a region for each owner, made with the first file"
			: "single");
	if (info.lease_gid != UINT32_MAX)
		printf("  %-12s%" PRIu32 "\n", "lease group", info.lease_gid);
	for (uint32_t i = 0; core_next_region(c, i, &i) == 0; i++)
		if (core_get_region(c, i, &region) == 0)
			print_region(&region);
	printf("  %-12s%s\n", "durability", region_promise(info.meta_media, DURABILITY_RELAXED));
	if (info.meta_media == REGION_PAGE_CACHE)
		printf("  %-12s(with -o durability=strict: nothing that was acknowledged)\n", "");
	printf("Next: leasefs %s MOUNTPOINT\n", pool);
	return core_close(c) ? 1 : 0;
}

static void on_step(void *context, const char *what, uint64_t done, uint64_t total)
{
	progress_step(context, what, done, total);
}

int main(int argc, char **argv)
{
	struct request request = {
		.format = {.lease_gid = UINT32_MAX, .lock_wait_ms = LOCK_WAIT_MS},
	};
	struct progress progress;
	const struct core_progress hook = {.step = on_step, .context = &progress};
	struct diag d = {0};
	int status, error;

	if (process_begin())
		return 1; /* there is nothing to say it on */
	status = parse(&request, argc, argv);
	if (status)
		return status < 0 ? 0 : status;
	progress_begin(&progress);
	request.format.progress = &hook;
	error = core_format_pool(&request.format, &d);
	progress_clear(&progress);
	if (error) {
		fprintf(stderr, "mkfs.leasefs: %s\n", d.text[0] ? d.text : strerror(-error));
		return 1;
	}
	return request.quiet ? 0 : print_pool(request.format.pool);
}
