// SPDX-License-Identifier: BSD-2-Clause
/* process.c - see process.h. */
#include "process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

int process_begin(void)
{
	int fd;

	if (signal(SIGXFSZ, SIG_IGN) == SIG_ERR)
		return -errno;
	/* open() takes the lowest number that is free. */
	do {
		fd = open("/dev/null", O_RDWR); /* not O_CLOEXEC: also for the programs it runs */
		if (fd < 0)
			return -errno;
	} while (fd <= STDERR_FILENO);
	return close(fd) != 0 ? -errno : 0;
}
