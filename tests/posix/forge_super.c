// SPDX-License-Identifier: BSD-2-Clause
/*
 * forge_super.c - writes a field into both superblocks of a pool and makes their checksums right
 * again: what another version of mkfs.leasefs would have left.
 *
 *     forge_super META major|compat|ro_compat|incompat VALUE
 */
#include <endian.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "format.h"

static int forge(int fd, off_t offset, const char *field, uint64_t value)
{
	struct media_super super;

	if (pread(fd, &super, sizeof(super), offset) != (ssize_t)sizeof(super))
		return -1;
	if (strcmp(field, "major") == 0)
		super.major = htole16((uint16_t)value);
	else if (strcmp(field, "compat") == 0)
		super.compat = htole64(value);
	else if (strcmp(field, "ro_compat") == 0)
		super.ro_compat = htole64(value);
	else if (strcmp(field, "incompat") == 0)
		super.incompat = htole64(value);
	else
		return -1;
	super.head.checksum = 0;
	super.head.checksum =
		htole64(XXH3_64bits_withSeed(&super, sizeof(super), (XXH64_hash_t)offset));
	return pwrite(fd, &super, sizeof(super), offset) == (ssize_t)sizeof(super) ? 0 : -1;
}

int main(int argc, char **argv)
{
	struct stat st;
	int fd;

	if (argc != 4) {
		fprintf(stderr, "usage: forge_super META FIELD VALUE\n");
		return 2;
	}
	fd = open(argv[1], O_RDWR | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) != 0 ||
		forge(fd, 0, argv[2], strtoull(argv[3], NULL, 0)) != 0 ||
		forge(fd, st.st_size - BLOCK_SIZE, argv[2], strtoull(argv[3], NULL, 0)) != 0 ||
		close(fd) != 0) {
		perror("forge_super");
		return 1;
	}
	return 0;
}
