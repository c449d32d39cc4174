// SPDX-License-Identifier: BSD-2-Clause
/*
 * changers.c - truncates and punches the held files, as a program that knows nothing of leases.
 *
 * It is the only one that changes their sizes: what failed with EBUSY must have changed nothing.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kill.h"

#define PAUSE_MS_MAX 20

static int change(struct worker *w, int fd)
{
	off_t size = (off_t)(roll(w) % (HELD_BYTES / 4096) * 4096);

	if (roll(w) % 3 == 0)
		return fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, size, 32768)
			       ? -errno
			       : 0;
	return ftruncate(fd, size) ? -errno : 0;
}

static void change_one(struct worker *w, int fd)
{
	struct stat before, after;
	int error;

	if (fstat(fd, &before))
		return;
	error = change(w, fd);
	if (error == -EBUSY) {
		atomic_fetch_add(&w->board->busy, 1);
		if (fstat(fd, &after) == 0 &&
			(after.st_size != before.st_size || after.st_blocks < before.st_blocks))
			wrong(w, "EBUSY, and it changed: %lld to %lld bytes, %lld to %lld sectors",
				(long long)before.st_size, (long long)after.st_size,
				(long long)before.st_blocks, (long long)after.st_blocks);
	} else if (error == 0) {
		atomic_fetch_add(&w->board->changes, 1);
		error = ftruncate(fd, HELD_BYTES) ? -errno : 0;
	}
	if (error && error != -EBUSY && !is_gone(error))
		wrong(w, "a truncate or punch: %s", strerror(-error));
}

void run_changer(struct worker *w)
{
	char name[16];

	while (!atomic_load(&w->board->stop)) {
		int root = open_mount(w), fd;

		if (root < 0)
			return;
		snprintf(name, sizeof(name), "held.%u", (unsigned)(roll(w) % HELD_FILES));
		fd = openat(root, name, O_RDWR | O_CLOEXEC);
		close(root);
		if (fd < 0)
			continue;
		change_one(w, fd);
		close(fd);
		(void)poll(NULL, 0, (int)(roll(w) % PAUSE_MS_MAX));
	}
}
