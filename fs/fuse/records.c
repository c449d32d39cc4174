// SPDX-License-Identifier: BSD-2-Clause
/* records.c - see records.h. */
#include "records.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "format.h"
#include "log.h"

#define RECORDS_MAGIC 0x73657361656c666cull /* "lfleases" */
/* Numbers are ids with a slot below them; so many leave room for years more. */
#define IDS_MAX (1ull << 43)
#define IDS_MAGIC 0x2020207364696c66ull
#define RECORDS_VERSION 2u
#define AT_ONCE 64u

/* ---- files ----------------------------------------------------------------------------------- */

static const char *const prefixes[RECORD_KINDS] = {
	[RECORD_LEASES] = "leases.",
	[RECORD_RANGES] = "ranges.",
	[RECORD_LINES] = "pins.",
};

void record_file_name(enum record_kind kind, uint64_t number, char out[RECORD_NAME_BYTES])
{
	snprintf(out, RECORD_NAME_BYTES, "%s%" PRIx64, prefixes[kind], number);
}

bool record_file_parse(const char *name, enum record_kind *kind, uint64_t *number)
{
	for (unsigned k = 0; k < RECORD_KINDS; k++) {
		size_t n = strlen(prefixes[k]);
		char again[RECORD_NAME_BYTES];

		if (strncmp(name, prefixes[k], n) || sscanf(name + n, "%" SCNx64, number) != 1)
			continue;
		*kind = (enum record_kind)k;
		record_file_name(*kind, *number, again);
		return strcmp(again, name) == 0;
	}
	return false;
}

int record_file_create(int run_fd, enum record_kind kind, uint64_t number, int *fd)
{
	char name[RECORD_NAME_BYTES];
	int file;

	record_file_name(kind, number, name);
	if (unlinkat(run_fd, name, 0) && errno != ENOENT)
		return -errno;
	file = openat(run_fd, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (file < 0)
		return -errno;
	*fd = file;
	return 0;
}

/*
 * Without waiting for anybody: run/ may have come from elsewhere, with a pipe or a device in it,
 * and its user may have a kernel lease on a file of pin lines. A descriptor; -EUCLEAN: it is no
 * file.
 */
static int open_file(int run_fd, const char *name, int flags)
{
	int file =
		openat(run_fd, name, flags | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0600);
	struct stat st;

	if (file < 0)
		return errno == ENXIO || errno == EISDIR || errno == ENODEV || errno == ELOOP
			       ? -EUCLEAN
			       : -errno;
	if (fstat(file, &st) || !S_ISREG(st.st_mode)) {
		close(file);
		return -EUCLEAN;
	}
	return file;
}

int record_file_open(int run_fd, enum record_kind kind, uint64_t number, int *fd)
{
	char name[RECORD_NAME_BYTES];
	int file;

	record_file_name(kind, number, name);
	file = open_file(run_fd, name, O_RDWR);
	if (file < 0)
		return file;
	*fd = file;
	return 0;
}

void record_file_remove(int run_fd, enum record_kind kind, uint64_t number)
{
	char name[RECORD_NAME_BYTES];

	record_file_name(kind, number, name);
	if (unlinkat(run_fd, name, 0) && errno != ENOENT)
		log_warning("cannot remove run/%s: %s", name, strerror(errno));
}

static int write_at(int fd, const void *bytes, size_t count, off_t at)
{
	ssize_t n = pwrite(fd, bytes, count, at);

	return n == (ssize_t)count ? 0 : n < 0 ? -errno : -ENOSPC;
}

/* ---- sessions -------------------------------------------------------------------------------- */

int session_record_write(int fd, const struct session_record *r)
{
	struct session_record whole = *r;
	int error;

	whole.magic = RECORDS_MAGIC;
	whole.version = RECORDS_VERSION;
	error = machine_boot(whole.machine);
	return error ? error : write_at(fd, &whole, sizeof(whole), 0);
}

int session_record_read(int fd, struct session_record *out)
{
	char machine[MACHINE_BOOT_BYTES];
	struct session_record r;

	if (pread(fd, &r, sizeof(r), 0) != (ssize_t)sizeof(r) || r.magic != RECORDS_MAGIC ||
		r.version != RECORDS_VERSION || machine_boot(machine) ||
		memcmp(machine, r.machine, sizeof(machine)))
		return -EUCLEAN;
	*out = r;
	return 0;
}

/* ---- leases ---------------------------------------------------------------------------------- */

static off_t lease_at(uint32_t slot)
{
	return ((off_t)slot + 1) * (off_t)sizeof(struct lease_record);
}

int lease_record_write(int fd, uint32_t slot, const struct lease_record *r)
{
	return write_at(fd, r, sizeof(*r), lease_at(slot));
}

int lease_record_update(int fd, uint32_t slot, const struct lm_lease_record *r)
{
	struct lease_record now;
	ssize_t n = pread(fd, &now, sizeof(now), lease_at(slot));

	if (n != (ssize_t)sizeof(now))
		return n < 0 ? -errno : -EUCLEAN;
	now.lease = r->lease;
	now.origin = r->origin;
	now.rest = r->rest;
	now.ino = r->ino;
	now.start = r->start;
	now.end = r->end;
	now.mode = r->mode;
	now.flags = r->flags;
	return lease_record_write(fd, slot, &now);
}

/* Not a lease yet: lease_record_update() makes it one. */
int lease_record_copy(int fd, uint32_t from, uint32_t to)
{
	struct lease_record r;
	ssize_t n = pread(fd, &r, sizeof(r), lease_at(from));

	if (n != (ssize_t)sizeof(r))
		return n < 0 ? -errno : -EUCLEAN;
	r.lease = 0;
	return lease_record_write(fd, to, &r);
}

void lease_record_clear(int fd, uint32_t slot)
{
	uint64_t none = 0;

	/* What cannot be cleared keeps too much back, after a restart that may never be. */
	(void)!pwrite(fd, &none, sizeof(none), lease_at(slot));
}

size_t lease_records_bytes(uint32_t slots)
{
	return (size_t)lease_at(slots);
}

bool lease_record_store(struct mapped_file *f, uint32_t slot, const struct lease_record *r)
{
	const size_t at = (size_t)lease_at(slot), first = sizeof(r->lease);

	_Static_assert(offsetof(struct lease_record, lease) == 0, "the first word");
	return mapped_file_store64(f, at, 0) &&
	       mapped_file_copy(f, at + first, (const char *)r + first, sizeof(*r) - first) &&
	       mapped_file_store64(f, at, r->lease);
}

bool lease_record_wipe(struct mapped_file *f, uint32_t slot)
{
	return mapped_file_store64(f, (size_t)lease_at(slot), 0);
}

/* The next record of `bytes` bytes from *slot on whose first word is not 0. */
static int next_record(int fd, off_t first, size_t bytes, uint32_t *slot, void *out)
{
	unsigned char page[AT_ONCE * sizeof(struct lease_record)];
	uint64_t word;
	ssize_t n = 0;

	while (*slot < 1u << LM_SLOT_BITS &&
		(n = pread(fd, page, AT_ONCE * bytes, first + (off_t)*slot * (off_t)bytes)) > 0) {
		size_t whole = (size_t)n / bytes;

		for (size_t i = 0; i < whole; i++) {
			(*slot)++;
			memcpy(&word, page + i * bytes, sizeof(word));
			if (!word)
				continue;
			memcpy(out, page + i * bytes, bytes);
			return record_slot(word) == *slot - 1 ? 0 : -EUCLEAN;
		}
		if (whole < AT_ONCE)
			break;
	}
	return n < 0 ? -errno : -ENOENT;
}

int lease_record_next(int fd, uint32_t *slot, struct lease_record *out)
{
	int error = next_record(fd, lease_at(0), sizeof(*out), slot, out);

	return !error && out->count > RECORD_EXTENTS ? -EUCLEAN : error;
}

/* ---- extents --------------------------------------------------------------------------------- */

static uint64_t bytes_of(const struct record_extent *e)
{
	return (uint64_t)e->blocks * BLOCK_SIZE;
}

static uint64_t gap_between(const struct record_extent *a, const struct record_extent *b)
{
	if (a->region != b->region)
		return UINT64_MAX;
	if (a->region_offset > b->region_offset)
		return gap_between(b, a);
	if (b->region_offset <= a->region_offset + bytes_of(a))
		return 0;
	return b->region_offset - (a->region_offset + bytes_of(a));
}

/* They overlap or touch, in the region and in the file alike. */
static bool are_one(const struct record_extent *a, const struct record_extent *b)
{
	return a->offset != RECORD_LOOSE && b->offset != RECORD_LOOSE && gap_between(a, b) == 0 &&
	       a->offset - a->region_offset == b->offset - b->region_offset;
}

/* False: it would be too long. */
static bool join(struct record_extent *a, const struct record_extent *b)
{
	uint64_t a_end = a->region_offset + bytes_of(a), b_end = b->region_offset + bytes_of(b);
	uint64_t start = a->region_offset < b->region_offset ? a->region_offset : b->region_offset;
	uint64_t blocks = ((a_end > b_end ? a_end : b_end) - start) / BLOCK_SIZE;
	bool is_one = are_one(a, b);

	if (blocks > UINT32_MAX)
		return false;
	if (!is_one)
		a->offset = RECORD_LOOSE;
	else if (b->offset < a->offset)
		a->offset = b->offset;
	a->region_offset = start;
	a->blocks = (uint32_t)blocks;
	return true;
}

static int add_extent(struct lease_record *r, const struct record_extent *e)
{
	struct record_extent all[RECORD_EXTENTS + 1];
	uint32_t n = r->count, a = 0, b = 0;
	uint64_t best = UINT64_MAX;

	memcpy(all, r->extents, n * sizeof(all[0]));
	all[n++] = *e;
	for (uint32_t i = 0; i < n && n > RECORD_EXTENTS; i++) {
		for (uint32_t j = i + 1; j < n; j++) {
			uint64_t gap = gap_between(&all[i], &all[j]);

			if (gap < best) {
				best = gap;
				a = i;
				b = j;
			}
		}
	}
	if (n > RECORD_EXTENTS) {
		if (best == UINT64_MAX || !join(&all[a], &all[b]))
			return -ENOLCK;
		all[b] = all[--n];
	}
	memcpy(r->extents, all, n * sizeof(all[0]));
	r->count = n;
	return 0;
}

int lease_record_add(struct lease_record *r, const struct leasefs_extent *extents, uint32_t count)
{
	int error = 0;

	for (uint32_t i = 0; i < count && !error; i++) {
		struct record_extent e = {.offset = extents[i].offset,
			.region_offset = extents[i].region_offset,
			.blocks = (uint32_t)(extents[i].length / BLOCK_SIZE),
			.region = extents[i].region};
		uint32_t k = r->count;

		if (extents[i].state == LEASEFS_EXTENT_HOLE)
			continue;
		if (extents[i].length / BLOCK_SIZE > UINT32_MAX)
			return -ENOLCK;
		/* Written and unwritten ones side by side are one for a mapping. */
		while (k > 0 && !(are_one(&r->extents[k - 1], &e) && join(&r->extents[k - 1], &e)))
			k--;
		if (k == 0)
			error = add_extent(r, &e);
	}
	return error;
}

static bool is_in(const struct lease_record *r, const struct leasefs_extent *e)
{
	for (uint32_t i = 0; i < r->count; i++) {
		const struct record_extent *x = &r->extents[i];
		uint64_t before = e->region_offset - x->region_offset;

		if (x->region == e->region && e->region_offset >= x->region_offset &&
			before + e->length <= bytes_of(x) &&
			(x->offset == RECORD_LOOSE || e->offset == x->offset + before))
			return true;
	}
	return false;
}

int lease_record_note(int fd, uint32_t slot, const struct leasefs_extent *extents, uint32_t count)
{
	struct lease_record r;
	ssize_t n = pread(fd, &r, sizeof(r), lease_at(slot));
	bool is_new = false;

	if (n != (ssize_t)sizeof(r))
		return n < 0 ? -errno : -EUCLEAN;
	for (uint32_t i = 0; i < count; i++) {
		int error;

		if (extents[i].state == LEASEFS_EXTENT_HOLE || is_in(&r, &extents[i]))
			continue;
		is_new = true;
		error = lease_record_add(&r, &extents[i], 1);
		if (error)
			return error;
	}
	return is_new ? lease_record_write(fd, slot, &r) : 0;
}

/* ---- range pins ------------------------------------------------------------------------------ */

static off_t range_pin_at(uint32_t slot)
{
	return (off_t)slot * (off_t)sizeof(struct range_pin_record);
}

int range_pin_record_write(int fd, const struct range_pin_record *r)
{
	return write_at(fd, r, sizeof(*r), range_pin_at(record_slot(r->pin)));
}

int range_pin_record_move(int fd, uint64_t pin, uint64_t lease)
{
	return write_at(fd, &lease, sizeof(lease),
		range_pin_at(record_slot(pin)) + (off_t)offsetof(struct range_pin_record, lease));
}

void range_pin_record_clear(int fd, uint64_t pin)
{
	uint64_t none = 0;

	(void)!pwrite(fd, &none, sizeof(none), range_pin_at(record_slot(pin)));
}

int range_pin_record_next(int fd, uint32_t *slot, struct range_pin_record *out)
{
	return next_record(fd, 0, sizeof(*out), slot, out);
}

/* ---- numbers --------------------------------------------------------------------------------- */

struct ids_record {
	uint64_t magic;
	uint64_t end; /* numbers below it may have been used */
	char machine[MACHINE_BOOT_BYTES];
};

int ids_read(int run_fd, uint64_t *first)
{
	char machine[MACHINE_BOOT_BYTES];
	struct ids_record r;
	int fd = open_file(run_fd, "ids", O_RDONLY);

	*first = 1;
	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	if (pread(fd, &r, sizeof(r), 0) == (ssize_t)sizeof(r) && r.magic == IDS_MAGIC &&
		!machine_boot(machine) && !memcmp(machine, r.machine, sizeof(machine)) && r.end)
		*first = r.end;
	close(fd);
	return *first <= IDS_MAX ? 0 : -EUCLEAN;
}

int ids_reserve(int run_fd, uint64_t end)
{
	struct ids_record r = {.magic = IDS_MAGIC, .end = end};
	int fd, error = machine_boot(r.machine);

	if (error)
		return error;
	fd = open_file(run_fd, "ids", O_WRONLY | O_CREAT);
	if (fd < 0)
		return fd;
	error = write_at(fd, &r, sizeof(r), 0);
	close(fd);
	return error;
}
