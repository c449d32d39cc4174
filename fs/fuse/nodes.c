// SPDX-License-Identifier: BSD-2-Clause
/*
 * nodes.c - the virtual directory and the control file in it, as names.
 */
#include "nodes.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "control.h"
#include "daemon.h"
#include "reply.h"

bool nodes_own_name(fuse_ino_t parent, const char *name)
{
	return control_owns(parent) ||
	       (parent == FUSE_ROOT_ID && strcmp(name, CONTROL_DIR_NAME) == 0);
}

int nodes_attributes(fuse_ino_t ino, struct stat *st)
{
	bool directory = ino == CONTROL_DIR_INO;

	if (!control_owns(ino) || ino > CONTROL_FILE_INO)
		return -ESTALE;
	*st = (struct stat){
		.st_ino = ino,
		.st_mode = directory ? S_IFDIR | 0555 : S_IFREG | CONTROL_FILE_MODE,
		.st_nlink = directory ? 2 : 1,
		.st_uid = geteuid(),
		.st_gid = getegid(),
		.st_blksize = 4096,
	};
	return 0;
}

void nodes_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fuse_entry_param entry = {
		.attr_timeout = CACHE_SECONDS, .entry_timeout = CACHE_SECONDS};

	if (parent > CONTROL_FILE_INO) {
		reply_error(req, -ESTALE);
		return;
	}
	if (parent == FUSE_ROOT_ID && strcmp(name, CONTROL_DIR_NAME) == 0) {
		entry.ino = CONTROL_DIR_INO;
	} else if (strcmp(name, ".") == 0) {
		entry.ino = parent; /* an exported handle is looked up so */
	} else if (parent != CONTROL_DIR_INO) {
		reply_error(req, -ENOTDIR);
		return;
	} else if (strcmp(name, "..") == 0) {
		struct daemon *d = daemon_of(req);
		core_hold_inode(d->core, d->root, 1);
		reply_entry(req, d->root);
		return;
	} else if (strcmp(name, CONTROL_FILE_NAME) == 0) {
		entry.ino = CONTROL_FILE_INO;
	} else {
		reply_no_entry(req);
		return;
	}
	(void)nodes_attributes(entry.ino, &entry.attr);
	fuse_reply_entry(req, &entry);
}

void nodes_readdir(fuse_req_t req, fuse_ino_t ino, size_t bytes, off_t cookie, bool plus)
{
	static const struct {
		const char *name;
		fuse_ino_t ino;
		mode_t type;
	} entries[] = {{".", CONTROL_DIR_INO, S_IFDIR}, {"..", FUSE_ROOT_ID, S_IFDIR},
		{CONTROL_FILE_NAME, CONTROL_FILE_INO, S_IFREG}};
	char buffer[1024];
	size_t used = 0, room = bytes < sizeof(buffer) ? bytes : sizeof(buffer);

	for (size_t i = cookie < 0 ? 0 : (size_t)cookie; i < sizeof(entries) / sizeof(entries[0]);
		i++) {
		struct fuse_entry_param entry = {
			.attr = {.st_ino = entries[i].ino, .st_mode = entries[i].type}};
		char *at = buffer + used;
		size_t left = room - used, needed;
		if (plus)
			needed = fuse_add_direntry_plus(
				req, at, left, entries[i].name, &entry, (off_t)i + 1);
		else
			needed = fuse_add_direntry(
				req, at, left, entries[i].name, &entry.attr, (off_t)i + 1);
		if (needed > left)
			break;
		used += needed;
	}
	fuse_reply_buf(req, buffer, used);
}
