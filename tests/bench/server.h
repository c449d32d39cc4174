// SPDX-License-Identifier: BSD-2-Clause
/*
 * server.h - the daemons that a group measures: leasefs on a private pool, and the null server.
 *
 * Each runs as a child of the benchmark, pinned to processors from its first instruction, on a
 * mount point of its own, until it is discarded.
 * Functions return 0, or -1 after a message on standard error.
 */
#ifndef BENCH_SERVER_H
#define BENCH_SERVER_H

#include <stdint.h>
#include <sys/types.h>

#include "bench.h"

struct server {
	pid_t pid; /* 0: not running */
	char mount[4200];
	char pool[4200]; /* empty for the null server */
	char log[4200];
	double start_seconds; /* from exec to the first answer */
	const char *options;  /* of the mount; NULL: none */
	const char *data;     /* what mkfs is to use as the data region; NULL: a file in the pool */
};

/* Finds the programs; called once. */
int server_find_programs(void);

/*
 * Formats a private pool and mounts it. `s` must outlive the server; server_discard() follows in
 * any case, also when the start failed.
 */
int server_start_ours(struct bench *b, struct server *s, const char *name, uint64_t pool_bytes);
/* With mount options (NULL: none), and with the data region on a file or device (NULL: no). */
int server_start_with(struct bench *b, struct server *s, const char *name, uint64_t pool_bytes,
	const char *options, const char *data);
int server_start_null(struct bench *b, struct server *s, const char *name);
/* No server, but a private directory in one that is there: removed when it is discarded. */
int server_use_directory(struct bench *b, struct server *s, const char *name, const char *parent);
int server_restart(struct bench *b, struct server *s); /* the same pool, on the same mount point */
int server_stop(struct server *s);                     /* unmounts and waits for its end */
int server_kill(struct server *s);                     /* SIGKILL, then unmounts */
void server_discard(struct server *s);                 /* ends it and removes its pool */
int server_end(struct server *s); /* stops and discards it; all zero: it was never begun */
void server_discard_all(void);

/* Anonymous resident memory in bytes: what the server itself holds, mapped regions left out. */
int64_t server_memory_bytes(const struct server *s);

/* Pins every thread of the server (pid 0: the calling thread) to these processors; -1: none. */
int server_pin(pid_t pid, int cpu, int second_cpu);

#endif
