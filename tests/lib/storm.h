/* SPDX-License-Identifier: BSD-2-Clause */
/* storm.h - threads that store into a mapping as fast as they can, all in the same blocks. */
#ifndef TEST_STORM_H
#define TEST_STORM_H

#include <pthread.h>
#include <stdint.h>

#define STORM_THREADS_MAX 4u
#define STORM_PLACES_MAX 64u

struct storm;

struct storm_thread {
	struct storm *storm;
	pthread_t id;
	unsigned number;
	uint64_t lost; /* the first counter that was not what it had stored: 1 + place */
	uint64_t stores;
};

struct storm {
	unsigned char *memory;
	uint64_t stride; /* bytes between two places; each thread has 64 of its own in each */
	unsigned places;
	unsigned threads;
	int stop;
	struct storm_thread thread[STORM_THREADS_MAX];
};

/* A counter in each place; what is there must be what was stored last. */
void *storm_count(void *thread);
/* Under leasefs_begin_guard(): the mapping may be longer than the file. */
void *storm_guarded(void *thread);

/* The first four members say what; `run` is one of those above. */
void storm_begin(struct storm *s, void *(*run)(void *thread));
/* Fails the test if a store was lost. How many there were. */
uint64_t storm_end(struct storm *s);

#endif
