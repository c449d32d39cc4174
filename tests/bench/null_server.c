// SPDX-License-Identifier: BSD-2-Clause
/*
 * null_server.c - a FUSE server that does next to nothing: the yardstick of leasebench.
 *
 *     null_server MOUNTPOINT
 *
 * It answers from fixed tables in memory, so that what a benchmark measures on it is the kernel,
 * libfuse and one copy of the data. It keeps names truly (a tree can be made, listed and removed),
 * but all files share one piece of memory as their content, times stand still, nothing is checked
 * and nothing is kept.
 *
 * Invariants
 *  1. It asks the kernel and libfuse for the same things as leasefs does (timeouts, max_write, no
 *     writeback cache, page cache kept over open, the same event loop), so that the two differ in
 *     the server alone. Whoever changes one changes the other.
 *  2. A node is reused only when it has no name and the kernel has forgotten it.
 *
 * Lock: table_lock guards the node table, the hash heads and the free list. Content is not locked.
 */
#include <errno.h>
#include <fuse_lowlevel.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define NODES_MAX (1u << 23) /* address space only, until touched */
#define HASH_HEADS (1u << 22)
#define CONTENT_BYTES (512ull << 20) /* well above the processors' caches, as a real pool is */
#define NAME_BYTES 48
#define TIMEOUT_SECONDS 86400.0
#define WRITE_BYTES_MAX (1u << 20)
#define ROOT 1u

struct node { /* 0 in any link: none */
	uint64_t size;
	uint64_t lookups;
	uint32_t generation;
	uint32_t mode;
	uint32_t parent; /* 0: has no name */
	uint32_t hash_next;
	uint32_t children; /* of a directory, the first */
	uint32_t sibling_next;
	uint32_t sibling_previous;
	uint32_t names; /* how many entries a directory holds */
	char name[NAME_BYTES];
};

static struct node *nodes;
static uint32_t *heads;
static char *content;
static uint32_t nodes_used = ROOT + 1;
static uint32_t free_list; /* linked by hash_next */
static pthread_mutex_t table_lock = PTHREAD_MUTEX_INITIALIZER;

/* ---- the table ------------------------------------------------------------------------------- */

static uint32_t head_of(uint32_t parent, const char *name)
{
	uint64_t hash = parent * 0x9e3779b97f4a7c15ull;

	for (; *name != '\0'; name++)
		hash = (hash ^ (unsigned char)*name) * 0x100000001b3ull;
	return (uint32_t)(hash >> 20) % HASH_HEADS;
}

static uint32_t find_locked(uint32_t parent, const char *name)
{
	uint32_t n = heads[head_of(parent, name)];

	while (n != 0 && (nodes[n].parent != parent || strcmp(nodes[n].name, name) != 0))
		n = nodes[n].hash_next;
	return n;
}

static void attach_locked(uint32_t n, uint32_t parent, const char *name)
{
	uint32_t *head = &heads[head_of(parent, name)];
	struct node *node = &nodes[n], *dir = &nodes[parent];

	strcpy(node->name, name);
	node->parent = parent;
	node->hash_next = *head;
	*head = n;
	node->sibling_previous = 0;
	node->sibling_next = dir->children;
	if (dir->children != 0)
		nodes[dir->children].sibling_previous = n;
	dir->children = n;
	dir->names++;
}

static void detach_locked(uint32_t n)
{
	struct node *node = &nodes[n], *dir = &nodes[node->parent];
	uint32_t *link = &heads[head_of(node->parent, node->name)];

	while (*link != n)
		link = &nodes[*link].hash_next;
	*link = node->hash_next;
	if (node->sibling_previous != 0)
		nodes[node->sibling_previous].sibling_next = node->sibling_next;
	else
		dir->children = node->sibling_next;
	if (node->sibling_next != 0)
		nodes[node->sibling_next].sibling_previous = node->sibling_previous;
	dir->names--;
	node->parent = 0;
}

static void release_if_unused_locked(uint32_t n)
{
	if (nodes[n].parent != 0 || nodes[n].lookups != 0 || n == ROOT)
		return;
	nodes[n].hash_next = free_list;
	free_list = n;
}

static uint32_t take_locked(uint32_t mode)
{
	uint32_t n = free_list;

	if (n != 0)
		free_list = nodes[n].hash_next;
	else if (nodes_used < NODES_MAX)
		n = nodes_used++;
	else
		return 0;
	nodes[n] = (struct node){.mode = mode, .generation = nodes[n].generation + 1};
	return n;
}

static void fill_stat(uint32_t n, struct stat *st)
{
	*st = (struct stat){
		.st_ino = n,
		.st_mode = nodes[n].mode,
		.st_nlink = S_ISDIR(nodes[n].mode) ? 2 : 1,
		.st_uid = getuid(),
		.st_gid = getgid(),
		.st_size = (off_t)nodes[n].size,
		.st_blocks = (blkcnt_t)((nodes[n].size + 511) / 512),
		.st_blksize = 4096,
	};
}

static void fill_entry_locked(uint32_t n, struct fuse_entry_param *entry)
{
	*entry = (struct fuse_entry_param){
		.ino = n,
		.generation = nodes[n].generation,
		.attr_timeout = TIMEOUT_SECONDS,
		.entry_timeout = TIMEOUT_SECONDS,
	};
	fill_stat(n, &entry->attr);
	nodes[n].lookups++;
}

/* ---- operations on names --------------------------------------------------------------------- */

static void null_init(void *context, struct fuse_conn_info *connection)
{
	(void)context;
	connection->max_write = WRITE_BYTES_MAX;
	connection->want &= ~FUSE_CAP_WRITEBACK_CACHE;
}

static void null_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fuse_entry_param entry = {.entry_timeout = TIMEOUT_SECONDS};
	uint32_t n;

	pthread_mutex_lock(&table_lock);
	n = find_locked((uint32_t)parent, name);
	if (n != 0)
		fill_entry_locked(n, &entry);
	pthread_mutex_unlock(&table_lock);
	fuse_reply_entry(req, &entry);
}

static void forget_locked(uint64_t n, uint64_t count)
{
	nodes[n].lookups -= count < nodes[n].lookups ? count : nodes[n].lookups;
	release_if_unused_locked((uint32_t)n);
}

static void null_forget(fuse_req_t req, fuse_ino_t n, uint64_t count)
{
	pthread_mutex_lock(&table_lock);
	forget_locked(n, count);
	pthread_mutex_unlock(&table_lock);
	fuse_reply_none(req);
}

static void null_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
	pthread_mutex_lock(&table_lock);
	for (size_t i = 0; i < count; i++)
		forget_locked(forgets[i].ino, forgets[i].nlookup);
	pthread_mutex_unlock(&table_lock);
	fuse_reply_none(req);
}

static int make_node(
	uint32_t parent, const char *name, uint32_t mode, struct fuse_entry_param *entry)
{
	int result = -ENOSPC;
	uint32_t n;

	if (strlen(name) >= NAME_BYTES)
		return -ENAMETOOLONG;
	pthread_mutex_lock(&table_lock);
	n = find_locked(parent, name) != 0 ? 0 : take_locked(mode);
	if (n != 0) {
		attach_locked(n, parent, name);
		fill_entry_locked(n, entry);
		result = 0;
	}
	pthread_mutex_unlock(&table_lock);
	return result;
}

static void null_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	struct fuse_entry_param entry;
	int result = make_node((uint32_t)parent, name, S_IFDIR | (mode & 07777), &entry);

	if (result != 0)
		fuse_reply_err(req, -result);
	else
		fuse_reply_entry(req, &entry);
}

static void null_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
	struct fuse_file_info *file)
{
	struct fuse_entry_param entry;
	int result = make_node((uint32_t)parent, name, S_IFREG | (mode & 07777), &entry);

	file->keep_cache = 1;
	if (result != 0)
		fuse_reply_err(req, -result);
	else
		fuse_reply_create(req, &entry, file);
}

static void null_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	uint32_t n;

	pthread_mutex_lock(&table_lock);
	n = find_locked((uint32_t)parent, name);
	if (n != 0) {
		detach_locked(n);
		release_if_unused_locked(n);
	}
	pthread_mutex_unlock(&table_lock);
	fuse_reply_err(req, n != 0 ? 0 : ENOENT);
}

static void null_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	int result = ENOENT;
	uint32_t n;

	pthread_mutex_lock(&table_lock);
	n = find_locked((uint32_t)parent, name);
	if (n != 0 && nodes[n].names != 0) {
		result = ENOTEMPTY;
	} else if (n != 0) {
		detach_locked(n);
		release_if_unused_locked(n);
		result = 0;
	}
	pthread_mutex_unlock(&table_lock);
	fuse_reply_err(req, result);
}

static void null_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t new_parent,
	const char *new_name, unsigned flags)
{
	uint32_t n, old;

	if (flags != 0 || strlen(new_name) >= NAME_BYTES) {
		fuse_reply_err(req, EINVAL);
		return;
	}
	pthread_mutex_lock(&table_lock);
	n = find_locked((uint32_t)parent, name);
	if (n != 0) {
		old = find_locked((uint32_t)new_parent, new_name);
		if (old != 0 && old != n) {
			detach_locked(old);
			release_if_unused_locked(old);
		}
		detach_locked(n);
		attach_locked(n, (uint32_t)new_parent, new_name);
	}
	pthread_mutex_unlock(&table_lock);
	fuse_reply_err(req, n != 0 ? 0 : ENOENT);
}

/*
 * A directory's cookies are node numbers: good while nobody removes the entry that a listing stands
 * at, which the benchmark's own way of removing (list all, then remove) does not do.
 */
static void list(fuse_req_t req, fuse_ino_t dir, size_t bytes, off_t cookie, int plus)
{
	char *out = malloc(bytes);
	size_t used = 0, need;
	uint32_t n;

	if (out == NULL) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	pthread_mutex_lock(&table_lock);
	n = cookie == 0 ? nodes[dir].children : nodes[cookie].sibling_next;
	while (n != 0) {
		struct fuse_entry_param entry = {0};

		fill_stat(n, &entry.attr);
		if (plus) {
			need = fuse_add_direntry_plus(req, NULL, 0, nodes[n].name, &entry, n);
			if (used + need > bytes)
				break;
			fill_entry_locked(n, &entry);
			fuse_add_direntry_plus(req, out + used, need, nodes[n].name, &entry, n);
		} else {
			need = fuse_add_direntry(
				req, out + used, bytes - used, nodes[n].name, &entry.attr, n);
			if (used + need > bytes)
				break;
		}
		used += need;
		n = nodes[n].sibling_next;
	}
	pthread_mutex_unlock(&table_lock);
	fuse_reply_buf(req, out, used);
	free(out);
}

static void null_readdir(
	fuse_req_t req, fuse_ino_t dir, size_t bytes, off_t cookie, struct fuse_file_info *file)
{
	(void)file;
	list(req, dir, bytes, cookie, 0);
}

static void null_readdirplus(
	fuse_req_t req, fuse_ino_t dir, size_t bytes, off_t cookie, struct fuse_file_info *file)
{
	(void)file;
	list(req, dir, bytes, cookie, 1);
}

/* ---- operations on files --------------------------------------------------------------------- */

static void null_getattr(fuse_req_t req, fuse_ino_t n, struct fuse_file_info *file)
{
	struct stat st;

	(void)file;
	fill_stat((uint32_t)n, &st);
	fuse_reply_attr(req, &st, TIMEOUT_SECONDS);
}

static void null_setattr(
	fuse_req_t req, fuse_ino_t n, struct stat *set, int valid, struct fuse_file_info *file)
{
	struct stat st;

	(void)file;
	if ((valid & FUSE_SET_ATTR_SIZE) != 0)
		nodes[n].size = (uint64_t)set->st_size;
	if ((valid & FUSE_SET_ATTR_MODE) != 0)
		nodes[n].mode = (nodes[n].mode & S_IFMT) | (set->st_mode & 07777);
	fill_stat((uint32_t)n, &st);
	fuse_reply_attr(req, &st, TIMEOUT_SECONDS);
}

static void null_open(fuse_req_t req, fuse_ino_t n, struct fuse_file_info *file)
{
	(void)n;
	file->keep_cache = 1;
	fuse_reply_open(req, file);
}

static void null_read(
	fuse_req_t req, fuse_ino_t n, size_t bytes, off_t offset, struct fuse_file_info *file)
{
	uint64_t size = nodes[n].size, start = (uint64_t)offset % CONTENT_BYTES;

	(void)file;
	if ((uint64_t)offset >= size)
		bytes = 0;
	else if (bytes > size - (uint64_t)offset)
		bytes = size - (uint64_t)offset;
	fuse_reply_buf(req, content + start, bytes); /* content has room past its end */
}

static void null_write(fuse_req_t req, fuse_ino_t n, const char *data, size_t bytes, off_t offset,
	struct fuse_file_info *file)
{
	uint64_t end = (uint64_t)offset + bytes;

	(void)file;
	memcpy(content + (uint64_t)offset % CONTENT_BYTES, data, bytes);
	if (end > nodes[n].size)
		nodes[n].size = end;
	fuse_reply_write(req, bytes);
}

static void null_fallocate(fuse_req_t req, fuse_ino_t n, int mode, off_t offset, off_t length,
	struct fuse_file_info *file)
{
	(void)file;
	if (mode == 0 && (uint64_t)(offset + length) > nodes[n].size)
		nodes[n].size = (uint64_t)(offset + length);
	fuse_reply_err(req, 0);
}

static void null_ioctl(fuse_req_t req, fuse_ino_t n, unsigned command, void *argument,
	struct fuse_file_info *file, unsigned flags, const void *in, size_t in_bytes,
	size_t out_bytes)
{
	static const char zeroes[4096];

	(void)n, (void)command, (void)argument, (void)file, (void)flags, (void)in, (void)in_bytes;
	fuse_reply_ioctl(req, 0, zeroes, out_bytes < sizeof(zeroes) ? out_bytes : sizeof(zeroes));
}

static const struct fuse_lowlevel_ops operations = {
	.init = null_init,
	.lookup = null_lookup,
	.forget = null_forget,
	.forget_multi = null_forget_multi,
	.getattr = null_getattr,
	.setattr = null_setattr,
	.mkdir = null_mkdir,
	.create = null_create,
	.unlink = null_unlink,
	.rmdir = null_rmdir,
	.rename = null_rename,
	.open = null_open,
	.read = null_read,
	.write = null_write,
	.readdir = null_readdir,
	.readdirplus = null_readdirplus,
	.fallocate = null_fallocate,
	.ioctl = null_ioctl,
};

/* ---- main ------------------------------------------------------------------------------------ */

static void *reserve(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

int main(int argc, char **argv)
{
	struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
	struct fuse_loop_config *config;
	struct fuse_session *session;
	int result = 1;

	if (argc != 2) {
		fprintf(stderr, "usage: %s MOUNTPOINT\n", argv[0]);
		return 2;
	}
	nodes = reserve(NODES_MAX * sizeof(*nodes));
	heads = reserve(HASH_HEADS * sizeof(*heads));
	content = reserve(CONTENT_BYTES + WRITE_BYTES_MAX);
	if (nodes == NULL || heads == NULL || content == NULL) {
		perror("null_server: mmap");
		return 1;
	}
	nodes[ROOT] = (struct node){.mode = S_IFDIR | 0755, .lookups = 1};

	if (fuse_opt_add_arg(&args, argv[0]) != 0 ||
		fuse_opt_add_arg(&args, "-ofsname=null,subtype=null,default_permissions") != 0)
		return 1;
	session = fuse_session_new(&args, &operations, sizeof(operations), NULL);
	if (session == NULL)
		return 1;
	if (fuse_set_signal_handlers(session) != 0)
		goto destroy;
	if (fuse_session_mount(session, argv[1]) != 0)
		goto handlers;
	config = fuse_loop_cfg_create();
	if (config != NULL) {
		result = fuse_session_loop_mt(session, config);
		if (result == SIGTERM || result == SIGINT || result == SIGHUP)
			result = 0;
		fuse_loop_cfg_destroy(config);
	}
	fuse_session_unmount(session);
handlers:
	fuse_remove_signal_handlers(session);
destroy:
	fuse_session_destroy(session);
	fuse_opt_free_args(&args);
	return result != 0;
}
