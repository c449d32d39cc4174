// SPDX-License-Identifier: BSD-2-Clause
/*
 * target.h - what the tree tester drives: a pool in this process, or a mounted one.
 *
 * Paths are as in script.h. Results are counts or -errno. Both targets find errors in Linux's order
 * and refuse data operations on anything but regular files with -EINVAL.
 */
#ifndef STRESS_TARGET_H
#define STRESS_TARGET_H

#include <dirent.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "script.h"

struct target;

struct target_options {
	const char *directory; /* a fresh one, for the pool and the mount point */
	uint64_t pool_bytes;   /* 0: mkfs's default */
	uint64_t meta_bytes;   /* 0: mkfs's choice */
	uint32_t domains;
	bool units;                /* in process: region 0 is allocated by units of 2 MiB */
	const char *programs;      /* the build directory, for the daemon and the tools */
	const char *mount_options; /* or NULL */
};

struct target_space {
	uint64_t data_free;
	uint64_t meta_free; /* UINT64_MAX: not known */
};

struct target_kind {
	const char *name;
	struct target *(*open)(const struct target_options *options); /* says why not; NULL */

	/* What target_run() calls, by the kind of operation. */
	int64_t (*make)(struct target *t, const struct op *op); /* not by tmpfile */
	int64_t (*make_link)(struct target *t, const struct op *op);
	int64_t (*remove_name)(struct target *t, const struct op *op);
	int64_t (*rename_name)(struct target *t, const struct op *op);
	int64_t (*crowd)(struct target *t, const struct op *op); /* many names, made or removed */
	int64_t (*change_attributes)(struct target *t, const struct op *op);
	int64_t (*data)(struct target *t, const struct op *op, void *read_bytes);
	int64_t (*hold)(struct target *t, const struct op *op); /* fills a slot */
	int64_t (*close_slot)(struct target *t, const struct op *op);
	int64_t (*crash)(struct target *t);
	int64_t (*remount)(struct target *t);

	/* What looks. */
	int (*stat)(struct target *t, const char *path, struct stat *out);
	int (*list)(struct target *t, const char *path,
		int (*emit)(void *context, const char *name, uint64_t ino, uint8_t type),
		void *context);
	ssize_t (*read)(struct target *t, const char *path, void *out, size_t n, uint64_t offset);
	int64_t (*seek)(struct target *t, const char *path, uint64_t offset, int whence);
	ssize_t (*readlink)(struct target *t, const char *path, char *out, size_t n);
	ssize_t (*listxattr)(struct target *t, const char *path, char *out, size_t n);
	ssize_t (*getxattr)(
		struct target *t, const char *path, const char *name, void *out, size_t n);
	int (*space)(struct target *t, struct target_space *out);
	/* The checker's verdict, with what it found on stderr; 0: clean. */
	int (*verify)(struct target *t);
	int (*close)(struct target *t);
	/* Removes what a run that died left in the directory. */
	void (*clean_up)(const struct target_options *options);
};

/* Carries an operation out. `read_bytes`: room for what OP_READ reads. */
int64_t target_run(
	const struct target_kind *kind, struct target *t, const struct op *op, void *read_bytes);

/* Removes the pool and the mount point in the directory. */
void remove_pool(const char *directory);

extern const struct target_kind target_core;
extern const struct target_kind target_mount;

#endif
