// SPDX-License-Identifier: BSD-2-Clause
/*
 * pair.c - see pair.h.
 */
#include "pair.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

int pair_start(struct bench *b, struct pair *p, uint64_t pool_bytes)
{
	*p = (struct pair){.roots = {-1, -1}};
	if (server_start_ours(b, &p->servers[SIDE_OURS], "ours", pool_bytes) != 0 ||
		(b->peer != NULL ? server_use_directory(
					   b, &p->servers[SIDE_BASELINE], "peer", b->peer->dir)
				 : server_start_null(b, &p->servers[SIDE_BASELINE], "null")) != 0)
		return -1;
	for (int side = 0; side < SIDES; side++) {
		p->roots[side] = open(p->servers[side].mount, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (p->roots[side] < 0) {
			perror(p->servers[side].mount);
			return -1;
		}
	}
	return 0;
}

int pair_stop(struct pair *p)
{
	int result = 0;

	for (int side = 0; side < SIDES; side++) {
		if (p->roots[side] >= 0)
			close(p->roots[side]);
		if (server_end(&p->servers[side]) != 0)
			result = -1;
	}
	return result;
}
