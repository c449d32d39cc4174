// SPDX-License-Identifier: BSD-2-Clause
/* storm.c - see storm.h. */
#include "storm.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "bed.h"

static unsigned char *place(const struct storm_thread *t, unsigned i)
{
	return t->storm->memory + i * t->storm->stride + t->number * 64;
}

static bool goes_on(const struct storm_thread *t)
{
	return !__atomic_load_n(&t->storm->stop, __ATOMIC_RELAXED);
}

void *storm_count(void *thread)
{
	uint64_t last[STORM_PLACES_MAX] = {0};
	struct storm_thread *t = thread;

	while (goes_on(t)) {
		for (unsigned i = 0; i < t->storm->places; i++) {
			volatile uint64_t *counter = (uint64_t *)place(t, i);

			if (*counter != last[i] && !t->lost)
				t->lost = 1 + i;
			*counter = ++last[i];
			t->stores++;
		}
	}
	return NULL;
}

static bool store_guarded(unsigned char *at)
{
	struct leasefs_guard guard;
	volatile bool done = false;

	if (leasefs_begin_guard(&guard) == 0) {
		memset(at, 0xee, 64);
		done = true;
	}
	leasefs_end_guard(&guard);
	return done;
}

void *storm_guarded(void *thread)
{
	struct storm_thread *t = thread;

	while (goes_on(t))
		for (unsigned i = 0; i < t->storm->places; i++)
			t->stores += store_guarded(place(t, i));
	return NULL;
}

void storm_begin(struct storm *s, void *(*run)(void *thread))
{
	assert_in_range(s->places, 1, STORM_PLACES_MAX);
	assert_in_range(s->threads, 1, STORM_THREADS_MAX);
	s->stop = 0;
	for (unsigned i = 0; i < s->threads; i++) {
		struct storm_thread *t = &s->thread[i];

		*t = (struct storm_thread){.storm = s, .number = i};
		assert_int_equal(pthread_create(&t->id, NULL, run, t), 0);
	}
}

uint64_t storm_end(struct storm *s)
{
	uint64_t stores = 0;

	__atomic_store_n(&s->stop, 1, __ATOMIC_RELAXED);
	for (unsigned i = 0; i < s->threads; i++) {
		assert_int_equal(pthread_join(s->thread[i].id, NULL), 0);
		assert_int_equal(s->thread[i].lost, 0);
		stores += s->thread[i].stores;
	}
	return stores;
}
