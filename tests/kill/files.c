// SPDX-License-Identifier: BSD-2-Clause
/*
 * files.c - ordinary operations on files, against a model of what was acknowledged.
 *
 * One operation at a time. What was answered must be there after the daemon's death; the one that
 * was not may have happened or not, whole: but an overwrite in place, whose bytes may be old or
 * new.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kill.h"

#define FILES 8u
#define BLOCKS 24u
#define BLOCK 4096u

struct model {
	bool exists[FILES];
	unsigned blocks[FILES];          /* the size */
	uint64_t version[FILES][BLOCKS]; /* 0: zeroes */
};

enum kind { WRITE, TRUNCATE, UNLINK, RENAME, KINDS };
struct operation {
	enum kind kind;
	unsigned file, other; /* RENAME: from, to */
	unsigned block;       /* or the new size */
	uint64_t version;
};

struct files {
	struct worker *w;
	int dir;
	char directory[32];
	struct model model;
	uint64_t versions;
};

static void fill_block(unsigned char *out, uint64_t version)
{
	uint64_t x = version * 0x9e3779b97f4a7c15ull;

	for (size_t i = 0; i < BLOCK; i += 8) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		memcpy(out + i, &x, 8);
	}
	if (version == 0)
		memset(out, 0, BLOCK);
}

static void name_of(unsigned file, char out[16])
{
	snprintf(out, 16, "file.%u", file);
}

/* ---- operations ------------------------------------------------------------------------------ */

static struct operation choose(struct files *f)
{
	struct worker *w = f->w;
	struct operation op = {.kind = roll(w) % 8 < 5 ? WRITE : (enum kind)(1 + roll(w) % 3),
		.file = (unsigned)(roll(w) % FILES),
		.other = (unsigned)(roll(w) % FILES),
		.block = (unsigned)(roll(w) % BLOCKS),
		.version = ++f->versions};

	if (op.kind != WRITE && !f->model.exists[op.file])
		op.kind = WRITE;
	if (op.kind == RENAME && op.other == op.file)
		op.kind = UNLINK;
	return op;
}

static void apply(struct model *m, const struct operation *op)
{
	unsigned f = op->file;

	switch (op->kind) {
	case WRITE:
		if (!m->exists[f]) {
			m->exists[f] = true;
			m->blocks[f] = 0;
		}
		for (unsigned b = m->blocks[f]; b < op->block; b++)
			m->version[f][b] = 0;
		m->version[f][op->block] = op->version;
		if (m->blocks[f] <= op->block)
			m->blocks[f] = op->block + 1;
		break;
	case TRUNCATE:
		for (unsigned b = m->blocks[f]; b < op->block; b++)
			m->version[f][b] = 0;
		m->blocks[f] = op->block;
		break;
	case UNLINK:
		m->exists[f] = false;
		break;
	default:
		m->exists[op->other] = true;
		m->blocks[op->other] = m->blocks[f];
		memcpy(m->version[op->other], m->version[f], sizeof(m->version[f]));
		m->exists[f] = false;
	}
}

static int write_block(int dir, const char *name, const struct operation *op)
{
	unsigned char bytes[BLOCK];
	int fd = openat(dir, name, O_RDWR | O_CREAT | O_CLOEXEC, 0666), error = 0;

	if (fd < 0)
		return -errno;
	fill_block(bytes, op->version);
	if (pwrite(fd, bytes, BLOCK, (off_t)op->block * BLOCK) != BLOCK)
		error = -errno;
	close(fd);
	return error;
}

static int truncate_to(int dir, const char *name, unsigned blocks)
{
	int fd = openat(dir, name, O_RDWR | O_CLOEXEC), error = 0;

	if (fd < 0)
		return -errno;
	if (ftruncate(fd, (off_t)blocks * BLOCK))
		error = -errno;
	close(fd);
	return error;
}

static int perform(int dir, const struct operation *op)
{
	char name[16], other[16];

	name_of(op->file, name);
	name_of(op->other, other);
	switch (op->kind) {
	case WRITE:
		return write_block(dir, name, op);
	case TRUNCATE:
		return truncate_to(dir, name, op->block);
	case UNLINK:
		return unlinkat(dir, name, 0) ? -errno : 0;
	default:
		return renameat(dir, name, dir, other) ? -errno : 0;
	}
}

/* ---- checking -------------------------------------------------------------------------------- */

/* Is each byte the one or the other? */
static bool is_mixture(const unsigned char *bytes, uint64_t one, uint64_t two)
{
	unsigned char x[BLOCK], y[BLOCK];

	fill_block(x, one);
	fill_block(y, two);
	for (size_t i = 0; i < BLOCK; i++)
		if (bytes[i] != x[i] && bytes[i] != y[i])
			return false;
	return true;
}

/* Is the file as the model has it? 1, 0, or an error of the mount. `torn`: where an overwrite was
 * under way. */
static int file_is(struct files *f, const struct model *m, unsigned file,
	const struct operation *torn, const struct model *before)
{
	unsigned char bytes[BLOCK], expected[BLOCK];
	char name[16];
	struct stat st;
	int result = 1, fd;

	name_of(file, name);
	fd = openat(f->dir, name, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? !m->exists[file] : -errno;
	if (fstat(fd, &st))
		result = -errno;
	else if (!m->exists[file] || st.st_size != (off_t)m->blocks[file] * BLOCK)
		result = 0;
	for (unsigned b = 0; result == 1 && b < m->blocks[file]; b++) {
		ssize_t n = pread(fd, bytes, BLOCK, (off_t)b * BLOCK);

		fill_block(expected, m->version[file][b]);
		if (n < 0)
			result = -errno;
		else if (n != BLOCK)
			result = 0;
		else if (memcmp(bytes, expected, BLOCK))
			result = torn && torn->kind == WRITE && torn->file == file &&
				 torn->block == b && before->exists[file] &&
				 b < before->blocks[file] &&
				 is_mixture(bytes, before->version[file][b], torn->version);
	}
	close(fd);
	return result;
}

static int all_is(struct files *f, const struct model *m, const struct operation *torn)
{
	for (unsigned file = 0; file < FILES; file++) {
		int result = file_is(f, m, file, torn, &f->model);

		if (result != 1)
			return result;
	}
	return 1;
}

/* Creating and writing are two operations: a file may be there that nothing has been written to. */
static void made_only(struct model *out, const struct operation *op)
{
	out->exists[op->file] = true;
	out->blocks[op->file] = 0;
}

/* After a death in the middle of `op`: it has happened or not. False: the daemon died again. */
static bool settle(struct files *f, const struct operation *op)
{
	struct model after = f->model, made = f->model;
	int result = all_is(f, &f->model, op);

	if (result == 1)
		return true;
	if (result < 0)
		return false;
	apply(&after, op);
	result = all_is(f, &after, op);
	if (result == 0 && op->kind == WRITE && !f->model.exists[op->file]) {
		made_only(&made, op);
		after = made;
		result = all_is(f, &after, NULL);
	}
	if (result < 0)
		return false;
	if (result == 0)
		wrong(f->w,
			"after kill %lu: neither before nor after operation %d of %s/file.%u, "
			"block %u, version %llu",
			atomic_load(&f->w->board->kills), (int)op->kind, f->directory, op->file,
			op->block, (unsigned long long)op->version);
	f->model = after;
	return true;
}

static void open_directory(struct files *f)
{
	for (;;) {
		int root = open_mount(f->w);

		if (root < 0)
			return;
		if (f->dir >= 0)
			close(f->dir);
		(void)!mkdirat(root, f->directory, 0777);
		f->dir = openat(root, f->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		close(root);
		if (f->dir >= 0)
			return;
	}
}

void run_files(struct worker *w)
{
	struct files f = {.w = w, .dir = -1};
	struct operation op = {.kind = WRITE};

	snprintf(f.directory, sizeof(f.directory), "files.%u", w->number);
	open_directory(&f);
	while (!atomic_load(&w->board->stop)) {
		int error;

		op = choose(&f);
		error = perform(f.dir, &op);
		if (error == 0) {
			apply(&f.model, &op);
			atomic_fetch_add(&w->board->operations, 1);
			continue;
		}
		if (!is_gone(error))
			wrong(w, "operation %d on file.%u: %s", (int)op.kind, op.file,
				strerror(-error));
		do
			open_directory(&f);
		while (f.dir >= 0 && !atomic_load(&w->board->stop) && !settle(&f, &op));
		/* What was torn is made whole: until it is answered. */
		while (!atomic_load(&w->board->stop) && op.kind == WRITE &&
			perform(f.dir, &op) != 0)
			open_directory(&f);
		if (op.kind == WRITE && !atomic_load(&w->board->stop))
			apply(&f.model, &op);
	}
	open_directory(&f);
	if (!settle(&f, &op))
		wrong(w, "the daemon is not there at the end");
}
