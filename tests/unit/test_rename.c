// SPDX-License-Identifier: BSD-2-Clause
/*
 * test_rename.c - moving, replacing and exchanging names: every pair of types with every flag,
 * within a directory and between two; loops; whiteouts; and many threads at once.
 */
#include "pool_bed.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum kind { NOTHING, FILE_, SYMLINK, EMPTY, FULL, SAME, KINDS };

static struct inode *make(struct bed *b, struct inode *dir, const char *name, enum kind kind)
{
	struct inode *ip = NULL, *below;

	switch (kind) {
	case FILE_:
		return bed_create(b, dir, name, S_IFREG | 0644);
	case SYMLINK:
		assert_int_equal(core_symlink(b->core, dir, name, "target", &b->cred, &ip), 0);
		return ip;
	case EMPTY:
		return bed_create(b, dir, name, S_IFDIR | 0755);
	case FULL:
		ip = bed_create(b, dir, name, S_IFDIR | 0755);
		below = bed_create(b, ip, "below", S_IFDIR | 0755);
		bed_put(b, below);
		return ip;
	default:
		return NULL;
	}
}

static bool is_dir(enum kind kind)
{
	return kind == EMPTY || kind == FULL;
}

/* What rename(2) says. */
static int expected(enum kind source, enum kind target, unsigned flags)
{
	if (source == NOTHING)
		return -ENOENT;
	if (target != NOTHING && flags & CORE_RENAME_NOREPLACE)
		return -EEXIST;
	if (flags & CORE_RENAME_EXCHANGE)
		return target == NOTHING ? -ENOENT : 0;
	if (target == NOTHING || target == SAME)
		return 0;
	if (is_dir(source) && !is_dir(target))
		return -ENOTDIR;
	if (!is_dir(source) && is_dir(target))
		return -EISDIR;
	return target == FULL ? -ENOTEMPTY : 0;
}

static int inode_at(struct bed *b, struct inode *dir, const char *name, uint64_t *ino)
{
	struct inode *ip;
	int r = core_lookup(b->core, dir, name, &ip);

	*ino = r ? 0 : core_ino(ip);
	if (r == 0)
		bed_put(b, ip);
	return r;
}

static const struct core_cred whiteouts_cred = {.uid = 1234, .gid = 777};

static void assert_whiteout(struct bed *b, struct inode *dir, const char *name, uint32_t gid)
{
	struct inode *ip = bed_lookup(b, dir, name);
	struct media_inode record = bed_record(b, ip);
	struct stat st;

	assert_int_equal(record.mode, S_IFCHR);
	assert_int_equal(record.nlink, 1);
	assert_int_equal(record.uid, whiteouts_cred.uid);
	assert_int_equal(record.gid, gid);
	assert_int_equal(core_getattr(b->core, ip, &st, NULL), 0);
	assert_int_equal(st.st_rdev, 0);
	assert_false(core_has_xattrs(b->core, ip));
	bed_put(b, ip);
}

static void rename_one(
	struct bed *b, enum kind source, enum kind target, unsigned flags, bool apart)
{
	struct inode *from = bed_create(b, b->root, "from", S_IFDIR | 0755);
	struct inode *to = apart ? bed_create(b, b->root, "to", S_IFDIR | 0755) : from;
	struct inode *s = make(b, from, "s", source), *t, *gone = NULL;
	uint64_t s_ino = s ? core_ino(s) : 0, t_ino, at;
	struct media_inode from_before, to_before;
	int r;

	if (target == SAME) {
		assert_int_equal(core_link(b->core, s, to, "t"), 0);
		t = s;
		core_hold_inode(b->core, s, 1);
	} else {
		t = make(b, to, "t", target);
	}
	t_ino = t ? core_ino(t) : 0;
	from_before = bed_record(b, from);
	to_before = bed_record(b, to);

	r = core_rename(b->core, from, "s", to, "t", flags,
		flags & CORE_RENAME_WHITEOUT ? &whiteouts_cred : NULL, &gone);
	assert_int_equal(r, expected(source, target, flags));
	if (r || target == SAME) { /* nothing happened */
		struct media_inode after = bed_record(b, from);

		assert_memory_equal(&after, &from_before, sizeof(after));
		after = bed_record(b, to);
		assert_memory_equal(&after, &to_before, sizeof(after));
		inode_at(b, from, "s", &at);
		assert_int_equal(at, s_ino);
		inode_at(b, to, "t", &at);
		assert_int_equal(at, t_ino);
		assert_null(gone);
	} else {
		inode_at(b, to, "t", &at);
		assert_int_equal(at, s_ino);
		inode_at(b, from, "s", &at);
		if (flags & CORE_RENAME_WHITEOUT)
			assert_whiteout(b, from, "s", whiteouts_cred.gid);
		else
			assert_int_equal(at, flags & CORE_RENAME_EXCHANGE ? t_ino : 0);
		if (t && !(flags & CORE_RENAME_EXCHANGE)) {
			assert_ptr_equal(gone, t);
			assert_int_equal(bed_record(b, t).nlink, 0);
			bed_put(b, gone);
		} else {
			assert_null(gone);
		}
	}
	if (s)
		bed_put(b, s);
	if (t)
		bed_put(b, t);
	bed_verify(b);
	/* Clear up. */
	for (unsigned i = 0; i < 2; i++) {
		struct inode *dir = i ? to : from;

		for (unsigned k = 0; k < 2; k++) {
			const char *name = k ? "t" : "s";
			struct inode *ip;

			if (core_lookup(b->core, dir, name, &ip))
				continue;
			if (S_ISDIR(bed_record(b, ip).mode)) {
				core_rmdir(b->core, ip, "below");
				assert_int_equal(core_rmdir(b->core, dir, name), 0);
			} else {
				assert_int_equal(core_unlink(b->core, dir, name, NULL), 0);
			}
			bed_put(b, ip);
		}
	}
	assert_int_equal(core_rmdir(b->core, b->root, "from"), 0);
	bed_put(b, from);
	if (apart) {
		assert_int_equal(core_rmdir(b->core, b->root, "to"), 0);
		bed_put(b, to);
	}
}

static void every_pair_of_types_with_every_flag(void **state)
{
	static const unsigned flags[] = {0, CORE_RENAME_NOREPLACE, CORE_RENAME_EXCHANGE,
		CORE_RENAME_WHITEOUT, CORE_RENAME_WHITEOUT | CORE_RENAME_NOREPLACE};
	struct bed *b = *state;
	struct core_info before, after;

	core_get_info(b->core, &before);
	for (unsigned source = NOTHING; source <= FULL; source++) {
		for (unsigned target = NOTHING; target < KINDS; target++) {
			if (target == SAME && source != FILE_ && source != SYMLINK)
				continue;
			for (unsigned i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
				rename_one(b, source, target, flags[i], false);
				rename_one(b, source, target, flags[i], true);
			}
		}
	}
	assert_int_equal(core_rename(b->core, b->root, "a", b->root, "b", 3, NULL, NULL), -EINVAL);
	for (unsigned refused = 6; refused < 17; refused++)
		assert_int_equal(core_rename(b->core, b->root, "a", b->root, "b", refused,
					 &whiteouts_cred, NULL),
			-EINVAL);
	assert_int_equal(core_rename(b->core, b->root, ".", b->root, "b", 0, NULL, NULL), -EBUSY);
	assert_int_equal(core_rename(b->core, b->root, "a", b->root, "..", 0, NULL, NULL), -EBUSY);
	core_get_info(b->core, &after);
	assert_int_equal(before.inodes_used, after.inodes_used);
}

static void a_name_renamed_to_itself_stays(void **state)
{
	struct bed *b = *state;
	struct inode *d = make(b, b->root, "d", FULL);

	assert_int_equal(core_rename(b->core, b->root, "d", b->root, "d", 0, NULL, NULL), 0);
	assert_int_equal(
		core_rename(b->core, b->root, "d", b->root, "d", CORE_RENAME_NOREPLACE, NULL, NULL),
		-EEXIST);
	assert_int_equal(
		core_rename(b->core, b->root, "d", b->root, "d", CORE_RENAME_EXCHANGE, NULL, NULL),
		0);
	assert_int_equal(core_rename(b->core, d, "x", d, "x", 0, NULL, NULL), -ENOENT);
	bed_verify(b);
	bed_put(b, d);
}

static void no_directory_ends_below_itself(void **state)
{
	struct bed *b = *state;
	struct inode *dirs[20], *f = bed_create(b, b->root, "f", S_IFREG | 0644);
	unsigned n = sizeof(dirs) / sizeof(dirs[0]);

	for (unsigned i = 0; i < n; i++)
		dirs[i] = bed_create(b, i ? dirs[i - 1] : b->root, "d", S_IFDIR | 0755);
	for (unsigned i = 0; i < n; i++) {
		assert_int_equal(
			core_rename(b->core, b->root, "d", dirs[i], "moved", 0, NULL, NULL),
			-EINVAL);
		/* Full, and above the source. */
		if (i + 1 < n)
			assert_int_equal(
				core_rename(b->core, dirs[i], "d", b->root, "d", 0, NULL, NULL),
				i ? -ENOTEMPTY : -ENOTEMPTY);
		if (i)
			assert_int_equal(core_rename(b->core, b->root, "d", dirs[i - 1], "d",
						 CORE_RENAME_EXCHANGE, NULL, NULL),
				-EINVAL);
		if (i)
			assert_int_equal(core_rename(b->core, dirs[i - 1], "d", b->root, "d",
						 CORE_RENAME_EXCHANGE, NULL, NULL),
				-EINVAL);
	}
	/* A file and a directory may change places, unless one is in the other. */
	assert_int_equal(
		core_rename(b->core, b->root, "f", dirs[3], "d", CORE_RENAME_EXCHANGE, NULL, NULL),
		0);
	assert_int_equal(bed_record(b, b->root).nlink, 4);
	assert_int_equal(bed_record(b, dirs[3]).nlink, 2);
	assert_int_equal(bed_record(b, dirs[4]).parent, ROOT_INO);
	bed_verify(b);
	bed_reopen(b, true);
	bed_verify(b);
	(void)f;
}

static void directories_that_change_places_change_parents(void **state)
{
	struct bed *b = *state;
	struct inode *p = bed_create(b, b->root, "p", S_IFDIR | 0755);
	struct inode *q = bed_create(b, b->root, "q", S_IFDIR | 0755);
	struct inode *x = make(b, p, "x", FULL), *y = make(b, q, "y", EMPTY);

	assert_int_equal(core_rename(b->core, p, "x", q, "y", CORE_RENAME_EXCHANGE, NULL, NULL), 0);
	assert_int_equal(bed_record(b, x).parent, core_ino(q));
	assert_int_equal(bed_record(b, y).parent, core_ino(p));
	bed_verify(b);
	assert_int_equal(core_rename(b->core, q, "y", b->root, "top", 0, NULL, NULL), 0);
	assert_int_equal(bed_record(b, q).nlink, 2);
	assert_int_equal(bed_record(b, x).parent, ROOT_INO);
	bed_verify(b);
	bed_put(b, p);
	bed_put(b, q);
	bed_put(b, x);
	bed_put(b, y);
}

static void a_whiteout_has_the_group_of_a_setgid_directory(void **state)
{
	const struct core_cred any = {.fsetid = true};
	struct core_setattr set = {.valid = CORE_SET_GID, .mode = 02755, .gid = 42, .cred = &any};
	struct bed *b = *state;
	struct inode *d = bed_create(b, b->root, "d", S_IFDIR | 0755), *f = make(b, d, "f", FILE_);

	assert_int_equal(core_setattr(b->core, d, &set), 0);
	set.valid = CORE_SET_MODE;
	assert_int_equal(core_setattr(b->core, d, &set), 0);
	assert_int_equal(core_rename(b->core, d, "f", b->root, "f", CORE_RENAME_WHITEOUT,
				 &whiteouts_cred, NULL),
		0);
	assert_whiteout(b, d, "f", 42);
	bed_reopen(b, true);
	d = bed_lookup(b, b->root, "d");
	assert_whiteout(b, d, "f", 42);
	bed_verify(b);
	bed_put(b, d);
	(void)f;
}

static void a_whiteout_is_a_name_as_any_other(void **state)
{
	struct bed *b = *state;
	struct inode *d = make(b, b->root, "d", FULL), *e, *gone = NULL;
	struct core_info before, after;

	core_get_info(b->core, &before);
	/* Of a directory; moved; replaced by what it stood for; with one left behind in turn. */
	assert_int_equal(core_rename(b->core, b->root, "d", b->root, "e", CORE_RENAME_WHITEOUT,
				 &whiteouts_cred, NULL),
		0);
	assert_int_equal(bed_record(b, b->root).nlink, 3);
	assert_int_equal(core_rename(b->core, b->root, "d", b->root, "w", CORE_RENAME_WHITEOUT,
				 &whiteouts_cred, NULL),
		0);
	assert_int_equal(core_rename(b->core, b->root, "e", b->root, "d", 0, NULL, NULL), -ENOTDIR);
	e = bed_create(b, b->root, "file", S_IFREG | 0644);
	assert_int_equal(core_rename(b->core, b->root, "file", b->root, "d", CORE_RENAME_WHITEOUT,
				 &whiteouts_cred, &gone),
		0);
	assert_int_equal(bed_record(b, gone).mode, S_IFCHR);
	bed_put(b, gone);
	assert_whiteout(b, b->root, "w", whiteouts_cred.gid);
	assert_whiteout(b, b->root, "file", whiteouts_cred.gid);
	/* To its own name, and to another link of the same file: nothing. */
	assert_int_equal(core_link(b->core, e, b->root, "link"), 0);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(core_rename(b->core, b->root, "d", b->root, i ? "link" : "d",
					 CORE_RENAME_WHITEOUT, &whiteouts_cred, NULL),
			0);
	assert_int_equal(bed_record(b, e).nlink, 2);
	bed_verify(b);
	assert_int_equal(core_unlink(b->core, b->root, "w", NULL), 0);
	assert_int_equal(core_unlink(b->core, b->root, "file", NULL), 0);
	assert_int_equal(core_unlink(b->core, b->root, "d", NULL), 0);
	assert_int_equal(core_unlink(b->core, b->root, "link", NULL), 0);
	bed_put(b, e);
	bed_put(b, d);
	core_get_info(b->core, &after);
	assert_int_equal(before.inodes_used, after.inodes_used);
	bed_verify(b);
}

/* ---- threads --------------------------------------------------------------------------------- */

#define THREADS 4u
#define DIRS 4u
#define NAMES 6u
#define OPERATIONS 1500u

struct racer {
	struct bed *bed;
	uint64_t seed;
	unsigned done;
	int error; /* one that none of these operations should end in */
	pthread_t thread;
};

static uint64_t race_random(struct racer *r)
{
	r->seed ^= r->seed << 13;
	r->seed ^= r->seed >> 7;
	r->seed ^= r->seed << 17;
	return r->seed;
}

/* Somewhere in the tree: a directory reached by a few random steps down. */
static struct inode *race_dir(struct racer *r)
{
	struct core *c = r->bed->core;
	struct inode *dir = r->bed->root, *next;
	char name[8];

	core_hold_inode(c, dir, 1);
	for (unsigned depth = (unsigned)(race_random(r) % 4); depth; depth--) {
		snprintf(name, sizeof(name), "n%u", (unsigned)(race_random(r) % NAMES));
		if (core_lookup(c, dir, name, &next))
			break;
		core_put(c, dir, 1);
		dir = next;
	}
	return dir;
}

static void *race(void *context)
{
	struct racer *r = context;
	struct core *c = r->bed->core;

	for (unsigned i = 0; i < OPERATIONS; i++) {
		struct inode *a = race_dir(r), *z = race_dir(r), *ip;
		char from[8], to[8];
		int e;

		snprintf(from, sizeof(from), "n%u", (unsigned)(race_random(r) % NAMES));
		snprintf(to, sizeof(to), "n%u", (unsigned)(race_random(r) % NAMES));
		switch (race_random(r) % 10) {
		case 0:
		case 1:
			e = core_create(c, a, from, S_IFDIR | 0755, 0, &r->bed->cred, &ip);
			if (e == 0)
				core_put(c, ip, 1);
			break;
		case 2:
			e = core_create(c, a, from, S_IFREG | 0644, 0, &r->bed->cred, &ip);
			if (e == 0)
				core_put(c, ip, 1);
			break;
		case 3:
			e = core_unlink(c, a, from, NULL);
			break;
		case 4:
			e = core_rmdir(c, a, from);
			break;
		case 5:
			e = core_lookup(c, a, from, &ip);
			if (e)
				break;
			e = core_link(c, ip, z, to);
			core_put(c, ip, 1);
			break;
		case 6:
		case 7:
			e = core_rename(c, a, from, z, to, CORE_RENAME_EXCHANGE, NULL, NULL);
			break;
		case 8:
			e = core_rename(
				c, a, from, z, to, CORE_RENAME_WHITEOUT, &whiteouts_cred, NULL);
			break;
		default:
			e = core_rename(c, a, from, z, to, 0, NULL, NULL);
			break;
		}
		r->done += e == 0;
		switch (e) {
		case 0:
		case -ENOENT:
		case -EEXIST:
		case -ENOTDIR:
		case -EISDIR:
		case -ENOTEMPTY:
		case -EINVAL:
		case -EPERM:
			break;
		default:
			r->error = e;
		}
		core_put(c, a, 1);
		core_put(c, z, 1);
	}
	return NULL;
}

static void many_threads_leave_a_sound_tree(void **state)
{
	struct bed *b = *state;
	struct racer racers[THREADS];
	struct inode *ip;

	for (unsigned i = 0; i < DIRS; i++) {
		char name[8];

		snprintf(name, sizeof(name), "n%u", i);
		ip = bed_create(b, b->root, name, S_IFDIR | 0755);
		bed_put(b, ip);
	}
	for (unsigned i = 0; i < THREADS; i++) {
		racers[i] = (struct racer){.bed = b, .seed = 0x9e3779b97f4a7c15ull * (i + 1)};
		assert_int_equal(pthread_create(&racers[i].thread, NULL, race, &racers[i]), 0);
	}
	for (unsigned i = 0; i < THREADS; i++)
		assert_int_equal(pthread_join(racers[i].thread, NULL), 0);
	for (unsigned i = 0; i < THREADS; i++) {
		assert_int_equal(racers[i].error, 0);
		assert_true(racers[i].done > OPERATIONS / 20);
	}
	bed_verify(b);
	bed_reopen(b, true);
	bed_verify(b);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, bed_setup, bed_teardown)
	const struct CMUnitTest tests[] = {
		T(every_pair_of_types_with_every_flag),
		T(a_name_renamed_to_itself_stays),
		T(no_directory_ends_below_itself),
		T(directories_that_change_places_change_parents),
		T(a_whiteout_has_the_group_of_a_setgid_directory),
		T(a_whiteout_is_a_name_as_any_other),
		T(many_threads_leave_a_sound_tree),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
