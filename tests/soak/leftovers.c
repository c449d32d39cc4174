// SPDX-License-Identifier: BSD-2-Clause
/*
 * leftovers.c - see leftovers.h.
 *
 * A file that has lost its name stays in use while a process has it open or mapped, while the
 * kernel knows its inode, and while the daemon itself counts on it. A process is found in /proc.
 * What is gone when the kernel has dropped its caches was the kernel's; what is not is the
 * daemon's: somebody there has a count of the inode, or, if it is not cached any more, what has no
 * links was not freed with the last count.
 */
#include "leftovers.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <leasefs/control.h>

#define DELETED " (deleted)"
#define CACHES_MS_MAX 2000

/* ---- the daemon ------------------------------------------------------------------------------ */

static unsigned long long say_status(int control)
{
	struct leasefs_status s = {0};

	if (ioctl(control, LEASEFS_IOC_STATUS, &s))
		return 0;
	printf("    the daemon: %llu inodes in use, %llu cached; %llu sessions, %llu leases, %llu "
	       "revoked, %llu range pins; %llu operations and %llu requests wait; quarantine "
	       "%llu, leaked %llu, inherited %llu, pending %llu bytes\n",
		(unsigned long long)s.inodes_used, (unsigned long long)s.inodes_cached,
		(unsigned long long)s.sessions, (unsigned long long)s.leases,
		(unsigned long long)s.revoked, (unsigned long long)s.range_pins,
		(unsigned long long)s.parked, (unsigned long long)s.wants,
		(unsigned long long)s.quarantine_bytes,
		(unsigned long long)s.quarantine_leaked_bytes,
		(unsigned long long)s.inherited_bytes, (unsigned long long)s.pending_bytes);
	return s.inodes_used;
}

/* The first of them, as with what follows. */
static void say_leases(int control)
{
	struct leasefs_leases page = {0};

	if (ioctl(control, LEASEFS_IOC_LEASES, &page))
		return;
	for (uint32_t i = 0; i < page.count; i++) {
		const struct leasefs_lease_info *l = &page.leases[i];

		printf("    lease %llx of session %llu, process %u: inode %llu, [%llu, +%llu), "
		       "mode %u, flags %#x, %u range pins, %u slot pins, quarantine %llu, age "
		       "%.1f s\n",
			(unsigned long long)l->lease, (unsigned long long)l->session, l->pid,
			(unsigned long long)l->inode, (unsigned long long)l->offset,
			(unsigned long long)l->length, l->mode, l->flags, l->range_pins,
			l->slot_pins, (unsigned long long)l->quarantine_bytes,
			(double)l->age_ns / 1e9);
	}
}

static void say_sessions(int control)
{
	struct leasefs_sessions page = {0};

	if (ioctl(control, LEASEFS_IOC_SESSIONS, &page))
		return;
	for (uint32_t i = 0; i < page.count; i++) {
		const struct leasefs_session_info *s = &page.sessions[i];

		printf("    session %llu, process %u: flags %#x, %llu leases, %llu revoked, %llu "
		       "requests wait, age %.1f s\n",
			(unsigned long long)s->session, s->pid, s->flags,
			(unsigned long long)s->leases, (unsigned long long)s->revoked,
			(unsigned long long)s->wants, (double)s->age_ns / 1e9);
	}
}

static void say_operations(int control)
{
	struct leasefs_operations page = {0};

	if (ioctl(control, LEASEFS_IOC_OPERATIONS, &page))
		return;
	for (uint32_t i = 0; i < page.count; i++) {
		const struct leasefs_operation *o = &page.operations[i];

		printf("    %.32s of process %u waits: inode %llu, [%llu, +%llu), for %.1f s\n",
			o->operation, o->pid, (unsigned long long)o->inode,
			(unsigned long long)o->offset, (unsigned long long)o->length,
			(double)o->waited_ns / 1e9);
	}
}

/* ---- processes ------------------------------------------------------------------------------- */

static bool is_lost(const char *path, const char *mount)
{
	size_t bytes = strlen(path), prefix = strlen(mount);

	return bytes > sizeof(DELETED) && !strncmp(path, mount, prefix) && path[prefix] == '/' &&
	       !strcmp(path + bytes - (sizeof(DELETED) - 1), DELETED);
}

static void say_descriptors(const char *pid, const char *mount)
{
	char dir[64], path[PATH_MAX];
	struct dirent *entry;
	DIR *d;

	snprintf(dir, sizeof(dir), "/proc/%.20s/fd", pid);
	d = opendir(dir);
	while (d && (entry = readdir(d))) {
		ssize_t n = readlinkat(dirfd(d), entry->d_name, path, sizeof(path) - 1);

		path[n > 0 ? n : 0] = '\0';
		if (is_lost(path, mount))
			printf("    process %s, descriptor %s: %s\n", pid, entry->d_name, path);
	}
	if (d)
		closedir(d);
}

static void say_mappings(const char *pid, const char *mount)
{
	char name[64], line[PATH_MAX + 128];
	FILE *f;

	snprintf(name, sizeof(name), "/proc/%.20s/maps", pid);
	f = fopen(name, "re");
	while (f && fgets(line, sizeof(line), f)) {
		char *path = strchr(line, '/');

		line[strcspn(line, "\n")] = '\0';
		if (path && is_lost(path, mount))
			printf("    process %s maps %s\n", pid, line);
	}
	if (f)
		fclose(f);
}

static void say_processes(const char *mount)
{
	struct dirent *entry;
	DIR *d = opendir("/proc");

	while (d && (entry = readdir(d))) {
		if (!isdigit((unsigned char)entry->d_name[0]))
			continue;
		say_descriptors(entry->d_name, mount);
		say_mappings(entry->d_name, mount);
	}
	if (d)
		closedir(d);
}

/* ---- the kernel ------------------------------------------------------------------------------ */

static void say_caches(int control, unsigned long long before)
{
	struct leasefs_status s = {.inodes_used = before};
	int fd = open("/proc/sys/vm/drop_caches", O_WRONLY | O_CLOEXEC);
	bool dropped = fd >= 0 && write(fd, "2", 1) == 1;

	if (fd >= 0)
		close(fd);
	/* Its FORGETs have no reply. */
	for (unsigned left = CACHES_MS_MAX / 10; dropped && left && s.inodes_used >= before;
		left--) {
		(void)poll(NULL, 0, 10);
		if (ioctl(control, LEASEFS_IOC_STATUS, &s))
			return;
	}
	if (dropped)
		printf("    the kernel has dropped its caches: %lld inodes less in use, %llu "
		       "cached "
		       "still\n",
			(long long)(before - s.inodes_used), (unsigned long long)s.inodes_cached);
}

void leftovers_say(int control, const char *mount, bool lost)
{
	static bool asked_kernel;
	unsigned long long inodes = say_status(control);

	say_leases(control);
	say_sessions(control);
	say_operations(control);
	say_processes(mount);
	if (lost && !asked_kernel)
		say_caches(control, inodes);
	asked_kernel |= lost;
	fflush(stdout);
}
