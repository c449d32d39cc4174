// SPDX-License-Identifier: BSD-2-Clause
/* region_bed.c - see region_bed.h. */
#include "region_bed.h"

#include <fcntl.h>

int dir_of(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

int open_in(int dir_fd, const char *name, unsigned flags, uint64_t bytes,
	enum durability durability, struct region **out, struct diag *d)
{
	const struct region_options options = {
		.dir_fd = dir_fd,
		.path = name,
		.bytes = bytes,
		.mode = 0640,
		.flags = flags,
		.durability = durability,
	};
	return region_open(&options, out, d);
}

struct region *make(int dir_fd, const char *name, uint64_t bytes)
{
	struct region *r = NULL;
	struct diag d = {{0}};
	int error = open_in(dir_fd, name, REGION_CREATE, bytes, DURABILITY_RELAXED, &r, &d);

	if (error)
		print_message("%s\n", d.text);
	assert_int_equal(error, 0);
	return r;
}
