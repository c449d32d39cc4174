// SPDX-License-Identifier: BSD-2-Clause
/*
 * bed.c - see bed.h; the operations are in operate.c.
 */
#include "bed_impl.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "journal_impl.h"
#include "pool.h"

#define TICKS_FIRST 1000000
/* A record of a small operation fits into that once or twice. */
#define NEAR_END 700u

struct bed bed;
const struct core_cred bed_cred = {.umask = 022, .fsetid = true};

/* ---- opening and closing --------------------------------------------------------------------- */

static int tick(struct timespec *now)
{
	*now = (struct timespec){.tv_sec = bed.ticks++, .tv_nsec = 5};
	return 0;
}

void bed_set_clock(int64_t ticks)
{
	bed.ticks = ticks;
}

int64_t bed_clock(void)
{
	return bed.ticks;
}

struct core *bed_core(void)
{
	return bed.core;
}

int bed_open(struct diag *d)
{
	const struct core_options options = {
		.pool = media_pool(),
		.durability =
			media_kind() == MEDIA_RELAXED ? DURABILITY_RELAXED : DURABILITY_STRICT,
		.clock = tick,
	};

	assert(!bed.core);
	return core_open(&options, &bed.core, d);
}

static void forget(void)
{
	bed.core = NULL;
	bed.held_count = bed.hold_count = 0;
	bed.unnamed = NULL;
}

void bed_abandon(void)
{
	core_abandon(bed.core);
	forget();
}

int bed_close(void)
{
	int error = core_close(bed.core);

	forget();
	return error;
}

/* ---- use ------------------------------------------------------------------------------------- */

#define USE_BYTES 5001u

static int use_file(struct inode *root, struct inode *ip, const char **what)
{
	static uint8_t back[USE_BYTES], bytes[USE_BYTES];
	struct inode *dir = NULL;
	int error;

	*what = "write";
	memset(bytes, (int)bed.ticks, sizeof(bytes));
	if (core_write(bed.core, ip, bytes, USE_BYTES, 0, &bed_cred) != USE_BYTES)
		return -EIO;
	*what = "read back";
	if (core_read(bed.core, ip, back, USE_BYTES, 0) != USE_BYTES ||
		memcmp(bytes, back, USE_BYTES) != 0)
		return -EIO;
	*what = "mkdir";
	error = core_create(bed.core, root, "use.d", S_IFDIR | 0755, 0, &bed_cred, &dir);
	if (error)
		return error;
	*what = "rename";
	error = core_rename(bed.core, root, "use", dir, "use", 0, NULL, NULL);
	if (error)
		goto out;
	*what = "unlink";
	error = core_unlink(bed.core, dir, "use", NULL);
	if (error)
		goto out;
	*what = "rmdir";
	error = core_rmdir(bed.core, root, "use.d");
out:
	core_put(bed.core, dir, 1);
	return error;
}

int bed_use(const char **what)
{
	struct inode *root, *ip;
	int error = core_get(bed.core, ROOT_INO, &root);

	*what = "root";
	if (error)
		return error;
	*what = "create";
	error = core_create(bed.core, root, "use", S_IFREG | 0644, 0, &bed_cred, &ip);
	if (!error) {
		error = use_file(root, ip, what);
		core_put(bed.core, ip, 1);
	}
	core_put(bed.core, root, 1);
	return error;
}

/* ---- bases ----------------------------------------------------------------------------------- */

static const struct op foundation[] = {
	{VERB_CREATE, {0}}, /* f */
	{VERB_APPEND, {0}, {5000}},
	{VERB_CREATE, {1}},  /* g */
	{VERB_MKDIR, {2}},   /* d */
	{VERB_LINK, {0, 6}}, /* h: f has two links until d/x replaces one */
	{VERB_MKDIR, {4}},   /* d/y */
	{VERB_MKDIR, {5}},   /* e */
	{VERB_UNLINK, {6}},  /* h */
	{VERB_CREATE, {6}},
	{VERB_LINK, {6, 3}}, /* d/x */
	{VERB_APPEND, {6}, {100}},
	{VERB_SYMLINK, {12}, {3000}}, /* s */
	{VERB_SETXATTR, {1}, {1, 100}},
	{VERB_SETXATTR, {0}, {2, 5000}},
	{VERB_SETACL, {0}, {6}},
};

static void must(int error, const char *what)
{
	if (error) {
		fprintf(stderr, "the base cannot be made: %s: %s\n", what, strerror(-error));
		exit(2);
	}
}

static void make_foundation(void)
{
	const struct op utimes = {VERB_UTIMES, {0}, {7}};
	struct op hole = {VERB_WRITE, {1}, {0, 3000}};

	for (unsigned i = 0; i < sizeof(foundation) / sizeof(foundation[0]); i++)
		must(bed_operate(&foundation[i]), "foundation");
	for (; hole.number[0] < 12 * 8192; hole.number[0] += 8192)
		must(bed_operate(&hole), "g");
	must(bed_operate(&utimes), "utimes");
}

static void save_base(unsigned base)
{
	static const uint64_t sizes[] = {MEDIA_META_BYTES, MEDIA_DATA_BYTES};

	media_set_base();
	for (unsigned r = 0; r < MEDIA_REGIONS; r++) {
		bed.bases[base][r] = malloc(sizes[r]);
		if (!bed.bases[base][r])
			must(-ENOMEM, "base");
		memcpy(bed.bases[base][r], media_base(r), sizes[r]);
	}
}

void bed_make(enum media_kind kind)
{
	const struct op utimes = {VERB_UTIMES, {0}, {8}};
	struct diag d = {{0}};

	memset(&bed, 0, sizeof(bed));
	bed.ticks = TICKS_FIRST;
	media_make(kind);
	must(bed_open(&d), d.text);
	make_foundation();
	must(bed_close(), "close");
	save_base(0);
	must(bed_open(&d), d.text);
	for (struct journal *j = bed.core->journal;
		j->config.area_bytes - j->commit % j->config.area_bytes > NEAR_END;)
		must(bed_operate(&utimes), "log");
	must(bed_close(), "close");
	save_base(1);
}

void bed_remove(void)
{
	for (unsigned b = 0; b < BED_BASES; b++)
		for (unsigned r = 0; r < MEDIA_REGIONS; r++)
			free(bed.bases[b][r]);
	media_remove();
}

void bed_select(unsigned base)
{
	media_replace((const uint8_t *const *)bed.bases[base]);
}
