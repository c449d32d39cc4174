// SPDX-License-Identifier: BSD-2-Clause
/*
 * compare.c - see compare.h.
 *
 * Bytes are compared three ways: what SEEK_DATA calls data is read and compared; what it calls a
 * hole must be zero in the model; and small files are read whole, holes too.
 */
#include "compare.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define LONG_PATH 4000
#define WHOLE_BYTES (4u << 20)
#define PIECE_BYTES (1u << 20)
#define REPORTS_MAX 12

struct comparison {
	struct model *model;
	const struct target_kind *kind;
	struct target *target;
	int reports;
	uint8_t *ours, *theirs; /* PIECE_BYTES each */
};

static void report(struct comparison *c, const char *path, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static void report(struct comparison *c, const char *path, const char *format, ...)
{
	va_list arguments;
	if (c->reports++ >= REPORTS_MAX)
		return;
	fprintf(stderr, "difference: %s: ", path[0] ? path : "/");
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fputc('\n', stderr);
}

static void compare_stat(struct comparison *c, struct node *n, const char *path)
{
	struct stat st;
	int r = c->kind->stat(c->target, path, &st);
	if (r < 0) {
		report(c, path, "stat: %s", strerror(-r));
		return;
	}
	if (st.st_mode != n->mode)
		report(c, path, "mode is %o, should be %o", st.st_mode, n->mode);
	if (st.st_uid != n->uid || st.st_gid != n->gid)
		report(c, path, "owner is %u:%u, should be %u:%u", st.st_uid, st.st_gid, n->uid,
			n->gid);
	if (st.st_nlink != n->nlink)
		report(c, path, "links are %lu, should be %u", (unsigned long)st.st_nlink,
			n->nlink);
	if (!S_ISDIR(n->mode) && (uint64_t)st.st_size != n->size)
		report(c, path, "size is %lld, should be %llu", (long long)st.st_size,
			(unsigned long long)n->size);
	if (n->mtime >= 0 && st.st_mtim.tv_sec != n->mtime)
		report(c, path, "mtime is %lld, should be %lld", (long long)st.st_mtim.tv_sec,
			(long long)n->mtime);
	if (S_ISCHR(n->mode) && minor(st.st_rdev) != n->minor)
		report(c, path, "device is %u, should be %u", minor(st.st_rdev),
			(unsigned)n->minor);
	if (n->ino == 0)
		n->ino = st.st_ino;
	if (n->ino != st.st_ino)
		report(c, path, "inode number is %llu, was %llu", (unsigned long long)st.st_ino,
			(unsigned long long)n->ino);
}

static void compare_piece(
	struct comparison *c, struct node *n, const char *path, uint64_t offset, size_t count)
{
	ssize_t r = c->kind->read(c->target, path, c->theirs, count, offset);
	if (r != (ssize_t)count) {
		report(c, path, "read of %zu at %llu gave %zd", count, (unsigned long long)offset,
			r);
		return;
	}
	content_read(&n->content, offset, c->ours, count);
	if (memcmp(c->ours, c->theirs, count) == 0)
		return;
	size_t at = 0, wrong = 0;
	while (c->ours[at] == c->theirs[at])
		at++;
	for (size_t i = at; i < count; i++)
		wrong += c->ours[i] != c->theirs[i];
	report(c, path, "byte %llu is 0x%02x, should be 0x%02x (%zu wrong in %zu from %llu)",
		(unsigned long long)(offset + at), c->theirs[at], c->ours[at], wrong, count,
		(unsigned long long)offset);
}

static void compare_bytes(
	struct comparison *c, struct node *n, const char *path, uint64_t from, uint64_t to)
{
	int reports = c->reports;
	while (from < to && c->reports == reports) {
		size_t count = to - from < PIECE_BYTES ? (size_t)(to - from) : PIECE_BYTES;
		compare_piece(c, n, path, from, count);
		from += count;
	}
}

static void expect_zero(
	struct comparison *c, struct node *n, const char *path, uint64_t from, uint64_t to)
{
	static const uint8_t zeroes[CHUNK_BYTES];
	const struct content *bytes = &n->content;
	for (size_t i = content_from(bytes, from / CHUNK_BYTES); i < bytes->count; i++) {
		uint64_t start = bytes->chunks[i].number * CHUNK_BYTES;
		if (start >= to)
			return;
		/* A hole is made of whole blocks, except that the file's end may cut the last. */
		if (start < from || memcmp(bytes->chunks[i].bytes, zeroes, CHUNK_BYTES) == 0)
			continue;
		report(c, path, "SEEK_DATA says hole in [%llu, %llu), but there are bytes at %llu",
			(unsigned long long)from, (unsigned long long)to,
			(unsigned long long)start);
		return;
	}
}

static void compare_data(struct comparison *c, struct node *n, const char *path)
{
	uint64_t at = 0;
	if (n->size <= WHOLE_BYTES)
		compare_bytes(c, n, path, 0, n->size);
	while (at < n->size) {
		int64_t data = c->kind->seek(c->target, path, at, SEEK_DATA);
		if (data == -ENXIO) {
			expect_zero(c, n, path, at, n->size);
			return;
		}
		if (data < (int64_t)at) {
			report(c, path, "SEEK_DATA from %llu gave %lld", (unsigned long long)at,
				(long long)data);
			return;
		}
		expect_zero(c, n, path, at, (uint64_t)data);
		int64_t hole = c->kind->seek(c->target, path, (uint64_t)data, SEEK_HOLE);
		if (hole <= data || hole > (int64_t)n->size) {
			report(c, path, "SEEK_HOLE from %lld gave %lld, size %llu", (long long)data,
				(long long)hole, (unsigned long long)n->size);
			return;
		}
		if (n->size > WHOLE_BYTES)
			compare_bytes(c, n, path, (uint64_t)data, (uint64_t)hole);
		at = (uint64_t)hole;
	}
	char byte;
	ssize_t r = c->kind->read(c->target, path, &byte, 1, n->size);
	if (r != 0)
		report(c, path, "read at the end of file gave %zd", r);
}

static void compare_attributes(struct comparison *c, struct node *n, const char *path)
{
	char list[16384];
	uint8_t value[65536];
	size_t names = 0;
	ssize_t r = c->kind->listxattr(c->target, path, list, sizeof(list));
	if (r < 0) {
		report(c, path, "listxattr: %s", strerror((int)-r));
		return;
	}
	for (ssize_t at = 0; at < r; at += (ssize_t)strlen(list + at) + 1) {
		if (strncmp(list + at, "user.", 5) != 0)
			continue;
		size_t i = 0;
		while (i < n->attribute_count && strcmp(n->attributes[i].name, list + at) != 0)
			i++;
		if (i == n->attribute_count)
			report(c, path, "has an attribute %s that it should not have", list + at);
		names++;
	}
	if (names != n->attribute_count)
		report(c, path, "%zu attributes, should be %zu", names, n->attribute_count);
	for (size_t i = 0; i < n->attribute_count; i++) {
		const struct attribute *a = &n->attributes[i];
		ssize_t got = c->kind->getxattr(c->target, path, a->name, value, sizeof(value));
		if (got != (ssize_t)a->bytes)
			report(c, path, "getxattr %s gave %zd, should be %zu", a->name, got,
				a->bytes);
		else if (memcmp(value, a->value, a->bytes) != 0)
			report(c, path, "attribute %s has another value", a->name);
	}
}

static void compare_target(struct comparison *c, struct node *n, const char *path)
{
	char target[4096];
	ssize_t r = c->kind->readlink(c->target, path, target, sizeof(target));
	if (r != (ssize_t)n->size || memcmp(target, n->target, n->size) != 0)
		report(c, path, "readlink gave %zd bytes, or others than it should", r);
}

struct listing {
	struct comparison *comparison;
	const struct node *dir;
	const char *path;
	size_t found;
};

static int one_name(void *context, const char *name, uint64_t ino, uint8_t type)
{
	struct listing *l = context;
	if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return 0;
	struct node *child = model_child(l->dir, name);
	if (!child) {
		report(l->comparison, l->path, "lists %s, which should not be there", name);
		return 0;
	}
	l->found++;
	if (type != DT_UNKNOWN && type != IFTODT(child->mode))
		report(l->comparison, l->path, "lists %s with type %u", name, type);
	if (child->ino != 0 && child->ino != ino)
		report(l->comparison, l->path, "lists %s with inode number %llu, should be %llu",
			name, (unsigned long long)ino, (unsigned long long)child->ino);
	return 0;
}

static void compare_names(struct comparison *c, struct node *n, const char *path)
{
	struct listing l = {.comparison = c, .dir = n, .path = path};
	struct stat st;
	char absent[LONG_PATH + 8];
	int r = c->kind->list(c->target, path, one_name, &l);
	if (r < 0)
		report(c, path, "listing: %s", strerror(-r));
	else if (l.found != n->entry_count)
		report(c, path, "%zu names listed, should be %zu", l.found, n->entry_count);
	for (char letter = 'a'; letter < 'a' + 14; letter++) {
		char name[2] = {letter, '\0'};
		if (model_child(n, name))
			continue;
		snprintf(absent, sizeof(absent), "%s%s%c", path, path[0] ? "/" : "", letter);
		r = c->kind->stat(c->target, absent, &st);
		if (r != -ENOENT)
			report(c, absent, "should not be there, stat gives %d", r);
	}
}

static void compare_node(struct comparison *c, struct node *n, const char *path)
{
	compare_stat(c, n, path);
	if (S_ISREG(n->mode))
		compare_data(c, n, path);
	else if (S_ISLNK(n->mode))
		compare_target(c, n, path);
	if (S_ISREG(n->mode) || S_ISDIR(n->mode))
		compare_attributes(c, n, path);
	if (!S_ISDIR(n->mode))
		return;
	compare_names(c, n, path);
	for (size_t i = 0; i < n->entry_count && c->reports == 0; i++) {
		char below[LONG_PATH];
		int length = snprintf(below, sizeof(below), "%s%s%s", path, path[0] ? "/" : "",
			n->entries[i].name);
		if (length < LONG_PATH - 300)
			compare_node(c, n->entries[i].node, below);
	}
}

static int comparison_begin(struct comparison *c)
{
	c->ours = malloc(PIECE_BYTES);
	c->theirs = malloc(PIECE_BYTES);
	return c->ours && c->theirs ? 0 : -1;
}

static int comparison_end(struct comparison *c)
{
	free(c->ours);
	free(c->theirs);
	if (c->reports > REPORTS_MAX)
		fprintf(stderr, "... and %d more\n", c->reports - REPORTS_MAX);
	return c->reports ? -1 : 0;
}

int compare_file(struct node *n, const char *path, const struct target_kind *kind, struct target *t)
{
	struct comparison c = {.kind = kind, .target = t};
	if (comparison_begin(&c) == 0)
		compare_node(&c, n, path);
	return comparison_end(&c);
}

int compare_tree(struct model *m, const struct target_kind *kind, struct target *t)
{
	struct comparison c = {.model = m, .kind = kind, .target = t};
	if (comparison_begin(&c) == 0) {
		compare_node(&c, m->root, "");
		for (int i = 0; i < SLOTS && c.reports == 0; i++) {
			char path[3] = {'@', (char)('0' + i), '\0'};
			if (m->slots[i])
				compare_node(&c, m->slots[i], path);
		}
	}
	return comparison_end(&c);
}
