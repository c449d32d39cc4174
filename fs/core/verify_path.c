// SPDX-License-Identifier: BSD-2-Clause
/*
 * verify_path.c - where an inode is, for sentences. Directories know their parent; for a file all
 * directories are searched, so that only a few findings of a pass get that.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "dir.h"
#include "verify_impl.h"

#define DEPTH_MAX 24

struct search {
	uint64_t ino;
	char name[NAME_BYTES_MAX + 1];
};

static int on_entry(void *context, const struct btree_item *item)
{
	struct search *s = context;
	const struct media_dirent *d;

	if (dirent_decode(item, &d) < 0 || d->ino != s->ino)
		return 0;
	memcpy(s->name, d->name, d->name_bytes);
	s->name[d->name_bytes] = '\0';
	for (char *at = s->name; *at; at++)
		if ((unsigned char)*at < ' ' || *at == 0x7f)
			*at = '?';
	return 1;
}

/* 1: found, the name is in *s. */
static int search_dir(struct verify *v, uint64_t dir, struct search *s)
{
	struct btree tree = {.meta = v->core->meta, .heap = v->core->heap, .owner = dir};
	const struct media_inode *m = NULL;
	const void *view;
	uint64_t offset = verify_record_offset(v, dir);

	if (offset && meta_verify(v->core->meta, offset, MAGIC_INODE) == 0 &&
		tx_view(v->core->meta, NULL, offset, MAGIC_INODE, &view) == 0)
		m = view;
	if (!m || m->ino != dir || !S_ISDIR(m->mode) || m->payload != PAYLOAD_TREE)
		return 0;
	const struct btree_visitor visitor = {.context = s, .item = on_entry};
	return btree_check(&tree, &m->tree, &visitor) == 1;
}

static uint64_t parent_of(struct verify *v, uint64_t ino)
{
	uint64_t offset = verify_record_offset(v, ino);
	const struct media_inode *m;
	const void *view;

	if (offset == 0 || tx_view(v->core->meta, NULL, offset, MAGIC_INODE, &view) < 0)
		return 0;
	m = view;
	return m->ino == ino && S_ISDIR(m->mode) ? m->parent : 0;
}

/* Some directory that names it; 0: none. */
static uint64_t find_holder(struct verify *v, struct search *s)
{
	if (v->path_searches == 0)
		return 0;
	v->path_searches--;
	for (uint64_t dir = ROOT_INO; dir < v->inode_numbers; dir++)
		if (bitset_test(&v->in_use, dir) && search_dir(v, dir, s))
			return dir;
	return 0;
}

struct path_text verify_path(struct verify *v, uint64_t ino)
{
	struct path_text out = {.text = " (/)"};
	struct search s = {.ino = ino};
	char path[sizeof(out.text) - 8] = "";

	if (ino == ROOT_INO)
		return out;
	out.text[0] = '\0';
	for (int depth = 0; depth < DEPTH_MAX && ino != ROOT_INO; depth++) {
		char longer[sizeof(path)];
		uint64_t dir = parent_of(v, ino);

		s.ino = ino;
		if (dir ? !search_dir(v, dir, &s) : (dir = find_holder(v, &s)) == 0)
			return out;
		int n = snprintf(longer, sizeof(longer), "/%s%s", s.name, path);
		if (n < 0 || (size_t)n >= sizeof(longer))
			return out;
		memcpy(path, longer, (size_t)n + 1);
		ino = dir;
	}
	if (ino == ROOT_INO)
		snprintf(out.text, sizeof(out.text), " (%s)", path);
	return out;
}
