// SPDX-License-Identifier: BSD-2-Clause
/*
 * copiers.c - what two writers could reach on this machine at the most: the row
 * two_writers_machine.
 *
 * A write is copied twice, out of the writer's memory and into the file's. Here threads do just
 * that, without a filesystem, a system call or a wake-up: one on one processor, then two on two.
 * Two processors that share a core's units, or the way to memory, are less than twice one; no
 * server can have more of them than these threads.
 */
#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "bench.h"
#include "report.h"
#include "server.h"

#define MIB (1ull << 20)
#define REQUEST_BYTES (MIB / 4)
#define FILE_BYTES (64 * MIB) /* as the writers' files */
#define COPIERS 2

struct copier {
	pthread_t thread;
	int cpu;
	unsigned passes;
	const char *source;
	char *carrier, *file;
	pthread_barrier_t *start;
	int result;
};

static void *copy_passes(void *argument)
{
	struct copier *c = argument;

	c->result = server_pin(0, c->cpu, -1);
	pthread_barrier_wait(c->start);
	for (unsigned pass = 0; pass < c->passes; pass++) {
		for (uint64_t at = 0; at < FILE_BYTES; at += REQUEST_BYTES) {
			memcpy(c->carrier, c->source, REQUEST_BYTES);
			__asm__ volatile("" : : "r"(c->carrier) : "memory");
			memcpy(c->file + at, c->carrier, REQUEST_BYTES);
		}
	}
	return NULL;
}

/* MiB/s of `count` of them, or -1. */
static double run_copiers(struct copier *copiers, int count, unsigned passes)
{
	pthread_barrier_t start;
	uint64_t begin;
	double seconds;
	int result = 0;

	pthread_barrier_init(&start, NULL, (unsigned)count + 1);
	for (int i = 0; i < count; i++) {
		copiers[i].start = &start;
		copiers[i].passes = passes;
		if (pthread_create(&copiers[i].thread, NULL, copy_passes, &copiers[i]) != 0) {
			/* Threads that wait at the barrier can't be joined: give up as a whole. */
			perror("two_writers_machine");
			exit(1);
		}
	}
	pthread_barrier_wait(&start);
	begin = now_ns();
	for (int i = 0; i < count; i++)
		pthread_join(copiers[i].thread, NULL);
	seconds = (double)(now_ns() - begin) / 1e9;
	for (int i = 0; i < count; i++)
		result |= copiers[i].result;
	pthread_barrier_destroy(&start);
	return result != 0 ? -1 : (double)(FILE_BYTES / MIB) * passes * count / seconds;
}

static void *memory(uint64_t bytes)
{
	void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (at == MAP_FAILED)
		return NULL;
	return memset(at, 0x5a, bytes); /* the pages are there before anything is measured */
}

static void give_back(void *at, uint64_t bytes)
{
	if (at != NULL)
		munmap(at, bytes);
}

int measure_copiers(struct bench *b, double *ratio)
{
	unsigned rounds = b->quick ? 3 : 15, passes = b->quick ? 2 : 4;
	struct copier copiers[COPIERS] = {{.cpu = b->cpu}, {.cpu = b->second_cpu}};
	struct series series = {0};
	void *source = memory(REQUEST_BYTES);
	int result = source != NULL ? 0 : -1;
	struct row row;

	for (int i = 0; i < COPIERS; i++) {
		copiers[i].source = source;
		copiers[i].carrier = memory(REQUEST_BYTES);
		copiers[i].file = memory(FILE_BYTES);
		if (copiers[i].carrier == NULL || copiers[i].file == NULL)
			result = -1;
	}
	for (unsigned round = 0; round < rounds && result == 0; round++) {
		for (int side = 0; side < SIDES && result == 0; side++) {
			double rate = run_copiers(copiers, side == SIDE_OURS ? 2 : 1, passes);

			if (rate < 0)
				result = -1;
			series_add(&series, side, rate);
		}
	}
	if (result == 0) {
		*ratio = series_ratio(&series);
		row = (struct row){.group = "data",
			.name = "two_writers_machine",
			.unit = "MiB/s",
			.ours = series_median(&series, SIDE_OURS),
			.baseline_name = "one copier",
			.baseline = series_median(&series, SIDE_BASELINE),
			.spread = series_spread(&series),
			.target = NAN};
		report_row(&row);
	} else {
		fprintf(stderr, "leasebench: two_writers_machine: %s\n", strerror(errno));
	}
	for (int i = 0; i < COPIERS; i++) {
		give_back(copiers[i].carrier, REQUEST_BYTES);
		give_back(copiers[i].file, FILE_BYTES);
	}
	give_back(source, REQUEST_BYTES);
	return result;
}
