// SPDX-License-Identifier: BSD-2-Clause
/*
 * huge.c - see huge.h.
 *
 * The number of huge pages is one for the whole machine, and others may change it too: it is
 * changed by what is needed, under a lock on its file, not set back to what it was.
 */
#include "huge.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <unistd.h>

#define PAGES_FILE "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages"
#define HUGE_PAGE_BYTES (2ull << 20)

static char dir[4096], file[4200];
static long borrowed; /* pages */

/* Of the machine, on the locked descriptor. */
static long read_pages(int fd)
{
	char text[32];
	ssize_t n = pread(fd, text, sizeof(text) - 1, 0);

	if (n <= 0)
		return -1;
	text[n] = '\0';
	return atol(text);
}

/* By how many their number has changed. */
static long add_pages(long more)
{
	int fd = open(PAGES_FILE, O_RDWR | O_CLOEXEC);
	long before, after = -1;

	if (fd < 0)
		return 0;
	if (flock(fd, LOCK_EX)) {
		close(fd);
		return 0;
	}
	before = read_pages(fd);
	if (before >= 0 && dprintf(fd, "%ld\n", before + more > 0 ? before + more : 0) > 0)
		after = read_pages(fd);
	close(fd);
	return after < 0 ? 0 : after - before;
}

void huge_return(void)
{
	if (file[0])
		unlink(file);
	if (dir[0]) {
		umount2(dir, MNT_DETACH);
		rmdir(dir);
	}
	dir[0] = file[0] = '\0';
	if (borrowed > 0)
		add_pages(-borrowed);
	borrowed = 0;
}

static const char *try_to_borrow(uint64_t bytes)
{
	const char *base = getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp";
	long wanted = (long)(bytes / HUGE_PAGE_BYTES);
	int fd;

	if (getuid() != 0)
		return "only root can reserve huge pages";
	if (access(PAGES_FILE, W_OK))
		return "no huge pages of 2 MiB can be reserved here";
	borrowed = add_pages(wanted);
	if (borrowed < wanted)
		return "there is no memory for huge pages";
	snprintf(dir, sizeof(dir), "%s/leasefs-huge.XXXXXX", base);
	if (!mkdtemp(dir)) {
		dir[0] = '\0';
		return "no directory can be made for hugetlbfs";
	}
	if (mount("none", dir, "hugetlbfs", 0, "pagesize=2M"))
		return "hugetlbfs cannot be mounted";
	snprintf(file, sizeof(file), "%s/data", dir);
	fd = open(file, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
	if (fd < 0)
		return "no file can be made on hugetlbfs";
	if (ftruncate(fd, (off_t)bytes)) {
		close(fd);
		return "no file on hugetlbfs can be made long enough";
	}
	close(fd);
	return NULL;
}

const char *huge_borrow(uint64_t bytes, const char **why)
{
	*why = try_to_borrow(bytes);
	if (!*why)
		return file;
	huge_return();
	return NULL;
}
