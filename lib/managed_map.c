// SPDX-License-Identifier: BSD-2-Clause
/*
 * managed_map.c - making a managed mapping.
 *
 * In this order: a lease on what the file has, if it can be had; the descriptor for direct I/O,
 * while it is write-leased; an address that suits the first extent; a mapping of the file over all
 * of it; the direct pages over that. Nobody knows the address yet, so no fence is needed. What
 * can't be leased stays a mapping of the file, and the reason is kept.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "managed.h"

static int new_managed(
	struct leasefs_lease *l, int fd, uint64_t offset, uint64_t length, unsigned flags)
{
	struct lfs_managed *m = calloc(1, sizeof(*m));
	char name[32], path[PATH_MAX];
	ssize_t n;

	if (!m)
		return -ENOMEM;
	m->direct_fd = -1;
	pthread_mutex_init(&m->taking, NULL);
	m->file_fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (m->file_fd < 0) {
		int error = -errno;

		free(m);
		return error;
	}
	snprintf(name, sizeof(name), "/proc/self/fd/%d", m->file_fd);
	n = readlink(name, path, sizeof(path));
	if (n > 0 && (size_t)n < sizeof(path))
		m->path = strndup(path, (size_t)n);
	m->user_faults = (flags & LEASEFS_MANAGED_USER_FAULTS) != 0;
	l->managed = m;
	l->flags = flags & (LEASEFS_TAKE_READ | LEASEFS_TAKE_WRITE | LEASEFS_TAKE_EXCLUSIVE);
	l->map_flags = flags & LEASEFS_MAP_POPULATE;
	l->offset = offset;
	l->length = (length + PAGE_BYTES - 1) & ~(uint64_t)(PAGE_BYTES - 1);
	l->head.slowly = 1;
	return 0;
}

/* Why it is not direct, and not a reason to fail. */
static bool is_soft(int error)
{
	static const int soft[] = {EAGAIN, EACCES, EPERM, EOPNOTSUPP, ETXTBSY, ENOLCK, ENOBUFS,
		ESHUTDOWN, ENOSPC, EFBIG, EMFILE, ENFILE};

	for (size_t i = 0; i < sizeof(soft) / sizeof(soft[0]); i++)
		if (error == -soft[i])
			return true;
	return false;
}

/* The direct pages over the mapping of the file; without them the piece is given back. */
static int cover_locked(struct leasefs_lease *l, struct lfs_piece *p)
{
	int error = lfs_map_piece_locked(l, p);

	if (!error) {
		p->coming = false;
		return 0;
	}
	l->managed->error = error;
	error = lfs_map_file_locked(l, l->offset, l->offset + l->length, false);
	lfs_give_up_locked(l, p->id);
	return error;
}

static int map_first_locked(struct leasefs_lease *l)
{
	struct lfs_managed *m = l->managed;
	uint64_t limit = 0, place = l->offset, id = 0;
	struct lfs_piece *p;
	int error = lfs_find_limit(l, &limit);

	if (!error && limit > l->offset)
		error = lfs_take_part_locked(l, l->offset, limit, &id);
	if (!error && id)
		error = lfs_prepare_first_locked(
			l); /* under the lease, or it is not past the cache */
	if (error && !is_soft(error))
		return error;
	if (error)
		lfs_give_up_locked(l, id);
	p = lfs_find_piece_locked(l, id);
	if (p && lfs_first_place_locked(l, p, &place))
		place = l->offset;
	m->error = error == -EAGAIN ? 0 : error;
	if (error == -ENOBUFS)
		lfs_ask_at(l, lfs_now() + ASK_AGAIN_NS);
	error = lfs_reserve_locked(l, place);
	if (!error)
		error = lfs_map_file_locked(l, l->offset, l->offset + l->length, false);
	return error || !p ? error : cover_locked(l, p);
}

static int check_managed(struct leasefs_session *s, int fd, uint64_t offset, uint64_t length,
	unsigned flags, uint64_t *inode)
{
	unsigned mode = flags & (LEASEFS_TAKE_READ | LEASEFS_TAKE_WRITE);
	int error = lfs_check_session(s), opened;

	if (error)
		return error;
	if ((mode != LEASEFS_TAKE_READ && mode != LEASEFS_TAKE_WRITE) ||
		(flags & ~(mode | LEASEFS_TAKE_EXCLUSIVE | LEASEFS_MAP_POPULATE |
				 LEASEFS_MANAGED_USER_FAULTS)) ||
		offset % PAGE_BYTES || length == 0 || length > (uint64_t)INT64_MAX - PAGE_BYTES ||
		offset > (uint64_t)INT64_MAX - PAGE_BYTES - length)
		return -EINVAL;
	if (s->wake_fd < 0 || sysconf(_SC_PAGESIZE) != PAGE_BYTES)
		return -EOPNOTSUPP;
	opened = fcntl(fd, F_GETFL);
	if (opened < 0)
		return -errno;
	if ((opened & O_ACCMODE) != O_RDWR &&
		(mode == LEASEFS_TAKE_WRITE || (opened & O_ACCMODE) != O_RDONLY))
		return -EBADF;
	return lfs_identify(s, fd, inode);
}

int leasefs_map_managed(struct leasefs_session *session, int fd, uint64_t offset, uint64_t length,
	unsigned flags, struct leasefs_lease **out, void **address)
{
	struct leasefs_lease *l = NULL;
	uint64_t inode = 0;
	int error = check_managed(session, fd, offset, length, flags, &inode);

	if (!error)
		error = lfs_new_lease(session, &l);
	if (error)
		return error;
	l->inode = inode;
	error = lfs_start_taker(session);
	if (!error)
		error = new_managed(l, fd, offset, length, flags);
	if (error)
		goto put;
	lfs_begin_taking(session);
	pthread_mutex_lock(&l->lock);
	error = map_first_locked(l);
	if (!error) {
		pthread_mutex_lock(&session->lock);
		LIST_INSERT_HEAD(&session->leases, l, link);
		pthread_mutex_unlock(&session->lock);
		*address = l->address;
		*out = l;
	} else {
		struct lfs_piece *p;

		if (l->address)
			lfs_unmap_locked(l);
		while ((p = LIST_FIRST(&l->pieces))) {
			struct leasefs_return r = {.lease = p->id};

			(void)lfs_call(session, LEASEFS_IOC_RETURN, &r);
			lfs_remove_piece(p);
		}
	}
	pthread_mutex_unlock(&l->lock);
	lfs_end_taking(session);
	if (!error)
		return 0;
put:
	lfs_put_lease(l);
	return error;
}
