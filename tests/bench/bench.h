// SPDX-License-Identifier: BSD-2-Clause
/*
 * bench.h - what the groups of leasebench share: the options of a run, and the groups themselves.
 *
 * A group starts the servers it wants, measures, and reports rows. It returns 0, or -1 after a
 * message when something could not be run; a target that is missed is no failure of the run.
 */
#ifndef BENCH_BENCH_H
#define BENCH_BENCH_H

#include <stdbool.h>
#include <stdint.h>

/* A mounted directory of somebody else's to stand beside ours. */
struct peer {
	const char *name;
	const char *dir;
};

struct bench {
	bool quick;
	int cpu;        /* the processor that client and servers share */
	int second_cpu; /* another one, or -1 */
	uint64_t seed;
	const char *pool_dir;    /* where private pools are made */
	char work[4096];         /* private directory: mount points and logs */
	const struct peer *peer; /* what pair_start() puts beside ours; NULL: the null server */
};

int data_group(struct bench *b);
int metadata_group(struct bench *b);
int tree_group(struct bench *b);
int lease_group(struct bench *b);
int mapping_group(struct bench *b);
int arbitration_group(struct bench *b);
int scale_group(struct bench *b);
int features_group(struct bench *b);

/* Parts of the lease group. */
int lease_calls(struct bench *b);
int lease_crowd(struct bench *b);

/* Parts of the mapping group. */
int mapping_access(struct bench *b);
int mapping_whole(struct bench *b);
int mapping_pieces(struct bench *b);
int mapping_managed(struct bench *b);

/* Parts of the arbitration group. */
int arbitration_recall(struct bench *b);
int arbitration_parked(struct bench *b);

/* copiers.c: a row of the data group, and its ratio. */
int measure_copiers(struct bench *b, double *ratio);

/* Rows of the features group. */
int measure_hardening(struct bench *b);

/* Parts of the scale group. */
int scale_directory(struct bench *b);
int scale_extents(struct bench *b);
int scale_sparse(struct bench *b);

#endif
