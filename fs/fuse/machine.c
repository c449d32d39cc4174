// SPDX-License-Identifier: BSD-2-Clause
/* machine.c - see machine.h. */
#include "machine.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

int machine_boot(char out[MACHINE_BOOT_BYTES])
{
	FILE *f = fopen("/proc/sys/kernel/random/boot_id", "re");
	bool got;

	if (!f)
		return -errno;
	memset(out, 0, MACHINE_BOOT_BYTES);
	got = fgets(out, MACHINE_BOOT_BYTES, f) != NULL;
	fclose(f);
	return got ? 0 : -EIO;
}

/* Field 22, counted after the name, which may hold anything but ends with the last ')'. */
int machine_process_start(uint32_t pid, uint64_t *out)
{
	char path[64], line[1024], *at;
	unsigned long long value;
	FILE *f;
	bool got;

	snprintf(path, sizeof(path), "/proc/%u/stat", pid);
	f = fopen(path, "re");
	if (!f) /* no descriptor, no memory: that says nothing of the process */
		return errno == EMFILE || errno == ENFILE || errno == ENOMEM ? -errno : -ESRCH;
	got = fgets(line, sizeof(line), f) != NULL;
	fclose(f);
	at = got ? strrchr(line, ')') : NULL;
	for (int field = 2; at && field < 22; field++)
		at = strchr(at + 1, ' ');
	if (!at || sscanf(at, "%llu", &value) != 1)
		return -ESRCH;
	*out = value;
	return 0;
}

int machine_open_process(uint32_t pid, uint64_t start_time, int *pidfd)
{
	int fd = (int)syscall(SYS_pidfd_open, pid, 0);
	uint64_t found;
	int error;

	/* The number is a thread's now: EINVAL, and since Linux 6.15 ENOENT. */
	if (fd < 0)
		return errno == EINVAL || errno == ENOENT ? -ESRCH : -errno;
	/* Asked after the opening: if the time is right, the descriptor is that process's. */
	error = machine_process_start(pid, &found);
	if (error || found != start_time) {
		close(fd);
		return error ? error : -ESRCH;
	}
	*pidfd = fd;
	return 0;
}
