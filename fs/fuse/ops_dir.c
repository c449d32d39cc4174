// SPDX-License-Identifier: BSD-2-Clause
/*
 * ops_dir.c - listing directories.
 *
 * No state is kept for an open directory: the cookies say everything. opendir and releasedir stay
 * requests all the same, since answering ENOSYS would make the kernel cache listings, and its cache
 * takes a cookie that is no longer in it for the end of the directory.
 *
 * Names of a directory do not change while it is being listed: the kernel holds its lock.
 */
#include <dirent.h>
#include <errno.h>
#include <linux/fuse.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "control.h"
#include "nodes.h"
#include "ops.h"
#include "reply.h"

#define LIST_BYTES_MAX (256u << 10) /* of one reply, whatever the kernel offers */
#define LIST_BYTES_STACK (16u << 10)

struct listing {
	fuse_req_t req;
	struct core *core;
	char *buffer;
	size_t room, used;
	bool plus;
	int error;
};

static bool is_dots(const char *name)
{
	return name[0] == '.' && (name[1] == '\0' || (name[1] == '.' && name[2] == '\0'));
}

static int emit_plain(struct listing *l, const struct core_dirent *entry)
{
	struct stat st = {.st_ino = entry->ino, .st_mode = DTTOIF(entry->type)};
	size_t left = l->room - l->used;
	size_t needed = fuse_add_direntry(
		l->req, l->buffer + l->used, left, entry->name, &st, (off_t)entry->cookie);

	if (needed > left)
		return 1;
	l->used += needed;
	return 0;
}

/* An entry that was packed with its inode counts as a lookup; the dots and the lost do not. */
static int emit_plus(struct listing *l, const struct core_dirent *entry)
{
	struct fuse_entry_param param = {
		.attr = {.st_ino = entry->ino, .st_mode = DTTOIF(entry->type)}};
	size_t left = l->room - l->used;
	struct inode *ip = NULL;

	if (fuse_add_direntry_plus(l->req, NULL, 0, entry->name, NULL, 0) > left)
		return 1;
	if (!is_dots(entry->name)) {
		int result = core_get(l->core, entry->ino, &ip);
		if (result == 0) {
			result = entry_describe(l->core, ip, &param);
			if (result != 0)
				core_put(l->core, ip, 1);
		}
		if (result != 0) /* damaged: listed; what is wrong with it says lookup */
			param = (struct fuse_entry_param){
				.attr = {.st_ino = entry->ino, .st_mode = DTTOIF(entry->type)}};
	}
	l->used += fuse_add_direntry_plus(
		l->req, l->buffer + l->used, left, entry->name, &param, (off_t)entry->cookie);
	return 0;
}

static int emit(void *context, const struct core_dirent *entry)
{
	struct listing *l = context;

	return l->plus ? emit_plus(l, entry) : emit_plain(l, entry);
}

/* The reply did not arrive: nobody will forget what it named. */
static void take_back(struct listing *l)
{
	for (size_t at = 0; at + FUSE_NAME_OFFSET_DIRENTPLUS <= l->used;) {
		const struct fuse_direntplus *entry = (const void *)(l->buffer + at);
		struct inode *ip;
		if (entry->entry_out.nodeid != 0 &&
			core_get(l->core, entry->entry_out.nodeid, &ip) == 0)
			core_put(l->core, ip, 2);
		at += FUSE_DIRENTPLUS_SIZE(entry);
	}
}

static void list(fuse_req_t req, fuse_ino_t ino, size_t bytes, off_t cookie, bool plus)
{
	char on_stack[LIST_BYTES_STACK];
	struct listing l = {.req = req,
		.core = daemon_of(req)->core,
		.buffer = on_stack,
		.room = bytes < LIST_BYTES_MAX ? bytes : LIST_BYTES_MAX,
		.plus = plus};
	struct inode *dir;

	if (l.room > sizeof(on_stack)) {
		l.buffer = malloc(l.room);
		if (l.buffer == NULL) {
			l.buffer = on_stack;
			l.room = sizeof(on_stack);
		}
	}
	int result = core_get(l.core, ino, &dir);
	if (result == 0) {
		result = core_readdir(l.core, dir, (uint64_t)cookie, emit, &l);
		core_put(l.core, dir, 1);
	}
	/* What was listed before an error is handed out; the error comes when it is met first. */
	if (result != 0 && l.used == 0)
		reply_error(req, result);
	else if (fuse_reply_buf(req, l.buffer, l.used) != 0 && plus)
		take_back(&l);
	if (l.buffer != on_stack)
		free(l.buffer);
}

void op_readdir(
	fuse_req_t req, fuse_ino_t ino, size_t bytes, off_t cookie, struct fuse_file_info *fi)
{
	if (control_owns(ino))
		nodes_readdir(req, ino, bytes, cookie, false);
	else
		list(req, ino, bytes, cookie, false);
}

void op_readdirplus(
	fuse_req_t req, fuse_ino_t ino, size_t bytes, off_t cookie, struct fuse_file_info *fi)
{
	if (control_owns(ino))
		nodes_readdir(req, ino, bytes, cookie, true);
	else
		list(req, ino, bytes, cookie, true);
}
