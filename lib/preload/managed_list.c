// SPDX-License-Identifier: BSD-2-Clause
/*
 * managed_list.c - see managed_list.h.
 *
 * A mapping is managed if all of this is true: it is shared, for reading or for reading and
 * writing; of a regular file on leasefs; the file has no record locks of this process, since
 * libleasefs opens and closes the file, and closing any descriptor of a file drops them (fcntl(2));
 * and, for writing, the file is not sparse, since a write lease would allocate its holes.
 *
 * The list is short (a program has a few shared file mappings) and searched from end to end. One
 * lock guards it, and is held while the library is called: the library never calls back here. It is
 * taken around fork(2), before which all mappings become ordinary: a child is to have them too, and
 * libleasefs's are not inherited.
 *
 * LEASEFS_PRELOAD: "off" manages nothing, "read" only mappings for reading, "all" (default) all.
 */
#include "managed_list.h"

#include <errno.h>
#include <fcntl.h>
#include <leasefs/leasefs.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/stat.h>
#include <unistd.h>

#include "real.h"

#define MOUNTS_MAX 8u
#define LOCKED_FILES_MAX 256u /* more: nothing is managed any more */

struct mapping {
	LIST_ENTRY(mapping) link;
	struct leasefs_lease *lease;
	uintptr_t start, end;
	uint64_t offset; /* of start, in the file */
	dev_t device;
	ino_t inode;
	bool write;
};

struct file_id {
	dev_t device;
	ino_t inode;
};

enum what { MANAGE_UNKNOWN, MANAGE_NONE, MANAGE_READ, MANAGE_ALL };

static struct {
	pthread_mutex_t lock; /* guards all of it */
	LIST_HEAD(, mapping) mappings;
	struct {
		dev_t device;
		struct leasefs_session *session; /* NULL: it is not leasefs */
	} mounts[MOUNTS_MAX];
	unsigned mount_count;
	struct file_id locked[LOCKED_FILES_MAX];
	unsigned locked_count;
	enum what what;
} list = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* ---- what is to be managed ------------------------------------------------------------------- */

static void before_fork(void);
static void after_fork(void);

static enum what what_locked(void)
{
	const char *text;

	if (list.what != MANAGE_UNKNOWN)
		return list.what;
	text = getenv("LEASEFS_PRELOAD");
	list.what = text && !strcmp(text, "off")    ? MANAGE_NONE
		    : text && !strcmp(text, "read") ? MANAGE_READ
						    : MANAGE_ALL;
	if (pthread_atfork(before_fork, after_fork, after_fork))
		list.what = MANAGE_NONE;
	return list.what;
}

/* The session of the file's mount, opened when it is first needed. */
static struct leasefs_session *session_locked(int fd, dev_t device)
{
	struct leasefs_session *session = NULL;

	for (unsigned i = 0; i < list.mount_count; i++)
		if (list.mounts[i].device == device)
			return list.mounts[i].session;
	if (list.mount_count == MOUNTS_MAX || leasefs_open_session_at(fd, 0, &session))
		session = NULL;
	if (list.mount_count < MOUNTS_MAX) {
		list.mounts[list.mount_count].device = device;
		list.mounts[list.mount_count++].session = session;
	}
	return session;
}

static bool has_locks_locked(const struct stat *st)
{
	for (unsigned i = 0; i < list.locked_count; i++)
		if (list.locked[i].device == st->st_dev && list.locked[i].inode == st->st_ino)
			return true;
	return list.locked_count == LOCKED_FILES_MAX;
}

static bool is_sparse(const struct stat *st)
{
	return st->st_blocks < st->st_size / 512;
}

static bool is_case_locked(const struct stat *st, bool write)
{
	enum what what = what_locked();

	return S_ISREG(st->st_mode) && (what == MANAGE_ALL || (what == MANAGE_READ && !write)) &&
	       !has_locks_locked(st) && !(write && is_sparse(st));
}

/* ---- making ---------------------------------------------------------------------------------- */

static void *make_locked(size_t length, bool write, int fd, off_t offset, const struct stat *st)
{
	struct leasefs_session *session = session_locked(fd, st->st_dev);
	struct mapping *m;
	void *address;

	if (!session)
		return NULL;
	m = calloc(1, sizeof(*m));
	if (!m)
		return NULL;
	if (leasefs_map_managed(session, fd, (uint64_t)offset, length,
		    write ? LEASEFS_TAKE_WRITE : LEASEFS_TAKE_READ, &m->lease, &address)) {
		free(m);
		return NULL;
	}
	m->start = (uintptr_t)address;
	m->end = m->start + length;
	m->offset = (uint64_t)offset;
	m->device = st->st_dev;
	m->inode = st->st_ino;
	m->write = write;
	LIST_INSERT_HEAD(&list.mappings, m, link);
	return address;
}

void *managed_make(size_t length, int prot, int fd, off_t offset)
{
	bool write = prot & PROT_WRITE;
	void *address = NULL;
	int kept = errno;
	struct stat st;

	if (fstat(fd, &st) == 0) {
		pthread_mutex_lock(&list.lock);
		if (is_case_locked(&st, write))
			address = make_locked(length, write, fd, offset, &st);
		pthread_mutex_unlock(&list.lock);
	}
	errno = kept;
	return address;
}

/* ---- ending ---------------------------------------------------------------------------------- */

static void commit_locked(const struct mapping *m)
{
	/* -ESTALE: the file has become shorter; others were told to the file's own mapping. */
	if (m->write)
		(void)leasefs_commit_range(m->lease, 0, 0, 0);
}

/* The memory stays, as the kernel's own mapping of the file. Otherwise it goes too. */
static void end_locked(struct mapping *m, bool leave)
{
	int error = -EBUSY;

	commit_locked(m);
	if (leave)
		error = leasefs_leave_mapping(m->lease);
	/* Without a daemon direct pages can't be replaced; they show the file all the same. */
	if (error && !leave)
		(void)leasefs_return_lease(m->lease);
	LIST_REMOVE(m, link);
	free(m);
}

void managed_give_up(const void *address, size_t length, bool all)
{
	uintptr_t start = (uintptr_t)address, end = start + length;
	struct mapping *m, *next;
	int kept = errno;

	pthread_mutex_lock(&list.lock);
	for (m = LIST_FIRST(&list.mappings); m; m = next) {
		next = LIST_NEXT(m, link);
		if (m->start < end && start < m->end)
			end_locked(m, !(all && start <= m->start && m->end <= end));
	}
	pthread_mutex_unlock(&list.lock);
	errno = kept;
}

static void leave_all_locked(void)
{
	struct mapping *m;

	while ((m = LIST_FIRST(&list.mappings)))
		end_locked(m, true);
}

static void before_fork(void)
{
	pthread_mutex_lock(&list.lock);
	leave_all_locked();
}

/* In the child too: the sessions are the parent's, and calls on them say so. */
static void after_fork(void)
{
	pthread_mutex_unlock(&list.lock);
}

void managed_note_locks(int fd)
{
	struct mapping *m, *next;
	int kept = errno;
	struct stat st;

	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode)) {
		pthread_mutex_lock(&list.lock);
		for (m = LIST_FIRST(&list.mappings); m; m = next) {
			next = LIST_NEXT(m, link);
			if (m->device == st.st_dev && m->inode == st.st_ino)
				end_locked(m, true);
		}
		if (!has_locks_locked(&st))
			list.locked[list.locked_count++] = (struct file_id){st.st_dev, st.st_ino};
		pthread_mutex_unlock(&list.lock);
	}
	errno = kept;
}

/* ---- making durable -------------------------------------------------------------------------- */

static int commit_matching(const struct stat *st, uintptr_t start, uintptr_t end)
{
	struct mapping *m;
	int error = 0;

	pthread_mutex_lock(&list.lock);
	LIST_FOREACH(m, &list.mappings, link) {
		bool match = st ? m->device == st->st_dev && m->inode == st->st_ino
				: m->start < end && start < m->end;
		int result = match && m->write ? leasefs_commit_range(m->lease, 0, 0, 0) : 0;

		if (result && result != -ESTALE)
			error = result;
	}
	pthread_mutex_unlock(&list.lock);
	return error;
}

int managed_commit_range(const void *address, size_t length)
{
	return commit_matching(NULL, (uintptr_t)address, (uintptr_t)address + length);
}

int managed_commit_file(int fd)
{
	struct stat st;

	if (LIST_EMPTY(&list.mappings) || fstat(fd, &st))
		return 0;
	return commit_matching(&st, 0, 0);
}

/* What was stored is to be seen by others when the process has ended in good order. */
static void __attribute__((destructor)) at_exit(void)
{
	pthread_mutex_lock(&list.lock);
	leave_all_locked();
	pthread_mutex_unlock(&list.lock);
}
