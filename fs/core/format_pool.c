// SPDX-License-Identifier: BSD-2-Clause
/*
 * format_pool.c - mkfs: the pool's directory and files.
 *
 * Order: lock the directory; look at what is there and what is asked, and refuse it; with `force`
 * take an old pool away, beginning with the name "meta", without which it is none; make meta and
 * the data region with O_EXCL; fill them (format_meta.c, superblocks last); make the names durable.
 *
 * Never followed, never removed: a symlink at any of the pool's names, and anything that is not a
 * pool's. A file given as `data` is not removed either; it loses its contents.
 */
#include "format_pool.h"
#include "tag.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define POOL_BYTES_MAX (1ull << 46) /* mapped whole, and 47 bits of address are all there is */

struct making {
	const struct core_format *format;
	struct core *c;
	struct diag *d;
	bool made_directory;
	bool made_meta;
	bool made_data;          /* data.0, or a file at `external` */
	char external[PATH_MAX]; /* "" : data.0 */
	struct region *data;
	struct media_region media;
	uint64_t pool_bytes;
};

static int check_request(const struct core_format *f, struct diag *d)
{
	if (f->domains != DOMAINS_SINGLE && f->domains != DOMAINS_UID)
		return diag_set(d, -EINVAL, "there is no such kind of domains");
	if (f->domains == DOMAINS_UID && f->data)
		return diag_set(d, -EINVAL,
			"with a region for each owner (domains=uid) no data device can be named");
	if (f->domains == DOMAINS_UID && f->lease_gid != UINT32_MAX)
		return diag_set(d, -EINVAL,
			"with a region for each owner (domains=uid) a lease group has no meaning");
	if (f->pool_bytes &&
		(f->pool_bytes < CORE_POOL_BYTES_MIN || f->pool_bytes > POOL_BYTES_MAX))
		return diag_set(d, -EINVAL,
			"a size of %" PRIu64 " bytes is out of bounds: 1 MiB to 64 TiB",
			f->pool_bytes);
	if (f->label && strlen(f->label) > sizeof(((struct media_super *)0)->label) - 1)
		return diag_set(d, -EINVAL, "the label is longer than 31 bytes");
	return 0;
}

/* ---- what is there --------------------------------------------------------------------------- */

static bool is_data_name(const char *name)
{
	return strncmp(name, "data.", 5) == 0 && name[5] &&
	       name[5 + strspn(name + 5, "0123456789")] == '\0';
}

static bool is_pool_file(const char *name)
{
	return strcmp(name, "meta") == 0 || is_data_name(name);
}

static bool is_harmless(const char *name)
{
	return strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || strcmp(name, "run") == 0 ||
	       strcmp(name, "lost+found") == 0; /* of a filesystem made for the pool */
}

static int list(int dir_fd, DIR **out)
{
	int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	*out = fdopendir(fd);
	if (!*out) {
		int error = -errno;

		close(fd);
		return error;
	}
	return 0;
}

/* Says which pool it is, if one can still be recognised. */
static int refuse_existing(struct making *m)
{
	const struct region_options options = {
		.dir_fd = m->c->dir_fd, .path = "meta", .flags = REGION_READ_ONLY};
	struct media_super super;
	struct region *meta;
	int error = region_open(&options, &meta, NULL);

	if (!error) {
		error = super_read(meta, &super, NULL);
		region_close(meta);
	}
	if (error)
		return diag_set(m->d, -EEXIST,
			"%s holds what is left of a pool, or one that is damaged: -f destroys it",
			m->format->pool);
	return diag_set(m->d, -EEXIST,
		"%s holds a leasefs pool%s%s of %" PRIu64 " MiB: -f destroys it", m->format->pool,
		super.label[0] ? " labelled " : "", super.label, super.pool_bytes >> 20);
}

static int check_entry(struct making *m, const char *name)
{
	struct stat st;

	if (is_harmless(name))
		return 0;
	if (!is_pool_file(name))
		return diag_set(m->d, -ENOTEMPTY,
			"%s is not empty: it has %s, which is not a pool's; name an empty or a new "
			"directory",
			m->format->pool, name);
	if (fstatat(m->c->dir_fd, name, &st, AT_SYMLINK_NOFOLLOW))
		return diag_set(m->d, -errno, "%s: %s", name, strerror(errno));
	if (S_ISLNK(st.st_mode))
		return diag_set(m->d, -ELOOP,
			"%s in %s is a symbolic link, which is never followed: remove it", name,
			m->format->pool);
	if (!S_ISREG(st.st_mode))
		return diag_set(m->d, -ENOTEMPTY, "%s in %s is not a regular file: remove it", name,
			m->format->pool);
	return m->format->force ? 0 : refuse_existing(m);
}

static int check_directory(struct making *m)
{
	struct dirent *entry;
	DIR *dir;
	int error = list(m->c->dir_fd, &dir);

	if (error)
		return diag_set(
			m->d, error, "cannot read %s: %s", m->format->pool, strerror(-error));
	while (!error && (errno = 0, entry = readdir(dir)))
		error = check_entry(m, entry->d_name);
	closedir(dir);
	return error;
}

/* Live state of an old pool: pin pages and leases mean nothing to a new one. */
static int empty_directory(int dir_fd, const char *keep)
{
	struct dirent *entry;
	DIR *dir;
	int error = list(dir_fd, &dir);

	if (error)
		return error;
	while (!error && (entry = readdir(dir))) {
		const char *name = entry->d_name;
		int sub;

		if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || strcmp(name, keep) == 0)
			continue;
		if (unlinkat(dir_fd, name, 0) == 0 || errno == ENOENT)
			continue;
		if (errno != EISDIR && errno != EPERM) {
			error = -errno;
			break;
		}
		sub = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (sub < 0) {
			error = -errno;
			break;
		}
		error = empty_directory(sub, "");
		close(sub);
		if (!error && unlinkat(dir_fd, name, AT_REMOVEDIR))
			error = -errno;
	}
	closedir(dir);
	return error;
}

static int remove_old_pool(struct making *m)
{
	struct dirent *entry;
	DIR *dir;
	int error = 0;

	/* First the name that makes it a pool; a crash from here on leaves none. */
	if (unlinkat(m->c->dir_fd, "meta", 0) && errno != ENOENT)
		return diag_set(m->d, -errno, "cannot remove the old meta: %s", strerror(errno));
	error = fsync(m->c->dir_fd) ? -errno : list(m->c->dir_fd, &dir);
	if (error)
		return diag_set(m->d, error, "%s: %s", m->format->pool, strerror(-error));
	while (!error && (entry = readdir(dir)))
		if (is_data_name(entry->d_name) && unlinkat(m->c->dir_fd, entry->d_name, 0) &&
			errno != ENOENT)
			error = -errno;
	closedir(dir);
	if (!error)
		error = empty_directory(m->c->run_fd, "lock");
	if (error)
		return diag_set(m->d, error, "cannot take the old pool away: %s", strerror(-error));
	return 0;
}

/* ---- the data region ------------------------------------------------------------------------- */

/* The file or device named as `data`: where it really is, and whether it may be used. */
static int find_external(struct making *m, bool *exists)
{
	const char *name = m->format->data;
	size_t pool_length = strlen(m->c->path);
	char parent[PATH_MAX], *slash;
	struct stat st;

	if (realpath(name, m->external)) {
		if (stat(m->external, &st))
			return diag_set(m->d, -errno, "%s: %s", name, strerror(errno));
		if (S_ISREG(st.st_mode) && st.st_blocks > 0 && !m->format->force)
			return diag_set(m->d, -EEXIST, "%s has contents: -f destroys them", name);
		*exists = true;
	} else {
		if (errno != ENOENT || strlen(name) >= sizeof(parent))
			return diag_set(m->d, -errno, "%s: %s", name, strerror(errno));
		strcpy(parent, name);
		slash = strrchr(parent, '/');
		const char *last = slash ? name + (slash - parent) + 1 : name;
		if (slash)
			slash[slash == parent] = '\0';
		if (!*last || !realpath(slash ? parent : ".", m->external))
			return diag_set(m->d, -ENOENT, "%s: its directory is not there", name);
		size_t length = strlen(m->external);
		if (length + strlen(last) + 2 > sizeof(m->external))
			return diag_set(m->d, -ENAMETOOLONG, "%s: the path is too long", name);
		sprintf(m->external + length, "%s%s", length > 1 ? "/" : "", last);
		*exists = false;
	}
	if (strlen(m->external) > REGION_PATH_MAX)
		return diag_set(m->d, -ENAMETOOLONG, "%s: a path of more than %zu bytes",
			m->external, (size_t)REGION_PATH_MAX);
	if (strncmp(m->external, m->c->path, pool_length) == 0 && m->external[pool_length] == '/')
		return diag_set(m->d, -EINVAL,
			"%s is inside the pool: leave the data region's name to the pool", name);
	return 0;
}

/* What a file or device that is there has for content: all but the unit that its tag takes. */
static uint64_t content_bytes(const struct region *region)
{
	return region_bytes(region) - region_alignment(region);
}

static int check_existing(struct making *m, const char *name)
{
	const struct core_format *f = m->format;
	uint64_t bytes = region_bytes(m->data);
	struct media_tag tag;
	char uuid[37];

	if (bytes > POOL_BYTES_MAX)
		return diag_set(m->d, -EINVAL, "%s is larger than 64 TiB", name);
	if (bytes < CORE_POOL_BYTES_MIN + region_alignment(m->data))
		return diag_set(m->d, -EINVAL,
			"%s is smaller than 1 MiB and the %" PRIu64 " KiB behind it that a region "
			"takes for its tag",
			name, region_alignment(m->data) >> 10);
	if (f->pool_bytes && f->pool_bytes != bytes && f->pool_bytes != content_bytes(m->data))
		return diag_set(m->d, -EINVAL,
			"%s is %" PRIu64 " bytes, and that is the pool's size: leave -s out", name,
			bytes);
	/* A file with contents is refused whatever they are, and looking at a hole may fill it. */
	if (f->force || region_backend(m->data) != BACKEND_DEVDAX || !tag_found(m->data, &tag))
		return 0;
	core_uuid_text(tag.pool, uuid);
	return diag_set(m->d, -EEXIST,
		"%s is data region %" PRIu32 " of the leasefs pool %s: -f destroys it", name,
		tag.number, uuid);
}

static int open_data(struct making *m, uint64_t bytes, bool create)
{
	const struct core_format *f = m->format;
	const struct region_options options = {
		.dir_fd = *m->external ? AT_FDCWD : m->c->dir_fd,
		.path = *m->external ? m->external : "data.0",
		.bytes = create ? bytes : 0,
		.mode = f->lease_gid == UINT32_MAX ? 0600 : 0660,
		.flags = (create ? REGION_CREATE | REGION_TAIL : 0) |
			 (*m->external ? REGION_EXCLUSIVE : 0),
		.durability = DURABILITY_RELAXED,
	};
	int error = region_open(&options, &m->data, m->d);

	if (error)
		return error;
	m->made_data = create;
	if (create && f->lease_gid != UINT32_MAX &&
		(fchown(region_fd(m->data), (uid_t)-1, f->lease_gid) ||
			fchmod(region_fd(m->data), 0660)))
		return diag_set(m->d, -errno, "%s cannot be given to group %u: %s", options.path,
			f->lease_gid, strerror(errno));
	return create ? 0 : check_existing(m, options.path);
}

/* What the files of a directory map in: 2 MiB on hugetlbfs. */
static uint64_t mapping_unit(int dir_fd)
{
	struct stat st;

	return fstat(dir_fd, &st) == 0 && st.st_blksize == (blksize_t)HUGE_SIZE ? HUGE_SIZE
										: BLOCK_SIZE;
}

/* All that can be refused before anything is taken away: sizes, and data that stands elsewhere. */
static int plan(struct making *m)
{
	const struct core_format *f = m->format;
	uint64_t unit = mapping_unit(m->c->dir_fd);
	bool exists = false;
	int error = 0;

	m->pool_bytes = f->pool_bytes ? f->pool_bytes : CORE_POOL_BYTES_DEFAULT;
	m->pool_bytes = m->pool_bytes / unit * unit;
	if (m->pool_bytes < CORE_POOL_BYTES_MIN)
		return diag_set(m->d, -EINVAL, "on hugetlbfs a pool holds 2 MiB at least");
	if (f->domains == DOMAINS_UID && unit == HUGE_SIZE)
		return diag_set(m->d, -EINVAL,
			"on hugetlbfs a region is reserved whole, so each owner cannot have one: "
			"use "
			"domains=single");
	if (f->data) {
		error = find_external(m, &exists);
		if (!error && exists)
			error = open_data(m, 0, false);
	}
	if (m->data)
		m->pool_bytes = content_bytes(m->data);
	return error ? error : format_plan(m->c, f, m->pool_bytes, m->d);
}

static int make_data(struct making *m)
{
	int error;

	if (m->format->domains == DOMAINS_UID)
		return 0;
	if (!m->data) {
		error = open_data(m, m->pool_bytes, true);
		if (error)
			return error;
	}
	m->media = (struct media_region){
		.bytes = m->pool_bytes,
		.kind = *m->external ? REGION_KIND_EXTERNAL : REGION_KIND_POOL,
		.owner_uid = geteuid(),
		.alignment_shift =
			region_alignment(m->data) == HUGE_SIZE ? HUGE_SHIFT : BLOCK_SHIFT,
		.path_bytes = (uint32_t)strlen(m->external),
	};
	if (getentropy(m->media.uuid, sizeof(m->media.uuid)))
		return diag_set(m->d, -errno, "no random numbers: %s", strerror(errno));
	return 0;
}

/* ---- the whole ------------------------------------------------------------------------------- */

static int make_meta(struct making *m)
{
	const struct region_options options = {
		.dir_fd = m->c->dir_fd,
		.path = "meta",
		.bytes = m->c->super.meta_bytes,
		.mode = 0600,
		.flags = REGION_CREATE,
		.durability = DURABILITY_RELAXED,
	};
	struct region *data = m->data;
	int error = region_open(&options, &m->c->meta_region, m->d);

	if (error)
		return error;
	m->made_meta = true;
	if (m->format->domains == DOMAINS_UID &&
		region_backend(m->c->meta_region) == BACKEND_HUGETLBFS)
		return diag_set(m->d, -EINVAL,
			"on hugetlbfs a region is reserved whole, so each owner cannot have one: "
			"use "
			"domains=single");
	m->data = NULL;
	error = format_meta(m->c, &m->media, *m->external ? m->external : NULL, data, m->d);
	if (error)
		return error;
	if (fsync(m->c->dir_fd))
		return diag_set(m->d, -errno, "%s: %s", m->format->pool, strerror(errno));
	return 0;
}

static int make_directory(struct making *m)
{
	if (mkdir(m->format->pool, 0711) == 0)
		m->made_directory = true;
	else if (errno != EEXIST)
		return diag_set(
			m->d, -errno, "cannot make %s: %s", m->format->pool, strerror(errno));
	return 0;
}

static void undo(struct making *m)
{
	region_close(m->data);
	if (m->made_data)
		unlinkat(m->c->dir_fd, *m->external ? m->external : "data.0", 0);
	if (m->made_meta)
		unlinkat(m->c->dir_fd, "meta", 0);
	if (!m->made_directory || m->c->dir_fd < 0)
		return;
	if (m->c->run_fd >= 0)
		unlinkat(m->c->run_fd, "lock", 0);
	unlinkat(m->c->dir_fd, "run", AT_REMOVEDIR);
	rmdir(m->format->pool);
}

int core_format_pool(const struct core_format *format, struct diag *d)
{
	const struct core_options options = {
		.pool = format->pool, .lock_wait_ms = format->lock_wait_ms};
	struct making m = {.format = format, .d = d};
	int error;

	error = check_request(format, d);
	if (error)
		return error;
	error = core_new(&options, &m.c, d);
	if (error)
		return error;
	m.c->progress = format->progress;
	error = make_directory(&m);
	if (!error)
		error = pool_open(m.c, d);
	if (!error) /* before the lock: a directory that is no pool's stays as it is */
		error = check_directory(&m);
	if (!error)
		error = pool_lock(m.c, d);
	if (!error)
		error = check_directory(&m);
	/* 0711: who may open a data region must reach it by its path. The umask has no say; a
	 * directory of somebody else's stays as it is. */
	if (!error && fchmod(m.c->dir_fd, 0711) && errno != EPERM)
		error = diag_set(d, -errno, "%s: chmod: %s", format->pool, strerror(errno));
	if (!error && fchmod(m.c->run_fd, 0711))
		error = diag_set(d, -errno, "run: chmod: %s", strerror(errno));
	if (!error)
		error = plan(&m);
	if (!error)
		error = remove_old_pool(&m);
	if (!error)
		error = make_data(&m);
	if (!error)
		error = make_meta(&m);
	if (error)
		undo(&m);
	core_free(m.c);
	return error;
}
