// SPDX-License-Identifier: BSD-2-Clause
/*
 * generate.c - random scripts.
 *
 * Each operation is played in a model as it is made, so that most paths are there. Names come from
 * a small set, so that operations meet each other often.
 */
#include <assert.h>
#include <errno.h>
#include <linux/falloc.h>
#include <stdlib.h>

#include "model.h"
#include "script.h"

struct generator {
	struct rng rng;
	struct model model;
	const struct script_options *options;
};

static const struct {
	enum op_kind kind;
	unsigned weight;
} weights[] = {
	{OP_CREATE, 8},
	{OP_MKDIR, 5},
	{OP_MKNOD, 2},
	{OP_SYMLINK, 3},
	{OP_LINK, 4},
	{OP_UNLINK, 6},
	{OP_RMDIR, 3},
	{OP_RENAME, 8},
	{OP_WRITE, 16},
	{OP_APPEND, 6},
	{OP_READ, 6},
	{OP_TRUNCATE, 7},
	{OP_FALLOC, 9},
	{OP_COMB, 2},
	{OP_COPY, 4},
	{OP_SETXATTR, 5},
	{OP_DELXATTR, 2},
	{OP_CHMOD, 2},
	{OP_CHOWN, 2},
	{OP_UTIMENS, 2},
	{OP_OPEN, 3},
	{OP_TMPFILE, 1},
	{OP_CLOSE, 3},
	{OP_FILL, 1},
	{OP_DRAIN, 1},
};

static void add_name(char path[PATH_BYTES], const char *name)
{
	size_t n = strlen(path);
	if (n + strlen(name) + 2 > PATH_BYTES)
		return;
	if (n > 0)
		path[n++] = '/';
	strcpy(path + n, name);
}

static void random_name(struct rng *r, char out[300])
{
	size_t bytes = 1;
	if (rng_percent(r, 3))
		bytes = 1 + rng_below(r, 258); /* at times one too long */
	char letter = (char)('a' + rng_below(r, 14));
	memset(out, letter, bytes);
	out[bytes] = '\0';
}

/* Walks down from the root, ending somewhere; `type` 0: anything. True if the end is of the type.
 */
static bool walk_down(struct generator *g, mode_t type, char path[PATH_BYTES])
{
	struct node *at = g->model.root;
	path[0] = '\0';
	for (int depth = 0; depth < 6; depth++) {
		if (!S_ISDIR(at->mode) || at->entry_count == 0)
			break;
		if (S_ISDIR(type) && rng_percent(&g->rng, 30))
			break;
		const struct entry *e = &at->entries[rng_below(&g->rng, at->entry_count)];
		if (S_ISDIR(type) && !S_ISDIR(e->node->mode))
			continue;
		if (strlen(path) + strlen(e->name) + 302 > PATH_BYTES)
			break;
		add_name(path, e->name);
		at = e->node;
		if (type == 0 && rng_percent(&g->rng, 20))
			break;
	}
	return type == 0 || (at->mode & S_IFMT) == type;
}

static void pick(struct generator *g, mode_t type, char path[PATH_BYTES])
{
	if (S_ISREG(type) && g->options->slots && rng_percent(&g->rng, 15)) {
		snprintf(path, PATH_BYTES, "@%u", (unsigned)rng_below(&g->rng, SLOTS));
		return;
	}
	for (int tries = 0; tries < 12; tries++)
		if (walk_down(g, type, path) && (path[0] || S_ISDIR(type)))
			return;
}

static void pick_new(struct generator *g, char path[PATH_BYTES])
{
	char name[300];
	pick(g, S_IFDIR, path);
	random_name(&g->rng, name);
	add_name(path, name);
}

static uint64_t pick_offset(struct generator *g)
{
	struct rng *r = &g->rng;
	uint64_t at = rng_below(r, g->options->file_bytes);
	if (g->options->huge && rng_percent(r, 2))
		at += (1ull << 40) - (rng_below(r, 2) << 20);
	if (rng_percent(r, 60))
		at = rng_below(r, 1 + g->options->file_bytes / 16);
	if (rng_percent(r, 35))
		at &= ~4095ull;
	return at;
}

static uint64_t pick_length(struct generator *g)
{
	struct rng *r = &g->rng;
	uint64_t most = 1ull << (4 + rng_below(r, 16));
	uint64_t n = 1 + rng_below(r, most);
	if (rng_percent(r, 30))
		n = (n + 4095) & ~4095ull;
	return rng_percent(r, 1) ? 0 : n;
}

static void pick_falloc(struct generator *g, struct op *op)
{
	static const uint32_t modes[] = {0, FALLOC_FL_KEEP_SIZE,
		FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, FALLOC_FL_ZERO_RANGE,
		FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE};
	op->mode = modes[rng_below(&g->rng, sizeof(modes) / sizeof(modes[0]))];
	op->offset = pick_offset(g);
	op->length = pick_length(g);
	if (op->mode & FALLOC_FL_PUNCH_HOLE && rng_percent(&g->rng, 20))
		op->length = rng_below(&g->rng, g->options->file_bytes) + 1;
}

static void pick_attributes(struct generator *g, struct op *op)
{
	struct rng *r = &g->rng;
	mode_t type = rng_percent(r, 70) ? S_IFREG : rng_percent(r, 80) ? S_IFDIR : 0;
	struct node *n;
	pick(g, type, op->path);
	switch (op->kind) {
	case OP_SETXATTR:
		op->seed = rng_below(r, 200);
		op->length = rng_below(r, 1ull << rng_below(r, 17));
		op->mode = rng_percent(r, 70) ? 0 : 1 + (uint32_t)rng_below(r, 2);
		op->seed2 = rng_next(r) % 100000;
		break;
	case OP_DELXATTR:
		op->seed = rng_below(r, 200);
		break;
	case OP_CHMOD:
		op->mode = (uint32_t)rng_below(r, 01000);
		if (model_resolve(&g->model, op->path, &n) == 0 && S_ISDIR(n->mode))
			op->mode |= (uint32_t)rng_below(r, 4) << 9 & 03000;
		break;
	case OP_CHOWN:
		op->mode = (uint32_t)rng_below(r, 5) * 1000;
		op->count = (uint32_t)rng_below(r, 5) * 1000;
		break;
	default:
		op->offset = rng_below(r, 4000000000ull);
	}
}

static void pick_names(struct generator *g, struct op *op)
{
	static const uint32_t special[] = {S_IFIFO, S_IFSOCK, S_IFCHR};
	static const uint32_t flags[] = {0, RENAME_NOREPLACE, RENAME_EXCHANGE, RENAME_WHITEOUT,
		RENAME_WHITEOUT | RENAME_NOREPLACE};
	struct rng *r = &g->rng;
	switch (op->kind) {
	case OP_LINK:
		pick(g, rng_percent(r, 80) ? S_IFREG : 0, op->path);
		pick_new(g, op->path2);
		return;
	case OP_UNLINK:
		pick(g, rng_percent(r, 60) ? S_IFREG : 0, op->path);
		return;
	case OP_RMDIR:
		pick(g, S_IFDIR, op->path);
		return;
	case OP_RENAME:
		pick(g, rng_percent(r, 40) ? S_IFDIR : 0, op->path);
		if (rng_percent(r, 50))
			pick_new(g, op->path2);
		else
			pick(g, rng_percent(r, 40) ? S_IFDIR : 0, op->path2);
		op->mode =
			flags[rng_percent(r, 50) ? 0
						 : rng_below(r, sizeof(flags) / sizeof(flags[0]))];
		return;
	default:
		pick_new(g, op->path);
	}
	op->mode = (uint32_t)rng_below(r, 01000);
	if (op->kind == OP_MKNOD) {
		op->mode |= special[rng_below(r, g->options->privileged ? 3 : 2)];
		op->length = rng_below(r, 200);
	} else if (op->kind == OP_SYMLINK) {
		op->length = 1 + rng_below(r, rng_percent(r, 30) ? 4095 : 120);
		op->seed = rng_below(r, 1000);
	}
}

static void pick_data(struct generator *g, struct op *op)
{
	struct rng *r = &g->rng;
	pick(g, rng_percent(r, 97) ? S_IFREG : 0, op->path);
	op->offset = pick_offset(g);
	op->length = pick_length(g);
	op->seed = rng_next(r) % 1000000;
	switch (op->kind) {
	case OP_FALLOC:
		pick_falloc(g, op);
		break;
	case OP_COMB:
		op->count = 1 + (uint32_t)rng_below(r, rng_percent(r, 20) ? 700 : 20);
		op->offset &= ~4095ull; /* a tooth is one block: written whole, or not at all */
		break;
	case OP_COPY:
		pick(g, S_IFREG, op->path2);
		op->offset2 = pick_offset(g);
		break;
	default:
		break;
	}
}

static void pick_slots(struct generator *g, struct op *op)
{
	struct rng *r = &g->rng;
	op->slot = (uint32_t)rng_below(r, SLOTS);
	if (op->kind == OP_OPEN) {
		do
			pick(g, S_IFREG, op->path);
		while (op->path[0] == '@');
	} else if (op->kind == OP_TMPFILE) {
		pick(g, S_IFDIR, op->path);
		op->mode = (uint32_t)rng_below(r, 01000);
	}
}

static void pick_crowd(struct generator *g, struct op *op)
{
	struct rng *r = &g->rng;
	pick(g, S_IFDIR, op->path);
	op->seed = rng_below(r, 3);
	op->count = 1 + (uint32_t)rng_below(r, rng_percent(r, 30) ? 600 : 40);
}

static enum op_kind pick_kind(struct generator *g)
{
	unsigned total = 0;
	size_t count = sizeof(weights) / sizeof(weights[0]);
	for (size_t i = 0; i < count; i++)
		total += weights[i].weight;
	for (;;) {
		unsigned at = (unsigned)rng_below(&g->rng, total);
		size_t i = 0;
		while (at >= weights[i].weight)
			at -= weights[i++].weight;
		enum op_kind kind = weights[i].kind;
		bool slot = kind == OP_OPEN || kind == OP_TMPFILE || kind == OP_CLOSE;
		if ((slot && !g->options->slots) || (kind == OP_TMPFILE && !g->options->tmpfile) ||
			(kind == OP_CHOWN && !g->options->privileged))
			continue;
		return kind;
	}
}

/* Without privileges the kernel refuses what the modes forbid: the owner keeps all rights. */
static void keep_rights(struct op *op)
{
	switch (op->kind) {
	case OP_CREATE:
	case OP_MKDIR:
	case OP_MKNOD:
	case OP_CHMOD:
	case OP_TMPFILE:
		op->mode |= 0700;
		break;
	default:
		break;
	}
}

static void next_op(struct generator *g, struct op *op)
{
	memset(op, 0, sizeof(*op));
	op->kind = pick_kind(g);
	switch (op->kind) {
	case OP_CREATE:
	case OP_MKDIR:
	case OP_MKNOD:
	case OP_SYMLINK:
	case OP_LINK:
	case OP_UNLINK:
	case OP_RMDIR:
	case OP_RENAME:
		pick_names(g, op);
		break;
	case OP_SETXATTR:
	case OP_DELXATTR:
	case OP_CHMOD:
	case OP_CHOWN:
	case OP_UTIMENS:
		pick_attributes(g, op);
		break;
	case OP_OPEN:
	case OP_TMPFILE:
	case OP_CLOSE:
		pick_slots(g, op);
		break;
	case OP_FILL:
	case OP_DRAIN:
		pick_crowd(g, op);
		break;
	default:
		pick_data(g, op);
	}
}

static void end_batch(struct generator *g, struct script *out)
{
	struct op op = {.kind = OP_COMPARE};
	if (g->options->crash && rng_percent(&g->rng, 40))
		op.kind = rng_percent(&g->rng, 60) ? OP_CRASH : OP_REMOUNT;
	if (op.kind != OP_COMPARE) {
		model_apply(&g->model, &op, UINT64_MAX);
		script_add(out, &op);
		op.kind = OP_COMPARE;
	}
	script_add(out, &op);
}

void script_generate(const struct script_options *options, struct script *out)
{
	struct generator g = {.rng = {mix64(options->seed + 1)}, .options = options};
	struct op op;
	model_init(&g.model);
	for (uint64_t i = 1; i <= options->ops; i++) {
		next_op(&g, &op);
		if (!options->privileged)
			keep_rights(&op);
		model_apply(&g.model, &op, UINT64_MAX);
		script_add(out, &op);
		if (i % options->batch == 0 || i == options->ops)
			end_batch(&g, out);
	}
	model_free(&g.model);
}
