// SPDX-License-Identifier: BSD-2-Clause
/* player_look.c - what the daemon shows and does for anybody, without a session. */
#include <errno.h>
#include <limits.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "session.h"

static int count_pins(int fd, uint64_t *pins)
{
	struct leasefs_leases page = {0};

	*pins = 0;
	do {
		if (ioctl(fd, LEASEFS_IOC_LEASES, &page))
			return errno;
		for (uint32_t i = 0; i < page.count; i++)
			*pins += page.leases[i].range_pins + page.leases[i].slot_pins;
	} while (page.count);
	return 0;
}

int player_look(struct player *p, const struct command *c, struct reply *r)
{
	int fd = session_open_control(p), error;

	if (fd < 0)
		return -fd;
	if (c->what == COMMAND_STATUS) {
		struct leasefs_status status = {0};

		error = ioctl(fd, LEASEFS_IOC_STATUS, &status) ? errno : count_pins(fd, &r->extra);
		r->id = status.leases;
		r->third = status.quarantine_bytes;
		r->fourth = status.parked;
	} else if (c->what == VERB_DRAIN) {
		struct leasefs_drain drain = {0};

		error = ioctl(fd, LEASEFS_IOC_DRAIN, &drain) ? errno : 0;
	} else {
		struct leasefs_conflicts conflicts = {0};
		char path[PATH_MAX];
		struct stat st;

		error = player_path(p, c->file, path, sizeof(path));
		if (!error)
			error = stat(path, &st) ? errno : 0;
		conflicts.inode = st.st_ino;
		if (!error)
			error = ioctl(fd, LEASEFS_IOC_CONFLICTS, &conflicts) ? errno : 0;
		if (!error && !conflicts.count)
			error = ENOENT;
		r->id = conflicts.conflicts[0].holder_pid;
	}
	close(fd);
	return error;
}
