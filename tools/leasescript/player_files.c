// SPDX-License-Identifier: BSD-2-Clause
/*
 * player_files.c - an actor's ordinary operations through the mount.
 *
 * An operation that needs a descriptor uses the actor's own if it has the file open well enough,
 * and opens one for the while otherwise: an actor need have nothing open.
 */
#include "player.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "pattern.h"

#define CHUNK (1u << 20)

/* The policy of a file: rungs that signal or kill are for the administrator's xattr alone. */
static const char *policy_xattr(const char *policy)
{
	return strstr(policy, "signal") || strstr(policy, "kill") ? "trusted.leasefs.policy"
								  : "user.leasefs.policy";
}

static int open_file(struct player *p, const struct command *c)
{
	char path[PATH_MAX];
	struct open_file *f;
	int fd, r;

	r = player_path(p, c->file, path, sizeof(path));
	if (r)
		return r;
	fd = open(path, (c->flag_write ? O_RDWR : O_RDONLY) | O_CLOEXEC);
	if (fd < 0)
		return errno;
	f = calloc(1, sizeof(*f));
	if (!f) {
		close(fd);
		return ENOMEM;
	}
	snprintf(f->name, sizeof(f->name), "%s", c->file);
	f->fd = fd;
	f->writable = c->flag_write;
	pthread_mutex_lock(&p->lock);
	f->next = p->files;
	p->files = f;
	pthread_mutex_unlock(&p->lock);
	return leases_open_session(p);
}

/* A descriptor with that access, and whether it is to be closed. */
static int borrow(struct player *p, const char *name, bool writable, int *fd, bool *ours)
{
	char path[PATH_MAX];
	struct open_file *f;
	int r;

	pthread_mutex_lock(&p->lock);
	f = player_find_file(p, name);
	*fd = f && (f->writable || !writable) ? f->fd : -1;
	pthread_mutex_unlock(&p->lock);
	*ours = *fd < 0;
	if (*fd >= 0)
		return 0;
	r = player_path(p, name, path, sizeof(path));
	if (r)
		return r;
	*fd = open(path, (writable ? O_WRONLY : O_RDONLY) | O_CLOEXEC);
	return *fd < 0 ? errno : 0;
}

static int write_pattern(int fd, uint64_t offset, uint64_t length, uint64_t seed)
{
	char *buffer = malloc(CHUNK);
	int r = 0;

	if (!buffer)
		return ENOMEM;
	while (length && !r) {
		size_t n = length < CHUNK ? length : CHUNK;
		ssize_t done;

		pattern_fill(buffer, offset, n, seed);
		done = pwrite(fd, buffer, n, (off_t)offset);
		if (done < 0) {
			r = errno;
		} else {
			offset += (uint64_t)done;
			length -= (uint64_t)done;
		}
	}
	free(buffer);
	return r;
}

static int with_descriptor(struct player *p, const struct command *c)
{
	bool ours;
	int fd, r;

	r = borrow(p, c->file, true, &fd, &ours);
	if (r)
		return r;
	switch (c->what) {
	case VERB_TRUNCATE:
		r = ftruncate(fd, (off_t)c->length) ? errno : 0;
		break;
	case VERB_PUNCH:
		r = fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)c->offset,
			    (off_t)c->length)
			    ? errno
			    : 0;
		break;
	case VERB_ZERO:
		r = fallocate(fd, FALLOC_FL_ZERO_RANGE, (off_t)c->offset, (off_t)c->length) ? errno
											    : 0;
		break;
	case VERB_ALLOC:
		r = fallocate(fd, 0, (off_t)c->offset, (off_t)c->length) ? errno : 0;
		break;
	default:
		assert(c->what == VERB_WRITE);
		r = write_pattern(fd, c->offset, c->length, c->seed);
	}
	if (ours)
		close(fd);
	return r;
}

static int with_path(struct player *p, const struct command *c)
{
	char path[PATH_MAX], other[PATH_MAX];
	int fd, r;

	r = player_path(p, c->file, path, sizeof(path));
	if (r)
		return r;
	switch (c->what) {
	case VERB_OTRUNC:
		fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
		if (fd < 0)
			return errno;
		close(fd);
		return 0;
	case VERB_UNLINK:
		return unlink(path) ? errno : 0;
	case VERB_RENAME:
		r = player_path(p, c->other, other, sizeof(other));
		return r ? r : rename(path, other) ? errno : 0;
	case VERB_CHMOD:
		return chmod(path, (mode_t)c->length) ? errno : 0;
	case VERB_CHOWN:
		return chown(path, (uid_t)c->length, (gid_t)-1) ? errno : 0;
	case VERB_DIR:
		return mkdir(path, 0777) || chmod(path, 0777) ? errno : 0;
	default:
		assert(c->what == VERB_SETPOLICY);
		return setxattr(path, policy_xattr(c->other), c->other, strlen(c->other), 0) ? errno
											     : 0;
	}
}

/* file, sparse: everybody may use what a scenario makes. */
static int make_file(struct player *p, const struct command *c)
{
	char path[PATH_MAX];
	int fd, r;

	r = player_path(p, c->file, path, sizeof(path));
	if (r)
		return r;
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	if (fd < 0)
		return errno;
	r = fchmod(fd, 0666) ? errno : 0;
	if (!r)
		r = c->what == VERB_FILE              ? write_pattern(fd, 0, c->length, c->seed)
		    : ftruncate(fd, (off_t)c->length) ? errno
						      : 0;
	close(fd);
	return r;
}

static int stat_file(struct player *p, const struct command *c, struct reply *reply)
{
	char path[PATH_MAX];
	struct stat st;
	int r = player_path(p, c->file, path, sizeof(path));

	if (r)
		return r;
	if (stat(path, &st))
		return errno;
	reply->id = (uint64_t)st.st_size;
	reply->extra = (uint64_t)st.st_blocks * 512;
	return 0;
}

static int compare_data(int fd, const struct command *c, struct reply *reply)
{
	uint64_t offset = c->offset, end = c->offset + c->length;
	char *buffer = malloc(CHUNK);
	int r = 0;

	if (!buffer)
		return ENOMEM;
	while (offset < end && !r && !reply->wrong) {
		size_t n = end - offset < CHUNK ? end - offset : CHUNK;
		ssize_t got = pread(fd, buffer, n, (off_t)offset);
		int64_t at;

		if (got < 0) {
			r = errno;
			break;
		}
		if (got == 0) {
			reply->wrong = 1;
			snprintf(reply->text, sizeof(reply->text), "the file ends at %llu",
				(unsigned long long)offset);
			break;
		}
		at = pattern_differs(buffer, offset, (uint64_t)got, c->seed, c->flag_zero);
		if (at >= 0) {
			reply->wrong = 1;
			snprintf(reply->text, sizeof(reply->text), "byte %llu is 0x%02x",
				(unsigned long long)offset + (uint64_t)at,
				(unsigned char)buffer[at]);
		}
		offset += (uint64_t)got;
	}
	free(buffer);
	return r;
}

/* What an ordinary read sees. */
static int read_data(struct player *p, const struct command *c, struct reply *reply)
{
	char path[PATH_MAX];
	int fd, r = player_path(p, c->file, path, sizeof(path));

	if (r)
		return r;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno;
	r = compare_data(fd, c, reply);
	/* And again what is on the media: pages of the file that the kernel has would hide it. */
	if (!r && !reply->wrong && !posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED))
		r = compare_data(fd, c, reply);
	close(fd);
	return r;
}

bool files_command(struct player *p, const struct command *c, struct reply *r)
{
	switch (c->what) {
	case VERB_OPEN:
		r->error = open_file(p, c);
		return true;
	case VERB_TRUNCATE:
	case VERB_PUNCH:
	case VERB_ZERO:
	case VERB_ALLOC:
	case VERB_WRITE:
		r->error = with_descriptor(p, c);
		return true;
	case VERB_OTRUNC:
	case VERB_UNLINK:
	case VERB_RENAME:
	case VERB_CHMOD:
	case VERB_CHOWN:
	case VERB_SETPOLICY:
	case VERB_DIR:
		r->error = with_path(p, c);
		return true;
	case VERB_FILE:
	case VERB_SPARSE:
		r->error = make_file(p, c);
		return true;
	case COMMAND_STAT:
		r->error = stat_file(p, c, r);
		return true;
	case COMMAND_READ_DATA:
		r->error = read_data(p, c, r);
		return true;
	}
	return false;
}
