// SPDX-License-Identifier: BSD-2-Clause
/*
 * pair.h - leasefs and the null server, mounted side by side for one group; or leasefs and a peer,
 * if the bench has one.
 */
#ifndef BENCH_PAIR_H
#define BENCH_PAIR_H

#include "series.h"
#include "server.h"

struct pair {
	struct server servers[SIDES]; /* by enum side */
	int roots[SIDES];             /* open directories: the mounts */
};

/* pair_stop() follows in any case. 0, or -1 after a message. */
int pair_start(struct bench *b, struct pair *p, uint64_t pool_bytes);
int pair_stop(struct pair *p);

#endif
