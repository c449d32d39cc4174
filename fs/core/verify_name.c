// SPDX-License-Identifier: BSD-2-Clause
/*
 * verify_name.c - phase 4: what the directories hold, whether every inode has its names, and
 * whether every directory can be reached from the root.
 *
 * A directory's one true name is the entry that stands in the directory which it calls its parent.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dir.h"
#include "verify_impl.h"

struct names { /* the directory that is looked at */
	struct verify *v;
	uint64_t dir;
	uint64_t entries;
	uint64_t base; /* of the hash of the names collected below */
	struct {
		uint8_t bytes;
		char name[NAME_BYTES_MAX];
	} same[256]; /* names under that hash: duplicates stand side by side */
	unsigned same_count;
};

static int queue_entry(struct names *n, enum repair_kind kind, uint64_t key, uint64_t b)
{
	return verify_queue(n->v, &(struct repair){.kind = kind, .ino = n->dir, .a = key, .b = b});
}

static void printable(const struct media_dirent *d, char out[NAME_BYTES_MAX + 1])
{
	for (unsigned i = 0; i < d->name_bytes; i++)
		out[i] = d->name[i] < ' ' || d->name[i] == 0x7f ? '?' : (char)d->name[i];
	out[d->name_bytes] = '\0';
}

/* An entry that has to go. */
static int bad_entry(
	struct names *n, const struct btree_item *item, const char *name, const char *why)
{
	if (verify_found(n->v, n->dir, "removed",
		    "directory %llu%s: the entry \"%s\" (key %llx) %s", (unsigned long long)n->dir,
		    verify_path(n->v, n->dir).text, name, (unsigned long long)item->key, why))
		return queue_entry(n, REPAIR_ENTRY, item->key, 0);
	return 0;
}

static const char *name_fault(struct names *n, const struct media_dirent *d)
{
	if (memchr(d->name, '/', d->name_bytes) || memchr(d->name, '\0', d->name_bytes))
		return "has a name that no file can have";
	if (d->name[0] == '.' && (d->name_bytes == 1 || (d->name_bytes == 2 && d->name[1] == '.')))
		return "has a name that no file can have";
	for (unsigned i = 0; i < n->same_count; i++)
		if (n->same[i].bytes == d->name_bytes &&
			memcmp(n->same[i].name, d->name, d->name_bytes) == 0)
			return "has the name of another entry";
	return NULL;
}

static void remember_name(struct names *n, uint64_t key, const struct media_dirent *d)
{
	if (key >> 8 != n->base) {
		n->base = key >> 8;
		n->same_count = 0;
	}
	if (n->same_count < 256) {
		n->same[n->same_count].bytes = d->name_bytes;
		memcpy(n->same[n->same_count++].name, d->name, d->name_bytes);
	}
}

static int add_stray(struct verify *v, const struct stray *stray)
{
	if (v->stray_count == v->stray_capacity) {
		size_t capacity = v->stray_capacity ? v->stray_capacity * 2 : 16;
		struct stray *more = realloc(v->strays, capacity * sizeof(*more));

		if (!more)
			return -ENOMEM;
		v->strays = more;
		v->stray_capacity = capacity;
	}
	v->strays[v->stray_count++] = *stray;
	return 0;
}

/* Where the entry leads to. */
static int check_target(struct names *n, const struct btree_item *item,
	const struct media_dirent *d, const char *name)
{
	struct verify *v = n->v;
	const struct media_inode *m = verify_record(v, d->ino);

	if (!m && bitset_test(&v->in_use, d->ino))
		return 0; /* its record is reported; its names go when it has been given up */
	if (!m)
		return bad_entry(n, item, name, "leads to an inode that is not in use");
	n->entries++;
	v->report->names++;
	if (S_ISDIR(m->mode)) {
		if (m->parent != n->dir || bitset_test(&v->linked, d->ino) || d->ino == ROOT_INO)
			return add_stray(v, &(struct stray){n->dir, item->key, d->ino});
		bitset_set(&v->linked, d->ino);
		v->references[n->dir]++;
	} else {
		v->references[d->ino]++;
	}
	if (d->type == (m->mode & S_IFMT) >> 12)
		return 0;
	if (verify_found(v, n->dir, "corrected",
		    "directory %llu%s: the entry \"%s\" says type %u, inode %llu is of type %u",
		    (unsigned long long)n->dir, verify_path(v, n->dir).text, name, d->type,
		    (unsigned long long)d->ino, (m->mode & S_IFMT) >> 12))
		return queue_entry(n, REPAIR_TYPE, item->key, (m->mode & S_IFMT) >> 12);
	return 0;
}

static int on_entry(void *context, const struct btree_item *item)
{
	struct names *n = context;
	const struct media_dirent *d;
	char name[NAME_BYTES_MAX + 1];
	const char *why;
	uint64_t key;

	if (dirent_decode(item, &d) < 0)
		return bad_entry(n, item, "", "cannot be read");
	printable(d, name);
	if (item->key >> 8 != n->base)
		n->same_count = 0;
	why = name_fault(n, d);
	if (why)
		return bad_entry(n, item, name, why);
	remember_name(n, item->key, d);
	key = dir_hash(n->v->core->super.hash_seed, (const char *)d->name, d->name_bytes);
	if (item->key >> 8 != key >> 8 &&
		verify_found(n->v, n->dir, "entered again where it belongs",
			"directory %llu%s: the entry \"%s\" stands under a key that is not its "
			"name's, "
			"and cannot be looked up",
			(unsigned long long)n->dir, verify_path(n->v, n->dir).text, name)) {
		int r = queue_entry(n, REPAIR_REHASH, item->key, 0);
		if (r < 0)
			return r;
	}
	return check_target(n, item, d, name);
}

static int check_dir(struct verify *v, struct names *n, uint64_t dir)
{
	const struct media_inode *m = verify_record(v, dir);
	const struct btree tree = {.meta = v->core->meta, .heap = v->core->heap, .owner = dir};
	const struct btree_visitor visitor = {.context = n, .item = on_entry};
	size_t repairs = v->repair_count, strays = v->stray_count;
	uint64_t findings = v->pass_findings;

	n->dir = dir;
	n->entries = 0;
	n->base = 0;
	n->same_count = 0;
	int r = btree_check(&tree, &m->tree, &visitor);
	if (r == -EUCLEAN)
		return 0; /* phase 3 told */
	if (r != 0 || n->entries == m->size || repairs != v->repair_count ||
		strays != v->stray_count || findings != v->pass_findings || v->tree_damage)
		return r; /* with other damage the count is the next pass's */
	if (verify_found(v, dir, "corrected", "directory %llu%s: counts %llu names, it has %llu",
		    (unsigned long long)dir, verify_path(v, dir).text, (unsigned long long)m->size,
		    (unsigned long long)n->entries))
		r = verify_queue(
			v, &(struct repair){.kind = REPAIR_SIZE, .ino = dir, .a = n->entries});
	return r;
}

static int check_strays(struct verify *v)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < v->stray_count; i++) {
		const struct stray *s = &v->strays[i];
		struct repair repair = {.kind = REPAIR_ENTRY, .ino = s->dir, .a = s->key};
		bool again = s->ino == ROOT_INO || bitset_test(&v->linked, s->ino);

		if (again) {
			if (!verify_found(v, s->ino, "removed",
				    "directory %llu%s has a second name, in directory %llu",
				    (unsigned long long)s->ino, verify_path(v, s->ino).text,
				    (unsigned long long)s->dir))
				continue;
		} else {
			bitset_set(&v->linked, s->ino);
			v->references[s->dir]++;
			if (!verify_found(v, s->ino, "corrected",
				    "directory %llu has its name in directory %llu%s, but another "
				    "one as its \"..\"",
				    (unsigned long long)s->ino, (unsigned long long)s->dir,
				    verify_path(v, s->dir).text))
				continue;
			repair = (struct repair){.kind = REPAIR_PARENT, .ino = s->ino, .a = s->dir};
		}
		r = verify_queue(v, &repair);
	}
	return r;
}

/* ---- reachability ---------------------------------------------------------------------------- */

static int lose(struct verify *v, uint64_t ino, const char *why)
{
	if (verify_found(v, ino, "named in /lost+found", "%s %llu %s",
		    bitset_test(&v->is_dir, ino) ? "directory" : "inode", (unsigned long long)ino,
		    why))
		return verify_queue(v, &(struct repair){.kind = REPAIR_LOST, .ino = ino});
	return 0;
}

static uint64_t climb(struct verify *v, uint64_t dir)
{
	const struct media_inode *m = verify_record(v, dir);

	return m ? m->parent : 0;
}

/* Marks as reached what leads to the root, or to a directory that gets a name in /lost+found. */
static int reach(struct verify *v, struct bitset *reached, struct bitset *on_path, uint64_t from)
{
	uint64_t dir = from;
	int r = 0;

	while (dir != ROOT_INO && !bitset_test(reached, dir) && bitset_test(&v->linked, dir)) {
		if (bitset_test(on_path, dir)) {
			r = lose(v, dir, "is below itself");
			break;
		}
		bitset_set(on_path, dir);
		uint64_t parent = climb(v, dir);
		if (!bitset_test(&v->sound, parent))
			break;
		dir = parent;
	}
	for (dir = from; bitset_test(on_path, dir); dir = climb(v, dir)) {
		bitset_set(reached, dir);
		bitset_clear(on_path, dir);
	}
	return r;
}

static int check_reach(struct verify *v)
{
	struct bitset reached = {0}, on_path = {0};
	int r = bitset_make(&reached, v->inode_numbers);

	if (r == 0)
		r = bitset_make(&on_path, v->inode_numbers);
	for (uint64_t ino = ROOT_INO + 1; r == 0 && ino < v->inode_numbers; ino++)
		if (bitset_test(&v->linked, ino))
			r = reach(v, &reached, &on_path, ino);
	bitset_free(&reached);
	bitset_free(&on_path);
	return r;
}

/* ---- link counts ----------------------------------------------------------------------------- */

static int check_links(struct verify *v, uint64_t ino)
{
	const struct media_inode *m = verify_record(v, ino);
	bool dir = S_ISDIR(m->mode);
	bool named = dir ? ino == ROOT_INO || bitset_test(&v->linked, ino) : v->references[ino] > 0;
	uint64_t links = v->references[ino] + (dir ? 2 : 0);

	if (!named && m->nlink == 0)
		return 0; /* an orphan: phase 5 looks at its attention bit */
	if (!named)
		return lose(v, ino, dir ? "has no name" : "has no name left, but links");
	if (links == m->nlink)
		return 0;
	if (verify_found(v, ino, "corrected", "inode %llu%s: counts %u links, there are %llu",
		    (unsigned long long)ino, verify_path(v, ino).text, m->nlink,
		    (unsigned long long)links))
		return verify_queue(
			v, &(struct repair){.kind = REPAIR_NLINK, .ino = ino, .a = links});
	return 0;
}

int verify_names(struct verify *v)
{
	struct names *n = calloc(1, sizeof(*n));
	int r = n ? 0 : -ENOMEM;

	if (r < 0)
		return r;
	n->v = v;
	for (uint64_t ino = ROOT_INO; r == 0 && ino < v->inode_numbers; ino++) {
		if (ino % 4096 == 0)
			verify_progress(v, ino, v->inode_numbers);
		if (bitset_test(&v->is_dir, ino))
			r = check_dir(v, n, ino);
	}
	free(n);
	if (r == 0)
		r = check_strays(v);
	if (r == 0)
		r = check_reach(v);
	for (uint64_t ino = ROOT_INO; r == 0 && ino < v->inode_numbers; ino++)
		if (bitset_test(&v->sound, ino))
			r = check_links(v, ino);
	return r;
}
