// SPDX-License-Identifier: BSD-2-Clause
/*
 * other.c - a program that knows nothing of leases: one operation on a file, its errno as status.
 *
 *   other truncate PATH SIZE | punch PATH OFFSET LENGTH | fill PATH OFFSET BYTE (one block)
 *   other check PATH OFFSET BYTE (one block, by read) | mapcheck (by mmap) | mapfill (by mmap)
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define BLOCK 4096u

static int whole(ssize_t n)
{
	return n == (ssize_t)BLOCK ? 0 : n < 0 ? errno : EIO;
}

static int is_all(const unsigned char *bytes, unsigned char byte)
{
	for (unsigned i = 0; i < BLOCK; i++)
		if (bytes[i] != byte)
			return ENODATA;
	return 0;
}

static int by_mapping(int fd, off_t offset, unsigned char byte, int fill)
{
	unsigned char *at = mmap(NULL, BLOCK, PROT_READ | PROT_WRITE, MAP_SHARED, fd, offset);
	int error = 0;

	if (at == MAP_FAILED)
		return errno;
	if (fill)
		memset(at, byte, BLOCK);
	else
		error = is_all(at, byte);
	if (fill && msync(at, BLOCK, MS_SYNC))
		error = errno;
	return error;
}

int main(int argc, char **argv)
{
	const char *verb = argc == 5 ? argv[1] : "";
	unsigned long long a = argc == 5 ? strtoull(argv[3], NULL, 0) : 0;
	unsigned long long b = argc == 5 ? strtoull(argv[4], NULL, 0) : 0;
	unsigned char block[BLOCK];
	int fd = argc == 5 ? open(argv[2], O_RDWR) : -1, error;

	if (argc != 5)
		return EINVAL;
	if (fd < 0)
		return errno;
	if (!strcmp(verb, "truncate"))
		return ftruncate(fd, (off_t)a) ? errno : 0;
	if (!strcmp(verb, "punch"))
		return fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)a, (off_t)b)
			       ? errno
			       : 0;
	if (!strcmp(verb, "fill")) {
		memset(block, (int)b, BLOCK);
		return whole(pwrite(fd, block, BLOCK, (off_t)a));
	}
	if (!strcmp(verb, "check")) {
		error = whole(pread(fd, block, BLOCK, (off_t)a));
		return error ? error : is_all(block, (unsigned char)b);
	}
	if (!strcmp(verb, "mapcheck"))
		return by_mapping(fd, (off_t)a, (unsigned char)b, 0);
	if (!strcmp(verb, "mapfill"))
		return by_mapping(fd, (off_t)a, (unsigned char)b, 1);
	return EINVAL;
}
